/* SPDX-License-Identifier: GPL-2.0-only */
/* From the words of `portsteer add` and `allow` to rules. */
#ifndef PORTSTEER_RULE_WORDS_H
#define PORTSTEER_RULE_WORDS_H

#include "cli/options.h"
#include "config/config.h"
#include "rule/rule_list.h"

/* The options that rules can have. */
#define PS_RULE_OPTIONS                                                                            \
	(PS_BIT(PS_OPT_USER) | PS_BIT(PS_OPT_CGROUP) | PS_BIT(PS_OPT_ANY_USER) |                   \
	 PS_BIT(PS_OPT_CLIENT_CGROUP) | PS_BIT(PS_OPT_IF_DOWN) | PS_BIT(PS_OPT_NAME) |             \
	 PS_BIT(PS_OPT_MODE))

/* What names mean on this host. */
extern const struct ps_resolver ps_resolver;

/* What the options say of rules. */
struct ps_rule_words ps_words_of(const struct ps_values *values);

/* Add the rules that words name (grants: as `allow` takes them), with these options.
 * owner.flags is 0 where no owner is given. */
int ps_rule_list_add(struct ps_rule_list *list, char **words, size_t count, bool grants,
		     const struct ps_values *values, struct ps_error *error);

/* Read the rules of a file ("-": standard input), which is written as a configuration, into
 * config->list; `values` hold where a section says nothing of the kind, and no owner need be
 * given. If there are mistakes they are config's, and the result is ps_mistakes_fail's. */
int ps_rule_list_read(struct ps_config *config, const char *path, const struct ps_values *values,
		      struct ps_error *error);

/* The exit status for a configuration with mistakes: theirs, if they are of one kind. */
enum ps_exit ps_mistakes_status(const struct ps_config *config);
/* Say that there are mistakes, of which main() tells each. -EINVAL. */
int ps_mistakes_fail(const struct ps_config *config, struct ps_error *error);

#endif
