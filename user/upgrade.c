// SPDX-License-Identifier: GPL-2.0-only
#include "upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <bpf/bpf.h>

#include "bpffs.h"
#include "carry.h"
#include "hooks.h"
#include "kmap.h"
#include "lifecycle.h"
#include "scan.h"
#include "tables.h"
#include "util.h"

/* In the new state, until the links are its own: programs as cgroup-ATTACHTYPE. */
#define UPGRADING "upgrading"
/* The same folder when they are: to be removed. */
#define UPGRADED "upgraded"

static bool exists(const char *path)
{
	struct stat st;

	return !lstat(path, &st);
}

static bool is_of_listen(const struct bpf_link_info *info)
{
	return info->type == BPF_LINK_TYPE_CGROUP &&
	       info->cgroup.attach_type == BPF_CGROUP_SOCK_OPS;
}

/* Call fn for each link pinned in a folder; other things are passed over. */
struct links {
	const char *folder;
	int (*fn)(int link, const struct bpf_link_info *info, const char *pin, void *data);
	void *data;
};

static int visit_link(const char *name, void *data)
{
	const struct links *links = data;
	struct bpf_link_info info;
	char path[PS_PATH];
	struct stat st;
	int link, ret;

	if (snprintf(path, sizeof(path), "%s/%s", links->folder, name) >= (int)sizeof(path) ||
	    lstat(path, &st) || !S_ISREG(st.st_mode))
		return 0;
	link = ps_bpffs_open_any_link(path, &info);
	if (link < 0)
		return link == -EPROTO || link == -ENOENT ? 0 : link;
	ret = links->fn(link, &info, path, links->data);
	close(link);
	return ret;
}

static int each_link(const char *folder,
		     int (*fn)(int link, const struct bpf_link_info *info, const char *pin,
			       void *data),
		     void *data)
{
	struct links links = { folder, fn, data };
	int ret = ps_bpffs_each(folder, visit_link, &links);

	return ret == -ENOENT || ret == -ENOTDIR ? 0 : ret;
}

/* --- building aside */

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

	snprintf(path, sizeof(path), PS_ASIDE "/" UPGRADING "/cgroup-%d", (int)type);
	ret = ps_bpffs_pin(program, path);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), PS_STATE "/host/%s", set);
	ret = each_link(path, adopt_link, &a);
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
	return each_link(folder, adopt_steer, path);
}

/* A map about sockets of the old state, or -1 if there is none, or of another form. */
static int open_carried(const char *path, uint32_t type, uint32_t size, uint32_t entries)
{
	int fd = ps_bpffs_open_map(path);
	struct bpf_map_info info = {};
	__u32 length = sizeof(info);

	if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &length) && info.type == type &&
	    info.value_size == size && info.max_entries == entries)
		return fd;
	ps_close(&fd);
	return -1;
}

static void open_takeover(const struct ps_build *from, struct ps_takeover *takeover,
			  struct ps_upgraded *upgraded)
{
	const char *bound = PS_STATE "/host/bind/bound", *trails = PS_STATE "/host/connect/trails";

	*takeover = (struct ps_takeover){ -1, -1, -1, -1, .adopt = adopt };
	if (from->bound == PS_BOUND_LAYOUT)
		takeover->bound =
			open_carried(bound, BPF_MAP_TYPE_SK_STORAGE, sizeof(struct ps_bound), 0);
	if (from->trails == PS_TRAILS_LAYOUT) {
		takeover->trails =
			open_carried(trails, BPF_MAP_TYPE_SK_STORAGE, sizeof(struct ps_trail), 0);
		takeover->turns = open_carried(PS_STATE "/host/connect/turns", BPF_MAP_TYPE_ARRAY,
					       sizeof(struct ps_turn), PS_TURNS);
		takeover->reached = open_carried(PS_STATE "/host/connect/reached",
						 BPF_MAP_TYPE_ARRAY, sizeof(__u64), 65536 / 64);
	}
	upgraded->lost_bound = takeover->bound < 0 && exists(bound);
	upgraded->lost_trails =
		(takeover->trails < 0 || takeover->turns < 0 || takeover->reached < 0) &&
		exists(trails);
}

static void close_takeover(struct ps_takeover *takeover)
{
	ps_close(&takeover->bound);
	ps_close(&takeover->trails);
	ps_close(&takeover->turns);
	ps_close(&takeover->reached);
}

static int build_instance(struct ps_host *host, const struct ps_old_instance *instance,
			  struct ps_error *error)
{
	int ret = ps_create_at(host, instance->cookie, instance->index, instance->alive, error);

	if (ret)
		return ret;
	/* Its words go on as well: sockets remember them. */
	ps_store(&host->instances[instance->index].pending, PS_WORD_LIFE(instance->word));
	ret = ps_restore(host, instance->cookie, instance->index, &instance->state, error);
	if (ret)
		return ret;
	ret = adopt_netns(instance->cookie);
	return ret ? ps_fail_kernel(error, ret, "pin a link anew") : 0;
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

/* How many listeners the old state has (and had a moment ago) which the new one lacks. */
static int count_missed(const struct ps_old *old, const struct ps_old *new,
			const struct ps_old_instance *instance, size_t *missed)
{
	_cleanup_free_ uint64_t *before = NULL, *found = NULL, *now = NULL;
	size_t before_count, found_count, now_count;
	int ret = ps_old_listeners(old, instance, &before, &before_count);

	*missed = 0;
	if (!ret)
		ret = ps_old_listeners(new, instance, &found, &found_count);
	if (ret)
		return ret;
	before_count = subtract(before, before_count, found, found_count);
	if (!before_count)
		return 0;
	/* Some may have been closed meanwhile. */
	ret = ps_old_listeners(old, instance, &now, &now_count);
	if (!ret)
		*missed = before_count - subtract(before, before_count, now, now_count);
	return ret;
}

/* Find the listeners as a load does, and see that all that were there are. */
static int find_listeners(const struct ps_host *host, const struct ps_old *old,
			  const struct ps_old_instance *instance, struct ps_error *error)
{
	struct ps_old new = { .folder = PS_ASIDE };
	_cleanup_free_ uint64_t *cookies = NULL;
	size_t count, missed = 0;
	int ret = ps_old_listeners(old, instance, &cookies, &count);

	ps_build_own(&new.build);
	if (!ret && count)
		ret = ps_scan(host, NULL, instance->index, &instance->state, NULL);
	if (!ret && count)
		ret = count_missed(old, &new, instance, &missed);
	if (ret)
		return ps_fail_kernel(error, ret, "find the listeners");
	return missed ? ps_fail(error, PS_EXIT_FAILED, EBUSY,
				"cannot carry over %zu listening sockets: no process that holds "
				"them is to be seen from here; run it on the host, outside of PID "
				"namespaces (nothing was changed)",
				missed) :
			0;
}

/* What the sockets that were taken over have counted, they had counted before. */
static int forget_events(const struct ps_host *host, const struct ps_old_instance *instance)
{
	struct ps_tables tables = PS_TABLES_NONE;
	int ret = ps_tables_open(host, instance->cookie, instance->index, &tables, NULL);

	if (!ret)
		ret = ps_tables_forget_events(&tables);
	ps_tables_close(&tables);
	return ret;
}

/* One more than the highest ids of an instance's rules and targets. */
static void count_ids(const struct ps_state *state, uint32_t *rules, uint32_t *targets)
{
	*rules = *targets = 0;
	for (size_t i = 0; i < state->rules.count; i++) {
		if (state->rules.rules[i].id >= *rules)
			*rules = state->rules.rules[i].id + 1;
	}
	for (size_t i = 0; i < state->target_count; i++) {
		if (ps_target_linear(state->targets[i].id) >= *targets)
			*targets = ps_target_linear(state->targets[i].id) + 1;
	}
}

static int carry_counters(const char *folder, const struct ps_old *old,
			  const struct ps_old_instance *instance)
{
	struct ps_carried carried = PS_CARRIED_NONE;
	char path[PS_PATH];
	int ret;

	snprintf(path, sizeof(path), "%s/ns-%" PRIu64 "/carried", folder, instance->cookie);
	ret = ps_carried_open(path, &carried);
	if (!ret && carried.fd >= 0)
		ret = ps_old_carry(old, instance, &carried);
	ps_close(&carried.fd);
	return ret;
}

/* As they are now; the rest comes when the links are this build's. */
static int first_counters(const struct ps_old *old, const struct ps_old_instance *instance)
{
	uint32_t rules, targets;
	char path[PS_PATH];
	int ret;

	count_ids(&instance->state, &rules, &targets);
	snprintf(path, sizeof(path), PS_ASIDE "/ns-%" PRIu64 "/carried", instance->cookie);
	ret = ps_carried_make(path, rules, targets);
	return ret ? ret : carry_counters(PS_ASIDE, old, instance);
}

/* From here on, sockets that begin to listen are admitted to the old and to the new
 * state. Those that listened before are in the old one's maps. */
static int take_listeners(struct ps_host *host, const struct ps_old *old,
			  const struct ps_old_list *list, struct ps_error *error)
{
	int ret = ps_release_unneeded(host);

	if (!ret)
		ret = ps_wait_for_programs();
	if (ret)
		return ps_fail_kernel(error, ret, "attach the program that finds listeners");
	for (size_t i = 0; i < list->count && !ret; i++)
		ret = find_listeners(host, old, &list->items[i], error);
	return ret;
}

static int take_counters(const struct ps_host *host, const struct ps_old *old,
			 const struct ps_old_list *list)
{
	int ret = 0;

	for (size_t i = 0; i < list->count && !ret; i++) {
		ret = forget_events(host, &list->items[i]);
		if (!ret)
			ret = first_counters(old, &list->items[i]);
	}
	return ret;
}

static int build_all(struct ps_host *host, const struct ps_takeover *takeover,
		     const struct ps_old *old, const struct ps_old_list *list,
		     struct ps_error *error)
{
	int ret = ps_host_load(host, error);

	host->hooks.takeover = takeover;
	for (size_t i = 0; i < list->count && !ret; i++)
		ret = build_instance(host, &list->items[i], error);
	if (!ret)
		ret = take_listeners(host, old, list, error);
	if (ret)
		return ret;
	ret = take_counters(host, old, list);
	return ret ? ps_fail_kernel(error, ret, "take over the counters") : 0;
}

/* Before anything is built: may two folders be exchanged? */
static int try_exchange(struct ps_error *error)
{
	const char *one = PS_ASIDE "/one", *other = PS_ASIDE "/other";
	int ret = mkdir(one, 0700) || mkdir(other, 0700) ||
				  renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) ||
				  rmdir(one) || rmdir(other) ?
			  -errno :
			  0;

	if (ret == -EINVAL)
		return ps_fail(
			error, PS_EXIT_UNSUPPORTED, EINVAL,
			"this kernel cannot exchange two folders of a bpffs (Linux 5.16), which "
			"is how an upgrade takes effect; 'portsteer save', 'unload' and 'apply' "
			"do the same with a gap, or use Linux 6.1 or newer");
	return ret ? ps_fail_kernel(error, ret, "exchange two folders in " PS_ASIDE) : 0;
}

/* Build all in PS_ASIDE, without an effect. */
static int build_aside(const struct ps_old *old, const struct ps_old_list *list,
		       struct ps_upgraded *upgraded, struct ps_error *error)
{
	__attribute__((cleanup(ps_host_close))) struct ps_host host = PS_HOST_NONE;
	__attribute__((cleanup(close_takeover))) struct ps_takeover takeover = { -1, -1, -1, -1,
										 NULL };
	int ret;

	if (mkdir(PS_ASIDE, 0700) || mkdir(PS_ASIDE "/" UPGRADING, 0700))
		return ps_fail_kernel(error, errno, "make " PS_ASIDE);
	ret = try_exchange(error);
	if (ret)
		return ret;
	open_takeover(&old->build, &takeover, upgraded);
	ps_bpffs_go_aside(true);
	ret = build_all(&host, &takeover, old, list, error);
	ps_bpffs_go_aside(false);
	return ret;
}

/* --- the exchange, and what follows it */

/* Update a link to the program that is pinned at `path`, if there is one. */
static int give_link(int link, const struct bpf_link_info *info, const char *path)
{
	_cleanup_close_ int program = ps_bpffs_open_any(path);
	struct bpf_prog_info prog = {};
	__u32 size = sizeof(prog);

	if (program < 0)
		return program == -ENOENT ? 0 : program;
	if (bpf_obj_get_info_by_fd(program, &prog, &size))
		return -errno;
	if (prog.id == info->prog_id)
		return 0;
	/* ENOLINK: the cgroup, or the namespace, is gone. */
	return bpf_link_update(link, program, NULL) && errno != ENOLINK ? -errno : 0;
}

static int give_cgroup_link(int link, const struct bpf_link_info *info, const char *pin, void *data)
{
	char path[PS_PATH];

	(void)pin;
	(void)data;
	if (info->type != BPF_LINK_TYPE_CGROUP)
		return 0;
	snprintf(path, sizeof(path), PS_STATE "/" UPGRADING "/cgroup-%" PRIu32,
		 info->cgroup.attach_type);
	return give_link(link, info, path);
}

static int give_netns_link(int link, const struct bpf_link_info *info, const char *pin, void *data)
{
	char path[PS_PATH];

	(void)pin;
	if (info->type != BPF_LINK_TYPE_NETNS)
		return 0;
	snprintf(path, sizeof(path), "%s/steer", (const char *)data);
	return give_link(link, info, path);
}

static int give_set(const char *name, void *data)
{
	char folder[PS_PATH];

	(void)data;
	snprintf(folder, sizeof(folder), PS_STATE "/host/%.255s", name);
	return each_link(folder, give_cgroup_link, NULL);
}

static int give_instance(const char *name, void *data)
{
	char folder[PS_PATH];

	(void)data;
	if (strncmp(name, "ns-", 3))
		return 0;
	snprintf(folder, sizeof(folder), PS_STATE "/%.255s", name);
	return each_link(folder, give_netns_link, folder);
}

static int detach_listen(int link, const struct bpf_link_info *info, const char *pin, void *data)
{
	(void)link;
	(void)data;
	return is_of_listen(info) && unlink(pin) && errno != ENOENT ? -errno : 0;
}

/* The links to the new programs; then none of the old ones runs any more. */
static int give_links(void)
{
	int ret = ps_bpffs_each(PS_STATE "/host", give_set, NULL);

	if (!ret)
		ret = ps_bpffs_each(PS_STATE, give_instance, NULL);
	if (!ret)
		ret = each_link(PS_ASIDE "/host", detach_listen, NULL);
	return ret ? ret : ps_wait_for_programs();
}

/* What the old programs have counted to their end. */
static int last_counters(void)
{
	__attribute__((cleanup(ps_old_close))) struct ps_old old = PS_OLD_NONE;
	struct ps_old_list list = {};
	int ret = ps_old_open(PS_ASIDE, &old, NULL);

	if (!ret)
		ret = ps_old_list(&old, &list, NULL);
	for (size_t i = 0; i < list.count && !ret; i++)
		ret = carry_counters(PS_STATE, &old, &list.items[i]);
	ps_old_list_clear(&list);
	/* What is not there, or damaged by now, will not get better. */
	return ret == -ENOENT || ret == -EBADMSG || ret == -EPROTO ? 0 : ret;
}

static int finish(void)
{
	int ret = give_links();

	if (!ret)
		ret = last_counters();
	if (!ret && rename(PS_STATE "/" UPGRADING, PS_STATE "/" UPGRADED))
		ret = -errno;
	return ret;
}

int ps_upgrade_settle(struct ps_error *error)
{
	int ret = 0;

	if (exists(PS_STATE "/" UPGRADING))
		ret = finish();
	if (!ret)
		ret = ps_bpffs_remove(PS_ASIDE);
	if (!ret)
		ret = ps_bpffs_remove(PS_STATE "/" UPGRADED);
	return ret ? ps_fail(error, PS_EXIT_FAILED, -ret,
			     "cannot finish an upgrade that has begun: %s; the rules are in force; "
			     "run 'portsteer upgrade' again",
			     strerror(-ret)) :
		     0;
}

bool ps_upgrade_is_unfinished(void)
{
	return exists(PS_ASIDE);
}

/* Lock the new state before anybody sees it. Returns the descriptor. */
static int exchange(struct ps_error *error)
{
	int lock = open(PS_ASIDE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) ||
	    renameat2(AT_FDCWD, PS_ASIDE, AT_FDCWD, PS_STATE, RENAME_EXCHANGE)) {
		int ret = ps_fail_kernel(error, errno, "exchange " PS_STATE " and " PS_ASIDE);

		ps_close(&lock);
		return ret;
	}
	return lock;
}

static int replace_old(const struct ps_old *old, struct ps_upgraded *upgraded,
		       struct ps_error *error)
{
	struct ps_old_list list = {};
	int ret = ps_old_list(old, &list, error), lock = -1;

	if (ret)
		return ret;
	upgraded->instances = list.count;
	for (size_t i = 0; i < list.count; i++)
		upgraded->rules += list.items[i].state.rules.count;
	ret = build_aside(old, &list, upgraded, error);
	ps_old_list_clear(&list);
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

static int upgrade_locked(struct ps_upgraded *upgraded, struct ps_error *error)
{
	__attribute__((cleanup(ps_old_close))) struct ps_old old = PS_OLD_NONE;
	struct ps_build own;
	int ret = ps_upgrade_settle(error);

	if (ret)
		return ret;
	ret = ps_old_open(PS_STATE, &old, error);
	if (ret == -ENOENT)
		return ps_fail(error, PS_EXIT_NOT_LOADED, ESRCH,
			       "portsteer is not loaded, so that there is nothing to upgrade; run "
			       "'portsteer load' or 'portsteer add'");
	if (ret)
		return ret;
	ps_build_own(&own);
	upgraded->from = old.build.abi;
	if (own.abi == old.build.abi && own.id == old.build.id)
		return 0;
	upgraded->changed = true;
	return replace_old(&old, upgraded, error);
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
