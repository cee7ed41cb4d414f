/* SPDX-License-Identifier: GPL-2.0-only */
/* Loading and unloading, as commands do it. What changes rules is in change.h. */
#ifndef PORTSTEER_INSTANCE_H
#define PORTSTEER_INSTANCE_H

#include <stdbool.h>

#include "os/netns.h"

/* Idempotent: *changed says whether there was something to do. Loading what is
 * loaded attaches a listen hook that went with its cgroup again, and finds the
 * listeners that it missed. */
int ps_instance_load(const struct ps_netns *netns, bool *changed, struct ps_error *error);
int ps_instance_unload(const struct ps_netns *netns, bool *changed, struct ps_error *error);
/* The same for every namespace of the host, also for those that are not to be reached. */
int ps_instance_unload_all(bool *changed, struct ps_error *error);

#endif
