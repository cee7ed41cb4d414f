/* SPDX-License-Identifier: GPL-2.0-only */
/* How what the commands found is written: text for people, JSON for programs. */
#ifndef PORTSTEER_RENDER_H
#define PORTSTEER_RENDER_H

#include "engine/all.h"
#include "cli/cli.h"
#include "engine/notes.h"
#include "engine/probe.h"
#include "engine/report.h"
#include "util/util.h"

void ps_text_list(const struct ps_cli *cli, const struct ps_report *report);
void ps_text_stats(const struct ps_cli *cli, const struct ps_report *report);
/* ps_text_list or ps_text_stats for each, below a line that says which it is. */
void ps_text_all(const struct ps_cli *cli, const struct ps_all *all,
		 void (*text)(const struct ps_cli *cli, const struct ps_report *report));
void ps_text_status(const struct ps_cli *cli, const struct ps_host_info *info);

void ps_text_probe(const struct ps_cli *cli, const struct ps_probe *probe);

/* "user www-data and cgroup /web.slice" */
enum { PS_OWNER_TEXT = 2400 };
void ps_owner_text(const struct ps_owner_spec *owner, char text[PS_OWNER_TEXT]);

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
/* The rules in force, and what they would become; `hand` as above. */
void ps_text_differences(const struct ps_ruleset *before, const struct ps_ruleset *after,
			 const struct ps_ruleset *hand);
int ps_json_differences(const struct ps_ruleset *before, const struct ps_ruleset *after,
			const struct ps_ruleset *hand, struct ps_error *error);

/* "/etc/portsteer/portsteer.conf:2", "hand" */
enum { PS_ORIGIN_TEXT = 4096 };
void ps_origin_text(const struct ps_origin *origin, char text[PS_ORIGIN_TEXT]);
/* The text that `save` has written. */
int ps_json_saved(const char *config, struct ps_error *error);
/* With the mistakes of a configuration, if it has any. */
void ps_json_error(const struct ps_error *error, const struct ps_config *config);
int ps_json_probe(const struct ps_probe *probe, struct ps_error *error);

#endif
