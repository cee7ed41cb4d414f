/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Why the kernel refuses what portsteer asks of bpf(2): the error number says little, as the
 * verifier, a lack of rights and a security module give the same ones. What is known of the
 * process and the host says more. Pure; user/os/refusal_facts.c finds the facts.
 */
#ifndef PORTSTEER_REFUSAL_H
#define PORTSTEER_REFUSAL_H

#include <stdbool.h>

#include "util/error.h"

/* What is known of this process and this host. */
struct ps_facts {
	bool root; /* uid 0 with the capabilities of ps_rights() */
	bool user_namespace; /* not in the first one: the capabilities count there alone */
	bool sysfs; /* is mounted on /sys */
	bool btf; /* the kernel's types can be read */
	bool confidential; /* lockdown of the kernel, in that mode */
	bool seccomp; /* a filter of system calls is in force for this process */
	bool selinux; /* enforces its policy */
	char apparmor[64]; /* the profile that confines this process, "": none */
	char release[64]; /* of the kernel, as uname -r has it */
};

struct ps_why {
	enum ps_exit status;
	char why[320]; /* "kernel lockdown is in mode 'confidentiality', ..." */
	char advice[256]; /* "boot with ..." */
};

/* Why bpf(2) failed with `err` (positive), as far as can be told. */
void ps_why(int err, const struct ps_facts *facts, struct ps_why *why);

/* What a process needs to be given, as the rest of a sentence: "run portsteer as root with ...". */
const char *ps_rights(void);

#endif
