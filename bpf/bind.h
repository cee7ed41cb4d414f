/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Bind mode: what becomes of a bind(). Runs once for each bind of the host, in the
 * process's own call; most of them end at is_named.
 */
#ifndef PORTSTEER_BIND_H
#define PORTSTEER_BIND_H

#include "common.h"
#include "address.h"
#include "bind_maps.h"
#include "filter.h"
#include "maps.h"
#include "owner.h"
#include "sock_addr.h"

/* What a bind hook tells the kernel: go on, and the port needs no capability. */
enum { PS_BIND_REFUSE = 0, PS_BIND_GO_ON = 1, PS_BIND_GRANT = 3 };

/* A bind() to an address and port. */
struct ps_bind_ask {
	__u32 instance;
	__u16 port; /* host byte order */
	__u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 family; /* of the address: 4 (v4-mapped ones too), 6, or 0 for :: that takes both */
	__u32 addr[4]; /* network byte order */
	__u32 uid;
	__u32 half; /* of the tables that are read */
	__u64 cgroup; /* address of the socket's struct cgroup */
};

/* What the rules say of it. */
struct ps_bind_answer {
	__u32 record; /* the owner's rule, 0 if there is none */
	__u32 rule; /* where its events are */
	__u16 front;
};

static __always_inline struct ps_bind *bind_at(__u32 inst, __u32 half, __u32 index)
{
	return entry_of(entry_of(&ps_binds, inst), index * 2 + half);
}

/* The record after `cursor` in the chain of `port` (0: the first one), or 0 at its end. */
PS_GLOBAL int ps_bind_after(__u32 inst, __u32 half, __u32 port, __u32 cursor)
{
	struct ps_bind *r;

	if (!cursor) {
		r = bind_at(inst, half, 0);
		if (!r || !r->owner)
			return 0;
		cursor = port & (r->owner - 1);
	}
	r = bind_at(inst, half, cursor);
	return r ? r->next : 0;
}

static __always_inline bool in_prefix(const struct ps_bind_ask *ask, const struct ps_bind *r)
{
	if (!r->family)
		return true;
	return r->family == ask->family && same_prefix(ask->addr, r->addr, r->length - 1);
}

/* Is the record one of the port's, and for this protocol and address? */
static __always_inline bool is_about(const struct ps_bind_ask *ask, const struct ps_bind *r,
				     __u32 port)
{
	return r->port == port && r->protocol == ask->protocol && in_prefix(ask, r);
}

/* Is the record at `index` the rule by which the owner gets what is asked for? 1 or 0. */
PS_GLOBAL int ps_bind_matches(const struct ps_bind_ask *ask, __u32 index)
{
	struct ps_bind *r = ask ? bind_at(ask->instance, ask->half, index) : NULL;

	if (!ask || !r || !(r->flags & PS_BIND_ASKED) || !is_about(ask, r, ask->port))
		return 0;
	return ps_owns(ask->instance, r->owner * 2 + ask->half, ask->uid, ask->cgroup);
}

/* The first record of the chain that is the owner's rule, or 0. */
static __always_inline __u32 find_bind(const struct ps_bind_ask *ask)
{
	__u32 cursor = 0;

	for (int i = 0; i < PS_CHAIN; i++) {
		cursor = ps_bind_after(ask->instance, ask->half, ask->port, cursor);
		if (!cursor || ps_bind_matches(ask, cursor))
			break;
	}
	return cursor;
}

/* Is the record at `index` of a rule with a longer prefix than `length` for the front
 * port and this address? The longest prefix decides whose the port is. 1 or 0. */
PS_GLOBAL int ps_bind_claims(const struct ps_bind_ask *ask, __u32 index, __u32 front, __u32 length)
{
	struct ps_bind *r = ask ? bind_at(ask->instance, ask->half, index) : NULL;

	return ask && r && r->flags & PS_BIND_FRONT && r->length > length &&
	       is_about(ask, r, front);
}

/* The record of such a rule, or 0. */
static __always_inline __u32 find_claim(const struct ps_bind_ask *ask, __u32 front, __u32 length)
{
	__u32 cursor = 0;

	for (int i = 0; i < PS_CHAIN; i++) {
		cursor = ps_bind_after(ask->instance, ask->half, front, cursor);
		if (!cursor || ps_bind_claims(ask, cursor, front, length))
			break;
	}
	return cursor;
}

/* Somebody asks for the port of the record at `index`: count it, unless it is the owner
 * (who may well ask for a front port, though it takes the target to get it). */
PS_GLOBAL int ps_bind_deny(const struct ps_bind_ask *ask, __u32 index, __u32 port)
{
	struct ps_bind *r = ask ? bind_at(ask->instance, ask->half, index) : NULL;
	struct ps_bind_events *e;

	if (!ask || !r || !is_about(ask, r, port) ||
	    ps_owns(ask->instance, r->owner * 2 + ask->half, ask->uid, ask->cgroup))
		return 0;
	e = events_at(ask->instance, r->rule);
	if (e)
		PS_COUNT(e->not_owner);
	return 0;
}

/* No rule lets this bind through: count it at those that name the port. */
static __always_inline void deny_all(const struct ps_bind_ask *ask)
{
	__u32 cursor = 0;

	for (int i = 0; i < PS_CHAIN; i++) {
		cursor = ps_bind_after(ask->instance, ask->half, ask->port, cursor);
		if (!cursor)
			break;
		ps_bind_deny(ask, cursor, ask->port);
	}
}

/* What the ruleset `word` says: 0, or -EAGAIN if it was replaced meanwhile. */
static __always_inline int read_binds(struct ps_bind_ask *ask, const struct ps_instance *me,
				      __u64 word, struct ps_bind_answer *answer)
{
	__u32 record, claim = 0;
	struct ps_bind *r;

	ask->half = PS_WORD_HALF(word);
	record = find_bind(ask);
	r = record ? bind_at(ask->instance, ask->half, record) : NULL;
	if (r) {
		answer->front = r->other;
		answer->rule = r->rule;
		claim = find_claim(ask, r->other, r->length);
	}
	if (!still_valid(me, word))
		return -EAGAIN;
	if (claim)
		ps_bind_deny(ask, claim, answer->front);
	else if (!record)
		deny_all(ask);
	answer->record = claim ? 0 : record;
	return 0;
}

/* What the rules in force say of a bind; 0 with answer->record zero for "nothing". */
PS_GLOBAL int ps_bind_decide(struct ps_bind_ask *ask, struct ps_bind_answer *answer)
{
	struct ps_instance *me;
	__u32 inst;

	if (!ask || !answer)
		return 0;
	answer->record = 0;
	inst = ask->instance;
	me = bpf_map_lookup_elem(&ps_instances, &inst);
	for (int i = 0; me && i < PS_READ_TRIES; i++) {
		__u64 word = READ_ONCE(me->active);

		if (!word || !read_binds(ask, me, word, answer))
			break;
	}
	return 0;
}

/* The wildcard of IPv6 takes IPv4 clients too, unless the socket says otherwise: then it
 * is in no prefix of one family. */
static __always_inline __u8 family_of(struct ps_bind_ask *ask, const struct sock *sk)
{
	if (unmap(ask->addr))
		return 4;
	if (!is_zero(ask->addr))
		return 6;
	return BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_ipv6only) ? 6 : 0;
}

/* The socket that user space has: of a subflow, the MPTCP socket that it is a part of. The
 * subflow keeps the uid of who first used the socket, whoever it was given to since. */
static __always_inline const struct sock *users_socket(const struct sock *sk)
{
	const struct mptcp_subflow_context *subflow;
	const struct sock *whole;

	if (!bpf_core_type_exists(struct mptcp_subflow_context) ||
	    BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP ||
	    !BPF_CORE_READ((const struct tcp_sock *)sk, is_mptcp))
		return sk;
	subflow = BPF_CORE_READ((const struct inet_connection_sock *)sk, icsk_ulp_data);
	whole = BPF_CORE_READ(subflow, conn);
	return whole ? whole : sk;
}

/* Whose the socket is, and what else of it a rule may ask for: read here, and nowhere else. */
static __always_inline void read_socket(struct ps_bind_ask *ask, const struct sock *sk)
{
	const struct sock *users = users_socket(sk);

	if (!ask->family)
		ask->family = family_of(ask, sk);
	ask->uid = BPF_CORE_READ(users, sk_uid.val);
	ask->cgroup = (__u64)BPF_CORE_READ(users, sk_cgrp_data.cgroup);
}

/* Note on the socket what it is bound through, for getsockname and for the counters. */
static __always_inline int note_on_socket(struct bpf_sock *sk, const struct ps_bound *note)
{
	struct ps_bound *on = bpf_sk_storage_get(&ps_bound, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	struct mptcp_sock *whole;

	if (!on)
		return -1;
	*on = *note;
	whole = whole_of(sk);
	on = whole ? bpf_sk_storage_get(&ps_bound, whole, NULL, BPF_SK_STORAGE_GET_F_CREATE) : NULL;
	if (on)
		*on = *note;
	return 0;
}

/* A bind that failed has left a note, and this one is not a rule's. The note itself stays: it
 * says that some bind of this socket's was let through, see bind_done. */
static __always_inline void blank_note(struct bpf_sock *sk)
{
	struct ps_bound *on = bpf_sk_storage_get(&ps_bound, sk, NULL, 0);
	struct mptcp_sock *whole = on ? whole_of(sk) : NULL;

	if (on)
		WRITE_ONCE(on->front, 0);
	on = whole ? bpf_sk_storage_get(&ps_bound, whole, NULL, 0) : NULL;
	if (on)
		WRITE_ONCE(on->front, 0);
}

/* Let a bind through that the rules grant. */
static __always_inline int let_through(struct bpf_sock_addr *ctx, const struct ps_bind_ask *ask,
				       const struct ps_bind_answer *answer)
{
	struct ps_bound note = {
		.instance = ask->instance,
		.rule = answer->rule,
		.front = answer->front,
		.target = ask->port,
		.protocol = ask->protocol,
	};
	struct ps_bind_events *e = events_at(ask->instance, answer->rule);
	struct bpf_sock *sk = ctx->sk;

	if (e)
		PS_COUNT(e->tried);
	/* Without memory for that: rather no port than the wrong one. */
	if (!sk || note_on_socket(sk, &note))
		return PS_BIND_REFUSE;
	ctx->user_port = bpf_htons(answer->front);
	return PS_BIND_GRANT;
}

static __always_inline const struct sock *asking_socket(struct bpf_sock_addr *ctx)
{
	return BPF_CORE_READ((struct bpf_sock_addr_kern *)ctx, sk);
}

/* A bind to a port that some rule names; `ask` has the address, `full` is ctx->sk. */
static __always_inline int bind_asked(struct bpf_sock_addr *ctx, const struct sock *full,
				      struct ps_bind_ask *ask)
{
	struct ps_bind_answer answer = {};
	struct bpf_sock *sk = ctx->sk;

	ask->port = bpf_ntohs(ctx->user_port);
	ask->protocol = protocol_of(ctx);
	/* A socket that has its port already gets no other: the kernel says so. */
	if (!ask->protocol || !sk || sk->src_port ||
	    !find_instance(bpf_get_netns_cookie(ctx), &ask->instance))
		return PS_BIND_GO_ON;
	read_socket(ask, full);
	ps_bind_decide(ask, &answer);
	if (answer.record)
		return let_through(ctx, ask, &answer);
	blank_note(sk);
	return PS_BIND_GO_ON;
}

static __always_inline int bind4(struct bpf_sock_addr *ctx)
{
	struct ps_bind_ask ask = { .family = 4 };

	if (!is_named(bpf_ntohs(ctx->user_port)))
		return PS_BIND_GO_ON;
	ask.addr[0] = ctx->user_ip4;
	return bind_asked(ctx, asking_socket(ctx), &ask);
}

static __always_inline int bind6(struct bpf_sock_addr *ctx)
{
	struct ps_bind_ask ask = {};

	if (!is_named(bpf_ntohs(ctx->user_port)))
		return PS_BIND_GO_ON;
	ps_ctx_ip6(ask.addr, ctx->user_ip6);
	return bind_asked(ctx, asking_socket(ctx), &ask);
}

/* May the calling process bind the port without a rule? As the kernel has asked in this very
 * call; of a process in a user namespace above the network's, it says no. */
static __always_inline bool needs_no_rule(const struct sock *sk, __u32 port)
{
	const struct net *net = BPF_CORE_READ(sk, __sk_common.skc_net.net);
	const struct cred *cred = BPF_CORE_READ(bpf_get_current_task_btf(), cred);
	kernel_cap_t *set = __builtin_preserve_access_index(&((struct cred *)cred)->cap_effective);
	__u32 first = 1024;
	__u64 capable = 0;

	if (bpf_core_field_exists(net->ipv4.sysctl_ip_prot_sock))
		first = BPF_CORE_READ(net, ipv4.sysctl_ip_prot_sock);
	if (port >= first)
		return true;
	return BPF_CORE_READ(cred, user_ns) == BPF_CORE_READ(net, user_ns) &&
	       !bpf_probe_read_kernel(&capable, sizeof(capable), set) &&
	       capable >> CAP_NET_BIND_SERVICE & 1;
}

/* The socket has got the port that the note says. Do the rules in force give it, to the socket
 * as it is now? Then the note, and the counters, are of the rule that does. */
static __always_inline bool is_given(struct bpf_sock *ctx, const struct sock *full,
				     struct ps_bound *note, struct ps_bind_ask *ask)
{
	struct ps_bind_answer answer = {};
	struct ps_bind_events *e;

	ask->port = note->target;
	ask->protocol = note->protocol;
	if (!find_instance(bpf_get_netns_cookie(ctx), &ask->instance))
		return false;
	read_socket(ask, full);
	ps_bind_decide(ask, &answer);
	if (!answer.record || answer.front != note->front)
		return false;
	e = events_at(ask->instance, answer.rule);
	if (e) {
		if (note->rule != answer.rule)
			PS_COUNT(e->tried);
		PS_COUNT(e->done);
		WRITE_ONCE(e->last, bpf_jiffies64());
	}
	note->instance = ask->instance;
	note->rule = answer.rule;
	return true;
}

/*
 * The kernel has bound the socket, still holds its lock, and undoes the bind if told so.
 *
 * It had no lock between bind4 or bind6, which let a bind through, and now. The caller may have
 * made an IPv6 socket one for both families meanwhile, another thread of his may be in
 * another bind() of the same socket, a program on the same hook may have put another port or
 * address in the place of ours, and the rule may be deleted. So nothing of what was decided then
 * is believed: the socket is judged as it is, by the rules that are in force now. What cannot
 * be compared is to which bind() the note belongs; the note is never removed, so that each
 * later bind of a socket that was once let through is looked at here, whoever has cleared or
 * overwritten what it says.
 */
static __always_inline int bind_done(struct bpf_sock *ctx, const struct sock *full,
				     struct ps_bind_ask *ask)
{
	struct ps_bound *note = bpf_sk_storage_get(&ps_bound, ctx, NULL, 0);
	__u32 port = ctx->src_port;

	if (!note)
		return PS_BIND_GO_ON;
	if (note->front == port)
		return is_given(ctx, full, note, ask) ? PS_BIND_GO_ON : PS_BIND_REFUSE;
	/* Another port, after a bind that failed; or by a bind that is not the note's. */
	if (!needs_no_rule(full, port))
		return PS_BIND_REFUSE;
	WRITE_ONCE(note->front, 0);
	return PS_BIND_GO_ON;
}

static __always_inline int bind_done4(struct bpf_sock *ctx)
{
	struct ps_bind_ask ask = { .family = 4, .addr = { ctx->src_ip4 } };

	return bind_done(ctx, (const struct sock *)ctx, &ask);
}

static __always_inline int bind_done6(struct bpf_sock *ctx)
{
	struct ps_bind_ask ask = {};

	ps_ctx_ip6(ask.addr, ctx->src_ip6);
	return bind_done(ctx, (const struct sock *)ctx, &ask);
}

/* Is the rule still in force by which a bind to `target` became one to `front`? A deleted
 * rule's sockets say the port that they have. 1 or 0. */
PS_GLOBAL int ps_bind_is_in_force(__u64 where, __u32 target, __u32 front, __u32 rule)
{
	__u32 inst = (__u32)where, half = where >> 32 & 1, cursor = 0;
	struct ps_bind *r;

	for (int i = 0; i < PS_CHAIN; i++) {
		cursor = ps_bind_after(inst, half, target, cursor);
		r = cursor ? bind_at(inst, half, cursor) : NULL;
		if (!r)
			return 0;
		if (r->rule == rule && r->port == target && r->other == front &&
		    r->flags & PS_BIND_ASKED)
			return 1;
	}
	return 0;
}

static __always_inline void name_target(struct bpf_sock_addr *ctx, const struct ps_bound *note)
{
	__u32 inst = note->instance;
	struct ps_instance *me = bpf_map_lookup_elem(&ps_instances, &inst);
	__u64 word = me ? READ_ONCE(me->active) : 0;

	if (!word || note->front != bpf_ntohs(ctx->user_port) || note->front == note->target)
		return;
	if (ps_bind_is_in_force((__u64)PS_WORD_HALF(word) << 32 | inst, note->target, note->front,
				note->rule))
		ctx->user_port = bpf_htons(note->target);
}

/* Is the record at `index` that of a translation to the address and port; if `owned`,
 * one of the socket's owner? 1 or 0. */
PS_GLOBAL int ps_bind_leads_to(const struct ps_bind_ask *ask, __u32 index, __u32 owned)
{
	struct ps_bind *r = ask ? bind_at(ask->instance, ask->half, index) : NULL;

	if (!ask || !r || r->flags != PS_BIND_FRONT || !is_about(ask, r, ask->port))
		return 0;
	return !owned || ps_owns(ask->instance, r->owner * 2 + ask->half, ask->uid, ask->cgroup);
}

/* The target port of the first of them, or 0. */
PS_GLOBAL int ps_bind_target_of(const struct ps_bind_ask *ask, __u32 owned)
{
	__u32 cursor = 0;
	struct ps_bind *r;

	if (!ask)
		return 0;
	for (int i = 0; i < PS_CHAIN; i++) {
		cursor = ps_bind_after(ask->instance, ask->half, ask->port, cursor);
		if (!cursor)
			return 0;
		if (ps_bind_leads_to(ask, cursor, owned)) {
			r = bind_at(ask->instance, ask->half, cursor);
			return r ? r->other : 0;
		}
	}
	return 0;
}

/* The TCP socket that has the port: an MPTCP socket's first subflow, which it may have lost. */
static __always_inline const struct sock *ports_socket(const struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_protocol) == PROTOCOL_MPTCP ?
		       BPF_CORE_READ((const struct mptcp_sock *)sk, first) :
		       sk;
}

/* Was its port chosen by bind() or connect(), and not taken over from a listener? Before
 * Linux 6.18 nothing says so of connect(). */
static __always_inline bool chose_port(const struct sock *sk)
{
	return BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks) &
	       (SOCK_BINDPORT_LOCK | SOCK_CONNECT_BIND);
}

/* Is its port one that was bound? The kernel does not share a port between those that bind
 * and those that have it from connect(), but where both say SO_REUSEADDR. */
static __always_inline bool has_bound_port(const struct sock *sk)
{
	const struct inet_bind_bucket *bucket =
		BPF_CORE_READ((const struct inet_connection_sock *)sk, icsk_bind_hash);

	return bucket && BPF_CORE_READ(bucket, fastreuse) >= 0;
}

/*
 * An accepted socket says what its listener says. Marking each accepted socket
 * (BPF_F_CLONE) would cost every connection an allocation, for the few programs that
 * ask. If the listener is not to be found (it is closed, or bound to a device) the socket's
 * owner decides. Only for addresses and ports of rules: looking for a listener runs the
 * steering program. A socket that connected, from a port that by chance is one of a rule's,
 * says that one.
 */
static __always_inline void name_accepted(struct bpf_sock_addr *ctx, struct ps_bind_ask *ask,
					  struct bpf_sock_tuple *tuple, __u32 size)
{
	const struct sock *full = asking_socket(ctx);
	struct bpf_sock *listener;
	struct ps_instance *me;
	struct ps_bound *note;
	__u32 inst, port;
	__u64 word;

	if (!find_instance(bpf_get_netns_cookie(ctx), &ask->instance))
		return;
	inst = ask->instance;
	me = bpf_map_lookup_elem(&ps_instances, &inst);
	word = me ? READ_ONCE(me->active) : 0;
	ask->half = PS_WORD_HALF(word);
	ask->port = bpf_ntohs(ctx->user_port);
	ask->protocol = IPPROTO_TCP;
	if (!word || !ps_bind_target_of(ask, 0) || chose_port(ports_socket(full)))
		return;
	listener = bpf_sk_lookup_tcp(ctx, tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (listener) {
		note = bpf_sk_storage_get(&ps_bound, listener, NULL, 0);
		if (note)
			name_target(ctx, note);
		bpf_sk_release(listener);
		return;
	}
	if (!has_bound_port(ports_socket(full)))
		return;
	read_socket(ask, full);
	port = ps_bind_target_of(ask, 1);
	if (port)
		ctx->user_port = bpf_htons(port);
}

/* Say the target port; false if the socket itself was not bound through a rule. */
static __always_inline bool name_bound(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct ps_bound *note = sk ? bpf_sk_storage_get(&ps_bound, sk, NULL, 0) : NULL;

	if (note)
		name_target(ctx, note);
	return note || ctx->type != SOCK_STREAM_TYPE;
}

static __always_inline int getsockname4(struct bpf_sock_addr *ctx)
{
	struct bpf_sock_tuple tuple = {};
	struct ps_bind_ask ask = { .family = 4 };

	if (!is_named(bpf_ntohs(ctx->user_port)) || name_bound(ctx))
		return 1;
	ask.addr[0] = tuple.ipv4.daddr = ctx->user_ip4;
	tuple.ipv4.dport = ctx->user_port;
	name_accepted(ctx, &ask, &tuple, sizeof(tuple.ipv4));
	return 1;
}

static __always_inline int getsockname6(struct bpf_sock_addr *ctx)
{
	struct bpf_sock_tuple tuple = {};
	struct ps_bind_ask ask = {};

	if (!is_named(bpf_ntohs(ctx->user_port)) || name_bound(ctx))
		return 1;
	ps_ctx_ip6(ask.addr, ctx->user_ip6);
	__builtin_memcpy(tuple.ipv6.daddr, ask.addr, sizeof(tuple.ipv6.daddr));
	tuple.ipv6.dport = ctx->user_port;
	ask.family = unmap(ask.addr) ? 4 : 6;
	name_accepted(ctx, &ask, &tuple, sizeof(tuple.ipv6));
	return 1;
}

#endif
