// SPDX-License-Identifier: GPL-2.0-only
#include "engine/publish.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "compile/plan.h"
#include "engine/lifecycle.h"
#include "engine/needs.h"
#include "kernel/attach_points.h"
#include "kernel/bpffs.h"
#include "kernel/kmap.h"
#include "kernel/others.h"
#include "kernel/saved.h"
#include "kernel/scan.h"
#include "os/refusal_facts.h"
#include "util/util.h"

int ps_opened_read(struct ps_opened *o, struct ps_error *error)
{
	const struct ps_tables *t = &o->tables;
	int ret;

	ps_state_clear(&o->state);
	ret = ps_read_state(t->cookie, PS_WORD_GEN(ps_present_word(t->instance)), &o->state);
	return ret ? ps_fail_kernel(error, ret, "read the rules in force") : 0;
}

void ps_opened_close(struct ps_opened *o)
{
	ps_state_clear(&o->state);
	ps_tables_close(&o->tables);
	*o = (struct ps_opened)PS_OPENED_NONE;
}

/* --- building aside */

/* The programs on the root cgroup that a plan needs. */
static int load_hooks(struct ps_host *host, const struct ps_plan *plan, struct ps_error *error)
{
	int ret = plan->binds_any ? ps_hooks_load(&host->hooks, host->fd, PS_SET_BIND, error) : 0;

	if (!ret && plan->connects_any)
		ret = ps_hooks_load(&host->hooks, host->fd, PS_SET_CONNECT, error);
	if (!ret && plan->connects_udp)
		ret = ps_hooks_load(&host->hooks, host->fd, PS_SET_DATAGRAM, error);
	return ret;
}

/* The plan's programs, tables (in the half that is not in force) and saved rules. */
static int store_plan(struct ps_host *host, struct ps_tables *t, const struct ps_plan *plan,
		      const struct ps_state *before, struct ps_error *error)
{
	int ret = load_hooks(host, plan, error);

	if (ret)
		return ret;
	/* A program that still reads a ruleset of before must not admit its target's listener to
	 * the target that has the id next. */
	ret = plan->wait ? ps_wait_for_programs() : 0;
	if (!ret)
		ret = ps_tables_reserve(t, plan);
	if (!ret)
		ret = ps_tables_store(t, plan, before);
	if (!ret)
		ret = ps_save_state(t->cookie, &plan->state);
	return ret ? ps_fail_kernel(error, ret, "store the ruleset") : 0;
}

static void widen_filters(const struct ps_host *host, const struct ps_tables *t,
			  const struct ps_plan *plan)
{
	ps_filter_widen(t->filter, plan->filter, 2 * PS_PORT_WORDS);
	ps_filter_widen(host->client_filter, plan->filter + PS_PORT_WORDS, PS_PORT_WORDS);
	if (host->hooks.bind_filter)
		ps_filter_widen(host->hooks.bind_filter, plan->bind_filter, PS_PORT_WORDS);
	if (host->hooks.connect_filter)
		ps_filter_widen(host->hooks.connect_filter, plan->connect_filter, PS_PORT_WORDS);
}

/* Does anybody listen on the port of a new target? Looking at every open file of the host is the
 * longer way to find out. This is asked when whoever begins to listen is admitted already, so that
 * nobody is missed. True if it cannot be told. */
static bool any_listener(const struct ps_opened *o, const struct ps_state *state,
			 struct ps_look *look)
{
	_cleanup_free_ struct ps_ports *ports = calloc(1, sizeof(*ports));

	if (!o->netns || !look || !ports)
		return true;
	for (size_t i = 0; i < state->target_count; i++) {
		uint32_t port = state->targets[i].port;

		if (!state->targets[i].fresh)
			continue;
		ps_ports_add(ports, IPPROTO_TCP, port, port);
		ps_ports_add(&look->ports, IPPROTO_TCP, port, port);
	}
	return ps_look_read(look, o->netns, NULL) || ps_look_meets(look, ports);
}

/* Everything that must be there before the store. Nothing of it is seen by a
 * connection. */
static int prepare(struct ps_opened *o, const struct ps_plan *plan, struct ps_look *look,
		   struct ps_error *error)
{
	__attribute__((cleanup(ps_attach_points_clear))) struct ps_attach_points anchors = {};
	struct ps_tables *t = &o->tables;
	int ret = ps_attach_points_add(&anchors, &plan->state, error);

	if (ret)
		return ret;
	ret = store_plan(o->host, t, plan, &o->state, error);
	if (ret)
		return ret;
	ret = ps_attach_points_attach(o->host, &anchors, error);
	if (ret)
		return ret;
	if (o->netns && ps_ruleset_has_targets(&plan->state.rules)) {
		ret = ps_steer_attach(o->netns);
		if (ret < 0)
			return ps_fail_attach_netns(error, ret);
	}
	/* From here a socket that begins to listen is admitted to new targets. */
	ps_store(&t->instance->pending, plan->word);
	widen_filters(o->host, t, plan);
	if (!ps_scan_is_wanted(&plan->state) || !any_listener(o, &plan->state, look))
		return 0;
	return ps_scan(o->host, t->index, &plan->state, error);
}

/* --- cleaning up */

struct stale {
	const char *folder;
	uint32_t generation;
};

static int remove_stale_state(const char *name, void *data)
{
	const struct stale *stale = data;
	char path[PS_PATH], keep[32];

	snprintf(keep, sizeof(keep), "rules-%" PRIu32, stale->generation);
	if (strncmp(name, "rules-", 6) || !strcmp(name, keep))
		return 0;
	if (snprintf(path, sizeof(path), "%s/%s", stale->folder, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return unlink(path) && errno != ENOENT ? -errno : 0;
}

static void remove_stale_states(const struct ps_tables *t, uint32_t generation)
{
	struct stale stale = { .generation = generation };
	char folder[PS_PATH];

	ps_bpffs_path(folder, "ns-%" PRIu64, t->cookie);
	stale.folder = folder;
	ps_bpffs_each(folder, remove_stale_state, &stale);
}

/* Detach the steering program if these rules, which are in force, do not need it. */
static void release_steer(const struct ps_tables *t, const struct ps_ruleset *rules)
{
	if (!ps_ruleset_has_targets(rules) && !ps_client_flows(t->host, t->cookie, NULL))
		ps_steer_detach(t->cookie);
}

/* The ports of a ruleset that has come into force, and of clients that are still under way. */
static void narrow_ports(const struct ps_tables *t, const struct ps_plan *plan)
{
	uint32_t ports[2 * PS_PORT_WORDS], flows[PS_PORT_WORDS] = {};

	memcpy(ports, plan->filter, sizeof(ports));
	ps_client_flows(t->host, t->cookie, flows);
	for (int i = 0; i < PS_PORT_WORDS; i++) {
		ports[i] |= flows[i];
		ports[PS_PORT_WORDS + i] |= flows[i];
	}
	ps_filter_narrow(t->filter, ports, 2 * PS_PORT_WORDS);
}

static bool has_prefixes(const struct ps_ruleset *rules)
{
	for (size_t i = 0; i < rules->count; i++) {
		if (rules->rules[i].prefix.family)
			return true;
	}
	return false;
}

/* Give up the ruleset that is being prepared, or was when a command was killed. Listeners may
 * be on their way to its new targets, whose ids the next one gives out again: wait for them.
 * `pending` says until then that there was one. */
static int give_up_pending(struct ps_tables *t, uint64_t word)
{
	int ret;

	ps_store(&t->instance->pending, ps_fetch(&t->instance->active) ? 0 : PS_WORD_LIFE(word));
	ret = ps_wait_for_programs();
	if (!ret)
		ps_store(&t->instance->pending, word);
	return ret;
}

/* Was a command killed that prepared another ruleset, or cleaned up behind this one? */
static bool is_interrupted(const struct ps_tables *t)
{
	return ps_fetch(&t->instance->pending) != ps_present_word(t->instance) ||
	       ps_fetch(&t->instance->begun);
}

/* --- the whole */

/* A killed command has begun another ruleset: nothing of that is to meet the next one. */
static int clean_up(struct ps_opened *o, uint64_t word, bool all, struct ps_error *error)
{
	struct ps_tables *t = &o->tables;
	int ret = give_up_pending(t, word);

	if (!ret)
		ret = ps_tables_sweep(t, PS_WORD_GEN(word));
	remove_stale_states(t, PS_WORD_GEN(word));
	if (all)
		ps_release(o->host, t->cookie, NULL, &o->state);
	return ret ? ps_fail_kernel(error, ret, "clean up after an interrupted command") : 0;
}

/* What belonged to the ruleset before, or to what was given up, goes. Failing here loses nothing:
 * `begun` says so to the next change, which tries again. */
static void finish(struct ps_opened *o, const struct ps_plan *plan, bool all, bool prefixes,
		   bool interrupted)
{
	struct ps_tables *t = &o->tables;
	int ret;

	narrow_ports(t, plan);
	ret = ps_tables_retire(t, &plan->state,
			       plan->wait || interrupted ? 0 : o->state.retired_count);
	remove_stale_states(t, plan->state.generation);
	if (prefixes)
		ps_tables_sweep(t, plan->state.generation);
	if (ps_release(o->host, t->cookie, all ? NULL : &o->state, &plan->state))
		ret = -EAGAIN;
	release_steer(t, &plan->state.rules);
	if (!ret)
		ps_store(&t->instance->begun, 0);
}

static void give_up(struct ps_opened *o, uint64_t word, bool prefixes)
{
	struct ps_tables *t = &o->tables;

	give_up_pending(t, word);
	remove_stale_states(t, PS_WORD_GEN(word));
	if (prefixes)
		ps_tables_sweep(t, PS_WORD_GEN(word));
	ps_release(o->host, t->cookie, NULL, &o->state);
	release_steer(t, &o->state.rules);
}

int ps_publish(struct ps_opened *o, const struct ps_ruleset *rules, struct ps_look *look,
	       struct ps_error *error)
{
	__attribute__((cleanup(ps_plan_clear))) struct ps_plan plan = {};
	struct ps_tables *t = &o->tables;
	struct ps_state *before = &o->state, was;
	uint64_t word = ps_present_word(t->instance);
	uint32_t begun = (uint32_t)ps_fetch(&t->instance->begun);
	bool prefixes = has_prefixes(&before->rules) || has_prefixes(rules);
	bool interrupted = is_interrupted(t);
	/* A new instance looks as if it were; the others do not. */
	bool all = ps_any_interrupted(o->host);
	int ret;

	/* A generation that a killed command has used is not used again: by its number, what that
	 * command has stored would be taken for the next ruleset's. */
	if (begun > before->generation)
		before->generation = begun;
	ret = ps_plan_build(rules, before, word, &plan, error);
	if (ret)
		return ret;
	ret = interrupted ? clean_up(o, word, all, error) : 0;
	ps_store(&t->instance->begun, plan.state.generation);
	if (!ret)
		ret = prepare(o, &plan, look, error);
	if (ret) {
		give_up(o, word, prefixes);
		return ret;
	}
	ps_store(&t->instance->active, plan.word);
	finish(o, &plan, all, prefixes, interrupted);
	was = o->state;
	o->state = plan.state;
	plan.state = was;
	return 0;
}

void ps_publish_nothing(struct ps_opened *o)
{
	struct ps_tables *t = &o->tables;
	uint64_t word = ps_present_word(t->instance);
	bool pending = is_interrupted(t);

	if (!pending && !ps_has_idle(o->host, &o->state.rules))
		return;
	if (pending && give_up_pending(t, word))
		return;
	remove_stale_states(t, PS_WORD_GEN(word));
	if (pending)
		ps_tables_sweep(t, PS_WORD_GEN(word));
	ps_release(o->host, t->cookie, NULL, &o->state);
	/* Killed behind its store, it left the listeners of rules that are deleted. */
	if (pending && ps_fetch(&t->instance->begun) == PS_WORD_GEN(word) &&
	    !ps_tables_retire(t, &o->state, 0))
		ps_store(&t->instance->begun, 0);
}

int ps_restore(struct ps_host *host, uint64_t cookie, uint32_t index,
	       const struct ps_ruleset *rules, uint32_t generation, struct ps_error *error)
{
	__attribute__((cleanup(ps_tables_close))) struct ps_tables tables = PS_TABLES_NONE;
	__attribute__((cleanup(ps_plan_clear))) struct ps_plan plan = {};
	const struct ps_state before = { .generation = generation, .rules = *rules };
	int ret = ps_tables_open(host, cookie, index, &tables, error);

	if (ret)
		return ret;
	ret = ps_plan_build(rules, &before, ps_present_word(tables.instance), &plan, error);
	if (ret)
		return ret;
	ret = store_plan(host, &tables, &plan, &before, error);
	if (ret)
		return ret;
	ps_store(&tables.instance->pending, plan.word);
	ps_store(&tables.instance->active, plan.word);
	widen_filters(host, &tables, &plan);
	remove_stale_states(&tables, plan.state.generation);
	return 0;
}
