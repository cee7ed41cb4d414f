// SPDX-License-Identifier: GPL-2.0-only
/*
 * What connect mode needs for UDP sockets that are not connected: attached beside
 * bpf/connect.bpf.c while any instance has a connect rule for UDP, as these hooks are
 * called for each datagram.
 */
#include "connect.h"

SEC("cgroup/sendmsg4")
int ps_sendmsg4(struct bpf_sock_addr *ctx)
{
	return is_named(bpf_ntohs(ctx->user_port)) && !is_own_peer(ctx) ? go(ctx, false) : 1;
}

SEC("cgroup/sendmsg6")
int ps_sendmsg6(struct bpf_sock_addr *ctx)
{
	return PS_GO(ctx, true);
}

SEC("cgroup/recvmsg4")
int ps_recvmsg4(struct bpf_sock_addr *ctx)
{
	return PS_NAME(ctx, false);
}

SEC("cgroup/recvmsg6")
int ps_recvmsg6(struct bpf_sock_addr *ctx)
{
	return PS_NAME(ctx, true);
}

char LICENSE[] SEC("license") = "GPL";
