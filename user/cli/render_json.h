/* SPDX-License-Identifier: GPL-2.0-only */
/* What the commands found, as JSON for programs. */
#ifndef PORTSTEER_RENDER_JSON_H
#define PORTSTEER_RENDER_JSON_H

#include "config/config.h"
#include "engine/all.h"
#include "engine/notes.h"
#include "engine/probe.h"
#include "engine/report.h"

/* What `add` and `allow` did, and what to know about it. */
struct ps_added {
	const struct ps_rule *rules;
	size_t count;
	const unsigned char *inferred; /* for each: its owner is not the user's word */
	const struct ps_notes *notes;
};

/* 0 or -ENOMEM with a message. Each writes one line. */
int ps_json_added(const struct ps_added *added, struct ps_error *error);
/* `held`: sockets that keep the port of a rule that was deleted. */
int ps_json_removed(size_t removed, const struct ps_sockets *held, struct ps_error *error);
int ps_json_list(const struct ps_report *report, struct ps_error *error);
int ps_json_stats(const struct ps_report *report, struct ps_error *error);
int ps_json_list_all(const struct ps_all *all, struct ps_error *error);
int ps_json_stats_all(const struct ps_all *all, struct ps_error *error);
int ps_json_status(const struct ps_host_info *info, struct ps_error *error);
/* What `check` found. */
int ps_json_checked(const struct ps_config *config, const struct ps_ruleset *rules,
		    struct ps_error *error);
/* What `apply` did. */
struct ps_applied {
	const struct ps_diff *diff;
	const struct ps_notes *notes;
	const struct ps_sockets *held; /* as of ps_json_removed */
	const struct ps_ruleset *hand; /* rules that stay, though it did not make them */
};
int ps_json_applied(const struct ps_applied *applied, struct ps_error *error);
/* As ps_text_differences. */
int ps_json_differences(const struct ps_ruleset *before, const struct ps_ruleset *after,
			const struct ps_ruleset *hand, struct ps_error *error);

/* The text that `save` has written. */
int ps_json_saved(const char *config, struct ps_error *error);
/* With the mistakes of a configuration, if it has any. */
void ps_json_error(const struct ps_error *error, const struct ps_config *config);
int ps_json_probe(const struct ps_probe *probe, struct ps_error *error);

#endif
