/* SPDX-License-Identifier: GPL-2.0-only */
/* Links by their pins: which programs are attached where. */
#ifndef PORTSTEER_LINK_H
#define PORTSTEER_LINK_H

#include <stdbool.h>

#include <linux/bpf.h>

/* Call fn for each link that is pinned in a folder; other things are passed over, as is a
 * folder that does not exist. A non-zero result ends it. */
int ps_each_link(const char *folder,
		 int (*fn)(int link, const struct bpf_link_info *info, const char *pin, void *data),
		 void *data);

/* Update a link to a program, unless it has that already, or its cgroup or namespace is gone. */
int ps_link_give(int link, const struct bpf_link_info *info, int program);

/* Is the link that is pinned at `path` attached? Not so one that somebody has detached, or whose
 * cgroup or namespace has gone. 1, 0 (also without a pin), or -errno if it cannot be told. */
int ps_link_is_attached(const char *path);

/* If it is not, attach its program to `target` (a cgroup's or namespace's descriptor) by a new
 * link in its place: 1, 0 if there was nothing to do, or -errno. */
int ps_link_revive(const char *path, int target);

#endif
