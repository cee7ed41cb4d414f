// SPDX-License-Identifier: GPL-2.0-only
#include "os/kernel_services.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/bpf_types.h"
#include "util/util.h"

/*
 * The programs let no socket in that the kernel made for itself. But rpc.nfsd makes sockets of its
 * own and hands them to the kernel when they listen, which nothing tells from others' before;
 * nfsd then puts its data where a map of sockets has put its own. So its ports are refused; and
 * those of others, where such a rule could serve nobody.
 */
static const struct service {
	const char *module;
	const char *name;
	uint16_t port;
} services[] = {
	{ "nfsd", "the kernel's NFS server", 2049 },
	{ "ksmbd", "the kernel's SMB server", 445 },
	{ "nvmet_tcp", "the kernel's NVMe target", 4420 },
	{ "iscsi_target_mod", "the kernel's iSCSI target", 3260 },
	{ "rds_tcp", "the kernel's RDS", 16385 },
	{ "dlm", "the kernel's lock manager", 21064 },
};

#define NFSD_PORTS "/proc/fs/nfsd/portlist"

static bool is_loaded(const struct service *service)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/module/%s", service->module);
	return ps_exists(path);
}

static bool leads_to(const struct ps_rule *rule, uint32_t port)
{
	return ps_rule_has_targets(rule) && port >= rule->target &&
	       port <= ps_rule_target_last(rule);
}

/* A port that nfsd says it listens on and that the rule leads to, or 0. */
static uint32_t nfsd_port(const struct ps_rule *rule)
{
	FILE *list = fopen(NFSD_PORTS, "re");
	char transport[32];
	uint32_t port = 0, found = 0;

	/* Lines such as "tcp 2049". */
	while (list && fscanf(list, "%31s %u", transport, &port) == 2) {
		if (!strncmp(transport, "tcp", 3) && leads_to(rule, port))
			found = port;
	}
	if (list)
		fclose(list);
	return found;
}

/* Could root's listeners be the rule's? A rule that only refuses connections has none. */
static bool may_be_roots(const struct ps_rule *rule)
{
	return !ps_rule_is_block(rule) &&
	       (!(rule->owner.flags & PS_OWNER_USER) || !rule->owner.uid);
}

static bool has_rule(const struct ps_ruleset *set, const struct ps_rule *rule)
{
	for (size_t i = 0; i < set->count; i++) {
		if (ps_rule_equal(&set->rules[i], rule))
			return true;
	}
	return false;
}

static int refuse(const struct service *service, uint32_t port, struct ps_error *error)
{
	return ps_fail(error, PS_EXIT_FAILED, EBUSY,
		       "port %u belongs to %s (the module %s is loaded), whose sockets cannot be "
		       "steered to; choose another target port, or name a user other than root as "
		       "the owner",
		       port, service->name, service->module);
}

size_t ps_services_find(const struct ps_rule *rules, size_t count, size_t from,
			struct ps_error *error)
{
	bool loaded[PS_ARRAY_SIZE(services)];

	for (size_t s = 0; s < PS_ARRAY_SIZE(services); s++)
		loaded[s] = is_loaded(&services[s]);
	for (size_t i = from; i < count; i++) {
		for (size_t s = 0; s < PS_ARRAY_SIZE(services) && may_be_roots(&rules[i]); s++) {
			uint32_t port = 0;

			if (loaded[s] && leads_to(&rules[i], services[s].port))
				port = services[s].port;
			else if (loaded[s] && !s)
				port = nfsd_port(&rules[i]);
			if (port) {
				refuse(&services[s], port, error);
				return i;
			}
		}
	}
	return count;
}

int ps_services_refuse(const struct ps_ruleset *before, const struct ps_ruleset *rules,
		       struct ps_error *error)
{
	size_t i = 0;

	while ((i = ps_services_find(rules->rules, rules->count, i, error)) < rules->count) {
		if (!has_rule(before, &rules->rules[i]))
			return -EBUSY;
		i++;
	}
	return 0;
}
