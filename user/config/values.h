/* SPDX-License-Identifier: GPL-2.0-only */
/* Values of keys that have one. */
#ifndef PORTSTEER_VALUES_H
#define PORTSTEER_VALUES_H

#include "config/parser.h"

/* Give the key of the section in hand a value; what is wrong with it is noted. */
void ps_value_set(struct ps_parser *p, enum ps_key key, const char *value);

#endif
