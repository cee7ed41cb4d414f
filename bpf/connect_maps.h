/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connect mode's maps. Made by bpf/connect.bpf.c, put in place of its own by
 * bpf/datagram.bpf.c.
 */
#ifndef PORTSTEER_CONNECT_MAPS_H
#define PORTSTEER_CONNECT_MAPS_H

/* One bit for each port: a superset of the front and target ports of connect rules, in
 * any instance. User space writes it through mmap (the map "*.data"). */
__u32 filter[65536 / 32] SEC(".data");

/* Per instance: scopes and hops, grown by replacement. */
struct ps_scopes_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__uint(value_size, sizeof(struct ps_scope));
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, PS_MAX_INSTANCES);
	__type(key, __u32);
	__array(values, struct ps_scopes_inner);
} scopes SEC(".maps");

struct ps_hops_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__uint(value_size, sizeof(struct ps_hop));
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, PS_MAX_INSTANCES);
	__type(key, __u32);
	__array(values, struct ps_hops_inner);
} hops SEC(".maps");

/* Of TCP sockets that were sent to another port. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PS_TURNS);
	__type(key, __u32);
	__type(value, struct ps_turn);
} turns SEC(".maps");

/* One bit for each port that a turn ever led to. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536 / 64);
	__type(key, __u32);
	__type(value, __u64);
} reached SEC(".maps");

/* On each other socket that was sent elsewhere. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct ps_trail);
} trails SEC(".maps");

/* Scopes by cgroup id. With more cgroups than this, some are looked up again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2048);
	__type(key, struct ps_scope_key);
	__type(value, struct ps_scope_found);
} scope_cache SEC(".maps");

#endif
