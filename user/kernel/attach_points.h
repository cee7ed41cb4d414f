/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the sock_ops program is attached. The kernel calls it at every stage of
 * every TCP connection below its cgroup, so it sits no higher than is safe: on
 * system.slice or user.slice, which systemd keeps, if they contain every owner, else
 * on the root, and on the root while connect mode has clients to note; on none when there
 * are no rules. A program that is attached to any other cgroup is lost when that is
 * removed, and nobody is there to notice.
 */
#ifndef PORTSTEER_ATTACH_POINTS_H
#define PORTSTEER_ATTACH_POINTS_H

#include <stdbool.h>
#include <stddef.h>

#include "compile/state.h"
#include "kernel/host.h"
#include "kernel/others.h"

/* A set of cgroups, none below another: paths below the cgroup2 root, the root
 * being "". */
struct ps_attach_points {
	char **paths; /* owned */
	size_t count;
};
void ps_attach_points_clear(struct ps_attach_points *anchors);

/* Add the anchors that a ruleset's owners need. -errno with a message if there is no
 * cgroup2. */
int ps_attach_points_add(struct ps_attach_points *anchors, const struct ps_state *state,
			 struct ps_error *error);

/* Add the root. 0 or -ENOMEM. */
int ps_attach_points_add_root(struct ps_attach_points *anchors);

/* Is each of `others` among them, or below one? */
bool ps_attach_points_include(const struct ps_attach_points *anchors,
			      const struct ps_attach_points *others);

/* Attach the program where it is not yet; detach nothing. On failure what this
 * call attached is detached again. */
int ps_attach_points_attach(const struct ps_host *host, const struct ps_attach_points *anchors,
			    struct ps_error *error);
/* Detach it wherever it is not wanted, and forget links of removed cgroups. */
int ps_attach_points_detach_others(const struct ps_attach_points *anchors);

/* Does every anchor have the program on itself or above: 1, 0 or -errno. Not so when
 * somebody has detached it. */
int ps_attach_points_cover(const struct ps_attach_points *anchors);

/* Was the listen hook lost for a part of these rules, so that listeners which have begun since must
 * be found by a scan: 1, 0 or -errno. */
int ps_listen_is_lost(const struct ps_state *state);

/* Is there a link of it that somebody has detached, or whose cgroup is gone: 1, 0 or -errno. */
int ps_attach_points_lost(void);

/* On how many cgroups it is, or was until somebody detached it; SIZE_MAX if that is not known. */
size_t ps_attach_points_attached(void);

/* Where it is attached now, "(detached)" for a link that is not, "(id 77)" for a cgroup that cannot
 * be seen from here. */
int ps_attach_points_read(struct ps_attach_points *anchors);

/* Add others' programs where it is attached, or has been until somebody detached it. 0, -ENOMEM,
 * -EPERM without the right to look, -EXDEV if a cgroup cannot be seen from here. */
int ps_attach_points_others(struct ps_others *others);

#endif
