/* SPDX-License-Identifier: GPL-2.0-only */
/* portsteer del, flush */
#ifndef PORTSTEER_CMD_RULES_H
#define PORTSTEER_CMD_RULES_H

#include "cli/cli.h"

int ps_cmd_del(struct ps_cli *cli, struct ps_error *error);
int ps_cmd_flush(struct ps_cli *cli, struct ps_error *error);

#endif
