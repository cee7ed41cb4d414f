// SPDX-License-Identifier: GPL-2.0-only
/*
 * A web server that is linked statically: there is no library to preload, which is how
 * authbind and its like work.
 *
 *   static_server PORT    Answers every connection with "static PORT", the port being the
 *                         one that getsockname(2) says of the connection.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

__attribute__((noreturn)) static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void answer(int fd)
{
	struct sockaddr_in6 local = { 0 };
	socklen_t length = sizeof(local);
	char request[4096];

	if (read(fd, request, sizeof(request)) <= 0)
		return;
	if (getsockname(fd, (struct sockaddr *)&local, &length))
		die("getsockname");
	dprintf(fd, "HTTP/1.0 200 OK\r\n\r\nstatic %d\n", ntohs(local.sin6_port));
}

int main(int argc, char **argv)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = in6addr_any };
	int fd, conn, one = 1;

	if (argc != 2)
		return 2;
	address.sin6_port = htons((in_port_t)atoi(argv[1]));
	fd = socket(AF_INET6, SOCK_STREAM, 0);
	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)))
		die("bind");
	if (listen(fd, SOMAXCONN))
		die("listen");
	for (;;) {
		conn = accept(fd, NULL, NULL);
		if (conn < 0)
			die("accept");
		answer(conn);
		close(conn);
	}
}
