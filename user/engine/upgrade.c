// SPDX-License-Identifier: GPL-2.0-only
#include "engine/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <bpf/bpf.h>

#include "engine/lifecycle.h"
#include "engine/needs.h"
#include "engine/publish.h"
#include "engine/upgrade_finish.h"
#include "kernel/bpffs.h"
#include "kernel/hooks.h"
#include "kernel/kmap.h"
#include "kernel/link.h"
#include "kernel/loaded.h"
#include "kernel/saved.h"
#include "kernel/scan.h"
#include "kernel/swap.h"
#include "kernel/tables.h"
#include "os/cgroup.h"
#include "os/listeners.h"
#include "os/netns.h"
#include "os/netns_names.h"
#include "util/util.h"

static bool exists(const char *path)
{
	struct stat st;

	return !lstat(path, &st);
}

/* --- the same layout: programs alone */

struct swapping {
	struct ps_host host;
	struct ps_swap swap;
	struct ps_error *error;
};

static void end_swapping(struct swapping *s)
{
	ps_swap_clear(&s->swap);
	ps_host_close(&s->host);
}

static int add_instance(uint64_t cookie, uint32_t index, void *data)
{
	struct swapping *s = data;

	if (!ps_fetch(&s->host.instances[index].active))
		return 0;
	return ps_steer_swap(&s->host, cookie, index, &s->swap, s->error);
}

static int swap_programs(struct ps_error *error)
{
	__attribute__((cleanup(end_swapping))) struct swapping s = { .host = PS_HOST_NONE,
								     .error = error };
	int ret = ps_host_open(&s.host, error);

	if (!ret)
		ret = ps_host_swap(&s.host, &s.swap, error);
	for (int set = 0; set < PS_SETS && !ret; set++) {
		if (s.host.hooks.loaded[set])
			ret = ps_hooks_swap(&s.host.hooks, s.host.fd, (enum ps_set)set, &s.swap,
					    error);
	}
	if (!ret)
		ret = ps_host_each(&s.host, add_instance, &s);
	if (ret)
		return ret;
	ret = ps_swap_apply(&s.swap);
	/* Last: until then the state is that of the build before, which an upgrade goes on with. */
	if (!ret)
		ret = ps_build_pin(PS_STATE "/host/build");
	return ret ? ps_fail(error, PS_EXIT_FAILED, -ret,
			     "cannot replace all programs: %s; the rules stay in force; run "
			     "'portsteer upgrade' again",
			     strerror(-ret)) :
		     0;
}

/* --- another layout: building aside */

/* The links of the old state that a new program is to get. */
struct adopting {
	enum bpf_attach_type type;
	const char *folder; /* where they are pinned too */
	int count;
};

static int adopt_link(int link, const struct bpf_link_info *info, const char *pin, void *data)
{
	struct adopting *a = data;
	char path[PS_PATH];

	/* Without a cgroup it is dead: that was removed. */
	if (info->type != BPF_LINK_TYPE_CGROUP || info->cgroup.attach_type != (__u32)a->type ||
	    !info->cgroup.cgroup_id)
		return 0;
	if (snprintf(path, sizeof(path), "%s/%s", a->folder, strrchr(pin, '/') + 1) >=
	    (int)sizeof(path))
		return -ENAMETOOLONG;
	a->count++;
	return ps_bpffs_pin(link, path);
}

static int adopt(int program, enum bpf_attach_type type, const char *set, const char *folder)
{
	struct adopting a = { .type = type, .folder = folder };
	char path[PS_PATH];
	int ret;

	snprintf(path, sizeof(path), PS_ASIDE "/" PS_UPGRADING "/cgroup-%d", (int)type);
	ret = ps_bpffs_pin(program, path);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), PS_STATE "/host/%s", set);
	ret = ps_each_link(path, adopt_link, &a);
	return ret ? ret : a.count;
}

static int adopt_steer(int link, const struct bpf_link_info *info, const char *pin, void *data)
{
	(void)pin;
	return info->type == BPF_LINK_TYPE_NETNS ? ps_bpffs_pin(link, data) : 0;
}

/* The link to the network namespace, if there is one. */
static int adopt_netns(uint64_t cookie)
{
	char folder[PS_PATH], path[PS_PATH];

	snprintf(folder, sizeof(folder), PS_STATE "/ns-%" PRIu64, cookie);
	snprintf(path, sizeof(path), PS_ASIDE "/ns-%" PRIu64 "/link", cookie);
	return ps_each_link(folder, adopt_steer, path);
}

/* A map about sockets of the old state, or -1 if there is none, or of another form. */
static int open_kept(const char *path, uint32_t type, uint32_t size, uint32_t entries)
{
	_cleanup_close_ int fd = ps_bpffs_open_map(path);
	struct bpf_map_info info = {};
	__u32 length = sizeof(info);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &length) || info.type != type ||
	    info.value_size != size || info.max_entries != entries)
		return -1;
	return ps_take_fd(&fd);
}

static void open_takeover(const struct ps_build *from, struct ps_takeover *takeover,
			  struct ps_upgraded *upgraded)
{
	const char *bound = PS_STATE "/host/bind/bound", *trails = PS_STATE "/host/trails";

	*takeover = (struct ps_takeover){ -1, -1, .adopt = adopt };
	if (from->bound == PS_BOUND_LAYOUT)
		takeover->bound =
			open_kept(bound, BPF_MAP_TYPE_SK_STORAGE, sizeof(struct ps_bound), 0);
	if (from->trails == PS_TRAILS_LAYOUT)
		takeover->trails =
			open_kept(trails, BPF_MAP_TYPE_SK_STORAGE, sizeof(struct ps_trail), 0);
	upgraded->lost_bound = takeover->bound < 0 && exists(bound);
	upgraded->lost_trails = takeover->trails < 0 && exists(PS_STATE "/host/connect");
}

static void close_takeover(struct ps_takeover *takeover)
{
	ps_close(&takeover->bound);
	ps_close(&takeover->trails);
}

static int build_instance(struct ps_host *host, const struct ps_build *from,
			  const struct ps_loaded_instance *instance, struct ps_error *error)
{
	int ret = ps_create_at(host, instance->cookie, instance->index, instance->alive, error);

	if (ret)
		return ret;
	/* Sockets may remember its words. */
	if (from->trails == PS_TRAILS_LAYOUT)
		ps_store(&host->instances[instance->index].pending, PS_WORD_LIFE(instance->word));
	ret = ps_restore(host, instance->cookie, instance->index, &instance->state.rules,
			 PS_WORD_GEN(instance->word), error);
	if (ret)
		return ret;
	ret = adopt_netns(instance->cookie);
	return ret ? ps_fail_kernel(error, ret, "pin a link again") : 0;
}

/* Cookies that are in `these` and not in `others`, both in order; moved to the front. */
static size_t subtract(uint64_t *these, size_t count, const uint64_t *others, size_t other_count)
{
	size_t kept = 0, at = 0;

	for (size_t i = 0; i < count; i++) {
		while (at < other_count && others[at] < these[i])
			at++;
		if (at == other_count || others[at] != these[i])
			these[kept++] = these[i];
	}
	return kept;
}

/* The state that was built, all of whose targets are new. */
static int read_new_state(const struct ps_host *host, const struct ps_loaded_instance *instance,
			  struct ps_state *state)
{
	uint64_t word = ps_fetch(&host->instances[instance->index].active);
	int ret = ps_read_state(instance->cookie, PS_WORD_GEN(word), state);

	for (size_t i = 0; i < state->target_count; i++)
		state->targets[i].fresh = true;
	return ret;
}

/* Those that are among the others, too: how many. Both are in order. */
static size_t intersect(uint64_t *these, size_t count, const uint64_t *others, size_t other_count)
{
	size_t kept = 0, at = 0;

	for (size_t i = 0; i < count; i++) {
		while (at < other_count && others[at] < these[i])
			at++;
		if (at < other_count && others[at] == these[i])
			these[kept++] = these[i];
	}
	return kept;
}

static int open_namespace(uint64_t cookie, struct ps_netns *netns)
{
	struct ps_place place = {};
	int ret = ps_netns_open(NULL, netns, NULL);

	if (ret || netns->cookie == cookie)
		return ret;
	ps_netns_close(netns);
	*netns = (struct ps_netns)PS_NETNS_NONE;
	if (ps_is_dead(cookie, &place.inode))
		return -ESRCH;
	ps_places_find(&place, 1);
	ret = *place.path ? ps_netns_open(place.path, netns, NULL) : -ENOENT;
	/* By now the process may be another. */
	return ret ?: netns->cookie == cookie ? 0 : -ENOENT;
}

/* Would a scan admit the socket for the rule? Yes, if it cannot be told. */
static bool is_owners(const struct ps_rule *rule, const struct ps_socket *socket)
{
	const struct ps_owner_spec *owner = &rule->owner;
	char path[PS_CGROUP_PATH];

	if (!ps_rule_has_targets(rule) || ps_rule_is_block(rule) || rule->proto != IPPROTO_TCP ||
	    socket->port < rule->target ||
	    socket->port - rule->target > rule->front_last - rule->front)
		return false;
	if (owner->flags & PS_OWNER_USER && owner->uid != socket->uid)
		return false;
	if (!(owner->flags & PS_OWNER_CGROUP) || !socket->cgroup ||
	    ps_cgroup_path(socket->cgroup, path, sizeof(path)))
		return true;
	return ps_path_is_below(path, owner->cgroup);
}

static bool is_wanted(const struct ps_sockets *sockets, const struct ps_ruleset *rules,
		      uint64_t cookie)
{
	for (size_t i = 0; i < sockets->count; i++) {
		if (sockets->items[i].cookie != cookie)
			continue;
		for (size_t j = 0; j < rules->count; j++) {
			if (is_owners(&rules->rules[j], &sockets->items[i]))
				return true;
		}
		return false;
	}
	/* A listing may lack a socket while others are closed. */
	return true;
}

/* Of listeners that were not found, those that the rules lead to: a killed command may have left
 * others in the old state, of rules that are deleted. All of which that cannot be told. */
static size_t keep_wanted(uint64_t cookie, const struct ps_ruleset *rules, uint64_t *cookies,
			  size_t count)
{
	_cleanup_free_ struct ps_ports *ports = calloc(1, sizeof(*ports));
	struct ps_netns netns = PS_NETNS_NONE;
	struct ps_sockets sockets = {};
	size_t kept = count;

	if (ports)
		ps_ports_add(ports, IPPROTO_TCP, 1, UINT16_MAX);
	if (ports && !open_namespace(cookie, &netns) &&
	    !ps_sockets_read(&netns, ports, &sockets, NULL)) {
		kept = 0;
		for (size_t i = 0; i < count; i++) {
			if (is_wanted(&sockets, rules, cookies[i]))
				cookies[kept++] = cookies[i];
		}
	}
	ps_sockets_clear(&sockets);
	ps_netns_close(&netns);
	return kept;
}

/* Those that are still in the old state: the others were closed meanwhile. */
static int keep_open(uint64_t cookie, uint64_t *cookies, size_t *count)
{
	_cleanup_free_ uint64_t *now = NULL;
	size_t now_count;
	int ret = *count ? ps_loaded_listeners(PS_STATE, cookie, &now, &now_count) : 0;

	if (!ret && *count)
		*count = intersect(cookies, *count, now, now_count);
	return ret;
}

/* How many listeners the old state has (and had a moment ago) which the new one lacks. */
static int count_missed(uint64_t cookie, const struct ps_state *state, size_t *missed)
{
	_cleanup_free_ uint64_t *before = NULL, *found = NULL;
	size_t count, found_count;
	int ret = ps_loaded_listeners(PS_STATE, cookie, &before, &count);

	if (!ret)
		ret = ps_loaded_listeners(PS_ASIDE, cookie, &found, &found_count);
	if (ret)
		return ret;
	count = subtract(before, count, found, found_count);
	ret = keep_open(cookie, before, &count);
	if (!ret && count) {
		count = keep_wanted(cookie, &state->rules, before, count);
		ret = keep_open(cookie, before, &count);
	}
	*missed = count;
	return ret;
}

/* Find the listeners as a load does, and see that all that were there are. */
static int find_listeners(const struct ps_host *host, const struct ps_loaded_instance *instance,
			  struct ps_error *error)
{
	_cleanup_free_ uint64_t *cookies = NULL;
	struct ps_state state = {};
	size_t count, missed = 0;
	int ret = ps_loaded_listeners(PS_STATE, instance->cookie, &cookies, &count);

	if (!ret)
		ret = read_new_state(host, instance, &state);
	if (!ret)
		ret = ps_scan(host, instance->index, &state, NULL);
	if (!ret && count)
		ret = count_missed(instance->cookie, &state, &missed);
	ps_state_clear(&state);
	if (ret)
		return ps_fail_kernel(error, ret, "find the listeners");
	return missed ? ps_fail(error, PS_EXIT_FAILED, EBUSY,
				"cannot take over %zu listening socket%s: no process that holds %s "
				"is visible from here, so nothing was changed; run portsteer on "
				"the host, outside any PID namespace",
				missed, missed == 1 ? "" : "s", missed == 1 ? "it" : "them") :
			0;
}

/* Clients whose connections are still to be answered were sent where somebody else may be. What
 * the old programs have noted of them leads to the old state's targets; so they are refused if they
 * come again after the exchange. Those that begin from here on are noted by the new programs, too. */
static int refuse_flow(int old, int new, const struct ps_flow_key *key)
{
	struct ps_flow flow = { .flags = PS_FLOW_REFUSE };

	if (bpf_map_update_elem(new, key, &flow, BPF_NOEXIST))
		return errno == EEXIST ? 0 : -errno;
	/* Closed meanwhile. */
	if (bpf_map_lookup_elem(old, key, &flow) && !bpf_map_lookup_elem(new, key, &flow) &&
	    flow.flags & PS_FLOW_REFUSE)
		bpf_map_delete_elem(new, key);
	return 0;
}

/* In batches, which go by bucket: key after key it would begin again wherever one was deleted. */
static int refuse_flows(const struct ps_host *host)
{
	enum { BATCH = 1024 };
	_cleanup_close_ int old = open_kept(PS_STATE "/host/flows", BPF_MAP_TYPE_HASH,
					    sizeof(struct ps_flow), PS_FLOWS);
	_cleanup_free_ struct ps_flow_key *keys = calloc(BATCH, sizeof(*keys));
	_cleanup_free_ struct ps_flow *flows = calloc(BATCH, sizeof(*flows));
	uint32_t next = 0, *from = NULL;
	int ret = old < 0 ? -ENOENT : 0;

	if (!keys || !flows)
		return -ENOMEM;
	while (!ret) {
		uint32_t count = BATCH;
		int refused = 0;

		ret = bpf_map_lookup_batch(old, from, &next, keys, flows, &count, NULL);
		for (uint32_t i = 0; (!ret || ret == -ENOENT) && !refused && i < count; i++)
			refused = refuse_flow(old, host->fd[PS_HOST_FLOWS], &keys[i]);
		ret = ret ?: refused;
		from = &next;
	}
	return ret == -ENOENT ? 0 : ret;
}

/* From here on, sockets that begin to listen are admitted to the old and to the new
 * state. Those that listened before are in the old one's maps. */
static int take_listeners(struct ps_host *host, const struct ps_build *from,
			  const struct ps_loaded_list *list, struct ps_error *error)
{
	int ret = ps_attach_needed(host, error);

	if (ret)
		return ret;
	ret = ps_wait_for_programs();
	if (!ret && from->trails == PS_TRAILS_LAYOUT)
		ret = refuse_flows(host);
	if (ret)
		return ps_fail_kernel(error, ret, "transfer the clients");
	for (size_t i = 0; i < list->count && !ret; i++)
		ret = find_listeners(host, &list->items[i], error);
	return ret;
}

static int build_all(struct ps_host *host, const struct ps_takeover *takeover,
		     const struct ps_build *from, const struct ps_loaded_list *list,
		     struct ps_error *error)
{
	int ret;

	host->hooks.takeover = takeover;
	ret = ps_host_load(host, error);
	for (size_t i = 0; i < list->count && !ret; i++)
		ret = build_instance(host, from, &list->items[i], error);
	return ret ? ret : take_listeners(host, from, list, error);
}

/* Build all in PS_ASIDE, without an effect. */
static int build_aside(const struct ps_build *from, const struct ps_loaded_list *list,
		       struct ps_upgraded *upgraded, struct ps_error *error)
{
	__attribute__((cleanup(ps_host_close))) struct ps_host host = PS_HOST_NONE;
	__attribute__((cleanup(close_takeover))) struct ps_takeover takeover = { -1, -1, NULL };
	int ret;

	if (mkdir(PS_ASIDE, 0700) || mkdir(PS_ASIDE "/" PS_UPGRADING, 0700))
		return ps_fail_kernel(error, errno, "make " PS_ASIDE);
	open_takeover(from, &takeover, upgraded);
	ps_bpffs_go_aside(true);
	ret = build_all(&host, &takeover, from, list, error);
	ps_bpffs_go_aside(false);
	return ret;
}

/* --- the exchange */

/* Lock the new state before anybody sees it. Returns the descriptor. */
static int exchange(struct ps_error *error)
{
	_cleanup_close_ int lock = open(PS_ASIDE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) ||
	    renameat2(AT_FDCWD, PS_ASIDE, AT_FDCWD, PS_STATE, RENAME_EXCHANGE))
		return ps_fail_kernel(error, errno, "exchange " PS_STATE " and " PS_ASIDE);
	return ps_take_fd(&lock);
}

static int rebuild(const struct ps_build *from, const struct ps_loaded_list *list,
		   struct ps_upgraded *upgraded, struct ps_error *error)
{
	int ret = build_aside(from, list, upgraded, error), lock = -1;

	if (!ret)
		ret = lock = exchange(error);
	if (ret < 0) {
		ps_bpffs_remove(PS_ASIDE);
		return ret;
	}
	ret = ps_upgrade_settle(error);
	ps_bpffs_unlock(lock);
	return ret;
}

static int upgrade_from(const struct ps_loaded *loaded, struct ps_upgraded *upgraded,
			struct ps_error *error)
{
	struct ps_loaded_list list = {};
	int ret = ps_loaded_list(loaded, &list, error);

	if (ret)
		return ret;
	upgraded->instances = list.count;
	for (size_t i = 0; i < list.count; i++)
		upgraded->rules += list.items[i].state.rules.count;
	upgraded->rebuilt = loaded->build.abi != PORTSTEER_ABI;
	ret = upgraded->rebuilt ? rebuild(&loaded->build, &list, upgraded, error) :
				  swap_programs(error);
	ps_loaded_list_clear(&list);
	return ret;
}

static int upgrade_locked(struct ps_upgraded *upgraded, struct ps_error *error)
{
	__attribute__((cleanup(ps_loaded_close))) struct ps_loaded loaded = PS_LOADED_NONE;
	struct ps_build own;
	int ret = ps_upgrade_settle(error);

	if (ret)
		return ret;
	ret = ps_loaded_open(PS_STATE, &loaded, error);
	if (ret == -ENOENT)
		return ps_fail(error, PS_EXIT_NOT_LOADED, ESRCH,
			       "portsteer is not loaded, so there is nothing to upgrade; run "
			       "'portsteer load' or 'portsteer add'");
	if (ret)
		return ret;
	ps_build_own(&own);
	if (own.abi == loaded.build.abi && own.id == loaded.build.id)
		return 0;
	upgraded->changed = true;
	return upgrade_from(&loaded, upgraded, error);
}

int ps_upgrade(struct ps_upgraded *upgraded, struct ps_error *error)
{
	int lock, ret;

	*upgraded = (struct ps_upgraded){};
	lock = ps_bpffs_lock(error);
	if (lock < 0)
		return lock;
	ret = upgrade_locked(upgraded, error);
	ps_bpffs_unlock(lock);
	return ret;
}
