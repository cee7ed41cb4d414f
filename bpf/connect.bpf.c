// SPDX-License-Identifier: GPL-2.0-only
/*
 * Connect mode's programs that send clients elsewhere: attached to the root of the cgroup2
 * hierarchy, once for the host, while any instance has a rule that needs them.
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
