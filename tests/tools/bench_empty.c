// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs that do nothing, attached to cgroups and network namespaces: the least that a
 * hook can cost.
 *
 *   bench_empty WHERE HOOK... [-- WHERE HOOK...]...
 *
 * with connect4, getpeername4, sendmsg4, recvmsg4, release and sock_ops for hooks of a
 * cgroup, and sk_lookup for a network namespace; prints "ready" when they are attached, and
 * stays until its input ends.
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
	enum bpf_prog_type kind;
	enum bpf_attach_type type;
} hooks[] = {
	{ "connect4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT },
	{ "getpeername4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_GETPEERNAME },
	{ "sendmsg4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP4_SENDMSG },
	{ "recvmsg4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP4_RECVMSG },
	{ "release", BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET_SOCK_RELEASE },
	{ "sock_ops", BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS },
	{ "sk_lookup", BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP },
};

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "bench_empty: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* For as long as we live. */
static void attach(int where, enum bpf_prog_type kind, enum bpf_attach_type type)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = type);
	int fd = bpf_prog_load(kind, "empty", "GPL", insns, sizeof(insns) / sizeof(*insns), &opts);

	if (fd < 0 || bpf_link_create(fd, where, type, NULL) < 0)
		die("attach an empty program");
}

static void attach_named(int where, const char *name)
{
	for (size_t i = 0; i < sizeof(hooks) / sizeof(*hooks); i++) {
		if (!strcmp(hooks[i].name, name)) {
			attach(where, hooks[i].kind, hooks[i].type);
			return;
		}
	}
	errno = EINVAL;
	die(name);
}

/* "WHERE HOOK..." up to "--": how many words that was. */
static int attach_all(char **words)
{
	int where = open(words[0], O_RDONLY), i;

	if (where < 0)
		die(words[0]);
	for (i = 1; words[i] && strcmp(words[i], "--"); i++)
		attach_named(where, words[i]);
	close(where);
	return i;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: bench_empty WHERE HOOK... [-- WHERE HOOK...]...\n");
		return 2;
	}
	for (int i = 1; i < argc; i++)
		i += attach_all(argv + i);
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
