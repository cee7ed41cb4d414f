// SPDX-License-Identifier: GPL-2.0-only
#include "cli/cmd_rules.h"

#include <errno.h>
#include <stdio.h>

#include "cli/render_json.h"
#include "cli/rules_file.h"
#include "engine/held.h"
#include "engine/instance.h"
#include "util/util.h"

struct deleting {
	const struct ps_netns *netns;
	const struct ps_rule *keys; /* NULL: all rules */
	size_t count, removed;
	struct ps_sockets held; /* sockets that keep the port of a deleted rule */
};

static void clear(struct deleting *d)
{
	ps_sockets_clear(&d->held);
}

static int delete (struct ps_ruleset *rules, void *data, struct ps_error *error)
{
	struct deleting *d = data;
	struct ps_ruleset before = {};
	size_t count = rules->count;
	int ret = 0;

	if (ps_ruleset_has_mode(rules, PS_MODE_BIND) && ps_ruleset_copy(rules, &before))
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	if (d->keys)
		ret = ps_ruleset_del(rules, d->keys, d->count, error);
	else
		ps_ruleset_clear(rules);
	d->removed = count - rules->count;
	if (!ret && before.count)
		ps_held_read(d->netns, &before, rules, &d->held);
	ps_ruleset_clear(&before);
	return ret;
}

static int tell(const struct ps_cli *cli, const struct deleting *d, struct ps_error *error)
{
	char text[PS_SOCKET_TEXT];

	if (cli->json)
		return ps_json_removed(d->removed, &d->held, error);
	if (cli->quiet)
		return 0;
	printf("deleted %zu rule%s\n", d->removed, d->removed == 1 ? "" : "s");
	for (size_t i = 0; i < d->held.count; i++) {
		ps_socket_text(&d->held.items[i], text);
		printf("note: %s keeps its port until it is closed\n", text);
	}
	return 0;
}

static int delete_and_tell(struct ps_cli *cli, const struct ps_rule *keys, size_t count,
			   struct ps_error *error)
{
	__attribute__((cleanup(clear))) struct deleting d = { .netns = &cli->netns,
							      .keys = keys,
							      .count = count };
	int ret = ps_instance_edit(&cli->netns, false, delete, &d, error);

	return ret ? ret : tell(cli, &d, error);
}

int ps_cmd_del(struct ps_cli *cli, struct ps_error *error)
{
	_cleanup_free_ struct ps_rule *keys = calloc(cli->arg_count + 1, sizeof(*keys));
	struct ps_rule_list list = { .resolver = &ps_resolver };
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
		ret = ps_rule_keys_scope(&list, cli->values.of[PS_OPT_CLIENT_CGROUP], keys,
					 cli->arg_count, error);
	if (!ret)
		ret = delete_and_tell(cli, keys, cli->arg_count, error);
	ps_rule_list_clear(&list);
	return ret;
}

int ps_cmd_flush(struct ps_cli *cli, struct ps_error *error)
{
	return delete_and_tell(cli, NULL, 0, error);
}
