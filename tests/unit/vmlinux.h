/* SPDX-License-Identifier: GPL-2.0-only */
/* In place of the kernel's types where a test includes BPF programs: what user space has. */
#include <linux/bpf.h>
#include <linux/types.h>
