/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The configuration: from the text of its files to a ruleset, and back. Pure: files are
 * read by user/config/config_files.c, and what names mean is the resolver's to say.
 *
 * Nothing is used of a configuration with a mistake, unless it is to keep going; all of its
 * mistakes are collected, each with its place.
 */
#ifndef PORTSTEER_CONFIG_H
#define PORTSTEER_CONFIG_H

#include "rule/rule_list.h"

/* Bytes of a line without its end, of a section's name, and of all files together. The first says
 * with one mistake that a file without line ends is none of ours. */
enum { PS_CONFIG_LINE = 64 << 10, PS_CONFIG_NAME = 64, PS_CONFIG_SIZE = 64 << 20 };

/* Where something is written. */
struct ps_source {
	uint32_t file; /* index in files */
	uint32_t line; /* from 1; 0: the file as a whole */
	uint32_t section; /* of all that have begun, from 1; 0: in none */
};

struct ps_mistake {
	struct ps_source place;
	struct ps_error error; /* without the place */
};

struct ps_config_section {
	char *name;
	struct ps_source place;
};

/* A front side that a section with a mistake names. */
struct ps_config_front {
	struct ps_rule rule; /* a block, as it would refuse connections */
	struct ps_source place;
	bool vague; /* it is not known for which clients: the rule has the cgroup of all */
};

/* At most this many mistakes are kept; and, to keep going, at most so many words of a file of which
 * it is not known what they mean, and so many parts of them, each of which may be a rule: a file
 * with more is no configuration. */
enum { PS_CONFIG_MISTAKES = 100, PS_CONFIG_UNKNOWN = 4096, PS_CONFIG_GUESSES = 64 << 10 };

struct ps_config {
	struct ps_rule_list list; /* .resolver is set by the caller */
	struct ps_source *places; /* one for each of the list's rules */
	size_t place_room;
	char **files; /* names, for messages */
	size_t file_count;
	struct ps_config_section *sections;
	size_t section_count, section_room;
	struct ps_mistake *mistakes; /* by place, after ps_config_finish */
	size_t mistake_count;
	bool more; /* there may be more mistakes than were kept */
	bool keep_going; /* set by the caller: a section without a mistake counts by itself */
	/* Set by the caller: what holds where a section does not say it; and that it need not have
	 * an owner even so. */
	struct ps_rule_words defaults;
	bool ownerless;
	/* Set by the caller, or NULL: the first rule from `from` on that this host cannot have, and
	 * why; or `count`. Its section has a mistake. */
	size_t (*find_refused)(const struct ps_rule *rules, size_t count, size_t from,
			       struct ps_error *error);
	unsigned char *broken; /* for each section: it has a mistake */
	size_t begun, broken_room; /* sections that have begun */
	struct ps_config_front *fronts; /* what broken sections name; if it is to keep going */
	size_t front_count, front_room;
	bool hopeless; /* the rules cannot be told apart: too many, or too many conflicts */
	bool partial; /* the rules are those of the sections without a mistake, and blocks */
};
void ps_config_clear(struct ps_config *config);

/* Note a file by its name, which is copied: its index, or -ENOMEM. */
int ps_config_file(struct ps_config *config, const char *name);

/* Note a mistake: 0 or -ENOMEM. */
int ps_config_mistake(struct ps_config *config, struct ps_source place,
		      const struct ps_error *error);

/* Is it written earlier? */
int ps_source_compare(const struct ps_source *a, const struct ps_source *b);

/* "/etc/portsteer/portsteer.conf:3", cut where it is too long. */
enum { PS_SOURCE_TEXT = 320 };
void ps_source_text(const struct ps_config *config, struct ps_source place,
		    char text[PS_SOURCE_TEXT]);

/* "/etc/portsteer/portsteer.conf:3: unknown key ...": the mistake on one line. Text that
 * is too long is cut. */
void ps_mistake_text(const struct ps_config *config, const struct ps_mistake *mistake, char *text,
		     size_t size);

#endif
