// SPDX-License-Identifier: GPL-2.0-only
#include "os/privilege.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <linux/capability.h>

#include "util/util.h"

static uint64_t effective_by_call(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

	if (syscall(SYS_capget, &header, data))
		return 0;
	return data[0].effective | (uint64_t)data[1].effective << 32;
}

/* The capabilities in effect, a bit each; none if they cannot be told. A security module leaves out
 * of capget(2) what it denies (apparmor_capget() in the kernel), so that its denial would look like
 * a lack of privileges; /proc has those that the process has. */
static uint64_t effective(void)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/self/status", "re");
	char line[256];
	uint64_t caps;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "CapEff: %" SCNx64, &caps) == 1)
			return caps;
	}
	return effective_by_call();
}

/* Either is enough for every program of ours (capabilities(7), bpf_capable() in the kernel). */
static bool may_load(void)
{
	const uint64_t narrow = 1ULL << CAP_BPF | 1ULL << CAP_NET_ADMIN | 1ULL << CAP_PERFMON;
	uint64_t caps = effective();

	return caps & 1ULL << CAP_SYS_ADMIN || (caps & narrow) == narrow;
}

int ps_load_result(int ret)
{
	return ret && !may_load() ? -EPERM : ret;
}

bool ps_has_rights(void)
{
	const uint64_t both = 1ULL << CAP_SYS_ADMIN | 1ULL << CAP_NET_ADMIN;

	return !geteuid() && (effective() & both) == both;
}
