// SPDX-License-Identifier: GPL-2.0-only
#include "engine/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "engine/lifecycle.h"
#include "kernel/bpffs.h"
#include "kernel/host.h"
#include "kernel/objects.h"
#include "os/cgroup.h"
#include "os/netns.h"
#include "os/privilege.h"
#include "os/refusal_facts.h"
#include "util/util.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static struct ps_feature *add(struct ps_probe *probe, const char *name, const char *use)
{
	struct ps_feature *f = &probe->features[probe->count];

	if (probe->count + 1 < PS_MAX_FEATURES)
		probe->count++;
	snprintf(f->name, sizeof(f->name), "%s", name);
	f->use = use;
	f->support = PS_YES;
	f->why[0] = '\0';
	f->told = false;
	return f;
}

static void lacks(struct ps_feature *f, enum ps_support support, const char *why)
{
	f->support = support;
	snprintf(f->why, sizeof(f->why), "%s", why);
}

/* What the kernel has refused with this error (positive), and why it may have done so. */
static void lacks_by_facts(struct ps_probe *probe, struct ps_feature *f, int err)
{
	struct ps_why why;

	ps_why(err, &probe->facts, &why);
	f->support = why.status == PS_EXIT_NOT_PERMITTED ? PS_UNKNOWN : PS_NO;
	f->told = true;
	snprintf(f->why, sizeof(f->why), "%s; %s", why.why, why.advice);
}

/* --- what is not BPF's */

static void try_files(struct ps_probe *probe)
{
	struct ps_feature *f = add(probe, "btf",
				   "kernel type information, which all programs "
				   "need");
	_cleanup_fclose_ FILE *jit = NULL;
	char mount[256];
	int on = 1, ret;

	if (!probe->facts.btf)
		lacks_by_facts(probe, f, EINVAL);
	f = add(probe, "jit", "speed only; without it programs are interpreted");
	jit = fopen("/proc/sys/net/core/bpf_jit_enable", "re");
	/* Built in for good, it has no switch that others may read. */
	if (jit && fscanf(jit, "%d", &on) == 1 && !on)
		lacks(f, PS_NO, "off: net.core.bpf_jit_enable is 0");
	f = add(probe, "bpffs", "storage of programs, maps and rules");
	f->told = true;
	if (!ps_bpffs_mounted() && !ps_exists(PS_BPFFS))
		lacks(f, PS_NO,
		      probe->facts.sysfs ?
			      "there is no " PS_BPFFS "; use a kernel with "
			      "CONFIG_BPF_SYSCALL" :
			      "sysfs is not mounted on /sys; run 'mount -t sysfs sysfs "
			      "/sys'");
	f = add(probe, "cgroup2", "attach points for listen(), bind() and connect()");
	f->told = true;
	ret = ps_cgroup2_mount(mount, NULL);
	if (ret)
		lacks(f, PS_NO,
		      ret == -EXDEV ? "only a part of the cgroup2 hierarchy is visible here" :
				      "no cgroup2 hierarchy is mounted; run 'mount -t cgroup2 none "
				      "/sys/fs/cgroup'");
}

static void try_cookie(struct ps_probe *probe)
{
	struct ps_feature *f = add(probe, "netns-cookie", "identifies network namespaces");
	struct ps_netns netns = PS_NETNS_NONE;

	if (ps_netns_open(NULL, &netns, NULL))
		lacks(f, PS_NO, "no SO_NETNS_COOKIE (Linux 5.14)");
	ps_netns_close(&netns);
}

/* A listener of this protocol on some port of the loopback address. */
static int listener(int protocol)
{
	struct sockaddr_in any = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, protocol);

	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) || listen(fd, 1)) {
		int ret = -errno;

		ps_close(&fd);
		return ret;
	}
	return fd;
}

/* May such a listener be steered to? */
static void try_sockmap(struct ps_probe *probe, const char *name, int protocol, const char *use)
{
	struct ps_feature *f = add(probe, name, use);
	_cleanup_close_ int map = bpf_map_create(BPF_MAP_TYPE_SOCKMAP, "probe", sizeof(__u32),
						 sizeof(__u64), 1, NULL);
	_cleanup_close_ int fd = -1;
	__u32 zero = 0;
	__u64 value;
	int ret = map < 0 ? -errno : 0;

	if (ret) {
		lacks_by_facts(probe, f, -ret);
		return;
	}
	fd = listener(protocol);
	value = (__u64)fd;
	if (fd < 0)
		lacks(f, PS_NO, "this kernel has no such sockets, or they are disabled");
	else if (bpf_map_update_elem(map, &zero, &value, 0))
		lacks(f, PS_NO, "the socket map rejects them; use bind mode");
}

/* --- the programs */

struct object {
	const void *elf;
	size_t size;
};

/* Load the object with one of its programs, or with all (NULL). */
static int load(const struct object *o, const char *only)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "ps_probe");
	struct bpf_object *object = bpf_object__open_mem(o->elf, o->size, &opts);
	struct bpf_program *program;
	int ret;

	if (!object)
		return -errno;
	bpf_object__for_each_program(program, object)
		bpf_program__set_autoload(program,
					  !only || !strcmp(bpf_program__name(program), only));
	ret = ps_load_result(bpf_object__load(object));
	bpf_object__close(object);
	return ret;
}

/* What a program is for, by its name without the prefix. */
static const struct {
	const char *program, *name, *use;
} uses[] = {
	{ "listen", "sock_ops", "steer, connect: detects listeners, checks their owners" },
	{ "scan", "iter-task_file", "steer, connect: finds existing listeners" },
	{ "steer", "sk_lookup", "steer: hands over connections" },
	{ "bind4", "bind4", "bind: grants and translates binds" },
	{ "bind6", "bind6", "the same for IPv6" },
	{ "post_bind4", "post_bind4", "bind: checks that a bind succeeded" },
	{ "post_bind6", "post_bind6", "the same for IPv6" },
	{ "getsockname4", "getsockname4", "bind: reports the requested port" },
	{ "getsockname6", "getsockname6", "the same for IPv6" },
	{ "marks", "iter-marks", "bind: lists sockets bound through a rule" },
	{ "release", "release", "connect: forgets closed clients" },
	{ "connect4", "connect4", "connect: redirects clients" },
	{ "connect6", "connect6", "the same for IPv6" },
	{ "getpeername4", "getpeername4", "connect: reports the requested destination" },
	{ "getpeername6", "getpeername6", "the same for IPv6" },
	{ "sendmsg4", "sendmsg4", "connect: redirects datagrams of unconnected sockets" },
	{ "sendmsg6", "sendmsg6", "the same for IPv6" },
	{ "recvmsg4", "recvmsg4", "connect: restores the source address of replies" },
	{ "recvmsg6", "recvmsg6", "the same for IPv6" },
};

static struct ps_feature *add_program(struct ps_probe *probe, const char *program)
{
	const char *name = program + strlen(PORTSTEER_PREFIX);

	for (size_t i = 0; i < PS_ARRAY_SIZE(uses); i++) {
		if (!strcmp(uses[i].program, name))
			return add(probe, uses[i].name, uses[i].use);
	}
	return add(probe, name, "");
}

static void refuse(struct ps_probe *probe, struct ps_feature *f, int ret)
{
	struct ps_why why;

	ps_why(-ret, &probe->facts, &why);
	if (why.status != PS_EXIT_UNSUPPORTED || !probe->facts.btf)
		lacks(f, why.status == PS_EXIT_UNSUPPORTED ? PS_NO : PS_UNKNOWN, why.why);
	else if (ret == -EACCES || ret == -EINVAL)
		lacks(f, PS_NO, "the kernel does not support it, or a function that it calls");
	else
		lacks(f, PS_NO, strerror(-ret));
	if (!probe->refused)
		probe->refused = -ret;
}

/* All programs of an object; one by one only if they cannot be loaded together. */
static void try_object(struct ps_probe *probe, const struct object *o)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "ps_probe");
	struct bpf_object *object = bpf_object__open_mem(o->elf, o->size, &opts);
	struct bpf_program *program;
	int all;

	if (!object)
		return;
	all = load(o, NULL);
	bpf_object__for_each_program(program, object)
	{
		struct ps_feature *f = add_program(probe, bpf_program__name(program));
		int ret = all;

		if (all && probe->permitted)
			ret = load(o, bpf_program__name(program));
		if (ret)
			refuse(probe, f, ret);
	}
	bpf_object__close(object);
}

static int try_packed(struct ps_probe *probe, const struct ps_object *packed)
{
	_cleanup_free_ void *elf = NULL;
	struct object object = {};
	int ret = ps_object_unpack(packed, &elf, &object.size);

	if (ret)
		return ret;
	object.elf = elf;
	try_object(probe, &object);
	return 0;
}

static int try_programs(struct ps_probe *probe)
{
	struct object object = {};
	int ret;

	object.elf = ps_host_elf(&object.size);
	try_object(probe, &object);
	object.elf = ps_instance_elf(&object.size);
	try_object(probe, &object);
	ret = try_packed(probe, &ps_object_bind);
	if (!ret)
		ret = try_packed(probe, &ps_object_connect);
	return ret ? ret : try_packed(probe, &ps_object_datagram);
}

/* --- what that means */

/* A mode works if all that it needs is there. */
static void judge_mode(struct ps_probe *probe, int mode, const char *name, const char *use,
		       const char *needs)
{
	struct ps_feature *m = &probe->modes[mode];

	snprintf(m->name, sizeof(m->name), "%s", name);
	m->use = use;
	m->support = PS_YES;
	for (size_t i = 0; i < probe->count; i++) {
		const struct ps_feature *f = &probe->features[i];
		char word[40];

		snprintf(word, sizeof(word), " %s ", f->name);
		/* One that is missing says more than one that could not be tried. */
		if (!strstr(needs, word) || f->support == PS_YES || m->support == PS_NO ||
		    m->support == f->support)
			continue;
		m->support = f->support;
		m->needs = f;
		snprintf(m->why, sizeof(m->why), "needs %.31s", f->name);
	}
}

static void judge_modes(struct ps_probe *probe)
{
#define COMMON " btf bpffs cgroup2 netns-cookie sock_ops iter-task_file sk_lookup "
	judge_mode(probe, PS_PROBE_STEER, "steer", "TCP, with owners by user and by cgroup",
		   COMMON "tcp-sockmap ");
	judge_mode(probe, PS_PROBE_BIND, "bind", "UDP and TCP at bind(); 'allow'",
		   COMMON "bind4 bind6 post_bind4 post_bind6 getsockname4 getsockname6 "
			  "iter-marks ");
	judge_mode(probe, PS_PROBE_CONNECT, "connect", "port maps for the clients of a cgroup",
		   COMMON
		   "tcp-sockmap release connect4 connect6 getpeername4 getpeername6 sendmsg4 "
		   "sendmsg6 recvmsg4 recvmsg6 ");
#undef COMMON
}

/* Does the kernel take BPF calls from this process? */
static void try_permission(struct ps_probe *probe)
{
	int map = bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "probe", 8, 4, 1,
				 &(struct bpf_map_create_opts){
					 .sz = sizeof(struct bpf_map_create_opts),
					 .map_flags = BPF_F_NO_PREALLOC });

	probe->permitted = (map >= 0 || errno != EPERM) && ps_load_result(-EACCES) != -EPERM;
	ps_close(&map);
}

int ps_probe_run(struct ps_probe *probe, struct ps_error *error)
{
	struct utsname name;

	*probe = (struct ps_probe){};
	ps_facts_read(&probe->facts);
	if (!uname(&name))
		snprintf(probe->kernel, sizeof(probe->kernel), "%s", name.release);
	try_permission(probe);
	try_files(probe);
	try_cookie(probe);
	try_sockmap(probe, "tcp-sockmap", IPPROTO_TCP, "steer, connect: TCP listeners");
	try_sockmap(probe, "mptcp-sockmap", IPPROTO_MPTCP, "steer, connect: MPTCP listeners");
	if (try_programs(probe))
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	judge_modes(probe);
	return 0;
}

int ps_probe_judge(const struct ps_probe *probe, struct ps_error *error)
{
	const struct ps_feature *bad = NULL;
	enum ps_exit status;
	struct ps_why why;

	for (int i = PS_PROBE_MODES; i--;) {
		if (probe->modes[i].support != PS_YES)
			bad = &probe->modes[i];
	}
	if (!bad)
		return 0;
	if (bad->support == PS_UNKNOWN) {
		ps_why(probe->refused ? probe->refused : EPERM, &probe->facts, &why);
		return ps_fail(error, PS_EXIT_NOT_PERMITTED, EPERM,
			       "cannot test what this kernel supports: %s; %s", why.why,
			       why.advice);
	}
	status = bad == probe->modes ? PS_EXIT_UNSUPPORTED : PS_EXIT_FAILED;
	if (bad->needs->told)
		return ps_fail(error, status, ENOTSUP, "%s mode does not work here: it %s: %s",
			       bad->name, bad->why, bad->needs->why);
	ps_why(probe->refused ? probe->refused : EINVAL, &probe->facts, &why);
	return ps_fail(error, status, ENOTSUP,
		       "%s mode does not work on this kernel: it %s: %s; %s", bad->name, bad->why,
		       why.why, why.advice);
}
