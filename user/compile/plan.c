// SPDX-License-Identifier: GPL-2.0-only
#include "compile/plan.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "compile/chains.h"
#include "compile/ids.h"
#include "compile/plan_bind.h"
#include "compile/plan_connect.h"
#include "rule/targets.h"
#include "util/util.h"

enum { PORTS = 65536, TRIES = 256 };

void ps_plan_clear(struct ps_plan *plan)
{
	ps_state_clear(&plan->state);
	free(plan->buckets);
	free(plan->prefixes);
	free(plan->admits);
	free(plan->binds);
	free(plan->scopes);
	free(plan->hops);
	free(plan->owners);
	*plan = (struct ps_plan){};
}

/* The flags of a cell or trie entry that leads to the rule's target. */
static __u16 flags_of(const struct ps_rule *rule)
{
	return (__u16)(PS_FRONT_USED | (rule->if_down == PS_DOWN_PASS ? PS_FRONT_PASS : 0) |
		       (rule->owner.flags & PS_OWNER_CGROUP ? PS_FRONT_STRICT : 0));
}

/* The cell of each front port, by port. */
static void fill_front(struct ps_front *front, const struct ps_rule *rule, uint32_t target)
{
	if (rule->prefix.family) {
		front->flags |= PS_FRONT_USED | PS_FRONT_PREFIX;
		return;
	}
	front->flags |= flags_of(rule) | PS_FRONT_DEFAULT;
	front->rule = rule->id;
	front->target = target;
}

static void add_prefix(struct ps_plan *plan, const struct ps_rule *rule, uint16_t port,
		       uint32_t target)
{
	struct ps_prefix_entry *e = &plan->prefixes[plan->prefix_count++];

	e->key.prefixlen = PS_PREFIX_FIXED_BITS + rule->prefix.len;
	e->key.generation = plan->state.generation;
	e->key.port = port;
	e->key.family = rule->prefix.family;
	memcpy(e->key.addr, rule->prefix.addr, sizeof(e->key.addr));
	e->value.flags = flags_of(rule);
	e->value.rule = rule->id;
	e->value.target = target;
}

/* Each front port of each rule: its cell, its trie entry, its bit in the filter. */
static int lay_fronts(struct ps_plan *plan, const struct ps_targets *targets,
		      struct ps_front *fronts)
{
	const struct ps_ruleset *rules = &plan->state.rules;
	size_t prefixes = 0;

	for (size_t i = 0; i < rules->count; i++) {
		if (rules->rules[i].mode == PS_MODE_STEER && rules->rules[i].prefix.family)
			prefixes +=
				(size_t)(rules->rules[i].front_last - rules->rules[i].front) + 1;
	}
	plan->prefixes = calloc(prefixes + 1, sizeof(*plan->prefixes));
	if (!plan->prefixes)
		return -ENOMEM;
	for (size_t i = 0; i < rules->count; i++) {
		const struct ps_rule *rule = &rules->rules[i];
		size_t pair;

		if (rule->mode != PS_MODE_STEER)
			continue;
		pair = ps_targets_find(targets, PS_PAIR(rule->target, targets->owner_of[i]));
		for (uint32_t n = 0; n <= (uint32_t)(rule->front_last - rule->front); n++) {
			uint16_t port = (uint16_t)(rule->front + n);
			uint64_t wanted = PS_PAIR(rule->target + n, targets->owner_of[i]);

			while (targets->pairs[pair] != wanted)
				pair++;
			fill_front(&fronts[port], rule, plan->state.targets[pair].id);
			if (rule->prefix.family)
				add_prefix(plan, rule, port, plan->state.targets[pair].id);
			plan->filter[port >> 5] |= 1u << (port & 31);
		}
	}
	return 0;
}

/* Do the ports fit into buckets of four under this hash? */
static bool fits(const uint16_t *ports, size_t count, uint32_t mult, uint32_t log2,
		 unsigned char *load)
{
	memset(load, 0, (size_t)1 << log2);
	for (size_t i = 0; i < count; i++) {
		if (++load[PS_BUCKET(ports[i], mult, log2)] > 4)
			return false;
	}
	return true;
}

/* The smallest table, and a multiplier for it: a few odd numbers are tried for
 * each size. 2^14 buckets hold every set under any of them. */
static uint32_t find_hash(const uint16_t *ports, size_t count, unsigned char *load, uint32_t *mult)
{
	uint32_t log2 = 0;

	while (((size_t)4 << log2) < count)
		log2++;
	for (; log2 < PS_MAX_LOG2; log2++) {
		uint32_t seed = 0x9e37;

		for (int i = 0; i < TRIES; i++) {
			*mult = seed | 1;
			if (fits(ports, count, *mult, log2, load))
				return log2;
			seed = (seed * 0x6255 + 0x3619) & 0xffff; /* each number once */
		}
	}
	*mult = 0x9e37;
	return PS_MAX_LOG2;
}

static int lay_buckets(struct ps_plan *plan, const struct ps_front *fronts, uint64_t word)
{
	_cleanup_free_ uint16_t *ports = calloc(PORTS, sizeof(*ports));
	_cleanup_free_ unsigned char *load = calloc((size_t)1 << PS_MAX_LOG2, 1);
	uint32_t mult, log2;
	size_t count = 0;

	if (!ports || !load)
		return -ENOMEM;
	for (uint32_t port = 0; port < PORTS; port++) {
		if (fronts[port].flags)
			ports[count++] = (uint16_t)port;
	}
	log2 = find_hash(ports, count, load, &mult);
	plan->buckets = calloc((size_t)1 << log2, sizeof(*plan->buckets));
	if (!plan->buckets)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct ps_front *cell = plan->buckets[PS_BUCKET(ports[i], mult, log2)].cell;

		while (cell->flags)
			cell++;
		*cell = fronts[ports[i]];
		cell->port = ports[i];
	}
	plan->word = PS_WORD(plan->state.generation, log2, !PS_WORD_HALF(word), mult) |
		     PS_WORD_LIFE(word);
	return 0;
}

static int lay_admits(struct ps_plan *plan, const struct ps_targets *targets)
{
	static const struct ps_chain_form form = PS_CHAIN_FORM(struct ps_admit, owner);
	const struct ps_target *of = plan->state.targets;
	size_t count = targets->pair_count;
	_cleanup_free_ struct ps_admit *records = calloc(count + 1, sizeof(*records));
	_cleanup_free_ uint32_t *ports = calloc(count + 1, sizeof(*ports));

	if (!records || !ports)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		ports[i] = of[i].port;
		records[i] = (struct ps_admit){
			.port = of[i].port,
			.flags = of[i].fresh ? PS_ADMIT_FRESH : 0,
			.target = of[i].id,
			.owner = PS_PAIR_OWNER(targets->pairs[i]),
		};
	}
	return ps_chains_build(&form, ports, records, count, (void **)&plan->admits,
			       &plan->admit_count);
}

/* "/a/b" as "a\0b\0" with the start of each. */
static void fill_owner(struct ps_owner *to, const struct ps_owner_spec *from)
{
	size_t used = 0;

	to->flags = from->flags;
	to->uid = from->flags & PS_OWNER_USER ? from->uid : 0;
	if (!(from->flags & PS_OWNER_CGROUP))
		return;
	for (const char *c = from->cgroup; *(c += strspn(c, "/"));) {
		size_t size = strcspn(c, "/");

		to->start[to->depth++] = (__u16)used;
		memcpy(to->path + used, c, size);
		used += size + 1;
		to->start[to->depth] = (__u16)used;
		c += size;
	}
}

static int lay_owners(struct ps_plan *plan, const struct ps_targets *targets)
{
	plan->owner_count = targets->owner_count;
	plan->owners = calloc(plan->owner_count + 1, sizeof(*plan->owners));
	if (!plan->owners)
		return -ENOMEM;
	for (size_t i = 0; i < plan->owner_count; i++)
		fill_owner(&plan->owners[i], targets->owners[i]);
	return 0;
}

static int lay_connects(struct ps_plan *plan, const struct ps_targets *targets)
{
	_cleanup_free_ uint32_t *numbers = calloc(targets->owner_count + 1, sizeof(*numbers));
	int ret = numbers ? ps_plan_scopes(&plan->state.rules, targets, numbers, &plan->scopes,
					   &plan->scope_count) :
			    -ENOMEM;

	return ret ? ret :
		     ps_plan_hops(&plan->state, targets, numbers, &plan->hops, &plan->hop_count);
}

/* The ports that programs have to look up. */
static void note_ports(struct ps_plan *plan)
{
	for (size_t i = 0; i < plan->state.rules.count; i++) {
		const struct ps_rule *rule = &plan->state.rules.rules[i];

		ps_bind_ports(rule, plan->bind_filter);
		ps_connect_ports(rule, plan->connect_filter);
		ps_flow_ports(rule, plan->filter);
		ps_flow_ports(rule, plan->filter + PORTS / 32);
	}
}

/* Which parts must be loaded, and how much room they need. */
static void note_modes(struct ps_plan *plan)
{
	for (size_t i = 0; i < plan->state.rules.count; i++) {
		const struct ps_rule *rule = &plan->state.rules.rules[i];
		uint32_t chunk = PS_TARGET_CHUNK_OF(ps_rule_events(rule->id)) - PS_RULE_CHUNKS;

		if (rule->mode == PS_MODE_STEER)
			continue;
		if (chunk >= plan->event_chunks)
			plan->event_chunks = chunk + 1;
		plan->binds_any |= rule->mode == PS_MODE_BIND;
		plan->scopes_any |= rule->mode == PS_MODE_CONNECT;
		plan->connects_any |= ps_rule_turns_clients(rule);
		plan->connects_udp |= rule->mode == PS_MODE_CONNECT && rule->proto == IPPROTO_UDP;
	}
}

static int lay_out(struct ps_plan *plan, const struct ps_targets *targets,
		   const struct ps_state *before, uint64_t word, struct ps_error *error)
{
	_cleanup_free_ struct ps_front *fronts = calloc(PORTS, sizeof(*fronts));
	int ret = fronts ? ps_ids_rules(&plan->state, before, &plan->rule_ids, error) : -ENOMEM;

	if (!ret)
		ret = ps_ids_targets(&plan->state, targets, before, &plan->target_chunks,
				     &plan->wait, error);
	if (!ret)
		ret = lay_fronts(plan, targets, fronts);
	if (!ret)
		ret = lay_buckets(plan, fronts, word);
	if (!ret)
		ret = lay_admits(plan, targets);
	if (!ret)
		ret = ps_plan_binds(&plan->state.rules, targets->owner_of, &plan->binds,
				    &plan->bind_count);
	if (!ret)
		ret = lay_connects(plan, targets);
	if (!ret) {
		note_ports(plan);
		note_modes(plan);
	}
	return ret ? ret : lay_owners(plan, targets);
}

static int collect(const struct ps_ruleset *rules, struct ps_targets *targets)
{
	_cleanup_free_ const struct ps_rule **all = calloc(rules->count + 1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < rules->count; i++)
		all[i] = &rules->rules[i];
	return ps_targets_collect(all, rules->count, targets);
}

int ps_plan_build(const struct ps_ruleset *rules, const struct ps_state *before, uint64_t word,
		  struct ps_plan *plan, struct ps_error *error)
{
	struct ps_plan built = {};
	struct ps_targets targets = {};
	int ret = ps_ruleset_copy(rules, &built.state.rules);

	built.state.generation = before->generation + 1 ? before->generation + 1 : 1;
	if (!ret)
		ret = collect(&built.state.rules, &targets);
	if (!ret)
		ret = lay_out(&built, &targets, before, word, error);
	ps_targets_clear(&targets);
	if (ret == -ENOMEM)
		ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some and try again");
	if (ret)
		ps_plan_clear(&built);
	else
		*plan = built;
	return ret;
}
