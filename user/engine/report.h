/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the commands show: rules, with the sockets on their ports, and which of those
 * serve them: listeners that the kernel has admitted, or sockets that were bound
 * through the rule.
 */
#ifndef PORTSTEER_REPORT_H
#define PORTSTEER_REPORT_H

#include "engine/change.h"
#include "engine/view.h"
#include "os/listeners.h"
#include "util/text.h"

struct ps_report {
	const struct ps_netns *netns;
	struct ps_view view;
	struct ps_sockets sockets; /* on any port of the rules asked for */
	const char *blind; /* why sockets cannot be listed, or NULL: there may be any */
};

/* Read the view, the sockets on the target ports of its own steer rules and on all ports of its
 * bind rules, and at most `each` processes for each socket. */
int ps_report_read(const struct ps_netns *netns, uint32_t each, struct ps_report *report,
		   struct ps_error *error);
void ps_report_clear(struct ps_report *report);

/* Add all ports that a report about these rules is to have the sockets of. */
void ps_report_ports(const struct ps_rule *rules, size_t count, struct ps_ports *ports);
/* The same after a commit, from what it has read: the rules in force are taken over from the change,
 * the sockets from `look`, which is read if it was not. 0 or -errno. */
int ps_report_take(struct ps_change *change, struct ps_look *look, struct ps_report *report);

/* The rule in force that equals `rule`, with its id, or `rule` itself. What follows wants
 * such a rule. */
const struct ps_rule *ps_report_rule(const struct ps_report *report, const struct ps_rule *rule);

/* Sockets items[first .. end). */
struct ps_range {
	size_t first, end;
};
/* Those on a rule's front ports, and on its target ports (of a grant: none more). */
struct ps_range ps_report_fronts(const struct ps_report *report, const struct ps_rule *rule);
struct ps_range ps_report_targets(const struct ps_report *report, const struct ps_rule *rule);

/* How a socket stands to a rule. */
enum ps_relation {
	PS_UNRELATED, /* another address, or bound through another rule */
	PS_SERVES, /* admitted, or bound through the rule */
	PS_OTHER, /* not; ps_misfit_tell says why */
};
enum ps_relation ps_report_relation(const struct ps_report *report, const struct ps_rule *rule,
				    const struct ps_socket *socket);

/* Call fn for each socket that stands in this relation, those on front ports first, and
 * return how many there are; fn may be NULL. */
typedef void ps_socket_fn(const struct ps_socket *socket, void *data);
size_t ps_report_each(const struct ps_report *report, const struct ps_rule *rule,
		      enum ps_relation relation, ps_socket_fn *fn, void *data);

/* How many sockets to show for each rule, of those admitted and of the others: rules can
 * lead to the same sockets by the thousand. */
size_t ps_report_most_shown(const struct ps_report *report);

#endif
