/* SPDX-License-Identifier: GPL-2.0-only */
/* Sockets that listened before their rule was there. */
#ifndef PORTSTEER_SCAN_H
#define PORTSTEER_SCAN_H

#include <stdbool.h>

#include "compile/state.h"
#include "kernel/host.h"

/* Is there a new target, which needs it? */
bool ps_scan_is_wanted(const struct ps_state *state);

/*
 * Let the kernel admit the sockets that listen already to the new targets of the
 * ruleset that instance `index` has pending. Needs the lock. Looks at the processes
 * that this one can see: in a PID namespace, at those in it. Waits for sockets that are busy, a
 * second at the most. 0 or a negative errno, with `error` filled.
 */
int ps_scan(const struct ps_host *host, uint32_t index, const struct ps_state *state,
	    struct ps_error *error);

#endif
