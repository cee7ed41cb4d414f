// SPDX-License-Identifier: GPL-2.0-only
/* From the configuration's text to rules and back: user/config/. */
#define UNIT_FAULTS
#include <sys/time.h>

#include "unit.h"

#include "config/config.h"
#include "config/config_write.h"
#include "config/finish.h"
#include "config/fronts.h"
#include "config/parse.h"
#include "util/text.h"

/* --- What names mean here --- */

static int find_user(const char *text, uint32_t *uid, char **note, struct ps_error *error)
{
	char *end;

	*note = NULL;
	if (!strcmp(text, "www")) {
		*uid = 33;
		return 0;
	}
	*uid = (uint32_t)strtoul(text, &end, 10);
	return *end ? ps_fail(error, PS_EXIT_USAGE, EINVAL, "unknown user '%.100s'; give another",
			      text) :
		      0;
}

/* "unit:a" leaves a note, and "container:a" is none. */
static int find_cgroup(const char *text, char **path, char **note, struct ps_error *error)
{
	int ret;

	if (!strncmp(text, "container:", 10))
		return ps_fail(error, PS_EXIT_FAILED, ENOENT, "no such container; give another");
	ret = ps_cgroup_normalise(text, path, error);
	*note = !ret && !strncmp(text, "unit:", 5) ? strdup(text) : NULL;
	return ret;
}

static const struct ps_resolver resolver = { find_user, find_cgroup, find_cgroup };

static const char *user_name(uint32_t uid)
{
	return uid == 33 ? "www" : NULL;
}

/* --- Reading --- */

static int parse(struct ps_config *config, const char *name, const char *text, size_t size)
{
	int file = ps_config_file(config, name);

	return file < 0 ? file : ps_config_parse(config, (uint32_t)file, text, size);
}

/* The rules, or the mistakes, as text. */
static void outcome(struct ps_config *config, char *text, size_t size)
{
	struct ps_ruleset rules = {};
	int ret = ps_config_finish(config, &rules);
	size_t used = 0;

	*text = '\0';
	for (size_t i = 0; i < rules.count; i++) {
		const struct ps_rule *r = &rules.rules[i];
		char one[PS_RULE_TEXT];

		ps_rule_format(r, one);
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? " " : "", one);
		used += (size_t)snprintf(text + used, size - used, "=%s", ps_mode_name(r->mode));
		if (r->owner.flags & PS_OWNER_USER)
			used += (size_t)snprintf(text + used, size - used, ",u%u", r->owner.uid);
		if (r->owner.flags & PS_OWNER_CGROUP)
			used += (size_t)snprintf(text + used, size - used, ",c%s", r->owner.cgroup);
		if (r->owner.flags & PS_OWNER_ANY)
			used += (size_t)snprintf(text + used, size - used, ",any");
		if (r->owner.flags & PS_OWNER_NOBODY)
			used += (size_t)snprintf(text + used, size - used, ",nobody");
		if (r->scope)
			used += (size_t)snprintf(text + used, size - used, ",f%s", r->scope);
		if (r->if_down == PS_DOWN_PASS)
			used += (size_t)snprintf(text + used, size - used, ",pass");
		if (r->name)
			used += (size_t)snprintf(text + used, size - used, ",n%s", r->name);
	}
	CHECK_EQ(ret, config->mistake_count ? -EINVAL : 0);
	CHECK(!rules.count || !ret || config->partial);
	if (config->keep_going)
		used += (size_t)snprintf(text + used, size - used, "\n");
	for (size_t i = 0; i < config->mistake_count; i++) {
		char one[1500];

		check_message(&config->mistakes[i].error);
		ps_mistake_text(config, &config->mistakes[i], one, sizeof(one));
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? "\n" : "", one);
	}
	CHECK(used < size);
	ps_ruleset_clear(&rules);
}

#define WWW "user = www\n"

static void test_rules(void **state)
{
	static const struct {
		const char *text, *rules;
	} rows[] = {
		{ "", "" },
		{ "# only\n; comments\n\n   # here\n", "" },
		{ "[web]\nports = 80:8080\n" WWW, "80:8080/tcp=steer,u33" },
		{ "[web]\n" WWW "ports = 80:8080", "80:8080/tcp=steer,u33" },
		{ "[web]\r\nports = 80:8080\r\nuser = www\r\n", "80:8080/tcp=steer,u33" },
		{ "\xef\xbb\xbf[web]\nports = 80:8080\n" WWW, "80:8080/tcp=steer,u33" },
		{ "\xef\xbb\xbf# x\n[web]\nports=80:8080\n" WWW, "80:8080/tcp=steer,u33" },
		{ "[web]\nports=80:8080\t443:8443/udp\n  81:8081\n\n\t# c\n\t82:8082 83:8083 \n" WWW,
		  "80:8080/tcp=steer,u33 81:8081/tcp=steer,u33 82:8082/tcp=steer,u33 "
		  "83:8083/tcp=steer,u33 443:8443/udp=bind,u33" },
		{ "[web]\nports =\n  80:8080\n  [2001:db8::]/32:80:8081\n" WWW,
		  "[2001:db8::]/32:80:8081/tcp=steer,u33 80:8080/tcp=steer,u33" },
		{ "[ssh]\nallow = 22/tcp 80\nuser = 1000\ncgroup = a/b\nname = x\n",
		  "22/tcp=bind,u1000,c/a/b,nx 80/tcp=bind,u1000,c/a/b,nx" },
		{ "[both]\nports = 80:8080\nallow = 443\n" WWW,
		  "80:8080/tcp=steer,u33 443/tcp=bind,u33" },
		{ "[pod]\nclient-cgroup = pod\nports = 80:8080 53:10.0.0.1:53/udp\nany-user = yes\n",
		  "80:8080/tcp=connect,any,f/pod 53:10.0.0.1:53/udp=connect,any,f/pod" },
		{ "[a]\nports = 80:8080\nif-down = pass\nany-user = on\n",
		  "80:8080/tcp=steer,any,pass" },
		{ "[a]\nports = 80:8080\nif-down = refuse\nmode = steer\nany-user = no\n" WWW,
		  "80:8080/tcp=steer,u33" },
		{ "[a]\nports = 80:8080\nmode = bind\n" WWW, "80:8080/tcp=bind,u33" },
		{ "[a b; # \" = :]\nports = 80:8080\n" WWW, "80:8080/tcp=steer,u33" },
		/* Without quotes everything means itself, but for blanks around. */
		{ "[a]\nports = 80:8080\ncgroup =  a\\x2db;c#d \"e\"  \n",
		  "80:8080/tcp=steer,c/a\\x2db;c#d \"e\"" },
		{ "[a]\nports = 80:8080\ncgroup =  \"a ; c # d\"  \n",
		  "80:8080/tcp=steer,c/a ; c # d" },
		{ "[a]\nports = 80:8080\ncgroup = a=b:c\n", "80:8080/tcp=steer,c/a=b:c" },
		{ "[a]\nports = 80:8080\ncgroup = \"\\xff\\\\ \\\"b \"\n",
		  "80:8080/tcp=steer,c/\xff\\ \"b " },
		{ "[a]\nports = 80:8080\n" WWW "name = \" gr\xc3\xbc\xc3\x9f \"\n",
		  "80:8080/tcp=steer,u33,n gr\xc3\xbc\xc3\x9f " },
		{ "[b]\nports = 80:8080\n" WWW "[a]\nports = 79:8080\nuser = 5\n",
		  "79:8080/tcp=steer,u5 80:8080/tcp=steer,u33" },
	};
	char text[4096];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_config config = { .list.resolver = &resolver };

		ROW("%s", rows[i].text);
		CHECK_EQ(parse(&config, "f", rows[i].text, strlen(rows[i].text)), 0);
		outcome(&config, text, sizeof(text));
		CHECK_STR(text, rows[i].rules);
		ps_config_clear(&config);
	}
}

/* Texts with mistakes, and these. */
static const struct {
	const char *text;
	const char *parts[6]; /* "LINE: what" */
} mistakes[] = {
	{ "ports = 80:8080\n", { "1: 'ports' is outside any section" } },
	{ "80:8080\n", { "1: '80:8080': neither a key nor a section" } },
	{ "= 3\n", { "1: '= 3': neither a key nor a section" } },
	{ "a:b = 3\n", { "1: 'a:b = 3': neither a key nor a section" } },
	{ "[web]\n", { "1: section [web] has no rules", "1: section [web] has no owner" } },
	{ "[web\n", { "1: '[web' is not a section" } },
	{ "[web] x\n", { "1: '[web] x' is not a section" } },
	{ "[]\n", { "1: a section name has 1 to 64 bytes, not 0" } },
	{ " [web]\n", { "1: '[web]': a key must start at the beginning of its line" } },
	{ "[a]\nports = 80:8080\n", { "1: section [a] has no owner" } },
	{ "[a]\nports = 80:8080\nany-user = no\n", { "1: section [a] has no owner" } },
	{ "[a]\n" WWW, { "1: section [a] has no rules" } },
	{ "[a]\nports =\n" WWW, { "2: ports has no value" } },
	{ "[a]\nallow =   \n" WWW, { "2: allow has no value" } },
	{ "[a]\nuser =\nports = 80:8080\n", { "2: user has no value" } },
	{ "[a]\nuser = \"\"\nports = 80:8080\n", { "2: user has no value" } },
	{ "[a]\nports = 80:8080\nname =\n" WWW, { "3: name has no value" } },
	{ "[a]\nport = 80:8080\nports=80:8080\n" WWW, { "2: unknown key 'port'" } },
	{ "[a]\nPorts = 80:8080\nports=80:8080\n" WWW, { "2: unknown key 'Ports'" } },
	{ "[a]\nports = 80:8080\nuser = nobody\n", { "3: unknown user 'nobody'" } },
	{ "[a]\nports = 80:8080\ncgroup = a/../b\n", { "3: bad cgroup 'a/../b'" } },
	{ "[a]\nports = 80:8080\ncgroup = container:7\n", { "3: no such container" } },
	{ "[a]\nports = 80:8080\ncgroup = pid:7\n",
	  { "3: cgroup pid:7: process ids are reused, so a file cannot name a process" } },
	{ "[a]\nports = 80:8080\nuser = 7\nclient-cgroup = pid:7\n",
	  { "4: cgroup pid:7: process ids are reused" } },
	{ "[a]\nports = 80:8080\ncgroup = \"a\\x0ab\"\n", { "3: bad cgroup" } },
	{ "[a]\nports = 80:8080\n" WWW "mode = fast\n", { "4: unknown mode 'fast'" } },
	{ "[a]\nports = 80:8080\n" WWW "if-down = no\n", { "4: unknown if-down 'no'" } },
	{ "[a]\nports = 80:8080\nany-user = maybe\n" WWW, { "3: any-user is 'maybe'" } },
	{ "[a]\nports = 80:8080\nany-user = yes\n" WWW, { "3: any-user contradicts user" } },
	{ "[a]\nports = 80:8080\n" WWW "user = 5\n", { "4: user is already set on line 3" } },
	{ "[a]\nports = 80:8080\nports = 81:8081\n" WWW, { "3: ports is already set on line 2" } },
	{ "[a]\nports = 80:8080\n" WWW "[b]\nports = 81:8081\n" WWW "[a]\nports=82:8082\n" WWW,
	  { "7: section [a] already exists at f:1" } },
	{ "[a]\nports = 80:8080\n  user = www\n",
	  { "1: section [a] has no owner", "3: bad rule 'user'", "3: bad rule '='",
	    "3: bad rule 'www'" } },
	{ "[a]\nports = 80:8080\nuser = www\n mode = bind\n",
	  { "4: user takes one value, and this line continues it" } },
	{ "[a]\nports = 80:8080 # web\n" WWW, { "2: '# web' after a value is not a comment" } },
	{ "[a]\nports = 80:8080\ncgroup = a ; b\n", { "3: '; b' after a value is not a comment" } },
	{ "[a]\nports = 80:8080\n  81\n" WWW, { "3: bad rule '81'" } },
	{ "[a]\nallow = 80:8080\n" WWW, { "2: bad grant '80:8080'" } },
	{ "[a]\nallow = 8080\n" WWW, { "2: rule 8080/tcp: port 8080 is not privileged" } },
	{ "[a]\nallow = 80\nmode = bind\n" WWW, { "3: mode applies to ports only" } },
	{ "[a]\nallow = 80\nports=81:8081\nclient-cgroup = b\nif-down=pass\n" WWW,
	  { "4: client-cgroup applies to ports only", "5: if-down applies to ports only" } },
	{ "[a]\nports = 53:5353/udp\nmode = steer\n" WWW,
	  { "2: rule 53:5353/udp: UDP cannot be steered" } },
	{ "[a]\nports = 53:5353/udp\nif-down = pass\n" WWW, { "2: rule 53:5353/udp is a bind" } },
	{ "[a]\nports = 80:8080\nclient-cgroup = b\nmode = bind\n" WWW,
	  { "2: rule 80:8080/tcp: client-cgroup is" } },
	{ "[a]\nports = 80:8080\nmode = connect\n" WWW,
	  { "2: rule 80:8080/tcp: connect mode needs" } },
	{ "[a]\nports = 80:8080\n" WWW "name = \"a\n", { "4: the value begins with a quote" } },
	{ "[a]\nports = 80:8080\n" WWW "name = \"a\" b\n", { "4: the value begins with" } },
	{ "[a]\nports = 80:8080\n" WWW "name = \"\\n\"\n",
	  { "4: '\\n\"' is not an escape sequence" } },
	{ "[a]\nports = 80:8080\n" WWW "name = \"\\x00\"\n",
	  { "4: '\\x00\"' is not an escape sequence" } },
	{ "[a]\nports = 80:8080\n" WWW "name = \"\\x9\"\n",
	  { "4: '\\x9\"' is not an escape sequence" } },
	{ "[a]\nports = 80:8080\n" WWW "name = \xff\n", { "4: byte 8 of the line, \\xff," } },
	{ "[a]\nports = 80:8080\n" WWW "name = \x1b[0m\n", { "4: byte 8 of the line, \\x1b," } },
	{ "[a]\nports = 80:\r8080\n" WWW, { "2: byte 12 of the line, \\x0d," } },
	{ "[a\xff]\nports = 80:8080\n" WWW,
	  { "1: byte 3 of the line", "2: 'ports' is outside", "3: 'user' is outside" } },
	/* Together. */
	{ "[a]\nports = 80:8080 80:8080\n" WWW, { "2: rule 80:8080/tcp already exists at f:2" } },
	{ "[a]\nports = 80:8080\n" WWW "[b]\nports = 80:8081\n" WWW,
	  { "5: rule 80:8080/tcp (steer, user 33) overlaps rule 80:8081/tcp (steer, user 33):" } },
	{ "[a]\nports = 80:8080\n" WWW "[b]\nports = 8080:9000\n" WWW,
	  { "5: rule 80:8080/tcp makes a loop: its target port 8080 is a front port of "
	    "8080:9000/tcp" } },
	{ "[a]\nports = 80:80\n" WWW, { "2: rule 80:80/tcp makes a loop" } },
	{ "[a]\nports = 80:8080\n" WWW "[b]\nallow = 10.0.0.1:80\n" WWW,
	  { "5: steer rule 80:8080/tcp and bind rule 10.0.0.1:80/tcp conflict on port 80" } },
	{ "[a]\nports = 1:2000 1:2001 1:2002\n 1:2003\n" WWW,
	  { "2: rule 1:", "2: rule 1:", "3: rule 1:" } },
};

/* Each mistake is told, with its line, and there are no others. */
static void test_mistakes(void **state)
{
	char text[8192], *line, *save;

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(mistakes); i++) {
		struct ps_config config = { .list.resolver = &resolver };
		size_t n = 0;

		ROW("%s", mistakes[i].text);
		CHECK_EQ(parse(&config, "f", mistakes[i].text, strlen(mistakes[i].text)), 0);
		outcome(&config, text, sizeof(text));
		for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
			CHECK_MSG(n < PS_ARRAY_SIZE(mistakes[i].parts) && mistakes[i].parts[n] &&
					  !strncmp(line, "f:", 2) &&
					  !strncmp(line + 2, mistakes[i].parts[n],
						   strlen(mistakes[i].parts[n])),
				  "mistake %zu is \"%s\"", n, line);
			n++;
		}
		CHECK_MSG(n == PS_ARRAY_SIZE(mistakes[i].parts) || !mistakes[i].parts[n],
			  "\"%s\" is not told", mistakes[i].parts[n]);
		CHECK(n > 0);
		ps_config_clear(&config);
	}
}

/* A section with a mistake, as far as the others count without it. */
static const struct {
	const char *text;
	const char *rules; /* and what is refused */
	const char *mistakes[4];
} parts[] = {
	{ "[a]\nports = 80:8080\n" WWW, "80:8080/tcp=steer,u33", {} },
	{ "[a]\nports = 80:8080\nuser = x\n[b]\nports = 81:8081\n" WWW,
	  "80/tcp=steer,nobody 81:8081/tcp=steer,u33",
	  { "3: unknown user" } },
	/* A broader rule does not get what a narrower one names. */
	{ "[a]\nports = 80:8080\n" WWW "[b]\nports = 10.0.0.1:80:8081\nuser = x\n",
	  "10.0.0.1:80/tcp=steer,nobody 80:8080/tcp=steer,u33",
	  { "6: unknown user" } },
	{ "[a]\nports = 10.0.0.1:80:8080\n" WWW "[b]\nports = 80:8081\nuser = x\n",
	  "10.0.0.1:80:8080/tcp=steer,u33 80/tcp=steer,nobody",
	  { "6: unknown user" } },
	{ "[a]\nports = 80:8080\nclient-cgroup = /\nany-user = yes\n"
	  "[b]\nports = 80:8081\nclient-cgroup = /pod\nuser = x\n",
	  "80:8080/tcp=connect,any,f/ 80/tcp=connect,nobody,f/pod",
	  { "8: unknown user" } },
	{ "[a]\nports = 80:8080\nclient-cgroup = a/..\nany-user = yes\n",
	  "80/tcp=connect,nobody,f/",
	  { "3: bad cgroup" } },
	/* Of two for the same front side, the earlier counts; if it has a mistake, none does. */
	{ "[a]\nports = 80:8080\n" WWW "[b]\nports = 79-82:9079-9082\n" WWW,
	  "79/tcp=steer,nobody 80:8080/tcp=steer,u33 81-82/tcp=steer,nobody",
	  { "5: rule 79-82:9079-9082/tcp (steer, user 33) overlaps rule 80:8080/tcp" } },
	{ "[a]\nports = 80:8080\nuser = x\n[b]\nports = 79-82:9079-9082 90:9090\n" WWW,
	  "79-82/tcp=steer,nobody 90/tcp=steer,nobody",
	  { "3: unknown user", "5: rule 79-82:9079-9082/tcp overlaps 80/tcp of a section that" } },
	{ "[a]\nports = 79-82:9079-9082\n" WWW "[b]\nports = 80:8080 90:9090\nuser = x\n",
	  "79-82:9079-9082/tcp=steer,u33 90/tcp=steer,nobody",
	  { "6: unknown user" } },
	/* Which also has the consequence for a third one. */
	{ "[a]\nports = 80:8080\nuser = x\n[b]\nports = 80:8081 90:9090\n" WWW
	  "[c]\nports = 90:9091\n" WWW "[d]\nports = 91:9091\n" WWW,
	  "80/tcp=steer,nobody 90/tcp=steer,nobody 91:9091/tcp=steer,u33",
	  { "3: unknown user", "5: rule 80:8081/tcp overlaps", "8: rule 90:9090/tcp" } },
	/* What can be read of rules that are none. */
	{ "[a]\nports = 80:80a0 [2001:db8::]/32:443 0:1 x 81-82:9000/sctp # web\n" WWW,
	  "80/tcp=steer,nobody 81-82/tcp=steer,nobody "
	  "[2001:db8::]/32:443/tcp=steer,nobody",
	  { "2: '# web' after a value is not a comment", "2: bad rule '80:80a0'",
	    "2: bad rule '[2001", "2: bad rule '0:1'" } },
	{ "[a\nports = 80:8080\n" WWW "[b]\nports = 81:8081\n" WWW,
	  "80/tcp=steer,nobody 81:8081/tcp=steer,u33",
	  { "1: '[a' is not a section" } },
	{ "[a]\nports = 80:8080\nprots = 81:8081\n" WWW "[b]\nallow = 82\n" WWW,
	  "80/tcp=steer,nobody 81/tcp=steer,nobody 82/tcp=bind,u33",
	  { "3: unknown key" } },
	{ "[a]\nports = 80:8080\n" WWW "[a]\nports = 81:8081\n" WWW,
	  "80:8080/tcp=steer,u33 81/tcp=steer,nobody",
	  { "4: section [a] already exists" } },
	{ "ports = 80:8080\n[b]\nports = 81:8081\n" WWW,
	  "80/tcp=steer,nobody 81/tcp=steer,nobody 80/tcp=connect,nobody,f/ "
	  "81/tcp=connect,nobody,f/",
	  { "1: 'ports' is outside", "2: text above the first section" } },
	/* It may say whose the rules below are. */
	{ "client-cgroup = /a\n[b]\nports = 81:8081\n" WWW "[c]\nports = 82:8082\n" WWW,
	  "81/tcp=steer,nobody 82:8082/tcp=steer,u33 81/tcp=connect,nobody,f/",
	  { "1: 'client-cgroup' is outside", "2: text above the first section" } },
	{ "client-cgroup = /a\n[b]\nports = 81:8081\n" WWW "[c]\nports = 81:8082\nany-user = yes\n"
	  "client-cgroup = /a\n",
	  "81/tcp=steer,nobody 81/tcp=connect,nobody,f/ 81/tcp=connect,nobody,f/a",
	  { "1: 'client-cgroup' is outside", "2: text above the",
	    "6: rule 81:8082/tcp would take the connections" } },
	{ "from: /a\n\n# c\n[b]\nports = 81:8081\n" WWW,
	  "81/tcp=steer,nobody 81/tcp=connect,nobody,f/",
	  { "1: 'from: /a'", "4: text above the first section" } },
	/* A block is no loop, and in nobody's way. */
	{ "[a]\nports = 80:8080\n" WWW "[b]\nports = 8080:9090\nuser = x\n",
	  "80:8080/tcp=steer,u33 8080/tcp=steer,nobody",
	  { "6: unknown user" } },
	{ "[a]\nports = 443:8443/tcp\nmode = bind\n" WWW "[b]\nallow = 10.0.0.1:443\nuser = x\n",
	  "10.0.0.1:443/tcp=steer,nobody 443:8443/tcp=bind,u33",
	  { "7: unknown user" } },
	/* UDP cannot be blocked: who would answer instead does not count. */
	{ "[a]\nports = 53:5300/udp\n" WWW "[b]\nports = 10.0.0.1:53:5301/udp\nuser = x\n"
	  "[c]\nports = 53:5300/tcp 54:5301/udp\n" WWW,
	  "53:5300/tcp=steer,u33 54:5301/udp=bind,u33",
	  { "2: rule 53:5300/udp would take the connections of 10.0.0.1:53/udp of a section that has a mistake, "
	    "at f:5",
	    "6: unknown user" } },
	{ "[a]\nports = 53:127.0.0.1:5300/udp\nclient-cgroup = /a\nany-user = yes\n"
	  "[b]\nports = 53:127.0.0.2:5300/udp\nclient-cgroup = /a/b\nuser = x\n"
	  "[c]\nports = 53:127.0.0.1:5300/udp\nclient-cgroup = /a/bc\nany-user = yes\n",
	  "53:127.0.0.1:5300/udp=connect,any,f/a/bc",
	  { "2: rule 53:127.0.0.1:5300/udp would take the connections of 53/udp",
	    "8: unknown user" } },
	/* An address that cannot be read may be any. */
	{ "[a]\nports = 10.1.2.3.4:80:8081\n" WWW "[b]\nports = 80:8080 81:8080\n" WWW,
	  "80/tcp=steer,nobody 81/tcp=steer,nobody",
	  { "2: bad rule '10.1.2.3.4:80:8081'", "5: rule 80:8080/tcp overlaps 80/tcp" } },
	/* Nor can what is meant for clients that are not known. */
	{ "[a]\nports = 80:8080\nclient-cgroup = /\n" WWW
	  "[b]\nports = 80:8080\nclient-cgroup = pid:7\n" WWW "[c]\nports = 80:8080\n" WWW,
	  "80:8080/tcp=steer,u33 80/tcp=connect,nobody,f/",
	  { "2: rule 80:8080/tcp would take the connections of 80/tcp",
	    "7: cgroup pid:7: process ids are reused" } },
	/* Who has a port that a client's own rule was to lead elsewhere would answer, too. */
	{ "[a]\nports = 53:5300/udp\n" WWW
	  "[b]\nports = 53:127.0.0.2:5300/udp\nclient-cgroup = /a/b\nuser = x\n",
	  "",
	  { "2: rule 53:5300/udp would take the connections of 53/udp", "7: unknown user" } },
	/* A key that is none may be any of those that there are. */
	{ "[a]\nport = 80:8080\n 443:8443\n" WWW "[b]\nports = 10.0.0.1:80:8081 81:8081\n" WWW,
	  "10.0.0.1:80:8081/tcp=steer,u33 80/tcp=steer,nobody 81:8081/tcp=steer,u33 "
	  "443/tcp=steer,nobody",
	  { "2: unknown key 'port'" } },
	{ "[a]\nPorts = 53:5300/udp 80:8080\n" WWW "[b]\nports = 53:5301/udp 80:8081\n" WWW,
	  "80/tcp=steer,nobody",
	  { "2: unknown key 'Ports'", "5: rule 53:5301/udp would take the connections" } },
	{ "[a]\nalow = 80 443/udp\n" WWW, "80/tcp=steer,nobody", { "2: unknown key 'alow'" } },
	{ "[a]\nrules = 80:8080\nclient-cgroup = /a\nany-user = yes\n",
	  "80/tcp=connect,nobody,f/a",
	  { "2: unknown key 'rules'" } },
	{ "[a]\nports = 80:8080\nform = /a\nany-user = yes\n"
	  "[b]\nports = 80:8081 81:8081\nclient-cgroup = /\nany-user = yes\n"
	  "[c]\nports = 81:8082\nclient-cgroup = /a/b\nany-user = yes\n",
	  "80/tcp=steer,nobody 80/tcp=connect,nobody,f/ 81/tcp=connect,nobody,f/ "
	  "81:8082/tcp=connect,any,f/a/b",
	  { "3: unknown key 'form'", "6: rule 80:8081/tcp would take the connections of 80/tcp" } },
	/* Of which clients it is, may be in a key that was not understood. */
	{ "[a]\nports = 80:8080\nclient-cgrup = /a\nany-user = yes\n"
	  "[b]\nports = 81:8080\nusr = www\n",
	  "80/tcp=steer,nobody 81/tcp=steer,nobody 80/tcp=connect,nobody,f/",
	  { "3: unknown key 'client-cgrup'", "7: unknown key 'usr'" } },
	/* A line that is damaged is read as the list that it is. */
	{ "[a]\nports = 10.0.0.1:80:8080,10.0.0.2:81:8081 \x01\n" WWW
	  "[b]\nports =\n 82:x\n 83 \x01\n" WWW "[c]\nports 84:8080,85:8081\n" WWW,
	  "10.0.0.1:80/tcp=steer,nobody 10.0.0.2:81/tcp=steer,nobody 82/tcp=steer,nobody "
	  "83/tcp=steer,nobody 84/tcp=steer,nobody 85/tcp=steer,nobody "
	  "10.0.0.1:80/tcp=connect,nobody,f/ 10.0.0.2:81/tcp=connect,nobody,f/ "
	  "82/tcp=connect,nobody,f/ 83/tcp=connect,nobody,f/ 84/tcp=connect,nobody,f/ "
	  "85/tcp=connect,nobody,f/",
	  { "2: byte", "6: bad rule '82:x'", "7: byte", "10: 'ports 84" } },
	/* What is near to ports or allow is read as they are, other keys are not. */
	{ "[a]\nports = 80:8080\ndescription = ticket 22 of 2026-11-26, see https://wiki/8443\n"
	  "usr = 47101\nform = /443\nhost = 10.1.2.3\n",
	  "80/tcp=steer,nobody 80/tcp=connect,nobody,f/",
	  { "3: unknown key 'description'", "4: unknown key 'usr'", "5: unknown key 'form'",
	    "6: unknown key 'host'" } },
	{ "[a]\nprot = 443 x\nPROTS = 81:9090x\nrule = 82\nalows = 83-\n" WWW,
	  "81/tcp=steer,nobody 82/tcp=steer,nobody 83/tcp=steer,nobody 443/tcp=steer,nobody",
	  { "2: unknown key 'prot'", "3: unknown key 'PROTS'", "4: unknown key 'rule'",
	    "5: unknown key 'alows'" } },
	{ "[a]\nports = 80:8080\nforward = 81:8081 [::1]:82:8082/tcp 443/tcp 444 # 83:8083\n" WWW
	  " 84:8084 85\n",
	  "80/tcp=steer,nobody 81/tcp=steer,nobody [::1]:82/tcp=steer,nobody 84/tcp=steer,nobody "
	  "443/tcp=steer,nobody 80/tcp=connect,nobody,f/ 81/tcp=connect,nobody,f/ "
	  "[::1]:82/tcp=connect,nobody,f/ 84/tcp=connect,nobody,f/ 443/tcp=connect,nobody,f/",
	  { "3: unknown key 'forward'", "5: user takes one value" } },
	{ "[a]\nports = 80:8080\nclient-cgroup = /a\nusr = www\n",
	  "80/tcp=connect,nobody,f/a",
	  { "4: unknown key 'usr'" } },
	/* A key that is there twice: or is it another section's? */
	{ "[a]\nports = 80:8080\nclient-cgroup = /a\nclient-cgroup = /b\nany-user = yes\n"
	  "[b]\nports = 80:8081\nclient-cgroup = /b\nany-user = yes\n[c]\nports = 80:8082\n" WWW,
	  "80:8082/tcp=steer,u33 80/tcp=connect,nobody,f/ 80/tcp=connect,nobody,f/b",
	  { "4: client-cgroup is already set",
	    "7: rule 80:8081/tcp would take the connections of 80/tcp" } },
	{ "[a]\nports = 80:8080\nports =\n 81:8081\n 82:8082/udp\n" WWW
	  "[b]\nports = 82:8083/udp\n" WWW,
	  "80/tcp=steer,nobody 81/tcp=steer,nobody 80/tcp=connect,nobody,f/ "
	  "81/tcp=connect,nobody,f/",
	  { "3: ports is already set", "8: rule 82:8083/udp would take the connections" } },
	{ "[a]\nports = 80:8080\n" WWW "#[b]\nallow = 81\nclient-cgroup = /b\nuser = 7\n",
	  "80/tcp=steer,nobody 81/tcp=steer,nobody 80/tcp=connect,nobody,f/ "
	  "81/tcp=connect,nobody,f/",
	  { "6: client-cgroup applies to ports only", "7: user is already set" } },
	/* Lines that were not understood. */
	{ "[a]\nports: 80:8080\nallow:81\nports 82:8082\n83:8083\n" WWW,
	  "80/tcp=steer,nobody 81/tcp=steer,nobody 82/tcp=steer,nobody 83/tcp=steer,nobody "
	  "80/tcp=connect,nobody,f/ 81/tcp=connect,nobody,f/ 82/tcp=connect,nobody,f/ "
	  "83/tcp=connect,nobody,f/",
	  { "2: 'ports: 80:8080': neither a key", "3: 'allow:81'", "4: 'ports 82:8082'",
	    "5: '83:8083'" } },
	{ "[a]\n ports=80:8080\n" WWW " ports = 81:8081\n",
	  "80/tcp=steer,nobody 81/tcp=steer,nobody 80/tcp=connect,nobody,f/ "
	  "81/tcp=connect,nobody,f/",
	  { "2: 'ports=80:8080': a key must start", "4: user takes one value" } },
	{ "[a]\nports = 80:8080 \x01 81:8081\n" WWW "cgroup = a\n b\n",
	  "80/tcp=steer,nobody 81/tcp=steer,nobody 80/tcp=connect,nobody,f/ "
	  "81/tcp=connect,nobody,f/",
	  { "2: byte 17 of the line", "5: cgroup takes one value" } },
	{ "[a]\nports = 80:8080\n client-cgroup = /a\nany-user = yes\n"
	  "[b]\nports = 80:8081\nclient-cgroup = /\nany-user = yes\n",
	  "80/tcp=steer,nobody 80/tcp=connect,nobody,f/",
	  { "3: bad rule 'client-cgroup'", "3: bad rule '='", "3: bad rule '/a'",
	    "6: rule 80:8081/tcp" } },
	/* The names of sections. */
	{ "[a 80:8080\n" WWW,
	  "80/tcp=steer,nobody 80/tcp=connect,nobody,f/",
	  { "1: '[a 80:8080' is not a section" } },
	{ "[a]\nports = 79:8079\n" WWW "[b] ports = 80:8080\n" WWW,
	  "79:8079/tcp=steer,u33 80/tcp=steer,nobody 80/tcp=connect,nobody,f/",
	  { "4: '[b] ports = 80:8080' is not a section" } },
	{ "[a]\nuser = www\nports = 79:8079\n[2001:db8::]/32:443:8443\nclient-cgroup = /a\n",
	  "79/tcp=steer,nobody [2001:db8::]/32:443/tcp=steer,nobody 79/tcp=connect,nobody,f/ "
	  "[2001:db8::]/32:443/tcp=connect,nobody,f/",
	  { "4: '[2001:db8::]/32:443:8443' is not a section" } },
	{ "[a]\nports = 79:8079\n" WWW "b]\nports = 80:8080\nclient-cgroup = /b\nuser = 5\n",
	  "79/tcp=steer,nobody 80/tcp=steer,nobody 79/tcp=connect,nobody,f/ "
	  "80/tcp=connect,nobody,f/",
	  { "4: 'b]': neither a key nor a section", "5: ports is already set",
	    "7: user is already set" } },
	{ "[a]\nports = 79:8079\n [b]\nclient-cgroup = /b\nany-user = yes\n",
	  "79/tcp=steer,nobody 79/tcp=connect,nobody,f/ 79/tcp=connect,nobody,f/b",
	  { "3: bad rule '[b]'" } },
	/* Who is meant by a section whose keys contradict each other? */
	{ "[a]\nports = 80:8080\nmode = connect\n" WWW,
	  "80/tcp=steer,nobody 80/tcp=connect,nobody,f/",
	  { "2: rule 80:8080/tcp: connect mode needs" } },
	{ "[a]\nports = 80:8080\nmode = bind\nclient-cgroup = /a\n" WWW,
	  "80/tcp=steer,nobody 80/tcp=connect,nobody,f/",
	  { "2: rule 80:8080/tcp: client-cgroup is" } },
	{ "[a]\nallow = 80\nports = 81:8081\nclient-cgroup = /a\n" WWW,
	  "80/tcp=steer,nobody 81/tcp=steer,nobody 80/tcp=connect,nobody,f/ "
	  "81/tcp=connect,nobody,f/",
	  { "4: client-cgroup applies to ports only" } },
	/* Rules that are none: any port in them. */
	{ "[a]\nports = \"80:8080 81:8081\" 82:8082,83\n" WWW,
	  "80/tcp=steer,nobody 81/tcp=steer,nobody 82/tcp=steer,nobody 83/tcp=steer,nobody",
	  { "2: bad rule '\"80:8080'", "2: bad rule '81:8081\"'", "2: bad rule '82:8082,83'" } },
	{ "[a]\nallow = 80,443 90-89 091 92->8092\n" WWW,
	  "80/tcp=steer,nobody 89-90/tcp=steer,nobody 91/tcp=steer,nobody 92/tcp=steer,nobody "
	  "443/tcp=steer,nobody 8092/tcp=steer,nobody",
	  { "2: bad rule '80,443'", "2: bad rule '90-89'", "2: bad rule '091'",
	    "2: bad rule '92->8092'" } },
	{ "[a]\nports = 2001:db8::5:443:8443\n" WWW,
	  "5/tcp=steer,nobody 443/tcp=steer,nobody 2001/tcp=steer,nobody",
	  { "2: bad rule '2001:" } },
	{ "[a]\nports = 53:5300/UDP\n" WWW "[b]\nports = 53:5301/udp 54:5302/udp\n" WWW
	  "[c]\nports = 55:5303/udp\n" WWW,
	  "53/tcp=steer,nobody 55:5303/udp=bind,u33",
	  { "2: bad rule '53:5300/UDP'", "5: rule 53:5301/udp would take the connections" } },
	{ "[a]\nports = 80:8080 # 81:8081\n" WWW,
	  "80/tcp=steer,nobody",
	  { "2: '# 81:8081' after a value is not a comment" } },
	/* Of an address all ports, if none can be read. */
	{ "[a]\nports = 10.1.2.3:*:8080 10.1.2.4:80-:8080- 90-:8090-\n" WWW,
	  "10.1.2.3:1-65535/tcp=steer,nobody 10.1.2.4:80/tcp=steer,nobody 90/tcp=steer,nobody",
	  { "2: bad rule '10.1.2.3:*:8080': '*' is not a port; use a number from 1 to 65535",
	    "2: bad rule '10.1.2.4:80-:8080-'", "2: bad rule '90-:8090-'" } },
	{ "[a]\nports = 0x50:8080 http:8080 80:8080 \\\n443:8443\n" WWW,
	  "80/tcp=steer,nobody 443/tcp=steer,nobody 80/tcp=connect,nobody,f/ "
	  "443/tcp=connect,nobody,f/",
	  { "2: bad rule '0x50:8080': '0x50' is not a port; use a number from 1 to 65535; its front "
	    "side cannot be read, so its ports do not refuse connections",
	    "2: bad rule 'http:8080'", "2: bad rule '\\'", "3: '443:8443': neither a key" } },
};

static void test_parts(void **state)
{
	char text[8192], *line, *save;

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(parts); i++) {
		struct ps_config config = { .list.resolver = &resolver, .keep_going = true };
		size_t n = 0;

		ROW("%s", parts[i].text);
		CHECK_EQ(parse(&config, "f", parts[i].text, strlen(parts[i].text)), 0);
		outcome(&config, text, sizeof(text));
		line = strtok_r(text, "\n", &save);
		if (*parts[i].rules) {
			CHECK_STR(line ? line : "", parts[i].rules);
			line = strtok_r(NULL, "\n", &save);
		}
		for (; line; line = strtok_r(NULL, "\n", &save), n++) {
			if (n < PS_ARRAY_SIZE(parts[i].mistakes) && parts[i].mistakes[n])
				CHECK_MSG(!strncmp(line + 2, parts[i].mistakes[n],
						   strlen(parts[i].mistakes[n])),
					  "mistake %zu is \"%s\"", n, line);
			else
				CHECK_MSG(n >= 4, "mistake %zu is \"%s\"", n, line);
		}
		CHECK(n >= PS_ARRAY_SIZE(parts[i].mistakes) || !parts[i].mistakes[n]);
		ps_config_clear(&config);
	}
}

static void check_part(const char *text, size_t size, const char *wanted)
{
	struct ps_config config = { .list.resolver = &resolver, .keep_going = true };
	char got[8192];

	CHECK_EQ(parse(&config, "f", text, size), 0);
	outcome(&config, got, sizeof(got));
	CHECK_MSG(!strncmp(got, wanted, strlen(wanted)), "\"%.200s\"", got);
	ps_config_clear(&config);
}

/* What no table can show: lines too long, words too long, no text at all. */
static void test_odd_parts(void **state)
{
	static const char nul[] = "[a]\nports = 80:8080\n" WWW "[b]\nports = 81:8081 \0 82:8082\n"
				  "\0\0\n83:8083\n[c]\nclient-cgroup = /a\nallow = 84\n# \0 85";
	static const char outside[] = "80:8080\n\0";
	static char text[PS_CONFIG_LINE + 20000];

	(void)state;
	ROW("a line too long");
	memset(text, ' ', sizeof(text));
	memcpy(text, "[a]\nports = 80:8080", 19);
	strcpy(text + PS_CONFIG_LINE, "443:8443\n" WWW "[b]\nports = 443:8444\n" WWW);
	check_part(text, strlen(text),
		   "80/tcp=steer,nobody 443/tcp=steer,nobody 80/tcp=connect,nobody,f/ "
		   "443/tcp=connect,nobody,f/\nf:2: the line is longer than 65536 bytes");
	ROW("a word too long");
	strcpy(text, "[a]\nports = ");
	for (int i = 1; i < 60; i++)
		sprintf(text + strlen(text), "%d:8080,", i);
	strcat(text, "\n" WWW);
	check_part(text, strlen(text), "1/tcp=steer,nobody 2/tcp=steer,nobody 3/tcp=");
	ROW("NUL");
	check_part(nul, sizeof(nul) - 1,
		   "80/tcp=steer,nobody 81/tcp=steer,nobody 82/tcp=steer,nobody "
		   "83/tcp=steer,nobody 84/tcp=steer,nobody 80/tcp=connect,nobody,f/ "
		   "81/tcp=connect,nobody,f/ 82/tcp=connect,nobody,f/ 83/tcp=connect,nobody,f/ "
		   "84/tcp=connect,nobody,f/\nf:5: the file contains a NUL byte");
	check_part(outside, sizeof(outside) - 1,
		   "80/tcp=steer,nobody 80/tcp=connect,nobody,f/\nf:2: the file contains a NUL byte");
}

/* More mistakes than are told, and too many conflicts to go on. */
static void test_many_parts(void **state)
{
	struct ps_config config = { .list.resolver = &resolver, .keep_going = true };
	struct ps_ruleset rules = {};
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	ROW("more mistakes than are told");
	for (int i = 0; i < 300; i++)
		fprintf(out, "[s%d]\nports = %d:8080\nuser = x\n", i, i + 1);
	fputs("[good]\nports = 1000:8080\nuser = 1\n[no]\nports = 1001:8080\nuser = x\n", out);
	fclose(out);
	CHECK_EQ(parse(&config, "f", text, size), 0);
	CHECK_EQ(ps_config_finish(&config, &rules), -EINVAL);
	CHECK_EQ(config.mistake_count, PS_CONFIG_MISTAKES);
	CHECK(config.more && config.partial);
	CHECK_EQ(rules.count, 302);
	for (size_t i = 0; i < rules.count; i++)
		CHECK_EQ(ps_rule_is_block(&rules.rules[i]), rules.rules[i].front != 1000);
	ps_ruleset_clear(&rules);
	ps_config_clear(&config);
	free(text);
	ROW("too many conflicts");
	config = (struct ps_config){ .list.resolver = &resolver, .keep_going = true };
	out = open_memstream(&text, &size);
	for (int i = 0; i < 300; i++)
		fprintf(out, "[s%d]\nports = 80:%d\nuser = 1\n", i, i + 8080);
	fclose(out);
	CHECK_EQ(parse(&config, "f", text, size), 0);
	CHECK_EQ(ps_config_finish(&config, &rules), -EINVAL);
	CHECK(!config.partial && !rules.count);
	ps_config_clear(&config);
	free(text);
}

static void check_utf8(const char *text)
{
	uint32_t code;

	for (size_t length; *text; text += length) {
		length = ps_utf8_read(text, &code);
		CHECK_MSG(length, "no UTF-8: %.40s", text);
	}
}

/* Rules of such long names that the message has no room for all of both: what is cut is cut
 * between characters, and where the other one is follows. */
static void test_long_clash(void **state)
{
	char text[1500], name[70] = "b", odd[256] = "";

	(void)state;
	for (int i = 0; i < 30; i++)
		strcat(name, "\xc3\xa4");
	for (int i = 0; i < 60; i++) {
		struct ps_config config = { .list.resolver = &resolver };
		struct ps_ruleset rules = {};

		ROW("%d bytes that are no UTF-8", i);
		/* A message has the later rule second. */
		snprintf(text, sizeof(text),
			 "[a]\nports = 80:8080\nclient-cgroup = \"/%s\"\ncgroup = \"/%s\"\n"
			 "[b]\nports = 80:8081\nclient-cgroup = \"/%s\"\ncgroup = \"/%s\"\n",
			 odd, odd, odd, name);
		strcat(odd, "\\xff");
		CHECK_EQ(parse(&config, "f", text, strlen(text)), 0);
		CHECK_EQ(ps_config_finish(&config, &rules), -EINVAL);
		CHECK_EQ(config.mistake_count, 1);
		check_utf8(config.mistakes[0].error.message);
		CHECK(strstr(config.mistakes[0].error.message, " (rule 80:8080/tcp is at f:2)"));
		ps_ruleset_clear(&rules);
		ps_config_clear(&config);
	}
}

/* A text so many times, with a number for each @, and half an address for each ^. */
static char *times(size_t count, const char *format, const char *end)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (uint32_t i = 0; i < count; i++) {
		for (const char *c = format; *c; c++) {
			if (*c == '@')
				fprintf(out, "%u", i + 1);
			else if (*c == '^')
				fprintf(out, "%u.%u", i >> 8 & 255, i & 255);
			else
				fputc(*c, out);
		}
	}
	fputs(end, out);
	fclose(out);
	return text;
}

/* It must not take long. It is the time of the processor that counts, as others use it, too. */
static void check_large(char *text, const char *wanted, size_t rules)
{
	struct ps_config config = { .list.resolver = &resolver, .keep_going = true };
	static const struct itimerval most = { .it_value.tv_sec = 20 * UNIT_SLOW }, none = {};
	static const char good[] = "[good]\nports = 1:8080\n" WWW;
	struct ps_ruleset set = {};
	char got[1500];

	setitimer(ITIMER_VIRTUAL, &most, NULL);
	CHECK_EQ(parse(&config, "good", good, strlen(good)), 0);
	CHECK_EQ(parse(&config, "f", text, strlen(text)), 0);
	CHECK_EQ(ps_config_finish(&config, &set), -EINVAL);
	setitimer(ITIMER_VIRTUAL, &none, NULL);
	ps_mistake_text(&config, config.mistakes, got, sizeof(got));
	CHECK_MSG(!strncmp(got, wanted, strlen(wanted)), "\"%s\"", got);
	CHECK(config.partial);
	CHECK_EQ(set.count, rules);
	ps_ruleset_clear(&set);
	ps_config_clear(&config);
	free(text);
}

/* What is no configuration at all, and very many front sides. */
static void test_large_parts(void **state)
{
	static const char much[] = "f: the file has more than 4096 words that cannot be";
	static const char many[] = "f: the file has more than 65536 words between commas that";
	static const char list[] = "[s@]\nports = 10.0.^:80-:x\n" WWW;
#define PARTS4 ",10.0.^:80-:x,10.0.^:80-:x,10.0.^:80-:x,10.0.^:80-:x"
	/* 32 parts */
	static const char commas[] =
		"[s@]\nports = 10.0.^:80-:x" PARTS4 PARTS4 PARTS4 PARTS4 PARTS4 PARTS4 PARTS4
		",10.0.^:80-:x,10.0.^:80-:x,10.0.^:80-:x\n" WWW;

	(void)state;
	ROW("a log");
	check_large(times(50000, "Nov 26 12:34:56 host app[@]: 10.0.^:80:8080 is 443/tcp\n", ""),
		    much, 1);
	ROW("a log as a list");
	check_large(times(50000, " @ 10.0.^:1-65535:x\n", "[a]\nports = 2:8080\n" WWW), much, 1);
	ROW("lists");
	check_large(times(50000, list, ""), much, 1);
	ROW("no more than are kept");
	check_large(times(PS_CONFIG_UNKNOWN, list, ""), "f:2: bad", 1 + PS_CONFIG_UNKNOWN);
	ROW("one more");
	check_large(times(PS_CONFIG_UNKNOWN + 1, list, ""), much, 1);
	ROW("parts of words, no more than are tried");
	check_large(times(PS_CONFIG_GUESSES / 32, commas, ""), "f:2: bad",
		    1 + PS_CONFIG_GUESSES / 32);
	ROW("one more");
	check_large(times(PS_CONFIG_GUESSES / 32, commas, "[last]\nports = 80:x\n" WWW), many, 1);
	ROW("words of very many parts");
	check_large(times(PS_CONFIG_UNKNOWN / 4,
			  "[s@]\nports = 1-:" PARTS4 PARTS4 PARTS4 PARTS4 PARTS4 PARTS4 PARTS4
				  PARTS4 PARTS4 PARTS4 PARTS4 PARTS4 PARTS4 PARTS4 PARTS4 PARTS4
					  PARTS4 PARTS4 PARTS4 PARTS4 "\n" WWW,
			  ""),
		    many, 1);
	ROW("sections with and without a mistake");
	check_large(times(25000,
			  "[s@]\nports = 10.0.^:443:8443\nuser = x\n"
			  "[t@]\nports = 10.1.^:443:8443\nuser = 5\n",
			  ""),
		    "f:3: unknown user", 1 + 50000);
	ROW("UDP, for the clients of a cgroup each");
	check_large(
		times(25000,
		      "[s@]\nports = 1-60000:127.0.0.1:1-60000/udp\nclient-cgroup = /a/^\nuser = x\n"
		      "[t@]\nports = 10.1.^:@:127.0.0.1:5353/udp\nclient-cgroup = /b\nany-user = yes\n",
		      ""),
		"f:4: unknown user", 1 + 25000);
	ROW("clients that are not known");
	check_large(times(25000,
			  "[s@]\nports = 10.0.^:@:8080\nmode = connect\nuser = x\n"
			  "[t@]\nports = 10.1.^:@:8080\nclient-cgroup = /b\nuser = 5\n",
			  ""),
		    "f:4: unknown user", 1 + 75000);
}

static struct ps_rule random_side(void)
{
	static const char *const prefixes[] = { "",	     "10.0.0.0/8:", "10.1.0.0/16:",
						"10.1.2.3:", "0.0.0.0/0:",  "[2001:db8::]/32:",
						"[::]/0:" };
	static const char *const scopes[] = {
		NULL, "/", "/a", "/a/b", "/a-b", "/ab", "/b", "/a/b/c"
	};
	char text[64];
	struct ps_rule side;

	snprintf(text, sizeof(text), "%s1/%s", prefixes[rnd(PS_ARRAY_SIZE(prefixes))],
		 rnd(2) ? "tcp" : "udp");
	CHECK_EQ(ps_rule_parse_grant(text, &side, NULL), 0);
	side.front = (uint16_t)(1 + rnd(40));
	side.front_last = (uint16_t)(side.front + rnd(3));
	side.scope = (char *)scopes[rnd(PS_ARRAY_SIZE(scopes))];
	return side;
}

/* One by one. */
static bool would_answer(const struct ps_rule *rule, const struct ps_config_front *front)
{
	const struct ps_rule *lost = &front->rule;
	size_t length = rule->scope ? strlen(rule->scope) : 0;

	if (rule->proto != lost->proto || rule->front > lost->front_last ||
	    lost->front > rule->front_last || !ps_prefix_meets(&rule->prefix, &lost->prefix))
		return false;
	if (!rule->scope || front->vague)
		return true;
	return lost->scope && (length == 1 || (!strncmp(lost->scope, rule->scope, length) &&
					       strchr("/", lost->scope[length])));
}

static void test_front_tree(void **state)
{
	size_t found = 0, missing = 0;

	(void)state;
	unit_seed = 23;
	for (int n = 0; n < 4000 / UNIT_SLOW; n++) {
		struct ps_config_front fronts[40] = {};
		struct ps_front_tree tree = {};
		size_t count = rnd(PS_ARRAY_SIZE(fronts));

		ROW("round %d", n);
		for (size_t i = 0; i < count; i++) {
			fronts[i].rule = random_side();
			fronts[i].vague = fronts[i].rule.scope && !fronts[i].rule.scope[1];
		}
		CHECK_EQ(ps_front_tree_build(&tree, fronts, count), 0);
		for (int i = 0; i < 20; i++) {
			struct ps_rule rule = random_side();
			const struct ps_config_front *front = ps_front_tree_find(&tree, &rule);
			bool any = false;

			for (size_t k = 0; k < count; k++)
				any |= would_answer(&rule, &fronts[k]);
			CHECK_EQ(front != NULL, any);
			CHECK(!front || would_answer(&rule, front));
			found += any;
			missing += !any;
		}
		ps_front_tree_clear(&tree);
	}
	CHECK(found > 1000 / UNIT_SLOW && missing > 1000 / UNIT_SLOW);
}

/* In several files: both are named, whichever comes first. */
static void test_files(void **state)
{
	static const char one[] = "[a]\nports = 80:8080\nuser = 1\n";
	static const char two[] = "# two\n[a]\nports = 80:8080 81:8081\nuser = 1\n";
	static const char three[] = "[c]\nports = 79-90:7079-7090\nuser = 1\n";
	struct ps_config config = { .list.resolver = &resolver };
	char text[4096];

	(void)state;
	ROW("files");
	CHECK_EQ(parse(&config, "/etc/\x1b one", one, strlen(one)), 0);
	CHECK_EQ(parse(&config, "two", two, strlen(two)), 0);
	CHECK_EQ(parse(&config, "three", three, strlen(three)), 0);
	outcome(&config, text, sizeof(text));
	CHECK_STR(text,
		  "two:2: section [a] already exists at /etc/\\x1b one:1; use another name\n"
		  "two:3: rule 80:8080/tcp already exists at /etc/\\x1b one:2; delete one of "
		  "them\n"
		  "three:2: rule 79-90:7079-7090/tcp (steer, user 1) overlaps rule 80:8080/tcp "
		  "(steer, user 1): both answer for the same address and port; delete one or change its ports (rule 80:8080/tcp is at "
		  "/etc/\\x1b one:2)");
	ps_config_clear(&config);
}

/* A text of this size, which begins and ends so. */
static char *padded(const char *begin, char fill, size_t size, const char *end)
{
	size_t used = strlen(begin), tail = strlen(end);
	char *text = malloc(used + size + tail + 1);

	CHECK(text);
	memcpy(text, begin, used);
	memset(text + used, fill, size);
	strcpy(text + used + size, end);
	return text;
}

static void check_text(char *text, size_t size, const char *wanted)
{
	struct ps_config config = { .list.resolver = &resolver };
	char got[8192];

	CHECK_EQ(parse(&config, "f", text, size), 0);
	outcome(&config, got, sizeof(got));
	CHECK_MSG(!strncmp(got, wanted, strlen(wanted)) && (*wanted || !*got), "\"%.200s\"", got);
	ps_config_clear(&config);
	free(text);
}

/* Nothing is cut silently. */
static void test_lengths(void **state)
{
	static const char after[] = "80:8080\n" WWW;
	char *text;

	(void)state;
	ROW("the longest line");
	text = padded("[a]\nports =", ' ', PS_CONFIG_LINE - 7 - 7, after);
	check_text(text, strlen(text), "80:8080/tcp=steer,u33");
	ROW("a line too long");
	text = padded("[a]\nports =", ' ', PS_CONFIG_LINE - 7 - 6, after);
	check_text(text, strlen(text), "f:2: the line is longer than 65536 bytes");
	ROW("a comment may be longer");
	text = padded("#", 'x', 100000, "\n[a]\nports = 80:8080\n" WWW);
	check_text(text, strlen(text), "80:8080/tcp=steer,u33");
	ROW("blanks too");
	text = padded("[a]\nports = 80:8080", ' ', 100000, "\n" WWW);
	check_text(text, strlen(text), "80:8080/tcp=steer,u33");
	ROW("a name of 64 bytes");
	text = padded("[", 'n', 64, "]\nports = 80:8080\n" WWW);
	check_text(text, strlen(text), "80:8080/tcp=steer,u33");
	ROW("a name of 65 bytes");
	text = padded("[", 'n', 65, "]\nports = 80:8080\n" WWW);
	check_text(text, strlen(text), "f:1: a section name has 1 to 64 bytes, not 65");
	ROW("a key of 60 bytes");
	text = padded("[a]\nports = 80:8080\n" WWW, 'k', 60, " = 3\n");
	check_text(text, strlen(text),
		   "f:4: unknown key 'kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
		   "kkkkkkkkkkkkkkkkkk'");
	ROW("two names that agree in 50 bytes");
	text = padded("[", 'n', 50, "1]\nports = 80:8080\nuser = 1\n");
	text = realloc(text, 4096);
	CHECK(text);
	strcat(text,
	       "[nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn2]\nports = 81:8081\nuser=1");
	check_text(text, strlen(text), "80:8080/tcp=steer,u1 81:8081/tcp=steer,u1");
	ROW("NUL");
	text = padded("[a]\nports = 80:8080\n" WWW "\n#", '\0', 1, "\n");
	check_text(text, strlen(text) + 2, "f:5: the file contains a NUL byte");
}

/* Very many mistakes: the first ones are told, and that there are more. */
static void test_many_mistakes(void **state)
{
	struct ps_config config = { .list.resolver = &resolver };
	char *text = padded("", 'x', 1, "");
	struct ps_ruleset rules;

	(void)state;
	ROW("many");
	free(text);
	text = malloc(4000001);
	CHECK(text);
	for (size_t i = 0; i < 2000000; i++)
		memcpy(text + 2 * i, "x\n", 2);
	CHECK_EQ(parse(&config, "f", text, 4000000), 0);
	CHECK_EQ(ps_config_finish(&config, &rules), -EINVAL);
	CHECK_EQ(config.mistake_count, PS_CONFIG_MISTAKES);
	CHECK(config.more);
	CHECK_EQ(config.mistakes[99].place.line, 100);
	ps_config_clear(&config);
	free(text);
}

/* --- Writing --- */

/* A name with anything that may be in it. */
static char *random_text(size_t most, bool path)
{
	static const char some[] = "ab \"\\;#=:[]'x0\xc3\xbc\xff\x80-./";
	size_t length = 1 + rnd((uint32_t)most);
	char *text = calloc(1, length + 2);

	CHECK(text);
	for (size_t i = 0; i < length; i++) {
		do
			text[i] = some[rnd(sizeof(some) - 1)];
		while (!path && (text[i] & 0x80));
	}
	return text;
}

static void random_owner(struct ps_rule *rule)
{
	static const char *const fixed[] = { "pid:7/x", "unit:a.service", "container:ab", "sys/fs",
					     "sys/fs/cgroup/a" };
	char *text = rnd(3) ? random_text(20, true) : strdup(fixed[rnd(PS_ARRAY_SIZE(fixed))]);

	switch (rnd(4)) {
	case 0:
		rule->owner.flags = PS_OWNER_ANY;
		break;
	case 1:
		rule->owner = (struct ps_owner_spec){ PS_OWNER_USER, 30 + rnd(6), NULL };
		break;
	default:
		rule->owner.flags = PS_OWNER_CGROUP | (rnd(2) ? PS_OWNER_USER : 0);
		rule->owner.uid = 30 + rnd(6);
		if (ps_cgroup_normalise(text, &rule->owner.cgroup, NULL))
			rule->owner.cgroup = strdup("/a");
	}
	free(text);
}

static void random_address(struct ps_rule *rule)
{
	static const char *const fronts[] = { "10.0.0.0/8:1:2000", "[2001:db8::]/32:1:2000",
					      "10.1.2.3:1:2000", "0.0.0.0/0:1:2000" };
	struct ps_rule other = rule_of(fronts[rnd(PS_ARRAY_SIZE(fronts))], "");

	if (!rnd(3))
		rule->prefix = other.prefix;
	if (rule->mode != PS_MODE_CONNECT || rnd(2))
		return;
	rule->to.family = rule->prefix.family ? rule->prefix.family : 4;
	rule->to.addr[0] = 127;
	rule->to.addr[3] = 1;
}

static struct ps_rule random_rule(void)
{
	uint16_t front = (uint16_t)(1 + rnd(1000)), extra = (uint16_t)(rnd(3) ? 0 : rnd(5));
	struct ps_rule rule = plain_rule(front, (uint16_t)(2000 + rnd(2000)), 0);
	char *text;

	rule.proto = rnd(3) ? IPPROTO_TCP : IPPROTO_UDP;
	rule.front_last = front + extra;
	rule.mode = (enum ps_mode)rnd(3);
	if (rule.mode == PS_MODE_BIND && rnd(2))
		rule.target = front;
	random_owner(&rule);
	random_address(&rule);
	if (rule.mode == PS_MODE_CONNECT) {
		text = random_text(12, true);
		if (ps_cgroup_normalise(text, &rule.scope, NULL))
			rule.scope = strdup("/");
		free(text);
	}
	if (rule.mode != PS_MODE_BIND && !ps_rule_is_fixed(&rule) && rnd(2))
		rule.if_down = PS_DOWN_PASS;
	if (rnd(2)) {
		text = rnd(2) ? random_text(12, false) : strdup(rnd(2) ? "web" : "rules-1");
		rule.name = text;
	}
	return rule;
}

static void round_trip(const struct ps_ruleset *rules)
{
	struct ps_config config = { .list.resolver = &resolver };
	struct ps_ruleset again = {};
	char *text, *twice, got[2000] = "";
	size_t size, twice_size;

	CHECK_EQ(ps_config_write(rules, user_name, &text, &size), 0);
	CHECK_EQ(strlen(text), size);
	CHECK_EQ(parse(&config, "f", text, size), 0);
	if (ps_config_finish(&config, &again))
		ps_mistake_text(&config, config.mistakes, got, sizeof(got));
	CHECK_MSG(!*got, "%s\n%s", got, text);
	check_same_set(rules, &again);
	CHECK_EQ(ps_config_write(&again, user_name, &twice, &twice_size), 0);
	CHECK_STR(text, twice);
	ps_ruleset_clear(&again);
	ps_config_clear(&config);
	free(text);
	free(twice);
}

static void test_round_trip(void **state)
{
	size_t rules_seen = 0, modes[3] = {};

	(void)state;
	unit_seed = 5;
	for (int n = 0; n < 400 / UNIT_SLOW; n++) {
		struct ps_ruleset rules = {};

		ROW("round %d", n);
		for (uint32_t i = rnd(60); i; i--) {
			struct ps_rule rule = random_rule();

			/* Many are refused. */
			if (!ps_ruleset_add(&rules, &rule, 1, NULL))
				modes[rule.mode]++;
			ps_rule_clear(&rule);
		}
		rules_seen += rules.count;
		round_trip(&rules);
		ps_ruleset_clear(&rules);
	}
	CHECK(rules_seen > 2000 / UNIT_SLOW && modes[0] && modes[1] && modes[2]);
}

static void test_written(void **state)
{
	struct ps_ruleset rules = {};
	size_t size;
	char *text;

	(void)state;
	ROW("what it looks like");
	must_add(&rules, "80:8080", "u33 n=web");
	must_add(&rules, "443:8443", "u33 n=web");
	must_add(&rules, "53:5353/udp", "bind u33 n=web");
	must_add(&rules, "81:8081", "u5 n=web");
	must_add(&rules, "22", "grant u7");
	must_add(&rules, "82:8082",
		 "bind c/a\xff"
		 "b");
	must_add(&rules, "80:8080", "any f/pod pass");
	CHECK_EQ(ps_config_write(&rules, user_name, &text, &size), 0);
	CHECK_STR(text,
		  "# Written by 'portsteer save'; see portsteer.conf(5).\n"
		  "\n[rules-1]\ncgroup = \"a\\xffb\"\nmode = bind\nports = 82:8082/tcp\n"
		  "\n[rules-2]\nuser = 7\nallow = 22/tcp\n"
		  "\n[rules-3]\nclient-cgroup = pod\nany-user = yes\nif-down = pass\nports = 80:8080/tcp\n"
		  "\n[web]\nuser = 5\nname = web\nports = 81:8081/tcp\n"
		  "\n[rules-5]\nuser = www\nname = web\n"
		  "ports = 80:8080/tcp 443:8443/tcp 53:5353/udp\n");
	free(text);
	ps_ruleset_clear(&rules);
}

/* --- Anything at all --- */

static const char sample[] = "# c\n[web]\nports = 80:8080 443:8443\n   [::1]:90:9090\nuser = www\n"
			     "cgroup = \"a\\xff b\"\nif-down = pass\nname = x y\n; c\r\n\r\n"
			     "[ssh]\nallow = 22/tcp\nany-user = yes\n[pod]\nclient-cgroup = /pod\n"
			     "ports = 80:10.0.0.1:80/udp\nany-user = yes\nmode = connect\n";

static size_t mutate(char *text, size_t size, size_t room)
{
	static const char some[] = "[]=\n\r\t \"\\;#:/x0\xff-";
	size_t at = rnd((uint32_t)size), length = 1 + rnd(9);

	switch (rnd(5)) {
	case 0:
		text[at] = (char)rnd(256);
		return size;
	case 1:
		text[at] = some[rnd(sizeof(some))];
		return size;
	case 2: /* a piece goes */
		length = length > size - at ? size - at : length;
		memmove(text + at, text + at + length, size - at - length);
		return size - length > 0 ? size - length : size;
	case 3: /* a piece is doubled */
		length = length > size - at ? size - at : length;
		if (size + length > room)
			return size;
		memmove(text + at + length, text + at, size - at);
		return size + length;
	default:
		return rnd(20) ? size : at + 1;
	}
}

/* What is read is a ruleset that can be written and read again, or a list of mistakes. */
static void test_any_text(void **state)
{
	size_t good = 0, bad = 0;

	(void)state;
	unit_seed = 17;
	for (int n = 0; n < 20000 / UNIT_SLOW; n++) {
		struct ps_config config = { .list.resolver = &resolver, .keep_going = n & 1 };
		struct ps_ruleset rules = {};
		char buffer[1024], *text;
		size_t size = sizeof(sample) - 1;

		ROW("text %d", n);
		memcpy(buffer, sample, size);
		for (uint32_t i = rnd(6); i; i--)
			size = mutate(buffer, size, sizeof(buffer));
		/* Of the exact size, so that reading beyond it is seen. */
		text = malloc(size);
		CHECK(text);
		memcpy(text, buffer, size);
		CHECK_EQ(parse(&config, "f", text, size), 0);
		if (ps_config_finish(&config, &rules)) {
			CHECK(config.mistake_count);
			for (size_t i = 0; i < config.mistake_count; i++)
				check_message(&config.mistakes[i].error);
			bad++;
		} else {
			round_trip(&rules);
			good++;
		}
		ps_ruleset_clear(&rules);
		ps_config_clear(&config);
		free(text);
	}
	CHECK(good > 1000 / UNIT_SLOW && bad > 1000 / UNIT_SLOW);
}

/* --- Without memory --- */

#if UNIT_CAN_FAIL
static int read_sample(void *data)
{
	struct ps_config config = { .list.resolver = &resolver, .keep_going = true };
	struct ps_ruleset rules = {};
	const char *text = data;
	int ret = parse(&config, "f", text, strlen(text));

	if (!ret)
		ret = ps_config_finish(&config, &rules);
	ps_ruleset_clear(&rules);
	ps_config_clear(&config);
	return ret == -EINVAL ? 0 : ret;
}

static void test_no_memory(void **state)
{
	static char faulty[] =
		"[a]\nx\nports = 80:8080 80\nuser = \"www\"\n[a]\nports=80:8080 80:81\n";

	(void)state;
	ROW("sample");
	fail_each_allocation(read_sample, (char *)sample);
	ROW("faulty");
	fail_each_allocation(read_sample, faulty);
}
#endif

/* What the resolver notes is kept, once. */
static void test_notes(void **state)
{
	static const char text[] = "[a]\nports = 80:8080\ncgroup = unit:a.service\n"
				   "[b]\nports = 81:8080\ncgroup = unit:b.service\n"
				   "[c]\nports = 82:8080\ncgroup = unit:a.service\n";
	struct ps_config config = { .list.resolver = &resolver };
	struct ps_ruleset rules = {};

	(void)state;
	CHECK_EQ(parse(&config, "x", text, strlen(text)), 0);
	CHECK_EQ(ps_config_finish(&config, &rules), 0);
	CHECK_EQ(config.list.note_count, 2);
	CHECK_STR(config.list.notes[0], "unit:a.service");
	CHECK_STR(config.list.notes[1], "unit:b.service");
	ps_ruleset_clear(&rules);
	ps_config_clear(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_odd_parts),
		cmocka_unit_test(test_many_parts),
		cmocka_unit_test(test_long_clash),
		cmocka_unit_test(test_large_parts),
		cmocka_unit_test(test_front_tree),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_written),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_any_text),
		cmocka_unit_test(test_many_mistakes),
		cmocka_unit_test(test_notes),
#if UNIT_CAN_FAIL
		cmocka_unit_test(test_no_memory),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
