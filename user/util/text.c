// SPDX-License-Identifier: GPL-2.0-only
#include "util/text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Line and paragraph separators and the marks that reverse the direction of writing
 * change how the rest of the line looks. */
static int is_layout(uint32_t code)
{
	return (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
	       code == 0x200e || code == 0x200f || code == 0xfeff;
}

size_t ps_printable_length(const char *from)
{
	const unsigned char *text = (const unsigned char *)from;
	uint32_t code = text[0];
	size_t length = code < 0x80 ? 1 : code < 0xe0 ? 2 : code < 0xf0 ? 3 : 4;
	/* The smallest character that needs so many bytes; 0x80 .. 0x9f are controls. */
	static const uint32_t least[] = { 0, 0x20, 0xa0, 0x800, 0x10000 };

	if ((code >= 0x80 && code < 0xc2) || code > 0xf4)
		return 0;
	if (length > 1)
		code &= 0x7fu >> length;
	for (size_t i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (text[i] & 0x3f);
	}
	if (code < least[length] || code == 0x7f || code > 0x10ffff ||
	    (code >= 0xd800 && code < 0xe000) || is_layout(code))
		return 0;
	return length;
}

void ps_printable(const char *from, char *to, size_t size)
{
	size_t used = 0;

	while (*from) {
		size_t length = *from == '\\' ? 0 : ps_printable_length(from);

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
