/* SPDX-License-Identifier: GPL-2.0-only */
/* portsteer list, stats, status, probe, version */
#ifndef PORTSTEER_CMD_SHOW_H
#define PORTSTEER_CMD_SHOW_H

#include "cli/cli.h"

int ps_cmd_list(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_stats(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_status(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_probe(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_version(struct ps_cli *cli, struct ps_error *error);

#endif
