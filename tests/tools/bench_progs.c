// SPDX-License-Identifier: GPL-2.0-only
/*
 * What BPF programs are, and what they cost while a command runs.
 *
 *   bench_progs CGROUP PROGRAM-ID... [-- COMMAND...]
 *
 * Lines for each program:
 *
 *   NAME instructions-verified N    of all paths that the verifier walked
 *   NAME bytes-translated N         of BPF instructions, as they are loaded
 *   NAME bytes-machine N            of machine code
 *   NAME runs N, NAME ns N          with a command: how often it ran, and for how long each
 *                                   time, above a program that does nothing
 *
 * The program that does nothing is of the type sock_ops, attached to the cgroup, in which
 * the command has to cause some events. The kernel's statistics read the clock twice for
 * each run, which is most of what they count for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

enum { MAX_PROGRAMS = 64 };

struct subject {
	int fd;
	struct bpf_prog_info before, after;
};

static struct subject empty, subjects[MAX_PROGRAMS];
static int count;

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "bench_progs: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void look(int fd, struct bpf_prog_info *info)
{
	__u32 size = sizeof(*info);

	memset(info, 0, sizeof(*info));
	if (bpf_obj_get_info_by_fd(fd, info, &size))
		die("what a program is");
}

/* It is attached as long as we live. */
static void attach_empty(const char *cgroup)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int at = open(cgroup, O_RDONLY | O_DIRECTORY);

	empty.fd = bpf_prog_load(BPF_PROG_TYPE_SOCK_OPS, "bench", "GPL", insns,
				 sizeof(insns) / sizeof(*insns), NULL);
	if (at < 0 || empty.fd < 0 || bpf_link_create(empty.fd, at, BPF_CGROUP_SOCK_OPS, NULL) < 0)
		die("attach an empty program");
}

static void run(char **command)
{
	int status;
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (!child) {
		execvp(*command, command);
		die(*command);
	}
	if (waitpid(child, &status, 0) != child || status) {
		errno = ECANCELED;
		die(*command);
	}
}

static void watch(const char *cgroup, char **command)
{
	attach_empty(cgroup);
	if (bpf_enable_stats(BPF_STATS_RUN_TIME) < 0)
		die("the kernel's statistics");
	look(empty.fd, &empty.before);
	for (int i = 0; i < count; i++)
		look(subjects[i].fd, &subjects[i].before);
	run(command);
	for (int i = 0; i < count; i++)
		look(subjects[i].fd, &subjects[i].after);
	look(empty.fd, &empty.after);
}

static double ns_each(const struct subject *s)
{
	double runs = (double)(s->after.run_cnt - s->before.run_cnt);

	return runs > 0 ? (double)(s->after.run_time_ns - s->before.run_time_ns) / runs : 0;
}

static void print_sizes(const struct subject *s)
{
	struct bpf_prog_info info;

	look(s->fd, &info);
	printf("%s instructions-verified %u\n", info.name, info.verified_insns);
	printf("%s bytes-translated %u\n", info.name, info.xlated_prog_len);
	printf("%s bytes-machine %u\n", info.name, info.jited_prog_len);
}

static void print_runs(const struct subject *s)
{
	unsigned long long runs = s->after.run_cnt - s->before.run_cnt;

	if (!runs)
		return;
	printf("%s runs %llu\n", s->after.name, runs);
	printf("%s ns %.1f\n", s->after.name, ns_each(s) - ns_each(&empty));
}

int main(int argc, char **argv)
{
	int i = 2;

	if (argc < 3) {
		fprintf(stderr, "usage: bench_progs CGROUP PROGRAM-ID... [-- COMMAND...]\n");
		return 2;
	}
	for (; i < argc && strcmp(argv[i], "--") && count < MAX_PROGRAMS; i++) {
		subjects[count].fd = bpf_prog_get_fd_by_id((__u32)strtoul(argv[i], NULL, 10));
		if (subjects[count].fd < 0)
			die(argv[i]);
		count++;
	}
	if (i + 1 < argc)
		watch(argv[1], argv + i + 1);
	for (int j = 0; j < count; j++) {
		if (i + 1 < argc)
			print_runs(&subjects[j]);
		else
			print_sizes(&subjects[j]);
	}
	return 0;
}
