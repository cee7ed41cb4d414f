// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/bpffs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <bpf/bpf.h>
#include <linux/magic.h>

#include "util/bpf_types.h"
#include "util/util.h"

static int distrust(const char *path, struct ps_error *error)
{
	return ps_fail(error, PS_EXIT_FAILED, EPERM,
		       "%s is not a directory private to root, so its contents cannot be trusted; "
		       "remove it ('rm -r %s') and load again",
		       path, path);
}

/* Who may write to the bpffs may put anything in the place of our folders. */
static int check_root(int fd, struct ps_error *error)
{
	struct stat st;

	if (fstat(fd, &st))
		return ps_fail_kernel(error, errno, "inspect " PS_BPFFS);
	if (st.st_uid)
		return ps_fail(error, PS_EXIT_FAILED, EPERM,
			       "%s belongs to user %u, who could replace portsteer's objects; run "
			       "'chown 0:0 %s' and 'chmod 0700 %s'",
			       PS_BPFFS, st.st_uid, PS_BPFFS, PS_BPFFS);
	if (st.st_mode & 022)
		return ps_fail(error, PS_EXIT_FAILED, EPERM,
			       "users other than root may write to %s (mode %04o) and could "
			       "replace portsteer's objects; run 'chmod 0700 %s'",
			       PS_BPFFS, st.st_mode & 07777, PS_BPFFS);
	return 0;
}

int ps_bpffs_open_root(struct ps_error *error)
{
	_cleanup_close_ int fd = open(PS_BPFFS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct statfs fs;
	int ret;

	if (fd < 0 && (errno == EACCES || errno == EPERM))
		return ps_fail_kernel(error, errno, "open " PS_BPFFS);
	if (fd < 0)
		return -ENOENT;
	if (fstatfs(fd, &fs) || (unsigned long)fs.f_type != BPF_FS_MAGIC)
		return -ENOENT;
	ret = check_root(fd, error);
	return ret ? ret : ps_take_fd(&fd);
}

/* Open a component of a path: no link, and nothing that is mounted there. */
static int open_component(int folder, const char *name, int flags)
{
	struct stat above, st;
	_cleanup_close_ int fd = openat(folder, name, flags | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstat(folder, &above) || fstat(fd, &st) || above.st_dev != st.st_dev)
		return -EXDEV;
	return ps_take_fd(&fd);
}

/* Open what a path below the bpffs names. None of its components may be a link or a mount. One by
 * one, and not by openat2: a service with RestrictSUIDSGID= has no such call. */
static int open_below(const char *path, int flags)
{
	char copy[PS_PATH], *name, *rest;
	int fd;

	if (strncmp(path, PS_BPFFS "/", strlen(PS_BPFFS "/")) != 0 || strlen(path) >= sizeof(copy))
		return -EINVAL;
	strcpy(copy, path + strlen(PS_BPFFS "/"));
	fd = ps_bpffs_open_root(NULL);
	for (name = strtok_r(copy, "/", &rest); fd >= 0 && name;) {
		char *next = strtok_r(NULL, "/", &rest);
		int below = strcmp(name, "..") ?
				    open_component(fd, name, next ? O_PATH | O_DIRECTORY : flags) :
				    -EINVAL;

		close(fd);
		fd = below;
		name = next;
	}
	return fd;
}

/* Is `fd` still what the path names? Another process may have removed the
 * folder while we waited for its lock. */
static bool still_there(int fd)
{
	struct stat a, b;

	return !fstat(fd, &a) && !lstat(PS_STATE, &b) && a.st_ino == b.st_ino &&
	       a.st_dev == b.st_dev;
}

uint64_t ps_bpffs_inode(void)
{
	struct stat st;

	return lstat(PS_STATE, &st) ? 0 : (uint64_t)st.st_ino;
}

static bool is_trusted(const struct stat *st)
{
	return S_ISDIR(st->st_mode) && !st->st_uid && !(st->st_mode & 022);
}

static int check_folder(int root, const char *path, struct ps_error *error)
{
	struct stat st;

	if (fstatat(root, path + strlen(PS_BPFFS "/"), &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : ps_fail_kernel(error, errno, "inspect the state");
	return is_trusted(&st) ? 0 : distrust(path, error);
}

int ps_bpffs_check(struct ps_error *error)
{
	_cleanup_close_ int root = ps_bpffs_open_root(error);
	int ret;

	if (root < 0)
		return root == -ENOENT ? 0 : root;
	ret = check_folder(root, PS_STATE, error);
	return ret ? ret : check_folder(root, PS_ASIDE, error);
}

bool ps_bpffs_has_state(void)
{
	struct stat st;

	return ps_bpffs_mounted() && (!lstat(PS_STATE, &st) || !lstat(PS_ASIDE, &st));
}

int ps_dir_open(struct ps_dir *dir, const char *path, struct ps_error *error)
{
	int fd = open_below(path, O_RDONLY | O_DIRECTORY);
	struct stat st;

	if (fd == -ENOENT)
		return fd;
	if (fd == -ENOTDIR || fd == -ELOOP || fd == -EXDEV)
		return distrust(path, error);
	if (fd < 0)
		return ps_fail_kernel(error, fd, "open the state");
	/* Wider than it was made, it was root who widened it. */
	if (fstat(fd, &st) || !is_trusted(&st) || (st.st_mode & 077 && fchmod(fd, 0700))) {
		close(fd);
		return distrust(path, error);
	}
	*dir = (struct ps_dir){ .fd = fd, .path = path };
	return 0;
}

void ps_dir_close(struct ps_dir *dir)
{
	ps_close(&dir->fd);
	dir->fd = -1;
}

/* Opened and made if it is missing. */
static int open_state(struct ps_dir *dir, struct ps_error *error)
{
	int ret = -ENOENT;

	while (ret == -ENOENT) {
		if (mkdir(PS_STATE, 0700) && errno != EEXIST)
			return ps_fail_kernel(error, errno, "make " PS_STATE);
		ret = ps_dir_open(dir, PS_STATE, error);
	}
	return ret;
}

int ps_bpffs_lock(struct ps_error *error)
{
	int ret = ps_world_mount_bpffs(error);

	if (!ret)
		ret = ps_bpffs_check(error);
	while (!ret) {
		struct ps_dir dir = PS_DIR_NONE;

		ret = open_state(&dir, error);
		if (ret)
			break;
		while (flock(dir.fd, LOCK_EX)) {
			if (errno == EINTR)
				continue;
			ret = ps_fail_kernel(error, errno, "lock " PS_STATE);
			ps_dir_close(&dir);
			return ret;
		}
		if (still_there(dir.fd))
			return dir.fd;
		ps_dir_close(&dir);
	}
	return ret;
}

void ps_bpffs_unlock(int fd)
{
	if (fd < 0)
		return;
	/* Only the folder that is locked: by now another process may have made one. */
	if (still_there(fd))
		rmdir(PS_STATE);
	close(fd);
}

static void format_path(const struct ps_dir *dir, char path[PS_PATH], const char *format,
			va_list args)
{
	size_t used = (size_t)snprintf(path, PS_PATH, "%s/", dir->path);

	vsnprintf(path + used, PS_PATH - used, format, args);
}

void ps_dir_path(const struct ps_dir *dir, char path[PS_PATH], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	format_path(dir, path, format, args);
	va_end(args);
}

/* The folder that ps_bpffs_path makes paths for. */
static struct ps_dir current = { .fd = -1, .path = PS_STATE };

void ps_bpffs_go_aside(bool aside)
{
	current.path = aside ? PS_ASIDE : PS_STATE;
}

void ps_bpffs_path(char path[PS_PATH], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	format_path(&current, path, format, args);
	va_end(args);
}

int ps_bpffs_pin(int fd, const char *path)
{
	if (unlink(path) && errno != ENOENT)
		return -errno;
	return bpf_obj_pin(fd, path) ? -errno : 0;
}

int ps_bpffs_replace(int fd, const char *path)
{
	char aside[PS_PATH];
	int ret;

	ps_bpffs_path(aside, PS_REPLACING);
	ret = ps_bpffs_pin(fd, aside);
	if (ret || !rename(aside, path))
		return ret;
	ret = -errno;
	unlink(aside);
	return ret;
}

bool ps_name_is_ours(const char *name)
{
	return !strncmp(name, PORTSTEER_PREFIX, strlen(PORTSTEER_PREFIX));
}

/* What the descriptor is: "anon_inode:bpf-map" and so on. */
static int read_kind(int fd, char kind[32])
{
	char link[64];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, kind, 31);
	if (length < 0)
		return -errno;
	kind[length] = '\0';
	return 0;
}

/* The name is at another offset for maps and for programs. */
static int check_name(int fd)
{
	union {
		struct bpf_map_info map;
		struct bpf_prog_info prog;
	} info = {};
	__u32 size = sizeof(info);
	char target[32];
	int ret = read_kind(fd, target);

	if (ret)
		return ret;
	if (!strcmp(target, "anon_inode:bpf-map"))
		size = sizeof(info.map);
	else if (!strcmp(target, "anon_inode:bpf-prog"))
		size = sizeof(info.prog);
	else
		return -EPROTO;
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	if (!strcmp(target, "anon_inode:bpf-map"))
		return ps_name_is_ours(info.map.name) ? 0 : -EPROTO;
	return ps_name_is_ours(info.prog.name) ? 0 : -EPROTO;
}

int ps_bpffs_open_any(const char *path)
{
	int fd = bpf_obj_get(path);

	return fd < 0 ? -errno : fd;
}

int ps_bpffs_open_map(const char *path)
{
	_cleanup_close_ int fd = ps_bpffs_open_any(path);
	char kind[32];
	int ret;

	if (fd < 0)
		return fd;
	ret = read_kind(fd, kind);
	if (ret)
		return ret;
	return strcmp(kind, "anon_inode:bpf-map") ? -EPROTO : ps_take_fd(&fd);
}

int ps_bpffs_open_map_of(const char *path, enum bpf_map_type type, uint32_t key, uint32_t value)
{
	_cleanup_close_ int fd = ps_bpffs_open_map(path);
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);

	if (fd < 0)
		return fd;
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	if (info.type != type || info.key_size != key || info.value_size != value)
		return -EBADMSG;
	return ps_take_fd(&fd);
}

int ps_bpffs_open_any_link(const char *path, struct bpf_link_info *info)
{
	_cleanup_close_ int fd = ps_bpffs_open_any(path);
	__u32 size = sizeof(*info);
	char kind[32];
	int ret;

	if (fd < 0)
		return fd;
	*info = (struct bpf_link_info){};
	ret = read_kind(fd, kind);
	if (ret)
		return ret;
	/* "bpf-link" or "bpf_link": it has been both. */
	if (!strstr(kind, "link"))
		return -EPROTO;
	return bpf_obj_get_info_by_fd(fd, info, &size) ? -errno : ps_take_fd(&fd);
}

int ps_bpffs_open(const char *path)
{
	_cleanup_close_ int fd = bpf_obj_get(path);
	int ret;

	if (fd < 0)
		return -errno;
	ret = check_name(fd);
	return ret ? ret : ps_take_fd(&fd);
}

int ps_bpffs_open_link(const char *path)
{
	struct bpf_link_info info = {};
	_cleanup_close_ int fd = bpf_obj_get(path);
	__u32 size = sizeof(info);

	if (fd < 0)
		return -errno;
	return bpf_obj_get_info_by_fd(fd, &info, &size) ? -EPROTO : ps_take_fd(&fd);
}

int ps_bpffs_detach(const char *path)
{
	struct bpf_link_info info;
	_cleanup_close_ int link = ps_bpffs_open_any_link(path, &info);

	if (unlink(path) && errno != ENOENT && errno != ENOTDIR)
		return -errno;
	if (link >= 0)
		bpf_link_detach(link);
	return 0;
}

/* Call fn for each entry of an opened folder; the descriptor is closed. */
static int each_entry(int fd, int (*fn)(const char *name, void *data), void *data)
{
	DIR *dir = fdopendir(fd);
	struct dirent *entry;
	int ret = 0;

	if (!dir) {
		ret = -errno;
		close(fd);
		return ret;
	}
	while (!ret && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			ret = fn(entry->d_name, data);
	}
	closedir(dir);
	return ret;
}

int ps_bpffs_each(const char *path, int (*fn)(const char *name, void *data), void *data)
{
	int fd = open_below(path, O_RDONLY | O_DIRECTORY);

	return fd < 0 ? fd : each_entry(fd, fn, data);
}

/* A folder whose entries are removed. */
struct removing {
	int folder;
	bool detach; /* links, too */
};

static int remove_at(const struct removing *from, const char *name);

static int remove_entry(const char *name, void *data)
{
	return remove_at(data, name);
}

static int remove_folder(const struct removing *from, const char *name)
{
	struct removing inner = { .detach = from->detach };
	int fd = openat(from->folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), ret;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	inner.folder = fd;
	ret = each_entry(fd, remove_entry, &inner);
	if (ret)
		return ret;
	return unlinkat(from->folder, name, AT_REMOVEDIR) && errno != ENOENT ? -errno : 0;
}

static int open_link_at(int folder, const char *name)
{
	struct bpf_link_info info;
	char path[PS_PATH];

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%.255s", folder, name);
	return ps_bpffs_open_any_link(path, &info);
}

static int remove_at(const struct removing *from, const char *name)
{
	_cleanup_close_ int link = -1;
	struct stat st;

	if (fstatat(from->folder, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : -errno;
	if (S_ISDIR(st.st_mode))
		return remove_folder(from, name);
	if (from->detach && S_ISREG(st.st_mode))
		link = open_link_at(from->folder, name);
	if (unlinkat(from->folder, name, 0) && errno != ENOENT)
		return -errno;
	if (link >= 0)
		bpf_link_detach(link);
	return 0;
}

static int remove_path(const char *path, bool detach)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent = strndup(path, (size_t)(slash - path));
	struct removing from = { .detach = detach };
	_cleanup_close_ int fd = -1;

	if (!parent)
		return -ENOMEM;
	fd = strcmp(parent, PS_BPFFS) ? open_below(parent, O_RDONLY | O_DIRECTORY) :
					ps_bpffs_open_root(NULL);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	from.folder = fd;
	return remove_at(&from, slash + 1);
}

int ps_bpffs_remove(const char *path)
{
	return remove_path(path, false);
}

int ps_bpffs_remove_detached(const char *path)
{
	return remove_path(path, true);
}
