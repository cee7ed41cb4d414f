/* SPDX-License-Identifier: GPL-2.0-only */
/* portsteer add, allow */
#ifndef PORTSTEER_CMD_ADD_H
#define PORTSTEER_CMD_ADD_H

#include "cli/cli.h"

int ps_cmd_add(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_allow(struct ps_cli *cli, struct ps_error *error);

#endif
