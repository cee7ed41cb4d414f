/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which build has loaded what is loaded. Every build pins a record as host/build, whose form
 * never changes: by it builds recognise their own layout, and read the rules of any other.
 *
 * Builds of one layout (PORTSTEER_ABI) agree about every map, so that each works with what the
 * other has loaded; they differ in their programs, of which `id` tells. Of another layout a
 * build reads no more than this:
 *
 *   host/instances             array by instance; its element has the ruleset word, whose lower
 *                              32 bits are the generation; 0 is "not loaded"
 *   host/netns                 hash: 64-bit cookie of a namespace -> 32-bit instance
 *   host/SET/                  links to cgroups
 *   host/bind/bound, host/trails
 *                              what sockets carry, if its layout's own number is the same
 *   ns-COOKIE/rules-GENERATION the rules, see user/compile/state.c
 *   ns-COOKIE/alive            map of devices, see user/engine/lifecycle.c
 *   ns-COOKIE/link             link to the network namespace, if there is a steer rule
 *   ns-COOKIE/                 maps of sockets (and arrays of such): listeners
 */
#ifndef PORTSTEER_BUILD_H
#define PORTSTEER_BUILD_H

#include "util/bpf_types.h"
#include "util/error.h"

#define PS_BUILD_MAGIC 0x44425350u /* "PSBD" */
enum { PS_BUILD_VERSION = 2 };

/* Numbers are in the machine's byte order. Padding is 0. */
struct ps_build {
	__u32 magic, version;
	__u32 abi; /* the layout's number */
	__u32 rules; /* PS_STATE_VERSION */
	__u64 id; /* of the programs */
	__u32 instance_size, instance_word; /* of host/instances: bytes, and where the word is */
	__u32 bound, trails; /* numbers of these layouts */
	__u32 reserved[54];
};
_Static_assert(sizeof(struct ps_build) == 256, "known to all builds");

/* This build, and its record as a pin: an older one is replaced at one instant. */
void ps_build_own(struct ps_build *build);
int ps_build_pin(const char *path);

/* Whose the state in a folder is: 0; -ENOENT if there is none; -EPROTO if it is one that
 * cannot be read, with a message. */
int ps_build_read(const char *folder, struct ps_build *build, struct ps_error *error);

#endif
