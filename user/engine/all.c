// SPDX-License-Identifier: GPL-2.0-only
#include "engine/all.h"

#include <errno.h>
#include <string.h>

#include "engine/lifecycle.h"
#include "os/netns.h"
#include "os/netns_names.h"
#include "util/util.h"

/* The state of one reading. */
struct reading {
	const struct ps_netns *own;
	uint32_t each;
	struct ps_host_info info; /* its instances only */
	struct ps_place *places; /* of the namespaces but our own */
	size_t place_count;
};

static void reading_clear(struct reading *r)
{
	ps_host_info_clear(&r->info);
	free(r->places);
}

void ps_all_clear(struct ps_all *all)
{
	for (size_t i = 0; i < all->count; i++)
		ps_report_clear(&all->items[i].report);
	free(all->items);
	*all = (struct ps_all){};
}

static int find_places(struct reading *r)
{
	r->places = calloc(r->info.instance_count + 1, sizeof(*r->places));
	if (!r->places)
		return -ENOMEM;
	for (size_t i = 0; i < r->info.instance_count; i++) {
		const struct ps_instance_info *instance = &r->info.instances[i];

		if (instance->netns_inode && instance->cookie != r->own->cookie)
			r->places[r->place_count++].inode = instance->netns_inode;
	}
	ps_places_find(r->places, r->place_count);
	return 0;
}

int ps_instances_name(const struct ps_netns *own, struct ps_host_info *info, struct ps_error *error)
{
	struct reading r = { .own = own, .info = *info };
	const struct ps_place *place;

	if (find_places(&r))
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	for (size_t i = 0; i < info->instance_count; i++) {
		struct ps_instance_info *instance = &info->instances[i];
		bool is_own = instance->cookie == own->cookie;

		place = is_own ? NULL : ps_place_of(r.places, r.place_count, instance->netns_inode);
		snprintf(instance->label, sizeof(instance->label), "%s",
			 is_own ? own->label :
			 place	? place->label :
				  "");
	}
	free(r.places);
	return 0;
}

/* A lack that says nothing about the namespace or its instance. */
static bool is_of_the_moment(int ret)
{
	return ret == -EMFILE || ret == -ENFILE || ret == -ENOMEM || ret == -EPERM ||
	       ret == -EACCES;
}

/* Open the namespace: 0 also if it is not to be found (then there is no label), -ESRCH if
 * it has ended since. */
static int open_place(const struct ps_place *place, uint64_t cookie, struct ps_netns *netns,
		      struct ps_error *error)
{
	struct ps_netns opened = PS_NETNS_NONE;
	uint32_t inode;
	int ret = *place->path ? ps_netns_open(place->path, &opened, error) : 0;

	if (is_of_the_moment(ret))
		return ret;
	/* The process may have ended, and another may have its id. */
	if (opened.fd >= 0 && opened.cookie == cookie) {
		*netns = opened;
		snprintf(netns->label, sizeof(netns->label), "%s", place->label);
		return 0;
	}
	ps_netns_close(&opened);
	return ps_is_dead(cookie, &inode) == 1 ? -ESRCH : 0;
}

/* Rules and counters, and `why` there is nothing about sockets. */
static int read_view(struct ps_listed *item, const char *why, struct ps_error *error)
{
	item->report.netns = &item->netns;
	item->report.blind = why;
	return ps_instance_view(&item->netns, &item->report.view, error);
}

/* The rules that a namespace left, if they can still be read. */
static int read_gone(struct ps_listed *item, struct ps_error *error)
{
	int ret;

	strcpy(item->netns.label, "gone");
	ret = read_view(item, "none; this namespace no longer exists", error);
	return ret && !is_of_the_moment(ret) ? -ESRCH : ret;
}

static int read_other(struct reading *r, struct ps_listed *item, struct ps_error *error)
{
	const struct ps_place *place = ps_place_of(r->places, r->place_count, item->inode);
	int ret;

	if (!r->each) {
		snprintf(item->netns.label, sizeof(item->netns.label), "%s", place->label);
		return read_view(item, NULL, error);
	}
	ret = open_place(place, item->netns.cookie, &item->netns, error);
	if (ret)
		return ret;
	/* Without a descriptor, sockets would be those of our own namespace. */
	if (item->netns.fd < 0)
		return read_view(item, "unknown; this namespace has no name and no process", error);
	ret = ps_report_read(&item->netns, 0, &item->report, error);
	ps_netns_close(&item->netns);
	return ret;
}

static int read_own(struct reading *r, struct ps_listed *item, struct ps_error *error)
{
	item->netns = *r->own;
	return r->each ? ps_report_read(&item->netns, 0, &item->report, error) :
			 read_view(item, NULL, error);
}

static int read_one(struct reading *r, const struct ps_instance_info *instance,
		    struct ps_listed *item, struct ps_error *error)
{
	*item = (struct ps_listed){ .netns = PS_NETNS_NONE, .inode = instance->netns_inode };
	item->netns.cookie = instance->cookie;
	if (instance->cookie == r->own->cookie)
		return read_own(r, item, error);
	return item->inode ? read_other(r, item, error) : read_gone(item, error);
}

static int read_reports(struct reading *r, struct ps_all *all, struct ps_error *error)
{
	for (size_t i = 0; i < r->info.instance_count; i++) {
		struct ps_listed *item = &all->items[all->count];
		int ret = read_one(r, &r->info.instances[i], item, error);

		if (!ret) {
			all->count++;
			continue;
		}
		ps_report_clear(&item->report);
		if (ret != -ESRCH)
			return ret;
	}
	return 0;
}

/* One search in /proc for the sockets of all. Whose they are is shown where it can be
 * told. */
static void find_processes(struct ps_all *all, uint32_t each)
{
	struct ps_sockets together = {};
	size_t count = 0;

	for (size_t i = 0; i < all->count; i++)
		count += all->items[i].report.sockets.count;
	together.items = calloc(count + 1, sizeof(*together.items));
	if (!together.items)
		return;
	for (size_t i = 0; i < all->count; i++) {
		const struct ps_sockets *from = &all->items[i].report.sockets;

		for (size_t n = 0; n < from->count; n++)
			together.items[together.count++] = from->items[n];
	}
	ps_sockets_find_processes(&together, each);
	for (size_t i = all->count; i--;) {
		struct ps_sockets *to = &all->items[i].report.sockets;

		for (size_t n = to->count; n--;)
			to->items[n] = together.items[--together.count];
	}
	free(together.items);
}

static int prepare(struct reading *r, struct ps_all *all, struct ps_error *error)
{
	int ret = ps_instances_read(&r->info, error);

	if (ret)
		return ret;
	all->items = calloc(r->info.instance_count + 1, sizeof(*all->items));
	if (!all->items || find_places(r))
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	return 0;
}

int ps_all_read(const struct ps_netns *own, uint32_t each, struct ps_all *all,
		struct ps_error *error)
{
	__attribute__((cleanup(reading_clear))) struct reading r = { .own = own, .each = each };
	struct ps_all read = {};
	int ret = prepare(&r, &read, error);

	if (!ret)
		ret = read_reports(&r, &read, error);
	if (!ret && !read.count)
		ret = ps_fail(error, PS_EXIT_NOT_LOADED, ESRCH,
			      "portsteer is not loaded; run 'portsteer load' or 'portsteer add'");
	if (!ret && each)
		find_processes(&read, each);
	if (ret)
		ps_all_clear(&read);
	else
		*all = read;
	return ret;
}
