// SPDX-License-Identifier: GPL-2.0-only
/*
 * Another program on the bind hook of the root cgroup, which comes after those that are there:
 *
 *   bind_meddle CGROUP2 PORT PORT [ADDRESS]
 *
 * Binds of IPv4 to the first port become those to the second, and to ADDRESS if it is given, in
 * this network namespace: the root cgroup is the whole host's. Prints "ready" when it is attached, and stays until its input ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#define FIELD(name) ((short)offsetof(struct bpf_sock_addr, name))

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "bind_meddle: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int port(const char *text)
{
	return htons((in_port_t)atoi(text));
}

static uint64_t netns_cookie(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint64_t cookie;
	socklen_t size = sizeof(cookie);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size))
		die("SO_NETNS_COOKIE");
	close(fd);
	return cookie;
}

static void attach(int where, char **args)
{
	struct in_addr to = { 0 };
	int jump = args[2] && inet_pton(AF_INET, args[2], &to) == 1 ? 4 : 2;
	uint64_t cookie = netns_cookie();
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_6, .src_reg = BPF_REG_1 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_netns_cookie },
		{ .code = BPF_LD | BPF_DW | BPF_IMM,
		  .dst_reg = BPF_REG_2,
		  .imm = (int)(uint32_t)cookie },
		{ .imm = (int)(uint32_t)(cookie >> 32) },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_3, .src_reg = BPF_REG_0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_1, .src_reg = BPF_REG_6 },
		{ .code = BPF_JMP | BPF_JNE | BPF_X,
		  .dst_reg = BPF_REG_3,
		  .src_reg = BPF_REG_2,
		  .off = (short)(jump + 2) },
		{ .code = BPF_LDX | BPF_MEM | BPF_W,
		  .dst_reg = BPF_REG_2,
		  .src_reg = BPF_REG_1,
		  .off = FIELD(user_port) },
		{ .code = BPF_JMP | BPF_JNE | BPF_K,
		  .dst_reg = BPF_REG_2,
		  .off = (short)jump,
		  .imm = port(args[0]) },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2, .imm = port(args[1]) },
		{ .code = BPF_STX | BPF_MEM | BPF_W,
		  .dst_reg = BPF_REG_1,
		  .src_reg = BPF_REG_2,
		  .off = FIELD(user_port) },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3, .imm = (int)to.s_addr },
		{ .code = BPF_STX | BPF_MEM | BPF_W,
		  .dst_reg = BPF_REG_1,
		  .src_reg = BPF_REG_3,
		  .off = FIELD(user_ip4) },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	struct bpf_insn chosen[sizeof(insns) / sizeof(*insns)];
	size_t last = sizeof(insns) / sizeof(*insns) - 1, count = last - (jump == 4 ? 0 : 2);
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_CGROUP_INET4_BIND);
	int fd;

	memcpy(chosen, insns, count * sizeof(*insns));
	chosen[count] = insns[last];
	fd = bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "meddle", "GPL", chosen, count + 1,
			   &opts);
	if (fd < 0 || bpf_link_create(fd, where, BPF_CGROUP_INET4_BIND, NULL) < 0)
		die("attach");
}

int main(int argc, char **argv)
{
	int where;

	if (argc < 4) {
		fprintf(stderr, "usage: bind_meddle CGROUP2 PORT PORT [ADDRESS]\n");
		return 2;
	}
	where = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (where < 0)
		die(argv[1]);
	attach(where, argv + 2);
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
