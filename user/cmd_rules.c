// SPDX-License-Identifier: GPL-2.0-only
/* portsteer del, flush */
#include <errno.h>
#include <stdio.h>

#include "cli.h"
#include "listeners.h"
#include "render.h"
#include "rules_file.h"
#include "util.h"

enum { HELD_PROCESSES = 8 };

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

/* Is it a rule of the set, unchanged? */
static bool is_kept(const struct ps_ruleset *rules, const struct ps_rule *rule)
{
	for (size_t i = 0; i < rules->count; i++) {
		if (ps_rule_equal(&rules->rules[i], rule))
			return true;
	}
	return false;
}

/* Keep, of the sockets that were read, those that a deleted bind rule has bound. */
static void pick_held(struct ps_sockets *sockets, const struct ps_ruleset *before,
		      const struct ps_ruleset *after)
{
	size_t kept = 0;

	for (size_t s = 0; s < sockets->count; s++) {
		bool held = false;

		for (size_t i = 0; i < before->count && !held; i++)
			held = ps_socket_is_bound_by(&sockets->items[s], &before->rules[i]) &&
			       !is_kept(after, &before->rules[i]);
		if (held)
			sockets->items[kept++] = sockets->items[s];
	}
	sockets->count = kept;
}

/* Bind rules are going: whose sockets have their ports? They are marked as such only as
 * long as the rules are in force. What cannot be read is not told. */
static void find_held(struct deleting *d, const struct ps_ruleset *before,
		      const struct ps_ruleset *after)
{
	_cleanup_free_ struct ps_ports *ports = calloc(1, sizeof(*ports));

	if (!ports)
		return;
	for (size_t i = 0; i < before->count; i++) {
		const struct ps_rule *rule = &before->rules[i];

		if (rule->mode == PS_MODE_BIND)
			ps_ports_add(ports, rule->proto, rule->front, rule->front_last);
	}
	if (ps_sockets_read(d->netns, ports, &d->held, NULL))
		return;
	pick_held(&d->held, before, after);
	ps_sockets_find_processes(&d->held, HELD_PROCESSES);
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
		find_held(d, &before, rules);
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
		ret = ps_rule_keys_scope(&list, cli->values.of[PS_OPT_FROM], keys, cli->arg_count,
					 error);
	if (!ret)
		ret = delete_and_tell(cli, keys, cli->arg_count, error);
	ps_rule_list_clear(&list);
	return ret;
}

int ps_cmd_flush(struct ps_cli *cli, struct ps_error *error)
{
	return delete_and_tell(cli, NULL, 0, error);
}
