/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the commands show: rules, with the sockets that listen on their target
 * ports, and which of those the kernel has admitted.
 */
#ifndef PORTSTEER_REPORT_H
#define PORTSTEER_REPORT_H

#include "listeners.h"
#include "text.h"

struct ps_report {
	const struct ps_netns *netns;
	struct ps_view view;
	struct ps_sockets sockets; /* on any target port of the rules asked for */
	bool blind; /* this kernel cannot list sockets: there may be any */
};

/* Read the view, the sockets on the target ports of `rules` (NULL: of the view's
 * own), and at most `each` processes for each socket. */
int ps_report_read(const struct ps_netns *netns, const struct ps_ruleset *rules, uint32_t each,
		   struct ps_report *report, struct ps_error *error);
void ps_report_clear(struct ps_report *report);

/* The last target port of a rule. */
uint16_t ps_rule_target_last(const struct ps_rule *rule);

/* The sockets on a rule's target ports are items[first .. end). */
struct ps_range {
	size_t first, end;
};
struct ps_range ps_report_range(const struct ps_report *report, const struct ps_rule *rule);

/* Does the rule lead to this socket? */
bool ps_report_admitted(const struct ps_report *report, const struct ps_rule *rule,
			const struct ps_socket *socket);
size_t ps_report_count(const struct ps_report *report, const struct ps_rule *rule);

/* How many sockets to show for each rule, of those admitted and of the others: rules can
 * lead to the same sockets by the thousand. */
size_t ps_report_most_shown(const struct ps_report *report);

/* Why it does not: "not the owner's". */
const char *ps_report_reason(const struct ps_rule *rule, const struct ps_socket *socket);

/* A user's name, or NULL for a uid without one; remembered for the whole process. */
const char *ps_user_name(uint32_t uid);

#endif
