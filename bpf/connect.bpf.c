// SPDX-License-Identifier: GPL-2.0-only
/*
 * Connect mode's programs: attached to the root of the cgroup2 hierarchy, once for the
 * host, while any instance has a connect rule.
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

#include "owner.h"
#include "address.h"
#include "sock_addr.h"
#include "scope.h"
#include "way.h"
#include "trail.h"
#include "recent.h"
#include "reach.h"
#include "connect.h"

SEC("cgroup/connect4")
int ps4_connect4(struct bpf_sock_addr *ctx)
{
	return PS_GO(ctx, false);
}

SEC("cgroup/connect6")
int ps4_connect6(struct bpf_sock_addr *ctx)
{
	return PS_GO(ctx, true);
}

SEC("cgroup/getpeername4")
int ps4_getpeername4(struct bpf_sock_addr *ctx)
{
	return PS_NAME_PEER(ctx, false);
}

SEC("cgroup/getpeername6")
int ps4_getpeername6(struct bpf_sock_addr *ctx)
{
	return PS_NAME_PEER(ctx, true);
}

SEC("cgroup/sock_release")
int ps4_release(struct bpf_sock *ctx)
{
	release_turn(ctx);
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
