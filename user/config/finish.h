/* SPDX-License-Identifier: GPL-2.0-only */
/* From what the files of the configuration say to a ruleset. */
#ifndef PORTSTEER_FINISH_H
#define PORTSTEER_FINISH_H

#include "config/config.h"
#include "rule/ruleset.h"

/* Note sections that have one name: 0 or -ENOMEM. */
int ps_config_twins(struct ps_config *config);

/* After the last file: see which rules cannot be in force together, and move the rules to
 * *rules. 0; -EINVAL if there are mistakes, which are then in order; -ENOMEM. If it is to keep
 * going *rules are those of the sections without a mistake, and blocks for what the others name,
 * and `partial` is set; but not where that cannot be told, or could not be in force. */
int ps_config_finish(struct ps_config *config, struct ps_ruleset *rules);

#endif
