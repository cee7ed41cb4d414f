// SPDX-License-Identifier: GPL-2.0-only
#include "os/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "os/container.h"
#include "os/systemd.h"
#include "os/unit_name.h"
#include "rule/rule.h"
#include "util/bpf_types.h"
#include "util/text.h"
#include "util/util.h"

/* The root of the whole hierarchy has this id, and so this inode number (kernfs); in a cgroup
 * namespace another cgroup is shown as the root. */
enum { ROOT_ID = 1 };

/* In mountinfo blanks, newlines and backslashes are written as \040 and so on. */
static void decode_octal(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
		    from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
			*to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* A place where cgroup2 is mounted. There is one hierarchy in a kernel, whatever is mounted. */
struct mount {
	char point[256];
	uint64_t id; /* of the cgroup that it shows: 1 is the root of all */
	bool unshifted; /* shown to us as the whole: then paths in /proc/PID/cgroup are whole too */
};

/* The fourth field is the root of the mount in its file system, as it is to be seen in our
 * cgroup namespace, the fifth where it is mounted; the type follows a lone "-". Changes
 * `line`. */
static bool parse_mount(char *line, const char *prefix, struct mount *mount)
{
	char *save = NULL, *root, *point;
	const char *type = strstr(line, " - ");

	if (!type || strncmp(type + 3, "cgroup2 ", 8))
		return false;
	root = strtok_r(line, " ", &save);
	for (int i = 0; root && i < 3; i++)
		root = strtok_r(NULL, " ", &save);
	point = strtok_r(NULL, " ", &save);
	if (!root || !point)
		return false;
	decode_octal(point);
	mount->unshifted = !strcmp(root, "/");
	return snprintf(mount->point, sizeof(mount->point), "%s%s", prefix, point) <
	       (int)sizeof(mount->point);
}

/* Is it to be seen there, or has something else been mounted over it? The file system knows
 * which cgroup it shows: what mountinfo says of that depends on who reads it. */
static bool is_seen(struct mount *mount)
{
	struct statfs fs;
	struct stat st;

	if (statfs(mount->point, &fs) || fs.f_type != CGROUP2_SUPER_MAGIC ||
	    stat(mount->point, &st))
		return false;
	mount->id = st.st_ino;
	return true;
}

/* All that are seen, in the order of the file, which is that of their making: the number of
 * them, at most `room`; -errno. `prefix` leads to what the file speaks of. */
enum { MOUNTS = 64 };
static int read_mounts(const char *mountinfo, const char *prefix, struct mount mounts[MOUNTS])
{
	_cleanup_fclose_ FILE *file = fopen(mountinfo, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	int count = 0;

	if (!file)
		return -errno;
	while (count < MOUNTS && getline(&line, &size, file) > 0) {
		if (parse_mount(line, prefix, &mounts[count]) && is_seen(&mounts[count]))
			count++;
	}
	return count;
}

/* The one to use for the whole hierarchy: the usual places before others, the first of those. */
static const struct mount *best_mount(const struct mount *mounts, int count, const char *prefix)
{
	static const char *const usual[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	const struct mount *best = NULL;
	size_t best_rank = SIZE_MAX;

	for (int i = 0; i < count; i++) {
		size_t rank = 0;

		while (rank < PS_ARRAY_SIZE(usual) &&
		       strcmp(mounts[i].point + strlen(prefix), usual[rank]))
			rank++;
		if (mounts[i].id != ROOT_ID || rank >= best_rank)
			continue;
		best = &mounts[i];
		best_rank = rank;
	}
	return best;
}

static const char first_root[] = "/proc/1/root";

/* In a cgroup namespace process 1 may still have the host's: the namespaces of its mounts and
 * of its processes may not be ours. */
static int find_whole(struct mount *whole, struct ps_error *error)
{
	struct mount mounts[MOUNTS] = {};
	int count = read_mounts("/proc/self/mountinfo", "", mounts);
	const struct mount *best = best_mount(mounts, count, "");
	bool any = count > 0;

	if (count < 0)
		return ps_fail(error, PS_EXIT_FAILED, -count,
			       "cannot read /proc/self/mountinfo: %s; mount proc on /proc",
			       strerror(-count));
	if (!best) {
		count = read_mounts("/proc/1/mountinfo", first_root, mounts);
		best = best_mount(mounts, count, first_root);
	}
	if (best) {
		*whole = *best;
		return 0;
	}
	if (any)
		return ps_fail(error, PS_EXIT_UNSUPPORTED, EXDEV,
			       "portsteer runs in a cgroup namespace, or sees only a part of the "
			       "cgroup2 hierarchy, and cannot reach its root; run it on the host");
	return ps_fail(error, PS_EXIT_UNSUPPORTED, ENOENT,
		       "no cgroup2 file system is mounted; mount one with 'mount -t cgroup2 none "
		       "/sys/fs/cgroup'");
}

int ps_cgroup2_mount(char path[256], struct ps_error *error)
{
	struct mount whole;
	int ret = find_whole(&whole, error);

	if (!ret)
		strcpy(path, whole.point);
	return ret;
}

/* Is the path at or below the mount? The length of what is above. */
static size_t mount_part(const char *text, const char *point)
{
	size_t len = strlen(point);

	return len > 1 && !strncmp(text, point, len) && (!text[len] || text[len] == '/') ? len : 0;
}

/* The mount that a path goes through: the deepest. false: none. */
static bool find_mount(const char *text, struct mount *found, size_t *part)
{
	struct mount mounts[MOUNTS];
	int count = read_mounts("/proc/self/mountinfo", "", mounts);

	*part = 0;
	for (int i = 0; i < count; i++) {
		size_t len = mount_part(text, mounts[i].point);

		if (len < *part || !len)
			continue;
		*part = len;
		*found = mounts[i];
	}
	/* Where it is not one of ours: as messages and `status` show it, or as process 1 would. */
	if (!*part && !find_whole(found, NULL)) {
		*part = mount_part(text, found->point);
		if (!*part && !strncmp(found->point, first_root, strlen(first_root)))
			*part = mount_part(text, found->point + strlen(first_root));
	}
	return *part;
}

/* "/sys/fs/cgroup/a" is the cgroup "/a" if cgroup2 is mounted there, in whatever place. Another
 * place in /sys or /proc is a slip (a cgroup v1 folder, say), never a cgroup's path. */
static int resolve_path(const char *text, char **path, struct ps_error *error)
{
	bool slip = !strncmp(text, "/sys/", 5) || !strncmp(text, "/proc/", 6);
	char above[PS_CGROUP_PATH] = "", whole[2 * PS_CGROUP_PATH], mount[256];
	struct mount through = {};
	size_t part;
	int ret;

	if (text[0] == '/' && find_mount(text, &through, &part)) {
		if (through.id != ROOT_ID && ps_cgroup_path(through.id, above, sizeof(above)))
			return ps_fail(error, PS_EXIT_FAILED, EXDEV,
				       "cgroup %.200s: only a part of the cgroup2 hierarchy is "
				       "mounted on %.200s, and its path is not known; give the "
				       "path from the root",
				       text, through.point);
		if (strlen(text + part) >= PS_CGROUP_PATH)
			return ps_cgroup_normalise(text + part, path, error);
		snprintf(whole, sizeof(whole), "%s%s", above, text + part);
		return ps_cgroup_normalise(*whole ? whole : "/", path, error);
	}
	if (!slip)
		return ps_cgroup_normalise(text, path, error);
	ret = ps_cgroup2_mount(mount, error);
	if (ret)
		return ret;
	return ps_fail(error, PS_EXIT_USAGE, EINVAL,
		       "cgroup %.200s: it is not below %s, where cgroup2 is mounted; give a path "
		       "below that",
		       text, mount);
}

static int fail_pid(const char *pid, int err, struct ps_error *error)
{
	return ps_fail(error, PS_EXIT_FAILED, err, "cgroup pid:%.50s: %s; see 'ps -e'", pid,
		       err == ENOENT || err == ESRCH ? "there is no such process" : strerror(err));
}

/* The line of the cgroup2 hierarchy is "0::/path". */
static int resolve_pid(const char *pid, char **path, struct ps_error *error)
{
	_cleanup_fclose_ FILE *file = NULL;
	_cleanup_free_ char *line = NULL;
	struct mount whole = {};
	char name[64];
	size_t size = 0;
	ssize_t len;

	if (!*pid || strspn(pid, "0123456789") != strlen(pid) || strlen(pid) > 10)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "cgroup pid:%.50s: not a process id; write it as pid:1234", pid);
	snprintf(name, sizeof(name), "/proc/%s/cgroup", pid);
	if (!find_whole(&whole, NULL) && !whole.unshifted)
		return ps_fail(error, PS_EXIT_UNSUPPORTED, EXDEV,
			       "cgroup pid:%.50s: portsteer runs in a cgroup namespace, where the "
			       "cgroups of processes are not visible; give the path from the root, "
			       "or run it on the host",
			       pid);
	file = fopen(name, "re");
	if (!file)
		return fail_pid(pid, errno, error);
	while ((len = getline(&line, &size, file)) > 0) {
		if (strncmp(line, "0::/", 4))
			continue;
		if (line[len - 1] == '\n')
			line[--len] = '\0';
		/* The cgroup of a process that has not yet been reaped may be gone. */
		if (ps_unit_is(line, " (deleted)"))
			line[len - strlen(" (deleted)")] = '\0';
		if (strstr(line, "/../") || ps_unit_is(line, "/.."))
			return ps_fail(error, PS_EXIT_FAILED, EXDEV,
				       "cgroup pid:%.50s: it is outside portsteer's own cgroup "
				       "namespace; run portsteer on the host",
				       pid);
		return ps_cgroup_normalise(line + 3, path, error);
	}
	if (ferror(file))
		return fail_pid(pid, errno, error);
	return ps_fail(error, PS_EXIT_UNSUPPORTED, ENOENT,
		       "cgroup pid:%.50s: the process is not in a cgroup2 hierarchy; mount one "
		       "with 'mount -t cgroup2 none /sys/fs/cgroup'",
		       pid);
}

/* A service need not be there, as it will be where it is expected; of the other units only
 * the manager can tell that. */
static int check_assumed(const char *name, const struct ps_unit *unit, struct ps_error *error)
{
	char mount[256], whole[PS_CGROUP_PATH + 256];
	struct stat st;
	int ret;

	if (!unit->assumed || ps_unit_is(name, ".service"))
		return 0;
	ret = ps_cgroup2_mount(mount, error);
	if (ret)
		return ret;
	snprintf(whole, sizeof(whole), "%s%s", mount, unit->path);
	if (!stat(whole, &st))
		return 0;
	return ps_fail(error, PS_EXIT_FAILED, ENOENT,
		       "cgroup unit:%.200s: there is no such cgroup; start the unit first, or give the "
		       "path",
		       name);
}

static int resolve_unit(const char *name, char **path, char **note, struct ps_error *error)
{
	char safe[4 * PS_CGROUP_PATH];
	struct ps_unit unit;
	int ret = ps_unit_find(name, &unit, error);

	if (!ret)
		ret = check_assumed(name, &unit, error);
	if (!ret)
		ret = ps_cgroup_normalise(*unit.path ? unit.path : "/", path, error);
	if (ret || !unit.assumed)
		return ret;
	ps_printable(*path, safe, sizeof(safe));
	if (asprintf(note, "unit:%s is assumed to have the cgroup %s: %s", name, safe,
		     unit.assumed) < 0) {
		*note = NULL;
		free(*path);
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	}
	return 0;
}

static int resolve_container(const char *text, char **path, struct ps_error *error)
{
	char mount[256], found[PS_CGROUP_PATH];
	int ret = ps_cgroup2_mount(mount, error);

	if (!ret)
		ret = ps_container_find(text, mount, found, error);
	return ret ? ret : ps_cgroup_normalise(found, path, error);
}

/* A path means something only with the root of all cgroups. Where no cgroup2 is mounted at all a
 * path can still be looked at. */
static int check_root(struct ps_error *error)
{
	struct mount whole;
	int ret = find_whole(&whole, error);

	return ret == -EXDEV ? ret : 0;
}

static int resolve(const char *text, char **path, char **note, struct ps_error *error)
{
	if (!strncmp(text, "pid:", 4))
		return resolve_pid(text + 4, path, error);
	if (!strncmp(text, "unit:", 5))
		return resolve_unit(text + 5, path, note, error);
	if (!strncmp(text, "container:", 10))
		return resolve_container(text + 10, path, error);
	return resolve_path(text, path, error);
}

/* `what` it is called in messages; the root is refused with this advice, unless it is
 * `root_text` that was written. */
static int resolve_all_but_root(const char *text, const char *what, const char *root_text,
				const char *advice, char **path, char **note,
				struct ps_error *error)
{
	_cleanup_free_ char *found = NULL, *said = NULL;
	int ret = check_root(error);

	if (!ret)
		ret = resolve(text, &found, &said, error);
	if (ret)
		return ret;
	if (found && !strcmp(found, "/") && strcmp(text, root_text))
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "%s %.200s: it is the root, which contains every process; %s", what,
			       text, advice);
	*path = found;
	*note = said;
	found = said = NULL;
	return 0;
}

/* The kernel's handle of a folder in cgroupfs is its id (FILEID_KERNFS). */
static int open_by_id(int root, uint64_t id)
{
	union {
		struct file_handle handle;
		char bytes[sizeof(struct file_handle) + sizeof(id)];
	} name = { .handle = { .handle_bytes = sizeof(id), .handle_type = 0xfe } };

	memcpy(name.handle.f_handle, &id, sizeof(id));
	return open_by_handle_at(root, &name.handle, O_RDONLY | O_CLOEXEC);
}

/* Where an open folder is. */
static bool where(int fd, char path[PATH_MAX])
{
	char link[64];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, PATH_MAX - 1);
	path[length > 0 ? length : 0] = '\0';
	return length > 0;
}

int ps_cgroup_path(uint64_t id, char *path, size_t size)
{
	_cleanup_close_ int root = -1, fd = -1;
	char mount[256], top[PATH_MAX], whole[PATH_MAX];
	size_t length;

	if (!id || ps_cgroup2_mount(mount, NULL))
		return -ENOENT;
	root = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = root < 0 ? -1 : open_by_id(root, id);
	/* Of another mount namespace's mount the kernel tells another path than it was opened by. */
	if (fd < 0 || !where(root, top) || !where(fd, whole))
		return -ENOENT;
	length = strlen(top);
	if (strncmp(whole, top, length) || strlen(whole + length) >= size)
		return -ENOENT;
	strcpy(path, whole + length);
	return 0;
}

char *ps_cgroup_path_of(pid_t pid, uint64_t id)
{
	_cleanup_free_ char *path = NULL, *whole = NULL;
	char mount[256], name[16];
	struct stat st;

	snprintf(name, sizeof(name), "%d", pid);
	if (resolve_pid(name, &path, NULL) || ps_cgroup2_mount(mount, NULL) ||
	    asprintf(&whole, "%s%s", mount, path) < 0)
		return NULL;
	return !stat(whole, &st) && st.st_ino == id ? strdup(path) : NULL;
}

int ps_cgroup_resolve(const char *text, char **path, char **note, struct ps_error *error)
{
	return resolve_all_but_root(text, "cgroup", "", "name one below it, or give --any-user",
				    path, note, error);
}

int ps_scope_resolve(const char *text, char **path, char **note, struct ps_error *error)
{
	return resolve_all_but_root(text, "client cgroup", "/",
				    "for all processes write --client-cgroup /", path, note, error);
}
