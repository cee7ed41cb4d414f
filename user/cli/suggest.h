/* SPDX-License-Identifier: GPL-2.0-only */
/* Which command is meant by a word that is none. */
#ifndef PORTSTEER_SUGGEST_H
#define PORTSTEER_SUGGEST_H

#include "cli/cli.h"

/* Say that there is no such command, and which may be meant. -EINVAL. */
int ps_command_unknown(const struct ps_cli *cli, const char *name, struct ps_error *error);

#endif
