// SPDX-License-Identifier: GPL-2.0-only
/*
 * bind_race udp|tcp PORT SECONDS [unmark]: bind :: again and again to PORT, by sockets that another
 * thread makes IPv6-only and open to both families in turns, and see what port they have.
 * With "unmark", a third thread tries to bind each to port 53 meanwhile. Prints how many
 * sockets were bound for both families to another port than the one asked for, which is as
 * soon as there is one, and how many had it for IPv6 alone: "both 0 alone 1234".
 */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static atomic_int current = -1;
static atomic_bool ended;
static int type;
static in_port_t asked;

static void *flip(void *unused)
{
	for (int n = 0; !ended; n++) {
		int on = n & 1;

		setsockopt(current, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	}
	return unused;
}

static void *unmark(void *unused)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(53) };

	while (!ended)
		bind(current, (struct sockaddr *)&address, sizeof(address));
	return unused;
}

/* Is the port that was asked for still free for IPv4? */
static bool is_free(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = asked };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	bool free = !bind(fd, (struct sockaddr *)&address, sizeof(address));

	close(fd);
	return free;
}

enum outcome { REFUSED, AS_ASKED, ALONE, BOTH };

static enum outcome try(void)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = asked };
	int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0), only = 1;
	socklen_t size = sizeof(only);
	enum outcome outcome = REFUSED;

	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
	current = fd;
	if (!bind(fd, (struct sockaddr *)&address, sizeof(address))) {
		/* What is bound stays what it is. */
		getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &size);
		outcome = only ? ALONE : is_free() ? BOTH : AS_ASKED;
	}
	current = -1;
	close(fd);
	return outcome;
}

int main(int argc, char **argv)
{
	unsigned long count[BOTH + 1] = { 0 };
	pthread_t threads[2];
	time_t end;

	if (argc < 4)
		return 2;
	type = strcmp(argv[1], "udp") ? SOCK_STREAM : SOCK_DGRAM;
	asked = htons((in_port_t)atoi(argv[2]));
	end = time(NULL) + atoi(argv[3]);
	pthread_create(&threads[0], NULL, flip, NULL);
	if (argc > 4)
		pthread_create(&threads[1], NULL, unmark, NULL);
	while (time(NULL) < end && !count[BOTH])
		count[try()]++;
	ended = true;
	pthread_join(threads[0], NULL);
	if (argc > 4)
		pthread_join(threads[1], NULL);
	printf("both %lu alone %lu\n", count[BOTH], count[ALONE]);
	fprintf(stderr, "refused %lu, as asked %lu\n", count[REFUSED], count[AS_ASKED]);
	return 0;
}
