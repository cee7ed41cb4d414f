// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bind rules: their text, which of them go together and with steer rules, and that the
 * records which the kernel walks say what the rules say: user/rule/conflicts.c, plan_bind.c.
 */
#define UNIT_FAULTS
#include "unit.h"

#include "compile/plan_bind.h"

/* --- Text --- */

static void test_grant_text(void **state)
{
	static const struct {
		const char *text, *formatted;
	} rows[] = {
		{ "443", "443/tcp" },
		{ "443/tcp", "443/tcp" },
		{ "53/udp", "53/udp" },
		{ "500-600/tcp", "500-600/tcp" },
		{ "10.0.0.1:22", "10.0.0.1:22/tcp" },
		{ "[2001:db8::]/32:22/udp", "[2001:db8::]/32:22/udp" },
	};
	char text[PS_RULE_TEXT];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_rule rule = {}, again = {};

		ROW("%s", rows[i].text);
		CHECK_EQ(ps_rule_parse_grant(rows[i].text, &rule, NULL), 0);
		CHECK_EQ(rule.mode, PS_MODE_BIND);
		CHECK_EQ(rule.target, rule.front);
		CHECK(ps_rule_is_grant(&rule));
		ps_rule_format(&rule, text);
		CHECK_STR(text, rows[i].formatted);
		CHECK_EQ(ps_rule_parse_grant(text, &again, NULL), 0);
		CHECK(same_rule(&rule, &again));
		/* As `del` names it. */
		CHECK_EQ(ps_rule_parse_key(text, &again, NULL), 0);
		CHECK_EQ(ps_rule_compare(&rule, &again), 0);
	}
}

static void test_grant_bad(void **state)
{
	static const char *const rows[] = { "",	     "443:8443",  "0",
					    "65536", "x",	  "443/sctp",
					    "90-80", "10.0.0.1:", "10.0.0.1/8:22" };

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_rule rule = { .front = 7 };
		struct ps_error error = NO_ERROR;

		ROW("%s", rows[i]);
		CHECK_EQ(ps_rule_parse_grant(rows[i], &rule, &error), -EINVAL);
		check_error(&error, PS_EXIT_USAGE, NULL);
		CHECK_EQ(rule.front, 7);
	}
}

/* --- Which rules go together --- */

struct pair {
	const char *one, *one_options, *other, *other_options;
	int ret; /* of adding one to the other, in either order */
};

static int add_pair(const struct pair *p, bool swap, struct ps_error *error)
{
	struct ps_ruleset set = {};
	int ret;

	must_add(&set, swap ? p->other : p->one, swap ? p->other_options : p->one_options);
	ret = add_one(&set, swap ? p->one : p->other, swap ? p->one_options : p->other_options,
		      error);
	CHECK_EQ(set.count, ret ? 1 : 2);
	ps_ruleset_clear(&set);
	return ret;
}

static void test_together(void **state)
{
	static const struct pair rows[] = {
		/* protocols are apart */
		{ "53:5353/udp", "u1 bind", "53:5353/tcp", "u1", 0 },
		{ "53:5353/udp", "u1 bind", "53:5353/tcp", "u1 bind", 0 },
		{ "53/udp", "grant u1", "53/tcp", "grant u2", 0 },
		/* the same front port */
		{ "53:5353/udp", "u1 bind", "53:5354/udp", "u2 bind", -EEXIST },
		{ "53:5353/udp", "u1 bind", "53/udp", "grant u1", -EEXIST },
		{ "500-600", "grant u1", "550", "grant u2", -EEXIST },
		{ "10.0.0.1:53:5353/udp", "u1 bind", "10.0.0.2:53:5353/udp", "u2 bind", 0 },
		{ "10.0.0.1:53:5353/udp", "u1 bind", "53:5353/udp", "u2 bind", 0 },
		/* a steer rule and a bind rule */
		{ "80:8080", "u1", "80:8081", "u1 bind", -EEXIST },
		{ "80:8080", "u1", "80", "grant u1", -EEXIST },
		{ "80:8080", "u1", "10.0.0.1:80", "grant u1", -EEXIST },
		{ "10.0.0.0/8:80:8080", "u1", "80", "grant u1", -EEXIST },
		{ "10.0.0.0/8:80:8080", "u1", "10.1.0.0/16:80:8081", "u1 bind", -EEXIST },
		{ "10.0.0.0/8:80:8080", "u1", "11.0.0.0/8:80:8081", "u1 bind", 0 },
		{ "10.0.0.0/8:80:8080", "u1", "[::]/0:80:8081", "u1 bind", 0 },
		{ "70-90:8070-8090", "u1", "85-95", "grant u1", -EEXIST },
		{ "80:8080", "u1", "443", "grant u1", 0 },
		/* their targets */
		{ "80:8080", "u1", "443:8080", "u1 bind", -EEXIST },
		{ "80:8080", "u1", "443:8080/udp", "u1 bind", 0 },
		{ "80:443", "u1", "443", "grant u1", 0 },
		{ "80:8080", "u1", "8080:9090", "u1 bind", -ELOOP },
		{ "53:5353/udp", "u1 bind", "5353:6363/udp", "u2 bind", -ELOOP },
		{ "53:5353/udp", "u1 bind", "5353:6363/tcp", "u2 bind", 0 },
		/* which of them is it? */
		{ "53:5353/udp", "u1 bind", "54:5353/udp", "u1 bind", -EEXIST },
		{ "53:5353/udp", "u1 bind", "54:5353/udp", "u2 bind", 0 },
		{ "53:5353/udp", "u1 bind", "10.0.0.1:54:5353/udp", "u1 bind", 0 },
		{ "53:5353/udp", "c/a bind", "54:5353/udp", "c/b bind", 0 },
	};

	(void)state;
	for (size_t i = 0; i < 2 * PS_ARRAY_SIZE(rows); i++) {
		const struct pair *p = &rows[i / 2];
		struct ps_error error = NO_ERROR;
		char one[PS_RULE_TEXT], other[PS_RULE_TEXT];
		struct ps_rule rule;
		int ret;

		ROW("%s (%s), %s (%s)%s", p->one, p->one_options, p->other, p->other_options,
		    i % 2 ? ", swapped" : "");
		ret = add_pair(p, i % 2, &error);
		CHECK_EQ(ret, p->ret);
		if (!ret)
			continue;
		rule = rule_of(p->one, p->one_options);
		ps_rule_format(&rule, one);
		ps_rule_clear(&rule);
		rule = rule_of(p->other, p->other_options);
		ps_rule_format(&rule, other);
		ps_rule_clear(&rule);
		check_error(&error, PS_EXIT_FAILED, one, other, NULL);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *options, *why;
	} rows[] = {
		{ "1024", "grant u1", "not privileged" },
		{ "1000-1100/udp", "grant u1", "not privileged" },
		{ "80:1023", "u1 bind", "portsteer allow" },
		{ "80:443", "u1 bind", "portsteer allow" },
		{ "443", "grant", "--any-user" },
		{ "53:5353/udp", "bind", "--any-user" },
		{ "53:5353/udp", "u1", "UDP cannot be steered" },
		{ "443", "grant u1 any", "--any-user" },
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_error error = NO_ERROR;
		struct ps_ruleset set = {};

		ROW("%s (%s)", rows[i].text, rows[i].options);
		CHECK_EQ(add_one(&set, rows[i].text, rows[i].options, &error), -EINVAL);
		check_error(&error, PS_EXIT_USAGE, rows[i].why, NULL);
		CHECK_EQ(set.count, 0);
	}
}

/* Add FORMAT with 0, 1, ... in it until one is refused; how many were not. */
__attribute__((format(printf, 2, 0))) static int add_until_refused(struct ps_ruleset *set,
								   const char *format,
								   const char *options,
								   struct ps_error *error)
{
	char text[64];
	int n = 0;

	for (; n < 256; n++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(text, sizeof(text), format, n);
#pragma GCC diagnostic pop
		if (add_one(set, text, options, error) == -E2BIG)
			break;
	}
	return n;
}

static void test_limits(void **state)
{
	struct ps_error error = NO_ERROR;
	struct ps_ruleset set = {};

	(void)state;
	ROW("rules of one port");
	CHECK_EQ(add_until_refused(&set, "10.0.0.%d:53:5353/udp", "u1 bind", &error),
		 PS_MAX_BINDS_PER_PORT);
	check_error(&error, PS_EXIT_FAILED, "53", NULL);
	/* Of both protocols together: they share the chains. */
	CHECK_EQ(add_one(&set, "53", "grant u1", &error), -E2BIG);
	ps_ruleset_clear(&set);

	ROW("pairs of rule and port");
	CHECK_EQ(add_until_refused(&set, "10.0.0.%d:1-32767:32769-65535/udp", "u1 bind", &error),
		 PS_MAX_BINDS / 32767);
	check_error(&error, PS_EXIT_FAILED, "131072", NULL);
	ps_ruleset_clear(&set);
}

/* --- What the kernel reads --- */

/* A bind(), by a user in a cgroup. */
struct ask {
	uint16_t port;
	uint8_t proto, family;
	uint8_t addr[16];
	uint32_t uid;
	const char *cgroup;
};

static bool owns(const struct ps_owner_spec *owner, const struct ask *ask)
{
	size_t len = owner->cgroup ? strlen(owner->cgroup) : 0;

	if (owner->flags & PS_OWNER_ANY)
		return true;
	if (owner->flags & PS_OWNER_USER && owner->uid != ask->uid)
		return false;
	return !(owner->flags & PS_OWNER_CGROUP) ||
	       (!strncmp(ask->cgroup, owner->cgroup, len) &&
		(!ask->cgroup[len] || ask->cgroup[len] == '/'));
}

/* Is `a` asked before `b`? By an opinion of our own. */
static bool goes_before(const struct ps_rule *a, const struct ps_rule *b)
{
	int x = a->prefix.family ? a->prefix.len : -1, y = b->prefix.family ? b->prefix.len : -1;
	int rank_a = (a->owner.cgroup ? 2 : 0) + !!(a->owner.flags & PS_OWNER_USER);
	int rank_b = (b->owner.cgroup ? 2 : 0) + !!(b->owner.flags & PS_OWNER_USER);

	if (x != y)
		return x > y;
	if (rank_a != rank_b)
		return rank_a > rank_b;
	if (a->owner.cgroup && strlen(a->owner.cgroup) != strlen(b->owner.cgroup))
		return strlen(a->owner.cgroup) > strlen(b->owner.cgroup);
	return a->front - a->target < b->front - b->target;
}

/* The front port that the rules give, or 0. */
static uint16_t by_rules(const struct ps_ruleset *set, const struct ask *ask)
{
	const struct ps_rule *best = NULL;
	uint16_t front;

	for (size_t i = 0; i < set->count; i++) {
		const struct ps_rule *r = &set->rules[i];

		if (r->mode == PS_MODE_BIND && r->proto == ask->proto && ask->port >= r->target &&
		    ask->port <= target_last(r) &&
		    ps_prefix_has(&r->prefix, ask->family, ask->addr) && owns(&r->owner, ask) &&
		    (!best || goes_before(r, best)))
			best = r;
	}
	if (!best)
		return 0;
	front = (uint16_t)(best->front + (ask->port - best->target));
	for (size_t i = 0; i < set->count; i++) {
		const struct ps_rule *r = &set->rules[i];

		if (r->mode == PS_MODE_BIND && r->proto == ask->proto && front >= r->front &&
		    front <= r->front_last && r->prefix.family &&
		    ps_prefix_has(&r->prefix, ask->family, ask->addr) &&
		    (!best->prefix.family || r->prefix.len > best->prefix.len))
			return 0;
	}
	return front;
}

static bool record_is_about(const struct ps_bind *r, const struct ask *ask, uint16_t port)
{
	struct ps_prefix prefix = { .family = r->family,
				    .len = (uint8_t)(r->length ? r->length - 1 : 0) };

	memcpy(prefix.addr, r->addr, sizeof(prefix.addr));
	return r->port == port && r->protocol == ask->proto &&
	       ps_prefix_has(&prefix, ask->family, ask->addr);
}

static bool record_owner_is(const struct ps_plan *plan, const struct ps_bind *r,
			    const struct ask *ask)
{
	for (size_t i = 0; i < plan->state.rules.count; i++) {
		const struct ps_rule *rule = &plan->state.rules.rules[i];

		if (rule->mode == PS_MODE_BIND && ps_rule_events(rule->id) == r->rule)
			return owns(&rule->owner, ask);
	}
	CHECK_MSG(false, "no rule has the record's events");
	return false;
}

/* The same by the records, as bpf/bind.h walks them. */
static uint16_t by_records(const struct ps_plan *plan, const struct ask *ask)
{
	uint32_t heads = plan->binds[0].owner, steps = 0;
	const struct ps_bind *found = NULL;

	for (uint32_t i = plan->binds[ask->port & (heads - 1)].next; i && !found;
	     i = plan->binds[i].next) {
		const struct ps_bind *r = &plan->binds[i];

		CHECK(++steps <= 64);
		if (r->flags & PS_BIND_ASKED && record_is_about(r, ask, ask->port) &&
		    record_owner_is(plan, r, ask))
			found = r;
	}
	if (!found)
		return 0;
	for (uint32_t i = plan->binds[found->other & (heads - 1)].next; i;
	     i = plan->binds[i].next) {
		const struct ps_bind *r = &plan->binds[i];

		if (r->flags & PS_BIND_FRONT && r->length > found->length &&
		    record_is_about(r, ask, found->other))
			return 0;
	}
	return found->other;
}

static void random_address(struct ask *ask)
{
	memset(ask->addr, 0, sizeof(ask->addr));
	ask->family = rnd(3) ? 4 : 6;
	ask->addr[0] = 10;
	ask->addr[1] = (uint8_t)rnd(3);
	ask->addr[3] = (uint8_t)rnd(3);
}

/* Rules in a small world, so that they meet: what cannot be together is left out. */
static void random_rules(struct ps_ruleset *set, int count)
{
	static const char *const owners[] = {
		"u1", "u2", "c/a", "c/a/b", "u1 c/a", "u2 c/a", "any"
	};

	for (int i = 0; i < count; i++) {
		struct ask place;
		struct ps_rule rule = { .proto = rnd(2) ? IPPROTO_UDP : IPPROTO_TCP,
					.mode = PS_MODE_BIND };

		rule.front = (uint16_t)(1 + rnd(6));
		rule.target = rnd(3) ? (uint16_t)(2000 + rnd(6)) : rule.front;
		rule.front_last = (uint16_t)(rule.front + rnd(3));
		if (rnd(2)) {
			random_address(&place);
			rule.prefix.family = place.family;
			rule.prefix.len = (uint8_t)(8 * rnd(5));
			memcpy(rule.prefix.addr, place.addr, rule.prefix.len / 8);
		}
		set_options(&rule, owners[rnd(PS_ARRAY_SIZE(owners))]);
		ps_ruleset_add(set, &rule, 1, NULL);
		ps_rule_clear(&rule);
	}
}

static void build(const struct ps_ruleset *set, struct ps_plan *plan)
{
	struct ps_state before = { .generation = 1 };
	struct ps_error error = NO_ERROR;
	int ret = ps_plan_build(set, &before, PS_WORD(1, 0, 0, 1), plan, &error);

	CHECK_MSG(!ret, "%d: %s", ret, error.message);
}

static void check_filter(const struct ps_plan *plan)
{
	for (uint32_t port = 0; port < 65536; port++) {
		bool named = false;

		for (size_t i = 0; i < plan->state.rules.count; i++) {
			const struct ps_rule *r = &plan->state.rules.rules[i];

			named |= r->mode == PS_MODE_BIND &&
				 ((port >= r->front && port <= r->front_last) ||
				  (port >= r->target && port <= target_last(r)));
		}
		CHECK_EQ(plan->bind_filter[port / 32] >> (port & 31) & 1, named);
	}
}

static void test_records(void **state)
{
	static const char *const cgroups[] = { "/", "/a", "/a/b", "/a/b/c", "/ab", "/b" };
	size_t given = 0, refused = 0;

	(void)state;
	for (int round = 0; round < 300 / UNIT_SLOW; round++) {
		struct ps_ruleset set = {};
		struct ps_plan plan = {};

		unit_seed = (uint64_t)round;
		random_rules(&set, 1 + (int)rnd(30));
		build(&set, &plan);
		for (int i = 0; i < 200; i++) {
			struct ask ask = { .port = (uint16_t)(rnd(2) ? 1 + rnd(8) : 2000 + rnd(8)),
					   .proto = rnd(2) ? IPPROTO_UDP : IPPROTO_TCP,
					   .uid = rnd(4),
					   .cgroup = cgroups[rnd(PS_ARRAY_SIZE(cgroups))] };
			uint16_t wanted;

			random_address(&ask);
			wanted = by_rules(&set, &ask);
			ROW("round %d, ask %d: port %u uid %u %s", round, i, ask.port, ask.uid,
			    ask.cgroup);
			CHECK_EQ(by_records(&plan, &ask), wanted);
			given += wanted != 0;
			refused += !wanted;
		}
		if (round % 20 == 0)
			check_filter(&plan);
		ps_plan_clear(&plan);
		ps_ruleset_clear(&set);
	}
	ROW("both happen");
	CHECK(given > 1000 / UNIT_SLOW && refused > 1000 / UNIT_SLOW);
}

/* Bind rules have no targets, front cells or bits of the steering filter. */
static void test_apart(void **state)
{
	struct ps_ruleset set = {};
	struct ps_plan plan = {};

	(void)state;
	ROW("steer and bind");
	must_add(&set, "80:8080", "u1");
	must_add(&set, "53:5353/udp", "u1 bind");
	must_add(&set, "443", "grant u2");
	build(&set, &plan);
	CHECK_EQ(plan.state.target_count, 1);
	CHECK_EQ(plan.state.targets[0].port, 8080);
	CHECK_EQ(PS_WORD_LOG2(plan.word), 0);
	for (uint32_t port = 0; port < 65536; port++)
		CHECK_EQ(plan.filter[port / 32] >> (port & 31) & 1, port == 80);
	CHECK_EQ(plan.event_chunks, 1);
	CHECK_EQ(plan.owner_count, 2);
	ps_plan_clear(&plan);
	ps_ruleset_clear(&set);

	ROW("without bind rules");
	must_add(&set, "80:8080", "u1");
	build(&set, &plan);
	CHECK_EQ(plan.event_chunks, 0);
	CHECK_EQ(plan.bind_count, 1);
	ps_plan_clear(&plan);
	ps_ruleset_clear(&set);
}

/* Every rule's events are its own, in the chunks that the plan asks for. */
static void test_events(void **state)
{
	uint32_t last = 0;

	(void)state;
	for (uint32_t id = 0; id < 200000; id++) {
		uint32_t at = ps_rule_events(id);

		ROW("rule %u", id);
		CHECK(PS_TARGET_CHUNK_OF(at) >= PS_RULE_CHUNKS);
		CHECK(PS_TARGET_CHUNK_OF(at) < PS_EVENTS_CHUNKS);
		CHECK(PS_TARGET_INDEX_OF(at) <
		      PS_TARGET_CHUNK(PS_TARGET_CHUNK_OF(at) - PS_RULE_CHUNKS));
		CHECK(!id || at > last);
		last = at;
	}
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
	must_add(&set, "80:8080", "u1");
	must_add(&set, "53:5353/udp", "u1 c/a bind n=dns");
	must_add(&set, "500-502", "grant u2"); /* small: qsort allocates for large ones */
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
		cmocka_unit_test(test_grant_text),
		cmocka_unit_test(test_grant_bad),
		cmocka_unit_test(test_together),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_apart),
		cmocka_unit_test(test_events),
#if UNIT_CAN_FAIL
		cmocka_unit_test(test_no_memory),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
