// SPDX-License-Identifier: GPL-2.0-only
#include "rule/rule_list.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "util/array.h"
#include "util/bpf_types.h"

void ps_rule_list_clear(struct ps_rule_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		ps_rule_clear(&list->rules[i]);
	free(list->rules);
	free(list->cgroup_text);
	free(list->cgroup);
	free(list->scope_text);
	free(list->scope);
	free(list->user_text);
	for (size_t i = 0; i < list->note_count; i++)
		free(list->notes[i]);
	*list = (struct ps_rule_list){ .resolver = list->resolver };
}

static int out_of_memory(struct ps_error *error)
{
	return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some and try again");
}

/* Keep a note, which becomes the list's, or NULL. */
static void keep_note(struct ps_rule_list *list, char *note)
{
	bool kept = note && list->note_count < PS_NAME_NOTES;

	for (size_t i = 0; i < list->note_count && kept; i++)
		kept = strcmp(list->notes[i], note) != 0;
	if (kept)
		list->notes[list->note_count++] = note;
	else
		free(note);
}

static int find_user(struct ps_rule_list *list, const char *text, struct ps_error *error)
{
	char *note = NULL;
	uint32_t uid;
	int ret;

	if (list->user_text && !strcmp(list->user_text, text))
		return 0;
	if (!*text)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "--user is empty; give a user name or UID");
	/* What a failure leaves must not be taken for the user of before. */
	ret = list->resolver->user(text, &uid, &note, error);
	if (ret)
		return ret;
	list->uid = uid;
	keep_note(list, note);
	free(list->user_text);
	list->user_text = strdup(text);
	return list->user_text ? 0 : out_of_memory(error);
}

/* A cgroup as the user wrote it, and what that resolved to, are kept for the next rule. */
static int find_cgroup(struct ps_rule_list *list, char **kept_text, char **kept, const char *text,
		       ps_resolve_path *resolve, struct ps_error *error)
{
	char *path, *note = NULL;
	int ret;

	if (*kept_text && !strcmp(*kept_text, text))
		return 0;
	ret = resolve(text, &path, &note, error);
	if (ret)
		return ret;
	keep_note(list, note);
	free(*kept);
	free(*kept_text);
	*kept = path;
	*kept_text = strdup(text);
	return *kept_text ? 0 : out_of_memory(error);
}

static int find_scope(struct ps_rule_list *list, const char *text, struct ps_error *error)
{
	return find_cgroup(list, &list->scope_text, &list->scope, text, list->resolver->scope,
			   error);
}

/* owner->cgroup is borrowed from the list. */
static int read_owner(struct ps_rule_list *list, const struct ps_rule_words *words,
		      struct ps_owner_spec *owner, struct ps_error *error)
{
	int ret = 0;

	if (words->any_user) {
		if (words->user || words->cgroup)
			return ps_fail(error, PS_EXIT_USAGE, EINVAL,
				       "--any-user contradicts --%s; give one of them",
				       words->user ? "user" : "cgroup");
		owner->flags = PS_OWNER_ANY;
	}
	if (words->user) {
		ret = find_user(list, words->user, error);
		owner->flags |= PS_OWNER_USER;
		owner->uid = list->uid;
	}
	if (words->cgroup && !ret) {
		ret = find_cgroup(list, &list->cgroup_text, &list->cgroup, words->cgroup,
				  list->resolver->cgroup, error);
		owner->flags |= PS_OWNER_CGROUP;
		owner->cgroup = list->cgroup;
	}
	return ret;
}

enum ps_mode ps_rule_usual_mode(const struct ps_rule *rule)
{
	return rule->scope		  ? PS_MODE_CONNECT :
	       rule->proto == IPPROTO_UDP ? PS_MODE_BIND :
					    PS_MODE_STEER;
}

/* What --mode says. */
static int read_mode(const char *text, enum ps_mode *mode, struct ps_error *error)
{
	if (!strcmp(text, "steer"))
		*mode = PS_MODE_STEER;
	else if (!strcmp(text, "bind"))
		*mode = PS_MODE_BIND;
	else if (!strcmp(text, "connect"))
		*mode = PS_MODE_CONNECT;
	else
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "unknown --mode '%.100s'; use steer, bind or connect", text);
	return 0;
}

int ps_rule_options(struct ps_rule_list *list, const struct ps_rule_words *words,
		    struct ps_rule *options, struct ps_error *error)
{
	int ret = words->mode ? read_mode(words->mode, &options->mode, error) : 0;

	if (!ret && words->client_cgroup) {
		ret = find_scope(list, words->client_cgroup, error);
		options->scope = list->scope;
	}
	if (ret)
		return ret;
	if (words->if_down && !strcmp(words->if_down, "pass"))
		options->if_down = PS_DOWN_PASS;
	else if (words->if_down && strcmp(words->if_down, "refuse"))
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "unknown --if-down '%.100s'; use refuse or pass", words->if_down);
	if (words->name) {
		ret = ps_name_check(words->name, error);
		if (ret)
			return ret;
		options->name = (char *)words->name;
	}
	return read_owner(list, words, &options->owner, error);
}

static int grow(struct ps_rule_list *list, struct ps_error *error)
{
	if (list->count == PS_MAX_RULES)
		return ps_fail(error, PS_EXIT_FAILED, E2BIG,
			       "too many rules: the limit is %d; use port ranges", PS_MAX_RULES);
	return ps_grow((void **)&list->rules, &list->room, list->count, sizeof(*list->rules)) ?
		       out_of_memory(error) :
		       0;
}

/* --if-down is for rules that look for a listener. */
static int check_if_down(const struct ps_rule *rule, const char *text, struct ps_error *error)
{
	if (ps_rule_is_fixed(rule))
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %.127s: the target is a fixed destination, and --if-down is "
			       "only for rules that have listeners; remove --if-down",
			       text);
	if (rule->mode == PS_MODE_BIND)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %.127s is a bind rule, and --if-down is only for rules that "
			       "have listeners: the kernel refuses connections to an unbound port; "
			       "remove --if-down",
			       text);
	return 0;
}

int ps_rule_list_append(struct ps_rule_list *list, const char *text, bool grant,
			const struct ps_rule_words *words, const struct ps_rule *options,
			struct ps_error *error)
{
	struct ps_rule rule;
	int ret = grant ? ps_rule_parse_grant(text, &rule, error) :
			  ps_rule_parse(text, &rule, error);

	if (ret)
		return ret;
	rule.scope = options->scope;
	if (!grant)
		rule.mode = words->mode ? options->mode : ps_rule_usual_mode(&rule);
	ret = words->if_down ? check_if_down(&rule, text, error) : 0;
	if (!ret)
		ret = grow(list, error);
	if (ret)
		return ret;
	rule.if_down = options->if_down;
	rule.owner = options->owner;
	rule.name = options->name;
	if (ps_rule_copy(&rule, &list->rules[list->count]))
		return out_of_memory(error);
	list->count++;
	return 0;
}

int ps_rule_keys_scope(struct ps_rule_list *list, const char *text, struct ps_rule *keys,
		       size_t count, struct ps_error *error)
{
	int ret = text ? find_scope(list, text, error) : 0;

	for (size_t i = 0; i < count && !ret; i++)
		keys[i].scope = list->scope;
	return ret;
}
