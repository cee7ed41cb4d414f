/* SPDX-License-Identifier: GPL-2.0-only */
/* What the programs share that see a socket's address (cgroup/bind4 and its like). */
#ifndef PORTSTEER_SOCK_ADDR_H
#define PORTSTEER_SOCK_ADDR_H

#include "common.h"
#include "maps.h"
#include "owner_maps.h"

/* TCP, or UDP and its light sister; 0 for anything else. */
static __always_inline __u8 protocol_of(const struct bpf_sock_addr *ctx)
{
	if (ctx->protocol == IPPROTO_TCP)
		return IPPROTO_TCP;
	return ctx->protocol == IPPROTO_UDP || ctx->protocol == IPPROTO_UDPLITE ? IPPROTO_UDP : 0;
}

/* The instance of a network namespace, if it is loaded. Its cookie is stored before its first
 * word, and stays for as long as there is a word: an index that has become another's is seen. */
static __always_inline bool find_instance(__u64 cookie, __u32 *inst)
{
	__u32 *index = bpf_map_lookup_elem(&ps_netns, &cookie);
	struct ps_instance *me;

	if (!index)
		return false;
	*inst = *index;
	me = bpf_map_lookup_elem(&ps_instances, inst);
	return me && READ_ONCE(me->active) && READ_ONCE(me->cookie) == cookie;
}

/* The MPTCP socket of which this is a subflow: it is bound, and connected, by its first
 * one, and asked for its names itself. NULL for any other. */
static __always_inline struct mptcp_sock *whole_of(struct bpf_sock *sk)
{
	return bpf_core_type_exists(struct mptcp_sock) ? bpf_skc_to_mptcp_sock(sk) : NULL;
}

#endif
