// SPDX-License-Identifier: GPL-2.0-only
/*
 * Connect rules: their text, which of them go together and with others, and that the
 * scopes and hops which the kernel walks say what the rules say: user/rule/conflicts.c,
 * plan_connect.c.
 */
#define UNIT_FAULTS
#include "unit.h"

#include "compile/plan_connect.h"

/* --- Text --- */

static void test_text(void **state)
{
	static const struct {
		const char *text, *formatted;
	} rows[] = {
		{ "80:10.0.0.5:8080", "80:10.0.0.5:8080/tcp" },
		{ "80-89:10.0.0.5:8080-8089/udp", "80-89:10.0.0.5:8080-8089/udp" },
		{ "80:[2001:db8::5]:8080", "80:[2001:db8::5]:8080/tcp" },
		{ "10.0.0.0/8:80:10.0.0.5:80", "10.0.0.0/8:80:10.0.0.5:80/tcp" },
		{ "[::]/0:80:[::1]:8080/tcp", "[::]/0:80:[::1]:8080/tcp" },
	};
	char text[PS_RULE_TEXT];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_rule rule = {}, again = {};

		ROW("%s", rows[i].text);
		CHECK_EQ(ps_rule_parse(rows[i].text, &rule, NULL), 0);
		CHECK(rule.to.family);
		ps_rule_format(&rule, text);
		CHECK_STR(text, rows[i].formatted);
		CHECK_EQ(ps_rule_parse(text, &again, NULL), 0);
		CHECK(same_rule(&rule, &again));
	}
}

static void test_bad_text(void **state)
{
	static const char *const rows[] = {
		"80:10.0.0.5",
		"80:10.0.0.5:",
		"80:10.0.0.256:8080",
		"80:[::1]8080",
		"80:[::1",
		"80:[10.0.0.1]:8080",
		"80:[]:8080",
		"80:::1:8080",
		"80:localhost:8080",
		"80:10.0.0.5:0",
		"80:10.0.0.5:80:8080",
		"80:10.0.0.0/8:8080",
		"80-89:10.0.0.1:1",
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_error error = NO_ERROR;
		struct ps_rule rule = {};

		ROW("%s", rows[i]);
		CHECK_EQ(ps_rule_parse(rows[i], &rule, &error), -EINVAL);
		check_error(&error, PS_EXIT_USAGE, NULL);
	}
}

/* --- Which rules go together --- */

static void test_together(void **state)
{
	static const struct {
		const char *one, *one_options, *other, *other_options;
		int ret;
	} rows[] = {
		/* scopes are apart */
		{ "80:8080", "f/a u1", "80:9090", "f/b u1", 0 },
		{ "80:8080", "f/a u1", "80:9090", "f/a/b u1", 0 },
		{ "80:8080", "f/a u1", "80:9090", "f/a u1", -EEXIST },
		{ "80:8080", "f/a u1", "80:8080", "f/a u1", -EEXIST },
		{ "70-90:8070-8090", "f/a u1", "80:9090", "f/a u1", -EEXIST },
		{ "80:8080", "f/a u1", "10.0.0.0/8:80:9090", "f/a u1", 0 },
		{ "80:8080", "f/a u1", "80:8080/udp", "f/a any", 0 },
		/* and from the rules for everybody */
		{ "80:8080", "f/a u1", "80:9090", "u1", 0 },
		{ "80:8080", "f/a u1", "80", "grant u1", 0 },
		{ "80:8080", "f/a u1", "443:8080", "u1", 0 },
		/* but not steered twice */
		{ "80:8080", "f/a u1", "8080:9090", "u1", -ELOOP },
		{ "80:8080", "f/a u1", "8080:9090", "u1 bind", -ELOOP },
		{ "80:10.0.0.5:8080", "f/a any", "8080:9090", "u1", 0 },
		{ "80:10.0.0.5:80", "f/a any", "80:8080", "u1", 0 },
		{ "80:8080", "u1", "8080:9090", "f/a u1", 0 },
		{ "80:443", "f/a u1", "443", "grant u1", 0 },
		/* a loop in a scope */
		{ "80:8080", "f/a u1", "8080:80", "f/a u1", -ELOOP },
		{ "80:8080", "f/a u1", "8080:80", "f/b u1", 0 },
		{ "80:8080", "f/a u1", "8080:9090/udp", "f/a any", 0 },
		/* a listener that bind mode puts elsewhere */
		{ "80:8080", "f/a u1", "443:8080", "u1 bind", -EEXIST },
		{ "53:5353/udp", "f/a any", "53:5353/udp", "u1 bind", 0 },
	};

	(void)state;
	for (size_t i = 0; i < 2 * PS_ARRAY_SIZE(rows); i++) {
		bool swap = i % 2;
		struct ps_error error = NO_ERROR;
		struct ps_ruleset set = {};
		int ret;

		ROW("%s (%s), %s (%s)%s", rows[i / 2].one, rows[i / 2].one_options,
		    rows[i / 2].other, rows[i / 2].other_options, swap ? ", swapped" : "");
		must_add(&set, swap ? rows[i / 2].other : rows[i / 2].one,
			 swap ? rows[i / 2].other_options : rows[i / 2].one_options);
		ret = add_one(&set, swap ? rows[i / 2].one : rows[i / 2].other,
			      swap ? rows[i / 2].one_options : rows[i / 2].other_options, &error);
		CHECK_EQ(ret, rows[i / 2].ret);
		if (ret)
			check_error(&error, PS_EXIT_FAILED, NULL);
		ps_ruleset_clear(&set);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *options, *why;
		int status;
	} rows[] = {
		{ "80:80", "f/a u1", "loop", PS_EXIT_FAILED },
		{ "80:8080", "f/a", "--any-user", PS_EXIT_USAGE },
		{ "53:5353/udp", "f/a u1", "--any-user", PS_EXIT_USAGE },
		{ "80:10.0.0.5:8080", "f/a u1", "--any-user", PS_EXIT_USAGE },
		{ "80:10.0.0.5:8080", "u1", "--client-cgroup", PS_EXIT_USAGE },
		{ "80:10.0.0.5:8080", "u1 bind", "--client-cgroup", PS_EXIT_USAGE },
		{ "[::1]:80:10.0.0.5:8080", "f/a any", "family", PS_EXIT_USAGE },
		{ "10.0.0.0/8:80:[::1]:8080", "f/a any", "family", PS_EXIT_USAGE },
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_error error = NO_ERROR;
		struct ps_ruleset set = {};

		ROW("%s (%s)", rows[i].text, rows[i].options);
		CHECK(add_one(&set, rows[i].text, rows[i].options, &error) < 0);
		check_error(&error, rows[i].status, rows[i].why, NULL);
		CHECK_EQ(set.count, 0);
	}
	ROW("a scope in another mode");
	for (int mode = PS_MODE_STEER; mode <= PS_MODE_BIND; mode++) {
		struct ps_rule rule = rule_of("80:8080", "f/a u1");
		struct ps_error error = NO_ERROR;
		struct ps_ruleset set = {};

		rule.mode = (enum ps_mode)mode;
		CHECK_EQ(ps_ruleset_add(&set, &rule, 1, &error), -EINVAL);
		check_error(&error, PS_EXIT_USAGE, "--client-cgroup", NULL);
		ps_rule_clear(&rule);
	}
	ROW("connect mode without a scope");
	for (int i = 0; i < 1; i++) {
		struct ps_rule rule = rule_of("80:8080", "u1");
		struct ps_error error = NO_ERROR;
		struct ps_ruleset set = {};

		rule.mode = PS_MODE_CONNECT;
		CHECK_EQ(ps_ruleset_add(&set, &rule, 1, &error), -EINVAL);
		check_error(&error, PS_EXIT_USAGE, "--client-cgroup", NULL);
		ps_rule_clear(&rule);
	}
}

static void test_crowd(void **state)
{
	struct ps_error error = NO_ERROR;
	struct ps_ruleset set = {};
	char text[64];
	int n, ret = 0;

	(void)state;
	ROW("rules of one scope for one port");
	for (n = 0; !ret && n < 200; n++) {
		snprintf(text, sizeof(text), "10.0.%d.0/24:80:8080", n);
		ret = add_one(&set, text, "f/a u1", &error);
	}
	CHECK_EQ(ret, -E2BIG);
	CHECK_EQ(n - 1, PS_MAX_HOPS_PER_PORT);
	check_error(&error, PS_EXIT_FAILED, "/a", "80", NULL);
	CHECK_EQ(add_one(&set, "10.0.0.0/24:80:8080", "f/b u1", &error), 0);
	ps_ruleset_clear(&set);
}

/* One scope more than there may be, and as many as there may. */
static void test_many_scopes(void **state)
{
	struct ps_rule *rules = calloc(PS_MAX_SCOPES + 1, sizeof(*rules));
	struct ps_error error = NO_ERROR;
	struct ps_ruleset set = {};
	char scope[32];

	(void)state;
	ROW("scopes");
	for (uint32_t i = 0; i <= PS_MAX_SCOPES; i++) {
		rules[i] = plain_rule(80, 8080, 1);
		rules[i].mode = PS_MODE_CONNECT;
		snprintf(scope, sizeof(scope), "/pods/%u", i);
		rules[i].scope = strdup(scope);
	}
	CHECK_EQ(ps_ruleset_add(&set, rules, PS_MAX_SCOPES + 1, &error), -E2BIG);
	check_error(&error, PS_EXIT_FAILED, "16384", "client cgroups", NULL);
	CHECK_EQ(set.count, 0);
	CHECK_EQ(ps_ruleset_add(&set, rules, PS_MAX_SCOPES, &error), 0);
	ps_ruleset_clear(&set);
	for (uint32_t i = 0; i <= PS_MAX_SCOPES; i++)
		ps_rule_clear(&rules[i]);
	free(rules);
}

/* --- Scopes --- */

static uint32_t number_of_scope(const struct ps_plan *plan, const char *path)
{
	uint32_t hash = PS_SCOPE_SEED, heads = plan->scopes[0].owner;

	/* As the kernel: component by component, each with its end. */
	for (const char *c = path + 1; *c; c++)
		hash = PS_SCOPE_HASH(hash, *c == '/' ? 0 : *c);
	if (path[1])
		hash = PS_SCOPE_HASH(hash, 0);
	for (uint32_t i = plan->scopes[hash & (heads - 1)].next; i; i = plan->scopes[i].next) {
		const struct ps_owner *owner = &plan->owners[plan->scopes[i].owner];
		char text[PS_CGROUP_PATH] = "/";

		for (uint32_t n = 0; n < owner->depth; n++)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s",
				 n ? "/" : "", (const char *)owner->path + owner->start[n]);
		if (plan->scopes[i].hash == hash && !strcmp(text, path))
			return i;
	}
	return 0;
}

static void build(const struct ps_ruleset *set, struct ps_plan *plan)
{
	struct ps_state before = { .generation = 1 };
	struct ps_error error = NO_ERROR;
	int ret = ps_plan_build(set, &before, PS_WORD(1, 0, 0, 1), plan, &error);

	CHECK_MSG(!ret, "%d: %s", ret, error.message);
}

/* What is inside what, names being as treacherous as they can be. */
static void test_scopes(void **state)
{
	static const struct {
		const char *path, *parent;
	} rows[] = {
		{ "/", NULL },		{ "/a", "/" },		{ "/a-b", "/" },
		{ "/a/b", "/a" },	{ "/a/b/c/d", "/a/b" }, { "/a/bc", "/a" },
		{ "/a/b-c/d", "/a" },	{ "/ab", "/" },		{ "/a!", "/" },
		{ "/a!/b", "/a!" },	{ "/z/y/x", "/" },	{ "/z/y/x/w", "/z/y/x" },
		{ "/a/b/c", "/a/b/c" },
	};
	struct ps_ruleset set = {};
	struct ps_plan plan = {};
	char options[64];

	(void)state;
	ROW("scopes");
	for (size_t i = 0; i + 1 < PS_ARRAY_SIZE(rows); i++) {
		snprintf(options, sizeof(options), "f%s u1", rows[i].path);
		must_add(&set, "80:8080", options);
	}
	build(&set, &plan);
	for (size_t i = 0; i + 1 < PS_ARRAY_SIZE(rows); i++) {
		uint32_t number = number_of_scope(&plan, rows[i].path);

		ROW("%s", rows[i].path);
		CHECK(number);
		CHECK_EQ(plan.scopes[number].parent,
			 rows[i].parent ? number_of_scope(&plan, rows[i].parent) : 0);
	}
	ROW("one that is none");
	CHECK_EQ(number_of_scope(&plan, "/a/b/c"), 0);
	CHECK_EQ(number_of_scope(&plan, "/nowhere"), 0);
	ps_plan_clear(&plan);
	ps_ruleset_clear(&set);
}

/* --- Hops --- */

/* A connect() in a scope's cgroup. */
struct want {
	const char *cgroup;
	uint16_t port;
	uint8_t proto, family;
	uint8_t addr[16];
};

static bool is_below(const char *scope, const char *cgroup)
{
	size_t len = strlen(scope);

	return !strcmp(scope, "/") ||
	       (!strncmp(scope, cgroup, len) && (!cgroup[len] || cgroup[len] == '/'));
}

static bool is_loopback(const struct want *want)
{
	static const uint8_t one[16] = { [15] = 1 };

	return want->family == 4 ? want->addr[0] == 127 : !memcmp(want->addr, one, 16);
}

/* The rule that the model chooses, or NULL. */
static const struct ps_rule *by_rules(const struct ps_ruleset *set, const struct want *want)
{
	const struct ps_rule *best = NULL;

	for (size_t i = 0; i < set->count; i++) {
		const struct ps_rule *r = &set->rules[i];
		int deeper, longer;

		if (!is_below(r->scope, want->cgroup) || r->proto != want->proto ||
		    want->port < r->front || want->port > r->front_last)
			continue;
		if (r->prefix.family ?
			    !ps_prefix_has(&r->prefix, want->family, want->addr) :
			    !is_loopback(want) || (r->to.family && r->to.family != want->family))
			continue;
		if (!best) {
			best = r;
			continue;
		}
		deeper = (int)strlen(r->scope) - (int)strlen(best->scope);
		/* Without an address: the loopback prefix. */
		longer = (r->prefix.family  ? r->prefix.len :
			  want->family == 4 ? 8 :
					      128) -
			 (best->prefix.family ? best->prefix.len :
			  want->family == 4   ? 8 :
						128);
		longer = longer ? longer : !!r->prefix.family - !!best->prefix.family;
		if (deeper > 0 || (!deeper && longer > 0))
			best = r;
	}
	return best;
}

/* The deepest scope of a cgroup, as the kernel finds it. */
static uint32_t scope_of(const struct ps_plan *plan, const char *cgroup)
{
	uint32_t best = number_of_scope(plan, "/"), found;
	char path[64];

	for (const char *c = cgroup + 1; *c; c++) {
		size_t len = (size_t)(strchrnul(c, '/') - cgroup);

		snprintf(path, sizeof(path), "%.*s", (int)len, cgroup);
		found = number_of_scope(plan, path);
		best = found ? found : best;
		c = cgroup + len - !cgroup[len];
	}
	return best;
}

static uint32_t by_hops(const struct ps_plan *plan, const struct want *want)
{
	uint32_t heads = plan->hops[0].scope, scope = scope_of(plan, want->cgroup);

	for (; scope; scope = plan->scopes[scope].parent) {
		uint32_t i = plan->hops[PS_HOP_HASH(scope, want->port) & (heads - 1)].next;

		for (int steps = 0; i; i = plan->hops[i].next) {
			const struct ps_hop *h = &plan->hops[i];
			struct ps_prefix prefix = { .family = h->family, .len = h->length };

			CHECK(++steps <= 64);
			memcpy(prefix.addr, h->addr, sizeof(prefix.addr));
			if (h->scope == scope && h->port == want->port &&
			    h->protocol == want->proto &&
			    ps_prefix_has(&prefix, want->family, want->addr))
				return h->rule;
		}
	}
	return 0;
}

static void random_rules(struct ps_ruleset *set, int count)
{
	static const char *const options[] = { "f/ u1",	   "f/a u1",   "f/a/b u1", "f/a/b/c u2",
					       "f/ab any", "f/a-b u2", "f/a/c c/x" };
	for (int i = 0; i < count; i++) {
		uint32_t front = 1 + rnd(6), target = 2000 + rnd(50);
		char text[64];
		struct ps_rule rule;

		switch (rnd(4)) {
		case 0:
			snprintf(text, sizeof(text), "%u-%u:%u-%u", front, front + 2, target,
				 target + 2);
			break;
		case 1:
			snprintf(text, sizeof(text), "127.0.0.0/%u:%u:%u", rnd(2) ? 8 : 24, front,
				 target);
			break;
		case 2:
			snprintf(text, sizeof(text), "10.0.%u.0/24:%u:%u", rnd(3), front, target);
			break;
		default:
			snprintf(text, sizeof(text), "[::1]:%u:%u", front, target);
		}
		rule = rule_of(text, options[rnd(PS_ARRAY_SIZE(options))]);
		ps_ruleset_add(set, &rule, 1, NULL);
		ps_rule_clear(&rule);
	}
}

static void random_want(struct want *want)
{
	static const char *const cgroups[] = { "/",    "/a",	 "/a/b", "/a/b/c/d/e", "/ab/x",
					       "/a-b", "/a/c/d", "/b",	 "/a/bc" };

	*want = (struct want){ .cgroup = cgroups[rnd(PS_ARRAY_SIZE(cgroups))],
			       .port = (uint16_t)(1 + rnd(9)),
			       .proto = rnd(8) ? IPPROTO_TCP : IPPROTO_UDP,
			       .family = rnd(3) ? 4 : 6 };
	if (want->family == 6) {
		want->addr[15] = (uint8_t)(1 + rnd(2));
		return;
	}
	want->addr[0] = rnd(2) ? 127 : 10;
	want->addr[2] = (uint8_t)rnd(3);
	want->addr[3] = 1;
}

static void test_hops(void **state)
{
	size_t found = 0, none = 0;

	(void)state;
	for (int round = 0; round < 300 / UNIT_SLOW; round++) {
		struct ps_ruleset set = {};
		struct ps_plan plan = {};

		unit_seed = (uint64_t)round;
		random_rules(&set, 1 + (int)rnd(40));
		build(&set, &plan);
		for (int i = 0; i < 200; i++) {
			const struct ps_rule *wanted;
			struct want want;

			random_want(&want);
			wanted = by_rules(&set, &want);
			ROW("round %d, connect %d: %s port %u IPv%u", round, i, want.cgroup,
			    want.port, want.family);
			for (size_t n = 0; n < set.count && wanted; n++) {
				/* The plan's copy has the id. */
				if (wanted == &set.rules[n])
					wanted = &plan.state.rules.rules[n];
			}
			CHECK_EQ(by_hops(&plan, &want), wanted ? ps_rule_events(wanted->id) : 0);
			found += wanted != NULL;
			none += !wanted;
		}
		ps_plan_clear(&plan);
		ps_ruleset_clear(&set);
	}
	ROW("both happen");
	CHECK(found > 1000 / UNIT_SLOW && none > 1000 / UNIT_SLOW);
}

/* What a hop says, for each kind of rule. */
static void test_hop_layout(void **state)
{
	struct ps_ruleset set = {};
	struct ps_plan plan = {};
	size_t seen = 0;

	(void)state;
	ROW("kinds");
	must_add(&set, "80:8080", "f/a u1 pass");
	must_add(&set, "81:10.0.0.5:8081", "f/a any");
	must_add(&set, "53:5353/udp", "f/a any");
	build(&set, &plan);
	CHECK(plan.connects_any && plan.connects_udp && !plan.binds_any);
	CHECK_EQ(plan.state.target_count, 1);
	CHECK_EQ(plan.event_chunks, 1);
	for (size_t i = plan.hops[0].scope; i < plan.hop_count; i++) {
		const struct ps_hop *h = &plan.hops[i];

		ROW("hop of port %u, IPv%u", h->port, h->family);
		CHECK_EQ(h->scope, number_of_scope(&plan, "/a"));
		CHECK_EQ(h->length, h->family == 4 ? 8 : 128);
		if (h->port == 80) {
			CHECK_EQ(h->flags, PS_HOP_PASS | PS_HOP_LOOPBACK);
			CHECK_EQ(h->listeners, plan.state.targets[0].id);
		} else if (h->port == 81) {
			CHECK_EQ(h->flags, PS_HOP_FIXED | PS_HOP_TO | PS_HOP_LOOPBACK);
			CHECK_EQ(h->family, 4);
			CHECK_EQ(h->to[0], htonl(0x0a000005));
			CHECK_EQ(h->target, 8081);
		} else {
			CHECK_EQ(h->flags, PS_HOP_FIXED | PS_HOP_LOOPBACK);
			CHECK_EQ(h->protocol, IPPROTO_UDP);
		}
		seen++;
	}
	CHECK_EQ(seen, 5);
	for (uint32_t port = 0; port < 65536; port++) {
		bool turned = port == 81 || port == 8081 || port == 53 || port == 5353;

		CHECK_EQ(plan.connect_filter[port / 32] >> (port & 31) & 1, turned);
		CHECK_EQ(plan.filter[port / 32] >> (port & 31) & 1, port == 80);
		CHECK_EQ(plan.filter[(65536 + port) / 32] >> (port & 31) & 1, port == 80);
	}
	ps_plan_clear(&plan);
	ps_ruleset_clear(&set);
}

#if UNIT_CAN_FAIL
static int build_once(void *data)
{
	struct ps_state before = { .generation = 1 };
	struct ps_plan plan;
	int ret = ps_plan_build(data, &before, PS_WORD(1, 0, 0, 1), &plan, NULL);

	if (!ret)
		ps_plan_clear(&plan);
	return ret;
}

static int add_once(void *data)
{
	struct ps_ruleset set = {};
	int ret = ps_ruleset_add(&set, ((struct ps_ruleset *)data)->rules,
				 ((struct ps_ruleset *)data)->count, NULL);

	ps_ruleset_clear(&set);
	return ret;
}

static void test_no_memory(void **state)
{
	struct ps_ruleset set = {};

	(void)state;
	must_add(&set, "80:8080", "f/a u1 n=x");
	must_add(&set, "53:5353/udp", "f/a/b any");
	ROW("add");
	fail_each_allocation(add_once, &set);
	ROW("build");
	fail_each_allocation(build_once, &set);
	ps_ruleset_clear(&set);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_bad_text),
		cmocka_unit_test(test_together),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_crowd),
		cmocka_unit_test(test_many_scopes),
		cmocka_unit_test(test_scopes),
		cmocka_unit_test(test_hops),
		cmocka_unit_test(test_hop_layout),
#if UNIT_CAN_FAIL
		cmocka_unit_test(test_no_memory),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
