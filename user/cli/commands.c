// SPDX-License-Identifier: GPL-2.0-only
#include "cli/commands.h"

#include "cli/cmd_add.h"
#include "cli/cmd_apply.h"
#include "cli/cmd_life.h"
#include "cli/cmd_rules.h"
#include "cli/cmd_show.h"
#include "cli/help.h"
#include "cli/rules_file.h"
#include "util/util.h"

static const char add_details[] =
	"RULE is [ADDRESS[/LENGTH]:]PORT[-PORT]:TARGET[-TARGET][/tcp|udp]. Connections to PORT go\n"
	"to the owner's process that listens on TARGET, and to nobody else's. With --mode bind, and\n"
	"for UDP, the owner's bind to TARGET becomes one to PORT instead, from its next bind on.\n"
	"With --client-cgroup, only the connects of processes in that cgroup are changed, to\n"
	"loopback addresses or to ADDRESS; TARGET may then be ADDRESS:PORT, for a service elsewhere.\n"
	"For UDP it should be: without, TARGET is a port of whichever address the client asks for.\n"
	"Without an owner option, the user who has TARGET open now becomes the owner. All rules of\n"
	"one command come into force together, or none does. FILE is written as the configuration,\n"
	"portsteer.conf(5); what a section does not say, also its owner, the options say.\n"
	"\n"
	"  portsteer add 80:8080 443:8443 --cgroup unit:nginx.service\n"
	"  portsteer add 53:5300/udp 53:5300/tcp --mode bind --user dns\n"
	"  portsteer add 80:8080 --client-cgroup machine.slice/pod-a.scope --user 1000\n"
	"  portsteer add 53:127.0.0.1:5354/udp --client-cgroup machine.slice/pod-a.scope --any-user\n"
	"  portsteer add 80:8080 --user alice --name web\n"
	"  portsteer add 10.0.0.1:80:8080 '[2001:db8::]/32:80:8081' --user 1000\n"
	"  portsteer add -f rules.conf --user alice\n";
static const char allow_details[] =
	"PORT is [ADDRESS[/LENGTH]:]PORT[-PORT][/tcp|udp], below 1024 (or what\n"
	"net.ipv4.ip_unprivileged_port_start says). The owner may bind it as it is, without any\n"
	"capability; nobody else may. The owner must be named.\n"
	"\n"
	"  portsteer allow 443/tcp 443/udp --user www-data\n"
	"  portsteer allow 22 --user git --cgroup system.slice/git-ssh.service\n"
	"  portsteer allow 600-700/tcp --any-user\n";
static const char upgrade_details[] =
	"After an update of portsteer. For all network namespaces; rules, listeners and counters\n"
	"are kept, and no connection fails. What was loaded by another version is taken over if\n"
	"its form is known; if it is not, nothing is changed and the reason is given.\n";
static const char probe_details[] =
	"It is found out by trying: the programs are loaded and thrown away, nothing is left. The\n"
	"exit status is 0 if all modes work, 5 if steer mode does not, 1 if only another one does\n"
	"not, 4 if too little can be tried without root.\n";
static const char del_details[] =
	"RULE is written as 'portsteer list' shows it; the target may be left out. Connections\n"
	"that are open go on, and who is bound to a port keeps it. All rules of one command are\n"
	"deleted, or none is.\n"
	"\n"
	"  portsteer del 80 443\n"
	"  portsteer del 10.0.0.1:80:8080/tcp 53/udp\n"
	"  portsteer del 80 --client-cgroup machine.slice/pod-a.scope\n";
static const char apply_details[] =
	"The configuration is read from portsteer/portsteer.conf and portsteer/portsteer.conf.d in\n"
	"/usr/lib, /run and /etc, or from FILE; see portsteer.conf(5). Its rules replace those that\n"
	"'portsteer apply' made before, at one instant; rules that were added by hand stay, unless\n"
	"--only is given. Unchanged rules keep their listeners and counters. With any mistake\n"
	"anywhere nothing is changed. With --keep-going, and no rules in force yet, as at boot, the\n"
	"sections without a mistake count: TCP ports that the others name refuse connections.\n"
	"\n"
	"  portsteer apply\n"
	"  portsteer apply --dry-run\n"
	"  portsteer apply -f rules.conf\n";
static const char check_details[] =
	"Every mistake is told with its file and line. This needs no root, if the files can be\n"
	"read.\n"
	"\n"
	"  portsteer check\n"
	"  portsteer check -f rules.conf\n";
static const char save_details[] = "'portsteer apply -f' makes the same rules of it again.\n"
				   "\n"
				   "  portsteer save >/etc/portsteer/portsteer.conf\n";

const struct ps_command ps_commands[] = {
	{ "load", "", 0, false, true, "load the programs, without rules",
	  "'portsteer add' does this by itself. Loading twice is no error: it attaches a listen\n"
	  "hook again that was removed together with its cgroup, and finds who listens since.\n",
	  ps_cmd_load },
	{ "unload", "", PS_BIT(PS_OPT_ALL), false, true,
	  "remove all rules and programs of this namespace",
	  "With --all, of every namespace of the host. Unloading twice is no error. Connections\n"
	  "that are open go on.\n",
	  ps_cmd_unload },
	{ "upgrade", "", 0, false, true, "replace what is loaded by this version's programs",
	  upgrade_details, ps_cmd_upgrade },
	{ "add", "RULE...", PS_RULE_OPTIONS | PS_BIT(PS_OPT_FILE), true, true, "add rules",
	  add_details, ps_cmd_add },
	{ "allow", "PORT...",
	  PS_BIT(PS_OPT_USER) | PS_BIT(PS_OPT_CGROUP) | PS_BIT(PS_OPT_ANY_USER) |
		  PS_BIT(PS_OPT_NAME),
	  true, true, "let the owner bind a privileged port as it is", allow_details,
	  ps_cmd_allow },
	{ "del", "RULE...", PS_BIT(PS_OPT_CLIENT_CGROUP), true, true, "delete rules", del_details,
	  ps_cmd_del },
	{ "flush", "", 0, false, true, "delete all rules, and stay loaded", NULL, ps_cmd_flush },
	{ "apply", "",
	  PS_BIT(PS_OPT_FILE) | PS_BIT(PS_OPT_DRY_RUN) | PS_BIT(PS_OPT_ONLY) |
		  PS_BIT(PS_OPT_KEEP_GOING) | PS_BIT(PS_OPT_ALLOW_EMPTY),
	  false, true, "make the rules those of the configuration", apply_details, ps_cmd_apply },
	{ "check", "", PS_BIT(PS_OPT_FILE) | PS_BIT(PS_OPT_ALLOW_EMPTY), false, false,
	  "read the configuration, change nothing", check_details, ps_cmd_check },
	{ "save", "", 0, false, true, "print the rules as a configuration", save_details,
	  ps_cmd_save },
	{ "list", "", PS_BIT(PS_OPT_ALL), false, true, "show the rules and who is behind them",
	  NULL, ps_cmd_list },
	{ "stats", "", PS_BIT(PS_OPT_ALL), false, true, "show the rules' counters", NULL,
	  ps_cmd_stats },
	{ "status", "", 0, false, true, "show what is loaded on this host", NULL, ps_cmd_status },
	{ "probe", "", 0, false, false, "show what this kernel supports", probe_details,
	  ps_cmd_probe },
	{ "version", "", 0, false, false, "show the version", NULL, ps_cmd_version },
	{ "help", "[COMMAND]", PS_BIT(PS_OPT_TABLE), true, false, "show help", NULL, ps_cmd_help },
};
const size_t ps_command_count = PS_ARRAY_SIZE(ps_commands);
