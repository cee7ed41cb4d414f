/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connect mode: what the rules say of where a client wants to go, by its cgroup.
 */
#ifndef PORTSTEER_CONNECT_RULES_H
#define PORTSTEER_CONNECT_RULES_H

#include "address.h"
#include "answer.h"
#include "connect_maps.h"
#include "maps.h"
#include "scope.h"

static __always_inline struct ps_hop *hop_at(__u32 inst, __u32 half, __u32 index)
{
	return entry_of(entry_of(&ps_hops, inst), index * 2 + half);
}

static __always_inline bool hop_matches(const struct ps_want *want, const struct ps_hop *h,
					__u32 scope)
{
	return h->scope == scope && h->port == want->port && h->protocol == want->protocol &&
	       h->family == want->family && same_prefix(want->addr, h->addr, h->length);
}

/* One record of a chain: minus its index if it is the scope's rule for what is wanted,
 * else the index of the next, 0 at the end. */
PS_GLOBAL int ps_hop_step(const struct ps_want *want, __u32 scope, __u32 cursor)
{
	struct ps_hop *h = want ? hop_at(want->instance, want->half, cursor) : NULL;

	if (!want || !h)
		return 0;
	return hop_matches(want, h, scope) ? -(int)cursor : (int)h->next;
}

/* The record of a scope's rule for what is wanted, or 0. */
PS_GLOBAL int ps_hop_find(const struct ps_want *want, __u32 scope)
{
	struct ps_hop *h;
	int cursor;

	if (!want)
		return 0;
	h = hop_at(want->instance, want->half, 0);
	if (!h || !h->scope)
		return 0;
	h = hop_at(want->instance, want->half, PS_HOP_HASH(scope, want->port) & (h->scope - 1));
	cursor = h ? (int)h->next : 0;
	for (int i = 0; cursor > 0 && i < PS_CHAIN; i++)
		cursor = ps_hop_step(want, scope, cursor);
	return cursor < 0 ? -cursor : 0;
}

/* The rule of the deepest scope that has one for this: a scope without such a rule
 * hides nothing of those around it. */
static __always_inline __u32 find_hop(const struct ps_want *want, __u32 scope)
{
	struct ps_scope *s;
	__u32 record;

	for (int i = 0; i <= PS_CGROUP_DEPTH && scope; i++) {
		record = ps_hop_find(want, scope);
		if (record)
			return record;
		s = scope_at(want->instance, want->half, scope);
		scope = s ? s->parent : 0;
	}
	return 0;
}

/* One look at the rules for a process in a scope: 0 with answer->found, or -EAGAIN if the
 * ruleset was replaced meanwhile. */
PS_GLOBAL int ps_hop_look(struct ps_want *want, struct ps_answer *answer, __u64 word, __u32 scope)
{
	struct ps_instance *me;
	struct ps_target_state *s;
	struct ps_hop *h;
	__u32 record, inst;

	if (!want || !answer)
		return 0;
	inst = want->instance;
	me = bpf_map_lookup_elem(&ps_instances, &inst);
	want->half = PS_WORD_HALF(word);
	record = find_hop(want, scope);
	h = record ? hop_at(inst, want->half, record) : NULL;
	if (h) {
		answer->port = h->target;
		answer->flags = h->flags;
		answer->rule = h->rule;
		answer->listeners = h->listeners;
		__builtin_memcpy(answer->addr, h->to, sizeof(answer->addr));
		s = h->flags & PS_HOP_FIXED ? NULL : target_at(inst, h->listeners);
		answer->epoch = s ? READ_ONCE(s->epoch) : 0;
	}
	/* Then the epoch, too, is that of the target that this ruleset has. */
	if (!me || !still_valid(me, word))
		return -EAGAIN;
	answer->found = record ? PS_RULE : PS_NO_RULE;
	return 0;
}

/* What the rules in force say. Most processes are in no scope, and need no more than to
 * be found there. */
static __always_inline void ask_rules(struct ps_want *want, struct ps_answer *answer)
{
	__u32 inst = want->instance, scope;
	struct ps_instance *me = bpf_map_lookup_elem(&ps_instances, &inst);
	__u64 word;

	answer->found = PS_NO_RULE;
	for (int i = 0; me && i < PS_READ_TRIES; i++) {
		word = READ_ONCE(me->active);
		if (!word)
			return;
		scope = scope_of(inst, word);
		if (scope ? !ps_hop_look(want, answer, word, scope) : still_valid(me, word))
			return;
	}
	/* Unreadable rules: refuse, it could be anybody's socket otherwise. */
	answer->found = PS_UNREADABLE;
}

#endif
