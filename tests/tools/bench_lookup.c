// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a lookup costs, by BPF_PROG_TEST_RUN: pinned sk_lookup programs beside an
 * empty one and beside a floor (find a socket in a sockmap, assign it, release it:
 * what steering cannot do without). All are run in turn, round after round, so that
 * what else the machine does hits them alike; the medians are printed.
 *
 *   bench_lookup LISTENERS-PIN LABEL=PROGRAM-PIN:PORT...
 *
 * One line each: label, median in ns, and its difference to the empty program.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

enum { ROUNDS = 41, REPEAT = 200000, MAX_CASES = 16 };

#define INSN(c, d, s, o, i)                                                                        \
	((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) })
#define MOV_REG(d, s) INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOV_IMM(d, i) INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define CALL(f) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, f)
#define EXIT INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

struct subject {
	const char *label;
	int fd;
	unsigned int port;
	double ns[ROUNDS];
};

static void die(const char *what)
{
	fprintf(stderr, "bench_lookup: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int load(const struct bpf_insn *insns, size_t count)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_SK_LOOKUP);
	int fd = bpf_prog_load(BPF_PROG_TYPE_SK_LOOKUP, "bench", "GPL", insns, count, &opts);

	if (fd < 0)
		die("load a reference program");
	return fd;
}

static int load_empty(void)
{
	const struct bpf_insn insns[] = { MOV_IMM(BPF_REG_0, SK_PASS), EXIT };

	return load(insns, sizeof(insns) / sizeof(*insns));
}

static int load_floor(int sockmap)
{
	const struct bpf_insn insns[] = {
		MOV_REG(BPF_REG_6, BPF_REG_1),
		INSN(BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, -4, 0),
		INSN(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, sockmap),
		INSN(0, 0, 0, 0, 0),
		MOV_REG(BPF_REG_2, BPF_REG_10),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, -4),
		CALL(BPF_FUNC_map_lookup_elem),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_0, 0, 7, 0),
		MOV_REG(BPF_REG_7, BPF_REG_0),
		MOV_REG(BPF_REG_1, BPF_REG_6),
		MOV_REG(BPF_REG_2, BPF_REG_7),
		MOV_IMM(BPF_REG_3, 0),
		CALL(BPF_FUNC_sk_assign),
		MOV_REG(BPF_REG_1, BPF_REG_7),
		CALL(BPF_FUNC_sk_release),
		MOV_IMM(BPF_REG_0, SK_PASS),
		EXIT,
	};

	return load(insns, sizeof(insns) / sizeof(*insns));
}

/* Nanoseconds of one run: the time of the call that makes REPEAT of them (what the
 * kernel returns has no fractions). */
static double run(const struct subject *s)
{
	struct bpf_sk_lookup ctx = {
		.family = AF_INET,
		.protocol = IPPROTO_TCP,
		.remote_ip4 = htonl(0x0a000001),
		.remote_port = htons(40000),
		.local_ip4 = htonl(INADDR_LOOPBACK),
		.local_port = s->port,
	};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx),
		    .repeat = REPEAT);

	struct timespec from, to;

	clock_gettime(CLOCK_MONOTONIC, &from);
	if (bpf_prog_test_run_opts(s->fd, &opts))
		die("BPF_PROG_TEST_RUN");
	clock_gettime(CLOCK_MONOTONIC, &to);
	return ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) /
	       REPEAT;
}

/* "LABEL=PIN:PORT"; changes `text`. */
static void read_subject(struct subject *s, char *text)
{
	char *pin = strchr(text, '='), *port = strrchr(text, ':');

	errno = EINVAL;
	if (!pin || !port || port < pin)
		die(text);
	*pin++ = *port++ = '\0';
	s->label = text;
	s->port = (unsigned int)strtoul(port, NULL, 10);
	s->fd = bpf_obj_get(pin);
	if (s->fd < 0)
		die(pin);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const double *from)
{
	double sorted[ROUNDS];

	memcpy(sorted, from, sizeof(sorted));
	qsort(sorted, ROUNDS, sizeof(*sorted), compare);
	return sorted[ROUNDS / 2];
}

int main(int argc, char **argv)
{
	static struct subject subjects[MAX_CASES];
	int count = 2, listeners;

	if (argc < 3 || argc > MAX_CASES) {
		fprintf(stderr, "usage: bench_lookup LISTENERS-PIN LABEL=PROGRAM-PIN:PORT...\n");
		return 2;
	}
	listeners = bpf_obj_get(argv[1]);
	if (listeners < 0)
		die(argv[1]);
	subjects[0] = (struct subject){ .label = "empty", .fd = load_empty(), .port = 80 };
	subjects[1] = (struct subject){ .label = "floor", .fd = load_floor(listeners), .port = 80 };
	for (int i = 2; i < argc; i++)
		read_subject(&subjects[count++], argv[i]);
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < count; i++)
			subjects[i].ns[round] = run(&subjects[i]);
	}
	for (int i = 0; i < count; i++)
		printf("%s %.1f %+.1f\n", subjects[i].label, median(subjects[i].ns),
		       median(subjects[i].ns) - median(subjects[0].ns));
	return 0;
}
