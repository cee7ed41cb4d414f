// SPDX-License-Identifier: GPL-2.0-only
#include "config/finish.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_part.h"
#include "config/sides.h"
#include "rule/conflicts.h"
#include "util/text.h"

static int compare_sections(const void *left, const void *right)
{
	const struct ps_config_section *a = left, *b = right;
	int order = strcmp(a->name, b->name);

	return order ? order : ps_source_compare(&a->place, &b->place);
}

/* Those of one line stay in the order in which they were found. There are not many. */
static void sort_mistakes(struct ps_mistake *mistakes, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct ps_mistake one = mistakes[i];
		size_t at = i;

		while (at && ps_source_compare(&mistakes[at - 1].place, &one.place) > 0)
			at--;
		memmove(&mistakes[at + 1], &mistakes[at], (i - at) * sizeof(one));
		mistakes[at] = one;
	}
}

int ps_config_twins(struct ps_config *config)
{
	struct ps_config_section *s = config->sections;
	struct ps_error error;
	char place[PS_SOURCE_TEXT];
	int ret = 0;

	if (config->section_count)
		qsort(s, config->section_count, sizeof(*s), compare_sections);
	for (size_t i = 1; i < config->section_count && !ret; i++) {
		if (strcmp(s[i].name, s[i - 1].name))
			continue;
		ps_source_text(config, s[i - 1].place, place);
		ps_fail(&error, PS_EXIT_FAILED, EEXIST,
			"section [%s] already exists at %s; use another name", s[i].name, place);
		ret = ps_config_mistake(config, s[i].place, &error);
	}
	return ret;
}

static int drop_rule(struct ps_config *config, size_t index)
{
	int ret = config->keep_going ? ps_config_front(config, &config->list.rules[index],
						       config->places[index], false) :
				       0;
	size_t after = config->list.count-- - index - 1;

	ps_rule_clear(&config->list.rules[index]);
	memmove(&config->list.rules[index], &config->list.rules[index + 1],
		after * sizeof(*config->list.rules));
	memmove(&config->places[index], &config->places[index + 1],
		after * sizeof(*config->places));
	return ret;
}

/* A conflict is the mistake of the rule that is written later. */
static int note_clash(struct ps_config *config, struct ps_clash clash, const struct ps_error *error)
{
	const struct ps_rule *rules = config->list.rules;
	struct ps_error full = *error;
	char text[PS_RULE_TEXT], other[PS_SOURCE_TEXT];
	size_t later = clash.one, first = clash.other;

	if (first != SIZE_MAX &&
	    ps_source_compare(&config->places[later], &config->places[first]) < 0) {
		later = clash.other;
		first = clash.one;
	}
	if (first == SIZE_MAX)
		return ps_config_mistake(config, config->places[later], error);
	ps_rule_format(&rules[first], text);
	ps_source_text(config, config->places[first], other);
	if (ps_rule_equal(&rules[first], &rules[later]))
		ps_fail(&full, PS_EXIT_FAILED, EEXIST,
			"rule %s already exists at %s; delete one of them", text, other);
	else
		snprintf(full.message, sizeof(full.message), "%.*s (rule %s is at %s)",
			 (int)ps_utf8_cut(error->message, 560), error->message, text, other);
	return ps_config_mistake(config, config->places[later], &full);
}

/* Which rules cannot be in force together? One of each pair that is found is left out, and
 * the others are looked at again. */
static int find_clashes(struct ps_config *config)
{
	struct ps_rule_list *list = &config->list;
	struct ps_clash clash;
	struct ps_error error;
	size_t clashes = 0;
	int ret;

	for (; clashes < PS_CONFIG_MISTAKES && (!config->more || config->keep_going); clashes++) {
		ret = ps_conflicts_check((struct ps_rules){},
					 (struct ps_rules){ list->rules, list->count }, &clash,
					 &error);
		if (!ret || ret == -ENOMEM)
			return ret;
		if (clash.one == SIZE_MAX) {
			/* They are too many, whichever it is. */
			config->hopeless = true;
			return ps_config_mistake(config, (struct ps_source){ 0 }, &error);
		}
		ret = note_clash(config, clash, &error);
		if (ret)
			return ret;
		if (clash.other != SIZE_MAX &&
		    ps_source_compare(&config->places[clash.one], &config->places[clash.other]) < 0)
			clash.one = clash.other;
		ret = drop_rule(config, clash.one);
		if (ret)
			return ret;
	}
	config->hopeless = true;
	return 0;
}

/* Rules that are good by themselves, and not on this host. */
static int find_refused(struct ps_config *config)
{
	struct ps_rule_list *list = &config->list;
	struct ps_error error;
	size_t i = 0;

	for (size_t refused = 0; config->find_refused; refused++) {
		int ret;

		i = config->find_refused(list->rules, list->count, i, &error);
		if (i == list->count)
			break;
		config->hopeless |= refused == PS_CONFIG_MISTAKES;
		if (config->hopeless)
			break;
		ret = ps_config_mistake(config, config->places[i], &error);
		if (!ret)
			ret = drop_rule(config, i);
		if (ret)
			return ret;
	}
	return 0;
}

/* A rule is known by its place, also when it is in force. */
static int set_origins(struct ps_config *config)
{
	for (size_t i = 0; i < config->list.count; i++) {
		struct ps_origin *origin = &config->list.rules[i].origin;

		origin->line = config->places[i].line;
		origin->file = strdup(config->files[config->places[i].file]);
		if (!origin->file)
			return -ENOMEM;
	}
	return 0;
}

int ps_config_finish(struct ps_config *config, struct ps_ruleset *rules)
{
	int ret = ps_config_twins(config);

	if (!ret)
		ret = find_clashes(config);
	if (!ret)
		ret = find_refused(config);
	if (!ret)
		ret = set_origins(config);
	if (ret)
		return ret;
	if (config->mistake_count && config->keep_going && !config->hopeless) {
		ret = ps_config_part(config, rules);
		config->partial = !ret;
		if (ret == -ENOMEM)
			return ret;
	}
	if (config->mistake_count) {
		sort_mistakes(config->mistakes, config->mistake_count);
		return -EINVAL;
	}
	ps_ruleset_take(rules, config->list.rules, config->list.count);
	config->list.rules = NULL;
	config->list.count = config->list.room = 0;
	return 0;
}
