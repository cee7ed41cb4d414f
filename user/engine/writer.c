// SPDX-License-Identifier: GPL-2.0-only
#include "engine/writer.h"

#include "engine/lifecycle.h"
#include "engine/upgrade_finish.h"
#include "kernel/bpffs.h"
#include "os/refusal_facts.h"

void ps_writer_unlock(struct ps_writer *w)
{
	ps_bpffs_unlock(w->lock);
	w->lock = -1;
}

void ps_writer_end(struct ps_writer *w)
{
	ps_host_close(&w->host);
	ps_writer_unlock(w);
}

int ps_writer_begin(struct ps_writer *w, bool load, struct ps_error *error)
{
	int ret;

	w->lock = ps_bpffs_lock(error);
	if (w->lock < 0)
		return w->lock;
	ret = ps_upgrade_settle(error);
	if (ret)
		return ret;
	ret = load ? ps_host_load(&w->host, error) : ps_host_open(&w->host, error);
	if (ret)
		return ret;
	ret = ps_hooks_clean();
	if (!ret)
		ret = ps_clean(&w->host);
	return ret ? ps_fail_kernel(error, ret, "clean up after an interrupted command") : 0;
}
