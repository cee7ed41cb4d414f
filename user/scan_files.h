/* SPDX-License-Identifier: GPL-2.0-only */
/* Sockets that listened before their rule was there, where ps4_scan cannot find them. */
#ifndef PORTSTEER_SCAN_FILES_H
#define PORTSTEER_SCAN_FILES_H

#include "host.h"
#include "instance.h"

/* As ps_scan, which calls it: from user space, with descriptors that the kernel hands out of
 * other processes. Needs the lock. */
int ps_scan_files(const struct ps_host *host, const struct ps_netns *netns, uint32_t index,
		  const struct ps_state *state, struct ps_error *error);

#endif
