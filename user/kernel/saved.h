/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The saved form of a ruleset (state.c) as the kernel keeps it: a pinned array of pages, with
 * the length, 64 bits in host byte order, before the bytes. All return 0 or a negative errno,
 * -EBADMSG for what is no such thing.
 */
#ifndef PORTSTEER_SAVED_H
#define PORTSTEER_SAVED_H

#include <stdint.h>

#include "compile/state.h"

/* Save a state as the pin rules-GENERATION of an instance, and read it. */
int ps_save_state(uint64_t cookie, const struct ps_state *state);
int ps_read_state(uint64_t cookie, uint32_t generation, struct ps_state *state);
/* Read what an opened pin of this kind has, of whatever ABI. */
int ps_decode_state(int fd, struct ps_state *state);

#endif
