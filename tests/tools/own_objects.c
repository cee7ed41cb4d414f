// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which BPF objects are an environment's of the tests (tests/e2e/run), whatever else is loaded on
 * the host.
 *
 *   own_objects FOLDER       "prog 12 ps_steer" or "map 13 ps_netns", one a line: what is pinned
 *                            in the bpffs or has a mark of this PID namespace (kernel/mark.h), and
 *                            the maps that those use, also in maps of maps
 *   own_objects --unmarked   programs that are called as ours are, and have nobody's mark
 *   own_objects --alive      those of the lines on stdin that the kernel still has
 *
 * Nothing else keeps a BPF object in the kernel but a process, which tests look for elsewhere.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

enum { MAX_OBJECTS = 4096, MAX_MAPS = 64 };

/* What all versions have in common of the map by which programs are known. */
struct mark {
	uint64_t magic;
	uint32_t layout, pid_namespace;
	unsigned char more[48];
};
#define MAGIC 0x7265657473747250ull

static struct object {
	bool is_program;
	__u32 id;
	char name[BPF_OBJ_NAME_LEN];
} found[MAX_OBJECTS];
static size_t count;

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "own_objects: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* true: it is new. */
static bool add(bool is_program, __u32 id, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (found[i].is_program == is_program && found[i].id == id)
			return false;
	}
	if (count == MAX_OBJECTS)
		die("too many");
	found[count].is_program = is_program;
	found[count].id = id;
	snprintf(found[count++].name, BPF_OBJ_NAME_LEN, "%s", name);
	return true;
}

static void add_map(int fd);

static void add_map_of(__u32 id)
{
	int fd = bpf_map_get_fd_by_id(id);

	if (fd < 0)
		return; /* it has just gone */
	add_map(fd);
	close(fd);
}

static void add_maps_in(int fd, const struct bpf_map_info *info)
{
	unsigned char key[512];
	void *previous = NULL;
	__u32 inner;

	if (info->key_size > sizeof(key))
		die("a map of maps with such keys");
	while (!bpf_map_get_next_key(fd, previous, key)) {
		if (!bpf_map_lookup_elem(fd, key, &inner))
			add_map_of(inner);
		previous = key;
	}
}

static void add_map(int fd)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		die("a map's info");
	if (add(false, info.id, info.name) &&
	    (info.type == BPF_MAP_TYPE_ARRAY_OF_MAPS || info.type == BPF_MAP_TYPE_HASH_OF_MAPS))
		add_maps_in(fd, &info);
}

static void add_program(const struct bpf_prog_info *info, const __u32 *maps)
{
	add(true, info->id, info->name);
	for (__u32 i = 0; i < info->nr_map_ids && i < MAX_MAPS; i++)
		add_map_of(maps[i]);
}

static bool read_program(int fd, struct bpf_prog_info *info, __u32 maps[MAX_MAPS])
{
	__u32 size = sizeof(*info);

	*info = (struct bpf_prog_info){ .map_ids = (uintptr_t)maps, .nr_map_ids = MAX_MAPS };
	return !bpf_obj_get_info_by_fd(fd, info, &size);
}

/* The PID namespace in its mark, 0 if it has none. */
static uint32_t mark_of(const struct bpf_prog_info *info, const __u32 *maps)
{
	uint32_t namespace = 0;

	for (__u32 i = 0; i < info->nr_map_ids && i < MAX_MAPS && !namespace; i++) {
		struct bpf_map_info map = {};
		__u32 size = sizeof(map), zero = 0;
		int fd = bpf_map_get_fd_by_id(maps[i]);
		struct mark mark;

		if (fd < 0)
			continue;
		if (!bpf_obj_get_info_by_fd(fd, &map, &size) && map.type == BPF_MAP_TYPE_ARRAY &&
		    map.value_size == sizeof(mark) && map.max_entries == 1 &&
		    !bpf_map_lookup_elem(fd, &zero, &mark) && mark.magic == MAGIC)
		namespace = mark.pid_namespace;
		close(fd);
	}
	return namespace;
}

static void look_at_programs(bool unmarked)
{
	struct bpf_prog_info info;
	__u32 maps[MAX_MAPS], id = 0;
	struct stat own;

	if (stat("/proc/self/ns/pid", &own))
		die("/proc/self/ns/pid");
	while (!bpf_prog_get_next_id(id, &id)) {
		int fd = bpf_prog_get_fd_by_id(id);
		uint32_t namespace;

		if (fd < 0)
			continue;
		if (read_program(fd, &info, maps) && !strncmp(info.name, "ps_", 3)) {
			namespace = mark_of(&info, maps);
			if (unmarked && !namespace)
				add(true, info.id, info.name);
			else if (!unmarked && namespace == own.st_ino)
				add_program(&info, maps);
		}
		close(fd);
	}
}

static void add_pinned(const char *path)
{
	char link[64], kind[64] = "";
	struct bpf_link_info info = {};
	struct bpf_prog_info program;
	__u32 maps[MAX_MAPS], size = sizeof(info);
	int fd = bpf_obj_get(path), of = -1;

	if (fd < 0)
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, kind, sizeof(kind) - 1) < 0)
		die(link);
	if (strstr(kind, "bpf-map"))
		add_map(fd);
	else if (strstr(kind, "bpf-prog"))
		of = dup(fd);
	else if (!bpf_obj_get_info_by_fd(fd, &info, &size))
		of = bpf_prog_get_fd_by_id(info.prog_id);
	if (of >= 0 && read_program(of, &program, maps))
		add_program(&program, maps);
	if (of >= 0)
		close(of);
	close(fd);
}

static void look_at_pins(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	char path[PATH_MAX];

	while (dir && (entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (entry->d_type == DT_DIR)
			look_at_pins(path);
		else
			add_pinned(path);
	}
	if (dir)
		closedir(dir);
}

static void read_alive(void)
{
	char kind[8], name[64];
	__u32 id;

	while (scanf("%7s %u %63s", kind, &id, name) == 3) {
		bool is_program = !strcmp(kind, "prog");
		int fd = is_program ? bpf_prog_get_fd_by_id(id) : bpf_map_get_fd_by_id(id);

		if (fd >= 0) {
			add(is_program, id, name);
			close(fd);
		}
	}
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: own_objects FOLDER | --unmarked | --alive\n");
		return 2;
	}
	if (!strcmp(argv[1], "--alive")) {
		read_alive();
	} else if (!strcmp(argv[1], "--unmarked")) {
		look_at_programs(true);
	} else {
		look_at_pins(argv[1]);
		look_at_programs(false);
	}
	for (size_t i = 0; i < count; i++)
		printf("%s %u %s\n", found[i].is_program ? "prog" : "map", found[i].id,
		       *found[i].name ? found[i].name : "-");
	return 0;
}
