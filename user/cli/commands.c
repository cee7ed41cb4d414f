// SPDX-License-Identifier: GPL-2.0-only
#include "cli/commands.h"

#include "cli/cmd_add.h"
#include "cli/cmd_apply.h"
#include "cli/cmd_life.h"
#include "cli/cmd_rules.h"
#include "cli/cmd_show.h"
#include "cli/help.h"
#include "cli/rule_words.h"
#include "util/util.h"

static const char add_details[] =
	"RULE is [ADDRESS[/LENGTH]:]PORT[-PORT]:TARGET[-TARGET][/tcp|udp]. Connections to the front\n"
	"port PORT are handed to the owner's listener on the target port TARGET. With --mode bind,\n"
	"and for UDP, the owner's next bind() to TARGET becomes a bind to PORT. With --client-cgroup,\n"
	"only connections of processes in that cgroup are redirected, to loopback addresses or to\n"
	"ADDRESS; TARGET may then be ADDRESS:PORT, a fixed destination. For UDP, give it an address:\n"
	"otherwise TARGET is a port of the address that the client asked for. Without an owner\n"
	"option, the user that listens on TARGET now becomes the owner. All rules of one command\n"
	"take effect together, or none does. FILE has the format of portsteer.conf(5); the options\n"
	"of the command apply to sections that do not set them.\n"
	"\n"
	"  portsteer add 80:8080 443:8443 --cgroup unit:nginx.service\n"
	"  portsteer add 53:5300/udp 53:5300/tcp --mode bind --user dns\n"
	"  portsteer add 80:8080 --client-cgroup machine.slice/pod-a.scope --user 1000\n"
	"  portsteer add 53:127.0.0.1:5354/udp --client-cgroup machine.slice/pod-a.scope --any-user\n"
	"  portsteer add 80:8080 --user alice --name web\n"
	"  portsteer add 10.0.0.1:80:8080 '[2001:db8::]/32:80:8081' --user 1000\n"
	"  portsteer add -f rules.conf --user alice\n";
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
