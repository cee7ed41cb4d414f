// SPDX-License-Identifier: GPL-2.0-only
#include "rules_file.h"

#include <errno.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "cgroup.h"
#include "text.h"
#include "util.h"

enum { LINE = 4096, WORDS = 256 };

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
	*list = (struct ps_rule_list){};
}

static int out_of_memory(struct ps_error *error)
{
	return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some and try again");
}

/* A uid in decimal; (uid_t)-1 is nobody's. */
static bool parse_uid(const char *text, uint32_t *uid)
{
	char *end;
	unsigned long long value;

	if (*text < '0' || *text > '9' || strlen(text) > 10)
		return false;
	value = strtoull(text, &end, 10);
	*uid = (uint32_t)value;
	return !*end && value < UINT32_MAX;
}

static int find_user(struct ps_rule_list *list, const char *text, struct ps_error *error)
{
	const struct passwd *entry;

	if (list->user_text && !strcmp(list->user_text, text))
		return 0;
	if (!*text)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "--user is empty; give a user's name or number");
	errno = 0;
	entry = getpwnam(text);
	if (entry)
		list->uid = entry->pw_uid;
	else if (!parse_uid(text, &list->uid))
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "unknown user '%.100s': there is no such name in the user database; "
			       "see 'getent passwd', or give a number below 4294967295",
			       text);
	free(list->user_text);
	list->user_text = strdup(text);
	return list->user_text ? 0 : out_of_memory(error);
}

/* A cgroup as the user wrote it, and what that resolved to, are kept for the next rule. */
static int find_cgroup(char **kept_text, char **kept, const char *text,
		       int (*resolve)(const char *text, char **path, struct ps_error *error),
		       struct ps_error *error)
{
	char *path;
	int ret;

	if (*kept_text && !strcmp(*kept_text, text))
		return 0;
	ret = resolve(text, &path, error);
	if (ret)
		return ret;
	free(*kept);
	free(*kept_text);
	*kept = path;
	*kept_text = strdup(text);
	return *kept_text ? 0 : out_of_memory(error);
}

/* owner->cgroup is borrowed from the list. */
static int read_owner(struct ps_rule_list *list, const struct ps_values *values,
		      struct ps_owner_spec *owner, struct ps_error *error)
{
	const char *user = values->of[PS_OPT_USER], *cgroup = values->of[PS_OPT_CGROUP];
	int ret = 0;

	if (values->of[PS_OPT_ANY_USER]) {
		if (user || cgroup)
			return ps_fail(error, PS_EXIT_USAGE, EINVAL,
				       "--any-user contradicts --%s; give one of them",
				       user ? "user" : "cgroup");
		owner->flags = PS_OWNER_ANY;
	}
	if (user) {
		ret = find_user(list, user, error);
		owner->flags |= PS_OWNER_USER;
		owner->uid = list->uid;
	}
	if (cgroup && !ret) {
		ret = find_cgroup(&list->cgroup_text, &list->cgroup, cgroup, ps_cgroup_resolve,
				  error);
		owner->flags |= PS_OWNER_CGROUP;
		owner->cgroup = list->cgroup;
	}
	return ret;
}

/* What --mode says; without it, --from and the protocol do. */
static int read_mode(const char *text, const struct ps_rule *rule, enum ps_mode *mode,
		     struct ps_error *error)
{
	if (!text)
		*mode = rule->scope		   ? PS_MODE_CONNECT :
			rule->proto == IPPROTO_UDP ? PS_MODE_BIND :
						     PS_MODE_STEER;
	else if (!strcmp(text, "steer"))
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

/* What the options say, without the ports; the strings are borrowed. */
static int read_options(struct ps_rule_list *list, const struct ps_values *values,
			struct ps_rule *rule, struct ps_error *error)
{
	const char *on_miss = values->of[PS_OPT_ON_MISS], *name = values->of[PS_OPT_NAME];
	const char *from = values->of[PS_OPT_FROM];
	int ret;

	if (from) {
		ret = find_cgroup(&list->scope_text, &list->scope, from, ps_scope_resolve, error);
		if (ret)
			return ret;
		rule->scope = list->scope;
	}

	if (on_miss && !strcmp(on_miss, "pass"))
		rule->on_miss = PS_MISS_PASS;
	else if (on_miss && strcmp(on_miss, "refuse"))
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "unknown --on-miss '%.100s'; use refuse or pass", on_miss);
	if (name) {
		ret = ps_name_check(name, error);
		if (ret)
			return ret;
		rule->name = (char *)name;
	}
	return read_owner(list, values, &rule->owner, error);
}

static int append(struct ps_rule_list *list, const struct ps_rule *rule, struct ps_error *error)
{
	if (list->count == PS_MAX_RULES)
		return ps_fail(error, PS_EXIT_FAILED, E2BIG,
			       "too many rules: at most %d; use port ranges", PS_MAX_RULES);
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 16;
		void *grown = reallocarray(list->rules, room, sizeof(*list->rules));

		if (!grown)
			return out_of_memory(error);
		list->rules = grown;
		list->room = room;
	}
	if (ps_rule_copy(rule, &list->rules[list->count]))
		return out_of_memory(error);
	list->count++;
	return 0;
}

/* One rule's text; what the options say is taken from `options`. */
static int read_rule(const char *text, bool grant, const struct ps_values *values,
		     const struct ps_rule *options, struct ps_rule *rule, struct ps_error *error)
{
	int ret = grant ? ps_rule_parse_grant(text, rule, error) : ps_rule_parse(text, rule, error);

	if (ret)
		return ret;
	rule->scope = options->scope;
	if (!grant)
		ret = read_mode(values->of[PS_OPT_MODE], rule, &rule->mode, error);
	if (ret)
		return ret;
	if (ps_rule_is_fixed(rule) && values->of[PS_OPT_ON_MISS])
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %.127s: clients are sent to the pair as it is given, and "
			       "--on-miss is for rules that look for a listener; leave it out",
			       text);
	if (rule->mode == PS_MODE_BIND && values->of[PS_OPT_ON_MISS])
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %.127s is a bind rule, and --on-miss is for steer rules: the "
			       "kernel answers for a port that nobody is bound to; leave it out",
			       text);
	rule->on_miss = options->on_miss;
	rule->owner = options->owner;
	rule->name = options->name;
	return 0;
}

int ps_rule_keys_scope(struct ps_rule_list *list, const struct ps_values *values,
		       struct ps_rule *keys, size_t count, struct ps_error *error)
{
	const char *from = values->of[PS_OPT_FROM];
	int ret =
		from ? find_cgroup(&list->scope_text, &list->scope, from, ps_scope_resolve, error) :
		       0;

	for (size_t i = 0; i < count && !ret; i++)
		keys[i].scope = list->scope;
	return ret;
}

int ps_rule_list_add(struct ps_rule_list *list, char **words, size_t count,
		     const struct ps_values *values, struct ps_error *error)
{
	struct ps_rule options = {}, rule;
	int ret = read_options(list, values, &options, error);

	for (size_t i = 0; i < count && !ret; i++) {
		ret = read_rule(words[i], list->grants, values, &options, &rule, error);
		if (!ret)
			ret = append(list, &rule, error);
	}
	return ret;
}

/* Where a line gives no owner, those of the command line hold; each other option
 * by itself. */
static void inherit(struct ps_values *line, const struct ps_values *outer)
{
	bool owner = line->of[PS_OPT_USER] || line->of[PS_OPT_CGROUP] || line->of[PS_OPT_ANY_USER];

	for (int id = 0; id < PS_OPTIONS; id++) {
		if (owner && (id == PS_OPT_USER || id == PS_OPT_CGROUP || id == PS_OPT_ANY_USER))
			continue;
		if (!line->of[id])
			line->of[id] = outer->of[id];
	}
}

static int read_line(struct ps_rule_list *list, char *line, const struct ps_values *outer,
		     struct ps_error *error)
{
	char *words[WORDS], *save = NULL;
	struct ps_values values = {};
	size_t count = 0, rest;
	int ret;

	line[strcspn(line, "#")] = '\0';
	for (char *word = strtok_r(line, " \t\r", &save); word;
	     word = strtok_r(NULL, " \t\r", &save)) {
		if (count == WORDS)
			return ps_fail(error, PS_EXIT_USAGE, EINVAL,
				       "more than %d words; use several lines", WORDS);
		words[count++] = word;
	}
	if (!count)
		return 0;
	ret = ps_options_parse(words, count, PS_RULE_OPTIONS, &values, &rest, error);
	if (ret)
		return ret;
	if (!rest)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "options without a rule; write PORT:TARGET first");
	inherit(&values, outer);
	return ps_rule_list_add(list, words, rest, &values, error);
}

/* Put FILE:LINE in front of a message, which is escaped already. */
static int fail_at(struct ps_error *error, int ret, const char *path, size_t number)
{
	char why[sizeof(error->message)], name[256];

	memcpy(why, error->message, sizeof(why));
	ps_printable(path, name, sizeof(name));
	snprintf(error->message, sizeof(error->message), "%s:%zu: %.700s", name, number, why);
	return ret;
}

/* Read a line without its end. 1, 0 at the end of the file, -EINVAL for one that is too
 * long or is no text. */
static int next_line(FILE *file, char line[LINE])
{
	size_t used = 0;
	int c;

	while ((c = getc(file)) != EOF && c != '\n') {
		if (!c || used + 1 == LINE)
			return -EINVAL;
		line[used++] = (char)c;
	}
	line[used] = '\0';
	return used || c == '\n';
}

static int read_lines(struct ps_rule_list *list, FILE *file, const char *path,
		      const struct ps_values *values, struct ps_error *error)
{
	char line[LINE];
	int ret;

	for (size_t number = 1; (ret = next_line(file, line)); number++) {
		if (ret < 0)
			ps_fail(error, PS_EXIT_USAGE, EINVAL,
				"the line is longer than %d bytes or has a NUL byte; use several "
				"lines of text",
				LINE - 1);
		else
			ret = read_line(list, line, values, error);
		if (ret < 0)
			return fail_at(error, ret, path, number);
	}
	if (ferror(file))
		return ps_fail(error, PS_EXIT_FAILED, errno,
			       "cannot read %.200s: %s; give a text file", path, strerror(errno));
	return 0;
}

int ps_rule_list_read(struct ps_rule_list *list, const char *path, const struct ps_values *values,
		      struct ps_error *error)
{
	_cleanup_fclose_ FILE *file = NULL;

	if (!strcmp(path, "-"))
		return read_lines(list, stdin, "(standard input)", values, error);
	file = fopen(path, "re");
	if (!file)
		return ps_fail(error, PS_EXIT_FAILED, errno,
			       "cannot open %.200s: %s; check the path", path, strerror(errno));
	return read_lines(list, file, path, values, error);
}
