/* SPDX-License-Identifier: GPL-2.0-only */
/* portsteer check, apply, save */
#ifndef PORTSTEER_CMD_APPLY_H
#define PORTSTEER_CMD_APPLY_H

#include "cli/cli.h"

int ps_cmd_check(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_apply(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_save(struct ps_cli *cli, struct ps_error *error);

#endif
