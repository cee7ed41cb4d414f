// SPDX-License-Identifier: GPL-2.0-only
/*
 * bpf/instance.bpf.c for a verifier that takes no pointers to global functions of sk_lookup
 * programs (Linux 5.10). It follows each way through static ones, so that what they
 * return is made a number that can be any, lest each value is a way of its own.
 */
#include <stdbool.h>
#include <stddef.h>

#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#define PS_PART static __noinline
#define PS_RESULT(x) any_number(x)
/* One way more through all that follows would be too many. */
#define PS_AGAIN false

static __always_inline int any_number(int x)
{
	volatile int told = x;
	int untold;

	bpf_probe_read_kernel(&untold, sizeof(untold), (const void *)&told);
	return untold;
}

#include "instance.bpf.c"
