// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/kmap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/bpf_types.h"
#include "util/util.h"

int ps_inner_open(int outer, const void *key)
{
	__u32 id;
	int fd;

	if (bpf_map_lookup_elem(outer, key, &id))
		return -errno;
	fd = bpf_map_get_fd_by_id(id);
	return fd < 0 ? -errno : fd;
}

int ps_map_make(enum bpf_map_type type, const char *name, uint32_t key_size, uint32_t value_size,
		uint32_t entries, uint32_t flags)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
	char full[BPF_OBJ_NAME_LEN];
	int fd;

	snprintf(full, sizeof(full), PORTSTEER_PREFIX "%s", name);
	fd = bpf_map_create(type, full, key_size, value_size, entries, &opts);
	return fd < 0 ? -errno : fd;
}

int ps_map_entries(int fd, uint32_t *entries)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	*entries = info.max_entries;
	return 0;
}

int ps_array_write(int fd, uint32_t first, uint32_t step, const void *values, uint32_t value_size,
		   uint32_t count)
{
	_cleanup_free_ uint32_t *keys = NULL;
	__u32 done = count;

	if (!count)
		return 0;
	keys = malloc(count * sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		keys[i] = first + i * step;
	if (!bpf_map_update_batch(fd, keys, values, &done, NULL))
		return 0;
	for (uint32_t i = 0; i < count; i++) {
		if (bpf_map_update_elem(fd, &keys[i], (const char *)values + (size_t)i * value_size,
					0))
			return -errno;
	}
	return 0;
}

int ps_outer_write(int outer, const uint32_t *keys, const int *fds, uint32_t count)
{
	__u32 done = count;

	if (!count || !bpf_map_update_batch(outer, keys, fds, &done, NULL))
		return 0;
	return -errno;
}

int ps_wait_for_programs(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts);
	_cleanup_close_ int inner =
		ps_map_make(BPF_MAP_TYPE_ARRAY, "wait_in", sizeof(__u32), sizeof(__u32), 1, 0);
	_cleanup_close_ int outer = -1;
	__u32 key = 0;

	if (inner < 0)
		return inner;
	opts.inner_map_fd = (__u32)inner;
	outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, PORTSTEER_PREFIX "wait", sizeof(key),
			       sizeof(__u32), 1, &opts);
	/* The kernel promises it for this call (maybe_wait_bpf_programs). */
	if (outer < 0 || bpf_map_update_elem(outer, &key, &inner, 0))
		return -errno;
	return 0;
}
