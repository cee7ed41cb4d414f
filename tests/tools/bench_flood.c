// SPDX-License-Identifier: GPL-2.0-only
/*
 * A SYN flood: requests for connections from addresses that nobody has, 10.0.0.0/8, each
 * with another port.
 *
 *   bench_flood ADDRESS PORT SECONDS
 *
 * Prints "rate R", the requests sent per second. Over a veth pair the sender's CPU does
 * all that the receiving kernel does for a request before it sends the next, so that the
 * rate is that of handling them. The time is cut into slices and the ninth tenth's rate is
 * printed, as bench_net does it and for the same reason.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 32, SLICES = 50 };

struct packet {
	struct iphdr ip;
	struct tcphdr tcp;
} __attribute__((packed, aligned(4)));

static struct packet packets[BATCH];
static struct iovec vectors[BATCH];
static struct mmsghdr messages[BATCH];
static struct sockaddr_in to = { .sin_family = AF_INET };

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "bench_flood: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t random_bits(void)
{
	static uint64_t state = 0x9e3779b97f4a7c15;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint32_t add_words(uint32_t sum, const void *data, size_t bytes)
{
	const uint8_t *at = data;

	for (size_t i = 0; i < bytes; i += 2)
		sum += (uint32_t)at[i] << 8 | at[i + 1];
	return sum;
}

/* The pseudo header is the addresses, the protocol and the length. */
static uint16_t checksum(const struct packet *p)
{
	uint32_t sum = add_words(IPPROTO_TCP + sizeof(p->tcp), &p->tcp, sizeof(p->tcp));

	sum = add_words(sum, &p->ip.saddr, sizeof(p->ip.saddr));
	sum = add_words(sum, &p->ip.daddr, sizeof(p->ip.daddr));
	sum = (sum & 0xffff) + (sum >> 16);
	sum += sum >> 16;
	return htons((uint16_t)~sum);
}

/* The kernel writes the header's length, identification and checksum. */
static void prepare(void)
{
	for (int i = 0; i < BATCH; i++) {
		struct packet *p = &packets[i];

		p->ip = (struct iphdr){ .version = 4,
					.ihl = 5,
					.ttl = 64,
					.protocol = IPPROTO_TCP,
					.daddr = to.sin_addr.s_addr };
		p->tcp.dest = to.sin_port;
		p->tcp.doff = sizeof(p->tcp) / 4;
		p->tcp.syn = 1;
		p->tcp.window = htons(64240);
		vectors[i] = (struct iovec){ .iov_base = p, .iov_len = sizeof(*p) };
		messages[i].msg_hdr = (struct msghdr){ .msg_name = &to,
						       .msg_namelen = sizeof(to),
						       .msg_iov = &vectors[i],
						       .msg_iovlen = 1 };
	}
}

static void renew(struct packet *p)
{
	uint64_t bits = random_bits();

	p->ip.saddr = htonl(0x0a000000 | (uint32_t)(bits & 0xffffff));
	p->tcp.source = htons((uint16_t)(1024 + (bits >> 24) % 64000));
	p->tcp.seq = (uint32_t)(bits >> 32);
	p->tcp.check = 0;
	p->tcp.check = checksum(p);
}

/* Requests per second during a slice of this length. */
static double run(int fd, double seconds)
{
	unsigned long count = 0;
	double from = now(), past;

	do {
		int sent;

		for (int i = 0; i < BATCH; i++)
			renew(&packets[i]);
		sent = sendmmsg(fd, messages, BATCH, 0);
		if (sent < 0 && errno != ENOBUFS)
			die("send");
		count += sent > 0 ? (unsigned long)sent : 0;
		past = now() - from;
	} while (past < seconds);
	return (double)count / past;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	double rates[SLICES], seconds;
	int fd;

	if (argc != 4 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
		fprintf(stderr, "usage: bench_flood ADDRESS PORT SECONDS\n");
		return 2;
	}
	to.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10));
	seconds = strtod(argv[3], NULL);
	fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	if (fd < 0)
		die("socket");
	prepare();
	run(fd, seconds / 10);
	for (int i = 0; i < SLICES; i++)
		rates[i] = run(fd, seconds / SLICES);
	qsort(rates, SLICES, sizeof(*rates), compare);
	printf("rate %.0f\n", rates[SLICES * 9 / 10]);
	return 0;
}
