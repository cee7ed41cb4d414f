/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The maps that are shared by all instances. bpf/host.bpf.c makes them; the other
 * objects are loaded with the same maps put in their place.
 */
#ifndef PORTSTEER_MAPS_H
#define PORTSTEER_MAPS_H

#include "common.h"

/* Every instance's ruleset word; user space stores it through mmap. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PS_MAX_INSTANCES);
	__type(key, __u32);
	__type(value, struct ps_instance);
} ps_instances SEC(".maps");

/* Chunks of targets' states, by instance and chunk. */
struct ps_targets_chunk {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__uint(value_size, sizeof(struct ps_target_state));
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * PS_MAX_INSTANCES);
	__type(key, struct ps_chunk_key);
	__array(values, struct ps_targets_chunk);
} ps_targets SEC(".maps");

/* Bind and connect rules' events, the same way. */
struct ps_events_chunk {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__uint(value_size, sizeof(struct ps_bind_events));
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * PS_MAX_INSTANCES);
	__type(key, struct ps_chunk_key);
	__array(values, struct ps_events_chunk);
} ps_events SEC(".maps");

/* A ruleset that is replaced while it is read is read again: to replace one takes thousands of
 * times longer than to read it, so that a third try cannot be needed in practice. */
#define PS_READ_TRIES 3

static __always_inline struct ps_target_state *target_at(__u32 inst, __u32 target)
{
	struct ps_chunk_key key = { .instance = inst, .chunk = PS_TARGET_CHUNK_OF(target) };

	return entry_of(bpf_map_lookup_elem(&ps_targets, &key), PS_TARGET_INDEX_OF(target));
}

/* Of a bind rule or, in the same form, of a connect rule. */
static __always_inline struct ps_bind_events *events_at(__u32 inst, __u32 rule)
{
	struct ps_chunk_key key = { .instance = inst, .chunk = PS_TARGET_CHUNK_OF(rule) };

	return entry_of(bpf_map_lookup_elem(&ps_events, &key), PS_TARGET_INDEX_OF(rule));
}

/* Is the half of the tables that `word` names still that ruleset's? order.h, 1. */
static __always_inline bool still_valid(const struct ps_instance *me, __u64 word)
{
	smp_rmb();
	return READ_ONCE(me->active) == word || READ_ONCE(me->pending) == word;
}

#endif
