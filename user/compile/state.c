// SPDX-License-Identifier: GPL-2.0-only
/*
 * The saved form of a ruleset, which every version reads (portsteer upgrade). It lives as long
 * as the kernel it was written on, so numbers are in this machine's order.
 *
 *   header | rules | targets | retired ids | strings
 *
 * The header says how large it and each record is. A version that adds a field adds it at the
 * end of a record, so that 0 means what was meant before there was such a field: a shorter
 * record is filled with 0, and of a longer one all that is not known must be 0. Ids mean
 * something to builds of the same layout only.
 *
 * Strings are offsets into the last part, which begins and ends with a NUL; 0 is
 * "none". Equal cgroup paths of neighbours are stored once.
 */
#include "compile/state.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "rule/targets.h"
#include "util/bpf_types.h"
#include "util/util.h"

#define MAGIC 0x52545350u /* "PSTR" */
enum { MAX_TARGETS = 1 << 21 };

struct saved_header {
	uint32_t magic;
	uint32_t header_size, rule_size, target_size; /* bytes */
	uint32_t rules, targets, retired, strings; /* counts, and bytes of strings */
	uint32_t generation, rule_cursor, target_cursor;
#ifdef PS_OTHER_LAYOUT
	uint32_t later;
#endif
};

struct saved_owner {
	uint32_t flags, uid, cgroup;
};

struct saved_rule {
	uint8_t family, len, proto, mode, if_down, reserved;
	uint16_t front, front_last, target;
	uint8_t addr[16];
	struct saved_owner owner;
	uint32_t name, id;
	uint32_t scope;
	uint8_t to_family, reserved2[3];
	uint8_t to[16];
	uint32_t origin, line; /* of the file that has it; 0: by hand */
#ifdef PS_OTHER_LAYOUT
	uint32_t later;
#endif
};

struct saved_target {
	uint16_t port, reserved;
	uint32_t id;
	struct saved_owner owner;
};

#ifndef PS_OTHER_LAYOUT
_Static_assert(sizeof(struct saved_header) == 44, "saved form");
_Static_assert(sizeof(struct saved_rule) == 80, "saved form");
#endif
_Static_assert(sizeof(struct saved_target) == 20, "saved form");
enum { MAX_RECORD = 4096 };

/* Strings that are being written. */
struct strings {
	char *bytes;
	size_t used, size;
	const char *last; /* the owner's cgroup written last, and where */
	uint32_t last_at;
	const char *last_scope; /* the same of scopes */
	uint32_t last_scope_at;
	const char *last_file; /* and of origins */
	uint32_t last_file_at;
};

static uint32_t put(struct strings *s, const char *text)
{
	uint32_t at = (uint32_t)s->used;

	if (!text)
		return 0;
	memcpy(s->bytes + s->used, text, strlen(text) + 1);
	s->used += strlen(text) + 1;
	return at;
}

static struct saved_owner put_owner(struct strings *s, const struct ps_owner_spec *owner)
{
	struct saved_owner saved = { .flags = owner->flags, .uid = owner->uid };

	if (owner->cgroup && (!s->last || strcmp(s->last, owner->cgroup))) {
		s->last_at = put(s, owner->cgroup);
		s->last = owner->cgroup;
	}
	saved.cgroup = owner->cgroup ? s->last_at : 0;
	return saved;
}

static uint32_t put_scope(struct strings *s, const char *scope)
{
	if (scope && (!s->last_scope || strcmp(s->last_scope, scope))) {
		s->last_scope_at = put(s, scope);
		s->last_scope = scope;
	}
	return scope ? s->last_scope_at : 0;
}

static uint32_t put_file(struct strings *s, const char *file)
{
	if (file && (!s->last_file || strcmp(s->last_file, file))) {
		s->last_file_at = put(s, file);
		s->last_file = file;
	}
	return file ? s->last_file_at : 0;
}

/* Bytes that the strings take at most. */
static size_t strings_size(const struct ps_state *state)
{
	size_t size = 2;

	for (size_t i = 0; i < state->rules.count; i++) {
		const struct ps_rule *rule = &state->rules.rules[i];

		size += rule->name ? strlen(rule->name) + 1 : 0;
		size += rule->owner.cgroup ? strlen(rule->owner.cgroup) + 1 : 0;
		size += rule->scope ? strlen(rule->scope) + 1 : 0;
		size += rule->origin.file ? strlen(rule->origin.file) + 1 : 0;
	}
	for (size_t i = 0; i < state->target_count; i++) {
		const char *cgroup = state->targets[i].owner.cgroup;

		size += cgroup ? strlen(cgroup) + 1 : 0;
	}
	return size;
}

static void put_rule(struct saved_rule *to, const struct ps_rule *from, struct strings *s)
{
	*to = (struct saved_rule){
		.family = from->prefix.family,
		.len = from->prefix.len,
		.proto = from->proto,
		.mode = (uint8_t)from->mode,
		.if_down = (uint8_t)from->if_down,
		.front = from->front,
		.front_last = from->front_last,
		.target = from->target,
		.owner = put_owner(s, &from->owner),
		.name = put(s, from->name),
		.id = from->id,
		.scope = put_scope(s, from->scope),
		.to_family = from->to.family,
		.origin = put_file(s, from->origin.file),
		.line = from->origin.line,
	};
	memcpy(to->to, from->to.addr, sizeof(to->to));
	memcpy(to->addr, from->prefix.addr, sizeof(to->addr));
}

int ps_state_encode(const struct ps_state *state, void **data, size_t *size)
{
	size_t fixed = sizeof(struct saved_header) +
		       state->rules.count * sizeof(struct saved_rule) +
		       state->target_count * sizeof(struct saved_target) +
		       state->retired_count * sizeof(uint32_t);
	struct strings s = { .used = 1, .size = strings_size(state) };
	struct saved_header *header;
	struct saved_rule *rules;
	struct saved_target *targets;
	uint32_t *retired;

	if (state->rules.count > PS_MAX_RULES || state->target_count > MAX_TARGETS ||
	    state->retired_count > MAX_TARGETS || s.size > UINT32_MAX)
		return -E2BIG;
	header = calloc(1, fixed + s.size);
	if (!header)
		return -ENOMEM;
	rules = (struct saved_rule *)(header + 1);
	targets = (struct saved_target *)(rules + state->rules.count);
	retired = (uint32_t *)(targets + state->target_count);
	s.bytes = (char *)(retired + state->retired_count);
	for (size_t i = 0; i < state->rules.count; i++)
		put_rule(&rules[i], &state->rules.rules[i], &s);
	for (size_t i = 0; i < state->target_count; i++)
		targets[i] = (struct saved_target){
			.port = state->targets[i].port,
			.id = state->targets[i].id,
			.owner = put_owner(&s, &state->targets[i].owner),
		};
	for (size_t i = 0; i < state->retired_count; i++)
		retired[i] = state->retired[i];
	*header = (struct saved_header){
		.magic = MAGIC,
		.header_size = sizeof(*header),
		.rule_size = sizeof(*rules),
		.target_size = sizeof(*targets),
		.rules = (uint32_t)state->rules.count,
		.targets = (uint32_t)state->target_count,
		.retired = (uint32_t)state->retired_count,
		.strings = (uint32_t)s.used,
		.generation = state->generation,
		.rule_cursor = state->rule_cursor,
		.target_cursor = state->target_cursor,
	};
	*size = fixed + s.used;
	*data = header;
	return 0;
}

/* What is being read, all parts checked to be inside. */
struct saved {
	struct saved_header header;
	const char *rules, *targets, *retired, *strings;
};

/* Read a record of `size` bytes into one of `known`. -ENOTSUP if it says something in a field
 * that is not known here. */
static int take_record(void *to, size_t known, const char *from, size_t size)
{
	memset(to, 0, known);
	memcpy(to, from, size < known ? size : known);
	for (size_t i = known; i < size; i++) {
		if (from[i])
			return -ENOTSUP;
	}
	return 0;
}

static bool is_size(uint32_t size)
{
	return size && size <= MAX_RECORD && size % sizeof(uint32_t) == 0;
}

/* Are the sizes and counts possible, and do they add up? */
static bool adds_up(const struct saved_header *h, size_t size)
{
	return is_size(h->rule_size) && is_size(h->target_size) && h->rules <= PS_MAX_RULES &&
	       h->targets <= MAX_TARGETS && h->retired <= MAX_TARGETS && h->strings &&
	       h->header_size + (uint64_t)h->rules * h->rule_size +
			       (uint64_t)h->targets * h->target_size +
			       (uint64_t)h->retired * sizeof(uint32_t) + h->strings ==
		       size;
}

static int take_apart(const void *data, size_t size, struct saved *saved)
{
	struct saved_header *h = &saved->header;
	uint32_t begin[2]; /* magic, header_size */
	int ret;

	if (size < sizeof(begin))
		return -EBADMSG;
	memcpy(begin, data, sizeof(begin));
	if (begin[0] != MAGIC || !is_size(begin[1]) || begin[1] > size)
		return -EBADMSG;
	ret = take_record(h, sizeof(*h), data, begin[1]);
	if (ret || !adds_up(h, size))
		return ret ? ret : -EBADMSG;
	saved->rules = (const char *)data + h->header_size;
	saved->targets = saved->rules + (size_t)h->rules * h->rule_size;
	saved->retired = saved->targets + (size_t)h->targets * h->target_size;
	saved->strings = saved->retired + h->retired * sizeof(uint32_t);
	return saved->strings[0] || saved->strings[h->strings - 1] ? -EBADMSG : 0;
}

static int take_string(const struct saved *saved, uint32_t at, char **text)
{
	*text = NULL;
	if (!at)
		return 0;
	/* Nothing that is there is empty. */
	if (at >= saved->header.strings || !saved->strings[at])
		return -EBADMSG;
	*text = strdup(saved->strings + at);
	return *text ? 0 : -ENOMEM;
}

/* Is the path in the form in which rules have it? */
static int check_cgroup(const char *cgroup)
{
	_cleanup_free_ char *normal = NULL;
	int ret = ps_cgroup_normalise(cgroup, &normal, NULL);

	if (ret == -ENOMEM)
		return ret;
	return ret || strcmp(normal, cgroup) ? -EBADMSG : 0;
}

static int take_owner(const struct saved *saved, const struct saved_owner *from,
		      struct ps_owner_spec *to)
{
	int ret;

	if (from->flags &
		    ~(uint32_t)(PS_OWNER_USER | PS_OWNER_CGROUP | PS_OWNER_ANY | PS_OWNER_NOBODY) ||
	    (from->flags & PS_OWNER_NOBODY && from->flags != PS_OWNER_NOBODY) ||
	    !(from->flags & PS_OWNER_CGROUP) != !from->cgroup)
		return -EBADMSG;
	to->flags = from->flags;
	to->uid = from->uid;
	ret = take_string(saved, from->cgroup, &to->cgroup);
	return !ret && to->cgroup ? check_cgroup(to->cgroup) : ret;
}

static bool is_valid(const struct saved_rule *r)
{
	uint8_t most = r->family == 4 ? 32 : r->family == 6 ? 128 : 0;

	return (!r->family || r->family == 4 || r->family == 6) && r->len <= most &&
	       (r->proto == IPPROTO_TCP || r->proto == IPPROTO_UDP) && r->front && r->target &&
	       r->front_last >= r->front && r->target + (r->front_last - r->front) <= UINT16_MAX &&
	       r->mode <= PS_MODE_CONNECT && r->if_down <= PS_DOWN_PASS &&
	       (!r->to_family || r->to_family == 4 || r->to_family == 6) &&
	       !r->scope == (r->mode != PS_MODE_CONNECT) && (r->origin || !r->line) &&
	       r->id < PS_HITS_SMALL + PS_HITS_CHUNK * PS_HITS_CHUNKS;
}

static int take_rule(const struct saved *saved, size_t i, struct ps_rule *to)
{
	struct saved_rule from;
	int ret;

	ret = take_record(&from, sizeof(from), saved->rules + i * saved->header.rule_size,
			  saved->header.rule_size);
	if (ret || !is_valid(&from))
		return ret ? ret : -EBADMSG;
	to->prefix.family = from.family;
	to->prefix.len = from.len;
	memcpy(to->prefix.addr, from.addr, sizeof(from.addr));
	to->proto = from.proto;
	to->mode = (enum ps_mode)from.mode;
	to->if_down = (enum ps_if_down)from.if_down;
	to->front = from.front;
	to->front_last = from.front_last;
	to->target = from.target;
	to->id = from.id;
	to->to.family = from.to_family;
	memcpy(to->to.addr, from.to, sizeof(from.to));
	ret = take_owner(saved, &from.owner, &to->owner);
	if (!ret)
		ret = take_string(saved, from.name, &to->name);
	if (!ret)
		ret = take_string(saved, from.scope, &to->scope);
	if (!ret && to->scope)
		ret = check_cgroup(to->scope);
	to->origin.line = from.line;
	if (!ret)
		ret = take_string(saved, from.origin, &to->origin.file);
	return !ret && to->name && ps_name_check(to->name, NULL) ? -EBADMSG : ret;
}

static bool is_target_id(uint32_t id)
{
	uint32_t chunk = PS_TARGET_CHUNK_OF(id);

	return chunk < PS_TARGET_CHUNKS && PS_TARGET_INDEX_OF(id) < PS_TARGET_CHUNK(chunk);
}

static int take_retired(const struct saved *saved, size_t i, uint32_t *id)
{
	memcpy(id, saved->retired + i * sizeof(*id), sizeof(*id));
	return is_target_id(*id) ? 0 : -EBADMSG;
}

static int take_target(const struct saved *saved, size_t i, struct ps_target *to)
{
	struct saved_target from;
	int ret = take_record(&from, sizeof(from), saved->targets + i * saved->header.target_size,
			      saved->header.target_size);

	if (ret)
		return ret;
	if (!from.port || !is_target_id(from.id))
		return -EBADMSG;
	to->port = from.port;
	to->id = from.id;
	return take_owner(saved, &from.owner, &to->owner);
}

static int take_all(const struct saved *saved, struct ps_state *state)
{
	const struct saved_header *h = &saved->header;
	int ret = 0;

	state->rules.rules = calloc(h->rules + 1, sizeof(*state->rules.rules));
	state->targets = calloc(h->targets + 1, sizeof(*state->targets));
	state->retired = calloc(h->retired + 1, sizeof(*state->retired));
	if (!state->rules.rules || !state->targets || !state->retired)
		return -ENOMEM;
	state->rules.capacity = h->rules + 1;
	/* Counted before it is read, so that what a failure leaves is freed. */
	while (!ret && state->rules.count < h->rules) {
		size_t i = state->rules.count++;

		ret = take_rule(saved, i, &state->rules.rules[i]);
		/* Everything that reads a ruleset relies on its order. */
		if (!ret && i &&
		    ps_rule_compare(&state->rules.rules[i - 1], &state->rules.rules[i]) >= 0)
			ret = -EBADMSG;
	}
	while (!ret && state->target_count < h->targets) {
		size_t i = state->target_count++;

		ret = take_target(saved, i, &state->targets[i]);
		if (!ret && i && ps_target_compare(&state->targets[i - 1], &state->targets[i]) >= 0)
			ret = -EBADMSG;
	}
	while (!ret && state->retired_count < h->retired) {
		size_t i = state->retired_count++;

		ret = take_retired(saved, i, &state->retired[i]);
	}
	state->generation = h->generation;
	state->rule_cursor = h->rule_cursor;
	state->target_cursor = h->target_cursor;
	return ret;
}

int ps_state_decode(const void *data, size_t size, struct ps_state *state)
{
	struct ps_state read = {};
	struct saved saved;
	int ret = take_apart(data, size, &saved);

	if (!ret)
		ret = take_all(&saved, &read);
	if (ret)
		ps_state_clear(&read);
	else
		*state = read;
	return ret;
}

void ps_state_clear(struct ps_state *state)
{
	ps_ruleset_clear(&state->rules);
	for (size_t i = 0; i < state->target_count; i++)
		free(state->targets[i].owner.cgroup);
	free(state->targets);
	free(state->retired);
	*state = (struct ps_state){};
}

int ps_target_compare(const struct ps_target *a, const struct ps_target *b)
{
	if (a->port != b->port)
		return a->port < b->port ? -1 : 1;
	return ps_owner_compare(&a->owner, &b->owner);
}

static int compare_targets(const void *a, const void *b)
{
	return ps_target_compare(a, b);
}

const struct ps_target *ps_state_target(const struct ps_state *state, uint16_t port,
					const struct ps_owner_spec *owner)
{
	const struct ps_target key = { .port = port, .owner = *owner };

	return state->target_count ? bsearch(&key, state->targets, state->target_count, sizeof(key),
					     compare_targets) :
				     NULL;
}
