/* SPDX-License-Identifier: GPL-2.0-only */
/* What is known of this process and this host when bpf(2) fails (user/os/why.h). */
#ifndef PORTSTEER_FACTS_H
#define PORTSTEER_FACTS_H

#include "os/why.h"

void ps_facts_read(struct ps_facts *facts);

/* The kernel refused to load `what`: "cannot load WHAT: why; what to do". Returns -err. */
int ps_fail_load(struct ps_error *error, int err, const char *what);

#endif
