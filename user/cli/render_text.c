// SPDX-License-Identifier: GPL-2.0-only
#include "cli/render_text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/table.h"
#include "engine/misfit_facts.h"
#include "os/users.h"
#include "util/util.h"

void ps_owner_text(const struct ps_owner_spec *owner, char text[PS_OWNER_TEXT])
{
	char user[PS_USER_TEXT], cgroup[PS_OWNER_TEXT - 300];

	if (owner->flags & (PS_OWNER_ANY | PS_OWNER_NOBODY)) {
		strcpy(text, owner->flags & PS_OWNER_ANY ? "any user" : "none");
		return;
	}
	text[0] = '\0';
	if (owner->flags & PS_OWNER_USER) {
		ps_user_text(owner->uid, user);
		snprintf(text, PS_OWNER_TEXT, "user %s%s", user,
			 owner->flags & PS_OWNER_CGROUP ? " in " : "");
	}
	if (owner->flags & PS_OWNER_CGROUP) {
		size_t used = strlen(text);

		ps_printable(owner->cgroup, cgroup, sizeof(cgroup));
		snprintf(text + used, PS_OWNER_TEXT - used, "cgroup %s", cgroup);
	}
}

void ps_origin_text(const struct ps_origin *origin, char text[PS_ORIGIN_TEXT])
{
	char file[PS_ORIGIN_TEXT - 16];

	ps_printable(origin->file ? origin->file : "hand", file, sizeof(file));
	if (origin->file)
		snprintf(text, PS_ORIGIN_TEXT, "%s:%u", file, origin->line);
	else
		strcpy(text, file);
}

/* Columns that are there only if some rule has something in them, or with -v. */
struct extra {
	bool scopes, if_down, names, origins;
};

static bool has_if_down(const struct ps_rule *rule)
{
	return rule->mode != PS_MODE_BIND && !ps_rule_is_fixed(rule);
}

static struct extra extra_of(const struct ps_cli *cli, const struct ps_ruleset *rules)
{
	bool all = cli->verbose;
	struct extra extra = { .scopes = all, .if_down = all, .names = all, .origins = all };

	for (size_t i = 0; i < rules->count; i++) {
		extra.scopes |= rules->rules[i].scope != NULL;
		extra.if_down |= has_if_down(&rules->rules[i]);
		extra.names |= rules->rules[i].name != NULL;
		extra.origins |= rules->rules[i].origin.file != NULL;
	}
	return extra;
}

/* A column that goes below the rule where the line would be too long. */
static void add_folding(struct ps_table *table, const char *head)
{
	table->folds[table->columns] = true;
	ps_table_column(table, head);
}

/* The columns that say which rule it is. */
static void begin_table(struct ps_table *table, const struct ps_cli *cli, struct extra extra)
{
	table->whole = cli->verbose;
	ps_table_column(table, "RULE");
	ps_table_column(table, "MODE");
	if (extra.scopes)
		add_folding(table, "CLIENT CGROUP");
	add_folding(table, "OWNER");
}

static void begin_row(struct ps_table *table, const struct ps_rule *rule, struct extra extra)
{
	char text[PS_RULE_TEXT], owner[PS_OWNER_TEXT], scope[4 * PS_CGROUP_PATH];

	ps_rule_format(rule, text);
	ps_table_add(table, text);
	ps_table_add(table, ps_mode_name(rule->mode));
	if (extra.scopes) {
		ps_printable(rule->scope ? rule->scope : "-", scope, sizeof(scope));
		ps_table_add(table, scope);
	}
	ps_owner_text(&rule->owner, owner);
	ps_table_add(table, owner);
}

static void end_table(struct ps_table *table, const struct ps_cli *cli)
{
	if (table->count)
		ps_table_print(table, cli->color);
	else
		puts("no rules; 'portsteer add' adds one");
}

static void add_rule(struct ps_table *table, const struct ps_rule *rule, struct extra extra)
{
	char name[4 * PS_NAME_MAX + 1], origin[PS_ORIGIN_TEXT];

	begin_row(table, rule, extra);
	if (extra.if_down)
		ps_table_add(table, has_if_down(rule) ? ps_if_down_name(rule->if_down) : "-");
	if (extra.names) {
		ps_printable(rule->name ? rule->name : "-", name, sizeof(name));
		ps_table_add(table, name);
	}
	if (extra.origins) {
		ps_origin_text(&rule->origin, origin);
		ps_table_add(table, origin);
	}
}

/* The sockets of one relation to a rule, line by line. */
struct shown {
	struct ps_table *table;
	const struct ps_report *report;
	const struct ps_rule *rule;
	bool serves;
	size_t count;
};

/* A socket that does not serve the rule. What is to be copied has a line of its own. */
static void add_stranger(const struct shown *shown, const struct ps_socket *socket)
{
	char text[PS_SOCKET_TEXT];
	struct ps_misfit who;

	ps_socket_text(socket, text);
	ps_misfit_find(shown->report, shown->rule, socket, &who);
	ps_table_linef(shown->table, "%s (%s%s)", text,
		       shown->rule->mode != PS_MODE_BIND ? "not admitted: " : "", who.reason);
	if (*who.fits)
		ps_table_linef(shown->table, "  matching owner: %s", who.fits);
}

static void add_socket(const struct ps_socket *socket, void *data)
{
	struct shown *shown = data;
	char text[PS_SOCKET_TEXT];

	if (shown->count++ >= ps_report_most_shown(shown->report))
		return;
	if (!shown->serves) {
		add_stranger(shown, socket);
		return;
	}
	ps_socket_text(socket, text);
	ps_table_linef(shown->table, "%s", text);
}

static void add_sockets(struct ps_table *table, const struct ps_report *report,
			const struct ps_rule *rule, bool serves)
{
	struct shown shown = { .table = table, .report = report, .rule = rule, .serves = serves };
	size_t most = ps_report_most_shown(report);

	ps_report_each(report, rule, serves ? PS_SERVES : PS_OTHER, add_socket, &shown);
	if (shown.count > most)
		ps_table_linef(table, "and %zu more%s", shown.count - most,
			       serves ? "" : " (not admitted)");
}

static void add_listeners(struct ps_table *table, const struct ps_report *report,
			  const struct ps_rule *rule)
{
	if (ps_rule_is_block(rule)) {
		ps_table_linef(table, "refused until its section is corrected");
		return;
	}
	if (ps_rule_is_fixed(rule)) {
		ps_table_linef(table, "fixed destination, owner not checked");
		return;
	}
	if (!ps_report_each(report, rule, PS_SERVES, NULL, NULL))
		ps_table_linef(table, "%s",
			       report->blind		  ? report->blind :
			       rule->mode == PS_MODE_BIND ? "not bound yet" :
							    "no listener yet");
	add_sockets(table, report, rule, true);
	add_sockets(table, report, rule, false);
}

void ps_text_list(const struct ps_cli *cli, const struct ps_report *report)
{
	const struct ps_ruleset *rules = &report->view.state.rules;
	struct extra extra = extra_of(cli, rules);
	struct ps_table table = {};

	begin_table(&table, cli, extra);
	if (extra.if_down)
		ps_table_column(&table, "IF DOWN");
	if (extra.names)
		add_folding(&table, "NAME");
	if (extra.origins)
		add_folding(&table, "ORIGIN");
	for (size_t i = 0; i < rules->count; i++) {
		add_rule(&table, &rules->rules[i], extra);
		add_listeners(&table, report, &rules->rules[i]);
	}
	end_table(&table, cli);
}

static void add_last_hit(struct ps_table *table, double seconds)
{
	if (seconds < 0)
		ps_table_add(table, "never");
	else if (seconds < 120)
		ps_table_addf(table, "%.0f s ago", seconds);
	else if (seconds < 7200)
		ps_table_addf(table, "%.0f min ago", seconds / 60);
	else if (seconds < 172800)
		ps_table_addf(table, "%.0f h ago", seconds / 3600);
	else
		ps_table_addf(table, "%.0f days ago", seconds / 86400);
}

/* "NO LISTENER" */
enum { PS_HEAD = 32 };
static void head_of(const struct ps_counter *counter, char head[PS_HEAD])
{
	size_t i;

	for (i = 0; counter->name[i] && i < PS_HEAD - 1; i++)
		head[i] = counter->name[i] == '_' ? ' ' : (char)toupper(counter->name[i]);
	head[i] = '\0';
}

/* Has some rule counted it? With -v all are shown. */
static bool is_shown(const struct ps_cli *cli, const struct ps_report *report,
		     const struct ps_counter *counter)
{
	bool counted = cli->verbose;

	for (size_t i = 0; i < report->view.state.rules.count && !counted; i++)
		counted = ps_counter_value(counter, &report->view.stats[i]);
	return counted;
}

/* The counters that are shown. */
struct shown_counters {
	const struct ps_counter *items[PS_COUNTER_COUNT];
	char heads[PS_COUNTER_COUNT][PS_HEAD];
	size_t count;
};

static void add_counters(struct ps_table *table, const struct ps_rule *rule,
			 const struct ps_rule_stats *s, const struct shown_counters *shown)
{
	for (size_t i = 0; i < shown->count; i++) {
		if (ps_counter_is_of(shown->items[i], rule->mode))
			ps_table_addf(table, "%" PRIu64, ps_counter_value(shown->items[i], s));
		else
			ps_table_add(table, "-");
	}
	add_last_hit(table, s->last_hit);
}

static void add_number_column(struct ps_table *table, const char *head)
{
	table->right[table->columns] = true;
	ps_table_column(table, head);
}

void ps_text_stats(const struct ps_cli *cli, const struct ps_report *report)
{
	const struct ps_ruleset *rules = &report->view.state.rules;
	struct extra extra = extra_of(cli, rules);
	struct shown_counters shown = {};
	struct ps_table table = {};

	begin_table(&table, cli, extra);
	for (size_t i = 0; i < PS_COUNTER_COUNT; i++) {
		if (!is_shown(cli, report, &ps_counters[i]))
			continue;
		shown.items[shown.count] = &ps_counters[i];
		head_of(&ps_counters[i], shown.heads[shown.count]);
		add_number_column(&table, shown.heads[shown.count++]);
	}
	add_number_column(&table, "LAST HIT");
	for (size_t i = 0; i < rules->count; i++) {
		begin_row(&table, &rules->rules[i], extra);
		add_counters(&table, &rules->rules[i], &report->view.stats[i], &shown);
	}
	end_table(&table, cli);
}

static void print_heading(const struct ps_listed *item, bool first)
{
	char name[4 * sizeof(item->netns.label)];

	ps_printable(item->netns.label, name, sizeof(name));
	if (*name)
		printf("%snetns %" PRIu64 ": %s\n", first ? "" : "\n", item->netns.cookie, name);
	else
		printf("%snetns %" PRIu64 ": unknown (inode %u)\n", first ? "" : "\n",
		       item->netns.cookie, item->inode);
}

void ps_text_all(const struct ps_cli *cli, const struct ps_all *all,
		 void (*text)(const struct ps_cli *cli, const struct ps_report *report))
{
	for (size_t i = 0; i < all->count; i++) {
		print_heading(&all->items[i], !i);
		text(cli, &all->items[i].report);
	}
}

static void print_anchors(const struct ps_host_info *info)
{
	char path[4 * PS_CGROUP_PATH];

	printf("listen hook:    ");
	if (!info->anchor_count)
		printf("not attached: no rule needs it");
	for (size_t i = 0; i < info->anchor_count; i++) {
		ps_printable(info->anchors[i], path, sizeof(path));
		printf("%scgroup %s", i ? ", " : "", path);
	}
	putchar('\n');
	printf("bind hooks:     %s\n",
	       info->bind_hooks ? "cgroup /" : "not attached: no rule needs them");
	printf("connect hooks:  %s\n",
	       info->connect_hooks ? "cgroup /" : "not attached: no rule needs them");
}

static void print_instances(const struct ps_cli *cli, const struct ps_host_info *info)
{
	struct ps_table table = {
		.columns = 5,
		.heads = { "NETNS", "COOKIE", "INODE", "RULES", "GENERATION" },
		.right = { false, true, true, true, true },
	};
	char name[4 * sizeof(info->instances->label)];

	for (size_t i = 0; i < info->instance_count; i++) {
		const struct ps_instance_info *instance = &info->instances[i];

		ps_printable(*instance->label ? instance->label : "unknown", name, sizeof(name));
		ps_table_add(&table, instance->netns_inode ? name : "gone");
		ps_table_addf(&table, "%" PRIu64, instance->cookie);
		if (instance->netns_inode)
			ps_table_addf(&table, "%u", instance->netns_inode);
		else
			ps_table_add(&table, "gone");
		ps_table_addf(&table, "%zu", instance->rules);
		ps_table_addf(&table, "%u", instance->generation);
	}
	if (info->instance_count) {
		putchar('\n');
		ps_table_print(&table, cli->color);
	}
}

/* A line for each place, with what to do; the programs are in the JSON. */
static void print_strays(const struct ps_host_info *info)
{
	const struct ps_strays *strays = &info->strays;
	char text[512], printable[4 * sizeof(text)];

	if (info->blind)
		puts("strays:         unknown without CAP_SYS_ADMIN");
	for (size_t i = 0; i < strays->count; i++) {
		size_t count = 0, before = 0;

		for (size_t n = 0; n < strays->count; n++) {
			bool same = strays->items[n].device == strays->items[i].device;

			count += same;
			before += same && n < i;
		}
		if (before)
			continue;
		ps_stray_explain(&strays->items[i], text, sizeof(text));
		ps_printable_message(text, printable, sizeof(printable));
		printf("strays:         %zu program%s in force (%s, id %u%s): %s\n", count,
		       count == 1 ? "" : "s", strays->items[i].name, strays->items[i].program,
		       count == 1 ? "" : ", ...", printable);
	}
}

static void print_others(const struct ps_host_info *info)
{
	char name[4 * sizeof(info->others.items->name)], cgroup[4 * PS_CGROUP_PATH];

	if (info->others_blind)
		puts("others:         unknown without CAP_SYS_ADMIN and CAP_NET_ADMIN");
	if (info->others_unseen)
		puts("others:         unknown: the cgroup of a hook is not visible here");
	for (size_t i = 0; i < info->others.count; i++) {
		const struct ps_other *other = &info->others.items[i];
		const char *order = ps_order_word(other->order);

		ps_printable(*other->name ? other->name : "without a name", name, sizeof(name));
		ps_printable(other->cgroup, cgroup, sizeof(cgroup));
		printf("others:         program %s (id %u) on %s of %s%s%s", name, other->program,
		       ps_hook_name(other->type), *cgroup ? "cgroup " : "this network namespace",
		       cgroup, order ? ", runs " : ", where portsteer is not attached");
		printf("%s%s\n", order ? order : "", order ? " portsteer and may override it" : "");
	}
}

/* Without a state there may be programs all the same. */
static const char *loaded_word(const struct ps_host_info *info)
{
	if (info->loaded)
		return "yes";
	for (size_t i = 0; i < info->strays.count; i++) {
		if (info->strays.items[i].where != PS_STRAY_ELSEWHERE || info->strays.items[i].here)
			return "yes, but unreachable";
	}
	return info->blind ? "no state; programs cannot be listed" : "no";
}

void ps_text_status(const struct ps_cli *cli, const struct ps_host_info *info)
{
	printf("loaded:         %s%s\n", loaded_word(info),
	       info->outdated ? ", by another version; 'portsteer upgrade' replaces it" : "");
	printf("state:          %s\n", *info->bpffs ? info->bpffs : "no bpffs is mounted yet");
	printf("cgroup2:        %s\n",
	       *info->cgroup2 ? info->cgroup2 : "its root is not visible here");
	if (info->loaded)
		print_anchors(info);
	printf("kernel memory:  %" PRIu64 " KiB\n", (info->memory + 1023) / 1024);
	if (info->detached)
		printf("detached:       %zu program%s, by another tool, so rules do not work; run "
		       "'portsteer load' to attach %s again\n",
		       info->detached, info->detached == 1 ? "" : "s",
		       info->detached == 1 ? "it" : "them");
	if (info->leftovers)
		printf("leftovers:      %zu, from an interrupted command or a namespace that "
		       "ended; the next change removes them\n",
		       info->leftovers);
	print_strays(info);
	print_others(info);
	print_instances(cli, info);
}

/* "80:8080/tcp steer, user www-data, refuse, client cgroup /a, name web" */
static void print_rule(const char *sign, const struct ps_rule *rule)
{
	char text[PS_RULE_TEXT], owner[PS_OWNER_TEXT], more[4 * PS_CGROUP_PATH];

	ps_rule_format(rule, text);
	ps_owner_text(&rule->owner, owner);
	printf("%s %s %s, %s", sign, text, ps_mode_name(rule->mode), owner);
	if (rule->mode != PS_MODE_BIND && !ps_rule_is_fixed(rule))
		printf(", %s", ps_if_down_name(rule->if_down));
	if (rule->scope) {
		ps_printable(rule->scope, more, sizeof(more));
		printf(", client cgroup %s", more);
	}
	if (rule->name) {
		ps_printable(rule->name, more, sizeof(more));
		printf(", name %s", more);
	}
	putchar('\n');
}

static void print_difference(const struct ps_rule *before, const struct ps_rule *after, void *data)
{
	(void)data;
	if (before && after && ps_rule_equal(before, after))
		return;
	if (before)
		print_rule(after ? "~ is     " : "- is     ", before);
	if (after)
		print_rule(before ? "  will be" : "+ will be", after);
}

void ps_text_differences(const struct ps_ruleset *before, const struct ps_ruleset *after,
			 const struct ps_ruleset *hand)
{
	struct ps_diff diff = ps_ruleset_diff(before, after);

	ps_ruleset_compare(before, after, print_difference, NULL);
	for (size_t i = 0; i < hand->count; i++)
		print_rule("= stays  ", &hand->rules[i]);
	printf("dry run, nothing was changed: %zu added, %zu removed, %zu changed, %zu unchanged\n",
	       diff.added, diff.removed, diff.changed, diff.same);
}

static void add_feature(struct ps_table *table, const struct ps_feature *f)
{
	static const char *const words[] = {
		[PS_NO] = "no", [PS_YES] = "yes", [PS_UNKNOWN] = "unknown"
	};

	ps_table_add(table, f->name);
	ps_table_add(table, words[f->support]);
	if (*f->why)
		ps_table_addf(table, "%s; %s", f->use, f->why);
	else
		ps_table_add(table, f->use);
}

void ps_text_probe(const struct ps_cli *cli, const struct ps_probe *probe)
{
	struct ps_table modes = { .columns = 3, .heads = { "MODE", "WORKS", "PURPOSE" } };
	struct ps_table features = { .columns = 3, .heads = { "FEATURE", "SUPPORTED", "PURPOSE" } };

	printf("kernel %s\n\n", probe->kernel);
	for (int i = 0; i < PS_PROBE_MODES; i++)
		add_feature(&modes, &probe->modes[i]);
	ps_table_print(&modes, cli->color);
	putchar('\n');
	for (size_t i = 0; i < probe->count; i++)
		add_feature(&features, &probe->features[i]);
	ps_table_print(&features, cli->color);
}
