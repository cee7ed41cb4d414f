/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel I/O layer: everything portsteer keeps in the kernel, seen from the
 * commands. user/kernel/host.c, user/kernel/bpffs.c and user/engine/instance.c are behind it.
 *
 * Every function that changes something takes the writer's lock for its whole
 * length, and first cleans up what an interrupted command left.
 */
#ifndef PORTSTEER_INSTANCE_H
#define PORTSTEER_INSTANCE_H

#include "kernel/host.h"
#include "os/netns.h"
#include "rule/ruleset.h"

/* Idempotent: *changed says whether there was something to do. Loading what is
 * loaded attaches a listen hook that went with its cgroup again, and finds the
 * listeners that it missed. */
int ps_instance_load(const struct ps_netns *netns, bool *changed, struct ps_error *error);
int ps_instance_unload(const struct ps_netns *netns, bool *changed, struct ps_error *error);
/* The same for every namespace of the host, also for those that are not to be reached. */
int ps_instance_unload_all(bool *changed, struct ps_error *error);

/* Called under the lock with the present rules, which it edits (it may call
 * ps_ruleset_add and _del); a non-zero result gives the whole change up. */
typedef int ps_edit_fn(struct ps_ruleset *rules, void *data, struct ps_error *error);

/* Replace the ruleset by what `edit` makes of it: read, edit, lay out, build
 * aside, find listeners, one store, clean up. With `load`, an instance is loaded
 * first when there is none, and unloaded again if the change fails; without,
 * -ESRCH. */
int ps_instance_edit(const struct ps_netns *netns, bool load, ps_edit_fn *edit, void *data,
		     struct ps_error *error);

/* Give a new instance rules, with their ids, in the generation after this one: in force, but with neither the
 * steering program nor sock_ops attached, and no listener found. */
int ps_restore(struct ps_host *host, uint64_t cookie, uint32_t index,
	       const struct ps_ruleset *rules, uint32_t generation, struct ps_error *error);
/* Attach sock_ops where any instance's rules need it. */
int ps_attach_needed(const struct ps_host *host, struct ps_error *error);

#endif
