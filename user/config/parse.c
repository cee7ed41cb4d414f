// SPDX-License-Identifier: GPL-2.0-only
#include "config/parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/section.h"
#include "config/values.h"
#include "config/words.h"
#include "util/text.h"
#include "util/util.h"

/* Is all of the line text? */
static bool is_text(struct ps_parser *p, const char *line)
{
	for (const char *c = line; *c;) {
		size_t length = *c == '\t' ? 1 : ps_printable_length(c);

		if (!length) {
			ps_parser_mistake(
				p, p->line,
				"byte %zu of the line, \\x%02x, is not printable text; in quotes "
				"it can be written as \\xNN",
				(size_t)(c - line) + 1, (unsigned char)*c);
			return false;
		}
		c += length;
	}
	return true;
}

/* "ports = 80:8080" */
static bool is_key(struct ps_parser *p, const char *line, bool indented)
{
	size_t name = strcspn(line, "=:");
	const char *why =
		indented ? "a key must start at the beginning of its line; remove the spaces "
			   "before it" :
		!name || line[name] != '=' ? "neither a key nor a section; write KEY = VALUE" :
					     NULL;

	p->after_key = true;
	p->bad_key = false;
	if (why) {
		ps_parser_mistake(p, p->line, "'%.100s': %s", line, why);
		ps_section_garble(p);
	}
	return !why;
}

/* Take the next line off the text, into `to`: its length. A line that is too long is cut,
 * and judged by its whole length. */
static size_t next_line(struct ps_parser *p, char *to, size_t room)
{
	const char *start = p->text, *newline = memchr(start, '\n', (size_t)(p->end - start));
	const char *end = newline ? newline : p->end;
	size_t length;

	p->text = newline ? newline + 1 : p->end;
	p->line++;
	if (p->line == 1 && end - start >= 3 && !memcmp(start, "\xef\xbb\xbf", 3))
		start += 3;
	while (end > start && (end[-1] == '\r' || end[-1] == ' ' || end[-1] == '\t'))
		end--;
	length = (size_t)(end - start);
	p->raw = start;
	p->raw_length = length;
	if (room > length)
		room = length;
	memcpy(to, start, room);
	to[room] = '\0';
	/* As another byte that is no text. */
	for (size_t i = 0; p->no_text && i < room; i++)
		to[i] = to[i] ? to[i] : '\1';
	return length;
}

/* A line begins with this key. */
static void begin_key(struct ps_parser *p, const char *name)
{
	struct ps_section *s = &p->section;
	int key = ps_key_find(name), near = key < 0 ? ps_key_nearest(name) : key;

	p->bad_key = true;
	p->stray = ps_word_kind(near);
	if (!s->open) {
		ps_parser_mistake(p, p->line,
				  "'%.100s' is outside any section; write [NAME] above it", name);
	} else if (key < 0) {
		ps_parser_mistake(
			p, p->line,
			"unknown key '%.100s'; the keys are ports, allow, user, cgroup, any-user, "
			"client-cgroup, mode, if-down and name",
			name);
		s->garbled = true;
		/* It may say which clients are meant. */
		s->strange |= near < 0 || near == PS_KEY_CLIENT_CGROUP || near == PS_KEY_MODE;
	} else if (s->of[key].line) {
		/* Of two cgroups it may be for the clients of either. Otherwise the beginning of
		 * another section may be missing between the two lines. */
		*(key == PS_KEY_CLIENT_CGROUP ? &s->torn : &s->mixed) = true;
		ps_parser_mistake(
			p, p->line, "%s is already set on line %u; %s", name, s->of[key].line,
			ps_key_is_list((enum ps_key)key) ?
				"put all values into one key, on further lines that begin with a space" :
				"give it once");
	} else {
		p->key = (enum ps_key)key;
		p->bad_key = false;
	}
}

static void set_value(struct ps_parser *p, const char *value)
{
	if (ps_key_is_list(p->key))
		ps_words_add(p, p->key == PS_KEY_ALLOW ? PS_WORD_GRANT : PS_WORD_RULE, value);
	else
		ps_value_set(p, p->key, value);
	p->section.of[p->key].line = p->line;
}

/* Take apart "ports = 80:8080", which is changed. */
static void take_key(struct ps_parser *p, char *line)
{
	char *equals = strchr(line, '='), *end = equals;
	const char *value = equals + 1 + strspn(equals + 1, " \t");

	while (end > line && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*end = '\0';
	begin_key(p, line);
	if (p->bad_key)
		ps_words_stray(p, p->stray, value, strlen(value));
	else if (!p->ret)
		set_value(p, value);
}

/* What goes on with the key above. */
static void take_rest(struct ps_parser *p, const char *text)
{
	if (p->bad_key) {
		ps_words_stray(p, p->stray, p->raw, p->raw_length);
	} else if (ps_key_is_list(p->key)) {
		ps_words_add(p, p->key == PS_KEY_ALLOW ? PS_WORD_GRANT : PS_WORD_RULE, text);
	} else {
		ps_parser_mistake(
			p, p->line,
			"%s takes one value, and this line continues it; a key must start at the "
			"beginning of its line",
			ps_config_keys[p->key].name);
		p->section.mixed = true;
		ps_words_stray(p, PS_WORD_OTHER, text, strlen(text));
	}
}

/* Read a line, which may be changed; `length` is that of all of it. */
static void take_line(struct ps_parser *p, char *line, size_t length)
{
	char *first = line + strspn(line, " \t");

	if (!*first || *first == '#' || *first == ';')
		return;
	p->outside |= !p->section.open && *line != '[';
	if (length > PS_CONFIG_LINE) {
		ps_parser_mistake(
			p, p->line,
			"the line is longer than %d bytes; continue it on further lines that begin "
			"with a space",
			PS_CONFIG_LINE);
		ps_section_garble(p);
	} else if (!is_text(p, line)) {
		ps_section_garble(p);
	} else if (first > line && p->after_key) {
		take_rest(p, first);
	} else if (*line == '[') {
		ps_section_begin(p, line, length);
	} else if (is_key(p, first, first > line)) {
		take_key(p, first);
	}
}

static void take_lines(struct ps_parser *p)
{
	_cleanup_free_ char *line = malloc(PS_CONFIG_LINE + 1);

	if (!line) {
		p->ret = -ENOMEM;
		return;
	}
	while (p->text < p->end && !ps_parser_is_over(p))
		take_line(p, line, next_line(p, line, PS_CONFIG_LINE));
}

/* It is no text file: one mistake says it. */
static bool has_nul(struct ps_parser *p)
{
	const char *nul = memchr(p->text, '\0', (size_t)(p->end - p->text));
	uint32_t line = 1;

	if (!nul)
		return false;
	for (const char *c = p->text; (c = memchr(c, '\n', (size_t)(nul - c))); c++)
		line++;
	ps_parser_mistake(p, line,
			  "the file contains a NUL byte, so it is not a text file; remove the byte");
	p->no_text = true;
	return true;
}

/* How much there was before a file. */
struct mark {
	size_t rules, sections, mistakes, begun, fronts;
	bool more;
};

static struct mark mark(const struct ps_config *c)
{
	return (struct mark){ c->list.count, c->section_count, c->mistake_count,
			      c->begun,	     c->front_count,   c->more };
}

/* Nothing of the file counts. */
static void go_back(struct ps_parser *p, struct mark to)
{
	struct ps_config *c = p->config;
	bool many_words = p->unknown > PS_CONFIG_UNKNOWN;

	while (c->list.count > to.rules)
		ps_rule_clear(&c->list.rules[--c->list.count]);
	while (c->front_count > to.fronts)
		ps_rule_clear(&c->fronts[--c->front_count].rule);
	while (c->section_count > to.sections)
		free(c->sections[--c->section_count].name);
	c->mistake_count = to.mistakes;
	c->begun = to.begun;
	c->more = to.more;
	ps_section_clear(&p->section);
	p->no_text = false;
	ps_parser_mistake(p, 0,
			  "the file has more than %d words%s that cannot be parsed, so all of it is "
			  "ignored; check that it is a configuration",
			  many_words ? PS_CONFIG_UNKNOWN : PS_CONFIG_GUESSES,
			  many_words ? "" : " between commas");
}

int ps_config_parse(struct ps_config *config, uint32_t file, const char *text, size_t size)
{
	struct ps_parser p = { .config = config, .file = file, .text = text, .end = text + size };
	const struct mark before = mark(config);

	if (size && (!has_nul(&p) || config->keep_going)) {
		take_lines(&p);
		ps_section_finish(&p);
		if (p.excess && !p.ret)
			go_back(&p, before);
	}
	ps_section_clear(&p.section);
	free(p.section.bytes);
	free(p.section.words);
	return p.ret;
}
