// SPDX-License-Identifier: GPL-2.0-only
#include "ruleset.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf_types.h"
#include "targets.h"
#include "util.h"

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

static int check_owner(const struct ps_rule *rule, const char *text, struct ps_error *error)
{
	const struct ps_owner_spec *owner = &rule->owner;
	uint32_t known = PS_OWNER_USER | PS_OWNER_CGROUP | PS_OWNER_ANY;

	if (!owner->flags)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s has no owner; give --user, --cgroup or --any-user", text);
	if (owner->flags & ~known ||
	    (owner->flags & PS_OWNER_ANY && owner->flags != PS_OWNER_ANY) ||
	    (owner->flags & PS_OWNER_CGROUP && !owner->cgroup))
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s: --any-user contradicts another owner; give one of them",
			       text);
	return 0;
}

/* What a rule must be by itself. */
static int check_rule(const struct ps_rule *rule, struct ps_error *error)
{
	char text[PS_RULE_TEXT];

	ps_rule_format(rule, text);
	if (!rule->front || !rule->target || rule->front_last < rule->front ||
	    rule->target + (rule->front_last - rule->front) > UINT16_MAX)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s has no target or a port that is not from 1 to 65535; write "
			       "PORT:TARGET",
			       text);
	if (rule->proto == IPPROTO_UDP)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s: UDP cannot be steered, the answers would come from port %u "
			       "and clients drop them; steer TCP only",
			       text, rule->target);
	if (rule->proto != IPPROTO_TCP || rule->mode != PS_MODE_STEER)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s: mode %s is not in this version; use --mode steer", text,
			       ps_mode_name(rule->mode));
	return check_owner(rule, text, error);
}

/* Rules of the set and those to be added, looked at together. */
struct merged {
	const struct ps_rule **rules;
	size_t count, old; /* the first `old` are there already */
	struct ps_error *error;
};

/* By match, so that overlapping rules are neighbours: protocol, address, port. */
static int compare_match(const void *left, const void *right)
{
	const struct ps_rule *a = *(const struct ps_rule *const *)left;
	const struct ps_rule *b = *(const struct ps_rule *const *)right;
	int order = memcmp(a->prefix.addr, b->prefix.addr, sizeof(a->prefix.addr));

	if (a->proto != b->proto)
		return a->proto < b->proto ? -1 : 1;
	if (a->prefix.family != b->prefix.family)
		return a->prefix.family < b->prefix.family ? -1 : 1;
	if (a->prefix.len != b->prefix.len)
		return a->prefix.len < b->prefix.len ? -1 : 1;
	if (order)
		return order;
	return (a->front > b->front) - (a->front < b->front);
}

static int refuse_overlap(const struct ps_rule *a, const struct ps_rule *b, bool a_is_old,
			  struct ps_error *error)
{
	char one[PS_RULE_TEXT], other[PS_RULE_TEXT];

	ps_rule_format(a_is_old ? b : a, one);
	ps_rule_format(a_is_old ? a : b, other);
	if (ps_rule_equal(a, b))
		return ps_fail(error, PS_EXIT_FAILED, EEXIST,
			       "rule %s is there already; see 'portsteer list'", one);
	return ps_fail(error, PS_EXIT_FAILED, EEXIST,
		       "rule %s overlaps rule %s: both answer for the same address and port; delete "
		       "one or change its ports",
		       one, other);
}

static int check_overlaps(const struct merged *m)
{
	_cleanup_free_ const struct ps_rule **sorted = calloc(m->count + 1, sizeof(*sorted));
	const struct ps_rule *old = m->old ? m->rules[0] : NULL;

	if (!sorted)
		return out_of_memory(m->error);
	memcpy(sorted, m->rules, m->count * sizeof(*sorted));
	qsort(sorted, m->count, sizeof(*sorted), compare_match);
	for (size_t i = 1; i < m->count; i++) {
		const struct ps_rule *a = sorted[i - 1], *b = sorted[i];

		/* The rules of the set are one array. */
		if (ps_rule_overlaps(a, b))
			return refuse_overlap(a, b, old && a >= old && a < old + m->old, m->error);
	}
	return 0;
}

static int refuse_loop(const struct merged *m, const struct ps_rule *rule, uint16_t port)
{
	char text[PS_RULE_TEXT], front[PS_RULE_TEXT] = "itself";

	ps_rule_format(rule, text);
	for (size_t i = 0; i < m->count; i++) {
		if (m->rules[i] == rule || m->rules[i]->front > port ||
		    m->rules[i]->front_last < port)
			continue;
		ps_rule_format(m->rules[i], front);
		break;
	}
	return ps_fail(m->error, PS_EXIT_FAILED, ELOOP,
		       "rule %s makes a loop: its target port %u is a front port of %s; choose a "
		       "target port that no rule has in front",
		       text, port, front);
}

/* Front ports and address-prefix pairs, and that no target is a front port. */
static int check_ports(const struct merged *m)
{
	_cleanup_free_ unsigned char *front = calloc(65536, 1);
	size_t prefixes = 0;

	if (!front)
		return out_of_memory(m->error);
	for (size_t i = 0; i < m->count; i++) {
		size_t ports = (size_t)(m->rules[i]->front_last - m->rules[i]->front) + 1;

		prefixes += m->rules[i]->prefix.family ? ports : 0;
		if (prefixes > PS_MAX_PREFIXES)
			return ps_fail(m->error, PS_EXIT_FAILED, E2BIG,
				       "too many rules with an address: more than %d address and port "
				       "pairs; use shorter prefixes or smaller ranges",
				       PS_MAX_PREFIXES);
		memset(front + m->rules[i]->front, 1, ports);
	}
	for (size_t i = 0; i < m->count; i++) {
		const struct ps_rule *rule = m->rules[i];
		size_t ports = (size_t)(rule->front_last - rule->front) + 1;
		const unsigned char *found = memchr(front + rule->target, 1, ports);

		if (found)
			return refuse_loop(m, rule, (uint16_t)(found - front));
	}
	return 0;
}

static int check_owners(const struct merged *m)
{
	struct ps_targets targets = {};
	size_t same = 0;
	int ret = 0;

	if (ps_targets_collect(m->rules, m->count, &targets))
		return out_of_memory(m->error);
	if (targets.owner_count > PS_MAX_OWNERS)
		ret = ps_fail(m->error, PS_EXIT_FAILED, E2BIG,
			      "more than %d different owners; name a cgroup above several of them",
			      PS_MAX_OWNERS);
	for (size_t i = 0; i < targets.pair_count && !ret; i++) {
		uint16_t port = PS_PAIR_PORT(targets.pairs[i]);

		same = i && PS_PAIR_PORT(targets.pairs[i - 1]) == port ? same + 1 : 1;
		if (same > PS_MAX_OWNERS_PER_PORT)
			ret = ps_fail(m->error, PS_EXIT_FAILED, E2BIG,
				      "target port %u would have more than %d different owners; use "
				      "another target port",
				      port, PS_MAX_OWNERS_PER_PORT);
	}
	ps_targets_clear(&targets);
	return ret;
}

static int check_together(const struct merged *m)
{
	int ret;

	if (m->count > PS_MAX_RULES)
		return ps_fail(m->error, PS_EXIT_FAILED, E2BIG,
			       "too many rules: %zu, of at most %d; use port ranges", m->count,
			       PS_MAX_RULES);
	ret = check_overlaps(m);
	if (!ret)
		ret = check_ports(m);
	return ret ? ret : check_owners(m);
}

static int check_added(const struct ps_ruleset *set, const struct ps_rule *rules, size_t count,
		       struct ps_error *error)
{
	_cleanup_free_ const struct ps_rule **all = NULL;
	struct merged m = { .old = set->count, .count = set->count + count, .error = error };

	for (size_t i = 0; i < count; i++) {
		int ret = check_rule(&rules[i], error);

		if (ret)
			return ret;
	}
	all = calloc(m.count + 1, sizeof(*all));
	if (!all)
		return out_of_memory(error);
	for (size_t i = 0; i < m.count; i++)
		all[i] = i < m.old ? &set->rules[i] : &rules[i - m.old];
	m.rules = all;
	return check_together(&m);
}

static int compare_rules(const void *a, const void *b)
{
	return ps_rule_compare(a, b);
}

int ps_ruleset_add(struct ps_ruleset *set, const struct ps_rule *rules, size_t count,
		   struct ps_error *error)
{
	int ret = check_added(set, rules, count, error);

	if (ret)
		return ret;
	if (append(set, rules, count))
		return out_of_memory(error);
	if (set->count)
		qsort(set->rules, set->count, sizeof(*set->rules), compare_rules);
	return 0;
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

		if (rule->proto != key->proto || rule->front > key->front_last ||
		    rule->front_last < key->front)
			continue;
		ps_rule_format(rule, other);
		return ps_fail(error, PS_EXIT_FAILED, ENOENT,
			       "there is no rule %s, but there is %s; name a rule as 'portsteer "
			       "list' shows it",
			       text, other);
	}
	return ps_fail(error, PS_EXIT_FAILED, ENOENT,
		       "there is no rule %s; see 'portsteer list' for those there are", text);
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

static bool prefix_matches(const struct ps_prefix *prefix, uint8_t family, const uint8_t *addr)
{
	unsigned int bytes = prefix->len / 8, bits = prefix->len % 8;

	if (!prefix->family)
		return true;
	if (prefix->family != family || memcmp(prefix->addr, addr, bytes))
		return false;
	return !bits || !((prefix->addr[bytes] ^ addr[bytes]) >> (8 - bits));
}

const struct ps_rule *ps_ruleset_match(const struct ps_ruleset *set, uint8_t family,
				       const uint8_t *addr, uint8_t proto, uint16_t port)
{
	const struct ps_rule *best = NULL;

	for (size_t i = 0; i < set->count; i++) {
		const struct ps_rule *rule = &set->rules[i];

		if (rule->proto != proto || port < rule->front || port > rule->front_last ||
		    !prefix_matches(&rule->prefix, family, addr))
			continue;
		if (!best || rule->prefix.len > best->prefix.len ||
		    (rule->prefix.family && !best->prefix.family))
			best = rule;
	}
	return best;
}

struct ps_diff ps_ruleset_diff(const struct ps_ruleset *from, const struct ps_ruleset *to)
{
	struct ps_diff diff = {};
	size_t i = 0, j = 0;

	while (i < from->count || j < to->count) {
		int order = i == from->count ? 1 :
			    j == to->count   ? -1 :
					       ps_rule_compare(&from->rules[i], &to->rules[j]);

		if (order < 0) {
			diff.removed++;
		} else if (order > 0) {
			diff.added++;
		} else if (ps_rule_equal(&from->rules[i], &to->rules[j])) {
			diff.same++;
		} else {
			diff.changed++;
		}
		i += order <= 0;
		j += order >= 0;
	}
	return diff;
}
