// SPDX-License-Identifier: GPL-2.0-only
#include "cli/rules_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "os/cgroup.h"
#include "os/users.h"
#include "util/text.h"
#include "util/util.h"

enum { LINE = 4096, WORDS = 256 };

const struct ps_resolver ps_resolver = { ps_user_resolve, ps_cgroup_resolve, ps_scope_resolve };

struct ps_rule_words ps_words_of(const struct ps_values *values)
{
	return (struct ps_rule_words){
		.user = values->of[PS_OPT_USER],
		.cgroup = values->of[PS_OPT_CGROUP],
		.client_cgroup = values->of[PS_OPT_CLIENT_CGROUP],
		.mode = values->of[PS_OPT_MODE],
		.if_down = values->of[PS_OPT_IF_DOWN],
		.name = values->of[PS_OPT_NAME],
		.any_user = values->of[PS_OPT_ANY_USER],
	};
}

int ps_rule_list_add(struct ps_rule_list *list, char **words, size_t count, bool grants,
		     const struct ps_values *values, struct ps_error *error)
{
	struct ps_rule_words given = ps_words_of(values);
	struct ps_rule options = {};
	int ret = ps_rule_options(list, &given, &options, error);

	for (size_t i = 0; i < count && !ret; i++)
		ret = ps_rule_list_append(list, words[i], grants, &given, &options, error);
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

/* A file may be read again, when the number is another process's. */
static int check_lasting(const struct ps_values *line, struct ps_error *error)
{
	int ret = 0;

	if (line->of[PS_OPT_CGROUP])
		ret = ps_cgroup_check_lasting(line->of[PS_OPT_CGROUP], error);
	if (!ret && line->of[PS_OPT_CLIENT_CGROUP])
		ret = ps_cgroup_check_lasting(line->of[PS_OPT_CLIENT_CGROUP], error);
	return ret;
}

static int read_line(struct ps_rule_list *list, char *line, const struct ps_values *outer,
		     bool lasting, struct ps_error *error)
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
	ret = lasting ? check_lasting(&values, error) : 0;
	if (ret)
		return ret;
	if (!rest)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "options without a rule; write PORT:TARGET first");
	inherit(&values, outer);
	return ps_rule_list_add(list, words, rest, false, &values, error);
}

/* Put FILE:LINE in front of a message, which is escaped already. */
static int fail_at(struct ps_error *error, int ret, const char *path, size_t number)
{
	char why[sizeof(error->message)], name[256];

	memcpy(why, error->message, sizeof(why));
	ps_printable(path, name, sizeof(name));
	snprintf(error->message, sizeof(error->message), "%s:%zu: %.*s", name, number,
		 (int)ps_utf8_cut(why, 700), why);
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

static int read_lines(struct ps_rule_list *list, FILE *file, const char *path, bool lasting,
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
			ret = read_line(list, line, values, lasting, error);
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
		return read_lines(list, stdin, "(standard input)", false, values, error);
	file = fopen(path, "re");
	if (!file)
		return ps_fail(error, PS_EXIT_FAILED, errno,
			       "cannot open %.200s: %s; check the path", path, strerror(errno));
	return read_lines(list, file, path, true, values, error);
}
