/* SPDX-License-Identifier: GPL-2.0-only */
/* Who made a socket: the facts for who.h, read from the system. */
#ifndef PORTSTEER_MAKER_H
#define PORTSTEER_MAKER_H

#include "engine/report.h"
#include "engine/who.h"
#include "os/listeners.h"

/* The facts about a socket, as far as they can be told; its processes must have been looked for.
 * The texts are remembered for the whole process, and are good until the next call. */
struct ps_socket_facts ps_maker_facts(const struct ps_report *report, const struct ps_rule *rule,
				      const struct ps_socket *socket);

/* ps_who_tell with these. */
void ps_maker_tell(const struct ps_report *report, const struct ps_rule *rule,
		   const struct ps_socket *socket, struct ps_who *who);

#endif
