/* SPDX-License-Identifier: GPL-2.0-only */
/* What connect mode is asked and answers: what a client wants, and the way it is sent. */
#ifndef PORTSTEER_WAY_H
#define PORTSTEER_WAY_H

/* Where a client wants to go. Both of these are small, as the verifier allows a program and all
 * that it calls 512 bytes of stack. */
struct ps_want {
	__u64 cgroup; /* the process's, by id */
	__u64 namespace; /* the socket's, by cookie */
	__u32 addr[4]; /* network byte order */
	__u16 instance;
	__u16 half; /* of the tables that are read */
	__u16 port; /* host byte order */
	__u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 family; /* of the address: 4 (v4-mapped ones too) or 6 */
};

/* Where it is to go instead. */
struct ps_way {
	__u64 word; /* of the ruleset that says so */
	__u32 addr[4];
	__u32 rule; /* where its events are */
	__u32 listeners;
	__u16 port;
	__u16 flags; /* enum ps_hop_flags of the rule */
	__u8 found; /* 0: there is no rule */
	__u8 vacant; /* slots in which no listener need be looked for, a bit each */
};

static __always_inline bool is_loopback(const struct ps_want *want)
{
	if (want->family == 4)
		return (want->addr[0] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !want->addr[0] && !want->addr[1] && !want->addr[2] && want->addr[3] == bpf_htonl(1);
}

#endif
