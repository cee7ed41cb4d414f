// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a system call about an address costs an uninvolved process, in ns.
 *
 *   bench_call CALL UID PORT CGROUP [PROGRAM-ID...]
 *
 * As that user, a UDP socket is bound to, connected to or sends to 127.0.0.1:PORT, or is
 * asked for its name or peer there, again and again. First as it is, by the clock; then,
 * if programs are given, once more with the kernel's statistics, which count their time
 * alone. Each line says what, and the ns:
 *
 *   call     the system call, by the clock, which is read twice for it
 *   sum      all of the given programs
 *   empty    one that does nothing, attached to CGROUP, where we run: what is counted
 *            for a program at least, the clock being read twice
 *   over     the given programs, each that is called less an empty one
 *   NAME     each of the given programs
 *
 * All are medians of many short slices, of 100,000 calls in all.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

enum { SLICES = 100, CALLS = 1000, MAX_PROGRAMS = 16, PATIENCE = 1000 };
enum { CALL, SUM, OVER, EMPTY, FIRST };

struct subject {
	char name[BPF_OBJ_NAME_LEN + 1];
	int fd; /* of a program */
	double seen; /* ns in all, when looked at last */
	double ns[SLICES]; /* of a call */
};

static struct subject subjects[FIRST + MAX_PROGRAMS] = {
	[CALL] = { .name = "call" },
	[SUM] = { .name = "sum" },
	[OVER] = { .name = "over" },
	[EMPTY] = { .name = "empty" },
};
static int count = FIRST;
static struct sockaddr_in at = { .sin_family = AF_INET };

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "bench_call: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* --- the calls: each does one on a new socket, or on the one that all share */

static const struct sockaddr *to = (const struct sockaddr *)&at;

static int do_bind(int fd)
{
	return bind(fd, to, sizeof(at));
}

static int do_connect(int fd)
{
	return connect(fd, to, sizeof(at));
}

static int do_send(int fd)
{
	return sendto(fd, "", 1, 0, to, sizeof(at)) == 1 ? 0 : -1;
}

static int do_name(int fd)
{
	struct sockaddr_in name;
	socklen_t length = sizeof(name);

	return getsockname(fd, (struct sockaddr *)&name, &length);
}

static int do_peer(int fd)
{
	struct sockaddr_in name;
	socklen_t length = sizeof(name);

	return getpeername(fd, (struct sockaddr *)&name, &length);
}

static const struct call {
	const char *name;
	int (*run)(int fd);
	int (*first)(int fd); /* once, on the shared socket; NULL: a new socket for each */
	enum bpf_attach_type hook;
} calls[] = {
	{ "bind", do_bind, NULL, BPF_CGROUP_INET4_BIND },
	{ "getsockname", do_name, do_bind, BPF_CGROUP_INET4_GETSOCKNAME },
	{ "connect", do_connect, do_connect, BPF_CGROUP_INET4_CONNECT },
	{ "getpeername", do_peer, do_connect, BPF_CGROUP_INET4_GETPEERNAME },
	{ "sendto", do_send, do_send, BPF_CGROUP_UDP4_SENDMSG },
};
static const struct call *call;

/* --- the work */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int open_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0)
		die("socket");
	return fd;
}

/* Who looks at our open files (/proc, a scan of portsteer's) may hold the last socket for
 * an instant longer than we do: its port is not free then. */
static double run_one(int (*run)(int fd), int fd)
{
	for (int i = 0;; i++) {
		double from = now();

		if (!run(fd))
			return now() - from;
		if (errno != EADDRINUSE || i == PATIENCE)
			die(call->name);
		usleep(1000);
	}
}

/* The ns that the calls took. Only they are timed: a socket's life costs many times more,
 * and not evenly so. */
static double run_often(int shared)
{
	double ns = 0;

	for (int i = 0; i < CALLS; i++) {
		int fd = call->first ? shared : open_socket();

		ns += run_one(call->run, fd);
		if (!call->first)
			close(fd);
	}
	return ns;
}

static double run_time(int fd)
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		die("the statistics of a program");
	return (double)info.run_time_ns;
}

/* What each call costs, for the subjects from this one to before that one. */
static void measure(int from, int to_before)
{
	int fd = open_socket();

	if (call->first)
		run_one(call->first, fd);
	for (int slice = -1; slice < SLICES; slice++) {
		double ns;

		for (int i = from; i < to_before; i++)
			subjects[i].seen = i == CALL ? 0 : run_time(subjects[i].fd);
		ns = run_often(fd);
		for (int i = from; i < to_before && slice >= 0; i++) {
			if (i != CALL)
				ns = run_time(subjects[i].fd) - subjects[i].seen;
			subjects[i].ns[slice] = ns / CALLS;
		}
	}
	close(fd);
}

static void add_up(void)
{
	for (int slice = 0; slice < SLICES; slice++) {
		for (int i = FIRST; i < count; i++) {
			double ns = subjects[i].ns[slice];

			subjects[SUM].ns[slice] += ns;
			subjects[OVER].ns[slice] += ns > 0 ? ns - subjects[EMPTY].ns[slice] : 0;
		}
	}
}

/* --- the programs */

static void open_program(const char *id)
{
	struct subject *s = &subjects[count++];
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);

	s->fd = bpf_prog_get_fd_by_id((__u32)strtoul(id, NULL, 10));
	if (s->fd < 0 || bpf_obj_get_info_by_fd(s->fd, &info, &size))
		die(id);
	snprintf(s->name, sizeof(s->name), "%s", info.name);
}

/* It is attached as long as we live. */
static void attach_empty(int cgroup)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = call->hook);
	int fd = bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "bench", "GPL", insns,
			       sizeof(insns) / sizeof(*insns), &opts);

	if (fd < 0 || bpf_link_create(fd, cgroup, call->hook, NULL) < 0)
		die("attach an empty program");
	subjects[EMPTY].fd = fd;
}

static int enter_cgroup(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY);
	int procs = openat(fd, "cgroup.procs", O_WRONLY);

	if (procs < 0 || write(procs, "0", 1) != 1)
		die(path);
	close(procs);
	return fd;
}

/* --- */

/* For a while: what is loaded and attached needs root. */
static void become(uid_t user)
{
	if (setresuid(user, user, 0))
		die("become a user");
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *ns)
{
	qsort(ns, SLICES, sizeof(*ns), compare);
	return ns[SLICES / 2];
}

static void print(int i)
{
	printf("%s %.1f\n", subjects[i].name, median(subjects[i].ns));
}

static const struct call *find_call(const char *name)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		if (!strcmp(calls[i].name, name))
			return &calls[i];
	}
	return NULL;
}

static void watch_programs(int cgroup)
{
	attach_empty(cgroup);
	if (bpf_enable_stats(BPF_STATS_RUN_TIME) < 0)
		die("the kernel's statistics");
}

int main(int argc, char **argv)
{
	uid_t user;
	int cgroup;

	call = argc < 5 || argc > 5 + MAX_PROGRAMS ? NULL : find_call(argv[1]);
	if (!call) {
		fprintf(stderr, "usage: bench_call bind|getsockname|connect|getpeername|sendto "
				"UID PORT CGROUP [PROGRAM-ID...]\n");
		return 2;
	}
	user = (uid_t)strtoul(argv[2], NULL, 10);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	at.sin_port = htons((uint16_t)strtoul(argv[3], NULL, 10));
	cgroup = enter_cgroup(argv[4]);
	for (int i = 5; i < argc; i++)
		open_program(argv[i]);
	if (setgroups(0, NULL) || setresgid(user, user, user))
		die("leave the groups");
	become(user);
	measure(CALL, SUM);
	print(CALL);
	if (count == FIRST)
		return 0;
	become(0);
	watch_programs(cgroup);
	become(user);
	measure(EMPTY, count);
	add_up();
	for (int i = SUM; i < count; i++)
		print(i);
	return 0;
}
