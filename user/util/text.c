// SPDX-License-Identifier: GPL-2.0-only
#include "util/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Line and paragraph separators and the marks that reverse the direction of writing
 * change how the rest of the line looks. */
static int is_layout(uint32_t code)
{
	return (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
	       code == 0x061c || code == 0x200e || code == 0x200f || code == 0xfeff;
}

size_t ps_utf8_read(const char *from, uint32_t *code)
{
	const unsigned char *text = (const unsigned char *)from;
	size_t length = text[0] < 0x80 ? 1 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
	/* The smallest character that needs so many bytes. */
	static const uint32_t least[] = { 0, 0x01, 0x80, 0x800, 0x10000 };

	*code = text[0];
	if ((*code >= 0x80 && *code < 0xc2) || *code > 0xf4)
		return 0;
	if (length > 1)
		*code &= 0x7fu >> length;
	for (size_t i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (text[i] & 0x3f);
	}
	if (*code < least[length] || *code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000))
		return 0;
	return length;
}

size_t ps_printable_length(const char *text)
{
	uint32_t code;
	size_t length = ps_utf8_read(text, &code);

	return code < 0x20 || (code >= 0x7f && code < 0xa0) || is_layout(code) ? 0 : length;
}

size_t ps_utf8_cut(const char *text, size_t most)
{
	size_t length = strnlen(text, most), begin = length;
	unsigned char first;

	if (length < most)
		return length;
	/* Where the last character begins, and whether all of it is there. */
	while (begin && length - begin < 3 && ((unsigned char)text[begin - 1] & 0xc0) == 0x80)
		begin--;
	if (!begin)
		return length;
	first = (unsigned char)text[--begin];
	if (first < 0xc2 || first > 0xf4)
		return length;
	return begin + (first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4) > length ? begin : length;
}

static bool is_hex(char c)
{
	return c && strchr("0123456789abcdefABCDEF", c);
}

/* Bytes, and columns, of what is not to be cut into two. */
static size_t piece_of(const char *text, size_t *columns)
{
	uint32_t code;
	size_t length = ps_utf8_read(text, &code);

	*columns = 1;
	if (text[0] == '\\' && text[1] == 'x' && is_hex(text[2]) && is_hex(text[3]))
		return *columns = 4;
	return length ? length : 1;
}

size_t ps_text_width(const char *text)
{
	size_t count = 0, width;

	for (; *text; count += width)
		text += piece_of(text, &width);
	return count;
}

/* The bytes of the first pieces, which take no more than `columns`. */
static size_t beginning_of(const char *text, size_t columns)
{
	size_t used = 0, length, width;

	while (text[used]) {
		length = piece_of(text + used, &width);
		if (width > columns)
			break;
		columns -= width;
		used += length;
	}
	return used;
}

void ps_shorten(const char *from, size_t columns, char *to, size_t size)
{
	size_t rest = ps_text_width(from), head, width;
	const char *tail = from;

	if (!size)
		return;
	if (rest <= columns) {
		snprintf(to, size, "%.*s", (int)ps_utf8_cut(from, size - 1), from);
		return;
	}
	head = beginning_of(from, (columns - 1) / 2);
	/* Of the end the pieces that there is room for beside it and the ellipsis. */
	while (rest > columns / 2) {
		tail += piece_of(tail, &width);
		rest -= width;
	}
	snprintf(to, size, "%.*s\xe2\x80\xa6%s", (int)head, from, tail);
	to[ps_utf8_cut(to, size - 1)] = '\0';
}

static bool is_printable(const char *text)
{
	while (*text) {
		size_t length = ps_printable_length(text);

		if (!length)
			return false;
		text += length;
	}
	return true;
}

static void escape(const char *from, bool backslashes, char *to, size_t size)
{
	size_t used = 0;

	while (*from) {
		size_t length = backslashes && *from == '\\' ? 0 : ps_printable_length(from);

		if (used + (length ? length : 4) >= size)
			break;
		if (length) {
			memcpy(to + used, from, length);
			used += length;
			from += length;
		} else {
			used += (size_t)snprintf(to + used, 5, "\\x%02x", (unsigned char)*from++);
		}
	}
	if (size)
		to[used] = '\0';
}

void ps_printable(const char *from, char *to, size_t size)
{
	escape(from, !is_printable(from), to, size);
}

void ps_printable_message(const char *from, char *to, size_t size)
{
	escape(from, false, to, size);
}

void ps_utf8(const char *from, char *to, size_t size)
{
	static const char mark[] = "\xef\xbf\xbd";
	uint32_t code;
	size_t used = 0;

	while (*from) {
		bool is_mark = !strncmp(from, mark, strlen(mark));
		size_t length = is_mark ? 0 : ps_utf8_read(from, &code);

		if (used + (length ? length : PS_UTF8_GROWS) >= size)
			break;
		if (length) {
			memcpy(to + used, from, length);
			used += length;
			from += length;
			continue;
		}
		/* The other bytes of a mark are no character, and follow in the same way. */
		used += (size_t)snprintf(to + used, PS_UTF8_GROWS + 1, "%s%02x", mark,
					 (unsigned char)*from++);
	}
	if (size)
		to[used] = '\0';
}
