// SPDX-License-Identifier: GPL-2.0-only
/* The changes that commands make: load, unload, and replacing the ruleset. */
#include "engine/instance.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "compile/plan_bind.h"
#include "compile/plan_connect.h"
#include "engine/lifecycle.h"
#include "engine/upgrade.h"
#include "kernel/anchor.h"
#include "kernel/bpffs.h"
#include "kernel/kmap.h"
#include "kernel/others.h"
#include "kernel/saved.h"
#include "kernel/scan.h"
#include "kernel/tables.h"
#include "os/services.h"
#include "util/util.h"

/* In the state folder, while listeners that a lost hook has missed are looked for. */
#define RENEWING "renewing"

/* The writer's lock and what is behind it. */
struct writer {
	int lock;
	struct ps_host host;
};

static void end_writer(struct writer *w)
{
	ps_host_close(&w->host);
	ps_bpffs_unlock(w->lock);
}
#define _cleanup_writer_ __attribute__((cleanup(end_writer)))
#define WRITER_NONE                                                                                \
	{                                                                                          \
		.lock = -1, .host = PS_HOST_NONE                                                   \
	}

/* Take the lock, open the shared objects (load them if `load`), clean up. */
static int begin_writer(struct writer *w, bool load, struct ps_error *error)
{
	int ret;

	w->lock = ps_bpffs_lock(error);
	if (w->lock < 0)
		return w->lock;
	ret = ps_upgrade_settle(error);
	if (ret)
		return ret;
	ret = load ? ps_host_load(&w->host, error) : ps_host_open(&w->host, error);
	if (ret)
		return ret;
	ret = ps_clean(&w->host);
	if (!ret)
		ret = ps_hooks_clean();
	return ret ? ps_fail_kernel(error, ret, "clean up after an interrupted command") : 0;
}

/* A command that loaded the shared objects and then failed takes them away. */
static void remove_if_unused(struct writer *w)
{
	if (w->host.instances)
		ps_drop_host_if_unused(&w->host);
}

/* What all instances need together. */
struct collecting {
	struct ps_anchors anchors;
	bool needs[PS_SETS]; /* which programs on the root cgroup */
	uint32_t bind_filter[65536 / 32], connect_filter[65536 / 32], client_filter[65536 / 32];
	const struct ps_host *host;
	int ret;
};

/* The programs on the root cgroup that a rule needs. */
static void note_sets(const struct ps_rule *rule, bool needs[PS_SETS])
{
	needs[PS_SET_BIND] |= rule->mode == PS_MODE_BIND;
	needs[PS_SET_CONNECT] |= ps_rule_turns_clients(rule);
	needs[PS_SET_DATAGRAM] |= rule->mode == PS_MODE_CONNECT && rule->proto == IPPROTO_UDP;
}

static void collect_rule(struct collecting *c, const struct ps_rule *rule)
{
	note_sets(rule, c->needs);
	ps_bind_ports(rule, c->bind_filter);
	ps_connect_ports(rule, c->connect_filter);
	ps_flow_ports(rule, c->client_filter);
}

static int collect_one(uint64_t cookie, uint32_t index, void *data)
{
	struct collecting *c = data;
	uint64_t word = ps_fetch(&c->host->instances[index].active);
	struct ps_state state = {};

	if (!word)
		return 0;
	c->ret = ps_read_state(cookie, PS_WORD_GEN(word), &state);
	if (!c->ret)
		c->ret = ps_anchors_add(&c->anchors, &state, NULL);
	for (size_t i = 0; i < state.rules.count; i++)
		collect_rule(c, &state.rules.rules[i]);
	ps_state_clear(&state);
	return c->ret;
}

enum { PORT_WORDS = 65536 / 32 };

/* A filter must never lack a port of the ruleset in force: it grows before the store
 * and shrinks after it. */
static void widen_filter(uint32_t *filter, const uint32_t *plan, int count)
{
	for (int i = 0; i < count; i++)
		__atomic_fetch_or(&filter[i], plan[i], __ATOMIC_SEQ_CST);
}
static void narrow_filter(uint32_t *filter, const uint32_t *plan, int count)
{
	for (int i = 0; i < count; i++)
		__atomic_store_n(&filter[i], plan[i], __ATOMIC_SEQ_CST);
}

int ps_attach_needed(const struct ps_host *host, struct ps_error *error)
{
	_cleanup_free_ struct collecting *c = calloc(1, sizeof(*c));
	int ret;

	if (!c)
		return ps_fail_kernel(error, ENOMEM, "read the rules in force");
	c->host = host;
	ret = ps_host_each(host, collect_one, c);
	ret = ret ? ps_fail_kernel(error, ret, "read the rules in force") :
		    ps_anchors_attach(host, &c->anchors, error);
	ps_anchors_clear(&c->anchors);
	return ret;
}

/* Let sock_ops sit no higher than it is needed. One that was lost stays lost: whoever attaches
 * it again has to look for the listeners that it missed. */
static int move_anchors(const struct ps_host *host, const struct ps_anchors *anchors)
{
	int ret = ps_anchors_cover(anchors);

	if (ret <= 0)
		return ret;
	ret = ps_anchors_attach(host, anchors, NULL);
	return ret ? ret : ps_anchors_detach_others(anchors);
}

/* The ports to which clients of a namespace have flows (0: of any), a bit each, if wanted; true
 * if there are any. While there are, their rule may be gone, but not what refuses a connection of
 * theirs that is still to be answered: it was sent where somebody else may be. */
static bool flow_ports(const struct ps_host *host, uint64_t cookie, uint32_t ports[PORT_WORDS])
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

/* Detach what no instance's rules need any more. */
static int release_unneeded(struct ps_host *host)
{
	_cleanup_free_ struct collecting *c = calloc(1, sizeof(*c));
	int ret;

	if (!c)
		return -ENOMEM;
	c->host = host;
	ret = ps_host_each(host, collect_one, c);
	/* It sees clients' sockets close. */
	if (!ret && flow_ports(host, 0, NULL))
		ret = ps_anchors_add_root(&c->anchors);
	if (!ret)
		ret = move_anchors(host, &c->anchors);
	/* The last first: a set may need those before it. */
	for (int set = PS_SETS; set-- && !ret;)
		ret = c->needs[set] ? 0 : ps_hooks_remove(&host->hooks, (enum ps_set)set);
	if (!ret && host->hooks.bind_filter)
		narrow_filter(host->hooks.bind_filter, c->bind_filter, PORT_WORDS);
	if (!ret && host->hooks.connect_filter)
		narrow_filter(host->hooks.connect_filter, c->connect_filter, PORT_WORDS);
	if (!ret)
		narrow_filter(host->client_filter, c->client_filter, PORT_WORDS);
	ps_anchors_clear(&c->anchors);
	return ret;
}

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
	widen_filter(t->filter, plan->filter, 2 * PORT_WORDS);
	widen_filter(host->client_filter, plan->filter + PORT_WORDS, PORT_WORDS);
	if (host->hooks.bind_filter)
		widen_filter(host->hooks.bind_filter, plan->bind_filter, PORT_WORDS);
	if (host->hooks.connect_filter)
		widen_filter(host->hooks.connect_filter, plan->connect_filter, PORT_WORDS);
}

/* Everything that must be there before the store. Nothing of it is seen by a
 * connection. */
static int prepare(struct ps_host *host, struct ps_tables *t, const struct ps_netns *netns,
		   const struct ps_plan *plan, const struct ps_state *before,
		   struct ps_error *error)
{
	struct ps_anchors anchors = {};
	int ret = ps_anchors_add(&anchors, &plan->state, error);

	if (!ret)
		ret = store_plan(host, t, plan, before, error);
	if (!ret)
		ret = ps_anchors_attach(t->host, &anchors, error);
	ps_anchors_clear(&anchors);
	if (ret)
		return ret;
	if (netns && ps_ruleset_has_targets(&plan->state.rules)) {
		ret = ps_steer_attach(netns);
		if (ret < 0)
			return ps_fail_attach_netns(error, ret);
	}
	/* From here a socket that begins to listen is admitted to new targets. */
	ps_store(&t->instance->pending, plan->word);
	widen_filters(host, t, plan);
	return ps_scan(t->host, netns, t->index, &plan->state, error);
}

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

/* Remove what belongs to no ruleset in force. Failing here loses nothing: the
 * next change tries again. */
static void tidy(struct ps_host *host, struct ps_tables *t, uint32_t generation, bool prefixes)
{
	remove_stale_states(t, generation);
	if (prefixes)
		ps_tables_sweep(t, generation);
	release_unneeded(host);
}

/* Detach the steering program if these rules, which are in force, do not need it. */
static void release_steer(const struct ps_tables *t, const struct ps_ruleset *rules)
{
	if (!ps_ruleset_has_targets(rules) && !flow_ports(t->host, t->cookie, NULL))
		ps_steer_detach(t->cookie);
}

/* The ports of a ruleset that has come into force, and of clients that are still under way. */
static void narrow_ports(const struct ps_tables *t, const struct ps_plan *plan)
{
	uint32_t ports[2 * PORT_WORDS], flows[PORT_WORDS] = {};

	memcpy(ports, plan->filter, sizeof(ports));
	flow_ports(t->host, t->cookie, flows);
	for (int i = 0; i < PORT_WORDS; i++) {
		ports[i] |= flows[i];
		ports[PORT_WORDS + i] |= flows[i];
	}
	narrow_filter(t->filter, ports, 2 * PORT_WORDS);
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

/* Replace the ruleset in force by `rules`. */
static int replace(struct ps_host *host, struct ps_tables *t, const struct ps_netns *netns,
		   const struct ps_ruleset *rules, struct ps_state *before, struct ps_error *error)
{
	uint64_t word = ps_present_word(t->instance);
	uint32_t begun = (uint32_t)ps_fetch(&t->instance->begun);
	bool prefixes = has_prefixes(&before->rules) || has_prefixes(rules);
	struct ps_plan plan = {};
	bool interrupted = is_interrupted(t);
	int ret, retired;

	/* A generation that a killed command has used is not used again: by its number, what that
	 * command has stored would be taken for the next ruleset's. */
	if (begun > before->generation)
		before->generation = begun;
	ret = ps_plan_build(rules, before, word, &plan, error);
	if (ret)
		return ret;
	if (interrupted) {
		ret = give_up_pending(t, word);
		if (!ret)
			ret = ps_tables_sweep(t, PS_WORD_GEN(word));
		tidy(host, t, PS_WORD_GEN(word), false);
	}
	ps_store(&t->instance->begun, plan.state.generation);
	ret = ret ? ps_fail_kernel(error, ret, "clean up after an interrupted command") :
		    prepare(host, t, netns, &plan, before, error);
	if (!ret) {
		ps_store(&t->instance->active, plan.word);
		narrow_ports(t, &plan);
		retired = ps_tables_retire(t, &plan.state,
					   plan.wait || interrupted ? 0 : before->retired_count);
		tidy(host, t, plan.state.generation, prefixes);
		release_steer(t, &plan.state.rules);
		if (!retired)
			ps_store(&t->instance->begun, 0);
	} else {
		give_up_pending(t, word);
		tidy(host, t, PS_WORD_GEN(word), prefixes);
		release_steer(t, &before->rules);
	}
	ps_plan_clear(&plan);
	return ret;
}

int ps_restore(struct ps_host *host, uint64_t cookie, uint32_t index,
	       const struct ps_ruleset *rules, uint32_t generation, struct ps_error *error)
{
	const struct ps_state before = { .generation = generation, .rules = *rules };
	struct ps_tables tables = PS_TABLES_NONE;
	struct ps_plan plan = {};
	int ret = ps_tables_open(host, cookie, index, &tables, error);

	if (!ret)
		ret = ps_plan_build(rules, &before, ps_present_word(tables.instance), &plan, error);
	if (!ret)
		ret = store_plan(host, &tables, &plan, &before, error);
	if (!ret) {
		ps_store(&tables.instance->pending, plan.word);
		ps_store(&tables.instance->active, plan.word);
		widen_filters(host, &tables, &plan);
		remove_stale_states(&tables, plan.state.generation);
	}
	ps_plan_clear(&plan);
	ps_tables_close(&tables);
	return ret;
}

/* Are there programs which these rules do not need? */
static bool has_idle(const struct ps_host *host, const struct ps_ruleset *rules)
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

/* Where nothing changes, something may be left of a command that was killed: clean that up
 * if there is a sign of it. */
static void tidy_unchanged(struct ps_host *host, struct ps_tables *t, const struct ps_state *state)
{
	uint64_t word = ps_present_word(t->instance);
	bool pending = is_interrupted(t);

	if (!pending && !has_idle(host, &state->rules))
		return;
	if (pending && give_up_pending(t, word))
		return;
	tidy(host, t, PS_WORD_GEN(word), pending);
	/* Killed behind its store, it left the listeners of rules that are deleted. */
	if (pending && ps_fetch(&t->instance->begun) == PS_WORD_GEN(word) &&
	    !ps_tables_retire(t, state, 0))
		ps_store(&t->instance->begun, 0);
}

static int read_in_force(const struct ps_tables *t, struct ps_state *state, struct ps_error *error)
{
	int ret = ps_read_state(t->cookie, PS_WORD_GEN(ps_present_word(t->instance)), state);

	return ret ? ps_fail_kernel(error, ret, "read the rules in force") : 0;
}

struct renewing {
	struct ps_host *host;
	struct ps_error *error;
};

/* Look for the listeners of all targets of an instance, attaching the listen hook if it is not. */
static int renew_one(uint64_t cookie, uint32_t index, void *data)
{
	__attribute__((cleanup(ps_tables_close))) struct ps_tables tables = PS_TABLES_NONE;
	const struct renewing *renewing = data;
	struct ps_host *host = renewing->host;
	struct ps_state before = {};
	int ret;

	if (!ps_fetch(&host->instances[index].active))
		return 0;
	ret = ps_tables_open(host, cookie, index, &tables, renewing->error);
	if (!ret)
		ret = read_in_force(&tables, &before, renewing->error);
	before.renew_targets = true;
	if (!ret && before.target_count)
		ret = replace(host, &tables, NULL, &before.rules, &before, renewing->error);
	ps_state_clear(&before);
	return ret;
}

/* The hook is one for all instances: once it is attached again, nothing shows that listeners
 * were missed. So a folder says that until all of them were looked for. */
static int renew_all(struct ps_host *host, struct ps_error *error)
{
	struct renewing renewing = { .host = host, .error = error };
	char mark[PS_PATH];
	int ret;

	ps_bpffs_path(mark, RENEWING);
	if (mkdir(mark, 0700) && errno != EEXIST)
		return ps_fail_kernel(error, errno, "note that listeners are to be looked for");
	ret = ps_host_each(host, renew_one, &renewing);
	if (!ret && rmdir(mark))
		ret = ps_fail_kernel(error, errno, "note that listeners were looked for");
	return ret;
}

/* Were hooks detached by somebody, or is a command that attached them again not through? Then put
 * everything in order, and say so. */
static int revive(struct ps_host *host, const struct ps_netns *netns, const struct ps_state *state,
		  bool *revived, struct ps_error *error)
{
	char mark[PS_PATH];
	int ret = ps_hooks_revive(&host->hooks, error);

	if (ret < 0)
		return ret;
	*revived = ret > 0;
	if (ps_ruleset_has_targets(&state->rules)) {
		ret = ps_steer_attach(netns);
		if (ret < 0)
			return ps_fail_attach_netns(error, ret);
		*revived |= ret > 0;
	}
	/* The hook of other instances may be lost where this one has had no need of it. */
	ret = ps_anchors_lost();
	if (ret < 0)
		return ps_fail_kernel(error, ret, "look at the listen hook");
	ps_bpffs_path(mark, RENEWING);
	if (!ret && !ps_exists(mark) && ps_listen_is_lost(state) <= 0)
		return 0;
	*revived = true;
	return renew_all(host, error);
}

static int edit_loaded(struct writer *w, const struct ps_netns *netns, uint32_t index,
		       ps_edit_fn *edit, void *data, bool *replaced, struct ps_error *error)
{
	struct ps_tables tables = PS_TABLES_NONE;
	struct ps_state before = {};
	struct ps_ruleset rules = {};
	struct ps_diff diff;
	bool revived;
	int ret = ps_tables_open(&w->host, netns->cookie, index, &tables, error);

	if (ret)
		return ret;
	ret = read_in_force(&tables, &before, error);
	if (!ret)
		ret = revive(&w->host, netns, &before, &revived, error);
	if (!ret && revived) {
		ps_state_clear(&before);
		ret = read_in_force(&tables, &before, error);
	}
	if (!ret && ps_ruleset_copy(&before.rules, &rules))
		ret = ps_fail_kernel(error, ENOMEM, "read the rules in force");
	if (!ret)
		ret = edit(&rules, data, error);
	if (!ret)
		ret = ps_services_refuse(&before.rules, &rules, error);
	if (!ret) {
		diff = ps_ruleset_diff(&before.rules, &rules);
		*replaced = diff.added || diff.removed || diff.changed || diff.moved;
		if (*replaced)
			ret = replace(&w->host, &tables, netns, &rules, &before, error);
		else
			tidy_unchanged(&w->host, &tables, &before);
		*replaced |= revived;
	}
	ps_ruleset_clear(&rules);
	ps_state_clear(&before);
	ps_tables_close(&tables);
	return ret;
}

int ps_instance_edit(const struct ps_netns *netns, bool load, ps_edit_fn *edit, void *data,
		     struct ps_error *error)
{
	_cleanup_writer_ struct writer w = WRITER_NONE;
	int ret = begin_writer(&w, load, error), index;
	bool loaded = false, replaced;

	if (ret)
		return ret;
	index = ps_find_loaded(&w.host, netns->cookie);
	if (index == -ESRCH && load) {
		index = ps_create(&w.host, netns, error);
		loaded = index >= 0;
		if (!loaded) {
			remove_if_unused(&w);
			return index;
		}
	}
	if (index < 0)
		return ps_fail(error, PS_EXIT_NOT_LOADED, ESRCH,
			       "portsteer is not loaded in %s; run 'portsteer load' or 'portsteer "
			       "add'",
			       netns->label);
	ret = edit_loaded(&w, netns, (uint32_t)index, edit, data, &replaced, error);
	if (ret && loaded)
		ps_destroy(&w.host, netns->cookie, (uint32_t)index);
	return ret;
}

static int keep_rules(struct ps_ruleset *rules, void *data, struct ps_error *error)
{
	(void)rules;
	(void)data;
	(void)error;
	return 0;
}

int ps_instance_load(const struct ps_netns *netns, bool *changed, struct ps_error *error)
{
	_cleanup_writer_ struct writer w = WRITER_NONE;
	int ret = begin_writer(&w, true, error), index;
	uint64_t word;

	*changed = false;
	if (ret)
		return ret;
	index = ps_find_loaded(&w.host, netns->cookie);
	/* A lost listen hook is attached again, its listeners are looked for. */
	if (index >= 0)
		return edit_loaded(&w, netns, (uint32_t)index, keep_rules, NULL, changed, error);
	index = ps_create(&w.host, netns, error);
	if (index < 0) {
		remove_if_unused(&w);
		return index;
	}
	word = ps_present_word(&w.host.instances[index]);
	ps_store(&w.host.instances[index].pending, word);
	ps_store(&w.host.instances[index].active, word);
	*changed = true;
	return 0;
}

/* Is this failure to open the shared state one that stays: a part is missing, or is
 * another version's? Not so a lack of memory, descriptors or permission. */
static bool is_beyond_repair(int ret)
{
	return ret == -ESRCH || ret == -ENOENT || ret == -EPROTO || ret == -EBADMSG;
}

/* Leftovers, a broken state or another version's: nothing of it can be kept, and
 * `unload` is the command that is told to remove it. */
static int remove_all(bool *changed, int why, struct ps_error *error)
{
	int ret = ps_host_remove();

	*changed = why != -ESRCH;
	return ret ? ps_fail_kernel(error, ret, "remove " PS_STATE) : 0;
}

int ps_instance_unload(const struct ps_netns *netns, bool *changed, struct ps_error *error)
{
	_cleanup_writer_ struct writer w = WRITER_NONE;
	int index, ret;

	*changed = false;
	if (!ps_bpffs_has_state())
		return 0;
	ret = begin_writer(&w, false, error);
	if (ret && w.lock >= 0 && !w.host.instances && is_beyond_repair(ret))
		return remove_all(changed, ret, error);
	if (ret)
		return ret;
	index = ps_find_loaded(&w.host, netns->cookie);
	if (index == -ESRCH) {
		remove_if_unused(&w);
		return 0;
	}
	ret = index < 0 ? index : ps_destroy(&w.host, netns->cookie, (uint32_t)index);
	if (!ret && w.host.instances)
		ret = release_unneeded(&w.host);
	if (ret)
		return ps_fail_kernel(error, ret, "unload");
	*changed = true;
	return 0;
}

int ps_instance_unload_all(bool *changed, struct ps_error *error)
{
	_cleanup_writer_ struct writer w = WRITER_NONE;
	int ret;

	*changed = false;
	if (!ps_bpffs_has_state())
		return 0;
	ret = begin_writer(&w, false, error);
	if (ret && (w.lock < 0 || w.host.instances || !is_beyond_repair(ret)))
		return ret;
	/* Nothing is in force from here on; if we are killed, the rest is cleaned up later. */
	for (size_t i = 0; !ret && i < PS_MAX_INSTANCES; i++)
		ps_store(&w.host.instances[i].active, 0);
	return remove_all(changed, ret, error);
}
