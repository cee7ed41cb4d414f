/* SPDX-License-Identifier: GPL-2.0-only */
/* What is known of this process and this host when bpf(2) fails (user/os/refusal.h). */
#ifndef PORTSTEER_REFUSAL_FACTS_H
#define PORTSTEER_REFUSAL_FACTS_H

#include "os/refusal.h"

void ps_facts_read(struct ps_facts *facts);

/* The kernel refused to load `what`: "cannot load WHAT: why; what to do". Returns -err. */
int ps_fail_load(struct ps_error *error, int err, const char *what);

/* Does the process lack what portsteer needs? Fills the error of a failed
 * bpf() or mount() call by its errno: EPERM -> PS_EXIT_NOT_PERMITTED and so on. */
int ps_fail_kernel(struct ps_error *error, int err, const char *what);

#endif
