// SPDX-License-Identifier: GPL-2.0-only
/* The way from argv to a command and to an exit status. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "cli/cli.h"
#include "cli/cmd_life.h"
#include "cli/cmd_show.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/render_json.h"
#include "cli/suggest.h"
#include "engine/strays.h"
#include "kernel/bpffs.h"
#include "kernel/world.h"
#include "os/netns.h"
#include "os/users.h"
#include "rule/rule_check.h"
#include "util/util.h"

static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_DEBUG ? 0 : vfprintf(stderr, format, args);
}

static int choose_color(struct ps_cli *cli, struct ps_error *error)
{
	const char *value = cli->values.of[PS_OPT_COLOR], *no_color = getenv("NO_COLOR");

	if (!value || !strcmp(value, "auto"))
		cli->color = isatty(STDOUT_FILENO) && !(no_color && *no_color);
	else if (!strcmp(value, "always"))
		cli->color = true;
	else if (strcmp(value, "never"))
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "unknown --color '%.100s'; use auto, always or never", value);
	return 0;
}

/* Is there --json, wherever? For errors, which come before all words are read. */
static bool asks_for_json(char *const *words, size_t count)
{
	for (size_t i = 0; i < count && strcmp(words[i], "--"); i++) {
		if (!strcmp(words[i], "--json") || !strcmp(words[i], "-j"))
			return true;
	}
	return false;
}

static int parse(struct ps_cli *cli, int argc, char **argv, struct ps_error *error)
{
	uint32_t allowed = PS_BIT(PS_OPT_GLOBALS) - 1;
	size_t count = argc > 1 ? (size_t)argc - 1 : 0, rest = 0;
	char **words = argv + 1;
	size_t first = ps_options_skip(words, count);
	int ret;

	/* Its options are judged only when it is known. */
	cli->json = asks_for_json(words, count);
	cli->command = first < count ? ps_command_find(cli, words[first]) : NULL;
	if (first < count && !cli->command)
		return ps_command_unknown(cli, words[first], error);
	allowed |= cli->command ? cli->command->options : 0;
	ret = ps_options_parse(words, count, allowed, &cli->values, &rest, error);
	cli->quiet = cli->values.of[PS_OPT_QUIET];
	cli->verbose = cli->values.of[PS_OPT_VERBOSE];
	if (ret)
		return ret;
	cli->json = cli->values.of[PS_OPT_JSON];
	cli->args = words + (rest ? 1 : 0);
	cli->arg_count = rest ? rest - 1 : 0;
	return choose_color(cli, error);
}

static int check_use(const struct ps_cli *cli, struct ps_error *error)
{
	if (!cli->command)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "no command is given; see 'portsteer help'");
	if (cli->arg_count && !cli->command->takes_args &&
	    cli->command->options & PS_BIT(PS_OPT_FILE))
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "'portsteer %s' takes no '%.100s'; to read a file, use 'portsteer "
			       "%s --file %.100s'",
			       cli->command->name, cli->args[0], cli->command->name, cli->args[0]);
	if (cli->arg_count && !cli->command->takes_args)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "'portsteer %s' takes no '%.100s'; leave it out", cli->command->name,
			       cli->args[0]);
	if (cli->values.of[PS_OPT_ALL] && cli->values.of[PS_OPT_NETNS])
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "--all and --netns exclude each other: --all means every network "
			       "namespace; remove one of them");
	/* State is root's alone: say it before something less clear fails. */
	if (cli->command->needs_root && geteuid())
		return ps_fail(error, PS_EXIT_NOT_PERMITTED, EPERM,
			       "'portsteer %s' needs root: it accesses BPF programs in the kernel; "
			       "run it with sudo or as root",
			       cli->command->name);
	return 0;
}

/* "status" shows them, "unload --all" removes them. */
static bool deals_with_strays(const struct ps_cli *cli)
{
	return cli->command->run == ps_cmd_status ||
	       (cli->command->run == ps_cmd_unload && cli->values.of[PS_OPT_ALL]);
}

/* What each command that works on the state begins with. */
static int prepare(struct ps_cli *cli, struct ps_error *error)
{
	int ret = ps_netns_open(cli->values.of[PS_OPT_NETNS], &cli->netns, error);

	if (!ret)
		ret = ps_world_enter(error);
	if (ret || deals_with_strays(cli))
		return ret;
	/* First: what hides the state may be a bpffs that others may write to. */
	ret = ps_strays_check(&cli->netns, error);
	return ret ? ret : ps_bpffs_check(error);
}

static int run(struct ps_cli *cli, int argc, char **argv, struct ps_error *error)
{
	int ret = parse(cli, argc, argv, error);

	if (ret)
		return ret;
	if (cli->values.of[PS_OPT_VERSION])
		return ps_cmd_version(cli, error);
	if (cli->values.of[PS_OPT_HELP]) {
		if (cli->command)
			ps_help_command(cli->command);
		else
			ps_help_general(cli);
		return 0;
	}
	ret = check_use(cli, error);
	if (ret || !cli->command)
		return ret;
	libbpf_set_print(cli->verbose ? print_libbpf : NULL);
	if (cli->command->needs_root)
		ret = prepare(cli, error);
	if (!ret)
		ret = ps_netns_find_unprivileged(&cli->netns, error);
	ps_rule_set_unprivileged(cli->netns.unprivileged);
	return ret ? ret : cli->command->run(cli, error);
}

static void tell_error(const struct ps_cli *cli, const struct ps_error *error)
{
	const struct ps_config *config = &cli->config;
	char text[2 * sizeof(error->message)];

	for (size_t i = 0; i < config->mistake_count; i++) {
		ps_mistake_text(config, &config->mistakes[i], text, sizeof(text));
		fprintf(stderr, "portsteer: %s\n", text);
	}
	if (config->more)
		fputs("portsteer: there are more mistakes; correct these first\n", stderr);
	if (!config->mistake_count || config->keep_going)
		fprintf(stderr, "portsteer: %s\n", error->message);
	if (cli->json && !cli->told)
		ps_json_error(error, config);
}

int main(int argc, char **argv)
{
	struct ps_cli cli = { .commands = ps_commands,
			      .command_count = ps_command_count,
			      .netns = PS_NETNS_NONE };
	struct ps_error error = { .status = PS_EXIT_FAILED, .message = "failed" };
	int ret;

	ps_rule_user_name = ps_user_name;
	ret = run(&cli, argc, argv, &error);
	ps_netns_close(&cli.netns);
	if (!ret && (fflush(stdout) || ferror(stdout)))
		ret = ps_fail(&error, PS_EXIT_FAILED, EIO,
			      "cannot write the output: %s; the command itself succeeded",
			      strerror(errno));
	if (ret)
		tell_error(&cli, &error);
	ps_config_clear(&cli.config);
	return ret ? (int)error.status : PS_EXIT_OK;
}
