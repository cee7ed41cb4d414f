/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The command line: tables of commands and options, from which parsing, help and
 * the checks of docs and completion are made.
 */
#ifndef PORTSTEER_CLI_H
#define PORTSTEER_CLI_H

#include "config/config.h"
#include "os/netns.h"

/* Given by the build. */
#ifndef PORTSTEER_VERSION
#define PORTSTEER_VERSION "unknown"
#endif

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

struct ps_cli;
struct ps_command {
	const char *name;
	const char *args; /* "RULE...", "" */
	uint32_t options; /* bits of the options that are its own */
	bool takes_args;
	bool needs_root;
	const char *help; /* one line */
	const char *details; /* what --help says below */
	int (*run)(struct ps_cli *cli, struct ps_error *error);
};
extern const struct ps_command ps_commands[];
extern const size_t ps_command_count;
const struct ps_command *ps_command_find(const char *name);

/* One invocation. */
struct ps_cli {
	const struct ps_command *command; /* NULL if none was named */
	struct ps_values values;
	char **args; /* what is neither command nor option; borrowed from argv */
	size_t arg_count;
	bool json, quiet, verbose, color;
	bool told; /* JSON was written, though the exit status is not 0 */
	struct ps_netns netns;
	struct ps_config config; /* whose mistakes are told, if there are any */
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

/* Say that there is no such command, and which may be meant. -EINVAL. */
int ps_command_unknown(const char *name, struct ps_error *error);

void ps_help_general(void);
void ps_help_command(const struct ps_command *command);
void ps_help_table(void);

int ps_cmd_load(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_unload(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_upgrade(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_add(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_allow(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_del(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_flush(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_apply(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_check(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_save(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_list(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_stats(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_status(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_probe(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_version(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_help(struct ps_cli *cli, struct ps_error *error);

#endif
