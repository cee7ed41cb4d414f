/* SPDX-License-Identifier: GPL-2.0-only */
/* The cgroup2 hierarchy: where it is mounted, and what --cgroup means. */
#ifndef PORTSTEER_CGROUP_H
#define PORTSTEER_CGROUP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"

/* A mount point of the whole cgroup2 hierarchy, the same one as long as it is there; in a cgroup
 * namespace, process 1's if that has one. 0; -ENOENT if none is mounted, -EXDEV if only a part is
 * to be seen, with a message (PS_EXIT_UNSUPPORTED). */
int ps_cgroup2_mount(char path[256], struct ps_error *error);

/* The path below the root of the cgroup with this id, "/system.slice/web.service", the root's
 * being "". -ENOENT if it is gone, or if the whole hierarchy is not to be seen. */
int ps_cgroup_path(uint64_t id, char *path, size_t size);

/* The same for the cgroup that a process is in, if that is the one with this id; this needs no
 * privilege. Allocated, the root's being "/"; NULL. */
char *ps_cgroup_path_of(pid_t pid, uint64_t id);

/*
 * The normalised path below the cgroup2 root (see ps_cgroup_normalise) of what the
 * user wrote: a path with or without the mount point in front, "pid:77" for the
 * cgroup that the process is in now, "unit:web.service", or "container:0123456789ab". A
 * cgroup named by path or a service need not exist. *path is allocated; so is *note, what the
 * user should know about it, NULL if there is nothing.
 */
int ps_cgroup_resolve(const char *text, char **path, char **note, struct ps_error *error);

/* The same for a client cgroup, which may be the root if it is written as "/". */
int ps_scope_resolve(const char *text, char **path, char **note, struct ps_error *error);

#endif
