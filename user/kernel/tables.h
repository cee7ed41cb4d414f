/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One instance's maps: opening them, making room, and storing a plan's tables in
 * the half that is not in force. What the BPF programs read is described in
 * bpf/abi.h.
 */
#ifndef PORTSTEER_TABLES_H
#define PORTSTEER_TABLES_H

#include "compile/plan.h"
#include "kernel/host.h"

/* The pins of an instance that commands open, in its folder ns-COOKIE. */
enum ps_instance_fd {
	PS_INST_FILTER,
	PS_INST_FRONTS,
	PS_INST_FRONTS_MORE,
	PS_INST_HITS,
	PS_INST_HITS_MORE,
	PS_INST_STATES,
	PS_INST_STATES_MORE,
	PS_INST_LISTENERS,
	PS_INST_LISTENERS_MORE,
	PS_INST_OVERFLOW,
	PS_INST_PREFIXES,
	PS_INST_FDS,
};
extern const char *const ps_instance_pin[PS_INST_FDS];

/* An opened instance. The host is the caller's and outlives it. */
struct ps_tables {
	const struct ps_host *host;
	uint64_t cookie;
	uint32_t index;
	struct ps_instance *instance; /* in host->instances */
	uint32_t *filter; /* mapped, one bit for each port */
	int fd[PS_INST_FDS];
	int listeners[PS_TARGET_CHUNKS]; /* -1: no such chunk */
	int states[PS_TARGET_CHUNKS]; /* of targets */
	int events[PS_TARGET_CHUNKS]; /* of bind and connect rules */
	int hits; /* the chunk of hits that was opened last, or -1 */
	uint32_t hits_chunk;
};
#define PS_TABLES_NONE                                                                             \
	{                                                                                          \
		.fd = { -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1 },                              \
		.listeners = { -1, -1, -1, -1, -1, -1, -1, -1 },                                   \
		.states = { -1, -1, -1, -1, -1, -1, -1, -1 },                                      \
		.events = { -1, -1, -1, -1, -1, -1, -1, -1 }, .hits = -1,                          \
	}

/* Open instance `index`; -ENOENT or -EPROTO with a message. */
int ps_tables_open(const struct ps_host *host, uint64_t cookie, uint32_t index,
		   struct ps_tables *tables, struct ps_error *error);
void ps_tables_close(struct ps_tables *tables);

/* Make what a new instance has from the first, its records and owners, and let the shared
 * programs find its first targets. */
int ps_tables_register(const struct ps_host *host, uint32_t index, const int fd[PS_INST_FDS]);
/* Take all of an instance out of the shared maps; -ENOENT is not an error. */
int ps_tables_unregister(const struct ps_host *host, uint32_t index);

/* Make room for a plan, without a change that any program could notice. The hooks that
 * its rules need must be loaded. */
int ps_tables_reserve(struct ps_tables *tables, const struct ps_plan *plan);
/* Store the plan in the half that its word names. `before` is the state in
 * force: ids that it does not use are cleared. */
int ps_tables_store(struct ps_tables *tables, const struct ps_plan *plan,
		    const struct ps_state *before);
/* Empty the places of the targets that a state in force has retired, from the `first`th on, and
 * the shared places of all that it has not: others may have them. */
int ps_tables_retire(struct ps_tables *tables, const struct ps_state *state, size_t first);
/* Remove trie entries of every generation but `generation`. */
int ps_tables_sweep(const struct ps_tables *tables, uint32_t generation);

/* The listener in one of a target's places; -ENOENT if it is vacant. */
int ps_tables_listener(const struct ps_tables *tables, uint32_t target, uint32_t place,
		       uint64_t *cookie);

/* A target's state. */
int ps_tables_target(const struct ps_tables *tables, uint32_t target,
		     struct ps_target_state *state);
/* A bind rule's, and a connect rule's. */
int ps_tables_bind_events(const struct ps_tables *tables, uint32_t rule,
			  struct ps_bind_events *events);
int ps_tables_connect_events(const struct ps_tables *tables, uint32_t rule,
			     struct ps_connect_events *events);
/* Sum of a rule's hits over all CPUs; last is the latest. */
int ps_tables_hits(struct ps_tables *tables, uint32_t rule, struct ps_hits *sum);

#endif
