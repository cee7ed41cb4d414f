/* SPDX-License-Identifier: GPL-2.0-only */
/* Bind mode's own maps. */
#ifndef PORTSTEER_BIND_MAPS_H
#define PORTSTEER_BIND_MAPS_H

#include "common.h"

/* Per instance: bind records, grown by replacement. */
struct ps_binds_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__uint(value_size, sizeof(struct ps_bind));
};
struct PS_ARRAY_OF_MAPS(struct ps_binds_inner, PS_MAX_INSTANCES) ps_binds SEC(".maps");

/* On each socket that was bound through a rule. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct ps_bound);
} ps_bound SEC(".maps");

#endif
