// SPDX-License-Identifier: GPL-2.0-only
/* Rules and their text: user/rule/rule.c, and the messages of user/util/error.c. */
#define UNIT_FAULTS
#include "unit.h"

#include <arpa/inet.h>

/* --- Parsing --- */

static const struct parse_row {
	const char *text;
	const char *canonical;
	const char *front; /* as ps_rule_format_front writes it */
	uint8_t family, len;
	const char *addr;
	uint8_t proto;
	uint16_t first, last, target;
} good[] = {
	{ "80:8080", "80:8080/tcp", "80", 0, 0, NULL, IPPROTO_TCP, 80, 80, 8080 },
	{ "80:8080/tcp", "80:8080/tcp", "80", 0, 0, NULL, IPPROTO_TCP, 80, 80, 8080 },
	{ "53:5353/udp", "53:5353/udp", "53", 0, 0, NULL, IPPROTO_UDP, 53, 53, 5353 },
	{ "1:65535", "1:65535/tcp", "1", 0, 0, NULL, IPPROTO_TCP, 1, 1, 65535 },
	{ "65535:1", "65535:1/tcp", "65535", 0, 0, NULL, IPPROTO_TCP, 65535, 65535, 1 },
	{ "22:22", "22:22/tcp", "22", 0, 0, NULL, IPPROTO_TCP, 22, 22, 22 },
	{ "1-9:1001-1009", "1-9:1001-1009/tcp", "1-9", 0, 0, NULL, IPPROTO_TCP, 1, 9, 1001 },
	{ "80-80:8080-8080", "80:8080/tcp", "80", 0, 0, NULL, IPPROTO_TCP, 80, 80, 8080 },
	{ "80-81:8080-8081/udp", "80-81:8080-8081/udp", "80-81", 0, 0, NULL, IPPROTO_UDP, 80, 81,
	  8080 },
	{ "1-65535:1-65535", "1-65535:1-65535/tcp", "1-65535", 0, 0, NULL, IPPROTO_TCP, 1, 65535,
	  1 },
	{ "10.0.0.1:443:8443/tcp", "10.0.0.1:443:8443/tcp", "10.0.0.1:443", 4, 32, "10.0.0.1",
	  IPPROTO_TCP, 443, 443, 8443 },
	{ "10.0.0.1/32:443:8443", "10.0.0.1:443:8443/tcp", "10.0.0.1:443", 4, 32, "10.0.0.1",
	  IPPROTO_TCP, 443, 443, 8443 },
	{ "10.0.0.0/8:1-9:1001-1009", "10.0.0.0/8:1-9:1001-1009/tcp", "10.0.0.0/8:1-9", 4, 8,
	  "10.0.0.0", IPPROTO_TCP, 1, 9, 1001 },
	{ "192.168.1.128/25:80:8080", "192.168.1.128/25:80:8080/tcp", "192.168.1.128/25:80", 4, 25,
	  "192.168.1.128", IPPROTO_TCP, 80, 80, 8080 },
	{ "128.0.0.0/1:80:8080", "128.0.0.0/1:80:8080/tcp", "128.0.0.0/1:80", 4, 1, "128.0.0.0",
	  IPPROTO_TCP, 80, 80, 8080 },
	{ "10.0.0.2/31:80:8080", "10.0.0.2/31:80:8080/tcp", "10.0.0.2/31:80", 4, 31, "10.0.0.2",
	  IPPROTO_TCP, 80, 80, 8080 },
	{ "0.0.0.0/0:80:8080", "0.0.0.0/0:80:8080/tcp", "0.0.0.0/0:80", 4, 0, "0.0.0.0",
	  IPPROTO_TCP, 80, 80, 8080 },
	{ "255.255.255.255:80:8080", "255.255.255.255:80:8080/tcp", "255.255.255.255:80", 4, 32,
	  "255.255.255.255", IPPROTO_TCP, 80, 80, 8080 },
	{ "[2001:db8::]/32:80:8080", "[2001:db8::]/32:80:8080/tcp", "[2001:db8::]/32:80", 6, 32,
	  "2001:db8::", IPPROTO_TCP, 80, 80, 8080 },
	{ "[2001:DB8:0:0::]/32:80:8080/tcp", "[2001:db8::]/32:80:8080/tcp", "[2001:db8::]/32:80", 6,
	  32, "2001:db8::", IPPROTO_TCP, 80, 80, 8080 },
	{ "[::1]:80:8080", "[::1]:80:8080/tcp", "[::1]:80", 6, 128, "::1", IPPROTO_TCP, 80, 80,
	  8080 },
	{ "[::1]/128:80:8080", "[::1]:80:8080/tcp", "[::1]:80", 6, 128, "::1", IPPROTO_TCP, 80, 80,
	  8080 },
	{ "[::]/0:80:8080", "[::]/0:80:8080/tcp", "[::]/0:80", 6, 0, "::", IPPROTO_TCP, 80, 80,
	  8080 },
	{ "[8000::]/1:80:8080", "[8000::]/1:80:8080/tcp", "[8000::]/1:80", 6, 1,
	  "8000::", IPPROTO_TCP, 80, 80, 8080 },
	{ "[fe80::]/9:80:8080", "[fe80::]/9:80:8080/tcp", "[fe80::]/9:80", 6, 9,
	  "fe80::", IPPROTO_TCP, 80, 80, 8080 },
	{ "[1111:2222:3333:4444:5555:6666:7777:8880]/127:10000-20000:30000-40000/tcp",
	  "[1111:2222:3333:4444:5555:6666:7777:8880]/127:10000-20000:30000-40000/tcp",
	  "[1111:2222:3333:4444:5555:6666:7777:8880]/127:10000-20000", 6, 127,
	  "1111:2222:3333:4444:5555:6666:7777:8880", IPPROTO_TCP, 10000, 20000, 30000 },
};

static void check_parsed(const struct parse_row *row, const struct ps_rule *rule)
{
	uint8_t addr[16] = {};

	if (row->addr)
		CHECK_EQ(inet_pton(row->family == 4 ? AF_INET : AF_INET6, row->addr, addr), 1);
	CHECK_EQ(rule->prefix.family, row->family);
	CHECK_EQ(rule->prefix.len, row->len);
	CHECK(!memcmp(rule->prefix.addr, addr, sizeof(addr)));
	CHECK_EQ(rule->proto, row->proto);
	CHECK_EQ(rule->front, row->first);
	CHECK_EQ(rule->front_last, row->last);
	CHECK_EQ(rule->target, row->target);
	CHECK_EQ(rule->mode, PS_MODE_STEER);
	CHECK_EQ(rule->if_down, PS_DOWN_REFUSE);
	CHECK_EQ(rule->owner.flags, 0);
	CHECK_EQ(rule->owner.uid, 0);
	CHECK(!rule->owner.cgroup && !rule->name);
	CHECK_EQ(rule->id, 0);
}

static void test_parse(void **state)
{
	char text[PS_RULE_TEXT];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(good); i++) {
		struct ps_error error = NO_ERROR;
		struct ps_rule rule;

		ROW("%s", good[i].text);
		/* Everything must be set, whatever was there before. */
		memset(&rule, 0xa5, sizeof(rule));
		CHECK_EQ(ps_rule_parse(good[i].text, &rule, &error), 0);
		check_parsed(&good[i], &rule);
		ps_rule_format(&rule, text);
		CHECK_STR(text, good[i].canonical);
		ps_rule_format_front(&rule, text);
		CHECK_STR(text, good[i].front);
		/* The key of `del` takes whatever a rule can be. */
		memset(&rule, 0xa5, sizeof(rule));
		CHECK_EQ(ps_rule_parse_key(good[i].text, &rule, NULL), 0);
		check_parsed(&good[i], &rule);
		CHECK_EQ(ps_rule_parse(good[i].canonical, &rule, &error), 0);
		check_parsed(&good[i], &rule);
	}
}

/* The front's text is a key too. */
static void test_parse_key(void **state)
{
	static const struct {
		const char *text, *addr;
		uint8_t family, len, proto;
		uint16_t first, last, target;
	} rows[] = {
		{ "80", NULL, 0, 0, IPPROTO_TCP, 80, 80, 0 },
		{ "80/tcp", NULL, 0, 0, IPPROTO_TCP, 80, 80, 0 },
		{ "53/udp", NULL, 0, 0, IPPROTO_UDP, 53, 53, 0 },
		{ "65535", NULL, 0, 0, IPPROTO_TCP, 65535, 65535, 0 },
		{ "80-90", NULL, 0, 0, IPPROTO_TCP, 80, 90, 0 },
		{ "80:8080", NULL, 0, 0, IPPROTO_TCP, 80, 80, 8080 },
		{ "10.0.0.1:80", "10.0.0.1", 4, 32, IPPROTO_TCP, 80, 80, 0 },
		{ "10.0.0.0/8:80/tcp", "10.0.0.0", 4, 8, IPPROTO_TCP, 80, 80, 0 },
		{ "10.0.0.0/8:1-9", "10.0.0.0", 4, 8, IPPROTO_TCP, 1, 9, 0 },
		{ "0.0.0.0/0:80", "0.0.0.0", 4, 0, IPPROTO_TCP, 80, 80, 0 },
		{ "[::1]:80", "::1", 6, 128, IPPROTO_TCP, 80, 80, 0 },
		{ "[2001:db8::]/32:80", "2001:db8::", 6, 32, IPPROTO_TCP, 80, 80, 0 },
		{ "[2001:db8::]/32:80-81/tcp", "2001:db8::", 6, 32, IPPROTO_TCP, 80, 81, 0 },
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		const struct parse_row row = {
			.family = rows[i].family,
			.len = rows[i].len,
			.addr = rows[i].addr,
			.proto = rows[i].proto,
			.first = rows[i].first,
			.last = rows[i].last,
			.target = rows[i].target,
		};
		struct ps_error error = NO_ERROR;
		struct ps_rule rule;

		ROW("%s", rows[i].text);
		memset(&rule, 0xa5, sizeof(rule));
		CHECK_EQ(ps_rule_parse_key(rows[i].text, &rule, &error), 0);
		check_parsed(&row, &rule);
		if (rows[i].target)
			continue;
		CHECK_EQ(ps_rule_parse(rows[i].text, &rule, &error), -EINVAL);
		check_error(&error, PS_EXIT_USAGE, rows[i].text, NULL);
	}
}

/* Neither a rule nor a key. */
static const char *const bad[] = {
	"",
	":",
	"::",
	":::",
	"80:",
	":8080",
	":80:8080",
	"80::8080",
	"80:8080:",
	"80:8080:9090",
	"10.0.0.1:80:8080:9090",
	"/tcp",
	"0",
	"65536",
	"-1",
	"0:8080",
	"65536:8080",
	"-1:8080",
	"-80:8080",
	"+80:8080",
	"80:0",
	"80:65536",
	"80:-1",
	"80:+8080",
	"70000:8080",
	"65616:8080", /* 2^16 + 80 */
	"4294967376:8080", /* 2^32 + 80 */
	"18446744073709551696:8080", /* 2^64 + 80 */
	"80:4294975376",
	"99999999999999999999999999999999:8080",
	" 80:8080",
	"80 :8080",
	"80: 8080",
	"80:8080 ",
	"80:8080\n",
	"\t80:8080",
	"80:8080\x01",
	"080:8080", /* octal or not: nobody can tell */
	"80:08080",
	"080",
	"0x50:8080",
	"80:0x1f90",
	"8o:8080",
	"80:8080a",
	"1e2:8080",
	"80.0:8080",
	"http:8080",
	"80:http",
	/* ranges */
	"80-81:8080",
	"80:8080-8081",
	"80-81:8080-8082",
	"80-90:8080-8081",
	"90-80:8090-8080",
	"90-80",
	"81-80:8080-8081",
	"80-81:8081-8080",
	"0-9:1000-1009",
	"1-9:0-8",
	"1-65536:1-65536",
	"65530-65536:1-7",
	"1-6:65531-65536",
	"80-:8080",
	"-80-81:8080-8081",
	"80-81:8080-",
	"80--81:8080-8081",
	"80-81-82:8080-8082",
	"80-81:8080-8081-8082",
	"-:8080",
	"-",
	/* protocols */
	"80:8080/",
	"80/",
	"80:8080/sctp",
	"80:8080/icmp",
	"80:8080/6",
	"80:8080/tcpx",
	"80:8080/tc",
	"80:8080/tcp/",
	"80:8080/tcp/udp",
	"80:8080/tcp,udp",
	"80:8080/tcp udp",
	"80/tcp:8080",
	"80/tcp:8080/tcp",
	"80/8:8080",
	/* IPv4 */
	"10.0.0.1/8:80:8080",
	"10.0.0.1/8:80",
	"10.0.0.1/31:80:8080",
	"0.0.0.1/0:80:8080",
	"10.0.0.0/33:80:8080",
	"10.0.0.0/-1:80:8080",
	"10.0.0.0/264:80:8080", /* 2^8 + 8 */
	"10.0.0.0/4294967304:80:8080", /* 2^32 + 8 */
	"10.0.0.0/:80:8080",
	"10.0.0.0/8/8:80:8080",
	"10.0.0.0/ 8:80:8080",
	"10.0.0.0/+8:80:8080",
	"10.0.0.0/8x:80:8080",
	"10.0.0.0/255.0.0.0:80:8080",
	"10.0.0/8:80:8080",
	"10/8:80:8080",
	"10.0.0.0.0:80:8080",
	"256.0.0.0/8:80:8080",
	"1.2.3.4.:80:8080",
	"1.2.3.:80:8080",
	"a.b.c.d:80:8080",
	"localhost:80:8080",
	"10.0.0.1",
	"10.0.0.0/8",
	"10.0.0.1:",
	"10.0.0.1::8080",
	"10.0.0.1/32:",
	" 10.0.0.1:80:8080",
	/* IPv6 */
	"::1:80:8080",
	"2001:db8::/32:80:8080",
	"[2001:db8::1]/32:80:8080",
	"[2001:db8::1/32]:80:8080",
	"[::1]/127:80:8080",
	"[fe80::]/8:80:8080",
	"[::1]/0:80:8080",
	"[::]/129:80:8080",
	"[::]/-1:80:8080",
	"[::]/:80:8080",
	"[::/]:80:8080",
	"[::/0]/0:80:8080",
	"[::]/0/0:80:8080",
	"[]:80:8080",
	"[]/0:80:8080",
	"[/0]:80:8080",
	"[:80:8080",
	"[::1:80:8080",
	"::1]:80:8080",
	"[[::1]]:80:8080",
	"[::1]]:80:8080",
	"[::1]80:8080",
	"[::1]",
	"[::1]:",
	"[::1]::8080",
	"[::1]:80:",
	"[::1]:80:8080:9090",
	"[10.0.0.1]:80:8080",
	"[10.0.0.0/8]:80:8080",
	"[1:2:3:4:5:6:7:8:9]:80:8080",
	"[12345::]:80:8080",
	"[g::]:80:8080",
	"[::1%lo]:80:8080",
	"[::ffff:10.0.0.1]:80:8080", /* arrives as IPv4: would never match */
	"[::ffff:10.0.0.0]/104:80:8080",
	"[ ::1]:80:8080",
	"x[::1]:80:8080",
};

typedef int parse_fn(const char *text, struct ps_rule *rule, struct ps_error *error);

static bool printable(const char *text)
{
	for (; *text; text++) {
		if (is_control((unsigned char)*text))
			return false;
	}
	return true;
}

static void refuse(parse_fn *parse, const char *text)
{
	struct ps_error error = NO_ERROR;
	struct ps_rule rule, poison;

	memset(&rule, 0xa5, sizeof(rule));
	memset(&poison, 0xa5, sizeof(poison));
	CHECK_EQ(parse(text, &rule, &error), -EINVAL);
	CHECK(!memcmp(&rule, &poison, sizeof(rule)));
	check_error(&error, PS_EXIT_USAGE, printable(text) && strlen(text) < 100 ? text : "", NULL);
	CHECK_EQ(parse(text, &rule, NULL), -EINVAL);
}

static void test_parse_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(bad); i++) {
		ROW("%s", bad[i]);
		refuse(ps_rule_parse, bad[i]);
		refuse(ps_rule_parse_key, bad[i]);
	}
}

/* Text of any length and content is refused, and the message stays a line. */
static void test_parse_hostile(void **state)
{
	static const char fill[] = "8:[]/-.\n\x1b\xff";
	static const size_t sizes[] = {
		PS_RULE_TEXT - 8, PS_RULE_TEXT - 1, PS_RULE_TEXT, 1000, 1024, 100000
	};
	char *text = malloc(100001);

	(void)state;
	for (size_t i = 0; i < (sizeof(fill) - 1) * PS_ARRAY_SIZE(sizes); i++) {
		size_t size = sizes[i % PS_ARRAY_SIZE(sizes)];
		char c = fill[i / PS_ARRAY_SIZE(sizes)];

		ROW("%zu times byte %d", size, (unsigned char)c);
		memset(text, c, size);
		text[size] = '\0';
		refuse(ps_rule_parse, text);
		refuse(ps_rule_parse_key, text);
	}
	free(text);
}

/* Random text of the characters that rules are made of: no crash, and what is
 * accepted means the same as its canonical form. */
static void test_parse_random(void **state)
{
	static const char of[] = "0123456789:::---//[]..tcpud ";
	char text[PS_RULE_TEXT], canonical[PS_RULE_TEXT], again[PS_RULE_TEXT];

	(void)state;
	unit_seed = 1;
	for (int i = 0; i < 200000; i++) {
		struct ps_rule rule, other;
		size_t len = rnd(40);

		for (size_t n = 0; n < len; n++)
			text[n] = of[rnd(sizeof(of) - 1)];
		text[len] = '\0';
		/* Something that is nearly right is more telling. */
		if (i & 1) {
			strcpy(text, good[rnd(PS_ARRAY_SIZE(good))].text);
			text[rnd((uint32_t)strlen(text))] = of[rnd(sizeof(of) - 1)];
		}
		ROW("%s", text);
		if (ps_rule_parse(text, &rule, NULL))
			continue;
		CHECK(rule.front && rule.target && rule.front_last >= rule.front);
		CHECK(rule.target + (rule.front_last - rule.front) <= 65535);
		ps_rule_format(&rule, canonical);
		CHECK_EQ(ps_rule_parse(canonical, &other, NULL), 0);
		CHECK(same_rule(&rule, &other));
		ps_rule_format(&other, again);
		CHECK_STR(again, canonical);
	}
}

static struct ps_rule random_rule(void)
{
	uint16_t length = (uint16_t)(rnd(2) ? 0 : rnd(1000));
	struct ps_rule rule = {
		.prefix.family = (uint8_t[]){ 0, 4, 6 }[rnd(3)],
		.proto = rnd(2) ? IPPROTO_TCP : IPPROTO_UDP,
		.front = (uint16_t)(1 + rnd(65535u - length)),
		.target = (uint16_t)(1 + rnd(65535u - length)),
	};

	rule.front_last = (uint16_t)(rule.front + length);
	if (rule.prefix.family)
		rule.prefix.len = (uint8_t)rnd(rule.prefix.family == 4 ? 33 : 129);
	for (int bit = 0; bit < rule.prefix.len; bit++)
		rule.prefix.addr[bit / 8] |= (uint8_t)(rnd(2) << (7 - bit % 8));
	rule.to.family = (uint8_t[]){ 0, 4, 6 }[rnd(3)];
	for (int i = 0; i < (rule.to.family == 4 ? 4 : rule.to.family == 6 ? 16 : 0); i++)
		rule.to.addr[i] = (uint8_t)rnd(256);
	return rule;
}

static void test_format_round_trip(void **state)
{
	char text[PS_RULE_TEXT], front[PS_RULE_TEXT];

	(void)state;
	unit_seed = 2;
	for (int i = 0; i < 50000; i++) {
		struct ps_rule rule = random_rule(), other;

		ps_rule_format(&rule, text);
		ROW("%s", text);
		CHECK(strlen(text) < PS_RULE_TEXT);
		CHECK_EQ(ps_rule_parse(text, &other, NULL), 0);
		CHECK(same_rule(&rule, &other));
		ps_rule_format_front(&rule, front);
		CHECK(!strncmp(text, front, strlen(front)));
		CHECK(text[strlen(front)] == ':');
	}
}

/* --- Cgroup paths and names --- */

static void test_cgroup(void **state)
{
	static const struct {
		const char *text, *path; /* NULL: refused */
	} rows[] = {
		{ "system.slice/x", "/system.slice/x" },
		{ "/system.slice/x", "/system.slice/x" },
		{ "/system.slice/x/", "/system.slice/x" },
		{ "system.slice/x/", "/system.slice/x" },
		{ "a", "/a" },
		{ "/a", "/a" },
		{ "/", "/" },
		{ "user.slice/user-1000.slice/a b", "/user.slice/user-1000.slice/a b" },
		{ "/a/...", "/a/..." },
		{ "/a/..b", "/a/..b" },
		{ "/a/b..", "/a/b.." },
		{ "/.a/b.", "/.a/b." },
		{ "/sl\xc3\xa4"
		  "ce",
		  "/sl\xc3\xa4"
		  "ce" },
		{ "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16",
		  "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16" },
		{ "1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/",
		  "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16" },
		{ "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17", NULL },
		{ "", NULL },
		{ ".", NULL },
		{ "..", NULL },
		{ "/.", NULL },
		{ "/..", NULL },
		{ "../a", NULL },
		{ "/../a", NULL },
		{ "a/..", NULL },
		{ "/a/../b", NULL },
		{ "/a/../", NULL },
		{ "./a", NULL },
		{ "/a/./b", NULL },
		{ "/a/b/.", NULL },
		{ "/a\nb", NULL },
		{ "/a\x1b[31m", NULL },
		{ "\t", NULL },
		{ "/a\x7f", NULL },
		{ "/a/b\x01", NULL },
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		char *path = (char *)rows[i].text;
		struct ps_error error = NO_ERROR;
		int ret;

		ROW("%s", rows[i].text);
		ret = ps_cgroup_normalise(rows[i].text, &path, &error);
		if (rows[i].path) {
			CHECK_EQ(ret, 0);
			CHECK_STR(path, rows[i].path);
			free(path);
		} else {
			CHECK_EQ(ret, -EINVAL);
			CHECK(path == rows[i].text);
			check_error(&error, PS_EXIT_USAGE,
				    printable(rows[i].text) ? rows[i].text : "", NULL);
			CHECK_EQ(ps_cgroup_normalise(rows[i].text, &path, NULL), -EINVAL);
		}
	}
}

/* "/xxx.../xxx...", `len` bytes in all. */
static char *long_path(size_t len)
{
	char *text = malloc(len + 1);

	memset(text, 'x', len);
	for (size_t i = 0; i < len; i += 200)
		text[i] = '/';
	text[len] = '\0';
	return text;
}

static void test_cgroup_length(void **state)
{
	static const size_t lengths[] = { 900,
					  PS_CGROUP_PATH - 3,
					  PS_CGROUP_PATH - 2,
					  PS_CGROUP_PATH - 1,
					  PS_CGROUP_PATH,
					  PS_CGROUP_PATH + 1,
					  5000,
					  100000 };

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(lengths); i++) {
		char *text = long_path(lengths[i]), *path = NULL;
		struct ps_error error = NO_ERROR;
		int ret = ps_cgroup_normalise(text, &path, &error);

		ROW("%zu bytes", lengths[i]);
		if (lengths[i] < PS_CGROUP_PATH - 1) {
			CHECK_EQ(ret, 0);
			CHECK_STR(path, text);
		} else {
			CHECK_EQ(ret, -EINVAL);
			CHECK(!path);
			check_error(&error, PS_EXIT_USAGE, NULL);
		}
		free(path);
		free(text);
	}
}

/* The kernel has no names that are longer. */
static void test_cgroup_name_length(void **state)
{
	(void)state;
	for (size_t size = 254; size < 258; size++) {
		char text[300] = "/a/", *path = NULL;
		struct ps_error error = NO_ERROR;

		ROW("a name of %zu bytes", size);
		memset(text + 3, 'x', size);
		CHECK_EQ(ps_cgroup_normalise(text, &path, &error), size < 256 ? 0 : -EINVAL);
		if (size > 255)
			check_error(&error, PS_EXIT_USAGE, NULL);
		free(path);
	}
}

static void test_name(void **state)
{
#define TEN "0123456789"
	static const struct {
		const char *name;
		bool ok;
	} rows[] = {
		{ "web", true },
		{ "a", true },
		{ "my web-server_2 (test)", true },
		{ "w\xc3\xa9"
		  "b",
		  true },
		{ "\xe6\xbc\xa2\xe5\xad\x97", true },
		{ "\xf0\x9f\x90\x8b", true }, /* four bytes */
		{ TEN TEN TEN TEN TEN TEN "1234", true },
		{ TEN TEN TEN TEN TEN TEN "12\xc3\xa9", true },
		{ TEN TEN TEN TEN TEN TEN "12345", false },
		{ TEN TEN TEN TEN TEN TEN "123\xc3\xa9", false },
		{ TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN, false },
		{ "", false },
		{ "a\nb", false },
		{ "\n", false },
		{ "a\tb", false },
		{ "\x1b[31mred", false },
		{ "\x01", false },
		{ "\x1f", false },
		{ "a\x7f", false },
		{ "\xc2\x80", false }, /* C1 control characters */
		{ "a\xc2\x9b"
		  "31m",
		  false },
		{ "\xc2\x9f", false },
		{ "\xc2\xa0", true },
		{ "\x80", false }, /* not UTF-8 */
		{ "\xff", false },
		{ "a\xc3", false },
		{ "\xc3"
		  "a",
		  false },
		{ "\xe2\x82", false },
		{ "\xf0\x9f\x90", false },
		{ "\xc0\xaf", false }, /* too long a form */
		{ "\xc1\xbf", false },
		{ "\xe0\x80\xaf", false },
		{ "\xf0\x80\x80\xaf", false },
		{ "\xed\xa0\x80", false }, /* half a surrogate pair */
		{ "\xf4\x90\x80\x80", false }, /* beyond the last character */
		{ "\xf8\x88\x80\x80\x80", false },
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_error error = NO_ERROR;

		ROW("%zu: %s", i, rows[i].name);
		CHECK_EQ(ps_name_check(rows[i].name, &error), rows[i].ok ? 0 : -EINVAL);
		CHECK_EQ(ps_name_check(rows[i].name, NULL), rows[i].ok ? 0 : -EINVAL);
		if (!rows[i].ok)
			check_error(&error, PS_EXIT_USAGE, NULL);
	}
#undef TEN
}

static void test_words(void **state)
{
	(void)state;
	CHECK_STR(ps_mode_name(PS_MODE_STEER), "steer");
	CHECK_STR(ps_mode_name(PS_MODE_BIND), "bind");
	CHECK_STR(ps_mode_name(PS_MODE_CONNECT), "connect");
	CHECK_STR(ps_if_down_name(PS_DOWN_REFUSE), "refuse");
	CHECK_STR(ps_if_down_name(PS_DOWN_PASS), "pass");
	CHECK_STR(ps_proto_name(IPPROTO_TCP), "tcp");
	CHECK_STR(ps_proto_name(IPPROTO_UDP), "udp");
}

/* --- Comparing --- */

static void test_owner_equal(void **state)
{
	static char a[] = "/a", also_a[] = "/a", ab[] = "/a/b";
	static const struct ps_owner_spec owners[] = {
		{ 0, 0, NULL },
		{ PS_OWNER_ANY, 0, NULL },
		{ PS_OWNER_USER, 0, NULL },
		{ PS_OWNER_USER, 33, NULL },
		{ PS_OWNER_USER, 0xffffffff, NULL },
		{ PS_OWNER_CGROUP, 0, a },
		{ PS_OWNER_CGROUP, 0, ab },
		{ PS_OWNER_USER | PS_OWNER_CGROUP, 0, a },
		{ PS_OWNER_USER | PS_OWNER_CGROUP, 33, a },
		{ PS_OWNER_USER | PS_OWNER_CGROUP, 33, ab },
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(owners); i++) {
		for (size_t j = 0; j < PS_ARRAY_SIZE(owners); j++) {
			struct ps_owner_spec other = owners[j];

			ROW("owners %zu and %zu", i, j);
			if (other.cgroup == a)
				other.cgroup = also_a;
			CHECK_EQ(ps_owner_equal(&owners[i], &other), i == j);
		}
	}
}

static void test_prefix_equal(void **state)
{
	static const struct ps_prefix prefixes[] = {
		{ 0, 0, {} },
		{ 4, 0, {} },
		{ 6, 0, {} },
		{ 4, 8, { 10 } },
		{ 4, 9, { 10 } },
		{ 4, 8, { 11 } },
		{ 6, 8, { 10 } },
		{ 4, 32, { 10, 0, 0, 1 } },
		{ 4, 32, { 10, 0, 0, 2 } },
		{ 6, 128, { [15] = 1 } },
		{ 6, 128, { [15] = 2 } },
		{ 6, 128, { [14] = 1 } },
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(prefixes); i++) {
		for (size_t j = 0; j < PS_ARRAY_SIZE(prefixes); j++) {
			ROW("prefixes %zu and %zu", i, j);
			CHECK_EQ(ps_prefix_equal(&prefixes[i], &prefixes[j]), i == j);
		}
	}
}

/* No two of these are equal; each is to itself and to a copy of itself. */
static const struct {
	const char *text, *options;
} different[] = {
	{ "80:8080", "u33" },
	{ "80:8080", "u34" },
	{ "80:8080", "any" },
	{ "80:8080", "c/a" },
	{ "80:8080", "c/a/b" },
	{ "80:8080", "u33 c/a" },
	{ "80:8080", "u33 pass" },
	{ "80:8080", "u33 n=web" },
	{ "80:8080", "u33 n=web2" },
	{ "80:8081", "u33" },
	{ "81:8080", "u33" },
	{ "80-81:8080-8081", "u33" },
	{ "80:8080/udp", "u33" },
	{ "10.0.0.0/8:80:8080", "u33" },
	{ "10.0.0.0/9:80:8080", "u33" },
	{ "10.0.0.0:80:8080", "u33" },
	{ "0.0.0.0/0:80:8080", "u33" },
	{ "[::]/0:80:8080", "u33" },
	{ "[::]:80:8080", "u33" },
	{ "[::1]:80:8080", "u33" },
};

static void test_rule_equal(void **state)
{
	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(different); i++) {
		struct ps_rule a = rule_of(different[i].text, different[i].options);

		for (size_t j = 0; j < PS_ARRAY_SIZE(different); j++) {
			struct ps_rule b = rule_of(different[j].text, different[j].options);

			ROW("%s %s and %s %s", different[i].text, different[i].options,
			    different[j].text, different[j].options);
			b.id = 77;
			CHECK_EQ(ps_rule_equal(&a, &b), i == j);
			b.mode = PS_MODE_BIND;
			CHECK(!ps_rule_equal(&a, &b));
			ps_rule_clear(&b);
		}
		ps_rule_clear(&a);
	}
}

static void test_overlaps(void **state)
{
	static const struct {
		const char *a, *b;
		bool overlap;
	} rows[] = {
		{ "80:8080", "80:8080", true },
		{ "80:8080", "80:9090", true },
		{ "80:8080", "81:8080", false },
		{ "80-90:8080-8090", "80:1", true },
		{ "80-90:8080-8090", "90:1", true },
		{ "80-90:8080-8090", "85:1", true },
		{ "80-90:8080-8090", "79:1", false },
		{ "80-90:8080-8090", "91:1", false },
		{ "80-90:8080-8090", "90-100:1-11", true },
		{ "80-90:8080-8090", "91-100:1-10", false },
		{ "80-90:8080-8090", "1-79:101-179", false },
		{ "80-90:8080-8090", "1-80:101-180", true },
		{ "80-90:8080-8090", "1-65535:1-65535", true },
		{ "65535:1", "65535:2", true },
		{ "80:8080/tcp", "80:8080/udp", false },
		{ "53:8080/udp", "53:8081/udp", true },
		{ "80:8080", "10.0.0.0/8:80:8080", false },
		{ "80:8080", "0.0.0.0/0:80:8080", false },
		{ "0.0.0.0/0:80:8080", "[::]/0:80:8080", false },
		{ "10.0.0.0/8:80:8080", "10.0.0.0/8:80:9090", true },
		{ "10.0.0.0/8:80:8080", "10.0.0.0/9:80:8080", false },
		{ "10.0.0.0/8:80:8080", "11.0.0.0/8:80:8080", false },
		{ "10.0.0.1:80:8080", "10.0.0.1/32:80:8080", true },
		{ "10.0.0.1:80-90:8080-8090", "10.0.0.1:90:8080", true },
		{ "[::1]:80:8080", "[::1]:80:8081", true },
		{ "[::1]:80:8080", "[::2]:80:8081", false },
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_rule a = rule_of(rows[i].a, "u1"), b = rule_of(rows[i].b, "any pass");

		ROW("%s and %s", rows[i].a, rows[i].b);
		CHECK_EQ(ps_rule_overlaps(&a, &b), rows[i].overlap);
		CHECK_EQ(ps_rule_overlaps(&b, &a), rows[i].overlap);
	}
}

/* In the order of output. */
static void test_compare(void **state)
{
	static const char *const rows[] = {
		"1:8080",
		"10.0.0.0/8:2:8080",
		"2:8080",
		"3-9:4003-4009",
		"10.0.0.1:10:8080",
		"10.0.0.2:10:8080",
		"11.0.0.1:10:8080",
		"10.0.0.0/31:10:8080",
		"10.0.0.0/16:10:8080",
		"10.1.0.0/16:10:8080",
		"10.0.0.0/8:10:8080",
		"10:8080",
		"[::1]:80:8080",
		"[::2]:80:8080",
		"[100::1]:80:8080",
		"[::]/127:80:8080",
		"[2001:db8::]/32:80:8080",
		"80:8080",
		"255:8080",
		"256:8080",
		"65535:8080",
		"1:8080/udp",
		"10.0.0.1:10:8080/udp",
		"10:8080/udp",
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_rule a = rule_of(rows[i], "u1");

		for (size_t j = 0; j < PS_ARRAY_SIZE(rows); j++) {
			struct ps_rule b = rule_of(rows[j], "u1");
			int order = ps_rule_compare(&a, &b);

			ROW("%s and %s", rows[i], rows[j]);
			CHECK_EQ((order > 0) - (order < 0), (i > j) - (i < j));
		}
	}
}

static int sign(int x)
{
	return (x > 0) - (x < 0);
}

/* Whatever the order is where nothing is said about it, it is one. */
static void test_compare_is_order(void **state)
{
	enum { RULES = 60 };
	struct ps_rule r[RULES];

	(void)state;
	ROW("random rules");
	unit_seed = 3;
	for (int i = 0; i < RULES; i++) {
		r[i] = random_rule();
		r[i].front = (uint16_t)(1 + rnd(3));
		r[i].front_last = r[i].front;
		/* Many that differ in little. */
		for (int byte = 1; byte < 16; byte++)
			r[i].prefix.addr[byte] = 0;
		r[i].prefix.addr[0] &= 0x80;
	}
	for (int i = 0; i < RULES; i++) {
		for (int j = 0; j < RULES; j++) {
			int order = sign(ps_rule_compare(&r[i], &r[j]));

			CHECK_EQ(order, -sign(ps_rule_compare(&r[j], &r[i])));
			if (!order)
				CHECK(ps_prefix_equal(&r[i].prefix, &r[j].prefix) &&
				      r[i].front == r[j].front && r[i].proto == r[j].proto);
			for (int k = 0; k < RULES && order < 0; k++) {
				if (ps_rule_compare(&r[j], &r[k]) < 0)
					CHECK(ps_rule_compare(&r[i], &r[k]) < 0);
			}
		}
	}
}

/* --- Copying --- */

static void test_copy(void **state)
{
	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(different); i++) {
		struct ps_rule a = rule_of(different[i].text, different[i].options), b;

		ROW("%s %s", different[i].text, different[i].options);
		a.id = 5;
		CHECK_EQ(ps_rule_copy(&a, &b), 0);
		CHECK(same_rule(&a, &b));
		CHECK_EQ(b.id, 5);
		CHECK(!a.name || a.name != b.name);
		CHECK(!a.owner.cgroup || a.owner.cgroup != b.owner.cgroup);
		ps_rule_clear(&a);
		a = rule_of(different[i].text, different[i].options);
		CHECK(same_rule(&a, &b));
		ps_rule_clear(&a);
		ps_rule_clear(&b);
	}
	ps_rule_clear(NULL);
}

#if UNIT_CAN_FAIL
static int copy_and_clear(void *data)
{
	struct ps_rule to, poison;
	int ret;

	memset(&to, 0xa5, sizeof(to));
	memset(&poison, 0xa5, sizeof(poison));
	ret = ps_rule_copy(data, &to);
	if (!ret)
		ps_rule_clear(&to);
	else
		CHECK(!memcmp(&to, &poison, sizeof(to)));
	return ret;
}

static void test_copy_no_memory(void **state)
{
	struct ps_rule rule = rule_of("80:8080", "c/system.slice/web.service n=web");

	(void)state;
	ROW("copy");
	fail_each_allocation(copy_and_clear, &rule);
	ps_rule_clear(&rule);
}

static int normalise_and_free(void *data)
{
	char *path = data;
	int ret = ps_cgroup_normalise(data, &path, NULL);

	if (!ret)
		free(path);
	else
		CHECK(path == data);
	return ret;
}

static void test_cgroup_no_memory(void **state)
{
	char path[] = "system.slice/web.service/";

	(void)state;
	ROW("normalise");
	fail_each_allocation(normalise_and_free, path);
}
#endif

/* --- Errors --- */

static void test_fail(void **state)
{
	static const int statuses[] = { PS_EXIT_FAILED, PS_EXIT_USAGE, PS_EXIT_NOT_LOADED,
					PS_EXIT_NOT_PERMITTED, PS_EXIT_UNSUPPORTED };

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(statuses); i++) {
		struct ps_error error = NO_ERROR;

		ROW("status %d", statuses[i]);
		CHECK_EQ(ps_fail(&error, statuses[i], EINVAL, "rule %s: %d; %c", "80", 7, 'x'),
			 -EINVAL);
		CHECK_EQ(error.status, statuses[i]);
		CHECK_STR(error.message, "rule 80: 7; x");
		CHECK_EQ(ps_fail(NULL, statuses[i], ENOENT, "rule %s", "80"), -ENOENT);
	}
}

/* No byte that a terminal could take for an order, and nothing else changed. */
static void test_fail_escapes(void **state)
{
	(void)state;
	for (int c = 1; c < 256; c++) {
		char text[] = { 'a', (char)c, 'b', '\0' };
		struct ps_error error = NO_ERROR;

		ROW("byte %d", c);
		ps_fail(&error, PS_EXIT_FAILED, EINVAL, "%s", text);
		CHECK(printable(error.message));
		CHECK(error.message[0] == 'a' && error.message[strlen(error.message) - 1] == 'b');
		if (c >= 0x20 && c < 0x7f && c != '\\')
			CHECK_STR(error.message, text);
		else if (c < 0x80 && c != '\\')
			CHECK(strlen(error.message) > 3); /* escaped, not left out */
	}
	for (int c = 0x80; c < 0xa0; c++) {
		char text[] = { '\xc2', (char)c, '\0' };
		struct ps_error error = NO_ERROR;

		ROW("character %d", c);
		ps_fail(&error, PS_EXIT_FAILED, EINVAL, "%s", text);
		CHECK(!strstr(error.message, text));
	}
	ROW("UTF-8");
	{
		struct ps_error error = NO_ERROR;

		ps_fail(&error, PS_EXIT_FAILED, EINVAL, "%s", "w\xc3\xa9\xe6\xbc\xa2");
		CHECK_STR(error.message, "w\xc3\xa9\xe6\xbc\xa2");
	}
}

static void test_fail_cuts(void **state)
{
	static const char *const fills[] = { "x", "\n", "\xc3\xa9", "\xf0\x9f\x90\x8b", "\x1b" };

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(fills); i++) {
		size_t unit = strlen(fills[i]);

		for (size_t lead = 0; lead < 4; lead++) {
			struct ps_error error = NO_ERROR;
			char text[3000] = "abc";

			ROW("text of %s", fills[i]);
			for (size_t n = lead; n + unit < sizeof(text); n += unit)
				memcpy(text + n, fills[i], unit + 1);
			memset(&error, 0xa5, sizeof(error));
			CHECK_EQ(ps_fail(&error, PS_EXIT_FAILED, E2BIG, "%s", text), -E2BIG);
			CHECK(memchr(error.message, '\0', sizeof(error.message)));
			CHECK(strlen(error.message) > 900);
			CHECK(printable(error.message));
			/* JSON needs whole characters. */
			if (unit > 1 && strstr(error.message, "..."))
				continue;
			if (unit > 1)
				CHECK_EQ((strlen(error.message) - lead) % unit, 0);
		}
	}
}

/* Text given as the format's argument is never a format. */
static void test_percent(void **state)
{
	struct ps_error error = NO_ERROR;
	struct ps_rule rule;

	(void)state;
	ROW("%%s%%n");
	CHECK_EQ(ps_rule_parse("%s%n%s:80", &rule, &error), -EINVAL);
	check_error(&error, PS_EXIT_USAGE, "%s%n%s:80", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_key),
		cmocka_unit_test(test_parse_bad),
		cmocka_unit_test(test_parse_hostile),
		cmocka_unit_test(test_parse_random),
		cmocka_unit_test(test_format_round_trip),
		cmocka_unit_test(test_cgroup),
		cmocka_unit_test(test_cgroup_length),
		cmocka_unit_test(test_cgroup_name_length),
		cmocka_unit_test(test_name),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_owner_equal),
		cmocka_unit_test(test_prefix_equal),
		cmocka_unit_test(test_rule_equal),
		cmocka_unit_test(test_overlaps),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_compare_is_order),
		cmocka_unit_test(test_copy),
#if UNIT_CAN_FAIL
		cmocka_unit_test(test_copy_no_memory),
		cmocka_unit_test(test_cgroup_no_memory),
#endif
		cmocka_unit_test(test_fail),
		cmocka_unit_test(test_fail_escapes),
		cmocka_unit_test(test_fail_cuts),
		cmocka_unit_test(test_percent),
	};

	return cmocka_run_group_tests_name("rule", tests, NULL, NULL);
}
