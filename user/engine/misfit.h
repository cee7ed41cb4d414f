/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who has a socket on a rule's ports that does not serve it: why it does not, and which owner
 * would fit. Pure: from facts to words. What a program calls itself chooses words, and nothing
 * else.
 */
#ifndef PORTSTEER_MISFIT_H
#define PORTSTEER_MISFIT_H

#include "rule/rule.h"
#include "util/bpf_types.h"

/* What is known of a socket, and of who made it. Texts are borrowed. */
struct ps_socket_facts {
	uint32_t uid; /* of who made it */
	const char *user; /* its name; NULL: none */
	const char *cgroup; /* that it was made in, "/" the root; NULL: not known */
	const char *unit; /* what --cgroup unit: names that cgroup, or one above it, by; NULL */
	const char *program; /* what a process that holds it calls itself, any bytes; NULL */
	uint16_t port; /* that it has */
	uint8_t family; /* 4 or 6: of the only clients that it can serve; 0: of both */
	bool in_prefix; /* its address is one of the rule's */
	bool mptcp;
	bool became; /* a process that holds it runs as the rule's user now */
	bool hook_lost; /* the hook that would have admitted it is not attached */
	bool refused; /* the kernel has refused a socket of this rule's */
	bool unheld; /* no process that can be seen has it open */
};

enum ps_misfit_why {
	PS_WHY_UNSEEN, /* it was not seen to begin to listen */
	PS_WHY_UNHELD, /* nor could it be found, among the files of processes */
	PS_WHY_BLOCK, /* the rule's section has a mistake */
	PS_WHY_USER, /* another user made it */
	PS_WHY_CGROUP, /* it was made in another cgroup */
	PS_WHY_MAYBE_CGROUP, /* it may have been: that is not known */
	PS_WHY_FAMILY, /* it serves the other address family */
	PS_WHY_MPTCP, /* the kernel steers to no such socket */
	PS_WHY_ADDRESS, /* bound to an address that is not the rule's */
	PS_WHY_FRONT, /* bind mode: has the front port, by another way */
	PS_WHY_EARLY, /* bind mode: bound before the rule came */
	PS_WHY_HOOK, /* nobody was there to see it */
	PS_WHY_REFUSED, /* by the kernel, as it seems */
};

struct ps_misfit {
	enum ps_misfit_why why;
	const char *reason; /* "not the owner's" */
	char place[4 * PS_CGROUP_PATH + 16]; /* "unit nginx.service", "cgroup /a"; or "" */
	char fits[PS_CGROUP_PATH + 32]; /* "--cgroup unit:nginx.service", for a shell; or "" */
	char advice[640]; /* what else to know; or "" */
};

/* Say it of a socket that stands to the rule as PS_OTHER. */
void ps_misfit_tell(const struct ps_rule *rule, const struct ps_socket_facts *facts,
		    struct ps_misfit *who);

/* What to know of a program that listens for others, by what it calls itself: a container's
 * port is not the container's. "" for all other programs. */
void ps_misfit_program(const char *name, char *to, size_t size);

/* "--cgroup unit:NAME", or another owner that has this socket and as few others as can be. "" if
 * only all of root's would do, if no shell should be given the name, if `add` would refuse the
 * cgroup, or if the program never answers. */
void ps_misfit_fits(const struct ps_rule *rule, const struct ps_socket_facts *facts, char *to,
		    size_t size);

/* The unit of the system that has the cgroup, or one above it: "/system.slice/a.service/b" has
 * "a.service", and so would a cgroup that somebody else made there: see where systemd puts it.
 * Only services and sockets, and init.scope: what else there is has a name for once. */
bool ps_misfit_unit(const char *cgroup, char *unit, size_t size);

#endif
