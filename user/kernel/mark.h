/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * By what a program is known as portsteer's, whatever the build and wherever its state is: it
 * uses a map of a fixed form with a magic number in it, and root has loaded it. The map also says
 * where the state is. It is bound to each program after loading; no program reads it.
 */
#ifndef PORTSTEER_MARK_H
#define PORTSTEER_MARK_H

#include <stdint.h>

#include <bpf/libbpf.h>

#define PS_MARK_MAGIC 0x7265657473747250ull

/* All layouts have this one in common. Numbers are in the machine's byte order. */
struct ps_program_mark {
	uint64_t magic;
	uint32_t layout; /* PORTSTEER_ABI */
	uint32_t pid_namespace; /* inode: of the command that loaded the shared part */
	uint64_t device; /* of the bpffs that the state is in, as stat(2) has it */
	uint32_t netns, instances; /* ids of these maps of the shared part */
	uint32_t reserved[8];
};
_Static_assert(sizeof(struct ps_program_mark) == 64, "known to all layouts");

/* Make the mark of a state that has these maps: a descriptor, or -errno. */
int ps_mark_make(int netns, int instances);
/* Give it to a program, or to all of an object, which is loaded and not attached yet. */
int ps_mark_bind(int mark, int program);
int ps_mark_bind_all(int mark, const struct bpf_object *object);

/* The mark of the program with this id: 1; 0 if it has none, or has gone; -errno, -EPERM where
 * programs may not be looked at. `name` is the program's. */
int ps_mark_read(uint32_t program, struct ps_program_mark *mark, char name[16]);

/* The inode of this process's PID namespace, 0 if it cannot be told. */
uint32_t ps_pid_namespace(void);

#endif
