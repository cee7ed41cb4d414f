/* SPDX-License-Identifier: GPL-2.0-only */
/* Who made a socket: the facts for misfit.h, read from the system. */
#ifndef PORTSTEER_MISFIT_FACTS_H
#define PORTSTEER_MISFIT_FACTS_H

#include "engine/misfit.h"
#include "engine/report.h"
#include "os/listeners.h"

/* The facts about a socket, as far as they can be told; its processes must have been looked for.
 * The texts are remembered for the whole process, and are good until the next call. */
struct ps_socket_facts ps_maker_facts(const struct ps_report *report, const struct ps_rule *rule,
				      const struct ps_socket *socket);

/* ps_misfit_tell with these. */
void ps_misfit_find(const struct ps_report *report, const struct ps_rule *rule,
		    const struct ps_socket *socket, struct ps_misfit *who);

#endif
