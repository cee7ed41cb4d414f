// SPDX-License-Identifier: GPL-2.0-only
#include "engine/needs.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "compile/plan_bind.h"
#include "compile/plan_connect.h"
#include "kernel/attach_points.h"
#include "kernel/saved.h"
#include "os/refusal_facts.h"
#include "util/bpf_types.h"
#include "util/util.h"

/* What rules need, of one instance or of several. */
struct needs {
	struct ps_attach_points anchors;
	bool sets[PS_SETS]; /* which programs on the root cgroup */
	uint32_t bind_ports[PS_PORT_WORDS], connect_ports[PS_PORT_WORDS];
	uint32_t client_ports[PS_PORT_WORDS];
};

static void clear_needs(struct needs **n)
{
	if (*n)
		ps_attach_points_clear(&(*n)->anchors);
	free(*n);
}
#define _cleanup_needs_ __attribute__((cleanup(clear_needs)))

void ps_filter_widen(uint32_t *filter, const uint32_t *plan, int count)
{
	for (int i = 0; i < count; i++)
		__atomic_fetch_or(&filter[i], plan[i], __ATOMIC_SEQ_CST);
}

void ps_filter_narrow(uint32_t *filter, const uint32_t *plan, int count)
{
	for (int i = 0; i < count; i++)
		__atomic_store_n(&filter[i], plan[i], __ATOMIC_SEQ_CST);
}

/* The programs on the root cgroup that a rule needs. */
static void note_sets(const struct ps_rule *rule, bool needs[PS_SETS])
{
	needs[PS_SET_BIND] |= rule->mode == PS_MODE_BIND;
	needs[PS_SET_CONNECT] |= ps_rule_turns_clients(rule);
	needs[PS_SET_DATAGRAM] |= rule->mode == PS_MODE_CONNECT && rule->proto == IPPROTO_UDP;
}

static int add_needs(struct needs *n, const struct ps_state *state)
{
	for (size_t i = 0; i < state->rules.count; i++) {
		const struct ps_rule *rule = &state->rules.rules[i];

		note_sets(rule, n->sets);
		ps_bind_ports(rule, n->bind_ports);
		ps_connect_ports(rule, n->connect_ports);
		ps_flow_ports(rule, n->client_ports);
	}
	return ps_attach_points_add(&n->anchors, state, NULL);
}

/* Reading what instances need, but for one. */
struct collecting {
	const struct ps_host *host;
	uint64_t except; /* a cookie; 0: none */
	struct needs *needs;
};

static int collect_one(uint64_t cookie, uint32_t index, void *data)
{
	const struct collecting *c = data;
	uint64_t word = ps_fetch(&c->host->instances[index].active);
	struct ps_state state = {};
	int ret;

	if (!word || cookie == c->except)
		return 0;
	ret = ps_read_state(cookie, PS_WORD_GEN(word), &state);
	if (!ret)
		ret = add_needs(c->needs, &state);
	ps_state_clear(&state);
	return ret;
}

static int collect_others(const struct ps_host *host, uint64_t except, struct needs *n)
{
	struct collecting c = { host, except, n };

	return ps_host_each(host, collect_one, &c);
}

int ps_attach_needed(const struct ps_host *host, struct ps_error *error)
{
	_cleanup_needs_ struct needs *n = calloc(1, sizeof(*n));
	int ret;

	if (!n)
		return ps_fail_kernel(error, ENOMEM, "read the rules in force");
	ret = collect_others(host, 0, n);
	return ret ? ps_fail_kernel(error, ret, "read the rules in force") :
		     ps_attach_points_attach(host, &n->anchors, error);
}

/* Let sock_ops sit no higher than it is needed. One that was lost stays lost: whoever attaches
 * it again has to look for the listeners that it missed. */
static int move_anchors(const struct ps_host *host, const struct ps_attach_points *anchors)
{
	int ret = ps_attach_points_cover(anchors);

	if (ret <= 0)
		return ret;
	ret = ps_attach_points_attach(host, anchors, NULL);
	return ret ? ret : ps_attach_points_detach_others(anchors);
}

bool ps_client_flows(const struct ps_host *host, uint64_t cookie, uint32_t ports[PS_PORT_WORDS])
{
	int fd = host->fd[PS_HOST_FLOWS];
	struct ps_flow_key key, *last = NULL;
	bool any = false;

	for (uint32_t n = 0; n < 2 * PS_FLOWS && !bpf_map_get_next_key(fd, last, &key); n++) {
		last = &key;
		if (cookie && key.namespace != cookie)
			continue;
		any = true;
		if (!ports)
			break;
		ports[key.server_port >> 5] |= 1u << (key.server_port & 31);
	}
	return any;
}

bool ps_has_idle(const struct ps_host *host, const struct ps_ruleset *rules)
{
	bool needs[PS_SETS] = {};

	for (size_t i = 0; i < rules->count; i++)
		note_sets(&rules->rules[i], needs);
	for (int set = 0; set < PS_SETS; set++) {
		if (host->hooks.loaded[set] && !needs[set])
			return true;
	}
	return false;
}

static int is_interrupted(uint64_t cookie, uint32_t index, void *data)
{
	const struct ps_host *host = data;
	const struct ps_instance *instance = &host->instances[index];
	uint64_t word = ps_fetch(&instance->active);

	(void)cookie;
	return word && (ps_fetch(&instance->pending) != word || ps_fetch(&instance->begun));
}

bool ps_any_interrupted(const struct ps_host *host)
{
	/* If it cannot be told, all are looked at. */
	return ps_host_each(host, is_interrupted, (void *)host);
}

static bool has_fewer(const uint32_t *before, const uint32_t *now)
{
	for (int i = 0; i < PS_PORT_WORDS; i++) {
		if (before[i] & ~now[i])
			return true;
	}
	return false;
}

/* Is sock_ops needed above cgroups that it may be on for other namespaces? */
static bool makes_narrower_idle(const struct needs *before, const struct needs *now)
{
	return !ps_attach_points_include(&before->anchors, &now->anchors) &&
	       ps_attach_points_attached() > now->anchors.count;
}

/* Did one need something that the other does not? */
static bool lessens(const struct needs *before, const struct needs *now)
{
	for (int set = 0; set < PS_SETS; set++) {
		if (before->sets[set] && !now->sets[set])
			return true;
	}
	return has_fewer(before->bind_ports, now->bind_ports) ||
	       has_fewer(before->connect_ports, now->connect_ports) ||
	       has_fewer(before->client_ports, now->client_ports) ||
	       !ps_attach_points_include(&now->anchors, &before->anchors) ||
	       makes_narrower_idle(before, now);
}

static int count_other(uint64_t cookie, uint32_t index, void *data)
{
	(void)index;
	return cookie != *(const uint64_t *)data;
}

/* Is the root watched for none of these rules, but it may be for clients whose connections have
 * ended since their rules went? */
static bool watches_root(const struct needs *now)
{
	__attribute__((cleanup(ps_attach_points_clear))) struct ps_attach_points root = {};

	return ps_attach_points_add_root(&root) ||
	       (!ps_attach_points_include(&now->anchors, &root) && ps_attach_points_cover(&root));
}

/* Can there be anything that is to be detached? */
static int may_release(const struct ps_host *host, uint64_t cookie, const struct ps_state *before,
		       const struct needs *now)
{
	_cleanup_needs_ struct needs *had = calloc(1, sizeof(*had));
	int ret;

	if (!had)
		return -ENOMEM;
	/* Where there are no others, looking is for nothing. */
	if (!before || !ps_host_each(host, count_other, &cookie))
		return 1;
	ret = add_needs(had, before);
	return ret ? ret : lessens(had, now) || watches_root(now);
}

/* Detach and narrow what is not among the needs of all. */
static int reduce_to(struct ps_host *host, struct needs *n)
{
	/* It sees clients' sockets close. */
	int ret = ps_client_flows(host, 0, NULL) ? ps_attach_points_add_root(&n->anchors) : 0;

	if (!ret)
		ret = move_anchors(host, &n->anchors);
	/* The last first: a set may need those before it. */
	for (int set = PS_SETS; set-- && !ret;)
		ret = n->sets[set] ? 0 : ps_hooks_remove(&host->hooks, (enum ps_set)set);
	if (ret)
		return ret;
	if (host->hooks.bind_filter)
		ps_filter_narrow(host->hooks.bind_filter, n->bind_ports, PS_PORT_WORDS);
	if (host->hooks.connect_filter)
		ps_filter_narrow(host->hooks.connect_filter, n->connect_ports, PS_PORT_WORDS);
	ps_filter_narrow(host->client_filter, n->client_ports, PS_PORT_WORDS);
	return 0;
}

int ps_release(struct ps_host *host, uint64_t cookie, const struct ps_state *before,
	       const struct ps_state *now)
{
	_cleanup_needs_ struct needs *n = calloc(1, sizeof(*n));
	int ret = n ? 0 : -ENOMEM;

	if (!ret && now)
		ret = add_needs(n, now);
	if (!ret)
		ret = may_release(host, cookie, before, n);
	if (ret <= 0)
		return ret;
	ret = collect_others(host, cookie, n);
	return ret ? ret : reduce_to(host, n);
}
