// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/attach_points.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include <bpf/bpf.h>

#include "kernel/bpffs.h"
#include "kernel/others.h"
#include "os/cgroup.h"
#include "util/util.h"

#define LINK_PREFIX "listen-"

void ps_attach_points_clear(struct ps_attach_points *anchors)
{
	for (size_t i = 0; i < anchors->count; i++)
		free(anchors->paths[i]);
	free(anchors->paths);
	*anchors = (struct ps_attach_points){};
}

static int append(struct ps_attach_points *anchors, const char *path)
{
	char **grown = realloc(anchors->paths, (anchors->count + 1) * sizeof(*grown));
	char *copy;

	if (!grown)
		return -ENOMEM;
	anchors->paths = grown;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	anchors->paths[anchors->count++] = copy;
	return 0;
}

/* Is the cgroup, or one above it, in the set? */
static bool has(const struct ps_attach_points *anchors, const char *path)
{
	for (size_t i = 0; i < anchors->count; i++) {
		if (ps_path_is_below(path, anchors->paths[i]))
			return true;
	}
	return false;
}

bool ps_attach_points_include(const struct ps_attach_points *anchors,
			      const struct ps_attach_points *others)
{
	for (size_t i = 0; i < others->count; i++) {
		if (!has(anchors, others->paths[i]))
			return false;
	}
	return true;
}

/* Put a cgroup into the set, unless one above it is there; take out those below. */
static int include(struct ps_attach_points *anchors, const char *path)
{
	size_t kept = 0;

	if (has(anchors, path))
		return 0;
	for (size_t i = 0; i < anchors->count; i++) {
		if (ps_path_is_below(anchors->paths[i], path))
			free(anchors->paths[i]);
		else
			anchors->paths[kept++] = anchors->paths[i];
	}
	anchors->count = kept;
	return append(anchors, path);
}

/* Does systemd run? Where it does, it keeps these slices (sd_booted(3)). */
static bool keeps_slices(void)
{
	struct stat st;

	return !lstat("/run/systemd/system", &st) && S_ISDIR(st.st_mode);
}

/* The attach point above a cgroup: one that stays, whatever comes and goes below. */
static const char *attach_point(const char *mount, const char *cgroup)
{
	static const char *const slices[] = { "/system.slice", "/user.slice" };
	char whole[512];
	struct stat st;

	for (size_t i = 0; i < PS_ARRAY_SIZE(slices) && keeps_slices(); i++) {
		snprintf(whole, sizeof(whole), "%s%s", mount, slices[i]);
		if (ps_path_is_below(cgroup, slices[i]) && strcmp(cgroup, slices[i]) &&
		    !stat(whole, &st) && S_ISDIR(st.st_mode))
			return slices[i];
	}
	return "";
}

static bool has_flows(const struct ps_ruleset *rules)
{
	for (size_t i = 0; i < rules->count; i++) {
		if (ps_rule_has_flows(&rules->rules[i]))
			return true;
	}
	return false;
}

int ps_attach_points_add_root(struct ps_attach_points *anchors)
{
	return include(anchors, "");
}

int ps_attach_points_add(struct ps_attach_points *anchors, const struct ps_state *state,
			 struct ps_error *error)
{
	const char *last = NULL;
	char mount[256];
	int ret;

	if (!state->target_count)
		return 0;
	ret = ps_cgroup2_mount(mount, error);
	if (ret)
		return ret;
	/* Clients' sockets may have been made anywhere. */
	if (has_flows(&state->rules) && include(anchors, ""))
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; nothing was changed");
	for (size_t i = 0; i < state->target_count; i++) {
		const struct ps_owner_spec *owner = &state->targets[i].owner;
		const char *cgroup = owner->flags & PS_OWNER_CGROUP ? owner->cgroup : "";

		/* Nobody has no listeners to be admitted. */
		if (owner->flags & PS_OWNER_NOBODY)
			continue;
		if (last && !strcmp(last, cgroup))
			continue;
		last = cgroup;
		ret = include(anchors, attach_point(mount, cgroup));
		if (ret)
			return ps_fail(error, PS_EXIT_FAILED, -ret,
				       "out of memory; nothing was changed");
	}
	return 0;
}

/* A cgroup's id is its directory's inode number. */
static int open_cgroup(const char *mount, const char *path, uint64_t *id)
{
	char whole[PS_CGROUP_PATH + 512];
	_cleanup_close_ int fd = -1;
	struct stat st;

	snprintf(whole, sizeof(whole), "%s%s", mount, path);
	fd = open(whole, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return -errno;
	*id = st.st_ino;
	return ps_take_fd(&fd);
}

/* The id of the cgroup that a pinned link is attached to: 0 if the cgroup, or the
 * pin, is gone. -errno if it cannot be told. */
static int linked_cgroup(const char *pin, uint64_t *id)
{
	_cleanup_close_ int fd = ps_bpffs_open_link(pin);
	struct bpf_link_info info = {};
	__u32 size = sizeof(info);

	*id = 0;
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	if (info.type == BPF_LINK_TYPE_CGROUP)
		*id = info.cgroup.cgroup_id;
	return 0;
}

/* 1: attached now; 0: it was already. */
static int attach_one(const struct ps_host *host, const char *mount, const char *path)
{
	_cleanup_close_ int cgroup = -1, link = -1;
	char pin[PS_PATH];
	uint64_t id = 0, linked;
	int ret;

	cgroup = open_cgroup(mount, path, &id);
	if (cgroup < 0)
		return cgroup;
	ps_bpffs_path(pin, "host/" LINK_PREFIX "%" PRIu64, id);
	ret = linked_cgroup(pin, &linked);
	if (ret || linked == id)
		return ret;
	link = bpf_link_create(host->fd[PS_HOST_LISTEN], cgroup, BPF_CGROUP_SOCK_OPS, NULL);
	if (link < 0)
		return -errno;
	ret = ps_bpffs_pin(link, pin);
	return ret ? ret : 1;
}

int ps_attach_points_attach(const struct ps_host *host, const struct ps_attach_points *anchors,
			    struct ps_error *error)
{
	char mount[256];
	int ret;

	if (!anchors->count)
		return 0;
	ret = ps_cgroup2_mount(mount, error);
	if (ret)
		return ret;
	for (size_t i = 0; i < anchors->count; i++) {
		ret = attach_one(host, mount, anchors->paths[i]);
		if (ret < 0)
			return ps_fail_attach_cgroup(error, ret, BPF_CGROUP_SOCK_OPS,
						     anchors->paths[i]);
	}
	return 0;
}

/* The ids of the wanted cgroups. */
struct wanted {
	uint64_t *ids;
	size_t count;
};

/* The cgroup that the link is on, 0 if it is detached. 1; 0 if the pin is none of these links; or
 * -errno. */
static int read_pin(const char *name, char pin[PS_PATH], uint64_t *id)
{
	int ret;

	if (strncmp(name, LINK_PREFIX, strlen(LINK_PREFIX)))
		return 0;
	ps_bpffs_path(pin, "host/%s", name);
	ret = linked_cgroup(pin, id);
	return ret ? ret : 1;
}

static int detach_unwanted(const char *name, void *data)
{
	const struct wanted *wanted = data;
	char pin[PS_PATH];
	uint64_t id;
	int ret = read_pin(name, pin, &id);

	if (ret <= 0)
		return ret;
	for (size_t i = 0; i < wanted->count; i++) {
		if (id && wanted->ids[i] == id)
			return 0;
	}
	return unlink(pin) && errno != ENOENT ? -errno : 0;
}

int ps_attach_points_detach_others(const struct ps_attach_points *anchors)
{
	_cleanup_free_ uint64_t *ids = calloc(anchors->count + 1, sizeof(*ids));
	struct wanted wanted = { .ids = ids };
	char mount[256], host[PS_PATH];

	if (!ids)
		return -ENOMEM;
	if (anchors->count && ps_cgroup2_mount(mount, NULL))
		return -ENOENT;
	for (size_t i = 0; i < anchors->count; i++) {
		int fd = open_cgroup(mount, anchors->paths[i], &ids[wanted.count]);

		/* One that is gone keeps nothing; any other failure, everything. */
		if (fd < 0 && fd != -ENOENT)
			return fd;
		if (fd >= 0)
			wanted.count++;
		ps_close(&fd);
	}
	ps_bpffs_path(host, "host");
	return ps_bpffs_each(host, detach_unwanted, &wanted);
}

/* Is the program attached to the cgroup at `path` now, or to one above? */
static int is_covered(const char *mount, const char *path)
{
	char at[PS_CGROUP_PATH], pin[PS_PATH];
	char *slash;

	snprintf(at, sizeof(at), "%s", path);
	for (;;) {
		uint64_t id = 0, linked;
		int fd = open_cgroup(mount, at, &id), ret;

		if (fd < 0 && fd != -ENOENT)
			return fd;
		ps_close(&fd);
		ps_bpffs_path(pin, "host/" LINK_PREFIX "%" PRIu64, id);
		ret = linked_cgroup(pin, &linked);
		if (ret)
			return ret;
		if (id && linked == id)
			return 1;
		slash = strrchr(at, '/');
		if (!slash)
			return 0;
		*slash = '\0';
	}
}

int ps_attach_points_cover(const struct ps_attach_points *anchors)
{
	char mount[256];
	int ret = 1;

	if (anchors->count && ps_cgroup2_mount(mount, NULL))
		return -ENOENT;
	for (size_t i = 0; i < anchors->count && ret > 0; i++)
		ret = is_covered(mount, anchors->paths[i]);
	return ret;
}

int ps_listen_is_lost(const struct ps_state *state)
{
	struct ps_attach_points anchors = {};
	int ret = ps_attach_points_add(&anchors, state, NULL);

	if (!ret)
		ret = ps_attach_points_cover(&anchors);
	ps_attach_points_clear(&anchors);
	return ret < 0 ? ret : !ret;
}

static int is_lost(const char *name, void *data)
{
	char pin[PS_PATH];
	uint64_t id;
	int ret = read_pin(name, pin, &id);

	(void)data;
	return ret <= 0 ? ret : !id;
}

int ps_attach_points_lost(void)
{
	char host[PS_PATH];

	ps_bpffs_path(host, "host");
	return ps_bpffs_each(host, is_lost, NULL);
}

static int count_pin(const char *name, void *data)
{
	*(size_t *)data += !strncmp(name, LINK_PREFIX, strlen(LINK_PREFIX));
	return 0;
}

size_t ps_attach_points_attached(void)
{
	char host[PS_PATH];
	size_t count = 0;

	ps_bpffs_path(host, "host");
	return ps_bpffs_each(host, count_pin, &count) ? SIZE_MAX : count;
}

/* Which of the cgroups that it can be attached to has this id? NULL if none has, or if that is not
 * to be seen. This needs no right. */
static const char *path_of(uint64_t id)
{
	static const char *const paths[] = { "/", "/system.slice", "/user.slice" };
	char mount[256], whole[512];
	struct stat st;

	for (size_t i = 0; i < PS_ARRAY_SIZE(paths) && !ps_cgroup2_mount(mount, NULL); i++) {
		snprintf(whole, sizeof(whole), "%s%s", mount, paths[i]);
		if (!stat(whole, &st) && st.st_ino == id)
			return paths[i];
	}
	return NULL;
}

static int read_one(const char *name, void *data)
{
	struct ps_attach_points *anchors = data;
	char pin[PS_PATH], text[32];
	const char *path;
	uint64_t id;
	int ret = read_pin(name, pin, &id);

	if (ret <= 0)
		return ret;
	if (!id)
		return append(anchors, "(detached)");
	path = path_of(id);
	snprintf(text, sizeof(text), "(id %" PRIu64 ")", id);
	return append(anchors, path ? path : text);
}

/* -EXDEV: it cannot be told where it is. */
static int add_others(const char *name, void *data)
{
	uint64_t id, linked;
	char pin[PS_PATH];
	const char *path;
	int ret;

	if (sscanf(name, LINK_PREFIX "%" SCNu64, &id) != 1)
		return 0;
	path = path_of(id);
	if (path)
		return ps_others_on_cgroup(path, BPF_CGROUP_SOCK_OPS, data);
	ps_bpffs_path(pin, "host/%s", name);
	ret = linked_cgroup(pin, &linked);
	/* A cgroup that has gone has no programs. */
	return ret || (!linked && !ps_cgroup2_mount((char[256]){}, NULL)) ? ret : -EXDEV;
}

int ps_attach_points_others(struct ps_others *others)
{
	char host[PS_PATH];

	ps_bpffs_path(host, "host");
	return ps_bpffs_each(host, add_others, others);
}

int ps_attach_points_read(struct ps_attach_points *anchors)
{
	char host[PS_PATH];

	ps_bpffs_path(host, "host");
	return ps_bpffs_each(host, read_one, anchors);
}
