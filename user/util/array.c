// SPDX-License-Identifier: GPL-2.0-only
#include "util/array.h"

#include <errno.h>
#include <stdlib.h>

int ps_grow(void **items, size_t *room, size_t count, size_t size)
{
	size_t more = *room ? 2 * *room : 64;
	void *grown;

	if (count < *room)
		return 0;
	grown = reallocarray(*items, more, size);
	if (!grown)
		return -ENOMEM;
	*items = grown;
	*room = more;
	return 0;
}
