// SPDX-License-Identifier: GPL-2.0-only
#include "cli/table.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/array.h"
#include "util/text.h"

/* Room for one more item; false if there is no memory. */
static bool grow(struct ps_table *table, void **items, size_t count, size_t *room, size_t size)
{
	int ret = ps_grow(items, room, count, size);

	table->failed |= ret != 0;
	return !ret;
}

static char *copy(struct ps_table *table, const char *text)
{
	char *copied = strdup(text);

	table->failed |= !copied;
	return copied;
}

void ps_table_column(struct ps_table *table, const char *head)
{
	table->heads[table->columns++] = head;
}

void ps_table_add(struct ps_table *table, const char *text)
{
	if (grow(table, (void **)&table->cells, table->count, &table->room, sizeof(*table->cells)))
		table->cells[table->count++] = copy(table, text);
}

static void format_text(char *text, size_t size, const char *format, va_list args)
{
	vsnprintf(text, size, format, args);
	text[ps_utf8_cut(text, size - 1)] = '\0';
}

void ps_table_addf(struct ps_table *table, const char *format, ...)
{
	char text[4096];
	va_list args;

	va_start(args, format);
	format_text(text, sizeof(text), format, args);
	va_end(args);
	ps_table_add(table, text);
}

void ps_table_linef(struct ps_table *table, const char *format, ...)
{
	char text[4096];
	va_list args;

	va_start(args, format);
	format_text(text, sizeof(text), format, args);
	va_end(args);
	if (grow(table, (void **)&table->lines, table->line_count, &table->line_room,
		 sizeof(*table->lines)))
		table->lines[table->line_count++] = (struct ps_table_line){
			.row = table->count / table->columns - 1,
			.text = copy(table, text),
		};
}

/* How wide each column is, 0 for one that is folded. */
struct layout {
	size_t widths[PS_COLUMNS];
};

static void measure(const struct ps_table *table, struct layout *layout)
{
	for (size_t c = 0; c < table->columns; c++)
		layout->widths[c] = ps_text_width(table->heads[c]);
	for (size_t i = 0; i < table->count; i++) {
		size_t width = ps_text_width(table->cells[i]), *most;

		most = &layout->widths[i % table->columns];
		*most = width > *most ? width : *most;
	}
}

static size_t total(const struct ps_table *table, const struct layout *layout)
{
	size_t sum = 0;

	for (size_t c = 0; c < table->columns; c++)
		sum += layout->widths[c] ? layout->widths[c] + 2 : 0;
	return sum ? sum - 2 : 0;
}

/* Fold the widest columns that may be, until the rest is no wider than it should be. */
static void fold(const struct ps_table *table, struct layout *layout)
{
	while (total(table, layout) > PS_WIDTH) {
		size_t widest = PS_COLUMNS;

		for (size_t c = 0; c < table->columns; c++) {
			if (table->folds[c] && layout->widths[c] &&
			    (widest == PS_COLUMNS || layout->widths[c] > layout->widths[widest]))
				widest = c;
		}
		if (widest == PS_COLUMNS)
			return;
		layout->widths[widest] = 0;
	}
}

static void print_row(const struct ps_table *table, const char *const *cells,
		      const struct layout *layout)
{
	size_t last = table->columns - 1;

	while (last && (!layout->widths[last] || !*cells[last]))
		last--;
	for (size_t c = 0; c <= last; c++) {
		int pad = (int)(layout->widths[c] - ps_text_width(cells[c]));

		if (!layout->widths[c])
			continue;
		if (table->right[c])
			printf("%*s%s", pad, "", cells[c]);
		else
			printf("%s%*s", cells[c], c == last ? 0 : pad, "");
		fputs(c == last ? "" : "  ", stdout);
	}
}

/* "  client cgroup: /kubepods.slice/..." */
static void print_folded(const struct ps_table *table, size_t column, const char *cell)
{
	char text[4 * PS_WIDTH + 4];
	size_t left = PS_WIDTH - strlen("  : ") - strlen(table->heads[column]);

	if (!strcmp(cell, "-"))
		return;
	fputs("  ", stdout);
	for (const char *c = table->heads[column]; *c; c++)
		putchar(tolower(*c));
	if (!table->whole && ps_text_width(cell) > left) {
		ps_shorten(cell, left, text, sizeof(text));
		cell = text;
	}
	printf(": %s\n", cell);
}

static void print_all(const struct ps_table *table, bool color)
{
	struct layout layout = {};
	size_t line = 0;

	if (!table->columns)
		return;
	measure(table, &layout);
	fold(table, &layout);
	fputs(color ? "\033[1m" : "", stdout);
	print_row(table, table->heads, &layout);
	puts(color ? "\033[0m" : "");
	for (size_t row = 0; (row + 1) * table->columns <= table->count; row++) {
		const char *const *cells = (const char *const *)table->cells + row * table->columns;

		print_row(table, cells, &layout);
		putchar('\n');
		for (size_t c = 0; c < table->columns; c++) {
			if (!layout.widths[c])
				print_folded(table, c, cells[c]);
		}
		for (; line < table->line_count && table->lines[line].row == row; line++)
			printf("  %s\n", table->lines[line].text);
	}
}

void ps_table_print(struct ps_table *table, bool color)
{
	if (!table->failed)
		print_all(table, color);
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	for (size_t i = 0; i < table->line_count; i++)
		free(table->lines[i].text);
	free(table->cells);
	free(table->lines);
	table->cells = NULL;
	table->lines = NULL;
	table->count = table->room = table->line_count = table->line_room = 0;
}
