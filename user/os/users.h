/* SPDX-License-Identifier: GPL-2.0-only */
/* Which user a name or a number means. */
#ifndef PORTSTEER_USERS_H
#define PORTSTEER_USERS_H

#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

/* A user's number: what the text says if that is a number, else what the user database says of
 * the name. *note is allocated, or NULL: see ps_user_note. 0; -EINVAL (PS_EXIT_USAGE). */
int ps_user_resolve(const char *text, uint32_t *uid, char **note, struct ps_error *error);

/* What to know about an owner who is only for a time that user: systemd gives these numbers out
 * anew. Allocated; NULL if there is nothing to say (or no memory for it). */
char *ps_user_note(uint32_t uid);

/* The name by which --user takes the user, or NULL: there is none, it would be read as a number, or
 * it is another user's, too. Remembered for the whole process. */
const char *ps_user_name(uint32_t uid);
/* The same to be shown: without control characters, the number if there is no name. */
enum { PS_USER_TEXT = 256 };
void ps_user_text(uint32_t uid, char text[PS_USER_TEXT]);

#endif
