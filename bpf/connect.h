/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connect mode where a client has to be sent elsewhere: for UDP, to a fixed target, and from
 * destinations that need not be this host's. All else of TCP is in client.h. Runs once for each
 * connect() of the host, and for each datagram of an unconnected UDP socket, while there is
 * such a rule; most of them end at is_named.
 */
#ifndef PORTSTEER_CONNECT_H
#define PORTSTEER_CONNECT_H

#include "address.h"
#include "answer.h"
#include "filter.h"
#include "flow.h"
#include "reach.h"
#include "connect_rules.h"
#include "sock_addr.h"
#include "trail.h"

#define LOOPBACK_IFINDEX 1 /* net/core/net_namespace.c: of each namespace */

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

/* To the target as it is given. */
static __always_inline void take_fixed(const struct ps_want *want, struct ps_answer *answer)
{
	if (!(answer->flags & PS_HOP_TO))
		__builtin_memcpy(answer->addr, want->addr, sizeof(answer->addr));
	count_client(want->instance, answer->rule, PS_CLIENT_STEERED);
}

/* The loopback address of the family, and the same port. */
static __always_inline void take_loopback(const struct ps_want *want, struct ps_answer *answer)
{
	answer->addr[0] = answer->addr[1] = answer->addr[2] = answer->addr[3] = 0;
	if (want->family == 4)
		answer->addr[0] = bpf_htonl(0x7f000001);
	else
		answer->addr[3] = bpf_htonl(1);
	answer->port = want->port;
}

/*
 * A connection for which a listener is to be found: client.h does that wherever it arrives at
 * this host. A destination may be another host's, and nothing here can tell; so it is turned to
 * the loopback address. From there it cannot go on to where it wanted: if it may, the listener
 * is looked for first. 1 with *answer, 0, or what connect() is to fail with.
 */
static __always_inline int go_steered(struct bpf_sock *sk, const struct ps_want *want,
				      struct ps_answer *answer)
{
	int found = PS_FOUND;

	if (is_loopback(want))
		return 0;
	/* Of a socket that is bound to a device, the loopback address is on that device. */
	if (sk->bound_dev_if && sk->bound_dev_if != LOOPBACK_IFINDEX)
		found = PS_NONE;
	else if (answer->flags & PS_HOP_PASS)
		found = reach_any(want->instance, answer->listeners, want->family);
	if (found & PS_FOUND) {
		take_loopback(want, answer);
		return 1;
	}
	count_client(want->instance, answer->rule,
		     found & PS_OTHER_FAMILY ? PS_CLIENT_WRONG_FAMILY : PS_CLIENT_NO_LISTENER);
	return answer->flags & PS_HOP_PASS ? 0 : -ECONNREFUSED;
}

/* Where to go, as the rules say: 1 with answer->addr and port; 0 for where it wanted; or what
 * connect() is to fail with. */
static __always_inline int find_way(struct bpf_sock *sk, const struct ps_want *want,
				    struct ps_answer *answer)
{
	if (answer->found == PS_UNREADABLE)
		return -ECONNREFUSED;
	if (answer->found != PS_RULE)
		return 0;
	if (!(answer->flags & PS_HOP_FIXED))
		return go_steered(sk, want, answer);
	take_fixed(want, answer);
	return 1;
}

/* --- the hooks --- */

static __always_inline void read_address(const struct bpf_sock_addr *ctx, __u32 addr[4], bool v6)
{
	if (!v6) {
		addr[0] = ctx->user_ip4;
		return;
	}
	ps_ctx_ip6(addr, ctx->user_ip6);
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
			ps_ctx(ctx->user_ip6[i]) = addr[i];
	}
}

static __always_inline void write_destination(struct bpf_sock_addr *ctx, const struct ps_want *want,
					      const struct ps_answer *answer, bool v6)
{
	write_address(ctx, answer->addr, want->family, v6);
	ctx->user_port = bpf_htons(answer->port);
}

/* Fail the call with this error; the kernel's own choice would be EPERM. */
static __always_inline int fail(int err)
{
	bpf_set_retval(err);
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
	struct ps_answer answer = {};
	struct bpf_sock *sk = ctx->sk;
	__u32 inst;
	int ret;

	want.port = bpf_ntohs(ctx->user_port);
	want.protocol = protocol_of(ctx);
	want.namespace = bpf_get_netns_cookie(ctx);
	if (!want.protocol || !sk || !find_instance(want.namespace, &inst))
		return 1;
	want.instance = inst;
	read_address(ctx, want.addr, v6);
	if (v6 && !unmap(want.addr))
		want.family = 6;
	name_loopback(&want);
	ask_rules(&want, &answer);
	ret = find_way(sk, &want, &answer);
	if (!ret)
		forget_way(sk, &want);
	if (ret > 0)
		ret = leave_trail(sk, &want, &answer, answer.flags & PS_HOP_FIXED ? 0 : PS_STEP_LOOPBACK) ?:
			      1;
	if (ret > 0)
		write_destination(ctx, &want, &answer, v6);
	return ret < 0 ? fail(ret) : 1;
}

/* Say where the client wanted to go. */
static __always_inline int name_wanted(struct bpf_sock_addr *ctx, bool v6)
{
	struct bpf_sock *sk = ctx->sk;
	struct ps_trail *trail = sk ? bpf_sk_storage_get(&ps_trails, sk, NULL, 0) : NULL;
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

#define PS_GO(ctx, v6) (is_named(bpf_ntohs((ctx)->user_port)) ? go(ctx, v6) : 1)
#define PS_NAME(ctx, v6) (is_named(bpf_ntohs((ctx)->user_port)) ? name_wanted(ctx, v6) : 1)

#endif
