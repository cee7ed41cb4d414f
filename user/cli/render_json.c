// SPDX-License-Identifier: GPL-2.0-only
#include "cli/render_json.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

#include "engine/misfit_facts.h"
#include "os/users.h"
#include "util/util.h"

static void put(struct json_object *object, const char *key, struct json_object *value)
{
	json_object_object_add(object, key, value);
}

/* Text of unknown origin, or null. JSON must be UTF-8; see ps_utf8 for what is not. */
static struct json_object *text_json(const char *text)
{
	char utf8[PS_UTF8_GROWS * PATH_MAX];

	if (!text)
		return NULL;
	ps_utf8(text, utf8, sizeof(utf8));
	return json_object_new_string(utf8);
}

static void put_text(struct json_object *object, const char *key, const char *text)
{
	put(object, key, text_json(text));
}

static void put_number(struct json_object *object, const char *key, uint64_t value)
{
	put(object, key, json_object_new_uint64(value));
}

/* To milliseconds; null for "never". */
static void put_seconds(struct json_object *object, const char *key, double seconds)
{
	char text[32];

	snprintf(text, sizeof(text), "%.3f", seconds);
	put(object, key, seconds < 0 ? NULL : json_object_new_double_s(seconds, text));
}

/* What may not be shown on a terminal as it is: the library escapes the ASCII ones only. All of it
 * is in strings. */
static void write_text(const char *text)
{
	while (*text) {
		size_t length = ps_printable_length(text);
		uint32_t code;

		if (length) {
			fwrite(text, 1, length, stdout);
			text += length;
			continue;
		}
		length = ps_utf8_read(text, &code);
		printf("\\u%04x", length ? code : 0xfffd);
		text += length ? length : 1;
	}
}

/* Write it, and free it. */
static int write_json(struct json_object *object, struct ps_error *error)
{
	const char *text =
		json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN |
							       JSON_C_TO_STRING_NOSLASHESCAPE);
	int ret = text ? 0 : -ENOMEM;

	if (text)
		write_text(text);
	json_object_put(object);
	return ret ? ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some") : 0;
}

static int print(struct json_object *object, struct ps_error *error)
{
	int ret = write_json(object, error);

	if (!ret)
		putchar('\n');
	return ret;
}

static struct json_object *range_json(uint16_t first, uint16_t last)
{
	struct json_object *range = json_object_new_object();

	put_number(range, "first", first);
	put_number(range, "last", last);
	return range;
}

static struct json_object *owner_json(const struct ps_owner_spec *owner)
{
	struct json_object *object = json_object_new_object();
	bool user = owner->flags & PS_OWNER_USER;

	put(object, "uid", user ? json_object_new_int64(owner->uid) : NULL);
	put_text(object, "user", user ? ps_user_name(owner->uid) : NULL);
	put_text(object, "cgroup", owner->flags & PS_OWNER_CGROUP ? owner->cgroup : NULL);
	put(object, "any", json_object_new_boolean(!!(owner->flags & PS_OWNER_ANY)));
	return object;
}

static struct json_object *processes_json(const struct ps_socket *socket)
{
	struct json_object *array = json_object_new_array();

	for (uint32_t i = 0; i < socket->process_count; i++) {
		struct json_object *process = json_object_new_object();

		put_number(process, "pid", (uint64_t)socket->processes[i].pid);
		put_text(process, "name", socket->processes[i].name);
		json_object_array_add(array, process);
	}
	return array;
}

static struct json_object *socket_json(const struct ps_socket *socket)
{
	struct json_object *object = json_object_new_object();
	char address[PS_ADDRESS_TEXT];

	ps_socket_address(socket, address);
	put_text(object, "address", address);
	put_number(object, "port", socket->port);
	put_text(object, "protocol", ps_proto_name(socket->proto));
	put_text(object, "family", ps_socket_family(socket));
	put_number(object, "uid", socket->uid);
	put_text(object, "user", ps_user_name(socket->uid));
	put(object, "processes", processes_json(socket));
	put_number(object, "cookie", socket->cookie);
	return object;
}

/* An array of sockets being filled. */
struct filling {
	struct json_object *array;
	const struct ps_report *report;
	const struct ps_rule *rule;
	bool serves;
	size_t count;
};

/* Why it does not serve the rule, and what would fit. */
static void put_who(struct json_object *object, const struct ps_report *report,
		    const struct ps_rule *rule, const struct ps_socket *socket)
{
	struct ps_socket_facts facts = ps_maker_facts(report, rule, socket);
	struct ps_misfit who;

	ps_misfit_tell(rule, &facts, &who);
	put_text(object, "reason", who.reason);
	put_text(object, "cgroup", facts.cgroup);
	put_text(object, "unit", facts.unit);
	put(object, "fits", *who.fits ? json_object_new_string(who.fits) : NULL);
	put_text(object, "advice", *who.advice ? who.advice : NULL);
}

static void add_socket(const struct ps_socket *socket, void *data)
{
	struct filling *f = data;
	struct json_object *object;

	if (f->count++ >= ps_report_most_shown(f->report))
		return;
	object = socket_json(socket);
	if (!f->serves)
		put_who(object, f->report, f->rule, socket);
	json_object_array_add(f->array, object);
}

/* The sockets that serve the rule, or those that do not, with the reason: an array under
 * `key`, and how many there are under `count_key`, as an array may be cut. */
static void put_sockets(struct json_object *rule_object, const char *key, const char *count_key,
			const struct ps_report *report, const struct ps_rule *rule, bool serves)
{
	struct filling f = { .report = report, .rule = rule, .serves = serves };

	if (report->blind) {
		put(rule_object, key, NULL);
		put(rule_object, count_key, NULL);
		return;
	}
	f.array = json_object_new_array();
	ps_report_each(report, rule, serves ? PS_SERVES : PS_OTHER, add_socket, &f);
	put(rule_object, key, f.array);
	put_number(rule_object, count_key, f.count);
}

/* "10.0.0.0/8", or null. */
static void put_address(struct json_object *object, const struct ps_rule *rule)
{
	char text[PS_RULE_TEXT];

	ps_rule_format_front(rule, text);
	*strrchr(text, ':') = '\0';
	put_text(object, "address", text);
}

/* The address that clients are sent to, or null. */
static void put_to(struct json_object *object, const struct ps_rule *rule)
{
	const struct ps_address *to = &rule->to;
	char text[INET6_ADDRSTRLEN];

	if (to->family)
		inet_ntop(to->family == 4 ? AF_INET : AF_INET6, to->addr, text, sizeof(text));
	put_text(object, "to", to->family ? text : NULL);
}

/* The file and line that a rule was made of; null: it was added by hand. */
static struct json_object *origin_json(const struct ps_origin *origin)
{
	struct json_object *object;

	if (!origin->file)
		return NULL;
	object = json_object_new_object();
	put_text(object, "file", origin->file);
	put_number(object, "line", origin->line);
	return object;
}

/* A rule as it was given. */
static struct json_object *given_json(const struct ps_rule *rule)
{
	struct json_object *object = json_object_new_object();
	char text[PS_RULE_TEXT];

	ps_rule_format(rule, text);
	put_text(object, "rule", text);
	if (rule->prefix.family)
		put_address(object, rule);
	else
		put(object, "address", NULL);
	put_text(object, "protocol", ps_proto_name(rule->proto));
	put(object, "front", range_json(rule->front, rule->front_last));
	put(object, "target", range_json(rule->target, ps_rule_target_last(rule)));
	put_text(object, "mode", ps_mode_name(rule->mode));
	put(object, "grant", json_object_new_boolean(ps_rule_is_grant(rule)));
	put(object, "blocked", json_object_new_boolean(ps_rule_is_block(rule)));
	put_text(object, "client_cgroup", rule->scope);
	put_to(object, rule);
	put_text(object, "if_down",
		 rule->mode == PS_MODE_BIND || ps_rule_is_fixed(rule) ?
			 NULL :
			 ps_if_down_name(rule->if_down));
	put(object, "owner", owner_json(&rule->owner));
	put_text(object, "name", rule->name);
	put(object, "origin", origin_json(&rule->origin));
	return object;
}

static struct json_object *rule_json(const struct ps_report *report, const struct ps_rule *rule)
{
	struct json_object *object = given_json(rule);

	put_sockets(object, "listeners", "listener_count", report, rule, true);
	put_sockets(object, "not_admitted", "not_admitted_count", report, rule, false);
	return object;
}

static struct json_object *head_json(const struct ps_report *report)
{
	struct json_object *object = json_object_new_object();
	struct json_object *netns = json_object_new_object();

	put_number(netns, "cookie", report->netns->cookie);
	put_text(netns, "name", *report->netns->label ? report->netns->label : NULL);
	put(object, "netns", netns);
	put_number(object, "generation", report->view.state.generation);
	return object;
}

static struct json_object *list_json(const struct ps_report *report)
{
	const struct ps_ruleset *rules = &report->view.state.rules;
	struct json_object *object = head_json(report), *array = json_object_new_array();

	for (size_t i = 0; i < rules->count; i++)
		json_object_array_add(array, rule_json(report, &rules->rules[i]));
	put(object, "rules", array);
	return object;
}

int ps_json_list(const struct ps_report *report, struct ps_error *error)
{
	return print(list_json(report), error);
}

static struct json_object *stats_json(const struct ps_rule *rule, const struct ps_rule_stats *s)
{
	struct json_object *object = json_object_new_object();
	struct json_object *counters = json_object_new_object();
	char text[PS_RULE_TEXT];

	ps_rule_format(rule, text);
	put_text(object, "rule", text);
	put_text(object, "mode", ps_mode_name(rule->mode));
	put_text(object, "client_cgroup", rule->scope);
	put(object, "owner", owner_json(&rule->owner));
	put_text(object, "name", rule->name);
	for (size_t i = 0; i < PS_COUNTER_COUNT; i++)
		put_number(counters, ps_counters[i].name, ps_counter_value(&ps_counters[i], s));
	put(object, "counters", counters);
	put_seconds(object, "last_hit", s->last_hit);
	return object;
}

static struct json_object *counters_json(const struct ps_report *report)
{
	const struct ps_view *view = &report->view;
	struct json_object *object = head_json(report), *array = json_object_new_array();

	for (size_t i = 0; i < view->state.rules.count; i++)
		json_object_array_add(array,
				      stats_json(&view->state.rules.rules[i], &view->stats[i]));
	put(object, "rules", array);
	return object;
}

int ps_json_stats(const struct ps_report *report, struct ps_error *error)
{
	return print(counters_json(report), error);
}

/* An instance of --all: as without it, but its inode says more about the namespace. */
static struct json_object *listed_json(const struct ps_listed *item,
				       struct json_object *(*json)(const struct ps_report *report))
{
	struct json_object *object = json(&item->report), *netns;

	if (!json_object_object_get_ex(object, "netns", &netns))
		return object;
	if (item->inode)
		put_number(netns, "inode", item->inode);
	else
		put(netns, "inode", NULL);
	return object;
}

/* One at a time: the whole of them could be large. */
static int print_all(const struct ps_all *all,
		     struct json_object *(*json)(const struct ps_report *report),
		     struct ps_error *error)
{
	int ret = 0;

	fputs("{\"instances\":[", stdout);
	for (size_t i = 0; i < all->count && !ret; i++) {
		fputs(i ? "," : "", stdout);
		ret = write_json(listed_json(&all->items[i], json), error);
	}
	puts("]}");
	return ret;
}

int ps_json_list_all(const struct ps_all *all, struct ps_error *error)
{
	return print_all(all, list_json, error);
}

int ps_json_stats_all(const struct ps_all *all, struct ps_error *error)
{
	return print_all(all, counters_json, error);
}

static struct json_object *instance_json(const struct ps_instance_info *instance)
{
	struct json_object *object = json_object_new_object();

	put_number(object, "cookie", instance->cookie);
	put_text(object, "name", *instance->label ? instance->label : NULL);
	put_number(object, "generation", instance->generation);
	put_number(object, "rules", instance->rules);
	put_number(object, "netns_inode", instance->netns_inode);
	put(object, "alive", json_object_new_boolean(instance->netns_inode != 0));
	return object;
}

/* null where they could not be looked for. */
static struct json_object *strays_json(const struct ps_host_info *info)
{
	struct json_object *array = info->blind ? NULL : json_object_new_array();

	for (size_t i = 0; i < info->strays.count; i++) {
		const struct ps_stray *stray = &info->strays.items[i];
		struct json_object *object = json_object_new_object();

		put_number(object, "program", stray->program);
		put_text(object, "name", stray->name);
		put_text(object, "where", ps_stray_word(stray->where));
		put_text(object, "mount", *stray->mount ? stray->mount : NULL);
		put(object, "pid", stray->pid ? json_object_new_int(stray->pid) : NULL);
		put(object, "here", json_object_new_boolean(stray->here));
		json_object_array_add(array, object);
	}
	return array;
}

/* null where they could not be looked for. */
static struct json_object *others_json(const struct ps_host_info *info)
{
	bool told = !info->others_blind && !info->others_unseen;
	struct json_object *array = told ? json_object_new_array() : NULL;

	for (size_t i = 0; array && i < info->others.count; i++) {
		const struct ps_other *other = &info->others.items[i];
		struct json_object *object = json_object_new_object();

		put_number(object, "program", other->program);
		put_text(object, "name", *other->name ? other->name : NULL);
		put_text(object, "hook", ps_hook_name(other->type));
		put_text(object, "cgroup", *other->cgroup ? other->cgroup : NULL);
		put_text(object, "runs", ps_order_word(other->order));
		json_object_array_add(array, object);
	}
	return array;
}

int ps_json_status(const struct ps_host_info *info, struct ps_error *error)
{
	struct json_object *object = json_object_new_object();
	struct json_object *anchors = json_object_new_array();
	struct json_object *instances = json_object_new_array();

	put(object, "loaded", json_object_new_boolean(info->loaded));
	put_number(object, "abi", PORTSTEER_ABI);
	put_text(object, "version", PORTSTEER_VERSION);
	put(object, "outdated", json_object_new_boolean(info->outdated));
	put_text(object, "bpffs", *info->bpffs ? info->bpffs : NULL);
	put_text(object, "cgroup2", *info->cgroup2 ? info->cgroup2 : NULL);
	for (size_t i = 0; i < info->anchor_count; i++)
		json_object_array_add(anchors, text_json(info->anchors[i]));
	put(object, "sock_ops", anchors);
	put(object, "bind_hooks", json_object_new_boolean(info->bind_hooks));
	put(object, "connect_hooks", json_object_new_boolean(info->connect_hooks));
	put_number(object, "memory", info->memory);
	put_number(object, "detached", info->detached);
	put_number(object, "leftovers", info->leftovers);
	put(object, "strays", strays_json(info));
	put(object, "others", others_json(info));
	for (size_t i = 0; i < info->instance_count; i++)
		json_object_array_add(instances, instance_json(&info->instances[i]));
	put(object, "instances", instances);
	return print(object, error);
}

static struct json_object *inferred_json(const struct ps_added *added)
{
	struct json_object *array = json_object_new_array();
	char text[PS_RULE_TEXT];

	for (size_t i = 0; i < added->count; i++) {
		struct json_object *object;

		if (!added->inferred[i])
			continue;
		object = json_object_new_object();
		ps_rule_format(&added->rules[i], text);
		put_text(object, "rule", text);
		put_number(object, "uid", added->rules[i].owner.uid);
		json_object_array_add(array, object);
	}
	return array;
}

static struct json_object *notes_json(const struct ps_notes *notes)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < notes->count; i++)
		json_object_array_add(array, json_object_new_string(notes->lines[i]));
	return array;
}

static struct json_object *held_json(const struct ps_sockets *held)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < held->count; i++)
		json_object_array_add(array, socket_json(&held->items[i]));
	return array;
}

int ps_json_added(const struct ps_added *added, struct ps_error *error)
{
	struct json_object *object = json_object_new_object();

	put_number(object, "added", added->count);
	put_number(object, "removed", 0);
	put(object, "inferred", inferred_json(added));
	put(object, "notes", notes_json(added->notes));
	return print(object, error);
}

int ps_json_removed(size_t removed, const struct ps_sockets *held, struct ps_error *error)
{
	struct json_object *object = json_object_new_object();

	put_number(object, "added", 0);
	put_number(object, "removed", removed);
	put(object, "held", held_json(held));
	return print(object, error);
}

static struct json_object *feature_json(const struct ps_feature *f)
{
	struct json_object *object = json_object_new_object();

	put_text(object, "name", f->name);
	/* null: unknown */
	put(object, "supported",
	    f->support == PS_UNKNOWN ? NULL : json_object_new_boolean(f->support == PS_YES));
	put_text(object, "use", f->use);
	put_text(object, "why", *f->why ? f->why : NULL);
	return object;
}

int ps_json_probe(const struct ps_probe *probe, struct ps_error *error)
{
	struct json_object *object = json_object_new_object();
	struct json_object *modes = json_object_new_array(), *features = json_object_new_array();

	put_text(object, "kernel", probe->kernel);
	for (int i = 0; i < PS_PROBE_MODES; i++)
		json_object_array_add(modes, feature_json(&probe->modes[i]));
	for (size_t i = 0; i < probe->count; i++)
		json_object_array_add(features, feature_json(&probe->features[i]));
	put(object, "modes", modes);
	put(object, "features", features);
	return print(object, error);
}

int ps_json_checked(const struct ps_config *config, const struct ps_ruleset *rules,
		    struct ps_error *error)
{
	struct json_object *object = json_object_new_object(), *array = json_object_new_array();

	for (size_t i = 0; i < config->file_count; i++)
		json_object_array_add(array, text_json(config->files[i]));
	put(object, "files", array);
	put_number(object, "rules", rules->count);
	array = json_object_new_array();
	for (size_t i = 0; i < config->list.note_count; i++)
		json_object_array_add(array, json_object_new_string(config->list.notes[i]));
	put(object, "notes", array);
	return print(object, error);
}

static void put_counts(struct json_object *object, const struct ps_diff *diff)
{
	put_number(object, "added", diff->added);
	put_number(object, "removed", diff->removed);
	put_number(object, "changed", diff->changed);
	put_number(object, "unchanged", diff->same);
}

/* The texts of rules. */
static struct json_object *texts_json(const struct ps_ruleset *rules)
{
	struct json_object *array = json_object_new_array();
	char text[PS_RULE_TEXT];

	for (size_t i = 0; i < rules->count; i++) {
		ps_rule_format(&rules->rules[i], text);
		json_object_array_add(array, json_object_new_string(text));
	}
	return array;
}

int ps_json_applied(const struct ps_applied *applied, struct ps_error *error)
{
	struct json_object *object = json_object_new_object();

	put_counts(object, applied->diff);
	put(object, "by_hand", texts_json(applied->hand));
	put(object, "notes", notes_json(applied->notes));
	put(object, "held", held_json(applied->held));
	return print(object, error);
}

static void add_difference(const struct ps_rule *before, const struct ps_rule *after, void *data)
{
	struct json_object *object;

	if (before && after && ps_rule_equal(before, after))
		return;
	object = json_object_new_object();
	put_text(object, "change", !before ? "added" : !after ? "removed" : "changed");
	put(object, "before", before ? given_json(before) : NULL);
	put(object, "after", after ? given_json(after) : NULL);
	json_object_array_add(data, object);
}

int ps_json_differences(const struct ps_ruleset *before, const struct ps_ruleset *after,
			const struct ps_ruleset *hand, struct ps_error *error)
{
	struct json_object *object = json_object_new_object(), *array = json_object_new_array();
	struct ps_diff diff = ps_ruleset_diff(before, after);

	put_counts(object, &diff);
	ps_ruleset_compare(before, after, add_difference, array);
	put(object, "differences", array);
	put(object, "by_hand", texts_json(hand));
	return print(object, error);
}

int ps_json_saved(const char *config, struct ps_error *error)
{
	struct json_object *object = json_object_new_object();

	put(object, "config", json_object_new_string(config));
	return print(object, error);
}

static struct json_object *mistake_json(const struct ps_config *config,
					const struct ps_mistake *mistake)
{
	struct json_object *object = json_object_new_object();

	put_text(object, "file", config->files[mistake->place.file]);
	if (mistake->place.line)
		put_number(object, "line", mistake->place.line);
	else
		put(object, "line", NULL);
	put(object, "message", json_object_new_string(mistake->error.message));
	return object;
}

void ps_json_error(const struct ps_error *error, const struct ps_config *config)
{
	struct json_object *object = json_object_new_object();
	struct json_object *inner = json_object_new_object(), *array;

	put_number(inner, "status", error->status);
	put(inner, "message", json_object_new_string(error->message));
	if (config->mistake_count) {
		array = json_object_new_array();
		for (size_t i = 0; i < config->mistake_count; i++)
			json_object_array_add(array, mistake_json(config, &config->mistakes[i]));
		put(inner, "mistakes", array);
	}
	put(object, "error", inner);
	print(object, NULL);
}
