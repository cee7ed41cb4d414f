// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/tables.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "compile/ids.h"
#include "kernel/bpffs.h"
#include "kernel/kmap.h"
#include "util/util.h"

const char *const ps_instance_pin[PS_INST_FDS] = {
	[PS_INST_FILTER] = "filter",
	[PS_INST_FRONTS] = "fronts",
	[PS_INST_FRONTS_MORE] = "fronts_more",
	[PS_INST_HITS] = "hits",
	[PS_INST_HITS_MORE] = "hits_more",
	[PS_INST_STATES] = "states",
	[PS_INST_STATES_MORE] = "states_more",
	[PS_INST_LISTENERS] = "listeners",
	[PS_INST_LISTENERS_MORE] = "listeners_more",
	[PS_INST_OVERFLOW] = "overflow",
	[PS_INST_PREFIXES] = "prefixes",
};

enum { FILTER_SIZE = 2 * 65536 / 8, FIRST_ADMITS = 64, FIRST_OWNERS = 4, FIRST_RECORDS = 16 };

/* Records of bind and connect mode: an array for each instance. */
enum mode_table { BINDS, SCOPES, HOPS, MODE_TABLES };
static const struct {
	const char *name;
	uint32_t size;
} mode_tables[MODE_TABLES] = {
	[BINDS] = { "binds_in", sizeof(struct ps_bind) },
	[SCOPES] = { "scopes_in", sizeof(struct ps_scope) },
	[HOPS] = { "hops_in", sizeof(struct ps_hop) },
};

/* The map that has them by instance, or -1. */
static int outer_of(const struct ps_host *host, enum mode_table table)
{
	return table == BINDS  ? host->hooks.fd[PS_HOOKS_BINDS] :
	       table == SCOPES ? host->fd[PS_HOST_SCOPES] :
				 host->fd[PS_HOST_HOPS];
}

void ps_tables_close(struct ps_tables *tables)
{
	for (int i = 0; i < PS_INST_FDS; i++)
		ps_close(&tables->fd[i]);
	for (int i = 0; i < PS_TARGET_CHUNKS; i++) {
		ps_close(&tables->listeners[i]);
		ps_close(&tables->states[i]);
		ps_close(&tables->events[i]);
	}
	ps_close(&tables->hits);
	if (tables->filter)
		munmap(tables->filter, FILTER_SIZE);
	*tables = (struct ps_tables)PS_TABLES_NONE;
}

/* The chunks of events that bind rules have. */
static int open_rule_chunks(struct ps_tables *t)
{
	struct ps_chunk_key key = { .instance = t->index };

	for (uint32_t k = 0; k < PS_TARGET_CHUNKS; k++) {
		int fd;

		key.chunk = PS_RULE_CHUNKS + k;
		fd = ps_inner_open(t->host->fd[PS_HOST_EVENTS], &key);
		if (fd < 0 && fd != -ENOENT)
			return fd;
		t->events[k] = fd < 0 ? -1 : fd;
	}
	return 0;
}

/* Chunk k of one of the instance's pairs of maps. */
static int open_chunk(const struct ps_tables *t, enum ps_instance_fd first, uint32_t k)
{
	return k ? ps_inner_open(t->fd[first + 1], &k) : dup(t->fd[first]);
}

/* The chunks of targets that exist; chunk 0 always does. */
static int open_target_chunks(struct ps_tables *t)
{
	for (uint32_t k = 0; k < PS_TARGET_CHUNKS; k++) {
		int fd = open_chunk(t, PS_INST_LISTENERS, k);

		if (fd == -ENOENT)
			return 0;
		if (fd < 0)
			return fd;
		t->listeners[k] = fd;
		fd = open_chunk(t, PS_INST_STATES, k);
		if (fd < 0)
			return fd;
		t->states[k] = fd;
	}
	return 0;
}

static int open_pins(struct ps_tables *t, char path[PS_PATH])
{
	int ret;

	for (int i = 0; i < PS_INST_FDS; i++) {
		ps_bpffs_path(path, "ns-%" PRIu64 "/%s", t->cookie, ps_instance_pin[i]);
		t->fd[i] = ps_bpffs_open(path);
		if (t->fd[i] < 0)
			return t->fd[i];
	}
	t->filter = mmap(NULL, FILTER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			 t->fd[PS_INST_FILTER], 0);
	if (t->filter == MAP_FAILED) {
		t->filter = NULL;
		return -errno;
	}
	ret = open_target_chunks(t);
	return ret ? ret : open_rule_chunks(t);
}

int ps_tables_open(const struct ps_host *host, uint64_t cookie, uint32_t index,
		   struct ps_tables *tables, struct ps_error *error)
{
	struct ps_tables t = PS_TABLES_NONE;
	char path[PS_PATH] = "";
	int ret;

	t.host = host;
	t.cookie = cookie;
	t.index = index;
	t.instance = &host->instances[index];
	ret = open_pins(&t, path);
	if (ret) {
		ps_tables_close(&t);
		if (ret != -ENOENT && ret != -EPROTO && ret != -EBADMSG)
			return ps_fail_kernel(error, ret, "open the loaded state");
		return ps_fail(error, PS_EXIT_FAILED, -ret,
			       "cannot open %s: %s, so the loaded state is incomplete; run "
			       "'portsteer unload', then add the rules again",
			       path, strerror(-ret));
	}
	*tables = t;
	return 0;
}

/* Put a new array of `entries` into a shared map of maps. */
static int register_array(int outer, const void *key, const char *name, uint32_t value_size,
			  uint32_t entries, uint32_t flags)
{
	_cleanup_close_ int fd = ps_map_make(BPF_MAP_TYPE_ARRAY, name, sizeof(__u32), value_size,
					     entries, BPF_F_INNER_MAP | flags);

	if (fd < 0)
		return fd;
	return bpf_map_update_elem(outer, key, &fd, 0) ? -errno : 0;
}

int ps_tables_register(const struct ps_host *host, uint32_t index, const int fd[PS_INST_FDS])
{
	struct ps_chunk_key chunk = { .instance = index };
	int ret;

	ret = register_array(host->fd[PS_HOST_ADMITS], &index, "admits_in", sizeof(struct ps_admit),
			     2 * FIRST_ADMITS, 0);
	if (!ret)
		ret = register_array(host->fd[PS_HOST_OWNERS], &index, "owners_in",
				     sizeof(struct ps_owner), 2 * FIRST_OWNERS, 0);
	if (!ret &&
	    (bpf_map_update_elem(host->fd[PS_HOST_TARGETS], &chunk, &fd[PS_INST_STATES], 0) ||
	     bpf_map_update_elem(host->fd[PS_HOST_SOCKETS], &chunk, &fd[PS_INST_LISTENERS], 0) ||
	     bpf_map_update_elem(host->fd[PS_HOST_OVERFLOWS], &index, &fd[PS_INST_OVERFLOW], 0)))
		ret = -errno;
	return ret;
}

static int forget(int map, const void *key)
{
	__u32 id;

	/* Deleting waits for readers, looking does not. */
	if (bpf_map_lookup_elem(map, key, &id))
		return errno == ENOENT ? 0 : -errno;
	return bpf_map_delete_elem(map, key) && errno != ENOENT ? -errno : 0;
}

int ps_tables_unregister(const struct ps_host *host, uint32_t index)
{
	struct ps_chunk_key chunk = { .instance = index };
	int ret = forget(host->fd[PS_HOST_ADMITS], &index);

	if (!ret)
		ret = forget(host->fd[PS_HOST_OWNERS], &index);
	if (!ret)
		ret = forget(host->fd[PS_HOST_OVERFLOWS], &index);
	for (int i = 0; i < MODE_TABLES && !ret; i++) {
		int outer = outer_of(host, (enum mode_table)i);

		ret = outer < 0 ? 0 : forget(outer, &index);
	}
	/* What was found for this instance must not be taken for the next one's of this index. */
	if (!ret)
		ret = forget(host->fd[PS_HOST_SCOPES_FOUND], &index);
	for (uint32_t k = 0; !ret && k < PS_TARGET_CHUNKS; k++) {
		chunk.chunk = k;
		ret = forget(host->fd[PS_HOST_SOCKETS], &chunk);
		if (!ret)
			ret = forget(host->fd[PS_HOST_TARGETS], &chunk);
		chunk.chunk = PS_RULE_CHUNKS + k;
		if (!ret)
			ret = forget(host->fd[PS_HOST_EVENTS], &chunk);
	}
	return ret;
}

/* Replace an instance's array by one with room for `need` entries in each half,
 * and the same contents. */
static int grow_array(int outer, uint32_t index, const char *name, uint32_t value_size,
		      uint32_t need)
{
	_cleanup_close_ int old = ps_inner_open(outer, &index), new = -1;
	_cleanup_free_ void *values = NULL;
	uint32_t have, want;
	int ret;

	if (old < 0)
		return old;
	ret = ps_map_entries(old, &have);
	if (ret || have >= 2 * need)
		return ret;
	for (want = have; want < 2 * need;)
		want *= 2;
	values = calloc(have, value_size);
	if (!values)
		return -ENOMEM;
	for (uint32_t i = 0; i < have; i++) {
		if (bpf_map_lookup_elem(old, &i, (char *)values + (size_t)i * value_size))
			return -errno;
	}
	new = ps_map_make(BPF_MAP_TYPE_ARRAY, name, sizeof(__u32), value_size, want,
			  BPF_F_INNER_MAP);
	if (new < 0)
		return new;
	ret = ps_array_write(new, 0, 1, values, value_size, have);
	if (ret)
		return ret;
	return bpf_map_update_elem(outer, &index, &new, 0) ? -errno : 0;
}

/* Put chunk k of targets into the host's map and the instance's. */
static int publish_chunk(struct ps_tables *t, uint32_t k, int host, int instance, int fd)
{
	struct ps_chunk_key key = { .instance = t->index, .chunk = k };

	return bpf_map_update_elem(host, &key, &fd, 0) ||
			       bpf_map_update_elem(instance, &k, &fd, 0) ?
		       -errno :
		       0;
}

/* Add target chunk k. The listeners' entry in the instance's map comes last: it is what says
 * that the chunk exists. */
static int add_target_chunk(struct ps_tables *t, uint32_t k)
{
	_cleanup_close_ int listeners = -1, states = -1;
	int ret;

	states = ps_map_make(BPF_MAP_TYPE_ARRAY, "states_in", sizeof(__u32),
			     sizeof(struct ps_target_state), PS_TARGET_CHUNK(k),
			     BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	if (states < 0)
		return states;
	listeners = ps_map_make(BPF_MAP_TYPE_SOCKMAP, "listeners_in", sizeof(__u32), sizeof(__u64),
				PS_TARGET_CHUNK(k) * PS_SLOTS, 0);
	if (listeners < 0)
		return listeners;
	ret = publish_chunk(t, k, t->host->fd[PS_HOST_TARGETS], t->fd[PS_INST_STATES_MORE], states);
	if (!ret)
		ret = publish_chunk(t, k, t->host->fd[PS_HOST_SOCKETS],
				    t->fd[PS_INST_LISTENERS_MORE], listeners);
	if (ret)
		return ret;
	t->states[k] = states;
	t->listeners[k] = listeners;
	states = listeners = -1;
	return 0;
}

/* Fill the keys first .. first + count - 1 of an outer map with new arrays,
 * where it has none. */
static int add_chunks(int outer, uint32_t first, uint32_t count, enum bpf_map_type type,
		      const char *name, uint32_t value_size, uint32_t entries)
{
	_cleanup_free_ uint32_t *keys = calloc(count + 1, sizeof(*keys));
	_cleanup_free_ int *fds = calloc(count + 1, sizeof(*fds));
	uint32_t made = 0;
	int ret = 0;

	if (!keys || !fds)
		return -ENOMEM;
	for (uint32_t key = first; key < first + count && !ret; key++) {
		__u32 id;

		if (!bpf_map_lookup_elem(outer, &key, &id))
			continue;
		keys[made] = key;
		fds[made] = ps_map_make(type, name, sizeof(__u32), value_size, entries, 0);
		if (fds[made] < 0)
			ret = fds[made];
		else
			made++;
	}
	if (!ret)
		ret = ps_outer_write(outer, keys, fds, made);
	while (made)
		close(fds[--made]);
	return ret;
}

static int reserve_fronts(struct ps_tables *t, uint64_t word)
{
	uint32_t log2 = PS_WORD_LOG2(word), chunks = 1;

	if (log2 <= PS_FRONT_SMALL_LOG2)
		return 0;
	if (log2 > PS_FRONT_CHUNK_LOG2)
		chunks = 1u << (log2 - PS_FRONT_CHUNK_LOG2);
	return add_chunks(t->fd[PS_INST_FRONTS_MORE], PS_WORD_HALF(word) * PS_FRONT_CHUNKS, chunks,
			  BPF_MAP_TYPE_ARRAY, "fronts_in", sizeof(struct ps_bucket),
			  PS_FRONT_CHUNK);
}

static int reserve_hits(struct ps_tables *t, uint32_t rules)
{
	if (rules <= PS_HITS_SMALL)
		return 0;
	return add_chunks(t->fd[PS_INST_HITS_MORE], 0,
			  (rules - PS_HITS_SMALL + PS_HITS_CHUNK - 1) / PS_HITS_CHUNK,
			  BPF_MAP_TYPE_PERCPU_ARRAY, "hits_in", sizeof(struct ps_hits),
			  PS_HITS_CHUNK);
}

/* Does the instance have such records? Then each ruleset must write its half. */
static bool has_records(const struct ps_tables *t, int fd)
{
	__u32 id;

	return fd >= 0 && !bpf_map_lookup_elem(fd, &t->index, &id);
}

static int add_rule_chunk(struct ps_tables *t, uint32_t k)
{
	struct ps_chunk_key key = { .instance = t->index, .chunk = PS_RULE_CHUNKS + k };
	int ret = register_array(t->host->fd[PS_HOST_EVENTS], &key, "events_in",
				 sizeof(struct ps_bind_events), PS_TARGET_CHUNK(k), BPF_F_MMAPABLE);

	if (ret)
		return ret;
	t->events[k] = ps_inner_open(t->host->fd[PS_HOST_EVENTS], &key);
	return t->events[k] < 0 ? t->events[k] : 0;
}

static int store_inner(int outer, uint32_t index, uint32_t half, const void *values,
		       uint32_t value_size, size_t count)
{
	_cleanup_close_ int fd = ps_inner_open(outer, &index);

	if (fd < 0)
		return fd;
	return ps_array_write(fd, half, 2, values, value_size, (uint32_t)count);
}

/* The records of a plan for one of mode_tables, and how many. */
static const void *records_of(const struct ps_plan *plan, enum mode_table table, size_t *count)
{
	switch (table) {
	case BINDS:
		*count = plan->bind_count;
		return plan->binds;
	case SCOPES:
		*count = plan->scope_count;
		return plan->scopes;
	default:
		*count = plan->hop_count;
		return plan->hops;
	}
}

static int reserve_mode_table(struct ps_tables *t, const struct ps_plan *plan,
			      enum mode_table table)
{
	bool wanted = table == BINDS ? plan->binds_any : plan->scopes_any;
	int outer = outer_of(t->host, table), ret = 0;
	size_t count;

	records_of(plan, table, &count);
	if (wanted && !has_records(t, outer))
		ret = register_array(outer, &t->index, mode_tables[table].name,
				     mode_tables[table].size, 2 * FIRST_RECORDS, 0);
	if (!ret && has_records(t, outer))
		ret = grow_array(outer, t->index, mode_tables[table].name, mode_tables[table].size,
				 (uint32_t)count);
	return ret;
}

/* Room for the scopes that are found. */
static int reserve_found(struct ps_tables *t)
{
	int outer = t->host->fd[PS_HOST_SCOPES_FOUND];
	_cleanup_close_ int fd = -1;

	if (has_records(t, outer))
		return 0;
	fd = ps_map_make(BPF_MAP_TYPE_LRU_HASH, "scopes_fnd_in", sizeof(__u64),
			 sizeof(struct ps_scope_found), PS_SCOPES_FOUND, 0);
	if (fd < 0)
		return fd;
	return bpf_map_update_elem(outer, &t->index, &fd, 0) ? -errno : 0;
}

static int reserve_mode_tables(struct ps_tables *t, const struct ps_plan *plan)
{
	int ret = plan->scopes_any ? reserve_found(t) : 0;

	for (int i = 0; i < MODE_TABLES && !ret; i++)
		ret = reserve_mode_table(t, plan, (enum mode_table)i);
	for (uint32_t k = 0; !ret && k < plan->event_chunks; k++) {
		if (t->events[k] < 0)
			ret = add_rule_chunk(t, k);
	}
	return ret;
}

static int store_mode_tables(struct ps_tables *t, const struct ps_plan *plan, uint32_t half)
{
	int ret = 0;

	for (int i = 0; i < MODE_TABLES && !ret; i++) {
		int outer = outer_of(t->host, (enum mode_table)i);
		size_t count;
		const void *records = records_of(plan, (enum mode_table)i, &count);

		if (has_records(t, outer))
			ret = store_inner(outer, t->index, half, records, mode_tables[i].size,
					  count);
	}
	return ret;
}

int ps_tables_reserve(struct ps_tables *tables, const struct ps_plan *plan)
{
	const struct ps_host *host = tables->host;
	int ret = reserve_fronts(tables, plan->word);

	if (!ret)
		ret = reserve_hits(tables, plan->rule_ids);
	for (uint32_t k = 1; !ret && k < plan->target_chunks; k++) {
		if (tables->listeners[k] < 0)
			ret = add_target_chunk(tables, k);
	}
	if (!ret)
		ret = grow_array(host->fd[PS_HOST_ADMITS], tables->index, "admits_in",
				 sizeof(struct ps_admit), (uint32_t)plan->admit_count);
	if (!ret)
		ret = grow_array(host->fd[PS_HOST_OWNERS], tables->index, "owners_in",
				 sizeof(struct ps_owner), (uint32_t)plan->owner_count);
	return ret ? ret : reserve_mode_tables(tables, plan);
}

static int store_fronts(struct ps_tables *t, const struct ps_plan *plan)
{
	uint32_t half = PS_WORD_HALF(plan->word), log2 = PS_WORD_LOG2(plan->word);
	uint32_t count = 1u << log2;
	int ret = 0;

	if (log2 <= PS_FRONT_SMALL_LOG2)
		return ps_array_write(t->fd[PS_INST_FRONTS], half * PS_FRONT_SMALL, 1,
				      plan->buckets, sizeof(struct ps_bucket), count);
	for (uint32_t first = 0; first < count && !ret; first += PS_FRONT_CHUNK) {
		uint32_t key = half * PS_FRONT_CHUNKS + first / PS_FRONT_CHUNK;
		uint32_t part = count < PS_FRONT_CHUNK ? count : PS_FRONT_CHUNK;
		_cleanup_close_ int fd = ps_inner_open(t->fd[PS_INST_FRONTS_MORE], &key);

		ret = fd < 0 ? fd :
			       ps_array_write(fd, 0, 1, plan->buckets + first,
					      sizeof(struct ps_bucket), part);
	}
	return ret;
}

static int store_prefixes(struct ps_tables *t, const struct ps_plan *plan)
{
	for (size_t i = 0; i < plan->prefix_count; i++) {
		const struct ps_prefix_entry *e = &plan->prefixes[i];

		if (bpf_map_update_elem(t->fd[PS_INST_PREFIXES], &e->key, &e->value, 0))
			return -errno;
	}
	return 0;
}

/* Nanoseconds since boot: two targets are emptied at different times. */
static uint64_t boot_time(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Empty a target's own places. */
static int clear_slots(const struct ps_tables *t, uint32_t target)
{
	int fd = t->listeners[PS_TARGET_CHUNK_OF(target)];

	for (uint32_t n = 0; n < PS_SLOTS; n++) {
		uint32_t slot = PS_TARGET_INDEX_OF(target) * PS_SLOTS + n;

		/* EINVAL: it is empty. */
		if (bpf_map_delete_elem(fd, &slot) && errno != ENOENT && errno != EINVAL)
			return -errno;
	}
	return 0;
}

/* Targets by id, a bit each. */
struct id_set {
	uint8_t *bits;
	uint32_t size;
};

static bool has_id(const struct id_set *set, uint32_t target)
{
	uint32_t id = ps_target_linear(target);

	return id < set->size && set->bits[id / 8] >> (id % 8) & 1;
}

static int set_of(const struct ps_state *state, struct id_set *set)
{
	*set = (struct id_set){};
	for (size_t i = 0; i < state->target_count; i++) {
		uint32_t id = ps_target_linear(state->targets[i].id);

		set->size = id < set->size ? set->size : id + 1;
	}
	set->bits = calloc(set->size / 8 + 1, 1);
	if (!set->bits)
		return -ENOMEM;
	for (size_t i = 0; i < state->target_count; i++) {
		uint32_t id = ps_target_linear(state->targets[i].id);

		set->bits[id / 8] |= (uint8_t)(1 << id % 8);
	}
	return 0;
}

/* Empty the shared places of all targets but a state's. Where the socket of a key has gone
 * meanwhile the kernel begins again, and meets those that stay once more. */
static int keep_shared(const struct ps_tables *t, const struct ps_state *state)
{
	int fd = t->fd[PS_INST_OVERFLOW], ret;
	struct ps_overflow_key last, key;
	struct id_set keep;
	bool first = true;

	ret = set_of(state, &keep);
	while (!ret && !bpf_map_get_next_key(fd, first ? NULL : &last, &key)) {
		if (has_id(&keep, key.target)) {
			last = key;
			first = false;
		} else if (bpf_map_delete_elem(fd, &key) && errno != ENOENT) {
			ret = -errno;
		}
	}
	free(keep.bits);
	return ret ? ret : errno == ENOENT ? 0 : -errno;
}

static int read_state(const struct ps_tables *t, uint32_t target, struct ps_target_state *state)
{
	uint32_t k = PS_TARGET_CHUNK_OF(target), index = PS_TARGET_INDEX_OF(target);

	if (k >= PS_TARGET_CHUNKS || t->states[k] < 0)
		return -ENOENT;
	return bpf_map_lookup_elem(t->states[k], &index, state) ? -errno : 0;
}

/* Begin anew with a target id that nobody uses: whoever had it before may still listen,
 * and must not get the next one's connections. Its shared places are empty already. */
static int clear_target(struct ps_tables *t, uint32_t target)
{
	uint32_t k = PS_TARGET_CHUNK_OF(target), index = PS_TARGET_INDEX_OF(target);
	const struct ps_target_state anew = { .epoch = boot_time() };
	int ret = clear_slots(t, target);

	if (ret)
		return ret;
	return bpf_map_update_elem(t->states[k], &index, &anew, 0) ? -errno : 0;
}

/* The ids that a plan gives out begin anew; what else is in shared places is nobody's. */
static int clear_targets(struct ps_tables *t, const struct ps_plan *plan,
			 const struct ps_state *before)
{
	int ret = keep_shared(t, before);

	for (size_t i = 0; i < plan->state.target_count && !ret; i++) {
		if (plan->state.targets[i].fresh)
			ret = clear_target(t, plan->state.targets[i].id);
	}
	return ret;
}

int ps_tables_retire(struct ps_tables *tables, const struct ps_state *state, size_t first)
{
	int ret = keep_shared(tables, state);

	for (size_t i = first; i < state->retired_count && !ret; i++)
		ret = clear_target(tables, state->retired[i]);
	return ret;
}

/* The map and index of a rule's hits. The descriptor stays the tables'. */
static int find_hits(struct ps_tables *t, uint32_t rule, uint32_t *index)
{
	uint32_t chunk;
	int fd;

	*index = rule;
	if (rule < PS_HITS_SMALL)
		return t->fd[PS_INST_HITS];
	chunk = (rule - PS_HITS_SMALL) / PS_HITS_CHUNK;
	*index = (rule - PS_HITS_SMALL) % PS_HITS_CHUNK;
	if (t->hits >= 0 && t->hits_chunk == chunk)
		return t->hits;
	fd = ps_inner_open(t->fd[PS_INST_HITS_MORE], &chunk);
	if (fd < 0)
		return fd;
	ps_close(&t->hits);
	t->hits = fd;
	t->hits_chunk = chunk;
	return fd;
}

/* Zero what a rule has counted. */
static int clear_rule(struct ps_tables *t, const struct ps_rule *rule, const void *zero)
{
	const struct ps_bind_events none = {};
	uint32_t events, index;
	int fd;

	if (rule->mode == PS_MODE_STEER) {
		fd = find_hits(t, rule->id, &index);
		if (fd < 0)
			return fd;
		return bpf_map_update_elem(fd, &index, zero, 0) ? -errno : 0;
	}
	events = ps_rule_events(rule->id);
	index = PS_TARGET_INDEX_OF(events);
	return bpf_map_update_elem(t->events[PS_TARGET_CHUNK_OF(events) - PS_RULE_CHUNKS], &index,
				   &none, 0) ?
		       -errno :
		       0;
}

/* Zero the counters of the rules whose id the state before did not use. */
static int clear_rules(struct ps_tables *t, const struct ps_plan *plan,
		       const struct ps_state *before)
{
	_cleanup_free_ unsigned char *used = calloc(plan->rule_ids + 1, 1);
	_cleanup_free_ struct ps_hits *zero = NULL;
	int cpus = libbpf_num_possible_cpus();

	if (cpus < 0)
		return cpus;
	zero = calloc((size_t)cpus, sizeof(*zero));
	if (!used || !zero)
		return -ENOMEM;
	for (size_t i = 0; i < before->rules.count; i++) {
		if (before->rules.rules[i].id < plan->rule_ids)
			used[before->rules.rules[i].id] = 1;
	}
	for (size_t i = 0; i < plan->state.rules.count; i++) {
		const struct ps_rule *rule = &plan->state.rules.rules[i];
		int ret = used[rule->id] ? 0 : clear_rule(t, rule, zero);

		if (ret)
			return ret;
	}
	return 0;
}

int ps_tables_store(struct ps_tables *tables, const struct ps_plan *plan,
		    const struct ps_state *before)
{
	const struct ps_host *host = tables->host;
	uint32_t half = PS_WORD_HALF(plan->word);
	int ret = store_fronts(tables, plan);

	if (!ret)
		ret = store_prefixes(tables, plan);
	if (!ret)
		ret = clear_targets(tables, plan, before);
	if (!ret)
		ret = clear_rules(tables, plan, before);
	if (!ret)
		ret = store_inner(host->fd[PS_HOST_OWNERS], tables->index, half, plan->owners,
				  sizeof(struct ps_owner), plan->owner_count);
	if (!ret)
		ret = store_inner(host->fd[PS_HOST_ADMITS], tables->index, half, plan->admits,
				  sizeof(struct ps_admit), plan->admit_count);
	return ret ? ret : store_mode_tables(tables, plan, half);
}

int ps_tables_sweep(const struct ps_tables *tables, uint32_t generation)
{
	int fd = tables->fd[PS_INST_PREFIXES];
	struct ps_prefix_key last, key;
	bool first = true;

	while (!bpf_map_get_next_key(fd, first ? NULL : &last, &key)) {
		if (key.generation == generation) {
			last = key;
			first = false;
		} else if (bpf_map_delete_elem(fd, &key) && errno != ENOENT) {
			return -errno;
		}
	}
	return errno == ENOENT ? 0 : -errno;
}

static int read_events(const struct ps_tables *t, uint32_t at, void *events)
{
	uint32_t k = PS_TARGET_CHUNK_OF(at) - PS_RULE_CHUNKS, index = PS_TARGET_INDEX_OF(at);

	if (k >= PS_TARGET_CHUNKS || t->events[k] < 0)
		return -ENOENT;
	return bpf_map_lookup_elem(t->events[k], &index, events) ? -errno : 0;
}

int ps_tables_target(const struct ps_tables *tables, uint32_t target, struct ps_target_state *state)
{
	return read_state(tables, target, state);
}

int ps_tables_listener(const struct ps_tables *tables, uint32_t target, uint32_t place,
		       uint64_t *cookie)
{
	uint32_t slot = PS_TARGET_INDEX_OF(target) * PS_SLOTS + place;
	struct ps_overflow_key more = { .target = target, .n = place - PS_SLOTS };
	int ret = place < PS_SLOTS ?
			  bpf_map_lookup_elem(tables->listeners[PS_TARGET_CHUNK_OF(target)], &slot,
					      cookie) :
			  bpf_map_lookup_elem(tables->fd[PS_INST_OVERFLOW], &more, cookie);

	return ret ? -errno : 0;
}

int ps_tables_bind_events(const struct ps_tables *tables, uint32_t rule,
			  struct ps_bind_events *events)
{
	return read_events(tables, ps_rule_events(rule), events);
}

int ps_tables_connect_events(const struct ps_tables *tables, uint32_t rule,
			     struct ps_connect_events *events)
{
	return read_events(tables, ps_rule_events(rule), events);
}

int ps_tables_hits(struct ps_tables *tables, uint32_t rule, struct ps_hits *sum)
{
	int cpus = libbpf_num_possible_cpus(), fd;
	_cleanup_free_ struct ps_hits *each = NULL;
	uint32_t index;

	if (cpus < 0)
		return cpus;
	each = calloc((size_t)cpus, sizeof(*each));
	fd = find_hits(tables, rule, &index);
	if (!each || fd < 0)
		return each ? fd : -ENOMEM;
	if (bpf_map_lookup_elem(fd, &index, each))
		return -errno;
	*sum = (struct ps_hits){};
	for (int i = 0; i < cpus; i++) {
		sum->steered += each[i].steered;
		sum->no_listener += each[i].no_listener;
		sum->wrong_family += each[i].wrong_family;
		sum->wrong_device += each[i].wrong_device;
		sum->taken += each[i].taken;
		if (each[i].last > sum->last)
			sum->last = each[i].last;
	}
	return 0;
}
