/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Decisions for TCP clients that were made lately, to be made again while nothing that they
 * depend on has changed. To find instance, scope and rule anew takes a dozen cache lines on
 * as many pages, which a connection has no other use for and so usually finds cold; a recent
 * decision is one line. Whose the listener is, and that it lives, is not part of it.
 */
#ifndef PORTSTEER_RECENT_H
#define PORTSTEER_RECENT_H

/* One cache line. What it is for: a process's cgroup and namespace, and where it wants to go.
 * What was decided: a rule without a target address. */
struct ps_recent {
	__u32 writing; /* odd while somebody writes it, another number afterwards */
	__u32 instance;
	__u64 cgroup; /* id, never used again; 0: nothing is here */
	__u64 namespace; /* cookie, never used again */
	__u64 word; /* of the ruleset that says so */
	__u32 addr[4]; /* network byte order; IPv4 in the first */
	__u16 port; /* host byte order */
	__u8 family;
	__u8 flags; /* enum ps_hop_flags */
	__u32 rule;
	__u32 listeners;
	__u32 vacant; /* slots without a listener when last looked at, a hint */
};
_Static_assert(sizeof(struct ps_recent) == 64, "one cache line");

#define PS_RECENT 64
static struct ps_recent recent[PS_RECENT] __attribute__((aligned(64)));

/* Readers take an entry for whole if `writing` did not change: true only where a processor's
 * loads, and its stores, are seen in their order. Elsewhere nothing is remembered. */
#ifdef __TARGET_ARCH_x86
#define PS_RECENT_USED 1
#else
#define PS_RECENT_USED 0
#endif

static __always_inline struct ps_recent *recent_at(const struct ps_want *want)
{
	__u64 mixed = want->cgroup * 0x9e3779b97f4a7c15ULL ^ want->addr[0] ^ want->addr[3];

	mixed ^= (__u64)want->port << 32;
	return &recent[(mixed * 0x9e3779b97f4a7c15ULL) >> 58 & (PS_RECENT - 1)];
}

static __always_inline bool is_about(const struct ps_recent *r, const struct ps_want *want)
{
	return r->cgroup == want->cgroup && r->namespace == want->namespace &&
	       r->port == want->port && r->family == want->family &&
	       same_address(r->addr, want->addr);
}

/* The decision for this, if it is there and holds. */
static __always_inline bool recall(struct ps_want *want, struct ps_way *way)
{
	struct ps_recent *r = recent_at(want);
	__u32 writing = *(volatile __u32 *)&r->writing;
	struct ps_instance *me;
	__u32 inst;

	barrier();
	if (!PS_RECENT_USED || writing & 1 || !is_about(r, want))
		return false;
	inst = r->instance;
	way->word = r->word;
	way->flags = r->flags;
	way->rule = r->rule;
	way->listeners = r->listeners;
	way->vacant = r->vacant;
	barrier();
	if (*(volatile __u32 *)&r->writing != writing)
		return false;
	me = bpf_map_lookup_elem(&instances, &inst);
	if (!me || *(volatile __u64 *)&me->active != way->word ||
	    *(volatile __u64 *)&me->cookie != want->namespace)
		return false;
	want->instance = inst;
	way->found = 1;
	return true;
}

/* A process is moved no faster than the kernel waits for all CPUs: one whose cgroup is what
 * it was did not leave meanwhile. A function of its own, for less of the caller's stack. */
__noinline int ps_remember(const struct ps_want *want, const struct ps_way *way)
{
	struct ps_recent *r;
	__u32 writing;

	if (!want || !way)
		return 0;
	r = recent_at(want);
	writing = *(volatile __u32 *)&r->writing;
	if (!PS_RECENT_USED || way->flags & PS_HOP_FIXED || writing & 1 ||
	    bpf_get_current_cgroup_id() != want->cgroup ||
	    __sync_val_compare_and_swap(&r->writing, writing, writing + 1) != writing)
		return 0;
	r->instance = want->instance;
	r->cgroup = want->cgroup;
	r->namespace = want->namespace;
	r->word = way->word;
	__builtin_memcpy(r->addr, want->addr, sizeof(r->addr));
	r->port = want->port;
	r->family = want->family;
	r->flags = (__u8)way->flags;
	r->rule = way->rule;
	r->listeners = way->listeners;
	r->vacant = 0;
	barrier();
	*(volatile __u32 *)&r->writing = writing + 2;
	return 0;
}

/* Which slots the search has found to be vacant: as a hint, without a claim. */
static __always_inline void note_vacant(const struct ps_want *want, const struct ps_way *way)
{
	struct ps_recent *r = recent_at(want);

	if (PS_RECENT_USED && *(volatile __u32 *)&r->vacant != way->vacant)
		*(volatile __u32 *)&r->vacant = way->vacant;
}

#endif
