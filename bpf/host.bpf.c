// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is loaded once for the whole host: the programs that find listeners and note connect
 * mode's clients, and the maps in which they find the instance, its owners and rules.
 */
#include "admit.h"
#include "client.h"
#include "owner_maps.h"

/* What the next run of ps_scan is for; written under the lock. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ps_scan_args);
} ps_scan_args SEC(".maps");

/* Cookies of the sockets on new targets' ports that a pass of ps_scan has met: several
 * processes may hold one. With which of the pass's matches were busy, a bit each. Emptied
 * around each pass, but for one that tries the busy ones again. With more sockets than this,
 * some that are shared would take a second slot. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u32);
} ps_seen SEC(".maps");

/* A scan on another CPU may keep a socket busy for some instructions. */
#define PS_BUSY_TRIES 3

/* The socket, as the kernel has it. */
static __always_inline struct sock *kernel_socket(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	return sk ? (struct sock *)bpf_skc_to_tcp_sock(sk) : NULL;
}

/* One target of a socket that begins to listen: a global function is verified
 * once, and not for each target. */
PS_GLOBAL int ps_admit_listener(struct bpf_sock_ops *ctx, __u32 inst, __u32 target)
{
	struct sock *sk = kernel_socket(ctx);

	for (int n = 1; sk && n <= PS_BUSY_TRIES; n++) {
		if (!is_passing(admit_to(PS_BY_SOCK_OPS, ctx, sk, inst, target, n < PS_BUSY_TRIES)))
			break;
	}
	return 0;
}

static __always_inline int admit_listener(struct bpf_sock_ops *ctx, const struct ps_subject *s,
					  __u32 inst, const struct ps_instance *me, __u64 word,
					  bool fresh)
{
	__u32 target = 0;
	int ret;

	for (__u32 n = 0; n < PS_MAX_OWNERS_PER_PORT; n++) {
		ret = find_target(s, inst, me, word, fresh, n, &target);
		if (ret <= 0)
			return ret;
		ps_admit_listener(ctx, inst, target);
	}
	return 0;
}

#ifndef PS_OTHER_BUILD
#define PS_ADMIT_TRIES PS_READ_TRIES
#else
#define PS_ADMIT_TRIES 4 /* another program, for the tests of upgrade (make VARIANT=build) */
#endif

/* Under the ruleset in force, and under the one being prepared, whose scan for open
 * listeners may have passed this one. */
static __always_inline void admit_everywhere(struct bpf_sock_ops *ctx, const struct ps_subject *s,
					     __u32 inst, const struct ps_instance *me)
{
	smp_mb(); /* the socket listens by now: order.h, 3 */
	for (int i = 0; i < PS_ADMIT_TRIES; i++) {
		__u64 active = READ_ONCE(me->active);
		__u64 pending = READ_ONCE(me->pending);

		if (admit_listener(ctx, s, inst, me, active, false))
			continue;
		if (pending == active || !admit_listener(ctx, s, inst, me, pending, true))
			return;
	}
}

/* The cookie of a socket's network namespace. The verifier knows the types, so that these
 * are loads and no calls. */
static __always_inline __u64 namespace_of(const struct sock *sk)
{
	return sk->__sk_common.skc_net.net->net_cookie;
}

/* A socket that has just begun to listen, in its own process's listen(). */
static __always_inline void listen_begun(struct bpf_sock_ops *ctx)
{
	__u64 cookie = bpf_get_netns_cookie(ctx);
	__u32 *index = bpf_map_lookup_elem(&ps_netns, &cookie), i;
	struct ps_subject subject = { .port = ctx->local_port };
	struct ps_instance *inst;
	struct sock *full;

	if (!index)
		return;
	i = *index;
	inst = bpf_map_lookup_elem(&ps_instances, &i);
	full = kernel_socket(ctx);
	if (!inst || !full)
		return;
	subject.uid = BPF_CORE_READ(full, sk_uid.val);
	subject.cgroup = (__u64)BPF_CORE_READ(full, sk_cgrp_data.cgroup);
	subject.kernels = is_kernels(full);
	admit_everywhere(ctx, &subject, i, inst);
}

SEC("sockops")
int ps_listen(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		listen_begun(ctx);
		break;
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		connect_begun(ctx);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		state_changed(ctx);
		break;
	}
	return 1;
}

/* Which of the socket's matches are to be tried in this pass, a bit each: all when it is met
 * for the first time. The result of the call is an int, as before Linux 6.4 the upper half of
 * what it returns is 0. */
static __always_inline __u32 matches_to_try(__u64 cookie, const struct ps_scan_args *args)
{
	__u32 none = 0, *busy;
	int ret;

	if (args->pass & PS_SCAN_AGAIN) {
		busy = bpf_map_lookup_elem(&ps_seen, &cookie);
		return busy ? *busy : 0;
	}
	ret = bpf_map_update_elem(&ps_seen, &cookie, &none, BPF_NOEXIST);
	return ret == -EEXIST ? 0 : (1 << PS_SCAN_MATCHES) - 1;
}

/* One target of it. Not inlined, so that its stack is not the one of what decides whose it is:
 * all frames of a call share 512 bytes. */
static PS_GLOBAL int admit_open_to(struct sock *sk, __u32 inst, __u32 target, bool can_try_again)
{
	return admit_to(PS_BY_ITER, sk, sk, inst, target, can_try_again);
}

/* A socket that listens already; the iterator's reader holds the lock, so that the
 * ruleset being prepared stays what it is. One pass admits a socket to
 * PS_SCAN_MATCHES targets, see struct ps_scan_args. True if one was busy. */
static __always_inline bool admit_open(struct sock *sk, const struct ps_scan_args *args,
				       const struct ps_instance *me)
{
	struct ps_subject subject = { .port = BPF_CORE_READ(sk, __sk_common.skc_num) };
	__u32 target = 0, tries, still = 0, *busy;
	__u64 pending = READ_ONCE(me->pending), cookie;
	bool noted;

	if (!is_target(args->instance, pending, subject.port))
		return false;
	cookie = bpf_get_socket_cookie(sk);
	tries = matches_to_try(cookie, args);
	busy = tries ? bpf_map_lookup_elem(&ps_seen, &cookie) : NULL;
	noted = busy && !(args->pass & PS_SCAN_LAST);
	subject.uid = BPF_CORE_READ(sk, sk_uid.val);
	subject.cgroup = (__u64)BPF_CORE_READ(sk, sk_cgrp_data.cgroup);
	for (__u32 n = 0; n < PS_SCAN_MATCHES; n++) {
		if (!(tries >> n & 1))
			continue;
		if (find_target(&subject, args->instance, me, pending, true,
				PS_SCAN_SKIP(args->pass) + n, &target) <= 0)
			break;
		if (is_passing(admit_open_to(sk, args->instance, target, noted)))
			still |= 1 << n;
	}
	if (!noted)
		still = 0;
	if (busy)
		*busy = still;
	return still;
}

/* A TCP socket of this namespace that listens? */
static __always_inline bool is_listener(struct sock *sk, __u64 netns_cookie)
{
	return BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_LISTEN_STATE &&
	       BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP && namespace_of(sk) == netns_cookie;
}

static __always_inline void say(struct bpf_iter__task_file *ctx, char word)
{
	bpf_seq_write(ctx->meta->seq, &word, sizeof(word));
}

/*
 * Every open file of every process that the reader can see. Not iter/tcp, which
 * would be the obvious choice: it goes on from the listening to the established
 * sockets and takes a reference to each, also to requests that another CPU has just
 * put there and whose reference count is still 0 (seen on 6.18 under load as
 * "refcount_t: addition on 0").
 */
SEC("iter/task_file")
int ps_scan(struct bpf_iter__task_file *ctx)
{
	struct ps_scan_args *args;
	struct ps_instance *me;
	struct socket *sock;
	struct file *file = ctx->file;
	struct sock *sk;
	__u32 key = 0;

	if (!file)
		return 0;
	sock = bpf_sock_from_file(file);
	sk = sock ? sock->sk : NULL;
	args = bpf_map_lookup_elem(&ps_scan_args, &key);
	if (!sk || !args)
		return 0;
	key = args->instance;
	me = bpf_map_lookup_elem(&ps_instances, &key);
	if (me && is_listener(sk, READ_ONCE(me->cookie)) && admit_open(sk, args, me))
		say(ctx, PS_SCAN_BUSY);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
