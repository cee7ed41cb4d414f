// SPDX-License-Identifier: GPL-2.0-only
#include "bpffs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <bpf/bpf.h>
#include <linux/magic.h>

#include "bpf_types.h"
#include "privilege.h"
#include "util.h"

int ps_fail_kernel(struct ps_error *error, int err, const char *what)
{
	err = err < 0 ? -err : err;
	if (err == EPERM || err == EACCES)
		return ps_fail(error, PS_EXIT_NOT_PERMITTED, err,
			       "cannot %s: %s; run portsteer as root with %s", what, strerror(err),
			       ps_rights());
	if (err == ENOSYS)
		return ps_fail(error, PS_EXIT_UNSUPPORTED, err,
			       "cannot %s: this kernel has no bpf(2); use one with "
			       "CONFIG_BPF_SYSCALL",
			       what);
	return ps_fail(error, PS_EXIT_FAILED, err,
		       "cannot %s: %s; run 'portsteer status' to see "
		       "what is loaded",
		       what, strerror(err));
}

bool ps_bpffs_mounted(void)
{
	struct statfs fs;

	return !statfs(PS_BPFFS, &fs) && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

static int mount_bpffs(struct ps_error *error)
{
	struct stat st;

	if (ps_bpffs_mounted())
		return 0;
	if (stat(PS_BPFFS, &st))
		return ps_fail(error, PS_EXIT_UNSUPPORTED, errno,
			       "there is no %s: this kernel has no BPF file system, or /sys is not "
			       "mounted; mount sysfs on /sys",
			       PS_BPFFS);
	if (mount("bpf", PS_BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700")) {
		if (errno == ENODEV)
			return ps_fail(error, PS_EXIT_UNSUPPORTED, ENODEV,
				       "cannot mount a bpffs on %s: this kernel has none; use one "
				       "with CONFIG_BPF_SYSCALL",
				       PS_BPFFS);
		return ps_fail_kernel(error, errno, "mount a bpffs on " PS_BPFFS);
	}
	return 0;
}

/* Is `fd` still what the path names? Another process may have removed the
 * folder while we waited for its lock. */
static bool still_there(int fd)
{
	struct stat a, b;

	return !fstat(fd, &a) && !stat(PS_STATE, &b) && a.st_ino == b.st_ino &&
	       a.st_dev == b.st_dev;
}

uint64_t ps_bpffs_inode(void)
{
	struct stat st;

	return stat(PS_STATE, &st) ? 0 : (uint64_t)st.st_ino;
}

static int distrust(struct ps_error *error)
{
	return ps_fail(error, PS_EXIT_FAILED, EPERM,
		       "%s is not root's alone, so what it holds cannot be trusted; remove it and "
		       "load again",
		       PS_STATE);
}

int ps_bpffs_check(struct ps_error *error)
{
	struct stat st;

	if (lstat(PS_STATE, &st))
		return errno == ENOENT ? 0 : ps_fail_kernel(error, errno, "look at " PS_STATE);
	return !S_ISDIR(st.st_mode) || st.st_uid || st.st_mode & 077 ? distrust(error) : 0;
}

static int check_folder(int fd, struct ps_error *error)
{
	struct stat st;

	if (fstat(fd, &st))
		return ps_fail_kernel(error, errno, "look at " PS_STATE);
	if (st.st_uid || (st.st_mode & 077 && fchmod(fd, 0700)))
		return distrust(error);
	return 0;
}

int ps_bpffs_lock(struct ps_error *error)
{
	int ret = mount_bpffs(error);

	if (ret)
		return ret;
	for (;;) {
		_cleanup_close_ int fd = -1;
		int result;

		if (mkdir(PS_STATE, 0700) && errno != EEXIST)
			return ps_fail_kernel(error, errno, "make " PS_STATE);
		fd = open(PS_STATE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0)
			return ps_fail_kernel(error, errno, "open " PS_STATE);
		ret = check_folder(fd, error);
		if (ret)
			return ret;
		while (flock(fd, LOCK_EX)) {
			if (errno != EINTR)
				return ps_fail_kernel(error, errno, "lock " PS_STATE);
		}
		if (!still_there(fd))
			continue;
		result = fd;
		fd = -1;
		return result;
	}
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

/* The folder that paths are made for. */
static const char *root = PS_STATE;

void ps_bpffs_go_aside(bool aside)
{
	root = aside ? PS_ASIDE : PS_STATE;
}

void ps_bpffs_path(char path[PS_PATH], const char *format, ...)
{
	size_t used = (size_t)snprintf(path, PS_PATH, "%s/", root);
	va_list args;

	va_start(args, format);
	vsnprintf(path + used, PS_PATH - used, format, args);
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
	return !strncmp(name, PORTSTEER_PREFIX, strlen(PORTSTEER_PREFIX)) ||
	       !strncmp(name, PORTSTEER_CARRIED, strlen(PORTSTEER_CARRIED));
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
	int fd = ps_bpffs_open_any(path), ret;
	char kind[32];

	if (fd < 0)
		return fd;
	ret = read_kind(fd, kind);
	if (!ret && !strcmp(kind, "anon_inode:bpf-map"))
		return fd;
	close(fd);
	return ret ? ret : -EPROTO;
}

int ps_bpffs_open_map_of(const char *path, enum bpf_map_type type, uint32_t key, uint32_t value)
{
	int fd = ps_bpffs_open_map(path), ret = 0;
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);

	if (fd < 0)
		return fd;
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		ret = -errno;
	else if (info.type != type || info.key_size != key || info.value_size != value)
		ret = -EBADMSG;
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

int ps_bpffs_open_any_link(const char *path, struct bpf_link_info *info)
{
	int fd = ps_bpffs_open_any(path), ret;
	__u32 size = sizeof(*info);
	char kind[32];

	if (fd < 0)
		return fd;
	*info = (struct bpf_link_info){};
	ret = read_kind(fd, kind);
	/* "bpf-link" or "bpf_link": it has been both. */
	if (!ret && !strstr(kind, "link"))
		ret = -EPROTO;
	if (!ret && bpf_obj_get_info_by_fd(fd, info, &size))
		ret = -errno;
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

int ps_bpffs_open(const char *path)
{
	int fd = bpf_obj_get(path), ret;

	if (fd < 0)
		return -errno;
	ret = check_name(fd);
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

int ps_bpffs_open_link(const char *path)
{
	struct bpf_link_info info = {};
	__u32 size = sizeof(info);
	int fd = bpf_obj_get(path);

	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &size)) {
		close(fd);
		return -EPROTO;
	}
	return fd;
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

int ps_bpffs_each(const char *path, int (*fn)(const char *name, void *data), void *data)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int ret = 0;

	if (!dir)
		return -errno;
	while (!ret && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			ret = fn(entry->d_name, data);
	}
	closedir(dir);
	return ret;
}

static int remove_entry(const char *name, void *data)
{
	char path[PS_PATH];

	if (snprintf(path, sizeof(path), "%s/%s", (const char *)data, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return ps_bpffs_remove(path);
}

int ps_bpffs_remove(const char *path)
{
	int ret;

	if (!unlink(path) || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	ret = ps_bpffs_each(path, remove_entry, (void *)path);
	if (ret)
		return ret;
	return rmdir(path) && errno != ENOENT ? -errno : 0;
}
