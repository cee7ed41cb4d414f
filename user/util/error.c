// SPDX-License-Identifier: GPL-2.0-only
#include "util/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "util/text.h"

int ps_fail(struct ps_error *error, enum ps_exit status, int err, const char *format, ...)
{
	char text[sizeof(error->message)];
	va_list args;

	if (!error)
		return -err;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	text[ps_utf8_cut(text, sizeof(text) - 1)] = '\0';
	error->status = status;
	ps_printable_message(text, error->message, sizeof(error->message));
	return -err;
}
