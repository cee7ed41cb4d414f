// SPDX-License-Identifier: GPL-2.0-only
#include "config/values.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

/* "\xNN" */
static int hex_byte(const char *text)
{
	static const char digits[] = "0123456789abcdef";
	const char *high, *low;

	if (text[0] != 'x' || !text[1] || !text[2])
		return 0;
	high = strchr(digits, text[1] | 0x20);
	low = strchr(digits, text[2] | 0x20);
	return high && low ? (int)(high - digits) << 4 | (int)(low - digits) : 0;
}

/* What is in quotes; anything else is taken as it is. NULL with a mistake. */
static const char *unquote(struct ps_parser *p, char *text)
{
	char *to = text, *from = text + 1;

	if (text[0] != '"')
		return text;
	while (*from && *from != '"') {
		int byte = from[0] != '\\' ? 0 : hex_byte(from + 1);

		if (from[0] != '\\') {
			*to++ = *from++;
		} else if (from[1] == '\\' || from[1] == '"') {
			*to++ = from[1];
			from += 2;
		} else if (byte) {
			*to++ = (char)byte;
			from += 4;
		} else {
			ps_parser_mistake(
				p, p->line,
				"'%.16s' is not an escape sequence; write \\\\, \\\" or \\xNN",
				from);
			return NULL;
		}
	}
	if (from[0] != '"' || from[1]) {
		ps_parser_mistake(
			p, p->line,
			"the value begins with a quote and does not end with one; add the closing "
			"quote, or write a quote in the value as \\\"");
		return NULL;
	}
	*to = '\0';
	return text;
}

static void read_boolean(struct ps_parser *p, const char *text)
{
	static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };

	for (size_t i = 0; i < PS_ARRAY_SIZE(words); i++) {
		if (strcmp(text, words[i]))
			continue;
		p->section.any_user = i & 1;
		return;
	}
	ps_parser_mistake(p, p->line, "any-user is '%.100s'; write yes or no", text);
}

/* What a single key says, by itself: so that the mistake has its line. */
static void check_value(struct ps_parser *p, enum ps_key key, const char *text)
{
	struct ps_rule_words words = {
		.user = key == PS_KEY_USER ? text : NULL,
		.cgroup = key == PS_KEY_CGROUP ? text : NULL,
		.client_cgroup = key == PS_KEY_CLIENT_CGROUP ? text : NULL,
		.mode = key == PS_KEY_MODE ? text : NULL,
		.if_down = key == PS_KEY_IF_DOWN ? text : NULL,
		.name = key == PS_KEY_NAME ? text : NULL,
	};
	struct ps_rule options = {};
	struct ps_error error;
	int ret = 0;

	if (key == PS_KEY_CGROUP || key == PS_KEY_CLIENT_CGROUP)
		ret = ps_cgroup_check_lasting(text, &error);
	if (!ret)
		ret = ps_rule_options(&p->config->list, &words, &options, &error);

	if (ret == -ENOMEM)
		p->ret = ret;
	else if (ret)
		ps_parser_note(p, p->line, &error);
}

/* Does the text go on with what looks like a comment? */
static bool has_comment(struct ps_parser *p, const char *text)
{
	for (const char *c = text; *c; c++) {
		if ((*c == '#' || *c == ';') && (c == text || c[-1] == ' ' || c[-1] == '\t')) {
			ps_parser_mistake(
				p, p->line,
				"'%.60s' after a value is not a comment; put it on a line of its "
				"own, or quote the whole value if it is part of it",
				c);
			return true;
		}
	}
	return false;
}

void ps_value_set(struct ps_parser *p, enum ps_key key, const char *value)
{
	struct ps_value *of = &p->section.of[key];
	const char *text;

	of->text = strdup(value);
	if (!of->text) {
		p->ret = -ENOMEM;
		return;
	}
	text = *value != '"' && has_comment(p, value) ? NULL : unquote(p, of->text);
	if (!text) {
		*of->text = '\0';
		return;
	}
	if (!*text)
		ps_parser_mistake(p, p->line, "%s has no value; give %s, or remove the key",
				  ps_config_keys[key].name, ps_config_keys[key].value);
	else if (key == PS_KEY_ANY_USER)
		read_boolean(p, text);
	else
		check_value(p, key, text);
}
