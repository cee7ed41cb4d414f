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

#include "config/fronts.h"
#include "config/sides.h"
#include "rule/conflicts.h"
#include "util/bpf_types.h"
#include "util/util.h"

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

/* Can there be a block for it? */
static bool can_block(const struct ps_rule *front)
{
	return front->proto == IPPROTO_TCP;
}

static int compare_fronts(const void *left, const void *right)
{
	const struct ps_config_front *a = left, *b = right;
	int order = ps_rule_compare_match(&a->rule, &b->rule);

	if (order)
		return order;
	if (a->rule.front_last != b->rule.front_last)
		return a->rule.front_last > b->rule.front_last ? -1 : 1;
	if (a->vague != b->vague)
		return a->vague ? -1 : 1;
	return ps_source_compare(&a->place, &b->place);
}

/* Sort the fronts; of those that say the same, the earliest stays. */
static void sort_fronts(struct ps_config *config)
{
	struct ps_config_front *fronts = config->fronts;
	size_t kept = 0;

	if (config->front_count)
		qsort(fronts, config->front_count, sizeof(*fronts), compare_fronts);
	for (size_t i = 0; i < config->front_count; i++) {
		const struct ps_config_front *last = kept ? &fronts[kept - 1] : NULL;

		if (last && last->vague == fronts[i].vague &&
		    last->rule.front_last == fronts[i].rule.front_last &&
		    !ps_rule_compare_match(&last->rule, &fronts[i].rule))
			ps_rule_clear(&fronts[i].rule);
		else
			fronts[kept++] = fronts[i];
	}
	config->front_count = kept;
}

static int refuse(struct ps_config *config, size_t rule, const char *fault,
		  const struct ps_config_front *front)
{
	char text[PS_RULE_TEXT], other[PS_RULE_TEXT];
	struct ps_error error;

	ps_rule_format(&config->list.rules[rule], text);
	ps_rule_format(&front->rule, other);
	ps_fail(&error, PS_EXIT_FAILED, EEXIST,
		"rule %s %s %s of a section that has a mistake, at %.300s:%u; correct that section",
		text, fault, other, config->files[front->place.file], front->place.line);
	return ps_config_mistake(config, config->places[rule], &error);
}

/* The rules by match, which do not overlap each other. */
static int compare_rules(const void *left, const void *right)
{
	return ps_rule_compare_match(*(const struct ps_rule *const *)left,
				     *(const struct ps_rule *const *)right);
}

static const struct ps_rule **sorted(const struct ps_rule *rules, size_t count)
{
	const struct ps_rule **by_match = calloc(count + 1, sizeof(*by_match));

	for (size_t i = 0; i < count && by_match; i++)
		by_match[i] = &rules[i];
	if (by_match)
		qsort(by_match, count, sizeof(const struct ps_rule *), compare_rules);
	return by_match;
}

/* The first of the sorted rules that overlaps the side, if any does. */
static size_t first_beside(const struct ps_rule *const *rules, size_t count,
			   const struct ps_rule *side)
{
	size_t from = 0, to = count;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (ps_rule_compare_match(rules[middle], side) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from && ps_rule_overlaps(rules[from - 1], side) ? from - 1 : from;
}

static int compare_places(const void *left, const void *right)
{
	const struct ps_config_front *a = *(const struct ps_config_front *const *)left;
	const struct ps_config_front *b = *(const struct ps_config_front *const *)right;

	return ps_source_compare(&a->place, &b->place);
}

/* For each rule: the front side beside which it cannot be, and why. */
struct fault {
	const struct ps_config_front *front;
	const char *why;
};

/* Of two for the same, the later is the mistake: which rules are later than a front side that can
 * be blocked? Each rule gets the earliest, and is then skipped. */
static int find_overlaps(const struct ps_config *config, struct fault *faults)
{
	size_t count = config->list.count, fronts = config->front_count;
	_cleanup_free_ const struct ps_rule **rules = sorted(config->list.rules, count);
	_cleanup_free_ const struct ps_config_front **early = calloc(fronts + 1, sizeof(*early));
	_cleanup_free_ size_t *skip = calloc(count + 1, sizeof(*skip));

	if (!rules || !early || !skip)
		return -ENOMEM;
	for (size_t i = 0; i < fronts; i++)
		early[i] = &config->fronts[i];
	qsort(early, fronts, sizeof(const struct ps_config_front *), compare_places);
	for (size_t i = 0; i < fronts; i++) {
		size_t at = first_beside(rules, count, &early[i]->rule), next;

		if (!can_block(&early[i]->rule))
			continue;
		for (; at < count && ps_rule_overlaps(rules[at], &early[i]->rule); at = next) {
			size_t rule = (size_t)(rules[at] - config->list.rules);

			next = skip[at] ? skip[at] : at + 1;
			while (skip[next]) {
				skip[next] = skip[skip[next]] ? skip[skip[next]] : skip[next];
				next = skip[next];
			}
			if (!skip[at] &&
			    ps_source_compare(&early[i]->place, &config->places[rule]) < 0)
				faults[rule] = (struct fault){ early[i], "overlaps" };
			skip[at] = next;
		}
	}
	return 0;
}

/* Which rules would answer for a front side, block or not? A client in an unknown cgroup may have a
 * rule for its own, or for one around it. And where there can be no block, a client for which no
 * rule is left meets who has the port. */
static int find_takers(const struct ps_config *config, struct fault *faults)
{
	__attribute__((cleanup(ps_front_tree_clear))) struct ps_front_tree tree = {};
	_cleanup_free_ struct ps_config_front *lost =
		calloc(config->front_count + 1, sizeof(*lost));
	size_t count = 0;

	if (!lost)
		return -ENOMEM;
	for (size_t i = 0; i < config->front_count; i++) {
		if (config->fronts[i].vague || !can_block(&config->fronts[i].rule))
			lost[count++] = config->fronts[i];
	}
	if (ps_front_tree_build(&tree, lost, count))
		return -ENOMEM;
	for (size_t i = 0; i < config->list.count; i++) {
		const struct ps_rule *rule = &config->list.rules[i];
		const struct ps_config_front *front =
			rule->scope || !can_block(rule) ? ps_front_tree_find(&tree, rule) : NULL;

		/* It is named from where it stays. */
		if (front)
			faults[i] = (struct fault){
				bsearch(front, config->fronts, config->front_count, sizeof(*front),
					compare_fronts),
				"would take the connections of",
			};
	}
	return 0;
}

/* Find sections that cannot be in force beside those that have a mistake: 1 if there are. */
static int find_faults(struct ps_config *config)
{
	_cleanup_free_ struct fault *faults = calloc(config->list.count + 1, sizeof(*faults));
	int ret = 0;

	if (!faults || find_overlaps(config, faults) || find_takers(config, faults))
		return -ENOMEM;
	for (size_t i = 0; i < config->list.count; i++) {
		/* One mistake for each section will do. */
		if (!faults[i].front || is_broken(config, i))
			continue;
		if (refuse(config, i, faults[i].why, faults[i].front))
			return -ENOMEM;
		ret = 1;
	}
	return ret;
}

static int add_piece(struct ps_ruleset *set, const struct ps_rule *block, uint32_t first,
		     uint32_t last)
{
	struct ps_rule piece = *block;

	piece.front = piece.target = (uint16_t)first;
	piece.front_last = (uint16_t)last;
	return first > last ? 0 : ps_ruleset_append(set, &piece);
}

/* Add a block for each run of ports from `first` on that none of the sorted rules has. */
static int add_block(const struct ps_rule *block, uint32_t first,
		     const struct ps_rule *const *rules, size_t count, struct ps_ruleset *set)
{
	struct ps_rule rest = *block;
	size_t at;
	int ret = 0;

	if (first > block->front_last)
		return 0;
	rest.front = (uint16_t)first;
	at = first_beside(rules, count, &rest);
	for (; at < count && !ret && ps_rule_overlaps(rules[at], &rest); at++) {
		if (rules[at]->front > first)
			ret = add_piece(set, block, first, rules[at]->front - 1U);
		first = rules[at]->front_last + 1U;
	}
	return ret ? ret : add_piece(set, block, first, block->front_last);
}

/* All of the fronts that can be blocked, but for what a rule or a block has already. */
static int add_blocks(const struct ps_config *config, struct ps_ruleset *set)
{
	_cleanup_free_ const struct ps_rule **rules = NULL;
	const struct ps_rule *before = NULL;
	struct ps_ruleset blocks = {};
	uint32_t next = 0; /* port, for what is at the address of the one before */
	int ret = 0;

	rules = sorted(config->list.rules, config->list.count);
	if (!rules)
		return -ENOMEM;
	for (size_t i = 0; i < config->front_count && !ret; i++) {
		const struct ps_rule *front = &config->fronts[i].rule;

		if (!can_block(front))
			continue;
		if (!before || !ps_rule_same_side(before, front))
			next = 0;
		ret = add_block(front, next > front->front ? next : front->front, rules,
				config->list.count, &blocks);
		if (next <= front->front_last)
			next = front->front_last + 1U;
		before = front;
		if (blocks.count > PS_MAX_RULES)
			ret = -E2BIG;
	}
	*set = blocks;
	return ret;
}

int ps_config_part(struct ps_config *config, struct ps_ruleset *rules)
{
	__attribute__((cleanup(ps_ruleset_clear))) struct ps_ruleset blocks = {};
	struct ps_rule_list *list = &config->list;
	struct ps_ruleset set;
	int ret = 1;

	/* What is left out may have consequences for others; but there is an end to it. */
	for (int round = 0; round < PS_CONFIG_MISTAKES && ret > 0; round++) {
		ret = part(config);
		if (ret || config->front_count > PS_CONFIG_FRONTS)
			return ret ? ret : -E2BIG;
		sort_fronts(config);
		ret = find_faults(config);
	}
	if (!ret)
		ret = add_blocks(config, &blocks);
	if (ret)
		return ret == -ENOMEM ? ret : -E2BIG;
	set = (struct ps_ruleset){ list->rules, list->count, list->room };
	list->rules = NULL;
	list->count = list->room = 0;
	for (size_t i = 0; i < blocks.count && !ret; i++)
		ret = ps_ruleset_append(&set, &blocks.rules[i]);
	if (!ret)
		ret = ps_conflicts_check((struct ps_rules){},
					 (struct ps_rules){ set.rules, set.count }, NULL, NULL);
	if (ret) {
		ps_ruleset_clear(&set);
		return ret == -ENOMEM ? ret : -E2BIG;
	}
	ps_ruleset_take(rules, set.rules, set.count);
	return 0;
}
