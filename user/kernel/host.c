// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/host.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "host.skel.h"
#include "kernel/bpffs.h"
#include "kernel/build.h"
#include "kernel/mark.h"
#include "kernel/swap.h"
#include "os/privilege.h"
#include "os/refusal_facts.h"
#include "util/util.h"

enum { FILTER_SIZE = 65536 / 8 };

static const size_t instances_size = PS_MAX_INSTANCES * sizeof(struct ps_instance);

void ps_host_close(struct ps_host *host)
{
	for (int i = 0; i < PS_HOST_FDS; i++) {
		ps_close(&host->fd[i]);
		host->fd[i] = -1;
	}
	if (host->instances)
		munmap(host->instances, instances_size);
	host->instances = NULL;
	if (host->client_filter)
		munmap(host->client_filter, FILTER_SIZE);
	host->client_filter = NULL;
	ps_hooks_close(&host->hooks);
}

static void *map_shared(int fd, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int map_memory(struct ps_host *host, struct ps_error *error)
{
	host->instances = map_shared(host->fd[PS_HOST_INSTANCES], instances_size);
	if (!host->instances)
		return ps_fail_kernel(error, errno, "map the instance table");
	host->client_filter = map_shared(host->fd[PS_HOST_CLIENT_FILTER], FILTER_SIZE);
	return host->client_filter ? 0 : ps_fail_kernel(error, errno, "map the clients' ports");
}

static int fail_open(struct ps_error *error, int ret, const char *path)
{
	if (ret == -EPROTO)
		return ps_fail(error, PS_EXIT_FAILED, EPROTO,
			       "%s was created by another version of portsteer (this one has ABI "
			       "%d); run 'portsteer upgrade' to take it over, or 'portsteer "
			       "unload' to remove it",
			       path, PORTSTEER_ABI);
	if (ret == -ENOENT)
		return ps_fail(error, PS_EXIT_FAILED, ENOENT,
			       "%s is missing, so the loaded state is incomplete; run 'portsteer "
			       "unload' to remove the rest, then add the rules again",
			       path);
	return ps_fail_kernel(error, ret, "open the shared state");
}

/* Is what is loaded of this layout? */
static int check_layout(struct ps_error *error)
{
	struct ps_build build;
	char folder[PS_PATH];
	int ret;

	ps_bpffs_path(folder, ".");
	ret = ps_build_read(folder, &build, NULL);
	if (!ret && build.abi != PORTSTEER_ABI)
		ret = -EPROTO;
	ps_bpffs_path(folder, "host");
	return ret ? fail_open(error, ret, folder) : 0;
}

static int open_pins(struct ps_host *host, struct ps_error *error)
{
	char path[PS_PATH];
	int ret = check_layout(error);

	for (int i = 0; i < PS_HOST_FDS && !ret; i++) {
		ps_bpffs_path(path, "host/%s", ps_host_pin[i]);
		host->fd[i] = ps_bpffs_open(path);
		if (host->fd[i] < 0)
			ret = fail_open(error, host->fd[i], path);
	}
	if (!ret)
		ret = map_memory(host, error);
	return ret ? ret : ps_hooks_open(&host->hooks, error);
}

/* The inode of the folder of the shared objects, or -errno. */
static int64_t folder_inode(void)
{
	char path[PS_PATH];
	struct stat st;

	ps_bpffs_path(path, "host");
	return stat(path, &st) ? -errno : (int64_t)st.st_ino;
}

int ps_host_open(struct ps_host *host, struct ps_error *error)
{
	int ret = ps_bpffs_check(error);

	if (ret)
		return ret;
	for (;;) {
		struct ps_host opened = PS_HOST_NONE;
		int64_t inode = folder_inode();

		if (inode < 0 && inode != -ENOENT && inode != -ENOTDIR)
			return ps_fail_kernel(error, (int)inode, "inspect the state in " PS_STATE);
		if (inode < 0)
			return ps_fail(error, PS_EXIT_NOT_LOADED, ESRCH,
				       "portsteer is not loaded; run 'portsteer load' or "
				       "'portsteer add'");
		ret = open_pins(&opened, error);
		/* Readers take no lock: it may have been removed, or made again, with another layout
		 * than that of the record, whose maps have the same names. */
		if (folder_inode() == inode) {
			if (!ret)
				*host = opened;
			else
				ps_host_close(&opened);
			return ret;
		}
		ps_host_close(&opened);
	}
}

static int pin_host(struct ps_host_bpf *skel, int mark)
{
	const int fds[PS_HOST_FDS] = {
		[PS_HOST_INSTANCES] = bpf_map__fd(skel->maps.ps_instances),
		[PS_HOST_NETNS] = bpf_map__fd(skel->maps.ps_netns),
		[PS_HOST_ADMITS] = bpf_map__fd(skel->maps.ps_admits),
		[PS_HOST_OWNERS] = bpf_map__fd(skel->maps.ps_owners),
		[PS_HOST_SOCKETS] = bpf_map__fd(skel->maps.ps_sockets),
		[PS_HOST_TARGETS] = bpf_map__fd(skel->maps.ps_targets),
		[PS_HOST_EVENTS] = bpf_map__fd(skel->maps.ps_events),
		[PS_HOST_OVERFLOWS] = bpf_map__fd(skel->maps.ps_overflows),
		[PS_HOST_SCAN_ARGS] = bpf_map__fd(skel->maps.ps_scan_args),
		[PS_HOST_SEEN] = bpf_map__fd(skel->maps.ps_seen),
		[PS_HOST_MARK] = mark,
		[PS_HOST_LISTEN] = bpf_program__fd(skel->progs.ps_listen),
		[PS_HOST_SCAN] = bpf_program__fd(skel->progs.ps_scan),
		[PS_HOST_SCOPES] = bpf_map__fd(skel->maps.ps_scopes),
		[PS_HOST_HOPS] = bpf_map__fd(skel->maps.ps_hops),
		[PS_HOST_SCOPES_FOUND] = bpf_map__fd(skel->maps.ps_scopes_found),
		[PS_HOST_TRAILS] = bpf_map__fd(skel->maps.ps_trails),
		[PS_HOST_FLOWS] = bpf_map__fd(skel->maps.ps_flows),
		[PS_HOST_REFUSALS] = bpf_map__fd(skel->maps.ps_refusals),
		[PS_HOST_REFUSED] = bpf_map__fd(skel->maps.ps_refused),
		[PS_HOST_CLIENT_FILTER] = bpf_map__fd(skel->maps.data),
	};
	char path[PS_PATH];
	int ret = 0;

	for (int i = 0; i < PS_HOST_FDS && !ret; i++) {
		ps_bpffs_path(path, "host-tmp/%s", ps_host_pin[i]);
		ret = ps_bpffs_pin(fds[i], path);
	}
	ps_bpffs_path(path, "host-tmp/build");
	return ret ? ret : ps_build_pin(path);
}

/* Everything under a temporary name, then one rename. */
static int publish_host(struct ps_host_bpf *skel)
{
	_cleanup_close_ int mark = ps_mark_make(bpf_map__fd(skel->maps.ps_netns),
						bpf_map__fd(skel->maps.ps_instances));
	char temporary[PS_PATH], final[PS_PATH];
	int ret = mark < 0 ? mark : ps_mark_bind_all(mark, skel->obj);

	if (ret)
		return ret;

	ps_bpffs_path(temporary, "host-tmp");
	ps_bpffs_path(final, "host");
	ret = ps_bpffs_remove(temporary);
	if (ret)
		return ret;
	if (mkdir(temporary, 0700))
		return -errno;
	ret = pin_host(skel, mark);
	if (!ret && rename(temporary, final))
		ret = -errno;
	if (ret)
		ps_bpffs_remove(temporary);
	return ret;
}

const void *ps_host_elf(size_t *size)
{
	return ps_host_bpf__elf_bytes(size);
}

/* The map that the object is to use, or -1 for a new one. libbpf puts the object's name in
 * front of ".data". `host` and `takeover` may be NULL. */
static int loaded_map(const struct ps_host *host, const struct ps_takeover *takeover,
		      const char *name)
{
	if (!host)
		return takeover && !strcmp(name, PORTSTEER_PREFIX "trails") ? takeover->trails : -1;
	return strstr(name, ".data") ? host->fd[PS_HOST_CLIENT_FILTER] :
				       ps_host_map(host->fd, name);
}

/* Load the object; `host`: with the maps that are loaded, or NULL for new ones, but for those
 * that are taken over. */
static int load_object(const struct ps_host *host, const struct ps_takeover *takeover,
		       struct ps_host_bpf **loaded, struct ps_error *error)
{
	struct ps_host_bpf *skel = ps_host_bpf__open();
	struct bpf_map *map;
	int ret = 0;

	if (!skel)
		return ps_fail_kernel(error, errno, "read the built-in programs");
	bpf_object__for_each_map(map, skel->obj)
	{
		int fd = loaded_map(host, takeover, bpf_map__name(map));

		if (!ret && fd >= 0)
			ret = bpf_map__reuse_fd(map, fd);
	}
	if (!ret)
		ret = ps_load_result(ps_host_bpf__load(skel));
	if (!ret && host)
		ret = ps_mark_bind_all(host->fd[PS_HOST_MARK], skel->obj);
	if (!ret) {
		*loaded = skel;
		return 0;
	}
	ps_host_bpf__destroy(skel);
	return ps_fail_load(error, ret, "the programs that find listeners");
}

static int load_host(const struct ps_takeover *takeover, struct ps_error *error)
{
	struct ps_host_bpf *skel = NULL;
	int ret = load_object(NULL, takeover, &skel, error);

	if (ret || !skel)
		return ret ? ret : -EINVAL;
	ret = publish_host(skel);
	ps_host_bpf__destroy(skel);
	return ret ? ps_fail_kernel(error, ret, "pin the shared programs") : 0;
}

int ps_host_swap(const struct ps_host *host, struct ps_swap *swap, struct ps_error *error)
{
	char folder[PS_PATH], listen[PS_PATH], scan[PS_PATH];
	struct ps_host_bpf *skel = NULL;
	int ret = load_object(host, NULL, &skel, error);

	if (ret || !skel)
		return ret ? ret : -EINVAL;
	ps_bpffs_path(folder, "host");
	ps_bpffs_path(listen, "host/%s", ps_host_pin[PS_HOST_LISTEN]);
	ps_bpffs_path(scan, "host/%s", ps_host_pin[PS_HOST_SCAN]);
	ret = ps_swap_add(swap, bpf_program__fd(skel->progs.ps_listen), listen, folder,
			  BPF_LINK_TYPE_CGROUP, BPF_CGROUP_SOCK_OPS);
	if (!ret)
		ret = ps_swap_add(swap, bpf_program__fd(skel->progs.ps_scan), scan, "", 0, 0);
	ps_host_bpf__destroy(skel);
	return ret ? ps_fail_kernel(error, ret, "store the new programs") : 0;
}

int ps_host_load(struct ps_host *host, struct ps_error *error)
{
	const struct ps_takeover *takeover = host->hooks.takeover;
	int ret = ps_host_open(host, error);

	if (ret == -ESRCH) {
		ret = load_host(takeover, error);
		if (!ret)
			ret = ps_host_open(host, error);
	}
	host->hooks.takeover = takeover;
	return ret;
}

int ps_host_remove(void)
{
	char path[PS_PATH], temporary[PS_PATH];
	int ret;

	/* Out of sight at one instant; what a kill leaves is not taken for loaded. */
	ps_bpffs_path(path, "host");
	ps_bpffs_path(temporary, "host-tmp");
	ret = ps_bpffs_remove_detached(temporary);
	if (ret)
		return ret;
	if (rename(path, temporary) && errno != ENOENT)
		return -errno;
	ret = ps_bpffs_remove_detached(PS_ASIDE);
	return ret ? ret : ps_bpffs_remove_detached(PS_STATE);
}

int ps_host_find(const struct ps_host *host, uint64_t cookie)
{
	__u32 index;

	if (bpf_map_lookup_elem(host->fd[PS_HOST_NETNS], &cookie, &index))
		return errno == ENOENT ? -ESRCH : -errno;
	return index < PS_MAX_INSTANCES ? (int)index : -EBADMSG;
}

int ps_host_each(const struct ps_host *host, int (*fn)(uint64_t cookie, uint32_t index, void *data),
		 void *data)
{
	_cleanup_free_ uint64_t *cookies = calloc(PS_MAX_INSTANCES, sizeof(*cookies));
	uint64_t *last = NULL;
	size_t count = 0;
	int ret = 0;

	if (!cookies)
		return -ENOMEM;
	/* Collected first: fn may remove what it is called for. */
	while (count < PS_MAX_INSTANCES &&
	       !bpf_map_get_next_key(host->fd[PS_HOST_NETNS], last, &cookies[count]))
		last = &cookies[count++];
	for (size_t i = 0; i < count && !ret; i++) {
		int index = ps_host_find(host, cookies[i]);

		if (index >= 0)
			ret = fn(cookies[i], index, data);
	}
	return ret;
}

static int mark_used(uint64_t cookie, uint32_t index, void *data)
{
	(void)cookie;
	((unsigned char *)data)[index] = 1;
	return 0;
}

int ps_host_free_index(const struct ps_host *host)
{
	unsigned char used[PS_MAX_INSTANCES] = {};
	int ret = ps_host_each(host, mark_used, used);

	if (ret)
		return ret;
	for (int i = 0; i < PS_MAX_INSTANCES; i++) {
		if (!used[i])
			return i;
	}
	return -ENOSPC;
}
