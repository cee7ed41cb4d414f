/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connect mode for TCP, where a listener is to be found: the client's destination is left as it
 * is, and its connection is noted as a flow before the first packet leaves. The namespace's
 * sk_lookup program (steer.h) hands it to an admitted listener, and to no other socket. Called
 * by sock_ops, in the client's own connect().
 */
#ifndef PORTSTEER_CLIENT_H
#define PORTSTEER_CLIENT_H

#include "address.h"
#include "answer.h"
#include "connect_maps.h"
#include "filter.h"
#include "flow.h"
#include "connect_rules.h"
#include "sock_addr.h"
#include "trail.h"

/* On a client's socket that has no flow, as there was no room: its place in `refusals`. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u32);
} ps_refused SEC(".maps");

/* The connection's key, but for its namespace. */
static __always_inline void read_client_key(struct bpf_sock_ops *ctx, struct ps_flow_key *key)
{
	bool mapped;

	key->client_port = (__u16)ctx->local_port;
	key->server_port = (__u16)bpf_ntohl(ctx->remote_port);
	key->family = 4;
	if (ctx->family == AF_INET) {
		key->client[0] = ctx->local_ip4;
		key->server[0] = ctx->remote_ip4;
		return;
	}
	ps_ctx_ip6(key->client, ctx->local_ip6);
	ps_ctx_ip6(key->server, ctx->remote_ip6);
	mapped = unmap(key->server);
	if (mapped)
		unmap(key->client);
	else
		key->family = 6;
}

/*
 * Is the flow with this key of another socket that is still there? Connections of one namespace
 * have different addresses and ports, but for one case: the earlier socket is bound to a device,
 * and the later one not to the same (inet_match() in the kernel). Any other flow is one whose
 * end was missed: its socket is gone.
 */
static __always_inline bool is_shared(const struct ps_flow *flow, __u64 socket, __u32 device)
{
	return flow->socket != socket && flow->device && flow->device != device;
}

/* Nobody can tell whose SYN is whose then: both are refused. */
static __always_inline void refuse_both(struct ps_flow *flow)
{
	WRITE_ONCE(flow->flags, PS_FLOW_REFUSE);
}

/* No room for the flow. Without one the connection would go to whoever has the port; so it is
 * refused, as are others that have the same hash, until the socket is closed. */
static __always_inline void refuse_unnoted(struct bpf_sock *sk, const struct ps_flow_key *key)
{
	__u32 place = refusal_of(key);
	__u32 *count = bpf_map_lookup_elem(&ps_refusals, &place);

	if (!count)
		return;
	PS_COUNT(*count);
	/* Should there be no memory for this either, it is not taken back. */
	bpf_sk_storage_get(&ps_refused, sk, &place, BPF_SK_STORAGE_GET_F_CREATE);
}

static __always_inline void accept_unnoted(struct bpf_sock *sk)
{
	__u32 *place = bpf_sk_storage_get(&ps_refused, sk, NULL, 0), key;
	__u32 *count;

	if (!place)
		return;
	key = *place;
	count = bpf_map_lookup_elem(&ps_refusals, &key);
	if (count)
		PS_UNCOUNT(*count);
	bpf_sk_storage_delete(&ps_refused, sk);
}

/* Note what becomes of a connection that a rule is for. A function of its own, so that its
 * frame is not below those that look for the rule. */
PS_GLOBAL int ps_note_flow(struct bpf_sock_ops *ctx, const struct ps_want *want,
			   const struct ps_answer *answer, __u32 flags)
{
	struct bpf_sock *sk = ctx->sk;
	struct ps_flow_key key = {};
	struct ps_flow flow = { .flags = flags }, *other;
	int ret;

	if (!sk || !want || !answer)
		return 0;
	read_client_key(ctx, &key);
	key.namespace = want->namespace;
	flow.socket = bpf_get_socket_cookie(ctx);
	flow.epoch = answer->epoch;
	flow.target = answer->listeners;
	flow.rule = answer->rule;
	flow.device = sk->bound_dev_if;
	ret = bpf_map_update_elem(&ps_flows, &key, &flow, BPF_NOEXIST);
	if (ret) {
		other = bpf_map_lookup_elem(&ps_flows, &key);
		if (other && is_shared(other, flow.socket, flow.device)) {
			refuse_both(other);
			return 0;
		}
		if (other)
			ret = bpf_map_update_elem(&ps_flows, &key, &flow, BPF_ANY);
	}
	if (ret) {
		bpf_map_delete_elem(&ps_flows, &key);
		refuse_unnoted(sk, &key);
		count_client(want->instance, answer->rule, PS_CLIENT_NO_LISTENER);
	}
	/* To be called when this one socket is closed. */
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
	return 0;
}

/* A connection that no rule is for: it must not be taken for one that had its addresses and
 * ports before. */
PS_GLOBAL int ps_pass_flow(struct bpf_sock_ops *ctx, __u64 namespace)
{
	struct bpf_sock *sk = ctx->sk;
	struct ps_flow_key key = {};
	struct ps_flow *other;

	if (!sk)
		return 0;
	read_client_key(ctx, &key);
	key.namespace = namespace;
	other = bpf_map_lookup_elem(&ps_flows, &key);
	if (!other)
		return 0;
	if (is_shared(other, bpf_get_socket_cookie(ctx), sk->bound_dev_if))
		refuse_both(other);
	else
		bpf_map_delete_elem(&ps_flows, &key);
	return 0;
}

/* Where the client wants to go, if that is not where its socket goes; true if it was sent to
 * the loopback address for the listener to be found there. */
static __always_inline bool read_wanted(struct bpf_sock *sk, struct ps_want *want)
{
	struct ps_trail *trail = bpf_sk_storage_get(&ps_trails, sk, NULL, 0);
	struct ps_step *s = trail ? step_to(trail, want->family, want->addr, want->port) : NULL;

	if (!s)
		return false;
	__builtin_memcpy(want->addr, s->wanted, sizeof(want->addr));
	want->port = s->wanted_port;
	return s->flags & PS_STEP_LOOPBACK;
}

/* A connection to a port that some rule names is about to be made. Inlined: calls may be eight
 * deep, and those that find the scope are. */
static __always_inline int client_connects(struct bpf_sock_ops *ctx)
{
	struct ps_want want = { .family = 4, .protocol = IPPROTO_TCP };
	struct ps_answer answer = {};
	struct bpf_sock *sk = ctx->sk;
	bool redirected, steered;
	__u32 inst;

	if (!sk)
		return 0;
	want.namespace = bpf_get_netns_cookie(ctx);
	want.port = (__u16)bpf_ntohl(ctx->remote_port);
	if (!find_instance(want.namespace, &inst))
		return 0;
	want.instance = inst;
	if (ctx->family == AF_INET) {
		want.addr[0] = ctx->remote_ip4;
	} else {
		ps_ctx_ip6(want.addr, ctx->remote_ip6);
		if (!unmap(want.addr))
			want.family = 6;
	}
	redirected = read_wanted(sk, &want);
	ask_rules(&want, &answer);
	steered = answer.found == PS_RULE && !(answer.flags & PS_HOP_FIXED);
	/* If it is not where it wanted to go, whoever is there must not have it, come what may. */
	if (redirected || answer.found == PS_UNREADABLE)
		return ps_note_flow(ctx, &want, &answer, steered ? 0 : PS_FLOW_REFUSE);
	if (steered)
		return ps_note_flow(ctx, &want, &answer,
				    answer.flags & PS_HOP_PASS ? PS_FLOW_PASS : 0);
	return ps_pass_flow(ctx, want.namespace);
}

/* A socket for which that was noted is closed. */
PS_GLOBAL int ps_client_closes(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct ps_flow_key key = {};
	struct ps_flow *flow;

	if (!sk)
		return 0;
	read_client_key(ctx, &key);
	key.namespace = bpf_get_netns_cookie(ctx);
	flow = bpf_map_lookup_elem(&ps_flows, &key);
	if (flow && flow->socket == bpf_get_socket_cookie(ctx))
		bpf_map_delete_elem(&ps_flows, &key);
	else
		accept_unnoted(sk);
	return 0;
}

static __always_inline void connect_begun(struct bpf_sock_ops *ctx)
{
	if (is_named(bpf_ntohl(ctx->remote_port)))
		client_connects(ctx);
}

static __always_inline void state_changed(struct bpf_sock_ops *ctx)
{
	if (ctx->args[1] == BPF_TCP_CLOSE)
		ps_client_closes(ctx);
}

#endif
