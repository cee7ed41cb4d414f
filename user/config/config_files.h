/* SPDX-License-Identifier: GPL-2.0-only */
/* The files of the configuration: which they are, and whether they may be trusted. */
#ifndef PORTSTEER_CONFIG_FILES_H
#define PORTSTEER_CONFIG_FILES_H

#include "config/config.h"

/*
 * Read `path` ("-": the standard input), or, if it is NULL, portsteer/portsteer.conf and
 * portsteer/portsteer.conf.d/ *.conf in /usr/lib, /run and /etc: of files with one name
 * that of the later folder counts, the others are not read. What cannot be read, or not be
 * trusted as others may write to it, is a mistake of the configuration. 0 or -ENOMEM with
 * a message.
 */
int ps_config_read(struct ps_config *config, const char *path, struct ps_error *error);

#endif
