/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the BPF programs and the command agree on: every value that one side writes and the other
 * reads. For each there is first what it means, then examples, then the struct.
 *
 * An instance is what one network namespace has; its number is an index into arrays of the host.
 * The command compiles an instance's rules into tables, each of which exists twice (in "halves"),
 * and puts them in force by one store of the ruleset word, which says which half is in force.
 *
 * Three modes, and the tables by which the programs decide:
 *
 *   steer    connection to front port   word -> bucket -> struct ps_front -> target
 *            listen() on target port    struct ps_admit -> owner? -> a place of the target
 *   bind     bind() to target port      struct ps_bind -> owner? -> the front port
 *   connect  connect() to front port    cgroup -> struct ps_scope -> struct ps_hop -> target,
 *                                       noted as struct ps_flow
 *
 * Example, of "add 80:8080 --cgroup unit:web.service" as the instance's first rule:
 *
 *   front ports' filter   bit 80 is set
 *   struct ps_owner       .flags = PS_OWNER_CGROUP, .depth = 2,
 *                         .path = "system.slice\0web.service\0"
 *   struct ps_admit       .port = 8080, .flags = PS_ADMIT_FRESH, .target = 0, .owner = 0
 *   struct ps_front       .port = 80, .flags = PS_FRONT_USED | PS_FRONT_DEFAULT |
 *                         PS_FRONT_STRICT, .rule = 0, .target = 0
 *
 * A socket of web.service that listens on 8080 enters a place of target 0. A connection to port 80
 * is found in the bucket of 80, goes to a listener of target 0, and is counted in hits 0.
 *
 * Ports are in host byte order, addresses in network byte order; an IPv4 address is in the first
 * of four words. Flags are of the enum above their struct. No struct has implicit padding, and
 * the sizes are asserted at the end. A change to anything here is a change of PORTSTEER_ABI.
 */
#ifndef PORTSTEER_ABI_H
#define PORTSTEER_ABI_H

#include <linux/types.h>

/* The number of this layout. A build that was made with PS_OTHER_LAYOUT (make VARIANT=layout)
 * has another one, for the tests of upgrade: fields are elsewhere, and maps have other sizes. */
#ifndef PS_OTHER_LAYOUT
#define PORTSTEER_ABI 8
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
 * The ruleset word: one 64-bit store of it replaces a ruleset for all hooks. 0: not loaded.
 *
 *   bits  0..31  generation, never 0; grows by one with each ruleset
 *   bits 32..35  log2 of the number of front buckets, 0..14
 *   bit  36      which half of the double-buffered tables is in force
 *   bits 37..47  life: how many instances have had this index before, modulo 2^11. An
 *                instance begins with generation 1, but its words are not those of the
 *                one before, which sockets and programs may remember
 *   bits 48..63  multiplier of the front hash, odd
 *
 * Examples:
 * 0x9e37001100000007: generation 7, 2^1 buckets, half 1, multiplier 0x9e37
 * 0x0001002000000001: generation 1, one bucket, half 0, life 1, multiplier 1
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

/*
 * One instance as the shared programs see it (map "instances").
 *
 * Examples:
 * .active = W, .pending = W: the ruleset of W is in force, and no command is changing it
 * .active = W, .pending = V: a command prepares V; who begins to listen is admitted for both
 * .active = 0: the index is free, or is being loaded
 */
struct ps_instance {
	PS_SPARE(4)
	__u64 active; /* the ruleset word in force */
	__u64 pending; /* the word being prepared: listeners are admitted for it too */
	__u64 cookie; /* the network namespace's cookie */
	__u64 begun; /* generation of the ruleset that a command prepares, or cleans up behind; 0 */
};

/*
 * What a front port leads to: the rule that counts, the target whose listeners get the
 * connections, and what is done if there are none.
 *
 * Examples:
 * 80, USED | DEFAULT, 3, 0x000002: rule 3, target 2 of chunk 0; without a listener it is refused
 * 80, USED | DEFAULT | PASS, 3, 2: the same, but then another socket on port 80 gets it
 * 80, USED | PREFIX, 0, 0: all rules for port 80 have addresses, and are in the trie; connections
 *    to other addresses are passed on
 * 80, USED | DEFAULT | STRICT, 3, 2: the owner has a cgroup
 */
enum ps_front_flags {
	PS_FRONT_USED = 1, /* the cell holds a front port */
	PS_FRONT_DEFAULT = 2, /* rule and target are those of a rule without address */
	PS_FRONT_PREFIX = 4, /* address-prefix rules exist: ask the trie first */
	PS_FRONT_PASS = 8, /* --if-down pass; otherwise refuse */
	PS_FRONT_STRICT = 16, /* an owner with a cgroup: only admitted sockets, see listener.h */
};
struct ps_front {
	__u16 port;
	__u16 flags; /* enum ps_front_flags */
	__u32 rule; /* index of the rule's hit counters */
	__u32 target;
};

/*
 * A bucket is what one lookup fetches: a cache line. Tables of up to PS_FRONT_SMALL buckets are in
 * the map "fronts", at half * PS_FRONT_SMALL + bucket. Larger ones are in "fronts_more", in chunks
 * of PS_FRONT_CHUNK buckets: chunk half * PS_FRONT_CHUNKS + bucket / PS_FRONT_CHUNK.
 *
 * Examples:
 * bucket 5 of 8, half 1: fronts[13]
 * bucket 300 of 512, half 1: fronts_more[65], there at 44
 */
struct ps_bucket {
	PS_SPARE(8)
	struct ps_front cell[4];
	__u64 reserved[2];
};
enum {
	PS_FRONT_SMALL_LOG2 = 3,
	PS_FRONT_SMALL = 1 << PS_FRONT_SMALL_LOG2,
	PS_FRONT_CHUNK_LOG2 = 8,
	PS_FRONT_CHUNK = 1 << PS_FRONT_CHUNK_LOG2,
	PS_FRONT_CHUNKS = (1 << PS_MAX_LOG2) / PS_FRONT_CHUNK,
};

/*
 * Key of the prefix trie (map "prefixes"), whose values are struct ps_front. The generation in
 * front keeps the entries of two rulesets apart.
 *
 * Examples:
 * 64 + 8, G, 80, 4, 10.0.0.0: 10.0.0.0/8:80 in the ruleset of generation G
 * 64 + 128, G, 80, 6, 2001:db8::1: what is looked up for a connection to that address
 */
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
 *
 * Examples:
 * rule 31: hits[31]
 * rule 300: hits_more[1], there at 12
 */
struct ps_hits {
	PS_SPARE(1)
	__u64 steered; /* handed to an admitted listener */
	__u64 no_listener; /* no live listener of any family */
	__u64 wrong_family; /* listeners, but none of the client's address family */
	__u64 wrong_device; /* of the family, but all bound to devices that the client does not come by */
	__u64 taken; /* no listener, and another program had given it to a socket of its own */
	__u64 last; /* jiffies of the last of these */
};
#ifndef PS_OTHER_LAYOUT
enum { PS_HITS_SMALL = 32, PS_HITS_CHUNK = 256, PS_HITS_CHUNKS = 1024 };
#else
enum { PS_HITS_SMALL = 4, PS_HITS_CHUNK = 8192, PS_HITS_CHUNKS = 32 };
#endif

/*
 * A target is a pair of target port and owner. Its id is PS_TARGET(chunk, index); chunk k holds
 * PS_TARGET_CHUNK(k) targets. Its listeners are in places. Each target has PS_SLOTS places that no
 * other target can take, in the chunk's sockmap (slot index * PS_SLOTS + n). When these are taken
 * it may have PS_OVERFLOW more, in the instance's sockhash "overflow", of which there are
 * PS_OVERFLOW_TOTAL for all targets together.
 *
 * Examples:
 * 0x000002, the third target of chunk 0: its place 3 is slot 35 of chunk 0, its place 20 is
 *    { .target = 2, .n = 4 } of the sockhash
 * 0x100000: the first target of chunk 1, as chunk 0 has 64
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
 * cleared by the program that finds it vacant (order.h, 4).
 *
 * Examples:
 * used[0][0] = 5, used[1][0] = 4: places 0 and 2 serve IPv4, and place 2 serves IPv6 too
 * used[0][1] = 4: place 66 serves IPv4
 */
struct ps_target_state {
	__u64 used[2][PS_PLACES / 64]; /* of IPv4 and of IPv6, a bit for each place */
	/* Listeners; counted atomically. */
	__u64 admitted;
	__u64 not_owner; /* they are not the owner's */
	__u64 rejected; /* by the sockmap (MPTCP, no place), or by bpf_sk_assign() later */
	/* When the id was given to the target, nanoseconds since boot; 0: it has never been given
	 * out. No two owners of an id have the same: what was decided for one is not taken for
	 * another's. */
	__u64 epoch;
};

/*
 * A bind or connect rule's events, in the map "events": rule ids are counted through chunks of the
 * same sizes as the targets', and written PS_TARGET(PS_RULE_CHUNKS + k, index).
 *
 * Examples:
 * 0x800003: the fourth such rule
 * 0x900000: the 65th
 */
enum { PS_RULE_CHUNKS = PS_TARGET_CHUNKS, PS_EVENTS_CHUNKS = 2 * PS_TARGET_CHUNKS };
struct ps_bind_events {
	__u64 tried; /* binds of the owner's that were sent on to the kernel */
	__u64 not_owner; /* binds to the front or target port by others */
	__u64 done; /* binds that then succeeded: granted, or translated */
	__u64 last; /* jiffies of the last of those */
	__u64 reserved;
};

/* In the same place, for a connect rule. */
struct ps_connect_events {
	__u64 steered; /* connections handed to a listener; to a fixed target: connects, datagrams */
	__u64 no_listener; /* no live listener of any family */
	__u64 wrong_family; /* listeners, but none of the client's address family */
	__u64 last; /* jiffies of the last of these */
	__u64 taken; /* as in struct ps_hits */
};

/* Keys of the shared maps "targets", "sockets" and "events", and of the sockhash "overflow". */
struct ps_chunk_key {
	__u32 instance;
	__u32 chunk;
};
struct ps_overflow_key {
	__u32 target;
	__u32 n;
};

/*
 * Admission records: which target a listener on a target port is admitted to. A hash by target
 * port with chains. Both halves are interleaved (index * 2 + half), so that a larger map can take
 * the place of a smaller one with the same contents. The first records are the heads of chains,
 * used through `next` only; record 0's `owner` says how many there are (a power of two). 0 ends a
 * chain. Bind records, scopes and hops are laid out in the same way.
 *
 * Examples, with two heads:
 * [0] .owner = 2, .next = 2: the chain of even ports begins at record 2
 * [1] .next = 0: no odd port is a target port
 * [2] 8080, 0, .next = 3, .target = 0, .owner = 0: owner 0's listeners are target 0's
 * [3] 8080, FRESH, .next = 0, .target = 1, .owner = 1: owner 1's, by a rule that has just come
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
 * Bind records, a hash by port, laid out as the admission records are. A grant is one record; a
 * translation is two, of its target port (to be translated) and of its front port (to be
 * protected). In a chain the longest prefixes come first, then the most particular owners: the
 * first record that matches is the rule.
 *
 * Examples:
 * 5300, 53, UDP, ASKED, 0, 0: of the rule 53:5300/udp; a bind to 5300 becomes one to 53
 * 53, 5300, UDP, FRONT, 0, 0: its second record; nobody else is given 53 by a shorter prefix
 * 53, 53, UDP, ASKED | FRONT, 4, 25, .addr = 192.0.2.0: a grant for 192.0.2.0/24:53/udp
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

/*
 * What a socket that was bound through a rule carries (map "bound").
 *
 * Examples:
 * 5, 0x800003, 53, 5300, UDP: bound to 53 when it asked for 5300
 * .front = 0: a later bind was not a rule's
 */
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
 * Connect mode: a scope is a cgroup that rules have for clients. Scopes are a hash by path, laid
 * out as the admission records are; the index of a scope's record is its number.
 *
 * Examples:
 * [4] .owner = 1, .parent = 0: /user.slice, by owner 1's path
 * [5] .owner = 2, .parent = 4: /user.slice/user-1000.slice; what it has no rule for, 4 may have
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

/*
 * A hop is what a rule of a scope's says of a front port. A hash by PS_HOP_HASH, laid out as the
 * admission records are; in a chain the longest prefixes come first. A rule without an address
 * is two hops, for 127.0.0.0/8 and ::1.
 *
 * Examples:
 * 5, 80, 8080, TCP, LOOPBACK, 4, 8, .listeners = 2, .addr = 127.0.0.0: 80:8080 of scope 5; a client's
 *    connection goes to a listener of target 2
 * 5, 53, 5300, UDP, FIXED | LOOPBACK, 4, 8, .addr = 127.0.0.0: 53:5300/udp; the port is replaced
 * 5, 443, 8443, TCP, FIXED | TO, 4, 32, .addr = 192.0.2.1, .to = 10.0.0.1: the address too
 */
enum ps_hop_flags {
	PS_HOP_PASS = 1, /* --if-down pass; otherwise refuse */
	PS_HOP_FIXED = 2, /* the pair as given: no listener is looked for */
	PS_HOP_TO = 4, /* ... and the address too */
	PS_HOP_LOOPBACK = 8, /* of a rule without an address: asked after those with one */
};
struct ps_hop {
	__u32 scope; /* in record 0: number of heads */
	__u16 port;
	__u16 target; /* port */
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
 * A flow (map "flows"): which target a connection that a client is making is for. Noted by the
 * client's addresses and ports before it sends a SYN, and found by sk_lookup when that arrives; it
 * is there until the client's socket is closed, as SYNs are repeated, and the answer to a SYN
 * cookie is looked up like a SYN.
 *
 * Examples:
 * N, 127.0.0.1, 127.0.0.1, 40000, 80, 4 -> .target = 2, .epoch = E, .flags = 0: goes to a listener
 *    of target 2, if that has the epoch E still, or is refused
 * the same -> .flags = PS_FLOW_PASS: without a listener it is as if there were no flow
 * the same -> .flags = PS_FLOW_REFUSE: is refused
 *
 * PS_FLOWS is how many there may be on the host. Connections of more are refused: by a hash of
 * what would be their key, for which map "refusals" says how many there are.
 */
enum { PS_FLOWS = 65536, PS_REFUSALS = 4096 };
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

/*
 * What a client's socket carries that was sent elsewhere (map "trails"): where it wanted to go.
 * Connected sockets use the first step; an unconnected UDP socket has some more.
 *
 * Examples:
 * 127.0.0.1, 127.0.0.1, 53, 5300, 4, 0: wanted port 53, and sends to 5300
 * 192.0.2.1, 127.0.0.1, 80, 80, 4, LOOPBACK: turned to the loopback address, where a listener
 *    of the rule's target gets the connection
 */
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

/*
 * Which scope of an instance a cgroup (by id, which is never used again) is in, as found for a
 * generation. The kernel gives the least used entry to another cgroup, also while it is read: so
 * the entry says whose it is. What is mixed of two entries does not agree with the check: with
 * that of one cgroup only the same answer does, as the product with an odd number is never that of
 * another answer.
 *
 * Examples:
 * answer 7 << 32 | 5: scope 5, under the ruleset of generation 7
 * answer 7 << 32 | 0: none
 */
enum { PS_SCOPES_FOUND = 2048 };
struct ps_scope_found {
	__u64 answer; /* generation << 32 | scope; scope 0: none */
	__u64 check; /* PS_SCOPE_CHECK(id of the cgroup, answer) */
};
#define PS_SCOPE_CHECK(cgroup, answer) ((cgroup) ^ (answer)*0x9e3779b97f4a7c15ull)

/*
 * An owner: which sockets are a rule's. Indices are interleaved by half (index * 2 + half). The
 * paths of scopes are kept in the same form.
 *
 * Examples:
 * USER, .uid = 33: sockets of this user
 * CGROUP, .depth = 2, .start = { 0, 13, 25 }, .path = "system.slice\0web.service\0": sockets that
 *    were made in /system.slice/web.service, or below
 * USER | CGROUP: both must be so
 * ANY: all sockets
 * NOBODY: none
 */
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
 *
 * Examples:
 * 5, 0: instance 5, each socket's first four targets
 * 5, 4 | PS_SCAN_AGAIN: of the next four, those that were busy
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
