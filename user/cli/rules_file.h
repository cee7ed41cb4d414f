/* SPDX-License-Identifier: GPL-2.0-only */
/* From the words of `portsteer add` and `allow` to rules. */
#ifndef PORTSTEER_RULES_FILE_H
#define PORTSTEER_RULES_FILE_H

#include "cli/options.h"
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

/* Add the rules of a file ("-": standard input): one or more on each line, with
 * options; those of `values` hold where a line gives none of the kind. Everything
 * from '#' on is a comment. Errors are preceded by FILE:LINE. */
int ps_rule_list_read(struct ps_rule_list *list, const char *path, const struct ps_values *values,
		      struct ps_error *error);

#endif
