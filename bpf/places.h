/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A target's places, and the bits that say where a listener may be found (struct
 * ps_target_state). The bits are a hint: what is in a place decides. One that is set too many
 * costs a look. When bits and places are written, and why none is lost: order.h, 4.
 */
#ifndef PORTSTEER_PLACES_H
#define PORTSTEER_PLACES_H

#include "common.h"

/* What a search through a target's places has met. Bits, so that what several listeners gave
 * is an OR, and the verifier need not follow each combination. */
enum ps_found {
	PS_NONE = 0,
	PS_OTHER_FAMILY = 1,
	PS_OTHER_DEVICE = 2,
	PS_FAILED = 4, /* the kernel refused it */
	PS_FOUND = 8,
};

/* Bits of 64 places, for any family. */
static __always_inline __u64 used_of_any(const struct ps_target_state *s, __u32 word)
{
	return READ_ONCE(s->used[0][word & 1]) | READ_ONCE(s->used[1][word & 1]);
}

/* A listener is in the place by now, and serves these families. */
static __always_inline void set_used(struct ps_target_state *s, __u32 place, bool v4, bool v6)
{
	__u64 bit = 1ULL << (place & 63);

	smp_mb(); /* whoever sees the bit sees the listener */
	if (v4)
		__sync_fetch_and_or(&s->used[0][place >> 6 & 1], bit);
	if (v6)
		__sync_fetch_and_or(&s->used[1][place >> 6 & 1], bit);
}

/* Nobody was in the place. True if a bit was set; then the place has to be looked at again. */
static __always_inline bool clear_used(struct ps_target_state *s, __u32 place)
{
	__u64 bit = 1ULL << (place & 63), before;

	before = __sync_fetch_and_and(&s->used[0][place >> 6 & 1], ~bit);
	before |= __sync_fetch_and_and(&s->used[1][place >> 6 & 1], ~bit);
	smp_mb();
	return before & bit;
}

#endif
