// SPDX-License-Identifier: GPL-2.0-only
/* Units' names and where systemd's rules put them: user/os/unit_name.c. */
#include "unit.h"

#include "util/bpf_types.h"
#include "os/unit_name.h"

static void test_check(void **state)
{
	static const struct {
		const char *name, *why; /* NULL: it is one */
	} rows[] = {
		{ "web.service", NULL },
		{ "web@1.service", NULL },
		{ "a-b:c_d.\\x2d.service", NULL },
		{ "web@a@b.service", NULL },
		{ "x.scope", NULL },
		{ "a-b.slice", NULL },
		{ "-.slice", NULL },
		{ "web.socket", NULL },
		{ "var-lib.mount", NULL },
		{ "dev-sda.swap", NULL },
		{ "", "not a unit name" },
		{ "web", "not a unit name" },
		{ ".service", "not a unit name" },
		{ "..service", "not a unit name" },
		{ ".web.service", "not a unit name" },
		{ "a/b.service", "not a unit name" },
		{ "a b.service", "not a unit name" },
		{ "a\n.service", "not a unit name" },
		{ "../web.service", "not a unit name" },
		{ "w%i.service", "not a unit name" },
		{ "@1.service", "not a unit name" },
		{ "web.serviced", "not a unit name" },
		{ "web.conf", "not a unit name" },
		{ "--help.service/x", "not a unit name" },
		{ "web@.service", "it is a template" },
		{ "web.timer", "has no cgroup" },
		{ "multi-user.target", "has no cgroup" },
		{ "-a.slice", "not a unit name" },
		{ "a-.slice", "not a unit name" },
		{ "a--b.slice", "not a unit name" },
		{ "a@1.slice", "not a unit name" },
	};
	struct ps_error error;

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		int ret = ps_unit_check(rows[i].name, &error);

		ROW("%s", rows[i].name);
		CHECK_EQ(ret, rows[i].why ? -EINVAL : 0);
		if (rows[i].why)
			CHECK_MSG(strstr(error.message, rows[i].why), "%s", error.message);
	}
}

static void test_lengths(void **state)
{
	char name[PS_UNIT_NAME + 1];

	(void)state;
	memset(name, 'a', sizeof(name));
	strcpy(name + 255 - strlen(".service"), ".service");
	CHECK_EQ(ps_unit_check(name, NULL), 0);
	memset(name, 'a', sizeof(name));
	strcpy(name + 256 - strlen(".service"), ".service");
	CHECK_EQ(ps_unit_check(name, NULL), -EINVAL);
}

static void test_escape(void **state)
{
	static const struct {
		const char *text, *escaped;
	} rows[] = {
		{ "", "" },
		{ "web", "web" },
		{ "my-web", "my\\x2dweb" },
		{ "a\\x2db", "a\\x5cx2db" },
		{ ".a.b", "\\x2ea.b" },
		{ "a/b", "a-b" },
		{ "a b\xff", "a\\x20b\\xff" },
		{ "a:b_c", "a:b_c" },
		{ "@", "\\x40" },
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		size_t size = strlen(rows[i].escaped) + 1;

		ROW("%s", rows[i].text);
		CHECK_EQ(ps_unit_escape(rows[i].text, text, size), 0);
		CHECK_STR(text, rows[i].escaped);
		for (size_t less = 0; less < size; less++)
			CHECK_EQ(ps_unit_escape(rows[i].text, text, less), -E2BIG);
	}
}

static void test_slices(void **state)
{
	static const struct {
		const char *slice, *path; /* NULL: none */
	} rows[] = {
		{ "-.slice", "" },
		{ "a.slice", "/a.slice" },
		{ "a-b.slice", "/a.slice/a-b.slice" },
		{ "a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice" },
		{ "system-foo\\x2dbar.slice", "/system.slice/system-foo\\x2dbar.slice" },
		{ "_a.slice", "/__a.slice" },
		{ "memory-x.slice", "/_memory.slice/memory-x.slice" },
		{ "memoryx.slice", "/memoryx.slice" },
		{ "cgroup.x.slice", "/_cgroup.x.slice" },
		{ "user-1000.slice", "/user.slice/user-1000.slice" },
		{ ".slice", NULL },
		{ "-a.slice", NULL },
		{ "a-.slice", NULL },
		{ "a--b.slice", NULL },
		{ "a.service", NULL },
		{ "a/b.slice", NULL },
		{ "a@b.slice", NULL },
		{ "", NULL },
	};
	char path[PS_CGROUP_PATH];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		ROW("%s", rows[i].slice);
		CHECK_EQ(ps_slice_path(rows[i].slice, path, sizeof(path)),
			 rows[i].path ? 0 : -EINVAL);
		if (!rows[i].path)
			continue;
		CHECK_STR(path, rows[i].path);
		for (size_t size = 0; size <= strlen(rows[i].path); size++)
			CHECK_EQ(ps_slice_path(rows[i].slice, path, size), -E2BIG);
	}
}

static void test_usual(void **state)
{
	static const struct {
		const char *unit, *slice, *path;
	} rows[] = {
		{ "web.service", "system.slice", "/system.slice/web.service" },
		{ "foo-bar.service", "system.slice", "/system.slice/foo-bar.service" },
		{ "web@1.service", "system-web.slice",
		  "/system.slice/system-web.slice/web@1.service" },
		{ "web@a-b.service", "system-web.slice",
		  "/system.slice/system-web.slice/web@a-b.service" },
		{ "foo-bar@1.service", "system-foo\\x2dbar.slice",
		  "/system.slice/system-foo\\x2dbar.slice/foo-bar@1.service" },
		{ "a\\x2db@1.service", "system-a\\x5cx2db.slice",
		  "/system.slice/system-a\\x5cx2db.slice/a\\x2db@1.service" },
		{ "_x.service", "system.slice", "/system.slice/__x.service" },
		{ "memory.service", "system.slice", "/system.slice/_memory.service" },
		{ "init.scope", "-.slice", "/init.scope" },
		{ "a-b.slice", NULL, "/a.slice/a-b.slice" },
	};
	char slice[PS_UNIT_NAME], path[PS_CGROUP_PATH], name[PS_UNIT_NAME];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		ROW("%s", rows[i].unit);
		CHECK_EQ(ps_unit_usual_slice(rows[i].unit, slice), 0);
		if (rows[i].slice)
			CHECK_STR(slice, rows[i].slice);
		CHECK_EQ(ps_unit_path(rows[i].unit, slice, path, sizeof(path)), 0);
		CHECK_STR(path, rows[i].path);
		CHECK_EQ(ps_unit_path(rows[i].unit, slice, path, strlen(rows[i].path)), -E2BIG);
	}
	memset(name, '-', sizeof(name));
	strcpy(name + 240, "@1.service");
	CHECK_EQ(ps_unit_usual_slice(name, slice), -E2BIG);
}

static void test_files(void **state)
{
	static const struct {
		const char *unit, *text;
		int ret;
		const char *slice;
	} rows[] = {
		{ "a.service", "", 0, NULL },
		{ "a.service", "[Service]\nSlice=x.slice\n", 1, "x.slice" },
		{ "a.service", "[Service]\nSlice=x.slice", 1, "x.slice" },
		{ "a.service", " [Service] \r\n  Slice = x-y.slice \r\n", 1, "x-y.slice" },
		{ "a.service", "[Service]\nSlice=x.slice\nSlice=y.slice\n", 1, "y.slice" },
		{ "a.service", "[Service]\nSlice=x.slice\nSlice=\n", 1, "x.slice" },
		{ "a.service", "[Service]\nSlice=x.slice\nSlice=x.service\n", 1, "x.slice" },
		{ "a.service", "[Service]\nSlice=-.slice\n", 1, "-.slice" },
		{ "a.service", "[Unit]\nSlice=x.slice\n", 0, NULL },
		{ "a.service", "Slice=x.slice\n", 0, NULL },
		{ "a.service", "[Service]\n[Install]\nSlice=x.slice\n", 0, NULL },
		{ "a.service", "[Socket]\nSlice=x.slice\n", 0, NULL },
		{ "a.socket", "[Socket]\nSlice=x.slice\n", 1, "x.slice" },
		{ "a.slice", "[Slice]\nSlice=x.slice\n", 0, NULL },
		{ "a.service", "[Service]\n#Slice=x.slice\n;Slice=x.slice\n", 0, NULL },
		{ "a.service", "[Service]\nSlices=x.slice\nSlic=x.slice\nslice=x.slice\n", 0,
		  NULL },
		{ "a.service", "[Service]\nExecStart=x \\\nSlice=x.slice\n", 0, NULL },
		{ "a.service", "[Service]\nExecStart=x \\\n# y\nSlice=x.slice\n", 0, NULL },
		{ "a.service", "[Service]\n# y \\\nSlice=x.slice\n", 1, "x.slice" },
		{ "a.service", "[Service]\nExecStart=x \\\n y\nSlice=x.slice\n", 1, "x.slice" },
		{ "user@7.service", "[Service]\nSlice=user-%i.slice\n", 1, "user-7.slice" },
		{ "a-b@7.service", "[Service]\nSlice=x%p_%i_%j.slice\n", 1, "xa-b_7_b.slice" },
		{ "a.service", "[Service]\nSlice=%N.slice\n", 1, "a.slice" },
		{ "a.service", "[Service]\nSlice=%n\n", 0, NULL },
		{ "a.service", "[Service]\nSlice=a%i.slice\n", 1, "a.slice" },
		{ "a.service", "[Service]\nSlice=a%%.slice\n", 0, NULL },
		{ "a.service", "[Service]\nSlice=a.slice%\n", 0, NULL },
		{ "a.service", "[Service]\nSlice=%H.slice\n", -ENOTSUP, NULL },
		{ "a.service", "[Service]\nSlice=%H.slice\nSlice=x.slice\n", 1, "x.slice" },
		{ "a.service", "[Service]\nSlice=x/y.slice\n", 0, NULL },
		{ "a.service", "[Service]\nSlice=../../x.slice\n", 0, NULL },
	};
	char slice[PS_UNIT_NAME];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		size_t size = strlen(rows[i].text);
		char *text = malloc(size + 1); /* without a NUL, for the sanitiser */
		int ret;

		ROW("%s: %s", rows[i].unit, rows[i].text);
		memcpy(text, rows[i].text, size);
		text = realloc(text, size ? size : 1);
		ret = ps_unit_file_slice(text, size, rows[i].unit, slice);
		free(text);
		CHECK_EQ(ret, rows[i].ret);
		if (rows[i].slice)
			CHECK_STR(slice, rows[i].slice);
	}
}

/* Whatever is in a file, and whatever a unit is called: what comes out is a path of systemd's. */
static void test_any(void **state)
{
	static const char some[] = "[Service]\nSlice=%ipNnj%-@.\\ab/\0#; .slice";
	char text[256], name[PS_UNIT_NAME], slice[PS_UNIT_NAME], path[PS_CGROUP_PATH];

	(void)state;
	for (int round = 0; round < 20000 / UNIT_SLOW; round++) {
		size_t size = rnd64() % sizeof(text), length = rnd64() % 40;
		const char *unit = round & 1 ? "a-b@1.service" : "a.service";

		for (size_t i = 0; i < size; i++)
			text[i] = some[rnd64() % sizeof(some)];
		if (size > 20)
			memcpy(text, "[Service]\nSlice=", 16);
		if (ps_unit_file_slice(text, size, unit, slice) > 0)
			CHECK(ps_unit_path(unit, slice, path, sizeof(path)) == 0 &&
			      !strstr(path, "/.") && !strstr(path, "//"));
		for (size_t i = 0; i < length; i++)
			name[i] = some[rnd64() % sizeof(some)];
		strcpy(name + length, ".service");
		if (!ps_unit_check(name, NULL) && !ps_unit_usual_slice(name, slice))
			CHECK(ps_unit_path(name, slice, path, sizeof(path)) == 0 &&
			      !strstr(path, "/.") && !strncmp(path, "/system.slice/", 14));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),  cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_escape), cmocka_unit_test(test_slices),
		cmocka_unit_test(test_usual),  cmocka_unit_test(test_files),
		cmocka_unit_test(test_any),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
