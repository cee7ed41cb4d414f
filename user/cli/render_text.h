/* SPDX-License-Identifier: GPL-2.0-only */
/* What the commands found, as text for people. */
#ifndef PORTSTEER_RENDER_TEXT_H
#define PORTSTEER_RENDER_TEXT_H

#include "cli/cli.h"
#include "engine/all.h"
#include "engine/probe.h"
#include "engine/report.h"

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

/* The rules in force, and what they would become; `hand`: rules that stay. */
void ps_text_differences(const struct ps_ruleset *before, const struct ps_ruleset *after,
			 const struct ps_ruleset *hand);

/* "/etc/portsteer/portsteer.conf:2", "hand" */
enum { PS_ORIGIN_TEXT = 4096 };
void ps_origin_text(const struct ps_origin *origin, char text[PS_ORIGIN_TEXT]);

#endif
