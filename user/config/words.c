// SPDX-License-Identifier: GPL-2.0-only
#include "config/words.h"

#include <errno.h>
#include <string.h>

#include "util/array.h"

static void add_word(struct ps_parser *p, int kind, const char *text, size_t length)
{
	struct ps_section *s = &p->section;

	if (ps_grow((void **)&s->words, &s->word_room, s->word_count, sizeof(*s->words)))
		p->ret = -ENOMEM;
	while (!p->ret && s->room < s->used + length + 1)
		p->ret = ps_grow((void **)&s->bytes, &s->room, s->room, 1);
	if (p->ret)
		return;
	s->words[s->word_count++] = (struct ps_word){ s->used, p->line, kind };
	memcpy(s->bytes + s->used, text, length);
	s->used += length;
	s->bytes[s->used++] = '\0';
}

/* Without what looks like a key before it, as in "ports:80:8080". */
static const char *skip_key(const char *word, const char *end)
{
	const char *c = word;

	while (c < end && (*c | 0x20) >= 'a' && (*c | 0x20) <= 'z')
		c++;
	return c > word && c < end && *c == ':' ? c + 1 : word;
}

void ps_words_stray(struct ps_parser *p, int kind, const char *text, size_t length)
{
	const char *end = text + length, *word;

	/* If it is not to keep going they are of no interest. */
	while (p->config->keep_going && !ps_parser_is_over(p)) {
		while (text < end && ((unsigned char)*text <= ' ' || *text == '='))
			text++;
		if (text == end || *text == '#' || *text == ';')
			return;
		word = text = skip_key(text, end);
		while (text < end && (unsigned char)*text > ' ' && *text != '=')
			text++;
		ps_parser_count(p, word, (size_t)(text - word));
		if (!p->excess)
			add_word(p, kind, word, (size_t)(text - word));
	}
}

void ps_words_add(struct ps_parser *p, int kind, const char *value)
{
	while (*(value += strspn(value, " \t")) && !p->ret) {
		size_t length = strcspn(value, " \t");

		if (*value == '#' || *value == ';') {
			ps_parser_mistake(
				p, p->line,
				"'%.60s' after a value is not a comment; put it on a line of its "
				"own",
				value);
			return;
		}
		add_word(p, kind, value, length);
		value += length;
	}
}

int ps_word_kind(int key)
{
	return key >= 0 && ps_key_is_list((enum ps_key)key) ? PS_WORD_LIST : PS_WORD_OTHER;
}
