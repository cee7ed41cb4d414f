/* SPDX-License-Identifier: GPL-2.0-only */
/* Which rules can be in force, and which together. Pure. */
#ifndef PORTSTEER_CONFLICTS_H
#define PORTSTEER_CONFLICTS_H

#include "rule/ruleset.h"

/* In the network namespace that rules are for, the ports from this one on need no privilege
 * (net.ipv4.ip_unprivileged_port_start). To be said once, before rules are read; 1024 if it is
 * not. Less is taken for 1024: such a setting makes grants superfluous, and no mistake. */
void ps_rule_set_unprivileged(uint32_t first);

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
