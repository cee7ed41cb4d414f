// SPDX-License-Identifier: GPL-2.0-only
#include "rule/ruleset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rule/conflicts.h"
#include "util/util.h"

void ps_ruleset_clear(struct ps_ruleset *set)
{
	for (size_t i = 0; i < set->count; i++)
		ps_rule_clear(&set->rules[i]);
	free(set->rules);
	*set = (struct ps_ruleset){};
}

static int grow(struct ps_ruleset *set, size_t more)
{
	size_t capacity = set->count + more;
	void *rules;

	if (capacity <= set->capacity)
		return 0;
	if (more == 1)
		capacity += capacity / 2;
	rules = reallocarray(set->rules, capacity, sizeof(*set->rules));
	if (!rules)
		return -ENOMEM;
	set->rules = rules;
	set->capacity = capacity;
	return 0;
}

/* Append copies, without checks and without order. */
static int append(struct ps_ruleset *set, const struct ps_rule *rules, size_t count)
{
	size_t before = set->count;
	int ret = grow(set, count);

	for (size_t i = 0; i < count && !ret; i++) {
		ret = ps_rule_copy(&rules[i], &set->rules[set->count]);
		set->count += !ret;
	}
	while (ret && set->count > before)
		ps_rule_clear(&set->rules[--set->count]);
	return ret;
}

int ps_ruleset_append(struct ps_ruleset *set, const struct ps_rule *rule)
{
	return append(set, rule, 1);
}

int ps_ruleset_copy(const struct ps_ruleset *from, struct ps_ruleset *to)
{
	struct ps_ruleset copy = {};
	int ret = append(&copy, from->rules, from->count);

	if (ret)
		ps_ruleset_clear(&copy);
	else
		*to = copy;
	return ret;
}

static int out_of_memory(struct ps_error *error)
{
	return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some and try again");
}

static int compare_rules(const void *a, const void *b)
{
	return ps_rule_compare(a, b);
}

int ps_ruleset_add(struct ps_ruleset *set, const struct ps_rule *rules, size_t count,
		   struct ps_error *error)
{
	int ret = ps_conflicts_check((struct ps_rules){ set->rules, set->count },
				     (struct ps_rules){ rules, count }, NULL, error);

	if (ret)
		return ret;
	if (append(set, rules, count))
		return out_of_memory(error);
	if (set->count)
		qsort(set->rules, set->count, sizeof(*set->rules), compare_rules);
	return 0;
}

void ps_ruleset_take(struct ps_ruleset *set, struct ps_rule *rules, size_t count)
{
	*set = (struct ps_ruleset){ .rules = rules, .count = count, .capacity = count };
	if (count)
		qsort(rules, count, sizeof(*rules), compare_rules);
}

/* The rule with the key's prefix, protocol and first front port, or NULL. */
static struct ps_rule *find(const struct ps_ruleset *set, const struct ps_rule *key)
{
	return set->count ?
		       bsearch(key, set->rules, set->count, sizeof(*set->rules), compare_rules) :
		       NULL;
}

static int refuse_key(const struct ps_ruleset *set, const struct ps_rule *key,
		      struct ps_error *error)
{
	char text[PS_RULE_TEXT], other[PS_RULE_TEXT];

	ps_rule_format(key, text);
	for (size_t i = 0; i < set->count; i++) {
		const struct ps_rule *rule = &set->rules[i];

		if (rule->front > key->front_last || rule->front_last < key->front)
			continue;
		ps_rule_format(rule, other);
		return ps_fail(error, PS_EXIT_FAILED, ENOENT,
			       "there is no rule %s%s%.300s, but there is %s%s%.300s; name a rule as "
			       "'portsteer list' shows it",
			       text, key->scope ? " --client-cgroup " : "",
			       key->scope ? key->scope : "", other,
			       rule->scope ? " --client-cgroup " : "",
			       rule->scope ? rule->scope : "");
	}
	return ps_fail(error, PS_EXIT_FAILED, ENOENT,
		       "there is no rule %s; 'portsteer list' shows the rules", text);
}

int ps_ruleset_del(struct ps_ruleset *set, const struct ps_rule *keys, size_t count,
		   struct ps_error *error)
{
	_cleanup_free_ unsigned char *gone = calloc(set->count + 1, 1);
	size_t kept = 0;

	if (!gone)
		return out_of_memory(error);
	for (size_t i = 0; i < count; i++) {
		const struct ps_rule *rule = find(set, &keys[i]);

		if (!rule || rule->front_last != keys[i].front_last ||
		    (keys[i].target && rule->target != keys[i].target))
			return refuse_key(set, &keys[i], error);
		gone[rule - set->rules] = 1;
	}
	for (size_t i = 0; i < set->count; i++) {
		if (gone[i])
			ps_rule_clear(&set->rules[i]);
		else
			set->rules[kept++] = set->rules[i];
	}
	set->count = kept;
	return 0;
}

const struct ps_rule *ps_ruleset_match(const struct ps_ruleset *set, uint8_t family,
				       const uint8_t *addr, uint8_t proto, uint16_t port)
{
	const struct ps_rule *best = NULL;

	for (size_t i = 0; i < set->count; i++) {
		const struct ps_rule *rule = &set->rules[i];

		if (rule->proto != proto || port < rule->front || port > rule->front_last ||
		    !ps_prefix_has(&rule->prefix, family, addr))
			continue;
		if (!best || rule->prefix.len > best->prefix.len ||
		    (rule->prefix.family && !best->prefix.family))
			best = rule;
	}
	return best;
}

bool ps_ruleset_has_targets(const struct ps_ruleset *set)
{
	for (size_t i = 0; i < set->count; i++) {
		if (ps_rule_has_targets(&set->rules[i]))
			return true;
	}
	return false;
}

bool ps_ruleset_has_mode(const struct ps_ruleset *set, enum ps_mode mode)
{
	for (size_t i = 0; i < set->count; i++) {
		if (set->rules[i].mode == mode)
			return true;
	}
	return false;
}

void ps_ruleset_compare(const struct ps_ruleset *from, const struct ps_ruleset *to,
			ps_difference_fn *fn, void *data)
{
	size_t i = 0, j = 0;

	while (i < from->count || j < to->count) {
		int order = i == from->count ? 1 :
			    j == to->count   ? -1 :
					       ps_rule_compare(&from->rules[i], &to->rules[j]);

		fn(order <= 0 ? &from->rules[i] : NULL, order >= 0 ? &to->rules[j] : NULL, data);
		i += order <= 0;
		j += order >= 0;
	}
}

static void count_difference(const struct ps_rule *before, const struct ps_rule *after, void *data)
{
	struct ps_diff *diff = data;

	if (!before)
		diff->added++;
	else if (!after)
		diff->removed++;
	else if (ps_rule_equal(before, after))
		diff->same++;
	else
		diff->changed++;
	if (before && after)
		diff->moved += !ps_origin_equal(&before->origin, &after->origin);
}

struct ps_diff ps_ruleset_diff(const struct ps_ruleset *from, const struct ps_ruleset *to)
{
	struct ps_diff diff = {};

	ps_ruleset_compare(from, to, count_difference, &diff);
	return diff;
}
