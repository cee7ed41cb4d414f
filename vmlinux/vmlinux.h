/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The few kernel-internal types that the BPF programs read, with no more of
 * their fields than that. Offsets are relocated at load time from the running
 * kernel's BTF (CO-RE), so only names and types matter here. README.md beside
 * this file says how to add one.
 */
#ifndef PORTSTEER_VMLINUX_H
#define PORTSTEER_VMLINUX_H

#include <stdbool.h>

#include <linux/types.h>
#include <linux/bpf.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* linux/kernfs.h; `parent` became `__parent` in 6.15. */
struct kernfs_node {
	struct kernfs_node *parent;
	const char *name;
	__u64 id;
};
struct kernfs_node___v615 {
	struct kernfs_node *__parent;
};

/* linux/cgroup-defs.h; level is 0 for the root. */
struct cgroup {
	int level;
	struct kernfs_node *kn;
};
struct css_set {
	struct cgroup *dfl_cgrp;
};
struct sock_cgroup_data {
	struct cgroup *cgroup;
};

/* linux/uidgid_types.h */
typedef struct {
	unsigned int val;
} kuid_t;

/* linux/capability.h: two __u32 before Linux 6.3, and read as a whole. */
typedef struct {
	__u64 val;
} kernel_cap_t;

/* linux/cred.h, linux/sched.h */
struct user_namespace;
struct cred {
	kernel_cap_t cap_effective;
	struct user_namespace *user_ns;
};
struct task_struct {
	struct css_set *cgroups;
	const struct cred *cred;
};

/* linux/types.h */
typedef struct {
	__s64 counter;
} atomic64_t;

/* linux/types.h */
struct hlist_node {
	struct hlist_node *next;
};
struct hlist_head {
	struct hlist_node *first;
};
struct list_head {
	struct list_head *next;
};

/* linux/netdevice.h; net/core/dev.h or dev.c */
struct net_device {
	int ifindex;
	unsigned long priv_flags;
	struct {
		struct list_head upper;
	} adj_list;
	struct hlist_node index_hlist;
};
struct netdev_adjacent {
	struct net_device *dev;
	bool master;
	struct list_head list;
};

/* net/netns/ipv4.h, net/net_namespace.h */
struct netns_ipv4 {
	int sysctl_ip_prot_sock; /* net.ipv4.ip_unprivileged_port_start */
	__u8 sysctl_tcp_l3mdev_accept;
	bool fib_has_custom_rules;
};
struct net {
	__u64 net_cookie;
	struct user_namespace *user_ns;
	struct hlist_head *dev_index_head;
	struct netns_ipv4 ipv4;
};
typedef struct {
	struct net *net;
} possible_net_t;

/* net/sock.h, linux/net.h */
struct sock_common {
	__u16 skc_num; /* local port, host byte order */
	unsigned short skc_family;
	volatile unsigned char skc_state;
	unsigned char skc_ipv6only : 1;
	possible_net_t skc_net;
	atomic64_t skc_cookie;
};
struct file;
struct socket;
struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	unsigned char sk_userlocks; /* a bit field of four before Linux 6.18 */
	struct socket *sk_socket;
	void *sk_user_data;
	struct sock_cgroup_data sk_cgrp_data;
	kuid_t sk_uid;
};
struct socket {
	struct sock *sk;
	struct file *file;
};

/* linux/skmsg.h, net/core/sock_map.c: what a socket in maps of sockets has. */
struct bpf_map;
struct sk_psock {
	struct list_head link;
};
struct sk_psock_link {
	struct list_head list;
	struct bpf_map *map;
	void *link_raw;
};
struct bpf_stab {
	struct sock **sks;
};
struct bpf_shtab_elem {
	struct sock *sk;
	__u8 key[];
};
struct tcp_sock {
	unsigned char is_mptcp;
};
struct mptcp_sock {
	struct sock *first; /* its first subflow */
};
struct mptcp_subflow_context {
	struct sock *conn; /* the socket of which it is a part */
};

/* net/inet_connection_sock.h, net/inet_hashtables.h */
struct inet_bind_bucket {
	signed char fastreuse;
};
struct inet_connection_sock {
	struct inet_bind_bucket *icsk_bind_hash;
	void *icsk_ulp_data;
};

/* linux/filter.h; what a program sees as struct bpf_sock_addr, and bpf_sock_ops. */
struct bpf_sock_addr_kern {
	struct sock *sk;
};
struct bpf_sock_ops_kern {
	struct sock *sk;
};

/* kernel/bpf/task_iter.c; `file` is NULL after the last one. */
struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 seq_num;
};
struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

/* linux/netdevice.h; the kernel's own values are put in their place. */
enum netdev_priv_flags {
	IFF_L3MDEV_MASTER = 1,
	IFF_L3MDEV_SLAVE = 2,
};

#pragma clang attribute pop

/* linux/in.h */
enum { IPPROTO_TCP = 6, IPPROTO_UDP = 17, IPPROTO_UDPLITE = 136, PROTOCOL_MPTCP = 262 };

/* linux/net.h */
enum { SOCK_STREAM_TYPE = 1 };

/* net/sock.h: who chose the port, of sk_userlocks. The second is not set before Linux 6.18. */
enum { SOCK_BINDPORT_LOCK = 8, SOCK_CONNECT_BIND = 16 };

/* linux/capability.h */
enum { CAP_NET_BIND_SERVICE = 10 };

/* net/tcp_states.h */
enum { TCP_LISTEN_STATE = 10 };

#endif
