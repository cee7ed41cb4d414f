// SPDX-License-Identifier: GPL-2.0-only
#include "hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bind.skel.h"
#include "bpffs.h"
#include "cgroup.h"
#include "host.h"
#include "util.h"

#define FOLDER "host/bind"
#define TEMPORARY "host/bind-tmp"

enum { FILTER_SIZE = 65536 / 8 };

static const char *const pin_names[PS_HOOKS_FDS] = {
	[PS_HOOKS_BINDS] = "binds",
	[PS_HOOKS_BOUND] = "bound",
	[PS_HOOKS_FILTER] = "filter",
	[PS_HOOKS_MARKS] = "marks",
};

void ps_hooks_close(struct ps_hooks *hooks)
{
	for (int i = 0; i < PS_HOOKS_FDS; i++)
		ps_close(&hooks->fd[i]);
	if (hooks->filter)
		munmap(hooks->filter, FILTER_SIZE);
	*hooks = (struct ps_hooks)PS_HOOKS_NONE;
}

static bool folder_exists(void)
{
	char path[PS_PATH];
	struct stat st;

	ps_bpffs_path(path, FOLDER);
	return !stat(path, &st);
}

static int open_pins(struct ps_hooks *hooks, char path[PS_PATH])
{
	void *filter;

	for (int i = 0; i < PS_HOOKS_FDS; i++) {
		ps_bpffs_path(path, FOLDER "/%s", pin_names[i]);
		hooks->fd[i] = ps_bpffs_open(path);
		if (hooks->fd[i] < 0)
			return hooks->fd[i];
	}
	filter = mmap(NULL, FILTER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		      hooks->fd[PS_HOOKS_FILTER], 0);
	if (filter == MAP_FAILED)
		return -errno;
	hooks->filter = filter;
	return 0;
}

int ps_hooks_open(struct ps_hooks *hooks, struct ps_error *error)
{
	while (folder_exists()) {
		struct ps_hooks opened = PS_HOOKS_NONE;
		char path[PS_PATH] = "";
		int ret = open_pins(&opened, path);

		if (!ret) {
			*hooks = opened;
			return 0;
		}
		ps_hooks_close(&opened);
		/* Readers take no lock: it may just have been removed. */
		if (ret == -ENOENT && !folder_exists())
			break;
		if (ret != -ENOENT && ret != -EPROTO)
			return ps_fail_kernel(error, ret, "open the programs of bind mode");
		return ps_fail(error, PS_EXIT_FAILED, -ret,
			       "cannot open %s: %s, so what is loaded is incomplete; run 'portsteer "
			       "unload' to remove the rest, then add the rules again",
			       path, strerror(-ret));
	}
	return 0;
}

static int pin_objects(const struct ps2_bind *skel)
{
	const int fds[PS_HOOKS_FDS] = {
		[PS_HOOKS_BINDS] = bpf_map__fd(skel->maps.ps2_binds),
		[PS_HOOKS_BOUND] = bpf_map__fd(skel->maps.ps2_bound),
		[PS_HOOKS_FILTER] = bpf_map__fd(skel->maps.data),
		[PS_HOOKS_MARKS] = bpf_program__fd(skel->progs.ps2_marks),
	};
	char path[PS_PATH];
	int ret = 0;

	for (int i = 0; i < PS_HOOKS_FDS && !ret; i++) {
		ps_bpffs_path(path, TEMPORARY "/%s", pin_names[i]);
		ret = ps_bpffs_pin(fds[i], path);
	}
	return ret;
}

/* With an empty filter, the programs let everything pass. */
static int attach(const struct ps2_bind *skel, int cgroup)
{
	const struct {
		const struct bpf_program *program;
		enum bpf_attach_type type;
		const char *pin;
	} hooks[] = {
		{ skel->progs.ps2_bind4, BPF_CGROUP_INET4_BIND, "bind4" },
		{ skel->progs.ps2_bind6, BPF_CGROUP_INET6_BIND, "bind6" },
		{ skel->progs.ps2_post_bind4, BPF_CGROUP_INET4_POST_BIND, "post_bind4" },
		{ skel->progs.ps2_post_bind6, BPF_CGROUP_INET6_POST_BIND, "post_bind6" },
		{ skel->progs.ps2_getsockname4, BPF_CGROUP_INET4_GETSOCKNAME, "getsockname4" },
		{ skel->progs.ps2_getsockname6, BPF_CGROUP_INET6_GETSOCKNAME, "getsockname6" },
	};

	for (size_t i = 0; i < PS_ARRAY_SIZE(hooks); i++) {
		_cleanup_close_ int link = bpf_link_create(bpf_program__fd(hooks[i].program),
							   cgroup, hooks[i].type, NULL);
		char path[PS_PATH];
		int ret;

		if (link < 0)
			return -errno;
		ps_bpffs_path(path, TEMPORARY "/%s", hooks[i].pin);
		ret = ps_bpffs_pin(link, path);
		if (ret)
			return ret;
	}
	return 0;
}

/* Everything under a temporary name, then one rename. */
static int publish(const struct ps2_bind *skel, int cgroup)
{
	char temporary[PS_PATH], final[PS_PATH];
	int ret = ps_hooks_clean();

	ps_bpffs_path(temporary, TEMPORARY);
	ps_bpffs_path(final, FOLDER);
	if (ret)
		return ret;
	if (mkdir(temporary, 0700))
		return -errno;
	ret = pin_objects(skel);
	if (!ret)
		ret = attach(skel, cgroup);
	if (!ret && rename(temporary, final))
		ret = -errno;
	if (ret)
		ps_bpffs_remove(temporary);
	return ret;
}

static int load_programs(const struct ps_host *host, struct ps2_bind *skel)
{
	int ret = bpf_map__reuse_fd(skel->maps.ps2_instances, host->fd[PS_HOST_INSTANCES]);

	if (!ret)
		ret = bpf_map__reuse_fd(skel->maps.ps2_events, host->fd[PS_HOST_EVENTS]);
	if (!ret)
		ret = bpf_map__reuse_fd(skel->maps.ps2_netns, host->fd[PS_HOST_NETNS]);
	if (!ret)
		ret = bpf_map__reuse_fd(skel->maps.ps2_owners, host->fd[PS_HOST_OWNERS]);
	return ret ? ret : ps2_bind__load(skel);
}

static int load(const struct ps_host *host, int cgroup, struct ps_error *error)
{
	struct ps2_bind *skel = ps2_bind__open();
	int ret;

	if (!skel)
		return ps_fail_kernel(error, errno, "read the built-in programs");
	ret = load_programs(host, skel);
	/* EACCES is the verifier's, a lack of rights is EPERM. */
	if (ret == -EPERM) {
		ret = ps_fail_kernel(error, ret, "load the programs of bind mode");
	} else if (ret) {
		ret = ps_fail(error, PS_EXIT_UNSUPPORTED, -ret,
			      "this kernel cannot load the programs of bind mode (%s): they need bind "
			      "hooks that may grant a port; use Linux 6.1 or newer",
			      strerror(-ret));
	} else {
		ret = publish(skel, cgroup);
		if (ret)
			ret = ps_fail_kernel(error, ret,
					     "attach the programs of bind mode to the root cgroup");
	}
	ps2_bind__destroy(skel);
	return ret;
}

int ps_hooks_load(struct ps_host *host, struct ps_error *error)
{
	_cleanup_close_ int cgroup = -1;
	char mount[256];
	int ret;

	if (ps_hooks_loaded(&host->hooks))
		return 0;
	ret = ps_cgroup2_mount(mount, error);
	if (ret)
		return ret;
	cgroup = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cgroup < 0)
		return ps_fail_kernel(error, errno, "open the root cgroup");
	ret = load(host, cgroup, error);
	return ret ? ret : ps_hooks_open(&host->hooks, error);
}

int ps_hooks_clean(void)
{
	char temporary[PS_PATH];

	ps_bpffs_path(temporary, TEMPORARY);
	return ps_bpffs_remove(temporary);
}

int ps_hooks_remove(struct ps_hooks *hooks)
{
	char path[PS_PATH], temporary[PS_PATH];
	int ret = ps_hooks_clean();

	ps_hooks_close(hooks);
	if (ret)
		return ret;
	ps_bpffs_path(path, FOLDER);
	ps_bpffs_path(temporary, TEMPORARY);
	if (rename(path, temporary))
		return errno == ENOENT ? 0 : -errno;
	return ps_hooks_clean();
}

static int open_iterator(const struct ps_hooks *hooks)
{
	union bpf_iter_link_info of = { .map.map_fd = (__u32)hooks->fd[PS_HOOKS_BOUND] };
	LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &of, .iter_info_len = sizeof(of));
	_cleanup_close_ int link =
		bpf_link_create(hooks->fd[PS_HOOKS_MARKS], 0, BPF_TRACE_ITER, &opts);
	int iterator;

	if (link < 0)
		return -errno;
	iterator = bpf_iter_create(link);
	return iterator < 0 ? -errno : iterator;
}

static int compare_marks(const void *left, const void *right)
{
	const struct ps_mark *a = left, *b = right;

	return (a->cookie > b->cookie) - (a->cookie < b->cookie);
}

void ps_marks_clear(struct ps_marks *marks)
{
	free(marks->items);
	*marks = (struct ps_marks){};
}

/* The kernel hands out whole pages, which do not end where a mark does. */
static int read_all(int iterator, struct ps_marks *marks)
{
	size_t used = 0, room = 0;
	char *bytes = NULL;
	ssize_t got = 1;

	while (got) {
		if (used == room) {
			char *grown = realloc(bytes, room + 64 * sizeof(struct ps_mark));

			if (!grown) {
				free(bytes);
				return -ENOMEM;
			}
			bytes = grown;
			room += 64 * sizeof(struct ps_mark);
		}
		got = read(iterator, bytes + used, room - used);
		if (got < 0 && errno != EINTR && errno != EAGAIN) {
			free(bytes);
			return -errno;
		}
		used += got > 0 ? (size_t)got : 0;
	}
	marks->items = (void *)bytes;
	marks->count = used / sizeof(struct ps_mark);
	return 0;
}

int ps_marks_read(struct ps_marks *marks)
{
	__attribute__((cleanup(ps_hooks_close))) struct ps_hooks hooks = PS_HOOKS_NONE;
	_cleanup_close_ int iterator = -1;
	int ret = ps_hooks_open(&hooks, NULL);

	*marks = (struct ps_marks){};
	if (ret || !ps_hooks_loaded(&hooks))
		return ret;
	iterator = open_iterator(&hooks);
	ret = iterator < 0 ? iterator : read_all(iterator, marks);
	if (!ret && marks->count)
		qsort(marks->items, marks->count, sizeof(*marks->items), compare_marks);
	return ret;
}

const struct ps_bound *ps_marks_find(const struct ps_marks *marks, uint64_t cookie)
{
	const struct ps_mark key = { .cookie = cookie };
	const struct ps_mark *found = marks->count ? bsearch(&key, marks->items, marks->count,
							     sizeof(key), compare_marks) :
						     NULL;

	return found ? &found->on : NULL;
}
