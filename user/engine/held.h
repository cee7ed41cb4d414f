/* SPDX-License-Identifier: GPL-2.0-only */
/* Who keeps a port that a bind rule gave, when that rule goes. */
#ifndef PORTSTEER_HELD_H
#define PORTSTEER_HELD_H

#include "os/listeners.h"
#include "rule/ruleset.h"

/* The sockets that rules of `before` which are not in `after`, unchanged, have bound, with
 * some of their processes. To be asked while `before` is in force. What cannot be read is not
 * told: *held is then empty. */
void ps_held_read(const struct ps_netns *netns, const struct ps_ruleset *before,
		  const struct ps_ruleset *after, struct ps_sockets *held);

#endif
