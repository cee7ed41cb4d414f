// SPDX-License-Identifier: GPL-2.0-only
/*
 * What connect mode needs for UDP sockets that are not connected: attached beside
 * bpf/connect.bpf.c while any instance has a connect rule for UDP, as these hooks are
 * called for each datagram.
 */
#include <stdbool.h>
#include <stddef.h>

#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "maps.h"
#include "owner_maps.h"
#include "listener_maps.h"
#include "connect_maps.h"
#include "flow.h"

/* One bit for each port: a superset of those that the rules of connect mode name which need
 * these programs. User space writes it through mmap (the map "*.data"). */
__u32 filter[65536 / 32] SEC(".data");

#include "owner.h"
#include "address.h"
#include "sock_addr.h"
#include "scope.h"
#include "answer.h"
#include "rules.h"
#include "trail.h"
#include "reach.h"
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
