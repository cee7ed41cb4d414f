// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/swap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "kernel/bpffs.h"
#include "kernel/link.h"
#include "util/util.h"

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
