/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Programs that take the place of others of the same layout, in place: the maps stay, links are
 * updated, pins are replaced. All are loaded before the first is exchanged. Both builds'
 * programs work with the maps, so that a kill between two of them does no harm.
 */
#ifndef PORTSTEER_SWAP_H
#define PORTSTEER_SWAP_H

#include <stddef.h>

#include "util/bpf_types.h"

struct ps_swap {
	struct ps_swap_item *items; /* owned */
	size_t count;
};
void ps_swap_clear(struct ps_swap *swap);

/* Note a program, whose descriptor stays the caller's; `pin` is to be its pin, and it gets the
 * links of this type and attach type in `links`: absolute paths, "" for none. */
int ps_swap_add(struct ps_swap *swap, int program, const char *pin, const char *links,
		__u32 link_type, __u32 attach_type);

/* Exchange all of them. 0 or -errno; may be repeated. */
int ps_swap_apply(const struct ps_swap *swap);

#endif
