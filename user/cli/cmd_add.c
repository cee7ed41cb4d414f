// SPDX-License-Identifier: GPL-2.0-only
#include "cli/cmd_add.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/render_json.h"
#include "cli/render_text.h"
#include "cli/rule_words.h"
#include "engine/change.h"
#include "engine/report.h"
#include "os/users.h"
#include "util/text.h"
#include "util/util.h"

enum { TOLD_ONE_BY_ONE = 16 };

/* Multicast DNS. Who has it is hardly ever the server that a rule is for, but avahi or
 * systemd-resolved, or a browser: it is shared. */
enum { MDNS_PORT = 5353 };

/* An add under way. */
struct adding {
	const struct ps_cli *cli;
	struct ps_config *config; /* cli's, of the file that is given */
	bool grants; /* `allow` */
	struct ps_rule_list *list; /* the configuration's */
	unsigned char *inferred; /* for each rule: its owner is not the user's word */
	struct ps_look look; /* the sockets on all ports of the rules */
};

static void clear(struct adding *a)
{
	free(a->inferred);
	ps_look_clear(&a->look);
}

static int refuse_two_users(const struct ps_rule *rule, uint32_t one, uint32_t other,
			    struct ps_error *error)
{
	char text[PS_RULE_TEXT];

	ps_rule_format(rule, text);
	return ps_fail(error, PS_EXIT_USAGE, EINVAL,
		       "no owner for %s: users %u and %u both listen on its target; choose one "
		       "with --user, or use --cgroup",
		       text, one, other);
}

static int refuse_no_listener(const struct ps_rule *rule, uint32_t port, struct ps_error *error)
{
	char text[PS_RULE_TEXT];

	ps_rule_format(rule, text);
	return ps_fail(error, PS_EXIT_USAGE, EINVAL,
		       "no owner for %s: no process that could be it has port %u open; give --user, "
		       "--cgroup or --any-user, or start the server first",
		       text, port);
}

static int refuse_mdns(const struct ps_rule *rule, struct ps_error *error)
{
	char text[PS_RULE_TEXT];

	ps_rule_format(rule, text);
	return ps_fail(error, PS_EXIT_USAGE, EINVAL,
		       "no owner for %s: multicast DNS shares port %d, so its current listener "
		       "need not be the server; give --user, --cgroup or --any-user, or choose "
		       "another target",
		       text, MDNS_PORT);
}

static bool is_on(const struct ps_sockets *sockets, size_t i, uint8_t proto, uint32_t port)
{
	return i < sockets->count && sockets->items[i].proto == proto &&
	       sockets->items[i].port == port;
}

/* The uid that listens on all of the rule's targets now, alone. */
static int infer_owner(const struct ps_sockets *sockets, struct ps_rule *rule,
		       struct ps_error *error)
{
	size_t i = ps_sockets_from(sockets, rule->proto, rule->target), first = i;

	if (rule->target <= MDNS_PORT && ps_rule_target_last(rule) >= MDNS_PORT)
		return refuse_mdns(rule, error);
	for (uint32_t port = rule->target; port <= ps_rule_target_last(rule); port++) {
		if (!is_on(sockets, i, rule->proto, port))
			return refuse_no_listener(rule, port, error);
		for (; is_on(sockets, i, rule->proto, port); i++) {
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
	__attribute__((cleanup(ps_sockets_clear))) struct ps_sockets sockets = {};
	bool any = false;
	int ret;

	/* A granted port is not yet open to whom it is granted: whoever has it is somebody else. */
	for (size_t i = 0; i < a->list->count; i++) {
		if (ps_rule_is_grant(&a->list->rules[i]) && !a->list->rules[i].owner.flags)
			return ps_fail(error, PS_EXIT_USAGE, EINVAL,
				       "'%s' needs an owner; give --user, --cgroup or --any-user",
				       a->grants ? "portsteer allow" : "allow");
	}
	a->inferred = calloc(a->list->count + 1, 1);
	if (!a->inferred || !ports)
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	for (size_t i = 0; i < a->list->count; i++) {
		const struct ps_rule *rule = &a->list->rules[i];

		a->inferred[i] = !rule->owner.flags && !ps_rule_is_fixed(rule);
		any = any || a->inferred[i];
		if (a->inferred[i])
			ps_ports_add(ports, rule->proto, rule->target, ps_rule_target_last(rule));
	}
	if (!any)
		return 0;
	/* The owner is to be told to someone who can object. */
	if (a->cli->quiet)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "--quiet would hide who becomes the owner; give --user, --cgroup or "
			       "--any-user");
	ret = ps_sockets_read(&a->cli->netns, ports, &sockets, error);
	for (size_t i = 0; i < a->list->count && !ret; i++) {
		if (a->inferred[i])
			ret = infer_owner(&sockets, &a->list->rules[i], error);
	}
	return ret;
}

static int read_rules(struct adding *a, struct ps_error *error)
{
	const struct ps_cli *cli = a->cli;
	const char *file = cli->values.of[PS_OPT_FILE];
	int ret = 0;

	if (!cli->arg_count && !file)
		return ps_fail(
			error, PS_EXIT_USAGE, EINVAL,
			a->grants ?
				"'portsteer allow' needs a port; give one as in 'portsteer allow "
				"443/tcp --user www-data'" :
				"'portsteer add' needs a rule; give one as in 'portsteer add "
				"80:8080 --cgroup unit:nginx.service'");
	/* A mistake in the options is none of the file's. */
	if (file)
		ret = ps_rule_list_add(a->list, NULL, 0, a->grants, &cli->values, error);
	if (!ret && file)
		ret = ps_rule_list_read(a->config, file, &cli->values, error);
	if (!ret)
		ret = ps_rule_list_add(a->list, cli->args, cli->arg_count, a->grants, &cli->values,
				       error);
	/* A pipe whose other end has failed, for one. */
	if (!ret && file && !a->list->count)
		ret = ps_fail(error, PS_EXIT_USAGE, ENODATA,
			      "%.200s contains no rule, so nothing was added; write a section with "
			      "ports or allow",
			      strcmp(file, "-") ? file : "(standard input)");
	return ret ? ret : infer_owners(a, error);
}

static void tell_inferred(const struct ps_rule *rule)
{
	const char *user = ps_user_name(rule->owner.uid);
	char text[PS_RULE_TEXT];

	ps_rule_format(rule, text);
	printf("owner of %s: user %s%s(uid %u), which listens on port %u\n", text, user ? user : "",
	       user ? " " : "", rule->owner.uid, rule->target);
}

static void tell_added(const struct ps_report *report, const struct ps_rule *rule)
{
	char text[PS_RULE_TEXT], owner[PS_OWNER_TEXT], scope[4 * PS_CGROUP_PATH];
	size_t serving = report ? ps_report_each(report, ps_report_rule(report, rule), PS_SERVES,
						 NULL, NULL) :
				  0;
	bool bind = rule->mode == PS_MODE_BIND;

	ps_rule_format(rule, text);
	ps_owner_text(&rule->owner, owner);
	printf("added %s for %s", text, owner);
	if (rule->scope) {
		ps_printable(rule->scope, scope, sizeof(scope));
		printf(", client cgroup %s", scope);
	}
	if (ps_rule_is_fixed(rule))
		puts(": fixed destination, owner not checked");
	else if (serving)
		printf(": %zu %s%s\n", serving, bind ? "socket" : "listener",
		       serving == 1 ? "" : "s");
	else if (report)
		puts(bind ? ": not bound yet" : ": no listener yet");
	else
		puts("");
}

/* What was done, and what will happen; `report` is NULL if it could not be read. */
static void tell_text(const struct adding *a, const struct ps_report *report,
		      const struct ps_notes *notes)
{
	for (size_t i = 0; i < a->list->count; i++) {
		if (a->inferred[i])
			tell_inferred(&a->list->rules[i]);
	}
	if (a->list->count > TOLD_ONE_BY_ONE)
		printf("added %zu rules\n", a->list->count);
	for (size_t i = 0; i < a->list->count && a->list->count <= TOLD_ONE_BY_ONE; i++)
		tell_added(report, &a->list->rules[i]);
	for (size_t i = 0; i < notes->count; i++)
		printf("note: %s\n", notes->lines[i]);
}

/* An owner that nobody named, and that is more than the server. */
static void note_inferred(const struct adding *a, struct ps_report *report, struct ps_notes *notes)
{
	for (size_t i = 0; i < a->list->count && notes->count < PS_NAME_NOTES; i++) {
		if (a->inferred[i])
			ps_notes_inferred(report, &a->list->rules[i], notes);
	}
}

/* What the names mean, and what the owner is who was not named. */
static void note_names(const struct adding *a, struct ps_notes *notes)
{
	for (size_t i = 0; i < a->list->note_count; i++)
		ps_notes_add(notes, a->list->notes[i]);
	for (size_t i = 0; i < a->list->count && notes->count < PS_NAME_NOTES; i++) {
		_cleanup_free_ char *note = NULL;

		if (a->inferred[i])
			note = ps_user_note(a->list->rules[i].owner.uid);
		if (note)
			ps_notes_add(notes, note);
	}
}

/* The rules are in force: whatever cannot be said now is no failure. */
static int tell(struct adding *a, struct ps_change *change, struct ps_error *error)
{
	__attribute__((cleanup(ps_report_clear))) struct ps_report report = {};
	__attribute__((cleanup(ps_notes_clear))) struct ps_notes notes = {};
	struct ps_added added = { a->list->rules, a->list->count, a->inferred, &notes };
	bool read = !ps_report_take(change, &a->look, &report);

	note_names(a, &notes);
	if (read) {
		ps_notes_read(&report, a->list->rules, a->list->count, &notes);
		note_inferred(a, &report, &notes);
	}
	if (a->cli->json)
		return ps_json_added(&added, error);
	tell_text(a, read ? &report : NULL, &notes);
	return 0;
}

static int add(struct ps_cli *cli, bool grants, struct ps_error *error)
{
	__attribute__((cleanup(ps_change_end))) struct ps_change change = PS_CHANGE_NONE;
	__attribute__((cleanup(clear))) struct adding a = {
		.cli = cli, .config = &cli->config, .grants = grants, .list = &cli->config.list
	};
	int ret;

	a.list->resolver = &ps_resolver;
	ret = read_rules(&a, error);
	if (ret)
		return ret;
	ret = ps_change_begin(&change, &cli->netns, true, error);
	if (ret)
		return ret;
	ret = ps_ruleset_add(&change.rules, a.list->rules, a.list->count, error);
	if (ret)
		return ret;
	ps_report_ports(a.list->rules, a.list->count, &a.look.ports);
	ret = ps_change_commit(&change, &a.look, error);
	if (ret)
		return ret;
	return cli->quiet && !cli->json ? 0 : tell(&a, &change, error);
}

int ps_cmd_add(struct ps_cli *cli, struct ps_error *error)
{
	return add(cli, false, error);
}

int ps_cmd_allow(struct ps_cli *cli, struct ps_error *error)
{
	return add(cli, true, error);
}
