/* SPDX-License-Identifier: GPL-2.0-only */
/* The options of all commands, in a table, and reading them. */
#ifndef PORTSTEER_OPTIONS_H
#define PORTSTEER_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

enum ps_option_id {
	PS_OPT_NETNS,
	PS_OPT_JSON,
	PS_OPT_QUIET,
	PS_OPT_VERBOSE,
	PS_OPT_COLOR,
	PS_OPT_HELP,
	PS_OPT_VERSION,
	PS_OPT_GLOBALS, /* those above go with every command */
	PS_OPT_USER = PS_OPT_GLOBALS,
	PS_OPT_CGROUP,
	PS_OPT_ANY_USER,
	PS_OPT_CLIENT_CGROUP,
	PS_OPT_IF_DOWN,
	PS_OPT_NAME,
	PS_OPT_MODE,
	PS_OPT_FILE,
	PS_OPT_DRY_RUN,
	PS_OPT_ONLY,
	PS_OPT_KEEP_GOING,
	PS_OPT_ALLOW_EMPTY,
	PS_OPT_ALL,
	PS_OPT_TABLE,
	PS_OPTIONS,
};
#define PS_BIT(id) (1u << (id))

struct ps_option {
	const char *name; /* "user" for --user */
	char letter; /* 0: none */
	const char *arg; /* "NAME|UID", NULL if it takes none */
	const char *help;
};
extern const struct ps_option ps_options[PS_OPTIONS];

/* Which options were given, and their values ("" for those without). */
struct ps_values {
	const char *of[PS_OPTIONS];
};

/*
 * Take options out of words[0 .. count), in any order; the rest is moved to the
 * front and *rest is how many. Knows `allowed` options; a word that begins with
 * '-' and a digit is no option. -EINVAL (PS_EXIT_USAGE) with a message.
 */
int ps_options_parse(char **words, size_t count, uint32_t allowed, struct ps_values *values,
		     size_t *rest, struct ps_error *error);

/* The index of the first word that is no option, nor an option's value; count if there is none.
 * Options may be unknown: nothing is judged. */
size_t ps_options_skip(char *const *words, size_t count);

#endif
