// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/host_fd.h"

#include <string.h>

#include "util/bpf_types.h"

const char *const ps_host_pin[PS_HOST_FDS] = {
	[PS_HOST_INSTANCES] = "instances",
	[PS_HOST_NETNS] = "netns",
	[PS_HOST_ADMITS] = "admits",
	[PS_HOST_OWNERS] = "owners",
	[PS_HOST_SOCKETS] = "sockets",
	[PS_HOST_TARGETS] = "targets",
	[PS_HOST_EVENTS] = "events",
	[PS_HOST_OVERFLOWS] = "overflows",
	[PS_HOST_SCAN_ARGS] = "scan_args",
	[PS_HOST_SEEN] = "seen",
	[PS_HOST_MARK] = "mark",
	[PS_HOST_LISTEN] = "listen",
	[PS_HOST_SCAN] = "scan",
	[PS_HOST_SCOPES] = "scopes",
	[PS_HOST_HOPS] = "hops",
	[PS_HOST_SCOPES_FOUND] = "scopes_found",
	[PS_HOST_TRAILS] = "trails",
	[PS_HOST_FLOWS] = "flows",
	[PS_HOST_REFUSALS] = "refusals",
	[PS_HOST_REFUSED] = "refused",
	[PS_HOST_CLIENT_FILTER] = "filter",
};

int ps_host_map(const int fd[PS_HOST_FDS], const char *name)
{
	if (strncmp(name, PORTSTEER_PREFIX, strlen(PORTSTEER_PREFIX)))
		return -1;
	for (int i = 0; i < PS_HOST_FDS; i++) {
		if (!strcmp(name + strlen(PORTSTEER_PREFIX), ps_host_pin[i]))
			return fd[i];
	}
	return -1;
}
