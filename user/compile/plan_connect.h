/* SPDX-License-Identifier: GPL-2.0-only */
/* The parts of a plan that connect mode's programs read. Pure. */
#ifndef PORTSTEER_PLAN_CONNECT_H
#define PORTSTEER_PLAN_CONNECT_H

#include "compile/state.h"
#include "rule/targets.h"
#include "util/bpf_types.h"

/* Lay out the scopes of connect rules. numbers[index of an owner] becomes the number of the scope
 * that it stands for. 0 or -ENOMEM; *scopes is allocated, see ps_chains_build. */
int ps_plan_scopes(const struct ps_ruleset *rules, const struct ps_targets *targets,
		   uint32_t *numbers, struct ps_scope **scopes, size_t *total);

/* Lay out the hops of the state's rules, whose ids and targets' ids are set. 0 or -ENOMEM; *hops
 * is allocated. */
int ps_plan_hops(const struct ps_state *state, const struct ps_targets *targets,
		 const uint32_t *numbers, struct ps_hop **hops, size_t *total);

/* Set the bits of the ports that a rule names, if its clients are turned elsewhere: also those
 * of its targets, whose addresses the programs see again in getpeername and recvmsg. */
void ps_connect_ports(const struct ps_rule *rule, uint32_t filter[65536 / 32]);
/* Set those of its front ports, if its clients' connections are noted as flows. */
void ps_flow_ports(const struct ps_rule *rule, uint32_t filter[65536 / 32]);

#endif
