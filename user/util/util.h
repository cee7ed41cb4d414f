/* SPDX-License-Identifier: GPL-2.0-only */
/* Cleanup attributes and other small things that many files use. */
#ifndef PORTSTEER_UTIL_H
#define PORTSTEER_UTIL_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* access(2) asks by the real user, who need not be root where the effective one is. */
static inline bool ps_exists(const char *path)
{
	return !faccessat(AT_FDCWD, path, F_OK, AT_EACCESS);
}

static inline void ps_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
/* Hand a descriptor on: it is not closed at the end of this scope. */
static inline int ps_take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}
static inline void ps_free(void *pointer)
{
	free(*(void **)pointer);
}
static inline void ps_fclose(FILE **file)
{
	if (*file)
		fclose(*file);
}

/* At the end of the scope: close a descriptor (-1: none), free, fclose. */
#define _cleanup_close_ __attribute__((cleanup(ps_close)))
#define _cleanup_free_ __attribute__((cleanup(ps_free)))
#define _cleanup_fclose_ __attribute__((cleanup(ps_fclose)))

#define PS_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
