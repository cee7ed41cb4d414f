// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/others.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include <bpf/bpf.h>

#include "kernel/bpffs.h"
#include "kernel/mark.h"
#include "os/cgroup.h"
#include "os/netns.h"
#include "util/text.h"
#include "util/util.h"

/* How many programs the kernel lets be attached to one hook (BPF_CGROUP_MAX_PROGS, and
 * netns_bpf_max_progs), and how many may act on a cgroup, with those above it. */
enum { MOST_ATTACHED = 64, MOST_EFFECTIVE = 1024 };

void ps_others_clear(struct ps_others *others)
{
	free(others->items);
	*others = (struct ps_others){};
}

const char *ps_hook_name(enum bpf_attach_type type)
{
	static const struct {
		enum bpf_attach_type type;
		const char *name;
	} names[] = {
		{ BPF_SK_LOOKUP, "sk_lookup" },
		{ BPF_CGROUP_SOCK_OPS, "sock_ops" },
		{ BPF_CGROUP_INET4_BIND, "bind4" },
		{ BPF_CGROUP_INET6_BIND, "bind6" },
		{ BPF_CGROUP_INET4_POST_BIND, "post_bind4" },
		{ BPF_CGROUP_INET6_POST_BIND, "post_bind6" },
		{ BPF_CGROUP_INET4_GETSOCKNAME, "getsockname4" },
		{ BPF_CGROUP_INET6_GETSOCKNAME, "getsockname6" },
		{ BPF_CGROUP_INET4_CONNECT, "connect4" },
		{ BPF_CGROUP_INET6_CONNECT, "connect6" },
		{ BPF_CGROUP_INET4_GETPEERNAME, "getpeername4" },
		{ BPF_CGROUP_INET6_GETPEERNAME, "getpeername6" },
		{ BPF_CGROUP_UDP4_SENDMSG, "sendmsg4" },
		{ BPF_CGROUP_UDP6_SENDMSG, "sendmsg6" },
		{ BPF_CGROUP_UDP4_RECVMSG, "recvmsg4" },
		{ BPF_CGROUP_UDP6_RECVMSG, "recvmsg6" },
	};

	for (size_t i = 0; i < PS_ARRAY_SIZE(names); i++) {
		if (names[i].type == type)
			return names[i].name;
	}
	return "unknown";
}

const char *ps_order_word(enum ps_order order)
{
	return order == PS_ORDER_BEFORE ? "before" : order == PS_ORDER_AFTER ? "after" : NULL;
}

/* --- finding them */

static bool is_known(const struct ps_others *others, const struct ps_other *other)
{
	for (size_t i = 0; i < others->count; i++) {
		if (others->items[i].program == other->program &&
		    others->items[i].type == other->type)
			return true;
	}
	return false;
}

static int add(struct ps_others *others, const struct ps_other *other)
{
	struct ps_other *grown;

	if (is_known(others, other))
		return 0;
	grown = reallocarray(others->items, others->count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	others->items = grown;
	grown[others->count++] = *other;
	return 0;
}

/* Of the bpffs that our state is in, 0 if there is none. */
static dev_t own_device(void)
{
	struct stat st;

	return ps_bpffs_mounted() && !stat(PS_BPFFS, &st) ? st.st_dev : 0;
}

/* The programs of a hook, in the order in which they run. Those with a mark are portsteer's, and
 * strays.c speaks of them if they are not of this state: it is not before or after those that
 * somebody else's runs. */
static int judge(const __u32 *ids, __u32 count, enum bpf_attach_type type, const char *cgroup,
		 struct ps_others *others)
{
	size_t first = others->count;
	dev_t device = own_device();
	bool ours = false;

	for (__u32 i = 0; i < count; i++) {
		struct ps_other other = { .program = ids[i], .type = type };
		struct ps_program_mark mark;
		int ret = ps_mark_read(ids[i], &mark, other.name);

		if (ret < 0)
			return ret;
		if (ret && mark.device != device)
			continue;
		if (ret) {
			for (size_t n = first; n < others->count && !ours; n++)
				others->items[n].order = PS_ORDER_BEFORE;
			ours = true;
			continue;
		}
		other.order = ours ? PS_ORDER_AFTER : PS_ORDER_ALONE;
		snprintf(other.cgroup, sizeof(other.cgroup), "%s", cgroup);
		ret = add(others, &other);
		if (ret)
			return ret;
	}
	return 0;
}

static int query(int target, enum bpf_attach_type type, const char *cgroup,
		 struct ps_others *others)
{
	__u32 flags = type == BPF_SK_LOOKUP ? 0 : BPF_F_QUERY_EFFECTIVE, count = MOST_EFFECTIVE;
	_cleanup_free_ __u32 *ids = calloc(MOST_EFFECTIVE, sizeof(*ids));

	if (!ids)
		return -ENOMEM;
	/* A kernel that does not know the hook has nothing on it. */
	if (bpf_prog_query(target, type, flags, NULL, ids, &count))
		return errno == EPERM || errno == EACCES ? -EPERM : 0;
	return judge(ids, count, type, cgroup, others);
}

int ps_others_on_netns(const struct ps_netns *netns, struct ps_others *others)
{
	_cleanup_close_ int own = -1;
	int fd = netns->fd;

	if (fd < 0)
		fd = own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : query(fd, BPF_SK_LOOKUP, "", others);
}

/* -errno, also if there is none. */
static int open_cgroup(const char *cgroup)
{
	char mount[256], path[PS_CGROUP_PATH + 256];
	int ret = ps_cgroup2_mount(mount, NULL), fd;

	if (ret)
		return ret;
	snprintf(path, sizeof(path), "%s%s", mount, strcmp(cgroup, "/") ? cgroup : "");
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int ps_others_on_cgroup(const char *cgroup, enum bpf_attach_type type, struct ps_others *others)
{
	_cleanup_close_ int fd = open_cgroup(cgroup);

	/* One that has gone has no programs. */
	return fd < 0 ? 0 : query(fd, type, cgroup, others);
}

/* --- who is in the way */

/*
 * Does what is attached to this cgroup keep ours from being attached to it (`here`), or to one
 * below? 1 with *id; 0 if not, 2 if what is above need not be asked, as in the kernel's
 * hierarchy_allows_attach(). Without BPF_F_ALLOW_MULTI one program is there alone, and with
 * BPF_F_ALLOW_OVERRIDE others may be attached below it.
 */
static int is_closed(const char *cgroup, enum bpf_attach_type type, bool here, __u32 *id)
{
	__u32 ids[MOST_ATTACHED], count = MOST_ATTACHED, flags = 0;
	_cleanup_close_ int fd = open_cgroup(cgroup);

	if (fd < 0 || bpf_prog_query(fd, type, 0, &flags, ids, &count) || !count)
		return 0;
	if (flags & BPF_F_ALLOW_MULTI)
		return here ? 0 : 2;
	*id = ids[0];
	return here || !(flags & BPF_F_ALLOW_OVERRIDE) ? 1 : 2;
}

/* The program that keeps ours from `cgroup`, and where it is: 1 or 0. `at` is the root's "" too. */
static int find_exclusive(const char *cgroup, enum bpf_attach_type type, __u32 *id,
			  char at[PS_CGROUP_PATH])
{
	bool here = true;

	snprintf(at, PS_CGROUP_PATH, "%s", strcmp(cgroup, "/") ? cgroup : "");
	for (;; here = false) {
		int ret = is_closed(at, type, here, id);
		char *slash = strrchr(at, '/');

		if (ret || !slash)
			return ret == 1;
		*slash = '\0';
	}
}

/* Its name, "a program without a name" if it has none or cannot be looked at. */
static void name_program(__u32 id, char name[80])
{
	struct ps_program_mark mark;
	char found[16] = "";

	if (ps_mark_read(id, &mark, found) < 0 || !*found)
		strcpy(name, "without a name");
	else
		ps_printable(found, name, 80);
}

int ps_fail_attach_cgroup(struct ps_error *error, int err, enum bpf_attach_type type,
			  const char *cgroup)
{
	char at[PS_CGROUP_PATH], mount[256] = "", name[80], what[PS_CGROUP_PATH + 64];
	const char *hook = ps_hook_name(type);
	__u32 id = 0;

	cgroup = *cgroup ? cgroup : "/";
	if (err == -EPERM && find_exclusive(cgroup, type, &id, at)) {
		name_program(id, name);
		ps_cgroup2_mount(mount, NULL);
		return ps_fail(
			error, PS_EXIT_FAILED, -err,
			"cannot attach to the %s hook of cgroup %s: program %s (id %u) is attached "
			"to cgroup %s exclusively, without BPF_F_ALLOW_MULTI; attach it with that "
			"flag, or run 'bpftool cgroup detach %s%s %s id %u'",
			hook, cgroup, name, id, *at ? at : "/", mount, at, hook, id);
	}
	if (err == -E2BIG)
		return ps_fail(error, PS_EXIT_FAILED, -err,
			       "cannot attach to the %s hook of cgroup %s: %d programs are attached "
			       "there, the most that Linux allows; see 'bpftool cgroup show'",
			       hook, cgroup, MOST_ATTACHED);
	snprintf(what, sizeof(what), "attach to the %s hook of cgroup %s", hook, cgroup);
	return ps_fail_kernel(error, err, what);
}

int ps_fail_attach_netns(struct ps_error *error, int err)
{
	if (err != -E2BIG)
		return ps_fail_kernel(error, err, "attach to the network namespace");
	return ps_fail(
		error, PS_EXIT_FAILED, E2BIG,
		"cannot attach to the sk_lookup hook of the network namespace: %d programs are "
		"attached there, the most that Linux allows; see 'bpftool link', and detach those "
		"that are not needed",
		MOST_ATTACHED);
}
