/* SPDX-License-Identifier: GPL-2.0-only */
/* Reports on all instances of the host, for --all. */
#ifndef PORTSTEER_ALL_H
#define PORTSTEER_ALL_H

#include "engine/report.h"

struct ps_listed {
	struct ps_netns netns; /* cookie and label, "" if it was not found; not open */
	uint32_t inode; /* 0: the namespace is gone */
	struct ps_report report;
};

/* By cookie. */
struct ps_all {
	struct ps_listed *items;
	size_t count;
};

/*
 * Read the reports; `own` is the caller's namespace. At most `each` processes are named
 * for each socket; with 0 no sockets are looked for at all. What is unloaded, or ends,
 * meanwhile is left out. -ESRCH (PS_EXIT_NOT_LOADED) if there is nothing.
 */
int ps_all_read(const struct ps_netns *own, uint32_t each, struct ps_all *all,
		struct ps_error *error);
void ps_all_clear(struct ps_all *all);

/* Find how to call the namespaces of the instances. */
int ps_instances_name(const struct ps_netns *own, struct ps_host_info *info,
		      struct ps_error *error);

#endif
