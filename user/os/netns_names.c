// SPDX-License-Identifier: GPL-2.0-only
#include "os/netns_names.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "util/util.h"

/* The state of one search. */
struct search {
	struct ps_place *places;
	size_t count;
	size_t missing; /* not found yet */
	dev_t nsfs; /* inodes are those of this file system */
};

static int compare_places(const void *left, const void *right)
{
	const struct ps_place *a = left, *b = right;

	return (a->inode > b->inode) - (a->inode < b->inode);
}

struct ps_place *ps_place_of(struct ps_place *places, size_t count, uint32_t inode)
{
	const struct ps_place key = { .inode = inode };

	return count ? bsearch(&key, places, count, sizeof(key), compare_places) : NULL;
}

/* The place of this inode, if it is one that is still looked for. */
static struct ps_place *missing_place(const struct search *search, uint64_t inode)
{
	struct ps_place *place =
		inode > UINT32_MAX ? NULL :
				     ps_place_of(search->places, search->count, (uint32_t)inode);

	return place && !*place->path ? place : NULL;
}

static void search_names(struct search *search, const char *folder)
{
	DIR *dir = search->missing ? opendir(folder) : NULL;
	struct ps_place *place;
	struct dirent *entry;
	struct stat st;

	while (dir && search->missing && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || fstatat(dirfd(dir), entry->d_name, &st, 0) ||
		    st.st_dev != search->nsfs)
			continue;
		place = missing_place(search, st.st_ino);
		if (!place)
			continue;
		snprintf(place->path, sizeof(place->path), "%s/%s", folder, entry->d_name);
		snprintf(place->label, sizeof(place->label), "%s", entry->d_name);
		search->missing--;
	}
	if (dir)
		closedir(dir);
}

static void call_by_process(struct ps_place *place, int proc, const char *pid)
{
	_cleanup_close_ int fd = -1;
	char name[64], path[64];
	ssize_t size;

	snprintf(path, sizeof(path), "%.20s/comm", pid);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	size = fd < 0 ? -1 : read(fd, name, sizeof(name) - 1);
	if (size < 0)
		size = 0;
	if (size && name[size - 1] == '\n')
		size--;
	name[size] = '\0';
	snprintf(place->path, sizeof(place->path), "/proc/%.20s/ns/net", pid);
	snprintf(place->label, sizeof(place->label), *name ? "pid:%.20s (%s)" : "pid:%.20s", pid,
		 name);
}

static void look_at_process(struct search *search, int proc, const char *pid)
{
	char path[64], target[64];
	struct ps_place *place;
	uint64_t inode;
	ssize_t size;

	snprintf(path, sizeof(path), "%.20s/ns/net", pid);
	size = readlinkat(proc, path, target, sizeof(target) - 1);
	if (size < 0)
		return;
	target[size] = '\0';
	if (sscanf(target, "net:[%" SCNu64 "]", &inode) != 1)
		return;
	place = missing_place(search, inode);
	if (!place)
		return;
	call_by_process(place, proc, pid);
	search->missing--;
}

static void search_processes(struct search *search)
{
	DIR *dir = search->missing ? opendir("/proc") : NULL;
	struct dirent *entry;

	while (dir && search->missing && (entry = readdir(dir))) {
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			look_at_process(search, dirfd(dir), entry->d_name);
	}
	if (dir)
		closedir(dir);
}

void ps_places_find(struct ps_place *places, size_t count)
{
	struct search search = { .places = places, .count = count, .missing = count };
	struct stat own;

	if (!count)
		return;
	qsort(places, count, sizeof(*places), compare_places);
	if (stat("/proc/self/ns/net", &own))
		return;
	search.nsfs = own.st_dev;
	search_names(&search, "/run/netns");
	search_names(&search, "/var/run/netns");
	search_processes(&search);
}
