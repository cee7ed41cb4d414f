/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Strays: programs of portsteer that act, and that do not belong to the state that this command
 * sees. A file system was mounted over that state, it was moved away, or it is in another mount
 * namespace, a container's for example.
 */
#ifndef PORTSTEER_STRAYS_H
#define PORTSTEER_STRAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

struct ps_netns;

enum ps_stray_where {
	PS_STRAY_HIDDEN, /* in a bpffs that is mounted here: below another mount, or elsewhere */
	PS_STRAY_LOST, /* in none that is mounted, or not by its name */
	PS_STRAY_ELSEWHERE, /* in another mount namespace, or cannot be told from here */
};

struct ps_stray {
	uint32_t program; /* id */
	char name[16];
	enum ps_stray_where where;
	char mount[256]; /* hidden: where that bpffs is mounted */
	int pid; /* elsewhere: a process of that mount namespace, 0 if there is none to be seen */
	bool here; /* for the network namespace asked about, as far as can be told */
	uint32_t instances; /* id of that map, 0 if its layout is not ours */
	uint64_t device;
};
struct ps_strays {
	struct ps_stray *items;
	size_t count;
};
void ps_strays_clear(struct ps_strays *strays);

/* Find those on the namespace and on the root cgroup; `all`: on the whole host, which is always
 * done where there is no state. -EPERM, with a message, without the right to look. */
int ps_strays_read(const struct ps_netns *netns, bool all, struct ps_strays *strays,
		   struct ps_error *error);

/* What a command has to know before it says what is loaded, or changes it: an error, with what
 * to do, if there are strays here, or any that no state elsewhere accounts for. */
int ps_strays_check(const struct ps_netns *netns, struct ps_error *error);

/* Is one of them here, or of no state elsewhere? */
bool ps_strays_concern_us(const struct ps_strays *strays);

/* Detach those of the whole host that no state elsewhere accounts for. */
int ps_strays_remove(const struct ps_netns *netns, bool *changed, struct ps_error *error);

/* "hidden" and so on, and what to do, for status. */
const char *ps_stray_word(enum ps_stray_where where);
void ps_stray_explain(const struct ps_stray *stray, char *text, size_t size);

#endif
