// SPDX-License-Identifier: GPL-2.0-only
#include "engine/held.h"

#include "kernel/bound.h"
#include "util/util.h"

enum { PROCESSES = 8 };

/* Is it a rule of the set, unchanged? */
static bool is_kept(const struct ps_ruleset *rules, const struct ps_rule *rule)
{
	for (size_t i = 0; i < rules->count; i++) {
		if (ps_rule_equal(&rules->rules[i], rule))
			return true;
	}
	return false;
}

/* Did a rule that goes bind the socket? */
static bool is_held(const struct ps_socket *socket, const struct ps_ruleset *before,
		    const struct ps_ruleset *after)
{
	for (size_t i = 0; i < before->count; i++) {
		if (ps_socket_is_bound_by(socket, &before->rules[i]) &&
		    !is_kept(after, &before->rules[i]))
			return true;
	}
	return false;
}

/* They are marked as bound through a rule only as long as that is in force. */
void ps_held_read(const struct ps_netns *netns, const struct ps_ruleset *before,
		  const struct ps_ruleset *after, struct ps_sockets *held)
{
	_cleanup_free_ struct ps_ports *ports = calloc(1, sizeof(*ports));
	size_t kept = 0;

	*held = (struct ps_sockets){};
	if (!ports || !ps_ruleset_has_mode(before, PS_MODE_BIND))
		return;
	for (size_t i = 0; i < before->count; i++) {
		const struct ps_rule *rule = &before->rules[i];

		if (rule->mode == PS_MODE_BIND)
			ps_ports_add(ports, rule->proto, rule->front, rule->front_last);
	}
	if (ps_sockets_read(netns, ports, held, NULL))
		return;
	ps_sockets_find_bound(held);
	for (size_t i = 0; i < held->count; i++) {
		if (is_held(&held->items[i], before, after))
			held->items[kept++] = held->items[i];
	}
	held->count = kept;
	ps_sockets_find_processes(held, PROCESSES);
}
