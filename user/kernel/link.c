// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <bpf/bpf.h>

#include "kernel/bpffs.h"
#include "util/util.h"

struct links {
	const char *folder;
	int (*fn)(int link, const struct bpf_link_info *info, const char *pin, void *data);
	void *data;
};

static int visit_link(const char *name, void *data)
{
	const struct links *links = data;
	struct bpf_link_info info;
	char path[PS_PATH];
	struct stat st;
	int link, ret;

	if (snprintf(path, sizeof(path), "%s/%s", links->folder, name) >= (int)sizeof(path) ||
	    lstat(path, &st) || !S_ISREG(st.st_mode))
		return 0;
	link = ps_bpffs_open_any_link(path, &info);
	if (link < 0)
		return link == -EPROTO || link == -ENOENT ? 0 : link;
	ret = links->fn(link, &info, path, links->data);
	close(link);
	return ret;
}

int ps_each_link(const char *folder,
		 int (*fn)(int link, const struct bpf_link_info *info, const char *pin, void *data),
		 void *data)
{
	struct links links = { folder, fn, data };
	int ret = ps_bpffs_each(folder, visit_link, &links);

	return ret == -ENOENT || ret == -ENOTDIR ? 0 : ret;
}

int ps_link_give(int link, const struct bpf_link_info *info, int program)
{
	struct bpf_prog_info prog = {};
	__u32 size = sizeof(prog);

	if (bpf_obj_get_info_by_fd(program, &prog, &size))
		return -errno;
	if (prog.id == info->prog_id)
		return 0;
	/* ENOLINK: the cgroup, or the namespace, is gone. */
	return bpf_link_update(link, program, NULL) && errno != ENOLINK ? -errno : 0;
}

static bool is_attached(const struct bpf_link_info *info)
{
	if (info->type == BPF_LINK_TYPE_CGROUP)
		return info->cgroup.cgroup_id;
	return info->type != BPF_LINK_TYPE_NETNS || info->netns.netns_ino;
}

int ps_link_is_attached(const char *path)
{
	struct bpf_link_info info;
	_cleanup_close_ int link = ps_bpffs_open_any_link(path, &info);

	if (link < 0)
		return link == -ENOENT ? 0 : link;
	return is_attached(&info);
}

int ps_link_revive(const char *path, int target)
{
	struct bpf_link_info info;
	_cleanup_close_ int link = ps_bpffs_open_any_link(path, &info);
	_cleanup_close_ int program = -1, new = -1;
	enum bpf_attach_type type;
	int ret;

	if (link < 0)
		return link;
	if (is_attached(&info))
		return 0;
	type = (enum bpf_attach_type)(info.type == BPF_LINK_TYPE_CGROUP ? info.cgroup.attach_type :
									  info.netns.attach_type);
	program = bpf_prog_get_fd_by_id(info.prog_id);
	if (program < 0)
		return -errno;
	new = bpf_link_create(program, target, type, NULL);
	if (new < 0)
		return -errno;
	ret = ps_bpffs_replace(new, path);
	return ret ? ret : 1;
}
