// SPDX-License-Identifier: GPL-2.0-only
#include "rule/rule_check.h"

#include <errno.h>
#include <netinet/in.h>

#include "util/bpf_types.h"

/* Ports that only root may bind (net.ipv4.ip_unprivileged_port_start by default). */
enum { PRIVILEGED_PORTS = 1024 };
static uint32_t grants_below = PRIVILEGED_PORTS;

void ps_rule_set_unprivileged(uint32_t first)
{
	grants_below = first > PRIVILEGED_PORTS ? first : PRIVILEGED_PORTS;
}

static int check_owner(const struct ps_rule *rule, const char *text, struct ps_error *error)
{
	const struct ps_owner_spec *owner = &rule->owner;
	uint32_t known = PS_OWNER_USER | PS_OWNER_CGROUP | PS_OWNER_ANY;

	if (owner->flags == PS_OWNER_NOBODY && rule->proto == IPPROTO_TCP &&
	    rule->target == rule->front)
		return 0;
	if (!owner->flags)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s has no owner; give --user, --cgroup or --any-user", text);
	if (owner->flags & ~known ||
	    (owner->flags & PS_OWNER_ANY && owner->flags != PS_OWNER_ANY) ||
	    (owner->flags & PS_OWNER_CGROUP && !owner->cgroup))
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s: --any-user contradicts another owner; give one of them",
			       text);
	return 0;
}

static int check_steer(const struct ps_rule *rule, const char *text, struct ps_error *error)
{
	if (rule->proto != IPPROTO_UDP)
		return 0;
	return ps_fail(error, PS_EXIT_USAGE, EINVAL,
		       "rule %s: UDP cannot be steered, the answers would come from port %u and "
		       "clients drop them; use --mode bind, or leave --mode out",
		       text, rule->target);
}

static int check_bind(const struct ps_rule *rule, const char *text, struct ps_error *error)
{
	if (ps_rule_is_grant(rule) && rule->front_last >= grants_below)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s: port %u is not privileged, any process may bind it and a "
			       "grant would change nothing; grant ports below %u only",
			       text, rule->front_last, grants_below);
	if (!ps_rule_is_grant(rule) && rule->target < PRIVILEGED_PORTS)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s: its target port %u is privileged itself; choose a target "
			       "port of %d or higher, or use 'portsteer allow' to let the owner "
			       "bind a privileged port directly",
			       text, rule->target, PRIVILEGED_PORTS);
	return 0;
}

/* A client cgroup, and a target's address, belong to connect mode and to no other. */
static int check_scope(const struct ps_rule *rule, const char *text, struct ps_error *error)
{
	if (rule->mode == PS_MODE_CONNECT && !rule->scope)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s: connect mode needs a client cgroup; give --client-cgroup, "
			       "with / for all processes",
			       text);
	if (rule->mode != PS_MODE_CONNECT && rule->scope)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s: --client-cgroup is only for connect mode, as %s mode does "
			       "not know the client's cgroup; remove one of them",
			       text, ps_mode_name(rule->mode));
	if (rule->mode != PS_MODE_CONNECT && rule->to.family)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s: a target address works in connect mode only; remove it, "
			       "or give --client-cgroup",
			       text);
	return 0;
}

static int check_connect(const struct ps_rule *rule, const char *text, struct ps_error *error)
{
	if (rule->prefix.family && rule->to.family && rule->prefix.family != rule->to.family)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s: an IPv%u client cannot connect to an IPv%u address; use "
			       "one address family for both",
			       text, rule->prefix.family, rule->to.family);
	if (!rule->to.family && rule->front == rule->target && !ps_rule_is_block(rule))
		return ps_fail(error, PS_EXIT_FAILED, ELOOP,
			       "rule %s makes a loop: its target port %u is its own front port; choose "
			       "another target port, or give the target an address",
			       text, rule->target);
	if (ps_rule_is_fixed(rule) && rule->owner.flags != PS_OWNER_ANY)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s: the target is a fixed destination, whose owner is not "
			       "checked; give --any-user instead of an owner",
			       text);
	return 0;
}

int ps_rule_check(const struct ps_rule *rule, struct ps_error *error)
{
	char text[PS_RULE_TEXT];
	int ret;

	ps_rule_format(rule, text);
	if (!rule->front || !rule->target || rule->front_last < rule->front ||
	    rule->target + (rule->front_last - rule->front) > UINT16_MAX)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s has no target or a port that is not from 1 to 65535; write "
			       "PORT:TARGET",
			       text);
	if (rule->proto != IPPROTO_TCP && rule->proto != IPPROTO_UDP)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "rule %s: unknown protocol %u; use tcp or udp", text, rule->proto);
	ret = check_scope(rule, text, error);
	if (!ret)
		ret = rule->mode == PS_MODE_STEER ? check_steer(rule, text, error) :
		      rule->mode == PS_MODE_BIND  ? check_bind(rule, text, error) :
						    check_connect(rule, text, error);
	return ret ? ret : check_owner(rule, text, error);
}
