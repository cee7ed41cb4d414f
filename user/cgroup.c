// SPDX-License-Identifier: GPL-2.0-only
#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "bpf_types.h"
#include "rule.h"
#include "util.h"

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

/* The fourth field is the root of the mount in its file system, the fifth where
 * it is mounted; the type follows a lone "-". Changes `line`. */
static bool parse_mount(char *line, const char **root, char **point)
{
	char *save = NULL, *field, *type = strstr(line, " - ");

	if (!type || strncmp(type + 3, "cgroup2 ", 8))
		return false;
	field = strtok_r(line, " ", &save);
	for (int i = 0; field && i < 3; i++)
		field = strtok_r(NULL, " ", &save);
	*root = field;
	*point = strtok_r(NULL, " ", &save);
	if (!*root || !*point)
		return false;
	decode_octal(*point);
	return true;
}

/* A mount over another at the same place comes later in the file: the last counts. */
int ps_cgroup2_mount(char path[256], struct ps_error *error)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	const char *root;
	char *point;
	size_t size = 0;
	bool found = false;

	if (!file)
		return ps_fail(error, PS_EXIT_FAILED, errno,
			       "cannot read /proc/self/mountinfo: %s; mount proc on /proc",
			       strerror(errno));
	while (getline(&line, &size, file) > 0) {
		if (!parse_mount(line, &root, &point) || strcmp(root, "/") || strlen(point) > 255)
			continue;
		strcpy(path, point);
		found = true;
	}
	if (found)
		return 0;
	return ps_fail(error, PS_EXIT_UNSUPPORTED, ENOENT,
		       "no cgroup2 file system is mounted; mount one with 'mount -t cgroup2 none "
		       "/sys/fs/cgroup'");
}

/* "/sys/fs/cgroup/a" is the cgroup "/a" if cgroup2 is mounted there. Another place
 * in /sys or /proc is a slip (a cgroup v1 folder, say), never a cgroup's path. */
static int resolve_path(const char *text, char **path, struct ps_error *error)
{
	bool slip = !strncmp(text, "/sys/", 5) || !strncmp(text, "/proc/", 6);
	char mount[256] = "";
	size_t len;
	int ret;

	if (text[0] != '/')
		return ps_cgroup_normalise(text, path, error);
	ret = ps_cgroup2_mount(mount, error);
	if (ret && slip)
		return ret;
	len = strlen(mount);
	if (len > 1 && !strncmp(text, mount, len) && (!text[len] || text[len] == '/'))
		return ps_cgroup_normalise(text[len] ? text + len : "/", path, error);
	if (slip)
		return ps_fail(
			error, PS_EXIT_USAGE, EINVAL,
			"cgroup %.200s: it is not below %s, where cgroup2 is mounted; give a path "
			"below that",
			text, mount);
	return ps_cgroup_normalise(text, path, error);
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), tail = strlen(end);

	return len > tail && !strcmp(text + len - tail, end);
}

static int fail_pid(const char *pid, int err, struct ps_error *error)
{
	return ps_fail(error, PS_EXIT_FAILED, err,
		       "cgroup pid:%.50s: %s; see 'ps -e' for the processes there are", pid,
		       err == ENOENT || err == ESRCH ? "there is no such process" : strerror(err));
}

/* The line of the cgroup2 hierarchy is "0::/path". */
static int resolve_pid(const char *pid, char **path, struct ps_error *error)
{
	_cleanup_fclose_ FILE *file = NULL;
	_cleanup_free_ char *line = NULL;
	char name[64];
	size_t size = 0;
	ssize_t len;

	if (!*pid || strspn(pid, "0123456789") != strlen(pid) || strlen(pid) > 10)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "cgroup pid:%.50s: not a process id; write it as pid:1234", pid);
	snprintf(name, sizeof(name), "/proc/%s/cgroup", pid);
	file = fopen(name, "re");
	if (!file)
		return fail_pid(pid, errno, error);
	while ((len = getline(&line, &size, file)) > 0) {
		if (strncmp(line, "0::/", 4))
			continue;
		if (line[len - 1] == '\n')
			line[--len] = '\0';
		/* The cgroup of a process that has not yet been reaped may be gone. */
		if (ends_with(line, " (deleted)"))
			line[len - strlen(" (deleted)")] = '\0';
		if (strstr(line, "/../") || ends_with(line, "/.."))
			return ps_fail(error, PS_EXIT_FAILED, EXDEV,
				       "cgroup pid:%.50s: it is outside of portsteer's own cgroup "
				       "namespace; run portsteer on the host",
				       pid);
		return ps_cgroup_normalise(line + 3, path, error);
	}
	if (ferror(file))
		return fail_pid(pid, errno, error);
	return ps_fail(error, PS_EXIT_UNSUPPORTED, ENOENT,
		       "cgroup pid:%.50s: the process is in no cgroup2 hierarchy; mount one with 'mount "
		       "-t cgroup2 none /sys/fs/cgroup'",
		       pid);
}

/* A search for cgroups by what they are called. `path` is the one being looked at, and
 * `matches` is asked with that of the parent. */
struct search {
	bool (*matches)(const struct search *search, const char *name);
	const void *wanted;
	size_t root; /* length of the mount point in path */
	char path[PS_CGROUP_PATH + 256];
	char found[2][PS_CGROUP_PATH];
	unsigned int count;
};

static void search_below(struct search *search, unsigned int depth);

static void search_entry(struct search *search, const char *name, unsigned int depth)
{
	size_t len = strlen(search->path);
	bool found;

	if (name[0] == '.' || len + strlen(name) + 2 > sizeof(search->path))
		return;
	found = search->matches(search, name);
	snprintf(search->path + len, sizeof(search->path) - len, "/%s", name);
	if (found) {
		snprintf(search->found[search->count++], PS_CGROUP_PATH, "%s",
			 search->path + search->root);
	} else {
		search_below(search, depth + 1);
	}
	search->path[len] = '\0';
}

static void search_below(struct search *search, unsigned int depth)
{
	DIR *dir = depth > PS_CGROUP_DEPTH ? NULL : opendir(search->path);
	struct dirent *entry;
	struct stat st;

	if (!dir)
		return;
	/* Below a cgroup that is a user's own, that user makes up the names. */
	if (fstat(dirfd(dir), &st) || st.st_uid) {
		closedir(dir);
		return;
	}
	while (search->count < 2 && (entry = readdir(dir))) {
		if (entry->d_type == DT_DIR)
			search_entry(search, entry->d_name, depth);
	}
	closedir(dir);
}

static bool is_unit(const struct search *search, const char *name)
{
	return !strcmp(name, search->wanted);
}

/* A system service is where it is expected, even before it is first started; any
 * other unit must be found. */
static int resolve_unit(const char *unit, char **path, struct ps_error *error)
{
	struct search search = { .matches = is_unit, .wanted = unit };
	char usual[PS_CGROUP_PATH];
	struct stat st;
	int ret;

	if (strchr(unit, '/') || !strchr(unit, '.') || unit[0] == '.' || strlen(unit) > 255)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "cgroup unit:%.200s: not a unit's name; write it with its ending, as in "
			       "unit:web.service",
			       unit);
	ret = ps_cgroup2_mount(search.path, error);
	if (ret)
		return ret;
	search.root = strlen(search.path);
	snprintf(usual, sizeof(usual), "/system.slice/%s", unit);
	snprintf(search.path + search.root, sizeof(search.path) - search.root, "%s", usual);
	if (!stat(search.path, &st))
		return ps_cgroup_normalise(usual, path, error);
	search.path[search.root] = '\0';
	search_below(&search, 0);
	if (search.count > 1)
		return ps_fail(error, PS_EXIT_FAILED, EEXIST,
			       "cgroup unit:%.200s: there is more than one, %s and %s; give the path",
			       unit, search.found[0], search.found[1]);
	if (search.count)
		return ps_cgroup_normalise(search.found[0], path, error);
	if (ends_with(unit, ".service"))
		return ps_cgroup_normalise(usual, path, error);
	return ps_fail(error, PS_EXIT_FAILED, ENOENT,
		       "cgroup unit:%.200s: there is no such cgroup; start the unit first, or give the "
		       "path",
		       unit);
}

/* How runtimes call a container's cgroup. */
enum { CONTAINER_ID = 12, CONTAINER_NAME = 128 };
struct container {
	const char *text;
	bool is_id; /* text may be an id, or the beginning of one */
	char escaped[4 * CONTAINER_NAME + 1]; /* as systemd writes it in units' names */
};

static const char hex_digits[] = "0123456789abcdef";

/* An id is all of the name, or what follows its last '-' ("docker-ID.scope") or ':'. The
 * cgroup of Podman's and CRI-O's monitor ("libpod-conmon-ID.scope") is not the container's. */
static bool has_id(const char *name, const char *id)
{
	static const char monitor[] = "conmon-";
	const size_t prefix = sizeof(monitor) - 1;
	size_t start = strlen(name) - (ends_with(name, ".scope") ? strlen(".scope") : 0);

	while (start && strchr(hex_digits, name[start - 1]))
		start--;
	if (start && name[start - 1] != '-' && name[start - 1] != ':')
		return false;
	if (start >= prefix && !strncmp(name + start - prefix, monitor, prefix))
		return false;
	return !strncmp(name + start, id, strlen(id));
}

/* LXC has "lxc.payload.NAME", and had "NAME" in "lxc"; systemd-machined has a scope for
 * each machine, or the service that runs it. */
static bool has_name(const struct search *search, const char *name, const struct container *c)
{
	const char *parent = strrchr(search->path + search->root, '/');
	char usual[sizeof(c->escaped) + 32];

	if (parent && !strcmp(parent, "/lxc") && !strcmp(name, c->text))
		return true;
	snprintf(usual, sizeof(usual), "lxc.payload.%s", c->text);
	if (!strcmp(name, usual))
		return true;
	snprintf(usual, sizeof(usual), "machine-%s.scope", c->text);
	if (!strcmp(name, usual))
		return true;
	snprintf(usual, sizeof(usual), "machine-%s.scope", c->escaped);
	if (!strcmp(name, usual))
		return true;
	snprintf(usual, sizeof(usual), "systemd-nspawn@%s.service", c->escaped);
	return !strcmp(name, usual);
}

static bool is_container(const struct search *search, const char *name)
{
	const struct container *c = search->wanted;

	return (c->is_id && has_id(name, c->text)) || has_name(search, name, c);
}

static int parse_container(const char *text, struct container *c, struct ps_error *error)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789._-";
	size_t len = strlen(text), used = 0;

	if (!len || len > CONTAINER_NAME || text[0] == '.' || strspn(text, plain) != len)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "cgroup container:%.200s: neither a container's id nor a name; write it "
			       "as container:0123456789ab",
			       text);
	*c = (struct container){ .text = text };
	c->is_id = len >= CONTAINER_ID && strspn(text, hex_digits) == len;
	for (; *text; text++)
		used += (size_t)snprintf(c->escaped + used, sizeof(c->escaped) - used,
					 *text == '-' ? "\\x%02x" : "%c", *text);
	return 0;
}

/* It has to be there: where a runtime will put it cannot be told. */
static int resolve_container(const char *text, char **path, struct ps_error *error)
{
	struct container container;
	struct search search = { .matches = is_container, .wanted = &container };
	int ret = parse_container(text, &container, error);

	if (!ret)
		ret = ps_cgroup2_mount(search.path, error);
	if (ret)
		return ret;
	search.root = strlen(search.path);
	search_below(&search, 0);
	if (search.count > 1)
		return ps_fail(error, PS_EXIT_FAILED, EEXIST,
			       "cgroup container:%.128s: there is more than one, %s and %s; give more "
			       "of the id, or the path",
			       text, search.found[0], search.found[1]);
	if (search.count)
		return ps_cgroup_normalise(search.found[0], path, error);
	return ps_fail(error, PS_EXIT_FAILED, ENOENT,
		       "cgroup container:%.128s: there is no such container; start it first, and give "
		       "12 digits or more of its id, as 'docker ps' or 'podman ps' shows it, or its "
		       "cgroup's path",
		       text);
}

/* The root of the whole hierarchy has the id 1 (kernfs); in a cgroup namespace another
 * cgroup is shown as the root, and paths do not mean what they mean to the kernel. */
static bool is_whole(const char *mount)
{
	struct stat st;

	return stat(mount, &st) || st.st_ino == 1;
}

static int check_root(const char *text, struct ps_error *error)
{
	char mount[256];

	if (ps_cgroup2_mount(mount, NULL) || is_whole(mount))
		return 0;
	return ps_fail(error, PS_EXIT_UNSUPPORTED, EXDEV,
		       "cgroup %.200s: portsteer runs in a cgroup namespace, where the paths of "
		       "cgroups are not known; use --user, or run it on the host",
		       text);
}

static int resolve(const char *text, char **path, struct ps_error *error)
{
	if (!strncmp(text, "pid:", 4))
		return resolve_pid(text + 4, path, error);
	if (!strncmp(text, "unit:", 5))
		return resolve_unit(text + 5, path, error);
	if (!strncmp(text, "container:", 10))
		return resolve_container(text + 10, path, error);
	return resolve_path(text, path, error);
}

/* `what` it is called in messages; the root is refused with this advice, unless it is
 * `root_text` that was written. */
static int resolve_all_but_root(const char *text, const char *what, const char *root_text,
				const char *advice, char **path, struct ps_error *error)
{
	_cleanup_free_ char *found = NULL;
	int ret = check_root(text, error);

	if (!ret)
		ret = resolve(text, &found, error);
	if (ret)
		return ret;
	if (found && !strcmp(found, "/") && strcmp(text, root_text))
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "%s %.200s: it is the root, which every process is in; %s", what,
			       text, advice);
	*path = found;
	found = NULL;
	return 0;
}

/* The kernel's handle of a folder in cgroupfs is its id (FILEID_KERNFS). */
static int open_by_id(const char *mount, uint64_t id)
{
	_cleanup_close_ int root = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	union {
		struct file_handle handle;
		char bytes[sizeof(struct file_handle) + sizeof(id)];
	} name = { .handle = { .handle_bytes = sizeof(id), .handle_type = 0xfe } };

	memcpy(name.handle.f_handle, &id, sizeof(id));
	return root < 0 ? -1 : open_by_handle_at(root, &name.handle, O_RDONLY | O_CLOEXEC);
}

int ps_cgroup_path(uint64_t id, char *path, size_t size)
{
	char mount[256], link[64], whole[PATH_MAX];
	_cleanup_close_ int fd = -1;
	size_t root;
	ssize_t length;

	if (!id || ps_cgroup2_mount(mount, NULL) || !is_whole(mount))
		return -ENOENT;
	fd = open_by_id(mount, id);
	if (fd < 0)
		return -ENOENT;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, whole, sizeof(whole) - 1);
	root = strlen(mount);
	if (length < (ssize_t)root || strncmp(whole, mount, root) || (size_t)length - root >= size)
		return -ENOENT;
	whole[length] = '\0';
	strcpy(path, whole + root);
	return 0;
}

int ps_cgroup_resolve(const char *text, char **path, struct ps_error *error)
{
	return resolve_all_but_root(text, "cgroup", "", "name one below it, or say --any-user",
				    path, error);
}

int ps_scope_resolve(const char *text, char **path, struct ps_error *error)
{
	return resolve_all_but_root(text, "scope", "/", "if all are meant, write --from /", path,
				    error);
}
