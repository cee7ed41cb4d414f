// SPDX-License-Identifier: GPL-2.0-only
/* portsteer check, apply, save */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "config_files.h"
#include "render.h"
#include "rules_file.h"
#include "util.h"

/* Mistakes of one kind have its exit status. */
static enum ps_exit status_of(const struct ps_config *config)
{
	enum ps_exit status = config->mistakes[0].error.status;

	for (size_t i = 1; i < config->mistake_count; i++) {
		if (config->mistakes[i].error.status != status)
			return PS_EXIT_FAILED;
	}
	return status == PS_EXIT_USAGE ? PS_EXIT_FAILED : status;
}

/* All of the mistakes are told by main(), from cli->config. */
static int fail(const struct ps_config *config, struct ps_error *error)
{
	error->status = status_of(config);
	if (config->mistake_count == 1)
		ps_mistake_text(config, &config->mistakes[0], error->message,
				sizeof(error->message));
	else
		snprintf(error->message, sizeof(error->message),
			 "the configuration has %s%zu mistakes, and nothing is changed; correct them",
			 config->more ? "more than " : "", config->mistake_count);
	return -EINVAL;
}

static int read_config(struct ps_cli *cli, struct ps_ruleset *rules, struct ps_error *error)
{
	struct ps_config *config = &cli->config;
	int ret;

	config->list.resolver = &ps_resolver;
	ret = ps_config_read(config, cli->values.of[PS_OPT_FILE], error);
	if (ret)
		return ret;
	ret = ps_config_finish(config, rules);
	if (ret == -ENOMEM)
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	return ret ? fail(config, error) : 0;
}

static void tell_no_files(void)
{
	puts("there is no configuration: no portsteer/portsteer.conf, and nothing in "
	     "portsteer/portsteer.conf.d, in /etc, /run or /usr/lib");
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
		printf("the configuration is good: %zu rule%s in %zu file%s\n", rules.count,
		       rules.count == 1 ? "" : "s", cli->config.file_count,
		       cli->config.file_count == 1 ? "" : "s");
	ps_ruleset_clear(&rules);
	return ret;
}

/* An apply under way. */
struct applying {
	struct ps_ruleset rules; /* of the configuration; then those that were in force */
	struct ps_diff diff;
};

static void clear(struct applying *a)
{
	ps_ruleset_clear(&a->rules);
}

/* Put the rules of the configuration in the place of those in force. */
static int exchange(struct ps_ruleset *rules, void *data, struct ps_error *error)
{
	struct applying *a = data;
	struct ps_ruleset before = *rules;

	(void)error;
	a->diff = ps_ruleset_diff(rules, &a->rules);
	*rules = a->rules;
	a->rules = before;
	return 0;
}

static int tell(const struct ps_cli *cli, const struct applying *a, struct ps_error *error)
{
	const struct ps_diff *d = &a->diff;

	if (cli->json)
		return ps_json_applied(d, error);
	if (cli->quiet)
		return 0;
	if (d->added || d->removed || d->changed)
		printf("applied: %zu added, %zu removed, %zu changed, %zu as before\n", d->added,
		       d->removed, d->changed, d->same);
	else
		printf("nothing to change: %zu rule%s\n", d->same, d->same == 1 ? "" : "s");
	return 0;
}

static int dry_run(const struct ps_cli *cli, const struct applying *a, struct ps_error *error)
{
	struct ps_ruleset present;
	int ret = ps_instance_rules(&cli->netns, &present, error);

	/* What is not loaded has no rules. */
	if (ret && ret != -ESRCH)
		return ret;
	ret = 0;
	if (cli->json)
		ret = ps_json_differences(&present, &a->rules, error);
	else if (!cli->quiet)
		ps_text_differences(&present, &a->rules);
	ps_ruleset_clear(&present);
	return ret;
}

int ps_cmd_apply(struct ps_cli *cli, struct ps_error *error)
{
	__attribute__((cleanup(clear))) struct applying a = {};
	int ret = read_config(cli, &a.rules, error);

	if (ret)
		return ret;
	/* Rules that somebody has added by hand are not for a fresh package to remove. */
	if (!cli->config.file_count) {
		if (cli->json)
			return ps_json_applied(&a.diff, error);
		if (!cli->quiet)
			tell_no_files();
		return 0;
	}
	if (cli->values.of[PS_OPT_DRY_RUN])
		return dry_run(cli, &a, error);
	/* No rules need no instance. */
	ret = ps_instance_edit(&cli->netns, a.rules.count > 0, exchange, &a, error);
	if (ret == -ESRCH && !a.rules.count)
		ret = 0;
	return ret ? ret : tell(cli, &a, error);
}

/* A user's name, if it is that user's alone: else the number is saved. */
static const char *saved_name(uint32_t uid)
{
	const char *name = ps_user_name(uid);
	const struct passwd *entry = name ? getpwnam(name) : NULL;

	return entry && entry->pw_uid == uid ? name : NULL;
}

int ps_cmd_save(struct ps_cli *cli, struct ps_error *error)
{
	struct ps_ruleset rules;
	char *text = NULL;
	size_t size;
	int ret = ps_instance_rules(&cli->netns, &rules, error);

	if (ret)
		return ret;
	ret = ps_config_write(&rules, saved_name, &text, &size);
	ps_ruleset_clear(&rules);
	if (ret == -E2BIG)
		return ps_fail(error, PS_EXIT_FAILED, E2BIG,
			       "the configuration would be larger than %d MiB, more than 'portsteer "
			       "apply' reads; use ranges of ports",
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
