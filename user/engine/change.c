// SPDX-License-Identifier: GPL-2.0-only
#include "engine/change.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/lifecycle.h"
#include "kernel/attach_points.h"
#include "kernel/bpffs.h"
#include "kernel/others.h"
#include "os/kernel_services.h"
#include "os/refusal_facts.h"
#include "util/util.h"

/* In the state folder, while listeners that a lost hook has missed are looked for. */
#define RENEWING "renewing"

struct renewing {
	struct ps_host *host;
	struct ps_error *error;
};

/* Look for the listeners of all targets of an instance, attaching the listen hook if it is not. */
static int renew_one(uint64_t cookie, uint32_t index, void *data)
{
	__attribute__((cleanup(ps_opened_close))) struct ps_opened o = PS_OPENED_NONE;
	const struct renewing *renewing = data;
	int ret;

	if (!ps_fetch(&renewing->host->instances[index].active))
		return 0;
	o.host = renewing->host;
	ret = ps_tables_open(o.host, cookie, index, &o.tables, renewing->error);
	if (ret)
		return ret;
	ret = ps_opened_read(&o, renewing->error);
	if (ret || !o.state.target_count)
		return ret;
	o.state.renew_targets = true;
	return ps_publish(&o, &o.state.rules, NULL, renewing->error);
}

/* The hook is one for all instances: once it is attached again, nothing shows that listeners
 * were missed. So a folder says that until all of them were looked for. */
static int renew_all(struct ps_host *host, struct ps_error *error)
{
	struct renewing renewing = { .host = host, .error = error };
	char mark[PS_PATH];
	int ret;

	ps_bpffs_path(mark, RENEWING);
	if (mkdir(mark, 0700) && errno != EEXIST)
		return ps_fail_kernel(error, errno, "record that a scan for listeners is needed");
	ret = ps_host_each(host, renew_one, &renewing);
	if (!ret && rmdir(mark))
		ret = ps_fail_kernel(error, errno, "record that the scan for listeners is done");
	return ret;
}

/* Were hooks detached by somebody, or is a command that attached them again not through? Then put
 * everything in order, and say so. */
static int revive(struct ps_host *host, const struct ps_netns *netns, const struct ps_state *state,
		  bool *revived, struct ps_error *error)
{
	char mark[PS_PATH];
	int ret = ps_hooks_revive(&host->hooks, error);

	if (ret < 0)
		return ret;
	*revived = ret > 0;
	if (ps_ruleset_has_targets(&state->rules)) {
		ret = ps_steer_attach(netns);
		if (ret < 0)
			return ps_fail_attach_netns(error, ret);
		*revived |= ret > 0;
	}
	/* The hook of other instances may be lost where this one has had no need of it. */
	ret = ps_attach_points_lost();
	if (ret < 0)
		return ps_fail_kernel(error, ret, "inspect the listen hook");
	ps_bpffs_path(mark, RENEWING);
	if (!ret && !ps_exists(mark) && ps_listen_is_lost(state) <= 0)
		return 0;
	*revived = true;
	return renew_all(host, error);
}

/* Before and after it, the rules are the same; their targets are not. */
static int revive_and_read(struct ps_change *c, struct ps_error *error)
{
	bool revived;
	int ret = revive(&c->writer.host, c->opened.netns, &c->opened.state, &revived, error);

	if (ret || !revived)
		return ret;
	c->changed = true;
	return ps_opened_read(&c->opened, error);
}

static int find_or_make(struct ps_change *c, bool load, struct ps_error *error)
{
	const struct ps_netns *netns = c->opened.netns;
	struct ps_host *host = &c->writer.host;
	int index = ps_find_loaded(host, netns->cookie);

	if (index == -ESRCH && load) {
		index = ps_create(host, netns, error);
		c->made = index >= 0;
		/* A command that loaded the shared objects and then failed takes them away. */
		if (index < 0) {
			ps_drop_host_if_unused(host);
			return index;
		}
	}
	if (index < 0)
		return ps_fail(error, PS_EXIT_NOT_LOADED, ESRCH,
			       "portsteer is not loaded in %s; run 'portsteer load' or 'portsteer "
			       "add'",
			       netns->label);
	c->index = (uint32_t)index;
	return 0;
}

int ps_change_begin(struct ps_change *c, const struct ps_netns *netns, bool load,
		    struct ps_error *error)
{
	struct ps_host *host = &c->writer.host;
	int ret = ps_writer_begin(&c->writer, load, error);

	if (ret)
		return ret;
	c->opened.host = host;
	c->opened.netns = netns;
	ret = find_or_make(c, load, error);
	if (ret)
		return ret;
	ret = ps_tables_open(host, netns->cookie, c->index, &c->opened.tables, error);
	if (ret)
		return ret;
	ret = ps_opened_read(&c->opened, error);
	if (ret)
		return ret;
	if (!c->made)
		ret = revive_and_read(c, error);
	if (ret)
		return ret;
	return ps_ruleset_copy(&c->opened.state.rules, &c->rules) ?
		       ps_fail_kernel(error, ENOMEM, "read the rules in force") :
		       0;
}

/* Storing its word is what loads a new instance. */
static void load_empty(struct ps_instance *instance)
{
	uint64_t word = ps_present_word(instance);

	ps_store(&instance->pending, word);
	ps_store(&instance->active, word);
}

static int commit(struct ps_change *c, struct ps_look *look, struct ps_error *error)
{
	struct ps_opened *o = &c->opened;
	struct ps_diff diff = ps_ruleset_diff(&o->state.rules, &c->rules);
	int ret = ps_services_refuse(&o->state.rules, &c->rules, error);

	if (ret)
		return ret;
	if (diff.added || diff.removed || diff.changed || diff.moved) {
		c->changed = true;
		return ps_publish(o, &c->rules, look, error);
	}
	if (c->made)
		load_empty(o->tables.instance);
	else
		ps_publish_nothing(o);
	return 0;
}

int ps_change_commit(struct ps_change *c, struct ps_look *look, struct ps_error *error)
{
	/* Others' instances may have lost what this one begins to need. */
	int ret = c->made && c->rules.count ? revive_and_read(c, error) : 0;

	if (!ret)
		ret = commit(c, look, error);
	if (ret)
		return ret;
	c->changed |= c->made;
	c->made = false;
	ps_writer_unlock(&c->writer);
	return 0;
}

void ps_change_end(struct ps_change *c)
{
	const struct ps_netns *netns = c->opened.netns;

	ps_opened_close(&c->opened);
	ps_ruleset_clear(&c->rules);
	if (c->made)
		ps_destroy(&c->writer.host, netns->cookie, c->index);
	ps_writer_end(&c->writer);
	*c = (struct ps_change)PS_CHANGE_NONE;
}
