// SPDX-License-Identifier: GPL-2.0-only
/* The configuration that makes a ruleset: rules that agree in all but their ports are one
 * section. */
#include "config/config_write.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "rule/targets.h"
#include "util/bpf_types.h"
#include "util/text.h"
#include "util/util.h"

enum { WIDTH = 90 };

static int compare_text(const char *a, const char *b)
{
	if (!a || !b)
		return (a != NULL) - (b != NULL);
	return strcmp(a, b);
}

static int compare_numbers(int a, int b)
{
	return (a > b) - (a < b);
}

/* Does the mode have to be said? */
static bool says_mode(const struct ps_rule *rule)
{
	return !ps_rule_is_grant(rule) && rule->mode != ps_rule_usual_mode(rule);
}

/* The order of sections: 0 for rules that can be in one. */
static int compare_sections(const struct ps_rule *a, const struct ps_rule *b)
{
	int order = compare_text(a->name, b->name);

	if (!order)
		order = compare_text(a->scope, b->scope);
	if (!order)
		order = compare_numbers(ps_rule_is_grant(a), ps_rule_is_grant(b));
	if (!order)
		order = ps_owner_compare(&a->owner, &b->owner);
	if (!order)
		order = compare_numbers(says_mode(a), says_mode(b));
	if (!order && says_mode(a))
		order = compare_numbers(a->mode, b->mode);
	return order ? order : compare_numbers(a->if_down, b->if_down);
}

static int compare_rules(const void *left, const void *right)
{
	const struct ps_rule *a = *(const struct ps_rule *const *)left;
	const struct ps_rule *b = *(const struct ps_rule *const *)right;
	int order = compare_sections(a, b);

	return order ? order : ps_rule_compare(a, b);
}

/* Would this text, written as it is, be read as it is? */
static bool is_plain(const char *text)
{
	if (*text == ' ' || *text == '"' || !*text || text[strlen(text) - 1] == ' ')
		return false;
	for (const char *c = text; *c;) {
		size_t length = ps_printable_length(c);

		/* It would look like a comment. */
		if (!length || ((*c == '#' || *c == ';') && (c == text || c[-1] == ' ')))
			return false;
		c += length;
	}
	return true;
}

static void write_value(FILE *out, const char *key, const char *text)
{
	if (is_plain(text)) {
		fprintf(out, "%s = %s\n", key, text);
		return;
	}
	fprintf(out, "%s = \"", key);
	while (*text) {
		size_t length = ps_printable_length(text);

		if (*text == '"' || *text == '\\')
			putc('\\', out);
		if (length)
			fwrite(text, 1, length, out);
		else
			fprintf(out, "\\x%02x", (unsigned char)*text);
		text += length ? length : 1;
	}
	fputs("\"\n", out);
}

/* Without its first slash a path is not taken for one below a mount point; with it, not
 * for "pid:77". */
static void write_cgroup(FILE *out, const char *key, const char *path)
{
	static const char *const prefixes[] = { "/pid:", "/unit:", "/container:" };
	bool slash = !path[1];

	for (size_t i = 0; i < PS_ARRAY_SIZE(prefixes); i++)
		slash |= !strncmp(path, prefixes[i], strlen(prefixes[i]));
	write_value(out, key, slash ? path : path + 1);
}

/* A label that is unlike the names of other sections. */
static bool is_title(const char *name)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789._-";

	return name && strspn(name, plain) == strlen(name) && strncmp(name, "rules-", 6);
}

static void write_head(FILE *out, const struct ps_rule *rule, const char *title, size_t number,
		       ps_user_fn *user)
{
	const char *name;

	if (title)
		fprintf(out, "\n[%s]\n", title);
	else
		fprintf(out, "\n[rules-%zu]\n", number);
	if (rule->scope)
		write_cgroup(out, "client-cgroup", rule->scope);
	if (rule->owner.flags & PS_OWNER_USER) {
		name = user(rule->owner.uid);
		if (name)
			write_value(out, "user", name);
		else
			fprintf(out, "user = %" PRIu32 "\n", rule->owner.uid);
	}
	if (rule->owner.flags & PS_OWNER_CGROUP)
		write_cgroup(out, "cgroup", rule->owner.cgroup);
	if (rule->owner.flags & PS_OWNER_ANY)
		fputs("any-user = yes\n", out);
	if (says_mode(rule))
		fprintf(out, "mode = %s\n", ps_mode_name(rule->mode));
	if (rule->if_down == PS_DOWN_PASS)
		fputs("if-down = pass\n", out);
	if (rule->name)
		write_value(out, "name", rule->name);
}

static void write_rules(FILE *out, const struct ps_rule *const *rules, size_t count)
{
	char text[PS_RULE_TEXT];
	size_t used = (size_t)fprintf(out, ps_rule_is_grant(rules[0]) ? "allow =" : "ports =");

	for (size_t i = 0; i < count; i++) {
		ps_rule_format(rules[i], text);
		if (used + 1 + strlen(text) > WIDTH)
			used = (size_t)fprintf(out, "\n       ");
		used += (size_t)fprintf(out, " %s", text);
	}
	putc('\n', out);
}

static void write_sections(FILE *out, const struct ps_rule *const *rules, size_t count,
			   ps_user_fn *user)
{
	const char *before = NULL;
	size_t end, number = 0;

	for (size_t first = 0; first < count; first = end) {
		const char *name = rules[first]->name;
		bool title = is_title(name) && compare_text(name, before);

		for (end = first + 1; end < count; end++) {
			if (compare_sections(rules[first], rules[end]))
				break;
		}
		write_head(out, rules[first], title ? name : NULL, ++number, user);
		write_rules(out, rules + first, end - first);
		before = name;
	}
}

/* There is no section for it: the one that was meant has a mistake. */
static void write_block(FILE *out, const struct ps_rule *rule)
{
	char text[PS_RULE_TEXT], file[4 * 1024];

	ps_rule_format(rule, text);
	ps_printable(rule->origin.file ? rule->origin.file : "", file, sizeof(file));
	fprintf(out, "# Refused because its section has a mistake: %s (%s:%" PRIu32 ")\n", text,
		file, rule->origin.line);
}

int ps_config_write(const struct ps_ruleset *rules, ps_user_fn *user, char **text, size_t *size)
{
	_cleanup_free_ const struct ps_rule **sorted = calloc(rules->count + 1, sizeof(*sorted));
	char *written = NULL;
	FILE *out = sorted ? open_memstream(&written, size) : NULL;
	size_t count = 0;
	bool bad;

	if (!out)
		return -ENOMEM;
	fputs("# Written by 'portsteer save'; see portsteer.conf(5).\n", out);
	for (size_t i = 0; i < rules->count; i++) {
		if (ps_rule_is_block(&rules->rules[i]))
			write_block(out, &rules->rules[i]);
		else
			sorted[count++] = &rules->rules[i];
	}
	qsort(sorted, count, sizeof(*sorted), compare_rules);
	write_sections(out, sorted, count, user);
	bad = ferror(out);
	if (fclose(out) || bad || *size > PS_CONFIG_SIZE) {
		bad = *size > PS_CONFIG_SIZE;
		free(written);
		return bad ? -E2BIG : -ENOMEM;
	}
	*text = written;
	return 0;
}
