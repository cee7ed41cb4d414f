// SPDX-License-Identifier: GPL-2.0-only
/* Names of unknown origin, as they are shown: user/util/text.c. */
#include "unit.h"

#include "util/error.h"
#include "util/text.h"

static void test_printable(void **state)
{
	static const struct {
		const char *from, *shown, *message, *utf8;
	} rows[] = {
		{ "", "", "", "" },
		{ "web", "web", "web", "web" },
		/* systemd's own escapes, which are for copying. */
		{ "a\\x2db", "a\\x2db", "a\\x2db", "a\\x2db" },
		{ "a\\\xff", "a\\x5c\\xff", "a\\\\xff",
		  "a\\\xef\xbf\xbd"
		  "ff" },
		{ "a\nb", "a\\x0ab", "a\\x0ab", "a\nb" },
		{ "\x7f", "\\x7f", "\\x7f", "\x7f" },
		{ "\xc3\xa4\\", "\xc3\xa4\\", "\xc3\xa4\\", "\xc3\xa4\\" },
		/* A control character, and one that turns the line round. */
		{ "\xc2\x9b", "\\xc2\\x9b", "\\xc2\\x9b", "\xc2\x9b" },
		{ "\xe2\x80\xae", "\\xe2\\x80\\xae", "\\xe2\\x80\\xae", "\xe2\x80\xae" },
		/* A surrogate, a character cut short, an overlong one. */
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80", "\\xed\\xa0\\x80",
		  "\xef\xbf\xbd"
		  "ed\xef\xbf\xbd"
		  "a0\xef\xbf\xbd"
		  "80" },
		{ "\xe2\x80", "\\xe2\\x80", "\\xe2\\x80",
		  "\xef\xbf\xbd"
		  "e2\xef\xbf\xbd"
		  "80" },
		{ "\xc0\xaf", "\\xc0\\xaf", "\\xc0\\xaf",
		  "\xef\xbf\xbd"
		  "c0\xef\xbf\xbd"
		  "af" },
		/* What stands for a byte is not taken for one. */
		{ "\xef\xbf\xbd"
		  "ff",
		  "\xef\xbf\xbd"
		  "ff",
		  "\xef\xbf\xbd"
		  "ff",
		  "\xef\xbf\xbd"
		  "ef\xef\xbf\xbd"
		  "bf\xef\xbf\xbd"
		  "bdff" },
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		ROW("%zu", i);
		ps_printable(rows[i].from, text, sizeof(text));
		CHECK_STR(text, rows[i].shown);
		ps_printable_message(rows[i].from, text, sizeof(text));
		CHECK_STR(text, rows[i].message);
		ps_utf8(rows[i].from, text, sizeof(text));
		CHECK_STR(text, rows[i].utf8);
	}
}

/* Whole characters only, and an end. */
static void test_cut(void **state)
{
	char text[8];

	(void)state;
	ps_printable("abcdef\xff", text, sizeof(text));
	CHECK_STR(text, "abcdef");
	ps_printable("abcdef\xc3\xa4", text, sizeof(text));
	CHECK_STR(text, "abcdef");
	ps_utf8("abc\xff", text, sizeof(text));
	CHECK_STR(text, "abc");
	ps_utf8("ab\xff", text, sizeof(text));
	CHECK_STR(text, "ab\xef\xbf\xbd"
			"ff");
}

/* Where text is cut of which no more than so many bytes are wanted. */
static void test_utf8_cut(void **state)
{
	static const struct {
		const char *text;
		size_t most, cut;
	} rows[] = {
		{ "", 0, 0 },
		{ "", 5, 0 },
		{ "abc", 0, 0 },
		{ "abc", 2, 2 },
		{ "abc", 3, 3 },
		{ "abc", 9, 3 },
		/* Two, three and four bytes, at each place. */
		{ "a\xc3\xa4", 1, 1 },
		{ "a\xc3\xa4", 2, 1 },
		{ "a\xc3\xa4", 3, 3 },
		{ "\xc3\xa4", 1, 0 },
		{ "\xe2\x82\xac", 1, 0 },
		{ "\xe2\x82\xac", 2, 0 },
		{ "\xe2\x82\xac", 3, 3 },
		{ "a\xf0\x9f\x98\x80z", 2, 1 },
		{ "a\xf0\x9f\x98\x80z", 3, 1 },
		{ "a\xf0\x9f\x98\x80z", 4, 1 },
		{ "a\xf0\x9f\x98\x80z", 5, 5 },
		{ "a\xf0\x9f\x98\x80z", 6, 6 },
		/* What is no character anyway: bytes that only follow, and one that never begins. */
		{ "\x80\x80\x80\x80\x80\x80", 5, 5 },
		{ "a\x80\x80\x80\x80\x80", 5, 5 },
		{ "a\xff", 2, 2 },
		{ "a\xc0", 2, 2 },
		/* Text that ends by itself is left alone. */
		{ "a\xc3", 3, 2 },
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		ROW("%zu", i);
		CHECK_EQ(ps_utf8_cut(rows[i].text, rows[i].most), rows[i].cut);
	}
}

#define DOTS "\xe2\x80\xa6"

static void test_shorten(void **state)
{
	static const struct {
		const char *text;
		size_t columns;
		const char *shown;
	} rows[] = {
		{ "", 3, "" },
		{ "abc", 3, "abc" },
		{ "abcd", 3, "a" DOTS "d" },
		{ "abcdefgh", 8, "abcdefgh" },
		{ "abcdefgh", 7, "abc" DOTS "fgh" },
		{ "abcdefgh", 4, "a" DOTS "gh" },
		/* Characters are counted, and not bytes. */
		{ "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 3,
		  "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f", 3, "\xc3\xa4" DOTS "\xc3\x9f" },
		{ "\xf0\x9f\x98\x80\xf0\x9f\x98\x81\xf0\x9f\x98\x82\xf0\x9f\x98\x83", 3,
		  "\xf0\x9f\x98\x80" DOTS "\xf0\x9f\x98\x83" },
		/* What stands for a byte takes four, and goes or stays as a whole. */
		{ "\\xff\\xfe\\xfd", 12, "\\xff\\xfe\\xfd" },
		{ "\\xff\\xfe\\xfd", 11, "\\xff" DOTS "\\xfd" },
		{ "\\xff\\xfe\\xfd", 8, DOTS "\\xfd" },
		{ "\\xff\\xfe\\xfd", 7, DOTS },
		{ "a\\x2db\\x2dc", 8, "a" DOTS "c" },
		/* These are none. */
		{ "\\xf\\yff\\", 5, "\\x" DOTS "f\\" },
	};
	char text[4 * 12 + 4];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		ROW("%zu", i);
		ps_shorten(rows[i].text, rows[i].columns, text, sizeof(text));
		CHECK_STR(text, rows[i].shown);
	}
}

/* Any text: not too wide, whole characters, and none that was not in it. */
static void test_shorten_any(void **state)
{
	static const char *const pieces[] = {
		"a", "/", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\\xff"
	};
	char from[256], text[4 * 24 + 4];
	uint32_t code;

	(void)state;
	for (int i = 0; i < 20000 / UNIT_SLOW; i++) {
		size_t columns = 3 + rnd(22), head;
		const char *at;

		*from = '\0';
		for (size_t n = rnd(48); n; n--)
			strcat(from, pieces[rnd(PS_ARRAY_SIZE(pieces))]);
		ROW("%s in %zu", from, columns);
		ps_shorten(from, columns, text, sizeof(text));
		CHECK(ps_text_width(text) <= columns || ps_text_width(from) <= columns);
		for (at = text; *at; at += ps_utf8_read(at, &code))
			CHECK(ps_utf8_read(at, &code));
		at = strstr(text, DOTS);
		CHECK(!at == (ps_text_width(from) <= columns));
		if (!at)
			continue;
		head = (size_t)(at - text);
		CHECK(!strncmp(text, from, head));
		at += strlen(DOTS);
		CHECK(head + strlen(at) < strlen(from));
		CHECK_STR(from + strlen(from) - strlen(at), at);
	}
}

/* A buffer that is too small has what fits. */
static void test_shorten_small(void **state)
{
	char text[5];

	(void)state;
	ps_shorten("abcdefgh", 7, text, sizeof(text));
	CHECK_STR(text, "abc");
	ps_shorten("abc\xc3\xa4", 9, text, sizeof(text));
	CHECK_STR(text, "abc");
	ps_shorten("abc", 9, text, 1);
	CHECK_STR(text, "");
}

/* What has been escaped for an error is not escaped again in it. */
static void test_error(void **state)
{
	struct ps_error error;
	char name[32];

	(void)state;
	ps_printable("a\rb", name, sizeof(name));
	ps_fail(&error, PS_EXIT_USAGE, EINVAL, "%s: write \\xNN for '%s'", name, "\x1b");
	CHECK_STR(error.message, "a\\x0db: write \\xNN for '\\x1b'");
}

/* A message that is too long ends with a whole character. */
static void test_long_error(void **state)
{
	char name[1100] = "";
	struct ps_error error;

	(void)state;
	for (size_t before = 0; before < 4; before++) {
		ROW("%zu", before);
		memset(name, 'a', before);
		for (size_t i = 0; i < 270; i++)
			strcpy(name + before + 4 * i, "\xf0\x9f\x98\x80");
		ps_fail(&error, PS_EXIT_FAILED, EINVAL, "%s", name);
		CHECK_EQ(strlen(error.message), before + 4 * ((1023 - before) / 4));
		CHECK(!strchr(error.message, '\\'));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_printable),   cmocka_unit_test(test_cut),
		cmocka_unit_test(test_utf8_cut),    cmocka_unit_test(test_shorten),
		cmocka_unit_test(test_shorten_any), cmocka_unit_test(test_shorten_small),
		cmocka_unit_test(test_error),	    cmocka_unit_test(test_long_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
