// SPDX-License-Identifier: GPL-2.0-only
#include "swap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <bpf/bpf.h>

#include "bpffs.h"
#include "util.h"

struct ps_swap_item {
	int program;
	__u32 link_type, attach_type;
	char pin[PS_PATH], links[PS_PATH];
};

void ps_swap_clear(struct ps_swap *swap)
{
	for (size_t i = 0; i < swap->count; i++)
		close(swap->items[i].program);
	free(swap->items);
	*swap = (struct ps_swap){};
}

int ps_swap_add(struct ps_swap *swap, int program, const char *pin, const char *links,
		__u32 link_type, __u32 attach_type)
{
	struct ps_swap_item *grown =
		reallocarray(swap->items, swap->count + 1, sizeof(*swap->items));
	struct ps_swap_item *item;

	if (!grown)
		return -ENOMEM;
	swap->items = grown;
	item = &grown[swap->count];
	*item = (struct ps_swap_item){ .link_type = link_type, .attach_type = attach_type };
	item->program = fcntl(program, F_DUPFD_CLOEXEC, 0);
	if (item->program < 0)
		return -errno;
	snprintf(item->pin, sizeof(item->pin), "%s", pin);
	snprintf(item->links, sizeof(item->links), "%s", links);
	swap->count++;
	return 0;
}

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

static int give(int link, const struct bpf_link_info *info, const char *pin, void *data)
{
	const struct ps_swap_item *item = data;
	__u32 attach_type = info->type == BPF_LINK_TYPE_CGROUP ? info->cgroup.attach_type :
								 info->netns.attach_type;

	(void)pin;
	if (info->type != item->link_type || attach_type != item->attach_type)
		return 0;
	return ps_link_give(link, info, item->program);
}

int ps_swap_apply(const struct ps_swap *swap)
{
	int ret = 0;

	for (size_t i = 0; i < swap->count && !ret; i++) {
		struct ps_swap_item *item = &swap->items[i];

		if (*item->pin)
			ret = ps_bpffs_replace(item->program, item->pin);
		if (!ret && *item->links)
			ret = ps_each_link(item->links, give, item);
	}
	return ret;
}
