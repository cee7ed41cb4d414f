// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bind mode's programs: attached to the root of the cgroup2 hierarchy, once for the
 * host, while any instance has a bind rule.
 */
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
