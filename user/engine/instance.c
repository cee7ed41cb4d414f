// SPDX-License-Identifier: GPL-2.0-only
#include "engine/instance.h"

#include <errno.h>

#include "engine/change.h"
#include "engine/lifecycle.h"
#include "engine/needs.h"
#include "kernel/bpffs.h"
#include "os/refusal_facts.h"
#include "util/util.h"

#define _cleanup_writer_ __attribute__((cleanup(ps_writer_end)))

int ps_instance_load(const struct ps_netns *netns, bool *changed, struct ps_error *error)
{
	__attribute__((cleanup(ps_change_end))) struct ps_change change = PS_CHANGE_NONE;
	int ret = ps_change_begin(&change, netns, true, error);

	*changed = false;
	if (ret)
		return ret;
	ret = ps_change_commit(&change, NULL, error);
	*changed = change.changed;
	return ret;
}

/* Is this failure to open the shared state one that stays: a part is missing, or is
 * another version's? Not so a lack of memory, descriptors or permission. */
static bool is_beyond_repair(int ret)
{
	return ret == -ESRCH || ret == -ENOENT || ret == -EPROTO || ret == -EBADMSG;
}

/* Leftovers, a broken state or another version's: nothing of it can be kept, and
 * `unload` is the command that is told to remove it. */
static int remove_all(bool *changed, int why, struct ps_error *error)
{
	int ret = ps_host_remove();

	*changed = why != -ESRCH;
	return ret ? ps_fail_kernel(error, ret, "remove " PS_STATE) : 0;
}

int ps_instance_unload(const struct ps_netns *netns, bool *changed, struct ps_error *error)
{
	_cleanup_writer_ struct ps_writer w = PS_WRITER_NONE;
	int index, ret;

	*changed = false;
	if (!ps_bpffs_has_state())
		return 0;
	ret = ps_writer_begin(&w, false, error);
	if (ret && w.lock >= 0 && !w.host.instances && is_beyond_repair(ret))
		return remove_all(changed, ret, error);
	if (ret)
		return ret;
	index = ps_find_loaded(&w.host, netns->cookie);
	if (index == -ESRCH) {
		ps_drop_host_if_unused(&w.host);
		return 0;
	}
	ret = index < 0 ? index : ps_destroy(&w.host, netns->cookie, (uint32_t)index);
	if (ret)
		return ps_fail_kernel(error, ret, "unload");
	*changed = true;
	return 0;
}

int ps_instance_unload_all(bool *changed, struct ps_error *error)
{
	_cleanup_writer_ struct ps_writer w = PS_WRITER_NONE;
	int ret;

	*changed = false;
	if (!ps_bpffs_has_state())
		return 0;
	ret = ps_writer_begin(&w, false, error);
	if (ret && (w.lock < 0 || w.host.instances || !is_beyond_repair(ret)))
		return ret;
	/* Nothing is in force from here on; if we are killed, the rest is cleaned up later. */
	for (size_t i = 0; !ret && i < PS_MAX_INSTANCES; i++)
		ps_store(&w.host.instances[i].active, 0);
	return remove_all(changed, ret, error);
}
