/* SPDX-License-Identifier: GPL-2.0-only */
/* The part of a plan that the bind programs read. Pure. */
#ifndef PORTSTEER_PLAN_BIND_H
#define PORTSTEER_PLAN_BIND_H

#include "rule/ruleset.h"
#include "util/bpf_types.h"

/* Lay out the bind records of rules whose ids are set; owner_of has the index of each rule's
 * owner. 0 or -ENOMEM; *binds is allocated, see ps_chains_build. */
int ps_plan_binds(const struct ps_ruleset *rules, const uint32_t *owner_of, struct ps_bind **binds,
		  size_t *total);

/* Set the bits of the ports that a rule names, if it is a bind rule. */
void ps_bind_ports(const struct ps_rule *rule, uint32_t filter[65536 / 32]);

#endif
