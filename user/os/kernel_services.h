/* SPDX-License-Identifier: GPL-2.0-only */
/* Ports that services of the kernel itself listen on, whose sockets no rule may lead to. */
#ifndef PORTSTEER_KERNEL_SERVICES_H
#define PORTSTEER_KERNEL_SERVICES_H

#include "rule/ruleset.h"

/*
 * The first of `rules` from `from` on whose listeners could be such a service's, with a message
 * that names it; `count` if there is none.
 */
size_t ps_services_find(const struct ps_rule *rules, size_t count, size_t from,
			struct ps_error *error);

/*
 * Refuse rules that `before` has not and whose listeners could be such a service's: with a
 * message that names it. A user other than root owns none of its sockets.
 */
int ps_services_refuse(const struct ps_ruleset *before, const struct ps_ruleset *rules,
		       struct ps_error *error);

#endif
