/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which of a target's places to look at: the bits of struct ps_target_state. They are a hint.
 * What is in a place decides; a bit too many costs a look, and none is missing for longer than
 * the listener's own listen() takes.
 */
#ifndef PORTSTEER_PLACES_H
#define PORTSTEER_PLACES_H

#ifndef AF_INET
#define AF_INET 2
#endif

/* Of clients of a family. */
#define PS_USED_BY(family) ((family) != AF_INET)

static __always_inline __u32 ones(__u64 x)
{
	x -= x >> 1 & 0x5555555555555555ULL;
	x = (x & 0x3333333333333333ULL) + (x >> 2 & 0x3333333333333333ULL);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return x * 0x0101010101010101ULL >> 56;
}

/* Where the `n`th bit that is set is, counted from 0; there are more than n. */
__noinline int ps_nth_one(__u64 x, __u32 n)
{
	__u32 at = 0;

	for (__u32 width = 32; width; width /= 2) {
		__u64 low = x & ((1ULL << width) - 1);
		__u32 count = ones(low);

		if (n < count) {
			x = low;
		} else {
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

/* Is the place's bit set for any family? */
static __always_inline __u64 used_of_any(const struct ps_target_state *s, __u32 half)
{
	return *(volatile __u64 *)&s->used[0][half & 1] | *(volatile __u64 *)&s->used[1][half & 1];
}

/*
 * A listener is in the place by now. The results are asked for so that the instructions are
 * full barriers: whoever clears the bit looks at the place once more, after that.
 */
static __always_inline bool set_used(struct ps_target_state *s, __u32 place, bool v4, bool v6)
{
	__u64 bit = 1ULL << (place & 63), *first = &s->used[0][place >> 6 & 1];
	__u64 *second = &s->used[1][place >> 6 & 1], before = 0;

	if (v4)
		before |= __sync_fetch_and_or(first, bit);
	if (v6)
		before |= __sync_fetch_and_or(second, bit);
	return before & bit;
}

/* Nobody is in the place. */
static __always_inline bool clear_used(struct ps_target_state *s, __u32 place)
{
	__u64 bit = 1ULL << (place & 63), *first = &s->used[0][place >> 6 & 1];
	__u64 *second = &s->used[1][place >> 6 & 1], before;

	before = __sync_fetch_and_and(first, ~bit);
	before |= __sync_fetch_and_and(second, ~bit);
	return before & bit;
}

#endif
