// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/build.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "build_id.h"
#include "kernel/bpffs.h"
#include "kernel/kmap.h"
#include "util/util.h"

/* More is not asked for in one element; what says so is damaged. */
enum { MAX_ELEMENT = 4096 };

void ps_build_own(struct ps_build *build)
{
	*build = (struct ps_build){
		.magic = PS_BUILD_MAGIC,
		.version = PS_BUILD_VERSION,
		.abi = PORTSTEER_ABI,
		.id = PORTSTEER_BUILD_ID,
		.instance_size = sizeof(struct ps_instance),
		.instance_word = offsetof(struct ps_instance, active),
		.bound = PS_BOUND_LAYOUT,
		.trails = PS_TRAILS_LAYOUT,
	};
}

int ps_build_pin(const char *path)
{
	_cleanup_close_ int fd = ps_map_make(BPF_MAP_TYPE_ARRAY, "build", sizeof(__u32),
					     sizeof(struct ps_build), 1, 0);
	struct ps_build own;
	__u32 zero = 0;

	ps_build_own(&own);
	if (fd < 0)
		return fd;
	return bpf_map_update_elem(fd, &zero, &own, 0) ? -errno : ps_bpffs_replace(fd, path);
}

static int refuse(struct ps_error *error, const char *folder, const char *why)
{
	return ps_fail(error, PS_EXIT_FAILED, EPROTO,
		       "cannot take over the state in %s: %s; continue with the version that "
		       "created it, or run 'portsteer unload' and add the rules again",
		       folder, why);
}

/* Can it be read by this build? */
static int check_build(const char *folder, const struct ps_build *b, struct ps_error *error)
{
	char why[128];

	if (b->magic != PS_BUILD_MAGIC)
		return refuse(error, folder, "its version record is damaged");
	if (b->version != PS_BUILD_VERSION) {
		snprintf(why, sizeof(why),
			 "its version record has format %" PRIu32 ", this version supports %d",
			 b->version, PS_BUILD_VERSION);
		return refuse(error, folder, why);
	}
	if (b->instance_size > MAX_ELEMENT || b->instance_word % 8 ||
	    b->instance_word > MAX_ELEMENT || b->instance_word + 8 > b->instance_size)
		return refuse(error, folder, "its version record is damaged");
	return 0;
}

int ps_build_read(const char *folder, struct ps_build *build, struct ps_error *error)
{
	_cleanup_close_ int fd = -1;
	struct ps_build read = {};
	char path[PS_PATH];
	__u32 zero = 0;
	int ret = 0;

	snprintf(path, sizeof(path), "%s/host", folder);
	if (!ps_exists(path))
		return -errno;
	snprintf(path, sizeof(path), "%s/host/build", folder);
	fd = ps_bpffs_open_map_of(path, BPF_MAP_TYPE_ARRAY, sizeof(zero), sizeof(read));
	if (fd < 0)
		ret = fd;
	else if (bpf_map_lookup_elem(fd, &zero, &read))
		ret = -errno;
	if (ret == -ENOENT || ret == -EPROTO || ret == -EBADMSG)
		return refuse(error, folder, "it is from an unknown version, or damaged");
	if (ret)
		return ps_fail_kernel(error, ret, "read the version of the loaded state");
	ret = check_build(folder, &read, error);
	if (!ret)
		*build = read;
	return ret;
}
