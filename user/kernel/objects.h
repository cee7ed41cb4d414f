/* SPDX-License-Identifier: GPL-2.0-only */
/* BPF objects that are built into the program compressed, as few hosts need them all. */
#ifndef PORTSTEER_OBJECTS_H
#define PORTSTEER_OBJECTS_H

#include <stddef.h>

struct ps_object {
	const unsigned char *begin, *end; /* gzip */
};
extern const struct ps_object ps_object_bind, ps_object_connect, ps_object_datagram;

/* The ELF file, allocated. 0, -ENOMEM or -EBADMSG. */
int ps_object_unpack(const struct ps_object *object, void **elf, size_t *size);

#endif
