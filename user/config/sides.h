/* SPDX-License-Identifier: GPL-2.0-only */
/* The front sides that sections with a mistake name, or may name. */
#ifndef PORTSTEER_SIDES_H
#define PORTSTEER_SIDES_H

#include "config/config.h"
#include "util/bpf_types.h"

/* Each rule may be of two protocols and for two kinds of clients; beyond this nothing is in force. */
enum { PS_CONFIG_FRONTS = 4 * PS_MAX_RULES };

/* Note a front side of a section that has a mistake: 0 or -ENOMEM. `rule` may be no more than
 * that; what it has is copied. */
int ps_config_front(struct ps_config *config, const struct ps_rule *rule, struct ps_source place,
		    bool vague);

/* Whose connections the rules of a section with a mistake may be for: of all that come to this
 * machine, of the clients in a cgroup, of clients in any. */
struct ps_config_meant {
	bool here;
	char *scope; /* NULL: of none that is known */
	bool vague;
};
/* What may stand between the parts of a word of which each may be a rule. */
extern const char ps_config_separators[];
/* Note the front sides that a word of `ports` or `allow` may name. 0, -ENOMEM, or -EINVAL if it
 * names none. */
int ps_config_word(struct ps_config *config, const char *word, struct ps_source place,
		   const struct ps_config_meant *meant);
/* Note that of a word from elsewhere, if it is a whole rule, or a grant with a protocol; 0, -ENOMEM
 * or -EINVAL. */
int ps_config_whole_word(struct ps_config *config, const char *word, struct ps_source place,
			 const struct ps_config_meant *meant);

#endif
