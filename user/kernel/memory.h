/* SPDX-License-Identifier: GPL-2.0-only */
/* How much kernel memory our objects take. */
#ifndef PORTSTEER_MEMORY_H
#define PORTSTEER_MEMORY_H

#include <stdint.h>

/* Bytes of all maps and programs of our ABI on this host, as the kernel accounts
 * them ("memlock" in fdinfo; exact since Linux 6.4). */
uint64_t ps_memory(void);

#endif
