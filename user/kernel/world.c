// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/world.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include <linux/magic.h>

#include "os/refusal_facts.h"
#include "util/util.h"

/* Of linux/mount.h, which some C libraries' sys/mount.h lacks and others clash with. */
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 4
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

bool ps_bpffs_mounted(void)
{
	struct statfs fs;

	return !statfs(PS_BPFFS, &fs) && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

/* What the lock is taken on while a bpffs is being mounted. It must be there before, be the same
 * for all that could mount, and be a file that only root can open: on a folder, any user could
 * hold a lock for good. This one is of every kernel, and may only be written to; nothing is. */
#define MOUNT_LOCK "/sys/bus/platform/uevent"

static int lock_mounting(struct ps_error *error)
{
	int fd = open(MOUNT_LOCK, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	while (fd >= 0 && flock(fd, LOCK_EX)) {
		if (errno == EINTR)
			continue;
		ps_close(&fd);
		fd = -1;
	}
	if (fd >= 0)
		return fd;
	return ps_fail(error, PS_EXIT_FAILED, errno,
		       "there is no bpffs on %s, and it cannot be mounted safely: cannot lock %s: "
		       "%s; run 'mount -t bpf -o mode=0700 bpf %s'",
		       PS_BPFFS, MOUNT_LOCK, strerror(errno), PS_BPFFS);
}

static int mount_new(struct ps_error *error)
{
	if (!mount("bpf", PS_BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
		return 0;
	if (errno == ENODEV)
		return ps_fail(error, PS_EXIT_UNSUPPORTED, ENODEV,
			       "cannot mount a bpffs on %s: this kernel has no BPF file system; "
			       "use one with CONFIG_BPF_SYSCALL",
			       PS_BPFFS);
	return ps_fail_kernel(error, errno, "mount a bpffs on " PS_BPFFS);
}

static int mount_bpffs(struct ps_error *error)
{
	_cleanup_close_ int lock = -1;
	struct stat st;

	if (ps_bpffs_mounted())
		return 0;
	if (stat(PS_BPFFS, &st))
		return ps_fail(error, PS_EXIT_UNSUPPORTED, errno,
			       "there is no %s: this kernel has no BPF file system, or /sys is not "
			       "mounted; run 'mount -t sysfs sysfs /sys'",
			       PS_BPFFS);
	lock = lock_mounting(error);
	if (lock < 0)
		return lock;
	return ps_bpffs_mounted() ? 0 : mount_new(error);
}

/*
 * Are we where process 1 is? A mount is in one mount namespace, and its id is given to no other
 * in the system: so the id of our root is to be among those of process 1. This needs no right to
 * look into process 1, unlike a comparison of the namespaces themselves.
 */
bool ps_world_is_of_process_1(void)
{
	_cleanup_fclose_ FILE *file = NULL;
	_cleanup_free_ char *line = NULL;
	struct statx own = {};
	size_t size = 0;

	if (statx(AT_FDCWD, "/", AT_NO_AUTOMOUNT, STATX_MNT_ID, &own) ||
	    !(own.stx_mask & STATX_MNT_ID))
		return false;
	file = fopen("/proc/1/mountinfo", "re");
	while (file && getline(&line, &size, file) > 0) {
		if (strtoull(line, NULL, 10) == own.stx_mnt_id)
			return true;
	}
	return false;
}

static int fail_enter(const char *what, int err, struct ps_error *error)
{
	return ps_fail(error,
		       err == EPERM || err == EACCES ? PS_EXIT_NOT_PERMITTED : PS_EXIT_FAILED, err,
		       "%s here is not the host's (as under 'ip netns exec'), and the host's "
		       "cannot %s: %s; run 'portsteer --netns NS' outside, or with CAP_SYS_PTRACE "
		       "and CAP_SYS_CHROOT",
		       PS_BPFFS, what, strerror(err));
}

/* Where the process is: given back after a visit to another mount namespace. */
struct place {
	int mounts, root, folder;
};

static void close_place(struct place *place)
{
	ps_close(&place->mounts);
	ps_close(&place->root);
	ps_close(&place->folder);
}

static int go_back(const struct place *place)
{
	if (setns(place->mounts, CLONE_NEWNS) || fchdir(place->root) || chroot(".") ||
	    (place->folder >= 0 && fchdir(place->folder)))
		return -errno;
	return 0;
}

/* A copy of process 1's /sys with all that is mounted in it, after mounting a bpffs there. */
static int copy_sys(bool with_bpffs, struct ps_error *error)
{
	int ret = with_bpffs ? mount_bpffs(error) : 0;
	long tree;

	if (ret)
		return ret;
	tree = syscall(SYS_open_tree, AT_FDCWD, "/sys", OPEN_TREE_CLONE | AT_RECURSIVE | O_CLOEXEC);
	return tree < 0 ? fail_enter("be copied", errno, error) : (int)tree;
}

/* The parent of a process, 0 if it has none or that cannot be told. */
static int parent_of(int pid)
{
	_cleanup_fclose_ FILE *file = NULL;
	char path[64], line[256];
	int parent = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "PPid: %d", &parent) == 1)
			break;
	}
	return parent;
}

/* Go to where the process is, if that is where process 1 is: 0, or -errno and still here. */
static int visit(int pid, const struct place *own)
{
	_cleanup_close_ int mounts = -1;
	char path[64];
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	mounts = open(path, O_RDONLY | O_CLOEXEC);
	if (mounts < 0 || setns(mounts, CLONE_NEWNS))
		return -errno;
	if (ps_world_is_of_process_1())
		return 0;
	ret = go_back(own);
	return ret ? ret : -EXDEV;
}

/* Process 1 may be barred to us, and one of those that started us be where it is. The last is
 * the kernel's first thread, which never leaves. */
static int visit_process_1(const struct place *own)
{
	int ret = visit(1, own), pid = getpid();

	while (ret && (pid = parent_of(pid)) > 1) {
		if (!visit(pid, own))
			return 0;
	}
	return ret && visit(2, own) ? ret : 0;
}

static int fetch_sys(bool with_bpffs, struct ps_error *error)
{
	__attribute__((cleanup(close_place))) struct place own = {
		.mounts = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC),
		.root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC),
		.folder = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC),
	};
	int tree, ret = own.mounts < 0 || own.root < 0 ? -errno : visit_process_1(&own);

	if (ret)
		return fail_enter("be found in the mounts of process 1", -ret, error);
	tree = copy_sys(with_bpffs, error);
	ret = go_back(&own);
	if (!ret)
		return tree;
	ps_close(&tree);
	return fail_enter("be used, as the original mount namespace cannot be "
			  "restored",
			  -ret, error);
}

/* In mounts of our own, so that nobody else sees it. */
static int put_sys(int tree)
{
	if (unshare(CLONE_NEWNS))
		return -errno;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	    mount(NULL, "/sys", NULL, MS_PRIVATE, NULL))
		return -errno;
	return syscall(SYS_move_mount, tree, "", AT_FDCWD, "/sys", MOVE_MOUNT_F_EMPTY_PATH) ?
		       -errno :
		       0;
}

static int enter(bool with_bpffs, struct ps_error *error)
{
	_cleanup_close_ int tree = fetch_sys(with_bpffs, error);
	int ret = tree < 0 ? tree : put_sys(tree);

	return ret && tree >= 0 ? fail_enter("be mounted here", -ret, error) : ret;
}

int ps_world_enter(struct ps_error *error)
{
	return ps_bpffs_mounted() || ps_world_is_of_process_1() ? 0 : enter(false, error);
}

int ps_world_mount_bpffs(struct ps_error *error)
{
	if (ps_bpffs_mounted())
		return 0;
	return ps_world_is_of_process_1() ? mount_bpffs(error) : enter(true, error);
}
