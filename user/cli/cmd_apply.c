// SPDX-License-Identifier: GPL-2.0-only
#include "cli/cmd_apply.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "cli/render_json.h"
#include "cli/render_text.h"
#include "cli/rule_words.h"
#include "config/config_files.h"
#include "config/config_write.h"
#include "config/finish.h"
#include "engine/change.h"
#include "engine/held.h"
#include "engine/instance.h"
#include "engine/notes.h"
#include "os/kernel_services.h"
#include "os/users.h"
#include "util/text.h"
#include "util/util.h"

/* A pipe whose other end has failed must not delete all rules. */
static int refuse_empty(struct ps_config *config)
{
	struct ps_error error;

	ps_fail(&error, PS_EXIT_FAILED, ENODATA,
		"it has no section and would delete all rules that 'portsteer apply' made; use "
		"'portsteer flush' to delete all rules, or give --allow-empty");
	return ps_config_mistake(config, (struct ps_source){}, &error);
}

/* The file of all rules is called so that it is found from anywhere. */
static int name_origins(const char *path, struct ps_ruleset *rules)
{
	_cleanup_free_ char *whole = NULL;

	if (!path || !strcmp(path, "-") || *path == '/')
		return 0;
	whole = realpath(path, NULL);
	for (size_t i = 0; i < rules->count && whole; i++) {
		free(rules->rules[i].origin.file);
		rules->rules[i].origin.file = strdup(whole);
		if (!rules->rules[i].origin.file)
			return -ENOMEM;
	}
	return 0;
}

static int read_config(struct ps_cli *cli, struct ps_ruleset *rules, struct ps_error *error)
{
	struct ps_config *config = &cli->config;
	int ret;

	config->list.resolver = &ps_resolver;
	ret = ps_config_read(config, cli->values.of[PS_OPT_FILE], error);
	if (ret)
		return ret;
	if (cli->values.of[PS_OPT_FILE] && !config->section_count && !config->mistake_count &&
	    !cli->values.of[PS_OPT_ALLOW_EMPTY])
		ret = refuse_empty(config);
	if (!ret)
		ret = ps_config_finish(config, rules);
	if (ret != -ENOMEM && name_origins(cli->values.of[PS_OPT_FILE], rules))
		ret = -ENOMEM;
	if (ret == -ENOMEM)
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	return ret ? ps_mistakes_fail(config, error) : 0;
}

static void tell_no_files(void)
{
	puts("there is no configuration: no portsteer/portsteer.conf, and nothing in "
	     "portsteer/portsteer.conf.d, in /etc, /run or /usr/lib");
}

static void tell_names(const struct ps_config *config)
{
	for (size_t i = 0; i < config->list.note_count; i++)
		printf("note: %s\n", config->list.notes[i]);
}

int ps_cmd_check(struct ps_cli *cli, struct ps_error *error)
{
	struct ps_ruleset rules = {};
	int ret = read_config(cli, &rules, error);

	if (!ret && cli->json)
		ret = ps_json_checked(&cli->config, &rules, error);
	else if (!ret && !cli->quiet && !cli->config.file_count)
		tell_no_files();
	else if (!ret && !cli->quiet)
		printf("the configuration is valid: %zu rule%s in %zu file%s\n", rules.count,
		       rules.count == 1 ? "" : "s", cli->config.file_count,
		       cli->config.file_count == 1 ? "" : "s");
	if (!ret && !cli->json && !cli->quiet)
		tell_names(&cli->config);
	ps_ruleset_clear(&rules);
	return ret;
}

/* More than these are not looked at one by one. */
enum { NOTED_CHANGES = 256, NOTED_RULES = 4096 };

/* An apply under way. */
struct applying {
	const struct ps_cli *cli;
	struct ps_ruleset rules; /* of the configuration */
	struct ps_ruleset hand; /* rules that it did not make, and leaves */
	struct ps_diff diff;
	struct ps_rule fresh[NOTED_CHANGES]; /* rules that are new or changed */
	size_t fresh_count;
	struct ps_look look; /* the sockets on all ports of those */
	struct ps_sockets held;
	struct ps_notes notes;
};

static void clear(struct applying *a)
{
	ps_ruleset_clear(&a->rules);
	ps_ruleset_clear(&a->hand);
	for (size_t i = 0; i < a->fresh_count; i++)
		ps_rule_clear(&a->fresh[i]);
	ps_look_clear(&a->look);
	ps_sockets_clear(&a->held);
	ps_notes_clear(&a->notes);
}

static void keep_fresh(const struct ps_rule *before, const struct ps_rule *after, void *data)
{
	struct applying *a = data;

	if (after && (!before || !ps_rule_equal(before, after)) &&
	    !ps_rule_copy(after, &a->fresh[a->fresh_count]))
		a->fresh_count++;
}

static bool is_noted(const struct applying *a)
{
	const struct ps_diff *d = &a->diff;

	return d->added + d->removed + d->changed <= NOTED_CHANGES && d->same <= NOTED_RULES &&
	       (!a->cli->quiet || a->cli->json);
}

static int compare_rules(const void *left, const void *right)
{
	return ps_rule_compare(left, right);
}

/* Is the rule in force one that somebody else made, and that the configuration does not have? */
static bool is_left(const struct applying *a, const struct ps_rule *rule)
{
	const struct ps_rule *same = a->rules.count ? bsearch(rule, a->rules.rules, a->rules.count,
							      sizeof(*rule), compare_rules) :
						      NULL;

	return !rule->origin.file && !(same && ps_rule_equal(same, rule));
}

/* Rules that were added by hand stay, and with them those of the configuration must be able to
 * be in force. */
static int keep_hand(struct applying *a, const struct ps_ruleset *present, struct ps_error *error)
{
	char why[sizeof(error->message)];
	int ret = 0;

	for (size_t i = 0; i < present->count && !ret; i++) {
		if (is_left(a, &present->rules[i]))
			ret = ps_ruleset_append(&a->hand, &present->rules[i]);
	}
	if (ret)
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	ret = ps_ruleset_add(&a->rules, a->hand.rules, a->hand.count, error);
	if (ret && ret != -ENOMEM) {
		memcpy(why, error->message, sizeof(why));
		snprintf(error->message, sizeof(error->message),
			 "%.*s (rules added by hand stay; 'portsteer del' removes one, "
			 "'portsteer apply --only' all of them)",
			 (int)ps_utf8_cut(why, 800), why);
	}
	return ret;
}

/* What is to be in force. Where rules are already, they are not exchanged for a part. */
static int choose_rules(struct applying *a, const struct ps_ruleset *present,
			struct ps_error *error)
{
	if (a->cli->config.partial && present->count)
		return ps_fail(error, ps_mistakes_status(&a->cli->config), EINVAL,
			       "rules are in force and the configuration has mistakes, so nothing "
			       "was changed; correct them");
	return a->cli->values.of[PS_OPT_ONLY] ? 0 : keep_hand(a, present, error);
}

/* Put the rules of the configuration in the place of those in force. */
static int exchange(struct applying *a, struct ps_change *change, struct ps_error *error)
{
	const struct ps_ruleset *present = &change->opened.state.rules;
	int ret = choose_rules(a, present, error);

	if (ret)
		return ret;
	a->diff = ps_ruleset_diff(present, &a->rules);
	if (is_noted(a)) {
		ps_ruleset_compare(present, &a->rules, keep_fresh, a);
		ps_report_ports(a->fresh, a->fresh_count, &a->look.ports);
		if (a->diff.removed || a->diff.changed)
			ps_held_read(&a->cli->netns, present, &a->rules, &a->held);
	}
	ps_ruleset_clear(&change->rules);
	change->rules = a->rules;
	a->rules = (struct ps_ruleset){};
	return ps_change_commit(change, &a->look, error);
}

/* Who is in the way of the new rules; they are in force, so what cannot be said now is no
 * failure. */
static void read_notes(struct applying *a, struct ps_change *change)
{
	__attribute__((cleanup(ps_report_clear))) struct ps_report report = {};

	if (a->fresh_count && !ps_report_take(change, &a->look, &report))
		ps_notes_read(&report, a->fresh, a->fresh_count, &a->notes);
}

static void tell_hand(const struct applying *a)
{
	enum { SHOWN = 16 };
	char text[PS_RULE_TEXT];

	if (!a->hand.count)
		return;
	printf("note: %zu rule%s added by hand stay%s:", a->hand.count,
	       a->hand.count == 1 ? "" : "s", a->hand.count == 1 ? "s" : "");
	for (size_t i = 0; i < a->hand.count && i < SHOWN; i++) {
		ps_rule_format(&a->hand.rules[i], text);
		printf("%s%s", i ? ", " : " ", text);
	}
	printf("%s; 'portsteer apply --only' deletes what is not in the configuration\n",
	       a->hand.count > SHOWN ? ", ..." : "");
}

static void tell_text(const struct applying *a)
{
	const struct ps_diff *d = &a->diff;
	char text[PS_SOCKET_TEXT];

	if (d->added || d->removed || d->changed)
		printf("applied: %zu added, %zu removed, %zu changed, %zu unchanged\n", d->added,
		       d->removed, d->changed, d->same);
	else
		printf("nothing to change: %zu rule%s\n", d->same, d->same == 1 ? "" : "s");
	tell_hand(a);
	for (size_t i = 0; i < a->notes.count; i++)
		printf("note: %s\n", a->notes.lines[i]);
	for (size_t i = 0; i < a->held.count; i++) {
		ps_socket_text(&a->held.items[i], text);
		printf("note: %s keeps its port until it is closed\n", text);
	}
}

static int tell(struct applying *a, struct ps_error *error)
{
	if (a->cli->json)
		return ps_json_applied(&(struct ps_applied){ &a->diff, &a->notes, &a->held,
							     &a->hand },
				       error);
	if (!a->cli->quiet)
		tell_text(a);
	return 0;
}

static int dry_run(const struct ps_cli *cli, struct applying *a, struct ps_error *error)
{
	struct ps_ruleset present;
	int ret = ps_instance_rules(&cli->netns, &present, error);

	/* What is not loaded has no rules. */
	if (ret && ret != -ESRCH)
		return ret;
	if (!cli->config.file_count && !cli->json && !cli->quiet)
		tell_no_files();
	ret = cli->config.file_count ? choose_rules(a, &present, error) : 0;
	if (!ret && cli->json)
		ret = ps_json_differences(&present, cli->config.file_count ? &a->rules : &present,
					  &a->hand, error);
	else if (!ret && !cli->quiet && cli->config.file_count)
		ps_text_differences(&present, &a->rules, &a->hand);
	ps_ruleset_clear(&present);
	return ret;
}

/* Some words of a list, as far as there is room. */
struct words {
	char text[280];
	bool cut;
};

static bool has_word(const struct words *w, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = w->text; (at = strstr(at, word)); at++) {
		if ((at == w->text || at[-1] == ' ') && (!at[length] || at[length] == ' '))
			return true;
	}
	return false;
}

static void add_word(struct words *w, const char *word)
{
	size_t used = strlen(w->text);

	if (has_word(w, word))
		return;
	if (used + strlen(word) + 8 < sizeof(w->text))
		snprintf(w->text + used, sizeof(w->text) - used, "%s%s", used ? " " : "", word);
	else if (!w->cut)
		snprintf(w->text + used, sizeof(w->text) - used, " ...");
	w->cut |= used + strlen(word) + 8 >= sizeof(w->text);
}

/* A section need not have a name that can be read. */
static int tell_part(const struct words *sections, const struct words *refused, size_t count,
		     enum ps_exit status, struct ps_error *error)
{
	bool named = *sections->text, blocks = *refused->text;

	return ps_fail(error, status, EINVAL,
		       "%zu rule%s in force, but %s%s%s%s%s%s; correct it and run 'portsteer apply'",
		       count, count == 1 ? " is" : "s are",
		       named || !blocks ? "sections with a mistake are "
					  "missing" :
					  "",
		       named ? ": " : "", sections->text, named && blocks ? ", " : "",
		       blocks ? "connections are refused to " : "", refused->text);
}

/* Only sections without a mistake are in force: what is missing? */
static int fail_part(const struct applying *a, const struct ps_ruleset *rules,
		     struct ps_error *error)
{
	const struct ps_config *config = &a->cli->config;
	struct words sections = {}, refused = {};
	char text[PS_RULE_TEXT];
	size_t blocks = 0;

	for (size_t i = 0; i < config->section_count; i++) {
		if (!config->broken[config->sections[i].place.section - 1])
			continue;
		snprintf(text, sizeof(text), "[%s]", config->sections[i].name);
		add_word(&sections, text);
	}
	for (size_t i = 0; i < rules->count; i++) {
		if (!ps_rule_is_block(&rules->rules[i]))
			continue;
		ps_rule_format(&rules->rules[i], text);
		add_word(&refused, text);
		blocks++;
	}
	return tell_part(&sections, &refused, rules->count - blocks, ps_mistakes_status(config),
			 error);
}

/* Apply what has been read. `part`: a copy of it, if it is only a part. */
static int apply(struct applying *a, const struct ps_ruleset *part, struct ps_error *error)
{
	__attribute__((cleanup(ps_change_end))) struct ps_change change = PS_CHANGE_NONE;
	const struct ps_cli *cli = a->cli;
	bool any = a->rules.count;
	int ret = ps_change_begin(&change, &cli->netns, any, error);

	if (!ret)
		ret = exchange(a, &change, error);
	/* No rules need no instance. */
	if (ret == -ESRCH && !any)
		ret = 0;
	if (ret)
		return ret;
	for (size_t i = 0; i < cli->config.list.note_count; i++)
		ps_notes_add(&a->notes, cli->config.list.notes[i]);
	read_notes(a, &change);
	/* Under --json there is no second object. */
	if (!cli->config.partial || !cli->json)
		ret = tell(a, error);
	return !ret && cli->config.partial ? fail_part(a, part, error) : ret;
}

/* Rules that are in force are not refused for a module that was loaded since. */
static bool has_rules(const struct ps_cli *cli)
{
	struct ps_ruleset present = {};
	bool has = !ps_instance_rules(&cli->netns, &present, NULL) && present.count;

	ps_ruleset_clear(&present);
	return has;
}

int ps_cmd_apply(struct ps_cli *cli, struct ps_error *error)
{
	__attribute__((cleanup(clear))) struct applying a = { .cli = cli };
	__attribute__((cleanup(ps_ruleset_clear))) struct ps_ruleset part = {};
	int ret;

	cli->config.keep_going = cli->values.of[PS_OPT_KEEP_GOING] &&
				 !cli->values.of[PS_OPT_DRY_RUN];
	/* One rule for a port of the kernel's own must not keep the others from coming into force. */
	if (cli->config.keep_going && !has_rules(cli))
		cli->config.find_refused = ps_services_find;
	ret = read_config(cli, &a.rules, error);
	if (ret && !cli->config.partial)
		return ret;
	if (cli->values.of[PS_OPT_DRY_RUN])
		return dry_run(cli, &a, error);
	/* Rules that somebody has added by hand are not for a fresh package to remove. */
	if (!cli->config.file_count) {
		if (!cli->quiet && !cli->json)
			tell_no_files();
		return cli->json ? tell(&a, error) : 0;
	}
	if (cli->config.partial && ps_ruleset_copy(&a.rules, &part))
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	return apply(&a, &part, error);
}

int ps_cmd_save(struct ps_cli *cli, struct ps_error *error)
{
	struct ps_ruleset rules;
	char *text = NULL;
	size_t size;
	int ret = ps_instance_rules(&cli->netns, &rules, error);

	if (ret)
		return ret;
	ret = ps_config_write(&rules, ps_user_name, &text, &size);
	ps_ruleset_clear(&rules);
	if (ret == -E2BIG)
		return ps_fail(error, PS_EXIT_FAILED, E2BIG,
			       "the configuration would be larger than %d MiB, more than "
			       "'portsteer apply' reads; use port ranges",
			       PS_CONFIG_SIZE >> 20);
	if (ret)
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	if (cli->json)
		ret = ps_json_saved(text, error);
	else if (!cli->quiet)
		fputs(text, stdout);
	free(text);
	return ret;
}
