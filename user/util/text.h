/* SPDX-License-Identifier: GPL-2.0-only */
/* Text of unknown origin. Pure. */
#ifndef PORTSTEER_TEXT_H
#define PORTSTEER_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the UTF-8 character at `text` if it may be shown on a terminal, else 0:
 * not for control characters, malformed sequences (RFC 3629), and the marks that
 * end a line or turn the direction of writing. */
size_t ps_printable_length(const char *text);

/* The UTF-8 character at `text` (RFC 3629), and how many bytes it has: 0, if it is none, or the
 * end. */
size_t ps_utf8_read(const char *text, uint32_t *code);

/* How many of `text`'s bytes, `most` at the most, end with a whole character: to cut at, or to cut
 * again at what snprintf() has cut. Text that is shorter, and what is no UTF-8, stay as they are. */
size_t ps_utf8_cut(const char *text, size_t most);

/* Columns of a terminal that the text takes, one for each character (not so for the wide ones of
 * East Asia). */
size_t ps_text_width(const char *text);

/* Copy text that is printable, shortened to `columns`, 3 at least: the middle is an ellipsis. No
 * character, and no \xNN, is cut into two. 4 * columns + 4 bytes are enough for what is shortened;
 * what is not is cut to `size`. */
void ps_shorten(const char *from, size_t columns, char *to, size_t size);

/* Copy a name, cut to `size`: as it is if all of it is printable, for it may be copied from there,
 * else with everything unprintable, and backslashes, as \xNN. It grows fourfold at most. */
void ps_printable(const char *from, char *to, size_t size);

/* The same for a whole message, in which names may be escaped already: backslashes stay. */
void ps_printable_message(const char *from, char *to, size_t size);

/* Copy a name, cut to `size`, for what takes all of UTF-8 and nothing else, so that it can be told
 * what the name was: a byte that is no UTF-8, and each of a U+FFFD, is a U+FFFD and two hexadecimal
 * digits. */
enum { PS_UTF8_GROWS = 5 };
void ps_utf8(const char *from, char *to, size_t size);

#endif
