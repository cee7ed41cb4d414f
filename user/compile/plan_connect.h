/* SPDX-License-Identifier: GPL-2.0-only */
/* The part of a plan that connect mode's programs read. Pure. */
#ifndef PORTSTEER_PLAN_CONNECT_H
#define PORTSTEER_PLAN_CONNECT_H

#include "compile/plan.h"
#include "rule/targets.h"

/* Lay out scopes and hops of plan->state.rules, whose ids and targets' ids are set.
 * 0 or -ENOMEM. */
int ps_plan_connects(struct ps_plan *plan, const struct ps_targets *targets);

/* Set the bits of the ports that a rule names, if its clients are turned elsewhere: also those
 * of its targets, whose addresses the programs see again in getpeername and recvmsg. */
void ps_connect_ports(const struct ps_rule *rule, uint32_t filter[65536 / 32]);
/* Set those of its front ports, if its clients' connections are noted as flows. */
void ps_flow_ports(const struct ps_rule *rule, uint32_t filter[65536 / 32]);

#endif
