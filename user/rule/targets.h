/* SPDX-License-Identifier: GPL-2.0-only */
/* The distinct owners and scopes of a set of rules, and the targets of those that look for
 * listeners. Pure. */
#ifndef PORTSTEER_TARGETS_H
#define PORTSTEER_TARGETS_H

#include "rule/rule.h"

/* Total order of owners: flags, uid, cgroup. */
int ps_owner_compare(const struct ps_owner_spec *a, const struct ps_owner_spec *b);

/* A target as one number that sorts by port, then owner. */
#define PS_PAIR(port, owner) ((uint64_t)(port) << 32 | (uint32_t)(owner))
#define PS_PAIR_PORT(pair) ((uint16_t)((pair) >> 32))
#define PS_PAIR_OWNER(pair) ((uint32_t)(pair))

struct ps_targets {
	const struct ps_owner_spec **owners; /* distinct, in order; the rules' own */
	uint32_t owner_count;
	uint32_t *owner_of; /* for each rule, an index into owners */
	struct ps_owner_spec *scopes; /* for each rule, its scope as an owner (flags 0: none) */
	uint32_t *scope_of; /* and its index in owners, where it has one */
	uint64_t *pairs; /* distinct (port, index of owner), in order */
	size_t pair_count;
};

/* 0 or -ENOMEM. `rules` are pointers to the rules, whose owners are borrowed. */
int ps_targets_collect(const struct ps_rule *const *rules, size_t count,
		       struct ps_targets *targets);
void ps_targets_clear(struct ps_targets *targets);

/* The index of a pair, which must be there. */
size_t ps_targets_find(const struct ps_targets *targets, uint64_t pair);

#endif
