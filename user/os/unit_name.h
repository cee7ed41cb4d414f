/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How systemd.unit(5) names units, and where its rules put their cgroups. Pure.
 */
#ifndef PORTSTEER_UNIT_NAME_H
#define PORTSTEER_UNIT_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

/* Bytes of a unit's name with its NUL. */
enum { PS_UNIT_NAME = 256 };

/* Is it the whole name of a unit that can have a cgroup? 0, or -EINVAL (PS_EXIT_USAGE). */
int ps_unit_check(const char *name, struct ps_error *error);

/* Does the name end so, and is there something before? ".slice" is no slice. */
bool ps_unit_is(const char *name, const char *suffix);

/* "my-web" as a part of a unit's name: "my\x2dweb". -E2BIG. */
int ps_unit_escape(const char *text, char *to, size_t size);

/* The cgroup of a slice: "a-b.slice" is /a.slice/a-b.slice, "-.slice" the root, "". -EINVAL
 * if no slice can have the name, -E2BIG. */
int ps_slice_path(const char *slice, char *path, size_t size);

/* The slice of a unit that does not say one: system.slice, or that of its template. The name
 * is one that ps_unit_check took. -E2BIG. */
int ps_unit_usual_slice(const char *unit, char slice[PS_UNIT_NAME]);

/* The cgroup of a unit in a slice; of a slice its own. Errors as ps_slice_path. */
int ps_unit_path(const char *unit, const char *slice, char *path, size_t size);

/*
 * What the text of a unit's file, or of a drop-in, says about its slice: 1 and the slice, 0 if
 * nothing; -ENOTSUP if that has a specifier that only systemd can expand.
 */
int ps_unit_file_slice(const char *text, size_t size, const char *unit, char slice[PS_UNIT_NAME]);

#endif
