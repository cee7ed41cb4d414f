/* SPDX-License-Identifier: GPL-2.0-only */
/* From the text of a file of the configuration to rules. */
#ifndef PORTSTEER_PARSE_H
#define PORTSTEER_PARSE_H

#include "config/config.h"

/* Read the text of a file that ps_config_file has noted. Mistakes are noted; the result is
 * 0 or -ENOMEM. */
int ps_config_parse(struct ps_config *config, uint32_t file, const char *text, size_t size);

#endif
