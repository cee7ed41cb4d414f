// SPDX-License-Identifier: GPL-2.0-only
/* portsteer add */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "render.h"
#include "report.h"
#include "rules_file.h"
#include "util.h"

enum { TOLD_ONE_BY_ONE = 16 };

/* An add under way. */
struct adding {
	const struct ps_cli *cli;
	struct ps_rule_list list;
	unsigned char *inferred; /* for each rule: its owner is not the user's word */
};

static void clear(struct adding *a)
{
	ps_rule_list_clear(&a->list);
	free(a->inferred);
}

static int refuse_two_users(const struct ps_rule *rule, uint32_t one, uint32_t other,
			    struct ps_error *error)
{
	char text[PS_RULE_TEXT];

	ps_rule_format(rule, text);
	return ps_fail(error, PS_EXIT_USAGE, EINVAL,
		       "no owner for %s: users %u and %u both listen on its target; choose with "
		       "--user, or with --cgroup",
		       text, one, other);
}

static int refuse_no_listener(const struct ps_rule *rule, uint32_t port, struct ps_error *error)
{
	char text[PS_RULE_TEXT];

	ps_rule_format(rule, text);
	return ps_fail(error, PS_EXIT_USAGE, EINVAL,
		       "no owner for %s: nobody listens on port %u now who could be it; give "
		       "--user, --cgroup or --any-user, or start the server first",
		       text, port);
}

/* The uid that listens on all of the rule's targets now, alone. */
static int infer_owner(const struct ps_sockets *sockets, struct ps_rule *rule,
		       struct ps_error *error)
{
	size_t i = ps_sockets_from(sockets, rule->target), first = i;

	for (uint32_t port = rule->target; port <= ps_rule_target_last(rule); port++) {
		if (i == sockets->count || sockets->items[i].port != port)
			return refuse_no_listener(rule, port, error);
		for (; i < sockets->count && sockets->items[i].port == port; i++) {
			rule->owner.uid = sockets->items[first].uid;
			if (sockets->items[i].uid != rule->owner.uid)
				return refuse_two_users(rule, rule->owner.uid,
							sockets->items[i].uid, error);
		}
	}
	rule->owner.flags = PS_OWNER_USER;
	return 0;
}

/* Give an owner to the rules that have none. */
static int infer_owners(struct adding *a, struct ps_error *error)
{
	_cleanup_free_ struct ps_ports *ports = calloc(1, sizeof(*ports));
	struct ps_sockets sockets = {};
	bool any = false;
	int ret;

	a->inferred = calloc(a->list.count + 1, 1);
	if (!a->inferred || !ports)
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	for (size_t i = 0; i < a->list.count; i++) {
		const struct ps_rule *rule = &a->list.rules[i];

		a->inferred[i] = !rule->owner.flags;
		any = any || a->inferred[i];
		if (a->inferred[i])
			ps_ports_add(ports, rule->target, ps_rule_target_last(rule));
	}
	/* The owner is to be told to someone who can object. */
	if (any && a->cli->quiet)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "--quiet would hide who becomes the owner; give --user, --cgroup or "
			       "--any-user");
	ret = any ? ps_sockets_read(&a->cli->netns, ports, &sockets, error) : 0;
	for (size_t i = 0; i < a->list.count && !ret; i++) {
		if (a->inferred[i])
			ret = infer_owner(&sockets, &a->list.rules[i], error);
	}
	ps_sockets_clear(&sockets);
	return ret;
}

static int add_all(struct ps_ruleset *rules, void *data, struct ps_error *error)
{
	const struct adding *a = data;

	return ps_ruleset_add(rules, a->list.rules, a->list.count, error);
}

static int read_rules(struct adding *a, struct ps_error *error)
{
	const struct ps_cli *cli = a->cli;
	const char *file = cli->values.of[PS_OPT_FILE];
	int ret;

	if (!cli->arg_count && !file)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "'portsteer add' needs a rule; give one as in 'portsteer add 80:8080 "
			       "--user www-data'");
	ret = ps_rule_list_add(&a->list, cli->args, cli->arg_count, &cli->values, error);
	if (!ret && file)
		ret = ps_rule_list_read(&a->list, file, &cli->values, error);
	return ret ? ret : infer_owners(a, error);
}

static void tell_inferred(const struct ps_rule *rule)
{
	const char *user = ps_user_name(rule->owner.uid);
	char text[PS_RULE_TEXT];

	ps_rule_format(rule, text);
	printf("owner of %s: user %s%s(uid %u), who listens on port %u now\n", text,
	       user ? user : "", user ? " " : "", rule->owner.uid, rule->target);
}

static void tell_added(const struct ps_report *report, const struct ps_rule *rule)
{
	char text[PS_RULE_TEXT], owner[PS_OWNER_TEXT];
	size_t listeners = report ? ps_report_count(report, rule) : 0;

	ps_rule_format(rule, text);
	ps_owner_text(&rule->owner, owner);
	printf("added %s for %s", text, owner);
	if (listeners)
		printf(": %zu listener%s\n", listeners, listeners == 1 ? "" : "s");
	else
		puts(report ? ": no listener yet" : "");
}

/* What was done, and what will happen. */
static void tell_text(const struct adding *a)
{
	struct ps_ruleset rules = { .rules = a->list.rules, .count = a->list.count };
	struct ps_report report = {};
	bool read;

	for (size_t i = 0; i < a->list.count; i++) {
		if (a->inferred[i])
			tell_inferred(&a->list.rules[i]);
	}
	if (a->list.count > TOLD_ONE_BY_ONE) {
		printf("added %zu rules\n", a->list.count);
		return;
	}
	read = !ps_report_read(&a->cli->netns, &rules, 0, &report, NULL) && !report.blind;
	for (size_t i = 0; i < a->list.count; i++)
		tell_added(read ? &report : NULL, &a->list.rules[i]);
	ps_report_clear(&report);
}

/* Rules' texts need no escaping. */
static void tell_json(const struct adding *a)
{
	const char *comma = "";
	char text[PS_RULE_TEXT];

	printf("{\"added\":%zu,\"removed\":0,\"inferred\":[", a->list.count);
	for (size_t i = 0; i < a->list.count; i++) {
		if (!a->inferred[i])
			continue;
		ps_rule_format(&a->list.rules[i], text);
		printf("%s{\"rule\":\"%s\",\"uid\":%u}", comma, text, a->list.rules[i].owner.uid);
		comma = ",";
	}
	puts("]}");
}

int ps_cmd_add(struct ps_cli *cli, struct ps_error *error)
{
	__attribute__((cleanup(clear))) struct adding a = { .cli = cli };
	int ret = read_rules(&a, error);

	if (!ret && a.list.count)
		ret = ps_instance_edit(&cli->netns, true, add_all, &a, error);
	if (ret)
		return ret;
	if (cli->json)
		tell_json(&a);
	else if (!cli->quiet)
		tell_text(&a);
	return 0;
}
