/* SPDX-License-Identifier: GPL-2.0-only */
/* Addresses, network byte order; those of IPv4 are in the first of four words. */
#ifndef PORTSTEER_ADDRESS_H
#define PORTSTEER_ADDRESS_H

#include "common.h"

static __always_inline bool is_zero(const __u32 addr[4])
{
	return !(addr[0] | addr[1] | addr[2] | addr[3]);
}

static __always_inline bool same_address(const __u32 a[4], const __u32 b[4])
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

/* An IPv4 address in an IPv6 one is taken out: then true. */
static __always_inline bool unmap(__u32 addr[4])
{
	if (addr[0] || addr[1] || addr[2] != bpf_htonl(0xffff))
		return false;
	addr[0] = addr[3];
	addr[2] = addr[3] = 0;
	return true;
}

/* Is an IPv6 socket bound to an IPv4 address, as ::ffff:192.0.2.1 is? It serves IPv4 only. */
static __always_inline bool is_mapped(const struct bpf_sock *sk)
{
	return !ps_ctx(sk->src_ip6[0]) && !ps_ctx(sk->src_ip6[1]) &&
	       ps_ctx(sk->src_ip6[2]) == bpf_htonl(0xffff);
}

/* Have the first `bits` of two addresses, network byte order, the same values? */
static __always_inline bool same_prefix(const __u32 *a, const __u32 *b, __u32 bits)
{
	for (int i = 0; i < 4 && bits; i++) {
		__u32 some = bits < 32 ? bits : 32;

		if ((a[i] ^ b[i]) & bpf_htonl(~0U << (32 - some)))
			return false;
		bits -= some;
	}
	return true;
}

#endif
