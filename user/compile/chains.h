/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The hashes with chains that the BPF programs walk (bpf/abi.h, "Admission records"), from
 * records of any kind. Pure.
 */
#ifndef PORTSTEER_CHAINS_H
#define PORTSTEER_CHAINS_H

#include <stddef.h>
#include <stdint.h>

/* Where a kind of record has what makes it one of a chain, in bytes. */
struct ps_chain_form {
	size_t size; /* of a record */
	size_t next; /* of the index of the next one, 32 bits */
	size_t heads; /* of the number of chains, 32 bits; in record 0 */
};
#define PS_CHAIN_FORM(type, heads_field)                                                           \
	{                                                                                          \
		sizeof(type), offsetof(type, next), offsetof(type, heads_field)                    \
	}

/*
 * Lay out copies of `count` records, whose hashes these are: first the heads of the chains, a
 * power of two up to 65536 of them, so that no chain is longer than half of what the programs
 * walk, if that can be; then the records, in their order. In a chain the last of them comes
 * first. 0 or -ENOMEM; *table is allocated, and has *total records: *total - count are heads.
 */
int ps_chains_build(const struct ps_chain_form *form, const uint32_t *hashes, const void *records,
		    size_t count, void **table, size_t *total);

#endif
