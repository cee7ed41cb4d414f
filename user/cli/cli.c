// SPDX-License-Identifier: GPL-2.0-only
#include "cli/cli.h"

#include <string.h>

const struct ps_command *ps_command_find(const struct ps_cli *cli, const char *name)
{
	for (size_t i = 0; i < cli->command_count; i++) {
		if (!strcmp(cli->commands[i].name, name))
			return &cli->commands[i];
	}
	return NULL;
}
