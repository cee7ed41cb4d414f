/* SPDX-License-Identifier: GPL-2.0-only */
/* The keys that a section may have. */
#ifndef PORTSTEER_KEYS_H
#define PORTSTEER_KEYS_H

#include <stdbool.h>
#include <stddef.h>

enum ps_key {
	PS_KEY_PORTS,
	PS_KEY_ALLOW,
	PS_KEY_USER,
	PS_KEY_CGROUP,
	PS_KEY_ANY_USER,
	PS_KEY_CLIENT_CGROUP,
	PS_KEY_MODE,
	PS_KEY_IF_DOWN,
	PS_KEY_NAME,
	PS_KEYS,
};
struct ps_config_key {
	const char *name, *value;
};
extern const struct ps_config_key ps_config_keys[PS_KEYS];

/* Is its value a list, which may go on in further lines? */
bool ps_key_is_list(enum ps_key key);

/* The key of this name, or -1. */
int ps_key_find(const char *name);

/* The key that an unknown one may be meant for: -1 if it is near to none. */
int ps_key_nearest(const char *name);

#endif
