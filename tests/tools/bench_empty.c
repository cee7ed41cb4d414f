// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs that do nothing, attached to a cgroup: the least that a hook can cost.
 *
 *   bench_empty CGROUP connect4|getpeername4|sendmsg4|recvmsg4...
 *
 * prints "ready" when they are attached, and stays until its input ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

static const struct {
	const char *name;
	enum bpf_attach_type type;
} hooks[] = {
	{ "connect4", BPF_CGROUP_INET4_CONNECT },
	{ "getpeername4", BPF_CGROUP_INET4_GETPEERNAME },
	{ "sendmsg4", BPF_CGROUP_UDP4_SENDMSG },
	{ "recvmsg4", BPF_CGROUP_UDP4_RECVMSG },
};

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "bench_empty: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* For as long as we live. */
static void attach(int cgroup, enum bpf_attach_type type)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = type);
	int fd = bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "empty", "GPL", insns,
			       sizeof(insns) / sizeof(*insns), &opts);

	if (fd < 0 || bpf_link_create(fd, cgroup, type, NULL) < 0)
		die("attach an empty program");
}

static void attach_named(int cgroup, const char *name)
{
	for (size_t i = 0; i < sizeof(hooks) / sizeof(*hooks); i++) {
		if (!strcmp(hooks[i].name, name)) {
			attach(cgroup, hooks[i].type);
			return;
		}
	}
	errno = EINVAL;
	die(name);
}

int main(int argc, char **argv)
{
	int cgroup = argc > 2 ? open(argv[1], O_RDONLY | O_DIRECTORY) : -1;

	if (cgroup < 0) {
		fprintf(stderr, "usage: bench_empty CGROUP HOOK...\n");
		return 2;
	}
	for (int i = 2; i < argc; i++)
		attach_named(cgroup, argv[i]);
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
