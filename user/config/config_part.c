// SPDX-License-Identifier: GPL-2.0-only
/*
 * A configuration of which some sections have a mistake: the rules of the others, and blocks for
 * the front sides that those sections name, so that no broader rule answers for them.
 *
 * A block refuses TCP connections. Where there can be none (for UDP), the rules that would answer
 * instead do not count either. Where it is not known which clients are meant, it is for all of
 * them, and rules for some do not count.
 *
 * A section with a mistake may name more front sides than its author meant, never fewer.
 */
#include "config/config_part.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "rule/conflicts.h"
#include "util/bpf_types.h"
#include "util/util.h"

int ps_config_front(struct ps_config *config, const struct ps_rule *rule, struct ps_place place,
		    bool vague)
{
	size_t room = config->front_room ? 2 * config->front_room : 64;
	struct ps_config_front *front;
	const struct ps_rule block = {
		.prefix = rule->prefix,
		.proto = rule->proto,
		.front = rule->front,
		.front_last = rule->front_last,
		.target = rule->front,
		.mode = rule->scope ? PS_MODE_CONNECT : PS_MODE_STEER,
		.scope = rule->scope,
		.owner = { .flags = PS_OWNER_NOBODY },
		.origin = { config->files[place.file], place.line },
	};

	if (config->front_count == config->front_room) {
		front = reallocarray(config->fronts, room, sizeof(*front));
		if (!front)
			return -ENOMEM;
		config->fronts = front;
		config->front_room = room;
	}
	front = &config->fronts[config->front_count];
	if (ps_rule_copy(&block, &front->rule))
		return -ENOMEM;
	front->place = place;
	front->vague = vague;
	config->front_count++;
	return 0;
}

/* The same side, for all who may be meant. */
static int add_meant(struct ps_config *config, struct ps_rule *side, struct ps_place place,
		     const struct ps_config_meant *meant)
{
	static char all[] = "/";
	int ret = 0;

	side->scope = NULL;
	if (meant->here)
		ret = ps_config_front(config, side, place, false);
	side->scope = meant->scope;
	if (!ret && meant->scope)
		ret = ps_config_front(config, side, place, false);
	side->scope = all;
	if (!ret && meant->vague)
		ret = ps_config_front(config, side, place, true);
	return ret;
}

/* If the side has no protocol it may be any. */
static int add_side(struct ps_config *config, const struct ps_rule *side, struct ps_place place,
		    const struct ps_config_meant *meant)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP };
	int ret = 0;

	for (size_t i = 0; i < PS_ARRAY_SIZE(protos) && !ret; i++) {
		struct ps_rule one = *side;

		one.proto = protos[i];
		if (!side->proto || side->proto == protos[i])
			ret = add_meant(config, &one, place, meant);
	}
	return ret;
}

int ps_config_word(struct ps_config *config, const char *word, struct ps_place place,
		   const struct ps_config_meant *meant)
{
	struct ps_rule side = {};
	int ret = -EINVAL;

	if (!ps_rule_parse(word, &side, NULL) || !ps_rule_parse_grant(word, &side, NULL) ||
	    !ps_rule_parse_front(word, &side))
		return add_side(config, &side, place, meant);
	side = (struct ps_rule){};
	while ((word = ps_rule_next_ports(word, &side.front, &side.front_last))) {
		ret = add_side(config, &side, place, meant);
		if (ret)
			return ret;
	}
	return ret;
}

static bool is_broken(const struct ps_config *config, size_t rule)
{
	return config->broken[config->places[rule].section - 1];
}

/* Move the rules of broken sections to the fronts. */
static int part(struct ps_config *config)
{
	struct ps_rule_list *list = &config->list;
	size_t kept = 0, count = list->count;
	int ret = 0;

	for (size_t i = 0; i < count; i++) {
		if (!ret && is_broken(config, i)) {
			ret = ps_config_front(config, &list->rules[i], config->places[i], false);
			ps_rule_clear(&list->rules[i]);
			continue;
		}
		list->rules[kept] = list->rules[i];
		config->places[kept++] = config->places[i];
	}
	list->count = kept;
	return ret;
}

static bool is_below(const char *path, const char *top)
{
	size_t length = strlen(top);

	return length == 1 ||
	       (!strncmp(path, top, length) && (path[length] == '\0' || path[length] == '/'));
}

/* Can there be a block for it? */
static bool can_block(const struct ps_config_front *front)
{
	return front->rule.proto == IPPROTO_TCP;
}

static bool has_ports_of(const struct ps_rule *a, const struct ps_rule *b)
{
	return a->proto == b->proto && a->front <= b->front_last && b->front <= a->front_last;
}

/* Would the rule answer for the front side, block or not? */
static bool takes_over(const struct ps_rule *rule, const struct ps_config_front *front)
{
	const struct ps_rule *lost = &front->rule;

	if (!ps_prefix_meets(&rule->prefix, &lost->prefix))
		return false;
	/* A client in an unknown cgroup may have a rule for its own, or for one around it. */
	if (front->vague && rule->scope)
		return true;
	if (can_block(front))
		return false;
	/* A client for which no rule is left meets who has the port. */
	return !rule->scope || (lost->scope && is_below(lost->scope, rule->scope));
}

/* What is wrong with a rule beside a broken section's front side? NULL: nothing. */
static const char *fault_of(const struct ps_rule *rule, const struct ps_place *place,
			    const struct ps_config_front *front)
{
	if (!has_ports_of(rule, &front->rule))
		return NULL;
	if (takes_over(rule, front))
		return "would answer for";
	if (!can_block(front))
		return NULL;
	/* Of two rules for the same, the later is the mistake. */
	return ps_rule_overlaps(rule, &front->rule) && ps_place_compare(&front->place, place) < 0 ?
		       "overlaps" :
		       NULL;
}

static int refuse(struct ps_config *config, size_t rule, const char *fault,
		  const struct ps_config_front *front)
{
	char text[PS_RULE_TEXT], other[PS_RULE_TEXT];
	struct ps_error error;

	ps_rule_format(&config->list.rules[rule], text);
	ps_rule_format(&front->rule, other);
	ps_fail(&error, PS_EXIT_FAILED, EEXIST,
		"rule %s %s %s of a section that has a mistake, at %.300s:%u; correct that one",
		text, fault, other, config->files[front->place.file], front->place.line);
	return ps_config_mistake(config, config->places[rule], &error);
}

/* Which ports the fronts name, for each protocol. */
enum { PORTS = 65536 };
static void mark_fronts(const struct ps_config *config, unsigned char *named)
{
	memset(named, 0, 2 * (size_t)PORTS);
	for (size_t i = 0; i < config->front_count; i++) {
		const struct ps_rule *rule = &config->fronts[i].rule;

		memset(named + (rule->proto == IPPROTO_UDP ? PORTS : 0) + rule->front, 1,
		       (size_t)(rule->front_last - rule->front) + 1);
	}
}

/* The front side that the rule must not be beside, or NULL. */
static const struct ps_config_front *find_fault(const struct ps_config *config, size_t rule,
						const unsigned char *named, const char **fault)
{
	const struct ps_rule *r = &config->list.rules[rule];

	if (!memchr(named + (r->proto == IPPROTO_UDP ? PORTS : 0) + r->front, 1,
		    (size_t)(r->front_last - r->front) + 1))
		return NULL;
	for (size_t i = 0; i < config->front_count; i++) {
		*fault = fault_of(r, &config->places[rule], &config->fronts[i]);
		if (*fault)
			return &config->fronts[i];
	}
	return NULL;
}

/* Find sections that cannot be in force beside those that have a mistake: 1 if there are. */
static int find_faults(struct ps_config *config, unsigned char *named)
{
	int found = 0;

	mark_fronts(config, named);
	for (size_t i = 0; i < config->list.count; i++) {
		const struct ps_config_front *front;
		const char *fault;

		/* One mistake for each section will do. */
		front = is_broken(config, i) ? NULL : find_fault(config, i, named, &fault);
		if (!front)
			continue;
		if (refuse(config, i, fault, front))
			return -ENOMEM;
		found = 1;
	}
	return found;
}

/* Which ports of the block does a rule have already, for the very same side? */
static void take_ports(const struct ps_rule *block, const struct ps_rule *rule,
		       unsigned char *taken)
{
	uint16_t first = rule->front > block->front ? rule->front : block->front;
	uint16_t last = rule->front_last < block->front_last ? rule->front_last : block->front_last;

	if (ps_rule_overlaps(block, rule))
		memset(taken + first, 1, (size_t)(last - first) + 1);
}

/* Add a block for each run of ports that no rule of the set has. */
static int add_block(const struct ps_rule *block, struct ps_ruleset *set, unsigned char *taken)
{
	uint32_t first = block->front, end;
	int ret = 0;

	memset(taken + block->front, 0, (size_t)(block->front_last - block->front) + 1);
	for (size_t i = 0; i < set->count; i++)
		take_ports(block, &set->rules[i], taken);
	for (; first <= block->front_last && !ret; first = end) {
		struct ps_rule piece = *block;

		for (end = first; end <= block->front_last && !taken[end];)
			end++;
		piece.front = piece.target = (uint16_t)first;
		piece.front_last = (uint16_t)(end - 1);
		if (end > first)
			ret = ps_ruleset_append(set, &piece);
		else
			end++;
	}
	return ret;
}

/* All of the fronts that can be blocked, behind the rules that are there already. */
static int add_blocks(const struct ps_config *config, struct ps_ruleset *set, unsigned char *taken)
{
	int ret = 0;

	for (size_t i = 0; i < config->front_count && !ret; i++) {
		if (can_block(&config->fronts[i]))
			ret = add_block(&config->fronts[i].rule, set, taken);
		if (set->count > PS_MAX_RULES)
			return -E2BIG;
	}
	return ret;
}

int ps_config_part(struct ps_config *config, struct ps_ruleset *rules)
{
	_cleanup_free_ unsigned char *ports = malloc(2 * (size_t)PORTS);
	const struct ps_ruleset none = {};
	struct ps_ruleset set;
	int ret;

	if (!ports)
		return -ENOMEM;
	do {
		ret = part(config);
		if (!ret)
			ret = find_faults(config, ports);
	} while (ret > 0);
	if (ret)
		return ret;
	set = (struct ps_ruleset){ config->list.rules, config->list.count, config->list.room };
	config->list.rules = NULL;
	config->list.count = config->list.room = 0;
	ret = add_blocks(config, &set, ports);
	if (!ret)
		ret = ps_conflicts_check(&none, set.rules, set.count, NULL, NULL);
	if (ret) {
		ps_ruleset_clear(&set);
		return ret == -ENOMEM ? ret : -E2BIG;
	}
	ps_ruleset_take(rules, set.rules, set.count);
	return 0;
}
