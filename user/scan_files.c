// SPDX-License-Identifier: GPL-2.0-only
/*
 * What bpf/admit.h does for open listeners, where no iterator can do it (Linux 5.10: that
 * over files cannot tell a file's socket, and with that over TCP sockets, which does not
 * lock them there, one that is just being closed could stay in the map). The map is
 * given a descriptor, so that the socket is locked, and stays, while it enters.
 */
#include "scan_files.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>

#include "bpffs.h"
#include "cgroup.h"
#include "kmap.h"
#include "listeners.h"
#include "patience.h"
#include "util.h"

enum { PROCESSES = 8 };

struct scan {
	const struct ps_host *host;
	const struct ps_state *state;
	uint32_t index;
	struct ps_patience *patience; /* with sockets that are busy, see PS_SCAN_BUSY */
};

/* --- whose a socket is; as bpf/owner.h */

/* `path` is that of the socket's cgroup, "" if it cannot be told. */
static bool is_within(const char *path, const char *cgroup)
{
	size_t length = strlen(cgroup);

	if (!strcmp(cgroup, "/"))
		return true;
	return !strncmp(path, cgroup, length) && (!path[length] || path[length] == '/');
}

static bool owns(const struct ps_owner_spec *owner, const struct ps_socket *socket,
		 const char *path)
{
	if (owner->flags & PS_OWNER_ANY)
		return true;
	if (!(owner->flags & (PS_OWNER_USER | PS_OWNER_CGROUP)))
		return false;
	if (owner->flags & PS_OWNER_USER && owner->uid != socket->uid)
		return false;
	return !(owner->flags & PS_OWNER_CGROUP) || is_within(path, owner->cgroup);
}

/* --- into the maps; as bpf/admit.h */

static int enter(const struct scan *scan, int map, const void *key, int fd)
{
	uint64_t value = (uint64_t)fd;
	int ret;

	do
		ret = bpf_map_update_elem(map, key, &value, BPF_NOEXIST) ? -errno : 0;
	while ((ret == -EBUSY || ret == -ENOMEM) && ps_wait_a_little(scan->patience));
	return ret;
}

static int enter_slots(const struct scan *scan, uint32_t target, int fd)
{
	const struct ps_chunk_key key = { scan->index, PS_TARGET_CHUNK_OF(target) };
	_cleanup_close_ int map = ps_inner_open(scan->host->fd[PS_HOST_SOCKETS], &key);
	int ret = map < 0 ? map : -EEXIST;

	for (uint32_t n = 0; n < PS_SLOTS && ret == -EEXIST; n++) {
		uint32_t slot = PS_TARGET_INDEX_OF(target) * PS_SLOTS + n;

		ret = enter(scan, map, &slot, fd);
	}
	return ret;
}

static int enter_more(const struct scan *scan, uint32_t target, int fd, struct ps_events *events)
{
	_cleanup_close_ int map = ps_inner_open(scan->host->fd[PS_HOST_OVERFLOWS], &scan->index);
	struct ps_overflow_key key = { .target = target };
	int ret = map < 0 ? map : -EEXIST;

	if (map < 0)
		return ret;
	/* Before the socket can be found: steering looks no further than this. */
	__atomic_fetch_add(&events->overflow, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&scan->host->instances[scan->index].overflowed, 1, __ATOMIC_SEQ_CST);
	for (; key.n < PS_OVERFLOW && ret == -EEXIST; key.n++)
		ret = enter(scan, map, &key, fd);
	return ret;
}

static void admit(const struct scan *scan, uint32_t target, int fd, struct ps_events *events)
{
	int ret = enter_slots(scan, target, fd);

	if (ret == -EEXIST)
		ret = enter_more(scan, target, fd, events);
	if (!ret)
		__atomic_fetch_add(&scan->host->instances[scan->index].admissions, 1,
				   __ATOMIC_SEQ_CST);
	__atomic_fetch_add(ret ? &events->error : &events->admitted, 1, __ATOMIC_SEQ_CST);
}

/* Admit the socket to a target; without a descriptor, count that it is not the owner's. */
static int admit_or_deny(const struct scan *scan, uint32_t target, int fd)
{
	const struct ps_chunk_key key = { scan->index, PS_TARGET_CHUNK_OF(target) };
	_cleanup_close_ int map = ps_inner_open(scan->host->fd[PS_HOST_EVENTS], &key);
	size_t size = PS_TARGET_CHUNK(key.chunk) * sizeof(struct ps_events);
	struct ps_events *events;

	if (map < 0)
		return map;
	events = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
	if (events == MAP_FAILED)
		return -errno;
	if (fd < 0)
		__atomic_fetch_add(&events[PS_TARGET_INDEX_OF(target)].denied, 1, __ATOMIC_SEQ_CST);
	else
		admit(scan, target, fd, &events[PS_TARGET_INDEX_OF(target)]);
	munmap(events, size);
	return 0;
}

/* --- one socket, and all */

/* For each new target on its port that is the socket's, or that is not, call admit_or_deny;
 * returns how many there are. */
static int each_target(const struct scan *scan, const struct ps_socket *socket, const char *path,
		       bool owned, int fd)
{
	int count = 0;

	for (size_t i = 0; i < scan->state->target_count; i++) {
		const struct ps_target *target = &scan->state->targets[i];
		int ret;

		if (!target->fresh || target->port != socket->port ||
		    owns(&target->owner, socket, path) != owned)
			continue;
		ret = admit_or_deny(scan, target->id, fd);
		if (ret)
			return ret;
		count++;
	}
	return count;
}

static bool owned_by_any(const struct scan *scan, const struct ps_socket *socket, const char *path)
{
	for (size_t i = 0; i < scan->state->target_count; i++) {
		const struct ps_target *target = &scan->state->targets[i];

		if (target->fresh && target->port == socket->port &&
		    owns(&target->owner, socket, path))
			return true;
	}
	return false;
}

static int scan_socket(const struct scan *scan, const struct ps_socket *socket)
{
	_cleanup_close_ int fd = -1;
	char path[4096];
	int ret;

	if (socket->proto != IPPROTO_TCP)
		return 0;
	if (ps_cgroup_path(socket->cgroup, path, sizeof(path)))
		path[0] = '\0';
	if (!owned_by_any(scan, socket, path)) {
		ret = each_target(scan, socket, path, false, -1);
		return ret < 0 ? ret : 0;
	}
	fd = ps_socket_open(socket);
	/* Nobody's whom we see; it may also have been closed meanwhile. */
	ret = fd < 0 ? 0 : each_target(scan, socket, path, true, fd);
	return ret < 0 ? ret : 0;
}

int ps_scan_files(const struct ps_host *host, const struct ps_netns *netns, uint32_t index,
		  const struct ps_state *state, struct ps_error *error)
{
	struct ps_patience patience = {};
	const struct scan scan = {
		.host = host, .state = state, .index = index, .patience = &patience
	};
	_cleanup_free_ struct ps_ports *ports = calloc(1, sizeof(*ports));
	struct ps_sockets sockets = {};
	int ret;

	if (!ports)
		return ps_fail_kernel(error, ENOMEM, "look for open listeners");
	for (size_t i = 0; i < state->target_count; i++) {
		if (state->targets[i].fresh)
			ps_ports_add(ports, IPPROTO_TCP, state->targets[i].port,
				     state->targets[i].port);
	}
	ret = ps_sockets_read(netns, ports, &sockets, error);
	if (ret)
		return ret;
	ret = ps_sockets_find_processes(&sockets, PROCESSES);
	for (size_t i = 0; i < sockets.count && !ret; i++)
		ret = scan_socket(&scan, &sockets.items[i]);
	ps_sockets_clear(&sockets);
	return ret ? ps_fail_kernel(error, ret, "look for open listeners") : 0;
}
