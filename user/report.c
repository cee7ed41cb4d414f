// SPDX-License-Identifier: GPL-2.0-only
#include "report.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>

#include "util.h"

void ps_report_clear(struct ps_report *report)
{
	ps_view_clear(&report->view);
	ps_sockets_clear(&report->sockets);
	*report = (struct ps_report){};
}

uint16_t ps_rule_target_last(const struct ps_rule *rule)
{
	return (uint16_t)(rule->target + (rule->front_last - rule->front));
}

int ps_report_read(const struct ps_netns *netns, const struct ps_ruleset *rules, uint32_t each,
		   struct ps_report *report, struct ps_error *error)
{
	struct ps_report read = { .netns = netns };
	_cleanup_free_ struct ps_ports *ports = calloc(1, sizeof(*ports));
	struct ps_error why = {};
	int ret;

	if (!ports)
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	ret = ps_instance_view(netns, &read.view, error);
	if (ret)
		return ret;
	if (!rules)
		rules = &read.view.state.rules;
	for (size_t i = 0; i < rules->count; i++)
		ps_ports_add(ports, rules->rules[i].target, ps_rule_target_last(&rules->rules[i]));
	ret = rules->count ? ps_sockets_read(netns, ports, &read.sockets, &why) : 0;
	if (ret && why.status == PS_EXIT_UNSUPPORTED) {
		read.blind = true;
		ret = 0;
	} else if (ret && error) {
		*error = why;
	}
	/* Whose the sockets are is shown where it can be told. */
	if (!ret && each)
		ps_sockets_find_processes(&read.sockets, each);
	if (ret)
		ps_report_clear(&read);
	else
		*report = read;
	return ret;
}

struct ps_range ps_report_range(const struct ps_report *report, const struct ps_rule *rule)
{
	uint16_t last = ps_rule_target_last(rule);
	struct ps_range range = { .first = ps_sockets_from(&report->sockets, rule->target) };

	range.end = last == UINT16_MAX ? report->sockets.count :
					 ps_sockets_from(&report->sockets, (uint16_t)(last + 1));
	return range;
}

bool ps_report_admitted(const struct ps_report *report, const struct ps_rule *rule,
			const struct ps_socket *socket)
{
	const struct ps_target *target =
		ps_state_target(&report->view.state, socket->port, &rule->owner);

	return target && ps_view_has(&report->view, target->id, socket->cookie);
}

size_t ps_report_count(const struct ps_report *report, const struct ps_rule *rule)
{
	struct ps_range range = ps_report_range(report, rule);
	size_t count = 0;

	for (size_t i = range.first; i < range.end; i++)
		count += ps_report_admitted(report, rule, &report->sockets.items[i]);
	return count;
}

size_t ps_report_most_shown(const struct ps_report *report)
{
	enum { IN_ALL = 65536, EACH = 256 };
	size_t share = IN_ALL / (report->view.state.rules.count + 1);

	return share > EACH ? EACH : share + 1;
}

const char *ps_report_reason(const struct ps_rule *rule, const struct ps_socket *socket)
{
	if (rule->owner.flags & PS_OWNER_USER && rule->owner.uid != socket->uid)
		return "not the owner's";
	if (socket->mptcp)
		return "an MPTCP socket, which this kernel cannot steer to";
	if (rule->owner.flags & PS_OWNER_CGROUP)
		return "not in the owner's cgroup";
	return "not admitted";
}

const char *ps_user_name(uint32_t uid)
{
	/* A look-up may ask a server far away: remember the last ones. */
	static struct {
		bool known;
		uint32_t uid;
		char *name;
	} cache[256];
	unsigned int slot = uid % PS_ARRAY_SIZE(cache);
	const struct passwd *entry;

	if (cache[slot].known && cache[slot].uid == uid)
		return cache[slot].name;
	entry = getpwuid(uid);
	free(cache[slot].name);
	cache[slot].known = true;
	cache[slot].uid = uid;
	cache[slot].name = entry ? strdup(entry->pw_name) : NULL;
	return cache[slot].name;
}
