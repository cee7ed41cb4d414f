/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What all instances share: the maps by which the host-wide programs find an
 * instance, and those programs. All of it is under host/ in the state folder.
 */
#ifndef PORTSTEER_HOST_H
#define PORTSTEER_HOST_H

#include <stdint.h>

#include "kernel/hooks.h"
#include "kernel/host_fd.h"
#include "util/bpf_types.h"
#include "util/error.h"

struct ps_host {
	int fd[PS_HOST_FDS];
	struct ps_instance *instances; /* mapped, PS_MAX_INSTANCES of them */
	uint32_t *client_filter; /* mapped: one bit for each port for which there may be flows */
	struct ps_hooks hooks; /* bind mode's part, if it is loaded */
};
#define PS_HOST_NONE                                                                               \
	{                                                                                          \
		.fd = { [0 ... PS_HOST_FDS - 1] = -1 }, .hooks = PS_HOOKS_NONE                     \
	}

/* Open the shared objects: 0, -ESRCH (PS_EXIT_NOT_LOADED) if there are none,
 * -EPROTO (message says what to do) if they are another version's. */
int ps_host_open(struct ps_host *host, struct ps_error *error);
/* The same, after loading them if there are none. host->hooks.takeover may be set, and stays.
 * Needs the lock. */
int ps_host_load(struct ps_host *host, struct ps_error *error);
void ps_host_close(struct ps_host *host);

/* Load the shared programs anew, with the maps of those that are loaded; they are added to
 * `swap`. */
struct ps_swap;
int ps_host_swap(const struct ps_host *host, struct ps_swap *swap, struct ps_error *error);

/* The object file of the shared programs. */
const void *ps_host_elf(size_t *size);

/* Remove the shared objects and the state folder itself. Needs the lock. */
int ps_host_remove(void);

/* The index of the instance of a namespace: 0 .. , or -ESRCH. */
int ps_host_find(const struct ps_host *host, uint64_t cookie);
/* An index that no namespace has, or -ENOSPC. */
int ps_host_free_index(const struct ps_host *host);
/* Call fn for each namespace; a non-zero result ends the walk. */
int ps_host_each(const struct ps_host *host, int (*fn)(uint64_t cookie, uint32_t index, void *data),
		 void *data);

/* One 64-bit store that the programs see whole: after all that was stored before, and before all
 * that is loaded or stored after it (bpf/order.h, 1 and 3). */
static inline void ps_store(__u64 *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}
static inline uint64_t ps_fetch(const __u64 *word)
{
	return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

#endif
