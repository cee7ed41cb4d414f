// SPDX-License-Identifier: GPL-2.0-only
#include "engine/misfit.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "os/unit_name.h"
#include "util/text.h"
#include "util/util.h"

static bool has_front(const struct ps_rule *rule, uint16_t port)
{
	return rule->mode == PS_MODE_BIND && port >= rule->front && port <= rule->front_last;
}

/* Whose it is, by what the programs look at: see bpf/owner.h. */
static enum ps_misfit_why why_not_owners(const struct ps_rule *rule,
					 const struct ps_socket_facts *facts)
{
	const struct ps_owner_spec *owner = &rule->owner;

	if (owner->flags & PS_OWNER_USER && owner->uid != facts->uid)
		return PS_WHY_USER;
	if (!(owner->flags & PS_OWNER_CGROUP))
		return PS_WHY_UNSEEN;
	if (!facts->cgroup)
		return PS_WHY_MAYBE_CGROUP;
	return ps_path_is_below(facts->cgroup, owner->cgroup) ? PS_WHY_UNSEEN : PS_WHY_CGROUP;
}

static enum ps_misfit_why why_not(const struct ps_rule *rule, const struct ps_socket_facts *facts)
{
	bool bind = rule->mode == PS_MODE_BIND;
	enum ps_misfit_why why;

	if (ps_rule_is_block(rule))
		return PS_WHY_BLOCK;
	if (has_front(rule, facts->port))
		return PS_WHY_FRONT;
	if (!bind && rule->prefix.family && facts->family && rule->prefix.family != facts->family)
		return PS_WHY_FAMILY;
	why = why_not_owners(rule, facts);
	if (why == PS_WHY_USER || why == PS_WHY_CGROUP)
		return why;
	if (bind && !facts->in_prefix)
		return PS_WHY_ADDRESS;
	if (!bind && facts->mptcp)
		return PS_WHY_MPTCP;
	if (facts->hook_lost)
		return PS_WHY_HOOK;
	if (why == PS_WHY_UNSEEN && bind)
		return PS_WHY_EARLY;
	if (why != PS_WHY_UNSEEN)
		return why;
	return facts->refused ? PS_WHY_REFUSED : facts->unheld ? PS_WHY_UNHELD : PS_WHY_UNSEEN;
}

#define DETACHED(hook)                                                                             \
	"the " hook " is no longer attached, so the socket was missed; run 'portsteer load'"

static const char *reason_of(enum ps_misfit_why why, const struct ps_rule *rule)
{
	switch (why) {
	case PS_WHY_BLOCK:
		return "its section has a mistake";
	case PS_WHY_USER:
		return "not the owner's";
	case PS_WHY_CGROUP:
		return "not in the owner's cgroup";
	case PS_WHY_MAYBE_CGROUP:
		return rule->mode != PS_MODE_BIND ?
			       "not in the owner's cgroup" :
			       "not in the owner's cgroup, or already bound: then restart it for "
			       "the rule to apply";
	case PS_WHY_FAMILY:
		return rule->prefix.family == 4 ? "IPv6 only, and the rule is for IPv4" :
						  "IPv4 only, and the rule is for IPv6";
	case PS_WHY_MPTCP:
		return "an MPTCP socket, which this kernel cannot steer to; use --mode bind";
	case PS_WHY_ADDRESS:
		return "bound to an address outside the rule";
	case PS_WHY_FRONT:
		return "not bound through this rule, and blocks the port for the rule's owner";
	case PS_WHY_EARLY:
		return "already bound; restart it for the rule to apply";
	case PS_WHY_HOOK:
		return rule->mode == PS_MODE_BIND ? DETACHED("bind hook") : DETACHED("listen hook");
	case PS_WHY_REFUSED:
		return "rejected by the kernel: no place is left, or it is in another program's "
		       "socket map";
	case PS_WHY_UNHELD:
		return "not found, as no visible process has it open (io_uring holds it, or a "
		       "process in another PID namespace); restart it";
	case PS_WHY_UNSEEN:
		break;
	}
	return "its listen() was not seen; restart it";
}

/* --- programs that listen for others ------------------------------------------------ */

/* What listens where a container's port is published is not the container. */
static const struct program {
	const char *begins; /* what it calls itself, of which the kernel keeps 15 bytes */
	bool holds; /* it never answers */
	const char *whose;
} programs[] = {
	{ "docker-proxy", false, "Docker's" },
	{ "rootlesskit", false, "rootless Docker's" },
	{ "rootlessport", false, "Podman's" },
	{ "slirp4netns", false, "the container's network helper" },
	{ "pasta", false, "the container's network helper" },
	/* pasta, too, as it runs the program that fits the processor: "passt.avx2" */
	{ "passt", false, "a container's or virtual machine's network helper" },
	{ "conmon", true, "Podman's" },
};

/* "pasta" is also called "pasta.avx2", "rootlesskit" "rootlesskit-doc". */
static const struct program *program_of(const char *name)
{
	for (size_t i = 0; name && i < PS_ARRAY_SIZE(programs); i++) {
		size_t length = strlen(programs[i].begins);

		if (!strncmp(name, programs[i].begins, length) &&
		    (!name[length] || name[length] == '.' || name[length] == '-'))
			return &programs[i];
	}
	return NULL;
}

static void advise_program(const struct program *program, char *to, size_t size)
{
	*to = '\0';
	if (!program)
		return;
	if (program->holds)
		snprintf(to, size,
			 "if it is %s %s, it only reserves a container's port and never answers: "
			 "the firewall redirects that port, but not steered connections; publish "
			 "the front port itself, or let the container use the host's network",
			 program->whose, program->begins);
	else
		snprintf(to, size,
			 "if it is %s %s, it forwards connections to whichever container publishes "
			 "the port, and the container may see its address instead of the client's; "
			 "to avoid this, publish the front port itself, or let the container use "
			 "the host's network",
			 program->whose, program->begins);
}

void ps_misfit_program(const char *name, char *to, size_t size)
{
	advise_program(program_of(name), to, size);
}

/* --- the owner that fits ------------------------------------------------------------- */

/* A name that a shell takes as it is or, quoted, with a backslash. Whoever has a part of the
 * cgroups to himself makes up names there, which others are to copy. */
static bool is_safe(const char *text, bool *quote)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789/_.:@+=,-";

	*quote = strchr(text, '\\');
	for (; *text; text++) {
		if (*text != '\\' && !strchr(plain, *text))
			return false;
	}
	return true;
}

static bool put_option(char *to, size_t size, const char *option, const char *value)
{
	bool quote;

	if (!value || *value == '-' || !is_safe(value, &quote))
		return false;
	if (snprintf(to, size, quote ? "%s'%s'" : "%s%s", option, value) < (int)size)
		return true;
	*to = '\0';
	return false;
}

/* A cgroup that says something of who is in it: not the root, not what systemd makes for each
 * login, and with a user's services in it. */
static bool says_who(const char *cgroup)
{
	return cgroup && cgroup[1] && !ps_path_is_below(cgroup, "/user.slice");
}

/* That of a container of the host's, whose users' numbers are not the host's. */
static bool is_scope(const char *cgroup)
{
	return strstr(cgroup, ".scope/") || ps_unit_is(cgroup, ".scope");
}

/* Has it no more levels than an owner's cgroup may have? With `unit`, which is one of them: down to
 * that. */
static bool is_in_reach(const char *cgroup, const char *unit)
{
	size_t depth = 0, size;

	while (*(cgroup += strspn(cgroup, "/"))) {
		size = strcspn(cgroup, "/");
		depth++;
		if (unit && strlen(unit) == size && !strncmp(cgroup, unit, size))
			break;
		cgroup += size;
	}
	return depth <= PS_CGROUP_DEPTH;
}

static bool fits_user(const struct ps_socket_facts *facts, char *to, size_t size)
{
	char number[16];

	if (!facts->uid)
		return false;
	snprintf(number, sizeof(number), "%u", facts->uid);
	return put_option(to, size, "--user ", facts->user) ||
	       put_option(to, size, "--user ", number);
}

void ps_misfit_fits(const struct ps_rule *rule, const struct ps_socket_facts *facts, char *to,
		    size_t size)
{
	bool by_user = facts->uid && !(rule->owner.flags & PS_OWNER_CGROUP);
	const struct program *program = program_of(facts->program);

	*to = '\0';
	/* What never answers is no server. */
	if (program && program->holds)
		return;
	if (facts->unit && is_in_reach(facts->cgroup, facts->unit) &&
	    put_option(to, size, "--cgroup unit:", facts->unit))
		return;
	if (says_who(facts->cgroup) && (!by_user || is_scope(facts->cgroup)) &&
	    is_in_reach(facts->cgroup, NULL) && put_option(to, size, "--cgroup ", facts->cgroup))
		return;
	fits_user(facts, to, size);
}

/* --- all together --------------------------------------------------------------------- */

static void name_place(const struct ps_socket_facts *facts, char *to, size_t size)
{
	char safe[4 * PS_CGROUP_PATH];

	*to = '\0';
	if (!facts->unit && !facts->cgroup)
		return;
	ps_printable(facts->unit ? facts->unit : facts->cgroup, safe, sizeof(safe));
	snprintf(to, size, "%s %s", facts->unit ? "unit" : "cgroup", safe);
}

/* Root's, and of no cgroup that would tell it from all else of root's. */
static void advise_root(const struct ps_socket_facts *facts, char *to, size_t size)
{
	if (!facts->cgroup)
		snprintf(to, size,
			 "root created it, in a cgroup that no longer exists or cannot be read "
			 "without CAP_DAC_READ_SEARCH");
	else if (!is_in_reach(facts->cgroup, NULL))
		snprintf(to, size,
			 "root created it, in a cgroup more than %d levels deep: if it is the "
			 "server, name a cgroup higher up that contains nothing else, or run it as "
			 "an ordinary user",
			 PS_CGROUP_DEPTH);
	else if (says_who(facts->cgroup))
		snprintf(to, size,
			 "root created it, in a cgroup whose name has special characters: if it is "
			 "the server, give it a cgroup with a plain name, or run it as an ordinary "
			 "user");
	else
		snprintf(to, size,
			 "root created it, outside any service's cgroup: if it is the server, run "
			 "it as a service, or as an ordinary user");
}

static void advise_owner(const struct ps_rule *rule, const struct ps_socket_facts *facts,
			 struct ps_misfit *who)
{
	const struct program *program = program_of(facts->program);

	if (program)
		advise_program(program, who->advice, sizeof(who->advice));
	else if (!*who->fits && !facts->uid)
		advise_root(facts, who->advice, sizeof(who->advice));
	else if (facts->unit && !strcmp(facts->unit, "init.scope"))
		strcpy(who->advice, "systemd created it, for a socket unit");
	else if (facts->became && who->why == PS_WHY_USER && rule->mode != PS_MODE_CONNECT)
		snprintf(who->advice, sizeof(who->advice),
			 "the server created it before it changed to the owner's user, and a "
			 "socket keeps the user that created it");
}

void ps_misfit_tell(const struct ps_rule *rule, const struct ps_socket_facts *facts,
		    struct ps_misfit *who)
{
	*who = (struct ps_misfit){ .why = why_not(rule, facts) };
	who->reason = reason_of(who->why, rule);
	name_place(facts, who->place, sizeof(who->place));
	if (who->why != PS_WHY_USER && who->why != PS_WHY_CGROUP)
		return;
	ps_misfit_fits(rule, facts, who->fits, sizeof(who->fits));
	advise_owner(rule, facts, who);
}

bool ps_misfit_unit(const char *cgroup, char *unit, size_t size)
{
	const char *part = cgroup;
	size_t length;

	/* Units are in slices, and slices in slices. */
	do {
		part += *part == '/';
		length = strcspn(part, "/");
		if (!length || length >= size)
			return false;
		memcpy(unit, part, length);
		unit[length] = '\0';
		part += length;
	} while (ps_unit_is(unit, ".slice"));
	if (!strcmp(cgroup, "/init.scope"))
		return true;
	/* A user's services are that user's. */
	if (!strncmp(unit, "user@", 5))
		return false;
	return (ps_unit_is(unit, ".service") || ps_unit_is(unit, ".socket")) &&
	       !ps_unit_check(unit, NULL);
}
