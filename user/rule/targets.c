// SPDX-License-Identifier: GPL-2.0-only
#include "rule/targets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/bpf_types.h"
#include "util/util.h"

int ps_owner_compare(const struct ps_owner_spec *a, const struct ps_owner_spec *b)
{
	if (a->flags != b->flags)
		return a->flags < b->flags ? -1 : 1;
	if (a->flags & PS_OWNER_USER && a->uid != b->uid)
		return a->uid < b->uid ? -1 : 1;
	return a->flags & PS_OWNER_CGROUP ? strcmp(a->cgroup, b->cgroup) : 0;
}

void ps_targets_clear(struct ps_targets *targets)
{
	free(targets->owners);
	free(targets->owner_of);
	free(targets->scopes);
	free(targets->scope_of);
	free(targets->pairs);
	*targets = (struct ps_targets){};
}

static size_t hash_owner(const struct ps_owner_spec *owner)
{
	uint64_t hash = 0xcbf29ce484222325u ^ owner->flags;

	if (owner->flags & PS_OWNER_USER)
		hash = (hash ^ owner->uid) * 0x100000001b3u;
	if (owner->flags & PS_OWNER_CGROUP) {
		for (const char *c = owner->cgroup; *c; c++)
			hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
	}
	return (size_t)(hash ^ hash >> 32);
}

/* Owners that have been met, by hash. */
struct met {
	uint32_t *table; /* index of an owner plus one */
	size_t size;
};

/* The number of an owner, a new one if it is met for the first time. */
static uint32_t number_of(struct met *met, struct ps_targets *targets,
			  const struct ps_owner_spec *owner)
{
	size_t at = hash_owner(owner) & (met->size - 1);

	while (met->table[at] && !ps_owner_equal(targets->owners[met->table[at] - 1], owner))
		at = (at + 1) & (met->size - 1);
	if (!met->table[at]) {
		targets->owners[targets->owner_count] = owner;
		met->table[at] = ++targets->owner_count;
	}
	return met->table[at] - 1;
}

/* Number the owners and scopes in the order in which they are met. */
static int number_owners(const struct ps_rule *const *rules, size_t count,
			 struct ps_targets *targets)
{
	_cleanup_free_ uint32_t *table = NULL;
	struct met met = { .size = 16 };

	while (met.size < 4 * count)
		met.size *= 2;
	table = calloc(met.size, sizeof(*table));
	if (!table)
		return -ENOMEM;
	met.table = table;
	for (size_t i = 0; i < count; i++) {
		targets->owner_of[i] = number_of(&met, targets, &rules[i]->owner);
		if (!rules[i]->scope)
			continue;
		targets->scopes[i] = (struct ps_owner_spec){ .flags = PS_OWNER_CGROUP,
							     .cgroup = rules[i]->scope };
		targets->scope_of[i] = number_of(&met, targets, &targets->scopes[i]);
	}
	return 0;
}

struct numbered {
	const struct ps_owner_spec *owner;
	uint32_t number;
};

static int compare_numbered(const void *a, const void *b)
{
	const struct numbered *x = a, *y = b;

	return ps_owner_compare(x->owner, y->owner);
}

/* Renumber them in their own order. */
static int sort_owners(struct ps_targets *targets, size_t rules)
{
	_cleanup_free_ struct numbered *order = calloc(targets->owner_count + 1, sizeof(*order));
	_cleanup_free_ uint32_t *number = calloc(targets->owner_count + 1, sizeof(*number));

	if (!order || !number)
		return -ENOMEM;
	for (uint32_t i = 0; i < targets->owner_count; i++)
		order[i] = (struct numbered){ targets->owners[i], i };
	qsort(order, targets->owner_count, sizeof(*order), compare_numbered);
	for (uint32_t i = 0; i < targets->owner_count; i++) {
		targets->owners[i] = order[i].owner;
		number[order[i].number] = i;
	}
	for (size_t i = 0; i < rules; i++) {
		targets->owner_of[i] = number[targets->owner_of[i]];
		if (targets->scopes[i].flags)
			targets->scope_of[i] = number[targets->scope_of[i]];
	}
	return 0;
}

static int compare_pairs(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* How many targets a rule has: not all rules look for listeners. */
static uint32_t ports_of(const struct ps_rule *rule)
{
	return ps_rule_has_targets(rule) ? (uint32_t)(rule->front_last - rule->front) + 1 : 0;
}

static int collect_pairs(const struct ps_rule *const *rules, size_t count,
			 struct ps_targets *targets)
{
	size_t total = 0, kept = 0;

	for (size_t i = 0; i < count; i++)
		total += ports_of(rules[i]);
	targets->pairs = calloc(total + 1, sizeof(*targets->pairs));
	if (!targets->pairs)
		return -ENOMEM;
	total = 0;
	for (size_t i = 0; i < count; i++) {
		for (uint32_t n = 0; n < ports_of(rules[i]); n++)
			targets->pairs[total++] =
				PS_PAIR(rules[i]->target + n, targets->owner_of[i]);
	}
	qsort(targets->pairs, total, sizeof(*targets->pairs), compare_pairs);
	for (size_t i = 0; i < total; i++) {
		if (!kept || targets->pairs[i] != targets->pairs[kept - 1])
			targets->pairs[kept++] = targets->pairs[i];
	}
	targets->pair_count = kept;
	return 0;
}

int ps_targets_collect(const struct ps_rule *const *rules, size_t count, struct ps_targets *targets)
{
	struct ps_targets t = {
		.owners = calloc(2 * count + 1, sizeof(*t.owners)),
		.owner_of = calloc(count + 1, sizeof(*t.owner_of)),
		.scopes = calloc(count + 1, sizeof(*t.scopes)),
		.scope_of = calloc(count + 1, sizeof(*t.scope_of)),
	};
	int ret = t.owners && t.owner_of && t.scopes && t.scope_of ? 0 : -ENOMEM;

	if (!ret)
		ret = number_owners(rules, count, &t);
	if (!ret)
		ret = sort_owners(&t, count);
	if (!ret)
		ret = collect_pairs(rules, count, &t);
	if (ret)
		ps_targets_clear(&t);
	else
		*targets = t;
	return ret;
}

size_t ps_targets_find(const struct ps_targets *targets, uint64_t pair)
{
	const uint64_t *found =
		bsearch(&pair, targets->pairs, targets->pair_count, sizeof(pair), compare_pairs);

	return (size_t)(found - targets->pairs);
}
