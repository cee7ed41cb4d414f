// SPDX-License-Identifier: GPL-2.0-only
/* portsteer list, stats, status, version */
#include <stdio.h>

#include "cli.h"
#include "render.h"
#include "report.h"

/* Processes named for each listener. */
enum { SOME_PROCESSES = 8, ALL_PROCESSES = 4096 };

int ps_cmd_list(struct ps_cli *cli, struct ps_error *error)
{
	struct ps_report report = {};
	int ret = ps_report_read(&cli->netns, NULL, cli->verbose ? ALL_PROCESSES : SOME_PROCESSES,
				 &report, error);

	if (ret)
		return ret;
	if (cli->json)
		ret = ps_json_list(&report, error);
	else if (!cli->quiet)
		ps_text_list(cli, &report);
	ps_report_clear(&report);
	return ret;
}

int ps_cmd_stats(struct ps_cli *cli, struct ps_error *error)
{
	struct ps_report report = { .netns = &cli->netns };
	int ret = ps_instance_view(&cli->netns, &report.view, error);

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
	int ret = ps_host_info_read(&info, error);

	if (!ret && cli->json)
		ret = ps_json_status(&info, error);
	else if (!ret && !cli->quiet)
		ps_text_status(cli, &info);
	ps_host_info_clear(&info);
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
