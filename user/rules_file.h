/* SPDX-License-Identifier: GPL-2.0-only */
/* From the words of `portsteer add` and `allow` to rules. */
#ifndef PORTSTEER_RULES_FILE_H
#define PORTSTEER_RULES_FILE_H

#include "cli.h"

/* The options that rules can have. */
#define PS_RULE_OPTIONS                                                                            \
	(PS_BIT(PS_OPT_USER) | PS_BIT(PS_OPT_CGROUP) | PS_BIT(PS_OPT_ANY_USER) |                   \
	 PS_BIT(PS_OPT_FROM) | PS_BIT(PS_OPT_ON_MISS) | PS_BIT(PS_OPT_NAME) | PS_BIT(PS_OPT_MODE))

/* Rules, in the order in which they were given. */
struct ps_rule_list {
	bool grants; /* words are grants, as `allow` takes them; set by the caller */
	struct ps_rule *rules; /* owned */
	size_t count, room;
	char *cgroup_text, *cgroup; /* what --cgroup resolved to last */
	char *scope_text, *scope; /* and --from */
	char *user_text; /* and --user */
	uint32_t uid;
};
void ps_rule_list_clear(struct ps_rule_list *list);

/* Add the rules that words name, with these options. owner.flags is 0 where no
 * owner is given. */
int ps_rule_list_add(struct ps_rule_list *list, char **words, size_t count,
		     const struct ps_values *values, struct ps_error *error);

/* Set the keys' scope to what --from says, if it is given; it stays the list's. */
int ps_rule_keys_scope(struct ps_rule_list *list, const struct ps_values *values,
		       struct ps_rule *keys, size_t count, struct ps_error *error);

/* Add the rules of a file ("-": standard input): one or more on each line, with
 * options; those of `values` hold where a line gives none of the kind. Everything
 * from '#' on is a comment. Errors are preceded by FILE:LINE. */
int ps_rule_list_read(struct ps_rule_list *list, const char *path, const struct ps_values *values,
		      struct ps_error *error);

#endif
