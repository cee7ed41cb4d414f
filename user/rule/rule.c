// SPDX-License-Identifier: GPL-2.0-only
#include "rule/rule.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/bpf_types.h"
#include "util/text.h"

#define FORM "[ADDRESS[/LENGTH]:]PORT[-PORT]:[ADDRESS:]TARGET[-TARGET][/tcp|udp]"

/* A rule's text being taken apart. */
struct reader {
	const char *text; /* as the user wrote it, for messages */
	struct ps_rule rule;
	uint16_t target_last;
	struct ps_error *error;
};

static int bad(const struct reader *r, const char *why)
{
	return ps_fail(r->error, PS_EXIT_USAGE, EINVAL, "bad rule '%.127s': %s", r->text, why);
}

/* 1 .. 65535 in plain decimal, or 0. */
static uint16_t port_number(const char *text)
{
	unsigned long value = 0;

	if (*text < '1' || *text > '9')
		return 0;
	for (; *text >= '0' && *text <= '9'; text++) {
		value = value * 10 + (unsigned long)(*text - '0');
		if (value > UINT16_MAX)
			return 0;
	}
	return *text ? 0 : (uint16_t)value;
}

static int bad_port(const struct reader *r, const char *port)
{
	return ps_fail(r->error, PS_EXIT_USAGE, EINVAL,
		       "bad rule '%.127s': '%.32s' is not a port; use a number from 1 to 65535",
		       r->text, port);
}

/* "80" or "80-89"; changes `field`. */
static int read_ports(struct reader *r, char *field, uint16_t *first, uint16_t *last)
{
	char *dash = *field ? strchr(field + 1, '-') : NULL;

	if (dash)
		*dash++ = '\0';
	*first = port_number(field);
	if (!*first)
		return bad_port(r, field);
	*last = dash ? port_number(dash) : *first;
	if (!*last)
		return bad_port(r, dash);
	if (*last < *first)
		return bad(r, "the port range is reversed; write the lower port first");
	return 0;
}

static bool is_mapped(const struct ps_prefix *prefix)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	return prefix->family == 6 && prefix->len >= 96 &&
	       !memcmp(prefix->addr, mapped, sizeof(mapped));
}

static bool has_host_bits(const struct ps_prefix *prefix)
{
	unsigned int bytes = prefix->family == 4 ? 4 : 16;

	for (unsigned int bit = prefix->len; bit < 8 * bytes; bit++) {
		if (prefix->addr[bit / 8] & 0x80 >> bit % 8)
			return true;
	}
	return false;
}

static int read_length(struct reader *r, const char *text, uint8_t most, uint8_t *len)
{
	unsigned int value = 0;

	for (const char *c = text; *c; c++) {
		if (*c < '0' || *c > '9' || (value = value * 10 + (unsigned int)(*c - '0')) > most)
			return ps_fail(
				r->error, PS_EXIT_USAGE, EINVAL,
				"bad rule '%.127s': '/%.32s' is not a prefix length; use 0 to %u",
				r->text, text, most);
	}
	if (!*text)
		return bad(r,
			   "the prefix length after '/' is missing; give one, or remove the '/'");
	*len = (uint8_t)value;
	return 0;
}

/* Bits beyond the length are a mistake in one of the two; say what either meant. */
static int refuse_host_bits(const struct reader *r, const struct ps_prefix *prefix)
{
	struct ps_rule meant = { .prefix = *prefix, .proto = IPPROTO_TCP, .front = 1 };
	unsigned int bytes = prefix->family == 4 ? 4 : 16;
	char text[PS_RULE_TEXT];

	for (unsigned int bit = prefix->len; bit < 8 * bytes; bit++)
		meant.prefix.addr[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	meant.front_last = meant.front;
	ps_rule_format_front(&meant, text);
	text[strlen(text) - strlen(":1")] = '\0';
	return ps_fail(r->error, PS_EXIT_USAGE, EINVAL,
		       "bad rule '%.127s': the address has host bits set beyond /%u; write %s, or the "
		       "address without a length",
		       r->text, prefix->len, text);
}

/* "10.0.0.0" or "2001:db8::" (without brackets), and the length or NULL. */
static int read_prefix(struct reader *r, const char *addr, const char *len)
{
	struct ps_prefix prefix = { .family = strchr(addr, ':') ? 6 : 4 };
	int ret;

	if (inet_pton(prefix.family == 4 ? AF_INET : AF_INET6, addr, prefix.addr) != 1)
		return ps_fail(r->error, PS_EXIT_USAGE, EINVAL,
			       "bad rule '%.127s': '%.48s' is not an IP address; write " FORM
			       ", an IPv6 address in brackets",
			       r->text, addr);
	prefix.len = prefix.family == 4 ? 32 : 128;
	ret = len ? read_length(r, len, prefix.len, &prefix.len) : 0;
	if (ret)
		return ret;
	if (is_mapped(&prefix))
		return bad(r, "connections to an IPv4-mapped address are IPv4; write the IPv4 "
			      "address");
	if (has_host_bits(&prefix))
		return refuse_host_bits(r, &prefix);
	r->rule.prefix = prefix;
	return 0;
}

/* Take "[ADDR]/LEN:" or "ADDR/LEN:" off the front of *rest. */
static int read_address(struct reader *r, char **rest)
{
	char *text = *rest, *end, *len, *addr = text;

	if (*text == '[') {
		addr = text + 1;
		end = strchr(addr, ']');
		if (!end)
			return bad(
				r,
				"the ']' after the IPv6 address is missing; write it before the ':'");
		*end++ = '\0';
		if (!strchr(addr, ':'))
			return bad(r, "only IPv6 addresses are written in brackets; remove the "
				      "brackets");
	} else {
		end = text + strcspn(text, ":/");
		/* Without a dot the first field is a port. */
		if (!memchr(text, '.', (size_t)(end - text)))
			return 0;
	}
	len = *end == '/' ? end + 1 : NULL;
	*rest = strchr(end, ':');
	if (!*rest || (*end != ':' && *end != '/'))
		return bad(r, "the ':' and the port after the address are missing; write " FORM);
	*end = '\0';
	*(*rest)++ = '\0';
	return read_prefix(r, addr, len);
}

/* Take "/tcp" off the end of what follows the address. */
static int read_proto(struct reader *r, char *rest)
{
	char *slash = strchr(rest, '/');

	r->rule.proto = IPPROTO_TCP;
	if (!slash)
		return 0;
	*slash++ = '\0';
	if (!strcmp(slash, "udp"))
		r->rule.proto = IPPROTO_UDP;
	else if (strcmp(slash, "tcp"))
		return ps_fail(r->error, PS_EXIT_USAGE, EINVAL,
			       "bad rule '%.127s': unknown protocol '%.32s'; use tcp or udp",
			       r->text, slash);
	return 0;
}

/* Take "10.0.0.5:" or "[2001:db8::5]:" off the front of a target. */
static int read_target_address(struct reader *r, char **target)
{
	struct ps_address to = { .family = 4 };
	char *addr = *target, *end;

	if (*addr == '[') {
		to.family = 6;
		end = strchr(++addr, ']');
	} else {
		end = strchr(addr, ':');
		if (!memchr(addr, '.', end ? (size_t)(end - addr) : strlen(addr)))
			return 0;
	}
	if (!end || (to.family == 6 && end[1] != ':'))
		return bad(r, "the ':' and the port after the target address are missing; "
			      "write " FORM);
	*end = '\0';
	*target = end + (to.family == 6 ? 2 : 1);
	if (inet_pton(to.family == 4 ? AF_INET : AF_INET6, addr, to.addr) != 1)
		return ps_fail(r->error, PS_EXIT_USAGE, EINVAL,
			       "bad rule '%.127s': '%.48s' is not an IP address; write " FORM
			       ", an IPv6 address in brackets",
			       r->text, addr);
	r->rule.to = to;
	return 0;
}

static int read_pairs(struct reader *r, char *rest, bool key)
{
	char *target = strchr(rest, ':');
	int ret, fronts, targets;

	if (!target && !key)
		return bad(r,
			   "the target port is missing; write PORT:TARGET, as in 80:8080, or use "
			   "'portsteer allow' (in files: the key allow) to let the owner bind the "
			   "port directly");
	if (target)
		*target++ = '\0';
	ret = target ? read_target_address(r, &target) : 0;
	if (ret)
		return ret;
	if (target && strchr(target, ':'))
		return bad(r, "too many ':'; write " FORM ", an IPv6 address in brackets");
	ret = read_ports(r, rest, &r->rule.front, &r->rule.front_last);
	if (ret || !target)
		return ret;
	ret = read_ports(r, target, &r->rule.target, &r->target_last);
	if (ret)
		return ret;
	fronts = r->rule.front_last - r->rule.front + 1;
	targets = r->target_last - r->rule.target + 1;
	if (fronts != targets)
		return ps_fail(r->error, PS_EXIT_USAGE, EINVAL,
			       "bad rule '%.127s': %d front port%s but %d target port%s; give ranges of "
			       "equal length",
			       r->text, fronts, fronts == 1 ? "" : "s", targets,
			       targets == 1 ? "" : "s");
	return 0;
}

static int parse(const char *text, bool key, struct ps_rule *rule, struct ps_error *error)
{
	struct reader r = { .text = text, .error = error };
	char copy[PS_RULE_TEXT], *rest = copy;
	int ret;

	if (!*text)
		return bad(&r, "it is empty; write " FORM);
	if (strlen(text) >= sizeof(copy))
		return bad(&r, "it is too long; write " FORM);
	strcpy(copy, text);
	ret = read_address(&r, &rest);
	if (!ret)
		ret = read_proto(&r, rest);
	if (!ret)
		ret = read_pairs(&r, rest, key);
	if (!ret)
		*rule = r.rule;
	return ret;
}

int ps_rule_parse(const char *text, struct ps_rule *rule, struct ps_error *error)
{
	return parse(text, false, rule, error);
}

int ps_rule_parse_grant(const char *text, struct ps_rule *rule, struct ps_error *error)
{
	struct ps_rule parsed = {};
	int ret = parse(text, true, &parsed, error);

	if (ret)
		return ret;
	if (parsed.target)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "bad grant '%.127s': a grant has no target port; remove it, or use "
			       "'portsteer add' to translate one port to another",
			       text);
	parsed.target = parsed.front;
	parsed.mode = PS_MODE_BIND;
	*rule = parsed;
	return 0;
}

/* What comes after an address, whatever that says, if it can be told where it ends. */
static char *skip_address(char *text)
{
	char *end = *text == '[' ? strchr(text, ']') : text + strcspn(text, ":/");

	if (!end || (*text != '[' && !memchr(text, '.', (size_t)(end - text))))
		return text;
	end = strchr(end, ':');
	return end ? end + 1 : text;
}

/* "80-89" of this length; also with the higher one first, or one that is too high. */
static bool guess_ports(const char *text, size_t length, uint16_t *first, uint16_t *last)
{
	char copy[16], *end;
	unsigned long from, to;

	if (length >= sizeof(copy))
		return false;
	memcpy(copy, text, length);
	copy[length] = '\0';
	from = to = strtoul(copy, &end, 10);
	if (*end == '-')
		to = strtoul(end + 1, &end, 10);
	if (*end || (!from && !to))
		return false;
	if (from > to) {
		unsigned long lower = to;

		to = from;
		from = lower;
	}
	*first = (uint16_t)(from ? from : 1);
	*last = (uint16_t)(to < UINT16_MAX ? to : UINT16_MAX);
	return from <= UINT16_MAX;
}

/* The next port or range in a text: what comes after it, or NULL if there is none. */
static const char *next_ports(const char *text, uint16_t *first, uint16_t *last)
{
	static const char digits[] = "0123456789";
	static const char parts[] =
		"0123456789-.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

	for (size_t length; *text; text += length) {
		size_t used = length = strspn(text, parts);

		if (!length) {
			length = 1;
			continue;
		}
		/* "80->8080" */
		while (used && (text[used - 1] == '-' || text[used - 1] == '.'))
			used--;
		if (used && strchr(digits, *text) && guess_ports(text, used, first, last))
			return text + length;
	}
	return NULL;
}

int ps_rule_guess(const char *text, ps_rule_side_fn *each, void *data)
{
	struct reader r = { .text = text, .rule.proto = IPPROTO_TCP };
	char copy[PS_RULE_TEXT], *rest = copy, *end;
	const char *next;
	int ret = -EINVAL;

	if (strlen(text) >= sizeof(copy))
		return -EINVAL;
	strcpy(copy, text);
	if (read_address(&r, &rest)) {
		strcpy(copy, text);
		rest = skip_address(copy);
	}
	end = strchr(rest, '/');
	if (end) {
		r.rule.proto = !strcmp(end, "/udp") ? IPPROTO_UDP :
			       !strcmp(end, "/tcp") ? IPPROTO_TCP :
						      0;
		*end = '\0';
	}
	end = strrchr(rest, ':');
	if (end)
		*end = '\0';
	for (next = rest; (next = next_ports(next, &r.rule.front, &r.rule.front_last));) {
		ret = each(&r.rule, data);
		if (ret)
			return ret;
	}
	if (!ret || !r.rule.prefix.family)
		return ret;
	r.rule.front = 1;
	r.rule.front_last = UINT16_MAX;
	return each(&r.rule, data);
}

int ps_rule_parse_key(const char *text, struct ps_rule *rule, struct ps_error *error)
{
	return parse(text, true, rule, error);
}

static size_t format_ports(char *text, size_t size, uint16_t first, uint16_t last)
{
	return (size_t)(first == last ? snprintf(text, size, "%u", first) :
					snprintf(text, size, "%u-%u", first, last));
}

static size_t format_to(const struct ps_address *to, char *text, size_t size)
{
	char addr[INET6_ADDRSTRLEN];

	if (!to->family)
		return 0;
	inet_ntop(to->family == 4 ? AF_INET : AF_INET6, to->addr, addr, sizeof(addr));
	return (size_t)snprintf(text, size, to->family == 4 ? "%s:" : "[%s]:", addr);
}

static size_t format_front(const struct ps_rule *rule, char text[PS_RULE_TEXT])
{
	const struct ps_prefix *prefix = &rule->prefix;
	char addr[INET6_ADDRSTRLEN], len[8] = "";
	size_t used = 0;

	if (prefix->family) {
		inet_ntop(prefix->family == 4 ? AF_INET : AF_INET6, prefix->addr, addr,
			  sizeof(addr));
		if (prefix->len < (prefix->family == 4 ? 32 : 128))
			snprintf(len, sizeof(len), "/%u", prefix->len);
		used = (size_t)snprintf(text, PS_RULE_TEXT,
					prefix->family == 4 ? "%s%s:" : "[%s]%s:", addr, len);
	}
	return used + format_ports(text + used, PS_RULE_TEXT - used, rule->front, rule->front_last);
}

void ps_rule_format_front(const struct ps_rule *rule, char text[PS_RULE_TEXT])
{
	format_front(rule, text);
}

void ps_rule_format(const struct ps_rule *rule, char text[PS_RULE_TEXT])
{
	size_t used = format_front(rule, text);

	if (rule->target && !ps_rule_is_grant(rule) && !ps_rule_is_block(rule)) {
		text[used++] = ':';
		used += format_to(&rule->to, text + used, PS_RULE_TEXT - used);
		used += format_ports(text + used, PS_RULE_TEXT - used, rule->target,
				     ps_rule_target_last(rule));
	}
	snprintf(text + used, PS_RULE_TEXT - used, "/%s", ps_proto_name(rule->proto));
}

const char *(*ps_rule_user_name)(uint32_t uid);

/* The text is cut where there is no more room. */
static void put(char text[PS_RULE_WHOLE], const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void put(char text[PS_RULE_WHOLE], const char *format, ...)
{
	size_t used = strlen(text);
	va_list args;

	va_start(args, format);
	vsnprintf(text + used, PS_RULE_WHOLE - used, format, args);
	va_end(args);
}

static void put_owner(char text[PS_RULE_WHOLE], const struct ps_owner_spec *owner)
{
	const char *name = owner->flags & PS_OWNER_USER && ps_rule_user_name ?
				   ps_rule_user_name(owner->uid) :
				   NULL;

	if (owner->flags & PS_OWNER_ANY)
		put(text, ", any user");
	if (owner->flags & PS_OWNER_NOBODY)
		put(text, ", refused: its section has a mistake");
	if (name)
		put(text, ", user %.40s", name);
	else if (owner->flags & PS_OWNER_USER)
		put(text, ", user %u", owner->uid);
	if (owner->flags & PS_OWNER_CGROUP)
		put(text, ", cgroup %.60s%s", owner->cgroup,
		    strlen(owner->cgroup) > 60 ? "..." : "");
}

void ps_rule_describe(const struct ps_rule *rule, char text[PS_RULE_WHOLE])
{
	ps_rule_format(rule, text);
	put(text, " (%s", ps_mode_name(rule->mode));
	put_owner(text, &rule->owner);
	if (rule->scope)
		put(text, ", client cgroup %.60s%s", rule->scope,
		    strlen(rule->scope) > 60 ? "..." : "");
	if (rule->name)
		put(text, ", name %s", rule->name);
	if (rule->origin.file)
		put(text, ", at %.80s:%u", rule->origin.file, rule->origin.line);
	put(text, ")");
}

static int bad_cgroup(const char *text, struct ps_error *error, const char *why)
{
	return ps_fail(error, PS_EXIT_USAGE, EINVAL, "bad cgroup '%.200s': %s", text, why);
}

/* One component of a path, `size` bytes. */
static const char *component_fault(const char *text, size_t size)
{
	if (size == 1 && text[0] == '.')
		return "'.' is not allowed in the path; remove it";
	if (size == 2 && text[0] == '.' && text[1] == '.')
		return "'..' is not allowed in the path; write the path from the cgroup2 root";
	if (size > 255)
		return "a name in it is longer than 255 bytes; give an existing path";
	for (size_t i = 0; i < size; i++) {
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return "it contains a control character; give a path without one";
	}
	return NULL;
}

int ps_cgroup_normalise(const char *text, char **path, struct ps_error *error)
{
	char out[PS_CGROUP_PATH], *copy;
	size_t used = 0, depth = 0;
	const char *from = text;

	if (!*text)
		return bad_cgroup(text, error, "it is empty; give a path below the cgroup2 root");
	while (*(from += strspn(from, "/"))) {
		size_t size = strcspn(from, "/");
		const char *fault = component_fault(from, size);

		if (fault)
			return bad_cgroup(text, error, fault);
		if (++depth > PS_CGROUP_DEPTH)
			return bad_cgroup(text, error,
					  "it has more than 16 levels; name a cgroup higher up");
		if (used + 1 + size >= sizeof(out) - 1)
			return bad_cgroup(text, error,
					  "it is longer than 1022 bytes; name a cgroup higher up");
		out[used++] = '/';
		memcpy(out + used, from, size);
		used += size;
		from += size;
	}
	if (!used)
		out[used++] = '/';
	copy = strndup(out, used);
	if (!copy)
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	*path = copy;
	return 0;
}

int ps_cgroup_check_lasting(const char *text, struct ps_error *error)
{
	if (strncmp(text, "pid:", 4))
		return 0;
	return ps_fail(error, PS_EXIT_USAGE, EINVAL,
		       "cgroup %.60s: process ids are reused, so a file cannot name a process; "
		       "write unit:NAME, or the path that /proc/%.60s/cgroup shows after '0::'",
		       text, text + 4);
}

int ps_name_check(const char *name, struct ps_error *error)
{
	size_t length;

	if (!*name)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "bad --name: it is empty; give a word or leave --name out");
	if (strlen(name) > PS_NAME_MAX)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "bad --name '%.80s...': it is longer than %d bytes; shorten it",
			       name, PS_NAME_MAX);
	for (const char *c = name; *c; c += length) {
		length = ps_printable_length(c);
		if (!length)
			return ps_fail(error, PS_EXIT_USAGE, EINVAL,
				       "bad --name '%s': it contains a control character or is not "
				       "UTF-8; use printable text",
				       name);
	}
	return 0;
}

const char *ps_mode_name(enum ps_mode mode)
{
	return mode == PS_MODE_STEER ? "steer" : mode == PS_MODE_BIND ? "bind" : "connect";
}

const char *ps_if_down_name(enum ps_if_down if_down)
{
	return if_down == PS_DOWN_PASS ? "pass" : "refuse";
}

const char *ps_proto_name(uint8_t proto)
{
	return proto == IPPROTO_UDP ? "udp" : "tcp";
}

static bool text_equal(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

bool ps_owner_equal(const struct ps_owner_spec *a, const struct ps_owner_spec *b)
{
	return a->flags == b->flags && (!(a->flags & PS_OWNER_USER) || a->uid == b->uid) &&
	       (!(a->flags & PS_OWNER_CGROUP) || text_equal(a->cgroup, b->cgroup));
}

bool ps_prefix_equal(const struct ps_prefix *a, const struct ps_prefix *b)
{
	return a->family == b->family && a->len == b->len &&
	       !memcmp(a->addr, b->addr, sizeof(a->addr));
}

bool ps_prefix_has(const struct ps_prefix *prefix, uint8_t family, const uint8_t *addr)
{
	unsigned int bytes = prefix->len / 8, bits = prefix->len % 8;

	if (!prefix->family)
		return true;
	if (prefix->family != family || memcmp(prefix->addr, addr, bytes))
		return false;
	return !bits || !((prefix->addr[bytes] ^ addr[bytes]) >> (8 - bits));
}

bool ps_prefix_meets(const struct ps_prefix *a, const struct ps_prefix *b)
{
	if (!a->family || !b->family)
		return true;
	return a->len < b->len ? ps_prefix_has(a, b->family, b->addr) :
				 ps_prefix_has(b, a->family, a->addr);
}

bool ps_rule_is_grant(const struct ps_rule *rule)
{
	return rule->mode == PS_MODE_BIND && rule->target == rule->front;
}

bool ps_rule_is_block(const struct ps_rule *rule)
{
	return rule->owner.flags & PS_OWNER_NOBODY;
}

uint16_t ps_rule_target_last(const struct ps_rule *rule)
{
	return (uint16_t)(rule->target + (rule->front_last - rule->front));
}

bool ps_rule_is_fixed(const struct ps_rule *rule)
{
	return rule->mode == PS_MODE_CONNECT && (rule->proto == IPPROTO_UDP || rule->to.family);
}

bool ps_rule_has_flows(const struct ps_rule *rule)
{
	return rule->mode == PS_MODE_CONNECT && !ps_rule_is_fixed(rule);
}

bool ps_rule_turns_clients(const struct ps_rule *rule)
{
	return rule->mode == PS_MODE_CONNECT && (ps_rule_is_fixed(rule) || rule->prefix.family);
}

bool ps_rule_has_targets(const struct ps_rule *rule)
{
	return rule->mode == PS_MODE_STEER || ps_rule_has_flows(rule);
}

size_t ps_rule_prefixes(const struct ps_rule *rule, struct ps_prefix prefixes[2])
{
	static const struct ps_prefix loopback4 = { 4, 8, { 127 } };
	static const struct ps_prefix loopback6 = { 6, 128, { [15] = 1 } };
	size_t count = 0;

	if (rule->prefix.family) {
		prefixes[0] = rule->prefix;
		return 1;
	}
	if (rule->to.family != 6)
		prefixes[count++] = loopback4;
	if (rule->to.family != 4)
		prefixes[count++] = loopback6;
	return count;
}

unsigned int ps_rule_hops(const struct ps_rule *rule)
{
	struct ps_prefix prefixes[2];

	return (unsigned int)ps_rule_prefixes(rule, prefixes);
}

bool ps_rule_equal(const struct ps_rule *a, const struct ps_rule *b)
{
	return ps_prefix_equal(&a->prefix, &b->prefix) && a->proto == b->proto &&
	       a->front == b->front && a->front_last == b->front_last && a->target == b->target &&
	       a->mode == b->mode && a->if_down == b->if_down && text_equal(a->scope, b->scope) &&
	       a->to.family == b->to.family &&
	       !memcmp(a->to.addr, b->to.addr, sizeof(a->to.addr)) &&
	       ps_owner_equal(&a->owner, &b->owner) && text_equal(a->name, b->name);
}

bool ps_origin_equal(const struct ps_origin *a, const struct ps_origin *b)
{
	return text_equal(a->file, b->file) && a->line == b->line;
}

bool ps_rule_same_side(const struct ps_rule *a, const struct ps_rule *b)
{
	return a->proto == b->proto && text_equal(a->scope, b->scope) &&
	       ps_prefix_equal(&a->prefix, &b->prefix);
}

bool ps_rule_overlaps(const struct ps_rule *a, const struct ps_rule *b)
{
	return ps_rule_same_side(a, b) && a->front <= b->front_last && b->front <= a->front_last;
}

int ps_rule_compare_match(const struct ps_rule *a, const struct ps_rule *b)
{
	int order = memcmp(a->prefix.addr, b->prefix.addr, sizeof(a->prefix.addr));
	int scope = strcmp(a->scope ? a->scope : "", b->scope ? b->scope : "");

	if (scope)
		return scope;
	if (a->proto != b->proto)
		return a->proto < b->proto ? -1 : 1;
	if (a->prefix.family != b->prefix.family)
		return a->prefix.family < b->prefix.family ? -1 : 1;
	if (a->prefix.len != b->prefix.len)
		return a->prefix.len < b->prefix.len ? -1 : 1;
	if (order)
		return order;
	return (a->front > b->front) - (a->front < b->front);
}

int ps_rule_compare(const struct ps_rule *a, const struct ps_rule *b)
{
	int order = strcmp(a->scope ? a->scope : "", b->scope ? b->scope : "");

	if (order)
		return order;
	if (a->proto != b->proto)
		return a->proto < b->proto ? -1 : 1;
	if (a->front != b->front)
		return a->front < b->front ? -1 : 1;
	if (a->prefix.len != b->prefix.len)
		return a->prefix.len > b->prefix.len ? -1 : 1;
	if (a->prefix.family != b->prefix.family)
		return a->prefix.family > b->prefix.family ? -1 : 1;
	return memcmp(a->prefix.addr, b->prefix.addr, sizeof(a->prefix.addr));
}

int ps_rule_copy(const struct ps_rule *from, struct ps_rule *to)
{
	struct ps_rule copy = *from;

	copy.name = from->name ? strdup(from->name) : NULL;
	copy.owner.cgroup = from->owner.cgroup ? strdup(from->owner.cgroup) : NULL;
	copy.scope = from->scope ? strdup(from->scope) : NULL;
	copy.origin.file = from->origin.file ? strdup(from->origin.file) : NULL;
	if (!copy.name != !from->name || !copy.owner.cgroup != !from->owner.cgroup ||
	    !copy.scope != !from->scope || !copy.origin.file != !from->origin.file) {
		ps_rule_clear(&copy);
		return -ENOMEM;
	}
	*to = copy;
	return 0;
}

void ps_rule_clear(struct ps_rule *rule)
{
	if (!rule)
		return;
	free(rule->name);
	free(rule->owner.cgroup);
	free(rule->scope);
	free(rule->origin.file);
	rule->name = rule->owner.cgroup = rule->scope = rule->origin.file = NULL;
}

bool ps_path_is_below(const char *path, const char *top)
{
	size_t length = strlen(top);

	return length <= 1 ||
	       (!strncmp(path, top, length) && (path[length] == '\0' || path[length] == '/'));
}
