// SPDX-License-Identifier: GPL-2.0-only
#include "cli/options.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

const struct ps_option ps_options[PS_OPTIONS] = {
	[PS_OPT_NETNS] = { "netns", 0, "PATH|NAME|pid:N", "work on this network namespace" },
	[PS_OPT_JSON] = { "json", 'j', NULL, "write JSON to standard output" },
	[PS_OPT_QUIET] = { "quiet", 'q', NULL, "print errors only" },
	[PS_OPT_VERBOSE] = { "verbose", 'v', NULL, "print more, also messages of libbpf" },
	[PS_OPT_COLOR] = { "color", 0, "auto|always|never", "colours (auto: on a terminal)" },
	[PS_OPT_HELP] = { "help", 'h', NULL, "show help and exit" },
	[PS_OPT_VERSION] = { "version", 'V', NULL, "show the version and exit" },
	[PS_OPT_USER] = { "user", 0, "NAME|UID", "owner: sockets of this user" },
	[PS_OPT_CGROUP] = { "cgroup", 0, "PATH|pid:N|unit:NAME|container:ID",
			    "owner: sockets in this cgroup or below it" },
	[PS_OPT_ANY_USER] = { "any-user", 0, NULL, "owner: any user, not checked" },
	[PS_OPT_CLIENT_CGROUP] = { "client-cgroup", 0, "PATH|pid:N|unit:NAME|container:ID",
				   "for clients in this cgroup or below it (connect mode)" },
	[PS_OPT_IF_DOWN] = { "if-down", 0, "refuse|pass",
			     "without a listener: refuse (default), or pass to the normal lookup" },
	[PS_OPT_NAME] = { "name", 0, "LABEL", "a label, shown by 'portsteer list'" },
	[PS_OPT_MODE] = { "mode", 0, "steer|bind|connect",
			  "the mode (default: TCP steer, UDP bind, --client-cgroup connect)" },
	[PS_OPT_FILE] = { "file", 'f', "FILE|-", "read this file (-: standard input)" },
	[PS_OPT_DRY_RUN] = { "dry-run", 0, NULL, "only show what would change" },
	[PS_OPT_ONLY] = { "only", 0, NULL, "also delete rules that were added by hand" },
	[PS_OPT_KEEP_GOING] = { "keep-going", 0, NULL,
				"if no rules are in force: skip sections with a mistake" },
	[PS_OPT_ALLOW_EMPTY] = { "allow-empty", 0, NULL, "accept a file without sections" },
	[PS_OPT_ALL] = { "all", 0, NULL, "the instances of all network namespaces" },
	[PS_OPT_TABLE] = { "table", 0, NULL, "print all commands and options, for scripts" },
};

/* Words being parsed. */
struct parser {
	char **words;
	size_t count, at;
	uint32_t allowed;
	struct ps_values *values;
	struct ps_error *error;
};

static int unknown(const struct parser *p, const char *word)
{
	return ps_fail(p->error, PS_EXIT_USAGE, EINVAL,
		       "unknown option '%.200s': it does not exist or does not apply to this "
		       "command; see 'portsteer help'",
		       word);
}

static int find_long(const char *name, size_t length)
{
	for (int id = 0; id < PS_OPTIONS; id++) {
		if (!strncmp(ps_options[id].name, name, length) && !ps_options[id].name[length])
			return id;
	}
	return -1;
}

static int find_letter(char letter)
{
	for (int id = 0; id < PS_OPTIONS; id++) {
		if (letter && ps_options[id].letter == letter)
			return id;
	}
	return -1;
}

/* Note an option; `value` is what is attached to it, or NULL. */
static int take(struct parser *p, int id, const char *word, const char *value)
{
	const struct ps_option *option = id < 0 ? NULL : &ps_options[id];

	if (!option || !(p->allowed & PS_BIT(id)))
		return unknown(p, word);
	if (!option->arg && value)
		return ps_fail(p->error, PS_EXIT_USAGE, EINVAL,
			       "option --%s takes no value; leave '=%.100s' out", option->name,
			       value);
	if (option->arg && !value) {
		if (p->at == p->count)
			return ps_fail(p->error, PS_EXIT_USAGE, EINVAL,
				       "option --%s needs a value: give %s", option->name,
				       option->arg);
		value = p->words[p->at++];
	}
	if (option->arg && p->values->of[id])
		return ps_fail(p->error, PS_EXIT_USAGE, EINVAL,
			       "option --%s is given twice; give it once", option->name);
	p->values->of[id] = value ? value : "";
	return 0;
}

static int take_long(struct parser *p, const char *word)
{
	const char *name = word + 2, *equals = strchr(name, '=');
	size_t length = equals ? (size_t)(equals - name) : strlen(name);

	return take(p, find_long(name, length), word, equals ? equals + 1 : NULL);
}

/* "-jq", "-fFILE", "-f FILE" */
static int take_letters(struct parser *p, const char *word)
{
	int ret = 0;

	for (const char *c = word + 1; *c && !ret; c++) {
		int id = find_letter(*c);
		bool attached = id >= 0 && ps_options[id].arg && c[1];

		ret = take(p, id, word, attached ? c + 1 : NULL);
		if (attached)
			break;
	}
	return ret;
}

/* Is the word after this option its value? */
static bool takes_next(const char *word)
{
	int id;

	if (word[1] == '-')
		id = find_long(word + 2, strlen(word + 2));
	else
		id = find_letter(word[strlen(word) - 1]);
	/* "-fFILE" has it already. */
	for (const char *c = word + 1; word[1] != '-' && c[0] && c[1]; c++) {
		int before = find_letter(*c);

		if (before >= 0 && ps_options[before].arg)
			return false;
	}
	return id >= 0 && ps_options[id].arg;
}

size_t ps_options_skip(char *const *words, size_t count)
{
	size_t at = 0;

	for (; at < count; at++) {
		if (!strcmp(words[at], "--"))
			return at + 1;
		if (words[at][0] != '-' || !words[at][1])
			return at;
		at += takes_next(words[at]);
	}
	return count;
}

int ps_options_parse(char **words, size_t count, uint32_t allowed, struct ps_values *values,
		     size_t *rest, struct ps_error *error)
{
	struct parser p = {
		.words = words, .count = count, .allowed = allowed, .values = values, .error = error
	};
	size_t kept = 0;
	int ret = 0;

	while (p.at < count && !ret) {
		char *word = words[p.at++];

		if (!strcmp(word, "--"))
			break;
		if (word[0] != '-' || !word[1] || (word[1] >= '0' && word[1] <= '9'))
			words[kept++] = word;
		else if (word[1] == '-')
			ret = take_long(&p, word);
		else
			ret = take_letters(&p, word);
	}
	while (p.at < count)
		words[kept++] = words[p.at++];
	*rest = kept;
	return ret;
}
