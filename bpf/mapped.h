/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef PORTSTEER_MAPPED_H
#define PORTSTEER_MAPPED_H

/* Is an IPv6 socket bound to an IPv4 address, as ::ffff:192.0.2.1 is? It serves IPv4 only. */
static __always_inline bool is_mapped(const struct bpf_sock *sk)
{
	return !*(volatile __u32 *)&sk->src_ip6[0] && !*(volatile __u32 *)&sk->src_ip6[1] &&
	       *(volatile __u32 *)&sk->src_ip6[2] == bpf_htonl(0xffff);
}

#endif
