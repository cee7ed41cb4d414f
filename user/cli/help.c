// SPDX-License-Identifier: GPL-2.0-only
/* Help, made from the tables of commands and options. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
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

void ps_help_general(void)
{
	puts("portsteer: connections to a privileged port go straight to the one unprivileged\n"
	     "process that may have them, inside the kernel.\n\n"
	     "Usage: portsteer [OPTIONS] COMMAND [ARGUMENTS]\n\nCommands:");
	for (size_t i = 0; i < ps_command_count; i++) {
		char left[64];

		snprintf(left, sizeof(left), "%s%s%s", ps_commands[i].name,
			 *ps_commands[i].args ? " " : "", ps_commands[i].args);
		printf("  %-20s  %s\n", left, ps_commands[i].help);
	}
	print_globals();
	puts("\nExample: portsteer add 80:8080 --cgroup unit:nginx.service\n"
	     "'portsteer COMMAND --help' says more about a command, portsteer(8) everything.");
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

void ps_help_table(void)
{
	for (int id = 0; id < PS_OPT_GLOBALS; id++)
		print_row("global", &ps_options[id]);
	for (size_t i = 0; i < ps_command_count; i++) {
		printf("command %s\n", ps_commands[i].name);
		for (int id = PS_OPT_GLOBALS; id < PS_OPTIONS; id++) {
			if (ps_commands[i].options & PS_BIT(id))
				print_row(ps_commands[i].name, &ps_options[id]);
		}
	}
	for (size_t i = 0; i < ps_config_key_count; i++)
		printf("key %s %s\n", ps_config_keys[i].name, ps_config_keys[i].value);
	for (size_t i = 0; i < PS_COUNTER_COUNT; i++)
		printf("counter %s\n", ps_counters[i].name);
}

int ps_cmd_help(struct ps_cli *cli, struct ps_error *error)
{
	const struct ps_command *command;

	if (cli->values.of[PS_OPT_TABLE]) {
		ps_help_table();
	} else if (!cli->arg_count) {
		ps_help_general();
	} else {
		command = ps_command_find(cli->args[0]);
		if (!command || cli->arg_count > 1)
			return ps_command_unknown(cli->args[cli->arg_count - 1], error);
		ps_help_command(command);
	}
	return 0;
}
