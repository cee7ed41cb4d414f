/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Programs of others on the hooks that portsteer uses. They may have the last word on what ours
 * have decided, and one that was attached for itself alone lets nobody else in.
 */
#ifndef PORTSTEER_OTHERS_H
#define PORTSTEER_OTHERS_H

#include <stddef.h>
#include <stdint.h>

#include <linux/bpf.h>

#include "util/bpf_types.h"
#include "util/error.h"

struct ps_netns;

/* When it runs. */
enum ps_order {
	PS_ORDER_ALONE, /* ours is not there */
	PS_ORDER_BEFORE, /* before ours */
	PS_ORDER_AFTER, /* after ours */
};

struct ps_other {
	uint32_t program; /* id */
	char name[16]; /* as it is, maybe "" */
	enum bpf_attach_type type;
	char cgroup[PS_CGROUP_PATH]; /* where ours is, too; "": the network namespace */
	enum ps_order order;
};
struct ps_others {
	struct ps_other *items; /* owned */
	size_t count;
};
void ps_others_clear(struct ps_others *others);

/* Those on the namespace's sk_lookup, and on a cgroup ("/a", "/" for the root) or above it. They
 * are added, each once a hook. 0, -ENOMEM, or -EPERM without the right to look. */
int ps_others_on_netns(const struct ps_netns *netns, struct ps_others *others);
int ps_others_on_cgroup(const char *cgroup, enum bpf_attach_type type, struct ps_others *others);

/* "bind4": what is also a word of bpftool(8), for the types that portsteer uses. */
const char *ps_hook_name(enum bpf_attach_type type);
const char *ps_order_word(enum ps_order order);

/* A program could not be attached (err: negative, from the kernel) to a cgroup ("/a", "" or "/"
 * for the root), or to the network namespace: says which program is in the way, if one is.
 * Returns err. */
int ps_fail_attach_cgroup(struct ps_error *error, int err, enum bpf_attach_type type,
			  const char *cgroup);
int ps_fail_attach_netns(struct ps_error *error, int err);

#endif
