// SPDX-License-Identifier: GPL-2.0-only
#include "cli/cmd_rules.h"

#include <errno.h>
#include <stdio.h>

#include "cli/render_json.h"
#include "cli/rule_words.h"
#include "engine/change.h"
#include "engine/held.h"
#include "engine/instance.h"
#include "util/util.h"

/* `held`: sockets that keep the port of a deleted rule. */
static int tell(const struct ps_cli *cli, size_t removed, const struct ps_sockets *held,
		struct ps_error *error)
{
	char text[PS_SOCKET_TEXT];

	if (cli->json)
		return ps_json_removed(removed, held, error);
	if (cli->quiet)
		return 0;
	printf("deleted %zu rule%s\n", removed, removed == 1 ? "" : "s");
	for (size_t i = 0; i < held->count; i++) {
		ps_socket_text(&held->items[i], text);
		printf("note: %s keeps its port until it is closed\n", text);
	}
	return 0;
}

/* Delete the rules that the keys name, or all if `keys` is NULL. */
static int delete_rules(struct ps_cli *cli, const struct ps_rule *keys, size_t count,
			struct ps_error *error)
{
	__attribute__((cleanup(ps_change_end))) struct ps_change change = PS_CHANGE_NONE;
	__attribute__((cleanup(ps_sockets_clear))) struct ps_sockets held = {};
	size_t removed;
	int ret = ps_change_begin(&change, &cli->netns, false, error);

	if (ret)
		return ret;
	removed = change.rules.count;
	if (keys)
		ret = ps_ruleset_del(&change.rules, keys, count, error);
	else
		ps_ruleset_clear(&change.rules);
	if (ret)
		return ret;
	removed -= change.rules.count;
	ps_held_read(&cli->netns, &change.opened.state.rules, &change.rules, &held);
	ret = ps_change_commit(&change, NULL, error);
	return ret ? ret : tell(cli, removed, &held, error);
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
		ret = delete_rules(cli, keys, cli->arg_count, error);
	ps_rule_list_clear(&list);
	return ret;
}

int ps_cmd_flush(struct ps_cli *cli, struct ps_error *error)
{
	return delete_rules(cli, NULL, 0, error);
}
