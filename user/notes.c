// SPDX-License-Identifier: GPL-2.0-only
#include "notes.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "render.h"
#include "util.h"

enum { MOST = 16, PROCESSES = 8 };

void ps_notes_clear(struct ps_notes *notes)
{
	for (size_t i = 0; i < notes->count; i++)
		free(notes->lines[i]);
	free(notes->lines);
	*notes = (struct ps_notes){};
}

enum note {
	NOTE_EARLY, /* bound to the target port before the rule came */
	NOTE_IN_THE_WAY, /* has the front port that the owner is to bind */
	NOTE_REPLACED, /* has served the front port until now */
};

/* The notes on one rule. */
struct noting {
	struct ps_notes *notes;
	const struct ps_report *report;
	const struct ps_rule *rule;
	bool only_ask, any; /* is there anything to say? */
	int ret;
};

static char *line_of(enum note note, const char *who, const char *rule)
{
	char *line = NULL;
	int ret = -1;

	switch (note) {
	case NOTE_EARLY:
		ret = asprintf(&line,
			       "%s was bound before rule %s came, which takes effect at its next "
			       "bind: restart it",
			       who, rule);
		break;
	case NOTE_IN_THE_WAY:
		ret = asprintf(&line,
			       "%s has the port of rule %s: its owner can bind that only when it is "
			       "closed",
			       who, rule);
		break;
	case NOTE_REPLACED:
		ret = asprintf(&line,
			       "%s has the port of rule %s: new connections no longer reach it, but "
			       "the owner's listener",
			       who, rule);
		break;
	}
	return ret < 0 ? NULL : line;
}

static void add(struct noting *n, enum note note, const struct ps_socket *socket)
{
	char who[PS_SOCKET_TEXT], rule[PS_RULE_TEXT], **grown;

	n->any = true;
	if (n->only_ask || n->ret || n->notes->count == MOST)
		return;
	grown = reallocarray(n->notes->lines, n->notes->count + 1, sizeof(*grown));
	if (!grown) {
		n->ret = -ENOMEM;
		return;
	}
	n->notes->lines = grown;
	ps_socket_text(socket, who);
	ps_rule_format(n->rule, rule);
	grown[n->notes->count] = line_of(note, who, rule);
	if (grown[n->notes->count])
		n->notes->count++;
	else
		n->ret = -ENOMEM;
}

/* A socket on the ports of a bind rule that is not bound through it. */
static void note_bind(const struct ps_socket *socket, void *data)
{
	struct noting *n = data;

	if (ps_report_is_early(n->rule, socket))
		add(n, NOTE_EARLY, socket);
	else if (socket->port >= n->rule->front && socket->port <= n->rule->front_last)
		add(n, NOTE_IN_THE_WAY, socket);
}

static bool is_wildcard(const struct ps_socket *socket)
{
	static const uint8_t any[16];

	return !memcmp(socket->addr, any, socket->family == 4 ? 4 : 16);
}

static void note_steer(struct noting *n)
{
	struct ps_range range = ps_report_fronts(n->report, n->rule);

	for (size_t i = range.first; i < range.end; i++) {
		const struct ps_socket *socket = &n->report->sockets.items[i];

		if (is_wildcard(socket) || ps_socket_in(socket, &n->rule->prefix))
			add(n, NOTE_REPLACED, socket);
	}
}

static void note_rule(struct noting *n)
{
	if (n->rule->mode == PS_MODE_BIND)
		ps_report_each(n->report, n->rule, PS_OTHER, note_bind, n);
	else if (n->rule->mode == PS_MODE_STEER)
		note_steer(n);
}

int ps_notes_read(struct ps_report *report, const struct ps_rule *rules, size_t count,
		  struct ps_notes *notes)
{
	struct noting n = { .notes = notes, .report = report, .only_ask = true };

	for (size_t i = 0; i < count && !n.any; i++) {
		n.rule = ps_report_rule(report, &rules[i]);
		note_rule(&n);
	}
	if (!n.any)
		return 0;
	ps_sockets_find_processes(&report->sockets, PROCESSES);
	n.only_ask = false;
	for (size_t i = 0; i < count && !n.ret && notes->count < MOST; i++) {
		n.rule = ps_report_rule(report, &rules[i]);
		note_rule(&n);
	}
	return n.ret;
}
