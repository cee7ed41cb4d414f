// SPDX-License-Identifier: GPL-2.0-only
/* portsteer del, flush */
#include <errno.h>
#include <stdio.h>

#include "cli.h"
#include "util.h"

struct deleting {
	const struct ps_rule *keys;
	size_t count, removed;
};

static int delete (struct ps_ruleset *rules, void *data, struct ps_error *error)
{
	struct deleting *d = data;
	size_t before = rules->count;
	int ret = ps_ruleset_del(rules, d->keys, d->count, error);

	d->removed = before - rules->count;
	return ret;
}

static int delete_all(struct ps_ruleset *rules, void *data, struct ps_error *error)
{
	(void)error;
	((struct deleting *)data)->removed = rules->count;
	ps_ruleset_clear(rules);
	return 0;
}

static void tell(const struct ps_cli *cli, size_t removed)
{
	if (cli->json)
		printf("{\"added\":0,\"removed\":%zu}\n", removed);
	else if (!cli->quiet)
		printf("deleted %zu rule%s\n", removed, removed == 1 ? "" : "s");
}

int ps_cmd_del(struct ps_cli *cli, struct ps_error *error)
{
	_cleanup_free_ struct ps_rule *keys = calloc(cli->arg_count + 1, sizeof(*keys));
	struct deleting d = { .keys = keys, .count = cli->arg_count };
	int ret = 0;

	if (!keys)
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	if (!cli->arg_count)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "'portsteer del' needs a rule; name one as 'portsteer list' shows "
			       "it, or use 'portsteer flush' for all");
	for (size_t i = 0; i < cli->arg_count && !ret; i++)
		ret = ps_rule_parse_key(cli->args[i], &keys[i], error);
	if (!ret)
		ret = ps_instance_edit(&cli->netns, false, delete, &d, error);
	if (!ret)
		tell(cli, d.removed);
	return ret;
}

int ps_cmd_flush(struct ps_cli *cli, struct ps_error *error)
{
	struct deleting d = {};
	int ret = ps_instance_edit(&cli->netns, false, delete_all, &d, error);

	if (!ret)
		tell(cli, d.removed);
	return ret;
}
