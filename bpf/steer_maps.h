/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the sk_lookup program of a network namespace has of its own. Tables that may be large are
 * in two parts: a map of the size that nearly all need, whose lookup the verifier inlines, and a
 * map of maps beside it for what does not fit.
 */
#ifndef PORTSTEER_STEER_MAPS_H
#define PORTSTEER_STEER_MAPS_H

#include "common.h"
#include "maps.h"

/* This instance's index in `ps_instances`; a constant to the verifier. */
const volatile __u32 instance;

/* Random numbers, by which clients are spread over listeners. */
const volatile __u64 secret[7];

/* One bit for each port: supersets of the front ports in force and, of these, of those for which
 * there may be flows. User space writes them through mmap. A variable and not a map of our own,
 * so that its address is a constant of the program: libbpf makes it the map "ps_insta.data". */
struct {
	__u32 fronts[65536 / 32];
	__u32 flows[65536 / 32];
} steer_ports SEC(".data");

/* Front buckets. All chunks have one size, so that the verifier may inline their lookups. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * PS_FRONT_SMALL);
	__type(key, __u32);
	__type(value, struct ps_bucket);
} ps_fronts SEC(".maps");
struct ps_fronts_chunk {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PS_FRONT_CHUNK);
	__type(key, __u32);
	__uint(value_size, sizeof(struct ps_bucket));
};
struct PS_ARRAY_OF_MAPS(struct ps_fronts_chunk, 2 * PS_FRONT_CHUNKS) ps_fronts_more SEC(".maps");

/* Room for the entries of two generations. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * PS_MAX_PREFIXES);
	__type(key, struct ps_prefix_key);
	__type(value, struct ps_front);
} ps_prefixes SEC(".maps");

/* Targets' states: the same maps as those in `ps_targets`. Sizes and no types: Linux 6.1 takes a
 * map whose types it knows for no equal of one that user space has made. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	__uint(max_entries, PS_TARGET_CHUNK(0));
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct ps_target_state));
} ps_states SEC(".maps");
struct PS_ARRAY_OF_MAPS(struct ps_targets_chunk, PS_TARGET_CHUNKS) ps_states_more SEC(".maps");

/* Listeners: targets' own places, and those that all share. */
struct ps_listeners_chunk {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, PS_TARGET_CHUNK(0) * PS_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} ps_listeners SEC(".maps");
struct PS_ARRAY_OF_MAPS(struct ps_listeners_chunk, PS_TARGET_CHUNKS) ps_listeners_more SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, PS_OVERFLOW_TOTAL);
	__type(key, struct ps_overflow_key);
	__type(value, __u64);
} ps_overflow SEC(".maps");

/* Rules' hits. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PS_HITS_SMALL);
	__type(key, __u32);
	__type(value, struct ps_hits);
} ps_hits SEC(".maps");
struct ps_hits_chunk {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PS_HITS_CHUNK);
	__type(key, __u32);
	__uint(value_size, sizeof(struct ps_hits));
};
struct PS_ARRAY_OF_MAPS(struct ps_hits_chunk, PS_HITS_CHUNKS) ps_hits_more SEC(".maps");

#endif
