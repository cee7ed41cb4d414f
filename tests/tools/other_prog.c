// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs of somebody else on hooks that portsteer uses, as long as a command runs:
 *
 *   other_prog lookup NAME pass|drop|COUNT -- COMMAND...   on sk_lookup of this network namespace
 *   other_prog take NAME FRONT PORT keep|replace -- COMMAND...
 *                                        the same; connections to FRONT are given to a listener of
 *                                        its own on 127.0.0.1:PORT, which answers NAME; "keep":
 *                                        unless another program has chosen one before
 *   other_prog cgroup NAME CGROUP bind4|bind6|post_bind4|connect4|sock_ops alone|override|multi
 *                                        -- COMMAND...
 *
 * With COUNT, that many programs are attached. Ends with the command's exit status.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

#define CODE(...)                                                                                  \
	{                                                                                          \
		.code = __VA_ARGS__                                                                \
	}
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "other_prog: %s: %s\n", what, strerror(errno));
	exit(126);
}

static int load(enum bpf_prog_type type, enum bpf_attach_type attach, const char *name,
		const struct bpf_insn *insns, size_t count)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach);
	int fd = bpf_prog_load(type, name, "GPL", insns, count, &opts);

	if (fd < 0)
		die("load");
	return fd;
}

static int load_verdict(enum bpf_prog_type type, enum bpf_attach_type attach, const char *name,
			int verdict)
{
	const struct bpf_insn insns[] = {
		CODE(BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = verdict),
		CODE(BPF_JMP | BPF_EXIT),
	};

	return load(type, attach, name, insns, COUNT(insns));
}

static void attach_lookup(int program)
{
	int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (netns < 0 || bpf_link_create(program, netns, BPF_SK_LOOKUP, NULL) < 0)
		die("attach to sk_lookup");
}

/* --- a listener of its own */

static int listen_on(int port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons((in_port_t)port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 16))
		die("listen");
	return fd;
}

static pid_t server;

/* Answer as long as the other process lives. */
static void serve(int listener, const char *name)
{
	char answer[128], request[4096];
	int size = snprintf(answer, sizeof(answer), "HTTP/1.0 200 OK\r\n\r\n%s\n", name);

	server = fork();
	if (server)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			continue;
		if (read(fd, request, sizeof(request)) > 0)
			(void)!write(fd, answer, (size_t)size);
		close(fd);
	}
}

static int map_of(int listener)
{
	int map =
		bpf_map_create(BPF_MAP_TYPE_SOCKMAP, "other", sizeof(int), sizeof(__u64), 1, NULL);
	__u64 value = (__u64)listener;
	int zero = 0;

	if (map < 0 || bpf_map_update_elem(map, &zero, &value, 0))
		die("put the listener into a map");
	return map;
}

static int load_taker(const char *name, int front, int map, __u64 flags)
{
	const struct bpf_insn insns[] = {
		CODE(BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_6, .src_reg = BPF_REG_1),
		CODE(BPF_LDX | BPF_MEM | BPF_W, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_6,
		     .off = offsetof(struct bpf_sk_lookup, local_port)),
		CODE(BPF_JMP | BPF_JNE | BPF_K, .dst_reg = BPF_REG_2, .off = 15, .imm = front),
		/* Element 0 of the map. */
		CODE(BPF_ST | BPF_MEM | BPF_W, .dst_reg = BPF_REG_10, .off = -4, .imm = 0),
		CODE(BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_10),
		CODE(BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_2, .imm = -4),
		CODE(BPF_LD | BPF_DW | BPF_IMM, .dst_reg = BPF_REG_1, .src_reg = BPF_PSEUDO_MAP_FD,
		     .imm = map),
		CODE(0),
		CODE(BPF_JMP | BPF_CALL, .imm = BPF_FUNC_map_lookup_elem),
		CODE(BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = BPF_REG_0, .off = 8, .imm = 0),
		CODE(BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_7, .src_reg = BPF_REG_0),
		CODE(BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_1, .src_reg = BPF_REG_6),
		CODE(BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_7),
		CODE(BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3, .imm = (int)flags),
		CODE(BPF_JMP | BPF_CALL, .imm = BPF_FUNC_sk_assign),
		CODE(BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_1, .src_reg = BPF_REG_7),
		CODE(BPF_JMP | BPF_CALL, .imm = BPF_FUNC_sk_release),
		CODE(BPF_JMP | BPF_JA, .off = 0),
		CODE(BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = SK_PASS),
		CODE(BPF_JMP | BPF_EXIT),
	};

	return load(BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP, name, insns, COUNT(insns));
}

/* --- on a cgroup */

static const struct hook {
	const char *name;
	enum bpf_prog_type program;
	enum bpf_attach_type attach;
} hooks[] = {
	{ "bind4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_BIND },
	{ "bind6", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET6_BIND },
	{ "post_bind4", BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET4_POST_BIND },
	{ "connect4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT },
	{ "sock_ops", BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS },
};

/* Attached without a link, which the kernel does not end with us. */
static struct {
	int program, cgroup;
	enum bpf_attach_type type;
} attached = { .program = -1 };

static void detach(void)
{
	if (attached.program >= 0)
		bpf_prog_detach2(attached.program, attached.cgroup, attached.type);
}

static void attach_cgroup(char **args)
{
	unsigned int flags = !strcmp(args[3], "multi")	  ? BPF_F_ALLOW_MULTI :
			     !strcmp(args[3], "override") ? BPF_F_ALLOW_OVERRIDE :
							    0;

	for (size_t i = 0; i < COUNT(hooks); i++) {
		if (strcmp(hooks[i].name, args[2]))
			continue;
		attached.type = hooks[i].attach;
		attached.cgroup = open(args[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		attached.program = load_verdict(hooks[i].program, hooks[i].attach, args[0], 1);
		if (attached.cgroup < 0 ||
		    bpf_prog_attach(attached.program, attached.cgroup, attached.type, flags)) {
			attached.program = -1;
			die("attach to the cgroup");
		}
		return;
	}
	errno = EINVAL;
	die(args[2]);
}

static void attach(const char *what, char **args)
{
	int count = !strcmp(what, "lookup") ? atoi(args[1]) : 0, listener;

	if (!strcmp(what, "cgroup")) {
		attach_cgroup(args);
	} else if (!strcmp(what, "take")) {
		listener = listen_on(atoi(args[2]));
		serve(listener, args[0]);
		attach_lookup(load_taker(args[0], atoi(args[1]), map_of(listener),
					 strcmp(args[3], "replace") ? 0 : BPF_SK_LOOKUP_F_REPLACE));
	} else {
		for (int i = 0; i < (count ? count : 1); i++)
			attach_lookup(load_verdict(BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP, args[0],
						   strcmp(args[1], "drop") ? SK_PASS : SK_DROP));
	}
}

int main(int argc, char **argv)
{
	int at = 1, status;
	pid_t child;

	while (at < argc && strcmp(argv[at], "--"))
		at++;
	if (at < 4 || at + 1 >= argc) {
		fprintf(stderr, "usage: other_prog lookup|take|cgroup NAME ARGUMENTS -- COMMAND\n");
		return 2;
	}
	/* Interrupted or told to end, the command is, and we detach. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	atexit(detach);
	attach(argv[1], argv + 2);
	child = fork();
	if (child < 0)
		die("fork");
	if (!child) {
		signal(SIGINT, SIG_DFL);
		signal(SIGTERM, SIG_DFL);
		attached.program = -1;
		execvp(argv[at + 1], argv + at + 1);
		_exit(127);
	}
	while (waitpid(child, &status, 0) < 0)
		;
	/* So that whoever comes next can have its port. */
	if (server > 0 && !kill(server, SIGKILL))
		waitpid(server, NULL, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}
