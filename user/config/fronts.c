// SPDX-License-Identifier: GPL-2.0-only
/*
 * A tree in an array: the middle of each part is a node, with a box around all of that part. The
 * parts are divided by port, address and cgroup in turn.
 */
#include "config/fronts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

/* By path, with what is below a path directly behind it. */
static int compare_paths(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	if (*a == *b)
		return 0;
	if (!*a || !*b)
		return *a ? 1 : -1;
	return *a == '/' ? -1 : *b == '/' ? 1 : (unsigned char)*a < (unsigned char)*b ? -1 : 1;
}

static int compare_scopes(const void *a, const void *b)
{
	return compare_paths(*(const char *const *)a, *(const char *const *)b);
}

/* The first scope that is not before this one; or the first that is behind all below it. */
static uint32_t find_scope(const struct ps_front_tree *tree, const char *scope, bool behind)
{
	size_t from = 0, to = tree->scope_count;

	while (from < to) {
		size_t middle = from + (to - from) / 2;
		const char *at = tree->scopes[middle];

		if (compare_paths(at, scope) < 0 || (behind && ps_path_is_below(at, scope)))
			from = middle + 1;
		else
			to = middle;
	}
	return (uint32_t)from;
}

/* The last bits of an address are free beyond its length. */
static void set_address(struct ps_box *box, const struct ps_prefix *prefix)
{
	memset(box->address[0], 0, sizeof(box->address[0]));
	memset(box->address[1], 0xff, sizeof(box->address[1]));
	if (!prefix->family)
		return;
	box->address[0][0] = box->address[1][0] = prefix->family;
	memcpy(box->address[0] + 1, prefix->addr, prefix->family == 4 ? 4 : 16);
	for (unsigned int bit = 0; bit < prefix->len; bit++) {
		uint8_t mask = (uint8_t)(0x80 >> bit % 8);

		if (!(prefix->addr[bit / 8] & mask))
			box->address[1][1 + bit / 8] &= (uint8_t)~mask;
	}
}

static struct ps_box box_of(const struct ps_rule *rule)
{
	uint32_t proto = (uint32_t)rule->proto << 16;
	struct ps_box box = { .port = { proto | rule->front, proto | rule->front_last } };

	set_address(&box, &rule->prefix);
	return box;
}

/* Scope 0 is none; the others have even numbers, so that there is something between them. */
static struct ps_box box_of_front(const struct ps_front_tree *tree,
				  const struct ps_config_front *front)
{
	struct ps_box box = box_of(&front->rule);

	if (front->rule.scope)
		box.scope[0] = box.scope[1] = 2 * find_scope(tree, front->rule.scope, false) + 2;
	if (front->vague) {
		box.scope[0] = 1;
		box.scope[1] = UINT32_MAX;
	}
	return box;
}

static struct ps_box box_of_rule(const struct ps_front_tree *tree, const struct ps_rule *rule)
{
	struct ps_box box = box_of(rule);

	box.scope[0] = rule->scope ? 2 * find_scope(tree, rule->scope, false) + 1 : 0;
	box.scope[1] = rule->scope ? 2 * find_scope(tree, rule->scope, true) + 1 : UINT32_MAX;
	return box;
}

static bool meets(const struct ps_box *a, const struct ps_box *b)
{
	return a->port[0] <= b->port[1] && b->port[0] <= a->port[1] && a->scope[0] <= b->scope[1] &&
	       b->scope[0] <= a->scope[1] &&
	       memcmp(a->address[0], b->address[1], sizeof(a->address[0])) <= 0 &&
	       memcmp(b->address[0], a->address[1], sizeof(b->address[0])) <= 0;
}

static void widen(struct ps_box *box, const struct ps_box *by)
{
	for (int end = 0; end < 2; end++) {
		if ((by->port[end] > box->port[end]) == end)
			box->port[end] = by->port[end];
		if ((by->scope[end] > box->scope[end]) == end)
			box->scope[end] = by->scope[end];
		if ((memcmp(by->address[end], box->address[end], sizeof(by->address[end])) > 0) ==
		    end)
			memcpy(box->address[end], by->address[end], sizeof(by->address[end]));
	}
}

static int compare_ports(const void *left, const void *right)
{
	const struct ps_front_node *a = left, *b = right;

	return (a->own.port[0] > b->own.port[0]) - (a->own.port[0] < b->own.port[0]);
}

static int compare_addresses(const void *left, const void *right)
{
	const struct ps_front_node *a = left, *b = right;

	return memcmp(a->own.address[0], b->own.address[0], sizeof(a->own.address[0]));
}

static int compare_ranks(const void *left, const void *right)
{
	const struct ps_front_node *a = left, *b = right;

	return (a->own.scope[0] > b->own.scope[0]) - (a->own.scope[0] < b->own.scope[0]);
}

/* As deep as the count has bits. */
static void divide(struct ps_front_node *nodes, size_t count, unsigned int depth)
{
	static int (*const compare[])(const void *, const void *) = {
		compare_ports,
		compare_addresses,
		compare_ranks,
	};
	size_t middle = count / 2;
	struct ps_front_node *node = nodes + middle;

	if (!count)
		return;
	qsort(nodes, count, sizeof(*nodes), compare[depth % PS_ARRAY_SIZE(compare)]);
	divide(nodes, middle, depth + 1);
	divide(node + 1, count - middle - 1, depth + 1);
	node->all = node->own;
	if (middle)
		widen(&node->all, &nodes[middle / 2].all);
	if (count - middle - 1)
		widen(&node->all, &node[1 + (count - middle - 1) / 2].all);
}

int ps_front_tree_build(struct ps_front_tree *tree, const struct ps_config_front *fronts,
			size_t count)
{
	size_t scopes = 0;

	tree->nodes = calloc(count + 1, sizeof(*tree->nodes));
	tree->scopes = calloc(count + 1, sizeof(*tree->scopes));
	if (!tree->nodes || !tree->scopes)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		if (fronts[i].rule.scope)
			tree->scopes[scopes++] = fronts[i].rule.scope;
	}
	qsort(tree->scopes, scopes, sizeof(*tree->scopes), compare_scopes);
	for (size_t i = 0; i < scopes; i++) {
		if (!i || strcmp(tree->scopes[i], tree->scopes[tree->scope_count - 1]))
			tree->scopes[tree->scope_count++] = tree->scopes[i];
	}
	for (size_t i = 0; i < count; i++)
		tree->nodes[i] = (struct ps_front_node){
			.front = &fronts[i],
			.own = box_of_front(tree, &fronts[i]),
		};
	tree->count = count;
	divide(tree->nodes, count, 0);
	return 0;
}

void ps_front_tree_clear(struct ps_front_tree *tree)
{
	free(tree->nodes);
	free(tree->scopes);
	*tree = (struct ps_front_tree){};
}

static const struct ps_config_front *find(const struct ps_front_node *nodes, size_t count,
					  const struct ps_box *box)
{
	const struct ps_front_node *node = nodes + count / 2;
	const struct ps_config_front *front;

	if (!count || !meets(&node->all, box))
		return NULL;
	if (meets(&node->own, box))
		return node->front;
	front = find(nodes, count / 2, box);
	return front ? front : find(node + 1, count - count / 2 - 1, box);
}

const struct ps_config_front *ps_front_tree_find(const struct ps_front_tree *tree,
						 const struct ps_rule *rule)
{
	const struct ps_box box = box_of_rule(tree, rule);

	return find(tree->nodes, tree->count, &box);
}
