/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Bind mode's programs: attached to the root of the cgroup2 hierarchy for all
 * instances, and loaded only while there is a bind rule. All of it is under host/bind
 * in the state folder: that this exists means that they are attached.
 */
#ifndef PORTSTEER_HOOKS_H
#define PORTSTEER_HOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf_types.h"
#include "error.h"

enum ps_hooks_fd {
	PS_HOOKS_BINDS, /* records, by instance */
	PS_HOOKS_BOUND, /* what sockets carry */
	PS_HOOKS_FILTER,
	PS_HOOKS_MARKS, /* the program that lists them */
	PS_HOOKS_FDS,
};

struct ps_hooks {
	int fd[PS_HOOKS_FDS]; /* -1: not loaded */
	uint32_t *filter; /* mapped: one bit for each port that a bind rule names */
};
#define PS_HOOKS_NONE                                                                              \
	{                                                                                          \
		.fd = { -1, -1, -1, -1 }                                                           \
	}

struct ps_host;

static inline bool ps_hooks_loaded(const struct ps_hooks *hooks)
{
	return hooks->filter;
}

/* Open what is loaded: 0, also if nothing is; -ENOENT or -EPROTO with a message. */
int ps_hooks_open(struct ps_hooks *hooks, struct ps_error *error);
void ps_hooks_close(struct ps_hooks *hooks);

/* The same, after loading and attaching what is not. Needs the lock. */
int ps_hooks_load(struct ps_host *host, struct ps_error *error);

/* Detach and remove them, in one instant, and what a killed load or removal left; *hooks
 * is then closed. Needs the lock. */
int ps_hooks_remove(struct ps_hooks *hooks);
/* Only the latter. */
int ps_hooks_clean(void);

/* The marks of all sockets on the host that were bound through rules, by cookie. */
struct ps_marks {
	struct ps_mark *items; /* owned */
	size_t count;
};
/* 0, with none if bind mode is not loaded. */
int ps_marks_read(struct ps_marks *marks);
void ps_marks_clear(struct ps_marks *marks);
const struct ps_bound *ps_marks_find(const struct ps_marks *marks, uint64_t cookie);

#endif
