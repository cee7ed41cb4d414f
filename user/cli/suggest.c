// SPDX-License-Identifier: GPL-2.0-only
#include "cli/suggest.h"

#include <errno.h>
#include <string.h>

#include "util/util.h"

/* What other tools call it. */
static const struct {
	const char *word, *command;
} others[] = {
	{ "change", "apply" },	 { "clear", "flush" },	    { "conf", "check" },
	{ "config", "check" },	 { "counters", "stats" },   { "create", "add" },
	{ "delete", "del" },	 { "dump", "save" },	    { "edit", "apply" },
	{ "export", "save" },	 { "get", "list" },	    { "grant", "allow" },
	{ "info", "status" },	 { "insert", "add" },	    { "ls", "list" },
	{ "new", "add" },	 { "permit", "allow" },	    { "print", "list" },
	{ "purge", "flush" },	 { "reload", "apply" },	    { "remove", "del" },
	{ "replace", "apply" },	 { "reset", "flush" },	    { "restart", "apply" },
	{ "restore", "apply" },	 { "revoke", "del" },	    { "rm", "del" },
	{ "rules", "list" },	 { "set", "apply" },	    { "show", "list" },
	{ "start", "load" },	 { "statistics", "stats" }, { "stop", "unload" },
	{ "sync", "apply" },	 { "test", "check" },	    { "update", "upgrade" },
	{ "validate", "check" }, { "verify", "check" },
};

/* How many letters must be added, left out or exchanged to make one of the other. */
static size_t distance(const char *a, const char *b)
{
	enum { MOST = 16 };
	size_t rows[MOST + 1], length = strlen(b);

	if (strlen(a) > MOST || length > MOST)
		return MOST;
	for (size_t i = 0; i <= length; i++)
		rows[i] = i;
	for (size_t n = 0; a[n]; n++) {
		size_t corner = rows[0];

		rows[0] = n + 1;
		for (size_t i = 1; i <= length; i++) {
			size_t best = corner + (a[n] != b[i - 1]);

			corner = rows[i];
			if (rows[i] + 1 < best)
				best = rows[i] + 1;
			if (rows[i - 1] + 1 < best)
				best = rows[i - 1] + 1;
			rows[i] = best;
		}
	}
	return rows[length];
}

static const struct ps_command *meant_by(const struct ps_cli *cli, const char *name)
{
	const struct ps_command *nearest = NULL;
	size_t least = strlen(name) < 4 ? 2 : 3;

	for (size_t i = 0; i < PS_ARRAY_SIZE(others); i++) {
		if (!strcmp(others[i].word, name))
			return ps_command_find(cli, others[i].command);
	}
	for (size_t i = 0; i < cli->command_count; i++) {
		size_t far = distance(name, cli->commands[i].name);

		if (far >= least)
			continue;
		least = far;
		nearest = &cli->commands[i];
	}
	return nearest;
}

int ps_command_unknown(const struct ps_cli *cli, const char *name, struct ps_error *error)
{
	const struct ps_command *meant = meant_by(cli, name);

	if (meant)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "unknown command '%.100s'; did you mean 'portsteer %s' (%s)? 'portsteer "
			       "help' lists all commands",
			       name, meant->name, meant->help);
	return ps_fail(error, PS_EXIT_USAGE, EINVAL,
		       "unknown command '%.100s'; 'portsteer help' lists all commands", name);
}
