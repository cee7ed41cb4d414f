/* SPDX-License-Identifier: GPL-2.0-only */
/* Which sockets were bound through rules: the marks that bind mode's programs leave on them. */
#ifndef PORTSTEER_BOUND_H
#define PORTSTEER_BOUND_H

#include "os/listeners.h"

/* Set is_bound and mark of the sockets that were bound through a rule for the port that they have.
 * Where the marks cannot be read none is taken to be. */
void ps_sockets_find_bound(struct ps_sockets *sockets);

#endif
