/* SPDX-License-Identifier: GPL-2.0-only */
/* The cookie of a network namespace on kernels without SO_NETNS_COOKIE. */
#ifndef PORTSTEER_COOKIE_H
#define PORTSTEER_COOKIE_H

#include "instance.h"

/* Let a BPF program on the root cgroup tell it: attached for the moment of one call, and
 * by a link that ends with this process. */
int ps_cookie_ask(const struct ps_netns *netns, uint64_t *cookie, struct ps_error *error);

#endif
