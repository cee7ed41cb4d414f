// SPDX-License-Identifier: GPL-2.0-only
#include "engine/strays.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include <bpf/bpf.h>

#include "kernel/bpffs.h"
#include "kernel/host.h"
#include "kernel/mark.h"
#include "kernel/world.h"
#include "os/cgroup.h"
#include "os/netns.h"
#include "util/util.h"

/* The inode of the first PID namespace (PROC_PID_INIT_INO): all processes are seen there. */
#define FIRST_PID_NAMESPACE 0xEFFFFFFCu

/* How long a program may be attached whose state has just been removed by a command that was
 * killed: the kernel detaches it from a worker. */
enum { TRIES = 50, PAUSE_MS = 20 };

/* What is hooked with one of these is of ours: one of each set of programs that are attached
 * together (hooks.c). */
static const enum bpf_attach_type cgroup_hooks[] = {
	BPF_CGROUP_SOCK_OPS,
	BPF_CGROUP_INET4_BIND,
	BPF_CGROUP_INET4_CONNECT,
	BPF_CGROUP_UDP4_SENDMSG,
};

/* One look at the host. */
struct search {
	const struct ps_netns *netns;
	uint32_t netns_inode;
	dev_t device; /* of the bpffs that we see, 0: none */
	bool state; /* and there is a state in it */
	struct ps_strays *strays;
};

void ps_strays_clear(struct ps_strays *strays)
{
	free(strays->items);
	*strays = (struct ps_strays){};
}

/* --- where a state is */

/* Where a process has the file system mounted; `top`: only if it is what was last mounted on
 * PS_BPFFS. A line begins with id, parent, device, root, and mount point. */
static bool find_mount(const char *process, uint64_t device, bool top, char point[256])
{
	_cleanup_fclose_ FILE *file = NULL;
	_cleanup_free_ char *line = NULL;
	char path[64];
	size_t size = 0;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%.20s/mountinfo", process);
	file = fopen(path, "re");
	while (file && getline(&line, &size, file) > 0) {
		unsigned int major, minor;
		char at[256];

		if (sscanf(line, "%*d %*d %u:%u %*s %255s", &major, &minor, at) != 3 ||
		    (top && strcmp(at, PS_BPFFS) != 0))
			continue;
		if (makedev(major, minor) == device && strstr(line, " - bpf ")) {
			strcpy(point, at);
			found = true;
		} else if (top) {
			found = false;
		}
	}
	return found;
}

/* A process that has the file system among its mounts, 0 if there is none. */
static int find_process(uint64_t device)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	char point[256];
	int pid = 0;

	while (dir && !pid && (entry = readdir(dir))) {
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
		    find_mount(entry->d_name, device, false, point))
			pid = atoi(entry->d_name);
	}
	if (dir)
		closedir(dir);
	return pid;
}

/* Who loaded it could see its bpffs, and we see all that they could. */
static bool would_be_seen(const struct ps_program_mark *mark)
{
	uint32_t own = ps_pid_namespace();

	return own && (own == FIRST_PID_NAMESPACE || own == mark->pid_namespace);
}

static void locate(const struct search *s, const struct ps_program_mark *mark,
		   struct ps_stray *stray)
{
	char point[256];

	stray->where = PS_STRAY_LOST;
	if (mark->device == s->device)
		return;
	stray->where = PS_STRAY_ELSEWHERE;
	if (!would_be_seen(mark)) {
		stray->pid = find_process(mark->device);
	} else if (!ps_world_is_of_process_1() && find_mount("1", mark->device, true, point)) {
		/* We have a bpffs of our own, on purpose; the host's is not ours to judge. */
		stray->pid = 1;
	} else if (find_mount("self", mark->device, false, stray->mount)) {
		stray->where = PS_STRAY_HIDDEN;
	} else {
		stray->pid = find_process(mark->device);
		stray->where = stray->pid ? PS_STRAY_ELSEWHERE : PS_STRAY_LOST;
	}
}

/* --- finding them */

/* Has its state an instance for the namespace? */
static bool has_instance(const struct search *s, const struct ps_program_mark *mark)
{
	_cleanup_close_ int fd = -1;
	uint64_t cookie = s->netns->cookie;
	__u32 index;

	if (mark->layout != PORTSTEER_ABI)
		return false;
	fd = bpf_map_get_fd_by_id(mark->netns);
	return fd >= 0 && !bpf_map_lookup_elem(fd, &cookie, &index);
}

static int add_stray(struct search *s, const struct ps_program_mark *mark,
		     const struct ps_stray *found)
{
	struct ps_strays *strays = s->strays;
	struct ps_stray *grown =
		realloc(strays->items, (strays->count + 1) * sizeof(*strays->items));
	struct ps_stray *stray;

	if (!grown)
		return -ENOMEM;
	strays->items = grown;
	stray = &grown[strays->count++];
	*stray = *found;
	stray->device = mark->device;
	stray->instances = mark->layout == PORTSTEER_ABI ? mark->instances : 0;
	stray->here = stray->here || has_instance(s, mark);
	/* Those of one state are in one place. */
	for (size_t i = 0; i + 1 < strays->count; i++) {
		if (grown[i].device != mark->device)
			continue;
		stray->where = grown[i].where;
		stray->pid = grown[i].pid;
		strcpy(stray->mount, grown[i].mount);
		return 0;
	}
	locate(s, mark, stray);
	return 0;
}

/* Is the program a stray? `here`: it is attached to the namespace. 1, 0 or -errno. */
static int judge(struct search *s, uint32_t program, bool here)
{
	struct ps_stray stray = { .program = program, .here = here };
	struct ps_program_mark mark;
	int ret;

	for (size_t i = 0; i < s->strays->count; i++) {
		if (s->strays->items[i].program == program)
			return 1;
	}
	ret = ps_mark_read(program, &mark, stray.name);
	if (ret <= 0 || (s->state && mark.device == s->device))
		return ret < 0 ? ret : 0;
	ret = add_stray(s, &mark, &stray);
	return ret ? ret : 1;
}

static int query(struct search *s, int target, enum bpf_attach_type type)
{
	__u32 ids[256], count = PS_ARRAY_SIZE(ids), flags;
	int ret = 0;

	/* What the kernel does not know is not there. */
	if (bpf_prog_query(target, type, type == BPF_SK_LOOKUP ? 0 : BPF_F_QUERY_EFFECTIVE, &flags,
			   ids, &count))
		return errno == EPERM || errno == EACCES ? -errno : 0;
	for (__u32 i = 0; i < count && ret >= 0; i++)
		ret = judge(s, ids[i], type == BPF_SK_LOOKUP);
	return ret < 0 ? ret : 0;
}

/* Who acts on connections of the namespace: a few system calls, whatever else is on the host. */
static int look_here(struct search *s, int netns)
{
	_cleanup_close_ int cgroup = -1;
	char mount[256];
	int ret = query(s, netns, BPF_SK_LOOKUP);

	if (ret || ps_cgroup2_mount(mount, NULL))
		return ret;
	cgroup = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < PS_ARRAY_SIZE(cgroup_hooks) && !ret && cgroup >= 0; i++)
		ret = query(s, cgroup, cgroup_hooks[i]);
	return ret;
}

/* Is the link attached, to something that we attach to? */
static bool is_attached(const struct bpf_link_info *info)
{
	return (info->type == BPF_LINK_TYPE_CGROUP && info->cgroup.cgroup_id) ||
	       (info->type == BPF_LINK_TYPE_NETNS && info->netns.netns_ino);
}

/* Call fn for each attached link of a stray. */
struct walk {
	struct search *search;
	int (*fn)(int link, const struct ps_stray *stray);
};

static int visit(const struct walk *walk, __u32 id)
{
	struct search *s = walk->search;
	_cleanup_close_ int link = bpf_link_get_fd_by_id(id);
	struct bpf_link_info info = {};
	__u32 size = sizeof(info);
	int ret;

	/* One that is just ending says EAGAIN. */
	if (link < 0)
		return errno == EPERM ? -EPERM : 0;
	if (bpf_obj_get_info_by_fd(link, &info, &size) || !is_attached(&info))
		return 0;
	ret = judge(s, info.prog_id,
		    info.type == BPF_LINK_TYPE_NETNS && info.netns.netns_ino == s->netns_inode);
	if (ret <= 0 || !walk->fn)
		return ret < 0 ? ret : 0;
	for (size_t i = 0; i < s->strays->count; i++) {
		if (s->strays->items[i].program == info.prog_id)
			return walk->fn(link, &s->strays->items[i]);
	}
	return 0;
}

/* All of the host's: three system calls for each link. Our programs are never attached without. */
static int walk_links(const struct walk *walk)
{
	__u32 id = 0;
	int ret = 0;

	while (!ret && !bpf_link_get_next_id(id, &id))
		ret = visit(walk, id);
	return ret ? ret : errno == EPERM ? -EPERM : 0;
}

static int begin(struct search *s, int *netns)
{
	_cleanup_close_ int root = ps_bpffs_open_root(NULL);
	struct stat st;

	*netns = s->netns->fd >= 0 ? fcntl(s->netns->fd, F_DUPFD_CLOEXEC, 0) :
				     open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (*netns < 0 || fstat(*netns, &st))
		return -errno;
	s->netns_inode = (uint32_t)st.st_ino;
	s->device = ps_bpffs_mounted() && !stat(PS_BPFFS, &st) ? st.st_dev : 0;
	/* Where others may write to it, that is what is said of it. */
	s->state = root == -EPERM || ps_bpffs_has_state();
	return 0;
}

static int look(const struct ps_netns *netns, bool all, struct ps_strays *strays)
{
	struct search s = { .netns = netns, .strays = strays };
	_cleanup_close_ int fd = -1;
	int ret = begin(&s, &fd);

	if (ret)
		return ret;
	if (all || !s.state)
		ret = walk_links(&(struct walk){ .search = &s });
	else
		return look_here(&s, fd);
	/* With fewer rights it can be told where nobody has attached anything. */
	return ret == -EPERM && !all ? look_here(&s, fd) : ret;
}

/* Does one belong to the bpffs that we see? */
static bool any_of_here(const struct ps_strays *strays)
{
	struct stat st;

	if (stat(PS_BPFFS, &st))
		return false;
	for (size_t i = 0; i < strays->count; i++) {
		if (strays->items[i].device == st.st_dev)
			return true;
	}
	return false;
}

int ps_strays_read(const struct ps_netns *netns, bool all, struct ps_strays *strays,
		   struct ps_error *error)
{
	struct ps_strays read = {};
	int ret = 0;

	/* A state that has just been made or removed is not gone. */
	for (int i = 0; i < TRIES; i++) {
		ps_strays_clear(&read);
		ret = look(netns, all, &read);
		if (ret || !any_of_here(&read))
			break;
		nanosleep(&(struct timespec){ .tv_nsec = PAUSE_MS * 1000000L }, NULL);
	}
	if (!ret) {
		*strays = read;
		return 0;
	}
	ps_strays_clear(&read);
	return ps_fail_kernel(error, ret, "search for portsteer programs");
}

/* --- what is said and done */

const char *ps_stray_word(enum ps_stray_where where)
{
	return where == PS_STRAY_HIDDEN ? "hidden" : where == PS_STRAY_LOST ? "lost" : "elsewhere";
}

void ps_stray_explain(const struct ps_stray *stray, char *text, size_t size)
{
	static const char remove[] = "'portsteer unload --all' to remove them";

	if (stray->where == PS_STRAY_HIDDEN && !strcmp(stray->mount, PS_BPFFS))
		snprintf(text, size,
			 "another file system is mounted over their state; run 'umount %s' to "
			 "restore it, or %s",
			 PS_BPFFS, remove);
	else if (stray->where == PS_STRAY_HIDDEN)
		snprintf(text, size,
			 "their state is in the bpffs on %s; mount that on %s ('mount --bind'), or run "
			 "%s",
			 stray->mount, PS_BPFFS, remove);
	else if (stray->where == PS_STRAY_LOST)
		snprintf(text, size, "their state cannot be found; run %s", remove);
	else if (stray->pid)
		snprintf(text, size,
			 "their state is in the mount namespace of process %d; run portsteer there "
			 "('nsenter -m -t %d')",
			 stray->pid, stray->pid);
	else
		snprintf(text, size,
			 "their state is in a mount namespace that is not visible from here (a "
			 "container's, or the host's); run portsteer there");
}

/* Others' states are theirs, unless they are for our namespace. */
static bool is_ours_to_tell(const struct ps_stray *stray)
{
	return stray->here || stray->where != PS_STRAY_ELSEWHERE;
}

bool ps_strays_concern_us(const struct ps_strays *strays)
{
	for (size_t i = 0; i < strays->count; i++) {
		if (is_ours_to_tell(&strays->items[i]))
			return true;
	}
	return false;
}

static int fail_on(const struct ps_strays *strays, struct ps_error *error)
{
	const struct ps_stray *first = NULL;
	char text[512];
	size_t count = 0;

	for (size_t i = 0; i < strays->count; i++) {
		if (!is_ours_to_tell(&strays->items[i]))
			continue;
		if (!first)
			first = &strays->items[i];
		count++;
	}
	if (!first)
		return 0;
	ps_stray_explain(first, text, sizeof(text));
	return ps_fail(error, PS_EXIT_FAILED, EEXIST,
		       "%zu portsteer program%s %s active (%s, id %u) but unreachable: %s", count,
		       count == 1 ? "" : "s", count == 1 ? "is" : "are", first->name,
		       first->program, text);
}

int ps_strays_check(const struct ps_netns *netns, struct ps_error *error)
{
	struct ps_strays strays = {};
	int ret = ps_strays_read(netns, false, &strays, error);

	if (!ret)
		ret = fail_on(&strays, error);
	ps_strays_clear(&strays);
	return ret;
}

/* Where their state comes to light again, it is not to look loaded. */
static void unload_state(const struct ps_stray *stray)
{
	const size_t size = PS_MAX_INSTANCES * sizeof(struct ps_instance);
	_cleanup_close_ int fd = stray->instances ? (int)bpf_map_get_fd_by_id(stray->instances) :
						    -1;
	struct ps_instance *instances;

	if (fd < 0)
		return;
	instances = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (instances == MAP_FAILED)
		return;
	for (size_t i = 0; i < PS_MAX_INSTANCES; i++)
		ps_store(&instances[i].active, 0);
	munmap(instances, size);
}

static int detach(int link, const struct ps_stray *stray)
{
	if (stray->where == PS_STRAY_ELSEWHERE)
		return 0;
	unload_state(stray);
	return bpf_link_detach(link) ? -errno : 0;
}

int ps_strays_remove(const struct ps_netns *netns, bool *changed, struct ps_error *error)
{
	struct ps_strays strays = {};
	struct search s = { .netns = netns, .strays = &strays };
	_cleanup_close_ int fd = -1;
	int ret = ps_strays_read(netns, true, &strays, error);

	if (ret)
		return ret;
	for (size_t i = 0; i < strays.count; i++)
		*changed = *changed || strays.items[i].where != PS_STRAY_ELSEWHERE;
	ret = begin(&s, &fd);
	if (!ret && strays.count)
		ret = walk_links(&(struct walk){ .search = &s, .fn = detach });
	if (ret)
		ret = ps_fail_kernel(error, ret, "detach portsteer programs");
	ps_strays_clear(&strays);
	/* What is left is others' to remove. */
	return ret ? ret : ps_strays_check(netns, error);
}
