/* SPDX-License-Identifier: GPL-2.0-only */
/* Arrays that grow. */
#ifndef PORTSTEER_ARRAY_H
#define PORTSTEER_ARRAY_H

#include <stddef.h>

/* Room for one more item of `size` bytes in *items, which has `count` of them and room for *room:
 * 0, or -ENOMEM, and nothing is changed. */
int ps_grow(void **items, size_t *room, size_t count, size_t size);

#endif
