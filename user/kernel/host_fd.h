/* SPDX-License-Identifier: GPL-2.0-only */
/* The shared maps and programs, by number and by name: what all that loads programs knows of
 * the host (user/kernel/host.h). */
#ifndef PORTSTEER_HOST_FD_H
#define PORTSTEER_HOST_FD_H

enum ps_host_fd {
	PS_HOST_INSTANCES,
	PS_HOST_NETNS,
	PS_HOST_ADMITS,
	PS_HOST_OWNERS,
	PS_HOST_SOCKETS,
	PS_HOST_TARGETS,
	PS_HOST_EVENTS,
	PS_HOST_OVERFLOWS,
	PS_HOST_SCAN_ARGS,
	PS_HOST_SEEN,
	PS_HOST_SCOPES, /* connect mode's, by instance */
	PS_HOST_HOPS, /* the same */
	PS_HOST_SCOPES_FOUND, /* the same */
	PS_HOST_TRAILS, /* what clients' sockets carry */
	PS_HOST_FLOWS, /* which targets clients' connections are for */
	PS_HOST_REFUSALS, /* of which there are too many */
	PS_HOST_REFUSED, /* and by which sockets */
	PS_HOST_CLIENT_FILTER,
	PS_HOST_MARK, /* see mark.h */
	PS_HOST_LISTEN, /* the sock_ops program */
	PS_HOST_SCAN, /* the iter/task_file program */
	PS_HOST_FDS,
};

/* The pin's name of each, below host/. */
extern const char *const ps_host_pin[PS_HOST_FDS];

/* Of the host's descriptors, that of the shared map which objects call by this name, or -1. */
int ps_host_map(const int fd[PS_HOST_FDS], const char *name);

#endif
