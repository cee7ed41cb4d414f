// SPDX-License-Identifier: GPL-2.0-only
#include "cli/help.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/suggest.h"
#include "config/keys.h"
#include "engine/counters.h"

static void print_option(const struct ps_option *option)
{
	char left[64], letter[8] = "    ";

	if (option->letter)
		snprintf(letter, sizeof(letter), "-%c, ", option->letter);
	snprintf(left, sizeof(left), "%s--%s%s%s", letter, option->name, option->arg ? " " : "",
		 option->arg ? option->arg : "");
	if (strlen(left) > 28)
		printf("  %s\n  %-28s  %s\n", left, "", option->help);
	else
		printf("  %-28s  %s\n", left, option->help);
}

static void print_globals(void)
{
	puts("\nOptions of every command:");
	for (int id = 0; id < PS_OPT_GLOBALS; id++)
		print_option(&ps_options[id]);
}

void ps_help_general(const struct ps_cli *cli)
{
	puts("portsteer hands connections to a privileged port to the unprivileged process that a\n"
	     "rule names as the owner, inside the kernel.\n\n"
	     "Usage: portsteer [OPTIONS] COMMAND [ARGUMENTS]\n\nCommands:");
	for (size_t i = 0; i < cli->command_count; i++) {
		char left[64];

		snprintf(left, sizeof(left), "%s%s%s", cli->commands[i].name,
			 *cli->commands[i].args ? " " : "", cli->commands[i].args);
		printf("  %-20s  %s\n", left, cli->commands[i].help);
	}
	print_globals();
	puts("\nExample: portsteer add 80:8080 --cgroup unit:nginx.service\n"
	     "'portsteer COMMAND --help' describes a command; see portsteer(8) for everything.");
}

void ps_help_command(const struct ps_command *command)
{
	printf("Usage: portsteer %s%s%s%s\n\n%s.\n", command->name,
	       command->options ? " [OPTIONS]" : "", *command->args ? " " : "", command->args,
	       command->help);
	if (command->details)
		printf("\n%s", command->details);
	if (command->options)
		puts("\nOptions:");
	for (int id = PS_OPT_GLOBALS; id < PS_OPTIONS; id++) {
		if (command->options & PS_BIT(id))
			print_option(&ps_options[id]);
	}
	print_globals();
}

static void print_row(const char *command, const struct ps_option *option)
{
	printf("option %s --%s", command, option->name);
	if (option->letter)
		printf(",-%c", option->letter);
	printf("%s%s\n", option->arg ? " " : "", option->arg ? option->arg : "");
}

static void print_table(const struct ps_cli *cli)
{
	for (int id = 0; id < PS_OPT_GLOBALS; id++)
		print_row("global", &ps_options[id]);
	for (size_t i = 0; i < cli->command_count; i++) {
		printf("command %s\n", cli->commands[i].name);
		for (int id = PS_OPT_GLOBALS; id < PS_OPTIONS; id++) {
			if (cli->commands[i].options & PS_BIT(id))
				print_row(cli->commands[i].name, &ps_options[id]);
		}
	}
	for (size_t i = 0; i < PS_KEYS; i++)
		printf("key %s %s\n", ps_config_keys[i].name, ps_config_keys[i].value);
	for (size_t i = 0; i < PS_COUNTER_COUNT; i++)
		printf("counter %s\n", ps_counters[i].name);
}

int ps_cmd_help(struct ps_cli *cli, struct ps_error *error)
{
	const struct ps_command *command;

	if (cli->values.of[PS_OPT_TABLE]) {
		print_table(cli);
	} else if (!cli->arg_count) {
		ps_help_general(cli);
	} else {
		command = ps_command_find(cli, cli->args[0]);
		if (!command || cli->arg_count > 1)
			return ps_command_unknown(cli, cli->args[cli->arg_count - 1], error);
		ps_help_command(command);
	}
	return 0;
}
