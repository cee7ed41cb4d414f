/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A change of a namespace's rules, as a transaction:
 *
 *	ret = ps_change_begin(&change, netns, true, error);
 *	... edit change.rules ...
 *	ret = ps_change_commit(&change, &look, error);
 *	... read what is in force now, by change.opened.tables ...
 *	ps_change_end(&change);
 *
 * The writer's lock is held from the beginning to the commit, or to the end without one: then
 * nothing has changed.
 */
#ifndef PORTSTEER_CHANGE_H
#define PORTSTEER_CHANGE_H

#include "engine/publish.h"
#include "engine/writer.h"
#include "os/netns.h"

struct ps_change {
	struct ps_writer writer;
	struct ps_opened opened;
	struct ps_ruleset rules; /* those in force, to be edited */
	uint32_t index; /* of the instance */
	bool made; /* the instance is new, and goes unless there is a commit */
	bool changed; /* there was something to do */
};
#define PS_CHANGE_NONE                                                                             \
	{                                                                                          \
		.writer = PS_WRITER_NONE, .opened = PS_OPENED_NONE                                 \
	}

/*
 * Take the lock, open the instance of the namespace, read its rules. With `load`, an instance is
 * made when there is none; without, that is -ESRCH (PS_EXIT_NOT_LOADED). What an interrupted
 * command left is cleaned up, and hooks that somebody has detached are attached again. The change
 * must stay where it is in memory. To be ended on failure, too.
 */
int ps_change_begin(struct ps_change *change, const struct ps_netns *netns, bool load,
		    struct ps_error *error);

/* Put change->rules in force, and let go of the lock; `look` as for ps_publish. */
int ps_change_commit(struct ps_change *change, struct ps_look *look, struct ps_error *error);

void ps_change_end(struct ps_change *change);

#endif
