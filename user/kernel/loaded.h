/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a build of another layout has loaded, as far as it can be read (user/kernel/build.h): the
 * instances, their rules and who listens.
 */
#ifndef PORTSTEER_LOADED_H
#define PORTSTEER_LOADED_H

#include <stddef.h>
#include <stdint.h>

#include "compile/state.h"
#include "kernel/build.h"

/* The state in a folder. Needs the lock. */
struct ps_loaded {
	const char *folder;
	struct ps_build build;
	int instances, netns;
};
#define PS_LOADED_NONE                                                                             \
	{                                                                                          \
		.instances = -1, .netns = -1                                                       \
	}
/* As ps_build_read; also -EBADMSG if it is damaged, with a message. */
int ps_loaded_open(const char *folder, struct ps_loaded *loaded, struct ps_error *error);
void ps_loaded_close(struct ps_loaded *loaded);

/* Its loaded instances whose namespaces live, with their rules. */
struct ps_loaded_instance {
	uint64_t cookie;
	uint32_t index;
	uint64_t word; /* of the ruleset in force; of another layout its generation alone is known */
	struct ps_state state; /* targets and ids: of the same layout only */
	int alive; /* the map */
};
struct ps_loaded_list {
	struct ps_loaded_instance *items;
	size_t count;
};
int ps_loaded_list(const struct ps_loaded *loaded, struct ps_loaded_list *list,
		   struct ps_error *error);
void ps_loaded_list_clear(struct ps_loaded_list *list);

/* The cookies of all sockets that an instance in a folder has admitted, each once, in order;
 * the array is the caller's. 0 or -errno. */
int ps_loaded_listeners(const char *folder, uint64_t cookie, uint64_t **cookies, size_t *count);

#endif
