// SPDX-License-Identifier: GPL-2.0-only
#include "carry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpffs.h"
#include "build_id.h"
#include "kmap.h"
#include "saved.h"
#include "util.h"

/* More is not asked for in one element; what says so is damaged. */
enum { MAX_ELEMENT = 4096 };

#define AT(type, field) ((__u32)offsetof(struct type, field))

void ps_build_own(struct ps_build *build)
{
	*build = (struct ps_build){
		.magic = PS_BUILD_MAGIC,
		.version = PS_BUILD_VERSION,
		.abi = PORTSTEER_ABI,
		.state = PS_STATE_VERSION,
		.id = PORTSTEER_BUILD_ID,
		.instance_size = sizeof(struct ps_instance),
		.instance_word = AT(ps_instance, active),
		.hits_small = PS_HITS_SMALL,
		.hits_chunk = PS_HITS_CHUNK,
		.rule_chunks = PS_RULE_CHUNKS,
		.slots = PS_SLOTS,
		.hits = { sizeof(struct ps_hits),
			  { AT(ps_hits, steered), AT(ps_hits, missed), AT(ps_hits, family),
			    AT(ps_hits, last) } },
		.binds = { sizeof(struct ps_bind_events),
			   { AT(ps_bind_events, tried), AT(ps_bind_events, denied),
			     AT(ps_bind_events, done), AT(ps_bind_events, last) } },
		.connects = { sizeof(struct ps_connect_events),
			      { AT(ps_connect_events, steered), AT(ps_connect_events, missed),
				AT(ps_connect_events, family), AT(ps_connect_events, last) } },
		.targets = { sizeof(struct ps_events),
			     { AT(ps_events, admitted), AT(ps_events, denied), AT(ps_events, error),
			       0 } },
		.bound = PS_BOUND_LAYOUT,
		.trails = PS_TRAILS_LAYOUT,
	};
}

/* ABI 2 as it was. */
static const struct ps_build second = {
	.magic = PS_BUILD_MAGIC,
	.version = PS_BUILD_VERSION,
	.abi = 2,
	.state = 2,
	.instance_size = 32,
	.instance_word = 0,
	.hits_small = 32,
	.hits_chunk = 256,
	.rule_chunks = 8,
	.slots = 4,
	.hits = { 32, { 0, 8, 16, 24 } },
	.binds = { 32, { 0, 8, 16, 24 } },
	.connects = { 32, { 0, 8, 16, 24 } },
	.targets = { 32, { 0, 8, 16, 0 } },
	.bound = 1,
	.trails = 1,
};

int ps_build_pin(const char *path)
{
	_cleanup_close_ int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, PORTSTEER_CARRIED "build",
						sizeof(__u32), sizeof(struct ps_build), 1, NULL);
	struct ps_build own;
	__u32 zero = 0;

	ps_build_own(&own);
	if (fd < 0 || bpf_map_update_elem(fd, &zero, &own, 0))
		return -errno;
	return ps_bpffs_pin(fd, path);
}

static int map_info(int fd, struct bpf_map_info *info)
{
	__u32 size = sizeof(*info);

	*info = (struct bpf_map_info){};
	return bpf_obj_get_info_by_fd(fd, info, &size) ? -errno : 0;
}

/* Open a pin that is to be a map with such elements; -EBADMSG if it is not. */
static int open_map(const char *path, enum bpf_map_type type, uint32_t key, uint32_t value)
{
	int fd = ps_bpffs_open_map(path), ret;
	struct bpf_map_info info;

	if (fd < 0)
		return fd;
	ret = map_info(fd, &info);
	if (!ret && (info.type != type || info.key_size != key || info.value_size != value))
		ret = -EBADMSG;
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

__attribute__((format(printf, 2, 3))) static void path_in(char path[PS_PATH], const char *format,
							  ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(path, PS_PATH, format, args);
	va_end(args);
}

static bool counts_fit(const struct ps_build_counts *c)
{
	for (int i = 0; i < 4; i++) {
		if (c->at[i] > MAX_ELEMENT || c->at[i] % 8 || c->at[i] + 8 > c->size)
			return false;
	}
	return c->size <= MAX_ELEMENT;
}

static int refuse(struct ps_error *error, const char *folder, const char *why)
{
	return ps_fail(error, PS_EXIT_FAILED, EPROTO,
		       "cannot carry over what is in %s: %s; go on with the version that made it, "
		       "or 'portsteer unload' and add the rules again",
		       folder, why);
}

/* Can it be read by this build? */
static int check_build(const char *folder, const struct ps_build *b, struct ps_error *error)
{
	char why[128];

	if (b->magic != PS_BUILD_MAGIC)
		return refuse(error, folder, "its record of who made it is damaged");
	if (b->version != PS_BUILD_VERSION || b->state != PS_STATE_VERSION) {
		snprintf(why, sizeof(why),
			 "its form (record %" PRIu32 ", rules %" PRIu32 ", ABI %" PRIu32
			 ") is not one that this version knows (%d, %d)",
			 b->version, b->state, b->abi, PS_BUILD_VERSION, PS_STATE_VERSION);
		return refuse(error, folder, why);
	}
	if (!counts_fit(&b->hits) || !counts_fit(&b->binds) || !counts_fit(&b->connects) ||
	    !counts_fit(&b->targets) || b->instance_size > MAX_ELEMENT || b->instance_word % 8 ||
	    b->instance_word > MAX_ELEMENT || b->instance_word + 8 > b->instance_size ||
	    !b->hits_chunk || b->rule_chunks > MAX_ELEMENT || b->slots > MAX_ELEMENT)
		return refuse(error, folder, "its record of who made it is damaged");
	return 0;
}

/* A state without a record: ABI 2's, by the name of what is in it, or -EPROTO. */
static int read_without_record(const char *folder, struct ps_build *build)
{
	_cleanup_close_ int fd = -1;
	struct bpf_map_info info;
	char path[PS_PATH];
	int ret;

	path_in(path, "%s/host/instances", folder);
	fd = ps_bpffs_open_map(path);
	if (fd < 0)
		return fd == -ENOENT ? -EPROTO : fd;
	ret = map_info(fd, &info);
	if (ret)
		return ret;
	if (strcmp(info.name, "ps2_instances"))
		return -EPROTO;
	*build = second;
	return 0;
}

int ps_build_read(const char *folder, struct ps_build *build, struct ps_error *error)
{
	_cleanup_close_ int fd = -1;
	struct ps_build read = {};
	char path[PS_PATH];
	__u32 zero = 0;
	int ret = 0;

	path_in(path, "%s/host", folder);
	if (access(path, F_OK))
		return -errno;
	path_in(path, "%s/host/build", folder);
	fd = open_map(path, BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(read));
	if (fd == -ENOENT)
		ret = read_without_record(folder, &read);
	else if (fd < 0)
		ret = fd;
	else if (bpf_map_lookup_elem(fd, &zero, &read))
		ret = -errno;
	if (ret == -EPROTO || ret == -EBADMSG)
		return refuse(error, folder, "it is of an unknown version, or damaged");
	if (ret)
		return ps_fail_kernel(error, ret, "read who loaded what is loaded");
	ret = check_build(folder, &read, error);
	if (!ret)
		*build = read;
	return ret;
}

/* --- what it holds */

static int damaged(struct ps_error *error, int ret, const char *path)
{
	if (ret != -ENOENT && ret != -EBADMSG && ret != -EPROTO)
		return ps_fail_kernel(error, ret, "read what is loaded");
	return ps_fail(error, PS_EXIT_FAILED, EBADMSG,
		       "cannot carry over what is loaded: %s is %s; run 'portsteer unload', then "
		       "add the rules again",
		       path, ret == -ENOENT ? "missing" : "damaged");
}

void ps_old_close(struct ps_old *old)
{
	ps_close(&old->instances);
	ps_close(&old->netns);
	ps_close(&old->events);
	*old = (struct ps_old)PS_OLD_NONE;
}

int ps_old_open(const char *folder, struct ps_old *old, struct ps_error *error)
{
	struct ps_old opened = PS_OLD_NONE;
	char path[PS_PATH];
	int ret = ps_build_read(folder, &opened.build, error);

	if (ret)
		return ret;
	opened.folder = folder;
	path_in(path, "%s/host/instances", folder);
	ret = opened.instances =
		open_map(path, BPF_MAP_TYPE_ARRAY, sizeof(__u32), opened.build.instance_size);
	if (ret >= 0) {
		path_in(path, "%s/host/netns", folder);
		ret = opened.netns =
			open_map(path, BPF_MAP_TYPE_HASH, sizeof(__u64), sizeof(__u32));
	}
	if (ret >= 0) {
		path_in(path, "%s/host/events", folder);
		ret = opened.events =
			open_map(path, BPF_MAP_TYPE_HASH_OF_MAPS, 2 * sizeof(__u32), sizeof(__u32));
	}
	if (ret < 0) {
		ps_old_close(&opened);
		return damaged(error, ret, path);
	}
	*old = opened;
	return 0;
}

void ps_old_list_clear(struct ps_old_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		ps_state_clear(&list->items[i].state);
		ps_close(&list->items[i].alive);
	}
	free(list->items);
	*list = (struct ps_old_list){};
}

/* The word of the instance at an index. */
static int read_word(const struct ps_old *old, uint32_t index, uint64_t *word)
{
	_Alignas(8) unsigned char element[MAX_ELEMENT];

	if (bpf_map_lookup_elem(old->instances, &index, element))
		return errno == ENOENT ? -EBADMSG : -errno;
	memcpy(word, element + old->build.instance_word, sizeof(*word));
	return 0;
}

/* Is the map of devices empty? */
static bool has_ended(int alive)
{
	__u32 inode;

	return bpf_map_get_next_key(alive, NULL, &inode) && errno == ENOENT;
}

static int read_rules(const struct ps_old *old, struct ps_old_instance *item,
		      struct ps_error *error)
{
	_cleanup_close_ int fd = -1;
	char path[PS_PATH];
	int ret;

	path_in(path, "%s/ns-%" PRIu64 "/rules-%" PRIu32, old->folder, item->cookie,
		PS_WORD_GEN(item->word));
	fd = ps_bpffs_open_map(path);
	ret = fd < 0 ? fd : ps_decode_state(fd, &item->state);
	/* A scan is to look for the listeners of all. */
	for (size_t i = 0; i < item->state.target_count; i++)
		item->state.targets[i].fresh = true;
	return ret ? damaged(error, ret, path) : 0;
}

/* Add the instance, if it is loaded and its namespace lives. */
static int list_one(const struct ps_old *old, uint64_t cookie, struct ps_old_list *list,
		    struct ps_error *error)
{
	struct ps_old_instance *item = &list->items[list->count];
	char path[PS_PATH];
	int ret;

	*item = (struct ps_old_instance){ .cookie = cookie, .alive = -1 };
	if (bpf_map_lookup_elem(old->netns, &cookie, &item->index))
		return damaged(error, -errno, "host/netns");
	ret = item->index < PS_MAX_INSTANCES ? read_word(old, item->index, &item->word) : -EBADMSG;
	if (ret)
		return damaged(error, ret, "host/instances");
	if (!item->word)
		return 0;
	path_in(path, "%s/ns-%" PRIu64 "/alive", old->folder, cookie);
	item->alive = open_map(path, BPF_MAP_TYPE_DEVMAP_HASH, sizeof(__u32), sizeof(__u32));
	if (item->alive < 0)
		return damaged(error, item->alive, path);
	if (has_ended(item->alive)) {
		ps_close(&item->alive);
		return 0;
	}
	list->count++;
	return read_rules(old, item, error);
}

int ps_old_list(const struct ps_old *old, struct ps_old_list *list, struct ps_error *error)
{
	struct ps_old_list read = { .items = calloc(PS_MAX_INSTANCES, sizeof(*read.items)) };
	uint64_t cookie, *last = NULL;
	size_t seen = 0;
	int ret = 0;

	if (!read.items)
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	while (!ret && seen++ < PS_MAX_INSTANCES &&
	       !bpf_map_get_next_key(old->netns, last, &cookie)) {
		last = &cookie;
		ret = list_one(old, cookie, &read, error);
	}
	if (ret)
		ps_old_list_clear(&read);
	else
		*list = read;
	return ret;
}

/* --- counters */

enum { CHUNKS = 64 };

/* Where an instance's counters are, opened as they are needed. */
struct source {
	const struct ps_old *old;
	const struct ps_old_instance *instance;
	struct ps_carried before;
	int hits, hits_more, chunk; /* chunk: the inner map opened last, */
	uint32_t chunk_number; /* and its number */
	int events[CHUNKS];
	int cpus;
	unsigned char *values; /* one for each CPU */
};

static void close_source(struct source *s)
{
	ps_close(&s->before.fd);
	ps_close(&s->hits);
	ps_close(&s->hits_more);
	ps_close(&s->chunk);
	for (int i = 0; i < CHUNKS; i++)
		ps_close(&s->events[i]);
	free(s->values);
}

/* The kernel hands out each CPU's element in whole 64-bit words. */
static size_t stride_of(const struct ps_build_counts *form)
{
	return ((size_t)form->size + 7) / 8 * 8;
}

static int open_source(struct source *s)
{
	const struct ps_build *build = &s->old->build;
	char path[PS_PATH];
	int ret;

	s->cpus = libbpf_num_possible_cpus();
	if (s->cpus < 0)
		return s->cpus;
	s->values = calloc((size_t)s->cpus, stride_of(&build->hits));
	if (!s->values)
		return -ENOMEM;
	path_in(path, "%s/ns-%" PRIu64 "/carried", s->old->folder, s->instance->cookie);
	ret = ps_carried_open(path, &s->before);
	if (ret)
		return ret;
	path_in(path, "%s/ns-%" PRIu64 "/hits", s->old->folder, s->instance->cookie);
	s->hits = open_map(path, BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(__u32), build->hits.size);
	if (s->hits < 0)
		return s->hits;
	path_in(path, "%s/ns-%" PRIu64 "/hits_more", s->old->folder, s->instance->cookie);
	s->hits_more = open_map(path, BPF_MAP_TYPE_ARRAY_OF_MAPS, sizeof(__u32), sizeof(__u32));
	return s->hits_more < 0 ? s->hits_more : 0;
}

/* Open an inner map whose elements have this size. */
static int open_inner(int outer, const void *key, uint32_t size)
{
	int fd = ps_inner_open(outer, key), ret;
	struct bpf_map_info info;

	if (fd < 0)
		return fd;
	ret = map_info(fd, &info);
	if (!ret && info.value_size == size)
		return fd;
	close(fd);
	return ret ? ret : -EBADMSG;
}

static void take(const struct ps_build_counts *form, const unsigned char *element,
		 struct ps_counts *counts)
{
	for (int i = 0; i < 4; i++)
		memcpy(&counts->of[i], element + form->at[i], sizeof(counts->of[i]));
}

static int find_hits(struct source *s, uint32_t rule, uint32_t *at)
{
	const struct ps_build *build = &s->old->build;
	uint32_t number;

	*at = rule;
	if (rule < build->hits_small)
		return s->hits;
	number = (rule - build->hits_small) / build->hits_chunk;
	*at = (rule - build->hits_small) % build->hits_chunk;
	if (s->chunk < 0 || s->chunk_number != number) {
		ps_close(&s->chunk);
		s->chunk = open_inner(s->hits_more, &number, build->hits.size);
		s->chunk_number = number;
	}
	return s->chunk;
}

static int sum_hits(struct source *s, uint32_t rule, struct ps_counts *sum)
{
	const struct ps_build_counts *form = &s->old->build.hits;
	struct ps_counts counts;
	uint32_t at;
	int fd = find_hits(s, rule, &at);

	if (fd < 0)
		return fd;
	if (bpf_map_lookup_elem(fd, &at, s->values))
		return -errno;
	for (int cpu = 0; cpu < s->cpus; cpu++) {
		take(form, s->values + (size_t)cpu * stride_of(form), &counts);
		ps_counts_add(sum, &counts);
	}
	return 0;
}

static int add_events(struct source *s, uint32_t chunk, uint32_t at,
		      const struct ps_build_counts *form, struct ps_counts *sum)
{
	struct ps_chunk_key key = { s->instance->index, chunk };
	_Alignas(8) unsigned char element[MAX_ELEMENT];
	struct ps_counts counts;

	if (chunk >= CHUNKS)
		return -EBADMSG;
	if (s->events[chunk] < 0)
		s->events[chunk] = open_inner(s->old->events, &key, form->size);
	if (s->events[chunk] < 0)
		return s->events[chunk];
	if (bpf_map_lookup_elem(s->events[chunk], &at, element))
		return -errno;
	take(form, element, &counts);
	ps_counts_add(sum, &counts);
	return 0;
}

static int carry_rule(struct source *s, const struct ps_rule *rule, const struct ps_carried *to)
{
	const struct ps_build *build = &s->old->build;
	uint32_t events = ps_rule_events(rule->id);
	struct ps_counts sum;
	int ret = ps_carried_rule(&s->before, rule->id, &sum);

	if (!ret && rule->mode == PS_MODE_STEER)
		ret = sum_hits(s, rule->id, &sum);
	else if (!ret)
		ret = add_events(s,
				 PS_TARGET_CHUNK_OF(events) - PS_RULE_CHUNKS + build->rule_chunks,
				 PS_TARGET_INDEX_OF(events),
				 rule->mode == PS_MODE_BIND ? &build->binds : &build->connects,
				 &sum);
	return ret ? ret : ps_carried_set_rule(to, rule->id, &sum);
}

static int carry_target(struct source *s, const struct ps_target *target,
			const struct ps_carried *to)
{
	struct ps_counts sum;
	int ret = ps_carried_target(&s->before, target->id, &sum);

	if (!ret)
		ret = add_events(s, PS_TARGET_CHUNK_OF(target->id), PS_TARGET_INDEX_OF(target->id),
				 &s->old->build.targets, &sum);
	sum.of[3] = 0;
	return ret ? ret : ps_carried_set_target(to, target->id, &sum);
}

int ps_old_carry(const struct ps_old *old, const struct ps_old_instance *instance,
		 const struct ps_carried *carried)
{
	const struct ps_state *state = &instance->state;
	__attribute__((cleanup(close_source))) struct source s = {
		.old = old,
		.instance = instance,
		.before = PS_CARRIED_NONE,
		.hits = -1,
		.hits_more = -1,
		.chunk = -1,
	};
	int ret;

	for (int i = 0; i < CHUNKS; i++)
		s.events[i] = -1;
	ret = open_source(&s);
	for (size_t i = 0; i < state->rules.count && !ret; i++)
		ret = carry_rule(&s, &state->rules.rules[i], carried);
	for (size_t i = 0; i < state->target_count && !ret; i++)
		ret = carry_target(&s, &state->targets[i], carried);
	return ret;
}

/* --- listeners */

struct gathering {
	uint64_t *cookies;
	size_t count, room;
};

static int add_cookie(struct gathering *g, uint64_t cookie)
{
	if (g->count == g->room) {
		size_t more = g->room ? 2 * g->room : 256;
		void *grown = realloc(g->cookies, more * sizeof(*g->cookies));

		if (!grown)
			return -ENOMEM;
		g->cookies = grown;
		g->room = more;
	}
	g->cookies[g->count++] = cookie;
	return 0;
}

/* Open a map of sockets; user space reads it as one of their cookies. */
static int open_sockets(const char *path, enum bpf_map_type type, struct bpf_map_info *info)
{
	int fd = ps_bpffs_open_map(path), ret;

	if (fd < 0)
		return fd;
	ret = map_info(fd, info);
	if (!ret && info->type == type && info->value_size == sizeof(__u64))
		return fd;
	close(fd);
	return ret ? ret : -EBADMSG;
}

/* The map of the chunk of a target: one is kept open. */
struct chunk {
	int first, more; /* the pins */
	int fd;
	uint32_t number;
};

static int open_chunk(struct chunk *c, uint32_t number)
{
	if (!number)
		return c->first;
	if (c->fd < 0 || c->number != number) {
		ps_close(&c->fd);
		c->fd = open_inner(c->more, &number, sizeof(__u64));
		c->number = number;
	}
	return c->fd;
}

static int gather_slots(struct gathering *g, struct chunk *c, uint32_t target, uint32_t slots)
{
	int fd = open_chunk(c, PS_TARGET_CHUNK_OF(target)), ret = 0;
	__u64 cookie;

	if (fd < 0)
		return fd;
	for (uint32_t n = 0; n < slots && !ret; n++) {
		uint32_t slot = PS_TARGET_INDEX_OF(target) * slots + n;

		if (!bpf_map_lookup_elem(fd, &slot, &cookie))
			ret = add_cookie(g, cookie);
	}
	return ret;
}

static bool is_target(const struct ps_state *state, uint32_t target)
{
	for (size_t i = 0; i < state->target_count; i++) {
		if (state->targets[i].id == target)
			return true;
	}
	return false;
}

/* Sockets leave while it is read: where the hash cannot go on, it is begun again, and what
 * comes twice is sorted out later. */
static int gather_overflow(struct gathering *g, int map, const struct bpf_map_info *info,
			   const struct ps_state *state)
{
	_Alignas(8) unsigned char key[64], next[64];
	unsigned char *last = NULL;
	uint32_t target;
	__u64 cookie;
	int ret = 0;

	if (info->key_size > sizeof(key) || info->key_size < sizeof(target))
		return -EBADMSG;
	for (uint64_t steps = 0; !ret && steps < 4ULL * info->max_entries; steps++) {
		if (bpf_map_get_next_key(map, last, next))
			return errno == ENOENT ? 0 : -errno;
		memcpy(key, next, sizeof(key));
		last = key;
		memcpy(&target, key, sizeof(target));
		if (is_target(state, target) && !bpf_map_lookup_elem(map, key, &cookie))
			ret = add_cookie(g, cookie);
	}
	return ret;
}

static int gather(struct gathering *g, const struct ps_old *old,
		  const struct ps_old_instance *instance)
{
	const struct ps_state *state = &instance->state;
	_cleanup_close_ int first = -1, more = -1, overflow = -1;
	struct chunk c = { .fd = -1 };
	struct bpf_map_info info;
	char path[PS_PATH];
	int ret = 0;

	path_in(path, "%s/ns-%" PRIu64 "/listeners", old->folder, instance->cookie);
	c.first = first = open_sockets(path, BPF_MAP_TYPE_SOCKMAP, &info);
	path_in(path, "%s/ns-%" PRIu64 "/listeners_more", old->folder, instance->cookie);
	c.more = more = ps_bpffs_open_map(path);
	path_in(path, "%s/ns-%" PRIu64 "/overflow", old->folder, instance->cookie);
	overflow = open_sockets(path, BPF_MAP_TYPE_SOCKHASH, &info);
	if (first < 0 || more < 0 || overflow < 0)
		return first < 0 ? first : more < 0 ? more : overflow;
	for (size_t i = 0; i < state->target_count && !ret; i++)
		ret = gather_slots(g, &c, state->targets[i].id, old->build.slots);
	ps_close(&c.fd);
	return ret ? ret : gather_overflow(g, overflow, &info, state);
}

static int compare_cookies(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int ps_old_listeners(const struct ps_old *old, const struct ps_old_instance *instance,
		     uint64_t **cookies, size_t *count)
{
	struct gathering g = {};
	size_t kept = 0;
	int ret = gather(&g, old, instance);

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
