// SPDX-License-Identifier: GPL-2.0-only
/*
 * libinih takes lines apart: key and value, continued lines, comments. It cuts what is too
 * long, does not tell where a section begins, and goes on after a mistake without naming
 * it. So it is given line by line, by next_line, what judge has found to be good.
 */
#include "config/config.h"

#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_part.h"
#include "rule/conflicts.h"
#include "util/bpf_types.h"
#include "util/text.h"
#include "util/util.h"

enum key {
	KEY_PORTS,
	KEY_ALLOW,
	KEY_USER,
	KEY_CGROUP,
	KEY_ANY_USER,
	KEY_CLIENT_CGROUP,
	KEY_MODE,
	KEY_IF_DOWN,
	KEY_NAME,
	KEYS,
};
const struct ps_config_key ps_config_keys[] = {
	[KEY_PORTS] = { "ports", "RULE..." },
	[KEY_ALLOW] = { "allow", "PORT..." },
	[KEY_USER] = { "user", "NAME|UID" },
	[KEY_CGROUP] = { "cgroup", "PATH|unit:NAME|container:ID" },
	[KEY_ANY_USER] = { "any-user", "yes|no" },
	[KEY_CLIENT_CGROUP] = { "client-cgroup", "PATH|unit:NAME|container:ID" },
	[KEY_MODE] = { "mode", "steer|bind|connect" },
	[KEY_IF_DOWN] = { "if-down", "refuse|pass" },
	[KEY_NAME] = { "name", "LABEL" },
};
const size_t ps_config_key_count = KEYS;

/* A rule or a port of the section in hand; or a word that was not understood, of a list or of
 * anything else. */
struct word {
	size_t at; /* in the section's bytes */
	uint32_t line;
	enum { WORD_RULE, WORD_GRANT, WORD_LIST, WORD_OTHER } kind;
};

/* A key of it. */
struct value {
	uint32_t line; /* 0: not given */
	char *text; /* NULL for the lists */
};

/* The section in hand. */
struct section {
	bool open, faulty;
	uint32_t number; /* of all that have begun */
	bool garbled; /* has lines that were not understood: what is missing may be in them */
	bool torn; /* it names two cgroups of clients */
	bool strange; /* it has a key of which it is not known what it means */
	bool mixed; /* it may have keys of another section, or lack some of its own */
	char name[PS_CONFIG_NAME + 1];
	uint32_t line;
	struct value of[KEYS];
	bool any_user;
	char *bytes; /* the words, each ended by NUL */
	size_t used, room;
	struct word *words;
	size_t word_count, word_room;
};

/* A file being read. */
struct parser {
	struct ps_config *config;
	const char *text, *end; /* what is left of it */
	const char *raw; /* the line in hand, all of it */
	size_t raw_length;
	uint32_t file, line;
	struct section section;
	enum key key; /* that a continued line goes on with */
	bool after_key; /* an indented line would go on with a key */
	bool continued; /* the line in hand does */
	bool bad_key; /* what goes on with it is passed over */
	int stray; /* but its words are of this kind */
	bool outside; /* something stands above the first section */
	bool excess; /* too much is not understood: it is over, too */
	bool no_text; /* it has a NUL byte: none of its rules count */
	int ret; /* -ENOMEM: it is over */
};

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

/* Room for one more item. */
static int grow(void **items, size_t *room, size_t count, size_t size)
{
	size_t more = *room ? 2 * *room : 64;
	void *grown;

	if (count < *room)
		return 0;
	grown = reallocarray(*items, more, size);
	if (!grown)
		return -ENOMEM;
	*items = grown;
	*room = more;
	return 0;
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

		for (size_t i = 0; i < KEYS && length; i++) {
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

int ps_config_mistake(struct ps_config *config, struct ps_place place, const struct ps_error *error)
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

static struct ps_place place_of(const struct parser *p, uint32_t line)
{
	return (struct ps_place){ p->file, line, p->section.open ? p->section.number : 0 };
}

/* After a hundred mistakes the reading ends, but not if it is to keep going. */
static bool is_over(const struct parser *p)
{
	return p->ret || p->excess || (p->config->more && !p->config->keep_going);
}

static void note(struct parser *p, uint32_t line, const struct ps_error *error)
{
	int ret;

	p->section.faulty = true;
	/* One mistake has said it. */
	if (p->no_text && p->section.open)
		p->config->broken[p->section.number - 1] = 1;
	if (p->no_text)
		return;
	ret = ps_config_mistake(p->config, place_of(p, line), error);
	if (ret)
		p->ret = ret;
}

/* A mistake on this line. */
#define mistake(p, line, ...)                                                                      \
	do {                                                                                       \
		struct ps_error error_;                                                            \
		ps_fail(&error_, PS_EXIT_FAILED, EINVAL, __VA_ARGS__);                             \
		note(p, line, &error_);                                                            \
	} while (0)

/* --- values */

/* "\xNN" */
static int hex_byte(const char *text)
{
	static const char digits[] = "0123456789abcdef";
	const char *high, *low;

	if (text[0] != 'x' || !text[1] || !text[2])
		return 0;
	high = strchr(digits, text[1] | 0x20);
	low = strchr(digits, text[2] | 0x20);
	return high && low ? (int)(high - digits) << 4 | (int)(low - digits) : 0;
}

/* What is in quotes; anything else is taken as it is. NULL with a mistake. */
static const char *unquote(struct parser *p, char *text)
{
	char *to = text, *from = text + 1;

	if (text[0] != '"')
		return text;
	while (*from && *from != '"') {
		int byte = from[0] != '\\' ? 0 : hex_byte(from + 1);

		if (from[0] != '\\') {
			*to++ = *from++;
		} else if (from[1] == '\\' || from[1] == '"') {
			*to++ = from[1];
			from += 2;
		} else if (byte) {
			*to++ = (char)byte;
			from += 4;
		} else {
			mistake(p, p->line,
				"'%.16s' is no escape that is known in quotes; write \\\\, \\\" or "
				"\\xNN",
				from);
			return NULL;
		}
	}
	if (from[0] != '"' || from[1]) {
		mistake(p, p->line,
			"a value that begins with a quote does not end with one; end it, or write "
			"a quote in it as \\\"");
		return NULL;
	}
	*to = '\0';
	return text;
}

static void read_boolean(struct parser *p, const char *text)
{
	static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };

	for (size_t i = 0; i < PS_ARRAY_SIZE(words); i++) {
		if (strcmp(text, words[i]))
			continue;
		p->section.any_user = i & 1;
		return;
	}
	mistake(p, p->line, "any-user is '%.100s'; say yes or no", text);
}

/* What a single key says, by itself: so that the mistake has its line. */
static void check_value(struct parser *p, enum key key, const char *text)
{
	struct ps_rule_words words = {
		.user = key == KEY_USER ? text : NULL,
		.cgroup = key == KEY_CGROUP ? text : NULL,
		.client_cgroup = key == KEY_CLIENT_CGROUP ? text : NULL,
		.mode = key == KEY_MODE ? text : NULL,
		.if_down = key == KEY_IF_DOWN ? text : NULL,
		.name = key == KEY_NAME ? text : NULL,
	};
	struct ps_rule options = {};
	struct ps_error error;
	int ret = 0;

	if (key == KEY_CGROUP || key == KEY_CLIENT_CGROUP)
		ret = ps_cgroup_check_lasting(text, &error);
	if (!ret)
		ret = ps_rule_options(&p->config->list, &words, &options, &error);

	if (ret == -ENOMEM)
		p->ret = ret;
	else if (ret)
		note(p, p->line, &error);
}

/* Does the text go on with what looks like a comment? */
static bool has_comment(struct parser *p, const char *text)
{
	for (const char *c = text; *c; c++) {
		if ((*c == '#' || *c == ';') && (c == text || c[-1] == ' ' || c[-1] == '\t')) {
			mistake(p, p->line,
				"'%.60s' is no comment behind a value; give it a line of its own, or put "
				"all of the value in quotes if it belongs to it",
				c);
			return true;
		}
	}
	return false;
}

static void set_value(struct parser *p, enum key key, const char *value)
{
	struct value *of = &p->section.of[key];
	const char *text;

	of->text = strdup(value);
	if (!of->text) {
		p->ret = -ENOMEM;
		return;
	}
	text = *value != '"' && has_comment(p, value) ? NULL : unquote(p, of->text);
	if (!text) {
		*of->text = '\0';
		return;
	}
	if (!*text)
		mistake(p, p->line, "%s has no value; give %s, or leave the key out",
			ps_config_keys[key].name, ps_config_keys[key].value);
	else if (key == KEY_ANY_USER)
		read_boolean(p, text);
	else
		check_value(p, key, text);
}

static void add_word(struct parser *p, int kind, const char *text, size_t length)
{
	struct section *s = &p->section;

	if (grow((void **)&s->words, &s->word_room, s->word_count, sizeof(*s->words)))
		p->ret = -ENOMEM;
	while (!p->ret && s->room < s->used + length + 1)
		p->ret = grow((void **)&s->bytes, &s->room, s->room, 1);
	if (p->ret)
		return;
	s->words[s->word_count++] = (struct word){ s->used, p->line, kind };
	memcpy(s->bytes + s->used, text, length);
	s->used += length;
	s->bytes[s->used++] = '\0';
}

/* Of this, too, it is not known what it means. */
static void count_unknown(struct parser *p)
{
	if (++p->config->unknown > PS_CONFIG_UNKNOWN)
		p->excess = true;
}

/* Without what looks like a key before it, as in "ports:80:8080". */
static const char *skip_key(const char *word, const char *end)
{
	const char *c = word;

	while (c < end && (*c | 0x20) >= 'a' && (*c | 0x20) <= 'z')
		c++;
	return c > word && c < end && *c == ':' ? c + 1 : word;
}

/* Keep the words of what was not understood, up to a comment. */
static void add_strays(struct parser *p, int kind, const char *text, size_t length)
{
	const char *end = text + length, *word;

	/* Only to keep going are they looked at. */
	while (p->config->keep_going && !is_over(p)) {
		while (text < end && ((unsigned char)*text <= ' ' || *text == '='))
			text++;
		if (text == end || *text == '#' || *text == ';')
			return;
		word = text = skip_key(text, end);
		while (text < end && (unsigned char)*text > ' ' && *text != '=')
			text++;
		count_unknown(p);
		add_word(p, kind, word, (size_t)(text - word));
	}
}

/* Keep the words of a list for the end of the section, where its options are known. */
static void add_words(struct parser *p, int kind, const char *value)
{
	while (*(value += strspn(value, " \t")) && !p->ret) {
		size_t length = strcspn(value, " \t");

		if (*value == '#' || *value == ';') {
			mistake(p, p->line,
				"'%.60s' is no comment behind a value; give it a line of its own",
				value);
			return;
		}
		add_word(p, kind, value, length);
		value += length;
	}
}

/* --- sections */

static bool is_list(enum key key)
{
	return key == KEY_PORTS || key == KEY_ALLOW;
}

static void end_of(struct section *s)
{
	for (int key = 0; key < KEYS; key++)
		free(s->of[key].text);
	memset(s->of, 0, sizeof(s->of));
	s->open = s->faulty = s->garbled = s->torn = s->strange = s->mixed = s->any_user = false;
	s->used = s->word_count = 0;
}

static struct ps_rule_words words_of(const struct section *s)
{
	return (struct ps_rule_words){
		.user = s->of[KEY_USER].text,
		.cgroup = s->of[KEY_CGROUP].text,
		.client_cgroup = s->of[KEY_CLIENT_CGROUP].text,
		.mode = s->of[KEY_MODE].text,
		.if_down = s->of[KEY_IF_DOWN].text,
		.name = s->of[KEY_NAME].text,
		.any_user = s->any_user,
	};
}

/* What the keys of a section must be to each other. */
static void check_section(struct parser *p)
{
	static const enum key only_ports[] = { KEY_CLIENT_CGROUP, KEY_MODE, KEY_IF_DOWN };
	struct section *s = &p->section;
	bool given[WORD_OTHER + 1] = {};

	for (size_t i = 0; i < s->word_count; i++)
		given[s->words[i].kind] = true;
	if (!s->garbled && !s->of[KEY_PORTS].line && !s->of[KEY_ALLOW].line)
		mistake(p, s->line, "section [%s] has no rules; give it ports or allow", s->name);
	if (s->of[KEY_PORTS].line && !given[WORD_RULE])
		mistake(p, s->of[KEY_PORTS].line,
			"ports has no value; give rules as in 80:8080, or leave the key out");
	if (s->of[KEY_ALLOW].line && !given[WORD_GRANT])
		mistake(p, s->of[KEY_ALLOW].line,
			"allow has no value; give ports as in 443/tcp, or leave the key out");
	if (!s->garbled && !s->of[KEY_USER].line && !s->of[KEY_CGROUP].line && !s->any_user)
		mistake(p, s->line,
			"section [%s] has no owner; give it user, cgroup or any-user = yes",
			s->name);
	if (s->any_user && (s->of[KEY_USER].line || s->of[KEY_CGROUP].line))
		mistake(p, s->of[KEY_ANY_USER].line, "any-user contradicts %s; give one of them",
			s->of[KEY_USER].line ? "user" : "cgroup");
	for (size_t i = 0; i < PS_ARRAY_SIZE(only_ports) && s->of[KEY_ALLOW].line; i++) {
		if (s->of[only_ports[i]].line)
			mistake(p, s->of[only_ports[i]].line,
				"%s is for ports, and allow is in this section too; give allow a "
				"section of its own",
				ps_config_keys[only_ports[i]].name);
	}
}

/* The rule that was just appended: is it one by itself? */
static void judge_rule(struct parser *p, uint32_t line)
{
	struct ps_config *c = p->config;
	struct ps_rule *rule = &c->list.rules[c->list.count - 1];
	struct ps_error error;

	if (grow((void **)&c->places, &c->place_room, c->list.count - 1, sizeof(*c->places))) {
		p->ret = -ENOMEM;
	} else if (ps_rule_check(rule, &error)) {
		note(p, line, &error);
		ps_rule_clear(rule);
		c->list.count--;
	} else {
		c->places[c->list.count - 1] = place_of(p, line);
	}
}

/* A word is no rule. */
static void note_word(struct parser *p, const struct word *word, struct ps_error *error)
{
	static const struct ps_config_meant nobody = {};
	size_t used = strlen(error->message);

	if (p->config->keep_going) {
		int ret = ps_config_word(p->config, p->section.bytes + word->at, place_of(p, 0),
					 &nobody);

		count_unknown(p);
		if (ret == -ENOMEM)
			p->ret = ret;
		if (ret == -EINVAL)
			snprintf(error->message + used, sizeof(error->message) - used,
				 "; its front side cannot be read, so that nothing refuses for it");
	}
	note(p, word->line, error);
}

/* The rules of a section with a mistake are only looked at. */
static void add_rules(struct parser *p)
{
	struct section *s = &p->section;
	struct ps_rule_words words = words_of(s);
	struct ps_rule options = {}, ignored;
	struct ps_error error;
	bool faulty = s->faulty;
	int ret = faulty ? 0 : ps_rule_options(&p->config->list, &words, &options, &error);

	if (ret == -ENOMEM)
		p->ret = ret;
	else if (ret)
		note(p, s->line, &error);
	for (size_t i = 0; i < s->word_count && !ret && !is_over(p); i++) {
		const struct word *word = &s->words[i];
		const char *text = s->bytes + word->at;
		bool grant = word->kind == WORD_GRANT;
		int bad;

		if (word->kind > WORD_GRANT)
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
static bool has_riddle(struct parser *p)
{
	static const struct ps_config_meant nobody = {};
	const struct section *s = &p->section;

	for (size_t i = 0; i < s->word_count; i++) {
		const char *word = s->bytes + s->words[i].at;
		int ret = -ENOENT;

		if (s->words[i].kind != WORD_OTHER && strpbrk(word, "=["))
			ret = ps_config_word(p->config, word, place_of(p, 0), &nobody);
		if (ret == -ENOMEM)
			p->ret = ret;
		if (ret == -EINVAL)
			return true;
	}
	return false;
}

/* May the rules of a section with a mistake be for the clients of a cgroup that it does not name,
 * or for others than those that it names? */
static bool is_vague(struct parser *p)
{
	const struct section *s = &p->section;
	const char *mode = s->of[KEY_MODE].text;
	bool elsewhere = mode && (!strcmp(mode, "steer") || !strcmp(mode, "bind"));

	if (!s->open || s->mixed || has_riddle(p))
		return true;
	if (s->strange && !s->of[KEY_CLIENT_CGROUP].line)
		return true;
	if (s->of[KEY_CLIENT_CGROUP].line)
		return elsewhere || s->of[KEY_ALLOW].line;
	return mode && !elsewhere;
}

/* A section with a mistake, or what is outside of one: keep what its words name in front, as far
 * as that can be read. */
static void keep_fronts(struct parser *p)
{
	struct section *s = &p->section;
	const char *clients = s->of[KEY_CLIENT_CGROUP].text;
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
		const struct word *word = &s->words[i];
		int ret = (word->kind == WORD_OTHER ?
				   ps_config_whole_word :
				   ps_config_word)(p->config, s->bytes + word->at,
						   place_of(p, word->line), &meant);

		if (ret != -EINVAL)
			p->ret = ret;
	}
	free(meant.scope);
}

static void finish_section(struct parser *p)
{
	const struct section *s = &p->section;

	if (s->open && !is_over(p)) {
		if (*s->name)
			check_section(p);
		add_rules(p);
	}
	if (!is_over(p) && p->config->keep_going && (s->faulty || !s->open))
		keep_fronts(p);
	end_of(&p->section);
}

static void note_section(struct parser *p)
{
	struct ps_config *c = p->config;
	char *name = strdup(p->section.name);

	if (!name ||
	    grow((void **)&c->sections, &c->section_room, c->section_count, sizeof(*c->sections))) {
		free(name);
		p->ret = -ENOMEM;
		return;
	}
	c->sections[c->section_count++] = (struct ps_config_section){ name, place_of(p, p->line) };
}

static int number_section(struct parser *p)
{
	struct ps_config *c = p->config;

	if (grow((void **)&c->broken, &c->broken_room, c->begun, 1))
		return -ENOMEM;
	c->broken[c->begun++] = 0;
	p->section.number = (uint32_t)c->begun;
	return 0;
}

/* Do at most `most` letters that are added, left out, exchanged or swapped make one word of the
 * other? */
static bool is_near(const char *a, const char *b, unsigned int most)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	if (!*a && !*b)
		return true;
	if (!most)
		return false;
	return (*a && is_near(a + 1, b, most - 1)) || (*b && is_near(a, b + 1, most - 1)) ||
	       (*a && *b && is_near(a + 1, b + 1, most - 1)) ||
	       (*a && *b && a[1] && *a == b[1] && a[1] == *b && is_near(a + 2, b + 2, most - 1));
}

/* The key that an unknown one may be meant for: -1 if it is near to none. Of short words two letters
 * are too much. */
static int nearest_key(const char *name)
{
	static const char *const lists[] = { "port", "rules", "rule" };
	char lower[16] = "";
	unsigned int most = strlen(name) > 4 ? 2 : 1;

	for (size_t i = 0; name[i] && i + 1 < sizeof(lower); i++)
		lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] | 0x20 : name[i]);
	for (unsigned int far = 0; far <= most; far++) {
		for (size_t i = 0; i < PS_ARRAY_SIZE(lists); i++) {
			if (is_near(lower, lists[i], far))
				return KEY_PORTS;
		}
		for (int key = 0; key < KEYS; key++) {
			if (is_near(lower, ps_config_keys[key].name, far))
				return key;
		}
	}
	return -1;
}

static int kind_of(int key)
{
	return key >= 0 && is_list((enum key)key) ? WORD_LIST : WORD_OTHER;
}

/* Is a line that is not understood rather of `ports` or `allow`, or goes on with it? */
static int kind_of_line(const struct parser *p)
{
	char name[16] = "";

	if (p->after_key && p->raw_length && (*p->raw == ' ' || *p->raw == '\t'))
		return p->bad_key ? p->stray : kind_of((int)p->key);
	for (size_t i = 0; i < p->raw_length && i + 1 < sizeof(name); i++) {
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-", p->raw[i]) ||
		    !p->raw[i])
			break;
		name[i] = p->raw[i];
	}
	return kind_of(nearest_key(name));
}

/* The line is not understood, nor is what goes on with it. */
static void garble(struct parser *p)
{
	p->stray = kind_of_line(p);
	p->after_key = p->bad_key = true;
	p->section.garbled = p->section.mixed = true;
	p->outside |= !p->section.open;
	add_strays(p, p->stray, p->raw, p->raw_length);
}

/* "[web]": is it one? */
static bool begin_section(struct parser *p, const char *line, size_t length)
{
	const char *end = memchr(line, ']', length);
	size_t size = end ? (size_t)(end - line) - 1 : 0;
	bool outside = p->outside;
	const char *rest = "";
	struct ps_rule ignored;

	/* "[2001:db8::]:80:8080": what comes next may belong to this section. */
	if (!ps_rule_parse(line, &ignored, NULL)) {
		mistake(p, p->line, "'%.100s' is no section; write [NAME] on a line of its own",
			line);
		garble(p);
		return false;
	}
	finish_section(p);
	p->after_key = false;
	if (!p->ret)
		p->ret = number_section(p);
	if (p->ret)
		return false;
	p->section.open = true;
	p->section.line = p->line;
	if (!end || end + 1 != line + length)
		mistake(p, p->line, "'%.100s' is no section; write [NAME] on a line of its own",
			line);
	else if (!size || size > PS_CONFIG_NAME)
		mistake(p, p->line, "a section's name has 1 to %d bytes, not %zu; %s it",
			PS_CONFIG_NAME, size, size ? "shorten" : "write");
	if (p->section.faulty) {
		rest = end ? end + 1 : line + strcspn(line, " \t");
		add_strays(p, WORD_OTHER, rest, strlen(rest));
		size = 0;
	}
	memcpy(p->section.name, line + 1, size);
	p->section.name[size] = '\0';
	if (size)
		note_section(p);
	if (p->no_text)
		mistake(p, p->line, "it is in a file that is no text");
	/* Without --keep-going nothing counts anyway. */
	outside = outside && p->config->keep_going;
	if (outside)
		mistake(p, p->line,
			"what stands above the first section may belong to it; move it below its name, "
			"or delete it");
	p->section.mixed = p->no_text || outside || *rest;
	p->outside = false;
	return size;
}

/* --- lines */

/* Is all of the line text? */
static bool is_text(struct parser *p, const char *line)
{
	for (const char *c = line; *c;) {
		size_t length = *c == '\t' ? 1 : ps_printable_length(c);

		if (!length) {
			mistake(p, p->line,
				"byte %zu of the line, \\x%02x, is no printable text; in quotes it "
				"may be written as \\xNN",
				(size_t)(c - line) + 1, (unsigned char)*c);
			return false;
		}
		c += length;
	}
	return true;
}

/* "ports = 80:8080" */
static bool is_key(struct parser *p, const char *line, bool indented)
{
	size_t name = strcspn(line, "=:");
	const char *why =
		indented ? "a key begins at the start of its line; remove the blanks before" :
		!name || line[name] != '=' ? "no key and no section; write KEY = VALUE" :
					     NULL;

	p->after_key = true;
	p->bad_key = false;
	if (why) {
		mistake(p, p->line, "'%.100s': %s", line, why);
		garble(p);
	}
	return !why;
}

/* Is the line (without its end) for libinih? */
static bool judge(struct parser *p, const char *line, size_t length)
{
	const char *first = line + strspn(line, " \t");

	p->continued = false;
	if (!*first || *first == '#' || *first == ';')
		return false;
	p->outside |= !p->section.open && *line != '[';
	if (length > PS_CONFIG_LINE) {
		mistake(p, p->line,
			"the line is longer than %d bytes; go on in further lines, which begin with "
			"a blank",
			PS_CONFIG_LINE);
		garble(p);
		return false;
	}
	if (!is_text(p, line)) {
		garble(p);
		return false;
	}
	if (first > line && p->after_key) {
		p->continued = true;
		if (p->bad_key)
			add_strays(p, p->stray, p->raw, p->raw_length);
		return !p->bad_key;
	}
	if (*line == '[')
		return begin_section(p, line, length);
	return is_key(p, first, first > line);
}

/* Take the next line off the text, into `to`: its length. A line that is too long is cut,
 * and judged by its whole length. */
static size_t take_line(struct parser *p, char *to, size_t room)
{
	const char *start = p->text, *newline = memchr(start, '\n', (size_t)(p->end - start));
	const char *end = newline ? newline : p->end;
	size_t length;

	p->text = newline ? newline + 1 : p->end;
	p->line++;
	if (p->line == 1 && end - start >= 3 && !memcmp(start, "\xef\xbb\xbf", 3))
		start += 3;
	while (end > start && (end[-1] == '\r' || end[-1] == ' ' || end[-1] == '\t'))
		end--;
	length = (size_t)(end - start);
	p->raw = start;
	p->raw_length = length;
	if (room > length)
		room = length;
	memcpy(to, start, room);
	to[room] = '\0';
	/* As another byte that is no text. */
	for (size_t i = 0; p->no_text && i < room; i++)
		to[i] = to[i] ? to[i] : '\1';
	return length;
}

/* libinih's reader: the next good line; an empty one for what is not to be read. */
static char *next_line(char *to, int size, void *stream)
{
	struct parser *p = stream;
	size_t length;

	if (p->text == p->end || is_over(p))
		return NULL;
	length = take_line(p, to, (size_t)size - 2);
	if (!judge(p, to, length) || p->ret)
		length = 0;
	strcpy(to + length, "\n");
	return to;
}

static int find_key(const char *name)
{
	for (int key = 0; key < KEYS; key++) {
		if (!strcmp(ps_config_keys[key].name, name))
			return key;
	}
	return -1;
}

/* A line begins with this key. */
static void begin_key(struct parser *p, const char *name)
{
	struct section *s = &p->section;
	int key = find_key(name), near = key < 0 ? nearest_key(name) : key;

	p->bad_key = true;
	p->stray = kind_of(near);
	if (!s->open) {
		mistake(p, p->line, "'%.100s' is outside of a section; write [NAME] above it",
			name);
	} else if (key < 0) {
		mistake(p, p->line,
			"unknown key '%.100s'; there are ports, allow, user, cgroup, any-user, "
			"client-cgroup, mode, if-down and name",
			name);
		s->garbled = true;
		/* It may say which clients are meant. */
		s->strange |= near < 0 || near == KEY_CLIENT_CGROUP || near == KEY_MODE;
	} else if (s->of[key].line) {
		/* Of two cgroups it may be for the clients of either. Otherwise the beginning of
		 * another section may be missing between the two lines. */
		*(key == KEY_CLIENT_CGROUP ? &s->torn : &s->mixed) = true;
		mistake(p, p->line, "%s is there already, on line %u; %s", name, s->of[key].line,
			is_list((enum key)key) ?
				"put all into one, whose further lines begin with a blank" :
				"give it once");
	} else {
		p->key = (enum key)key;
		p->bad_key = false;
	}
}

/* libinih's handler: a key and its value, or what continues it. */
static int take(void *user, const char *section, const char *name, const char *value)
{
	struct parser *p = user;

	(void)section;
	if (!p->continued) {
		begin_key(p, name);
		if (p->bad_key)
			add_strays(p, p->stray, value, strlen(value));
	}
	if (p->bad_key || p->ret)
		return 1;
	if (is_list(p->key)) {
		add_words(p, p->key == KEY_ALLOW ? WORD_GRANT : WORD_RULE, value);
	} else if (p->continued) {
		mistake(p, p->line,
			"%s has one value, and this line goes on with it; a key begins at the start "
			"of its line",
			ps_config_keys[p->key].name);
		p->section.mixed = true;
		add_strays(p, WORD_OTHER, value, strlen(value));
	} else {
		set_value(p, p->key, value);
	}
	if (!p->continued)
		p->section.of[p->key].line = p->line;
	return 1;
}

/* Its settings are variables of the library. */
static void set_up_libinih(void)
{
	ini_allow_multiline = true;
	ini_allow_inline_comments = false;
	ini_allow_no_value = false;
	ini_stop_on_first_error = false;
	ini_use_stack = false;
	ini_allow_realloc = false;
	ini_max_line = ini_initial_alloc = PS_CONFIG_LINE + 8;
}

/* It is no text file: one mistake says it. */
static bool has_nul(struct parser *p)
{
	const char *nul = memchr(p->text, '\0', (size_t)(p->end - p->text));
	uint32_t line = 1;

	if (!nul)
		return false;
	for (const char *c = p->text; (c = memchr(c, '\n', (size_t)(nul - c))); c++)
		line++;
	mistake(p, line, "there is a NUL byte: it is no text file; remove it");
	p->no_text = true;
	return true;
}

/* How much there was before a file. */
struct mark {
	size_t rules, sections, mistakes, begun, fronts, unknown;
	bool more;
};

static struct mark mark(const struct ps_config *c)
{
	return (struct mark){ c->list.count,  c->section_count, c->mistake_count, c->begun,
			      c->front_count, c->unknown,	c->more };
}

/* Nothing of the file counts. */
static void go_back(struct parser *p, struct mark to)
{
	struct ps_config *c = p->config;

	while (c->list.count > to.rules)
		ps_rule_clear(&c->list.rules[--c->list.count]);
	while (c->front_count > to.fronts)
		ps_rule_clear(&c->fronts[--c->front_count].rule);
	while (c->section_count > to.sections)
		free(c->sections[--c->section_count].name);
	c->mistake_count = to.mistakes;
	c->begun = to.begun;
	c->unknown = to.unknown;
	c->more = to.more;
	end_of(&p->section);
	p->no_text = false;
	mistake(p, 0,
		"the file has too much that is not understood, more than %d words: none of it counts; "
		"is it a configuration?",
		PS_CONFIG_UNKNOWN);
}

int ps_config_parse(struct ps_config *config, uint32_t file, const char *text, size_t size)
{
	struct parser p = { .config = config, .file = file, .text = text, .end = text + size };
	struct mark before;
	int ret;

	config->unknown = 0;
	before = mark(config);

	if (size && (!has_nul(&p) || config->keep_going)) {
		set_up_libinih();
		ret = ini_parse_stream(next_line, &p, take, &p);
		if (ret < 0)
			p.ret = -ENOMEM;
		else if (ret && !p.ret)
			mistake(&p, (uint32_t)ret, "the line is not understood; write KEY = VALUE");
		finish_section(&p);
		if (p.excess && !p.ret)
			go_back(&p, before);
	}
	end_of(&p.section);
	free(p.section.bytes);
	free(p.section.words);
	return p.ret;
}

/* --- all of it */

int ps_place_compare(const struct ps_place *a, const struct ps_place *b)
{
	if (a->file != b->file)
		return a->file < b->file ? -1 : 1;
	return (a->line > b->line) - (a->line < b->line);
}

static int compare_sections(const void *left, const void *right)
{
	const struct ps_config_section *a = left, *b = right;
	int order = strcmp(a->name, b->name);

	return order ? order : ps_place_compare(&a->place, &b->place);
}

/* Those of one line stay in the order in which they were found. There are not many. */
static void sort_mistakes(struct ps_mistake *mistakes, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct ps_mistake one = mistakes[i];
		size_t at = i;

		while (at && ps_place_compare(&mistakes[at - 1].place, &one.place) > 0)
			at--;
		memmove(&mistakes[at + 1], &mistakes[at], (i - at) * sizeof(one));
		mistakes[at] = one;
	}
}

/* "FILE:LINE", cut. */
static void format_place(const struct ps_config *config, struct ps_place place, char text[320])
{
	char name[300];

	ps_printable(config->files[place.file], name, sizeof(name));
	if (place.line)
		snprintf(text, 320, "%s:%u", name, place.line);
	else
		snprintf(text, 320, "%s", name);
}

static int find_twins(struct ps_config *config)
{
	struct ps_config_section *s = config->sections;
	struct ps_error error;
	char place[320];
	int ret = 0;

	if (config->section_count)
		qsort(s, config->section_count, sizeof(*s), compare_sections);
	for (size_t i = 1; i < config->section_count && !ret; i++) {
		if (strcmp(s[i].name, s[i - 1].name))
			continue;
		format_place(config, s[i - 1].place, place);
		ps_fail(&error, PS_EXIT_FAILED, EEXIST,
			"section [%s] is there already, at %s; give it another name", s[i].name,
			place);
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
	char text[PS_RULE_TEXT], other[320];
	size_t later = clash.one, first = clash.other;

	if (first != SIZE_MAX &&
	    ps_place_compare(&config->places[later], &config->places[first]) < 0) {
		later = clash.other;
		first = clash.one;
	}
	if (first == SIZE_MAX)
		return ps_config_mistake(config, config->places[later], error);
	ps_rule_format(&rules[first], text);
	format_place(config, config->places[first], other);
	if (ps_rule_equal(&rules[first], &rules[later]))
		ps_fail(&full, PS_EXIT_FAILED, EEXIST,
			"rule %s is there already, at %s; delete one of them", text, other);
	else
		snprintf(full.message, sizeof(full.message), "%.*s (rule %s is at %s)",
			 (int)ps_utf8_cut(error->message, 560), error->message, text, other);
	return ps_config_mistake(config, config->places[later], &full);
}

/* Which rules cannot be in force together? One of each pair that is found is left out, and
 * the others are looked at again. */
static int find_clashes(struct ps_config *config)
{
	const struct ps_ruleset none = {};
	struct ps_rule_list *list = &config->list;
	struct ps_clash clash;
	struct ps_error error;
	size_t clashes = 0;
	int ret;

	for (; clashes < PS_CONFIG_MISTAKES && (!config->more || config->keep_going); clashes++) {
		ret = ps_conflicts_check(&none, list->rules, list->count, &clash, &error);
		if (!ret || ret == -ENOMEM)
			return ret;
		if (clash.one == SIZE_MAX) {
			/* They are too many, whichever it is. */
			config->hopeless = true;
			return ps_config_mistake(config, (struct ps_place){ 0 }, &error);
		}
		ret = note_clash(config, clash, &error);
		if (ret)
			return ret;
		if (clash.other != SIZE_MAX &&
		    ps_place_compare(&config->places[clash.one], &config->places[clash.other]) < 0)
			clash.one = clash.other;
		ret = drop_rule(config, clash.one);
		if (ret)
			return ret;
	}
	config->hopeless = true;
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
	int ret = find_twins(config);

	if (!ret)
		ret = find_clashes(config);
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

void ps_mistake_text(const struct ps_config *config, const struct ps_mistake *mistake, char *text,
		     size_t size)
{
	char place[320];

	format_place(config, mistake->place, place);
	snprintf(text, size, "%s: %s", place, mistake->error.message);
}
