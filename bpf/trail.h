/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a client's socket carries after it was sent elsewhere: where it wanted to go, for
 * getpeername() and recvmsg() to say.
 */
#ifndef PORTSTEER_TRAIL_H
#define PORTSTEER_TRAIL_H

#include "address.h"
#include "answer.h"
#include "connect_maps.h"
#include "sock_addr.h"

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
static __always_inline void add_step(struct ps_trail *trail, const struct ps_want *want,
				     const struct ps_answer *answer, __u16 flags)
{
	struct ps_step *s = step_to(trail, want->family, answer->addr, answer->port);

	if (!s)
		s = &trail->step[trail->next++ & (PS_STEPS - 1)];
	s->family = want->family;
	s->flags = flags;
	s->wanted_port = want->port;
	s->real_port = answer->port;
	__builtin_memcpy(s->wanted, want->addr, sizeof(s->wanted));
	__builtin_memcpy(s->real, answer->addr, sizeof(s->real));
}

/* Note on the socket where it really goes; on the MPTCP socket of which it is a subflow too,
 * which is asked for its names itself. */
static __always_inline int leave_trail(struct bpf_sock *sk, const struct ps_want *want,
				       const struct ps_answer *answer, __u16 flags)
{
	struct mptcp_sock *whole = whole_of(sk);
	struct ps_trail *trail;

	trail = bpf_sk_storage_get(&ps_trails, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!trail)
		return -ENOMEM;
	add_step(trail, want, answer, flags);
	trail = whole ? bpf_sk_storage_get(&ps_trails, whole, NULL, BPF_SK_STORAGE_GET_F_CREATE) :
			NULL;
	if (trail)
		add_step(trail, want, answer, flags);
	return 0;
}

static __always_inline void forget_step(struct ps_trail *trail, const struct ps_want *want)
{
	struct ps_step *s = trail ? step_to(trail, want->family, want->addr, want->port) : NULL;

	if (s)
		s->family = 0;
}

/* The socket goes where it wants: if it was once sent there instead of elsewhere, that
 * is over. */
static __always_inline void forget_way(struct bpf_sock *sk, const struct ps_want *want)
{
	struct mptcp_sock *whole = whole_of(sk);

	forget_step(bpf_sk_storage_get(&ps_trails, sk, NULL, 0), want);
	if (whole)
		forget_step(bpf_sk_storage_get(&ps_trails, whole, NULL, 0), want);
}

#endif
