/* SPDX-License-Identifier: GPL-2.0-only */
/* Which rules can be in force, and which together. Pure. */
#ifndef PORTSTEER_CONFLICTS_H
#define PORTSTEER_CONFLICTS_H

#include "ruleset.h"

/* What a rule must be by itself: 0 or a negative errno with a message. */
int ps_rule_check(const struct ps_rule *rule, struct ps_error *error);

/* Which of the rules to be added are in conflict; SIZE_MAX for one that is in the set, and
 * for none. */
struct ps_clash {
	size_t one, other;
};

/* May these rules be added to the set? 0, or a negative errno with a message that names
 * the rule and, if there is one, the other; see ps_ruleset_add. *clash, if not NULL, says
 * which they are. */
int ps_conflicts_check(const struct ps_ruleset *set, const struct ps_rule *rules, size_t count,
		       struct ps_clash *clash, struct ps_error *error);

#endif
