/* SPDX-License-Identifier: GPL-2.0-only */
/* Waiting for what a worker of the kernel's is about to do, and tells nobody. */
#ifndef PORTSTEER_PATIENCE_H
#define PORTSTEER_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

struct ps_patience {
	uint64_t until; /* ns of CLOCK_MONOTONIC; 0: has not begun */
};

/* Let the worker run for a millisecond; false, and at once, if that has taken a second in
 * all. */
bool ps_wait_a_little(struct ps_patience *patience);

#endif
