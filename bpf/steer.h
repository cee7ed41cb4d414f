/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Steering: which socket, if any, gets a connection that arrives at a local
 * address and port. Runs once for each lookup of a listener, on every TCP
 * connection of the network namespace, so most calls must end at is_front.
 */
#ifndef PORTSTEER_STEER_H
#define PORTSTEER_STEER_H

#define EAGAIN 11
#define EAFNOSUPPORT 97
#define AF_INET 2

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
		return bpf_map_lookup_elem(&fronts, &key);
	}
	key = half * PS_FRONT_CHUNKS + (bucket >> PS_FRONT_CHUNK_LOG2);
	chunk = bpf_map_lookup_elem(&fronts_more, &key);
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
	found = bpf_map_lookup_elem(&prefixes, &key);
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

	return bpf_map_lookup_elem(&instances, &index);
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
enum ps_found { PS_NONE = 0, PS_OTHER_FAMILY = 1, PS_FAILED = 2, PS_FOUND = 4 };

/* Hand the connection to `sk`; releases it. */
static __always_inline enum ps_found assign(struct bpf_sk_lookup *ctx, struct bpf_sock *sk,
					    __u64 flags)
{
	int ret = bpf_sk_assign(ctx, sk, flags);

	bpf_sk_release(sk);
	if (!ret)
		return PS_FOUND;
	return ret == -EAFNOSUPPORT ? PS_OTHER_FAMILY : PS_FAILED;
}

/* The first slots of a target, in the chunk's `map`. The kernel spreads over the
 * SO_REUSEPORT group of the socket that is found. */
static __always_inline enum ps_found try_slots(struct bpf_sk_lookup *ctx, void *map, __u32 index)
{
	enum ps_found found = PS_NONE;
	struct bpf_sock *sk;
	__u32 slot;

#pragma unroll
	for (int n = 0; n < PS_SLOTS; n++) {
		slot = index * PS_SLOTS + n;
		sk = bpf_map_lookup_elem(map, &slot);
		if (!sk)
			continue;
		found |= assign(ctx, sk, 0);
		if (found & PS_FOUND)
			break;
	}
	return found;
}

/* One listener beyond the first PS_SLOTS. */
PS_PART int ps_try_one(struct bpf_sk_lookup *ctx, __u32 target, __u32 n, __u64 flags)
{
	struct ps_overflow_key key = { .target = target, .n = n };
	struct bpf_sock *sk = bpf_map_lookup_elem(&spill, &key);

	return sk ? assign(ctx, sk, flags) : PS_NONE;
}

/* All of them; reached when none of the first can serve. */
PS_PART int ps_try_more(struct bpf_sk_lookup *ctx, __u32 target)
{
	struct ps_events *e = events_at(instance, target);
	__u64 used = e ? e->overflow : 0;
	int found = PS_NONE;

	for (__u32 n = 0; n < PS_OVERFLOW && n < used; n++) {
		found |= ps_try_one(ctx, target, n, 0);
		if (found & PS_FOUND)
			break;
	}
	return found;
}

/* That one socket and no other of its SO_REUSEPORT group, also if another has been
 * assigned already. */
#define PS_EXACTLY (BPF_SK_LOOKUP_F_NO_REUSEPORT | BPF_SK_LOOKUP_F_REPLACE)

/* Slot `n` of a target. */
static __always_inline enum ps_found try_slot(struct bpf_sk_lookup *ctx, __u32 target, __u32 n)
{
	__u32 chunk = PS_TARGET_CHUNK_OF(target);
	__u32 slot = PS_TARGET_INDEX_OF(target) * PS_SLOTS + n;
	struct bpf_sock *sk;
	void *map;

	if (!chunk) {
		sk = bpf_map_lookup_elem(&listeners, &slot);
		return sk ? assign(ctx, sk, PS_EXACTLY) : PS_NONE;
	}
	map = bpf_map_lookup_elem(&listeners_more, &chunk);
	if (!map)
		return PS_NONE;
	sk = bpf_map_lookup_elem(map, &slot);
	return sk ? assign(ctx, sk, PS_EXACTLY) : PS_NONE;
}

/* Place `n` of a target, the first PS_SLOTS being its slots. */
PS_PART int ps_try_place(struct bpf_sk_lookup *ctx, __u32 target, __u32 n)
{
	if (n >= PS_SLOTS)
		return ps_try_one(ctx, target, n - PS_SLOTS, PS_EXACTLY);
	return try_slot(ctx, target, n);
}

/* A number that is the same for each packet of a client's connection. */
static __always_inline __u32 client_hash(const struct bpf_sk_lookup *ctx)
{
	__u32 hash = ctx->remote_port;

	if (ctx->family == AF_INET)
		hash ^= *(volatile __u32 *)&ctx->remote_ip4;
	else
		hash ^= *(volatile __u32 *)&ctx->remote_ip6[2] ^
			*(volatile __u32 *)&ctx->remote_ip6[3];
	hash *= 0x9e3779b1; /* the high bits depend on all */
	return hash >> 16;
}

/* How many places of a target may have been used, PS_SLOTS at least. */
static __always_inline __u32 places_of(const struct ps_instance *me, __u32 target)
{
	struct ps_events *e = me->overflowed ? events_at(instance, target) : NULL;
	__u64 more = e ? e->overflow : 0;

	return PS_SLOTS + (__u32)(more < PS_OVERFLOW ? more : PS_OVERFLOW);
}

/* All places of a target that has had more listeners than slots. The search begins at a
 * place, and goes up or down, by the client, so that a dead place's share is divided
 * between neighbours. */
PS_PART int ps_steer_to_many(struct bpf_sk_lookup *ctx, __u32 target, __u32 places)
{
	__u32 hash = client_hash(ctx);
	__u32 first = hash >> 1, step = hash & 1 ? 1 : places - 1;
	int found = PS_NONE;

	/* Arithmetic, not branches: the verifier would follow each way. */
	for (__u32 i = 0; i < PS_SLOTS + PS_OVERFLOW && i < places; i++) {
		found |= ps_try_place(ctx, target, (first + i * step) % places);
		if (found & PS_FOUND)
			break;
	}
	return found;
}

/*
 * Which of a target's slots have a listener for clients of one address family, as found
 * when they were last looked through. It holds until the instance admits a listener: then
 * one of the others may have been filled. A listener that has gone is noticed when its
 * slot is asked.
 *
 *   bits  0..31  the instance's admissions when it was found
 *   bits 32..48  target, without the bits that are the word's index
 *   bits 49..51  how many slots, 0 for "not known"
 *   bits 52..59  their numbers, 2 bits each
 */
#define PS_TAKEN_AT(target, family) (((target) & (PS_TAKEN - 1)) << 1 | ((family) != AF_INET))
#define PS_TAKEN_KEY(target, admissions)                                                           \
	((__u64)(__u32)(admissions) | (__u64)((target) / PS_TAKEN & 0x1ffff) << 32)
#define PS_TAKEN_IS(word, key) ((((word) ^ (key)) & 0x1ffffffffffffULL) == 0)
#define PS_TAKEN_COUNT(word) ((__u32)((word) >> 49) & 7)
#define PS_TAKEN_SLOT(word, n) ((__u32)((word) >> (52 + 2 * (n))) & 3)
_Static_assert(PS_SLOTS == 4 || PS_SLOTS == 2, "two bits, and a count of three");

/* One of them, by the client. */
static __always_inline __u32 slot_for(const struct bpf_sk_lookup *ctx, __u64 word)
{
	return PS_TAKEN_SLOT(word, client_hash(ctx) * PS_TAKEN_COUNT(word) >> 16);
}

/* Look through the slots, and note which can serve this client. The number of admissions
 * is from before: a listener that comes meanwhile makes what is noted void. */
static __always_inline int steer_to_few(struct bpf_sk_lookup *ctx, __u32 target, __u32 admissions)
{
	__u64 word = PS_TAKEN_KEY(target, admissions);
	int found = PS_NONE, ret;
	__u32 n = 0, good;

	for (__u32 slot = 0; slot < PS_SLOTS; slot++) {
		ret = ps_try_place(ctx, target, slot);
		found |= ret;
		good = (__u32)ret / PS_FOUND & 1;
		word |= (__u64)(slot * good) << (52 + 2 * (n & 3));
		n += good;
	}
	if (!n)
		return found;
	word |= (__u64)n << 49;
	*(volatile __u64 *)&taken[PS_TAKEN_AT(target, ctx->family)] = word;
	/* If this one has gone by now, the last that was found has the client. */
	return found | ps_try_place(ctx, target, slot_for(ctx, word));
}

/*
 * The listeners of a target whose owner has a cgroup. A SO_REUSEPORT group may have
 * sockets of the same user in other cgroups, and the kernel, or a program of theirs,
 * would spread over those too. So the group is not asked: connections are spread here,
 * over the admitted sockets only.
 */
PS_PART int ps_steer_strictly(struct bpf_sk_lookup *ctx, __u32 target)
{
	struct ps_instance *me = this_instance();
	__u32 admissions, places;

	if (!me)
		return PS_NONE;
	admissions = *(volatile __u32 *)&me->admissions;
	places = places_of(me, target);
	if (places > PS_SLOTS)
		return ps_steer_to_many(ctx, target, places);
	return steer_to_few(ctx, target, admissions);
}

/* The same by what is known of the slots: what nearly all connections need. */
static __always_inline enum ps_found steer_as_known(struct bpf_sk_lookup *ctx,
						    const struct ps_instance *me, __u32 target)
{
	__u64 word = *(volatile __u64 *)&taken[PS_TAKEN_AT(target, ctx->family)];

	if (!PS_TAKEN_IS(word, PS_TAKEN_KEY(target, *(volatile __u32 *)&me->admissions)) ||
	    !PS_TAKEN_COUNT(word))
		return PS_NONE;
	return try_slot(ctx, target, slot_for(ctx, word));
}

static __always_inline enum ps_found
steer_to(struct bpf_sk_lookup *ctx, const struct ps_instance *me, __u32 target, __u32 flags)
{
	__u32 chunk = PS_TARGET_CHUNK_OF(target);
	enum ps_found found = PS_NONE;
	void *map;

	if (flags & PS_FRONT_STRICT) {
		found = steer_as_known(ctx, me, target);
		return found & PS_FOUND ? found : ps_steer_strictly(ctx, target);
	}
	if (!chunk) {
		found = try_slots(ctx, &listeners, PS_TARGET_INDEX_OF(target));
	} else {
		map = bpf_map_lookup_elem(&listeners_more, &chunk);
		if (map)
			found = try_slots(ctx, map, PS_TARGET_INDEX_OF(target));
	}
	if (!(found & PS_FOUND))
		found |= ps_try_more(ctx, target);
	return found;
}

/* The search after the first, out of the way of the usual one. */
PS_PART int ps_steer_again(struct bpf_sk_lookup *ctx, __u32 target, __u32 flags)
{
	struct ps_instance *me = this_instance();

	return me ? (int)steer_to(ctx, me, target, flags) : PS_NONE;
}

/* A listener may enter a place that has been looked at, and the one that it replaces leave
 * a place that has not: then there was one all the time, and none was found. */
static __always_inline enum ps_found
find_listener(struct bpf_sk_lookup *ctx, const struct ps_instance *me, const struct ps_front *front)
{
	__u32 admissions = *(volatile __u32 *)&me->admissions;
	enum ps_found found = steer_to(ctx, me, front->target, front->flags);

	if (found & PS_FOUND || *(volatile __u32 *)&me->admissions == admissions)
		return found;
	return ps_steer_again(ctx, front->target, front->flags);
}

static __always_inline struct ps_hits *hits_of(__u32 rule)
{
	void *chunk;
	__u32 key;

	if (rule < PS_HITS_SMALL)
		return bpf_map_lookup_elem(&hits, &rule);
	rule -= PS_HITS_SMALL;
	key = rule / PS_HITS_CHUNK;
	chunk = bpf_map_lookup_elem(&hits_more, &key);
	if (!chunk)
		return NULL;
	key = rule % PS_HITS_CHUNK;
	return bpf_map_lookup_elem(chunk, &key);
}

/* Plain increments: the counters are this CPU's, and lookups for connections run with
 * softirqs off or in one. (Somebody's inet_diag request for one socket is a lookup
 * too, and not so: it may lose a count that comes in the same nanosecond.) */
static __always_inline void count(const struct ps_front *front, enum ps_found found)
{
	struct ps_hits *h = hits_of(front->rule);
	struct ps_events *e;

	if (h) {
		h->last = bpf_jiffies64(); /* inlined by the verifier, unlike a clock */
		if (found & PS_FOUND)
			h->steered++;
		else if (found & PS_OTHER_FAMILY)
			h->family++;
		else
			h->missed++;
	}
	if (!(found & PS_FOUND) && found & PS_FAILED) {
		e = events_at(instance, front->target);
		if (e)
			PS_COUNT(e->error);
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
static __always_inline int steer_flow(struct bpf_sk_lookup *ctx, const struct ps_instance *me,
				      const struct ps_flow *flow)
{
	struct ps_events *e = events_at(instance, flow->target);
	__u32 admissions = *(volatile __u32 *)&me->admissions;
	int found;

	/* The target was another owner's when the flow was noted. */
	if (!e || !flow->epoch || *(volatile __u64 *)&e->epoch != flow->epoch)
		return PS_NONE;
	found = ps_steer_strictly(ctx, flow->target);
	if (!(found & PS_FOUND) && *(volatile __u32 *)&me->admissions != admissions)
		found |= ps_steer_strictly(ctx, flow->target);
	return found;
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
	flow = bpf_map_lookup_elem(&flows, &key);
	if (!flow) {
		/* It may be one of those that found no room. */
		place = refusal_of(&key);
		count = bpf_map_lookup_elem(&refusals, &place);
		return count && *(volatile __u32 *)count ? PS_FLOW_DROP : PS_FLOW_NOT;
	}
	if (!(flow->flags & PS_FLOW_REFUSE))
		found = steer_flow(ctx, me, flow);
	count_client(instance, flow->rule, found & PS_FOUND, found & PS_OTHER_FAMILY);
	if (found & PS_FOUND)
		return PS_FLOW_TAKEN;
	return flow->flags & PS_FLOW_PASS ? PS_FLOW_NOT : PS_FLOW_DROP;
}

static __always_inline int steer(struct bpf_sk_lookup *ctx)
{
	__u32 port = ctx->local_port;
	struct ps_instance *me;
	struct ps_front front;
	enum ps_found found;
	int verdict;

	/* First what ends most lookups. UDP is not steered: the answer would leave from
	 * the target port (docs/architecture.md). */
	if (!is_front(port) || ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	if (has_flows(port)) {
		verdict = ps_ask_flow(ctx);
		if (verdict != PS_FLOW_NOT)
			return verdict == PS_FLOW_TAKEN ? SK_PASS : SK_DROP;
	}
	me = this_instance();
	if (!me)
		return SK_PASS;
	/* Unreadable rules: refuse, it could be anybody's socket otherwise. */
	if (find_front(ctx, me, port, &front))
		return SK_DROP;
	if (!front.flags)
		return SK_PASS;
	found = find_listener(ctx, me, &front);
	count(&front, found);
	if (found & PS_FOUND || front.flags & PS_FRONT_PASS)
		return SK_PASS;
	return SK_DROP;
}

#endif
