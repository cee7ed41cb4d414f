// SPDX-License-Identifier: GPL-2.0-only
/* The command table, and the way from argv to a command and to an exit status. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "cli/cli.h"
#include "cli/render_json.h"
#include "cli/rules_file.h"
#include "engine/strays.h"
#include "kernel/bpffs.h"
#include "kernel/world.h"
#include "os/netns.h"
#include "os/users.h"
#include "rule/conflicts.h"
#include "util/util.h"

static const char add_details[] =
	"RULE is [ADDRESS[/LENGTH]:]PORT[-PORT]:TARGET[-TARGET][/tcp|udp]. Connections to the front\n"
	"port PORT are handed to the owner's listener on the target port TARGET. With --mode bind,\n"
	"and for UDP, the owner's next bind() to TARGET becomes a bind to PORT. With --client-cgroup,\n"
	"only connections of processes in that cgroup are redirected, to loopback addresses or to\n"
	"ADDRESS; TARGET may then be ADDRESS:PORT, a fixed destination. For UDP, give it an address:\n"
	"otherwise TARGET is a port of the address that the client asked for. Without an owner\n"
	"option, the user that listens on TARGET now becomes the owner. All rules of one command\n"
	"take effect together, or none does.\n"
	"\n"
	"  portsteer add 80:8080 443:8443 --cgroup unit:nginx.service\n"
	"  portsteer add 53:5300/udp 53:5300/tcp --mode bind --user dns\n"
	"  portsteer add 80:8080 --client-cgroup machine.slice/pod-a.scope --user 1000\n"
	"  portsteer add 53:127.0.0.1:5354/udp --client-cgroup machine.slice/pod-a.scope --any-user\n"
	"  portsteer add 80:8080 --user alice --name web\n"
	"  portsteer add 10.0.0.1:80:8080 '[2001:db8::]/32:80:8081' --user 1000\n"
	"  portsteer add -f rules.txt\n";
static const char allow_details[] =
	"PORT is [ADDRESS[/LENGTH]:]PORT[-PORT][/tcp|udp], below 1024 (or the value of\n"
	"net.ipv4.ip_unprivileged_port_start). The owner may bind the port itself, without any\n"
	"capability; other users may not. An owner option is required.\n"
	"\n"
	"  portsteer allow 443/tcp 443/udp --user www-data\n"
	"  portsteer allow 22 --user git --cgroup system.slice/git-ssh.service\n"
	"  portsteer allow 600-700/tcp --any-user\n";
static const char upgrade_details[] =
	"Run this after an update of portsteer. It works on all network namespaces. Rules, listeners\n"
	"and counters are kept, and no connection fails. The state of another version is taken over\n"
	"if its format is known; otherwise nothing is changed and the reason is reported.\n";
static const char probe_details[] =
	"The programs are loaded as a test and unloaded again; nothing stays loaded. The exit status\n"
	"is 0 if all modes work, 5 if steer mode does not, 1 if only another mode does not, and 4 if\n"
	"too little can be tested without root.\n";
static const char del_details[] =
	"RULE is written as 'portsteer list' shows it; the target may be omitted. Open connections\n"
	"continue, and a socket that is bound keeps its port. All rules of one command are deleted,\n"
	"or none is.\n"
	"\n"
	"  portsteer del 80 443\n"
	"  portsteer del 10.0.0.1:80:8080/tcp 53/udp\n"
	"  portsteer del 80 --client-cgroup machine.slice/pod-a.scope\n";
static const char apply_details[] =
	"The configuration is read from portsteer/portsteer.conf and portsteer/portsteer.conf.d in\n"
	"/usr/lib, /run and /etc, or from FILE; see portsteer.conf(5). Its rules atomically replace\n"
	"those that 'portsteer apply' made before; rules that were added by hand stay, unless --only\n"
	"is given. Unchanged rules keep their listeners and counters. Any mistake means that nothing\n"
	"is changed. With --keep-going, if no rules are in force yet (at boot), sections without a\n"
	"mistake are applied, and TCP ports of the other sections refuse connections.\n"
	"\n"
	"  portsteer apply\n"
	"  portsteer apply --dry-run\n"
	"  portsteer apply -f rules.conf\n";
static const char check_details[] =
	"Every mistake is reported with its file and line. Root is not needed if the files are\n"
	"readable.\n"
	"\n"
	"  portsteer check\n"
	"  portsteer check -f rules.conf\n";
static const char save_details[] = "'portsteer apply -f' creates the same rules from it.\n"
				   "\n"
				   "  portsteer save >/etc/portsteer/portsteer.conf\n";

const struct ps_command ps_commands[] = {
	{ "load", "", 0, false, true, "load the programs, without rules",
	  "'portsteer add' does this by itself. Loading twice is not an error: it attaches the listen\n"
	  "hook again if its cgroup was removed, and finds listeners opened since.\n",
	  ps_cmd_load },
	{ "unload", "", PS_BIT(PS_OPT_ALL), false, true,
	  "remove all rules and programs of this namespace",
	  "With --all, of every network namespace of the host. Unloading twice is not an error. Open\n"
	  "connections continue.\n",
	  ps_cmd_unload },
	{ "upgrade", "", 0, false, true, "replace the loaded programs with those of this version",
	  upgrade_details, ps_cmd_upgrade },
	{ "add", "RULE...", PS_RULE_OPTIONS | PS_BIT(PS_OPT_FILE), true, true, "add rules",
	  add_details, ps_cmd_add },
	{ "allow", "PORT...",
	  PS_BIT(PS_OPT_USER) | PS_BIT(PS_OPT_CGROUP) | PS_BIT(PS_OPT_ANY_USER) |
		  PS_BIT(PS_OPT_NAME),
	  true, true, "let the owner bind a privileged port itself", allow_details, ps_cmd_allow },
	{ "del", "RULE...", PS_BIT(PS_OPT_CLIENT_CGROUP), true, true, "delete rules", del_details,
	  ps_cmd_del },
	{ "flush", "", 0, false, true, "delete all rules, keep the programs loaded", NULL,
	  ps_cmd_flush },
	{ "apply", "",
	  PS_BIT(PS_OPT_FILE) | PS_BIT(PS_OPT_DRY_RUN) | PS_BIT(PS_OPT_ONLY) |
		  PS_BIT(PS_OPT_KEEP_GOING) | PS_BIT(PS_OPT_ALLOW_EMPTY),
	  false, true, "replace the rules with the configuration", apply_details, ps_cmd_apply },
	{ "check", "", PS_BIT(PS_OPT_FILE) | PS_BIT(PS_OPT_ALLOW_EMPTY), false, false,
	  "check the configuration, change nothing", check_details, ps_cmd_check },
	{ "save", "", 0, false, true, "print the rules as a configuration", save_details,
	  ps_cmd_save },
	{ "list", "", PS_BIT(PS_OPT_ALL), false, true, "show the rules and their listeners", NULL,
	  ps_cmd_list },
	{ "stats", "", PS_BIT(PS_OPT_ALL), false, true, "show the rules' counters", NULL,
	  ps_cmd_stats },
	{ "status", "", 0, false, true, "show what is loaded on this host", NULL, ps_cmd_status },
	{ "probe", "", 0, false, false, "show what this kernel supports", probe_details,
	  ps_cmd_probe },
	{ "version", "", 0, false, false, "show the version", NULL, ps_cmd_version },
	{ "help", "[COMMAND]", PS_BIT(PS_OPT_TABLE), true, false, "show help", NULL, ps_cmd_help },
};
const size_t ps_command_count = PS_ARRAY_SIZE(ps_commands);

const struct ps_command *ps_command_find(const char *name)
{
	for (size_t i = 0; i < ps_command_count; i++) {
		if (!strcmp(ps_commands[i].name, name))
			return &ps_commands[i];
	}
	return NULL;
}

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
	cli->command = first < count ? ps_command_find(words[first]) : NULL;
	if (first < count && !cli->command)
		return ps_command_unknown(words[first], error);
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
			ps_help_general();
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
	struct ps_cli cli = { .netns = PS_NETNS_NONE };
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
