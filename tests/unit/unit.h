/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the unit tests of the pure core share: checks that say which row of a
 * table failed, short ways to write rules, a fixed random sequence, and an
 * allocator that fails on demand. Each test is one file that includes this.
 */
#ifndef PORTSTEER_UNIT_H
#define PORTSTEER_UNIT_H

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>

#include <cmocka.h>

#include "compile/ids.h"
#include "compile/plan.h"
#include "util/util.h"

/* Not every file uses all of it. */
#define UNIT_FN static __attribute__((unused))

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_UNDEFINED__)
#define UNIT_SLOW 10
#else
#define UNIT_SLOW 1
#endif

/* What is being tried; a failed check prints it. */
static char unit_row[512];
#define ROW(...) ((void)snprintf(unit_row, sizeof(unit_row), __VA_ARGS__))

UNIT_FN __attribute__((noreturn, format(printf, 3, 4))) void unit_fail(int line, const char *what,
								       const char *format, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	print_error("row \"%s\", line %d: not (%s): %s\n", unit_row, line, what, text);
	_fail(__FILE__, line);
	abort();
}

#define CHECK_MSG(cond, ...)                                                                       \
	do {                                                                                       \
		if (!(cond))                                                                       \
			unit_fail(__LINE__, #cond, __VA_ARGS__);                                   \
	} while (0)
#define CHECK(cond) CHECK_MSG(cond, "see above")
#define CHECK_EQ(a, b)                                                                             \
	do {                                                                                       \
		long long a_ = (long long)(a), b_ = (long long)(b);                                \
		CHECK_MSG(a_ == b_, "%s is %lld, %s is %lld", #a, a_, #b, b_);                     \
	} while (0)
#define CHECK_STR(a, b)                                                                            \
	do {                                                                                       \
		const char *s_ = (a), *t_ = (b);                                                   \
		CHECK_MSG(s_ &&t_ && !strcmp(s_, t_), "\"%s\" is not \"%s\"", s_ ? s_ : "(null)",  \
			  t_ ? t_ : "(null)");                                                     \
	} while (0)

/* --- Random numbers: the same ones in every run --- */

static uint64_t unit_seed;

UNIT_FN uint64_t rnd64(void)
{
	uint64_t z = unit_seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* 0 .. n - 1 */
UNIT_FN uint32_t rnd(uint32_t n)
{
	return (uint32_t)((rnd64() >> 32) * n >> 32);
}

/* --- Errors --- */

#define NO_ERROR                                                                                   \
	{                                                                                          \
		.status = PS_EXIT_OK                                                               \
	}

UNIT_FN int is_control(unsigned char c)
{
	return c < 0x20 || c == 0x7f;
}

/* Does it end, after a ';', with what to do, on one line, with nothing that a
 * terminal obeys? */
#define check_message(e) check_message_at(__LINE__, e)
UNIT_FN void check_message_at(int line, const struct ps_error *e)
{
	const char *advice = strrchr(e->message, ';');

	if (!memchr(e->message, '\0', sizeof(e->message)))
		unit_fail(line, "message", "it does not end");
	if (!advice || advice == e->message || advice[1] != ' ' || !advice[2])
		unit_fail(line, "what: why; what to do", "\"%.300s\"", e->message);
	for (const char *c = e->message; *c; c++) {
		if (is_control((unsigned char)*c))
			unit_fail(line, "no control characters", "byte %u", (unsigned char)*c);
	}
}

/* The message must contain each of the given texts (NULL ends the list). */
#define check_error(e, wanted, ...) check_error_at(__LINE__, e, wanted, __VA_ARGS__)
UNIT_FN void check_error_at(int line, const struct ps_error *e, int status, ...)
{
	const char *part;
	va_list ap;

	check_message_at(line, e);
	if ((int)e->status != status)
		unit_fail(line, "exit status", "%d, wanted %d: %s", e->status, status, e->message);
	va_start(ap, status);
	while ((part = va_arg(ap, const char *))) {
		if (!strstr(e->message, part))
			unit_fail(line, "message names it", "\"%s\" is not in \"%s\"", part,
				  e->message);
	}
	va_end(ap);
}

/* --- Rules --- */

/* Set an owner and more by words: "u33", "c/a/b", "any", "pass", "bind", "grant",
 * "f/scope", "n=label". */
UNIT_FN void set_options(struct ps_rule *rule, const char *options)
{
	char *copy = strdup(options), *save = NULL;

	for (char *o = strtok_r(copy, " ", &save); o; o = strtok_r(NULL, " ", &save)) {
		if (!strcmp(o, "any")) {
			rule->owner.flags |= PS_OWNER_ANY;
		} else if (!strcmp(o, "pass")) {
			rule->if_down = PS_DOWN_PASS;
		} else if (!strcmp(o, "bind")) {
			rule->mode = PS_MODE_BIND;
		} else if (!strcmp(o, "grant")) {
			continue; /* rule_of has read it so */
		} else if (o[0] == 'u') {
			rule->owner.flags |= PS_OWNER_USER;
			rule->owner.uid = (uint32_t)strtoul(o + 1, NULL, 10);
		} else if (o[0] == 'f') {
			rule->mode = PS_MODE_CONNECT;
			rule->scope = strdup(o + 1);
		} else if (o[0] == 'c') {
			rule->owner.flags |= PS_OWNER_CGROUP;
			rule->owner.cgroup = strdup(o + 1);
		} else if (!strncmp(o, "n=", 2)) {
			rule->name = strdup(o + 2);
		} else {
			unit_fail(__LINE__, "options", "\"%s\"", options);
		}
	}
	free(copy);
}

UNIT_FN struct ps_rule rule_of(const char *text, const char *options)
{
	struct ps_error error = NO_ERROR;
	struct ps_rule rule;
	int ret = (strstr(options, "grant") ? ps_rule_parse_grant : ps_rule_parse)(text, &rule,
										   &error);

	CHECK_MSG(!ret, "\"%s\": %d: %s", text, ret, error.message);
	set_options(&rule, options);
	return rule;
}

UNIT_FN int add_one(struct ps_ruleset *set, const char *text, const char *options,
		    struct ps_error *error)
{
	struct ps_rule rule = rule_of(text, options);
	int ret = ps_ruleset_add(set, &rule, 1, error);

	ps_rule_clear(&rule);
	return ret;
}

UNIT_FN void must_add(struct ps_ruleset *set, const char *text, const char *options)
{
	struct ps_error error = NO_ERROR;
	int ret = add_one(set, text, options, &error);

	CHECK_MSG(!ret, "\"%s\" %s: %d: %s", text, options, ret, error.message);
}

/* A rule of numbers, for sets too large to be written down. Without an address. */
UNIT_FN struct ps_rule plain_rule(uint16_t front, uint16_t target, uint32_t uid)
{
	return (struct ps_rule){
		.proto = IPPROTO_TCP,
		.front = front,
		.front_last = front,
		.target = target,
		.owner = { .flags = PS_OWNER_USER, .uid = uid },
	};
}

UNIT_FN struct ps_rule host_rule(uint32_t address, uint16_t front, uint16_t target, uint32_t uid)
{
	struct ps_rule rule = plain_rule(front, target, uid);
	uint32_t order = htonl(address);

	rule.prefix.family = 4;
	rule.prefix.len = 32;
	memcpy(rule.prefix.addr, &order, sizeof(order));
	return rule;
}

UNIT_FN uint16_t target_last(const struct ps_rule *rule)
{
	return (uint16_t)(rule->target + (rule->front_last - rule->front));
}

/* What two owners must agree in to be the same, as text. */
UNIT_FN void owner_text(const struct ps_owner_spec *owner, char *text, size_t size)
{
	bool user = owner->flags & PS_OWNER_USER, cgroup = owner->flags & PS_OWNER_CGROUP;

	snprintf(text, size, "%" PRIu32 " %" PRIu32 " %s", owner->flags, user ? owner->uid : 0,
		 cgroup && owner->cgroup ? owner->cgroup : "");
}

/* Equal in every field, by an opinion of our own. */
UNIT_FN bool same_rule(const struct ps_rule *a, const struct ps_rule *b)
{
	char x[PS_CGROUP_PATH + 32], y[PS_CGROUP_PATH + 32];

	owner_text(&a->owner, x, sizeof(x));
	owner_text(&b->owner, y, sizeof(y));
	return a->prefix.family == b->prefix.family && a->prefix.len == b->prefix.len &&
	       !memcmp(a->prefix.addr, b->prefix.addr, sizeof(a->prefix.addr)) &&
	       a->proto == b->proto && a->front == b->front && a->front_last == b->front_last &&
	       a->target == b->target && a->mode == b->mode && a->if_down == b->if_down &&
	       !strcmp(x, y) && !strcmp(a->scope ? a->scope : "", b->scope ? b->scope : "") &&
	       a->to.family == b->to.family && !memcmp(a->to.addr, b->to.addr, 16) &&
	       !a->name == !b->name && (!a->name || !strcmp(a->name, b->name));
}

UNIT_FN void check_same_set(const struct ps_ruleset *a, const struct ps_ruleset *b)
{
	CHECK_EQ(a->count, b->count);
	for (size_t i = 0; i < a->count; i++)
		CHECK_MSG(same_rule(&a->rules[i], &b->rules[i]), "rule %zu differs", i);
}

/* All that is saved of a state; `fresh` is not. */
UNIT_FN void check_same_state(const struct ps_state *a, const struct ps_state *b)
{
	char x[PS_CGROUP_PATH + 32], y[PS_CGROUP_PATH + 32];

	check_same_set(&a->rules, &b->rules);
	for (size_t i = 0; i < a->rules.count; i++) {
		const struct ps_origin *one = &a->rules.rules[i].origin;
		const struct ps_origin *other = &b->rules.rules[i].origin;

		CHECK_EQ(a->rules.rules[i].id, b->rules.rules[i].id);
		CHECK_STR(one->file ? one->file : "(hand)", other->file ? other->file : "(hand)");
		CHECK_EQ(one->line, other->line);
	}
	CHECK_EQ(a->target_count, b->target_count);
	for (size_t i = 0; i < a->target_count; i++) {
		owner_text(&a->targets[i].owner, x, sizeof(x));
		owner_text(&b->targets[i].owner, y, sizeof(y));
		CHECK_STR(x, y);
		CHECK_EQ(a->targets[i].port, b->targets[i].port);
		CHECK_EQ(a->targets[i].id, b->targets[i].id);
	}
	CHECK_EQ(a->retired_count, b->retired_count);
	for (size_t i = 0; i < a->retired_count; i++)
		CHECK_EQ(a->retired[i], b->retired[i]);
	CHECK_EQ(a->generation, b->generation);
	CHECK_EQ(a->rule_cursor, b->rule_cursor);
	CHECK_EQ(a->target_cursor, b->target_cursor);
}

/* --- An allocator that fails on demand --- */

/*
 * With UNIT_FAULTS defined, the file's allocations go through these. The n-th
 * from now fails if unit_fail_at is n; unit_live counts what is not yet freed.
 * A sanitizer wants to be the allocator itself: builds with one do without, and
 * list the tests that need it under #if UNIT_CAN_FAIL.
 */
#if defined(UNIT_FAULTS) && UNIT_SLOW == 1
#define UNIT_CAN_FAIL 1
static long unit_fail_at, unit_live;

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void __libc_free(void *pointer);

static bool unit_fails(void)
{
	return unit_fail_at > 0 && --unit_fail_at == 0;
}
static void *unit_count(void *pointer)
{
	unit_live += pointer != NULL;
	return pointer;
}
void *malloc(size_t size)
{
	return unit_fails() ? NULL : unit_count(__libc_malloc(size));
}
void *calloc(size_t count, size_t size)
{
	return unit_fails() ? NULL : unit_count(__libc_calloc(count, size));
}
void *realloc(void *old, size_t size)
{
	if (unit_fails())
		return NULL;
	return old ? __libc_realloc(old, size) : unit_count(__libc_malloc(size));
}
void free(void *pointer)
{
	unit_live -= pointer != NULL;
	__libc_free(pointer);
}

/*
 * Run fn(data) with its first, second, ... allocation failing, until one run
 * needs no more of them. Each failure must be -ENOMEM and leave nothing
 * allocated; fn frees what it got if it succeeds.
 */
UNIT_FN void fail_each_allocation(int (*fn)(void *data), void *data)
{
	long n = 0, before;
	int ret;

	do {
		n++;
		before = unit_live;
		unit_fail_at = n;
		ret = fn(data);
		/* Not reached: there are no more allocations than this. */
		if (unit_fail_at > 0)
			break;
		CHECK_MSG(ret == -ENOMEM, "allocation %ld failed: %d", n, ret);
		CHECK_MSG(unit_live == before, "allocation %ld failed: %ld left", n,
			  unit_live - before);
	} while (n < 100000);
	unit_fail_at = 0;
	CHECK_EQ(ret, 0);
	CHECK_EQ(unit_live, before);
	CHECK(n > 1);
}
#else
#define UNIT_CAN_FAIL 0
#endif

#endif
