/* SPDX-License-Identifier: GPL-2.0-only */
/* What to know about rules that have just been added: who is in their way, and who has to
 * be restarted to profit from them. */
#ifndef PORTSTEER_NOTES_H
#define PORTSTEER_NOTES_H

#include "engine/report.h"

/* Lines for people, without control characters. */
struct ps_notes {
	char **lines; /* owned */
	size_t count;
};
void ps_notes_clear(struct ps_notes *notes);

/* Add a copy of a line: 0 or -ENOMEM. */
int ps_notes_add(struct ps_notes *notes, const char *line);

/* Add notes about `rules`, of which `report` has the sockets (it finds their processes if
 * there is something to say). Notes are cut, silently, after a few. 0 or -ENOMEM. */
int ps_notes_read(struct ps_report *report, const struct ps_rule *rules, size_t count,
		  struct ps_notes *notes);

/* Add a note if the owner of a rule, taken from who listens now, is root, which is more than
 * that server; and what else to know about that. 0 or -ENOMEM. */
int ps_notes_inferred(struct ps_report *report, const struct ps_rule *rule, struct ps_notes *notes);

#endif
