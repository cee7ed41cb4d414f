// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/loaded.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <bpf/bpf.h>

#include "kernel/bpffs.h"
#include "kernel/kmap.h"
#include "kernel/saved.h"
#include "util/array.h"
#include "util/util.h"

static int damaged(struct ps_error *error, int ret, const char *path)
{
	if (ret == -ENOTSUP)
		return ps_fail(error, PS_EXIT_FAILED, ENOTSUP,
			       "cannot take over the loaded state: %s was written by a newer "
			       "version and contains features unknown to this one; continue with "
			       "that version, or run 'portsteer unload', then add the rules again",
			       path);
	if (ret != -ENOENT && ret != -EBADMSG && ret != -EPROTO)
		return ps_fail_kernel(error, ret, "read the loaded state");
	return ps_fail(error, PS_EXIT_FAILED, EBADMSG,
		       "cannot take over the loaded state: %s is %s; run 'portsteer unload', then "
		       "add the rules again",
		       path, ret == -ENOENT ? "missing" : "damaged");
}

void ps_loaded_close(struct ps_loaded *loaded)
{
	ps_close(&loaded->instances);
	ps_close(&loaded->netns);
	*loaded = (struct ps_loaded)PS_LOADED_NONE;
}

int ps_loaded_open(const char *folder, struct ps_loaded *loaded, struct ps_error *error)
{
	struct ps_loaded opened = PS_LOADED_NONE;
	char path[PS_PATH];
	int ret = ps_build_read(folder, &opened.build, error);

	if (ret)
		return ret;
	opened.folder = folder;
	snprintf(path, sizeof(path), "%s/host/instances", folder);
	ret = opened.instances = ps_bpffs_open_map_of(path, BPF_MAP_TYPE_ARRAY, sizeof(__u32),
						      opened.build.instance_size);
	if (ret >= 0) {
		snprintf(path, sizeof(path), "%s/host/netns", folder);
		ret = opened.netns =
			ps_bpffs_open_map_of(path, BPF_MAP_TYPE_HASH, sizeof(__u64), sizeof(__u32));
	}
	if (ret < 0) {
		ps_loaded_close(&opened);
		return damaged(error, ret, path);
	}
	*loaded = opened;
	return 0;
}

void ps_loaded_list_clear(struct ps_loaded_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		ps_state_clear(&list->items[i].state);
		ps_close(&list->items[i].alive);
	}
	free(list->items);
	*list = (struct ps_loaded_list){};
}

/* The word of the instance at an index. */
static int read_word(const struct ps_loaded *loaded, uint32_t index, uint64_t *word)
{
	_cleanup_free_ unsigned char *element = malloc(loaded->build.instance_size);

	if (!element)
		return -ENOMEM;
	if (bpf_map_lookup_elem(loaded->instances, &index, element))
		return errno == ENOENT ? -EBADMSG : -errno;
	memcpy(word, element + loaded->build.instance_word, sizeof(*word));
	return 0;
}

/* Is the map of devices empty? */
static bool has_ended(int alive)
{
	__u32 inode;

	return bpf_map_get_next_key(alive, NULL, &inode) && errno == ENOENT;
}

static int read_rules(const struct ps_loaded *loaded, struct ps_loaded_instance *item,
		      struct ps_error *error)
{
	_cleanup_close_ int fd = -1;
	char path[PS_PATH];
	int ret;

	snprintf(path, sizeof(path), "%s/ns-%" PRIu64 "/rules-%" PRIu32, loaded->folder,
		 item->cookie, PS_WORD_GEN(item->word));
	fd = ps_bpffs_open_map(path);
	ret = fd < 0 ? fd : ps_decode_state(fd, &item->state);
	return ret ? damaged(error, ret, path) : 0;
}

/* Add the instance, if it is loaded and its namespace lives. */
static int list_one(const struct ps_loaded *loaded, uint64_t cookie, struct ps_loaded_list *list,
		    struct ps_error *error)
{
	struct ps_loaded_instance *item = &list->items[list->count];
	char path[PS_PATH];
	int ret;

	*item = (struct ps_loaded_instance){ .cookie = cookie, .alive = -1 };
	if (bpf_map_lookup_elem(loaded->netns, &cookie, &item->index))
		return damaged(error, -errno, "host/netns");
	ret = item->index < PS_MAX_INSTANCES ? read_word(loaded, item->index, &item->word) :
					       -EBADMSG;
	if (ret)
		return damaged(error, ret, "host/instances");
	if (!item->word)
		return 0;
	snprintf(path, sizeof(path), "%s/ns-%" PRIu64 "/alive", loaded->folder, cookie);
	item->alive =
		ps_bpffs_open_map_of(path, BPF_MAP_TYPE_DEVMAP_HASH, sizeof(__u32), sizeof(__u32));
	if (item->alive < 0)
		return damaged(error, item->alive, path);
	if (has_ended(item->alive)) {
		ps_close(&item->alive);
		return 0;
	}
	list->count++;
	return read_rules(loaded, item, error);
}

int ps_loaded_list(const struct ps_loaded *loaded, struct ps_loaded_list *list,
		   struct ps_error *error)
{
	struct ps_loaded_list read = { .items = calloc(PS_MAX_INSTANCES, sizeof(*read.items)) };
	uint64_t cookie, *last = NULL;
	size_t seen = 0;
	int ret = 0;

	if (!read.items)
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	while (!ret && seen++ < PS_MAX_INSTANCES &&
	       !bpf_map_get_next_key(loaded->netns, last, &cookie)) {
		last = &cookie;
		ret = list_one(loaded, cookie, &read, error);
	}
	if (ret)
		ps_loaded_list_clear(&read);
	else
		*list = read;
	return ret;
}

/* --- listeners */

struct gathering {
	const char *folder;
	uint64_t *cookies;
	size_t count, room;
};

static int add_cookie(struct gathering *g, uint64_t cookie)
{
	if (ps_grow((void **)&g->cookies, &g->room, g->count, sizeof(*g->cookies)))
		return -ENOMEM;
	g->cookies[g->count++] = cookie;
	return 0;
}

/* All sockets in a map; user space reads each as its cookie. Sockets leave while it is read:
 * where a hash cannot go on, it is begun again, and what comes twice is sorted out later. */
static int gather_map(struct gathering *g, int map, const struct bpf_map_info *info)
{
	_Alignas(8) unsigned char key[64], next[64];
	unsigned char *last = NULL;
	__u64 cookie;
	int ret = 0;

	if (info->key_size > sizeof(key) || info->value_size != sizeof(cookie))
		return -EBADMSG;
	for (uint64_t steps = 0; !ret && steps < 4ULL * info->max_entries; steps++) {
		if (bpf_map_get_next_key(map, last, next))
			return errno == ENOENT ? 0 : -errno;
		memcpy(key, next, sizeof(key));
		last = key;
		if (!bpf_map_lookup_elem(map, key, &cookie))
			ret = add_cookie(g, cookie);
	}
	return ret;
}

static int gather(struct gathering *g, int fd);

static int gather_inner(struct gathering *g, int outer, const struct bpf_map_info *info)
{
	int ret = 0;

	for (__u32 key = 0; key < info->max_entries && !ret; key++) {
		_cleanup_close_ int fd = ps_inner_open(outer, &key);

		ret = fd == -ENOENT ? 0 : fd < 0 ? fd : gather(g, fd);
	}
	return ret;
}

/* The sockets of a map, or of the maps in an array; of any other map none. */
static int gather(struct gathering *g, int fd)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	if (info.type == BPF_MAP_TYPE_SOCKMAP || info.type == BPF_MAP_TYPE_SOCKHASH)
		return gather_map(g, fd, &info);
	return info.type == BPF_MAP_TYPE_ARRAY_OF_MAPS ? gather_inner(g, fd, &info) : 0;
}

static int gather_pin(const char *name, void *data)
{
	struct gathering *g = data;
	_cleanup_close_ int fd = -1;
	char path[PS_PATH];

	if (snprintf(path, sizeof(path), "%s/%s", g->folder, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = ps_bpffs_open_map(path);
	/* It may be a link or a program. */
	return fd == -EPROTO ? 0 : fd < 0 ? fd : gather(g, fd);
}

static int compare_cookies(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int ps_loaded_listeners(const char *folder, uint64_t cookie, uint64_t **cookies, size_t *count)
{
	struct gathering g = {};
	char path[PS_PATH];
	size_t kept = 0;
	int ret;

	snprintf(path, sizeof(path), "%s/ns-%" PRIu64, folder, cookie);
	g.folder = path;
	ret = ps_bpffs_each(path, gather_pin, &g);
	if (ret) {
		free(g.cookies);
		return ret;
	}
	if (g.count)
		qsort(g.cookies, g.count, sizeof(*g.cookies), compare_cookies);
	for (size_t i = 0; i < g.count; i++) {
		if (!kept || g.cookies[i] != g.cookies[kept - 1])
			g.cookies[kept++] = g.cookies[i];
	}
	*cookies = g.cookies;
	*count = kept;
	return 0;
}
