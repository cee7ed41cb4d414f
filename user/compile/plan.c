// SPDX-License-Identifier: GPL-2.0-only
#include "compile/plan.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "compile/plan_bind.h"
#include "compile/plan_connect.h"
#include "rule/targets.h"
#include "util/util.h"

enum { PORTS = 65536, MAX_CHAIN = 64, TRIES = 256 };

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

/* Which ids are taken, while new ones are given out. */
struct ids {
	unsigned char *taken;
	uint32_t room; /* ids 0 .. room - 1 may be given */
	uint32_t cursor;
};

/* The next free id from the cursor on, going round; there is always one. */
static uint32_t next_id(struct ids *ids)
{
	uint32_t id = ids->cursor < ids->room ? ids->cursor : 0;

	while (ids->taken[id])
		id = id + 1 < ids->room ? id + 1 : 0;
	ids->taken[id] = 1;
	ids->cursor = id + 1;
	return id;
}

/* Rule ids come in the small map, then in chunks. */
static uint32_t rule_room(uint32_t need)
{
	if (need <= PS_HITS_SMALL)
		return PS_HITS_SMALL;
	need -= PS_HITS_SMALL;
	return PS_HITS_SMALL + (need + PS_HITS_CHUNK - 1) / PS_HITS_CHUNK * PS_HITS_CHUNK;
}

uint32_t ps_target_linear(uint32_t target)
{
	uint32_t first = 0;

	for (uint32_t k = 0; k < PS_TARGET_CHUNK_OF(target); k++)
		first += PS_TARGET_CHUNK(k);
	return first + PS_TARGET_INDEX_OF(target);
}

static uint32_t target_of(uint32_t linear)
{
	uint32_t k = 0;

	while (linear >= PS_TARGET_CHUNK(k))
		linear -= PS_TARGET_CHUNK(k++);
	return PS_TARGET(k, linear);
}

uint32_t ps_rule_events(uint32_t rule_id)
{
	return PS_TARGET(PS_RULE_CHUNKS, 0) + target_of(rule_id);
}

static uint32_t target_room(uint32_t need)
{
	uint32_t room = 0;

	for (uint32_t k = 0; k < PS_TARGET_CHUNKS; k++) {
		room += PS_TARGET_CHUNK(k);
		if (room >= need)
			return room;
	}
	return 0;
}

static int too_many(struct ps_error *error, const char *what)
{
	return ps_fail(error, PS_EXIT_FAILED, E2BIG,
		       "too many %s change at once; change fewer in one command, or run 'portsteer "
		       "flush' first",
		       what);
}

/* Equal rules keep their ids. New ones avoid those of removed rules too: these
 * go on counting until the ruleset is replaced. */
static int give_rule_ids(struct ps_plan *plan, const struct ps_state *before,
			 struct ps_error *error)
{
	const struct ps_ruleset *old = &before->rules, *new = &plan->state.rules;
	_cleanup_free_ unsigned char *kept = calloc(new->count + 1, 1);
	struct ids ids = { .cursor = before->rule_cursor };
	uint32_t need = 0, fresh = (uint32_t) new->count;
	size_t i, j;

	if (!kept)
		return -ENOMEM;
	for (i = 0, j = 0; i < old->count; i++) {
		const struct ps_rule *rule = &old->rules[i];

		need = rule->id >= need ? rule->id + 1 : need;
		while (j < new->count && ps_rule_compare(&new->rules[j], rule) < 0)
			j++;
		if (j < new->count && ps_rule_equal(&new->rules[j], rule)) {
			new->rules[j].id = rule->id;
			kept[j] = 1;
			fresh--;
		}
	}
	ids.room = (uint32_t)old->count + fresh;
	ids.room = rule_room(ids.room > need ? ids.room : need);
	if (ids.room > PS_HITS_SMALL + PS_HITS_CHUNK * PS_HITS_CHUNKS)
		return too_many(error, "rules");
	_cleanup_free_ unsigned char *taken = calloc(ids.room, 1);

	ids.taken = taken;
	if (!taken)
		return -ENOMEM;
	for (i = 0; i < old->count; i++)
		taken[old->rules[i].id] = 1;
	for (j = 0; j < new->count; j++) {
		if (!kept[j])
			new->rules[j].id = next_id(&ids);
		if (new->rules[j].id >= plan->rule_ids)
			plan->rule_ids = new->rules[j].id + 1;
	}
	plan->state.rule_cursor = ids.cursor;
	return 0;
}

/* The targets in order, each with its id if the state before had it. */
static int list_targets(struct ps_plan *plan, const struct ps_targets *targets,
			const struct ps_state *before)
{
	struct ps_state *state = &plan->state;
	size_t old = 0;

	state->targets = calloc(targets->pair_count + 1, sizeof(*state->targets));
	if (!state->targets)
		return -ENOMEM;
	for (size_t i = 0; i < targets->pair_count; i++) {
		struct ps_target *t = &state->targets[i];
		int order = 1;

		t->port = PS_PAIR_PORT(targets->pairs[i]);
		t->owner = *targets->owners[PS_PAIR_OWNER(targets->pairs[i])];
		if (t->owner.cgroup) {
			t->owner.cgroup = strdup(t->owner.cgroup);
			if (!t->owner.cgroup)
				return -ENOMEM;
		}
		state->target_count++;
		while (old < before->target_count &&
		       (order = ps_target_compare(&before->targets[old], t)) < 0)
			old++;
		t->fresh = before->renew_targets || old == before->target_count || order;
		if (!t->fresh)
			t->id = before->targets[old].id;
	}
	return 0;
}

/* The ids that this ruleset retires, and those of before that it did not give out. */
static int retire_targets(struct ps_plan *plan, const struct ps_state *before)
{
	struct ps_state *state = &plan->state;
	size_t kept = plan->wait ? 0 : before->retired_count, at = 0;

	state->retired = calloc(kept + before->target_count + 1, sizeof(*state->retired));
	if (!state->retired)
		return -ENOMEM;
	for (size_t i = 0; i < kept; i++)
		state->retired[state->retired_count++] = before->retired[i];
	for (size_t i = 0; i < before->target_count; i++) {
		const struct ps_target *old = &before->targets[i];
		int order = 1;

		while (at < state->target_count &&
		       (order = ps_target_compare(&state->targets[at], old)) < 0)
			at++;
		if (at == state->target_count || order || state->targets[at].fresh)
			state->retired[state->retired_count++] = old->id;
	}
	return 0;
}

/* How many ids there have to be: all of the highest that is in use, or the number of those
 * that are in use, were, and will be. */
static uint32_t count_targets(const struct ps_plan *plan, const struct ps_state *before)
{
	uint32_t need = 0, total = (uint32_t)before->target_count;

	for (size_t i = 0; i < before->target_count; i++) {
		uint32_t linear = ps_target_linear(before->targets[i].id);

		need = linear >= need ? linear + 1 : need;
	}
	for (size_t i = 0; i < plan->state.target_count; i++)
		total += plan->state.targets[i].fresh;
	return total > need ? total : need;
}

/* Mark what may not be given out. Where no more are left, retired ids may. */
static void take_ids(struct ids *ids, struct ps_plan *plan, const struct ps_state *before)
{
	uint32_t left = ids->room, fresh = 0;

	for (size_t i = 0; i < before->retired_count; i++) {
		if (ps_target_linear(before->retired[i]) < ids->room)
			ids->taken[ps_target_linear(before->retired[i])] = 1;
	}
	for (size_t i = 0; i < before->target_count; i++)
		ids->taken[ps_target_linear(before->targets[i].id)] = 1;
	for (uint32_t id = 0; id < ids->room; id++)
		left -= ids->taken[id];
	for (size_t i = 0; i < plan->state.target_count; i++) {
		if (plan->state.targets[i].fresh)
			fresh++;
	}
	plan->wait = fresh > left;
	if (!plan->wait)
		return;
	memset(ids->taken, 0, ids->room);
	for (size_t i = 0; i < before->target_count; i++)
		ids->taken[ps_target_linear(before->targets[i].id)] = 1;
}

static int give_target_ids(struct ps_plan *plan, const struct ps_state *before,
			   struct ps_error *error)
{
	struct ps_state *state = &plan->state;
	struct ids ids = { .cursor = before->target_cursor };

	ids.room = target_room(count_targets(plan, before));
	if (!ids.room)
		return too_many(error, "target ports");
	_cleanup_free_ unsigned char *taken = calloc(ids.room, 1);

	ids.taken = taken;
	if (!taken)
		return -ENOMEM;
	take_ids(&ids, plan, before);
	for (size_t i = 0; i < state->target_count; i++) {
		struct ps_target *t = &state->targets[i];

		if (t->fresh)
			t->id = target_of(next_id(&ids));
		if (PS_TARGET_CHUNK_OF(t->id) >= plan->target_chunks)
			plan->target_chunks = PS_TARGET_CHUNK_OF(t->id) + 1;
	}
	state->target_cursor = ids.cursor;
	return retire_targets(plan, before);
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

int ps_plan_heads(const uint32_t *hashes, size_t count, uint32_t *heads)
{
	_cleanup_free_ unsigned char *length = calloc(PORTS, 1);
	bool long_chain = true;

	if (!length)
		return -ENOMEM;
	for (*heads = 1; *heads < PORTS && *heads < count;)
		*heads *= 2;
	while (long_chain && *heads < PORTS) {
		long_chain = false;
		memset(length, 0, *heads);
		for (size_t i = 0; i < count && !long_chain; i++)
			long_chain = ++length[hashes[i] & (*heads - 1)] > MAX_CHAIN;
		if (long_chain)
			*heads *= 2;
	}
	return 0;
}

static int lay_admits(struct ps_plan *plan, const struct ps_targets *targets)
{
	const struct ps_state *state = &plan->state;
	_cleanup_free_ uint32_t *ports = calloc(targets->pair_count + 1, sizeof(*ports));
	uint32_t heads;

	if (!ports)
		return -ENOMEM;
	for (size_t i = 0; i < targets->pair_count; i++)
		ports[i] = PS_PAIR_PORT(targets->pairs[i]);
	if (ps_plan_heads(ports, targets->pair_count, &heads))
		return -ENOMEM;
	plan->admit_count = heads + targets->pair_count;
	plan->admits = calloc(plan->admit_count, sizeof(*plan->admits));
	if (!plan->admits)
		return -ENOMEM;
	plan->admits[0].owner = heads;
	for (size_t i = 0; i < targets->pair_count; i++) {
		struct ps_admit *head = &plan->admits[state->targets[i].port & (heads - 1)];
		struct ps_admit *record = &plan->admits[heads + i];

		record->port = state->targets[i].port;
		record->flags = state->targets[i].fresh ? PS_ADMIT_FRESH : 0;
		record->target = state->targets[i].id;
		record->owner = PS_PAIR_OWNER(targets->pairs[i]);
		record->next = head->next;
		head->next = (uint32_t)(heads + i);
	}
	return 0;
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
	int ret = fronts ? give_rule_ids(plan, before, error) : -ENOMEM;

	if (!ret)
		ret = list_targets(plan, targets, before);
	if (!ret)
		ret = give_target_ids(plan, before, error);
	if (!ret)
		ret = lay_fronts(plan, targets, fronts);
	if (!ret)
		ret = lay_buckets(plan, fronts, word);
	if (!ret)
		ret = lay_admits(plan, targets);
	if (!ret)
		ret = ps_plan_binds(plan, targets->owner_of);
	if (!ret)
		ret = ps_plan_connects(plan, targets);
	if (!ret)
		note_modes(plan);
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
