/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From a ruleset to the tables that the BPF programs read. Pure: the result is
 * plain memory in the layout of bpf/abi.h, which user/engine/publish.c stores.
 */
#ifndef PORTSTEER_PLAN_H
#define PORTSTEER_PLAN_H

#include "compile/state.h"
#include "util/bpf_types.h" /* __u8 .. and abi.h */

struct ps_prefix_entry {
	struct ps_prefix_key key;
	struct ps_front value; /* port is 0 */
};

/* The tables of one ruleset. */
struct ps_plan {
	struct ps_state state; /* what to save, generation and ids set */
	uint64_t word; /* PS_WORD(...): half is that of the word before, flipped */
	struct ps_bucket *buckets; /* 1 << PS_WORD_LOG2(word) of them */
	struct ps_prefix_entry *prefixes;
	size_t prefix_count;
	struct ps_admit *admits; /* [0 .. heads) heads, then records */
	size_t admit_count;
	struct ps_bind *binds; /* the same for bind rules; see plan_bind.h */
	size_t bind_count;
	struct ps_scope *scopes; /* and for connect rules; see plan_connect.h */
	size_t scope_count;
	struct ps_hop *hops;
	size_t hop_count;
	struct ps_owner *owners;
	size_t owner_count;
	/* Bit p & 31 of word p / 32: connections to p are asked about; behind it, whether they may
	 * be those of connect mode's clients. */
	uint32_t filter[2 * 65536 / 32];
	uint32_t bind_filter[65536 / 32]; /* the same for the ports that bind rules name */
	uint32_t connect_filter[65536 / 32]; /* and connect rules, whose clients are turned */
	uint32_t rule_ids; /* one more than the highest rule id */
	uint32_t target_chunks; /* one more than the highest chunk */
	uint32_t event_chunks; /* chunks of events that bind and connect rules need */
	bool binds_any, scopes_any, connects_any, connects_udp; /* what there is to be loaded */
	bool wait; /* retired ids are used again: wait for programs before the tables are stored */
};
void ps_plan_clear(struct ps_plan *plan);

/*
 * Lay out `rules` to follow `before` (an empty state with generation g for a new
 * instance), whose word is `word`. Rules equal to one of `before` keep its id;
 * targets (port, owner) that `before` has keep theirs; new ids start at the
 * cursors and are reused as late as possible, within the fewest chunks that hold
 * the ids in use; retired targets' when there are no others. rules' and targets' copies are
 * the plan's.
 * 0, -ENOMEM, or -E2BIG with a message when a limit is met.
 */
int ps_plan_build(const struct ps_ruleset *rules, const struct ps_state *before, uint64_t word,
		  struct ps_plan *plan, struct ps_error *error);

#endif
