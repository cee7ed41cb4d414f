/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The maps by which host-wide programs find an instance and its owners. Made by
 * bpf/host.bpf.c, put in place of its own by bpf/bind.bpf.c.
 */
#ifndef PORTSTEER_OWNER_MAPS_H
#define PORTSTEER_OWNER_MAPS_H

#include "common.h"

/* Network namespace cookie -> instance. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, PS_MAX_INSTANCES);
	__type(key, __u64);
	__type(value, __u32);
} ps_netns SEC(".maps");

/* Per instance: owners, grown by replacement. */
struct ps_owners_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__uint(value_size, sizeof(struct ps_owner));
};
struct PS_ARRAY_OF_MAPS(struct ps_owners_inner, PS_MAX_INSTANCES) ps_owners SEC(".maps");

#endif
