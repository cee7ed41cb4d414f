/* SPDX-License-Identifier: GPL-2.0-only */
/* Text in columns, as wide as they need to be. */
#ifndef PORTSTEER_TABLE_H
#define PORTSTEER_TABLE_H

#include <stdbool.h>
#include <stddef.h>

enum { PS_COLUMNS = 24 };

struct ps_table {
	size_t columns;
	const char *heads[PS_COLUMNS];
	bool right[PS_COLUMNS]; /* numbers are aligned to the right */
	char **cells; /* row by row, owned */
	size_t count, room;
	bool failed; /* out of memory */
};

/* Append a cell (copied). */
void ps_table_add(struct ps_table *table, const char *text);
void ps_table_addf(struct ps_table *table, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Write all rows to standard output, the heads bold if `color`, and free them. */
void ps_table_print(struct ps_table *table, bool color);

#endif
