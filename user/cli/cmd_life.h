/* SPDX-License-Identifier: GPL-2.0-only */
/* portsteer load, unload, upgrade */
#ifndef PORTSTEER_CMD_LIFE_H
#define PORTSTEER_CMD_LIFE_H

#include "cli/cli.h"

int ps_cmd_load(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_unload(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_upgrade(struct ps_cli *cli, struct ps_error *error);

#endif
