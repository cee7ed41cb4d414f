/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Text in columns, as wide as they need to be, with lines of their own below a row. What makes a
 * table wider than PS_WIDTH, and need not be beside the rest, becomes such a line.
 */
#ifndef PORTSTEER_TABLE_H
#define PORTSTEER_TABLE_H

#include <stdbool.h>
#include <stddef.h>

enum { PS_COLUMNS = 24, PS_WIDTH = 100 };

/* Text below a row. */
struct ps_table_line {
	size_t row; /* counted from 0 */
	char *text; /* owned */
};

struct ps_table {
	size_t columns;
	const char *heads[PS_COLUMNS];
	bool right[PS_COLUMNS]; /* numbers are aligned to the right */
	bool folds[PS_COLUMNS]; /* may become "  head: cell" below each row; "-" is left out there */
	bool whole; /* there nothing is shortened */
	char **cells; /* row by row, owned */
	size_t count, room;
	struct ps_table_line *lines; /* in the order of the rows */
	size_t line_count, line_room;
	bool failed; /* out of memory */
};

/* Append a column. */
void ps_table_column(struct ps_table *table, const char *head);

/* Append a cell (copied). */
void ps_table_add(struct ps_table *table, const char *text);
void ps_table_addf(struct ps_table *table, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Put a line below the last row; it is not shortened. */
void ps_table_linef(struct ps_table *table, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Write all rows to standard output, the heads bold if `color`, and free them. */
void ps_table_print(struct ps_table *table, bool color);

#endif
