/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Admission: a socket that listens on a target port enters the slots of the
 * targets whose owner it belongs to. Called from listen() (sock_ops) and for
 * sockets that were open before the rule (iter/task_file).
 */
#ifndef PORTSTEER_ADMIT_H
#define PORTSTEER_ADMIT_H

#include "common.h"
#include "admitted.h"
#include "listener_maps.h"
#include "maps.h"
#include "owner.h"
#include "places.h"

/* Per instance: admission records, grown by replacement. */
struct ps_admits_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__uint(value_size, sizeof(struct ps_admit));
};
struct PS_ARRAY_OF_MAPS(struct ps_admits_inner, PS_MAX_INSTANCES) ps_admits SEC(".maps");

/* How a program puts a socket into a map. Handed down as a constant, because
 * each kind of program may only contain the calls of its own kind. */
enum ps_way {
	PS_BY_SOCK_OPS, /* handle: struct bpf_sock_ops * */
	PS_BY_ITER, /* handle: struct sock * */
};

/* A listening socket. */
struct ps_subject {
	__u32 uid;
	__u16 port;
	__u64 cgroup; /* address of its struct cgroup */
	bool kernels; /* nobody's: the kernel made it for itself */
};

/* Claim a place; the map's own lock makes BPF_NOEXIST a claim. */
static __always_inline int enter_slot(enum ps_way way, void *handle, void *map, __u32 slot)
{
	if (way == PS_BY_SOCK_OPS)
		return bpf_sock_map_update(handle, map, &slot, BPF_NOEXIST);
	return bpf_map_update_elem(map, &slot, handle, BPF_NOEXIST);
}

static __always_inline int enter_hash(enum ps_way way, void *handle, void *map,
				      struct ps_overflow_key *key)
{
	if (way == PS_BY_SOCK_OPS)
		return bpf_sock_hash_update(handle, map, key, BPF_NOEXIST);
	return bpf_map_update_elem(map, key, handle, BPF_NOEXIST);
}

/* A listener on its way into one of a target's places. */
struct ps_entry {
	void *handle;
	void *own, *shared; /* the maps with the places */
	const struct ps_target_state *state;
	__u32 target;
	__u32 place; /* where it has entered, or was refused */
	int ret;
};

static __always_inline int enter_place(enum ps_way way, struct ps_entry *e, __u32 n)
{
	struct ps_overflow_key key = { .target = e->target, .n = n - PS_SLOTS };

	if (n < PS_SLOTS)
		return enter_slot(way, e->handle, e->own,
				  PS_TARGET_INDEX_OF(e->target) * PS_SLOTS + n);
	return enter_hash(way, e->handle, e->shared, &key);
}

/* One step of enter(): 1 to end it. */
static __always_inline long enter_step(enum ps_way way, struct ps_entry *e, __u32 step)
{
	__u32 n = step & (PS_PLACES - 1);

	if (step < PS_PLACES && used_of_any(e->state, n / 64) >> (n & 63) & 1)
		return 0;
	e->place = n;
	e->ret = enter_place(way, e, n);
	return e->ret != -EEXIST;
}
static long enter_by_sock_ops(__u32 step, struct ps_entry *e)
{
	return enter_step(PS_BY_SOCK_OPS, e, step);
}
static long enter_by_iter(__u32 step, struct ps_entry *e)
{
	return enter_step(PS_BY_ITER, e, step);
}

/* Enter the first free place: 0 with e->place. First those that are free as far as is known,
 * then, unless that is enough, all. -EEXIST when all are taken, -E2BIG when those that all
 * targets share are. */
static __always_inline int enter(enum ps_way way, struct ps_entry *e)
{
	e->ret = -EEXIST;
	if (way == PS_BY_SOCK_OPS)
		bpf_loop(2 * PS_PLACES, enter_by_sock_ops, e, 0);
	else
		bpf_loop(2 * PS_PLACES, enter_by_iter, e, 0);
	return e->ret;
}

/* A refusal that may be none a moment later; see PS_SCAN_BUSY. */
static __always_inline bool is_passing(int ret)
{
	return ret == -EBUSY || ret == -ENOMEM;
}

/* Say that the listener is in a place, after it has entered it. */
static __always_inline void note_place(struct ps_target_state *s, const struct sock *sk,
				       __u32 place)
{
	bool v6 = sk->__sk_common.skc_family == AF_INET6;

	set_used(s, place, !v6 || !BPF_CORE_READ_BITFIELD(&sk->__sk_common, skc_ipv6only), v6);
}

/* A refusal that is passing is not counted of those who can try again. */
static __always_inline int admit_to(enum ps_way way, void *handle, const struct sock *sk,
				    __u32 inst, __u32 target, bool can_try_again)
{
	struct ps_chunk_key key = { .instance = inst, .chunk = PS_TARGET_CHUNK_OF(target) };
	struct ps_target_state *s = target_at(inst, target);
	struct ps_entry entry = { .handle = handle, .state = s, .target = target };
	int ret;

	entry.own = bpf_map_lookup_elem(&ps_sockets, &key);
	entry.shared = entry_of(&ps_overflows, inst);
	if (!s || !entry.own || !entry.shared)
		return 0;
	entry.place = place_of(sk, entry.own, entry.shared, target);
	if (entry.place < PS_PLACES) {
		note_place(s, sk, entry.place);
		return 0;
	}
	ret = enter(way, &entry);
	if (!ret) {
		note_place(s, sk, entry.place);
		PS_COUNT(s->admitted);
	} else if (!is_passing(ret) || !can_try_again) {
		PS_COUNT(s->rejected);
	}
	return ret;
}

static __always_inline struct ps_admit *record_at(__u32 inst, __u32 half, __u32 index)
{
	return entry_of(entry_of(&ps_admits, inst), index * 2 + half);
}

/* Which records to walk, packed into one argument of a global function. */
#define PS_WALK(inst, port, half, fresh)                                                           \
	((__u64)(inst) | (__u64)(port) << 32 | (__u64)(half) << 48 | (__u64)(fresh) << 49)

/*
 * A socket that the kernel made for itself, as its NFS server does, has no file: who made it
 * takes other things for granted of it than that it is in a map (nfsd puts its own data where
 * the map has some). Multipath TCP's, which a process's listen() is passed on to, has the
 * process's file.
 */
static __always_inline bool is_kernels(const struct sock *sk)
{
	return !BPF_CORE_READ(sk, sk_socket, file);
}

/* The head of the chain of `port`, or NULL if there are no records. */
static __always_inline struct ps_admit *head_of(__u32 inst, __u32 half, __u32 port)
{
	struct ps_admit *first = record_at(inst, half, 0);

	return first && first->owner ? record_at(inst, half, port & (first->owner - 1)) : NULL;
}

/* The record after `cursor` in the chain of the walk's port (0: the first one),
 * or 0 at its end. */
PS_GLOBAL int ps_after(__u64 where, __u32 cursor)
{
	__u32 inst = (__u32)where, half = where >> 48 & 1;
	struct ps_admit *r = cursor ? record_at(inst, half, cursor) :
				      head_of(inst, half, where >> 32 & 0xffff);

	return r ? r->next : 0;
}

/* Is the record one of the walk's port, and the socket's owner its owner? Whose
 * it is does not matter if `uid` is PS_ANYBODY. 1 or 0. */
#define PS_ANYBODY (~0ULL)
PS_GLOBAL int ps_matches(__u64 where, __u64 uid, __u64 cgrp, __u32 index)
{
	__u32 inst = (__u32)where, half = where >> 48 & 1, fresh = where >> 49 & 1;
	struct ps_admit *r = record_at(inst, half, index);

	if (!r || r->port != (__u16)(where >> 32) || (fresh && !(r->flags & PS_ADMIT_FRESH)))
		return 0;
	return uid == PS_ANYBODY || ps_owns(inst, r->owner * 2 + half, (__u32)uid, cgrp);
}

/* The next matching record after `cursor`, or 0. */
PS_GLOBAL int ps_next(__u64 where, __u64 uid, __u64 cgrp, __u32 cursor)
{
	for (int i = 0; i < PS_CHAIN; i++) {
		cursor = ps_after(where, cursor);
		if (!cursor)
			return 0;
		if (ps_matches(where, uid, cgrp, cursor))
			return cursor;
	}
	return 0;
}

static __always_inline __u32 target_of(__u32 inst, __u32 half, __u32 record)
{
	struct ps_admit *r = record_at(inst, half, record);

	return r ? r->target : 0;
}

/* Is `port` that of a target which the ruleset `word` is the first to have? */
static __always_inline bool is_target(__u32 inst, __u64 word, __u32 port)
{
	return ps_next(PS_WALK(inst, port, PS_WORD_HALF(word), 1), PS_ANYBODY, 0, 0);
}

/* The `n`th matching record, counted from 0, or 0 if there are fewer. */
PS_GLOBAL int ps_nth(__u64 where, __u64 uid, __u64 cgrp, __u32 n)
{
	__u32 record = 0;

	for (__u32 i = 0; i < PS_MAX_OWNERS_PER_PORT; i++) {
		record = ps_next(where, uid, cgrp, record);
		if (!record || i == n)
			return record;
	}
	return 0;
}

/* A listener that is no owner's: count it at each target of its port, where
 * someone may look for it. */
PS_GLOBAL int ps_deny(__u64 where)
{
	__u32 inst = (__u32)where, half = where >> 48 & 1, record = 0;
	struct ps_target_state *s;

	for (int i = 0; i < PS_MAX_OWNERS_PER_PORT; i++) {
		record = ps_next(where, PS_ANYBODY, 0, record);
		if (!record)
			break;
		s = target_at(inst, target_of(inst, half, record));
		if (s)
			PS_COUNT(s->not_owner);
	}
	return 0;
}

/*
 * The `n`th target that the socket is to be admitted to under the ruleset `word`:
 * 1 with *target, 0 if there is none, -EAGAIN if the ruleset was replaced, so that
 * what was read of it may be half of another's. Only targets that the ruleset
 * before did not have, if `fresh`. A socket that has no target is counted.
 */
static __always_inline int find_target(const struct ps_subject *s, __u32 inst,
				       const struct ps_instance *me, __u64 word, bool fresh,
				       __u32 n, __u32 *target)
{
	__u32 half = PS_WORD_HALF(word), record;
	__u64 where = PS_WALK(inst, s->port, half, fresh);

	if (!word)
		return 0;
	record = s->kernels ? 0 : ps_nth(where, s->uid, s->cgroup, n);
	*target = target_of(inst, half, record);
	if (!still_valid(me, word))
		return -EAGAIN;
	if (!record && !n)
		ps_deny(where);
	return !!record;
}

#endif
