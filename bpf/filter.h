/* SPDX-License-Identifier: GPL-2.0-only */
/* The first question of each host-wide program, which ends most of its calls. */
#ifndef PORTSTEER_FILTER_H
#define PORTSTEER_FILTER_H

#include "common.h"

/* One bit for each port: a superset of those that rules of any instance name which need the
 * object's programs. User space writes it through mmap (the map "*.data"). */
__u32 filter[65536 / 32] SEC(".data");

/* Does any rule of any instance name the port? */
static __always_inline bool is_named(__u32 port)
{
	return has_port(filter, port);
}

#endif
