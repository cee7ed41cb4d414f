/* SPDX-License-Identifier: GPL-2.0-only */
/* The listening TCP sockets and the UDP sockets of a network namespace, and whose they
 * are. */
#ifndef PORTSTEER_LISTENERS_H
#define PORTSTEER_LISTENERS_H

#include <sys/types.h>

#include "os/netns.h"
#include "rule/rule.h"
#include "util/bpf_types.h"

enum { PS_COMM = 64 }; /* bytes of a process name as /proc gives it, with NUL */

struct ps_process {
	pid_t pid;
	uint32_t uid; /* that it acts as; UINT32_MAX if that cannot be read */
	char name[PS_COMM]; /* any bytes: escape before printing */
};

struct ps_socket {
	uint64_t cookie;
	uint64_t cgroup; /* id of the one that it was made in; 0: the kernel does not say */
	uint32_t uid;
	uint32_t inode;
	uint16_t port;
	uint8_t proto; /* IPPROTO_TCP or IPPROTO_UDP */
	uint8_t family; /* 4 or 6 */
	bool v6only;
	bool mptcp; /* the kernel may refuse to steer to it */
	bool is_bound; /* through a bind rule, see mark; false until ps_sockets_find_bound */
	struct ps_bound mark;
	uint8_t addr[16]; /* network byte order; IPv4 in the first four bytes */
	struct ps_process *processes; /* by pid; NULL until ps_sockets_find_processes */
	uint32_t process_count;
};

/* Sorted by protocol, port, family, address and cookie. */
struct ps_sockets {
	struct ps_socket *items;
	size_t count;
};

/* Sets of ports, one for TCP and one for UDP: bit p & 31 of word p / 32. */
struct ps_ports {
	uint32_t tcp[65536 / 32], udp[65536 / 32];
};
void ps_ports_add(struct ps_ports *ports, uint8_t proto, uint16_t first, uint16_t last);
bool ps_ports_has(const struct ps_ports *ports, uint8_t proto, uint16_t port);

/* Read the sockets that listen on one of `ports`, or with UDP have it. */
int ps_sockets_read(const struct ps_netns *netns, const struct ps_ports *ports,
		    struct ps_sockets *sockets, struct ps_error *error);
void ps_sockets_clear(struct ps_sockets *sockets);

/* The sockets on some ports, read when first asked for: what a change has to know of them, and what
 * is said of it. */
struct ps_look {
	struct ps_ports ports;
	struct ps_sockets sockets; /* once they were read */
	bool read;
};
/* Read them, unless that was done. As ps_sockets_read. */
int ps_look_read(struct ps_look *look, const struct ps_netns *netns, struct ps_error *error);
/* Has a socket that was read one of these ports? */
bool ps_look_meets(const struct ps_look *look, const struct ps_ports *ports);
void ps_look_clear(struct ps_look *look);

/* The index of the first socket of this protocol whose port is `port` or above. */
size_t ps_sockets_from(const struct ps_sockets *sockets, uint8_t proto, uint32_t port);

/* The socket's address is in the prefix. */
bool ps_socket_in(const struct ps_socket *socket, const struct ps_prefix *prefix);

/* The same, or it has all addresses of which some are in the prefix: then it is what a client of
 * these gets, and nobody else can bind one of them. */
bool ps_socket_meets(const struct ps_socket *socket, const struct ps_prefix *prefix);

/* Was it bound through this very rule? One that was deleted and made again is another. */
bool ps_socket_is_bound_by(const struct ps_socket *socket, const struct ps_rule *rule);

/*
 * Find the processes that hold the sockets, at most `each` of them for a socket;
 * the search ends when every socket has that many. It costs time with every open
 * file of the host, so call it once, and only for output. What cannot be read is
 * left out: a process may end at any time.
 */
int ps_sockets_find_processes(struct ps_sockets *sockets, uint32_t each);

/* The clients that a socket serves: "ipv4", "ipv6" or "dual". */
const char *ps_socket_family(const struct ps_socket *socket);

/* "127.0.0.1", "::1". */
enum { PS_ADDRESS_TEXT = 48 };
void ps_socket_address(const struct ps_socket *socket, char text[PS_ADDRESS_TEXT]);

/* "127.0.0.1:8080 www-data nginx[77,78]" */
enum { PS_SOCKET_TEXT = 1024 };
void ps_socket_text(const struct ps_socket *socket, char text[PS_SOCKET_TEXT]);

#endif
