// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/memory.h"

#include <inttypes.h>

#include <bpf/bpf.h>

#include "kernel/bpffs.h"
#include "util/util.h"

static uint64_t memlock_of(int fd)
{
	_cleanup_fclose_ FILE *file = NULL;
	char path[64], line[256];
	uint64_t bytes = 0;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "memlock: %" SCNu64, &bytes) == 1)
			break;
	}
	return bytes;
}

uint64_t ps_memory(void)
{
	uint64_t total = 0;
	__u32 id = 0;

	while (!bpf_map_get_next_id(id, &id)) {
		_cleanup_close_ int fd = bpf_map_get_fd_by_id(id);
		struct bpf_map_info info = {};
		__u32 size = sizeof(info);

		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size) &&
		    ps_name_is_ours(info.name))
			total += memlock_of(fd);
	}
	id = 0;
	while (!bpf_prog_get_next_id(id, &id)) {
		_cleanup_close_ int fd = bpf_prog_get_fd_by_id(id);
		struct bpf_prog_info info = {};
		__u32 size = sizeof(info);

		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size) &&
		    ps_name_is_ours(info.name))
			total += memlock_of(fd);
	}
	return total;
}
