/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which scope is the calling process in? Found by its cgroup's path, and remembered
 * by the cgroup's id until the ruleset changes.
 */
#ifndef PORTSTEER_SCOPE_H
#define PORTSTEER_SCOPE_H

#include "connect_maps.h"
#include "owner.h"

static __always_inline struct ps_scope *scope_at(__u32 inst, __u32 half, __u32 index)
{
	return entry_of(entry_of(&ps_scopes, inst), index * 2 + half);
}

/* The hash of a path, given that of the path above: with the name at depth `depth` of
 * the cgroup at address `cgrp`. */
PS_GLOBAL int ps_scope_hash(__u64 cgrp, __u32 depth, __u32 hash)
{
	struct kernfs_node *kn = ancestor_at((struct cgroup *)cgrp, depth);
	const char *name = kn ? BPF_CORE_READ(kn, name) : NULL;
	char piece[PS_PIECE];

	for (__u32 at = 0; at < PS_CGROUP_NAME; at += PS_PIECE - 1) {
		if (bpf_probe_read_kernel_str(piece, sizeof(piece), name + at) <= 0)
			return hash;
		for (__u32 i = 0; i < PS_PIECE - 1; i++) {
			hash = PS_SCOPE_HASH(hash, piece[i]);
			if (!piece[i])
				return hash;
		}
	}
	return hash;
}

/* One record of a chain: minus its index if it is an ancestor of the cgroup with this hash,
 * else the index of the next, 0 at the end. */
PS_GLOBAL int ps_scope_step(__u64 where, __u32 hash, __u64 cgrp, __u32 cursor)
{
	__u32 inst = (__u32)where, half = where >> 32 & 1;
	struct ps_scope *s = scope_at(inst, half, cursor);

	if (!s)
		return 0;
	if (s->hash == hash && ps_owns(inst, s->owner * 2 + half, 0, cgrp))
		return -(int)cursor;
	return (int)s->next;
}

/* The scope that is the ancestor of the cgroup whose path has this hash, or 0. */
PS_GLOBAL int ps_scope_find(__u64 where, __u32 hash, __u64 cgrp)
{
	__u32 inst = (__u32)where, half = where >> 32 & 1;
	struct ps_scope *s = scope_at(inst, half, 0);
	int cursor;

	if (!s || !s->owner)
		return 0;
	s = scope_at(inst, half, hash & (s->owner - 1));
	cursor = s ? (int)s->next : 0;
	for (int i = 0; cursor > 0 && i < PS_CHAIN; i++)
		cursor = ps_scope_step(where, hash, cgrp, cursor);
	return cursor < 0 ? -cursor : 0;
}

/* The deepest scope that the cgroup is in, or 0. */
PS_GLOBAL int ps_scope_resolve(__u64 where, __u64 cgrp)
{
	int level = BPF_CORE_READ((struct cgroup *)cgrp, level);
	__u32 hash = PS_SCOPE_SEED, best = ps_scope_find(where, hash, cgrp), found;

	for (int depth = 1; depth <= PS_CGROUP_DEPTH && depth <= level; depth++) {
		hash = ps_scope_hash(cgrp, depth, hash);
		found = ps_scope_find(where, hash, cgrp);
		if (found)
			best = found;
	}
	return best;
}

/* The calling process's cgroup, by id: sock_ops has no helper for it. */
static __always_inline __u64 current_cgroup(void)
{
	return bpf_get_current_task_btf()->cgroups->dfl_cgrp->kn->id;
}

/* Look it up, and remember it under the id of the very cgroup that was looked at: the
 * process may just be moving to another. */
PS_GLOBAL int ps_scope_learn(__u64 where, __u32 generation)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct cgroup *cgrp = BPF_CORE_READ(task, cgroups, dfl_cgrp);
	struct ps_scope_found found;
	__u32 inst = (__u32)where;
	void *known = bpf_map_lookup_elem(&ps_scopes_found, &inst);
	__u64 id = BPF_CORE_READ(cgrp, kn, id);

	found.answer = (__u64)generation << 32 | (__u32)ps_scope_resolve(where, (__u64)cgrp);
	found.check = PS_SCOPE_CHECK(id, found.answer);
	if (known)
		bpf_map_update_elem(known, &id, &found, BPF_ANY);
	return (int)found.answer;
}

/* The scope of the calling process under the ruleset `word`, 0 for none. What is learned
 * while the ruleset is being replaced is right for none, but the caller sees that and
 * asks again, and the next ruleset has another generation. */
static __always_inline __u32 scope_of(__u32 inst, __u64 word)
{
	void *known = bpf_map_lookup_elem(&ps_scopes_found, &inst);
	struct ps_scope_found *found;
	__u64 id = current_cgroup(), answer;

	found = known ? bpf_map_lookup_elem(known, &id) : NULL;
	if (found) {
		answer = READ_ONCE(found->answer);
		if (answer >> 32 == PS_WORD_GEN(word) &&
		    READ_ONCE(found->check) == PS_SCOPE_CHECK(id, answer))
			return (__u32)answer;
	}
	return ps_scope_learn((__u64)PS_WORD_HALF(word) << 32 | inst, PS_WORD_GEN(word));
}

#endif
