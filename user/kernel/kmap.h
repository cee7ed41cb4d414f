/* SPDX-License-Identifier: GPL-2.0-only */
/* Maps of maps, and arrays written in one go. All functions return 0, a
 * descriptor where they say so, or a negative errno. */
#ifndef PORTSTEER_KMAP_H
#define PORTSTEER_KMAP_H

#include <stdint.h>

#include <bpf/bpf.h>

/* Open the inner map at `key` of a map of maps: a descriptor or -ENOENT. */
int ps_inner_open(int outer, const void *key);

/* Make a map; `name` is without the prefix. */
int ps_map_make(enum bpf_map_type type, const char *name, uint32_t key_size, uint32_t value_size,
		uint32_t entries, uint32_t flags);

/* Entries of a map. */
int ps_map_entries(int fd, uint32_t *entries);

/* Write `count` values from index first, first + step, ... of an array. */
int ps_array_write(int fd, uint32_t first, uint32_t step, const void *values, uint32_t value_size,
		   uint32_t count);

/* Put many inner maps into a map of maps by u32 key, with one wait for readers
 * where the kernel can do that. */
int ps_outer_write(int outer, const uint32_t *keys, const int *fds, uint32_t count);

/* Wait until each program that is running has ended: what is replaced is not used any more
 * by then. */
int ps_wait_for_programs(void);

#endif
