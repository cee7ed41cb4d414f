/* SPDX-License-Identifier: GPL-2.0-only */
/* Which cgroup a unit of the system has: systemd is asked, or its rules are followed. */
#ifndef PORTSTEER_SYSTEMD_H
#define PORTSTEER_SYSTEMD_H

#include <stdbool.h>

#include "util/bpf_types.h"
#include "util/error.h"

/* What the manager says of a unit. */
struct ps_unit {
	char path[PS_CGROUP_PATH]; /* its cgroup below the root, which need not be there */
	const char *assumed; /* why the path was computed without the manager's word; NULL: with it */
};

/*
 * Where a unit is, or will be when it is started. The manager is asked where systemd runs; if it
 * does not, or does not know the unit, the path is computed from the unit's files by systemd's
 * rules. Nothing is looked for by its name. -EINVAL (PS_EXIT_USAGE), -ENOTSUP if it cannot be
 * computed.
 */
int ps_unit_find(const char *name, struct ps_unit *unit, struct ps_error *error);

/* Does the manager know this unit as one with DynamicUser=? */
bool ps_unit_has_dynamic_user(const char *name);

#endif
