/* SPDX-License-Identifier: GPL-2.0-only */
/* An instance's rules with the ids given to them, and the saved form of that. */
#ifndef PORTSTEER_STATE_H
#define PORTSTEER_STATE_H

#include "rule/ruleset.h"

/* A distinct (target port, owner); rules that agree in both share it, and with
 * it the listeners. */
struct ps_target {
	uint16_t port;
	bool fresh; /* the state before did not have it */
	struct ps_owner_spec owner; /* strings owned */
	uint32_t id; /* PS_TARGET(chunk, index) */
};

/* An instance's rules with the ids given to them: what is saved beside the
 * tables, and read back by the next command. */
struct ps_state {
	struct ps_ruleset rules; /* each with its id */
	struct ps_target *targets; /* sorted by port, then owner */
	size_t target_count;
	uint32_t generation;
	uint32_t rule_cursor, target_cursor; /* where the search for a free id goes on */
	/* Targets' ids that are free, but that a program which still runs may read in a ruleset
	 * of before, and admit a listener to: not to be given out before a wait for programs. */
	uint32_t *retired; /* owned */
	size_t retired_count;
	/* Of the state before, not saved: listeners may be missing from its targets, so
	 * that none is kept and all are looked for anew. */
	bool renew_targets;
};
void ps_state_clear(struct ps_state *state);

/* The order of targets: port, then owner. */
int ps_target_compare(const struct ps_target *a, const struct ps_target *b);

/* The target of a port and owner, or NULL. */
const struct ps_target *ps_state_target(const struct ps_state *state, uint16_t port,
					const struct ps_owner_spec *owner);

/* Write and read the saved form: bounded. decode trusts nothing: -EBADMSG for what encode does
 * not write; -ENOTSUP if a newer version's encode wrote something
 * that this one does not know. */
int ps_state_encode(const struct ps_state *state, void **data, size_t *size);
int ps_state_decode(const void *data, size_t size, struct ps_state *state);

#endif
