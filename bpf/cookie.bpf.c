// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cookie of a network namespace, where getsockopt() does not tell it (before Linux
 * 5.14). user/cookie.c attaches this for the moment in which it lets a socket of the
 * namespace bind.
 */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#include "abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ps_asked);
} ps4_asked SEC(".maps");

/* Everybody's bind() comes here: only that of the socket which asks is answered, and then
 * refused, so that it gets no port. */
SEC("cgroup/bind4")
int ps4_cookie(struct bpf_sock_addr *ctx)
{
	__u32 zero = 0;
	struct ps_asked *asked = bpf_map_lookup_elem(&ps4_asked, &zero);

	if (!asked || bpf_get_socket_cookie(ctx) != asked->socket)
		return 1;
	asked->netns = bpf_get_netns_cookie(ctx);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
