/* SPDX-License-Identifier: GPL-2.0-only */
/* Which cgroup a container has. */
#ifndef PORTSTEER_CONTAINER_H
#define PORTSTEER_CONTAINER_H

#include "util/bpf_types.h"
#include "util/error.h"

/*
 * The path, below the root of the hierarchy that is mounted at `mount`, of the container with
 * this id (12 digits or more of it) or name. It has to be there, as where a runtime will put it
 * cannot be told. It is looked for only where the host's own runtimes make cgroups: see
 * portsteer(8), "OWNERS". -EINVAL (PS_EXIT_USAGE), -ENOENT, -EEXIST, -EPERM.
 */
int ps_container_find(const char *text, const char *mount, char path[PS_CGROUP_PATH],
		      struct ps_error *error);

#endif
