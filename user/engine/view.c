// SPDX-License-Identifier: GPL-2.0-only
#include "engine/view.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "engine/lifecycle.h"
#include "engine/upgrade_finish.h"
#include "kernel/attach_points.h"
#include "kernel/bpffs.h"
#include "kernel/build.h"
#include "kernel/kmap.h"
#include "kernel/memory.h"
#include "kernel/saved.h"
#include "kernel/tables.h"
#include "os/cgroup.h"
#include "util/array.h"
#include "util/util.h"

/* A ruleset may be replaced while it is read: then read again. */
enum { READ_TRIES = 100 };

void ps_view_clear(struct ps_view *view)
{
	ps_state_clear(&view->state);
	free(view->stats);
	free(view->listeners);
	*view = (struct ps_view){};
}

static int read_state(const struct ps_tables *t, struct ps_state *state)
{
	int ret = -ESRCH;

	for (int i = 0; i < READ_TRIES; i++) {
		uint64_t word = ps_fetch(&t->instance->active);

		if (!word)
			return -ESRCH;
		ret = ps_read_state(t->cookie, PS_WORD_GEN(word), state);
		if (!ret || ps_fetch(&t->instance->active) == word)
			return ret;
	}
	return ret;
}

/*
 * The kernel counts `last` in jiffies, which sk_lookup programs read for free.
 * The coarse clock's resolution is one jiffy (kernel/time/posix-timers.c), and
 * jiffies start 300 seconds before they wrap 32 bits (INITIAL_JIFFIES).
 */
static double since_jiffies(uint64_t last)
{
	struct timespec tick, now;
	double hz, present;

	if (!last || clock_getres(CLOCK_MONOTONIC_COARSE, &tick) ||
	    clock_gettime(CLOCK_MONOTONIC, &now) || !tick.tv_nsec)
		return -1;
	hz = 1e9 / (double)tick.tv_nsec;
	present = (double)(uint32_t)(-300 * (int)(hz + 0.5)) +
		  ((double)now.tv_sec + (double)now.tv_nsec / 1e9) * hz;
	return present > (double)last ? (present - (double)last) / hz : 0;
}

/* Add up what happened to the listeners of a rule's targets. */
static int add_events(const struct ps_tables *t, const struct ps_state *state,
		      const struct ps_rule *rule, struct ps_rule_stats *stats)
{
	int ret = 0;

	for (uint32_t n = 0; n <= (uint32_t)(rule->front_last - rule->front) && !ret; n++) {
		const struct ps_target *target =
			ps_state_target(state, (uint16_t)(rule->target + n), &rule->owner);
		struct ps_target_state counted = {};

		ret = target ? ps_tables_target(t, target->id, &counted) : -EBADMSG;
		stats->admitted += counted.admitted;
		stats->not_owner += counted.not_owner;
		stats->rejected += counted.rejected;
	}
	return ret;
}

static void set_refused(const struct ps_rule *rule, struct ps_rule_stats *s)
{
	if (rule->if_down == PS_DOWN_REFUSE)
		s->refused = s->no_listener + s->wrong_family + s->wrong_device;
}

static int read_steer_stats(struct ps_tables *t, const struct ps_state *state,
			    const struct ps_rule *rule, struct ps_rule_stats *s)
{
	struct ps_hits hits;
	int ret = ps_tables_hits(t, rule->id, &hits);

	if (ret)
		return ret;
	s->steered = hits.steered;
	s->no_listener = hits.no_listener;
	s->wrong_family = hits.wrong_family;
	s->wrong_device = hits.wrong_device;
	s->taken = hits.taken;
	set_refused(rule, s);
	s->last_hit = since_jiffies(hits.last);
	return add_events(t, state, rule, s);
}

static int read_bind_stats(const struct ps_tables *t, const struct ps_rule *rule,
			   struct ps_rule_stats *s)
{
	struct ps_bind_events events;
	int ret = ps_tables_bind_events(t, rule->id, &events);

	if (ret)
		return ret;
	if (ps_rule_is_grant(rule))
		s->granted = events.done;
	else
		s->translated = events.done;
	s->not_owner = events.not_owner;
	/* A bind that is under way is no failed one for long. */
	s->failed = events.tried > events.done ? events.tried - events.done : 0;
	s->last_hit = since_jiffies(events.last);
	return 0;
}

static int read_connect_stats(const struct ps_tables *t, const struct ps_state *state,
			      const struct ps_rule *rule, struct ps_rule_stats *s)
{
	struct ps_connect_events events;
	int ret = ps_tables_connect_events(t, rule->id, &events);

	if (ret)
		return ret;
	s->steered = events.steered;
	s->no_listener = events.no_listener;
	s->wrong_family = events.wrong_family;
	s->taken = events.taken;
	set_refused(rule, s);
	s->last_hit = since_jiffies(events.last);
	return ps_rule_has_targets(rule) ? add_events(t, state, rule, s) : 0;
}

static int read_stats(struct ps_tables *t, struct ps_view *view)
{
	const struct ps_ruleset *rules = &view->state.rules;
	int ret = 0;

	view->stats = calloc(rules->count + 1, sizeof(*view->stats));
	if (!view->stats)
		return -ENOMEM;
	for (size_t i = 0; i < rules->count && !ret; i++) {
		const struct ps_rule *rule = &rules->rules[i];

		struct ps_rule_stats *s = &view->stats[i];

		ret = rule->mode == PS_MODE_BIND    ? read_bind_stats(t, rule, s) :
		      rule->mode == PS_MODE_CONNECT ? read_connect_stats(t, &view->state, rule, s) :
						      read_steer_stats(t, &view->state, rule, s);
	}
	return ret;
}

static int add_listener(struct ps_view *view, size_t *room, uint32_t target, uint64_t cookie)
{
	for (size_t i = view->listener_count; i && view->listeners[i - 1].target == target; i--) {
		/* Found by listen() and by the scan at the same moment. */
		if (view->listeners[i - 1].cookie == cookie)
			return 0;
	}
	if (ps_grow((void **)&view->listeners, room, view->listener_count,
		    sizeof(*view->listeners)))
		return -ENOMEM;
	view->listeners[view->listener_count++] =
		(struct ps_listener){ .target = target, .cookie = cookie };
	return 0;
}

/* The sockets in a target's places; the kernel shows them as cookies. */
static int read_target(const struct ps_tables *t, uint32_t target, struct ps_view *view,
		       size_t *room)
{
	struct ps_target_state state;
	uint64_t cookie;
	int ret = ps_tables_target(t, target, &state);

	for (uint32_t n = 0; n < PS_PLACES && !ret; n++) {
		uint64_t used = state.used[0][n / 64] | state.used[1][n / 64];

		if (used >> (n % 64) & 1 && !ps_tables_listener(t, target, n, &cookie))
			ret = add_listener(view, room, target, cookie);
	}
	return ret;
}

static int compare_listeners(const void *a, const void *b)
{
	const struct ps_listener *x = a, *y = b;

	if (x->target != y->target)
		return x->target < y->target ? -1 : 1;
	return (x->cookie > y->cookie) - (x->cookie < y->cookie);
}

static int read_listeners(const struct ps_tables *t, struct ps_view *view)
{
	size_t room = 0;
	int ret = 0;

	for (size_t i = 0; i < view->state.target_count && !ret; i++)
		ret = read_target(t, view->state.targets[i].id, view, &room);
	if (view->listener_count)
		qsort(view->listeners, view->listener_count, sizeof(*view->listeners),
		      compare_listeners);
	return ret;
}

bool ps_view_has(const struct ps_view *view, uint32_t target, uint64_t cookie)
{
	const struct ps_listener key = { .target = target, .cookie = cookie };

	return view->listener_count &&
	       bsearch(&key, view->listeners, view->listener_count, sizeof(key), compare_listeners);
}

static void read_detached(const struct ps_tables *t, struct ps_view *view)
{
	view->listen_detached = ps_listen_is_lost(&view->state) > 0;
	view->bind_detached = ps_hooks_is_detached(&t->host->hooks, PS_SET_BIND);
}

int ps_view_take(struct ps_tables *tables, struct ps_state *state, struct ps_view *view)
{
	int ret;

	*view = (struct ps_view){ .state = *state };
	*state = (struct ps_state){};
	ret = read_stats(tables, view);
	if (!ret)
		ret = read_listeners(tables, view);
	if (ret)
		ps_view_clear(view);
	else
		read_detached(tables, view);
	return ret;
}

static int read_view(struct ps_tables *tables, void *data)
{
	struct ps_state state = {};
	int ret = read_state(tables, &state);

	if (!ret)
		ret = ps_view_take(tables, &state, data);
	ps_state_clear(&state);
	return ret;
}

static int read_rules(struct ps_tables *tables, void *data)
{
	struct ps_state state = {};
	int ret = read_state(tables, &state);

	if (!ret) {
		*(struct ps_ruleset *)data = state.rules;
		state.rules = (struct ps_ruleset){};
	}
	ps_state_clear(&state);
	return ret;
}

/* Read something of a loaded instance, of the state in the folder with this inode. */
static int read_once(const struct ps_netns *netns, uint64_t folder,
		     int (*read)(struct ps_tables *tables, void *data), void *data,
		     struct ps_error *error)
{
	__attribute__((cleanup(ps_host_close))) struct ps_host host = PS_HOST_NONE;
	__attribute__((cleanup(ps_tables_close))) struct ps_tables tables = PS_TABLES_NONE;
	int ret, index;

	ret = ps_host_open(&host, error);
	if (ret)
		return ret;
	index = ps_find_loaded(&host, netns->cookie);
	ret = index < 0 ? index :
			  ps_tables_open(&host, netns->cookie, (uint32_t)index, &tables, error);
	/* The tables may be of another layout than the shared part: their elements have other sizes,
	 * and must not be read. */
	if (!ret && ps_bpffs_inode() != folder)
		return ps_fail_kernel(error, -EAGAIN, "read the rules in force");
	if (!ret) {
		ret = read(&tables, data);
		if (ret)
			ps_fail_kernel(error, ret, "read the rules in force");
	}
	if (!ret)
		return 0;
	/* No lock is held: it may just have been unloaded. */
	if (ps_find_loaded(&host, netns->cookie) != -ESRCH)
		return ret;
	return ps_fail(error, PS_EXIT_NOT_LOADED, ESRCH,
		       "portsteer is not loaded in %s; run 'portsteer load' or 'portsteer add'",
		       netns->label);
}

/* The same, as often as an upgrade has exchanged everything meanwhile: what was read, and
 * is cleared, may have been half of each. */
static int read_instance(const struct ps_netns *netns,
			 int (*read)(struct ps_tables *tables, void *data),
			 void (*clear)(void *data), void *data, struct ps_error *error)
{
	for (int tries = READ_TRIES; tries--;) {
		uint64_t folder = ps_bpffs_inode();
		int ret = read_once(netns, folder, read, data, error);

		if (ps_bpffs_inode() == folder || !tries)
			return ret;
		clear(data);
	}
	return -EAGAIN;
}

static void clear_view(void *data)
{
	ps_view_clear(data);
}

int ps_instance_view(const struct ps_netns *netns, struct ps_view *view, struct ps_error *error)
{
	*view = (struct ps_view){};
	return read_instance(netns, read_view, clear_view, view, error);
}

static void clear_rules(void *data)
{
	ps_ruleset_clear(data);
}

int ps_instance_rules(const struct ps_netns *netns, struct ps_ruleset *rules,
		      struct ps_error *error)
{
	*rules = (struct ps_ruleset){};
	return read_instance(netns, read_rules, clear_rules, rules, error);
}

void ps_host_info_clear(struct ps_host_info *info)
{
	for (size_t i = 0; i < info->anchor_count; i++)
		free(info->anchors[i]);
	free(info->anchors);
	free(info->instances);
	ps_strays_clear(&info->strays);
	ps_others_clear(&info->others);
	*info = (struct ps_host_info){};
}

struct counting {
	const struct ps_host *host;
	struct ps_host_info *info;
};

static int read_info(uint64_t cookie, uint32_t index, void *data)
{
	struct counting *c = data;
	uint64_t word = ps_fetch(&c->host->instances[index].active);
	struct ps_instance_info *i = &c->info->instances[c->info->instance_count];
	struct ps_state state = {};

	if (!word) {
		c->info->leftovers++;
		return 0;
	}
	i->cookie = cookie;
	i->generation = PS_WORD_GEN(word);
	if (!ps_read_state(cookie, i->generation, &state))
		i->rules = state.rules.count;
	else
		c->info->leftovers++;
	ps_state_clear(&state);
	ps_is_dead(cookie, &i->netns_inode);
	c->info->detached += i->netns_inode && ps_steer_is_detached(cookie);
	if (ps_fetch(&c->host->instances[index].pending) != word ||
	    ps_fetch(&c->host->instances[index].begun))
		c->info->leftovers++;
	c->info->instance_count++;
	return 0;
}

static int count_leftover(const char *name, void *data)
{
	struct counting *c = data;
	char *end;
	uint64_t cookie;

	if (!strcmp(name, "host"))
		return 0;
	cookie = strncmp(name, "ns-", 3) ? 0 : strtoull(name + 3, &end, 10);
	if (!cookie || *end || !c->host->instances || ps_host_find(c->host, cookie) < 0)
		c->info->leftovers++;
	return 0;
}

static int read_instances(const struct ps_host *host, struct ps_host_info *info)
{
	struct counting c = { .host = host, .info = info };

	info->instances = calloc(PS_MAX_INSTANCES, sizeof(*info->instances));
	return info->instances ? ps_host_each(host, read_info, &c) : -ENOMEM;
}

static int compare_instances(const void *left, const void *right)
{
	const struct ps_instance_info *a = left, *b = right;

	return (a->cookie > b->cookie) - (a->cookie < b->cookie);
}

int ps_instances_read(struct ps_host_info *info, struct ps_error *error)
{
	__attribute__((cleanup(ps_host_close))) struct ps_host host = PS_HOST_NONE;
	struct ps_host_info read = {};
	int ret = ps_host_open(&host, error);

	if (ret)
		return ret;
	ret = read_instances(&host, &read);
	if (ret) {
		ps_host_info_clear(&read);
		return ps_fail_kernel(error, ret, "read the loaded state");
	}
	qsort(read.instances, read.instance_count, sizeof(*read.instances), compare_instances);
	*info = read;
	return 0;
}

/* If it cannot be told, upgrade will say why. */
static bool is_outdated(void)
{
	struct ps_build own, loaded;

	ps_build_own(&own);
	return ps_build_read(PS_STATE, &loaded, NULL) || loaded.id != own.id;
}

static int read_loaded(const struct ps_host *host, struct ps_host_info *info)
{
	struct ps_attach_points anchors = {};
	int ret = read_instances(host, info);

	if (!ret && ps_attach_points_read(&anchors) == 0) {
		info->anchors = anchors.paths;
		info->anchor_count = anchors.count;
	}
	for (size_t i = 0; i < info->anchor_count; i++)
		info->detached += !strcmp(info->anchors[i], "(detached)");
	info->detached += ps_hooks_count_detached(&host->hooks);
	info->loaded = true;
	info->outdated = is_outdated();
	info->bind_hooks = host->hooks.loaded[PS_SET_BIND];
	info->connect_hooks = host->hooks.loaded[PS_SET_CONNECT];
	return ret;
}

static int read_others(const struct ps_netns *netns, const struct ps_hooks *hooks,
		       struct ps_host_info *info)
{
	int ret = ps_others_on_netns(netns, &info->others);

	if (!ret)
		ret = ps_hooks_others(hooks, &info->others);
	info->others_unseen = ret == -EXDEV;
	if (!ret || ret == -EXDEV)
		ret = ps_attach_points_others(&info->others);
	info->others_unseen |= ret == -EXDEV;
	info->others_blind = ret == -EPERM;
	return ret == -EPERM || ret == -EXDEV ? 0 : ret;
}

/* Without the rights to look, the rest is shown all the same. */
static int read_strays(const struct ps_netns *netns, struct ps_host_info *info,
		       struct ps_error *error)
{
	int ret = ps_strays_read(netns, true, &info->strays, error);

	info->blind = ret == -EPERM;
	return info->blind ? 0 : ret;
}

int ps_host_info_read(const struct ps_netns *netns, struct ps_host_info *info,
		      struct ps_error *error)
{
	__attribute__((cleanup(ps_host_close))) struct ps_host host = PS_HOST_NONE;
	struct counting c = { .host = &host, .info = info };
	int ret;

	*info = (struct ps_host_info){};
	ret = read_strays(netns, info, error);
	if (ret)
		return ret;
	if (ps_bpffs_mounted())
		strcpy(info->bpffs, PS_BPFFS);
	if (ps_cgroup2_mount(info->cgroup2, NULL))
		info->cgroup2[0] = '\0';
	ret = ps_bpffs_check(error);
	/* Not ours: what is loaded is elsewhere, and to be shown. */
	if (ret && ps_strays_concern_us(&info->strays))
		return 0;
	if (!ret)
		ret = ps_host_open(&host, error);
	if (ret && ret != -ESRCH)
		return ret;
	ret = ret ? 0 : read_loaded(&host, info);
	if (!ret && info->loaded)
		ret = read_others(netns, &host.hooks, info);
	if (ret)
		return ps_fail_kernel(error, ret, "read the loaded state");
	ps_bpffs_each(PS_STATE, count_leftover, &c);
	info->leftovers += ps_upgrade_is_unfinished();
	info->memory = ps_memory();
	return 0;
}
