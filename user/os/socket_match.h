/* SPDX-License-Identifier: GPL-2.0-only */
/* Filters that look up the sockets of packets: of those, too, that are only passed on. */
#ifndef PORTSTEER_SOCKET_MATCH_H
#define PORTSTEER_SOCKET_MATCH_H

#include <stdbool.h>

#include "os/netns.h"

/* Does the namespace pass packets on, and is a filter in force in it that asks which socket a
 * packet is for (nft's "socket", "-m socket" of iptables)? False also where that cannot be told. */
bool ps_netns_matches_sockets(const struct ps_netns *netns);

#endif
