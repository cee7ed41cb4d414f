/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Steering: which socket, if any, gets a connection that arrives at a local
 * address and port. Runs once for each lookup of a listener, on every TCP
 * connection of the network namespace, so most calls must end at is_front.
 */
#ifndef PORTSTEER_STEER_H
#define PORTSTEER_STEER_H

#include "device.h"
#include "mapped.h"
#include "places.h"

#define EAGAIN 11
#define EAFNOSUPPORT 97

/* The rarer parts are global functions, which the verifier looks at once, whatever leads
 * to them. */
#define PS_PART __noinline

/* A ruleset can be replaced while it is read; thousands of times slower than
 * one read takes, so that a third try cannot be needed in practice. */
#define PS_READ_TRIES 3

/* Is `port` a front port of any rule? May say yes for a port that has just lost
 * its rule, never no for one that has one. */
static __always_inline bool is_front(__u32 port)
{
	return filter[(port >> 5) & (65536 / 32 - 1)] >> (port & 31) & 1;
}

static __always_inline struct ps_bucket *bucket_of(__u64 word, __u32 port)
{
	__u32 log2 = PS_WORD_LOG2(word), half = PS_WORD_HALF(word);
	__u32 bucket = PS_BUCKET(port, PS_WORD_MULT(word), log2);
	void *chunk;
	__u32 key;

	if (log2 <= PS_FRONT_SMALL_LOG2) {
		key = half * PS_FRONT_SMALL + bucket;
		return bpf_map_lookup_elem(&ps_fronts, &key);
	}
	key = half * PS_FRONT_CHUNKS + (bucket >> PS_FRONT_CHUNK_LOG2);
	chunk = bpf_map_lookup_elem(&ps_fronts_more, &key);
	if (!chunk)
		return NULL;
	key = bucket & (PS_FRONT_CHUNK - 1);
	return bpf_map_lookup_elem(chunk, &key);
}

/* Copy the cell of `port` to *out, if there is one. */
static __always_inline void cell_of(const struct ps_bucket *bucket, __u32 port,
				    struct ps_front *out)
{
#pragma unroll
	for (int i = 0; i < 4; i++) {
		if (bucket->cell[i].port == port && bucket->cell[i].flags) {
			*out = bucket->cell[i];
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

	/* volatile: the verifier wants each context field read at its own offset,
	 * and the compiler would merge the two branches' reads into one. */
	if (ctx->family == AF_INET) {
		key.family = 4;
		key.prefixlen = PS_PREFIX_FIXED_BITS + 32;
		addr[0] = *(volatile __u32 *)&ctx->local_ip4;
	} else {
		key.family = 6;
		key.prefixlen = PS_PREFIX_FIXED_BITS + 128;
#pragma unroll
		for (int i = 0; i < 4; i++)
			addr[i] = *(volatile __u32 *)&ctx->local_ip6[i];
	}
	found = bpf_map_lookup_elem(&ps_prefixes, &key);
	if (found)
		*front = *found;
	else if (!(front->flags & PS_FRONT_DEFAULT))
		front->flags = 0;
}

/* One look: 0, or -EAGAIN if the ruleset was replaced meanwhile. */
static __always_inline int look_front(const struct bpf_sk_lookup *ctx, const struct ps_instance *me,
				      __u32 port, struct ps_front *front)
{
	__u64 word = *(volatile __u64 *)&me->active;
	struct ps_bucket *bucket;

	front->flags = 0;
	if (!word)
		return 0;
	bucket = bucket_of(word, port);
	if (bucket)
		cell_of(bucket, port, front);
	if (front->flags & PS_FRONT_PREFIX)
		match_prefix(ctx, word, front);
	/* The half that was read may have been rewritten since, and the trie swept:
	 * only if the word is still the same was all of it the ruleset in force. */
	barrier();
	return *(volatile __u64 *)&me->active == word ? 0 : -EAGAIN;
}

static __always_inline struct ps_instance *this_instance(void)
{
	__u32 index = instance;

	return bpf_map_lookup_elem(&ps_instances, &index);
}

/* The looks after the first, out of the way of the usual one. */
static __noinline int look_again(const struct bpf_sk_lookup *ctx, const struct ps_instance *me,
				 __u32 port, struct ps_front *front)
{
	for (int i = 1; i < PS_READ_TRIES; i++) {
		if (!look_front(ctx, me, port, front))
			return 0;
	}
	return -EAGAIN;
}

/* What the ruleset in force says of this connection: 0 with front->flags zero
 * for "nothing"; -EAGAIN if the ruleset kept being replaced. */
static __always_inline int find_front(struct bpf_sk_lookup *ctx, const struct ps_instance *me,
				      __u32 port, struct ps_front *front)
{
	if (!look_front(ctx, me, port, front))
		return 0;
	return look_again(ctx, me, port, front);
}

/* How a search through a target's listeners went: bits, so that what several
 * listeners said is an OR and the verifier need not follow each combination. */
enum ps_found {
	PS_NONE = 0,
	PS_OTHER_FAMILY = 1,
	PS_OTHER_DEVICE = 2,
	PS_FAILED = 4,
	PS_FOUND = 8,
};

/* A target's state. */
static __always_inline struct ps_target_state *state_of(__u32 target)
{
	__u32 chunk = PS_TARGET_CHUNK_OF(target), index = PS_TARGET_INDEX_OF(target);
	void *map;

	if (!chunk)
		return bpf_map_lookup_elem(&ps_states, &index);
	map = bpf_map_lookup_elem(&ps_states_more, &chunk);
	return map ? bpf_map_lookup_elem(map, &index) : NULL;
}

/*
 * May the listener have this connection? What the kernel's own lookup asks, but for the
 * address and the port. A socket stays in its place when it stops to listen, by shutdown() or
 * connect() to nowhere, and may listen again: meanwhile it is nobody.
 */
static __always_inline enum ps_found judge(struct bpf_sk_lookup *ctx, struct bpf_sock *sk)
{
	if (sk->state != BPF_TCP_LISTEN)
		return PS_NONE;
	if (ctx->family != AF_INET && (sk->family == AF_INET || is_mapped(sk)))
		return PS_OTHER_FAMILY;
	if (!comes_by_device(ctx, sk))
		return PS_OTHER_DEVICE;
	return PS_FOUND;
}

/* Hand the connection to `sk`, if it may have it; releases it. */
static __always_inline enum ps_found assign(struct bpf_sk_lookup *ctx, struct bpf_sock *sk,
					    __u64 flags)
{
	enum ps_found found = judge(ctx, sk);
	int ret = found & PS_FOUND ? bpf_sk_assign(ctx, sk, flags) : 0;

	bpf_sk_release(sk);
	if (ret)
		return ret == -EAFNOSUPPORT ? PS_OTHER_FAMILY : PS_FAILED;
	return found;
}

/* One of a target's own places. */
static __always_inline enum ps_found try_slot(struct bpf_sk_lookup *ctx, __u32 target, __u32 n,
					      __u64 flags)
{
	__u32 chunk = PS_TARGET_CHUNK_OF(target);
	__u32 slot = PS_TARGET_INDEX_OF(target) * PS_SLOTS + n;
	struct bpf_sock *sk = NULL;
	void *map;

	if (!chunk) {
		sk = bpf_map_lookup_elem(&ps_listeners, &slot);
	} else {
		map = bpf_map_lookup_elem(&ps_listeners_more, &chunk);
		if (map)
			sk = bpf_map_lookup_elem(map, &slot);
	}
	return sk ? assign(ctx, sk, flags) : PS_NONE;
}

/* Any place. */
PS_PART int ps_try_place(struct bpf_sk_lookup *ctx, __u32 target, __u32 n, __u64 flags)
{
	struct ps_overflow_key key = { .target = target, .n = n - PS_SLOTS };
	struct bpf_sock *sk;

	if (n < PS_SLOTS)
		return try_slot(ctx, target, n, flags);
	sk = bpf_map_lookup_elem(&ps_overflow, &key);
	return sk ? assign(ctx, sk, flags) : PS_NONE;
}

/*
 * A place whose bit is set. If nobody is there the bit is cleared; and set again if then
 * somebody is there, who may have set it in between.
 */
PS_PART int ps_look_at(struct bpf_sk_lookup *ctx, __u32 target, __u32 n, __u64 flags)
{
	struct ps_target_state *s = state_of(target);
	int found = ps_try_place(ctx, target, n, flags);

	if (found || !s || !clear_used(s, n))
		return found;
	found = ps_try_place(ctx, target, n, flags);
	if (found)
		set_used(s, n, true, true);
	return found;
}

/* Two numbers below 2^16 that are the same for each packet of a client's connection. Which
 * connections have the same ones is not to be known without `secret`: else a client could aim
 * all of its own at one listener. */
static __always_inline __u32 client_hash(const struct bpf_sk_lookup *ctx)
{
	__u64 sum = secret[4] * ctx->remote_port + secret[5];
	__u32 addr;

	if (ctx->family == AF_INET) {
		addr = ctx->remote_ip4;
		barrier_var(addr); /* as in match_prefix: the reads must not be merged */
		sum += secret[0] * addr;
	} else {
#pragma unroll
		for (int i = 0; i < 4; i++)
			sum += secret[i] * *(volatile __u32 *)&ctx->remote_ip6[i];
	}
	sum = (sum ^ sum >> 32) * (secret[6] | 1); /* the high bits depend on all */
	return (__u32)(sum >> 32);
}

/*
 * How a socket is assigned that was looked for, also if another has been assigned already.
 * A SO_REUSEPORT group may have sockets of the same user in other cgroups, and the kernel, or
 * a program of theirs, would spread over those too. So if the owner has a cgroup it is that
 * socket and no other of its group.
 */
static __always_inline __u64 assign_flags(__u32 flags)
{
	return BPF_SK_LOOKUP_F_REPLACE |
	       (flags & PS_FRONT_STRICT ? BPF_SK_LOOKUP_F_NO_REUSEPORT : 0);
}

/* The places of 64 that can serve this client, a bit each. The last of them has it. */
static __always_inline __u64 try_all(struct bpf_sk_lookup *ctx, const struct ps_target_state *s,
				     __u32 target, __u32 half, __u64 flags, int *found)
{
	__u64 used = used_of_any(s, half), fit = 0;
	__u32 ret;

	for (__u32 i = 0; used && i < 64; i++) {
		if (!(used >> i & 1))
			continue;
		ret = ps_look_at(ctx, target, half * 64 + i, flags);
		*found |= ret;
		/* Arithmetic, no branch: the verifier would follow each way. */
		fit |= (__u64)(ret / PS_FOUND & 1) << i;
	}
	return fit;
}

/*
 * All that may have a listener, when the one that was picked does not serve: places that are
 * vacant lose their bits, and listeners of other families or devices leave their share to all
 * others alike.
 */
PS_PART int ps_try_all(struct bpf_sk_lookup *ctx, __u32 target, __u64 flags)
{
	struct ps_target_state *s = state_of(target);
	__u64 first, second;
	int found = PS_NONE;

	if (!s)
		return PS_NONE;
	first = try_all(ctx, s, target, 0, flags, &found);
	second = try_all(ctx, s, target, 1, flags, &found);
	if (!(found & PS_FOUND))
		return found;
	/* By the number that has not led here. If this one has gone by now, the last that was
	 * found has the client. */
	return found | ps_try_place(ctx, target,
				    pick_place(first, second, client_hash(ctx) & 0xffff), flags);
}

/* The listener of a place that is picked by the client. */
static __always_inline int try_one(struct bpf_sk_lookup *ctx, __u32 target, __u64 flags)
{
	const struct ps_target_state *s = state_of(target);
	__u32 place, family = PS_USED_BY(ctx->family);

	if (!s)
		return PS_NONE;
	place = pick_place(*(volatile __u64 *)&s->used[family][0],
			   *(volatile __u64 *)&s->used[family][1], client_hash(ctx) >> 16);
	if (place < PS_SLOTS)
		return try_slot(ctx, target, place, flags);
	return place < PS_PLACES ? ps_try_place(ctx, target, place, flags) : PS_NONE;
}

/* The search when the usual look has found nobody. A listener may enter a place that has
 * been looked at, and the one that it replaces leave a place that has not: then there was one
 * all the time. So nobody is there only if all were looked at twice. */
PS_PART int ps_search(struct bpf_sk_lookup *ctx, __u32 target, __u32 flags)
{
	int found = flags & PS_FRONT_STRICT ? PS_NONE : try_one(ctx, target, assign_flags(flags));

	for (int i = 0; i < 2 && !(found & PS_FOUND); i++)
		found |= ps_try_all(ctx, target, assign_flags(flags));
	return found;
}

/* A live listener of the target's, which gets the connection. If the owner has no cgroup, the
 * kernel spreads over the group of the first place's: that is nearly always all there is. */
static __always_inline enum ps_found find_listener(struct bpf_sk_lookup *ctx, __u32 target,
						   __u32 flags)
{
	enum ps_found found = flags & PS_FRONT_STRICT ?
				      try_one(ctx, target, assign_flags(flags)) :
				      try_slot(ctx, target, 0, assign_flags(flags));

	return found & PS_FOUND ? found : found | ps_search(ctx, target, flags);
}

static __always_inline struct ps_hits *hits_of(__u32 rule)
{
	void *chunk;
	__u32 key;

	if (rule < PS_HITS_SMALL)
		return bpf_map_lookup_elem(&ps_hits, &rule);
	rule -= PS_HITS_SMALL;
	key = rule / PS_HITS_CHUNK;
	chunk = bpf_map_lookup_elem(&ps_hits_more, &key);
	if (!chunk)
		return NULL;
	key = rule % PS_HITS_CHUNK;
	return bpf_map_lookup_elem(chunk, &key);
}

/*
 * Has a program that runs before this one given the connection to a socket? If we find a listener,
 * ours takes the place of that (BPF_SK_LOOKUP_F_REPLACE). If not, it stays: a program cannot undo
 * what another has decided, and to the kernel a socket counts more than SK_DROP.
 */
static __always_inline bool is_taken(const struct bpf_sk_lookup *ctx)
{
	return ctx->sk;
}

/* Plain increments: the counters are this CPU's, and lookups for connections run with
 * softirqs off or in one. (Somebody's inet_diag request for one socket is a lookup
 * too, and not so: it may lose a count that comes in the same nanosecond.) */
static __always_inline void count(const struct bpf_sk_lookup *ctx, const struct ps_front *front,
				  enum ps_found found)
{
	struct ps_hits *h = hits_of(front->rule);
	struct ps_target_state *s;

	if (h) {
		h->last = bpf_jiffies64(); /* inlined by the verifier, unlike a clock */
		if (found & PS_FOUND)
			h->steered++;
		else if (is_taken(ctx))
			h->taken++;
		else if (found & PS_OTHER_DEVICE)
			h->device++;
		else if (found & PS_OTHER_FAMILY)
			h->family++;
		else
			h->missed++;
	}
	if (!(found & PS_FOUND) && found & PS_FAILED) {
		s = state_of(front->target);
		if (s)
			PS_COUNT(s->error);
	}
}

/* --- connections of connect mode's clients (client.h) --- */

/* May there be flows to this port? A superset, as is_front is. */
static __always_inline bool has_flows(__u32 port)
{
	return filter[65536 / 32 + ((port >> 5) & (65536 / 32 - 1))] >> (port & 31) & 1;
}

static __always_inline void read_flow(const struct bpf_sk_lookup *ctx, __u64 namespace,
				      struct ps_flow_key *key)
{
	key->namespace = namespace;
	key->client_port = bpf_ntohs(ctx->remote_port);
	key->server_port = ctx->local_port;
	if (ctx->family == AF_INET) {
		key->family = 4;
		key->client[0] = *(volatile __u32 *)&ctx->remote_ip4;
		key->server[0] = *(volatile __u32 *)&ctx->local_ip4;
		return;
	}
	key->family = 6;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		key->client[i] = *(volatile __u32 *)&ctx->remote_ip6[i];
		key->server[i] = *(volatile __u32 *)&ctx->local_ip6[i];
	}
}

/* Hand the connection to a listener of the flow's target. As for owners with a cgroup, to one
 * that is admitted, whoever else is in its SO_REUSEPORT group. */
static __always_inline int steer_flow(struct bpf_sk_lookup *ctx, const struct ps_flow *flow)
{
	struct ps_target_state *s = state_of(flow->target);

	/* The target was another owner's when the flow was noted. */
	if (!s || !flow->epoch || *(volatile __u64 *)&s->epoch != flow->epoch)
		return PS_NONE;
	return find_listener(ctx, flow->target, PS_FRONT_STRICT);
}

/* What becomes of a connection. */
enum ps_flow_verdict { PS_FLOW_NOT, PS_FLOW_TAKEN, PS_FLOW_DROP };

PS_PART int ps_ask_flow(struct bpf_sk_lookup *ctx)
{
	struct ps_instance *me = this_instance();
	struct ps_flow_key key = {};
	struct ps_flow *flow;
	int found = PS_NONE;
	__u32 place, *count;

	if (!me || !*(volatile __u64 *)&me->active)
		return PS_FLOW_NOT;
	read_flow(ctx, *(volatile __u64 *)&me->cookie, &key);
	flow = bpf_map_lookup_elem(&ps_flows, &key);
	if (!flow) {
		/* It may be one of those that found no room. */
		place = refusal_of(&key);
		count = bpf_map_lookup_elem(&ps_refusals, &place);
		return count && *(volatile __u32 *)count ? PS_FLOW_DROP : PS_FLOW_NOT;
	}
	if (!(flow->flags & PS_FLOW_REFUSE))
		found = steer_flow(ctx, flow);
	count_client(instance, flow->rule,
		     found & PS_FOUND	     ? PS_CLIENT_STEERED :
		     is_taken(ctx)	     ? PS_CLIENT_TAKEN :
		     found & PS_OTHER_FAMILY ? PS_CLIENT_FAMILY :
					       PS_CLIENT_MISSED);
	if (found & PS_FOUND)
		return PS_FLOW_TAKEN;
	return flow->flags & PS_FLOW_PASS ? PS_FLOW_NOT : PS_FLOW_DROP;
}

/* A connection to a front port. In a function of its own, so that what most lookups run is a
 * line or two of code. */
PS_PART int ps_decide(struct bpf_sk_lookup *ctx)
{
	struct ps_instance *me = this_instance();
	struct ps_front front;
	enum ps_found found;

	if (!me)
		return SK_PASS;
	/* Unreadable rules: refuse, it could be anybody's socket otherwise. */
	if (find_front(ctx, me, ctx->local_port, &front))
		return SK_DROP;
	if (!front.flags)
		return SK_PASS;
	found = find_listener(ctx, front.target, front.flags);
	count(ctx, &front, found);
	if (found & PS_FOUND || front.flags & PS_FRONT_PASS)
		return SK_PASS;
	return SK_DROP;
}

/* First what ends most lookups. UDP is not steered: the answer would leave from the target
 * port (docs/architecture.md). */
static __always_inline int steer(struct bpf_sk_lookup *ctx)
{
	int verdict;

	if (!is_front(ctx->local_port) || ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	if (has_flows(ctx->local_port)) {
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
