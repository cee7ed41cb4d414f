/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For tests that include BPF code, to see what the kernel cannot be made to do: between two
 * looks at a target's places its listener is replaced by another. Places are all that the
 * mocked maps have; each test says which map has which.
 */
#ifndef PORTSTEER_BPF_MOCK_H
#define PORTSTEER_BPF_MOCK_H

#include "unit.h"

#undef AF_INET
#undef AF_INET6

#include "vmlinux.h"

/* Tests that need it have macros of their own in place of this header's. */
#define __BPF_CORE_READ_H__

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi.h"

/* It has what programs need that are written for another compiler. */
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wsign-compare"

enum { MOCK_PLACES = PS_SLOTS + 5, MOCK_TARGET = 3 };

static struct bpf_sock *mock_place[MOCK_PLACES];
static struct bpf_sock mock_old, mock_new;
static struct ps_instance mock_instance;
static struct ps_target_state mock_state;
/* Where the listener goes once that place has been seen to be vacant so many times; -1: it stays. */
static int mock_moves_to, mock_looks;

static void mock_use(unsigned int place)
{
	mock_state.used[0][place / 64] |= 1ULL << place % 64;
}

/* What is at a place, seen before it changes. */
static struct bpf_sock *mock_look(unsigned int place)
{
	struct bpf_sock *seen = place < MOCK_PLACES ? mock_place[place] : NULL;

	if ((int)place != mock_moves_to || seen || --mock_looks > 0)
		return seen;
	memset(mock_place, 0, sizeof(mock_place));
	mock_place[place] = &mock_new;
	mock_use(place);
	mock_moves_to = -1;
	return seen;
}

/* The old listener at `from`; the new one comes to `to`. */
static void mock_set(unsigned int from, int to)
{
	memset(mock_place, 0, sizeof(mock_place));
	memset(&mock_state, 0, sizeof(mock_state));
	mock_old.state = mock_new.state = BPF_TCP_LISTEN;
	mock_place[from] = &mock_old;
	mock_use(from);
	mock_moves_to = to;
	mock_looks = 1;
}

/* What every program has maps of; NULL for other maps. */
static void *mock_shared(const void *map, const void *map_of_instances, const void *map_of_targets)
{
	static char chunk;

	if (map == map_of_instances)
		return &mock_instance;
	if (map == map_of_targets)
		return &chunk;
	return map == &chunk ? &mock_state : NULL;
}

static void *mock_map_lookup(void *map, const void *key);

#define bpf_map_lookup_elem mock_map_lookup
#define bpf_sk_release(sk) ((void)(sk))
#define bpf_jiffies64() 1ULL

#endif
