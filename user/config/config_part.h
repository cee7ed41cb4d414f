/* SPDX-License-Identifier: GPL-2.0-only */
/* What is left of a configuration of which some sections have a mistake. */
#ifndef PORTSTEER_CONFIG_PART_H
#define PORTSTEER_CONFIG_PART_H

#include "config/config.h"
#include "rule/ruleset.h"

/* Move the rules of sections without a mistake to *rules, and blocks for the others. 0, -ENOMEM,
 * or -E2BIG if that could not be in force. */
int ps_config_part(struct ps_config *config, struct ps_ruleset *rules);

#endif
