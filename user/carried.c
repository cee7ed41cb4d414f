// SPDX-License-Identifier: GPL-2.0-only
#include "carried.h"

#include <errno.h>

#include <bpf/bpf.h>

#include "bpffs.h"
#include "plan.h"
#include "util.h"

int ps_carried_make(const char *path, uint32_t rules, uint32_t targets)
{
	const struct ps_counts head = { { rules, targets } };
	_cleanup_close_ int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, PORTSTEER_CARRIED "carried",
						sizeof(__u32), sizeof(head), 1 + rules + targets,
						NULL);
	__u32 first = 0;

	if (fd < 0 || bpf_map_update_elem(fd, &first, &head, 0))
		return -errno;
	return ps_bpffs_pin(fd, path);
}

int ps_carried_open(const char *path, struct ps_carried *carried)
{
	_cleanup_close_ int fd = ps_bpffs_open_any(path);
	struct bpf_map_info info = {};
	__u32 size = sizeof(info), first = 0;
	struct ps_counts head;

	*carried = (struct ps_carried)PS_CARRIED_NONE;
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	if (info.type != BPF_MAP_TYPE_ARRAY || info.value_size != sizeof(head))
		return -EBADMSG;
	if (bpf_map_lookup_elem(fd, &first, &head))
		return -errno;
	if (head.of[0] > info.max_entries || head.of[1] > info.max_entries ||
	    1 + head.of[0] + head.of[1] > info.max_entries)
		return -EBADMSG;
	*carried = (struct ps_carried){ fd, (uint32_t)head.of[0], (uint32_t)head.of[1] };
	fd = -1;
	return 0;
}

/* Where something is, or 0 if it is not there. */
static __u32 place_of_rule(const struct ps_carried *carried, uint32_t rule)
{
	return carried->fd >= 0 && rule < carried->rules ? 1 + rule : 0;
}

static __u32 place_of_target(const struct ps_carried *carried, uint32_t target)
{
	uint32_t linear = ps_target_linear(target);

	return carried->fd >= 0 && linear < carried->targets ? 1 + carried->rules + linear : 0;
}

static int get(const struct ps_carried *carried, __u32 place, struct ps_counts *counts)
{
	*counts = (struct ps_counts){};
	return place && bpf_map_lookup_elem(carried->fd, &place, counts) ? -errno : 0;
}

static int set(const struct ps_carried *carried, __u32 place, const struct ps_counts *counts)
{
	return place && bpf_map_update_elem(carried->fd, &place, counts, 0) ? -errno : 0;
}

int ps_carried_rule(const struct ps_carried *carried, uint32_t rule, struct ps_counts *counts)
{
	return get(carried, place_of_rule(carried, rule), counts);
}

int ps_carried_target(const struct ps_carried *carried, uint32_t target, struct ps_counts *counts)
{
	return get(carried, place_of_target(carried, target), counts);
}

int ps_carried_set_rule(const struct ps_carried *carried, uint32_t rule,
			const struct ps_counts *counts)
{
	return set(carried, place_of_rule(carried, rule), counts);
}

int ps_carried_set_target(const struct ps_carried *carried, uint32_t target,
			  const struct ps_counts *counts)
{
	return set(carried, place_of_target(carried, target), counts);
}

void ps_counts_add(struct ps_counts *to, const struct ps_counts *counts)
{
	for (int i = 0; i < 3; i++)
		to->of[i] += counts->of[i];
	if (counts->of[3] > to->of[3])
		to->of[3] = counts->of[3];
}
