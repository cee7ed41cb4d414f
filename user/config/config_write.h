/* SPDX-License-Identifier: GPL-2.0-only */
/* From rules to the text of a configuration. */
#ifndef PORTSTEER_CONFIG_WRITE_H
#define PORTSTEER_CONFIG_WRITE_H

#include "rule/ruleset.h"

/* The name of a user whom the resolver finds by it, NULL if there is none. */
typedef const char *ps_user_fn(uint32_t uid);

/* The text that makes these rules: 0, -ENOMEM, or -E2BIG if it were larger than what is
 * read. *text is allocated. */
int ps_config_write(const struct ps_ruleset *rules, ps_user_fn *user, char **text, size_t *size);

#endif
