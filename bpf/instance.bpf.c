// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is loaded for each network namespace: the sk_lookup program and the
 * tables that only it reads. A small instance is served by the first map of
 * each pair; the outer map beside it holds what does not fit.
 */
#include <stdbool.h>
#include <stddef.h>

#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "maps.h"
#include "flow.h"

/* This instance's index in `ps_instances`; a constant to the verifier. */
const volatile __u32 instance;

/* Random numbers, by which clients are spread over listeners. */
const volatile __u64 secret[7];

/* One bit for each port: a superset of the front ports in force; behind it one of those for
 * which there may be flows, which are among them. User space writes it through mmap. A variable
 * and not a map of our own, so that its address is a constant of the program: libbpf makes it
 * the map "ps_insta.data". */
__u32 filter[2 * 65536 / 32] SEC(".data");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * PS_FRONT_SMALL);
	__type(key, __u32);
	__type(value, struct ps_bucket);
} ps_fronts SEC(".maps");

/* All chunks have one size, so that the verifier may inline their lookups. */
struct ps_fronts_chunk {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PS_FRONT_CHUNK);
	__type(key, __u32);
	__uint(value_size, sizeof(struct ps_bucket));
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2 * PS_FRONT_CHUNKS);
	__type(key, __u32);
	__array(values, struct ps_fronts_chunk);
} ps_fronts_more SEC(".maps");

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
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, PS_HITS_CHUNKS);
	__type(key, __u32);
	__array(values, struct ps_hits_chunk);
} ps_hits_more SEC(".maps");

/* Targets' states: the same maps as those in `ps_targets`. Sizes and no types: Linux 6.1 takes a
 * map whose types it knows for no equal of one that user space has made. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	__uint(max_entries, PS_TARGET_CHUNK(0));
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct ps_target_state));
} ps_states SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, PS_TARGET_CHUNKS);
	__type(key, __u32);
	__array(values, struct ps_targets_chunk);
} ps_states_more SEC(".maps");

struct ps_listeners_chunk {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, PS_TARGET_CHUNK(0) * PS_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} ps_listeners SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, PS_TARGET_CHUNKS);
	__type(key, __u32);
	__array(values, struct ps_listeners_chunk);
} ps_listeners_more SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, PS_OVERFLOW_TOTAL);
	__type(key, struct ps_overflow_key);
	__type(value, __u64);
} ps_overflow SEC(".maps");

/* Room for the entries of two generations. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * PS_MAX_PREFIXES);
	__type(key, struct ps_prefix_key);
	__type(value, struct ps_front);
} ps_prefixes SEC(".maps");

#include "steer.h"

SEC("sk_lookup")
int ps_steer(struct bpf_sk_lookup *ctx)
{
	return steer(ctx);
}

char LICENSE[] SEC("license") = "GPL";
