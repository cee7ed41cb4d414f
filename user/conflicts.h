/* SPDX-License-Identifier: GPL-2.0-only */
/* Which rules can be in force, and which together. Pure. */
#ifndef PORTSTEER_CONFLICTS_H
#define PORTSTEER_CONFLICTS_H

#include "ruleset.h"

/* May these rules be added to the set? 0, or a negative errno with a message that names
 * the rule and, if there is one, the other; see ps_ruleset_add. */
int ps_conflicts_check(const struct ps_ruleset *set, const struct ps_rule *rules, size_t count,
		       struct ps_error *error);

#endif
