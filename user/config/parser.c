// SPDX-License-Identifier: GPL-2.0-only
#include "config/parser.h"

#include <string.h>

#include "config/sides.h"

struct ps_source ps_parser_place(const struct ps_parser *p, uint32_t line)
{
	return (struct ps_source){ p->file, line, p->section.open ? p->section.number : 0 };
}

bool ps_parser_is_over(const struct ps_parser *p)
{
	return p->ret || p->excess || (p->config->more && !p->config->keep_going);
}

void ps_parser_note(struct ps_parser *p, uint32_t line, const struct ps_error *error)
{
	int ret;

	p->section.faulty = true;
	/* One mistake has said it. */
	if (p->no_text && p->section.open)
		p->config->broken[p->section.number - 1] = 1;
	if (p->no_text)
		return;
	ret = ps_config_mistake(p->config, ps_parser_place(p, line), error);
	if (ret)
		p->ret = ret;
}

void ps_parser_count(struct ps_parser *p, const char *word, size_t length)
{
	p->guesses++;
	for (size_t i = 0; i < length; i++)
		p->guesses += strchr(ps_config_separators, word[i]) != NULL;
	p->excess |= ++p->unknown > PS_CONFIG_UNKNOWN || p->guesses > PS_CONFIG_GUESSES;
}
