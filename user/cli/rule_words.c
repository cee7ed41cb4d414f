// SPDX-License-Identifier: GPL-2.0-only
#include "cli/rule_words.h"

#include <errno.h>
#include <stdio.h>

#include "config/config_files.h"
#include "config/finish.h"
#include "os/cgroup.h"
#include "os/users.h"

const struct ps_resolver ps_resolver = { ps_user_resolve, ps_cgroup_resolve, ps_scope_resolve };

struct ps_rule_words ps_words_of(const struct ps_values *values)
{
	return (struct ps_rule_words){
		.user = values->of[PS_OPT_USER],
		.cgroup = values->of[PS_OPT_CGROUP],
		.client_cgroup = values->of[PS_OPT_CLIENT_CGROUP],
		.mode = values->of[PS_OPT_MODE],
		.if_down = values->of[PS_OPT_IF_DOWN],
		.name = values->of[PS_OPT_NAME],
		.any_user = values->of[PS_OPT_ANY_USER],
	};
}

int ps_rule_list_add(struct ps_rule_list *list, char **words, size_t count, bool grants,
		     const struct ps_values *values, struct ps_error *error)
{
	struct ps_rule_words given = ps_words_of(values);
	struct ps_rule options = {};
	int ret = ps_rule_options(list, &given, &options, error);

	for (size_t i = 0; i < count && !ret; i++)
		ret = ps_rule_list_append(list, words[i], grants, &given, &options, error);
	return ret;
}

int ps_rule_list_read(struct ps_config *config, const char *path, const struct ps_values *values,
		      struct ps_error *error)
{
	int ret;

	config->list.resolver = &ps_resolver;
	config->defaults = ps_words_of(values);
	config->ownerless = true;
	ret = ps_config_read(config, path, error);
	if (!ret && ps_config_twins(config))
		ret = ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	if (!ret && config->mistake_count)
		ret = ps_mistakes_fail(config, error);
	return ret;
}

enum ps_exit ps_mistakes_status(const struct ps_config *config)
{
	enum ps_exit status = config->mistakes[0].error.status;

	for (size_t i = 1; i < config->mistake_count; i++) {
		if (config->mistakes[i].error.status != status)
			return PS_EXIT_FAILED;
	}
	return status == PS_EXIT_USAGE ? PS_EXIT_FAILED : status;
}

int ps_mistakes_fail(const struct ps_config *config, struct ps_error *error)
{
	error->status = ps_mistakes_status(config);
	if (config->mistake_count == 1 && !config->keep_going)
		ps_mistake_text(config, &config->mistakes[0], error->message,
				sizeof(error->message));
	else
		snprintf(error->message, sizeof(error->message),
			 "the configuration has %s%zu mistake%s, so nothing was changed; correct "
			 "them",
			 config->more ? "more than " : "", config->mistake_count,
			 config->mistake_count == 1 ? "" : "s");
	return -EINVAL;
}
