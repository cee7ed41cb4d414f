// SPDX-License-Identifier: GPL-2.0-only
#include "engine/misfit_facts.h"

#include <stdlib.h>
#include <string.h>

#include "engine/report.h"
#include "os/cgroup.h"
#include "os/unit_name.h"
#include "os/users.h"
#include "util/util.h"

/* A cgroup, and the unit that it is of. */
struct place {
	uint64_t id;
	char *cgroup, *unit; /* NULL if not known */
};

/* What holds the socket is often still in the cgroup that it was made in. */
static char *path_by_process(const struct ps_socket *socket)
{
	for (uint32_t i = 0; i < socket->process_count; i++) {
		char *path = ps_cgroup_path_of(socket->processes[i].pid, socket->cgroup);

		if (path)
			return path;
	}
	return NULL;
}

static char *path_of(const struct ps_socket *socket)
{
	char path[PS_CGROUP_PATH];

	if (!ps_cgroup_path(socket->cgroup, path, sizeof(path)))
		return strdup(*path ? path : "/");
	return path_by_process(socket);
}

/* The name, if it leads to this cgroup or one above it, and is not only written there. */
static char *unit_of(const char *cgroup)
{
	_cleanup_free_ char *path = NULL, *note = NULL;
	char unit[PS_UNIT_NAME], text[PS_UNIT_NAME + 8];
	size_t length;

	if (!ps_misfit_unit(cgroup, unit, sizeof(unit)))
		return NULL;
	snprintf(text, sizeof(text), "unit:%s", unit);
	if (ps_cgroup_resolve(text, &path, &note, NULL))
		return NULL;
	length = strlen(path);
	if (strncmp(cgroup, path, length) || (cgroup[length] && cgroup[length] != '/'))
		return NULL;
	return strdup(unit);
}

/* systemd is asked, by a program: remember the last ones. */
static const struct place *place_of(const struct ps_socket *socket)
{
	static struct place cache[64];
	struct place *place = &cache[socket->cgroup % PS_ARRAY_SIZE(cache)];

	if (place->id == socket->cgroup && place->cgroup)
		return place;
	free(place->cgroup);
	free(place->unit);
	*place = (struct place){ .id = socket->cgroup };
	if (socket->cgroup)
		place->cgroup = path_of(socket);
	if (place->cgroup)
		place->unit = unit_of(place->cgroup);
	return place;
}

static uint8_t only_family(const struct ps_socket *socket)
{
	const char *family = ps_socket_family(socket);

	if (!strcmp(family, "dual"))
		return 0;
	return strcmp(family, "ipv4") ? 6 : 4;
}

/* Has the kernel rejected a listener of the rule's targets? */
static bool is_refused(const struct ps_report *report, const struct ps_rule *rule)
{
	const struct ps_ruleset *rules = &report->view.state.rules;
	const struct ps_rule *found = ps_report_rule(report, rule);

	return report->view.stats && found >= rules->rules && found < rules->rules + rules->count &&
	       report->view.stats[found - rules->rules].rejected;
}

struct ps_socket_facts ps_maker_facts(const struct ps_report *report, const struct ps_rule *rule,
				      const struct ps_socket *socket)
{
	const struct place *place = place_of(socket);
	struct ps_socket_facts facts = {
		.uid = socket->uid,
		.user = ps_user_name(socket->uid),
		.cgroup = place->cgroup,
		.unit = place->unit,
		.program = socket->process_count ? socket->processes[0].name : NULL,
		.port = socket->port,
		.family = only_family(socket),
		.in_prefix = ps_socket_in(socket, &rule->prefix),
		.mptcp = socket->mptcp,
		.hook_lost = rule->mode == PS_MODE_BIND ? report->view.bind_detached :
							  report->view.listen_detached,
		.refused = is_refused(report, rule),
		.unheld = !socket->process_count,
	};

	for (uint32_t i = 0; i < socket->process_count; i++)
		facts.became |= rule->owner.flags & PS_OWNER_USER &&
				socket->processes[i].uid == rule->owner.uid;
	return facts;
}

void ps_misfit_find(const struct ps_report *report, const struct ps_rule *rule,
		    const struct ps_socket *socket, struct ps_misfit *who)
{
	struct ps_socket_facts facts = ps_maker_facts(report, rule, socket);

	ps_misfit_tell(rule, &facts, who);
}
