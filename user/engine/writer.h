/* SPDX-License-Identifier: GPL-2.0-only */
/* The writer's lock and what is behind it: what every change begins with. */
#ifndef PORTSTEER_WRITER_H
#define PORTSTEER_WRITER_H

#include "kernel/host.h"

struct ps_writer {
	int lock; /* -1: not held */
	struct ps_host host;
};
#define PS_WRITER_NONE                                                                             \
	{                                                                                          \
		.lock = -1, .host = PS_HOST_NONE                                                   \
	}

/* Take the lock, open the shared objects (load them if `load`), and remove what interrupted
 * commands and ended namespaces left. On failure what was reached stays in *w: the lock alone, if
 * the shared objects cannot be opened. */
int ps_writer_begin(struct ps_writer *w, bool load, struct ps_error *error);
/* Let the next one in; what was opened stays open. */
void ps_writer_unlock(struct ps_writer *w);
/* Unlock and close. */
void ps_writer_end(struct ps_writer *w);

#endif
