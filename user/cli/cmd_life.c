// SPDX-License-Identifier: GPL-2.0-only
/* portsteer load, unload, upgrade */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"
#include "engine/instance.h"
#include "engine/strays.h"
#include "engine/upgrade.h"
#include "util/text.h"

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

	if (!ret)
		ret = ps_strays_remove(&cli->netns, &changed, error);
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

static void tell_lost(const struct ps_upgraded *u)
{
	if (u->lost_bound)
		puts("note: getsockname() on sockets that are bound already says their real port now");
	if (u->lost_trails)
		puts("note: getpeername() on sockets that are connected already says their real peer "
		     "now");
}

int ps_cmd_upgrade(struct ps_cli *cli, struct ps_error *error)
{
	struct ps_upgraded u;
	int ret = ps_upgrade(&u, error);

	if (ret)
		return ret;
	if (cli->json)
		printf("{\"changed\":%s,\"rebuilt\":%s,\"namespaces\":%zu,\"rules\":%zu,"
		       "\"lost_bound\":%s,\"lost_connected\":%s}\n",
		       u.changed ? "true" : "false", u.rebuilt ? "true" : "false", u.instances,
		       u.rules, u.lost_bound ? "true" : "false", u.lost_trails ? "true" : "false");
	else if (!cli->quiet && !u.changed)
		puts("nothing to do: what is loaded is this version's");
	else if (!cli->quiet) {
		printf("upgraded: %zu network namespace%s, %zu rule%s%s\n", u.instances,
		       u.instances == 1 ? "" : "s", u.rules, u.rules == 1 ? "" : "s",
		       u.rebuilt ? "; counters begin again, as their layout has changed" : "");
		tell_lost(&u);
	}
	return 0;
}
