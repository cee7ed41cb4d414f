/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The programs on the root of the cgroup2 hierarchy, for all instances, in sets that are
 * loaded only while some rule needs them. A set is all that is in host/SET in the state
 * folder: that this exists means that its programs are attached.
 */
#ifndef PORTSTEER_HOOKS_H
#define PORTSTEER_HOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/bpf.h>

#include "kernel/host_fd.h"
#include "util/bpf_types.h"
#include "util/error.h"

enum ps_set {
	PS_SET_BIND, /* bind rules */
	PS_SET_CONNECT, /* connect rules whose clients are given another destination */
	PS_SET_DATAGRAM, /* connect rules for UDP; needs PS_SET_CONNECT */
	PS_SETS,
};

enum ps_hooks_fd {
	PS_HOOKS_BINDS, /* bind records, by instance */
	PS_HOOKS_BOUND, /* what sockets carry that were bound through a rule */
	PS_HOOKS_BIND_FILTER,
	PS_HOOKS_MARKS, /* the program that lists them */
	PS_HOOKS_CONNECT_FILTER,
	PS_HOOKS_FDS,
};

/*
 * For programs that are to take the place of others (user/engine/upgrade.c): maps to go on with,
 * and who sees to the links.
 */
struct ps_takeover {
	int bound, trails; /* -1: begin with an empty one */
	/* Let `folder` (of the set's name) have the links that `program` is to get; how many
	 * they are, or -errno. Without any the program is attached anew. */
	int (*adopt)(int program, enum bpf_attach_type type, const char *set, const char *folder);
};

struct ps_hooks {
	const struct ps_takeover *takeover; /* NULL: nothing was there before */
	bool loaded[PS_SETS];
	int fd[PS_HOOKS_FDS]; /* -1: not loaded */
	/* Mapped: one bit for each port that a rule of the mode names. NULL: not loaded. */
	uint32_t *bind_filter, *connect_filter;
};
#define PS_HOOKS_NONE                                                                              \
	{                                                                                          \
		.fd = { -1, -1, -1, -1, -1 }                                                       \
	}

/* Open what is loaded: 0, also if nothing is; -ENOENT or -EPROTO with a message. */
int ps_hooks_open(struct ps_hooks *hooks, struct ps_error *error);
void ps_hooks_close(struct ps_hooks *hooks);

/* Load and attach a set, if it is not; `host` has the shared maps. Needs the lock. */
int ps_hooks_load(struct ps_hooks *hooks, const int host[PS_HOST_FDS], enum ps_set set,
		  struct ps_error *error);

/* Load a set's programs anew, with the maps of those that are loaded; they are added to `swap`. */
struct ps_swap;
int ps_hooks_swap(const struct ps_hooks *hooks, const int host[PS_HOST_FDS], enum ps_set set,
		  struct ps_swap *swap, struct ps_error *error);

/* Attach again what somebody has detached of the sets that are loaded: how many links, or -errno.
 * Needs the lock. */
int ps_hooks_revive(const struct ps_hooks *hooks, struct ps_error *error);
/* How many such links there are, and whether a set has one. */
bool ps_hooks_is_detached(const struct ps_hooks *hooks, enum ps_set set);
size_t ps_hooks_count_detached(const struct ps_hooks *hooks);

/* Add the programs of others on the hooks of the sets that are loaded (user/kernel/others.h). 0,
 * -ENOMEM, -EPERM without the right to look, -EXDEV if a link's cgroup cannot be seen from here. */
struct ps_others;
int ps_hooks_others(const struct ps_hooks *hooks, struct ps_others *others);

/* Detach and remove a set, in one instant, and close it. Needs the lock. */
int ps_hooks_remove(struct ps_hooks *hooks, enum ps_set set);
/* Remove what a killed load or removal left. */
int ps_hooks_clean(void);

#endif
