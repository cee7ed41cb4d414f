// SPDX-License-Identifier: GPL-2.0-only
#include "os/users.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/systemd.h"
#include "os/unit_name.h"
#include "util/text.h"
#include "util/util.h"

/* The users of units with DynamicUser=, as systemd is built by default. */
enum { DYNAMIC_FIRST = 61184, DYNAMIC_LAST = 65519 };

/* A uid in decimal; (uid_t)-1 is nobody's. */
static bool parse_uid(const char *text, uint32_t *uid)
{
	unsigned long long value;

	if (strlen(text) > 10)
		return false;
	value = strtoull(text, NULL, 10);
	if (value >= UINT32_MAX)
		return false;
	*uid = (uint32_t)value;
	return true;
}

char *ps_user_note(uint32_t uid)
{
	char *note = NULL;

	if (uid < DYNAMIC_FIRST || uid > DYNAMIC_LAST)
		return NULL;
	if (asprintf(&note,
		     "systemd assigns user %u to a unit with DynamicUser= only while the unit "
		     "runs, and may assign it to another unit later; name the owner by cgroup, as "
		     "in --cgroup unit:web.service",
		     uid) < 0)
		return NULL;
	return note;
}

/* It may be that of a unit that does not run now. */
static int fail_name(const char *text, struct ps_error *error)
{
	char unit[PS_UNIT_NAME];

	if (snprintf(unit, sizeof(unit), "%s.service", text) < (int)sizeof(unit) &&
	    ps_unit_has_dynamic_user(unit))
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "unknown user '%.100s': %.100s has DynamicUser=, so its user exists "
			       "only while it runs, and with another UID each time; give --cgroup "
			       "unit:%.100s",
			       text, unit, unit);
	return ps_fail(error, PS_EXIT_USAGE, EINVAL,
		       "unknown user '%.100s': there is no such name in the user database; see "
		       "'getent passwd', or give a UID below 4294967295",
		       text);
}

int ps_user_resolve(const char *text, uint32_t *uid, char **note, struct ps_error *error)
{
	const struct passwd *entry;

	/* A database (LDAP, say) may have a user whose name is another's number. */
	if (*text && strspn(text, "0123456789") == strlen(text)) {
		if (!parse_uid(text, uid))
			return ps_fail(error, PS_EXIT_USAGE, EINVAL,
				       "unknown user '%.100s': it is not a valid UID; give one "
				       "below 4294967295",
				       text);
	} else {
		entry = getpwnam(text);
		if (!entry)
			return fail_name(text, error);
		*uid = entry->pw_uid;
	}
	*note = ps_user_note(*uid);
	return 0;
}

/* The name that leads to the user, and to no other: it is not read as a number, nor is it somebody
 * else's, too. The caller's. */
static char *find_user_name(uint32_t uid)
{
	const struct passwd *entry = getpwuid(uid);
	char *name = entry ? strdup(entry->pw_name) : NULL;

	if (!name)
		return NULL;
	entry = name[strspn(name, "0123456789")] ? getpwnam(name) : NULL;
	if (entry && entry->pw_uid == uid)
		return name;
	free(name);
	return NULL;
}

const char *ps_user_name(uint32_t uid)
{
	/* A look-up may ask a server far away: remember the last ones. */
	static struct {
		bool known;
		uint32_t uid;
		char *name;
	} cache[256];
	unsigned int slot = uid % PS_ARRAY_SIZE(cache);

	if (cache[slot].known && cache[slot].uid == uid)
		return cache[slot].name;
	free(cache[slot].name);
	cache[slot].known = true;
	cache[slot].uid = uid;
	cache[slot].name = find_user_name(uid);
	return cache[slot].name;
}

void ps_user_text(uint32_t uid, char text[PS_USER_TEXT])
{
	const char *name = ps_user_name(uid);

	if (name)
		ps_printable(name, text, PS_USER_TEXT);
	else
		snprintf(text, PS_USER_TEXT, "%u", uid);
}
