/* SPDX-License-Identifier: GPL-2.0-only */
/* What commands show of what is in force, read without the lock. */
#ifndef PORTSTEER_VIEW_H
#define PORTSTEER_VIEW_H

#include "compile/state.h"
#include "engine/counters.h"
#include "engine/strays.h"
#include "kernel/others.h"
#include "kernel/tables.h"
#include "os/netns.h"

/* An admitted listener, as found in the sockmap. */
struct ps_listener {
	uint32_t target; /* target id */
	uint64_t cookie; /* socket cookie, as in ss -e and inet_diag */
};

/* A read-only picture of a loaded instance. */
struct ps_view {
	struct ps_state state;
	struct ps_rule_stats *stats; /* one for each of state.rules */
	struct ps_listener *listeners; /* by target, then cookie */
	size_t listener_count;
	/* Somebody has detached what would see listeners of these rules, or binds, or it went with
	 * its cgroup. */
	bool listen_detached, bind_detached;
};
void ps_view_clear(struct ps_view *view);
/* Is the socket one of the target's listeners? */
bool ps_view_has(const struct ps_view *view, uint32_t target, uint64_t cookie);

/* 0; -ESRCH (PS_EXIT_NOT_LOADED) without an instance. Takes no lock. */
int ps_instance_view(const struct ps_netns *netns, struct ps_view *view, struct ps_error *error);

/* The same of an instance that is opened, whose rules in force are `state`: the view takes them
 * over, on failure too. 0 or -errno. */
int ps_view_take(struct ps_tables *tables, struct ps_state *state, struct ps_view *view);

/* The rules alone. */
int ps_instance_rules(const struct ps_netns *netns, struct ps_ruleset *rules,
		      struct ps_error *error);

/* What `status` shows about the whole host. */
struct ps_instance_info {
	uint64_t cookie;
	uint32_t generation;
	size_t rules; /* as saved */
	uint32_t netns_inode; /* 0: the namespace is gone, the next change cleans up */
	char label[256]; /* how to call it, set by ps_instances_name; "": unknown */
};
struct ps_host_info {
	bool loaded; /* the shared programs are there */
	bool outdated; /* they are another build's, and ps_upgrade would replace them */
	char bpffs[256]; /* where the state is */
	char cgroup2[256]; /* where cgroup2 is mounted */
	bool bind_hooks, connect_hooks; /* programs that are attached to the root cgroup */
	char **anchors; /* cgroup paths where sock_ops is attached, "(detached)" for a lost link */
	size_t anchor_count;
	struct ps_instance_info *instances;
	size_t instance_count;
	size_t detached; /* links that somebody has detached; load attaches them again */
	size_t leftovers; /* things an interrupted command left, to be cleaned by the next */
	uint64_t memory; /* bytes of kernel memory in maps and programs */
	struct ps_strays strays; /* programs in force that are not of this state */
	bool blind; /* whether there are any could not be told, for lack of rights */
	/* Others' programs, where ours are, or would be: on this network namespace, and on the
	 * cgroups of what is loaded. */
	struct ps_others others;
	bool others_blind; /* they could not be looked for */
	bool others_unseen; /* not all: the cgroup of a hook is not to be seen */
};
void ps_host_info_clear(struct ps_host_info *info);
/* The loaded instances alone, by cookie; -ESRCH (PS_EXIT_NOT_LOADED) without the shared
 * programs. */
int ps_instances_read(struct ps_host_info *info, struct ps_error *error);
/* Works without an instance, with leftovers, and with another layout's objects
 * (-EPROTO, message names both versions and the command to run). */
int ps_host_info_read(const struct ps_netns *netns, struct ps_host_info *info,
		      struct ps_error *error);

#endif
