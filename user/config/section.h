/* SPDX-License-Identifier: GPL-2.0-only */
/* The section in hand: its beginning, and what becomes of it at its end. */
#ifndef PORTSTEER_SECTION_H
#define PORTSTEER_SECTION_H

#include "config/parser.h"

/* The line is to begin a section, "[web]"; what is wrong with it is noted. */
void ps_section_begin(struct ps_parser *p, const char *line, size_t length);

/* The line in hand is not understood, nor is what goes on with it. */
void ps_section_garble(struct ps_parser *p);

/* Its end: its rules become the configuration's, or, if it has a mistake, the sides that they name
 * in front. */
void ps_section_finish(struct ps_parser *p);

/* Forget it; its arrays stay, for the next. */
void ps_section_clear(struct ps_section *s);

#endif
