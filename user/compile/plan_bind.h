/* SPDX-License-Identifier: GPL-2.0-only */
/* The part of a plan that the bind programs read. Pure. */
#ifndef PORTSTEER_PLAN_BIND_H
#define PORTSTEER_PLAN_BIND_H

#include "compile/plan.h"

/* Lay out the bind records of plan->state.rules, whose ids are set; owner_of has the
 * index of each rule's owner. 0 or -ENOMEM. */
int ps_plan_binds(struct ps_plan *plan, const uint32_t *owner_of);

/* Set the bits of the ports that a rule names, if it is a bind rule. */
void ps_bind_ports(const struct ps_rule *rule, uint32_t filter[65536 / 32]);

#endif
