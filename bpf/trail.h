/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a client's socket carries after it was sent elsewhere: where it wanted to go, for
 * getpeername() and recvmsg() to say, and for the next datagram to be sent the same way.
 */
#ifndef PORTSTEER_TRAIL_H
#define PORTSTEER_TRAIL_H

#define ENOMEM 12

/* --- turns: a socket that has but another port --- */

/* The place of a socket's turn; it is the socket's if its cookie is there. Cookies are
 * given out in a row, so that sockets which are open together seldom share a place. */
static __always_inline struct ps_turn *turn_at(__u64 cookie)
{
	__u32 key = cookie & (PS_TURNS - 1);

	return bpf_map_lookup_elem(&turns, &key);
}

/* Has a socket ever been sent to this port? Says so once for all: when it is closed, its
 * port may not be one of a rule any more. */
static __always_inline bool is_reached(__u32 port)
{
	__u32 key = port / 64;
	__u64 *bits = bpf_map_lookup_elem(&reached, &key);

	return bits && *(volatile __u64 *)bits >> (port & 63) & 1;
}

static __always_inline void note_reached(__u32 port)
{
	__u32 key = port / 64;
	__u64 *bits = is_reached(port) ? NULL : bpf_map_lookup_elem(&reached, &key);

	if (bits)
		__sync_fetch_and_or(bits, 1ULL << (port & 63));
}

/* Note the turn of a TCP socket: false if the place is another's. */
static __always_inline bool note_turn(__u64 cookie, const struct ps_want *want,
				      const struct ps_way *way)
{
	struct ps_turn *t = turn_at(cookie);

	note_reached(way->port);
	if (!t || (t->cookie != cookie && __sync_val_compare_and_swap(&t->cookie, 0, cookie)))
		return false;
	*(volatile __u32 *)&t->ports = PS_TURN_PORTS(want->port, way->port);
	return true;
}

/* The socket goes elsewhere, or is closed. */
static __always_inline void forget_turn(__u64 cookie)
{
	struct ps_turn *t = turn_at(cookie);

	if (t && t->cookie == cookie)
		*(volatile __u64 *)&t->cookie = 0;
}

/* A socket is closed. One that could not connect has no port left. */
static __always_inline void release_turn(struct bpf_sock *sk)
{
	__u32 port = bpf_ntohs(sk->dst_port);

	if (sk->protocol == IPPROTO_TCP && (!port || is_reached(port)))
		forget_turn(bpf_get_socket_cookie(sk));
}

/* The port that a socket wanted which reached this one, or 0. */
static __always_inline __u16 turned_from(__u64 cookie, __u16 real)
{
	struct ps_turn *t = turn_at(cookie);
	__u32 ports = t && t->cookie == cookie ? *(volatile __u32 *)&t->ports : 0;

	return (__u16)ports == real ? (__u16)(ports >> 16) : 0;
}

/* --- trails: everything else --- */

/* The step that led to this address and port, or NULL. */
static __always_inline struct ps_step *step_to(struct ps_trail *trail, __u32 family,
					       const __u32 addr[4], __u16 port)
{
	for (int i = 0; i < PS_STEPS; i++) {
		struct ps_step *s = &trail->step[i];

		if (s->family == family && s->real_port == port && same_address(s->real, addr))
			return s;
	}
	return NULL;
}

/* Note a step in the trail: in place of the one to this address, or the oldest. */
static __always_inline struct ps_step *add_step(struct ps_trail *trail, const struct ps_want *want,
						const struct ps_way *way)
{
	struct ps_step *s = step_to(trail, want->family, way->addr, way->port);

	if (!s)
		s = &trail->step[trail->next++ & (PS_STEPS - 1)];
	s->family = want->family;
	s->wanted_port = want->port;
	s->real_port = way->port;
	__builtin_memcpy(s->wanted, want->addr, sizeof(s->wanted));
	__builtin_memcpy(s->real, way->addr, sizeof(s->real));
	return s;
}

/* Note the decision, to be made again for the next datagram as long as it would be the
 * same. A process is moved no faster than the kernel waits for all CPUs: one that is
 * where it was did not leave meanwhile. */
static __always_inline void note_decision(struct ps_trail *trail, const struct ps_step *step,
					  const struct ps_want *want, const struct ps_way *way)
{
	__u32 inst = want->instance;
	struct ps_instance *me = bpf_map_lookup_elem(&instances, &inst);

	trail->word = 0;
	if (!me || bpf_get_current_cgroup_id() != want->cgroup)
		return;
	trail->last = (__u32)((const char *)step - (const char *)trail->step) / sizeof(*step);
	trail->namespace = *(volatile __u64 *)&me->cookie;
	trail->cgroup = want->cgroup;
	trail->instance = inst;
	trail->rule = way->rule;
	trail->word = way->word;
}

/* The decision that was noted, if it holds for this: for the same destination, process's
 * cgroup and ruleset. Only of UDP, whose rules look for no listener. */
static __always_inline bool find_again(const struct ps_trail *trail, struct ps_want *want,
				       struct ps_way *way)
{
	const struct ps_step *s;
	struct ps_instance *me;
	__u32 inst;

	if (!trail || !trail->word || trail->cgroup != want->cgroup)
		return false;
	s = &trail->step[trail->last & (PS_STEPS - 1)];
	if (s->family != want->family || s->wanted_port != want->port ||
	    !same_address(s->wanted, want->addr))
		return false;
	inst = trail->instance;
	me = bpf_map_lookup_elem(&instances, &inst);
	if (!me || *(volatile __u64 *)&me->active != trail->word ||
	    *(volatile __u64 *)&me->cookie != trail->namespace)
		return false;
	want->instance = inst;
	way->rule = trail->rule;
	way->port = s->real_port;
	__builtin_memcpy(way->addr, s->real, sizeof(way->addr));
	return true;
}

/* Note on the socket where it really goes. */
static __always_inline int leave_trail(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
				       const struct ps_want *want, const struct ps_way *way)
{
	struct mptcp_sock *whole = whole_of(sk);
	bool tcp = want->protocol == IPPROTO_TCP;
	struct ps_trail *trail;
	struct ps_step *step;

	if (tcp && !whole && same_address(want->addr, way->addr) &&
	    note_turn(bpf_get_socket_cookie(ctx), want, way))
		return 0;
	trail = bpf_sk_storage_get(&trails, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!trail)
		return -ENOMEM;
	if (tcp)
		forget_turn(bpf_get_socket_cookie(ctx));
	step = add_step(trail, want, way);
	if (!tcp)
		note_decision(trail, step, want, way);
	trail = whole ? bpf_sk_storage_get(&trails, whole, NULL, BPF_SK_STORAGE_GET_F_CREATE) :
			NULL;
	if (trail)
		add_step(trail, want, way);
	return 0;
}

/* The socket goes where it wants: if it was once sent there instead of elsewhere, that
 * is over. */
static __always_inline void forget_way(struct bpf_sock_addr *ctx, struct ps_trail *trail,
				       const struct ps_want *want)
{
	struct ps_step *s = trail ? step_to(trail, want->family, want->addr, want->port) : NULL;

	if (s)
		s->family = 0;
	if (want->protocol == IPPROTO_TCP)
		forget_turn(bpf_get_socket_cookie(ctx));
}

#endif
