// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bind mode's programs: attached to the root of the cgroup2 hierarchy, once for the
 * host, while any instance has a bind rule.
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

/* One bit for each port: a superset of the ports that bind rules name, in any instance.
 * User space writes it through mmap (the map "ps_bind.data"). */
__u32 filter[65536 / 32] SEC(".data");

/* Per instance: bind records, grown by replacement. */
struct ps_binds_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__uint(value_size, sizeof(struct ps_bind));
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, PS_MAX_INSTANCES);
	__type(key, __u32);
	__array(values, struct ps_binds_inner);
} ps_binds SEC(".maps");

/* On each socket that was bound through a rule. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct ps_bound);
} ps_bound SEC(".maps");

#include "owner.h"
#include "address.h"
#include "sock_addr.h"
#include "bind.h"

SEC("cgroup/bind4")
int ps_bind4(struct bpf_sock_addr *ctx)
{
	return bind4(ctx);
}

SEC("cgroup/bind6")
int ps_bind6(struct bpf_sock_addr *ctx)
{
	return bind6(ctx);
}

SEC("cgroup/post_bind4")
int ps_post_bind4(struct bpf_sock *ctx)
{
	return bind_done4(ctx);
}

SEC("cgroup/post_bind6")
int ps_post_bind6(struct bpf_sock *ctx)
{
	return bind_done6(ctx);
}

SEC("cgroup/getsockname4")
int ps_getsockname4(struct bpf_sock_addr *ctx)
{
	return getsockname4(ctx);
}

SEC("cgroup/getsockname6")
int ps_getsockname6(struct bpf_sock_addr *ctx)
{
	return getsockname6(ctx);
}

/* The cookie of the subflow that listens for an MPTCP socket, as sock_diag has given it. */
static __always_inline __u64 first_cookie(struct sock *sk)
{
	struct sock *first;

	if (!bpf_core_type_exists(struct mptcp_sock))
		return 0;
	first = BPF_CORE_READ((struct mptcp_sock *)sk, first);
	return first ? BPF_CORE_READ(first, __sk_common.skc_cookie.counter) : 0;
}

/* Who is bound through a rule, for those who ask: the map cannot be read by socket from
 * outside of its process, and some hardened kernels refuse an iterator over the map. A
 * socket with several descriptors is named for each. */
SEC("iter/task_file")
int ps_marks(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct ps_mark mark = {};
	struct ps_bound *on;
	struct socket *sock;
	struct sock *sk;

	if (!file)
		return 0;
	sock = bpf_sock_from_file(file);
	sk = sock ? sock->sk : NULL;
	on = sk ? bpf_sk_storage_get(&ps_bound, sk, NULL, 0) : NULL;
	if (!on)
		return 0;
	mark.cookie = sk->sk_protocol == PROTOCOL_MPTCP ? first_cookie(sk) :
							  bpf_get_socket_cookie(sk);
	mark.on = *on;
	bpf_seq_write(ctx->meta->seq, &mark, sizeof(mark));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
