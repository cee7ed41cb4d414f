/* SPDX-License-Identifier: GPL-2.0-only */
/* Help, made from the tables of commands and options. */
#ifndef PORTSTEER_HELP_H
#define PORTSTEER_HELP_H

#include "cli/cli.h"

void ps_help_general(const struct ps_cli *cli);
void ps_help_command(const struct ps_command *command);

int ps_cmd_help(struct ps_cli *cli, struct ps_error *error);

#endif
