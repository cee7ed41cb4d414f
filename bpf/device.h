/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Does a connection come by the device that a listener is bound to? As the kernel's own lookup
 * has it (inet_bound_dev_eq in include/net/inet_sock.h), which knows two devices of a packet
 * in a VRF where sk_lookup is told one: the VRF for most, but the member for a packet from this
 * host to the member's own IPv4 address.
 */
#ifndef PORTSTEER_DEVICE_H
#define PORTSTEER_DEVICE_H

#include "common.h"

/* Devices of one hash chain that are looked at. */
#define PS_DEVICES 64
#define PS_DEVICE_CHAINS 256 /* NETDEV_HASHENTRIES */

static __always_inline bool is_l3(struct net_device *device, __u64 flag)
{
	return BPF_CORE_READ_BITFIELD_PROBED(device, priv_flags) & flag;
}

/* The device that this one is a part of. */
static __always_inline struct net_device *master_of(struct net_device *device)
{
	struct list_head *first = BPF_CORE_READ(device, adj_list.upper.next);
	struct netdev_adjacent *upper =
		(void *)first - bpf_core_field_offset(struct netdev_adjacent, list);

	if (first == &device->adj_list.upper || !BPF_CORE_READ(upper, master))
		return NULL;
	return BPF_CORE_READ(upper, dev);
}

static __always_inline struct net_device *device_at(struct net *net, __u32 index)
{
	struct hlist_head *chains = BPF_CORE_READ(net, dev_index_head);
	struct hlist_node *node = NULL;
	struct net_device *device;

	bpf_core_read(&node, sizeof(node), &chains[index & (PS_DEVICE_CHAINS - 1)].first);
	for (int i = 0; node && i < PS_DEVICES; i++) {
		device = (void *)node - bpf_core_field_offset(struct net_device, index_hlist);
		if (BPF_CORE_READ(device, ifindex) == (int)index)
			return device;
		node = BPF_CORE_READ(node, next);
	}
	return NULL;
}

/* The VRF that a device of the namespace is, or is a member of; 0 if there is none. */
PS_GLOBAL int ps_vrf_of(__u64 net, __u32 index)
{
	struct net_device *device = index ? device_at((struct net *)net, index) : NULL;

	if (!device)
		return 0;
	if (is_l3(device, bpf_core_enum_value(enum netdev_priv_flags, IFF_L3MDEV_MASTER)))
		return (int)index;
	if (!is_l3(device, bpf_core_enum_value(enum netdev_priv_flags, IFF_L3MDEV_SLAVE)))
		return 0;
	device = master_of(device);
	return device ? BPF_CORE_READ(device, ifindex) : 0;
}

/* The same in a namespace that may have VRFs. Wrong only of a listener bound to one member
 * of a VRF, and a client that comes by another. */
PS_GLOBAL int ps_comes_by_vrf(__u64 net, __u32 bound, __u32 by)
{
	__u32 vrf = ps_vrf_of(net, by);

	if (!bpf_core_field_exists(((struct net *)net)->ipv4.sysctl_tcp_l3mdev_accept))
		return !bound;
	if (!bound)
		return !vrf || BPF_CORE_READ((struct net *)net, ipv4.sysctl_tcp_l3mdev_accept) != 0;
	return bound == vrf || (__u32)ps_vrf_of(net, bound) == by;
}

static __always_inline bool comes_by_device(const struct bpf_sk_lookup *ctx, struct bpf_sock *sk)
{
	__u32 bound = sk->bound_dev_if, by = ctx->ingress_ifindex;
	struct tcp_sock *full;
	struct net *net = NULL;

	if (bound == by)
		return true;
	if (!bpf_core_field_exists(net->ipv4.fib_has_custom_rules) ||
	    !bpf_core_field_exists(net->ipv4.sysctl_tcp_l3mdev_accept))
		return !bound; /* a kernel without VRFs */
	/* The first VRF of a namespace brings routing rules; their flag is never cleared. */
	full = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);
	net = full ? ((struct sock *)full)->__sk_common.skc_net.net : NULL;
	if (!net || !net->ipv4.fib_has_custom_rules)
		return !bound;
	/* A number to the verifier, as global functions take. */
	return ps_comes_by_vrf((__u64)BPF_CORE_READ((struct sock *)full, __sk_common.skc_net.net),
			       bound, by);
}

#endif
