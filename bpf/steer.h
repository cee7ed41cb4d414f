/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Steering: which socket gets a connection that arrives in this network namespace. The kernel
 * asks whenever it looks for a listener. In the order of this file:
 *
 *   1. the port     no rule is about it: that is the end of most lookups (steer, at the end)
 *   2. the flow     has a client of connect mode noted where this connection goes (client.h)?
 *   3. the rule     of this port and address: the target, and what to do without a listener
 *   4. a listener   that was admitted to the target gets the connection (listener.h)
 *   5. the verdict  is counted; nobody there: refuse, or pass if the rule says so
 *
 * A program that runs before this one may have chosen a socket already (ctx->sk). A listener of
 * ours takes its place; without one it stays, and is counted as taken: no program can undo the
 * choice of another, and to the kernel a socket counts more than SK_DROP.
 *
 * What cannot be read is refused: without a decision the connection would go to whoever has the
 * port. UDP is not steered, as the answer would leave from the target port.
 */
#ifndef PORTSTEER_STEER_H
#define PORTSTEER_STEER_H

#include "common.h"
#include "flow.h"
#include "listener.h"
#include "maps.h"
#include "steer_maps.h"

/* --- 2. the flow --- */

static __always_inline void read_flow_key(const struct bpf_sk_lookup *ctx, struct ps_flow_key *key)
{
	key->client_port = bpf_ntohs(ctx->remote_port);
	key->server_port = ctx->local_port;
	if (ctx->family == AF_INET) {
		key->family = 4;
		key->client[0] = ps_ctx(ctx->remote_ip4);
		key->server[0] = ps_ctx(ctx->local_ip4);
	} else {
		key->family = 6;
		ps_ctx_ip6(key->client, ctx->remote_ip6);
		ps_ctx_ip6(key->server, ctx->local_ip6);
	}
}

/* Hand the connection to a listener of the flow's target, whoever else is in its SO_REUSEPORT
 * group. With another epoch the target was another owner's when the flow was noted. */
static __always_inline int steer_flow(struct bpf_sk_lookup *ctx, const struct ps_flow *flow)
{
	const struct ps_target_state *s = state_of(flow->target);

	if (!s || !flow->epoch || READ_ONCE(s->epoch) != flow->epoch)
		return PS_NONE;
	return find_listener(ctx, flow->target, PS_FRONT_STRICT);
}

enum ps_flow_verdict { PS_FLOW_NOT, PS_FLOW_TAKEN, PS_FLOW_DROP };

/* What becomes of a connection by its flow, an enum ps_flow_verdict. */
PS_GLOBAL int ps_ask_flow(struct bpf_sk_lookup *ctx)
{
	struct ps_instance *me = entry_of(&ps_instances, instance);
	struct ps_flow_key key = {};
	struct ps_flow *flow;
	__u32 flags, *refused;
	int found = PS_NONE;

	if (!me || !READ_ONCE(me->active))
		return PS_FLOW_NOT;
	key.namespace = READ_ONCE(me->cookie);
	read_flow_key(ctx, &key);
	flow = bpf_map_lookup_elem(&ps_flows, &key);
	if (!flow) {
		/* It may be one of those that found no room. */
		refused = entry_of(&ps_refusals, refusal_of(&key));
		return refused && READ_ONCE(*refused) ? PS_FLOW_DROP : PS_FLOW_NOT;
	}
	flags = READ_ONCE(flow->flags);
	if (!(flags & PS_FLOW_REFUSE))
		found = steer_flow(ctx, flow);
	count_client(instance, flow->rule,
		     found & PS_FOUND	     ? PS_CLIENT_STEERED :
		     ctx->sk		     ? PS_CLIENT_TAKEN :
		     found & PS_OTHER_FAMILY ? PS_CLIENT_WRONG_FAMILY :
					       PS_CLIENT_NO_LISTENER);
	if (found & PS_FOUND)
		return PS_FLOW_TAKEN;
	return flags & PS_FLOW_PASS ? PS_FLOW_NOT : PS_FLOW_DROP;
}

/* --- 3. the rule --- */

static __always_inline struct ps_bucket *bucket_of(__u64 word, __u32 port)
{
	__u32 log2 = PS_WORD_LOG2(word), half = PS_WORD_HALF(word);
	__u32 n = PS_BUCKET(port, PS_WORD_MULT(word), log2);

	if (log2 <= PS_FRONT_SMALL_LOG2)
		return entry_of(&ps_fronts, half * PS_FRONT_SMALL + n);
	return entry_of(entry_of(&ps_fronts_more, half * PS_FRONT_CHUNKS + n / PS_FRONT_CHUNK),
			n % PS_FRONT_CHUNK);
}

/* Copy what the bucket has for `port` to *front, if anything. */
static __always_inline void read_front(const struct ps_bucket *bucket, __u32 port,
				       struct ps_front *front)
{
#pragma unroll
	for (int i = 0; i < 4; i++) {
		if (bucket->cell[i].port == port && bucket->cell[i].flags) {
			*front = bucket->cell[i];
			return;
		}
	}
}

/* Replace *front by what the longest matching address prefix says. */
static __always_inline void match_prefix(const struct bpf_sk_lookup *ctx, __u64 word,
					 struct ps_front *front)
{
	struct ps_prefix_key key = {
		.generation = PS_WORD_GEN(word),
		.port = front->port,
	};
	__u32 *addr = (__u32 *)key.addr;
	struct ps_front *found;

	if (ctx->family == AF_INET) {
		key.family = 4;
		key.prefixlen = PS_PREFIX_FIXED_BITS + 32;
		addr[0] = ps_ctx(ctx->local_ip4);
	} else {
		key.family = 6;
		key.prefixlen = PS_PREFIX_FIXED_BITS + 128;
		ps_ctx_ip6(addr, ctx->local_ip6);
	}
	found = bpf_map_lookup_elem(&ps_prefixes, &key);
	if (found)
		*front = *found;
	else if (!(front->flags & PS_FRONT_DEFAULT))
		front->flags = 0;
}

/* What the ruleset in force says of this port and address, with front->flags 0 for "nothing".
 * -EAGAIN if it was replaced meanwhile: order.h, 1. */
static __always_inline int read_rule(const struct bpf_sk_lookup *ctx, const struct ps_instance *me,
				     struct ps_front *front)
{
	__u64 word = READ_ONCE(me->active);
	struct ps_bucket *bucket;

	*front = (struct ps_front){};
	if (!word)
		return 0;
	bucket = bucket_of(word, ctx->local_port);
	if (bucket)
		read_front(bucket, ctx->local_port, front);
	if (front->flags & PS_FRONT_PREFIX)
		match_prefix(ctx, word, front);
	smp_rmb();
	return READ_ONCE(me->active) == word ? 0 : -EAGAIN;
}

/* --- 5. the verdict --- */

static __always_inline struct ps_hits *hits_of(__u32 rule)
{
	__u32 more = rule - PS_HITS_SMALL;

	return rule < PS_HITS_SMALL ? entry_of(&ps_hits, rule) :
				      entry_of(entry_of(&ps_hits_more, more / PS_HITS_CHUNK),
					       more % PS_HITS_CHUNK);
}

/* Lookups for connections run with softirqs off or in one, so that nothing else of this CPU
 * counts meanwhile. (Somebody's inet_diag request for one socket is a lookup too, and not so:
 * it may lose a count that comes in the same nanosecond.) */
static __always_inline void count(const struct bpf_sk_lookup *ctx, const struct ps_front *front,
				  enum ps_found found)
{
	struct ps_hits *h = hits_of(front->rule);
	struct ps_target_state *s;

	if (h) {
		/* Inlined by the verifier, unlike a clock. */
		WRITE_ONCE(h->last, bpf_jiffies64());
		if (found & PS_FOUND)
			PS_COUNT_HERE(h->steered);
		else if (ctx->sk)
			PS_COUNT_HERE(h->taken);
		else if (found & PS_OTHER_DEVICE)
			PS_COUNT_HERE(h->wrong_device);
		else if (found & PS_OTHER_FAMILY)
			PS_COUNT_HERE(h->wrong_family);
		else
			PS_COUNT_HERE(h->no_listener);
	}
	if (!(found & PS_FOUND) && found & PS_FAILED) {
		s = state_of(front->target);
		if (s)
			PS_COUNT(s->rejected);
	}
}

/* A connection to a front port. A function of its own, so that what most lookups run is a line
 * or two of code. */
PS_GLOBAL int ps_decide(struct bpf_sk_lookup *ctx)
{
	struct ps_instance *me = entry_of(&ps_instances, instance);
	struct ps_front front;
	enum ps_found found;

	if (!me)
		return SK_PASS;
	for (int tries = 1; read_rule(ctx, me, &front); tries++) {
		if (tries == PS_READ_TRIES)
			return SK_DROP; /* unreadable: it could be anybody's socket otherwise */
	}
	if (!front.flags)
		return SK_PASS;
	found = find_listener(ctx, front.target, front.flags);
	count(ctx, &front, found);
	if (found & PS_FOUND || front.flags & PS_FRONT_PASS)
		return SK_PASS;
	return SK_DROP; /* nobody but the owner may have the connection */
}

static __always_inline int steer(struct bpf_sk_lookup *ctx)
{
	int verdict;

	if (!has_port(steer_ports.fronts, ctx->local_port) || ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	if (has_port(steer_ports.flows, ctx->local_port)) {
		verdict = ps_ask_flow(ctx);
		if (verdict != PS_FLOW_NOT)
			return verdict == PS_FLOW_TAKEN ? SK_PASS : SK_DROP;
	}
	/* To the verifier the result is any number. clang 19 knows better, and would return it as it
	 * is. */
	verdict = ps_decide(ctx);
	barrier_var(verdict);
	return verdict ? SK_PASS : SK_DROP;
}

#endif
