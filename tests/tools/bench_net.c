// SPDX-License-Identifier: GPL-2.0-only
/*
 * A server and its load on 127.0.0.1, for the figures of bind and connect mode.
 *
 *   bench_net serve udp|tcp PORT           answers each datagram of 64 bytes; the one
 *                                          byte of each connection
 *   bench_net load udp|each|tcp PORT SECONDS [WINDOW]
 *                                          prints exchanges per second with it; "each" is
 *                                          UDP too, the address given with each datagram
 *
 * The client has 16 exchanges under way, or WINDOW: with one, each waits for its answer. On loopback the sender's CPU takes a packet
 * to the receiver's socket, and makes the whole handshake, before the system call
 * returns: so a window needs neither threads nor polling.
 *
 * The time is cut into slices, counted each for itself. What else the machine does can
 * only slow a slice down, so that the rate is that of a fast one: the ninth tenth's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_WINDOW = 16, DATAGRAM = 64, BACKLOG = 1024, SLICES = 50, WARM_UP = 10 };

struct load {
	struct sockaddr_in to;
	int type;
	bool each; /* the socket is not connected */
	int fds[MAX_WINDOW];
	size_t window; /* how many are used */
	size_t next; /* the oldest of them */
};

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "bench_net: %s: %s\n", what, strerror(errno));
	exit(1);
}

__attribute__((noreturn)) static void usage(void)
{
	fprintf(stderr, "usage: bench_net serve udp|tcp PORT | load udp|each|tcp PORT SECONDS "
			"[WINDOW]\n");
	exit(2);
}

static int open_socket(int type)
{
	int fd = socket(AF_INET, type, 0);

	if (fd < 0)
		die("socket");
	return fd;
}

/* --- the server */

static void serve_datagram(int fd)
{
	struct sockaddr_in from;
	socklen_t length = sizeof(from);
	char data[DATAGRAM];
	ssize_t size = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &length);

	if (size < 0 || sendto(fd, data, (size_t)size, 0, (struct sockaddr *)&from, length) < 0)
		die("answer a datagram");
}

/* The client's last connections end with it, unanswered. */
static void serve_connection(int listener)
{
	int fd = accept(listener, NULL, NULL);
	char byte;

	if (fd < 0)
		die("accept");
	if (read(fd, &byte, 1) == 1 && send(fd, &byte, 1, MSG_NOSIGNAL) != 1 && errno != EPIPE &&
	    errno != ECONNRESET)
		die("answer a connection");
	close(fd);
}

__attribute__((noreturn)) static void serve(int type, const struct sockaddr_in *at)
{
	int fd = open_socket(type);

	if (bind(fd, (const struct sockaddr *)at, sizeof(*at)))
		die("bind");
	if (type == SOCK_STREAM && listen(fd, BACKLOG))
		die("listen");
	for (;;) {
		if (type == SOCK_STREAM)
			serve_connection(fd);
		else
			serve_datagram(fd);
	}
}

/* --- the client */

/* Its close is a reset: neither end waits in TIME_WAIT, so that ports do not run out and
 * the last slice finds the kernel's tables as the first one did. */
static int connect_to(const struct load *load)
{
	const struct linger reset = { .l_onoff = 1 };
	const struct timeval patience = { .tv_sec = 5 };
	int fd = open_socket(load->type);

	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    (!load->each && connect(fd, (const struct sockaddr *)&load->to, sizeof(load->to))))
		die("connect");
	return fd;
}

static void ask(const struct load *load, int *fd)
{
	static const char data[DATAGRAM];

	if (load->type == SOCK_STREAM)
		*fd = connect_to(load);
	if (sendto(*fd, data, load->type == SOCK_STREAM ? 1 : DATAGRAM, MSG_NOSIGNAL,
		   load->each ? (const struct sockaddr *)&load->to : NULL,
		   load->each ? sizeof(load->to) : 0) < 0)
		die("send");
}

static void await(const struct load *load, int fd)
{
	struct sockaddr_in from;
	socklen_t length = sizeof(from);
	char data[DATAGRAM];

	if (recvfrom(fd, data, sizeof(data), 0, load->each ? (struct sockaddr *)&from : NULL,
		     load->each ? &length : NULL) <= 0)
		die("no answer");
	if (load->type == SOCK_STREAM)
		close(fd);
}

static void fill_window(struct load *load)
{
	int fd = load->type == SOCK_DGRAM ? connect_to(load) : -1;

	for (size_t i = 0; i < load->window; i++) {
		load->fds[i] = fd;
		ask(load, &load->fds[i]);
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Exchanges per second during a slice of this length. */
static double run(struct load *load, double seconds)
{
	double from = now(), past;
	unsigned long count = 0;

	do {
		int *oldest = &load->fds[load->next++ % load->window];

		await(load, *oldest);
		ask(load, oldest);
		count++;
		past = now() - from;
	} while (past < seconds);
	return (double)count / past;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(struct load *load, double seconds)
{
	double rates[SLICES];

	fill_window(load);
	run(load, seconds / WARM_UP);
	for (int i = 0; i < SLICES; i++)
		rates[i] = run(load, seconds / SLICES);
	qsort(rates, SLICES, sizeof(*rates), compare);
	printf("%.0f\n", rates[SLICES * 9 / 10]);
}

int main(int argc, char **argv)
{
	struct load load = { .to = { .sin_family = AF_INET } };

	if (argc < 4)
		usage();
	load.type = strcmp(argv[2], "tcp") ? SOCK_DGRAM : SOCK_STREAM;
	load.each = !strcmp(argv[2], "each");
	load.to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	load.to.sin_port = htons((uint16_t)strtoul(argv[3], NULL, 10));
	if (!strcmp(argv[1], "serve") && argc == 4)
		serve(load.type, &load.to);
	if (strcmp(argv[1], "load") || argc < 5 || argc > 6)
		usage();
	load.window = argc == 6 ? strtoul(argv[5], NULL, 10) : MAX_WINDOW;
	if (!load.window || load.window > MAX_WINDOW)
		usage();
	measure(&load, strtod(argv[4], NULL));
	return 0;
}
