/* SPDX-License-Identifier: GPL-2.0-only */
/* Text of unknown origin. Pure. */
#ifndef PORTSTEER_TEXT_H
#define PORTSTEER_TEXT_H

#include <stddef.h>

/* Bytes of the UTF-8 character at `text` if it may be shown on a terminal, else 0:
 * not for control characters, malformed sequences (RFC 3629), and the marks that
 * end a line or turn the direction of writing. */
size_t ps_printable_length(const char *text);

/* Copy `from`, cut to `size`, with everything unprintable, and backslashes, as \xNN. */
void ps_printable(const char *from, char *to, size_t size);

#endif
