/* SPDX-License-Identifier: GPL-2.0-only */
/* The end of an upgrade, which may be another command's: the links are given to the new state's
 * programs (see upgrade.h). */
#ifndef PORTSTEER_UPGRADE_FINISH_H
#define PORTSTEER_UPGRADE_FINISH_H

#include <stdbool.h>

#include "util/error.h"

/* In the new state, until the links are its own: programs as cgroup-ATTACHTYPE. */
#define PS_UPGRADING "upgrading"

/* Is there something that ps_upgrade_settle has to do? */
bool ps_upgrade_is_unfinished(void);
/* Finish what a killed upgrade has begun, or remove what it left. Needs the lock. */
int ps_upgrade_settle(struct ps_error *error);

#endif
