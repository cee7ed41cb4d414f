// SPDX-License-Identifier: GPL-2.0-only
#include "config/keys.h"

#include <string.h>

#include "util/util.h"

const struct ps_config_key ps_config_keys[PS_KEYS] = {
	[PS_KEY_PORTS] = { "ports", "RULE..." },
	[PS_KEY_ALLOW] = { "allow", "PORT..." },
	[PS_KEY_USER] = { "user", "NAME|UID" },
	[PS_KEY_CGROUP] = { "cgroup", "PATH|unit:NAME|container:ID" },
	[PS_KEY_ANY_USER] = { "any-user", "yes|no" },
	[PS_KEY_CLIENT_CGROUP] = { "client-cgroup", "PATH|unit:NAME|container:ID" },
	[PS_KEY_MODE] = { "mode", "steer|bind|connect" },
	[PS_KEY_IF_DOWN] = { "if-down", "refuse|pass" },
	[PS_KEY_NAME] = { "name", "LABEL" },
};

bool ps_key_is_list(enum ps_key key)
{
	return key == PS_KEY_PORTS || key == PS_KEY_ALLOW;
}

int ps_key_find(const char *name)
{
	for (int key = 0; key < PS_KEYS; key++) {
		if (!strcmp(ps_config_keys[key].name, name))
			return key;
	}
	return -1;
}

/* Do at most `most` letters that are added, left out, exchanged or swapped make one word of the
 * other? */
static bool is_near(const char *a, const char *b, unsigned int most)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	if (!*a && !*b)
		return true;
	if (!most)
		return false;
	return (*a && is_near(a + 1, b, most - 1)) || (*b && is_near(a, b + 1, most - 1)) ||
	       (*a && *b && is_near(a + 1, b + 1, most - 1)) ||
	       (*a && *b && a[1] && *a == b[1] && a[1] == *b && is_near(a + 2, b + 2, most - 1));
}

/* Of short words two letters are too much. */
int ps_key_nearest(const char *name)
{
	static const char *const lists[] = { "port", "rules", "rule" };
	char lower[16] = "";
	unsigned int most = strlen(name) > 4 ? 2 : 1;

	for (size_t i = 0; name[i] && i + 1 < sizeof(lower); i++)
		lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] | 0x20 : name[i]);
	for (unsigned int far = 0; far <= most; far++) {
		for (size_t i = 0; i < PS_ARRAY_SIZE(lists); i++) {
			if (is_near(lower, lists[i], far))
				return PS_KEY_PORTS;
		}
		for (int key = 0; key < PS_KEYS; key++) {
			if (is_near(lower, ps_config_keys[key].name, far))
				return key;
		}
	}
	return -1;
}
