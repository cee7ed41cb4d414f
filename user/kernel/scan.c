// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/scan.h"

#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>

#include "os/refusal_facts.h"
#include "util/patience.h"
#include "util/util.h"

/* Read the iterator to its end. -EBUSY if some sockets were busy. */
static int drain(int link)
{
	_cleanup_close_ int iter = bpf_iter_create(link);
	char said[64];
	ssize_t got;
	int ret = 0;

	if (iter < 0)
		return -errno;
	/* EAGAIN: a million files without output, there are more. */
	while ((got = read(iter, said, sizeof(said)))) {
		if (got < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		if (got > 0 && memchr(said, PS_SCAN_BUSY, (size_t)got))
			ret = -EBUSY;
	}
	return ret;
}

static int forget_seen(const struct ps_host *host)
{
	int fd = host->fd[PS_HOST_SEEN];
	__u64 cookie;

	while (!bpf_map_get_next_key(fd, NULL, &cookie)) {
		if (bpf_map_delete_elem(fd, &cookie) && errno != ENOENT)
			return -errno;
	}
	return errno == ENOENT ? 0 : -errno;
}

/* One pass over all files. -EBUSY if some sockets were. */
static int run(const struct ps_host *host, const struct ps_scan_args *args)
{
	_cleanup_close_ int link = -1;
	__u32 zero = 0;

	if (bpf_map_update_elem(host->fd[PS_HOST_SCAN_ARGS], &zero, args, 0))
		return -errno;
	link = bpf_link_create(host->fd[PS_HOST_SCAN], 0, BPF_TRACE_ITER, NULL);
	return link < 0 ? -errno : drain(link);
}

/* The same, and again for those that are busy, while there is patience. */
static int run_patiently(const struct ps_host *host, struct ps_scan_args args,
			 struct ps_patience *patience)
{
	int ret = forget_seen(host), forgotten;

	if (ret)
		return ret;
	ret = run(host, &args);
	while (ret == -EBUSY && !(args.pass & PS_SCAN_LAST)) {
		args.pass |= PS_SCAN_AGAIN;
		if (!ps_wait_a_little(patience))
			args.pass |= PS_SCAN_LAST;
		ret = run(host, &args);
	}
	forgotten = forget_seen(host);
	return ret ? ret : forgotten;
}

/* The most owners that one port has among the new targets: a socket matches no
 * more of them. Targets are sorted by port. */
static uint32_t most_matches(const struct ps_state *state)
{
	uint32_t most = 0, same = 0;

	for (size_t i = 0; i < state->target_count; i++) {
		if (i && state->targets[i].port != state->targets[i - 1].port)
			same = 0;
		same += state->targets[i].fresh;
		most = same > most ? same : most;
	}
	return most;
}

bool ps_scan_is_wanted(const struct ps_state *state)
{
	return most_matches(state);
}

int ps_scan(const struct ps_host *host, uint32_t index, const struct ps_state *state,
	    struct ps_error *error)
{
	struct ps_scan_args args = { .instance = index };
	struct ps_patience patience = {};
	uint32_t most = most_matches(state);
	int ret = 0;

	for (; args.pass < most && !ret; args.pass += PS_SCAN_MATCHES)
		ret = run_patiently(host, args, &patience);
	return ret ? ps_fail_kernel(error, ret, "search for open listeners") : 0;
}
