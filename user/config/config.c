// SPDX-License-Identifier: GPL-2.0-only
#include "config/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/keys.h"
#include "util/text.h"

void ps_config_clear(struct ps_config *config)
{
	ps_rule_list_clear(&config->list);
	free(config->places);
	for (size_t i = 0; i < config->file_count; i++)
		free(config->files[i]);
	free(config->files);
	for (size_t i = 0; i < config->section_count; i++)
		free(config->sections[i].name);
	free(config->sections);
	free(config->mistakes);
	free(config->broken);
	for (size_t i = 0; i < config->front_count; i++)
		ps_rule_clear(&config->fronts[i].rule);
	free(config->fronts);
	*config = (struct ps_config){};
}

int ps_config_file(struct ps_config *config, const char *name)
{
	char **grown = reallocarray(config->files, config->file_count + 1, sizeof(*grown));
	char *copy = strdup(name);

	if (grown)
		config->files = grown;
	if (!grown || !copy) {
		free(copy);
		return -ENOMEM;
	}
	config->files[config->file_count] = copy;
	return (int)config->file_count++;
}

/* The messages about rules name the options of the command line: --user is the key user. */
static void name_keys(char *message)
{
	char *from = message, *to = message;

	while (*from) {
		size_t length = strncmp(from, "--", 2) ?
					0 :
					strspn(from + 2, "abcdefghijklmnopqrstuvwxyz-");

		for (size_t i = 0; i < PS_KEYS && length; i++) {
			if (length != strlen(ps_config_keys[i].name) ||
			    strncmp(from + 2, ps_config_keys[i].name, length))
				continue;
			from += 2;
			break;
		}
		*to++ = *from++;
	}
	*to = '\0';
}

int ps_config_mistake(struct ps_config *config, struct ps_source place,
		      const struct ps_error *error)
{
	struct ps_mistake *grown;

	if (place.section)
		config->broken[place.section - 1] = 1;
	if (config->mistake_count == PS_CONFIG_MISTAKES) {
		config->more = true;
		return 0;
	}
	grown = reallocarray(config->mistakes, config->mistake_count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	config->mistakes = grown;
	grown[config->mistake_count] = (struct ps_mistake){ place, *error };
	name_keys(grown[config->mistake_count++].error.message);
	return 0;
}

int ps_source_compare(const struct ps_source *a, const struct ps_source *b)
{
	if (a->file != b->file)
		return a->file < b->file ? -1 : 1;
	return (a->line > b->line) - (a->line < b->line);
}

/* "FILE:LINE", cut. */
void ps_source_text(const struct ps_config *config, struct ps_source place,
		    char text[PS_SOURCE_TEXT])
{
	char name[300];

	ps_printable(config->files[place.file], name, sizeof(name));
	if (place.line)
		snprintf(text, PS_SOURCE_TEXT, "%s:%u", name, place.line);
	else
		snprintf(text, PS_SOURCE_TEXT, "%s", name);
}

void ps_mistake_text(const struct ps_config *config, const struct ps_mistake *mistake, char *text,
		     size_t size)
{
	char place[PS_SOURCE_TEXT];

	ps_source_text(config, mistake->place, place);
	snprintf(text, size, "%s: %s", place, mistake->error.message);
}
