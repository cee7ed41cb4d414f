/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which of a rule's listeners a connect mode client is sent to, and at which address: any that
 * is alive and serves the client's address family.
 */
#ifndef PORTSTEER_REACH_H
#define PORTSTEER_REACH_H

#define AF_INET 2
#define AF_INET6 10

/* In one of eight jiffies all slots are looked at. */
#define PS_LOOK_ANEW 7

enum ps_reached { PS_NONE = 0, PS_OTHER_FAMILY = 1, PS_FOUND = 2 };

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

/* Twice if need be: a listener may enter a place that has been looked at, and the one that it
 * replaces leave a place that has not. Then there was one all the time, and none was found. */
static __always_inline int reach_any(const struct ps_want *want, struct ps_way *way)
{
	int found = ps_reach_any(want, way);

	return found & PS_FOUND ? found : found | ps_reach_any(want, way);
}

#endif
