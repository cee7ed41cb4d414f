// SPDX-License-Identifier: GPL-2.0-only
/* Who does not serve a rule, why, and what would fit: user/engine/misfit.c. */
#include "unit.h"

#include "engine/misfit.h"

enum { ROOT = 0, WWW = 33, ALICE = 1000 };
#define STEER                                                                                      \
	{                                                                                          \
		.mode = PS_MODE_STEER, .proto = IPPROTO_TCP, .front = 80, .front_last = 80,        \
		.target = 8080                                                                     \
	}

static struct ps_rule owned_by(uint32_t flags, uint32_t uid, char *cgroup)
{
	struct ps_rule rule = STEER;

	rule.owner = (struct ps_owner_spec){ .flags = flags, .uid = uid, .cgroup = cgroup };
	return rule;
}

static void test_fits(void **state)
{
	static char other[] = "/system.slice/other.service", test[] = "/test/web";
	static const struct {
		uint32_t flags;
		char *owner_cgroup;
		uint32_t uid;
		const char *user, *cgroup, *unit, *fits;
	} rows[] = {
		/* nginx as Debian starts it. */
		{ PS_OWNER_USER, NULL, ROOT, "root", "/system.slice/nginx.service", "nginx.service",
		  "--cgroup unit:nginx.service" },
		/* A service is best named, whoever it runs as. */
		{ PS_OWNER_USER, NULL, ALICE, "alice", "/system.slice/a.service", "a.service",
		  "--cgroup unit:a.service" },
		{ PS_OWNER_USER, NULL, ROOT, "root", "/system.slice/a\\x2db.service",
		  "a\\x2db.service", "--cgroup unit:'a\\x2db.service'" },
		{ PS_OWNER_CGROUP, other, ROOT, "root", "/openrc.nginx", NULL,
		  "--cgroup /openrc.nginx" },
		{ PS_OWNER_USER, NULL, ROOT, "root", "/init.scope", "init.scope",
		  "--cgroup unit:init.scope" },
		/* An ordinary user, as the rule has one. */
		{ PS_OWNER_USER, NULL, ALICE, "alice", "/openrc.web", NULL, "--user alice" },
		{ PS_OWNER_USER, NULL, ALICE, "alice",
		  "/user.slice/user-1000.slice/user@1000.service/app.slice/a.service", NULL,
		  "--user alice" },
		{ PS_OWNER_CGROUP, other, ALICE, "alice", "/user.slice/user-1000.slice/x.scope",
		  NULL, "--user alice" },
		{ PS_OWNER_USER, NULL, ALICE, NULL, NULL, NULL, "--user 1000" },
		{ PS_OWNER_USER, NULL, ALICE, "al ice", "/", NULL, "--user 1000" },
		/* A container's users are not the host's. */
		{ PS_OWNER_USER, NULL, 101, NULL, "/system.slice/docker-1.scope", NULL,
		  "--cgroup /system.slice/docker-1.scope" },
		{ PS_OWNER_CGROUP, test, ALICE, "alice", "/test/other", NULL,
		  "--cgroup /test/other" },
		/* Never root as such. */
		{ PS_OWNER_USER, NULL, ROOT, "root", "/", NULL, "" },
		{ PS_OWNER_USER, NULL, ROOT, "root", NULL, NULL, "" },
		{ PS_OWNER_USER, NULL, ROOT, "root", "/user.slice/user-0.slice/session-1.scope",
		  NULL, "" },
		/* Nothing for a shell to trip over. */
		{ PS_OWNER_USER, NULL, ROOT, "root", "/a;reboot", NULL, "" },
		{ PS_OWNER_USER, NULL, ROOT, "root", "/a b", NULL, "" },
		{ PS_OWNER_USER, NULL, ROOT, "root", "/a'b", NULL, "" },
		{ PS_OWNER_USER, NULL, ROOT, "root", "/a\nb", NULL, "" },
		{ PS_OWNER_CGROUP, other, ALICE, "alice", "/$(reboot)", NULL, "--user alice" },
		/* Nothing that `add` refuses: 16 levels are what it takes. */
		{ PS_OWNER_CGROUP, other, ROOT, "root", "/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g", NULL,
		  "--cgroup /1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g" },
		{ PS_OWNER_CGROUP, other, ROOT, "root", "/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/h", NULL,
		  "" },
		{ PS_OWNER_CGROUP, other, ALICE, "alice", "/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/h",
		  NULL, "--user alice" },
		{ PS_OWNER_CGROUP, other, ROOT, "root",
		  "/system.slice/a.service/3/4/5/6/7/8/9/a/b/c/d/e/f/g/h", "a.service",
		  "--cgroup unit:a.service" },
		{ PS_OWNER_CGROUP, other, ROOT, "root",
		  "/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/a.service", "a.service", "" },
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_rule rule = owned_by(rows[i].flags, WWW, rows[i].owner_cgroup);
		struct ps_socket_facts facts = { .uid = rows[i].uid,
						 .user = rows[i].user,
						 .cgroup = rows[i].cgroup,
						 .unit = rows[i].unit,
						 .port = 8080 };
		struct ps_misfit who;

		ROW("%zu %s", i, rows[i].cgroup ? rows[i].cgroup : "-");
		ps_misfit_tell(&rule, &facts, &who);
		CHECK_MSG(!strcmp(who.fits, rows[i].fits), "%s", who.fits);
		CHECK_EQ(who.why, rows[i].flags == PS_OWNER_USER ? PS_WHY_USER : PS_WHY_CGROUP);
	}
}

static void test_refusal(void **state)
{
	static char web[] = "/system.slice/web.service";
	static const struct {
		uint32_t flags, uid;
		const char *cgroup;
		uint8_t rule_family, family;
		bool mptcp;
		enum ps_misfit_why why;
	} rows[] = {
		{ PS_OWNER_USER, WWW, "/a", 0, 0, false, PS_WHY_UNSEEN },
		{ PS_OWNER_USER, WWW, "/a", 0, 0, true, PS_WHY_MPTCP },
		{ PS_OWNER_USER, ROOT, "/a", 0, 0, true, PS_WHY_USER },
		{ PS_OWNER_ANY, ROOT, "/a", 0, 0, false, PS_WHY_UNSEEN },
		{ PS_OWNER_NOBODY, ROOT, "/a", 0, 0, false, PS_WHY_BLOCK },
		{ PS_OWNER_CGROUP, ROOT, web, 0, 0, false, PS_WHY_UNSEEN },
		{ PS_OWNER_CGROUP, ROOT, "/system.slice/web.service/x", 0, 0, false,
		  PS_WHY_UNSEEN },
		{ PS_OWNER_CGROUP, ROOT, "/system.slice/web.service2", 0, 0, false, PS_WHY_CGROUP },
		{ PS_OWNER_CGROUP, ROOT, "/system.slice", 0, 0, false, PS_WHY_CGROUP },
		{ PS_OWNER_CGROUP, ROOT, NULL, 0, 0, false, PS_WHY_MAYBE_CGROUP },
		{ PS_OWNER_CGROUP, ROOT, NULL, 0, 0, true, PS_WHY_MPTCP },
		{ PS_OWNER_CGROUP | PS_OWNER_USER, ROOT, web, 0, 0, false, PS_WHY_USER },
		{ PS_OWNER_CGROUP | PS_OWNER_USER, WWW, "/a", 0, 0, false, PS_WHY_CGROUP },
		/* What could not serve the rule whoever made it. */
		{ PS_OWNER_USER, ROOT, "/a", 4, 6, false, PS_WHY_FAMILY },
		{ PS_OWNER_USER, ROOT, "/a", 6, 4, false, PS_WHY_FAMILY },
		{ PS_OWNER_USER, ROOT, "/a", 4, 0, false, PS_WHY_USER },
		{ PS_OWNER_USER, ROOT, "/a", 0, 6, false, PS_WHY_USER },
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_rule rule = owned_by(rows[i].flags, WWW, web);
		struct ps_socket_facts facts = { .uid = rows[i].uid,
						 .cgroup = rows[i].cgroup,
						 .port = 8080,
						 .family = rows[i].family,
						 .mptcp = rows[i].mptcp };
		struct ps_misfit who;

		ROW("%zu", i);
		rule.prefix.family = rows[i].rule_family;
		ps_misfit_tell(&rule, &facts, &who);
		CHECK_EQ(who.why, rows[i].why);
		CHECK(who.why == PS_WHY_USER || who.why == PS_WHY_CGROUP || !*who.fits);
	}
}

static void test_refusal_bind(void **state)
{
	static char web[] = "/web";
	static const struct {
		uint32_t flags, uid;
		const char *cgroup;
		uint16_t port;
		bool in_prefix;
		enum ps_misfit_why why;
	} rows[] = {
		{ PS_OWNER_USER, WWW, "/a", 8080, true, PS_WHY_EARLY },
		{ PS_OWNER_USER, WWW, "/a", 8080, false, PS_WHY_ADDRESS },
		{ PS_OWNER_USER, ROOT, "/a", 8080, true, PS_WHY_USER },
		{ PS_OWNER_USER, ROOT, "/a", 80, true, PS_WHY_FRONT },
		{ PS_OWNER_CGROUP, ROOT, "/web", 8080, true, PS_WHY_EARLY },
		{ PS_OWNER_CGROUP, ROOT, "/a", 8080, true, PS_WHY_CGROUP },
		{ PS_OWNER_CGROUP, ROOT, NULL, 8080, true, PS_WHY_MAYBE_CGROUP },
		{ PS_OWNER_CGROUP, ROOT, NULL, 8080, false, PS_WHY_ADDRESS },
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_rule rule = owned_by(rows[i].flags, WWW, web);
		struct ps_socket_facts facts = { .uid = rows[i].uid,
						 .cgroup = rows[i].cgroup,
						 .port = rows[i].port,
						 .in_prefix = rows[i].in_prefix };
		struct ps_misfit who;

		ROW("%zu", i);
		rule.mode = PS_MODE_BIND;
		ps_misfit_tell(&rule, &facts, &who);
		CHECK_EQ(who.why, rows[i].why);
	}
}

/* What a process calls itself changes what is said of it, and no more. */
static void test_programs(void **state)
{
	static const struct {
		const char *name, *says; /* NULL: nothing */
	} rows[] = {
		{ "docker-proxy", "Docker's docker-proxy, it forwards" },
		{ "rootlesskit-doc", "rootless Docker's" },
		{ "rootlesskit", "rootless Docker's" },
		{ "rootlessport", "Podman's rootlessport, it forwards" },
		{ "slirp4netns", "slirp4netns, it forwards" },
		{ "pasta", "pasta, it forwards" },
		{ "pasta.avx2", "pasta, it forwards" },
		{ "passt.avx2", "passt, it forwards" },
		{ "conmon", "Podman's conmon, it only reserves" },
		{ "nginx", NULL },
		{ "pastaroma", NULL },
		{ "conmonster", NULL },
		{ "", NULL },
		{ NULL, NULL },
	};
	struct ps_rule rule = owned_by(PS_OWNER_USER, WWW, NULL);

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		struct ps_socket_facts facts = {
			.uid = ALICE, .user = "alice", .program = rows[i].name, .port = 8080
		};
		struct ps_misfit who;

		ROW("%s", rows[i].name ? rows[i].name : "-");
		ps_misfit_tell(&rule, &facts, &who);
		CHECK_EQ(who.why, PS_WHY_USER);
		CHECK_EQ(!*who.advice, !rows[i].says);
		CHECK(!rows[i].says || strstr(who.advice, rows[i].says));
		CHECK_EQ(!*who.fits, rows[i].says && strstr(who.advice, "only reserves"));
		/* The owner's own. */
		facts.uid = WWW;
		ps_misfit_tell(&rule, &facts, &who);
		CHECK_EQ(who.why, PS_WHY_UNSEEN);
		CHECK(!*who.advice && !*who.fits);
	}
}

static void test_advice(void **state)
{
	struct ps_rule rule = owned_by(PS_OWNER_USER, WWW, NULL);
	struct ps_socket_facts facts = { .uid = ROOT,
					 .user = "root",
					 .port = 8080,
					 .became = true,
					 .cgroup = "/system.slice/a\nb.service",
					 .unit = NULL };
	struct ps_misfit who;

	(void)state;
	ps_misfit_tell(&rule, &facts, &who);
	CHECK_MSG(!strcmp(who.place, "cgroup /system.slice/a\\x0ab.service"), "%s", who.place);
	CHECK_MSG(strstr(who.advice, "special characters"), "%s", who.advice);
	/* As it is, where all of it is text: it may be copied from there. */
	facts.cgroup = "/system.slice/a\\x2db c";
	ps_misfit_tell(&rule, &facts, &who);
	CHECK_MSG(!strcmp(who.place, "cgroup /system.slice/a\\x2db c"), "%s", who.place);
	facts.cgroup = "/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/h";
	ps_misfit_tell(&rule, &facts, &who);
	CHECK_MSG(strstr(who.advice, "more than 16 levels deep"), "%s", who.advice);
	facts.cgroup = "/user.slice/user-0.slice";
	ps_misfit_tell(&rule, &facts, &who);
	CHECK_MSG(strstr(who.advice, "root created it, outside any service's cgroup"), "%s",
		  who.advice);
	facts.cgroup = NULL;
	ps_misfit_tell(&rule, &facts, &who);
	CHECK_MSG(strstr(who.advice, "cannot be read"), "%s", who.advice);
	CHECK(!*who.place && !*who.fits);
	facts.cgroup = "/system.slice/nginx.service";
	facts.unit = "nginx.service";
	ps_misfit_tell(&rule, &facts, &who);
	CHECK_MSG(!strcmp(who.place, "unit nginx.service"), "%s", who.place);
	CHECK_MSG(strstr(who.advice, "before it changed to the owner's user"), "%s", who.advice);
	facts.became = false;
	ps_misfit_tell(&rule, &facts, &who);
	CHECK_MSG(!*who.advice, "%s", who.advice);
	facts.unit = "init.scope";
	ps_misfit_tell(&rule, &facts, &who);
	CHECK_MSG(strstr(who.advice, "systemd created it"), "%s", who.advice);
}

static void test_unit(void **state)
{
	static const struct {
		const char *cgroup, *unit; /* NULL: none */
	} rows[] = {
		{ "/system.slice/nginx.service", "nginx.service" },
		{ "/system.slice/nginx.service/x/y.service", "nginx.service" },
		{ "/a.slice/a-b.slice/web.service", "web.service" },
		{ "/system.slice/system-web.slice/web@1.service", "web@1.service" },
		{ "/system.slice/web.socket", "web.socket" },
		{ "/init.scope", "init.scope" },
		{ "/nginx.service", "nginx.service" },
		{ "/x/system.slice/nginx.service", NULL },
		{ "/machine.slice/libpod-1.scope/system.slice/nginx.service", NULL },
		{ "/user.slice/user-1000.slice/user@1000.service/app.slice/a.service", NULL },
		{ "/system.slice/docker-1.scope", NULL },
		{ "/system.slice/init.scope", NULL },
		{ "/system.slice/a b.service", NULL },
		{ "/system.slice/web@.service", NULL },
		{ "/system.slice", NULL },
		{ "/", NULL },
		{ "", NULL },
	};
	char unit[256], small[8];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		bool found = ps_misfit_unit(rows[i].cgroup, unit, sizeof(unit));

		ROW("%s", rows[i].cgroup);
		CHECK_EQ(found, !!rows[i].unit);
		CHECK(!found || !strcmp(unit, rows[i].unit));
	}
	CHECK(!ps_misfit_unit("/system.slice/nginx.service", small, sizeof(small)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fits),	     cmocka_unit_test(test_refusal),
		cmocka_unit_test(test_refusal_bind), cmocka_unit_test(test_programs),
		cmocka_unit_test(test_advice),	     cmocka_unit_test(test_unit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
