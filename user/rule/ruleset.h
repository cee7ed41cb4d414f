/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A set of rules that can be in force together. Pure. Kept sorted by
 * ps_rule_compare; adding n rules to m costs O((n + m) log(n + m)).
 */
#ifndef PORTSTEER_RULESET_H
#define PORTSTEER_RULESET_H

#include "rule/rule.h"

struct ps_ruleset {
	struct ps_rule *rules; /* owned */
	size_t count, capacity;
};

void ps_ruleset_clear(struct ps_ruleset *set);
int ps_ruleset_copy(const struct ps_ruleset *from, struct ps_ruleset *to);

/*
 * Add copies of `count` rules, all or none. Checks what a rule must be (owner
 * given, target not 0, equal range lengths are the parser's; steer with UDP is
 * refused, and so are grants of unprivileged ports and translations of privileged
 * ones) and what rules must be to each other: no overlap with a rule of the
 * same address and protocol (the error names both rules), no target that is
 * itself a front port (a loop; the error names both), no bind rule that takes the
 * front or the target port of a steer rule, no two translations of one owner's port,
 * at most PS_MAX_OWNERS_PER_PORT owners of one target port, the limits of bpf/abi.h.
 * An identical rule that is already there is -EEXIST; other conflicts -EEXIST,
 * -ELOOP, -E2BIG, -EINVAL, -ENOMEM. The set is unchanged on failure.
 */
int ps_ruleset_add(struct ps_ruleset *set, const struct ps_rule *rules, size_t count,
		   struct ps_error *error);

/* Append a copy, without checks and without order: ps_ruleset_take is for afterwards. 0 or
 * -ENOMEM. */
int ps_ruleset_append(struct ps_ruleset *set, const struct ps_rule *rule);

/* Make a set of rules that may be in force together, in any order: it owns the array, which
 * has been allocated, and its strings. */
void ps_ruleset_take(struct ps_ruleset *set, struct ps_rule *rules, size_t count);

/* Remove the rules that the keys (of ps_rule_parse_key) name, all or none: same
 * prefix, protocol and front range, and the same target unless the key's is 0.
 * -ENOENT names the key that matches nothing and, if a rule with the same front
 * port exists, that rule. */
int ps_ruleset_del(struct ps_ruleset *set, const struct ps_rule *keys, size_t count,
		   struct ps_error *error);

/* The rule that answers for an address and port, as the kernel decides: longest
 * prefix, then no address; NULL if none. */
const struct ps_rule *ps_ruleset_match(const struct ps_ruleset *set, uint8_t family,
				       const uint8_t *addr, uint8_t proto, uint16_t port);

/* Is there a rule of this mode? */
bool ps_ruleset_has_mode(const struct ps_ruleset *set, enum ps_mode mode);
/* Is there a rule whose connections sk_lookup hands to listeners? */
bool ps_ruleset_has_targets(const struct ps_ruleset *set);

/* Called for each rule of two sets, in their order: a rule that is only in the second has
 * no `before`, one that is only in the first no `after`. Rules are the same one if
 * ps_rule_compare finds them equal; ps_rule_equal says whether it has changed. */
typedef void ps_difference_fn(const struct ps_rule *before, const struct ps_rule *after,
			      void *data);
void ps_ruleset_compare(const struct ps_ruleset *from, const struct ps_ruleset *to,
			ps_difference_fn *fn, void *data);

/* What changed from `from` to `to`: counts of rules that are only in `to`, only in `from`,
 * in both with a difference. Of those that are the same some may have moved: they have another
 * origin. */
struct ps_diff {
	size_t added, removed, changed, same, moved;
};
struct ps_diff ps_ruleset_diff(const struct ps_ruleset *from, const struct ps_ruleset *to);

#endif
