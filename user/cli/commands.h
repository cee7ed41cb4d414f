/* SPDX-License-Identifier: GPL-2.0-only */
/* The table of commands. */
#ifndef PORTSTEER_COMMANDS_H
#define PORTSTEER_COMMANDS_H

#include "cli/cli.h"

extern const struct ps_command ps_commands[];
extern const size_t ps_command_count;

#endif
