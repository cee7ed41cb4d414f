// SPDX-License-Identifier: GPL-2.0-only
/* The saved form of a ruleset: user/compile/state.c. */
#define UNIT_FAULTS
#include "unit.h"

/* A state as ps_plan_build leaves it. */
static void build(const struct ps_ruleset *rules, uint32_t generation, struct ps_state *state)
{
	struct ps_state before = { .generation = generation - 1 };
	struct ps_plan plan = {};

	CHECK_EQ(ps_plan_build(rules, &before, PS_WORD(generation - 1, 0, 0, 1), &plan, NULL), 0);
	*state = plan.state;
	plan.state = (struct ps_state){};
	ps_plan_clear(&plan);
}

static void must_block(struct ps_ruleset *set, const char *text, const char *scope)
{
	struct ps_rule rule;

	CHECK_EQ(ps_rule_parse_grant(text, &rule, NULL), 0);
	rule.target = rule.front;
	rule.owner.flags = PS_OWNER_NOBODY;
	rule.mode = scope ? PS_MODE_CONNECT : PS_MODE_STEER;
	rule.scope = (char *)scope;
	CHECK_EQ(ps_ruleset_add(set, &rule, 1, NULL), 0);
}

static void sample(struct ps_state *state)
{
	struct ps_ruleset set = {};

	must_add(&set, "80:8080", "u33 c/system.slice/web.service n=web");
	must_add(&set, "443:8443", "c/ pass");
	must_add(&set, "10.0.0.0/8:1-9:1001-1009",
		 "any n=w\xc3\xa9"
		 "b");
	must_add(&set, "[2001:db8::]/32:80:8080", "u4294967295 pass");
	must_add(&set, "0.0.0.0/0:80:8080", "u0");
	must_add(&set, "22:8080", "c/system.slice/web.service");
	must_add(&set, "53:5353/udp", "u5 bind");
	must_add(&set, "990", "grant u5 c/a");
	must_add(&set, "80:8080", "f/pod/a u33 n=a");
	must_add(&set, "10.0.0.0/8:81:10.1.2.3:8080/udp", "f/pod/a any");
	must_add(&set, "80:[2001:db8::5]:8080", "f/ any");
	for (size_t i = 0; i < set.count; i += 2) {
		set.rules[i].origin.file = strdup(i % 4 ? "/etc/portsteer/portsteer.conf" : "-");
		set.rules[i].origin.line = (uint32_t)i + 1;
	}
	must_block(&set, "83", NULL);
	must_block(&set, "83", "/pod/a");
	build(&set, 7, state);
	ps_ruleset_clear(&set);
	state->rule_cursor = 41;
	state->target_cursor = 42;
	free(state->retired);
	state->retired = calloc(2, sizeof(*state->retired));
	state->retired[0] = PS_TARGET(0, 63);
	state->retired[1] = PS_TARGET(1, 200);
	state->retired_count = 2;
}

static void *encode(const struct ps_state *state, size_t *size)
{
	void *data = NULL;

	CHECK_EQ(ps_state_encode(state, &data, size), 0);
	CHECK(data && *size);
	return data;
}

static void round_trip(const struct ps_state *state)
{
	struct ps_state read;
	void *data, *again;
	size_t size, second;

	data = encode(state, &size);
	memset(&read, 0xa5, sizeof(read));
	CHECK_EQ(ps_state_decode(data, size, &read), 0);
	check_same_state(state, &read);
	again = encode(&read, &second);
	CHECK_EQ(size, second);
	CHECK(!memcmp(data, again, size));
	ps_state_clear(&read);
	CHECK(!read.rules.rules && !read.targets && !read.rules.count && !read.target_count);
	free(data);
	free(again);
}

static void test_round_trip(void **state)
{
	struct ps_state one = {};

	(void)state;
	ROW("nothing");
	round_trip(&one);
	ps_state_clear(&one);
	ROW("an empty ruleset");
	one.generation = UINT32_MAX;
	one.rule_cursor = 5;
	round_trip(&one);
	ROW("some rules");
	sample(&one);
	round_trip(&one);
	ps_state_clear(&one);
}

/* Rules of a state that was read can be added to and deleted from. */
static void test_edit_after_decode(void **state)
{
	struct ps_rule key = plain_rule(80, 0, 0);
	struct ps_state one = {}, read = {};
	void *data;
	size_t size;

	(void)state;
	ROW("edit");
	sample(&one);
	data = encode(&one, &size);
	CHECK_EQ(ps_state_decode(data, size, &read), 0);
	memset(data, 0, size);
	free(data);
	must_add(&read.rules, "25:2525", "any");
	CHECK_EQ(ps_ruleset_del(&read.rules, &key, 1, NULL), 0);
	CHECK_EQ(read.rules.count, one.rules.count);
	ps_state_clear(&read);
	ps_state_clear(&one);
}

static void test_round_trip_random(void **state)
{
	static const char *const cgroups[] = { "/a", "/a/b", "/", "/system.slice/x.service" };

	(void)state;
	unit_seed = 6;
	for (int round = 0; round < 60; round++) {
		uint32_t count = 1 + rnd(round % 10 ? 60 : 3000);
		struct ps_rule *rules = calloc(count, sizeof(*rules));
		struct ps_ruleset set = {};
		struct ps_state one;

		ROW("round %d, %" PRIu32 " rules", round, count);
		for (uint32_t i = 0; i < count; i++) {
			rules[i] = plain_rule((uint16_t)(i + 1), (uint16_t)(10000 + rnd(200)),
					      rnd(10));
			if (rnd(3) == 0)
				rules[i] = host_rule(i, rules[i].front, rules[i].target, 1);
			if (rnd(3) == 0) {
				rules[i].owner.flags = PS_OWNER_CGROUP;
				rules[i].owner.cgroup = (char *)cgroups[rnd(4)];
			}
			rules[i].name = (char *)(rnd(2) ? "some name" : NULL);
			rules[i].if_down = rnd(2) ? PS_DOWN_PASS : PS_DOWN_REFUSE;
		}
		CHECK_EQ(ps_ruleset_add(&set, rules, count, NULL), 0);
		build(&set, 1 + rnd(1000000), &one);
		round_trip(&one);
		ps_state_clear(&one);
		ps_ruleset_clear(&set);
		free(rules);
	}
}

/* The longest of everything, and as many rules as ports. */
static void test_large(void **state)
{
	struct ps_rule *rules = calloc(65534, sizeof(*rules));
	struct ps_ruleset set = {};
	char path[PS_CGROUP_PATH], name[PS_NAME_MAX + 1];
	struct ps_state one;

	(void)state;
	ROW("large");
	for (size_t i = 0; i < sizeof(path) - 2; i++)
		path[i] = i % 100 ? 'x' : '/';
	path[sizeof(path) - 2] = '\0';
	memset(name, 'n', PS_NAME_MAX);
	name[PS_NAME_MAX] = '\0';
	for (uint32_t i = 0; i < 65534; i++) {
		rules[i] = plain_rule((uint16_t)(i + 1), 65535, i % 30);
		if (i % 1000 == 0) {
			rules[i].owner.flags = PS_OWNER_CGROUP;
			rules[i].owner.cgroup = path;
			rules[i].name = name;
		}
	}
	CHECK_EQ(ps_ruleset_add(&set, rules, 65534, NULL), 0);
	build(&set, 2, &one);
	round_trip(&one);
	ps_state_clear(&one);
	ps_ruleset_clear(&set);
	free(rules);
}

/* decode must refuse the bytes, and leave the state as it is. They are copied
 * into memory of just that size, so that a read beyond is noticed. */
static void refuse_bytes(const void *data, size_t size)
{
	struct ps_state read, poison;
	char *copy = malloc(size + 1);

	memset(&read, 0xa5, sizeof(read));
	memset(&poison, 0xa5, sizeof(poison));
	/* At an odd address: the saved form can be anywhere. */
	memcpy(copy + 1, data, size);
	CHECK_EQ(ps_state_decode(copy + 1, size, &read), -EBADMSG);
	CHECK(!memcmp(&read, &poison, sizeof(read)));
	free(copy);
}

static void test_unaligned(void **state)
{
	struct ps_state one = {}, read = {};
	size_t size;
	char *copy;
	void *data;

	(void)state;
	ROW("an odd address");
	sample(&one);
	data = encode(&one, &size);
	copy = malloc(size + 1);
	memcpy(copy + 1, data, size);
	CHECK_EQ(ps_state_decode(copy + 1, size, &read), 0);
	check_same_state(&one, &read);
	ps_state_clear(&read);
	ps_state_clear(&one);
	free(copy);
	free(data);
}

/* It is refused, or it is a state by itself, which is written as it is read. */
static void try_bytes(const void *data, size_t size)
{
	char *copy = malloc(size);
	struct ps_state read, second;
	void *again;
	int ret;

	memcpy(copy, data, size);
	ret = ps_state_decode(copy, size, &read);
	CHECK_MSG(!ret || ret == -EBADMSG || ret == -ENOTSUP, "%d", ret);
	if (!ret) {
		again = encode(&read, &size);
		CHECK_EQ(ps_state_decode(again, size, &second), 0);
		check_same_state(&read, &second);
		ps_state_clear(&second);
		ps_state_clear(&read);
		free(again);
	}
	free(copy);
}

static void test_bit_flips(void **state)
{
	struct ps_state one = {};
	unsigned char *data;
	size_t size;

	(void)state;
	sample(&one);
	data = encode(&one, &size);
	for (size_t i = 0; i < size; i++) {
		for (int bit = 0; bit < 8; bit++) {
			ROW("byte %zu of %zu, bit %d", i, size, bit);
			data[i] ^= (unsigned char)(1 << bit);
			try_bytes(data, size);
			data[i] ^= (unsigned char)(1 << bit);
		}
	}
	ps_state_clear(&one);
	free(data);
}

static void test_truncated(void **state)
{
	struct ps_state one = {};
	unsigned char *data;
	size_t size;

	(void)state;
	sample(&one);
	data = encode(&one, &size);
	for (size_t i = 0; i < size; i++) {
		ROW("%zu of %zu bytes", i, size);
		refuse_bytes(data, i);
		/* The beginning lost rather than the end. */
		if (i)
			refuse_bytes(data + i, size - i);
	}
	ps_state_clear(&one);
	free(data);
}

static void test_trailing(void **state)
{
	struct ps_state one = {};
	unsigned char *data;
	char *longer;
	size_t size;

	(void)state;
	unit_seed = 7;
	for (int empty = 0; empty < 2; empty++) {
		if (empty)
			one.generation = 1;
		else
			sample(&one);
		data = encode(&one, &size);
		longer = malloc(size + 5000);
		for (size_t more = 1; more <= 5000; more += 1 + more / 40) {
			ROW("%zu bytes more", more);
			memcpy(longer, data, size);
			memset(longer + size, 0, more);
			refuse_bytes(longer, size + more);
			for (size_t i = 0; i < more; i++)
				longer[size + i] = (char)rnd(256);
			refuse_bytes(longer, size + more);
			memcpy(longer + size, data, more < size ? more : size);
			refuse_bytes(longer, size + more);
		}
		ps_state_clear(&one);
		free(longer);
		free(data);
	}
}

/* Several bytes at once, parts moved about, and no saved form at all. */
static void test_garbage(void **state)
{
	struct ps_state one = {};
	unsigned char *data, *bad;
	size_t size;

	(void)state;
	unit_seed = 8;
	sample(&one);
	data = encode(&one, &size);
	bad = malloc(size);
	for (int round = 0; round < 20000; round++) {
		size_t from = rnd((uint32_t)size), to = rnd((uint32_t)size), count;

		ROW("round %d", round);
		count = 1 + rnd((uint32_t)(size - (from > to ? from : to)));
		memcpy(bad, data, size);
		switch (round % 4) {
		case 0:
			memmove(bad + to, bad + from, count);
			break;
		case 1:
			for (int i = 0; i < 1 + (int)rnd(8); i++)
				bad[rnd((uint32_t)size)] = (unsigned char)rnd(256);
			break;
		case 2:
			memset(bad + from, round % 8 < 4 ? 0 : 0xff, size - from);
			break;
		default:
			for (size_t i = 0; i < size; i++)
				bad[i] = (unsigned char)rnd(256);
		}
		if (memcmp(bad, data, size))
			try_bytes(bad, size);
	}
	ROW("zeros");
	for (size_t i = 0; i <= size; i++) {
		memset(bad, 0, size);
		refuse_bytes(bad, i);
		memset(bad, 0xff, size);
		refuse_bytes(bad, i);
	}
	ps_state_clear(&one);
	free(bad);
	free(data);
}

/* Two saved forms are not one; the halves of two may be. */
static void test_spliced(void **state)
{
	struct ps_state one = {}, two = {};
	unsigned char *a, *b, *both;
	size_t size, second;

	(void)state;
	sample(&one);
	sample(&two);
	two.generation = 8;
	two.rules.rules[0].id ^= 1;
	a = encode(&one, &size);
	b = encode(&two, &second);
	CHECK_EQ(size, second);
	both = malloc(2 * size);
	memcpy(both, a, size);
	memcpy(both + size, b, size);
	ROW("both");
	refuse_bytes(both, 2 * size);
	for (size_t i = 1; i < size; i++) {
		ROW("cut at %zu", i);
		memcpy(both, a, size);
		memcpy(both + i, b + i, size - i);
		try_bytes(both, size);
	}
	ps_state_clear(&one);
	ps_state_clear(&two);
	free(both);
	free(a);
	free(b);
}

/* --- What no ruleset can be --- */

/* Change the state into something that cannot be, which encode then writes or refuses. */
typedef void spoil_fn(struct ps_state *state);

#define SPOIL(name, what)                                                                          \
	static void name(struct ps_state *s)                                                       \
	{                                                                                          \
		what;                                                                              \
	}
SPOIL(no_front, s->rules.rules[0].front = 0)
SPOIL(no_target, s->rules.rules[0].target = 0)
SPOIL(backward, s->rules.rules[0].front_last = (uint16_t)(s->rules.rules[0].front - 1))
SPOIL(beyond, (s->rules.rules[0].front_last = 65535, s->rules.rules[0].target = 65535))
SPOIL(family, s->rules.rules[0].prefix.family = 5)
SPOIL(long_none, (s->rules.rules[0].prefix.family = 0, s->rules.rules[0].prefix.len = 1))
SPOIL(long_four, (s->rules.rules[0].prefix.family = 4, s->rules.rules[0].prefix.len = 33))
SPOIL(long_six, (s->rules.rules[0].prefix.family = 6, s->rules.rules[0].prefix.len = 129))
SPOIL(mode, s->rules.rules[0].mode = (enum ps_mode)9)
SPOIL(if_down, s->rules.rules[0].if_down = (enum ps_if_down)9)
SPOIL(flags, s->rules.rules[0].owner.flags |= 16)
SPOIL(nobody, s->rules.rules[0].owner.flags |= PS_OWNER_NOBODY)
SPOIL(line, (free(s->rules.rules[0].origin.file), s->rules.rules[0].origin.file = NULL,
	     s->rules.rules[0].origin.line = 1))
SPOIL(target_flags, s->targets[0].owner.flags |= 0x80000000)
SPOIL(high_id, s->rules.rules[0].id = PS_HITS_SMALL + PS_HITS_CHUNK * PS_HITS_CHUNKS)
SPOIL(highest_id, s->rules.rules[0].id = UINT32_MAX)
SPOIL(target_port, s->targets[0].port = 0)
SPOIL(target_index, s->targets[0].id = PS_TARGET(0, PS_TARGET_CHUNK(0)))
SPOIL(target_chunk, s->targets[0].id = PS_TARGET(PS_TARGET_CHUNKS, 0))
SPOIL(target_id, s->targets[0].id = UINT32_MAX)
SPOIL(retired_index, s->retired[1] = PS_TARGET(0, PS_TARGET_CHUNK(0)))
SPOIL(retired_id, s->retired[0] = UINT32_MAX)

/* The owner of a rule loses its path, or has an impossible one: the tables have
 * no room for it, and these bytes are the only thing between. */
static char **cgroup_of(struct ps_state *s)
{
	for (size_t i = 0; i < s->rules.count; i++) {
		if (s->rules.rules[i].owner.cgroup)
			return &s->rules.rules[i].owner.cgroup;
	}
	unit_fail(__LINE__, "cgroup", "none");
}
static void set_cgroup(struct ps_state *s, char *path)
{
	char **to = cgroup_of(s);

	free(*to);
	*to = path;
}
SPOIL(no_cgroup, set_cgroup(s, NULL))
SPOIL(empty_cgroup, set_cgroup(s, strdup("")))
SPOIL(relative_cgroup, set_cgroup(s, strdup("a/b")))
SPOIL(parent_cgroup, set_cgroup(s, strdup("/a/../b")))
SPOIL(open_cgroup, set_cgroup(s, strdup("/a/")))
SPOIL(control_cgroup, set_cgroup(s, strdup("/a\x1b[31m")))
SPOIL(deep_cgroup, set_cgroup(s, strdup("/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20")))
static void long_cgroup(struct ps_state *s)
{
	char *path = malloc(5001);

	for (int i = 0; i < 5000; i++)
		path[i] = i % 200 ? 'x' : '/';
	path[5000] = '\0';
	set_cgroup(s, path);
}
static void target_cgroup(struct ps_state *s)
{
	for (size_t i = 0; i < s->target_count; i++) {
		if (!s->targets[i].owner.cgroup)
			continue;
		free(s->targets[i].owner.cgroup);
		s->targets[i].owner.cgroup = strdup("/a/../b");
		return;
	}
}
static char **name_of(struct ps_state *s)
{
	for (size_t i = 0; i < s->rules.count; i++) {
		if (s->rules.rules[i].name)
			return &s->rules.rules[i].name;
	}
	unit_fail(__LINE__, "name", "none");
}
static void control_name(struct ps_state *s)
{
	char **name = name_of(s);

	free(*name);
	*name = strdup("a\x1b[31m");
}
static void long_name(struct ps_state *s)
{
	char **name = name_of(s);

	free(*name);
	*name = malloc(1001);
	memset(*name, 'x', 1000);
	(*name)[1000] = '\0';
}

static void test_impossible(void **state)
{
	static const struct {
		const char *what;
		spoil_fn *spoil;
	} rows[] = {
		{ "front port 0", no_front },
		{ "target port 0", no_target },
		{ "range backward", backward },
		{ "targets beyond 65535", beyond },
		{ "address family", family },
		{ "length without address", long_none },
		{ "/33", long_four },
		{ "/129", long_six },
		{ "mode", mode },
		{ "if-down policy", if_down },
		{ "owner of a rule", flags },
		{ "owner of a target", target_flags },
		{ "nobody and somebody", nobody },
		{ "a line of no file", line },
		{ "rule id", high_id },
		{ "highest rule id", highest_id },
		{ "target's port", target_port },
		{ "target's index", target_index },
		{ "target's chunk", target_chunk },
		{ "target's id", target_id },
		{ "retired index", retired_index },
		{ "retired id", retired_id },
		{ "no cgroup", no_cgroup },
		{ "empty cgroup", empty_cgroup },
		{ "relative cgroup", relative_cgroup },
		{ "cgroup with ..", parent_cgroup },
		{ "cgroup with / at its end", open_cgroup },
		{ "cgroup with control characters", control_cgroup },
		{ "deep cgroup", deep_cgroup },
		{ "long cgroup", long_cgroup },
		{ "target's cgroup", target_cgroup },
		{ "name with control characters", control_name },
		{ "long name", long_name },
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_state one = {};
		void *data = NULL;
		size_t size = 0;

		ROW("%s", rows[i].what);
		sample(&one);
		rows[i].spoil(&one);
		if (!ps_state_encode(&one, &data, &size))
			refuse_bytes(data, size);
		free(data);
		ps_state_clear(&one);
	}
}

/* --- As other versions write it --- */

/* user/compile/state.c's header. */
enum { MAGIC_WORD, HEADER_SIZE, RULE_SIZE, TARGET_SIZE, RULES, TARGETS };

/* Copy `count` records of `size` bytes, each with `more` bytes of `filler` behind it, or `less`
 * bytes fewer. */
static const char *copy_records(char **to, const char *from, size_t count, size_t size, size_t more,
				size_t less, char filler)
{
	for (size_t i = 0; i < count; i++, from += size) {
		memcpy(*to, from, size - less);
		*to += size - less;
		memset(*to, filler, more);
		*to += more;
	}
	return from;
}

/* The same bytes with a header and rules that are longer, or shorter. */
static void *resize(const void *data, size_t *size, size_t more, size_t less, char filler)
{
	char *copy = calloc(1, *size * 2 + 65536), *to = copy;
	const char *end = (const char *)data + *size, *from = data;
	uint32_t h[11];

	memcpy(h, data, sizeof(h));
	from = copy_records(&to, from, 1, h[HEADER_SIZE], more, 0, filler);
	from = copy_records(&to, from, h[RULES], h[RULE_SIZE], more, less, filler);
	memcpy(to, from, (size_t)(end - from));
	*size = (size_t)(to - copy) + (size_t)(end - from);
	h[HEADER_SIZE] += (uint32_t)more;
	h[RULE_SIZE] += (uint32_t)(more - less);
	memcpy(copy, h, sizeof(h));
	return copy;
}

static void test_other_versions(void **state)
{
	struct ps_state one = {}, read = {};
	size_t size, other;
	void *data, *copy;

	(void)state;
	sample(&one);
	data = encode(&one, &size);
	ROW("longer records, with nothing new in them");
	other = size;
	copy = resize(data, &other, 8, 0, 0);
	CHECK_EQ(ps_state_decode(copy, other, &read), 0);
	check_same_state(&one, &read);
	ps_state_clear(&read);
	free(copy);
	ROW("longer records that say something");
	other = size;
	copy = resize(data, &other, 8, 0, 1);
	CHECK_EQ(ps_state_decode(copy, other, &read), -ENOTSUP);
	free(copy);
	/* An older version had no address to send to, and no origins: no rule of these has one. */
	ROW("shorter records");
	ps_state_clear(&one);
	free(data);
	one.generation = 3;
	data = encode(&one, &size);
	other = size;
	copy = resize(data, &other, 0, 28, 0);
	CHECK_EQ(ps_state_decode(copy, other, &read), 0);
	CHECK_EQ(read.generation, 3);
	ps_state_clear(&read);
	free(copy);
	ROW("sizes that cannot be");
	for (int field = HEADER_SIZE; field <= TARGET_SIZE; field++) {
		static const uint32_t sizes[] = { 0, 1, 3, 4096 + 4, UINT32_MAX, UINT32_MAX - 3 };

		for (size_t i = 0; i < PS_ARRAY_SIZE(sizes); i++) {
			copy = malloc(size);
			memcpy(copy, data, size);
			((uint32_t *)copy)[field] = sizes[i];
			refuse_bytes(copy, size);
			free(copy);
		}
	}
	free(data);
	ps_state_clear(&one);
}

/* --- Without memory --- */

#if UNIT_CAN_FAIL
static int encode_and_free(void *state)
{
	void *data = state;
	size_t size = 77;
	int ret = ps_state_encode(state, &data, &size);

	if (ret)
		CHECK(data == state && size == 77);
	else
		free(data);
	return ret;
}

struct bytes {
	void *data;
	size_t size;
	const struct ps_state *is;
};

static int decode_and_clear(void *arg)
{
	struct bytes *bytes = arg;
	struct ps_state read, poison;
	int ret;

	memset(&read, 0xa5, sizeof(read));
	memset(&poison, 0xa5, sizeof(poison));
	ret = ps_state_decode(bytes->data, bytes->size, &read);
	if (ret) {
		CHECK(!memcmp(&read, &poison, sizeof(read)));
	} else {
		check_same_state(&read, bytes->is);
		ps_state_clear(&read);
	}
	return ret;
}

static void test_no_memory(void **state)
{
	struct ps_state one = {};
	struct bytes bytes = { .is = &one };

	(void)state;
	sample(&one);
	ROW("encode");
	fail_each_allocation(encode_and_free, &one);
	ROW("decode");
	bytes.data = encode(&one, &bytes.size);
	fail_each_allocation(decode_and_clear, &bytes);
	free(bytes.data);
	ps_state_clear(&one);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_edit_after_decode),
		cmocka_unit_test(test_round_trip_random),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_unaligned),
		cmocka_unit_test(test_bit_flips),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_trailing),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_spliced),
		cmocka_unit_test(test_impossible),
		cmocka_unit_test(test_other_versions),
#if UNIT_CAN_FAIL
		cmocka_unit_test(test_no_memory),
#endif
	};

	return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
