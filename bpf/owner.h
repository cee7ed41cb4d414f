/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Is a socket an owner's? Decided once for each listener, in the process's own
 * listen(), so nothing here needs to be fast, and all of it exact.
 */
#ifndef PORTSTEER_OWNER_H
#define PORTSTEER_OWNER_H

#include "common.h"
#include "owner_maps.h"

#define PS_CGROUP_NAME 256 /* NAME_MAX of kernfs and the NUL */
#define PS_PIECE 64 /* of a name, with a NUL: a part of the stack */

static __always_inline struct kernfs_node *parent_of(struct kernfs_node *kn)
{
	struct kernfs_node___v615 *new = (void *)kn;

	if (bpf_core_field_exists(new->__parent))
		return BPF_CORE_READ(new, __parent);
	return BPF_CORE_READ(kn, parent);
}

static __always_inline struct ps_owner *owner_at(__u32 inst, __u32 index)
{
	return entry_of(entry_of(&ps_owners, inst), index);
}

/* Is the name of the kernfs node at address `kn` component `n` of the owner's
 * path? 1 or 0. */
PS_GLOBAL int ps_name_is(__u32 inst, __u32 index, __u64 kn, __u32 n)
{
	struct ps_owner *owner = owner_at(inst, index);
	const char *name = BPF_CORE_READ((struct kernfs_node *)kn, name);
	char piece[PS_PIECE];
	__u32 start;

	if (!owner || n >= PS_CGROUP_DEPTH)
		return 0;
	start = owner->start[n];
	for (__u32 at = 0; at < PS_CGROUP_NAME; at += PS_PIECE - 1) {
		if (bpf_probe_read_kernel_str(piece, sizeof(piece), name + at) <= 0)
			return 0;
		for (__u32 i = 0; i < PS_PIECE - 1; i++) {
			if (piece[i] != (char)owner->path[(start + at + i) & (PS_CGROUP_PATH - 1)])
				return 0;
			/* Components end with a NUL too. */
			if (!piece[i])
				return 1;
		}
	}
	return 0;
}

/* The ancestor of `cgrp` at `depth` below the root, or NULL. */
static __always_inline struct kernfs_node *ancestor_at(struct cgroup *cgrp, __u32 depth)
{
	struct kernfs_node *kn = BPF_CORE_READ(cgrp, kn);
	int level = BPF_CORE_READ(cgrp, level);

	for (int i = 0; i < PS_CGROUP_WALK && level > (int)depth; i++, level--)
		kn = parent_of(kn);
	return level == (int)depth ? kn : NULL;
}

/*
 * Is the cgroup the path of the owner at `index`, or below it? Names are
 * compared from the owner's depth up to the root, component by component, so
 * that /a/web2 is not /a/web and one name cannot pretend to be two.
 */
static __always_inline bool cgroup_is(struct cgroup *cgrp, __u32 inst, __u32 index, __u32 depth)
{
	struct kernfs_node *kn;

	if (!depth)
		return true;
	if (!cgrp || depth > PS_CGROUP_DEPTH)
		return false;
	kn = ancestor_at(cgrp, depth);
	for (int i = 0; i < PS_CGROUP_DEPTH && kn; i++) {
		if (!ps_name_is(inst, index, (__u64)kn, --depth))
			return false;
		if (!depth)
			return true;
		kn = parent_of(kn);
	}
	return false;
}

/* Does the owner at `index` of the instance own a socket of `uid` in the cgroup
 * at address `cgrp`? 1 or 0. */
PS_GLOBAL int ps_owns(__u32 inst, __u32 index, __u32 uid, __u64 cgrp)
{
	struct ps_owner *owner = owner_at(inst, index);

	if (!owner)
		return 0;
	if (owner->flags & PS_OWNER_ANY)
		return 1;
	if (!(owner->flags & (PS_OWNER_USER | PS_OWNER_CGROUP)))
		return 0;
	if (owner->flags & PS_OWNER_USER && owner->uid != uid)
		return 0;
	if (owner->flags & PS_OWNER_CGROUP &&
	    !cgroup_is((struct cgroup *)cgrp, inst, index, owner->depth))
		return 0;
	return 1;
}

#endif
