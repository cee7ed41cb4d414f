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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_printable),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
