/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One rule, and its text. Pure: no I/O, no kernel, no allocation besides the
 * strings that a rule owns.
 */
#ifndef PORTSTEER_RULE_H
#define PORTSTEER_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

enum ps_mode { PS_MODE_STEER, PS_MODE_BIND, PS_MODE_CONNECT };
enum ps_if_down { PS_DOWN_REFUSE, PS_DOWN_PASS };

/* Longest --name, in bytes without NUL. */
enum { PS_NAME_MAX = 64 };

/* Who may receive the traffic. flags: enum ps_owner_flags of bpf/abi.h; 0 means
 * "not given". cgroup: normalised path below the cgroup2 root with a leading
 * slash ("/system.slice/web.service", "/" for the root), owned; NULL if none. */
struct ps_owner_spec {
	uint32_t flags;
	uint32_t uid;
	char *cgroup;
};

/* A front address: family 0 (any, length 0), 4 or 6; addr in network byte order,
 * IPv4 in the first four bytes; no bits beyond len are set. */
struct ps_prefix {
	uint8_t family;
	uint8_t len;
	uint8_t addr[16];
};

/* A single address: family 0 (none), 4 or 6; IPv4 in the first four bytes. */
struct ps_address {
	uint8_t family;
	uint8_t addr[16];
};

/* Where a rule is written: `apply` has made it of a line of a file. Without a file (NULL;
 * else owned) it was added by hand. */
struct ps_origin {
	char *file;
	uint32_t line;
};

/* A rule. Ports are in host byte order. front..front_last leads to target..
 * target + (front_last - front); in bind mode equal ports are a grant. if_down has a
 * meaning in steer mode only. The owner nobody (PS_OWNER_NOBODY, with equal ports) makes a
 * block: what it is for is refused. */
struct ps_rule {
	struct ps_prefix prefix;
	uint8_t proto; /* IPPROTO_TCP or IPPROTO_UDP */
	uint16_t front, front_last, target;
	enum ps_mode mode;
	enum ps_if_down if_down;
	struct ps_owner_spec owner;
	/* Connect mode: the cgroup whose clients it is for, as an owner's; owned. NULL in the
	 * other modes. */
	char *scope;
	struct ps_address to; /* connect mode: where to, if that is given */
	char *name; /* owned; NULL if none */
	struct ps_origin origin;
	uint32_t id; /* index of its hit counters; set by ps_plan_build */
};

/* Parse "[ADDR[/LEN]:]PORT[-PORT]:[ADDR:]TARGET[-TARGET][/tcp|udp]". Sets prefix, proto,
 * ports and `to` of *rule, the rest to zero; *rule is untouched on failure (-EINVAL,
 * status PS_EXIT_USAGE, message names the text and the reason). */
int ps_rule_parse(const char *text, struct ps_rule *rule, struct ps_error *error);

/* Parse what `allow` takes, "[ADDR[/LEN]:]PORT[-PORT][/tcp|udp]": a bind rule whose
 * targets are its front ports. */
int ps_rule_parse_grant(const char *text, struct ps_rule *rule, struct ps_error *error);

/* Of a text that is no rule: call `each` for every front side that it may name. These are the ports
 * in it, but not behind its last colon, where the target is; all ports, if there is an address and
 * none can be read. An address that cannot be read is any; proto is 0 if what stands there is no
 * protocol. -EINVAL if it names none, else what `each` returns, which ends it unless it is 0. */
typedef int ps_rule_side_fn(const struct ps_rule *side, void *data);
int ps_rule_guess(const char *text, ps_rule_side_fn *each, void *data);

/* Parse what `del` takes: as ps_rule_parse, but ":TARGET" may be left out
 * (target is then 0). */
int ps_rule_parse_key(const char *text, struct ps_rule *rule, struct ps_error *error);

/* The canonical text: "80:8080/tcp", "10.0.0.0/8:1-9:1001-1009/tcp",
 * "[2001:db8::]/32:80:8080/tcp", a grant's or a block's "443/tcp"; a host address is without its
 * length. */
enum { PS_RULE_TEXT = 128 };
void ps_rule_format(const struct ps_rule *rule, char text[PS_RULE_TEXT]);

/* What is known of the rule, on one line and cut where it is too long: "80:8080/tcp (steer,
 * user www-data, name web, at /etc/portsteer/portsteer.conf:2)". */
enum { PS_RULE_WHOLE = 240 };
void ps_rule_describe(const struct ps_rule *rule, char text[PS_RULE_WHOLE]);

/* Is a cgroup's path `top`, or below it? "" and "/" are the root, which has all below it. */
bool ps_path_is_below(const char *path, const char *top);

/* How ps_rule_describe names a user; NULL, as it is at first, or a result of NULL: by number. */
extern const char *(*ps_rule_user_name)(uint32_t uid);

/* Is there no listener to look for: does the rule send clients to a pair as it is given?
 * So for UDP, and with an address. */
bool ps_rule_is_fixed(const struct ps_rule *rule);
/* Is it a connect rule whose clients' connections are handed to listeners? */
bool ps_rule_has_flows(const struct ps_rule *rule);
/* Is it a connect rule whose clients are, or may have to be, given another destination? */
bool ps_rule_turns_clients(const struct ps_rule *rule);
/* Does the rule lead to admitted listeners? */
bool ps_rule_has_targets(const struct ps_rule *rule);

/* The destinations of a connect rule's clients: without an address those are the loopback
 * addresses; of both families, if the rule says nothing of where to. How many prefixes. */
size_t ps_rule_prefixes(const struct ps_rule *rule, struct ps_prefix prefixes[2]);
/* How many hops a connect rule has for each of its front ports. */
unsigned int ps_rule_hops(const struct ps_rule *rule);

/* Only the address and the front ports: "80", "10.0.0.0/8:1-9". */
void ps_rule_format_front(const struct ps_rule *rule, char text[PS_RULE_TEXT]);

/* Normalise a cgroup path: "system.slice/x", "/system.slice/x/" -> "/system.slice/x".
 * -EINVAL (PS_EXIT_USAGE) for "..", ".", control characters, an empty string, more
 * than PS_CGROUP_DEPTH components, or PS_CGROUP_PATH - 1 bytes or more.
 * *path is allocated. */
int ps_cgroup_normalise(const char *text, char **path, struct ps_error *error);

/* May the text that a cgroup is given by stand in a file? "pid:77" means another process when that
 * is read again. 0, or -EINVAL (PS_EXIT_USAGE). */
int ps_cgroup_check_lasting(const char *text, struct ps_error *error);

/* Check a --name: not empty, at most PS_NAME_MAX bytes of printable UTF-8 without
 * control characters. 0 or -EINVAL (PS_EXIT_USAGE). */
int ps_name_check(const char *name, struct ps_error *error);

const char *ps_mode_name(enum ps_mode mode); /* "steer", "bind", "connect" */
const char *ps_if_down_name(enum ps_if_down if_down); /* "refuse", "pass" */
const char *ps_proto_name(uint8_t proto); /* "tcp", "udp" */

bool ps_owner_equal(const struct ps_owner_spec *a, const struct ps_owner_spec *b);
bool ps_prefix_equal(const struct ps_prefix *a, const struct ps_prefix *b);
/* Do the prefixes have an address in common? One is then in the other. */
bool ps_prefix_meets(const struct ps_prefix *a, const struct ps_prefix *b);
bool ps_prefix_has(const struct ps_prefix *prefix, uint8_t family, const uint8_t *addr);
/* A bind rule that lets its owner bind the front ports as they are? */
bool ps_rule_is_grant(const struct ps_rule *rule);
uint16_t ps_rule_target_last(const struct ps_rule *rule);
/* A rule that refuses connections, instead of one that cannot be read? */
bool ps_rule_is_block(const struct ps_rule *rule);
/* Same match, target, mode, if-down policy, owner and name; the id and the origin do not count. */
bool ps_rule_equal(const struct ps_rule *a, const struct ps_rule *b);
bool ps_origin_equal(const struct ps_origin *a, const struct ps_origin *b);
/* Same scope or none, address and protocol. */
bool ps_rule_same_side(const struct ps_rule *a, const struct ps_rule *b);
/* And an overlap of the front ports. */
bool ps_rule_overlaps(const struct ps_rule *a, const struct ps_rule *b);
/* By match, so that rules that overlap are neighbours: scope, protocol, address, front port. */
int ps_rule_compare_match(const struct ps_rule *a, const struct ps_rule *b);
/* Order for output: no scope first, by scope, protocol, front port, longest prefix first,
 * address. */
int ps_rule_compare(const struct ps_rule *a, const struct ps_rule *b);

/* Copy, with strings. 0 or -ENOMEM (*to is then untouched). */
int ps_rule_copy(const struct ps_rule *from, struct ps_rule *to);
/* Free the strings; NULL is fine; the struct itself is the caller's. */
void ps_rule_clear(struct ps_rule *rule);

#endif
