/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The counters of a rule: the one list of them, of which the struct, the columns, the keys of the
 * JSON and what scripts/check-docs looks for are made. Whoever adds one adds a line here, and says
 * in view.c where it is read.
 */
#ifndef PORTSTEER_COUNTERS_H
#define PORTSTEER_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rule/rule.h"

#define PS_IN_STEER (1u << PS_MODE_STEER)
#define PS_IN_BIND (1u << PS_MODE_BIND)
#define PS_IN_CONNECT (1u << PS_MODE_CONNECT)

/* X(name, modes that count it), in the order in which they are shown. See bpf/abi.h, and the
 * section OUTPUT of portsteer(8), for the meanings. */
#define PS_COUNTERS(X)                                                                             \
	/* connections */                                                                          \
	X(steered, PS_IN_STEER | PS_IN_CONNECT)                                                    \
	X(no_listener, PS_IN_STEER | PS_IN_CONNECT)                                                \
	X(wrong_family, PS_IN_STEER | PS_IN_CONNECT)                                               \
	X(wrong_device, PS_IN_STEER)                                                               \
	X(taken, PS_IN_STEER | PS_IN_CONNECT)                                                      \
	/* the sum of no_listener, wrong_family and wrong_device, if the rule refuses, else 0 */   \
	X(refused, PS_IN_STEER | PS_IN_CONNECT)                                                    \
	/* listeners; in bind mode not_owner counts binds */                                       \
	X(admitted, PS_IN_STEER | PS_IN_CONNECT)                                                   \
	X(not_owner, PS_IN_STEER | PS_IN_CONNECT | PS_IN_BIND)                                     \
	X(rejected, PS_IN_STEER | PS_IN_CONNECT)                                                   \
	/* binds */                                                                                \
	X(granted, PS_IN_BIND)                                                                     \
	X(translated, PS_IN_BIND)                                                                  \
	X(failed, PS_IN_BIND)

/* What one rule has counted, summed over CPUs. Those of other modes are 0. */
struct ps_rule_stats {
#define PS_COUNTER_FIELD(name, modes) uint64_t name;
	PS_COUNTERS(PS_COUNTER_FIELD)
#undef PS_COUNTER_FIELD
	double last_hit; /* seconds since, negative if never */
};

struct ps_counter {
	const char *name; /* "no_listener" */
	size_t offset; /* in struct ps_rule_stats */
	unsigned int modes; /* PS_IN_... */
};
#define PS_COUNTER_ONE(name, modes) +1
enum { PS_COUNTER_COUNT = PS_COUNTERS(PS_COUNTER_ONE) };
extern const struct ps_counter ps_counters[PS_COUNTER_COUNT];

uint64_t ps_counter_value(const struct ps_counter *counter, const struct ps_rule_stats *stats);
/* Can a rule of this mode count it? */
bool ps_counter_is_of(const struct ps_counter *counter, enum ps_mode mode);

#endif
