/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The instances' listeners, for host-wide programs. Made by bpf/host.bpf.c, put in place
 * of their own by those of connect mode.
 */
#ifndef PORTSTEER_LISTENER_MAPS_H
#define PORTSTEER_LISTENER_MAPS_H

#include "common.h"

/* Chunks of first slots. */
struct ps_sockets_inner {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * PS_MAX_INSTANCES);
	__type(key, struct ps_chunk_key);
	__array(values, struct ps_sockets_inner);
} ps_sockets SEC(".maps");

struct ps_overflow_inner {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct ps_overflow_key));
	__type(value, __u64);
};
struct PS_ARRAY_OF_MAPS(struct ps_overflow_inner, PS_MAX_INSTANCES) ps_overflows SEC(".maps");

#endif
