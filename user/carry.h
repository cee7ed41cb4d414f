/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a build can read of the state of another one, whatever the ABIs of both: who made
 * it, the rules with their ids, what they have counted, and the maps of listeners.
 *
 * For that, every build pins a record as host/build that says where in its maps the
 * counters are. Besides, these are the same in all of them:
 *
 *   host/instances             array by instance; its element has the ruleset word
 *   host/netns                 hash: 64-bit cookie of a namespace -> 32-bit instance
 *   host/events                hash of arrays, by 32-bit instance and 32-bit chunk. Chunks
 *                              of 64, 256, ... targets; those of rules' events after them
 *   host/SET/                  links to cgroups, SET being bind, connect, datagram
 *   host/bind/bound            map of sockets, if the layout's number is the same
 *   host/connect/trails, turns, reached
 *                              the same, maps of sockets and arrays
 *   ns-COOKIE/rules-GENERATION what user/state.c writes
 *   ns-COOKIE/hits, hits_more  per-CPU array by rule id; array of such arrays for more
 *   ns-COOKIE/alive            map of devices, see user/lifecycle.c
 *   ns-COOKIE/link             link to the network namespace, if there is a steer rule
 *   ns-COOKIE/carried          see user/carried.h
 *   ns-COOKIE/listeners, listeners_more
 *                              map of sockets, for targets below 64: place `slots` times the
 *                              target; array of such maps for more, by chunk
 *   ns-COOKIE/overflow         hash of sockets; a key's first 32 bits are the target
 *
 * The word's lower 32 bits are the generation; 0 is "not loaded". What cannot be said by
 * the record needs another PS_BUILD_VERSION, which older builds then refuse.
 */
#ifndef PORTSTEER_CARRY_H
#define PORTSTEER_CARRY_H

#include <stddef.h>

#include "carried.h"
#include "plan.h"

#define PS_BUILD_MAGIC 0x44425350u /* "PSBD" */
enum { PS_BUILD_VERSION = 1 };

/* Elements of `size` bytes, and where in one four 64-bit numbers are: those of user/carried.h. */
struct ps_build_counts {
	__u32 size;
	__u32 at[4];
};
/* Numbers are in the machine's byte order. Padding is 0. */
struct ps_build {
	__u32 magic, version;
	__u32 abi;
	__u32 state; /* PS_STATE_VERSION */
	__u64 id; /* of the programs; 0 for ABI 2, which had no record */
	__u32 instance_size, instance_word; /* of host/instances: bytes, and where the word is */
	__u32 hits_small, hits_chunk; /* entries of hits, and of each in hits_more */
	__u32 rule_chunks; /* number of the first chunk of rules' events */
	__u32 slots; /* places of each target in maps of listeners */
	struct ps_build_counts hits; /* steer rules, for each CPU */
	struct ps_build_counts binds, connects; /* rules */
	struct ps_build_counts targets; /* the fourth is not used */
	__u32 bound, trails; /* numbers of the layouts */
	__u32 reserved[30];
};
_Static_assert(sizeof(struct ps_build) == 256, "known to all builds");

/* This build, and its record as a pin. */
void ps_build_own(struct ps_build *build);
int ps_build_pin(const char *path);

/* Whose the state in a folder is: 0; -ENOENT if there is none; -EPROTO if it is one that
 * cannot be carried over, with a message. */
int ps_build_read(const char *folder, struct ps_build *build, struct ps_error *error);

/* The state of a build, in PS_STATE or PS_ASIDE. Needs the lock. */
struct ps_old {
	const char *folder;
	struct ps_build build;
	int instances, netns, events;
};
#define PS_OLD_NONE                                                                                \
	{                                                                                          \
		.instances = -1, .netns = -1, .events = -1                                         \
	}
/* As ps_build_read; also -EBADMSG if it is damaged, with a message. */
int ps_old_open(const char *folder, struct ps_old *old, struct ps_error *error);
void ps_old_close(struct ps_old *old);

/* Its loaded instances whose namespaces live, with their rules. */
struct ps_old_instance {
	uint64_t cookie;
	uint32_t index;
	uint64_t word; /* of the ruleset in force */
	struct ps_state state;
	int alive; /* the map */
};
struct ps_old_list {
	struct ps_old_instance *items;
	size_t count;
};
int ps_old_list(const struct ps_old *old, struct ps_old_list *list, struct ps_error *error);
void ps_old_list_clear(struct ps_old_list *list);

/* Write what an instance's rules and targets have counted, all in all, to `carried`. */
int ps_old_carry(const struct ps_old *old, const struct ps_old_instance *instance,
		 const struct ps_carried *carried);

/* The cookies of its targets' listeners, each once, in order; the array is the caller's. */
int ps_old_listeners(const struct ps_old *old, const struct ps_old_instance *instance,
		     uint64_t **cookies, size_t *count);

#endif
