/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the kernel keeps our objects by name: the bpffs, our folder in it, its
 * lock, and pins. Paths given to these functions are relative to the folder.
 */
#ifndef PORTSTEER_BPFFS_H
#define PORTSTEER_BPFFS_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/bpf.h>

#include "kernel/world.h"
#include "os/refusal_facts.h"
#include "util/error.h"

#define PS_STATE PS_BPFFS "/portsteer"
/* Where an upgrade builds, and where it then keeps what was there before until it is done. */
#define PS_ASIDE PS_BPFFS "/portsteer-upgrade"
enum { PS_PATH = 512 };

/* Open the root of the bpffs: a descriptor; -ENOENT, without a message, if none is mounted;
 * -EPERM if others than root may write to it. All paths below are safe only where they may not:
 * then no component of them can be a link, or be exchanged for one, unless root makes it. */
int ps_bpffs_open_root(struct ps_error *error);

/* A folder of ours in the bpffs, opened: PS_STATE or PS_ASIDE. */
struct ps_dir {
	int fd;
	const char *path;
};
#define PS_DIR_NONE                                                                                \
	{                                                                                          \
		.fd = -1                                                                           \
	}
/* 0; -ENOENT, without a message, if it is not there; -EPERM if it is not a folder that is
 * root's alone. */
int ps_dir_open(struct ps_dir *dir, const char *path, struct ps_error *error);
void ps_dir_close(struct ps_dir *dir);
/* The whole path of a pin; `format` is relative to the folder. */
void ps_dir_path(const struct ps_dir *dir, char path[PS_PATH], const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Mount the bpffs if it is not, make our folder (0700), and take the writer's
 * lock, waiting for it. Returns the descriptor that holds the lock; closing it
 * releases. */
int ps_bpffs_lock(struct ps_error *error);

/* Release it (-1: nothing to do). A folder that was made for the lock and is still
 * empty goes. */
void ps_bpffs_unlock(int fd);

/* Before reading: is the bpffs root's alone to write to, and are our folders, if they are
 * there, folders and root's? */
int ps_bpffs_check(struct ps_error *error);

/* Is there anything by the name of the state, or of one being upgraded? */
bool ps_bpffs_has_state(void);

/* The inode number of the state folder, 0 if there is none. */
uint64_t ps_bpffs_inode(void);

/* Let the paths that ps_bpffs_path makes from now on be below PS_ASIDE, so that all that
 * is loaded and pinned is built there; or below the state folder again. */
void ps_bpffs_go_aside(bool aside);

/* The whole path of a pin; `format` is relative to the state folder. */
void ps_bpffs_path(char path[PS_PATH], const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Pin an object at an absolute path, replacing what is there. */
int ps_bpffs_pin(int fd, const char *path);
/* The same at one instant: there is always one of both. A kill may leave PS_REPLACING in the
 * state folder. */
#define PS_REPLACING "replacing"
int ps_bpffs_replace(int fd, const char *path);

/* Open a pinned map or program and check that its name is one of ours: a descriptor, -ENOENT,
 * -EPROTO for another's object, or another -errno. Of which layout it is, the name does not say:
 * see ps_build_read(). */
int ps_bpffs_open(const char *path);
/* The same for a link (links have no name of their own). */
int ps_bpffs_open_link(const char *path);

/* Does an object's name begin as ours do, of whatever layout? */
bool ps_name_is_ours(const char *name);

/* Open a pin that may be another layout's, without a look at its name. */
int ps_bpffs_open_any(const char *path);
/* The same for a map and for a link; -EPROTO if it is something else. */
int ps_bpffs_open_map(const char *path);
/* For a map with such elements; -EBADMSG if it has others. */
int ps_bpffs_open_map_of(const char *path, enum bpf_map_type type, uint32_t key, uint32_t value);
int ps_bpffs_open_any_link(const char *path, struct bpf_link_info *info);

/* Remove the pin of a link, if it is there, and detach the link; any other file is removed. Once
 * its pin is gone the kernel detaches it anyway, but by a worker, which may come later: until
 * then its program would go on, and take what the next command stores for its own. */
int ps_bpffs_detach(const char *path);

/* Remove a file or a folder with all in it, if it is there; `path` absolute. No link is
 * followed. */
int ps_bpffs_remove(const char *path);
/* The same, with every link that is pinned in it detached: see ps_bpffs_detach. */
int ps_bpffs_remove_detached(const char *path);

/* Call `fn` with the name of each entry of the state folder's subfolder `path`
 * (absolute); stops at a non-zero result and returns it. */
int ps_bpffs_each(const char *path, int (*fn)(const char *name, void *data), void *data);

#endif
