// SPDX-License-Identifier: GPL-2.0-only
#include "config/section.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/sides.h"
#include "config/words.h"
#include "rule/rule_check.h"
#include "util/array.h"
#include "util/util.h"

void ps_section_clear(struct ps_section *s)
{
	for (int key = 0; key < PS_KEYS; key++)
		free(s->of[key].text);
	memset(s->of, 0, sizeof(s->of));
	s->open = s->faulty = s->garbled = s->torn = s->strange = s->mixed = s->any_user = false;
	s->used = s->word_count = 0;
}

static bool has_owner(const struct ps_section *s)
{
	return s->of[PS_KEY_USER].line || s->of[PS_KEY_CGROUP].line || s->any_user;
}

static const char *or_else(const struct ps_value *value, const char *otherwise)
{
	return value->text ? value->text : otherwise;
}

/* What the section says; what it does not say at all is as everywhere. */
static struct ps_rule_words words_of(const struct ps_section *s,
				     const struct ps_rule_words *otherwise)
{
	static const struct ps_rule_words nothing = {};
	const struct ps_rule_words *owner = has_owner(s) ? &nothing : otherwise;
	/* Of a section with grants these are no business. */
	const struct ps_rule_words *ports = s->of[PS_KEY_ALLOW].line ? &nothing : otherwise;

	return (struct ps_rule_words){
		.user = or_else(&s->of[PS_KEY_USER], owner->user),
		.cgroup = or_else(&s->of[PS_KEY_CGROUP], owner->cgroup),
		.client_cgroup = or_else(&s->of[PS_KEY_CLIENT_CGROUP], ports->client_cgroup),
		.mode = or_else(&s->of[PS_KEY_MODE], ports->mode),
		.if_down = or_else(&s->of[PS_KEY_IF_DOWN], ports->if_down),
		.name = or_else(&s->of[PS_KEY_NAME], otherwise->name),
		.any_user = s->of[PS_KEY_ANY_USER].line ? s->any_user : owner->any_user,
	};
}

/* What the keys of a section must be to each other. */
static void check_section(struct ps_parser *p)
{
	static const enum ps_key only_ports[] = { PS_KEY_CLIENT_CGROUP, PS_KEY_MODE,
						  PS_KEY_IF_DOWN };
	struct ps_section *s = &p->section;
	bool given[PS_WORD_OTHER + 1] = {};

	for (size_t i = 0; i < s->word_count; i++)
		given[s->words[i].kind] = true;
	if (!s->garbled && !s->of[PS_KEY_PORTS].line && !s->of[PS_KEY_ALLOW].line)
		ps_parser_mistake(p, s->line, "section [%s] has no rules; add ports or allow",
				  s->name);
	if (s->of[PS_KEY_PORTS].line && !given[PS_WORD_RULE])
		ps_parser_mistake(p, s->of[PS_KEY_PORTS].line,
				  "ports has no value; give rules as in 80:8080, or remove the key");
	if (s->of[PS_KEY_ALLOW].line && !given[PS_WORD_GRANT])
		ps_parser_mistake(p, s->of[PS_KEY_ALLOW].line,
				  "allow has no value; give ports as in 443/tcp, or remove the key");
	if (!s->garbled && !p->config->ownerless && !has_owner(s))
		ps_parser_mistake(p, s->line,
				  "section [%s] has no owner; add user, cgroup or any-user = yes",
				  s->name);
	if (s->any_user && (s->of[PS_KEY_USER].line || s->of[PS_KEY_CGROUP].line))
		ps_parser_mistake(p, s->of[PS_KEY_ANY_USER].line,
				  "any-user contradicts %s; give one of them",
				  s->of[PS_KEY_USER].line ? "user" : "cgroup");
	for (size_t i = 0; i < PS_ARRAY_SIZE(only_ports) && s->of[PS_KEY_ALLOW].line; i++) {
		if (s->of[only_ports[i]].line)
			ps_parser_mistake(
				p, s->of[only_ports[i]].line,
				"%s applies to ports only, and this section also has allow; put "
				"allow in a section of its own",
				ps_config_keys[only_ports[i]].name);
	}
}

/* The rule that was just appended: is it one by itself? */
static void judge_rule(struct ps_parser *p, uint32_t line)
{
	struct ps_config *c = p->config;
	struct ps_rule *rule = &c->list.rules[c->list.count - 1];
	struct ps_error error;

	if (ps_grow((void **)&c->places, &c->place_room, c->list.count - 1, sizeof(*c->places))) {
		p->ret = -ENOMEM;
	} else if ((rule->owner.flags || !c->ownerless) && ps_rule_check(rule, &error)) {
		ps_parser_note(p, line, &error);
		ps_rule_clear(rule);
		c->list.count--;
	} else {
		c->places[c->list.count - 1] = ps_parser_place(p, line);
	}
}

/* A word is no rule. */
static void note_word(struct ps_parser *p, const struct ps_word *word, struct ps_error *error)
{
	static const struct ps_config_meant nobody = {};
	const char *text = p->section.bytes + word->at;
	size_t used = strlen(error->message);

	if (p->config->keep_going)
		ps_parser_count(p, text, strlen(text));
	if (p->config->keep_going && !p->excess) {
		int ret = ps_config_word(p->config, text, ps_parser_place(p, 0), &nobody);

		if (ret == -ENOMEM)
			p->ret = ret;
		if (ret == -EINVAL)
			snprintf(error->message + used, sizeof(error->message) - used,
				 "; its front side cannot be read, so its ports do not refuse "
				 "connections");
	}
	ps_parser_note(p, word->line, error);
}

/* The rules of a section with a mistake are only looked at. */
static void add_rules(struct ps_parser *p)
{
	struct ps_section *s = &p->section;
	struct ps_rule_words words = words_of(s, &p->config->defaults);
	struct ps_rule options = {}, ignored;
	struct ps_error error;
	bool faulty = s->faulty;
	int ret = faulty ? 0 : ps_rule_options(&p->config->list, &words, &options, &error);

	if (ret == -ENOMEM)
		p->ret = ret;
	else if (ret)
		ps_parser_note(p, s->line, &error);
	for (size_t i = 0; i < s->word_count && !ret && !ps_parser_is_over(p); i++) {
		const struct ps_word *word = &s->words[i];
		const char *text = s->bytes + word->at;
		bool grant = word->kind == PS_WORD_GRANT;
		int bad;

		if (word->kind > PS_WORD_GRANT)
			continue;
		if (faulty)
			bad = (grant ? ps_rule_parse_grant : ps_rule_parse)(text, &ignored, &error);
		else
			bad = ps_rule_list_append(&p->config->list, text, grant, &words, &options,
						  &error);
		if (bad == -ENOMEM)
			p->ret = bad;
		else if (bad)
			note_word(p, word, &error);
		else if (!faulty)
			judge_rule(p, word->line);
	}
}

/* Did a list go on with what may be a key or a section's name, as in " client-cgroup = a" or " [b]"? */
static bool has_riddle(struct ps_parser *p)
{
	static const struct ps_config_meant nobody = {};
	const struct ps_section *s = &p->section;

	for (size_t i = 0; i < s->word_count; i++) {
		const char *word = s->bytes + s->words[i].at;
		int ret = -ENOENT;

		if (s->words[i].kind != PS_WORD_OTHER && strpbrk(word, "=["))
			ret = ps_config_word(p->config, word, ps_parser_place(p, 0), &nobody);
		if (ret == -ENOMEM)
			p->ret = ret;
		if (ret == -EINVAL)
			return true;
	}
	return false;
}

/* May the rules of a section with a mistake be for the clients of a cgroup that it does not name,
 * or for others than those that it names? */
static bool is_vague(struct ps_parser *p)
{
	const struct ps_section *s = &p->section;
	const char *mode = s->of[PS_KEY_MODE].text;
	bool elsewhere = mode && (!strcmp(mode, "steer") || !strcmp(mode, "bind"));

	if (!s->open || s->mixed || has_riddle(p))
		return true;
	if (s->strange && !s->of[PS_KEY_CLIENT_CGROUP].line)
		return true;
	if (s->of[PS_KEY_CLIENT_CGROUP].line)
		return elsewhere || s->of[PS_KEY_ALLOW].line;
	return mode && !elsewhere;
}

/* A section with a mistake, or what is outside of one: keep what its words name in front, as far
 * as that can be read. */
static void keep_fronts(struct ps_parser *p)
{
	struct ps_section *s = &p->section;
	const char *clients = s->of[PS_KEY_CLIENT_CGROUP].text;
	struct ps_config_meant meant = {};
	char *note = NULL;

	if (is_vague(p))
		meant.here = meant.vague = true;
	else if (!clients)
		meant.here = true;
	/* A process's cgroup is not to be had from a file. */
	else if (s->torn || !strncmp(clients, "pid:", 4) ||
		 p->config->list.resolver->scope(clients, &meant.scope, &note, NULL))
		meant.vague = true;
	free(note);
	for (size_t i = 0; i < s->word_count && !p->ret; i++) {
		const struct ps_word *word = &s->words[i];
		int ret = (word->kind == PS_WORD_OTHER ?
				   ps_config_whole_word :
				   ps_config_word)(p->config, s->bytes + word->at,
						   ps_parser_place(p, word->line), &meant);

		if (ret != -EINVAL)
			p->ret = ret;
	}
	free(meant.scope);
}

void ps_section_finish(struct ps_parser *p)
{
	const struct ps_section *s = &p->section;

	if (s->open && !ps_parser_is_over(p)) {
		if (*s->name)
			check_section(p);
		add_rules(p);
	}
	if (!ps_parser_is_over(p) && p->config->keep_going && (s->faulty || !s->open))
		keep_fronts(p);
	ps_section_clear(&p->section);
}

static void note_section(struct ps_parser *p)
{
	struct ps_config *c = p->config;
	char *name = strdup(p->section.name);

	if (!name || ps_grow((void **)&c->sections, &c->section_room, c->section_count,
			     sizeof(*c->sections))) {
		free(name);
		p->ret = -ENOMEM;
		return;
	}
	c->sections[c->section_count++] =
		(struct ps_config_section){ name, ps_parser_place(p, p->line) };
}

static int number_section(struct ps_parser *p)
{
	struct ps_config *c = p->config;

	if (ps_grow((void **)&c->broken, &c->broken_room, c->begun, 1))
		return -ENOMEM;
	c->broken[c->begun++] = 0;
	p->section.number = (uint32_t)c->begun;
	return 0;
}

/* Is a line that is not understood rather of `ports` or `allow`, or goes on with it? */
static int kind_of_line(const struct ps_parser *p)
{
	char name[16] = "";

	if (p->after_key && p->raw_length && (*p->raw == ' ' || *p->raw == '\t'))
		return p->bad_key ? p->stray : ps_word_kind((int)p->key);
	for (size_t i = 0; i < p->raw_length && i + 1 < sizeof(name); i++) {
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-", p->raw[i]) ||
		    !p->raw[i])
			break;
		name[i] = p->raw[i];
	}
	return ps_word_kind(ps_key_nearest(name));
}

void ps_section_garble(struct ps_parser *p)
{
	p->stray = kind_of_line(p);
	p->after_key = p->bad_key = true;
	p->section.garbled = p->section.mixed = true;
	p->outside |= !p->section.open;
	ps_words_stray(p, p->stray, p->raw, p->raw_length);
}

void ps_section_begin(struct ps_parser *p, const char *line, size_t length)
{
	const char *end = memchr(line, ']', length);
	size_t size = end ? (size_t)(end - line) - 1 : 0;
	bool outside = p->outside;
	const char *rest = "";
	struct ps_rule ignored;

	/* "[2001:db8::]:80:8080": what comes next may belong to this section. */
	if (!ps_rule_parse(line, &ignored, NULL)) {
		ps_parser_mistake(p, p->line,
				  "'%.100s' is not a section; write [NAME] on a line of its own",
				  line);
		ps_section_garble(p);
		return;
	}
	ps_section_finish(p);
	p->after_key = false;
	if (!p->ret)
		p->ret = number_section(p);
	if (p->ret)
		return;
	p->section.open = true;
	p->section.line = p->line;
	if (!end || end + 1 != line + length)
		ps_parser_mistake(p, p->line,
				  "'%.100s' is not a section; write [NAME] on a line of its own",
				  line);
	else if (!size || size > PS_CONFIG_NAME)
		ps_parser_mistake(p, p->line, "a section name has 1 to %d bytes, not %zu; %s it",
				  PS_CONFIG_NAME, size, size ? "shorten" : "write");
	/* What has a mistake has no name to be kept; least of all one that is too long. */
	if (p->section.faulty || size > PS_CONFIG_NAME) {
		rest = end ? end + 1 : line + strcspn(line, " \t");
		ps_words_stray(p, PS_WORD_OTHER, rest, strlen(rest));
		size = 0;
	}
	memcpy(p->section.name, line + 1, size);
	p->section.name[size] = '\0';
	if (size)
		note_section(p);
	if (p->no_text)
		ps_parser_mistake(p, p->line, "it is in a file that is not text");
	/* Without --keep-going nothing counts anyway. */
	outside = outside && p->config->keep_going;
	if (outside)
		ps_parser_mistake(
			p, p->line,
			"text above the first section may belong to it; move it below the section "
			"name, or delete it");
	p->section.mixed = p->no_text || outside || *rest;
	p->outside = false;
}
