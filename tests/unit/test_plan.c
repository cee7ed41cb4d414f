// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tables that the BPF programs read: user/compile/plan.c. Each plan is held against
 * a model that is made from the rules alone, and read as bpf/steer.h and
 * bpf/admit.h read it.
 */
#define UNIT_FAULTS
#include "unit.h"

enum { MAX_CHAIN = 64 };

/* --- The model --- */

/* What a rule leads to at one of its front ports. */
struct want_pair {
	uint16_t port; /* target port */
	uint32_t owner; /* index into owners */
};

struct model {
	const struct ps_rule *by_port[65536]; /* the rule without address */
	bool prefixed[65536]; /* a rule with one exists */
	char **owners; /* distinct owners as text */
	size_t owner_count;
	uint32_t *owner_of; /* of each rule */
	struct want_pair *pairs; /* distinct, sorted */
	size_t pair_count;
	size_t prefix_count, front_count;
};

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int compare_pair(const void *a, const void *b)
{
	const struct want_pair *x = a, *y = b;

	if (x->port != y->port)
		return x->port < y->port ? -1 : 1;
	return (x->owner > y->owner) - (x->owner < y->owner);
}

static size_t unique(void *items, size_t count, size_t size,
		     int (*compare)(const void *, const void *))
{
	char *at = items;
	size_t kept = 0;

	if (count)
		qsort(items, count, size, compare);
	for (size_t i = 0; i < count; i++) {
		if (kept && !compare(at + i * size, at + (kept - 1) * size))
			continue;
		memmove(at + kept++ * size, at + i * size, size);
	}
	return kept;
}

static uint32_t owner_index(const struct model *m, const struct ps_owner_spec *owner)
{
	char text[PS_CGROUP_PATH + 32], *key = text, **found;

	owner_text(owner, text, sizeof(text));
	found = bsearch(&key, m->owners, m->owner_count, sizeof(key), compare_text);
	return found ? (uint32_t)(found - m->owners) : UINT32_MAX;
}

static void model_owners(struct model *m, const struct ps_ruleset *rules)
{
	char **all = calloc(rules->count + 1, sizeof(*all)), **own;
	char text[PS_CGROUP_PATH + 32];

	for (size_t i = 0; i < rules->count; i++) {
		owner_text(&rules->rules[i].owner, text, sizeof(text));
		all[i] = strdup(text);
	}
	own = calloc(rules->count + 1, sizeof(*own));
	memcpy(own, all, rules->count * sizeof(*all));
	m->owner_count = unique(own, rules->count, sizeof(*own), compare_text);
	for (size_t i = 0; i < m->owner_count; i++)
		own[i] = strdup(own[i]);
	m->owners = own;
	for (size_t i = 0; i < rules->count; i++)
		free(all[i]);
	free(all);
}

static struct model *make_model(const struct ps_ruleset *rules)
{
	struct model *m = calloc(1, sizeof(*m));
	size_t total = 0;

	model_owners(m, rules);
	m->owner_of = calloc(rules->count + 1, sizeof(*m->owner_of));
	for (size_t i = 0; i < rules->count; i++) {
		const struct ps_rule *rule = &rules->rules[i];

		m->owner_of[i] = owner_index(m, &rule->owner);
		for (uint32_t p = rule->front; p <= rule->front_last; p++, total++) {
			m->front_count += !m->by_port[p] && !m->prefixed[p];
			if (rule->prefix.family) {
				m->prefixed[p] = true;
				m->prefix_count++;
			} else {
				m->by_port[p] = rule;
			}
		}
	}
	m->pairs = calloc(total + 1, sizeof(*m->pairs));
	for (size_t i = 0; i < rules->count; i++) {
		const struct ps_rule *rule = &rules->rules[i];

		for (uint32_t p = rule->target; p <= target_last(rule); p++)
			m->pairs[m->pair_count++] =
				(struct want_pair){ (uint16_t)p, m->owner_of[i] };
	}
	m->pair_count = unique(m->pairs, m->pair_count, sizeof(*m->pairs), compare_pair);
	return m;
}

static void free_model(struct model *m)
{
	for (size_t i = 0; i < m->owner_count; i++)
		free(m->owners[i]);
	free(m->owners);
	free(m->owner_of);
	free(m->pairs);
	free(m);
}

/* The target id of each of the model's pairs, by its index. */
static uint32_t *ids_of_pairs(const struct model *m, const struct ps_state *state, bool *fresh)
{
	uint32_t *ids = calloc(m->pair_count + 1, sizeof(*ids));

	CHECK_EQ(state->target_count, m->pair_count);
	memset(ids, 0xff, (m->pair_count + 1) * sizeof(*ids));
	for (size_t i = 0; i < state->target_count; i++) {
		const struct ps_target *t = &state->targets[i];
		struct want_pair key = { t->port, owner_index(m, &t->owner) }, *found;

		found = m->pair_count ?
				bsearch(&key, m->pairs, m->pair_count, sizeof(key), compare_pair) :
				NULL;
		CHECK_MSG(found, "target %zu (port %d) is nobody's", i, t->port);
		CHECK_MSG(ids[found - m->pairs] == UINT32_MAX, "target %zu is there twice", i);
		CHECK(!i || state->targets[i - 1].port <= t->port);
		ids[found - m->pairs] = t->id;
		if (fresh)
			fresh[found - m->pairs] = t->fresh;
	}
	return ids;
}

static uint32_t id_at(const struct model *m, const uint32_t *ids, uint16_t port, uint32_t owner)
{
	struct want_pair key = { port, owner }, *found;

	found = bsearch(&key, m->pairs, m->pair_count, sizeof(key), compare_pair);
	CHECK(found);
	return ids[found - m->pairs];
}

/* --- Reading the plan --- */

/* As read_front in bpf/steer.h. */
static const struct ps_front *find_cell(const struct ps_plan *plan, uint16_t port)
{
	uint32_t bucket = PS_BUCKET(port, PS_WORD_MULT(plan->word), PS_WORD_LOG2(plan->word));

	for (int i = 0; i < 4; i++) {
		const struct ps_front *cell = &plan->buckets[bucket].cell[i];

		if (cell->port == port && cell->flags)
			return cell;
	}
	return NULL;
}

static size_t count_cells(const struct ps_plan *plan)
{
	static const struct ps_bucket empty;
	size_t used = 0;

	for (size_t b = 0; b < (size_t)1 << PS_WORD_LOG2(plan->word); b++) {
		const struct ps_bucket *bucket = &plan->buckets[b];

		CHECK(!bucket->reserved[0] && !bucket->reserved[1]);
		for (int i = 0; i < 4; i++) {
			if (!bucket->cell[i].flags)
				CHECK(!memcmp(&bucket->cell[i], &empty.cell[0],
					      sizeof(empty.cell[0])));
			used += bucket->cell[i].flags != 0;
		}
	}
	return used;
}

/* What a rule's policies mean for its cells and trie entries. */
static uint16_t rule_flags(const struct ps_rule *rule)
{
	return (uint16_t)((rule->if_down == PS_DOWN_PASS ? PS_FRONT_PASS : 0) |
			  (rule->owner.flags & PS_OWNER_CGROUP ? PS_FRONT_STRICT : 0));
}

static void check_cell(const struct ps_plan *plan, const struct model *m, const uint32_t *ids,
		       uint16_t port)
{
	const struct ps_front *cell = find_cell(plan, port);
	const struct ps_rule *rule = m->by_port[port];
	uint16_t flags = PS_FRONT_USED;

	if (!rule && !m->prefixed[port]) {
		CHECK_MSG(!cell, "port %d", port);
		return;
	}
	CHECK_MSG(cell, "port %d", port);
	if (m->prefixed[port])
		flags |= PS_FRONT_PREFIX;
	if (rule)
		flags |= PS_FRONT_DEFAULT | rule_flags(rule);
	CHECK_MSG(cell->flags == flags, "port %d: flags %x, wanted %x", port, cell->flags, flags);
	if (!rule)
		return;
	CHECK_MSG(cell->rule == rule->id, "port %d: rule %u is %u", port, rule->id, cell->rule);
	CHECK_EQ(cell->target, id_at(m, ids, (uint16_t)(rule->target + (port - rule->front)),
				     owner_index(m, &rule->owner)));
}

static void check_fronts(const struct ps_plan *plan, const struct model *m, const uint32_t *ids)
{
	CHECK_EQ(count_cells(plan), m->front_count);
	for (uint32_t port = 0; port < 65536; port++) {
		bool front = m->by_port[port] || m->prefixed[port];

		if (front || port % 5 == 0)
			check_cell(plan, m, ids, (uint16_t)port);
		CHECK_MSG((plan->filter[port / 32] >> (port & 31) & 1) == front, "port %u", port);
	}
}

static int compare_key(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct ps_prefix_key));
}

/* Every pair of a prefix and a port has one entry, and there are no others. */
static void check_prefixes(const struct ps_plan *plan, const struct model *m, const uint32_t *ids)
{
	const struct ps_ruleset *rules = &plan->state.rules;
	struct ps_prefix_entry *sorted = calloc(plan->prefix_count + 1, sizeof(*sorted));

	CHECK_EQ(plan->prefix_count, m->prefix_count);
	if (plan->prefix_count) {
		memcpy(sorted, plan->prefixes, plan->prefix_count * sizeof(*sorted));
		qsort(sorted, plan->prefix_count, sizeof(*sorted), compare_key);
	}
	for (size_t i = 0; i < rules->count; i++) {
		const struct ps_rule *rule = &rules->rules[i];

		for (uint32_t p = rule->front; rule->prefix.family && p <= rule->front_last; p++) {
			struct ps_prefix_key key = {
				.prefixlen = 64u + rule->prefix.len,
				.generation = PS_WORD_GEN(plan->word),
				.port = (uint16_t)p,
				.family = rule->prefix.family,
			};
			const struct ps_prefix_entry *e;

			memcpy(key.addr, rule->prefix.addr, sizeof(key.addr));
			e = bsearch(&key, sorted, plan->prefix_count, sizeof(*e), compare_key);
			CHECK_MSG(e, "rule %zu, port %u", i, p);
			CHECK_EQ(e->value.port, 0);
			CHECK_EQ(e->value.flags, PS_FRONT_USED | rule_flags(rule));
			CHECK_EQ(e->value.rule, rule->id);
			CHECK_EQ(e->value.target,
				 id_at(m, ids, (uint16_t)(rule->target + (p - rule->front)),
				       m->owner_of[i]));
		}
	}
	free(sorted);
}

/* The owner's text again, from the layout that the kernel reads. */
static void owner_from_table(const struct ps_owner *owner, char *text, size_t size)
{
	char path[PS_CGROUP_PATH + 1] = "";
	size_t used = 0;

	CHECK(owner->depth <= PS_CGROUP_DEPTH);
	CHECK_EQ(owner->start[0], 0);
	for (uint32_t n = 0; n < owner->depth; n++) {
		uint32_t from = owner->start[n], to = owner->start[n + 1];

		CHECK(from < to && to <= PS_CGROUP_PATH);
		CHECK_EQ(strnlen((const char *)owner->path + from, to - from), to - from - 1);
		used += (size_t)snprintf(path + used, sizeof(path) - used, "/%s",
					 (const char *)owner->path + from);
	}
	if (!owner->depth && owner->flags & PS_OWNER_CGROUP)
		strcpy(path, "/");
	snprintf(text, size, "%" PRIu32 " %" PRIu32 " %s", owner->flags,
		 owner->flags & PS_OWNER_USER ? owner->uid : 0, path);
}

/* For each of the plan's owners its index in the model; no two alike. */
static uint32_t *check_owners(const struct ps_plan *plan, const struct model *m)
{
	uint32_t *index = calloc(plan->owner_count + 1, sizeof(*index));
	bool *seen = calloc(m->owner_count + 1, sizeof(*seen));

	CHECK_EQ(plan->owner_count, m->owner_count);
	for (size_t i = 0; i < plan->owner_count; i++) {
		char text[PS_CGROUP_PATH + 32], *key = text, **found;

		owner_from_table(&plan->owners[i], text, sizeof(text));
		found = bsearch(&key, m->owners, m->owner_count, sizeof(key), compare_text);
		CHECK_MSG(found, "owner %zu is \"%s\"", i, text);
		index[i] = (uint32_t)(found - m->owners);
		CHECK_MSG(!seen[index[i]], "owner \"%s\" is there twice", text);
		seen[index[i]] = true;
	}
	free(seen);
	return index;
}

/* One chain: records of its ports only, none seen before. */
static size_t check_chain(const struct ps_plan *plan, const struct model *m, const uint32_t *ids,
			  const bool *fresh, const uint32_t *owners, uint32_t head, bool *seen)
{
	uint32_t heads = plan->admits[0].owner;
	size_t length = 0;

	for (uint32_t at = plan->admits[head].next; at; at = plan->admits[at].next, length++) {
		const struct ps_admit *r = &plan->admits[at];
		struct want_pair key = { .port = r->port }, *found;

		CHECK_MSG(at >= heads && at < plan->admit_count, "record %u", at);
		CHECK_MSG(!seen[at], "record %u is in two chains", at);
		seen[at] = true;
		CHECK_EQ(r->port & (heads - 1), head);
		CHECK(r->owner < plan->owner_count);
		key.owner = owners[r->owner];
		found = bsearch(&key, m->pairs, m->pair_count, sizeof(key), compare_pair);
		CHECK_MSG(found, "record %u, port %d", at, r->port);
		CHECK_MSG(r->target == ids[found - m->pairs], "record %u, port %d", at, r->port);
		CHECK_MSG(r->flags == (fresh[found - m->pairs] ? PS_ADMIT_FRESH : 0),
			  "record %u: flags %u", at, r->flags);
	}
	CHECK_MSG(length <= MAX_CHAIN, "%zu", length);
	return length;
}

static void check_admits(const struct ps_plan *plan, const struct model *m, const uint32_t *ids,
			 const bool *fresh)
{
	uint32_t *owners = check_owners(plan, m), heads;
	bool *seen = calloc(plan->admit_count + 1, sizeof(*seen));
	size_t records = 0;

	CHECK(plan->admit_count >= 1);
	heads = plan->admits[0].owner;
	CHECK_MSG(heads && !(heads & (heads - 1)) && heads <= 65536, "%u heads", heads);
	CHECK_EQ(plan->admit_count, heads + m->pair_count);
	/* Distinct records, each a pair: as many as there are pairs is all of them,
	 * if no two are the same pair; target ids are distinct (check_ids). */
	for (uint32_t head = 0; head < heads; head++)
		records += check_chain(plan, m, ids, fresh, owners, head, seen);
	CHECK_EQ(records, m->pair_count);
	free(owners);
	free(seen);
}

/* --- Ids --- */

static uint32_t linear(uint32_t target)
{
	uint32_t chunk = target >> 20, first = 0;

	CHECK(chunk < PS_TARGET_CHUNKS);
	for (uint32_t k = 0; k < chunk; k++)
		first += 64u << (2 * k);
	CHECK((target & 0xfffff) < 64u << (2 * chunk));
	return first + (target & 0xfffff);
}

enum { ALL_TARGETS = 1398080 };

static int compare_rule(const void *a, const void *b)
{
	return ps_rule_compare(a, b);
}

static const struct ps_rule *same_in(const struct ps_ruleset *set, const struct ps_rule *rule)
{
	const struct ps_rule *found;

	found = set->count ? bsearch(rule, set->rules, set->count, sizeof(*rule), compare_rule) :
			     NULL;
	return found && same_rule(found, rule) ? found : NULL;
}

/* Ids of rules are distinct; those of rules that stay are the same; new ones are
 * not those of rules that go, which count until the ruleset is replaced. */
static void check_rule_ids(const struct ps_plan *plan, const struct ps_state *before)
{
	const struct ps_ruleset *rules = &plan->state.rules;
	enum { ROOM = PS_HITS_SMALL + PS_HITS_CHUNK * PS_HITS_CHUNKS };
	bool *old = calloc(ROOM, sizeof(*old)), *now = calloc(ROOM, sizeof(*now));
	uint32_t highest = 0;

	for (size_t i = 0; i < before->rules.count; i++)
		old[before->rules.rules[i].id] = true;
	for (size_t i = 0; i < rules->count; i++) {
		const struct ps_rule *rule = &rules->rules[i];
		const struct ps_rule *same = same_in(&before->rules, rule);

		CHECK(rule->id < ROOM);
		CHECK_MSG(!now[rule->id], "rule id %u is there twice", rule->id);
		now[rule->id] = true;
		if (same)
			CHECK_EQ(rule->id, same->id);
		else
			CHECK_MSG(!old[rule->id], "rule id %u is reused at once", rule->id);
		highest = rule->id >= highest ? rule->id + 1 : highest;
	}
	CHECK_EQ(plan->rule_ids, highest);
	free(old);
	free(now);
}

/* The same for targets; FRESH says what is new. Chunks are used densely: a new
 * id is in none that the old and the new targets together do not need. */
/* Ids that were in use, and may be read by a program still, are not given out before there was a
 * wait, and all of them are noted. */
static void check_retired(const struct ps_plan *plan, const struct ps_state *before)
{
	bool *may = calloc(ALL_TARGETS, sizeof(*may)), *now = calloc(ALL_TARGETS, sizeof(*now));
	const struct ps_state *state = &plan->state;
	size_t count = 0;

	for (size_t i = 0; i < before->retired_count && !plan->wait; i++)
		may[linear(before->retired[i])] = true;
	for (size_t i = 0; i < state->target_count; i++)
		CHECK_MSG(!may[linear(state->targets[i].id)], "id %x", state->targets[i].id);
	for (size_t i = 0; i < before->target_count; i++)
		may[linear(before->targets[i].id)] = true;
	for (size_t i = 0; i < state->target_count; i++)
		may[linear(state->targets[i].id)] = false;
	for (size_t i = 0; i < state->retired_count; i++) {
		CHECK(!now[linear(state->retired[i])]);
		now[linear(state->retired[i])] = true;
	}
	for (size_t i = 0; i < ALL_TARGETS; i++) {
		CHECK_MSG(now[i] == may[i], "id %zu", i);
		count += now[i];
	}
	CHECK_EQ(count, state->retired_count);
	free(may);
	free(now);
}

static void check_target_ids(const struct ps_plan *plan, const struct ps_state *before)
{
	bool *old = calloc(ALL_TARGETS, sizeof(*old)), *now = calloc(ALL_TARGETS, sizeof(*now));
	uint32_t chunks = 0, need = 0, total = (uint32_t)before->target_count;
	const struct ps_state *state = &plan->state;
	size_t o = 0;

	for (size_t i = 0; i < before->target_count; i++) {
		uint32_t at = linear(before->targets[i].id);

		old[at] = true;
		need = at >= need ? at + 1 : need;
	}
	for (size_t i = 0; i < state->target_count; i++)
		total += state->targets[i].fresh;
	need = total > need ? total : need;
	for (size_t i = 0; i < state->target_count; i++) {
		const struct ps_target *t = &state->targets[i];
		uint32_t at = linear(t->id);
		bool had = false;

		CHECK_MSG(!now[at], "target id %x is there twice", t->id);
		now[at] = true;
		while (o < before->target_count && before->targets[o].port < t->port)
			o++;
		for (size_t n = o; n < before->target_count && before->targets[n].port == t->port;
		     n++) {
			if (!ps_owner_equal(&before->targets[n].owner, &t->owner))
				continue;
			had = true;
			CHECK_EQ(t->id, before->targets[n].id);
		}
		CHECK_MSG(t->fresh == !had, "target %zu, port %d", i, t->port);
		CHECK_MSG(had || !old[at], "target id %x is reused at once", t->id);
		CHECK_MSG(had || at - (t->id & 0xfffff) < need, "chunk %u", t->id >> 20);
		chunks = (t->id >> 20) >= chunks ? (t->id >> 20) + 1 : chunks;
	}
	CHECK_EQ(plan->target_chunks, chunks);
	free(old);
	free(now);
}

/* --- The whole --- */

static void check_plan(const struct ps_plan *plan, const struct ps_ruleset *rules,
		       const struct ps_state *before, uint64_t word)
{
	uint32_t generation = before->generation == UINT32_MAX ? 1 : before->generation + 1;
	struct model *m = make_model(&plan->state.rules);
	bool *fresh = calloc(m->pair_count + 1, sizeof(*fresh));
	uint32_t *ids = ids_of_pairs(m, &plan->state, fresh);

	check_same_set(rules, &plan->state.rules);
	CHECK_EQ(plan->state.generation, generation);
	CHECK_EQ(PS_WORD_GEN(plan->word), generation);
	CHECK_EQ(PS_WORD_HALF(plan->word), !PS_WORD_HALF(word));
	CHECK(PS_WORD_MULT(plan->word) & 1);
	CHECK(PS_WORD_LOG2(plan->word) <= PS_MAX_LOG2);
	/* No bits besides. */
	CHECK(plan->word == (PS_WORD(generation, PS_WORD_LOG2(plan->word), PS_WORD_HALF(plan->word),
				     PS_WORD_MULT(plan->word)) |
			     PS_WORD_LIFE(word)));
	check_rule_ids(plan, before);
	check_target_ids(plan, before);
	check_retired(plan, before);
	check_fronts(plan, m, ids);
	check_prefixes(plan, m, ids);
	check_admits(plan, m, ids, fresh);
	free(ids);
	free(fresh);
	free_model(m);
}

/* An instance that goes from ruleset to ruleset. */
struct instance {
	struct ps_state state;
	uint64_t word;
};

/* The state goes through its saved form, as from one command to the next. */
static void save_and_read(struct ps_state *state)
{
	struct ps_state read = {};
	void *data;
	size_t size;

	CHECK_EQ(ps_state_encode(state, &data, &size), 0);
	CHECK_EQ(ps_state_decode(data, size, &read), 0);
	free(data);
	ps_state_clear(state);
	*state = read;
}

static void step(struct instance *in, const struct ps_ruleset *rules)
{
	struct ps_error error = NO_ERROR;
	struct ps_plan plan = {};
	int ret = ps_plan_build(rules, &in->state, in->word, &plan, &error);

	CHECK_MSG(!ret, "%d: %s", ret, error.message);
	check_plan(&plan, rules, &in->state, in->word);
	ps_state_clear(&in->state);
	in->state = plan.state;
	in->word = plan.word;
	plan.state = (struct ps_state){};
	ps_plan_clear(&plan);
	CHECK(!plan.buckets && !plan.admits && !plan.admit_count && !plan.word);
	save_and_read(&in->state);
}

static void start(struct instance *in)
{
	*in = (struct instance){ .state = { .generation = 1 }, .word = PS_WORD(1, 0, 0, 1) };
}

static const struct ps_rule *rule_at(const struct instance *in, uint16_t front)
{
	for (size_t i = 0; i < in->state.rules.count; i++) {
		if (in->state.rules.rules[i].front == front)
			return &in->state.rules.rules[i];
	}
	unit_fail(__LINE__, "rule", "none at %d", front);
}

static const struct ps_target *target_at(const struct instance *in, uint16_t port)
{
	for (size_t i = 0; i < in->state.target_count; i++) {
		if (in->state.targets[i].port == port)
			return &in->state.targets[i];
	}
	unit_fail(__LINE__, "target", "none at %d", port);
}

/* --- Small examples --- */

static void test_empty(void **state)
{
	struct ps_ruleset set = {};
	struct ps_plan plan = {};
	struct instance in;

	(void)state;
	ROW("empty");
	start(&in);
	CHECK_EQ(ps_plan_build(&set, &in.state, in.word, &plan, NULL), 0);
	check_plan(&plan, &set, &in.state, in.word);
	CHECK_EQ(PS_WORD_GEN(plan.word), 2);
	CHECK_EQ(plan.rule_ids, 0);
	CHECK_EQ(plan.prefix_count, 0);
	/* Something must overwrite what the half had before. */
	CHECK(plan.admit_count >= 1 && plan.buckets);
	ps_plan_clear(&plan);
	ps_plan_clear(&plan);
	step(&in, &set);
	must_add(&set, "80:8080", "u1");
	step(&in, &set);
	ps_ruleset_clear(&set);
	step(&in, &set);
	ps_state_clear(&in.state);
}

/* The first ids, by hand. */
static void test_one(void **state)
{
	struct ps_ruleset set = {};
	struct ps_plan plan = {};
	const struct ps_front *cell;
	struct instance in;

	(void)state;
	ROW("one");
	start(&in);
	must_add(&set, "80:8080", "u33 c/system.slice/web.service pass");
	CHECK_EQ(ps_plan_build(&set, &in.state, in.word, &plan, NULL), 0);
	check_plan(&plan, &set, &in.state, in.word);
	cell = find_cell(&plan, 80);
	CHECK_EQ(cell->flags, PS_FRONT_USED | PS_FRONT_DEFAULT | PS_FRONT_PASS | PS_FRONT_STRICT);
	CHECK_EQ(plan.state.targets[0].port, 8080);
	CHECK_EQ(plan.state.targets[0].fresh, true);
	CHECK_EQ(plan.filter[2], 1u << 16);
	CHECK_EQ(plan.owners[0].flags, PS_OWNER_USER | PS_OWNER_CGROUP);
	CHECK_EQ(plan.owners[0].uid, 33);
	CHECK_EQ(plan.owners[0].depth, 2);
	CHECK_EQ(plan.owners[0].start[1], 13);
	CHECK_EQ(plan.owners[0].start[2], 25);
	CHECK(!memcmp(plan.owners[0].path, "system.slice\0web.service", 25));
	CHECK_EQ(plan.rule_ids, plan.state.rules.rules[0].id + 1);
	/* The rules are the caller's still. */
	CHECK(plan.state.rules.rules[0].owner.cgroup != set.rules[0].owner.cgroup);
	ps_ruleset_clear(&set);
	CHECK_STR(plan.state.rules.rules[0].owner.cgroup, "/system.slice/web.service");
	CHECK_STR(plan.state.targets[0].owner.cgroup, "/system.slice/web.service");
	ps_plan_clear(&plan);
}

static void test_flags(void **state)
{
	static const struct {
		const char *rules[4], *options[4];
		uint16_t flags; /* of port 80's cell */
	} rows[] = {
		{ { "80:8080" }, { "u1" }, PS_FRONT_USED | PS_FRONT_DEFAULT },
		{ { "80:8080" }, { "u1 pass" }, PS_FRONT_USED | PS_FRONT_DEFAULT | PS_FRONT_PASS },
		{ { "10.0.0.0/8:80:8080" }, { "u1" }, PS_FRONT_USED | PS_FRONT_PREFIX },
		{ { "10.0.0.0/8:80:8080" }, { "u1 pass" }, PS_FRONT_USED | PS_FRONT_PREFIX },
		{ { "80:8080", "[::1]:80:8081" },
		  { "u1", "u1 pass" },
		  PS_FRONT_USED | PS_FRONT_DEFAULT | PS_FRONT_PREFIX },
		{ { "80:8080", "0.0.0.0/0:80:8081" },
		  { "u1 pass", "u1" },
		  PS_FRONT_USED | PS_FRONT_DEFAULT | PS_FRONT_PREFIX | PS_FRONT_PASS },
		{ { "80:8080", "0.0.0.0/0:81:8081" },
		  { "u1", "u1 pass" },
		  PS_FRONT_USED | PS_FRONT_DEFAULT },
		{ { "70-90:8070-8090", "10.0.0.1:80:8080", "10.0.0.0/8:75-85:8075-8085" },
		  { "u1 pass", "u1", "u1" },
		  PS_FRONT_USED | PS_FRONT_DEFAULT | PS_FRONT_PREFIX | PS_FRONT_PASS },
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_ruleset set = {};
		struct ps_plan plan = {};
		struct instance in;

		ROW("%s %s", rows[i].rules[0], rows[i].rules[1] ? rows[i].rules[1] : "");
		start(&in);
		for (int n = 0; n < 4 && rows[i].rules[n]; n++)
			must_add(&set, rows[i].rules[n], rows[i].options[n]);
		CHECK_EQ(ps_plan_build(&set, &in.state, in.word, &plan, NULL), 0);
		check_plan(&plan, &set, &in.state, in.word);
		CHECK(find_cell(&plan, 80));
		CHECK_EQ(find_cell(&plan, 80)->flags, rows[i].flags);
		ps_plan_clear(&plan);
		ps_ruleset_clear(&set);
	}
}

/* The longest path, the deepest, and those that look alike. */
static void test_owner_layout(void **state)
{
	char path[PS_CGROUP_PATH], options[PS_CGROUP_PATH + 8];
	struct ps_ruleset set = {};
	struct instance in;

	(void)state;
	ROW("owners");
	start(&in);
	for (size_t i = 0; i < sizeof(path) - 2; i++)
		path[i] = i % 70 ? 'x' : '/';
	path[sizeof(path) - 2] = '\0';
	snprintf(options, sizeof(options), "c%s", path);
	must_add(&set, "1:8080", options);
	must_add(&set, "2:8080", "c/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16");
	must_add(&set, "3:8080", "c/");
	must_add(&set, "4:8080", "c/a");
	must_add(&set, "5:8080", "c/a/b");
	must_add(&set, "6:8080", "c/ab");
	must_add(&set, "7:8080", "u0 c/a");
	must_add(&set, "8:8080", "u0");
	must_add(&set, "9:8080", "u4294967294");
	must_add(&set, "10:8080", "any");
	must_add(&set, "11:8080", "u0 c/");
	must_add(&set, "12:8081", "any");
	must_add(&set, "13:8080", "any");
	step(&in, &set);
	CHECK_EQ(in.state.target_count, 12);
	ps_ruleset_clear(&set);
	ps_state_clear(&in.state);
}

/* Rules that lead to the same port for the same owner share the target. */
static void test_shared_targets(void **state)
{
	struct ps_ruleset set = {};
	struct instance in;

	(void)state;
	ROW("shared");
	start(&in);
	must_add(&set, "80:8080", "u1");
	must_add(&set, "81:8080", "u1 pass n=x");
	must_add(&set, "10.0.0.0/8:80:8080", "u1");
	must_add(&set, "82-90:8072-8080", "u1");
	step(&in, &set);
	CHECK_EQ(in.state.target_count, 9);
	must_add(&set, "100:8080", "u2");
	step(&in, &set);
	CHECK_EQ(in.state.target_count, 10);
	ps_ruleset_clear(&set);
	ps_state_clear(&in.state);
}

static void test_generation(void **state)
{
	static const uint32_t before[] = { 0, 1, 7, 0x7fffffff, UINT32_MAX - 1, UINT32_MAX };
	struct ps_ruleset set = {};

	(void)state;
	must_add(&set, "80:8080", "u1");
	must_add(&set, "10.0.0.0/8:80:8080", "u1");
	for (size_t i = 0; i < PS_ARRAY_SIZE(before); i++) {
		for (uint64_t half = 0; half < 2; half++) {
			struct instance in = { .state = { .generation = before[i] } };

			ROW("after %" PRIu32 ", half %d", before[i], (int)half);
			in.word = PS_WORD(before[i], 3, half, 0xffff);
			step(&in, &set);
			CHECK(in.state.generation != 0);
			ps_state_clear(&in.state);
		}
	}
	ROW("every life but the first, and the one after the last");
	{
		const uint64_t last = PS_WORD_LIFE(~0ULL);
		struct instance in = { .state = { .generation = 1 } };

		in.word = PS_WORD(1, 0, 1, 0xffff) | last;
		step(&in, &set);
		CHECK(PS_WORD_LIFE(in.word) == last);
		CHECK(PS_WORD_NEXT_LIFE(in.word) == 0);
		CHECK(PS_WORD_NEXT_LIFE(PS_WORD(~0U, 15, 1, 0xffff)) == 1ULL << 37);
		ps_state_clear(&in.state);
	}
	ROW("generation ahead of the word");
	{
		/* As after a killed command. */
		struct instance in = { .state = { .generation = 9 }, .word = PS_WORD(5, 0, 1, 1) };

		step(&in, &set);
		CHECK_EQ(in.state.generation, 10);
		CHECK_EQ(PS_WORD_GEN(in.word), 10);
		ps_state_clear(&in.state);
	}
	ps_ruleset_clear(&set);
}

/* --- Ids over time --- */

static void test_ids_stay(void **state)
{
	struct ps_rule key = plain_rule(443, 0, 0);
	uint32_t rule, other, target;
	struct ps_ruleset set = {};
	struct instance in;

	(void)state;
	start(&in);
	must_add(&set, "80:8080", "u33 n=web");
	must_add(&set, "443:8443", "u33");
	ROW("first");
	step(&in, &set);
	rule = rule_at(&in, 80)->id;
	other = rule_at(&in, 443)->id;
	target = target_at(&in, 8080)->id;
	ROW("others come");
	must_add(&set, "22:2222", "any");
	must_add(&set, "1000-1100:9000-9100", "any");
	step(&in, &set);
	CHECK_EQ(rule_at(&in, 80)->id, rule);
	CHECK_EQ(rule_at(&in, 443)->id, other);
	ROW("others go");
	CHECK_EQ(ps_ruleset_del(&set, &key, 1, NULL), 0);
	step(&in, &set);
	CHECK_EQ(rule_at(&in, 80)->id, rule);
	CHECK_EQ(target_at(&in, 8080)->id, target);
	ROW("and come again");
	must_add(&set, "443:8443", "u33");
	step(&in, &set);
	CHECK(rule_at(&in, 443)->id != other);
	CHECK_EQ(rule_at(&in, 80)->id, rule);
	ROW("a changed rule is another, its target is not");
	key.front = key.front_last = 80;
	CHECK_EQ(ps_ruleset_del(&set, &key, 1, NULL), 0);
	must_add(&set, "80:8080", "u33 n=other");
	step(&in, &set);
	CHECK(rule_at(&in, 80)->id != rule);
	CHECK_EQ(target_at(&in, 8080)->id, target);
	ROW("another owner is another target");
	CHECK_EQ(ps_ruleset_del(&set, &key, 1, NULL), 0);
	must_add(&set, "80:8080", "u34");
	step(&in, &set);
	CHECK(target_at(&in, 8080)->id != target);
	ps_ruleset_clear(&set);
	ps_state_clear(&in.state);
}

/* A rule that is replaced again and again goes through all ids of the smallest
 * tables before it meets an old one, and never leaves those tables. */
/* Whoever waits too often makes commands slow: once for all ids. */
static void test_waits_are_few(void **state)
{
	struct instance in;
	int waits = 0;

	(void)state;
	start(&in);
	for (int i = 0; i < 6400; i++) {
		struct ps_rule rule = plain_rule(80, (uint16_t)(1000 + i), (uint32_t)i);
		struct ps_error error = NO_ERROR;
		struct ps_ruleset set = {};
		struct ps_plan plan = {};

		CHECK_EQ(ps_ruleset_add(&set, &rule, 1, NULL), 0);
		CHECK_EQ(ps_plan_build(&set, &in.state, in.word, &plan, &error), 0);
		waits += plan.wait;
		CHECK(!plan.wait || i > 60);
		ps_plan_clear(&plan);
		step(&in, &set);
		ps_ruleset_clear(&set);
	}
	CHECK_MSG(waits >= 95 && waits <= 105, "%d", waits);
	ps_state_clear(&in.state);
}

static void test_ids_reused_late(void **state)
{
	uint32_t rules[400], targets[400];
	struct instance in;

	(void)state;
	start(&in);
	for (int i = 0; i < 400; i++) {
		struct ps_ruleset set = {};
		struct ps_rule rule = plain_rule(80, (uint16_t)(1000 + i), (uint32_t)i);

		ROW("round %d", i);
		CHECK_EQ(ps_ruleset_add(&set, &rule, 1, NULL), 0);
		step(&in, &set);
		rules[i] = in.state.rules.rules[0].id;
		targets[i] = in.state.targets[0].id;
		CHECK(rules[i] < PS_HITS_SMALL);
		CHECK(targets[i] < PS_TARGET_CHUNK(0));
		for (int n = i > PS_HITS_SMALL - 1 ? i - (PS_HITS_SMALL - 1) : 0; n < i; n++)
			CHECK_MSG(rules[n] != rules[i], "rule id %u of round %d", rules[i], n);
		for (int n = i > 63 ? i - 63 : 0; n < i; n++)
			CHECK_MSG(targets[n] != targets[i], "target id %u of round %d", targets[i],
				  n);
		ps_ruleset_clear(&set);
	}
	ps_state_clear(&in.state);
}

/* Sixty-four targets fill the first chunk; as many others need the second, but
 * no third; a few that come later find their way back. */
static void test_chunks(void **state)
{
	static const struct {
		uint16_t count, base;
		uint32_t chunks;
	} rows[] = {
		{ 1, 1000, 1 },	    { 64, 1000, 1 },	{ 65, 1000, 2 },   { 64, 2000, 2 },
		{ 320, 3000, 3 },   { 1, 3000, 0 },	{ 1344, 5000, 0 }, { 1345, 5000, 4 },
		{ 5440, 10000, 0 }, { 5441, 10000, 5 }, { 2, 60000, 0 },
	};
	struct instance in;

	(void)state;
	start(&in);
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_rule rule = plain_rule(1, rows[i].base, 1);
		struct ps_ruleset set = {};

		ROW("%d from %d", rows[i].count, rows[i].base);
		rule.front = (uint16_t)(rows[i].base >= 30000 ? 1 : 30000);
		rule.front_last = (uint16_t)(rule.front + rows[i].count - 1);
		CHECK_EQ(ps_ruleset_add(&set, &rule, 1, NULL), 0);
		step(&in, &set);
		for (size_t n = 0; rows[i].chunks && n < in.state.target_count; n++)
			CHECK(in.state.targets[n].id >> 20 < rows[i].chunks);
		ps_ruleset_clear(&set);
	}
	ps_state_clear(&in.state);
	/* From nothing, each number of targets in the fewest chunks. */
	for (uint16_t count = 63; count < 1500; count = (uint16_t)(count + 1 + count / 100)) {
		struct ps_rule rule = plain_rule(1, 30000, 1);
		struct ps_ruleset set = {};
		uint32_t high = 0;

		ROW("%d at once", count);
		start(&in);
		rule.front_last = count;
		CHECK_EQ(ps_ruleset_add(&set, &rule, 1, NULL), 0);
		step(&in, &set);
		for (size_t n = 0; n < in.state.target_count; n++)
			high = in.state.targets[n].id >> 20 > high ? in.state.targets[n].id >> 20 :
								     high;
		CHECK_EQ(high, count <= 64 ? 0 : count <= 320 ? 1 : count <= 1344 ? 2 : 3);
		ps_ruleset_clear(&set);
		ps_state_clear(&in.state);
	}
}

/* --- Chains --- */

/* Every target port has the same low bits, and thirty-two owners. */
static void test_long_chains(void **state)
{
	static const uint16_t strides[] = { 1, 64, 256, 1024, 4096, 16384 };

	(void)state;
	for (size_t s = 0; s < PS_ARRAY_SIZE(strides); s++) {
		struct ps_ruleset set = {};
		struct ps_rule *rules = calloc(32 * 60, sizeof(*rules));
		struct instance in;
		uint32_t count = 0;

		ROW("every %d ports", strides[s]);
		start(&in);
		for (uint32_t port = 5120 + strides[s]; port < 65536 && count < 32 * 60;
		     port += strides[s]) {
			for (uint32_t owner = 0; owner < 32; owner++, count++)
				rules[count] =
					plain_rule((uint16_t)(1 + count), (uint16_t)port, owner);
		}
		CHECK_EQ(ps_ruleset_add(&set, rules, count, NULL), 0);
		step(&in, &set);
		step(&in, &set); /* nothing fresh */
		free(rules);
		ps_ruleset_clear(&set);
		ps_state_clear(&in.state);
	}
}

/* --- Random rulesets --- */

/* Owners by number: few enough that no port can have more than it may. */
static void random_owner(struct ps_owner_spec *owner)
{
	static const char *const cgroups[] = {
		"/", "/a", "/a/b", "/a/b/c", "/system.slice/x.service", "/user.slice"
	};

	owner->flags = (uint32_t[]){ PS_OWNER_ANY, PS_OWNER_USER, PS_OWNER_USER, PS_OWNER_CGROUP,
				     PS_OWNER_USER | PS_OWNER_CGROUP }[rnd(5)];
	if (owner->flags & PS_OWNER_USER)
		owner->uid = rnd(3) * 1000;
	if (owner->flags & PS_OWNER_CGROUP)
		owner->cgroup = (char *)cgroups[rnd(6)];
}

static void random_prefix(struct ps_prefix *prefix)
{
	static const struct ps_prefix from[] = {
		{ 4, 0, {} },
		{ 4, 8, { 10 } },
		{ 4, 16, { 10 } },
		{ 4, 16, { 10, 1 } },
		{ 4, 32, { 10, 1, 0, 1 } },
		{ 6, 0, {} },
		{ 6, 8, { 10 } },
		{ 6, 32, { 0x20, 0x01, 0x0d, 0xb8 } },
		{ 6, 128, { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 } },
		{ 6, 127, { 0x20, 0x01, 0x0d, 0xb8 } },
	};

	if (rnd(3) == 0)
		*prefix = from[rnd(PS_ARRAY_SIZE(from))];
}

/* A rule with front ports below `ports` and targets above 30000; its strings are
 * borrowed. */
static struct ps_rule random_rule(uint32_t ports)
{
	uint16_t length = (uint16_t)(rnd(10) ? 0 : rnd(rnd(10) ? 10 : 300));
	struct ps_rule rule = plain_rule((uint16_t)(1 + rnd(ports)), 0, 0);

	rule.front_last = (uint16_t)(rule.front + length);
	rule.target = (uint16_t)(30001 + rnd(rnd(2) ? 50 : 35000));
	rule.if_down = rnd(2) ? PS_DOWN_PASS : PS_DOWN_REFUSE;
	rule.name = (char *)(rnd(3) ? NULL : "label");
	random_owner(&rule.owner);
	random_prefix(&rule.prefix);
	return rule;
}

/* Add about `count` rules: those that fit. */
static void grow(struct ps_ruleset *set, uint32_t count, uint32_t ports)
{
	struct ps_rule *rules = calloc(count + 1, sizeof(*rules));
	bool(*used)[65536] = calloc(11, sizeof(*used));
	uint32_t kept = 0;

	for (uint32_t i = 0; i < 3 * count && kept < count; i++) {
		struct ps_rule rule = random_rule(ports);
		uint32_t which = rule.prefix.family ?
					 1 + (rule.prefix.family + rule.prefix.len * 7u +
					      rule.prefix.addr[1] * 3u) %
							 10 :
					 0;
		bool taken = false;

		/* Prefixes that share a table of used ports only get in less often. */
		for (uint32_t p = rule.front; p <= rule.front_last; p++)
			taken |= used[which][p];
		for (size_t n = 0; n < set->count && !taken; n++)
			taken = ps_rule_overlaps(&set->rules[n], &rule);
		if (taken || rule.target + (rule.front_last - rule.front) > 65535)
			continue;
		for (uint32_t p = rule.front; p <= rule.front_last; p++)
			used[which][p] = true;
		rules[kept++] = rule;
	}
	free(used);
	CHECK_EQ(ps_ruleset_add(set, rules, kept, NULL), 0);
	free(rules);
}

/* Take about one in `of` rules away. */
static void shrink(struct ps_ruleset *set, uint32_t of)
{
	struct ps_rule *keys = calloc(set->count + 1, sizeof(*keys));
	size_t count = 0;

	for (size_t i = 0; i < set->count; i++) {
		if (rnd(of) == 0)
			keys[count++] = set->rules[i];
	}
	CHECK_EQ(ps_ruleset_del(set, keys, count, NULL), 0);
	free(keys);
}

static void run_random(int rounds, uint32_t most, uint32_t ports, int steps)
{
	for (int round = 0; round < rounds; round++) {
		struct ps_ruleset set = {};
		struct instance in;

		start(&in);
		for (int n = 0; n < steps; n++) {
			ROW("up to %" PRIu32 " rules, round %d, step %d", most, round, n);
			if (n)
				shrink(&set, 1 + rnd(4));
			grow(&set, 1 + rnd(most), ports);
			step(&in, &set);
		}
		ps_ruleset_clear(&set);
		ps_state_clear(&in.state);
	}
}

static void test_random_small(void **state)
{
	(void)state;
	unit_seed = 9;
	run_random(40, 6, 20, 8);
	run_random(15, 60, 300, 6);
}

static void test_random_medium(void **state)
{
	(void)state;
	unit_seed = 10;
	run_random(5, 1000, 29000, 4);
}

static void test_random_large(void **state)
{
	struct ps_ruleset set = {};
	struct instance in;

	(void)state;
	unit_seed = 11;
	start(&in);
	ROW("5000 rules");
	grow(&set, 5000, 29000);
	CHECK(set.count > 3000);
	step(&in, &set);
	ROW("a third of them others");
	shrink(&set, 3);
	grow(&set, 1500, 29000);
	step(&in, &set);
	ps_ruleset_clear(&set);
	ps_state_clear(&in.state);
}

/* Every number of front ports around the sizes of tables. */
static void test_table_sizes(void **state)
{
	(void)state;
	unit_seed = 12;
	for (uint32_t count = 1; count < 40000; count += 1 + count / 4) {
		struct ps_rule *rules = calloc(count, sizeof(*rules));
		bool *used = calloc(65536, sizeof(*used));
		struct ps_ruleset set = {};
		struct ps_plan plan = {};
		struct instance in;

		ROW("%" PRIu32 " ports", count);
		start(&in);
		for (uint32_t i = 0; i < count; i++) {
			uint32_t port;

			do {
				port = 1 + rnd(65534);
			} while (used[port]);
			used[port] = true;
			rules[i] = plain_rule((uint16_t)port, 65535, 1);
		}
		CHECK_EQ(ps_ruleset_add(&set, rules, count, NULL), 0);
		CHECK_EQ(ps_plan_build(&set, &in.state, in.word, &plan, NULL), 0);
		check_plan(&plan, &set, &in.state, in.word);
		/* Memory follows use: the four cells of a bucket are used, and not mostly
		 * empty; 16 rules stay in the table that is there from the start. */
		CHECK((4u << PS_WORD_LOG2(plan.word)) <= 16 * count);
		if (count <= 4)
			CHECK_EQ(PS_WORD_LOG2(plan.word), 0);
		if (count <= 16)
			CHECK(PS_WORD_LOG2(plan.word) <= PS_FRONT_SMALL_LOG2);
		CHECK(plan.admit_count <= 64 + 4 * plan.state.target_count);
		ps_plan_clear(&plan);
		ps_ruleset_clear(&set);
		free(rules);
		free(used);
	}
}

/* --- All ports --- */

/* Each port a rule of its own, with one target; then all at once as one range,
 * each with a target of its own. Of 65,535 front ports one leads into another,
 * which ps_ruleset_add would not allow and the layout need not mind. */
static void test_all_ports(void **state)
{
	struct ps_rule *rules = calloc(65535, sizeof(*rules));
	struct ps_ruleset set = { .rules = rules, .count = 65535, .capacity = 65535 };
	struct ps_rule range = plain_rule(1, 1, 1);
	struct ps_plan plan = {};
	struct instance in;

	(void)state;
	start(&in);
	ROW("65535 rules");
	for (uint32_t i = 0; i < 65535; i++)
		rules[i] = plain_rule((uint16_t)(i + 1), 65535, i % 32);
	CHECK_EQ(ps_plan_build(&set, &in.state, in.word, &plan, NULL), 0);
	check_plan(&plan, &set, &in.state, in.word);
	CHECK_EQ(PS_WORD_LOG2(plan.word), PS_MAX_LOG2);
	in.state = plan.state;
	in.word = plan.word;
	plan.state = (struct ps_state){};
	ps_plan_clear(&plan);
	ROW("the same again");
	CHECK_EQ(ps_plan_build(&set, &in.state, in.word, &plan, NULL), 0);
	check_plan(&plan, &set, &in.state, in.word);
	ps_plan_clear(&plan);
	ROW("one range of 65535");
	range.front_last = 65535;
	set = (struct ps_ruleset){ .rules = &range, .count = 1, .capacity = 1 };
	CHECK_EQ(ps_plan_build(&set, &in.state, in.word, &plan, NULL), 0);
	check_plan(&plan, &set, &in.state, in.word);
	ps_plan_clear(&plan);
	ps_state_clear(&in.state);
	free(rules);
}

/* As many pairs of a prefix and a port as there can be. */
static void test_all_prefixes(void **state)
{
	struct ps_rule *rules = calloc(PS_MAX_PREFIXES, sizeof(*rules));
	struct ps_ruleset set = {};
	struct ps_plan plan = {};
	struct instance in;

	(void)state;
	start(&in);
	ROW("prefixes");
	for (uint32_t i = 0; i < PS_MAX_PREFIXES; i++)
		rules[i] = host_rule(0x0a000000 + i, (uint16_t)(1 + i % 1000),
				     (uint16_t)(10000 + i % 777), i % 30);
	CHECK_EQ(ps_ruleset_add(&set, rules, PS_MAX_PREFIXES, NULL), 0);
	CHECK_EQ(ps_plan_build(&set, &in.state, in.word, &plan, NULL), 0);
	check_plan(&plan, &set, &in.state, in.word);
	ps_plan_clear(&plan);
	ps_ruleset_clear(&set);
	free(rules);
}

/* As many different owners as there can be. */
static void test_all_owners(void **state)
{
	struct ps_rule *rules = calloc(PS_MAX_OWNERS, sizeof(*rules));
	struct ps_ruleset set = {};
	struct ps_plan plan = {};
	struct instance in;

	(void)state;
	start(&in);
	ROW("owners");
	for (uint32_t i = 0; i < PS_MAX_OWNERS; i++)
		rules[i] = host_rule(0x0a000000 + i, 80, (uint16_t)(10000 + i / 32), i);
	CHECK_EQ(ps_ruleset_add(&set, rules, PS_MAX_OWNERS, NULL), 0);
	CHECK_EQ(ps_plan_build(&set, &in.state, in.word, &plan, NULL), 0);
	CHECK_EQ(plan.owner_count, PS_MAX_OWNERS);
	check_plan(&plan, &set, &in.state, in.word);
	ps_plan_clear(&plan);
	ps_ruleset_clear(&set);
	free(rules);
}

/* More ids than there are: half of them are still in use by the rules that go. */
static void test_too_many_at_once(void **state)
{
	struct ps_rule *rules = calloc(200000, sizeof(*rules));
	struct ps_ruleset set = { .rules = rules, .count = 200000, .capacity = 200000 };
	struct ps_error error = NO_ERROR;
	struct ps_plan plan, poison;
	struct instance in;

	(void)state;
	start(&in);
	ROW("too many");
	for (uint32_t i = 0; i < 200000; i++)
		rules[i] = host_rule(0x0a000000 + i, 80, 8080, 1);
	memset(&plan, 0, sizeof(plan));
	CHECK_EQ(ps_plan_build(&set, &in.state, in.word, &plan, NULL), 0);
	in.state = plan.state;
	plan.state = (struct ps_state){};
	ps_plan_clear(&plan);
	for (uint32_t i = 0; i < 200000; i++)
		rules[i].if_down = PS_DOWN_PASS;
	memset(&plan, 0xa5, sizeof(plan));
	memset(&poison, 0xa5, sizeof(poison));
	CHECK_EQ(ps_plan_build(&set, &in.state, in.word, &plan, &error), -E2BIG);
	check_error(&error, PS_EXIT_FAILED, NULL);
	CHECK(!memcmp(&plan, &poison, sizeof(plan)));
	/* Less than that goes. */
	memset(&plan, 0, sizeof(plan));
	set.count = 60000;
	CHECK_EQ(ps_plan_build(&set, &in.state, in.word, &plan, &error), 0);
	check_rule_ids(&plan, &in.state);
	ps_plan_clear(&plan);
	ps_state_clear(&in.state);
	free(rules);
}

/* --- Without memory --- */

#if UNIT_CAN_FAIL
struct change {
	struct ps_ruleset *rules;
	struct instance *in;
};

static int build_and_clear(void *data)
{
	struct change *change = data;
	struct ps_error error = NO_ERROR;
	struct ps_plan plan, poison;
	long fail_at;
	int ret;

	memset(&plan, 0xa5, sizeof(plan));
	memset(&poison, 0xa5, sizeof(poison));
	ret = ps_plan_build(change->rules, &change->in->state, change->in->word, &plan, &error);
	fail_at = unit_fail_at;
	unit_fail_at = 0;
	if (ret) {
		CHECK(!memcmp(&plan, &poison, sizeof(plan)));
		check_error(&error, PS_EXIT_FAILED, NULL);
	} else {
		check_plan(&plan, change->rules, &change->in->state, change->in->word);
		ps_plan_clear(&plan);
	}
	unit_fail_at = fail_at;
	return ret;
}

static void test_no_memory(void **state)
{
	struct ps_ruleset set = {};
	struct instance in;
	struct change change = { &set, &in };

	(void)state;
	start(&in);
	ROW("the first rules");
	must_add(&set, "80:8080", "u33 c/a n=web");
	must_add(&set, "81:8080", "c/b");
	step(&in, &set);
	ROW("more");
	must_add(&set, "10.0.0.0/8:1-3:1001-1003", "c/a pass");
	must_add(&set, "443:8080", "c/c n=x");
	fail_each_allocation(build_and_clear, &change);
	ps_ruleset_clear(&set);
	ps_state_clear(&in.state);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_owner_layout),
		cmocka_unit_test(test_shared_targets),
		cmocka_unit_test(test_generation),
		cmocka_unit_test(test_ids_stay),
		cmocka_unit_test(test_ids_reused_late),
		cmocka_unit_test(test_waits_are_few),
		cmocka_unit_test(test_chunks),
		cmocka_unit_test(test_long_chains),
		cmocka_unit_test(test_random_small),
		cmocka_unit_test(test_random_medium),
		cmocka_unit_test(test_random_large),
		cmocka_unit_test(test_table_sizes),
		cmocka_unit_test(test_all_ports),
		cmocka_unit_test(test_all_prefixes),
		cmocka_unit_test(test_all_owners),
		cmocka_unit_test(test_too_many_at_once),
#if UNIT_CAN_FAIL
		cmocka_unit_test(test_no_memory),
#endif
	};

	return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
