/* SPDX-License-Identifier: GPL-2.0-only */
/* Sockets that listened before their rule was there. */
#ifndef PORTSTEER_SCAN_H
#define PORTSTEER_SCAN_H

#include "compile/state.h"
#include "kernel/host.h"
#include "os/netns.h"

/*
 * Let the kernel admit the sockets that listen already to the new targets of the
 * ruleset that instance `index` has pending. Needs the lock. Looks at the processes
 * that this one can see: in a PID namespace, at those in it. `netns` is only used to find
 * out that there is nothing to do; NULL: there is. Waits for sockets that are busy, a second
 * at the most. 0 or a negative errno, with `error` filled.
 */
int ps_scan(const struct ps_host *host, const struct ps_netns *netns, uint32_t index,
	    const struct ps_state *state, struct ps_error *error);

#endif
