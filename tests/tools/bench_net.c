// SPDX-License-Identifier: GPL-2.0-only
/*
 * A server and its load, for what is measured over the network.
 *
 *   bench_net serve MODE ADDRESS PORT
 *      udp     answers each datagram of 64 bytes
 *      count   counts datagrams, and answers "?" with their number
 *      tcp     answers one byte of each connection, and closes it
 *      echo    the same, but closes only when the client has
 *      source  answers one byte of each connection with as many as it takes
 *   bench_net load WORK ADDRESS PORT SECONDS [WINDOW]
 *      udp, each     exchanges with "udp"; "each" gives the address with each datagram
 *      tcp           exchanges with "tcp", the client's close being a reset
 *      client        exchanges with "echo": the client closes first
 *      server        exchanges with "tcp": the server closes first
 *      short, keep   HTTP requests, a connection for each or WINDOW connections for all
 *      bulk          MB per second from "source"
 *      pps           datagrams per second that "count" receives
 *      first         HTTP requests one by one: microseconds from connect() to the first byte
 *
 * The load prints "rate R" and "count N" (of all that was done, with the warm-up), or
 * "first QUANTILE MICROSECONDS" for many quantiles, and "count N".
 *
 * The client has WINDOW exchanges under way, 16 at most, which is usual. On loopback the sender's CPU takes a packet
 * to the receiver's socket, and makes the whole handshake, before the system call
 * returns: so a window needs neither threads nor polling.
 *
 * The time is cut into slices, counted each for itself. What else the machine does can
 * only slow a slice down, so that the rate is that of a fast one: the ninth tenth's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	WINDOW = 16,
	DATAGRAM = 64,
	BURST = 32, /* datagrams sent before the receiver gets a chance */
	BACKLOG = 4096,
	SLICES = 50,
	WARM_UP = 10,
	BLOCK = 65536,
	MAX_CLOSED = 50000, /* connections that leave a port in TIME_WAIT */
};

/* The fate of an exchange's socket. */
enum end {
	SHARED, /* the whole window has one socket */
	KEEP, /* each place of the window keeps its own */
	RESET, /* a new one for each exchange, reset by the client: neither end waits in
		* TIME_WAIT, ports do not run out, and the last slice finds the kernel's
		* tables as the first one did */
	CLOSE, /* closed by the client when it has the answer */
	AWAIT, /* closed by the server */
};

struct work {
	const char *name;
	int type;
	enum end end;
	const char *request;
	size_t size;
	bool http;
};

struct address {
	struct sockaddr_storage sa;
	socklen_t length;
};

struct load {
	const struct work *work;
	struct address to;
	int fds[WINDOW];
	size_t window; /* how many of them are used */
	size_t next; /* the oldest of them */
	unsigned long count;
};

static const char datagram[DATAGRAM];
static char block[BLOCK];

#define GET "GET / HTTP/1.1\r\nHost: bench\r\n"
static const char get_close[] = GET "Connection: close\r\n\r\n";
static const char get_keep[] = GET "\r\n";

static const struct work works[] = {
	{ "udp", SOCK_DGRAM, SHARED, datagram, DATAGRAM, false },
	{ "each", SOCK_DGRAM, SHARED, datagram, DATAGRAM, false },
	{ "tcp", SOCK_STREAM, RESET, datagram, 1, false },
	{ "client", SOCK_STREAM, CLOSE, datagram, 1, false },
	{ "server", SOCK_STREAM, AWAIT, datagram, 1, false },
	{ "short", SOCK_STREAM, AWAIT, get_close, sizeof(get_close) - 1, true },
	{ "keep", SOCK_STREAM, KEEP, get_keep, sizeof(get_keep) - 1, true },
	{ "first", SOCK_STREAM, AWAIT, get_close, sizeof(get_close) - 1, true },
	{ "bulk", SOCK_STREAM, KEEP, datagram, 1, false },
	{ "pps", SOCK_DGRAM, SHARED, datagram, DATAGRAM, false },
};

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "bench_net: %s: %s\n", what, strerror(errno));
	exit(1);
}

__attribute__((noreturn)) static void usage(void)
{
	fprintf(stderr,
		"usage: bench_net serve udp|count|tcp|echo|source ADDRESS PORT |\n"
		"       bench_net load udp|each|tcp|client|server|short|keep|bulk|pps|first "
		"ADDRESS PORT SECONDS [WINDOW]\n");
	exit(2);
}

static struct address parse(const char *address, const char *port)
{
	struct address a = { .length = sizeof(struct sockaddr_in) };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&a.sa;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a.sa;
	uint16_t number = htons((uint16_t)strtoul(port, NULL, 10));

	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = number;
		return a;
	}
	a.length = sizeof(struct sockaddr_in6);
	if (inet_pton(AF_INET6, address, &v6->sin6_addr) != 1)
		usage();
	v6->sin6_family = AF_INET6;
	v6->sin6_port = number;
	return a;
}

static int open_socket(const struct address *a, int type)
{
	int fd = socket(a->sa.ss_family, type, 0);

	if (fd < 0)
		die("socket");
	return fd;
}

/* --- the server */

static void serve_datagrams(int fd)
{
	struct sockaddr_storage from;
	char data[DATAGRAM];

	for (;;) {
		socklen_t length = sizeof(from);
		ssize_t size =
			recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &length);

		if (size < 0 ||
		    sendto(fd, data, (size_t)size, 0, (struct sockaddr *)&from, length) < 0)
			die("answer a datagram");
	}
}

static void count_datagrams(int fd)
{
	struct sockaddr_storage from;
	unsigned long count = 0;
	char data[DATAGRAM];

	for (;;) {
		socklen_t length = sizeof(from);

		if (recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &length) < 0)
			die("receive a datagram");
		if (*data != '?')
			count++;
		else if (sendto(fd, &count, sizeof(count), 0, (struct sockaddr *)&from, length) < 0)
			die("answer with the count");
	}
}

/* The client's last connections end with it, unanswered. */
static int accept_and_answer(int listener)
{
	int fd = accept(listener, NULL, NULL);
	char byte;

	if (fd < 0)
		die("accept");
	if (read(fd, &byte, 1) == 1 && send(fd, &byte, 1, MSG_NOSIGNAL) != 1 && errno != EPIPE &&
	    errno != ECONNRESET)
		die("answer a connection");
	return fd;
}

static void serve_and_close(int listener)
{
	for (;;)
		close(accept_and_answer(listener));
}

/* When two windows have been answered after it, the client has closed its end; unless a
 * proxy is between us that is late. To wait would be to wait for ever, if it accepts our
 * connections in another order than the client makes them. */
static void serve_until_closed(int listener)
{
	int last[2 * WINDOW];

	memset(last, -1, sizeof(last));
	for (size_t i = 0;; i = (i + 1) % (2 * WINDOW)) {
		char byte;

		if (last[i] >= 0) {
			recv(last[i], &byte, 1, MSG_DONTWAIT);
			close(last[i]);
		}
		last[i] = accept_and_answer(listener);
	}
}

static void serve_source(int listener)
{
	for (;;) {
		int fd = accept_and_answer(listener);

		while (send(fd, block, sizeof(block), MSG_NOSIGNAL) > 0)
			;
		close(fd);
	}
}

static void serve(const char *mode, const struct address *at)
{
	static const struct {
		const char *name;
		int type;
		void (*run)(int fd);
	} modes[] = {
		{ "udp", SOCK_DGRAM, serve_datagrams },
		{ "count", SOCK_DGRAM, count_datagrams },
		{ "tcp", SOCK_STREAM, serve_and_close },
		{ "echo", SOCK_STREAM, serve_until_closed },
		{ "source", SOCK_STREAM, serve_source },
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		int fd, on = 1;

		if (strcmp(modes[i].name, mode))
			continue;
		fd = open_socket(at, modes[i].type);
		if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
		    bind(fd, (const struct sockaddr *)&at->sa, at->length))
			die("bind");
		if (modes[i].type == SOCK_STREAM && listen(fd, BACKLOG))
			die("listen");
		modes[i].run(fd);
	}
	usage();
}

/* --- the client's exchanges */

static bool is_each(const struct load *load)
{
	return !strcmp(load->work->name, "each");
}

static int connect_to(const struct load *load)
{
	const struct linger reset = { .l_onoff = 1 };
	const struct timeval patience = { .tv_sec = 5 };
	int fd = open_socket(&load->to, load->work->type);

	if (load->work->end == RESET &&
	    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)))
		die("linger");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    (!is_each(load) && connect(fd, (const struct sockaddr *)&load->to.sa, load->to.length)))
		die("connect");
	return fd;
}

static void ask(const struct load *load, int *fd)
{
	const struct work *work = load->work;
	bool each = is_each(load);

	if (work->end >= RESET)
		*fd = connect_to(load);
	if (sendto(*fd, work->request, work->size, MSG_NOSIGNAL,
		   each ? (const struct sockaddr *)&load->to.sa : NULL,
		   each ? load->to.length : 0) < 0)
		die("send");
}

/* The whole size of the answer whose first bytes these are, 0 if it is not known yet. */
static size_t http_size(const char *text)
{
	const char *end = strstr(text, "\r\n\r\n"), *length = strcasestr(text, "\nContent-Length:");

	errno = EBADMSG;
	if (!end)
		return 0;
	if (strncmp(text, "HTTP/1.1 200 ", 13) || !length || length > end)
		die("not the HTTP answer that was expected");
	return (size_t)(end + 4 - text) + strtoul(length + strlen("\nContent-Length:"), NULL, 10);
}

static void await_http(int fd)
{
	char text[2048];
	size_t have = 0, size;

	do {
		ssize_t got = recv(fd, text + have, sizeof(text) - 1 - have, 0);

		if (got <= 0)
			die("no HTTP answer");
		have += (size_t)got;
		text[have] = '\0';
		size = http_size(text);
	} while (!size || have < size);
}

static void await_end(int fd)
{
	char byte;

	if (recv(fd, &byte, 1, 0))
		die("the server does not close");
}

static void await(const struct load *load, int fd)
{
	struct sockaddr_storage from;
	socklen_t length = sizeof(from);
	bool each = is_each(load);
	char data[DATAGRAM];

	if (load->work->http)
		await_http(fd);
	else if (recvfrom(fd, data, sizeof(data), 0, each ? (struct sockaddr *)&from : NULL,
			  each ? &length : NULL) <= 0)
		die("no answer");
	if (load->work->end == AWAIT)
		await_end(fd);
	if (load->work->end >= RESET)
		close(fd);
}

static void fill_window(struct load *load)
{
	int shared = load->work->end == SHARED ? connect_to(load) : -1;

	for (size_t i = 0; i < load->window; i++) {
		load->fds[i] = load->work->end == KEEP ? connect_to(load) : shared;
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
static double exchange(struct load *load, double seconds)
{
	unsigned long before = load->count;
	double from = now(), past;

	do {
		int *oldest = &load->fds[load->next++ % load->window];

		await(load, *oldest);
		ask(load, oldest);
		load->count++;
		past = now() - from;
	} while (past < seconds);
	return (double)(load->count - before) / past;
}

/* --- the client's streams */

static void start_bulk(struct load *load)
{
	load->fds[0] = connect_to(load);
	ask(load, &load->fds[0]);
}

/* MB per second; the count is of them too. */
static double receive(struct load *load, double seconds)
{
	static unsigned long total;
	unsigned long bytes = 0;
	double from = now(), past;

	do {
		ssize_t got = recv(load->fds[0], block, sizeof(block), 0);

		if (got <= 0)
			die("no more bytes");
		bytes += (unsigned long)got;
		past = now() - from;
	} while (past < seconds);
	total += bytes;
	load->count = total / 1000000;
	return (double)bytes / 1e6 / past;
}

static void start_pps(struct load *load)
{
	const struct timeval patience = { .tv_usec = 100000 };

	load->fds[0] = connect_to(load);
	if (setsockopt(load->fds[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)))
		die("patience");
}

/* How many the server has received. The question may be lost, as every datagram may. */
static unsigned long ask_count(int fd)
{
	unsigned long count;

	for (int i = 0; i < 50; i++) {
		if (send(fd, "?", 1, 0) == 1 && recv(fd, &count, sizeof(count), 0) == sizeof(count))
			return count;
	}
	die("no answer with the count");
}

static double send_datagrams(struct load *load, double seconds)
{
	unsigned long before = ask_count(load->fds[0]);
	double from = now(), past;

	do {
		for (int i = 0; i < BURST; i++)
			send(load->fds[0], datagram, sizeof(datagram), 0);
		sched_yield();
		past = now() - from;
	} while (past < seconds);
	load->count = ask_count(load->fds[0]);
	return (double)(load->count - before) / (now() - from);
}

/* --- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure_rate(struct load *load, double seconds, void (*start)(struct load *load),
			 double (*run)(struct load *load, double seconds))
{
	double rates[SLICES];
	int count = 0;

	start(load);
	run(load, seconds / WARM_UP);
	while (count < SLICES && (load->work->end < CLOSE || load->count < MAX_CLOSED))
		rates[count++] = run(load, seconds / SLICES);
	qsort(rates, (size_t)count, sizeof(*rates), compare);
	printf("rate %.6g\ncount %lu\n", rates[count * 9 / 10], load->count);
}

static double first_byte(struct load *load)
{
	double from = now(), past;
	char byte;
	int fd;

	ask(load, &fd);
	if (recv(fd, &byte, 1, MSG_PEEK) != 1)
		die("no first byte");
	past = now() - from;
	await(load, fd);
	return past * 1e6;
}

static void measure_first(struct load *load, double seconds)
{
	static const double quantiles[] = { 0.01, 0.05, 0.1,   0.2,   0.3,   0.4,
					    0.5,  0.6,	0.7,   0.8,   0.9,   0.95,
					    0.98, 0.99, 0.995, 0.998, 0.999, 0.9995 };
	static double samples[MAX_CLOSED];
	double end = now() + seconds / WARM_UP;

	while (now() < end)
		first_byte(load);
	end = now() + seconds;
	while (now() < end && load->count < MAX_CLOSED)
		samples[load->count++] = first_byte(load);
	qsort(samples, load->count, sizeof(*samples), compare);
	for (size_t i = 0; i < sizeof(quantiles) / sizeof(*quantiles); i++)
		printf("first %g %.2f\n", quantiles[i],
		       samples[(size_t)((double)load->count * quantiles[i])]);
	printf("count %lu\n", load->count);
}

static void measure(struct load *load, double seconds)
{
	if (!strcmp(load->work->name, "first"))
		measure_first(load, seconds);
	else if (!strcmp(load->work->name, "bulk"))
		measure_rate(load, seconds, start_bulk, receive);
	else if (!strcmp(load->work->name, "pps"))
		measure_rate(load, seconds, start_pps, send_datagrams);
	else
		measure_rate(load, seconds, fill_window, exchange);
}

int main(int argc, char **argv)
{
	struct load load = { 0 };

	if (argc < 5)
		usage();
	load.to = parse(argv[3], argv[4]);
	if (!strcmp(argv[1], "serve") && argc == 5)
		serve(argv[2], &load.to);
	if (strcmp(argv[1], "load") || argc < 6 || argc > 7)
		usage();
	load.window = argc == 7 ? strtoul(argv[6], NULL, 10) : WINDOW;
	if (!load.window || load.window > WINDOW)
		usage();
	for (size_t i = 0; i < sizeof(works) / sizeof(*works); i++) {
		if (!strcmp(works[i].name, argv[2]))
			load.work = &works[i];
	}
	if (!load.work)
		usage();
	measure(&load, strtod(argv[5], NULL));
	return 0;
}
