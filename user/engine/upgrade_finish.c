// SPDX-License-Identifier: GPL-2.0-only
#include "engine/upgrade_finish.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/bpffs.h"
#include "kernel/kmap.h"
#include "kernel/link.h"
#include "util/util.h"

/* PS_UPGRADING when the links are the new state's: to be removed. */
#define UPGRADED "upgraded"

static bool exists(const char *path)
{
	struct stat st;

	return !lstat(path, &st);
}

/* Give a link the program that is pinned at `path`, if there is one. */
static int give_link(int link, const struct bpf_link_info *info, const char *path)
{
	_cleanup_close_ int program = ps_bpffs_open_any(path);

	if (program < 0)
		return program == -ENOENT ? 0 : program;
	return ps_link_give(link, info, program);
}

static int give_cgroup_link(int link, const struct bpf_link_info *info, const char *pin, void *data)
{
	char path[PS_PATH];

	(void)pin;
	(void)data;
	if (info->type != BPF_LINK_TYPE_CGROUP)
		return 0;
	snprintf(path, sizeof(path), PS_STATE "/" PS_UPGRADING "/cgroup-%" PRIu32,
		 info->cgroup.attach_type);
	return give_link(link, info, path);
}

static int give_netns_link(int link, const struct bpf_link_info *info, const char *pin, void *data)
{
	char path[PS_PATH];

	(void)pin;
	if (info->type != BPF_LINK_TYPE_NETNS)
		return 0;
	snprintf(path, sizeof(path), "%s/steer", (const char *)data);
	return give_link(link, info, path);
}

static int give_set(const char *name, void *data)
{
	char folder[PS_PATH];

	(void)data;
	snprintf(folder, sizeof(folder), PS_STATE "/host/%.255s", name);
	return ps_each_link(folder, give_cgroup_link, NULL);
}

static int give_instance(const char *name, void *data)
{
	char folder[PS_PATH];

	(void)data;
	if (strncmp(name, "ns-", 3))
		return 0;
	snprintf(folder, sizeof(folder), PS_STATE "/%.255s", name);
	return ps_each_link(folder, give_netns_link, folder);
}

static bool is_of_listen(const struct bpf_link_info *info)
{
	return info->type == BPF_LINK_TYPE_CGROUP &&
	       info->cgroup.attach_type == BPF_CGROUP_SOCK_OPS;
}

static int detach_listen(int link, const struct bpf_link_info *info, const char *pin, void *data)
{
	(void)link;
	(void)data;
	return is_of_listen(info) && unlink(pin) && errno != ENOENT ? -errno : 0;
}

/* The links to the new programs; then none of the old ones runs any more. */
static int give_links(void)
{
	int ret = ps_bpffs_each(PS_STATE "/host", give_set, NULL);

	if (!ret)
		ret = ps_bpffs_each(PS_STATE, give_instance, NULL);
	if (!ret)
		ret = ps_each_link(PS_ASIDE "/host", detach_listen, NULL);
	return ret ? ret : ps_wait_for_programs();
}

static int finish(void)
{
	int ret = give_links();

	if (!ret && rename(PS_STATE "/" PS_UPGRADING, PS_STATE "/" UPGRADED))
		ret = -errno;
	return ret;
}

int ps_upgrade_settle(struct ps_error *error)
{
	int ret = 0;

	if (exists(PS_STATE "/" PS_UPGRADING))
		ret = finish();
	if (!ret)
		ret = ps_bpffs_remove(PS_ASIDE);
	if (!ret)
		ret = ps_bpffs_remove(PS_STATE "/" UPGRADED);
	if (!ret)
		ret = ps_bpffs_remove(PS_STATE "/" PS_REPLACING);
	return ret ? ps_fail(error, PS_EXIT_FAILED, -ret,
			     "cannot finish an interrupted upgrade: %s; the rules stay in force; "
			     "run 'portsteer upgrade' again",
			     strerror(-ret)) :
		     0;
}

bool ps_upgrade_is_unfinished(void)
{
	return exists(PS_ASIDE);
}
