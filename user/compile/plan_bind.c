// SPDX-License-Identifier: GPL-2.0-only
#include "compile/plan_bind.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compile/chains.h"
#include "compile/ids.h"
#include "util/util.h"

/* A record with the rule that it comes from. */
struct draft {
	const struct ps_rule *rule;
	struct ps_bind record; /* without `next` */
};

static bool is_bind(const struct ps_rule *rule)
{
	return rule->mode == PS_MODE_BIND;
}

static uint32_t ports_of(const struct ps_rule *rule)
{
	return (uint32_t)(rule->front_last - rule->front) + 1;
}

void ps_bind_ports(const struct ps_rule *rule, uint32_t filter[65536 / 32])
{
	if (!is_bind(rule))
		return;
	for (uint32_t n = 0; n < ports_of(rule); n++) {
		uint32_t front = rule->front + n, target = rule->target + n;

		filter[front / 32] |= 1u << (front & 31);
		filter[target / 32] |= 1u << (target & 31);
	}
}

/* How particular an owner is: a user in a cgroup, a cgroup, a user, anybody. */
static int rank(const struct ps_owner_spec *owner)
{
	return (owner->flags & PS_OWNER_CGROUP ? 2 : 0) + (owner->flags & PS_OWNER_USER ? 1 : 0);
}

static size_t depth(const struct ps_owner_spec *owner)
{
	size_t levels = 0;

	for (const char *c = owner->cgroup; c && *c; c++)
		levels += *c == '/';
	return levels;
}

/* From what is asked last to what is asked first, as chains are built from their ends:
 * the longest prefix comes first, then the most particular owner, then the lowest port. */
static int compare_drafts(const void *left, const void *right)
{
	const struct draft *a = left, *b = right;
	int one = rank(&a->rule->owner), other = rank(&b->rule->owner);

	if (a->record.length != b->record.length)
		return a->record.length < b->record.length ? -1 : 1;
	if (one != other)
		return one < other ? -1 : 1;
	if (depth(&a->rule->owner) != depth(&b->rule->owner))
		return depth(&a->rule->owner) < depth(&b->rule->owner) ? -1 : 1;
	return (a->record.other < b->record.other) - (a->record.other > b->record.other);
}

static struct draft draft_of(const struct ps_rule *rule, uint32_t owner, uint32_t port,
			     uint32_t other, uint8_t flags)
{
	struct draft draft = {
		.rule = rule,
		.record = {
			.port = (uint16_t)port,
			.other = (uint16_t)other,
			.protocol = rule->proto,
			.flags = flags,
			.family = rule->prefix.family,
			.length = (uint8_t)(rule->prefix.family ? rule->prefix.len + 1 : 0),
			.owner = owner,
			.rule = ps_rule_events(rule->id),
		},
	};

	memcpy(draft.record.addr, rule->prefix.addr, sizeof(draft.record.addr));
	return draft;
}

/* A grant's ports are one record each, a translation's two. Returns how many. */
static size_t draft_rule(struct draft *drafts, const struct ps_rule *rule, uint32_t owner)
{
	bool grant = ps_rule_is_grant(rule);
	size_t count = 0;

	for (uint32_t n = 0; n < ports_of(rule); n++) {
		uint32_t front = rule->front + n, target = rule->target + n;

		drafts[count++] = draft_of(rule, owner, target, front,
					   grant ? PS_BIND_ASKED | PS_BIND_FRONT : PS_BIND_ASKED);
		if (!grant)
			drafts[count++] = draft_of(rule, owner, front, target, PS_BIND_FRONT);
	}
	return count;
}

/* All records, in the order in which they go into their chains. */
static int draft_all(const struct ps_ruleset *rules, const uint32_t *owner_of,
		     struct draft **result, size_t *count)
{
	size_t room = 1;
	struct draft *drafts;

	for (size_t i = 0; i < rules->count; i++)
		room += is_bind(&rules->rules[i]) ? 2 * (size_t)ports_of(&rules->rules[i]) : 0;
	drafts = calloc(room, sizeof(*drafts));
	if (!drafts)
		return -ENOMEM;
	*count = 0;
	for (size_t i = 0; i < rules->count; i++) {
		if (is_bind(&rules->rules[i]))
			*count += draft_rule(drafts + *count, &rules->rules[i], owner_of[i]);
	}
	qsort(drafts, *count, sizeof(*drafts), compare_drafts);
	*result = drafts;
	return 0;
}

static int chain(const struct draft *drafts, size_t count, struct ps_bind **binds, size_t *total)
{
	static const struct ps_chain_form form = PS_CHAIN_FORM(struct ps_bind, owner);
	_cleanup_free_ uint32_t *ports = calloc(count + 1, sizeof(*ports));
	_cleanup_free_ struct ps_bind *records = calloc(count + 1, sizeof(*records));

	if (!ports || !records)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		ports[i] = drafts[i].record.port;
		records[i] = drafts[i].record;
	}
	return ps_chains_build(&form, ports, records, count, (void **)binds, total);
}

int ps_plan_binds(const struct ps_ruleset *rules, const uint32_t *owner_of, struct ps_bind **binds,
		  size_t *total)
{
	_cleanup_free_ struct draft *drafts = NULL;
	size_t count;
	int ret = draft_all(rules, owner_of, &drafts, &count);

	return ret ? ret : chain(drafts, count, binds, total);
}
