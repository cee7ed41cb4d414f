// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a bind() and a getsockname() of an uninvolved process cost, in ns.
 *
 *   bench_bind UID PORT CGROUP [PROGRAM-ID...]
 *
 * As that user, UDP sockets are made, bound to 127.0.0.1:PORT and closed; then one is
 * asked for its name, again and again. First as it is, by the clock; then, if programs
 * are given, once more with the kernel's statistics, which count their time alone. Each
 * line says what, the ns for a bind, and for a getsockname:
 *
 *   call     the system call, by the clock, which is read twice for it
 *   sum      all of the given programs
 *   empty    one that does nothing, attached to CGROUP, where we run: what is counted
 *            for a program at least, the clock being read twice
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
enum { BIND, NAME, WORKS };
enum { CALL, SUM, EMPTY, FIRST };

struct subject {
	char name[BPF_OBJ_NAME_LEN + 1];
	int fd; /* of a program */
	double seen; /* ns in all, when looked at last */
	double ns[WORKS][SLICES]; /* of a call */
};

static struct subject subjects[FIRST + MAX_PROGRAMS] = {
	[CALL] = { .name = "call" },
	[SUM] = { .name = "sum" },
	[EMPTY] = { .name = "empty" },
};
static int count = FIRST;
static struct sockaddr_in at = { .sin_family = AF_INET };

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "bench_bind: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* --- the work: it returns the ns that its calls took */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Who looks at our open files (/proc, a scan of portsteer's) may hold the last socket for
 * an instant longer than we do: its port is not free then. */
static double bind_one(int *fd)
{
	*fd = socket(AF_INET, SOCK_DGRAM, 0);
	for (int i = 0;; i++) {
		double from = now();

		if (!bind(*fd, (struct sockaddr *)&at, sizeof(at)))
			return now() - from;
		if (errno != EADDRINUSE || i == PATIENCE)
			die("bind");
		usleep(1000);
	}
}

/* Only the bind is timed: a socket's life costs many times more, and not evenly so. */
static double bind_often(void)
{
	double ns = 0;

	for (int i = 0; i < CALLS; i++) {
		int fd;

		ns += bind_one(&fd);
		close(fd);
	}
	return ns;
}

static double name_often(int fd)
{
	double ns = 0;

	for (int i = 0; i < CALLS; i++) {
		struct sockaddr_in name;
		socklen_t length = sizeof(name);
		double from = now();

		if (getsockname(fd, (struct sockaddr *)&name, &length))
			die("getsockname");
		ns += now() - from;
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
static void measure(int work, int from, int to)
{
	int fd = -1;

	if (work == NAME)
		bind_one(&fd);
	for (int slice = -1; slice < SLICES; slice++) {
		double ns;

		for (int i = from; i < to; i++)
			subjects[i].seen = i == CALL ? 0 : run_time(subjects[i].fd);
		ns = work == BIND ? bind_often() : name_often(fd);
		for (int i = from; i < to && slice >= 0; i++) {
			if (i != CALL)
				ns = run_time(subjects[i].fd) - subjects[i].seen;
			subjects[i].ns[work][slice] = ns / CALLS;
		}
	}
	if (fd >= 0)
		close(fd);
}

static void add_up(int work)
{
	for (int slice = 0; slice < SLICES; slice++) {
		for (int i = FIRST; i < count; i++)
			subjects[SUM].ns[work][slice] += subjects[i].ns[work][slice];
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
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_CGROUP_INET4_BIND);
	int fd = bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "bench", "GPL", insns,
			       sizeof(insns) / sizeof(*insns), &opts);

	if (fd < 0 || bpf_link_create(fd, cgroup, BPF_CGROUP_INET4_BIND, NULL) < 0)
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
	printf("%s %.1f %.1f\n", subjects[i].name, median(subjects[i].ns[BIND]),
	       median(subjects[i].ns[NAME]));
}

int main(int argc, char **argv)
{
	uid_t user;
	int cgroup;

	if (argc < 4 || argc > 4 + MAX_PROGRAMS) {
		fprintf(stderr, "usage: bench_bind UID PORT CGROUP [PROGRAM-ID...]\n");
		return 2;
	}
	user = (uid_t)strtoul(argv[1], NULL, 10);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	at.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10));
	cgroup = enter_cgroup(argv[3]);
	for (int i = 4; i < argc; i++)
		open_program(argv[i]);
	if (setgroups(0, NULL) || setresgid(user, user, user))
		die("leave the groups");
	become(user);
	measure(BIND, CALL, SUM);
	measure(NAME, CALL, SUM);
	print(CALL);
	if (count == FIRST)
		return 0;
	become(0);
	attach_empty(cgroup);
	if (bpf_enable_stats(BPF_STATS_RUN_TIME) < 0)
		die("the kernel's statistics");
	become(user);
	measure(BIND, EMPTY, count);
	measure(NAME, EMPTY, count);
	add_up(BIND);
	add_up(NAME);
	for (int i = SUM; i < count; i++)
		print(i);
	return 0;
}
