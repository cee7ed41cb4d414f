/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Of very many front sides, which one would a rule answer for? Pure. Building this costs
 * O(n log² n); a question is quick however many share a port, an address or a cgroup.
 */
#ifndef PORTSTEER_FRONTS_H
#define PORTSTEER_FRONTS_H

#include "config/config.h"

/* Where something is, in ports, addresses and cgroups of clients: from the first to the last. */
struct ps_box {
	uint32_t port[2], scope[2];
	uint8_t address[2][17];
};
struct ps_front_node {
	const struct ps_config_front *front;
	struct ps_box own, all; /* its own, and one around those of its part of the array */
};
struct ps_front_tree {
	struct ps_front_node *nodes;
	const char **scopes; /* each once, those below another behind it */
	size_t count, scope_count;
};

/* Fill an empty tree; the fronts stay the caller's, and must stay. 0 or -ENOMEM. */
int ps_front_tree_build(struct ps_front_tree *tree, const struct ps_config_front *fronts,
			size_t count);
void ps_front_tree_clear(struct ps_front_tree *tree);

/* A front side that the rule would answer for, or NULL: one with a port and an address of it, and
 * with clients in the rule's cgroup, if it has one; which clients of no known cgroup may be in. */
const struct ps_config_front *ps_front_tree_find(const struct ps_front_tree *tree,
						 const struct ps_rule *rule);

#endif
