/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A ruleset comes into force: it is laid out, everything that it needs is built aside, listeners
 * that are there already are found, one store of the ruleset word is the commit point, and what
 * was before is cleaned up. All of these need the writer's lock.
 */
#ifndef PORTSTEER_PUBLISH_H
#define PORTSTEER_PUBLISH_H

#include "kernel/tables.h"
#include "os/listeners.h"

/* An instance that is opened for a change. */
struct ps_opened {
	struct ps_host *host;
	const struct ps_netns
		*netns; /* NULL: it is not to be entered; all listeners are looked for */
	struct ps_tables tables;
	struct ps_state state; /* the rules in force */
};
#define PS_OPENED_NONE                                                                             \
	{                                                                                          \
		.tables = PS_TABLES_NONE                                                           \
	}
void ps_opened_close(struct ps_opened *opened);

/* Read the rules in force, (again) from the opened tables. */
int ps_opened_read(struct ps_opened *opened, struct ps_error *error);

/*
 * Put `rules` in the place of those in force; on failure these stay. `look` has not been read yet:
 * it is if it has to be known whether somebody listens, with these ports among its own. NULL: all
 * that is open is searched.
 */
int ps_publish(struct ps_opened *opened, const struct ps_ruleset *rules, struct ps_look *look,
	       struct ps_error *error);
/* Where nothing changes, something may be left of a command that was killed: clean that up if there
 * is a sign of it. */
void ps_publish_nothing(struct ps_opened *opened);

/* Give a new instance rules, with their ids, in the generation after this one: in force, but with
 * neither the steering program nor sock_ops attached, and no listener found. */
int ps_restore(struct ps_host *host, uint64_t cookie, uint32_t index,
	       const struct ps_ruleset *rules, uint32_t generation, struct ps_error *error);

#endif
