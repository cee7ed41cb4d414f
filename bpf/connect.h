/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connect mode: where a client is sent instead of where it wants to go, by its cgroup.
 * Runs once for each connect() of the host, and for each datagram of an unconnected
 * UDP socket; most of them end at is_named.
 */
#ifndef PORTSTEER_CONNECT_H
#define PORTSTEER_CONNECT_H

#define ECONNREFUSED 111

/* A ruleset that is replaced while it is read is read again; see admit.h. */
#define PS_HOP_TRIES 3

static __always_inline struct ps_hop *hop_at(__u32 inst, __u32 half, __u32 index)
{
	void *map = bpf_map_lookup_elem(&hops, &inst);
	__u32 key = index * 2 + half;

	return map ? bpf_map_lookup_elem(map, &key) : NULL;
}

static __always_inline bool hop_matches(const struct ps_want *want, const struct ps_hop *h,
					__u32 scope)
{
	return h->scope == scope && h->port == want->port && h->protocol == want->protocol &&
	       h->family == want->family && same_prefix(want->addr, h->addr, h->length);
}

/* One record of a chain: minus its index if it is the scope's rule for what is wanted,
 * else the index of the next, 0 at the end. Loop bodies are global functions, verified
 * once; see admit.h. */
__noinline int ps_hop_step(const struct ps_want *want, __u32 scope, __u32 cursor)
{
	struct ps_hop *h = want ? hop_at(want->instance, want->half, cursor) : NULL;

	if (!want || !h)
		return 0;
	return hop_matches(want, h, scope) ? -(int)cursor : (int)h->next;
}

/* The record of a scope's rule for what is wanted, or 0. */
__noinline int ps_hop_find(const struct ps_want *want, __u32 scope)
{
	struct ps_hop *h;
	int cursor;

	if (!want)
		return 0;
	h = hop_at(want->instance, want->half, 0);
	if (!h || !h->scope)
		return 0;
	h = hop_at(want->instance, want->half, PS_HOP_HASH(scope, want->port) & (h->scope - 1));
	cursor = h ? (int)h->next : 0;
	for (int i = 0; cursor > 0 && i < PS_CHAIN; i++)
		cursor = ps_hop_step(want, scope, cursor);
	return cursor < 0 ? -cursor : 0;
}

/* The rule of the deepest scope that has one for this: a scope without such a rule
 * hides nothing of those around it. */
static __always_inline __u32 find_hop(const struct ps_want *want, __u32 scope)
{
	struct ps_scope *s;
	__u32 record;

	for (int i = 0; i <= PS_CGROUP_DEPTH && scope; i++) {
		record = ps_hop_find(want, scope);
		if (record)
			return record;
		s = scope_at(want->instance, want->half, scope);
		scope = s ? s->parent : 0;
	}
	return 0;
}

/* One look at the rules for a process in a scope: 0, or -EAGAIN if the ruleset was replaced
 * meanwhile. */
static __always_inline int look_hop(struct ps_want *want, const struct ps_instance *me, __u64 word,
				    __u32 scope, struct ps_way *way)
{
	struct ps_hop *h;
	__u32 record;

	want->half = PS_WORD_HALF(word);
	record = find_hop(want, scope);
	h = record ? hop_at(want->instance, want->half, record) : NULL;
	if (h) {
		way->port = h->target;
		way->flags = h->flags;
		way->rule = h->rule;
		way->listeners = h->listeners;
		__builtin_memcpy(way->addr, h->to, sizeof(way->addr));
	}
	if (!still_valid(me, word))
		return -EAGAIN;
	way->word = word;
	way->found = record != 0;
	return 0;
}

/* What the rules say, to begin with those of `word`, for whom this is the process's scope;
 * 0 with way->found zero for "nothing". */
__noinline int ps_hop_decide(struct ps_want *want, struct ps_way *way, __u64 word, __u32 scope)
{
	struct ps_instance *me;
	__u32 inst;

	if (!want || !way)
		return 0;
	way->found = 0;
	inst = want->instance;
	me = bpf_map_lookup_elem(&instances, &inst);
	for (int i = 0; me && word && i < PS_HOP_TRIES; i++) {
		if (!look_hop(want, me, word, scope, way))
			break;
		word = *(volatile __u64 *)&me->active;
		scope = word ? scope_of(inst, word) : 0;
	}
	return 0;
}

/* What the rules in force say. Most processes are in no scope, and need no more than to
 * be found there. */
static __always_inline void find_rule(struct ps_want *want, struct ps_way *way)
{
	__u32 inst = want->instance, scope;
	struct ps_instance *me = bpf_map_lookup_elem(&instances, &inst);
	__u64 word = me ? *(volatile __u64 *)&me->active : 0;

	way->found = 0;
	if (!word)
		return;
	scope = scope_of(inst, word);
	if (scope || !still_valid(me, word))
		ps_hop_decide(want, way, word, scope);
}

/* The kernel takes the address 0 for the loopback address, and so do we. */
static __always_inline void name_loopback(struct ps_want *want)
{
	if (!is_zero(want->addr))
		return;
	if (want->family == 4)
		want->addr[0] = bpf_htonl(0x7f000001);
	else
		want->addr[3] = bpf_htonl(1);
}

static __always_inline void count(__u32 inst, __u32 rule, int found)
{
	struct ps_connect_events *e = (struct ps_connect_events *)events_at(inst, rule);

	if (!e)
		return;
	if (found & PS_FOUND)
		PS_COUNT(e->steered);
	else if (found & PS_OTHER_FAMILY)
		PS_COUNT(e->family);
	else
		PS_COUNT(e->missed);
	e->last = bpf_jiffies64();
}

/* What the rules say to a client; a decision of late, if there is one. */
static __always_inline bool decide(struct ps_want *want, struct ps_way *way)
{
	bool tcp = want->protocol == IPPROTO_TCP;
	__u32 inst;

	if (tcp && recall(want, way))
		return true;
	if (!find_instance(want->namespace, &inst))
		return false;
	want->instance = inst;
	find_rule(want, way);
	if (tcp && way->found)
		ps_remember(want, way);
	return true;
}

/* Where to go, as the rules say: 1 with way->addr and port; 0 for where it wanted; or what
 * connect() is to fail with. */
static __always_inline int find_way(const struct ps_want *want, struct ps_way *way)
{
	int found = PS_FOUND;

	if (!way->found)
		return 0;
	if (!(way->flags & PS_HOP_FIXED)) {
		found = reach_any(want, way);
		note_vacant(want, way);
	} else if (!(way->flags & PS_HOP_TO)) {
		__builtin_memcpy(way->addr, want->addr, sizeof(way->addr));
	}
	count(want->instance, way->rule, found);
	if (found & PS_FOUND)
		return 1;
	return way->flags & PS_HOP_PASS ? 0 : -ECONNREFUSED;
}

/* --- the hooks --- */

static __always_inline void read_address(const struct bpf_sock_addr *ctx, __u32 addr[4], bool v6)
{
	if (!v6) {
		addr[0] = ctx->user_ip4;
		return;
	}
#pragma unroll
	for (int i = 0; i < 4; i++)
		addr[i] = *(volatile __u32 *)&ctx->user_ip6[i];
}

static __always_inline void write_address(struct bpf_sock_addr *ctx, const __u32 addr[4],
					  __u8 family, bool v6)
{
	if (!v6) {
		ctx->user_ip4 = addr[0];
	} else if (family == 4) {
		ctx->user_ip6[3] = addr[0]; /* it is v4-mapped, and stays so */
	} else {
#pragma unroll
		for (int i = 0; i < 4; i++)
			*(volatile __u32 *)&ctx->user_ip6[i] = addr[i];
	}
}

static __always_inline void write_destination(struct bpf_sock_addr *ctx, const struct ps_want *want,
					      const struct ps_way *way, bool v6)
{
	write_address(ctx, way->addr, want->family, v6);
	ctx->user_port = bpf_htons(way->port);
}

/* Fail the call with this error; the kernel's own choice would be EPERM. */
static __always_inline int fail(int err)
{
	bpf_set_retval(err);
	return 0;
}

/* Give the call another destination. */
static __always_inline int turn(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
				const struct ps_want *want, const struct ps_way *way, bool v6)
{
	int ret = leave_trail(ctx, sk, want, way);

	if (ret)
		return ret;
	write_destination(ctx, want, way, v6);
	return 0;
}

/* When an IPv6 socket that is connected to a v4-mapped address sends, the kernel names
 * the peer as if the program had: that was decided when it was connected. */
static __always_inline bool is_own_peer(const struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	return sk && sk->family == AF_INET6 && sk->state == BPF_TCP_ESTABLISHED &&
	       sk->dst_ip4 == ctx->user_ip4 && sk->dst_port == (__u16)ctx->user_port;
}

/* A connect() or a datagram to a port that some rule names. */
static __always_inline int go(struct bpf_sock_addr *ctx, bool v6)
{
	struct ps_want want = { .family = 4 };
	struct ps_way way = {};
	struct bpf_sock *sk = ctx->sk;
	struct ps_trail *trail = NULL;
	int ret;

	want.port = bpf_ntohs(ctx->user_port);
	want.protocol = protocol_of(ctx);
	if (!want.protocol || !sk)
		return 1;
	read_address(ctx, want.addr, v6);
	if (v6 && !unmap(want.addr))
		want.family = 6;
	name_loopback(&want);
	want.cgroup = bpf_get_current_cgroup_id();
	if (want.protocol == IPPROTO_UDP) {
		trail = bpf_sk_storage_get(&trails, sk, NULL, 0);
		if (find_again(trail, &want, &way)) {
			count(want.instance, way.rule, PS_FOUND);
			write_destination(ctx, &want, &way, v6);
			return 1;
		}
	}
	want.namespace = bpf_get_netns_cookie(ctx);
	if (!decide(&want, &way))
		return 1;
	ret = find_way(&want, &way);
	if (!ret && want.protocol == IPPROTO_TCP)
		trail = bpf_sk_storage_get(&trails, sk, NULL, 0);
	if (!ret)
		forget_way(ctx, trail, &want);
	if (ret > 0)
		ret = turn(ctx, sk, &want, &way, v6);
	return ret < 0 ? fail(ret) : 1;
}

/* Say where the client wanted to go. */
static __always_inline int name_wanted(struct bpf_sock_addr *ctx, bool v6)
{
	struct bpf_sock *sk = ctx->sk;
	struct ps_trail *trail = sk ? bpf_sk_storage_get(&trails, sk, NULL, 0) : NULL;
	__u32 addr[4] = {}, family = 4;
	struct ps_step *s;

	if (!trail)
		return 1;
	read_address(ctx, addr, v6);
	if (v6 && !unmap(addr))
		family = 6;
	s = step_to(trail, family, addr, bpf_ntohs(ctx->user_port));
	if (s) {
		write_address(ctx, s->wanted, family, v6);
		ctx->user_port = bpf_htons(s->wanted_port);
	}
	return 1;
}

/* The same of a connected socket, which may have taken a turn. */
static __always_inline int name_peer(struct bpf_sock_addr *ctx, bool v6)
{
	__u16 wanted = 0;

	if (protocol_of(ctx) == IPPROTO_TCP)
		wanted = turned_from(bpf_get_socket_cookie(ctx), bpf_ntohs(ctx->user_port));
	if (!wanted)
		return name_wanted(ctx, v6);
	ctx->user_port = bpf_htons(wanted);
	return 1;
}

#define PS_GO(ctx, v6) (is_named(bpf_ntohs((ctx)->user_port)) ? go(ctx, v6) : 1)
#define PS_NAME(ctx, v6) (is_named(bpf_ntohs((ctx)->user_port)) ? name_wanted(ctx, v6) : 1)
#define PS_NAME_PEER(ctx, v6) (is_named(bpf_ntohs((ctx)->user_port)) ? name_peer(ctx, v6) : 1)

#endif
