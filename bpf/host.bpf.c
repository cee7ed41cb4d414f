// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is loaded once for the whole host: the programs that find listeners, and
 * the maps in which they find the instance and its owners.
 */
#include <stdbool.h>
#include <stddef.h>

#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "maps.h"

/* Network namespace cookie -> instance. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, PS_MAX_INSTANCES);
	__type(key, __u64);
	__type(value, __u32);
} netns SEC(".maps");

/* Per instance: admission records and owners, grown by replacement. */
struct ps_admits_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__uint(value_size, sizeof(struct ps_admit));
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, PS_MAX_INSTANCES);
	__type(key, __u32);
	__array(values, struct ps_admits_inner);
} admits SEC(".maps");

struct ps_owners_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__uint(value_size, sizeof(struct ps_owner));
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, PS_MAX_INSTANCES);
	__type(key, __u32);
	__array(values, struct ps_owners_inner);
} owners SEC(".maps");

/* The instances' listener maps, for the programs that fill them. */
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
} sockets SEC(".maps");

struct ps_overflow_inner {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct ps_overflow_key));
	__type(value, __u64);
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, PS_MAX_INSTANCES);
	__type(key, __u32);
	__array(values, struct ps_overflow_inner);
} overflows SEC(".maps");

/* The instance that the next run of ps1_scan is for; written under the lock. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} scan_args SEC(".maps");

#include "owner.h"
#include "admit.h"

/* A socket that has just begun to listen, in its own process's listen(). */
static __always_inline void listen_begun(struct bpf_sock_ops *ctx)
{
	__u64 cookie = bpf_get_netns_cookie(ctx);
	__u32 *index = bpf_map_lookup_elem(&netns, &cookie);
	struct ps_subject subject = { .handle = ctx, .port = ctx->local_port };
	struct ps_instance *inst;
	struct bpf_sock *sk = ctx->sk;
	struct sock *full;
	__u64 active, pending;
	__u32 i;

	if (!index || !sk)
		return;
	i = *index;
	inst = bpf_map_lookup_elem(&instances, &i);
	full = (struct sock *)bpf_skc_to_tcp_sock(sk);
	if (!inst || !full)
		return;
	subject.uid = BPF_CORE_READ(full, sk_uid.val);
	subject.cgroup = (__u64)BPF_CORE_READ(full, sk_cgrp_data.cgroup);
	active = *(volatile __u64 *)&inst->active;
	pending = *(volatile __u64 *)&inst->pending;
	admit(PS_BY_SOCK_OPS, &subject, i, active, false);
	/* A ruleset is being prepared and the scan for open listeners may have
	 * passed this one: take it for the targets that are new in it. */
	if (pending != active)
		admit(PS_BY_SOCK_OPS, &subject, i, pending, true);
}

SEC("sockops")
int ps1_listen(struct bpf_sock_ops *ctx)
{
	if (ctx->op == BPF_SOCK_OPS_TCP_LISTEN_CB)
		listen_begun(ctx);
	return 1;
}

/* Every TCP socket of the reading process's network namespace. */
SEC("iter/tcp")
int ps1_scan(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	struct ps_subject subject = { .handle = sk };
	struct ps_instance *inst;
	__u32 zero = 0, *index;
	struct sock *full;

	if (!sk || BPF_CORE_READ(sk, skc_state) != TCP_LISTEN_STATE)
		return 0;
	index = bpf_map_lookup_elem(&scan_args, &zero);
	if (!index)
		return 0;
	zero = *index;
	inst = bpf_map_lookup_elem(&instances, &zero);
	if (!inst)
		return 0;
	full = (struct sock *)sk;
	subject.port = BPF_CORE_READ(sk, skc_num);
	subject.uid = BPF_CORE_READ(full, sk_uid.val);
	subject.cgroup = (__u64)BPF_CORE_READ(full, sk_cgrp_data.cgroup);
	admit(PS_BY_ITER, &subject, zero, inst->pending, true);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
