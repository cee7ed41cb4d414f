/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the kernel keeps our objects by name: the bpffs, our folder in it, its
 * lock, and pins. Paths given to these functions are relative to the folder.
 */
#ifndef PORTSTEER_BPFFS_H
#define PORTSTEER_BPFFS_H

#include <stdbool.h>

#include "error.h"

#define PS_BPFFS "/sys/fs/bpf"
#define PS_STATE PS_BPFFS "/portsteer"
enum { PS_PATH = 512 };

/* Is a bpffs mounted where we look for it? */
bool ps_bpffs_mounted(void);

/* Mount the bpffs if it is not, make our folder (0700), and take the writer's
 * lock, waiting for it. Returns the descriptor that holds the lock; closing it
 * releases. */
int ps_bpffs_lock(struct ps_error *error);

/* Release it (-1: nothing to do). A folder that was made for the lock and is still
 * empty goes. */
void ps_bpffs_unlock(int fd);

/* Before reading: is our folder, if it is there, root's and closed to others? On a
 * bpffs that everyone may write to, anyone could have made it. */
int ps_bpffs_check(struct ps_error *error);

/* The whole path of a pin; `format` is relative to the state folder. */
void ps_bpffs_path(char path[PS_PATH], const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Pin an object at an absolute path, replacing what is there. */
int ps_bpffs_pin(int fd, const char *path);

/* Open a pinned map or program and check its name for our ABI: a descriptor,
 * -ENOENT, -EPROTO for an object of another ABI, or another -errno. */
int ps_bpffs_open(const char *path);
/* The same for a link (links have no name of their own). */
int ps_bpffs_open_link(const char *path);

/* Remove a file or a folder with its files, if it is there; `path` absolute. */
int ps_bpffs_remove(const char *path);

/* Call `fn` with the name of each entry of the state folder's subfolder `path`
 * (absolute); stops at a non-zero result and returns it. */
int ps_bpffs_each(const char *path, int (*fn)(const char *name, void *data), void *data);

/* Does the process lack what portsteer needs? Fills the error of a failed
 * bpf() or mount() call by its errno: EPERM -> PS_EXIT_NOT_PERMITTED and so on. */
int ps_fail_kernel(struct ps_error *error, int err, const char *what);

#endif
