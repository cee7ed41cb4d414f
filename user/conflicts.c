// SPDX-License-Identifier: GPL-2.0-only
#include "conflicts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf_types.h"
#include "targets.h"
#include "util.h"

/* Ports that only root may bind (net.ipv4.ip_unprivileged_port_start by default). */
enum { PRIVILEGED_PORTS = 1024 };

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

static int check_steer(const struct ps_rule *rule, const char *text, struct ps_error *error)
{
	if (rule->proto != IPPROTO_UDP)
		return 0;
	return ps_fail(error, PS_EXIT_USAGE, EINVAL,
		       "rule %s: UDP cannot be steered, the answers would come from port %u and "
		       "clients drop them; use --mode bind, or leave --mode out",
		       text, rule->target);
}

static int check_bind(const struct ps_rule *rule, const char *text, struct ps_error *error)
{
	if (ps_rule_is_grant(rule) && rule->front_last >= PRIVILEGED_PORTS)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s: port %u is not privileged, anybody may bind it and a grant "
			       "would change nothing; grant ports below %d only",
			       text, rule->front_last, PRIVILEGED_PORTS);
	if (!ps_rule_is_grant(rule) && rule->target < PRIVILEGED_PORTS)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s: its target port %u is a privileged one itself; choose a "
			       "target from %d up, or use 'portsteer allow' to let the owner bind a "
			       "privileged port as it is",
			       text, rule->target, PRIVILEGED_PORTS);
	return 0;
}

/* What a rule must be by itself. */
static int check_rule(const struct ps_rule *rule, struct ps_error *error)
{
	char text[PS_RULE_TEXT];
	int ret;

	ps_rule_format(rule, text);
	if (!rule->front || !rule->target || rule->front_last < rule->front ||
	    rule->target + (rule->front_last - rule->front) > UINT16_MAX)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s has no target or a port that is not from 1 to 65535; write "
			       "PORT:TARGET",
			       text);
	if ((rule->proto != IPPROTO_TCP && rule->proto != IPPROTO_UDP) ||
	    (rule->mode != PS_MODE_STEER && rule->mode != PS_MODE_BIND))
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s: mode %s is not in this version; use --mode steer or bind",
			       text, ps_mode_name(rule->mode));
	ret = rule->mode == PS_MODE_STEER ? check_steer(rule, text, error) :
					    check_bind(rule, text, error);
	return ret ? ret : check_owner(rule, text, error);
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
		if (m->rules[i] == rule || m->rules[i]->proto != rule->proto ||
		    m->rules[i]->front > port || m->rules[i]->front_last < port)
			continue;
		ps_rule_format(m->rules[i], front);
		break;
	}
	return ps_fail(m->error, PS_EXIT_FAILED, ELOOP,
		       "rule %s makes a loop: its target port %u is a front port of %s; choose a "
		       "target port that no rule has in front",
		       text, port, front);
}

/* Limits of what is laid out for each pair of rule and port. */
static int check_size(const struct merged *m)
{
	size_t prefixes = 0, bound = 0;

	for (size_t i = 0; i < m->count; i++) {
		const struct ps_rule *rule = m->rules[i];
		size_t ports = (size_t)(rule->front_last - rule->front) + 1;

		if (rule->mode == PS_MODE_BIND)
			bound += ports;
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
	}
	return 0;
}

/* No target may be a front port of another rule for the same protocol. A granted port
 * may: who binds it listens there. */
static int check_loops(const struct merged *m)
{
	enum { PORTS = 65536 };
	_cleanup_free_ unsigned char *fronts = calloc(2, PORTS);

	if (!fronts)
		return out_of_memory(m->error);
	for (size_t i = 0; i < m->count; i++) {
		const struct ps_rule *rule = m->rules[i];

		if (!ps_rule_is_grant(rule))
			memset(fronts + (rule->proto == IPPROTO_UDP ? PORTS : 0) + rule->front, 1,
			       (size_t)(rule->front_last - rule->front) + 1);
	}
	for (size_t i = 0; i < m->count; i++) {
		const struct ps_rule *rule = m->rules[i];
		const unsigned char *of = fronts + (rule->proto == IPPROTO_UDP ? PORTS : 0);
		const unsigned char *found;

		if (ps_rule_is_grant(rule))
			continue;
		found = memchr(of + rule->target, 1, (size_t)(rule->front_last - rule->front) + 1);
		if (found)
			return refuse_loop(m, rule, (uint16_t)(found - of));
	}
	return 0;
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

	ps_rule_format(a->rule, one);
	ps_rule_format(b->rule, other);
	return ps_fail(m->error, PS_EXIT_FAILED, EEXIST,
		       "rules %s and %s contradict each other: one owner's bind to port %u cannot "
		       "become both; use two target ports",
		       one, other, a->port);
}

/* The bind rules among themselves. */
static int check_binds(const struct merged *m, const struct bind_ports *ports)
{
	size_t first = 0;

	for (size_t i = 0; i < ports->count; i++) {
		if (ports->items[i].port != ports->items[first].port)
			first = i;
		if (i - first >= PS_MAX_BINDS_PER_PORT)
			return ps_fail(m->error, PS_EXIT_FAILED, E2BIG,
				       "port %u would be in more than %d bind rules; use other ports, "
				       "or owners that cover several",
				       ports->items[i].port, PS_MAX_BINDS_PER_PORT);
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

	ps_rule_format(steer, one);
	ps_rule_format(bind->rule, other);
	if (front)
		return ps_fail(m->error, PS_EXIT_FAILED, EEXIST,
			       "steer rule %s and bind rule %s fight over port %u: connections would "
			       "be steered past whoever is bound to it; delete one, or use addresses "
			       "that do not overlap",
			       one, other, bind->port);
	return ps_fail(m->error, PS_EXIT_FAILED, EEXIST,
		       "steer rule %s and bind rule %s have the same target port %u: the latter "
		       "would bind the former's listener to another port; use two target ports",
		       one, other, bind->port);
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
		uint32_t ports_of = rule->mode == PS_MODE_STEER ?
					    (uint32_t)(rule->front_last - rule->front) + 1 :
					    0;

		for (uint32_t n = 0; n < ports_of && !ret; n++) {
			if (used[rule->front + n])
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
		ret = check_size(m);
	if (!ret)
		ret = check_loops(m);
	if (!ret)
		ret = check_bind_rules(m);
	return ret ? ret : check_owners(m);
}

int ps_conflicts_check(const struct ps_ruleset *set, const struct ps_rule *rules, size_t count,
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
