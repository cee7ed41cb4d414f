/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which /sys the command works with: that of process 1, where the state and the cgroups of the
 * host are, also where the command is started with another one.
 */
#ifndef PORTSTEER_WORLD_H
#define PORTSTEER_WORLD_H

#include <stdbool.h>

#include "util/error.h"

#define PS_BPFFS "/sys/fs/bpf"

/* Is a bpffs mounted where we look for it? */
bool ps_bpffs_mounted(void);

/* Where there is no bpffs on /sys/fs/bpf (`ip netns exec` mounts a fresh /sys), let this process
 * see the /sys of process 1 instead. Other processes, and all other paths, are left alone. Fails
 * where process 1 has another one and it cannot be had. */
int ps_world_enter(struct ps_error *error);

/* Is this process in the mount namespace of process 1? */
bool ps_world_is_of_process_1(void);

/* Mount a bpffs there, if there is none, root's alone. Commands that start at the same moment
 * mount one. */
int ps_world_mount_bpffs(struct ps_error *error);

#endif
