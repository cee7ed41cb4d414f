/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Is a listener in one of a target's places already? One that stops to listen without being
 * closed stays there, and calls listen() once more; one that begins while a ruleset is prepared
 * may be met by listen() and by the scan. A second place would be a second share. What the
 * kernel notes on the socket says where it is (net/core/sock_map.c); nothing is locked, so that
 * what is found is checked in the map itself.
 */
#ifndef PORTSTEER_ADMITTED_H
#define PORTSTEER_ADMITTED_H

#include "common.h"

/* Entries in maps that are looked at: a socket may be in a place of each target of its port,
 * and in those of retired ones. */
#define PS_LINKS 128

/* Flags in the lower bits of sk_user_data (include/net/sock.h). */
#define PS_USER_DATA_PSOCK 4ULL
#define PS_USER_DATA_FLAGS 7ULL

/* What the kernel calls a map. */
static __always_inline __u64 address_of(void *map)
{
	void *on_stack = map;
	__u64 address = 0;

	/* The verifier would not have the pointer compared; read behind its back. */
	bpf_probe_read_kernel(&address, sizeof(address), &on_stack);
	return address;
}

struct ps_links {
	__u64 sk; /* its address */
	__u64 own, shared; /* addresses of the maps with the target's places */
	__u32 target;
	__u32 place; /* PS_PLACES: it is in none */
	struct list_head *next, *end;
};

static __always_inline __u32 own_place(const struct ps_links *l, void *link_raw)
{
	struct bpf_stab *map = (struct bpf_stab *)l->own;
	__u64 slots = (__u64)BPF_CORE_READ(map, sks);
	__u64 n = ((__u64)link_raw - slots) / sizeof(void *) -
		  PS_TARGET_INDEX_OF(l->target) * PS_SLOTS;
	__u64 sk = 0;

	bpf_probe_read_kernel(&sk, sizeof(sk), link_raw);
	return sk == l->sk && n < PS_SLOTS ? (__u32)n : PS_PLACES;
}

static __always_inline __u32 shared_place(const struct ps_links *l, struct bpf_shtab_elem *elem)
{
	struct ps_overflow_key key = {};

	bpf_core_read(&key, sizeof(key), &elem->key);
	return (__u64)BPF_CORE_READ(elem, sk) == l->sk && key.target == l->target &&
			       key.n < PS_OVERFLOW ?
		       PS_SLOTS + key.n :
		       PS_PLACES;
}

/* One entry: 1 to end the search. */
static long look_at_link(__u32 index, struct ps_links *l)
{
	struct sk_psock_link *link =
		(void *)l->next - bpf_core_field_offset(struct sk_psock_link, list);
	__u64 map;

	(void)index;
	if (!l->next || l->next == l->end)
		return 1;
	map = (__u64)BPF_CORE_READ(link, map);
	if (map == l->own)
		l->place = own_place(l, BPF_CORE_READ(link, link_raw));
	else if (map == l->shared)
		l->place = shared_place(l, BPF_CORE_READ(link, link_raw));
	l->next = BPF_CORE_READ(link, list.next);
	return l->place < PS_PLACES;
}

/* The place, or PS_PLACES. */
static __always_inline __u32 place_of(const struct sock *sk, void *own, void *shared, __u32 target)
{
	__u64 data = (__u64)BPF_CORE_READ(sk, sk_user_data);
	struct sk_psock *psock = (struct sk_psock *)(data & ~PS_USER_DATA_FLAGS);
	struct ps_links l = { .target = target, .place = PS_PLACES };

	if (!(data & PS_USER_DATA_PSOCK))
		return PS_PLACES;
	l.sk = address_of((void *)sk);
	l.own = address_of(own);
	l.shared = address_of(shared);
	l.end = (void *)psock + bpf_core_field_offset(struct sk_psock, link);
	l.next = BPF_CORE_READ(psock, link.next);
	bpf_loop(PS_LINKS, look_at_link, &l, 0);
	return l.place;
}

#endif
