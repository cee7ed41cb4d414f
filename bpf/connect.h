/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connect mode: where a client is sent instead of where it wants to go, by its cgroup.
 * Runs once for each connect() of the host, and for each datagram of an unconnected
 * UDP socket; most of them end at is_named.
 */
#ifndef PORTSTEER_CONNECT_H
#define PORTSTEER_CONNECT_H

#define ECONNREFUSED 111
#define AF_INET 2
#define AF_INET6 10

/* A ruleset that is replaced while it is read is read again; see admit.h. */
#define PS_HOP_TRIES 3

/* In one of eight jiffies all slots are looked at. */
#define PS_LOOK_ANEW 7

enum ps_reached { PS_NONE = 0, PS_OTHER_FAMILY = 1, PS_FOUND = 2 };

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

static __always_inline bool is_zero(const __u32 addr[4])
{
	return !(addr[0] | addr[1] | addr[2] | addr[3]);
}

static __always_inline bool is_loopback(const struct ps_want *want)
{
	if (want->family == 4)
		return (want->addr[0] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !want->addr[0] && !want->addr[1] && !want->addr[2] && want->addr[3] == bpf_htonl(1);
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

/* A listener on every address is where the client wanted to go, if that is this host
 * for sure, or else on the loopback address. */
static __always_inline void reach_anywhere(const struct ps_want *want, struct ps_way *way)
{
	bool as_wanted = is_loopback(want);

	for (int i = 0; i < 4; i++)
		way->addr[i] = as_wanted ? want->addr[i] : 0;
	if (!as_wanted && want->family == 4)
		way->addr[0] = bpf_htonl(0x7f000001);
	else if (!as_wanted)
		way->addr[3] = bpf_htonl(1);
}

static __always_inline bool is_v6only(struct bpf_sock *sk)
{
	struct bpf_sock *on_stack = sk;
	__u64 address = 0;

	/* The verifier allows no access to its kernel fields; read behind its back. */
	bpf_probe_read_kernel(&address, sizeof(address), &on_stack);
	return BPF_CORE_READ_BITFIELD_PROBED((struct sock *)address, __sk_common.skc_ipv6only);
}

/* The listener's address and port, if it serves the client's family. */
static __always_inline enum ps_reached reach(const struct ps_want *want, struct bpf_sock *sk,
					     struct ps_way *way)
{
	__u8 family = 6;
	__u32 addr[4] = {};

	way->port = sk->src_port;
	if (sk->family == AF_INET) {
		family = 4;
		addr[0] = sk->src_ip4;
	} else {
		for (int i = 0; i < 4; i++)
			addr[i] = *(volatile __u32 *)&sk->src_ip6[i];
		if (unmap(addr))
			family = 4;
		else if (is_zero(addr) && want->family == 4 && !is_v6only(sk))
			family = 4;
	}
	if (family != want->family)
		return PS_OTHER_FAMILY;
	if (is_zero(addr))
		reach_anywhere(want, way);
	else
		__builtin_memcpy(way->addr, addr, sizeof(addr));
	return PS_FOUND;
}

static __always_inline void *slots_of(__u32 inst, __u32 target)
{
	struct ps_chunk_key key = { .instance = inst, .chunk = PS_TARGET_CHUNK_OF(target) };

	return bpf_map_lookup_elem(&sockets, &key);
}

/* Releases the listener. An enum ps_reached. */
static __always_inline int reach_and_release(const struct ps_want *want, struct bpf_sock *sk,
					     struct ps_way *way)
{
	int ret = reach(want, sk, way);

	bpf_sk_release(sk);
	return ret;
}

/* The first listener of a target's slots, from the one at `first` on. An OR of enum
 * ps_reached. The global functions of the search are verified once; see admit.h. */
__noinline int ps_reach_slots(const struct ps_want *want, struct ps_way *way, __u32 first)
{
	int found = PS_NONE;
	__u32 slot, vacant;
	struct bpf_sock *sk;
	void *map;

	if (!want || !way)
		return PS_NONE;
	map = slots_of(want->instance, way->listeners);
	for (__u32 i = 0; map && i < PS_SLOTS; i++) {
		slot = (first + i) & (PS_SLOTS - 1);
		if (way->vacant >> slot & 1)
			continue;
		vacant = 1 << slot;
		slot += PS_TARGET_INDEX_OF(way->listeners) * PS_SLOTS;
		sk = bpf_map_lookup_elem(map, &slot);
		if (sk)
			found |= reach_and_release(want, sk, way);
		else
			way->vacant |= vacant;
		if (found & PS_FOUND)
			break;
	}
	return found;
}

/* The listener at place `n` of a target, the first PS_SLOTS being its slots. */
__noinline int ps_reach_place(const struct ps_want *want, struct ps_way *way, __u32 n)
{
	struct ps_overflow_key more = {};
	struct bpf_sock *sk;
	__u32 inst, slot;
	void *map;

	if (!want || !way)
		return PS_NONE;
	inst = want->instance;
	if (n < PS_SLOTS) {
		map = slots_of(inst, way->listeners);
		if (!map)
			return PS_NONE;
		slot = PS_TARGET_INDEX_OF(way->listeners) * PS_SLOTS + n;
		sk = bpf_map_lookup_elem(map, &slot);
	} else {
		map = bpf_map_lookup_elem(&overflows, &inst);
		if (!map)
			return PS_NONE;
		more.target = way->listeners;
		more.n = n - PS_SLOTS;
		sk = bpf_map_lookup_elem(map, &more);
	}
	return sk ? reach_and_release(want, sk, way) : PS_NONE;
}

/* Is there but one slot that is not vacant? */
static __always_inline bool is_single(__u32 vacant)
{
	__u32 taken = ~vacant & ((1U << PS_SLOTS) - 1);

	return !(taken & (taken - 1));
}

/* The same from a random place on, passing slots by that were vacant when last looked at.
 * All are looked at when nobody was found in the others, and now and then: so newcomers
 * are found. */
static __always_inline int reach_slots(const struct ps_want *want, struct ps_way *way)
{
	__u32 vacant = bpf_jiffies64() & PS_LOOK_ANEW ? way->vacant : 0;
	__u32 first = is_single(vacant) ? 0 : bpf_get_prandom_u32() >> 8;
	int found;

	way->vacant = vacant;
	found = ps_reach_slots(want, way, first);
	if (found & PS_FOUND || !vacant)
		return found;
	way->vacant = 0;
	return found | ps_reach_slots(want, way, first);
}

/* How many places of a target may have been used, PS_SLOTS at least. */
static __always_inline __u32 places_of(__u32 inst, __u32 target)
{
	struct ps_instance *me = bpf_map_lookup_elem(&instances, &inst);
	struct ps_events *e = me && me->overflowed ? events_at(inst, target) : NULL;
	__u64 more = e ? e->overflow : 0;

	return PS_SLOTS + (__u32)(more < PS_OVERFLOW ? more : PS_OVERFLOW);
}

/* Any live listener of the rule's, the search beginning at a random place. An OR of enum
 * ps_reached. */
__noinline int ps_reach_any(const struct ps_want *want, struct ps_way *way)
{
	__u32 places, first;
	int found = PS_NONE;

	if (!want || !way)
		return PS_NONE;
	places = places_of(want->instance, way->listeners);
	/* Usually so, and cheaper: */
	if (places == PS_SLOTS)
		return reach_slots(want, way);
	first = bpf_get_prandom_u32() >> 8;
	for (__u32 i = 0; i < PS_SLOTS + PS_OVERFLOW && i < places; i++) {
		found |= ps_reach_place(want, way, (first + i) % places);
		if (found & PS_FOUND)
			break;
	}
	return found;
}

static __always_inline void count(__u32 inst, __u32 rule, int found)
{
	struct ps_connect_events *e = (struct ps_connect_events *)events_at(inst, rule);

	if (!e)
		return;
	if (found & PS_FOUND)
		__sync_fetch_and_add(&e->steered, 1);
	else if (found & PS_OTHER_FAMILY)
		__sync_fetch_and_add(&e->family, 1);
	else
		__sync_fetch_and_add(&e->missed, 1);
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
		found = ps_reach_any(want, way);
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
