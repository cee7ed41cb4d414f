// SPDX-License-Identifier: GPL-2.0-only
/*
 * Connect mode's programs that send clients elsewhere: attached to the root of the cgroup2
 * hierarchy, once for the host, while any instance has a rule that needs them.
 */
#include "connect.h"

SEC("cgroup/connect4")
int ps_connect4(struct bpf_sock_addr *ctx)
{
	return PS_GO(ctx, false);
}

SEC("cgroup/connect6")
int ps_connect6(struct bpf_sock_addr *ctx)
{
	return PS_GO(ctx, true);
}

SEC("cgroup/getpeername4")
int ps_getpeername4(struct bpf_sock_addr *ctx)
{
	return PS_NAME(ctx, false);
}

SEC("cgroup/getpeername6")
int ps_getpeername6(struct bpf_sock_addr *ctx)
{
	return PS_NAME(ctx, true);
}

char LICENSE[] SEC("license") = "GPL";
