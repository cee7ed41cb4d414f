/* SPDX-License-Identifier: GPL-2.0-only */
/* Which rules can be in force together. Pure. */
#ifndef PORTSTEER_CONFLICTS_H
#define PORTSTEER_CONFLICTS_H

#include "rule/rule.h"

/* Which of the rules to be added are in conflict; SIZE_MAX for one that is there already, and
 * for none. */
struct ps_clash {
	size_t one, other;
};

/* Some rules. */
struct ps_rules {
	const struct ps_rule *rules;
	size_t count;
};

/* May these rules be added to those that are there already? 0, or a negative errno with a message
 * that names the rule and, if there is one, the other; see ps_ruleset_add. *clash, if not NULL,
 * says which they are. */
int ps_conflicts_check(struct ps_rules old, struct ps_rules added, struct ps_clash *clash,
		       struct ps_error *error);

#endif
