// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "kernel/bpffs.h"
#include "kernel/link.h"
#include "kernel/mark.h"
#include "kernel/objects.h"
#include "kernel/others.h"
#include "kernel/swap.h"
#include "os/cgroup.h"
#include "os/privilege.h"
#include "os/refusal_facts.h"
#include "util/util.h"

enum { FILTER_SIZE = 65536 / 8 };

#define PS_CONNECT_NEEDS "support for refusing connect() with an error code (Linux 5.18)"

/* The sets: their folder below host/, their object, and the links in the folder. */
static const struct {
	const char *name;
	const char *object;
	const struct ps_object *packed;
	const char *needs; /* what kernels lack that cannot load it */
	const char *links[6];
	enum bpf_attach_type types[6]; /* of the links */
} sets[PS_SETS] = {
	[PS_SET_BIND] = { "bind",
			  "ps_bind",
			  &ps_object_bind,
			  "support for granting bind() (Linux 5.12)",
			  { "bind4", "bind6", "post_bind4", "post_bind6", "getsockname4",
			    "getsockname6" },
			  { BPF_CGROUP_INET4_BIND, BPF_CGROUP_INET6_BIND,
			    BPF_CGROUP_INET4_POST_BIND, BPF_CGROUP_INET6_POST_BIND,
			    BPF_CGROUP_INET4_GETSOCKNAME, BPF_CGROUP_INET6_GETSOCKNAME } },
	[PS_SET_CONNECT] = { "connect",
			     "ps_connect",
			     &ps_object_connect,
			     PS_CONNECT_NEEDS,
			     { "connect4", "connect6", "getpeername4", "getpeername6" },
			     { BPF_CGROUP_INET4_CONNECT, BPF_CGROUP_INET6_CONNECT,
			       BPF_CGROUP_INET4_GETPEERNAME, BPF_CGROUP_INET6_GETPEERNAME } },
	[PS_SET_DATAGRAM] = { "datagram",
			      "ps_datagram",
			      &ps_object_datagram,
			      PS_CONNECT_NEEDS,
			      { "sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6" },
			      { BPF_CGROUP_UDP4_SENDMSG, BPF_CGROUP_UDP6_SENDMSG,
				BPF_CGROUP_UDP4_RECVMSG, BPF_CGROUP_UDP6_RECVMSG } },
};

/* What of a set is pinned beside the links, and its name in the object. */
static const struct {
	enum ps_set set;
	const char *pin, *map, *program;
} objects[PS_HOOKS_FDS] = {
	[PS_HOOKS_BINDS] = { PS_SET_BIND, "binds", "ps_binds", NULL },
	[PS_HOOKS_BOUND] = { PS_SET_BIND, "bound", PORTSTEER_PREFIX "bound", NULL },
	[PS_HOOKS_BIND_FILTER] = { PS_SET_BIND, "filter", ".data", NULL },
	[PS_HOOKS_MARKS] = { PS_SET_BIND, "marks", NULL, "ps_marks" },
	[PS_HOOKS_CONNECT_FILTER] = { PS_SET_CONNECT, "filter", ".data", NULL },
};

static void close_set(struct ps_hooks *hooks, enum ps_set set)
{
	uint32_t **filter = set == PS_SET_BIND	  ? &hooks->bind_filter :
			    set == PS_SET_CONNECT ? &hooks->connect_filter :
						    NULL;

	for (int i = 0; i < PS_HOOKS_FDS; i++) {
		if (objects[i].set != set)
			continue;
		ps_close(&hooks->fd[i]);
		hooks->fd[i] = -1;
	}
	if (filter && *filter) {
		munmap(*filter, FILTER_SIZE);
		*filter = NULL;
	}
	hooks->loaded[set] = false;
}

void ps_hooks_close(struct ps_hooks *hooks)
{
	for (int set = 0; set < PS_SETS; set++)
		close_set(hooks, (enum ps_set)set);
}

static bool set_exists(enum ps_set set)
{
	char path[PS_PATH];
	struct stat st;

	ps_bpffs_path(path, "host/%s", sets[set].name);
	return !stat(path, &st);
}

static int map_filter(int fd, uint32_t **filter)
{
	void *p = mmap(NULL, FILTER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*filter = p;
	return 0;
}

/* Are the links there? Without one, what is loaded does half of its work. */
static int check_links(enum ps_set set, char path[PS_PATH])
{
	for (size_t i = 0; i < PS_ARRAY_SIZE(sets[set].links) && sets[set].links[i]; i++) {
		ps_bpffs_path(path, "host/%s/%s", sets[set].name, sets[set].links[i]);
		if (!ps_exists(path))
			return -errno;
	}
	return 0;
}

static int open_pins(struct ps_hooks *hooks, enum ps_set set, char path[PS_PATH])
{
	int ret = check_links(set, path);

	if (ret)
		return ret;
	for (int i = 0; i < PS_HOOKS_FDS; i++) {
		if (objects[i].set != set)
			continue;
		ps_bpffs_path(path, "host/%s/%s", sets[set].name, objects[i].pin);
		hooks->fd[i] = ps_bpffs_open(path);
		if (hooks->fd[i] < 0)
			return hooks->fd[i];
	}
	if (set == PS_SET_BIND)
		return map_filter(hooks->fd[PS_HOOKS_BIND_FILTER], &hooks->bind_filter);
	if (set == PS_SET_CONNECT)
		return map_filter(hooks->fd[PS_HOOKS_CONNECT_FILTER], &hooks->connect_filter);
	return 0;
}

static int open_set(struct ps_hooks *hooks, enum ps_set set, struct ps_error *error)
{
	while (set_exists(set)) {
		char path[PS_PATH] = "";
		int ret = open_pins(hooks, set, path);

		hooks->loaded[set] = !ret;
		if (!ret)
			return 0;
		close_set(hooks, set);
		/* Readers take no lock: it may just have been removed. */
		if (ret == -ENOENT && !set_exists(set))
			break;
		if (ret != -ENOENT && ret != -EPROTO)
			return ps_fail_kernel(error, ret, "open the programs on the root cgroup");
		return ps_fail(error, PS_EXIT_FAILED, -ret,
			       "cannot open %s: %s, so the loaded state is incomplete; run "
			       "'portsteer unload' to remove the rest, then add the rules again",
			       path, strerror(-ret));
	}
	return 0;
}

int ps_hooks_open(struct ps_hooks *hooks, struct ps_error *error)
{
	int ret = 0;

	for (int set = 0; set < PS_SETS && !ret; set++)
		ret = open_set(hooks, (enum ps_set)set, error);
	if (ret)
		ps_hooks_close(hooks);
	return ret;
}

/* The map that is taken over for one of `objects`, or -1. */
static int taken_over(const struct ps_hooks *hooks, int object)
{
	if (!hooks->takeover)
		return -1;
	return object == PS_HOOKS_BOUND ? hooks->takeover->bound : -1;
}

/* May a set's programs use this map of another set? */
static bool shares(enum ps_set set, enum ps_set other)
{
	return set == other || (set == PS_SET_DATAGRAM && other == PS_SET_CONNECT);
}

/* Is it what the object calls a map? libbpf puts the object's name in front of ".data". */
static bool is_called(const char *name, const char *map)
{
	return !strcmp(name, map) || (map[0] == '.' && strstr(name, map));
}

/* A map of this name that is loaded already, or -1. */
static int loaded_map(const struct ps_hooks *hooks, const int host[PS_HOST_FDS], enum ps_set set,
		      const char *name)
{
	for (int i = 0; i < PS_HOOKS_FDS; i++) {
		if (!objects[i].map || !shares(set, objects[i].set) ||
		    !is_called(name, objects[i].map))
			continue;
		return taken_over(hooks, i) >= 0 ? taken_over(hooks, i) : hooks->fd[i];
	}
	return ps_host_map(host, name);
}

static int reuse_maps(const struct ps_hooks *hooks, const int host[PS_HOST_FDS], enum ps_set set,
		      struct bpf_object *object)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
	{
		int fd = loaded_map(hooks, host, set, bpf_map__name(map));
		int ret = fd < 0 ? 0 : bpf_map__reuse_fd(map, fd);

		if (ret)
			return ret;
	}
	return 0;
}

static int pin_objects(const struct ps_hooks *hooks, const struct bpf_object *object,
		       enum ps_set set)
{
	char path[PS_PATH];
	int ret = 0;

	for (int i = 0; i < PS_HOOKS_FDS && !ret; i++) {
		const char *map = objects[i].map, *program = objects[i].program;
		int fd;

		if (objects[i].set != set)
			continue;
		/* libbpf knows a map of others by the name that it has. */
		fd = taken_over(hooks, i);
		if (fd < 0)
			fd = map ? bpf_object__find_map_fd_by_name(object, map) :
				   bpf_program__fd(
					   bpf_object__find_program_by_name(object, program));
		ps_bpffs_path(path, "host/%s-tmp/%s", sets[set].name, objects[i].pin);
		ret = fd < 0 ? fd : ps_bpffs_pin(fd, path);
	}
	return ret;
}

static int attach_one(const struct bpf_program *program, enum ps_set set, int cgroup,
		      struct ps_error *error)
{
	enum bpf_attach_type type = bpf_program__expected_attach_type(program);
	_cleanup_close_ int link = bpf_link_create(bpf_program__fd(program), cgroup, type, NULL);
	char path[PS_PATH];
	int ret;

	if (link < 0)
		return ps_fail_attach_cgroup(error, -errno, type, "/");
	ps_bpffs_path(path, "host/%s-tmp/%s", sets[set].name,
		      bpf_program__name(program) + strlen(PORTSTEER_PREFIX));
	ret = ps_bpffs_pin(link, path);
	return ret ? ps_fail_kernel(error, ret, "pin a link") : 0;
}

/* Attach a program, unless there is a link that it is to get. */
static int adopt_or_attach(const struct ps_hooks *hooks, const struct bpf_program *program,
			   enum ps_set set, int cgroup, struct ps_error *error)
{
	char folder[PS_PATH];
	int ret = 0;

	ps_bpffs_path(folder, "host/%s-tmp", sets[set].name);
	if (hooks->takeover)
		ret = hooks->takeover->adopt(bpf_program__fd(program),
					     bpf_program__expected_attach_type(program),
					     sets[set].name, folder);
	if (ret)
		return ret < 0 ? ps_fail_kernel(error, ret, "take a link over") : 0;
	return attach_one(program, set, cgroup, error);
}

/* With an empty filter, the programs let everything pass. */
static int attach(const struct ps_hooks *hooks, const struct bpf_object *object, enum ps_set set,
		  int cgroup, struct ps_error *error)
{
	struct bpf_program *program;
	int ret = 0;

	bpf_object__for_each_program(program, object)
	{
		enum bpf_prog_type type = bpf_program__type(program);

		if (!ret &&
		    (type == BPF_PROG_TYPE_CGROUP_SOCK || type == BPF_PROG_TYPE_CGROUP_SOCK_ADDR))
			ret = adopt_or_attach(hooks, program, set, cgroup, error);
	}
	return ret;
}

static int clean_set(enum ps_set set)
{
	char temporary[PS_PATH];

	ps_bpffs_path(temporary, "host/%s-tmp", sets[set].name);
	return ps_bpffs_remove(temporary);
}

int ps_hooks_clean(void)
{
	int ret = 0;

	for (int set = 0; set < PS_SETS && !ret; set++)
		ret = clean_set((enum ps_set)set);
	return ret;
}

/* Everything under a temporary name, then one rename. */
static int publish(const struct ps_hooks *hooks, const struct bpf_object *object, enum ps_set set,
		   int cgroup, struct ps_error *error)
{
	char temporary[PS_PATH], final[PS_PATH];
	int ret = clean_set(set);

	ps_bpffs_path(temporary, "host/%s-tmp", sets[set].name);
	ps_bpffs_path(final, "host/%s", sets[set].name);
	if (!ret && mkdir(temporary, 0700))
		ret = -errno;
	if (!ret)
		ret = pin_objects(hooks, object, set);
	if (ret)
		ps_fail_kernel(error, ret, "pin programs");
	else
		ret = attach(hooks, object, set, cgroup, error);
	if (!ret && rename(temporary, final))
		ret = ps_fail_kernel(error, errno, "pin programs");
	if (ret)
		ps_bpffs_remove(temporary);
	return ret;
}

/* Load a set's object, its maps being those that are loaded already. */
static int load_object(const struct ps_hooks *hooks, const int host[PS_HOST_FDS], enum ps_set set,
		       struct bpf_object **loaded, struct ps_error *error)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = sets[set].object);
	_cleanup_free_ void *elf = NULL;
	struct bpf_object *object = NULL;
	char what[160];
	size_t size;
	int ret = ps_object_unpack(sets[set].packed, &elf, &size);

	if (!ret) {
		object = bpf_object__open_mem(elf, size, &opts);
		ret = object ? 0 : -errno;
	}
	if (ret)
		return ps_fail_kernel(error, ret, "read the built-in programs");
	ret = reuse_maps(hooks, host, set, object);
	if (!ret)
		ret = ps_load_result(bpf_object__load(object));
	if (!ret)
		ret = ps_mark_bind_all(host[PS_HOST_MARK], object);
	if (!ret) {
		*loaded = object;
		return 0;
	}
	bpf_object__close(object);
	snprintf(what, sizeof(what), "the programs of %s mode, which need %s",
		 set == PS_SET_BIND ? "bind" : "connect", sets[set].needs);
	return ps_fail_load(error, ret, what);
}

static int load(const struct ps_hooks *hooks, const int host[PS_HOST_FDS], enum ps_set set,
		int cgroup, struct ps_error *error)
{
	struct bpf_object *object = NULL;
	int ret = load_object(hooks, host, set, &object, error);

	if (ret || !object)
		return ret ? ret : -EINVAL;
	ret = publish(hooks, object, set, cgroup, error);
	bpf_object__close(object);
	return ret;
}

/* Where the pin of a program is, "" if it has none. */
static void pin_of(enum ps_set set, const char *program, char path[PS_PATH])
{
	path[0] = '\0';
	for (int i = 0; i < PS_HOOKS_FDS; i++) {
		if (objects[i].set == set && objects[i].program &&
		    !strcmp(objects[i].program, program))
			ps_bpffs_path(path, "host/%s/%s", sets[set].name, objects[i].pin);
	}
}

int ps_hooks_swap(const struct ps_hooks *hooks, const int host[PS_HOST_FDS], enum ps_set set,
		  struct ps_swap *swap, struct ps_error *error)
{
	struct bpf_object *object = NULL;
	struct bpf_program *program;
	char pin[PS_PATH], folder[PS_PATH];
	int ret = load_object(hooks, host, set, &object, error);

	if (ret || !object)
		return ret ? ret : -EINVAL;
	ps_bpffs_path(folder, "host/%s", sets[set].name);
	bpf_object__for_each_program(program, object)
	{
		pin_of(set, bpf_program__name(program), pin);
		if (!ret)
			ret = ps_swap_add(swap, bpf_program__fd(program), pin, *pin ? "" : folder,
					  BPF_LINK_TYPE_CGROUP,
					  bpf_program__expected_attach_type(program));
	}
	bpf_object__close(object);
	return ret ? ps_fail_kernel(error, ret, "store the new programs") : 0;
}

static int open_root_cgroup(struct ps_error *error)
{
	char mount[256];
	int ret = ps_cgroup2_mount(mount, error), fd;

	if (ret)
		return ret;
	fd = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? ps_fail_kernel(error, errno, "open the root cgroup") : fd;
}

int ps_hooks_load(struct ps_hooks *hooks, const int host[PS_HOST_FDS], enum ps_set set,
		  struct ps_error *error)
{
	_cleanup_close_ int cgroup = -1;
	int ret;

	if (hooks->loaded[set])
		return 0;
	cgroup = open_root_cgroup(error);
	if (cgroup < 0)
		return cgroup;
	ret = load(hooks, host, set, cgroup, error);
	return ret ? ret : open_set(hooks, set, error);
}

static int revive_set(enum ps_set set, int cgroup, struct ps_error *error)
{
	int revived = 0;

	for (size_t i = 0; i < PS_ARRAY_SIZE(sets[set].links) && sets[set].links[i]; i++) {
		char path[PS_PATH];
		int ret;

		ps_bpffs_path(path, "host/%s/%s", sets[set].name, sets[set].links[i]);
		ret = ps_link_revive(path, cgroup);
		if (ret < 0)
			return ps_fail_attach_cgroup(error, ret, sets[set].types[i], "/");
		revived += ret;
	}
	return revived;
}

static size_t count_detached(const struct ps_hooks *hooks, enum ps_set set)
{
	char path[PS_PATH];
	size_t count = 0;

	for (size_t i = 0;
	     hooks->loaded[set] && i < PS_ARRAY_SIZE(sets[set].links) && sets[set].links[i]; i++) {
		ps_bpffs_path(path, "host/%s/%s", sets[set].name, sets[set].links[i]);
		count += ps_link_is_attached(path) == 0;
	}
	return count;
}

bool ps_hooks_is_detached(const struct ps_hooks *hooks, enum ps_set set)
{
	return count_detached(hooks, set);
}

size_t ps_hooks_count_detached(const struct ps_hooks *hooks)
{
	size_t count = 0;

	for (int set = 0; set < PS_SETS; set++)
		count += count_detached(hooks, (enum ps_set)set);
	return count;
}

/* Add those of one set. `root`: the inode of what is the root from here; a link may be on another
 * one, where the command is started in a cgroup namespace. */
static int add_others(enum ps_set set, uint64_t root, struct ps_others *others)
{
	int unseen = 0;

	for (size_t i = 0; i < PS_ARRAY_SIZE(sets[set].links) && sets[set].links[i]; i++) {
		struct bpf_link_info info = {};
		_cleanup_close_ int link = -1;
		char path[PS_PATH];
		int ret;

		ps_bpffs_path(path, "host/%s/%s", sets[set].name, sets[set].links[i]);
		link = ps_bpffs_open_any_link(path, &info);
		/* One that is detached was on the root. */
		if (link >= 0 && info.cgroup.cgroup_id && info.cgroup.cgroup_id != root) {
			unseen = -EXDEV;
			continue;
		}
		ret = ps_others_on_cgroup("/", sets[set].types[i], others);
		if (ret)
			return ret;
	}
	return unseen;
}

int ps_hooks_others(const struct ps_hooks *hooks, struct ps_others *others)
{
	int unseen = 0, ret = 0;
	char mount[256];
	struct stat st;
	uint64_t root;

	root = ps_cgroup2_mount(mount, NULL) || stat(mount, &st) ? 0 : st.st_ino;
	for (int set = 0; set < PS_SETS && (!ret || ret == -EXDEV); set++) {
		ret = hooks->loaded[set] ? add_others((enum ps_set)set, root, others) : 0;
		unseen = ret ? ret : unseen;
	}
	return unseen;
}

int ps_hooks_revive(const struct ps_hooks *hooks, struct ps_error *error)
{
	_cleanup_close_ int cgroup = -1;
	int revived = 0;

	for (int set = 0; set < PS_SETS; set++) {
		int ret;

		if (!hooks->loaded[set])
			continue;
		if (cgroup < 0)
			cgroup = open_root_cgroup(error);
		ret = cgroup < 0 ? cgroup : revive_set((enum ps_set)set, cgroup, error);
		if (ret < 0)
			return ret;
		revived += ret;
	}
	return revived;
}

/* The hooks' links are detached, and whatever else is there goes too. */
static int detach_entry(const char *name, void *folder)
{
	char path[PS_PATH];

	if (snprintf(path, sizeof(path), "%s/%s", (const char *)folder, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return ps_bpffs_detach(path);
}

int ps_hooks_remove(struct ps_hooks *hooks, enum ps_set set)
{
	char path[PS_PATH], temporary[PS_PATH];
	int ret = clean_set(set);

	close_set(hooks, set);
	if (ret)
		return ret;
	ps_bpffs_path(path, "host/%s", sets[set].name);
	ps_bpffs_path(temporary, "host/%s-tmp", sets[set].name);
	if (rename(path, temporary))
		return errno == ENOENT ? 0 : -errno;
	ret = ps_bpffs_each(temporary, detach_entry, temporary);
	return ret ? ret : clean_set(set);
}
