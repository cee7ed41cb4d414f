/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What every header of the programs may take for granted: the kernel's types, libbpf's helpers,
 * abi.h, and the constants that are macros in the kernel, which vmlinux.h does not have.
 */
#ifndef PORTSTEER_COMMON_H
#define PORTSTEER_COMMON_H

#include <stdbool.h>
#include <stddef.h>

#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "order.h"

#define EAGAIN 11
#define ENOMEM 12
#define EBUSY 16
#define EEXIST 17
#define EAFNOSUPPORT 97
#define ECONNREFUSED 111

#ifndef AF_INET
#define AF_INET 2
#define AF_INET6 10
#endif

/* User space keeps chains of records to half of this. */
#define PS_CHAIN 128

/* A filter of ports: may say yes for a port that has just lost its rule, never no for one that has
 * one (order.h, 6). */
static __always_inline bool has_port(const __u32 *filter, __u32 port)
{
	return READ_ONCE(filter[(port >> 5) & (65536 / 32 - 1)]) >> (port & 31) & 1;
}

/*
 * A global function: the verifier looks at it once, with any arguments, and not again at each
 * call. Loop bodies and what is seldom needed are such functions; with everything inlined it
 * would follow millions of instructions. Its arguments are numbers, or pointers to a context or
 * to a struct; a pointer to a kernel object is handed down as a number, and read by
 * BPF_CORE_READ. All frames of a call share 512 bytes of stack.
 */
#define PS_GLOBAL __noinline

/* A field of a program's context. The verifier wants each one read at its own offset and size;
 * the compiler would merge the reads of two branches, or make them narrower. */
#define ps_ctx(field) (*(volatile typeof(field) *)&(field))
/* An IPv6 address there, into four words. */
#define ps_ctx_ip6(to, field)                                                                      \
	((to)[0] = ps_ctx((field)[0]), (to)[1] = ps_ctx((field)[1]), (to)[2] = ps_ctx((field)[2]), \
	 (to)[3] = ps_ctx((field)[3]))

/* A map of maps by number. */
#define PS_ARRAY_OF_MAPS(inner, entries)                                                           \
	{                                                                                          \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);                                          \
		__uint(max_entries, entries);                                                      \
		__type(key, __u32);                                                                \
		__array(values, inner);                                                            \
	}

/* What a map has under a number, NULL if there is no map. The compiler must not make one call of
 * two: of a call with one map the verifier makes an inlined lookup, of one with either of two it
 * cannot. */
static __always_inline void *entry_of(void *map, __u32 index)
{
	void *entry = NULL;

	if (map) {
		entry = bpf_map_lookup_elem(map, &index);
		barrier_var(entry);
	}
	return entry;
}

#endif
