// SPDX-License-Identifier: GPL-2.0-only
#include "engine/notes.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <string.h>

#include "engine/misfit_facts.h"
#include "os/socket_match.h"
#include "util/util.h"

enum { MOST = 32, PROCESSES = 8 };

/* Strangers: those that are named, and pairs of rule and socket that are looked at for them (but
 * bind rules, which have other notes, too). */
enum { NAMED = 4, LOOKS = 1 << 16 };

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
	NOTE_REPLACED, /* has served the front port until now, */
	NOTE_STANDS_IN, /* and still does while there is no listener of the owner's */
	NOTE_BLOCKED, /* and now nobody does */
};

/* A line of a rule's own. */
enum { LINE = 2 * PS_RULE_TEXT + 512 };

/* The notes on one rule. */
struct noting {
	struct ps_notes *notes;
	const struct ps_report *report;
	const struct ps_rule *rules; /* all that are new */
	size_t count;
	const struct ps_rule *rule; /* the one that is looked at */
	bool only_ask, any; /* is there anything to say? */
	bool *told; /* for each socket of the report: it has been named or counted */
	size_t named, more; /* strangers, and those that are too many to name */
	const struct ps_socket *last; /* that was named, */
	const struct ps_rule *last_rule; /* and of which rule */
	uint32_t looks;
	bool filtered; /* is there a filter that matches sockets? */
	bool binds; /* is there a rule in force that may be split from another, see are_split? */
	int ret;
};

static void clear_noting(struct noting *n)
{
	free(n->told);
}

static char *line_of(enum note note, const char *who, const char *rule)
{
	char *line = NULL;
	int ret = -1;

	switch (note) {
	case NOTE_EARLY:
		ret = asprintf(&line, "%s was already bound; restart it for rule %s to apply", who,
			       rule);
		break;
	case NOTE_IN_THE_WAY:
		ret = asprintf(&line,
			       "%s still holds the port of rule %s; stop it before the rule's "
			       "owner can bind it",
			       who, rule);
		break;
	case NOTE_REPLACED:
		ret = asprintf(&line,
			       "%s has the front port of rule %s: new connections reach the "
			       "owner's listener instead",
			       who, rule);
		break;
	case NOTE_STANDS_IN:
		ret = asprintf(&line,
			       "%s has the front port of rule %s: new connections reach it only "
			       "while the owner has no listener (if-down pass)",
			       who, rule);
		break;
	case NOTE_BLOCKED:
		ret = asprintf(&line,
			       "%s has port %s, whose section has a mistake: new connections are "
			       "refused until the mistake is corrected",
			       who, rule);
		break;
	}
	return ret < 0 ? NULL : line;
}

/* Take over an allocated line; NULL: there was no memory for it. */
static int take_line(struct ps_notes *notes, char *line)
{
	char **grown = line ? reallocarray(notes->lines, notes->count + 1, sizeof(*grown)) : NULL;

	if (!grown) {
		free(line);
		return -ENOMEM;
	}
	notes->lines = grown;
	grown[notes->count++] = line;
	return 0;
}

int ps_notes_add(struct ps_notes *notes, const char *line)
{
	return take_line(notes, strdup(line));
}

static void append(struct noting *n, char *line)
{
	n->ret = take_line(n->notes, line);
}

/* Is a note wanted, and not only whether there is one? */
static bool wants(struct noting *n)
{
	n->any = true;
	return !n->only_ask && !n->ret && n->notes->count < MOST;
}

static void add(struct noting *n, enum note note, const struct ps_socket *socket)
{
	char who[PS_SOCKET_TEXT], rule[PS_RULE_TEXT];

	if (!wants(n))
		return;
	ps_socket_text(socket, who);
	ps_rule_format(n->rule, rule);
	append(n, line_of(note, who, rule));
}

/* A grant of a port that the namespace lets everybody bind. */
static void note_unprivileged(struct noting *n)
{
	uint32_t first = n->report->netns->unprivileged;
	char rule[PS_RULE_TEXT], line[LINE];

	if (!ps_rule_is_grant(n->rule) || n->rule->front_last < first || !wants(n))
		return;
	ps_rule_format(n->rule, rule);
	snprintf(line, sizeof(line),
		 "rule %s excludes nobody: in this network namespace every process may bind ports "
		 "from %u up; set net.ipv4.ip_unprivileged_port_start to %u or higher",
		 rule, first, n->rule->front_last + 1);
	append(n, strdup(line));
}

/* Is one for UDP in bind mode and the other, from the same ports to the same ones, for TCP in
 * steer mode? */
static bool are_split(const struct ps_rule *udp, const struct ps_rule *tcp)
{
	return udp->mode == PS_MODE_BIND && udp->proto == IPPROTO_UDP && !ps_rule_is_grant(udp) &&
	       tcp->mode == PS_MODE_STEER && udp->front <= tcp->front_last &&
	       tcp->front <= udp->front_last &&
	       udp->target - udp->front == tcp->target - tcp->front &&
	       ps_prefix_meets(&udp->prefix, &tcp->prefix);
}

/* A server of both protocols then has two ports. */
static void note_split(struct noting *n, const struct ps_rule *udp, const struct ps_rule *tcp)
{
	char one[PS_RULE_TEXT], other[PS_RULE_TEXT], line[LINE];

	if (!wants(n))
		return;
	ps_rule_format(udp, one);
	ps_rule_format(tcp, other);
	snprintf(line, sizeof(line),
		 "rule %s binds its port and rule %s steers to its target: a server that compares "
		 "the port of a connection with its own, as dnsmasq does, then does not answer "
		 "over TCP; give the TCP rule --mode bind as well",
		 one, other);
	append(n, strdup(line));
}

/* A rule for UDP that gives its target no address has the one that the client asks for: of
 * several, a server may have one only. */
static void note_elsewhere(struct noting *n)
{
	const struct ps_rule *r = n->rule;
	struct ps_rule better = *r;
	char rule[PS_RULE_TEXT], meant[PS_RULE_TEXT], line[LINE];

	if (r->mode != PS_MODE_CONNECT || r->proto != IPPROTO_UDP || r->to.family ||
	    r->prefix.len == (r->prefix.family == 4 ? 32 : 128) || !wants(n))
		return;
	better.to = r->prefix.family == 6 ? (struct ps_address){ 6, { [15] = 1 } } :
					    (struct ps_address){ 4, { 127, 0, 0, 1 } };
	ps_rule_format(r, rule);
	ps_rule_format(&better, meant);
	snprintf(line, sizeof(line),
		 "rule %s keeps the client's destination address: a client that sends to "
		 "127.0.0.53 does not reach a server on 127.0.0.1; give the target an address, as "
		 "in %s",
		 rule, meant);
	append(n, strdup(line));
}

/* A filter asks for the socket of packets that are for other hosts, and gets the rule's. */
static void note_forwarded(struct noting *n)
{
	const struct ps_rule *r = n->rule;
	char rule[PS_RULE_TEXT], line[LINE];

	if (!n->filtered || r->mode != PS_MODE_STEER ||
	    r->prefix.len == (r->prefix.family == 4 ? 32 : 128) || !wants(n))
		return;
	ps_rule_format(r, rule);
	snprintf(line, sizeof(line),
		 "rule %s may also take connections to other hosts: this host forwards packets, "
		 "and its firewall matches sockets; give the rule an address of this host as front "
		 "address",
		 rule);
	append(n, strdup(line));
}

/* Is there a rule that such a filter would get? */
static bool has_steered(const struct ps_rule *rules, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (rules[i].mode == PS_MODE_STEER)
			return true;
	}
	return false;
}

static bool binds_udp(const struct ps_ruleset *rules)
{
	for (size_t i = 0; i < rules->count; i++) {
		if (rules->rules[i].mode == PS_MODE_BIND && rules->rules[i].proto == IPPROTO_UDP)
			return true;
	}
	return false;
}

static bool is_new(const struct noting *n, const struct ps_rule *rule)
{
	for (size_t i = 0; i < n->count; i++) {
		if (ps_rule_equal(&n->rules[i], rule))
			return true;
	}
	return false;
}

/* A pair is told once, with the rule for UDP if both are new. */
static void note_splits(struct noting *n)
{
	const struct ps_ruleset *in_force = &n->report->view.state.rules;

	for (size_t i = 0; n->binds && i < in_force->count; i++) {
		const struct ps_rule *other = &in_force->rules[i];

		if (are_split(n->rule, other))
			note_split(n, n->rule, other);
		else if (are_split(other, n->rule) && !is_new(n, other))
			note_split(n, other, n->rule);
	}
}

/* Is it another socket of the one that was named last, as for the other address family? */
static bool is_same_again(const struct noting *n, const struct ps_socket *socket)
{
	const struct ps_socket *last = n->last;

	return last && n->last_rule == n->rule && last->uid == socket->uid &&
	       last->cgroup == socket->cgroup && last->port == socket->port &&
	       last->process_count && socket->process_count &&
	       last->processes[0].pid == socket->processes[0].pid;
}

/* "0.0.0.0:8080 root nginx[77] in unit nginx.service gets nothing of rule 80:8080/tcp: not the
 * owner's; ..." */
static char *stranger_line(const struct noting *n, const struct ps_socket *socket,
			   const struct ps_misfit *who)
{
	char text[PS_SOCKET_TEXT], rule[PS_RULE_TEXT];
	char *line = NULL;
	int ret;

	ps_socket_text(socket, text);
	ps_rule_format(n->rule, rule);
	if (is_same_again(n, socket)) {
		ret = asprintf(&line, "%s does not serve rule %s either", text, rule);
		return ret < 0 ? NULL : line;
	}
	if (asprintf(&line, "%s%s%s does not serve rule %s: %s%s%s%s%s", text,
		     *who->place ? " in " : "", who->place, rule, who->reason,
		     *who->advice ? "; " : "", who->advice,
		     *who->fits ? "; if it is the server, use " : "", who->fits) < 0)
		return NULL;
	return line;
}

/* One that has the target and is not the owner's: each is named once, and only a few are. */
static void note_stranger(struct noting *n, const struct ps_socket *socket,
			  const struct ps_misfit *who)
{
	size_t index = (size_t)(socket - n->report->sockets.items);

	if (!wants(n) || n->told[index])
		return;
	n->told[index] = true;
	if (n->named == NAMED) {
		n->more++;
		return;
	}
	n->named++;
	append(n, stranger_line(n, socket, who));
	n->last = socket;
	n->last_rule = n->rule;
}

/* A socket on the ports of a rule that does not serve it. */
static void note_other(const struct ps_socket *socket, void *data)
{
	struct noting *n = data;
	struct ps_misfit who;

	if (n->only_ask && n->any)
		return;
	ps_misfit_find(n->report, n->rule, socket, &who);
	switch (who.why) {
	case PS_WHY_EARLY:
		add(n, NOTE_EARLY, socket);
		break;
	case PS_WHY_FRONT:
		add(n, NOTE_IN_THE_WAY, socket);
		break;
	case PS_WHY_MAYBE_CGROUP:
		if (n->rule->mode == PS_MODE_BIND)
			add(n, NOTE_EARLY, socket);
		else
			note_stranger(n, socket, &who);
		break;
	case PS_WHY_USER:
	case PS_WHY_CGROUP:
	case PS_WHY_UNHELD:
		note_stranger(n, socket, &who);
		break;
	default:
		break;
	}
}

/* Rules can lead to the same sockets by the thousand. */
static void note_others(struct noting *n)
{
	struct ps_range range = ps_report_targets(n->report, n->rule);

	if (n->looks >= LOOKS && n->rule->mode != PS_MODE_BIND)
		return;
	n->looks += (uint32_t)(range.end - range.first);
	ps_report_each(n->report, n->rule, PS_OTHER, note_other, n);
}

static void note_steer(struct noting *n)
{
	struct ps_range range = ps_report_fronts(n->report, n->rule);
	enum note note = ps_rule_is_block(n->rule)	  ? NOTE_BLOCKED :
			 n->rule->if_down == PS_DOWN_PASS ? NOTE_STANDS_IN :
							    NOTE_REPLACED;

	for (size_t i = range.first; i < range.end; i++) {
		const struct ps_socket *socket = &n->report->sockets.items[i];

		if (ps_socket_meets(socket, &n->rule->prefix))
			add(n, note, socket);
	}
}

static void note_rule(struct noting *n)
{
	note_unprivileged(n);
	note_splits(n);
	note_elsewhere(n);
	note_forwarded(n);
	note_others(n);
	if (n->rule->mode == PS_MODE_STEER)
		note_steer(n);
}

static void note_rules(struct noting *n)
{
	for (size_t i = 0; i < n->count && !n->ret && !(n->only_ask && n->any); i++) {
		n->rule = ps_report_rule(n->report, &n->rules[i]);
		note_rule(n);
	}
}

static void note_more(struct noting *n)
{
	char line[LINE];

	if (!n->more || n->ret)
		return;
	snprintf(line, sizeof(line),
		 "and %zu more that do not serve their rule; 'portsteer list' "
		 "shows them",
		 n->more);
	append(n, strdup(line));
}

int ps_notes_read(struct ps_report *report, const struct ps_rule *rules, size_t count,
		  struct ps_notes *notes)
{
	__attribute__((cleanup(clear_noting))) struct noting n = {
		.notes = notes, .report = report, .rules = rules, .count = count, .only_ask = true
	};

	n.binds = binds_udp(&report->view.state.rules);
	n.filtered = has_steered(rules, count) && ps_netns_matches_sockets(report->netns);
	note_rules(&n);
	if (!n.any)
		return 0;
	n.told = calloc(report->sockets.count + 1, sizeof(*n.told));
	if (!n.told)
		return -ENOMEM;
	ps_sockets_find_processes(&report->sockets, PROCESSES);
	n.only_ask = false;
	n.looks = 0;
	note_rules(&n);
	note_more(&n);
	return n.ret;
}

/* The first listener of a rule. */
static void keep_first(const struct ps_socket *socket, void *data)
{
	const struct ps_socket **first = data;

	if (!*first)
		*first = socket;
}

int ps_notes_inferred(struct ps_report *report, const struct ps_rule *rule, struct ps_notes *notes)
{
	const struct ps_socket *socket = NULL;
	char fits[PS_CGROUP_PATH + 32], text[PS_RULE_TEXT], advice[640];
	struct ps_socket_facts facts;
	char *line = NULL;
	int ret;

	rule = ps_report_rule(report, rule);
	if (rule->owner.uid)
		return 0;
	ps_report_each(report, rule, PS_SERVES, keep_first, &socket);
	if (!socket)
		return 0;
	ps_sockets_find_processes(&report->sockets, PROCESSES);
	facts = ps_maker_facts(report, rule, socket);
	ps_misfit_fits(rule, &facts, fits, sizeof(fits));
	ps_misfit_program(facts.program, advice, sizeof(advice));
	ps_rule_format(rule, text);
	ret = asprintf(&line, "the owner of rule %s is every process of root%s%s%s%s", text,
		       *fits ? "; a narrower owner is " : "", fits, *advice ? "; " : "", advice);
	return ret < 0 ? -ENOMEM : take_line(notes, line);
}
