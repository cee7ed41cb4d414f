// SPDX-License-Identifier: GPL-2.0-only
#include "config/sides.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "util/array.h"
#include "util/bpf_types.h"
#include "util/util.h"

int ps_config_front(struct ps_config *config, const struct ps_rule *rule, struct ps_source place,
		    bool vague)
{
	struct ps_config_front *front;
	const struct ps_rule block = {
		.prefix = rule->prefix,
		.proto = rule->proto,
		.front = rule->front,
		.front_last = rule->front_last,
		.target = rule->front,
		.mode = rule->scope ? PS_MODE_CONNECT : PS_MODE_STEER,
		.scope = rule->scope,
		.owner = { .flags = PS_OWNER_NOBODY },
		.origin = { config->files[place.file], place.line },
	};

	if (config->front_count > PS_CONFIG_FRONTS)
		return 0;
	if (ps_grow((void **)&config->fronts, &config->front_room, config->front_count,
		    sizeof(*front)))
		return -ENOMEM;
	front = &config->fronts[config->front_count];
	if (ps_rule_copy(&block, &front->rule))
		return -ENOMEM;
	front->place = place;
	front->vague = vague;
	config->front_count++;
	return 0;
}

/* The same side, for all who may be meant. */
static int add_meant(struct ps_config *config, struct ps_rule *side, struct ps_source place,
		     const struct ps_config_meant *meant)
{
	static char all[] = "/";
	int ret = 0;

	side->scope = NULL;
	if (meant->here)
		ret = ps_config_front(config, side, place, false);
	side->scope = meant->scope;
	if (!ret && meant->scope)
		ret = ps_config_front(config, side, place, false);
	side->scope = all;
	if (!ret && meant->vague)
		ret = ps_config_front(config, side, place, true);
	return ret;
}

/* If the side has no protocol it may be any. */
static int add_side(struct ps_config *config, const struct ps_rule *side, struct ps_source place,
		    const struct ps_config_meant *meant)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP };
	int ret = 0;

	for (size_t i = 0; i < PS_ARRAY_SIZE(protos) && !ret; i++) {
		struct ps_rule one = *side;

		one.proto = protos[i];
		if (!side->proto || side->proto == protos[i])
			ret = add_meant(config, &one, place, meant);
	}
	return ret;
}

/* What becomes of the front sides of a word. */
struct word {
	struct ps_config *config;
	struct ps_source place;
	const struct ps_config_meant *meant;
};

static int add_guess(const struct ps_rule *side, void *data)
{
	const struct word *word = data;

	return add_side(word->config, side, word->place, word->meant);
}

int ps_config_whole_word(struct ps_config *config, const char *word, struct ps_source place,
			 const struct ps_config_meant *meant)
{
	const char *slash = strrchr(word, '/');
	struct ps_rule side;

	if (ps_rule_parse(word, &side, NULL) &&
	    (!slash || strchr(slash, ':') || ps_rule_parse_grant(word, &side, NULL)))
		return -EINVAL;
	return add_side(config, &side, place, meant);
}

const char ps_config_separators[] = ",;\"'";

int ps_config_word(struct ps_config *config, const char *word, struct ps_source place,
		   const struct ps_config_meant *meant)
{
	_cleanup_free_ char *parts = strdup(word);
	struct word of = { config, place, meant };
	char *save, *part = parts ? strtok_r(parts, ps_config_separators, &save) : NULL;
	int ret = parts ? -EINVAL : -ENOMEM;

	for (; part && ret != -ENOMEM; part = strtok_r(NULL, ps_config_separators, &save)) {
		struct ps_rule side;
		int one = ps_rule_parse(part, &side, NULL) &&
					  ps_rule_parse_grant(part, &side, NULL) ?
				  ps_rule_guess(part, add_guess, &of) :
				  add_side(config, &side, place, meant);

		ret = one == -EINVAL ? ret : one;
	}
	return ret;
}
