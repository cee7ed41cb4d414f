// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/bound.h"

#include <errno.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "kernel/hooks.h"
#include "util/util.h"

/* The marks of all sockets on the host that were bound through rules, by cookie. */
struct marks {
	struct ps_mark *items; /* owned */
	size_t count;
};

static int open_iterator(const struct ps_hooks *hooks)
{
	_cleanup_close_ int link =
		bpf_link_create(hooks->fd[PS_HOOKS_MARKS], 0, BPF_TRACE_ITER, NULL);
	int iterator;

	if (link < 0)
		return -errno;
	iterator = bpf_iter_create(link);
	return iterator < 0 ? -errno : iterator;
}

static int compare_marks(const void *left, const void *right)
{
	const struct ps_mark *a = left, *b = right;

	return (a->cookie > b->cookie) - (a->cookie < b->cookie);
}

static void clear_marks(struct marks *marks)
{
	free(marks->items);
	*marks = (struct marks){};
}

/* The kernel hands out whole pages, which do not end where a mark does. */
static int read_all(int iterator, struct marks *marks)
{
	size_t used = 0, room = 0;
	char *bytes = NULL;
	ssize_t got = 1;

	while (got) {
		if (used == room) {
			char *grown = realloc(bytes, room + 64 * sizeof(struct ps_mark));

			if (!grown) {
				free(bytes);
				return -ENOMEM;
			}
			bytes = grown;
			room += 64 * sizeof(struct ps_mark);
		}
		got = read(iterator, bytes + used, room - used);
		if (got < 0 && errno != EINTR && errno != EAGAIN) {
			free(bytes);
			return -errno;
		}
		used += got > 0 ? (size_t)got : 0;
	}
	marks->items = (void *)bytes;
	marks->count = used / sizeof(struct ps_mark);
	return 0;
}

static int read_marks(struct marks *marks)
{
	__attribute__((cleanup(ps_hooks_close))) struct ps_hooks hooks = PS_HOOKS_NONE;
	_cleanup_close_ int iterator = -1;
	int ret = ps_hooks_open(&hooks, NULL);

	*marks = (struct marks){};
	if (ret || !hooks.loaded[PS_SET_BIND])
		return ret;
	iterator = open_iterator(&hooks);
	ret = iterator < 0 ? iterator : read_all(iterator, marks);
	if (!ret && marks->count)
		qsort(marks->items, marks->count, sizeof(*marks->items), compare_marks);
	return ret;
}

static const struct ps_bound *find_mark(const struct marks *marks, uint64_t cookie)
{
	const struct ps_mark key = { .cookie = cookie };
	const struct ps_mark *found = marks->count ? bsearch(&key, marks->items, marks->count,
							     sizeof(key), compare_marks) :
						     NULL;

	return found ? &found->on : NULL;
}

/* Sockets have cookies from the dump on. */
void ps_sockets_find_bound(struct ps_sockets *sockets)
{
	struct marks marks = {};
	/* Without the marks, sockets are shown as not bound through a rule. */
	bool known = sockets->count && !read_marks(&marks);

	for (size_t i = 0; i < sockets->count; i++) {
		struct ps_socket *socket = &sockets->items[i];
		const struct ps_bound *mark = known ? find_mark(&marks, socket->cookie) : NULL;

		/* A bind that failed leaves its mark, too: it is about its port only. */
		socket->is_bound = mark && mark->front == socket->port;
		if (socket->is_bound)
			socket->mark = *mark;
	}
	clear_marks(&marks);
}
