// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/saved.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>

#include "kernel/bpffs.h"
#include "kernel/kmap.h"
#include "util/util.h"

#define PIN "ns-%" PRIu64 "/rules-%" PRIu32
enum { STATE_PAGE = 4096 };

int ps_save_state(uint64_t cookie, const struct ps_state *state)
{
	_cleanup_free_ void *data = NULL;
	_cleanup_close_ int fd = -1;
	char path[PS_PATH];
	size_t size;
	void *map;
	int ret;

	ret = ps_state_encode(state, &data, &size);
	if (ret)
		return ret;
	fd = ps_map_make(BPF_MAP_TYPE_ARRAY, "rules", sizeof(__u32), STATE_PAGE,
			 (uint32_t)((size + sizeof(__u64) + STATE_PAGE - 1) / STATE_PAGE),
			 BPF_F_MMAPABLE);
	if (fd < 0)
		return fd;
	map = mmap(NULL, size + sizeof(__u64), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*(__u64 *)map = size;
	memcpy((char *)map + sizeof(__u64), data, size);
	munmap(map, size + sizeof(__u64));
	ps_bpffs_path(path, PIN, cookie, state->generation);
	return ps_bpffs_pin(fd, path);
}

int ps_decode_state(int fd, struct ps_state *state)
{
	struct bpf_map_info info = {};
	__u32 length = sizeof(info);
	size_t room;
	void *map;
	int ret;

	if (bpf_obj_get_info_by_fd(fd, &info, &length))
		return -errno;
	if (info.type != BPF_MAP_TYPE_ARRAY || info.value_size != STATE_PAGE)
		return -EBADMSG;
	room = (size_t)info.max_entries * STATE_PAGE;
	map = mmap(NULL, room, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	if (*(__u64 *)map > room - sizeof(__u64))
		ret = -EBADMSG;
	else
		ret = ps_state_decode((char *)map + sizeof(__u64), *(__u64 *)map, state);
	munmap(map, room);
	return ret;
}

int ps_read_state(uint64_t cookie, uint32_t generation, struct ps_state *state)
{
	_cleanup_close_ int fd = -1;
	char path[PS_PATH];

	ps_bpffs_path(path, PIN, cookie, generation);
	fd = ps_bpffs_open(path);
	return fd < 0 ? fd : ps_decode_state(fd, state);
}
