/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's fixed-width types for the shared ABI header; nothing else. */
#ifndef PORTSTEER_BPF_TYPES_H
#define PORTSTEER_BPF_TYPES_H

#include <linux/types.h>

#include "bpf/abi.h"

#endif
