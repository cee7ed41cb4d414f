// SPDX-License-Identifier: GPL-2.0-only
#include "cli/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ps_table_add(struct ps_table *table, const char *text)
{
	if (table->count == table->room) {
		size_t room = table->room ? 2 * table->room : 64;
		void *grown = reallocarray(table->cells, room, sizeof(*table->cells));

		table->failed |= !grown;
		if (!grown)
			return;
		table->cells = grown;
		table->room = room;
	}
	table->cells[table->count] = strdup(text);
	table->failed |= !table->cells[table->count];
	table->count++;
}

void ps_table_addf(struct ps_table *table, const char *format, ...)
{
	char text[4096];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ps_table_add(table, text);
}

/* Characters, of which a terminal shows one in each column (not so for the wide
 * ones of East Asia). */
static size_t width(const char *text)
{
	size_t count = 0;

	for (; *text; text++)
		count += ((unsigned char)*text & 0xc0) != 0x80;
	return count;
}

static void print_row(const struct ps_table *table, const char *const *cells, const size_t *widths)
{
	size_t last = table->columns - 1;

	while (last && !*cells[last])
		last--;
	for (size_t c = 0; c <= last; c++) {
		int pad = (int)(widths[c] - width(cells[c]));

		if (table->right[c])
			printf("%*s%s", pad, "", cells[c]);
		else
			printf("%s%*s", cells[c], c == last ? 0 : pad, "");
		fputs(c == last ? "" : "  ", stdout);
	}
}

static void print_all(const struct ps_table *table, bool color)
{
	size_t widths[PS_COLUMNS] = {};

	if (!table->columns)
		return;
	for (size_t c = 0; c < table->columns; c++)
		widths[c] = width(table->heads[c]);
	for (size_t i = 0; i < table->count; i++) {
		size_t w = width(table->cells[i]), c = i % table->columns;

		widths[c] = w > widths[c] ? w : widths[c];
	}
	fputs(color ? "\033[1m" : "", stdout);
	print_row(table, table->heads, widths);
	puts(color ? "\033[0m" : "");
	for (size_t i = 0; i + table->columns <= table->count; i += table->columns) {
		print_row(table, (const char *const *)table->cells + i, widths);
		putchar('\n');
	}
}

void ps_table_print(struct ps_table *table, bool color)
{
	if (!table->failed)
		print_all(table, color);
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	table->cells = NULL;
	table->count = table->room = 0;
}
