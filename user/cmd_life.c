// SPDX-License-Identifier: GPL-2.0-only
/* portsteer load, unload */
#include <stdio.h>

#include "cli.h"
#include "text.h"

static int tell(const struct ps_cli *cli, bool changed, const char *done, const char *nothing)
{
	char label[4 * sizeof(cli->netns.label)];

	ps_printable(cli->netns.label, label, sizeof(label));
	if (cli->json)
		printf("{\"changed\":%s}\n", changed ? "true" : "false");
	else if (!cli->quiet)
		printf("%s network namespace %s\n", changed ? done : nothing, label);
	return 0;
}

int ps_cmd_load(struct ps_cli *cli, struct ps_error *error)
{
	bool changed;
	int ret = ps_instance_load(&cli->netns, &changed, error);

	return ret ? ret : tell(cli, changed, "loaded in", "already loaded in");
}

static int unload_all(const struct ps_cli *cli, struct ps_error *error)
{
	bool changed;
	int ret = ps_instance_unload_all(&changed, error);

	if (ret)
		return ret;
	if (cli->json)
		printf("{\"changed\":%s}\n", changed ? "true" : "false");
	else if (!cli->quiet)
		puts(changed ? "unloaded from every network namespace" : "nothing is loaded");
	return 0;
}

int ps_cmd_unload(struct ps_cli *cli, struct ps_error *error)
{
	bool changed;
	int ret;

	if (cli->values.of[PS_OPT_ALL])
		return unload_all(cli, error);
	ret = ps_instance_unload(&cli->netns, &changed, error);

	return ret ? ret : tell(cli, changed, "unloaded from", "nothing is loaded in");
}
