/* SPDX-License-Identifier: GPL-2.0-only */
/* What a rule must be by itself. Pure. */
#ifndef PORTSTEER_RULE_CHECK_H
#define PORTSTEER_RULE_CHECK_H

#include "rule/rule.h"

/* In the network namespace that rules are for, the ports from this one on need no privilege
 * (net.ipv4.ip_unprivileged_port_start). To be said once, before rules are read; 1024 if it is
 * not. Less is taken for 1024: such a setting makes grants superfluous, and no mistake. */
void ps_rule_set_unprivileged(uint32_t first);

/* What a rule must be by itself: 0 or a negative errno with a message. */
int ps_rule_check(const struct ps_rule *rule, struct ps_error *error);

#endif
