/* SPDX-License-Identifier: GPL-2.0-only */
/* What connect mode is asked and answers: what a client wants, and what the rules say. */
#ifndef PORTSTEER_ANSWER_H
#define PORTSTEER_ANSWER_H

#include "common.h"

/* Where a client wants to go. Both of these are small, as the verifier allows a program and all
 * that it calls 512 bytes of stack. */
struct ps_want {
	__u64 namespace; /* the socket's, by cookie */
	__u32 addr[4]; /* network byte order */
	__u16 instance;
	__u16 half; /* of the tables that are read */
	__u16 port; /* host byte order */
	__u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 family; /* of the address: 4 (v4-mapped ones too) or 6 */
};

enum ps_answered { PS_NO_RULE, PS_RULE, PS_UNREADABLE };

/* What the rule says, if there is one. */
struct ps_answer {
	__u64 epoch; /* of the target, see struct ps_target_state */
	__u32 addr[4]; /* of a fixed destination */
	__u32 rule; /* where its events are */
	__u32 listeners;
	__u16 port;
	__u16 flags; /* enum ps_hop_flags of the rule */
	__u32 found; /* enum ps_answered */
};

static __always_inline bool is_loopback(const struct ps_want *want)
{
	if (want->family == 4)
		return (want->addr[0] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !want->addr[0] && !want->addr[1] && !want->addr[2] && want->addr[3] == bpf_htonl(1);
}

#endif
