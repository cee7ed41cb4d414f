// SPDX-License-Identifier: GPL-2.0-only
/*
 * Connections that stay open, and what a new client gets meanwhile. IPv4 only.
 *
 *   bench_hold serve ADDRESS PORT           answers one byte of each connection, keeps it
 *   bench_hold open ADDRESS PORT COUNT      opens as many, prints "open N", and waits to
 *                                           be killed
 *   bench_hold attempt ADDRESS PORT SECONDS connects again and again, each time with a byte
 *                                           and its answer, for which it has patience of
 *                                           PATIENCE ms; prints "rate R" of those that had
 *                                           it and "failed F", a part of all
 *
 * A process has no more descriptors than it may: when they are used up it goes on in a
 * child, and waits. To "open", clients have addresses 127.1.0.1 and so on: one has not
 * enough ports for all.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	BACKLOG = 4096,
	SPARE = 16, /* descriptors for all else */
	PATIENCE = 250,
	PORTS = 30000, /* of each client address */
};

static struct sockaddr_in at = { .sin_family = AF_INET };
static int limit; /* no descriptor is as high */

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "bench_hold: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int open_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		die("socket");
	return fd;
}

/* The descriptors from `first` on stay with the parent, which waits. */
static void go_on_in_child(int first)
{
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (child > 0) {
		for (;;)
			pause();
	}
	if (close_range((unsigned int)first, ~0U, 0))
		die("close_range");
}

static void raise_limit(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files))
		die("getrlimit");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files))
		die("setrlimit");
	limit = (int)files.rlim_cur - SPARE;
}

/* A client that goes away unanswered is none of our business. */
__attribute__((noreturn)) static void serve(void)
{
	int listener = open_socket(), on = 1;

	if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(listener, (const struct sockaddr *)&at, sizeof(at)) || listen(listener, BACKLOG))
		die("listen");
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		char byte;

		if (fd < 0)
			die("accept");
		if (read(fd, &byte, 1) != 1 || send(fd, &byte, 1, MSG_NOSIGNAL) != 1)
			close(fd);
		else if (fd >= limit)
			go_on_in_child(listener + 1);
	}
}

/* --- the clients */

static void be_patient(int fd, time_t ms)
{
	const struct timeval time = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time)))
		die("patience");
}

static bool exchange(int fd)
{
	char byte = 'x';

	return !connect(fd, (const struct sockaddr *)&at, sizeof(at)) &&
	       send(fd, &byte, 1, MSG_NOSIGNAL) == 1 && recv(fd, &byte, 1, 0) == 1;
}

static void open_one(int fd, unsigned long number)
{
	struct sockaddr_in from = { .sin_family = AF_INET };
	int on = 1;

	from.sin_addr.s_addr = htonl(0x7f010001 + (uint32_t)(number / PORTS));
	be_patient(fd, 5000);
	if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) ||
	    bind(fd, (const struct sockaddr *)&from, sizeof(from)))
		die("bind");
	if (!exchange(fd)) {
		fprintf(stderr, "bench_hold: after %lu connections: %s\n", number, strerror(errno));
		exit(1);
	}
}

__attribute__((noreturn)) static void open_many(unsigned long count)
{
	for (unsigned long i = 0; i < count; i++) {
		int fd = open_socket();

		open_one(fd, i);
		if (fd >= limit)
			go_on_in_child(STDERR_FILENO + 1);
	}
	printf("open %lu\n", count);
	fflush(stdout);
	for (;;)
		pause();
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void attempt(double seconds)
{
	unsigned long good = 0, bad = 0;
	double from = now(), past;

	do {
		int fd = open_socket();

		be_patient(fd, PATIENCE);
		if (exchange(fd))
			good++;
		else
			bad++;
		close(fd);
		past = now() - from;
	} while (past < seconds);
	printf("rate %.1f\nfailed %.4f\n", (double)good / past, (double)bad / (double)(good + bad));
}

int main(int argc, char **argv)
{
	if (argc < 4 || inet_pton(AF_INET, argv[2], &at.sin_addr) != 1) {
		fprintf(stderr, "usage: bench_hold serve ADDRESS PORT | open ADDRESS PORT COUNT |\n"
				"       bench_hold attempt ADDRESS PORT SECONDS\n");
		return 2;
	}
	at.sin_port = htons((uint16_t)strtoul(argv[3], NULL, 10));
	raise_limit();
	if (!strcmp(argv[1], "serve") && argc == 4)
		serve();
	if (argc != 5)
		return 2;
	if (!strcmp(argv[1], "open"))
		open_many(strtoul(argv[4], NULL, 10));
	attempt(strtod(argv[4], NULL));
	return 0;
}
