// SPDX-License-Identifier: GPL-2.0-only
#include "compile/ids.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/bpf_types.h"
#include "util/util.h"

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

/* Equal rules keep their ids, which are marked. How many there have to be, if not for new ones. */
static uint32_t keep_rule_ids(const struct ps_ruleset *old, struct ps_ruleset *new,
			      unsigned char *kept, uint32_t *fresh)
{
	uint32_t need = 0;
	size_t j = 0;

	for (size_t i = 0; i < old->count; i++) {
		const struct ps_rule *rule = &old->rules[i];

		need = rule->id >= need ? rule->id + 1 : need;
		while (j < new->count && ps_rule_compare(&new->rules[j], rule) < 0)
			j++;
		if (j < new->count && ps_rule_equal(&new->rules[j], rule)) {
			new->rules[j].id = rule->id;
			kept[j] = 1;
			--*fresh;
		}
	}
	return need;
}

/* New rules avoid the ids of removed ones too: these go on counting until the ruleset is
 * replaced. */
int ps_ids_rules(struct ps_state *state, const struct ps_state *before, uint32_t *rule_ids,
		 struct ps_error *error)
{
	const struct ps_ruleset *old = &before->rules;
	struct ps_ruleset *new = &state->rules;
	_cleanup_free_ unsigned char *kept = calloc(new->count + 1, 1);
	struct ids ids = { .cursor = before->rule_cursor };
	uint32_t fresh = (uint32_t) new->count, need;

	if (!kept)
		return -ENOMEM;
	need = keep_rule_ids(old, new, kept, &fresh);
	ids.room = (uint32_t)old->count + fresh;
	ids.room = rule_room(ids.room > need ? ids.room : need);
	if (ids.room > PS_HITS_SMALL + PS_HITS_CHUNK * PS_HITS_CHUNKS)
		return too_many(error, "rules");
	_cleanup_free_ unsigned char *taken = calloc(ids.room, 1);

	ids.taken = taken;
	if (!taken)
		return -ENOMEM;
	*rule_ids = 0;
	for (size_t i = 0; i < old->count; i++)
		taken[old->rules[i].id] = 1;
	for (size_t j = 0; j < new->count; j++) {
		if (!kept[j])
			new->rules[j].id = next_id(&ids);
		if (new->rules[j].id >= *rule_ids)
			*rule_ids = new->rules[j].id + 1;
	}
	state->rule_cursor = ids.cursor;
	return 0;
}

/* The targets in order, each with its id if the state before had it. */
static int list_targets(struct ps_state *state, const struct ps_targets *targets,
			const struct ps_state *before)
{
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
static int retire_targets(struct ps_state *state, const struct ps_state *before, bool wait)
{
	size_t kept = wait ? 0 : before->retired_count, at = 0;

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
static uint32_t count_targets(const struct ps_state *state, const struct ps_state *before)
{
	uint32_t need = 0, total = (uint32_t)before->target_count;

	for (size_t i = 0; i < before->target_count; i++) {
		uint32_t linear = ps_target_linear(before->targets[i].id);

		need = linear >= need ? linear + 1 : need;
	}
	for (size_t i = 0; i < state->target_count; i++)
		total += state->targets[i].fresh;
	return total > need ? total : need;
}

/* Mark what may not be given out. Where no more are left, retired ids may: true. */
static bool take_ids(struct ids *ids, const struct ps_state *state, const struct ps_state *before)
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
	for (size_t i = 0; i < state->target_count; i++) {
		if (state->targets[i].fresh)
			fresh++;
	}
	if (fresh <= left)
		return false;
	memset(ids->taken, 0, ids->room);
	for (size_t i = 0; i < before->target_count; i++)
		ids->taken[ps_target_linear(before->targets[i].id)] = 1;
	return true;
}

int ps_ids_targets(struct ps_state *state, const struct ps_targets *targets,
		   const struct ps_state *before, uint32_t *chunks, bool *wait,
		   struct ps_error *error)
{
	struct ids ids = { .cursor = before->target_cursor };

	if (list_targets(state, targets, before))
		return -ENOMEM;
	ids.room = target_room(count_targets(state, before));
	if (!ids.room)
		return too_many(error, "target ports");
	_cleanup_free_ unsigned char *taken = calloc(ids.room, 1);

	ids.taken = taken;
	if (!taken)
		return -ENOMEM;
	*wait = take_ids(&ids, state, before);
	*chunks = 0;
	for (size_t i = 0; i < state->target_count; i++) {
		struct ps_target *t = &state->targets[i];

		if (t->fresh)
			t->id = target_of(next_id(&ids));
		if (PS_TARGET_CHUNK_OF(t->id) >= *chunks)
			*chunks = PS_TARGET_CHUNK_OF(t->id) + 1;
	}
	state->target_cursor = ids.cursor;
	return retire_targets(state, before, *wait);
}
