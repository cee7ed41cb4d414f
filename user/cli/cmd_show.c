// SPDX-License-Identifier: GPL-2.0-only
#include "cli/cmd_show.h"

#include <stdio.h>

#include "cli/render_json.h"
#include "cli/render_text.h"
#include "engine/probe.h"
#include "engine/report.h"

/* Processes named for each listener. */
enum { SOME_PROCESSES = 8, ALL_PROCESSES = 4096 };

static int list_all(struct ps_cli *cli, uint32_t each, struct ps_error *error)
{
	struct ps_all all = {};
	int ret = ps_all_read(&cli->netns, each, &all, error);

	if (!ret && cli->json)
		ret = ps_json_list_all(&all, error);
	else if (!ret && !cli->quiet)
		ps_text_all(cli, &all, ps_text_list);
	ps_all_clear(&all);
	return ret;
}

int ps_cmd_list(struct ps_cli *cli, struct ps_error *error)
{
	uint32_t each = cli->verbose ? ALL_PROCESSES : SOME_PROCESSES;
	struct ps_report report = {};
	int ret;

	if (cli->values.of[PS_OPT_ALL])
		return list_all(cli, each, error);
	ret = ps_report_read(&cli->netns, each, &report, error);
	if (ret)
		return ret;
	if (cli->json)
		ret = ps_json_list(&report, error);
	else if (!cli->quiet)
		ps_text_list(cli, &report);
	ps_report_clear(&report);
	return ret;
}

static int stats_all(struct ps_cli *cli, struct ps_error *error)
{
	struct ps_all all = {};
	int ret = ps_all_read(&cli->netns, 0, &all, error);

	if (!ret && cli->json)
		ret = ps_json_stats_all(&all, error);
	else if (!ret && !cli->quiet)
		ps_text_all(cli, &all, ps_text_stats);
	ps_all_clear(&all);
	return ret;
}

int ps_cmd_stats(struct ps_cli *cli, struct ps_error *error)
{
	struct ps_report report = { .netns = &cli->netns };
	int ret;

	if (cli->values.of[PS_OPT_ALL])
		return stats_all(cli, error);
	ret = ps_instance_view(&cli->netns, &report.view, error);
	if (ret)
		return ret;
	if (cli->json)
		ret = ps_json_stats(&report, error);
	else if (!cli->quiet)
		ps_text_stats(cli, &report);
	ps_report_clear(&report);
	return ret;
}

int ps_cmd_status(struct ps_cli *cli, struct ps_error *error)
{
	struct ps_host_info info;
	int ret = ps_host_info_read(&cli->netns, &info, error);

	if (!ret)
		ret = ps_instances_name(&cli->netns, &info, error);
	if (!ret && cli->json)
		ret = ps_json_status(&info, error);
	else if (!ret && !cli->quiet)
		ps_text_status(cli, &info);
	ps_host_info_clear(&info);
	return ret;
}

int ps_cmd_probe(struct ps_cli *cli, struct ps_error *error)
{
	struct ps_probe probe;
	int ret = ps_probe_run(&probe, error);

	if (!ret && cli->json)
		ret = ps_json_probe(&probe, error);
	else if (!ret && !cli->quiet)
		ps_text_probe(cli, &probe);
	if (ret)
		return ret;
	/* What was asked for has been said: under --json there is no second object. */
	ret = ps_probe_judge(&probe, error);
	cli->told = ret;
	return ret;
}

int ps_cmd_version(struct ps_cli *cli, struct ps_error *error)
{
	(void)error;
	if (cli->json)
		printf("{\"version\":\"%s\",\"abi\":%d}\n", PORTSTEER_VERSION, PORTSTEER_ABI);
	else
		printf("portsteer %s (ABI %d)\n", PORTSTEER_VERSION, PORTSTEER_ABI);
	return 0;
}
