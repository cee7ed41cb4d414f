/* SPDX-License-Identifier: GPL-2.0-only */
/* What a kernel calls the context of sk_lookup programs. */
#ifndef PORTSTEER_CONTEXT_H
#define PORTSTEER_CONTEXT_H

#include <stdbool.h>

struct bpf_object;

/* May the kernel have refused an sk_lookup program for its context's name? `ret` is what
 * loading it said, a negative errno or 0. */
bool ps_context_may_be_misnamed(int ret);

/*
 * Give the context, in an object that is opened and not loaded, the name by which Linux
 * before 5.14 knows it. The code is the same. There, the table that leads from program types
 * to names (bpf_ctx_convert_map, kernel/bpf/btf.c) ends with a 0 that is to keep it from
 * being empty; it comes after a list whose last line is not about the last type, and so it
 * is the entry of the last one, sk_lookup: the entry says "as the first name", __sk_buff.
 * 0, -ENOENT if the object has no such context, or another -errno.
 */
int ps_context_rename(struct bpf_object *object);

#endif
