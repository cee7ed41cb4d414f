/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The command line: a table of commands and one of options, from which parsing, help and
 * the checks of docs and completion are made.
 */
#ifndef PORTSTEER_CLI_H
#define PORTSTEER_CLI_H

#include "cli/options.h"
#include "config/config.h"
#include "os/netns.h"

/* Given by the build. */
#ifndef PORTSTEER_VERSION
#define PORTSTEER_VERSION "unknown"
#endif

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

/* One invocation. */
struct ps_cli {
	const struct ps_command *commands; /* all there are */
	size_t command_count;
	const struct ps_command *command; /* NULL if none was named */
	struct ps_values values;
	char **args; /* what is neither command nor option; borrowed from argv */
	size_t arg_count;
	bool json, quiet, verbose, color;
	bool told; /* JSON was written, though the exit status is not 0 */
	struct ps_netns netns;
	struct ps_config config; /* whose mistakes are told, if there are any */
};

/* The command of this name, or NULL. */
const struct ps_command *ps_command_find(const struct ps_cli *cli, const char *name);

#endif
