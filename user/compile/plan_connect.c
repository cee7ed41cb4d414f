// SPDX-License-Identifier: GPL-2.0-only
#include "compile/plan_connect.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "compile/chains.h"
#include "compile/ids.h"
#include "util/util.h"

static bool is_connect(const struct ps_rule *rule)
{
	return rule->mode == PS_MODE_CONNECT;
}

static uint32_t ports_of(const struct ps_rule *rule)
{
	return (uint32_t)(rule->front_last - rule->front) + 1;
}

static void set_bit(uint32_t filter[65536 / 32], uint32_t port)
{
	filter[port / 32] |= 1u << (port & 31);
}

void ps_connect_ports(const struct ps_rule *rule, uint32_t filter[65536 / 32])
{
	if (!ps_rule_turns_clients(rule))
		return;
	for (uint32_t n = 0; n < ports_of(rule); n++) {
		set_bit(filter, rule->front + n);
		if (ps_rule_is_fixed(rule))
			set_bit(filter, rule->target + n);
	}
}

void ps_flow_ports(const struct ps_rule *rule, uint32_t filter[65536 / 32])
{
	for (uint32_t n = 0; ps_rule_has_flows(rule) && n < ports_of(rule); n++)
		set_bit(filter, rule->front + n);
}

/* --- scopes --- */

/* A path of the scopes, with its number. */
struct place {
	const char *path;
	uint32_t owner; /* its index in the owners */
};

/* As strcmp, but a '/' comes before all else: what is below a path follows it at once. */
static int compare_paths(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (*a == '/' ? 1 : (unsigned char)*a) - (*b == '/' ? 1 : (unsigned char)*b);
}

static int compare_places(const void *left, const void *right)
{
	const struct place *a = left, *b = right;

	return compare_paths(a->path, b->path);
}

static bool contains(const char *above, const char *path)
{
	size_t len = strlen(above);

	return !strcmp(above, "/") || (!strncmp(above, path, len) && path[len] == '/');
}

static uint32_t hash_path(const char *path)
{
	uint32_t hash = PS_SCOPE_SEED;

	while (*(path += strspn(path, "/"))) {
		for (size_t size = strcspn(path, "/"); size; size--)
			hash = PS_SCOPE_HASH(hash, *path++);
		hash = PS_SCOPE_HASH(hash, 0);
	}
	return hash;
}

/* The distinct scopes in order; *count of them. */
static int list_places(const struct ps_ruleset *rules, const struct ps_targets *targets,
		       struct place **result, size_t *count)
{
	struct place *places = calloc(rules->count + 1, sizeof(*places));
	size_t used = 0, kept = 0;

	if (!places)
		return -ENOMEM;
	for (size_t i = 0; i < rules->count; i++) {
		if (is_connect(&rules->rules[i]))
			places[used++] =
				(struct place){ rules->rules[i].scope, targets->scope_of[i] };
	}
	qsort(places, used, sizeof(*places), compare_places);
	for (size_t i = 0; i < used; i++) {
		if (!kept || places[i].owner != places[kept - 1].owner)
			places[kept++] = places[i];
	}
	*result = places;
	*count = kept;
	return 0;
}

/* The number of the scope that contains that of places[i], 0 if there is none. What contains it
 * comes before it: the one before, or what contains that. */
static uint32_t parent_of(const struct place *places, size_t i, const struct ps_scope *scopes,
			  uint32_t heads)
{
	size_t above = i;

	while (above && !contains(places[above - 1].path, places[i].path)) {
		uint32_t parent = scopes[heads + above - 1].parent;

		above = parent ? parent - heads + 1 : 0;
	}
	return above ? (uint32_t)(heads + above - 1) : 0;
}

static int lay_scopes(const struct place *places, size_t count, uint32_t *numbers,
		      struct ps_scope **scopes, size_t *total)
{
	static const struct ps_chain_form form = PS_CHAIN_FORM(struct ps_scope, owner);
	_cleanup_free_ uint32_t *hashes = calloc(count + 1, sizeof(*hashes));
	_cleanup_free_ struct ps_scope *records = calloc(count + 1, sizeof(*records));
	uint32_t heads;

	if (!hashes || !records)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		hashes[i] = hash_path(places[i].path);
		records[i] = (struct ps_scope){ .hash = hashes[i], .owner = places[i].owner };
	}
	if (ps_chains_build(&form, hashes, records, count, (void **)scopes, total))
		return -ENOMEM;
	heads = (uint32_t)(*total - count);
	for (size_t i = 0; i < count; i++) {
		numbers[places[i].owner] = (uint32_t)(heads + i);
		(*scopes)[heads + i].parent = parent_of(places, i, *scopes, heads);
	}
	return 0;
}

int ps_plan_scopes(const struct ps_ruleset *rules, const struct ps_targets *targets,
		   uint32_t *numbers, struct ps_scope **scopes, size_t *total)
{
	_cleanup_free_ struct place *places = NULL;
	size_t count;
	int ret = list_places(rules, targets, &places, &count);

	return ret ? ret : lay_scopes(places, count, numbers, scopes, total);
}

/* --- hops --- */

static int compare_hops(const void *left, const void *right)
{
	const struct ps_hop *a = left, *b = right;

	if (a->length != b->length)
		return a->length > b->length ? 1 : -1;
	return !(a->flags & PS_HOP_LOOPBACK) - !(b->flags & PS_HOP_LOOPBACK);
}

static struct ps_hop hop_of(const struct ps_state *state, const struct ps_rule *rule,
			    const struct ps_prefix *prefix, uint32_t scope, uint32_t n)
{
	struct ps_hop hop = {
		.scope = scope,
		.port = (uint16_t)(rule->front + n),
		.target = (uint16_t)(rule->target + n),
		.protocol = rule->proto,
		.family = prefix->family,
		.length = prefix->len,
		.rule = ps_rule_events(rule->id),
	};
	const struct ps_target *target;

	hop.flags = (__u8)((rule->if_down == PS_DOWN_PASS ? PS_HOP_PASS : 0) |
			   (ps_rule_is_fixed(rule) ? PS_HOP_FIXED : 0) |
			   (rule->to.family ? PS_HOP_TO : 0) |
			   (rule->prefix.family ? 0 : PS_HOP_LOOPBACK));
	memcpy(hop.addr, prefix->addr, sizeof(hop.addr));
	memcpy(hop.to, rule->to.addr, sizeof(hop.to));
	target = ps_rule_has_targets(rule) ? ps_state_target(state, hop.target, &rule->owner) :
					     NULL;
	if (target)
		hop.listeners = target->id;
	return hop;
}

/* All records, in the order in which they go into their chains. */
static int draft_hops(const struct ps_state *state, const struct ps_targets *targets,
		      const uint32_t *numbers, struct ps_hop **result, size_t *count)
{
	const struct ps_ruleset *rules = &state->rules;
	struct ps_prefix prefixes[2];
	size_t room = 1, used = 0;
	struct ps_hop *drafts;

	for (size_t i = 0; i < rules->count; i++)
		room += is_connect(&rules->rules[i]) ? 2 * (size_t)ports_of(&rules->rules[i]) : 0;
	drafts = calloc(room, sizeof(*drafts));
	if (!drafts)
		return -ENOMEM;
	for (size_t i = 0; i < rules->count; i++) {
		const struct ps_rule *rule = &rules->rules[i];
		size_t families = is_connect(rule) ? ps_rule_prefixes(rule, prefixes) : 0;

		for (size_t f = 0; f < families; f++) {
			for (uint32_t n = 0; n < ports_of(rule); n++)
				drafts[used++] = hop_of(state, rule, &prefixes[f],
							numbers[targets->scope_of[i]], n);
		}
	}
	/* Chains are built from their ends: the longest prefix goes in last. */
	qsort(drafts, used, sizeof(*drafts), compare_hops);
	*result = drafts;
	*count = used;
	return 0;
}

int ps_plan_hops(const struct ps_state *state, const struct ps_targets *targets,
		 const uint32_t *numbers, struct ps_hop **hops, size_t *total)
{
	static const struct ps_chain_form form = PS_CHAIN_FORM(struct ps_hop, scope);
	_cleanup_free_ struct ps_hop *drafts = NULL;
	_cleanup_free_ uint32_t *hashes = NULL;
	size_t count;
	int ret = draft_hops(state, targets, numbers, &drafts, &count);

	if (ret)
		return ret;
	hashes = calloc(count + 1, sizeof(*hashes));
	if (!hashes)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		hashes[i] = PS_HOP_HASH(drafts[i].scope, drafts[i].port);
	return ps_chains_build(&form, hashes, drafts, count, (void **)hops, total);
}
