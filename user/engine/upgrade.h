/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * portsteer upgrade: this build's programs take the place of those that are loaded.
 *
 * If these are of the same layout, they are exchanged in place (user/kernel/swap.h), and all else
 * stays. Of any other layout the rules are read (user/kernel/loaded.h), and all of the new state is
 * built in PS_ASIDE, complete, and exchanged for the old one by a rename, which is the commit
 * point. The folder "upgrading" in the new state, which holds its programs for the links, says
 * that the links have yet to be given to them; what does so may be killed and begun again, by
 * any command (user/engine/upgrade_finish.h). Links go on: each is updated, and none is detached before another one does its
 * work.
 */
#ifndef PORTSTEER_UPGRADE_H
#define PORTSTEER_UPGRADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

/* What an upgrade did. */
struct ps_upgraded {
	bool changed; /* false: these programs are loaded already */
	bool rebuilt; /* it was of another layout: counters have begun again */
	size_t instances, rules;
	/* Notes on sockets were lost, as their form is another one: bound sockets then say
	 * their real port, connected ones their real peer. */
	bool lost_bound, lost_trails;
};

/* For all instances of the host. -ESRCH (PS_EXIT_NOT_LOADED) if there is none. */
int ps_upgrade(struct ps_upgraded *upgraded, struct ps_error *error);

#endif
