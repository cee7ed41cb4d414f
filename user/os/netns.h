/* SPDX-License-Identifier: GPL-2.0-only */
/* Network namespaces: open what --netns names, and make sockets inside. */
#ifndef PORTSTEER_NETNS_H
#define PORTSTEER_NETNS_H

#include <stdint.h>

#include "util/error.h"

/* A network namespace. */
struct ps_netns {
	int fd; /* -1: the caller's own */
	uint64_t cookie;
	uint32_t unprivileged; /* the first port that anybody may bind in there */
	char label[256]; /* how to call it in messages and output */
};
#define PS_NETNS_NONE                                                                              \
	{                                                                                          \
		.fd = -1                                                                           \
	}

/*
 * Open a namespace by `spec`: NULL for the caller's own, a path ("/proc/77/ns/net"),
 * a name as `ip netns` keeps it ("blue" in /run/netns), or "pid:77". Checks that it
 * is a network namespace and reads its cookie. A malformed spec is PS_EXIT_USAGE;
 * *netns is untouched on failure.
 */
int ps_netns_open(const char *spec, struct ps_netns *netns, struct ps_error *error);
void ps_netns_close(struct ps_netns *netns);

/* Enter the namespace, if it is another than the caller's own; returns what
 * ps_netns_leave needs to go back, or -errno. The calling thread is in the namespace only between the two. */
int ps_netns_enter(const struct ps_netns *netns);
/* Go back and close `before`. On failure the process must not go on. */
int ps_netns_leave(int before);

/* Set netns->unprivileged, from net.ipv4.ip_unprivileged_port_start; to 1024, as the kernel
 * begins, if that cannot be read. */
int ps_netns_find_unprivileged(struct ps_netns *netns, struct ps_error *error);

/* socket(2) inside the namespace (close-on-exec): a descriptor or -errno. */
int ps_netns_socket(const struct ps_netns *netns, int family, int type, int protocol);

#endif
