/* SPDX-License-Identifier: GPL-2.0-only */
/* Network namespaces of which only the inode is known: where on this host they can be
 * opened, and how to call them. */
#ifndef PORTSTEER_NETNS_NAMES_H
#define PORTSTEER_NETNS_NAMES_H

#include <stddef.h>
#include <stdint.h>

struct ps_place {
	uint32_t inode;
	char path[288]; /* "" if no name and no process leads there */
	char label[256]; /* "blue", "pid:77 (nginx)"; any bytes: escape before printing */
};

/* Look for the places of all inodes, in one walk over the names that `ip netns` keeps and
 * one over the processes; sorts them by inode. What cannot be read is left out. */
void ps_places_find(struct ps_place *places, size_t count);

/* The place with this inode, or NULL. They must be sorted. */
struct ps_place *ps_place_of(struct ps_place *places, size_t count, uint32_t inode);

#endif
