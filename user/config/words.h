/* SPDX-License-Identifier: GPL-2.0-only */
/* Words of the section in hand: of lists, and of what was not understood. */
#ifndef PORTSTEER_WORDS_H
#define PORTSTEER_WORDS_H

#include "config/parser.h"

/* Keep the words of a list for the end of the section, where its options are known. */
void ps_words_add(struct ps_parser *p, int kind, const char *value);

/* Keep the words of what was not understood, up to a comment; if it is to keep going. */
void ps_words_stray(struct ps_parser *p, int kind, const char *text, size_t length);

/* What words are that stand behind a key, -1 for none that is known. */
int ps_word_kind(int key);

#endif
