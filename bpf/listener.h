/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Steering, the fourth step: which of a target's listeners gets a connection. The usual way is
 * one look (find_listener): the bits say which places have listeners, the client's addresses pick
 * one of these, and that serves. Everything else here is for when it does not.
 */
#ifndef PORTSTEER_LISTENER_H
#define PORTSTEER_LISTENER_H

#include "common.h"
#include "address.h"
#include "device.h"
#include "places.h"
#include "steer_maps.h"

static __always_inline struct ps_target_state *state_of(__u32 target)
{
	__u32 chunk = PS_TARGET_CHUNK_OF(target), index = PS_TARGET_INDEX_OF(target);

	return chunk ? entry_of(entry_of(&ps_states_more, chunk), index) :
		       entry_of(&ps_states, index);
}

/*
 * May the listener have this connection? What the kernel's own lookup asks, but for the
 * address and the port. A socket stays in its place when it stops to listen, by shutdown() or
 * connect() to nowhere, and may listen again: meanwhile it does not count.
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

/*
 * Hand the connection to `sk`, if it may have it; releases it. Also if a program before this one
 * has chosen a socket: the front port's connections are the owner's.
 *
 * If the owner has a cgroup (PS_FRONT_STRICT) it is this socket and no other of its SO_REUSEPORT
 * group. That may have sockets of the same user in other cgroups, and the kernel, or a program of
 * theirs, would spread over those too.
 */
static __always_inline enum ps_found assign(struct bpf_sk_lookup *ctx, struct bpf_sock *sk,
					    __u32 flags)
{
	__u64 how = BPF_SK_LOOKUP_F_REPLACE |
		    (flags & PS_FRONT_STRICT ? BPF_SK_LOOKUP_F_NO_REUSEPORT : 0);
	enum ps_found found = judge(ctx, sk);
	int ret = found & PS_FOUND ? bpf_sk_assign(ctx, sk, how) : 0;

	bpf_sk_release(sk);
	if (ret)
		return ret == -EAFNOSUPPORT ? PS_OTHER_FAMILY : PS_FAILED;
	return found;
}

/* One of a target's own places. */
static __always_inline enum ps_found try_slot(struct bpf_sk_lookup *ctx, __u32 target, __u32 n,
					      __u32 flags)
{
	__u32 chunk = PS_TARGET_CHUNK_OF(target);
	__u32 slot = PS_TARGET_INDEX_OF(target) * PS_SLOTS + n;
	struct bpf_sock *sk;

	sk = chunk ? entry_of(entry_of(&ps_listeners_more, chunk), slot) :
		     entry_of(&ps_listeners, slot);
	return sk ? assign(ctx, sk, flags) : PS_NONE;
}

/* Any place. */
PS_GLOBAL int ps_try_place(struct bpf_sk_lookup *ctx, __u32 target, __u32 n, __u32 flags)
{
	struct ps_overflow_key key = { .target = target, .n = n - PS_SLOTS };
	struct bpf_sock *sk;

	if (n < PS_SLOTS)
		return try_slot(ctx, target, n, flags);
	sk = bpf_map_lookup_elem(&ps_overflow, &key);
	return sk ? assign(ctx, sk, flags) : PS_NONE;
}

/* --- one of the places whose bits are set --- */

static __always_inline __u32 ones(__u64 x)
{
	x -= x >> 1 & 0x5555555555555555ULL;
	x = (x & 0x3333333333333333ULL) + (x >> 2 & 0x3333333333333333ULL);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return x * 0x0101010101010101ULL >> 56;
}

/* Where the `n`th bit that is set is, counted from 0; there are more than n. */
PS_GLOBAL int ps_nth_one(__u64 x, __u32 n)
{
	__u32 at = 0;

	for (__u32 width = 32; width; width /= 2) {
		__u32 count = ones(x & ((1ULL << width) - 1));

		if (n >= count) {
			n -= count;
			at += width;
			x >>= width;
		}
	}
	return (int)at;
}

static __always_inline __u32 nth_used(__u64 used, __u32 n)
{
	/* As places are taken from the first on, there is seldom a gap. */
	return used & (used + 1) ? (__u32)ps_nth_one(used, n) : n;
}

/* One of the places whose bits are set, by a number below 2^16; PS_PLACES if none is. */
static __always_inline __u32 pick_place(__u64 first, __u64 second, __u32 number)
{
	__u32 ahead = ones(first), count = ahead + (second ? ones(second) : 0);
	__u32 n = number * count >> 16;

	if (!count)
		return PS_PLACES;
	return n < ahead ? nth_used(first, n) : 64 + nth_used(second, n - ahead);
}

/* Two numbers below 2^16 that are the same for each packet of a client's connection. Which
 * connections have the same ones is not to be known without `secret`: else a client could aim
 * all of its own at one listener. */
static __always_inline __u32 client_hash(const struct bpf_sk_lookup *ctx)
{
	__u64 sum = secret[4] * ctx->remote_port + secret[5];
	__u32 addr[4];

	if (ctx->family == AF_INET) {
		sum += secret[0] * ps_ctx(ctx->remote_ip4);
	} else {
		ps_ctx_ip6(addr, ctx->remote_ip6);
#pragma unroll
		for (int i = 0; i < 4; i++)
			sum += secret[i] * addr[i];
	}
	sum = (sum ^ sum >> 32) * (secret[6] | 1); /* the high bits depend on all */
	return (__u32)(sum >> 32);
}

/* --- the search --- */

/* A place whose bit is set. If nobody is there the bit is cleared, and set again if then
 * somebody is (order.h, 4). */
PS_GLOBAL int ps_try_used(struct bpf_sk_lookup *ctx, __u32 target, __u32 n, __u32 flags)
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

/* Of 64 places those that can serve this client, a bit each. The last of them has it. */
static __always_inline __u64 try_word(struct bpf_sk_lookup *ctx, const struct ps_target_state *s,
				      __u32 target, __u32 word, __u32 flags, __u32 *found)
{
	__u64 used = used_of_any(s, word), serving = 0;

	for (__u32 i = 0; used && i < 64; i++) {
		__u32 ret = used >> i & 1 ? ps_try_used(ctx, target, word * 64 + i, flags) :
					    PS_NONE;

		*found |= ret;
		/* Arithmetic, no branch: the verifier would follow each way. */
		serving |= (__u64)(ret / PS_FOUND & 1) << i;
	}
	return serving;
}

/* All places that may have a listener. Of those that can serve, one is picked by the half of the
 * hash that has not led here: so a place that cannot leaves its share to all others alike. */
PS_GLOBAL int ps_try_all(struct bpf_sk_lookup *ctx, __u32 target, __u32 flags)
{
	struct ps_target_state *s = state_of(target);
	__u32 found = PS_NONE;
	__u64 first, second;

	if (!s)
		return PS_NONE;
	smp_rmb(); /* after what was looked at before: order.h, 4 */
	first = try_word(ctx, s, target, 0, flags, &found);
	second = try_word(ctx, s, target, 1, flags, &found);
	/* The last that could serve has the client; the picked one if it is still there. */
	if (found & PS_FOUND)
		found |= ps_try_place(ctx, target,
				      pick_place(first, second, client_hash(ctx) & 0xffff), flags);
	return (int)found;
}

/* The place that the client picks, of those for its family. */
static __always_inline int try_picked(struct bpf_sk_lookup *ctx, __u32 target, __u32 flags)
{
	const struct ps_target_state *s = state_of(target);
	__u32 place, family = ctx->family != AF_INET;

	if (!s)
		return PS_NONE;
	place = pick_place(READ_ONCE(s->used[family][0]), READ_ONCE(s->used[family][1]),
			   client_hash(ctx) >> 16);
	if (place < PS_SLOTS)
		return try_slot(ctx, target, place, flags);
	return place < PS_PLACES ? ps_try_place(ctx, target, place, flags) : PS_NONE;
}

/* The search when the usual look has found nobody: all, and twice before it is said that nobody
 * is there (order.h, 4). */
PS_GLOBAL int ps_search(struct bpf_sk_lookup *ctx, __u32 target, __u32 flags)
{
	int found = flags & PS_FRONT_STRICT ? PS_NONE : try_picked(ctx, target, flags);

	for (int i = 0; i < 2 && !(found & PS_FOUND); i++)
		found |= ps_try_all(ctx, target, flags);
	return found;
}

/* Hand the connection to a live listener of the target's. If the owner has no cgroup, the kernel
 * spreads over the SO_REUSEPORT group of the first place's: that is nearly always all there is. */
static __always_inline enum ps_found find_listener(struct bpf_sk_lookup *ctx, __u32 target,
						   __u32 flags)
{
	enum ps_found found = flags & PS_FRONT_STRICT ? try_picked(ctx, target, flags) :
							try_slot(ctx, target, 0, flags);

	return found & PS_FOUND ? found : found | ps_search(ctx, target, flags);
}

#endif
