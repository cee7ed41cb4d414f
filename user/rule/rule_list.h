/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From words to rules: what the command line, files of rules and the configuration
 * have in common. Pure: who a user is and where a cgroup is, others say.
 */
#ifndef PORTSTEER_RULE_LIST_H
#define PORTSTEER_RULE_LIST_H

#include "rule/rule.h"

/* What names mean. Each: 0, or a negative errno with a message. Paths are allocated, and so is
 * *note: a line that the user should read, NULL for none. */
typedef int ps_resolve_path(const char *text, char **path, char **note, struct ps_error *error);
struct ps_resolver {
	int (*user)(const char *text, uint32_t *uid, char **note, struct ps_error *error);
	ps_resolve_path *cgroup, *scope;
};

/* More notes than these are left out. */
enum { PS_NAME_NOTES = 16 };

/* Options of rules as they are written; NULL for one that is not given. */
struct ps_rule_words {
	const char *user, *cgroup, *client_cgroup, *mode, *if_down, *name;
	bool any_user;
};

/* Rules, in the order in which they were given. */
struct ps_rule_list {
	const struct ps_resolver *resolver; /* set by the caller */
	struct ps_rule *rules; /* owned */
	size_t count, room;
	char *cgroup_text, *cgroup; /* what the last --cgroup resolved to */
	char *scope_text, *scope; /* and --client-cgroup */
	char *user_text; /* and --user */
	uint32_t uid;
	char *notes[PS_NAME_NOTES]; /* on what names mean, each once */
	size_t note_count;
};
void ps_rule_list_clear(struct ps_rule_list *list);

/* What the words say, without the ports: *options has owner, scope, if_down and name,
 * whose strings are borrowed from the list (until the next call) and from the words.
 * owner.flags is 0 where no owner is given. -EINVAL (PS_EXIT_USAGE) or the resolver's. */
int ps_rule_options(struct ps_rule_list *list, const struct ps_rule_words *words,
		    struct ps_rule *options, struct ps_error *error);

/* Append the rule of this text, a grant's as `allow` takes it or one as `add` does, with
 * these words, of which ps_rule_options has made `options`. */
int ps_rule_list_append(struct ps_rule_list *list, const char *text, bool grant,
			const struct ps_rule_words *words, const struct ps_rule *options,
			struct ps_error *error);

/* Set the keys' client cgroup to what the text says, if it is not NULL; it stays the list's. */
int ps_rule_keys_scope(struct ps_rule_list *list, const char *text, struct ps_rule *keys,
		       size_t count, struct ps_error *error);

/* The mode of a rule that says none: by its scope and its protocol. */
enum ps_mode ps_rule_usual_mode(const struct ps_rule *rule);

#endif
