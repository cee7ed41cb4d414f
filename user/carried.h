/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What rules and targets had counted when an upgrade took their counters over: the
 * programs count on from 0 in new maps, and what is shown is the sum. It is the pin
 * "carried" of an instance that was upgraded. Builds of all ABIs know its form:
 *
 * An array of four 64-bit numbers each. Entry 0: how many rules and how many targets
 * follow. Then the rules by id, then the targets by ps_target_linear. Of a steer or
 * connect rule: steered, missed, family, and when last, in jiffies. Of a bind rule: tried,
 * denied, done, and when last. Of a target: admitted, denied, error, 0.
 */
#ifndef PORTSTEER_CARRIED_H
#define PORTSTEER_CARRIED_H

#include <stdint.h>

#include "bpf_types.h"

struct ps_counts {
	__u64 of[4];
};

struct ps_carried {
	int fd; /* -1: there is none, everything was counted by these programs */
	uint32_t rules, targets;
};
#define PS_CARRIED_NONE                                                                            \
	{                                                                                          \
		.fd = -1                                                                           \
	}

/* Make the pin `path`, all 0. */
int ps_carried_make(const char *path, uint32_t rules, uint32_t targets);
/* Open it: 0 also if there is none. -EBADMSG for something else. */
int ps_carried_open(const char *path, struct ps_carried *carried);

/* By rule id and by target id. What is not in it reads as 0, and is not written. */
int ps_carried_rule(const struct ps_carried *carried, uint32_t rule, struct ps_counts *counts);
int ps_carried_target(const struct ps_carried *carried, uint32_t target, struct ps_counts *counts);
int ps_carried_set_rule(const struct ps_carried *carried, uint32_t rule,
			const struct ps_counts *counts);
int ps_carried_set_target(const struct ps_carried *carried, uint32_t target,
			  const struct ps_counts *counts);

/* Add up; the fourth is a time (or not used), of which the later counts. */
void ps_counts_add(struct ps_counts *to, const struct ps_counts *counts);

#endif
