/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How an instance comes and goes, for the files of the kernel I/O layer. All of
 * these need the writer's lock.
 *
 * The commit point of each change is one store of the instance's ruleset word:
 * 0 is "not loaded", whatever else of an instance exists. So load sets it last
 * and unload first, and what a killed command leaves is found by ps_clean as a
 * registered namespace whose word is 0.
 */
#ifndef PORTSTEER_LIFECYCLE_H
#define PORTSTEER_LIFECYCLE_H

#include "kernel/host.h"
#include "os/netns.h"

/* Remove what interrupted commands and ended namespaces left, and detach what only they needed. */
int ps_clean(struct ps_host *host);

/* The word in force; of an instance that is being made, that of the empty ruleset which it
 * has saved. */
uint64_t ps_present_word(const struct ps_instance *instance);

/* Make the instance of a namespace, with an empty ruleset, but for its word: storing
 * that, or the word of the ruleset to follow, is what loads it. Returns its index. */
int ps_create(const struct ps_host *host, const struct ps_netns *netns, struct ps_error *error);
/* The same at this index, with another build's map by which to know that the namespace is
 * alive. */
int ps_create_at(const struct ps_host *host, uint64_t cookie, uint32_t index, int alive,
		 struct ps_error *error);

/* Remove an instance, and the shared objects with the last one. */
int ps_destroy(struct ps_host *host, uint64_t cookie, uint32_t index);

/* Remove the shared objects if no instance is left; *host is then closed. */
int ps_drop_host_if_unused(struct ps_host *host);

/* Attach the steering program to its namespace, if it is not (1: now, 0: it was), and detach it.
 * It is called for each look-up of a listener and of an unconnected UDP socket, so that it is
 * attached only while there is a steer rule. */
int ps_steer_attach(const struct ps_netns *netns);
int ps_steer_detach(uint64_t cookie);
/* Was it attached, and has somebody detached it? */
bool ps_steer_is_detached(uint64_t cookie);

/* Load an instance's program anew, with the maps of the one that is loaded; it is added to
 * `swap`. */
struct ps_swap;
int ps_steer_swap(const struct ps_host *host, uint64_t cookie, uint32_t index, struct ps_swap *swap,
		  struct ps_error *error);

/* The object file of the steering program. */
const void *ps_instance_elf(size_t *size);

/* Is the namespace of this instance gone? 1, 0 with the namespace's inode, or -errno if it
 * cannot be told. */
int ps_is_dead(uint64_t cookie, uint32_t *inode);

/* The loaded instance of a namespace: its index, or -ESRCH. */
int ps_find_loaded(const struct ps_host *host, uint64_t cookie);

#endif
