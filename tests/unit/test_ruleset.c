// SPDX-License-Identifier: GPL-2.0-only
/* Which rules can be in force together, and which one answers: user/rule/ruleset.c. */
#define UNIT_FAULTS
#include "unit.h"

/* "80:8080 u33; 443:8443 any": rules with their options, or keys of `del`. */
struct list {
	struct ps_rule rules[16];
	size_t count;
};

static void read_list(const char *text, bool keys, struct list *list)
{
	char copy[512], *save = NULL;

	*list = (struct list){};
	snprintf(copy, sizeof(copy), "%s", text);
	for (char *one = strtok_r(copy, ";", &save); one; one = strtok_r(NULL, ";", &save)) {
		struct ps_rule *rule = &list->rules[list->count++];
		char *options;

		one += strspn(one, " ");
		options = strchrnul(one, ' ');
		if (*options)
			*options++ = '\0';
		CHECK(list->count < PS_ARRAY_SIZE(list->rules));
		CHECK_MSG(!(keys ? ps_rule_parse_key : ps_rule_parse)(one, rule, NULL), "%s", one);
		set_options(rule, options);
	}
}

static void clear_list(struct list *list)
{
	for (size_t i = 0; i < list->count; i++)
		ps_rule_clear(&list->rules[i]);
}

static void add_list(struct ps_ruleset *set, const char *text)
{
	struct ps_error error = NO_ERROR;
	struct list list;
	int ret;

	read_list(text, false, &list);
	ret = ps_ruleset_add(set, list.rules, list.count, &error);
	CHECK_MSG(!ret, "%s: %d: %s", text, ret, error.message);
	clear_list(&list);
}

static void check_sorted(const struct ps_ruleset *set)
{
	for (size_t i = 1; i < set->count; i++)
		CHECK(ps_rule_compare(&set->rules[i - 1], &set->rules[i]) < 0);
}

/* The set's rules in order: "80:8080/tcp 81:8081/tcp". */
static void set_text(const struct ps_ruleset *set, char *text, size_t size)
{
	size_t used = 0;

	*text = '\0';
	for (size_t i = 0; i < set->count; i++) {
		char one[PS_RULE_TEXT];

		ps_rule_format(&set->rules[i], one);
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? " " : "", one);
		CHECK(used < size);
	}
}

/* --- Adding --- */

static void test_add(void **state)
{
	static const struct {
		const char *have, *add, *then;
	} rows[] = {
		{ "", "", "" },
		{ "", "80:8080 u33", "80:8080/tcp" },
		{ "443:8443 u1; 22:2222 u1", "80:8080 u33",
		  "22:2222/tcp 80:8080/tcp 443:8443/tcp" },
		{ "80:8080 u1", "79:8080 u1; 81:8080 u2", "79:8080/tcp 80:8080/tcp 81:8080/tcp" },
		{ "80:8080 u1", "10.0.0.0/8:80:8080 u1; 10.0.0.0/16:80:9090 any",
		  "10.0.0.0/16:80:9090/tcp 10.0.0.0/8:80:8080/tcp 80:8080/tcp" },
		{ "0.0.0.0/0:80:8080 u1", "80:8080 u1", "0.0.0.0/0:80:8080/tcp 80:8080/tcp" },
		{ "1-79:1001-1079 u1", "81-90:1081-1090 u1; 80:1080 u1",
		  "1-79:1001-1079/tcp 80:1080/tcp 81-90:1081-1090/tcp" },
		{ "[::1]:80:8080 u1", "[::2]:80:8080 u1", "[::1]:80:8080/tcp [::2]:80:8080/tcp" },
		{ "80:8080 u1", "81:8080 c/a; 82:8080 u1 c/a; 83:8080 any; 84:8080 c/",
		  "80:8080/tcp 81:8080/tcp 82:8080/tcp 83:8080/tcp 84:8080/tcp" },
		{ "80:8080 u1 n=same", "81:8081 u1 n=same pass", "80:8080/tcp 81:8081/tcp" },
		{ "1-32767:32769-65535 u1", "", "1-32767:32769-65535/tcp" },
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_ruleset set = {};

		ROW("%s + %s", rows[i].have, rows[i].add);
		add_list(&set, rows[i].have);
		add_list(&set, rows[i].add);
		set_text(&set, text, sizeof(text));
		CHECK_STR(text, rows[i].then);
		check_sorted(&set);
		ps_ruleset_clear(&set);
		CHECK(!set.rules && !set.count && !set.capacity);
	}
}

/* What is in the set is its own, and all of it is there. */
static void test_add_copies(void **state)
{
	struct ps_rule rule = rule_of("80:8080", "u33 c/system.slice/web n=web pass");
	struct ps_ruleset set = {}, copy = {};

	(void)state;
	ROW("copies");
	CHECK_EQ(ps_ruleset_add(&set, &rule, 1, NULL), 0);
	CHECK(same_rule(&set.rules[0], &rule));
	CHECK(set.rules[0].name != rule.name && set.rules[0].owner.cgroup != rule.owner.cgroup);
	set.rules[0].id = 9;
	CHECK_EQ(ps_ruleset_copy(&set, &copy), 0);
	CHECK_EQ(copy.rules[0].id, 9);
	ps_ruleset_clear(&set);
	CHECK_EQ(copy.count, 1);
	CHECK(same_rule(&copy.rules[0], &rule));
	must_add(&copy, "81:8080", "any");
	CHECK_EQ(copy.count, 2);
	ps_ruleset_clear(&copy);
	CHECK_EQ(ps_ruleset_copy(&set, &copy), 0);
	CHECK_EQ(copy.count, 0);
	ps_ruleset_clear(&copy);
	ps_rule_clear(&rule);
}

/* Ids stay with their rules when others are added. */
static void test_add_keeps_ids(void **state)
{
	struct ps_ruleset set = {};

	(void)state;
	ROW("ids");
	add_list(&set, "80:8080 u1; 443:8443 u1");
	set.rules[0].id = 5;
	set.rules[1].id = 3;
	add_list(&set, "22:2222 u1; 100:8100 u1; 500:8500 u1");
	CHECK_EQ(set.rules[1].id, 5);
	CHECK_EQ(set.rules[3].id, 3);
	ps_ruleset_clear(&set);
}

static const struct refuse_row {
	const char *have, *add;
	int ret, status;
	const char *names[2];
} refused[] = {
	/* what a rule must be */
	{ "", "80:8080", -EINVAL, PS_EXIT_USAGE, { "80:8080" } },
	{ "", "80:8080 pass n=web", -EINVAL, PS_EXIT_USAGE, { "80:8080" } },
	{ "", "443:8443 u1; 80:8080", -EINVAL, PS_EXIT_USAGE, { "80:8080" } },
	{ "", "80:8080 any u33", -EINVAL, PS_EXIT_USAGE, { "80:8080" } },
	{ "", "80:8080 any c/a", -EINVAL, PS_EXIT_USAGE, { "80:8080" } },
	{ "", "53:5353/udp u33", -EINVAL, PS_EXIT_USAGE, { "53:5353/udp", "UDP" } },
	{ "", "53:5353 u33; 10.0.0.0/8:53:5353/udp any", -EINVAL, PS_EXIT_USAGE, { "/udp" } },
	/* the same rule */
	{ "80:8080 u33", "80:8080 u33", -EEXIST, PS_EXIT_FAILED, { "80:8080/tcp" } },
	{ "80:8080 u33", "80-80:8080-8080/tcp u33", -EEXIST, PS_EXIT_FAILED, { "80:8080/tcp" } },
	{ "", "80:8080 u33; 80:8080 u33", -EEXIST, PS_EXIT_FAILED, { "80:8080/tcp" } },
	{ "10.0.0.0/8:80:8080 c/a n=x",
	  "10.0.0.0/8:80:8080 c/a n=x",
	  -EEXIST,
	  PS_EXIT_FAILED,
	  { "10.0.0.0/8:80:8080/tcp" } },
	{ "22:2222 u1; 80-90:8080-8090 u1",
	  "443:8443 u1; 80-90:8080-8090 u1",
	  -EEXIST,
	  PS_EXIT_FAILED,
	  { "80-90:8080-8090/tcp" } },
	/* overlaps */
	{ "80:8080 u33", "80:8080 u34", -EEXIST, PS_EXIT_FAILED, { "80:8080/tcp" } },
	{ "80:8080 u33", "80:8080 u33 pass", -EEXIST, PS_EXIT_FAILED, { "80:8080/tcp" } },
	{ "80:8080 u33", "80:8080 u33 n=x", -EEXIST, PS_EXIT_FAILED, { "80:8080/tcp" } },
	{ "80:8080 u33", "80:9090 u33", -EEXIST, PS_EXIT_FAILED, { "80:8080/tcp", "80:9090/tcp" } },
	{ "80-90:8080-8090 u1",
	  "85:9085 u1",
	  -EEXIST,
	  PS_EXIT_FAILED,
	  { "80-90:8080-8090/tcp", "85:9085/tcp" } },
	{ "85:9085 u1",
	  "80-90:8080-8090 u1",
	  -EEXIST,
	  PS_EXIT_FAILED,
	  { "80-90:8080-8090/tcp", "85:9085/tcp" } },
	{ "80-90:8080-8090 u1",
	  "90-91:9090-9091 u1",
	  -EEXIST,
	  PS_EXIT_FAILED,
	  { "80-90:8080-8090/tcp", "90-91:9090-9091/tcp" } },
	{ "80-90:8080-8090 u1",
	  "79-80:9079-9080 u1",
	  -EEXIST,
	  PS_EXIT_FAILED,
	  { "80-90:8080-8090/tcp", "79-80:9079-9080/tcp" } },
	{ "",
	  "1-100:1001-1100 u1; 50:2050 u1",
	  -EEXIST,
	  PS_EXIT_FAILED,
	  { "1-100:1001-1100/tcp", "50:2050/tcp" } },
	{ "1:1001 u1; 2:1002 u1; 9:1009 u1",
	  "3-9:2003-2009 u1",
	  -EEXIST,
	  PS_EXIT_FAILED,
	  { "9:1009/tcp", "3-9:2003-2009/tcp" } },
	{ "10.0.0.0/8:80:8080 u1",
	  "10.0.0.0/8:80:9090 u1",
	  -EEXIST,
	  PS_EXIT_FAILED,
	  { "10.0.0.0/8:80:8080/tcp", "10.0.0.0/8:80:9090/tcp" } },
	{ "80:8080 u1; 10.0.0.0/8:70-90:8070-8090 u1; [::1]:80:8080 u1",
	  "10.0.0.0/8:80:9090 u1",
	  -EEXIST,
	  PS_EXIT_FAILED,
	  { "10.0.0.0/8:70-90:8070-8090/tcp", "10.0.0.0/8:80:9090/tcp" } },
	{ "[2001:db8::]/32:80:8080 u1",
	  "22:2222 u1; [2001:db8::]/32:80:9090 u1",
	  -EEXIST,
	  PS_EXIT_FAILED,
	  { "[2001:db8::]/32:80:8080/tcp", "[2001:db8::]/32:80:9090/tcp" } },
	/* loops */
	{ "80:8080 u1", "8080:9090 u1", -ELOOP, PS_EXIT_FAILED, { "80:8080/tcp", "8080:9090/tcp" } },
	{ "8080:9090 u1", "80:8080 u1", -ELOOP, PS_EXIT_FAILED, { "80:8080/tcp", "8080:9090/tcp" } },
	{ "", "80:8080 u1; 8080:80 u1", -ELOOP, PS_EXIT_FAILED, { "80:8080/tcp", "8080:80/tcp" } },
	{ "", "80:80 u1", -ELOOP, PS_EXIT_FAILED, { "80:80/tcp" } },
	{ "", "1-10:10-19 u1", -ELOOP, PS_EXIT_FAILED, { "1-10:10-19/tcp" } },
	{ "", "10-19:1-10 u1", -ELOOP, PS_EXIT_FAILED, { "10-19:1-10/tcp" } },
	{ "80-90:8080-8090 u1",
	  "8090:9090 u1",
	  -ELOOP,
	  PS_EXIT_FAILED,
	  { "80-90:8080-8090/tcp", "8090:9090/tcp" } },
	{ "80:8080 u1",
	  "8000-8100:9000-9100 u1",
	  -ELOOP,
	  PS_EXIT_FAILED,
	  { "80:8080/tcp", "8000-8100:9000-9100/tcp" } },
	{ "80:8080 u1",
	  "10.0.0.0/8:8080:9090 u1",
	  -ELOOP,
	  PS_EXIT_FAILED,
	  { "80:8080/tcp", "10.0.0.0/8:8080:9090/tcp" } },
	{ "10.0.0.1:80:8080 u1",
	  "[::1]:8080:9090 u1",
	  -ELOOP,
	  PS_EXIT_FAILED,
	  { "10.0.0.1:80:8080/tcp", "[::1]:8080:9090/tcp" } },
	{ "1:2 u1; 3:4 u1; 5:6 u1",
	  "7:8 u1; 9:10 u1; 8:11 u1",
	  -ELOOP,
	  PS_EXIT_FAILED,
	  { "7:8/tcp", "8:11/tcp" } },
};

static void refuse_add(struct ps_ruleset *set, const struct ps_rule *rules, size_t count, int want,
		       int status, const char *const names[2])
{
	struct ps_error error = NO_ERROR;
	struct ps_ruleset before = {};

	CHECK_EQ(ps_ruleset_copy(set, &before), 0);
	CHECK_EQ(ps_ruleset_add(set, rules, count, &error), want);
	check_error(&error, status, names[0] ? names[0] : "", names[1] ? names[1] : "", NULL);
	check_same_set(set, &before);
	CHECK_EQ(ps_ruleset_add(set, rules, count, NULL), want);
	check_same_set(set, &before);
	ps_ruleset_clear(&before);
}

static void test_add_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(refused); i++) {
		const struct refuse_row *row = &refused[i];
		struct ps_ruleset set = {};
		struct list list;

		ROW("%s + %s", row->have, row->add);
		add_list(&set, row->have);
		read_list(row->add, false, &list);
		refuse_add(&set, list.rules, list.count, row->ret, row->status, row->names);
		clear_list(&list);
		ps_ruleset_clear(&set);
	}
}

/* Rules that the parser would not make. */
static void test_add_malformed(void **state)
{
	static const char *const none[2] = {};
	struct ps_rule good = plain_rule(80, 8080, 1), rule;
	struct ps_ruleset set = {};

	(void)state;
	must_add(&set, "443:8443", "u1");
	ROW("target 0");
	rule = good;
	rule.target = 0;
	refuse_add(&set, &rule, 1, -EINVAL, PS_EXIT_USAGE, none);
	ROW("unknown owner");
	rule = good;
	rule.owner.flags = 16;
	refuse_add(&set, &rule, 1, -EINVAL, PS_EXIT_USAGE, none);
	rule.owner.flags = PS_OWNER_NOBODY; /* with another target than its front port */
	refuse_add(&set, &rule, 1, -EINVAL, PS_EXIT_USAGE, none);
	rule.owner.flags = PS_OWNER_NOBODY | PS_OWNER_USER;
	refuse_add(&set, &rule, 1, -EINVAL, PS_EXIT_USAGE, none);
	rule.owner.flags = PS_OWNER_USER | 0x80000000;
	refuse_add(&set, &rule, 1, -EINVAL, PS_EXIT_USAGE, none);
	ROW("cgroup owner without a path");
	rule = good;
	rule.owner.flags = PS_OWNER_CGROUP;
	refuse_add(&set, &rule, 1, -EINVAL, PS_EXIT_USAGE, none);
	ROW("the good one");
	CHECK_EQ(ps_ruleset_add(&set, &good, 1, NULL), 0);
	ps_ruleset_clear(&set);
}

/* --- Limits --- */

/* Thirty-two owners of one target port, of every kind; the same ones again are
 * no more. Another port has room of its own. */
static void test_owners_per_port(void **state)
{
	static const char *const names[2] = { "8080" };
	struct ps_ruleset set = {};
	struct ps_rule rule;
	char options[64];

	(void)state;
	for (uint16_t i = 0; i < PS_MAX_OWNERS_PER_PORT; i++) {
		char text[32];

		ROW("owner %d", i);
		snprintf(text, sizeof(text), "%d:8080", i + 1);
		if (i == 0)
			strcpy(options, "any");
		else if (i % 3 == 0)
			snprintf(options, sizeof(options), "c/slice/%d", i);
		else if (i % 3 == 1)
			snprintf(options, sizeof(options), "u1 c/slice/%d", i);
		else
			snprintf(options, sizeof(options), "u%d", i);
		must_add(&set, text, options);
	}
	ROW("one more owner");
	rule = plain_rule(100, 8080, 77);
	refuse_add(&set, &rule, 1, -E2BIG, PS_EXIT_FAILED, names);
	rule = rule_of("10.0.0.0/8:101-110:8075-8084", "u77");
	refuse_add(&set, &rule, 1, -E2BIG, PS_EXIT_FAILED, names);
	ROW("one more rule");
	must_add(&set, "100:8080", "any");
	must_add(&set, "101:8080", "u2");
	must_add(&set, "102:8080", "c/slice/3");
	must_add(&set, "10.0.0.0/8:102:8080", "c/slice/3 n=x pass");
	must_add(&set, "103:8081", "u77");
	must_add(&set, "104-108:8074-8078", "u77");
	ps_ruleset_clear(&set);
}

/* The ranges of 33 owners have only their last port in common. */
static void test_owners_per_port_in_ranges(void **state)
{
	static const char *const names[2] = { "40000" };
	struct ps_rule rules[PS_MAX_OWNERS_PER_PORT + 1];
	struct ps_ruleset set = {};

	(void)state;
	ROW("ranges");
	for (uint16_t i = 0; i < PS_ARRAY_SIZE(rules); i++) {
		rules[i] = plain_rule((uint16_t)(100 * i + 1), (uint16_t)(40000 - i), i);
		rules[i].front_last = (uint16_t)(rules[i].front + i);
	}
	refuse_add(&set, rules, PS_ARRAY_SIZE(rules), -E2BIG, PS_EXIT_FAILED, names);
	CHECK_EQ(ps_ruleset_add(&set, rules, PS_ARRAY_SIZE(rules) - 1, NULL), 0);
	refuse_add(&set, &rules[PS_MAX_OWNERS_PER_PORT], 1, -E2BIG, PS_EXIT_FAILED, names);
	ps_ruleset_clear(&set);
}

static void test_many_owners(void **state)
{
	static const char *const none[2] = {};
	struct ps_rule *rules = calloc(PS_MAX_OWNERS + 1, sizeof(*rules)), same;
	struct ps_ruleset set = {};

	(void)state;
	ROW("owners");
	for (uint32_t i = 0; i <= PS_MAX_OWNERS; i++)
		rules[i] = host_rule(0x0a000000 + i, 80, (uint16_t)(1000 + i / 32), i);
	CHECK_EQ(ps_ruleset_add(&set, rules, PS_MAX_OWNERS, NULL), 0);
	CHECK_EQ(set.count, PS_MAX_OWNERS);
	refuse_add(&set, &rules[PS_MAX_OWNERS], 1, -E2BIG, PS_EXIT_FAILED, none);
	same = rules[5];
	same.front = same.front_last = 81;
	CHECK_EQ(ps_ruleset_add(&set, &same, 1, NULL), 0);
	ps_ruleset_clear(&set);
	CHECK_EQ(ps_ruleset_add(&set, rules, PS_MAX_OWNERS + 1, NULL), -E2BIG);
	CHECK_EQ(set.count, 0);
	free(rules);
}

/* A range of n ports at an address is n pairs. */
static void test_many_prefixes(void **state)
{
	static const char *const none[2] = {};
	struct ps_ruleset set = {};
	struct ps_rule rule;

	(void)state;
	ROW("ranges");
	must_add(&set, "10.0.0.0/8:1-30000:30001-60000", "u1");
	must_add(&set, "11.0.0.0/8:1-30000:30001-60000", "u1");
	must_add(&set, "[2001:db8::]/32:1-30000:30001-60000", "u1");
	must_add(&set, "0.0.0.0/0:1-30000:30001-60000", "u1");
	must_add(&set, "1-30000:30001-60000", "u1"); /* without an address: no pairs */
	rule = rule_of("[::1]:1-11073:30001-41073", "u1");
	refuse_add(&set, &rule, 1, -E2BIG, PS_EXIT_FAILED, none);
	must_add(&set, "[::1]:1-11072:30001-41072", "u1");
	rule = rule_of("[::2]:1:30001", "u1");
	refuse_add(&set, &rule, 1, -E2BIG, PS_EXIT_FAILED, none);
	ps_ruleset_clear(&set);
}

/* As many rules as can be: no set with more than this many prefixes comes near
 * PS_MAX_RULES, which is refused by whatever limit is met first. */
static void test_many_rules(void **state)
{
	static const char *const none[2] = {};
	struct ps_rule *rules = calloc(PS_MAX_RULES + 1, sizeof(*rules));
	struct ps_ruleset set = {};

	(void)state;
	ROW("rules");
	for (uint32_t i = 0; i <= PS_MAX_RULES; i++)
		rules[i] = host_rule(0x0a000000 + i * 2654435761u % (1 << 24), 80, 8080, 1);
	CHECK_EQ(ps_ruleset_add(&set, rules, PS_MAX_RULES + 1, NULL), -E2BIG);
	CHECK_EQ(ps_ruleset_add(&set, rules, PS_MAX_PREFIXES + 1, NULL), -E2BIG);
	CHECK_EQ(set.count, 0);
	CHECK_EQ(ps_ruleset_add(&set, rules, PS_MAX_PREFIXES, NULL), 0);
	CHECK_EQ(set.count, PS_MAX_PREFIXES);
	check_sorted(&set);
	refuse_add(&set, &rules[PS_MAX_PREFIXES], 1, -E2BIG, PS_EXIT_FAILED, none);
	CHECK_EQ(ps_ruleset_del(&set, rules, PS_MAX_PREFIXES, NULL), 0);
	CHECK_EQ(set.count, 0);
	ps_ruleset_clear(&set);
	free(rules);
}

/* Every port but one, each its own rule. */
static void test_all_ports(void **state)
{
	struct ps_rule *rules = calloc(65534, sizeof(*rules)), extra = plain_rule(65535, 1, 1);
	static const char *const none[2] = {};
	struct ps_ruleset set = {};

	(void)state;
	ROW("all ports");
	for (uint32_t i = 0; i < 65534; i++)
		rules[i] = plain_rule((uint16_t)(1 + (i * 7919u) % 65534), 65535, 1);
	CHECK_EQ(ps_ruleset_add(&set, rules, 32767, NULL), 0);
	CHECK_EQ(ps_ruleset_add(&set, rules + 32767, 32767, NULL), 0);
	CHECK_EQ(set.count, 65534);
	check_sorted(&set);
	refuse_add(&set, &extra, 1, -ELOOP, PS_EXIT_FAILED, none);
	/* From the middle, and all the others. */
	CHECK_EQ(ps_ruleset_del(&set, rules + 30000, 1, NULL), 0);
	CHECK_EQ(set.count, 65533);
	CHECK_EQ(ps_ruleset_del(&set, rules, 65534, NULL), -ENOENT);
	CHECK_EQ(set.count, 65533);
	CHECK_EQ(ps_ruleset_del(&set, rules, 30000, NULL), 0);
	CHECK_EQ(ps_ruleset_del(&set, rules + 30001, 65534 - 30001, NULL), 0);
	CHECK_EQ(set.count, 0);
	ps_ruleset_clear(&set);
	free(rules);
}

/* --- Against a model --- */

/* Ports from few, so that most sets conflict somewhere. */
static struct ps_rule small_rule(void)
{
	uint16_t length = (uint16_t)(rnd(3) ? 0 : rnd(4));
	struct ps_rule rule = plain_rule((uint16_t)(1 + rnd(24)), (uint16_t)(20 + rnd(24)), rnd(2));

	rule.front_last = (uint16_t)(rule.front + length);
	if (rnd(2)) {
		rule.prefix.family = 4;
		rule.prefix.len = (uint8_t)(8 * rnd(3));
		rule.prefix.addr[0] = rule.prefix.len ? 10 : 0;
	}
	return rule;
}

static bool overlap(const struct ps_rule *a, const struct ps_rule *b)
{
	if (a->prefix.family != b->prefix.family || a->prefix.len != b->prefix.len)
		return false;
	for (int x = a->front; x <= a->front_last; x++) {
		if (x >= b->front && x <= b->front_last)
			return true;
	}
	return false;
}

static bool leads_into(const struct ps_rule *a, const struct ps_rule *b)
{
	for (int x = a->target; x <= target_last(a); x++) {
		if (x >= b->front && x <= b->front_last)
			return true;
	}
	return false;
}

static void test_add_model(void **state)
{
	int refusals = 0, loops = 0, adds = 0;

	(void)state;
	unit_seed = 4;
	for (int round = 0; round < 30000; round++) {
		struct ps_rule rules[8];
		uint32_t count = 1 + rnd(7), old = rnd(count);
		bool overlapping = false, loop = false;
		struct ps_ruleset set = {};
		int ret;

		ROW("round %d", round);
		for (uint32_t i = 0; i < count; i++)
			rules[i] = small_rule();
		if (ps_ruleset_add(&set, rules, old, NULL))
			continue;
		for (uint32_t i = 0; i < count; i++) {
			for (uint32_t j = 0; j < count; j++) {
				overlapping |= i != j && overlap(&rules[i], &rules[j]);
				loop |= leads_into(&rules[i], &rules[j]);
			}
		}
		ret = ps_ruleset_add(&set, rules + old, count - old, NULL);
		if (!ret)
			CHECK(!overlapping && !loop);
		else if (ret == -EEXIST)
			CHECK(overlapping);
		else if (ret == -ELOOP)
			CHECK(loop);
		else
			unit_fail(__LINE__, "result", "%d", ret);
		CHECK_EQ(set.count, ret ? old : count);
		check_sorted(&set);
		adds += !ret;
		refusals += ret == -EEXIST;
		loops += ret == -ELOOP;
		ps_ruleset_clear(&set);
	}
	CHECK(adds > 1000 && refusals > 1000 && loops > 1000);
}

/* --- Deleting --- */

static void test_del(void **state)
{
	static const struct {
		const char *have, *keys, *then;
	} rows[] = {
		{ "80:8080 u1", "80", "" },
		{ "80:8080 u1", "80/tcp", "" },
		{ "80:8080 u1", "80:8080", "" },
		{ "80:8080 u1", "80:8080/tcp", "" },
		{ "80:8080 u1; 81:8081 u1; 82:8082 u1", "81", "80:8080/tcp 82:8082/tcp" },
		{ "80:8080 u1; 81:8081 u1; 82:8082 u1", "82; 80:8080", "81:8081/tcp" },
		{ "80:8080 u1; 10.0.0.0/8:80:8080 u1; 10.0.0.0/9:80:8080 u1", "80",
		  "10.0.0.0/9:80:8080/tcp 10.0.0.0/8:80:8080/tcp" },
		{ "80:8080 u1; 10.0.0.0/8:80:8080 u1; 10.0.0.0/9:80:8080 u1", "10.0.0.0/8:80",
		  "10.0.0.0/9:80:8080/tcp 80:8080/tcp" },
		{ "0.0.0.0/0:80:8080 u1; 80:8080 u1; [::]/0:80:8080 u1", "0.0.0.0/0:80; 80",
		  "[::]/0:80:8080/tcp" },
		{ "80-90:8080-8090 u1; 91:8091 u1", "80-90", "91:8091/tcp" },
		{ "80-90:8080-8090 u1", "80-90:8080-8090", "" },
		{ "[2001:db8::]/32:80:8080 u1; [2001:db8::]/33:80:8080 u1",
		  "[2001:db8::]/32:80/tcp", "[2001:db8::]/33:80:8080/tcp" },
		{ "80:8080 u1 c/a n=x pass", "80", "" },
		{ "80:8080 u1", "", "80:8080/tcp" },
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_error error = NO_ERROR;
		struct ps_ruleset set = {};
		struct list keys;
		int ret;

		ROW("%s - %s", rows[i].have, rows[i].keys);
		add_list(&set, rows[i].have);
		read_list(rows[i].keys, true, &keys);
		ret = ps_ruleset_del(&set, keys.rules, keys.count, &error);
		CHECK_MSG(!ret, "%d: %s", ret, error.message);
		set_text(&set, text, sizeof(text));
		CHECK_STR(text, rows[i].then);
		check_sorted(&set);
		clear_list(&keys);
		ps_ruleset_clear(&set);
	}
}

static void test_del_refused(void **state)
{
	static const struct {
		const char *have, *keys, *names[2];
	} rows[] = {
		{ "", "80", { "80" } },
		{ "", "80:8080", { "80:8080" } },
		{ "80:8080 u1", "81", { "81" } },
		{ "80:8080 u1", "80:9090", { "80:9090", "80:8080/tcp" } },
		{ "80:8080 u1", "80/udp", { "80/udp" } },
		{ "80:8080 u1", "10.0.0.0/8:80", { "10.0.0.0/8:80", "80:8080/tcp" } },
		{ "10.0.0.0/8:80:8080 u1", "80", { "80", "10.0.0.0/8:80:8080/tcp" } },
		{ "10.0.0.0/8:80:8080 u1",
		  "10.0.0.0/9:80",
		  { "10.0.0.0/9:80", "10.0.0.0/8:80:8080" } },
		{ "10.0.0.0/8:80:8080 u1", "[::]/0:80", { "[::]/0:80" } },
		{ "80-90:8080-8090 u1", "80", { "80", "80-90:8080-8090/tcp" } },
		{ "80-90:8080-8090 u1", "85", { "85" } },
		{ "80-90:8080-8090 u1", "80-89", { "80-89", "80-90:8080-8090/tcp" } },
		{ "80-90:8080-8090 u1",
		  "80-90:9080-9090",
		  { "80-90:9080-9090", "80-90:8080-8090/tcp" } },
		{ "80:8080 u1", "80-81", { "80-81", "80:8080/tcp" } },
		{ "80:8080 u1; 81:8081 u1", "80; 82; 81", { "82" } },
		{ "80:8080 u1; 81:8081 u1", "80; 81:8080", { "81:8080", "81:8081/tcp" } },
		{ "80:8080 c/a n=x; 81:8081 c/b n=y", "80; 82", { "82" } },
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_ruleset set = {}, before = {};
		struct ps_error error = NO_ERROR;
		struct list keys;

		ROW("%s - %s", rows[i].have, rows[i].keys);
		add_list(&set, rows[i].have);
		CHECK_EQ(ps_ruleset_copy(&set, &before), 0);
		read_list(rows[i].keys, true, &keys);
		CHECK_EQ(ps_ruleset_del(&set, keys.rules, keys.count, &error), -ENOENT);
		check_error(&error, PS_EXIT_FAILED, rows[i].names[0],
			    rows[i].names[1] ? rows[i].names[1] : "", NULL);
		check_same_set(&set, &before);
		CHECK_EQ(ps_ruleset_del(&set, keys.rules, keys.count, NULL), -ENOENT);
		check_same_set(&set, &before);
		clear_list(&keys);
		ps_ruleset_clear(&set);
		ps_ruleset_clear(&before);
	}
}

/* --- Matching --- */

static void test_match(void **state)
{
	static const uint8_t ten[16] = { 10, 0, 0, 1 }, ten_one[16] = { 10, 1, 2, 3 };
	static const uint8_t other[16] = { 192, 0, 2, 1 }, max[16] = { 255, 255, 255, 255 };
	static const uint8_t doc[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 7 },
			     loop[16] = { [15] = 1 };
	static const struct {
		uint8_t family;
		const uint8_t *addr;
		uint16_t port;
		const char *rule; /* NULL: none */
	} rows[] = {
		{ 4, other, 80, "80:8080/tcp" },
		{ 6, doc, 80, "[2001:db8::]/32:80:8081/tcp" },
		{ 6, loop, 80, "80:8080/tcp" },
		{ 4, ten, 80, "10.0.0.1:80:8084/tcp" },
		{ 4, ten_one, 80, "10.0.0.0/8:80:8082/tcp" },
		{ 6, ten, 80, "80:8080/tcp" },
		{ 4, ten, 81, "10.0.0.0/9:81-89:8181-8189/tcp" },
		{ 4, ten_one, 89, "10.0.0.0/9:81-89:8181-8189/tcp" },
		{ 4, other, 81, NULL },
		{ 6, loop, 81, NULL },
		{ 4, ten, 90, NULL },
		{ 4, ten, 443, "0.0.0.0/0:443:8443/tcp" },
		{ 4, max, 443, "0.0.0.0/0:443:8443/tcp" },
		{ 6, loop, 443, "443:8444/tcp" },
		{ 6, loop, 22, "[::1]:22:2222/tcp" },
		{ 6, doc, 22, "[::]/0:22:2223/tcp" },
		{ 4, ten, 22, NULL },
		{ 4, ten, 1, NULL },
		{ 4, ten, 65535, NULL },
	};
	struct ps_ruleset set = {};
	char text[PS_RULE_TEXT];

	(void)state;
	ROW("rules");
	add_list(&set, "80:8080 u1; 10.0.0.0/8:80:8082 u1; 10.0.0.1:80:8084 u1;"
		       "[2001:db8::]/32:80:8081 u1; 10.0.0.0/9:81-89:8181-8189 u1;"
		       "0.0.0.0/0:443:8443 u1; 443:8444 u1; [::]/0:22:2223 u1; [::1]:22:2222 u1");
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		const struct ps_rule *rule = ps_ruleset_match(&set, rows[i].family, rows[i].addr,
							      IPPROTO_TCP, rows[i].port);

		ROW("%zu: port %d", i, rows[i].port);
		CHECK_EQ(!rule, !rows[i].rule);
		if (rule) {
			ps_rule_format(rule, text);
			CHECK_STR(text, rows[i].rule);
		}
		CHECK(!ps_ruleset_match(&set, rows[i].family, rows[i].addr, IPPROTO_UDP,
					rows[i].port));
	}
	ps_ruleset_clear(&set);
	CHECK(!ps_ruleset_match(&set, 4, ten, IPPROTO_TCP, 80));
}

static bool bit_of(const uint8_t *addr, int bit)
{
	return addr[bit / 8] >> (7 - bit % 8) & 1;
}

/* -1: does not match; otherwise the more the better. */
static int rank(const struct ps_rule *rule, uint8_t family, const uint8_t *addr, uint16_t port)
{
	if (port < rule->front || port > rule->front_last)
		return -1;
	if (!rule->prefix.family)
		return 0;
	if (rule->prefix.family != family)
		return -1;
	for (int bit = 0; bit < rule->prefix.len; bit++) {
		if (bit_of(rule->prefix.addr, bit) != bit_of(addr, bit))
			return -1;
	}
	return 1 + rule->prefix.len;
}

static struct ps_rule prefixed_rule(void)
{
	struct ps_rule rule = plain_rule((uint16_t)(1 + rnd(4)), (uint16_t)(100 + rnd(10)), 1);

	rule.front_last = (uint16_t)(rule.front + rnd(2));
	rule.prefix.family = (uint8_t[]){ 0, 4, 4, 6, 6 }[rnd(5)];
	if (rule.prefix.family)
		rule.prefix.len = (uint8_t)rnd(rule.prefix.family == 4 ? 33 : 129);
	/* Few different bits, so that addresses are often below prefixes. */
	for (int bit = 0; bit < rule.prefix.len; bit++) {
		if (bit % 8 == 7 || bit > 120)
			rule.prefix.addr[bit / 8] |= (uint8_t)((rnd(6) == 0) << (7 - bit % 8));
	}
	return rule;
}

static void test_match_model(void **state)
{
	int found = 0;

	(void)state;
	unit_seed = 5;
	for (int round = 0; round < 2000; round++) {
		struct ps_ruleset set = {};

		for (int i = 0; i < 12; i++) {
			struct ps_rule rule = prefixed_rule();

			ps_ruleset_add(&set, &rule, 1, NULL);
		}
		for (int i = 0; i < 30; i++) {
			struct ps_rule address = prefixed_rule();
			uint8_t family = address.prefix.family ? address.prefix.family : 4;
			const struct ps_rule *best = NULL, *rule;
			uint16_t port = (uint16_t)rnd(7);
			int most = -1;

			ROW("round %d, address %d", round, i);
			for (size_t n = 0; n < set.count; n++) {
				int is = rank(&set.rules[n], family, address.prefix.addr, port);

				if (is > most) {
					most = is;
					best = &set.rules[n];
				}
			}
			rule = ps_ruleset_match(&set, family, address.prefix.addr, IPPROTO_TCP,
						port);
			CHECK(rule == best);
			found += most > 1;
		}
		ps_ruleset_clear(&set);
	}
	CHECK(found > 1000);
}

/* --- Comparing sets --- */

static void test_diff(void **state)
{
	static const struct {
		const char *from, *to;
		struct ps_diff diff; /* added, removed, changed, same, moved */
	} rows[] = {
		{ "", "", { 0, 0, 0, 0, 0 } },
		{ "", "80:8080 u1; 81:8081 u1", { 2, 0, 0, 0, 0 } },
		{ "80:8080 u1; 81:8081 u1", "", { 0, 2, 0, 0, 0 } },
		{ "80:8080 u1; 81:8081 u1", "81:8081 u1; 80:8080 u1", { 0, 0, 0, 2, 0 } },
		{ "80:8080 u1; 81:8081 u1",
		  "81:8081 u1; 82:8082 u1; 83:8083 u1",
		  { 2, 1, 0, 1, 0 } },
		{ "80:8080 u1", "80:8080 u2", { 0, 0, 1, 0, 0 } },
		{ "80:8080 u1", "80:8080 u1 pass", { 0, 0, 1, 0, 0 } },
		{ "80:8080 u1", "80:8080 u1 n=x", { 0, 0, 1, 0, 0 } },
		{ "80:8080 u1", "80:8081 u1", { 0, 0, 1, 0, 0 } },
		{ "80:8080 u1; 443:8443 any",
		  "80:8081 u1; 443:8443 any; 22:2222 c/a",
		  { 1, 0, 1, 1, 0 } },
		{ "80:8080 u1", "10.0.0.0/8:80:8080 u1", { 1, 1, 0, 0, 0 } },
		{ "10.0.0.0/8:80:8080 u1", "10.0.0.0/9:80:8080 u1", { 1, 1, 0, 0, 0 } },
		{ "1:1001 u1; 3:1003 u1; 5:1005 u1",
		  "2:1002 u1; 3:1003 u1; 4:1004 u1",
		  { 2, 2, 0, 1, 0 } },
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_ruleset from = {}, to = {};
		struct ps_diff diff;

		ROW("%s -> %s", rows[i].from, rows[i].to);
		add_list(&from, rows[i].from);
		add_list(&to, rows[i].to);
		for (size_t n = 0; n < to.count; n++)
			to.rules[n].id = 99; /* does not count */
		diff = ps_ruleset_diff(&from, &to);
		CHECK_EQ(diff.added, rows[i].diff.added);
		CHECK_EQ(diff.removed, rows[i].diff.removed);
		CHECK_EQ(diff.changed, rows[i].diff.changed);
		CHECK_EQ(diff.same, rows[i].diff.same);
		CHECK_EQ(diff.moved, 0);
		/* The origin is no difference, but it is noted. */
		for (size_t n = 0; n < to.count; n++)
			to.rules[n].origin.line = 5;
		diff = ps_ruleset_diff(&from, &to);
		CHECK_EQ(diff.changed, rows[i].diff.changed);
		CHECK_EQ(diff.same, rows[i].diff.same);
		CHECK_EQ(diff.moved, diff.changed + diff.same);
		ps_ruleset_clear(&from);
		ps_ruleset_clear(&to);
	}
}

/* --- Without memory --- */

#if UNIT_CAN_FAIL
static struct list fault_list;

static int add_to_few(void *data)
{
	struct ps_ruleset set = {};
	long fail_at = unit_fail_at;
	int ret;

	unit_fail_at = 0;
	add_list(&set, "80:8080 c/a n=a; 10.0.0.0/8:443:8443 u1 c/b n=b");
	unit_fail_at = fail_at;
	ret = ps_ruleset_add(&set, fault_list.rules, fault_list.count, NULL);
	if (ret) {
		CHECK_EQ(set.count, 2);
		CHECK_STR(set.rules[0].name, "a");
		CHECK_STR(set.rules[1].name, "b");
	} else {
		CHECK_EQ(set.count, 2 + fault_list.count);
		CHECK_STR(set.rules[0].name, "new");
	}
	check_sorted(&set);
	ps_ruleset_clear(&set);
	(void)data;
	return ret;
}

static int copy_set(void *data)
{
	struct ps_ruleset to = { .count = 7 };
	int ret = ps_ruleset_copy(data, &to);

	if (ret) {
		CHECK(to.count == 7 && !to.rules);
	} else {
		check_same_set(data, &to);
		ps_ruleset_clear(&to);
	}
	return ret;
}

static int del_from_few(void *data)
{
	struct ps_ruleset set = {};
	struct ps_rule *key = data;
	long fail_at = unit_fail_at;
	int ret;

	unit_fail_at = 0;
	add_list(&set, "80:8080 c/a n=a; 81:8081 u1");
	unit_fail_at = fail_at;
	ret = ps_ruleset_del(&set, key, 1, NULL);
	CHECK_EQ(set.count, ret ? 2 : 1);
	ps_ruleset_clear(&set);
	return ret;
}

static void test_no_memory(void **state)
{
	struct ps_ruleset set = {};
	struct ps_rule key = plain_rule(80, 8080, 0);

	(void)state;
	ROW("add");
	read_list("22:2222 c/x/y n=new; 100:8100 c/z pass; 1000:8100 u1 n=last", false,
		  &fault_list);
	fail_each_allocation(add_to_few, NULL);
	ROW("copy");
	CHECK_EQ(ps_ruleset_add(&set, fault_list.rules, fault_list.count, NULL), 0);
	fail_each_allocation(copy_set, &set);
	ROW("del");
	fail_each_allocation(del_from_few, &key);
	clear_list(&fault_list);
	ps_ruleset_clear(&set);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add),
		cmocka_unit_test(test_add_copies),
		cmocka_unit_test(test_add_keeps_ids),
		cmocka_unit_test(test_add_refused),
		cmocka_unit_test(test_add_malformed),
		cmocka_unit_test(test_owners_per_port),
		cmocka_unit_test(test_owners_per_port_in_ranges),
		cmocka_unit_test(test_many_owners),
		cmocka_unit_test(test_many_prefixes),
		cmocka_unit_test(test_many_rules),
		cmocka_unit_test(test_all_ports),
		cmocka_unit_test(test_add_model),
		cmocka_unit_test(test_del),
		cmocka_unit_test(test_del_refused),
		cmocka_unit_test(test_match),
		cmocka_unit_test(test_match_model),
		cmocka_unit_test(test_diff),
#if UNIT_CAN_FAIL
		cmocka_unit_test(test_no_memory),
#endif
	};

	return cmocka_run_group_tests_name("ruleset", tests, NULL, NULL);
}
