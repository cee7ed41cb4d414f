/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Has a rule a live listener for a client's address family? Asked only by rules with an address
 * and --if-down pass: once the client is sent to the loopback address, it cannot go where it
 * wanted any more. Who gets the connection is decided when it arrives (steer.h).
 */
#ifndef PORTSTEER_REACH_H
#define PORTSTEER_REACH_H

#include "common.h"
#include "address.h"
#include "listener_maps.h"
#include "maps.h"
#include "places.h"

static __always_inline bool is_v6only(struct bpf_sock *sk)
{
	struct bpf_sock *on_stack = sk;
	__u64 address = 0;

	/* The verifier allows no access to its kernel fields; read behind its back. */
	bpf_probe_read_kernel(&address, sizeof(address), &on_stack);
	return BPF_CORE_READ_BITFIELD_PROBED((struct sock *)address, __sk_common.skc_ipv6only);
}

/* Does the listener serve the family? As the kernel does: an IPv6 socket serves IPv4 too,
 * unless it is told not to. One that has stopped to listen is nobody. Releases it. */
static __always_inline int serves(struct bpf_sock *sk, __u8 family)
{
	bool good = family == 4 ? sk->family == AF_INET || !is_v6only(sk) :
				  sk->family == AF_INET6 && !is_mapped(sk);
	bool listens = sk->state == BPF_TCP_LISTEN;

	bpf_sk_release(sk);
	if (!listens)
		return PS_NONE;
	return good ? PS_FOUND : PS_OTHER_FAMILY;
}

/* The listener at place `n` of a target, the first PS_SLOTS being its slots. An enum
 * ps_found. */
PS_GLOBAL int ps_reach_place(__u32 inst, __u32 target, __u32 n, __u32 family)
{
	struct ps_chunk_key key = { .instance = inst, .chunk = PS_TARGET_CHUNK_OF(target) };
	struct ps_overflow_key more = { .target = target, .n = n - PS_SLOTS };
	struct bpf_sock *sk;
	void *map;

	if (n < PS_SLOTS) {
		sk = entry_of(bpf_map_lookup_elem(&ps_sockets, &key),
			      PS_TARGET_INDEX_OF(target) * PS_SLOTS + n);
	} else {
		map = entry_of(&ps_overflows, inst);
		sk = map ? bpf_map_lookup_elem(map, &more) : NULL;
	}
	return sk ? serves(sk, (__u8)family) : PS_NONE;
}

/* Any live listener, in all places of a target that may have one. An OR of enum ps_found. */
PS_GLOBAL int ps_reach_all(__u32 inst, __u32 target, __u32 family)
{
	struct ps_target_state *s = target_at(inst, target);
	int found = PS_NONE;

	for (__u32 n = 0; s && n < PS_PLACES && !(found & PS_FOUND); n++) {
		if (used_of_any(s, n / 64) >> (n & 63) & 1)
			found |= ps_reach_place(inst, target, n, family);
	}
	return found;
}

/* Twice before it is said that nobody is there: order.h, 4. */
static __always_inline int reach_any(__u32 inst, __u32 target, __u32 family)
{
	int found = ps_reach_all(inst, target, family);

	if (found & PS_FOUND)
		return found;
	smp_rmb();
	return found | ps_reach_all(inst, target, family);
}

#endif
