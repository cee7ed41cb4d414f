/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which ids rules and targets have, by which the kernel's tables know them. Those that were there
 * keep theirs; new ids start at the cursors and are reused as late as possible, within the fewest
 * chunks that hold the ids in use. Pure.
 */
#ifndef PORTSTEER_IDS_H
#define PORTSTEER_IDS_H

#include "compile/state.h"
#include "rule/targets.h"

/* Target ids counted through all chunks: 0 .. 63 are chunk 0's and so on. */
uint32_t ps_target_linear(uint32_t target);

/* Where the events of a bind or connect rule with this id are: PS_TARGET(PS_RULE_CHUNKS +
 * k, i). */
uint32_t ps_rule_events(uint32_t rule_id);

/* Give ids to the rules of `state`, which follows `before`; *rule_ids is one more than the
 * highest. 0, -ENOMEM, or -E2BIG with a message. */
int ps_ids_rules(struct ps_state *state, const struct ps_state *before, uint32_t *rule_ids,
		 struct ps_error *error);

/* List the targets of `state`, with their ids, and the ids that it retires. *chunks is one more
 * than the highest chunk. Retired ids are given out when there are no others: *wait. 0, -ENOMEM,
 * or -E2BIG with a message. */
int ps_ids_targets(struct ps_state *state, const struct ps_targets *targets,
		   const struct ps_state *before, uint32_t *chunks, bool *wait,
		   struct ps_error *error);

#endif
