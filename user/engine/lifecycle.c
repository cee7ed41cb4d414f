// SPDX-License-Identifier: GPL-2.0-only
#include "engine/lifecycle.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "engine/needs.h"
#include "instance.skel.h"
#include "kernel/attach_points.h"
#include "kernel/bpffs.h"
#include "kernel/kmap.h"
#include "kernel/link.h"
#include "kernel/mark.h"
#include "kernel/saved.h"
#include "kernel/swap.h"
#include "kernel/tables.h"
#include "os/netns.h"
#include "os/privilege.h"
#include "os/refusal_facts.h"
#include "util/util.h"

#define FOLDER "ns-%" PRIu64

/*
 * Is the namespace alive? The pin "alive" is a map of network devices with one entry, the
 * namespace's loopback device, by the namespace's inode number: the kernel takes a device
 * out of such maps when it goes (NETDEV_UNREGISTER, kernel/bpf/devmap.c), and the last
 * thing to go of a namespace are its devices. No packet ever meets it. Returns a
 * descriptor.
 */
static int make_alive(const struct ps_netns *netns)
{
	_cleanup_close_ int fd = bpf_map_create(BPF_MAP_TYPE_DEVMAP_HASH, PORTSTEER_PREFIX "alive",
						sizeof(__u32), sizeof(__u32), 1, NULL);
	_cleanup_close_ int own = -1;
	__u32 inode, loopback = 1; /* net/core/net_namespace.c, LOOPBACK_IFINDEX */
	struct stat st;
	int before, ret;

	if (fd < 0)
		return -errno;
	own = netns->fd < 0 ? open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC) : -1;
	if (fstat(netns->fd < 0 ? own : netns->fd, &st))
		return -errno;
	inode = (__u32)st.st_ino;
	/* Devices are looked for in the caller's namespace. */
	before = ps_netns_enter(netns);
	if (before < 0)
		return before;
	ret = bpf_map_update_elem(fd, &inode, &loopback, 0) ? -errno : 0;
	if (ps_netns_leave(before))
		return -EIO;
	return ret ? ret : ps_take_fd(&fd);
}

int ps_is_dead(uint64_t cookie, uint32_t *inode)
{
	_cleanup_close_ int fd = -1;
	char path[PS_PATH];

	ps_bpffs_path(path, FOLDER "/alive", cookie);
	fd = ps_bpffs_open(path);
	*inode = 0;
	if (fd < 0)
		return fd == -ENOENT || fd == -EPROTO ? 1 : fd;
	if (bpf_map_get_next_key(fd, NULL, inode))
		return errno == ENOENT ? 1 : -errno;
	return 0;
}

int ps_find_loaded(const struct ps_host *host, uint64_t cookie)
{
	int index = ps_host_find(host, cookie);

	return index >= 0 && !ps_fetch(&host->instances[index].active) ? -ESRCH : index;
}

bool ps_steer_is_detached(uint64_t cookie)
{
	char path[PS_PATH];

	ps_bpffs_path(path, FOLDER "/link", cookie);
	return ps_exists(path) && ps_link_is_attached(path) == 0;
}

int ps_steer_detach(uint64_t cookie)
{
	char path[PS_PATH];

	ps_bpffs_path(path, FOLDER "/link", cookie);
	return ps_bpffs_detach(path);
}

/* Everything of an instance but its word, which is 0 already. The link goes
 * first; the entry in `netns` last, as it is by that that the rest is found. */
static int remove_rest(const struct ps_host *host, uint64_t cookie, uint32_t index)
{
	char path[PS_PATH];
	int ret = ps_steer_detach(cookie);

	ps_bpffs_path(path, FOLDER, cookie);
	if (!ret)
		ret = ps_bpffs_remove(path);
	if (!ret)
		ret = ps_tables_unregister(host, index);
	if (ret)
		return ret;
	return bpf_map_delete_elem(host->fd[PS_HOST_NETNS], &cookie) && errno != ENOENT ? -errno :
											  0;
}

uint64_t ps_present_word(const struct ps_instance *instance)
{
	uint64_t word = ps_fetch(&instance->active);

	return word ? word : PS_WORD(1, 0, 0, 1) | PS_WORD_LIFE(ps_fetch(&instance->pending));
}

/* Unload: of the words only the life is left, for the next instance to count on. */
static void clear_words(const struct ps_host *host, uint32_t index)
{
	struct ps_instance *me = &host->instances[index];

	ps_store(&me->active, 0);
	ps_store(&me->pending, PS_WORD_LIFE(ps_fetch(&me->pending)));
}

/* Each takes several waits for readers, a tenth of a second in all: what many
 * namespaces left goes over several commands. */
enum { CLEAN_AT_ONCE = 8 };

struct cleaning {
	struct ps_host *host;
	size_t count; /* instances without a word, which are to be removed */
};

static int clear_dead(uint64_t cookie, uint32_t index, void *data)
{
	struct cleaning *cleaning = data;
	int dead = 1;
	uint32_t inode;

	if (ps_fetch(&cleaning->host->instances[index].active))
		dead = ps_is_dead(cookie, &inode);
	if (dead <= 0 || cleaning->count >= CLEAN_AT_ONCE)
		return dead < 0 ? dead : 0;
	cleaning->count++;
	clear_words(cleaning->host, index);
	return 0;
}

static int remove_cleared(uint64_t cookie, uint32_t index, void *data)
{
	struct cleaning *cleaning = data;

	if (ps_fetch(&cleaning->host->instances[index].active) || !cleaning->count)
		return 0;
	cleaning->count--;
	return remove_rest(cleaning->host, cookie, index);
}

/* Until an instance's entry is removed, the next command finds that something is to be cleaned up.
 * So what only it needed is detached before. Where that fails, the rest is removed all the same. */
int ps_clean(struct ps_host *host)
{
	struct cleaning cleaning = { .host = host };
	int ret = ps_host_each(host, clear_dead, &cleaning);

	if (ret || !cleaning.count)
		return ret;
	ps_release(host, 0, NULL, NULL);
	return ps_host_each(host, remove_cleared, &cleaning);
}

static int count_one(uint64_t cookie, uint32_t index, void *data)
{
	(void)cookie;
	(void)index;
	++*(size_t *)data;
	return 0;
}

int ps_drop_host_if_unused(struct ps_host *host)
{
	size_t left = 0;
	int ret = ps_host_each(host, count_one, &left);

	if (ret || left)
		return ret;
	ps_host_close(host);
	return ps_host_remove();
}

int ps_destroy(struct ps_host *host, uint64_t cookie, uint32_t index)
{
	int ret, released;

	clear_words(host, index);
	released = ps_release(host, cookie, NULL, NULL);
	ret = remove_rest(host, cookie, index);
	if (!ret)
		ret = ps_drop_host_if_unused(host);
	return ret ? ret : released;
}

static void maps_of(const struct ps_instance_bpf *skel, int fds[PS_INST_FDS])
{
	const int maps[PS_INST_FDS] = {
		[PS_INST_FILTER] = bpf_map__fd(skel->maps.data),
		[PS_INST_FRONTS] = bpf_map__fd(skel->maps.ps_fronts),
		[PS_INST_FRONTS_MORE] = bpf_map__fd(skel->maps.ps_fronts_more),
		[PS_INST_HITS] = bpf_map__fd(skel->maps.ps_hits),
		[PS_INST_HITS_MORE] = bpf_map__fd(skel->maps.ps_hits_more),
		[PS_INST_STATES] = bpf_map__fd(skel->maps.ps_states),
		[PS_INST_STATES_MORE] = bpf_map__fd(skel->maps.ps_states_more),
		[PS_INST_LISTENERS] = bpf_map__fd(skel->maps.ps_listeners),
		[PS_INST_LISTENERS_MORE] = bpf_map__fd(skel->maps.ps_listeners_more),
		[PS_INST_OVERFLOW] = bpf_map__fd(skel->maps.ps_overflow),
		[PS_INST_PREFIXES] = bpf_map__fd(skel->maps.ps_prefixes),
	};

	memcpy(fds, maps, sizeof(maps));
}

static int pin_instance(const struct ps_instance_bpf *skel, uint64_t cookie,
			const int fds[PS_INST_FDS])
{
	char path[PS_PATH];
	int ret;

	ps_bpffs_path(path, FOLDER, cookie);
	ret = ps_bpffs_remove(path);
	if (ret)
		return ret;
	if (mkdir(path, 0700))
		return -errno;
	for (int i = 0; i < PS_INST_FDS && !ret; i++) {
		ps_bpffs_path(path, FOLDER "/%s", cookie, ps_instance_pin[i]);
		ret = ps_bpffs_pin(fds[i], path);
	}
	ps_bpffs_path(path, FOLDER "/steer", cookie);
	return ret ? ret : ps_bpffs_pin(bpf_program__fd(skel->progs.ps_steer), path);
}

int ps_steer_attach(const struct ps_netns *netns)
{
	_cleanup_close_ int program = -1, link = -1, own = -1;
	char path[PS_PATH], pin[PS_PATH];
	int target = netns->fd, ret;

	ps_bpffs_path(path, FOLDER "/link", netns->cookie);
	ret = ps_link_is_attached(path);
	if (ret)
		return ret < 0 ? ret : 0;
	ps_bpffs_path(pin, FOLDER "/steer", netns->cookie);
	program = ps_bpffs_open(pin);
	if (program < 0)
		return program;
	if (target < 0)
		target = own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (target < 0)
		return -errno;
	link = bpf_link_create(program, target, BPF_SK_LOOKUP, NULL);
	if (link < 0)
		return -errno;
	ret = ps_bpffs_replace(link, path);
	return ret ? ret : 1;
}

static int fill_instance(const struct ps_host *host, uint64_t cookie, uint32_t index, int alive,
			 const struct ps_instance_bpf *skel)
{
	struct ps_state empty = { .generation = 1 };
	int fds[PS_INST_FDS], ret;
	char path[PS_PATH];

	maps_of(skel, fds);
	ret = ps_tables_register(host, index, fds);
	if (!ret)
		ret = pin_instance(skel, cookie, fds);
	if (!ret)
		ret = ps_save_state(cookie, &empty);
	ps_bpffs_path(path, FOLDER "/alive", cookie);
	return ret ? ret : ps_bpffs_pin(alive, path);
}

/* Is it what the object calls the map with this pin? libbpf puts the object's name in front of
 * ".data", which the filter is. */
static bool is_called(const char *name, int pin)
{
	if (pin == PS_INST_FILTER)
		return strstr(name, ".data");
	return !strcmp(name + strlen(PORTSTEER_PREFIX), ps_instance_pin[pin]);
}

/* The map that the program is to use, of those that are loaded; -1 for a new one. */
static int loaded_map(const struct ps_host *host, const struct ps_tables *tables, const char *name)
{
	for (int i = 0; tables && i < PS_INST_FDS; i++) {
		if (is_called(name, i))
			return tables->fd[i];
	}
	return ps_host_map(host->fd, name);
}

/* `tables`: those of the instance, if it is loaded, or NULL. */
static int load_program(const struct ps_host *host, const struct ps_tables *tables, uint32_t index,
			struct ps_instance_bpf *skel)
{
	struct bpf_map *map;
	int ret = 0;

	skel->rodata->instance = index;
	if (getrandom((void *)skel->rodata->secret, sizeof(skel->rodata->secret), 0) < 0)
		return -errno;
	bpf_object__for_each_map(map, skel->obj)
	{
		const char *name = bpf_map__name(map);
		int fd = strstr(name, ".rodata") ? -1 : loaded_map(host, tables, name);

		if (!ret && fd >= 0)
			ret = bpf_map__reuse_fd(map, fd);
	}
	if (!ret)
		ret = ps_instance_bpf__load(skel);
	return ret ? ret : ps_mark_bind_all(host->fd[PS_HOST_MARK], skel->obj);
}

static int load_instance(const struct ps_host *host, const struct ps_tables *tables, uint32_t index,
			 struct ps_instance_bpf **result, struct ps_error *error)
{
	struct ps_instance_bpf *skel = ps_instance_bpf__open();
	int ret;

	if (!skel)
		return ps_fail_kernel(error, errno, "read the built-in programs");
	ret = load_program(host, tables, index, skel);
	if (!ret) {
		*result = skel;
		return 0;
	}
	ps_instance_bpf__destroy(skel);
	return ps_fail_load(error, ps_load_result(ret), "the sk_lookup program");
}

int ps_steer_swap(const struct ps_host *host, uint64_t cookie, uint32_t index, struct ps_swap *swap,
		  struct ps_error *error)
{
	__attribute__((cleanup(ps_tables_close))) struct ps_tables tables = PS_TABLES_NONE;
	char folder[PS_PATH], pin[PS_PATH];
	struct ps_instance_bpf *skel = NULL;
	int ret = ps_tables_open(host, cookie, index, &tables, error);

	if (!ret)
		ret = load_instance(host, &tables, index, &skel, error);
	if (ret || !skel)
		return ret ? ret : -EINVAL;
	ps_bpffs_path(folder, FOLDER, cookie);
	ps_bpffs_path(pin, FOLDER "/steer", cookie);
	ret = ps_swap_add(swap, bpf_program__fd(skel->progs.ps_steer), pin, folder,
			  BPF_LINK_TYPE_NETNS, BPF_SK_LOOKUP);
	ps_instance_bpf__destroy(skel);
	return ret ? ps_fail_kernel(error, ret, "store the new programs") : 0;
}

const void *ps_instance_elf(size_t *size)
{
	return ps_instance_bpf__elf_bytes(size);
}

int ps_create_at(const struct ps_host *host, uint64_t cookie, uint32_t index, int alive,
		 struct ps_error *error)
{
	struct ps_instance *me = &host->instances[index];
	struct ps_instance_bpf *skel = NULL;
	int ret = load_instance(host, NULL, index, &skel, error);

	if (ret || !skel)
		return ret ? ret : -EINVAL;
	ps_store(&me->active, 0);
	ps_store(&me->pending, PS_WORD_NEXT_LIFE(ps_fetch(&me->pending)));
	ps_store(&me->cookie, cookie);
	ps_store(&me->begun, 0);
	ret = bpf_map_update_elem(host->fd[PS_HOST_NETNS], &cookie, &index, 0) ? -errno : 0;
	if (!ret)
		ret = fill_instance(host, cookie, index, alive, skel);
	ps_instance_bpf__destroy(skel);
	if (!ret)
		return 0;
	remove_rest(host, cookie, index);
	return ps_fail_kernel(error, ret, "attach to the network namespace");
}

int ps_create(const struct ps_host *host, const struct ps_netns *netns, struct ps_error *error)
{
	_cleanup_close_ int alive = -1;
	int index = ps_host_free_index(host), ret;

	if (index < 0)
		return ps_fail(error, PS_EXIT_FAILED, -index,
			       "no room for another network namespace: %d are loaded; unload one",
			       PS_MAX_INSTANCES);
	alive = make_alive(netns);
	if (alive < 0)
		return ps_fail_kernel(error, alive, "attach to the network namespace");
	ret = ps_create_at(host, netns->cookie, (uint32_t)index, alive, error);
	return ret ? ret : index;
}
