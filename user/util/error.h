/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What went wrong, for the one line that the command prints. Library functions
 * return a negative errno and, where a user can cause the failure, describe it
 * here; they never print.
 */
#ifndef PORTSTEER_ERROR_H
#define PORTSTEER_ERROR_H

/* Exit statuses (docs: portsteer(8), "EXIT STATUS"). */
enum ps_exit {
	PS_EXIT_OK = 0,
	PS_EXIT_FAILED = 1,
	PS_EXIT_USAGE = 2,
	PS_EXIT_NOT_LOADED = 3,
	PS_EXIT_NOT_PERMITTED = 4,
	PS_EXIT_UNSUPPORTED = 5,
};

/* An error: message is "what: why; what to do" on one line, without a newline.
 * Control characters of user input are escaped by ps_fail; backslashes stay, so
 * that what was escaped before is not escaped again. */
struct ps_error {
	enum ps_exit status;
	char message[1024];
};

/* Describe a failure and return -err. `error` may be NULL. The exit status is
 * kept as given; the text is cut to fit and never contains control characters. */
int ps_fail(struct ps_error *error, enum ps_exit status, int err, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif
