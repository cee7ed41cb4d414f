// SPDX-License-Identifier: GPL-2.0-only
#include "rule/conflicts.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "rule/rule_check.h"
#include "rule/targets.h"
#include "util/bpf_types.h"
#include "util/util.h"

static int out_of_memory(struct ps_error *error)
{
	return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some and try again");
}

/* Rules of the set and those to be added, looked at together. */
struct merged {
	const struct ps_rule **rules;
	size_t count, old; /* the first `old` are there already */
	const struct ps_rule *added; /* the others, one array */
	struct ps_clash *clash; /* or NULL */
	struct ps_error *error;
};

static size_t index_of(const struct merged *m, const struct ps_rule *rule)
{
	return rule && rule >= m->added && rule < m->added + (m->count - m->old) ?
		       (size_t)(rule - m->added) :
		       SIZE_MAX;
}

/* It is these that are in conflict; either may be NULL. */
static void blame(const struct merged *m, const struct ps_rule *one, const struct ps_rule *other)
{
	if (m->clash)
		*m->clash = (struct ps_clash){ index_of(m, one), index_of(m, other) };
}

static int compare_match(const void *left, const void *right)
{
	return ps_rule_compare_match(*(const struct ps_rule *const *)left,
				     *(const struct ps_rule *const *)right);
}

static int refuse_overlap(const struct merged *m, const struct ps_rule *a, const struct ps_rule *b)
{
	bool a_is_old = index_of(m, a) == SIZE_MAX;
	char one[PS_RULE_WHOLE], other[PS_RULE_WHOLE];

	blame(m, a, b);
	if (ps_rule_equal(a, b)) {
		ps_rule_format(a, one);
		return ps_fail(m->error, PS_EXIT_FAILED, EEXIST,
			       "rule %s already exists; see 'portsteer list'", one);
	}
	ps_rule_describe(a_is_old ? b : a, one);
	ps_rule_describe(a_is_old ? a : b, other);
	return ps_fail(m->error, PS_EXIT_FAILED, EEXIST,
		       "rule %s overlaps rule %s: both answer for the same address and port; delete "
		       "one or change its ports",
		       one, other);
}

static int check_overlaps(const struct merged *m)
{
	_cleanup_free_ const struct ps_rule **sorted = calloc(m->count + 1, sizeof(*sorted));

	if (!sorted)
		return out_of_memory(m->error);
	memcpy(sorted, m->rules, m->count * sizeof(*sorted));
	qsort(sorted, m->count, sizeof(*sorted), compare_match);
	for (size_t i = 1; i < m->count; i++) {
		const struct ps_rule *a = sorted[i - 1], *b = sorted[i];

		if (ps_rule_overlaps(a, b))
			return refuse_overlap(m, a, b);
	}
	return 0;
}

/* Would a client that `rule` has sent to its target meet `front` there? Connect rules are
 * met once, by the client; steer and bind rules by whoever comes. Connect rules of one
 * scope that lead to each other's ports are a mistake all the same. */
static bool can_loop(const struct ps_rule *rule, const struct ps_rule *front)
{
	if (rule->to.family || ps_rule_is_grant(front) || ps_rule_is_grant(rule) ||
	    ps_rule_is_block(front))
		return false;
	if (front->mode != PS_MODE_CONNECT)
		return true;
	return rule->mode == PS_MODE_CONNECT && !strcmp(rule->scope, front->scope);
}

static int refuse_loop(const struct merged *m, const struct ps_rule *rule, uint16_t port)
{
	char text[PS_RULE_TEXT], front[PS_RULE_TEXT] = "itself";

	blame(m, rule, NULL);
	ps_rule_format(rule, text);
	if (rule->front == rule->target)
		return ps_fail(m->error, PS_EXIT_FAILED, ELOOP,
			       "rule %s makes a loop: its target port is its own front port; to "
			       "let the owner bind port %u directly, use 'portsteer allow' (in "
			       "files: the key allow), or choose another target port",
			       text, rule->front);
	for (size_t i = 0; i < m->count; i++) {
		if (m->rules[i] == rule || m->rules[i]->proto != rule->proto ||
		    !can_loop(rule, m->rules[i]) || m->rules[i]->front > port ||
		    m->rules[i]->front_last < port)
			continue;
		blame(m, rule, m->rules[i]);
		ps_rule_format(m->rules[i], front);
		break;
	}
	return ps_fail(m->error, PS_EXIT_FAILED, ELOOP,
		       "rule %s makes a loop: its target port %u is a front port of %s; choose a "
		       "target port that is not a front port",
		       text, port, front);
}

/* Limits of what is laid out for each pair of rule and port. */
static int check_size(const struct merged *m)
{
	size_t prefixes = 0, bound = 0, hops = 0;

	for (size_t i = 0; i < m->count; i++) {
		const struct ps_rule *rule = m->rules[i];
		size_t ports = (size_t)(rule->front_last - rule->front) + 1;

		if (rule->mode == PS_MODE_BIND)
			bound += ports;
		else if (rule->mode == PS_MODE_CONNECT)
			hops += ports * ps_rule_hops(rule);
		else if (rule->prefix.family)
			prefixes += ports;
		if (prefixes > PS_MAX_PREFIXES)
			return ps_fail(m->error, PS_EXIT_FAILED, E2BIG,
				       "too many rules with an address: more than %d address and port "
				       "pairs; use shorter prefixes or smaller ranges",
				       PS_MAX_PREFIXES);
		if (bound > PS_MAX_BINDS)
			return ps_fail(m->error, PS_EXIT_FAILED, E2BIG,
				       "too many bind rules: more than %d pairs of rule and port; use "
				       "smaller ranges",
				       PS_MAX_BINDS);
		if (hops > PS_MAX_HOPS)
			return ps_fail(m->error, PS_EXIT_FAILED, E2BIG,
				       "too many connect rules: more than %d pairs of rule and port; "
				       "use smaller ranges",
				       PS_MAX_HOPS);
	}
	return 0;
}

/* Which ports some rules have in front, for each protocol. */
enum { PORTS = 65536 };
static unsigned char *fronts_of(unsigned char *fronts, uint8_t proto)
{
	return fronts + (proto == IPPROTO_UDP ? PORTS : 0);
}

static void mark_front(unsigned char *fronts, const struct ps_rule *rule)
{
	/* What is refused leads nowhere. */
	if (ps_rule_is_block(rule))
		return;
	memset(fronts_of(fronts, rule->proto) + rule->front, 1,
	       (size_t)(rule->front_last - rule->front) + 1);
}

static int check_targets(const struct merged *m, unsigned char *fronts, const struct ps_rule *rule)
{
	const unsigned char *of = fronts_of(fronts, rule->proto), *found;

	if (ps_rule_is_grant(rule) || rule->to.family || ps_rule_is_block(rule))
		return 0;
	found = memchr(of + rule->target, 1, (size_t)(rule->front_last - rule->front) + 1);
	return found ? refuse_loop(m, rule, (uint16_t)(found - of)) : 0;
}

static bool same_scope(const struct ps_rule *a, const struct ps_rule *b)
{
	return a->scope && b->scope && !strcmp(a->scope, b->scope);
}

static int compare_scopes(const void *left, const void *right)
{
	const struct ps_rule *a = *(const struct ps_rule *const *)left;
	const struct ps_rule *b = *(const struct ps_rule *const *)right;

	return strcmp(a->scope ? a->scope : "", b->scope ? b->scope : "");
}

/* How many records one scope has for one port. used[65536] is zero, and left so. */
static int check_crowd(const struct merged *m, const struct ps_rule **sorted, size_t first,
		       size_t end, uint16_t *used)
{
	int ret = 0;

	for (size_t i = first; i < end && !ret; i++) {
		const struct ps_rule *rule = sorted[i];

		for (uint32_t port = rule->front; port <= rule->front_last && !ret; port++) {
			used[port] = (uint16_t)(used[port] + ps_rule_hops(rule));
			if (used[port] <= PS_MAX_HOPS_PER_PORT)
				continue;
			blame(m, rule, NULL);
			ret = ps_fail(m->error, PS_EXIT_FAILED, E2BIG,
				      "client cgroup %s would have more than %d rules for port %u; use "
				      "shorter prefixes",
				      rule->scope, PS_MAX_HOPS_PER_PORT, port);
		}
	}
	for (size_t i = first; i < end; i++)
		memset(used + sorted[i]->front, 0,
		       ((size_t)(sorted[i]->front_last - sorted[i]->front) + 1) * sizeof(*used));
	return ret;
}

/* The connect rules of each scope among themselves: sorted[first .. end) are one scope's. */
static int check_scope_loops(const struct merged *m, const struct ps_rule **sorted,
			     unsigned char *fronts)
{
	_cleanup_free_ uint16_t *used = calloc(PORTS, sizeof(*used));
	size_t end, scopes = 0;
	int ret = 0;

	if (!used)
		return out_of_memory(m->error);
	for (size_t first = 0; first < m->count && !ret; first = end) {
		for (end = first + 1; end < m->count && same_scope(sorted[first], sorted[end]);)
			end++;
		if (!sorted[first]->scope)
			continue;
		if (++scopes > PS_MAX_SCOPES)
			return ps_fail(m->error, PS_EXIT_FAILED, E2BIG,
				       "more than %d different client cgroups; name a common parent of "
				       "several of them",
				       PS_MAX_SCOPES);
		for (size_t i = first; i < end; i++)
			mark_front(fronts, sorted[i]);
		ret = check_crowd(m, sorted, first, end, used);
		for (size_t i = first; i < end && !ret; i++)
			ret = check_targets(m, fronts, sorted[i]);
		for (size_t i = first; i < end; i++)
			memset(fronts_of(fronts, sorted[i]->proto) + sorted[i]->front, 0,
			       (size_t)(sorted[i]->front_last - sorted[i]->front) + 1);
	}
	return ret;
}

/* No target may be a front port of another rule for the same protocol. A granted port
 * may: who binds it listens there. A connect rule's front ports are that only for the
 * clients of its scope. */
static int check_loops(const struct merged *m)
{
	_cleanup_free_ unsigned char *fronts = calloc(2, PORTS);
	_cleanup_free_ const struct ps_rule **sorted = calloc(m->count + 1, sizeof(*sorted));
	int ret = 0;

	if (!fronts || !sorted)
		return out_of_memory(m->error);
	for (size_t i = 0; i < m->count; i++) {
		if (m->rules[i]->mode != PS_MODE_CONNECT && !ps_rule_is_grant(m->rules[i]))
			mark_front(fronts, m->rules[i]);
	}
	for (size_t i = 0; i < m->count && !ret; i++)
		ret = check_targets(m, fronts, m->rules[i]);
	if (ret || !m->count)
		return ret;
	memset(fronts, 0, 2 * (size_t)PORTS);
	memcpy(sorted, m->rules, m->count * sizeof(*sorted));
	qsort(sorted, m->count, sizeof(*sorted), compare_scopes);
	return check_scope_loops(m, sorted, fronts);
}

/* A port that a bind rule is about. */
struct bind_port {
	uint16_t port;
	uint8_t proto;
	bool is_front, is_target; /* a grant's is both */
	const struct ps_rule *rule;
};
struct bind_ports {
	struct bind_port *items; /* by port */
	size_t count;
};

static int compare_bind_ports(const void *left, const void *right)
{
	const struct bind_port *a = left, *b = right;

	return (a->port > b->port) - (a->port < b->port);
}

static int list_bind_ports(const struct merged *m, struct bind_ports *ports)
{
	size_t room = 1;

	for (size_t i = 0; i < m->count; i++) {
		if (m->rules[i]->mode == PS_MODE_BIND)
			room += 2 * ((size_t)(m->rules[i]->front_last - m->rules[i]->front) + 1);
	}
	ports->items = calloc(room, sizeof(*ports->items));
	if (!ports->items)
		return out_of_memory(m->error);
	for (size_t i = 0; i < m->count; i++) {
		const struct ps_rule *rule = m->rules[i];
		bool grant = ps_rule_is_grant(rule);
		uint32_t last = rule->mode == PS_MODE_BIND ?
					(uint32_t)(rule->front_last - rule->front) + 1 :
					0;

		for (uint32_t n = 0; n < last; n++) {
			ports->items[ports->count++] =
				(struct bind_port){ (uint16_t)(rule->front + n), rule->proto, true,
						    grant, rule };
			if (!grant)
				ports->items[ports->count++] =
					(struct bind_port){ (uint16_t)(rule->target + n),
							    rule->proto, false, true, rule };
		}
	}
	qsort(ports->items, ports->count, sizeof(*ports->items), compare_bind_ports);
	return 0;
}

/* Would one bind() be two rules'? Both are about its port. */
static bool is_ambiguous(const struct bind_port *a, const struct bind_port *b)
{
	return a->is_target && b->is_target && a->proto == b->proto &&
	       ps_prefix_equal(&a->rule->prefix, &b->rule->prefix) &&
	       ps_owner_equal(&a->rule->owner, &b->rule->owner);
}

static int refuse_ambiguity(const struct merged *m, const struct bind_port *a,
			    const struct bind_port *b)
{
	char one[PS_RULE_TEXT], other[PS_RULE_TEXT];

	blame(m, a->rule, b->rule);
	ps_rule_format(a->rule, one);
	ps_rule_format(b->rule, other);
	return ps_fail(m->error, PS_EXIT_FAILED, EEXIST,
		       "rules %s and %s conflict: one owner's bind to port %u cannot be translated "
		       "to both front ports; use two target ports",
		       one, other, a->port);
}

/* The bind rules among themselves. */
static int check_binds(const struct merged *m, const struct bind_ports *ports)
{
	size_t first = 0;

	for (size_t i = 0; i < ports->count; i++) {
		if (ports->items[i].port != ports->items[first].port)
			first = i;
		if (i - first >= PS_MAX_BINDS_PER_PORT) {
			blame(m, ports->items[i].rule, NULL);
			return ps_fail(m->error, PS_EXIT_FAILED, E2BIG,
				       "port %u would be in more than %d bind rules; use other ports, "
				       "or owners that cover several",
				       ports->items[i].port, PS_MAX_BINDS_PER_PORT);
		}
		for (size_t j = first; j < i; j++) {
			if (is_ambiguous(&ports->items[j], &ports->items[i]))
				return refuse_ambiguity(m, &ports->items[j], &ports->items[i]);
		}
	}
	return 0;
}

static int refuse_fight(const struct merged *m, const struct ps_rule *steer,
			const struct bind_port *bind, bool front)
{
	char one[PS_RULE_TEXT], other[PS_RULE_TEXT];

	const char *mode = ps_mode_name(steer->mode);

	blame(m, steer, bind->rule);
	ps_rule_format(steer, one);
	ps_rule_format(bind->rule, other);
	if (front)
		return ps_fail(m->error, PS_EXIT_FAILED, EEXIST,
			       "steer rule %s and bind rule %s conflict on port %u: connections "
			       "would be steered past the process that is bound to it; delete one, "
			       "or use addresses that do not overlap",
			       one, other, bind->port);
	return ps_fail(m->error, PS_EXIT_FAILED, EEXIST,
		       "%s rule %s and bind rule %s have the same target port %u: the bind rule "
		       "would bind the other rule's listener to another port; use two target ports",
		       mode, one, other, bind->port);
}

/* A steer rule's front port or target port, against the bind rules about it. */
static int check_fight(const struct merged *m, const struct bind_ports *ports,
		       const struct ps_rule *steer, uint32_t port, bool front)
{
	struct bind_port key = { .port = (uint16_t)port };
	const struct bind_port *b =
		bsearch(&key, ports->items, ports->count, sizeof(key), compare_bind_ports);
	const struct bind_port *end = ports->items + ports->count;

	while (b > ports->items && b[-1].port == port)
		b--;
	for (; b < end && b->port == port; b++) {
		if (b->proto != steer->proto)
			continue;
		if (front && b->is_front && ps_prefix_meets(&steer->prefix, &b->rule->prefix))
			return refuse_fight(m, steer, b, true);
		if (!front && !ps_rule_is_grant(b->rule) && b->is_target)
			return refuse_fight(m, steer, b, false);
	}
	return 0;
}

static int check_modes(const struct merged *m, const struct bind_ports *ports)
{
	_cleanup_free_ unsigned char *used = calloc(65536, 1);
	int ret = 0;

	if (!used)
		return out_of_memory(m->error);
	for (size_t i = 0; i < ports->count; i++)
		used[ports->items[i].port] = 1;
	for (size_t i = 0; i < m->count; i++) {
		const struct ps_rule *rule = m->rules[i];
		uint32_t ports_of = ps_rule_has_targets(rule) && !ps_rule_is_block(rule) ?
					    (uint32_t)(rule->front_last - rule->front) + 1 :
					    0;

		for (uint32_t n = 0; n < ports_of && !ret; n++) {
			if (used[rule->front + n] && rule->mode == PS_MODE_STEER)
				ret = check_fight(m, ports, rule, rule->front + n, true);
			if (!ret && used[rule->target + n])
				ret = check_fight(m, ports, rule, rule->target + n, false);
		}
		if (ret)
			return ret;
	}
	return 0;
}

static int check_bind_rules(const struct merged *m)
{
	struct bind_ports ports = {};
	int ret = list_bind_ports(m, &ports);

	if (!ret && ports.count) {
		ret = check_binds(m, &ports);
		if (!ret)
			ret = check_modes(m, &ports);
	}
	free(ports.items);
	return ret;
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
			      "more than %d different owners; name a common parent of several of "
			      "them",
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
			       "too many rules: %zu, the limit is %d; use port ranges", m->count,
			       PS_MAX_RULES);
	ret = check_overlaps(m);
	if (!ret)
		ret = check_size(m);
	if (!ret)
		ret = check_loops(m);
	if (!ret)
		ret = check_bind_rules(m);
	return ret ? ret : check_owners(m);
}

int ps_conflicts_check(struct ps_rules old, struct ps_rules added, struct ps_clash *clash,
		       struct ps_error *error)
{
	_cleanup_free_ const struct ps_rule **all = NULL;
	struct merged m = { .old = old.count,
			    .count = old.count + added.count,
			    .added = added.rules,
			    .clash = clash,
			    .error = error };

	blame(&m, NULL, NULL);
	for (size_t i = 0; i < added.count; i++) {
		int ret = ps_rule_check(&added.rules[i], error);

		if (!ret)
			continue;
		blame(&m, &added.rules[i], NULL);
		return ret;
	}
	all = calloc(m.count + 1, sizeof(*all));
	if (!all)
		return out_of_memory(error);
	for (size_t i = 0; i < m.count; i++)
		all[i] = i < m.old ? &old.rules[i] : &added.rules[i - m.old];
	m.rules = all;
	return check_together(&m);
}
