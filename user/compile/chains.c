// SPDX-License-Identifier: GPL-2.0-only
#include "compile/chains.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

enum { MOST_HEADS = 65536, MAX_CHAIN = 64 };

static bool has_long_chain(const uint32_t *hashes, size_t count, uint32_t heads,
			   unsigned char *length)
{
	memset(length, 0, heads);
	for (size_t i = 0; i < count; i++) {
		if (++length[hashes[i] & (heads - 1)] > MAX_CHAIN)
			return true;
	}
	return false;
}

/* How many heads there have to be; 0 if there is no memory. */
static uint32_t count_heads(const uint32_t *hashes, size_t count)
{
	_cleanup_free_ unsigned char *length = calloc(MOST_HEADS, 1);
	uint32_t heads = 1;

	if (!length)
		return 0;
	while (heads < MOST_HEADS && heads < count)
		heads *= 2;
	while (heads < MOST_HEADS && has_long_chain(hashes, count, heads, length))
		heads *= 2;
	return heads;
}

static uint32_t *field(char *table, const struct ps_chain_form *form, size_t index, size_t offset)
{
	return (void *)(table + index * form->size + offset);
}

int ps_chains_build(const struct ps_chain_form *form, const uint32_t *hashes, const void *records,
		    size_t count, void **table, size_t *total)
{
	uint32_t heads = count_heads(hashes, count);
	char *made = heads ? calloc(heads + count, form->size) : NULL;

	if (!made)
		return -ENOMEM;
	if (count)
		memcpy(made + heads * form->size, records, count * form->size);
	*field(made, form, 0, form->heads) = heads;
	for (size_t i = 0; i < count; i++) {
		uint32_t *head = field(made, form, hashes[i] & (heads - 1), form->next);

		*field(made, form, heads + i, form->next) = *head;
		*head = (uint32_t)(heads + i);
	}
	*table = made;
	*total = heads + count;
	return 0;
}
