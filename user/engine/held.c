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

/* Keep, of the sockets that were read, those that a deleted bind rule has bound. */
static void pick_held(struct ps_sockets *sockets, const struct ps_ruleset *before,
		      const struct ps_ruleset *after)
{
	size_t kept = 0;

	for (size_t s = 0; s < sockets->count; s++) {
		bool held = false;

		for (size_t i = 0; i < before->count && !held; i++)
			held = ps_socket_is_bound_by(&sockets->items[s], &before->rules[i]) &&
			       !is_kept(after, &before->rules[i]);
		if (held)
			sockets->items[kept++] = sockets->items[s];
	}
	sockets->count = kept;
}

/* They are marked as bound through a rule only as long as that is in force. */
void ps_held_read(const struct ps_netns *netns, const struct ps_ruleset *before,
		  const struct ps_ruleset *after, struct ps_sockets *held)
{
	_cleanup_free_ struct ps_ports *ports = calloc(1, sizeof(*ports));
	bool any = false;

	*held = (struct ps_sockets){};
	for (size_t i = 0; ports && i < before->count; i++) {
		const struct ps_rule *rule = &before->rules[i];

		if (rule->mode != PS_MODE_BIND)
			continue;
		any = true;
		ps_ports_add(ports, rule->proto, rule->front, rule->front_last);
	}
	if (!any || ps_sockets_read(netns, ports, held, NULL))
		return;
	ps_sockets_find_bound(held);
	pick_held(held, before, after);
	ps_sockets_find_processes(held, PROCESSES);
}
