/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connect mode's maps. Made by bpf/host.bpf.c, put in place of their own by the other
 * programs of connect mode.
 */
#ifndef PORTSTEER_CONNECT_MAPS_H
#define PORTSTEER_CONNECT_MAPS_H

#include "common.h"

/* Per instance: scopes and hops, grown by replacement. */
struct ps_scopes_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__uint(value_size, sizeof(struct ps_scope));
};
struct PS_ARRAY_OF_MAPS(struct ps_scopes_inner, PS_MAX_INSTANCES) ps_scopes SEC(".maps");

struct ps_hops_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__uint(value_size, sizeof(struct ps_hop));
};
struct PS_ARRAY_OF_MAPS(struct ps_hops_inner, PS_MAX_INSTANCES) ps_hops SEC(".maps");

/* On each socket that was sent elsewhere. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct ps_trail);
} ps_trails SEC(".maps");

/* Per instance: scopes by cgroup id. With more cgroups than this, some are looked up again. */
struct ps_scopes_found_inner {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, PS_SCOPES_FOUND);
	__type(key, __u64);
	__uint(value_size, sizeof(struct ps_scope_found));
};
struct PS_ARRAY_OF_MAPS(struct ps_scopes_found_inner, PS_MAX_INSTANCES) ps_scopes_found
	SEC(".maps");

#endif
