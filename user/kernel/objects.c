// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/objects.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include <zlib.h>

#include "util/util.h"

/* The Makefile makes NAME.bpf.gz in PS_OBJECTS before this file is compiled. */
#define EMBED(name)                                                                                \
	__asm__(".pushsection .rodata\n"                                                           \
		"embedded_" #name ":\n"                                                            \
		".incbin \"" PS_OBJECTS "/" #name ".bpf.gz\"\n"                                    \
		"embedded_" #name "_end:\n"                                                        \
		".byte 0\n"                                                                        \
		".popsection\n");                                                                  \
	extern __attribute__((visibility("hidden"))) const unsigned char embedded_##name[],        \
		embedded_##name##_end[];                                                           \
	const struct ps_object ps_object_##name = { embedded_##name, embedded_##name##_end }

EMBED(bind);
EMBED(connect);
EMBED(datagram);

/* A gzip file ends with the size of what is in it, 32 bits, little-endian (RFC 1952). */
static size_t unpacked_size(const struct ps_object *object)
{
	const unsigned char *tail = object->end - 4;

	return tail[0] | (size_t)tail[1] << 8 | (size_t)tail[2] << 16 | (size_t)tail[3] << 24;
}

int ps_object_unpack(const struct ps_object *object, void **elf, size_t *size)
{
	size_t room = unpacked_size(object);
	_cleanup_free_ void *bytes = malloc(room + 1);
	z_stream stream = { .next_in = (Bytef *)object->begin,
			    .avail_in = (uInt)(object->end - object->begin),
			    .next_out = bytes,
			    .avail_out = (uInt)room };
	int ret;

	if (!bytes)
		return -ENOMEM;
	if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) /* 16: gzip */
		return -ENOMEM;
	ret = inflate(&stream, Z_FINISH);
	inflateEnd(&stream);
	if (ret != Z_STREAM_END || stream.total_out != room)
		return -EBADMSG;
	*elf = bytes;
	*size = room;
	bytes = NULL;
	return 0;
}
