// SPDX-License-Identifier: GPL-2.0-only
#include "engine/report.h"

#include <errno.h>
#include <string.h>

#include "compile/ids.h"
#include "kernel/bound.h"
#include "os/cgroup.h"
#include "util/util.h"

void ps_report_clear(struct ps_report *report)
{
	ps_view_clear(&report->view);
	ps_sockets_clear(&report->sockets);
	*report = (struct ps_report){};
}

static void add_ports(struct ps_ports *ports, const struct ps_rule *rule, bool fronts)
{
	if (ps_rule_is_fixed(rule))
		return;
	ps_ports_add(ports, rule->proto, rule->target, ps_rule_target_last(rule));
	if (fronts)
		ps_ports_add(ports, rule->proto, rule->front, rule->front_last);
}

void ps_report_ports(const struct ps_rule *rules, size_t count, struct ps_ports *ports)
{
	for (size_t i = 0; i < count; i++)
		add_ports(ports, &rules[i], true);
}

int ps_report_read(const struct ps_netns *netns, uint32_t each, struct ps_report *report,
		   struct ps_error *error)
{
	__attribute__((cleanup(ps_report_clear))) struct ps_report read = { .netns = netns };
	_cleanup_free_ struct ps_ports *ports = calloc(1, sizeof(*ports));
	const struct ps_ruleset *rules = &read.view.state.rules;
	struct ps_error why = {};
	int ret;

	if (!ports)
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	ret = ps_instance_view(netns, &read.view, error);
	if (ret)
		return ret;
	for (size_t i = 0; i < rules->count; i++)
		add_ports(ports, &rules->rules[i], rules->rules[i].mode == PS_MODE_BIND);
	ret = rules->count ? ps_sockets_read(netns, ports, &read.sockets, &why) : 0;
	if (!ret)
		ps_sockets_find_bound(&read.sockets);
	if (ret && why.status == PS_EXIT_UNSUPPORTED) {
		read.blind = "unknown; try 'modprobe -a tcp_diag udp_diag'";
		ret = 0;
	} else if (ret && error) {
		*error = why;
	}
	/* Whose the sockets are is shown where it can be told. */
	if (!ret && each)
		ps_sockets_find_processes(&read.sockets, each);
	if (ret)
		return ret;
	*report = read;
	read = (struct ps_report){};
	return 0;
}

int ps_report_take(struct ps_change *change, struct ps_look *look, struct ps_report *report)
{
	struct ps_opened *o = &change->opened;
	int ret = ps_look_read(look, o->netns, NULL);

	*report = (struct ps_report){ .netns = o->netns };
	if (!ret)
		ret = ps_view_take(&o->tables, &o->state, &report->view);
	if (ret)
		return ret;
	report->sockets = look->sockets;
	*look = (struct ps_look){};
	ps_sockets_find_bound(&report->sockets);
	return 0;
}

static int compare_rules(const void *a, const void *b)
{
	return ps_rule_compare(a, b);
}

const struct ps_rule *ps_report_rule(const struct ps_report *report, const struct ps_rule *rule)
{
	const struct ps_ruleset *rules = &report->view.state.rules;
	const struct ps_rule *found = rules->count ? bsearch(rule, rules->rules, rules->count,
							     sizeof(*rule), compare_rules) :
						     NULL;

	return found ? found : rule;
}

static struct ps_range range_of(const struct ps_report *report, uint8_t proto, uint16_t first,
				uint16_t last)
{
	return (struct ps_range){
		.first = ps_sockets_from(&report->sockets, proto, first),
		.end = ps_sockets_from(&report->sockets, proto, (uint32_t)last + 1),
	};
}

struct ps_range ps_report_fronts(const struct ps_report *report, const struct ps_rule *rule)
{
	return range_of(report, rule->proto, rule->front, rule->front_last);
}

struct ps_range ps_report_targets(const struct ps_report *report, const struct ps_rule *rule)
{
	if (ps_rule_is_grant(rule))
		return (struct ps_range){};
	return range_of(report, rule->proto, rule->target, ps_rule_target_last(rule));
}

static bool is_admitted(const struct ps_report *report, const struct ps_rule *rule,
			const struct ps_socket *socket)
{
	const struct ps_target *target =
		ps_state_target(&report->view.state, socket->port, &rule->owner);

	return target && ps_view_has(&report->view, target->id, socket->cookie);
}

/* Is it the socket of another rule in force? */
static bool is_of_another(const struct ps_report *report, const struct ps_rule *rule,
			  const struct ps_socket *socket)
{
	const struct ps_ruleset *rules = &report->view.state.rules;

	if (!socket->is_bound)
		return false;
	for (size_t i = 0; i < rules->count; i++) {
		const struct ps_rule *other = &rules->rules[i];

		if (other->mode == PS_MODE_BIND && ps_rule_events(other->id) == socket->mark.rule)
			return ps_rule_compare(rule, other);
	}
	return false;
}

static enum ps_relation relation_to_bind(const struct ps_report *report, const struct ps_rule *rule,
					 const struct ps_socket *socket)
{
	bool front = socket->port >= rule->front && socket->port <= rule->front_last;

	if (is_of_another(report, rule, socket))
		return PS_UNRELATED;
	if (ps_socket_is_bound_by(socket, rule))
		return PS_SERVES;
	return front && !ps_socket_meets(socket, &rule->prefix) ? PS_UNRELATED : PS_OTHER;
}

enum ps_relation ps_report_relation(const struct ps_report *report, const struct ps_rule *rule,
				    const struct ps_socket *socket)
{
	if (rule->mode == PS_MODE_BIND)
		return relation_to_bind(report, rule, socket);
	if (!ps_rule_has_targets(rule) || socket->port < rule->target ||
	    socket->port > ps_rule_target_last(rule))
		return PS_UNRELATED;
	return is_admitted(report, rule, socket) ? PS_SERVES : PS_OTHER;
}

static size_t each_of(const struct ps_report *report, const struct ps_rule *rule,
		      enum ps_relation relation, struct ps_range range, ps_socket_fn *fn,
		      void *data)
{
	size_t count = 0;

	for (size_t i = range.first; i < range.end; i++) {
		const struct ps_socket *socket = &report->sockets.items[i];

		if (ps_report_relation(report, rule, socket) != relation)
			continue;
		count++;
		if (fn)
			fn(socket, data);
	}
	return count;
}

size_t ps_report_each(const struct ps_report *report, const struct ps_rule *rule,
		      enum ps_relation relation, ps_socket_fn *fn, void *data)
{
	size_t count = 0;

	if (rule->mode == PS_MODE_BIND)
		count = each_of(report, rule, relation, ps_report_fronts(report, rule), fn, data);
	return count + each_of(report, rule, relation, ps_report_targets(report, rule), fn, data);
}

size_t ps_report_most_shown(const struct ps_report *report)
{
	enum { IN_ALL = 65536, EACH = 256 };
	size_t share = IN_ALL / (report->view.state.rules.count + 1);

	return share > EACH ? EACH : share + 1;
}
