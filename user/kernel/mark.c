// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/mark.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <bpf/bpf.h>

#include "kernel/bpffs.h"
#include "util/bpf_types.h"
#include "util/util.h"

/* More than any program of ours uses. */
enum { MAPS = 64 };

uint32_t ps_pid_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) ? 0 : (uint32_t)st.st_ino;
}

static int map_id(int fd, uint32_t *id)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	*id = info.id;
	return 0;
}

int ps_mark_make(int netns, int instances)
{
	struct ps_program_mark mark = {
		.magic = PS_MARK_MAGIC,
		.layout = PORTSTEER_ABI,
		.pid_namespace = ps_pid_namespace(),
	};
	_cleanup_close_ int fd = -1;
	struct stat st;
	__u32 key = 0;
	int ret = stat(PS_BPFFS, &st) ? -errno : map_id(netns, &mark.netns);

	if (!ret)
		ret = map_id(instances, &mark.instances);
	if (ret)
		return ret;
	mark.device = st.st_dev;
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, PORTSTEER_PREFIX "mark", sizeof(key), sizeof(mark),
			    1, NULL);
	if (fd < 0 || bpf_map_update_elem(fd, &key, &mark, 0) || bpf_map_freeze(fd))
		return -errno;
	ret = fd;
	fd = -1;
	return ret;
}

int ps_mark_bind(int mark, int program)
{
	return bpf_prog_bind_map(program, mark, NULL) ? -errno : 0;
}

int ps_mark_bind_all(int mark, const struct bpf_object *object)
{
	struct bpf_program *program;
	int ret = 0;

	bpf_object__for_each_program(program, object)
	{
		if (!ret)
			ret = ps_mark_bind(mark, bpf_program__fd(program));
	}
	return ret;
}

/* Is it a mark? 1, 0 or -errno. */
static int read_map(uint32_t id, struct ps_program_mark *mark)
{
	_cleanup_close_ int fd = bpf_map_get_fd_by_id(id);
	struct bpf_map_info info = {};
	__u32 size = sizeof(info), key = 0;

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size))
		return errno == ENOENT ? 0 : -errno;
	if (info.type != BPF_MAP_TYPE_ARRAY || info.max_entries != 1 ||
	    info.value_size != sizeof(*mark))
		return 0;
	return !bpf_map_lookup_elem(fd, &key, mark) && mark->magic == PS_MARK_MAGIC;
}

int ps_mark_read(uint32_t program, struct ps_program_mark *mark, char name[16])
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(program);
	struct bpf_prog_info info = {};
	__u32 maps[MAPS], size = sizeof(info);
	int ret = 0;

	info.map_ids = (uintptr_t)maps;
	info.nr_map_ids = MAPS;
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size))
		return errno == ENOENT ? 0 : -errno;
	snprintf(name, 16, "%.15s", info.name);
	/* Others can make such a map, but not load a program as root. */
	if (info.created_by_uid || info.nr_map_ids > MAPS)
		return 0;
	/* It was given last. */
	for (__u32 i = info.nr_map_ids; i-- && !ret;)
		ret = read_map(maps[i], mark);
	return ret;
}
