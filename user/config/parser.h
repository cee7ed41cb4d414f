/* SPDX-License-Identifier: GPL-2.0-only */
/* A file of the configuration while it is read, and the section in hand. */
#ifndef PORTSTEER_PARSER_H
#define PORTSTEER_PARSER_H

#include "config/config.h"
#include "config/keys.h"

/* A rule or a port of the section in hand; or a word that was not understood, of a list or of
 * anything else. */
struct ps_word {
	size_t at; /* in the section's bytes */
	uint32_t line;
	enum { PS_WORD_RULE, PS_WORD_GRANT, PS_WORD_LIST, PS_WORD_OTHER } kind;
};

/* A key of it. */
struct ps_value {
	uint32_t line; /* 0: not given */
	char *text; /* NULL for the lists */
};

struct ps_section {
	bool open, faulty;
	uint32_t number; /* of all that have begun */
	bool garbled; /* has lines that were not understood: what is missing may be in them */
	bool torn; /* it names two cgroups of clients */
	bool strange; /* it has a key of which it is not known what it means */
	bool mixed; /* it may have keys of another section, or lack some of its own */
	char name[PS_CONFIG_NAME + 1];
	uint32_t line;
	struct ps_value of[PS_KEYS];
	bool any_user;
	char *bytes; /* the words, each ended by NUL */
	size_t used, room;
	struct ps_word *words;
	size_t word_count, word_room;
};

struct ps_parser {
	struct ps_config *config;
	const char *text, *end; /* what is left of the file */
	const char *raw; /* the line in hand, all of it */
	size_t raw_length;
	uint32_t file, line;
	struct ps_section section;
	enum ps_key key; /* that a continued line goes on with */
	bool after_key; /* an indented line would go on with a key */
	bool bad_key; /* what goes on with it is passed over */
	int stray; /* but its words are of this kind */
	bool outside; /* something stands above the first section */
	bool excess; /* too much is not understood: it is over, too */
	bool no_text; /* it has a NUL byte: none of its rules count */
	size_t unknown, guesses; /* words that were not understood, and what was tried of them */
	int ret; /* -ENOMEM: it is over */
};

struct ps_source ps_parser_place(const struct ps_parser *p, uint32_t line);

/* After a hundred mistakes the reading ends, but not if it is to keep going. */
bool ps_parser_is_over(const struct ps_parser *p);

/* Note a mistake on this line. */
void ps_parser_note(struct ps_parser *p, uint32_t line, const struct ps_error *error);
#define ps_parser_mistake(p, line, ...)                                                            \
	do {                                                                                       \
		struct ps_error error_;                                                            \
		ps_fail(&error_, PS_EXIT_FAILED, EINVAL, __VA_ARGS__);                             \
		ps_parser_note(p, line, &error_);                                                  \
	} while (0)

/* Of this word, too, it is not known what it means: there is an end to what is tried. */
void ps_parser_count(struct ps_parser *p, const char *word, size_t length);

#endif
