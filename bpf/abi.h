/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the BPF programs and the user-space tool agree on: every value that one
 * side writes and the other reads. The including file provides __u8 .. __u64.
 *
 * Byte order: ports are in host byte order everywhere in this file, addresses
 * are in network byte order. Every struct is free of implicit padding, and its
 * size is asserted below. A change to anything here is a change of
 * PORTSTEER_ABI.
 */
#ifndef PORTSTEER_ABI_H
#define PORTSTEER_ABI_H

#ifdef __bpf__
#include "vmlinux.h"
#else
#include <linux/types.h>
#endif

/* The number of this layout. A build that was made with PS_OTHER_LAYOUT (make VARIANT=layout)
 * has another one, for the tests of upgrade: fields are elsewhere, and maps have other sizes. */
#ifndef PS_OTHER_LAYOUT
#define PORTSTEER_ABI 7
#define PS_SPARE(count)
#else
#define PORTSTEER_ABI 9999
#define PS_SPARE(count) __u64 spare[count];
#endif
/* Kernel objects are called by this prefix and their pin's name ("ps_netns"), in every layout: of
 * which one they are is in the state (user/kernel/build.h) and in the mark (user/kernel/mark.h). */
#define PORTSTEER_PREFIX "ps_"
/* An upgrade hands these on, whatever the layout: the maps "bound" and "trails", whose layouts have
 * numbers of their own (a change of struct ps_bound, of what its rule means, or of struct ps_trail
 * is a new one), and "alive". user/kernel/build.h says what else builds of different layouts know of each
 * other. */
enum { PS_BOUND_LAYOUT = 1, PS_TRAILS_LAYOUT = 3 };

/* Limits. Every one is checked in user space before anything is built. */
enum {
	PS_MAX_INSTANCES = 1024,
	PS_MAX_RULES = 200000, /* rules of one instance, a range counting as one */
	PS_MAX_PREFIXES = 131072, /* (prefix, front port) pairs of one instance */
	PS_MAX_OWNERS_PER_PORT = 32, /* different owners of one target port */
	PS_MAX_OWNERS = 65536, /* different owners in one instance */
	PS_MAX_BINDS = 131072, /* (bind rule, port) pairs of one instance */
	PS_MAX_BINDS_PER_PORT = 64, /* bind rules that one port is the front or the target of */
	PS_MAX_HOPS = 131072, /* (connect rule, port) pairs of one instance */
	PS_MAX_HOPS_PER_PORT = 64, /* connect rules of one scope for one front port */
	PS_MAX_SCOPES = 16384, /* different scopes in one instance */
	PS_CGROUP_PATH = 1024, /* bytes of an owner's cgroup path, with NUL */
	PS_CGROUP_DEPTH = 16, /* components of an owner's cgroup path */
	PS_CGROUP_WALK = 64, /* depth of the deepest cgroup that can be matched */
};

/*
 * The ruleset word: one 64-bit store of it replaces a ruleset for all hooks.
 *
 *   bits  0..31  generation, never 0; grows by one with each ruleset
 *   bits 32..35  log2 of the number of front buckets, 0..14
 *   bit  36      which half of the double-buffered tables is in force
 *   bits 37..47  life: how many instances have had this index before, modulo 2^11. An
 *                instance begins with generation 1, but its words are not those of the
 *                one before, which sockets and programs may remember
 *   bits 48..63  multiplier of the front hash, odd
 *
 * The word 0 means "not loaded". Example: generation 7, 2^1 buckets, half 1,
 * multiplier 0x9e37: 0x9e37001100000007.
 */
#define PS_WORD_GEN(w) ((__u32)(w))
#define PS_WORD_LOG2(w) ((__u32)((w) >> 32) & 0xf)
#define PS_WORD_HALF(w) ((__u32)((w) >> 36) & 1)
#define PS_WORD_LIFE(w) ((w)&0xffe000000000ULL)
#define PS_WORD_NEXT_LIFE(w) PS_WORD_LIFE(PS_WORD_LIFE(w) + (1ULL << 37))
#define PS_WORD_MULT(w) ((__u32)((w) >> 48))
#define PS_WORD(gen, log2, half, mult)                                                             \
	((__u64)(__u32)(gen) | (__u64)((log2)&0xf) << 32 | (__u64)((half)&1) << 36 |               \
	 (__u64)((mult)&0xffff) << 48)

/* The bucket of a front port. The multiplication by an odd number is a
 * bijection of the 16-bit numbers, so 2^14 buckets of 4 cells hold any set. */
#define PS_BUCKET(port, mult, log2) ((((__u32)(port) * (__u32)(mult)) & 0xffff) >> (16 - (log2)))
#define PS_MAX_LOG2 14

/* One instance as the shared programs see it (map "instances"). */
struct ps_instance {
	PS_SPARE(4)
	__u64 active; /* the ruleset word in force */
	__u64 pending; /* the word being prepared: listeners are admitted for it too */
	__u64 cookie; /* the network namespace's cookie */
	__u64 begun; /* generation of the ruleset that a command prepares, or cleans up behind; 0 */
};

/* What a steered port leads to. A target id is chunk << 20 | index. */
enum ps_front_flags {
	PS_FRONT_USED = 1, /* the cell holds a front port */
	PS_FRONT_DEFAULT = 2, /* rule and target are those of a rule without address */
	PS_FRONT_PREFIX = 4, /* address-prefix rules exist: ask the trie first */
	PS_FRONT_PASS = 8, /* --if-down pass; otherwise refuse */
	PS_FRONT_STRICT = 16, /* an owner with a cgroup: only admitted sockets, see steer.h */
};

/* One front port: 80, used, rule 3, target 0x000002. */
struct ps_front {
	__u16 port;
	__u16 flags; /* enum ps_front_flags */
	__u32 rule; /* index of the rule's hit counters */
	__u32 target;
};

/* A bucket is what one lookup fetches. */
struct ps_bucket {
	PS_SPARE(8)
	struct ps_front cell[4];
	__u64 reserved[2];
};

/*
 * Front buckets: the first PS_FRONT_SMALL of each half are in the map "fronts"
 * (index half * PS_FRONT_SMALL + bucket), which is used when there are no more
 * than that; larger tables are in "fronts_more", PS_FRONT_CHUNK buckets a chunk
 * (chunk number half * PS_FRONT_CHUNKS + bucket / PS_FRONT_CHUNK).
 */
enum {
	PS_FRONT_SMALL_LOG2 = 3,
	PS_FRONT_SMALL = 1 << PS_FRONT_SMALL_LOG2,
	PS_FRONT_CHUNK_LOG2 = 8,
	PS_FRONT_CHUNK = 1 << PS_FRONT_CHUNK_LOG2,
	PS_FRONT_CHUNKS = (1 << PS_MAX_LOG2) / PS_FRONT_CHUNK,
};

/* Key of the prefix trie: 10.0.0.0/8 port 80 is prefixlen 64 + 8. The
 * generation in front keeps the entries of two rulesets apart. */
struct ps_prefix_key {
	__u32 prefixlen; /* bits of what follows that count */
	__u32 generation;
	__u16 port;
	__u16 family; /* 4 or 6 */
	__u8 addr[16]; /* network byte order; IPv4 in the first four bytes */
};
#define PS_PREFIX_FIXED_BITS 64

/*
 * Hits, counted by sk_lookup for each rule and CPU. Rules below PS_HITS_SMALL
 * are in the map "hits", the others in "hits_more", PS_HITS_CHUNK a chunk.
 */
struct ps_hits {
	PS_SPARE(1)
	__u64 steered; /* handed to an admitted listener */
	__u64 missed; /* no live listener of any family */
	__u64 family; /* listeners, but none of the client's address family */
	__u64 device; /* of the family, but all bound to devices that the client does not come by */
	__u64 taken; /* no listener, and another program had given it to a socket of its own */
	__u64 last; /* jiffies of the last of these */
};
#ifndef PS_OTHER_LAYOUT
enum { PS_HITS_SMALL = 32, PS_HITS_CHUNK = 256, PS_HITS_CHUNKS = 1024 };
#else
enum { PS_HITS_SMALL = 4, PS_HITS_CHUNK = 8192, PS_HITS_CHUNKS = 32 };
#endif

/*
 * Places of listeners. Target chunk k holds PS_TARGET_CHUNK(k) targets. Each has PS_SLOTS
 * places that nobody else can take, in the chunk's sockmap (slot index * PS_SLOTS + n). When
 * these are taken it may have PS_OVERFLOW more, in the instance's sockhash "overflow", of
 * which there are PS_OVERFLOW_TOTAL for all targets together.
 * Example: place 3 of target 2 is slot 35; place 20 is { .target = 2, .n = 4 }.
 */
enum { PS_SLOTS = 16, PS_OVERFLOW = 112, PS_OVERFLOW_TOTAL = 1024, PS_TARGET_CHUNKS = 8 };
enum { PS_PLACES = PS_SLOTS + PS_OVERFLOW };
#define PS_TARGET_CHUNK(k) (64u << (2 * (k)))
#define PS_TARGET(chunk, index) ((__u32)(chunk) << 20 | (__u32)(index))
#define PS_TARGET_CHUNK_OF(t) ((t) >> 20)
#define PS_TARGET_INDEX_OF(t) ((t)&0xfffff)

/*
 * What the programs keep of one target: a cache line. Zeroed, and with another epoch, when the
 * id is given to another target.
 *
 * `used` says where to look for a listener, and no more: whose a connection may be is decided
 * by what is in the places alone. A bit is set after a listener has entered the place, and
 * cleared by whoever finds it vacant. Example: used[0][1] bit 2: place 66 serves IPv4.
 */
struct ps_target_state {
	__u64 used[2][PS_PLACES / 64]; /* of IPv4 and of IPv6, a bit for each place */
	/* Listeners; counted atomically. */
	__u64 admitted;
	__u64 denied; /* refused because they are not the owner's */
	__u64 error; /* the sockmap refused them (MPTCP, no place), or the kernel later */
	/* When the id was given to the target, nanoseconds since boot; 0: it has never been given
	 * out. No two owners of an id have the same: what was decided for one is not taken for
	 * another's. */
	__u64 epoch;
};

/*
 * A bind rule's events, in the map "events": rule id r counted through chunks of the same sizes
 * as the targets' is PS_TARGET(PS_RULE_CHUNKS + k, index).
 */
enum { PS_RULE_CHUNKS = PS_TARGET_CHUNKS, PS_EVENTS_CHUNKS = 2 * PS_TARGET_CHUNKS };
struct ps_bind_events {
	__u64 tried; /* binds of the owner's that were sent on to the kernel */
	__u64 denied; /* binds to the front or target port by others */
	__u64 done; /* binds that then succeeded: granted, or translated */
	__u64 last; /* jiffies of the last of those */
	__u64 reserved;
};

/* The same place, for a connect rule. */
struct ps_connect_events {
	__u64 steered; /* connections handed to a listener; to a fixed target: connects, datagrams */
	__u64 missed; /* no live listener of any family */
	__u64 family; /* listeners, but none of the client's address family */
	__u64 last; /* jiffies of the last of these */
	__u64 taken; /* as in struct ps_hits */
};

struct ps_chunk_key {
	__u32 instance;
	__u32 chunk;
};
struct ps_overflow_key {
	__u32 target;
	__u32 n;
};

/*
 * Admission records, a hash by target port with chains. Both halves of the
 * double buffer are interleaved (index * 2 + half), so that a larger map can
 * take the place of a smaller one with the same contents. Records 0 ..
 * buckets - 1 are the heads of chains, used through `next` only; record 0's
 * `buckets` says how many there are (a power of two). 0 ends a chain.
 */
enum ps_admit_flags {
	PS_ADMIT_FRESH = 1, /* a target that the ruleset before did not have */
};
struct ps_admit {
	PS_SPARE(1)
	__u16 port;
	__u16 flags; /* enum ps_admit_flags */
	__u32 next;
	__u32 target;
	__u32 owner; /* index into the owners, or in record 0: number of heads */
};

/*
 * Bind records, a hash by port with chains, laid out as the admission records are. A
 * grant is one record; a translation is two, of its target port (to be translated) and
 * of its front port (to be protected). In a chain the longest prefixes come first, then
 * the most particular owners: the first record that matches is the rule.
 * Example: 53:5300/udp is { .port = 5300, .other = 53, .flags = PS_BIND_ASKED } and
 * { .port = 53, .other = 5300, .flags = PS_BIND_FRONT }.
 */
enum ps_bind_flags {
	PS_BIND_ASKED = 1, /* a port that the owner asks for: a target, or a granted port */
	PS_BIND_FRONT = 2, /* a port that the owner gets */
};
struct ps_bind {
	__u16 port;
	__u16 other; /* of a target port the front port and the other way round */
	__u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 flags; /* enum ps_bind_flags */
	__u8 family; /* of the prefix: 4, 6, or 0 for any address */
	__u8 length; /* of the prefix plus one, 0 for any address */
	__u32 next;
	__u32 owner; /* index into the owners, or in record 0: number of heads */
	__u32 rule; /* where its events are: PS_TARGET(PS_RULE_CHUNKS + k, index) */
	__u32 addr[4]; /* network byte order; IPv4 in the first */
};

/* What a socket that was bound through a rule carries (map "bound"). */
struct ps_bound {
	__u32 instance;
	__u32 rule; /* where its events are */
	__u16 front; /* the port that it really has */
	__u16 target; /* the port that was asked for */
	__u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 reserved[3];
};

/* What a run of ps_marks writes for each such socket. */
struct ps_mark {
	__u64 cookie; /* the socket's */
	struct ps_bound on;
};

/*
 * Connect mode: the scopes of an instance, and for each scope and front port the hop to
 * take. Both are hashes with chains, laid out as the admission records are; a scope's
 * index in them is its number. Scopes are hashed by PS_SCOPE_HASH over their path,
 * hops by PS_HOP_HASH. In a chain of hops the longest prefixes come first.
 */
struct ps_scope {
	__u32 hash;
	__u32 next;
	__u32 owner; /* index into the owners, where its path is; in record 0: number of heads */
	__u32 parent; /* the next scope that contains it, 0 if there is none */
};
/* One byte of a path; PS_SCOPE_SEED is the hash of the root's. Each component is
 * followed by a NUL, as in struct ps_owner. */
#define PS_SCOPE_SEED 0x811c9dc5u
#define PS_SCOPE_HASH(hash, byte) ((__u32)(((__u32)(hash) ^ (__u8)(byte)) * 0x01000193u))
#define PS_HOP_HASH(scope, port) ((__u32)(scope)*0x9e3779b1u + (__u32)(port))

enum ps_hop_flags {
	PS_HOP_PASS = 1, /* --if-down pass; otherwise refuse */
	PS_HOP_FIXED = 2, /* the pair as given: no listener is looked for */
	PS_HOP_TO = 4, /* ... and the address too */
	PS_HOP_LOOPBACK = 8, /* of a rule without an address: asked after those with one */
};
/* Example: 80:8080/tcp of scope 5 is { .scope = 5, .port = 80, .target = 8080,
 * .family = 4, .length = 8, .addr = 127.0.0.0 } and the same for ::1. */
struct ps_hop {
	__u32 scope; /* in record 0: number of heads */
	__u16 port;
	__u16 target; /* port, of a PS_HOP_FIXED one */
	__u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 flags; /* enum ps_hop_flags */
	__u8 family; /* of both addresses, 4 or 6 */
	__u8 length; /* of the prefix of destinations */
	__u32 next;
	__u32 rule; /* where its events are: PS_TARGET(PS_RULE_CHUNKS + k, index) */
	__u32 listeners; /* target id, where the listeners are */
	__u32 addr[4]; /* network byte order; IPv4 in the first */
	__u32 to[4];
};

/*
 * A flow: which target a connection that a client is making is for. Noted by the client's
 * addresses and ports before it sends a SYN, and found by sk_lookup when that arrives; it is
 * there until the client's socket is closed, as SYNs are repeated, and the answer to a SYN
 * cookie is looked up like a SYN. In map "flows".
 */
struct ps_flow_key {
	__u64 namespace; /* cookie, never used again */
	__u32 client[4], server[4]; /* network byte order; IPv4 in the first, v4-mapped too */
	__u16 client_port, server_port; /* host byte order */
	__u32 family; /* 4 or 6 */
};
enum ps_flow_flags {
	PS_FLOW_PASS = 1, /* --if-down pass; otherwise refuse */
	PS_FLOW_REFUSE = 2, /* refuse in any case */
};
struct ps_flow {
	__u64 socket; /* the client's, by cookie */
	__u64 epoch; /* of the target, see struct ps_target_state */
	__u32 target;
	__u32 rule; /* where its events are */
	__u32 device; /* that the client's socket is bound to, or 0 */
	__u32 flags; /* enum ps_flow_flags */
};
/* How many flows there may be on the host. Connections of more are refused: by a hash of
 * what would be their key, for which map "refusals" says how many there are. */
enum { PS_FLOWS = 65536, PS_REFUSALS = 4096 };

/* What a client's socket carries that was sent elsewhere: where it wanted to go. Connected
 * sockets use the first; an unconnected UDP socket has some more. */
enum ps_step_flags {
	PS_STEP_LOOPBACK = 1, /* to the loopback address, for a listener to be found there */
};
struct ps_step {
	__u32 wanted[4], real[4]; /* network byte order; IPv4 in the first */
	__u16 wanted_port, real_port; /* host byte order */
	__u16 family; /* 4 or 6; 0: unused */
	__u16 flags; /* enum ps_step_flags */
};
enum { PS_STEPS = 4 };
struct ps_trail {
	struct ps_step step[PS_STEPS];
	__u64 next; /* the step that is overwritten next */
};

/* Which scope of an instance a cgroup (by id, which is never used again) is in, as found for a
 * generation. */
enum { PS_SCOPES_FOUND = 2048 };
struct ps_scope_found {
	__u32 generation;
	__u32 scope; /* 0: none */
};

/* An owner. Indices are interleaved by half, as above. Scopes are among them. */
enum ps_owner_flags {
	PS_OWNER_USER = 1, /* uid must be equal */
	PS_OWNER_CGROUP = 2, /* cgroup must be the path or below it */
	PS_OWNER_ANY = 4, /* no check */
	PS_OWNER_NOBODY = 8, /* matches no socket, alone: the rule refuses what it is for */
};
struct ps_owner {
	__u32 flags; /* enum ps_owner_flags */
	__u32 uid;
	__u32 depth; /* number of components of the path, 0 for the root */
	__u16 start[PS_CGROUP_DEPTH + 2]; /* where component i starts in path; [depth] = end */
	__u8 path[PS_CGROUP_PATH]; /* components, each ended by NUL: "system.slice\0web.service\0" */
};

/*
 * One pass of the scan for open listeners: of the targets that a socket matches, those from
 * `pass`'s lower half on, PS_SCAN_MATCHES at the most. Its upper half has flags.
 */
enum { PS_SCAN_MATCHES = 4 };
enum ps_scan_flags {
	PS_SCAN_AGAIN = 1 << 16, /* what was busy in the pass before, and no more */
	PS_SCAN_LAST = 1 << 17, /* for the last time: who still is, is an error */
};
#define PS_SCAN_SKIP(pass) ((pass)&0xffff)
struct ps_scan_args {
	__u32 instance;
	__u32 pass;
};
/*
 * What it says: that a socket could not enter, but may be able to later. A listener is busy
 * (EBUSY) for some instructions of the worker that frees the sockmap which it was in before
 * (net/core/sock_map.c, sock_map_unref), and for long when the worker is not let run just then.
 * ENOMEM is taken for the same: entering takes memory that the kernel must not wait for.
 */
enum { PS_SCAN_BUSY = 'b' };

#ifndef PS_OTHER_LAYOUT
_Static_assert(sizeof(struct ps_instance) == 32, "ABI");
_Static_assert(sizeof(struct ps_bucket) == 64, "ABI");
_Static_assert(sizeof(struct ps_hits) == 48, "ABI");
_Static_assert(sizeof(struct ps_admit) == 16, "ABI");
#endif
_Static_assert(sizeof(struct ps_front) == 12, "ABI");
_Static_assert(sizeof(struct ps_prefix_key) == 28, "ABI");
_Static_assert(sizeof(struct ps_target_state) == 64, "ABI");
_Static_assert(sizeof(struct ps_bind_events) == 40, "ABI");
_Static_assert(sizeof(struct ps_bind) == 36, "ABI");
_Static_assert(sizeof(struct ps_bound) == 16, "ABI");
_Static_assert(sizeof(struct ps_connect_events) == sizeof(struct ps_bind_events), "ABI");
_Static_assert(sizeof(struct ps_scope) == 16, "ABI");
_Static_assert(sizeof(struct ps_hop) == 56, "ABI");
_Static_assert(sizeof(struct ps_step) == 40, "ABI");
_Static_assert(sizeof(struct ps_trail) == 168, "ABI");
_Static_assert(sizeof(struct ps_flow_key) == 48, "ABI");
_Static_assert(sizeof(struct ps_flow) == 32, "ABI");
_Static_assert(sizeof(struct ps_mark) == 24, "ABI");
_Static_assert(sizeof(struct ps_scan_args) == 8, "ABI");
_Static_assert(sizeof(struct ps_owner) == 12 + 36 + PS_CGROUP_PATH, "ABI");

#endif
