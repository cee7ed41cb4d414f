// SPDX-License-Identifier: GPL-2.0-only
#include "cookie.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpffs.h"
#include "cgroup.h"
#include "netns.h"
#include "objects.h"
#include "privilege.h"
#include "util.h"

static int load(struct bpf_object **result)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "ps4_cookie");
	_cleanup_free_ void *elf = NULL;
	struct bpf_object *object;
	size_t size;
	int ret = ps_object_unpack(&ps_object_cookie, &elf, &size);

	if (ret)
		return ret;
	object = bpf_object__open_mem(elf, size, &opts);
	if (!object)
		return -errno;
	ret = ps_load_result(bpf_object__load(object));
	if (ret)
		bpf_object__close(object);
	else
		*result = object;
	return ret;
}

/* While the program is attached: bind, which it refuses. */
static int bind_socket(int fd, int map, struct ps_asked *asked)
{
	const struct sockaddr_in any = { .sin_family = AF_INET };
	socklen_t size = sizeof(asked->socket);
	__u32 zero = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &asked->socket, &size) ||
	    bpf_map_update_elem(map, &zero, asked, 0))
		return -errno;
	if (!bind(fd, (const struct sockaddr *)&any, sizeof(any)))
		return -ENOTSUP;
	if (bpf_map_lookup_elem(map, &zero, asked))
		return -errno;
	return asked->netns ? 0 : -ENOTSUP;
}

static int ask(const struct bpf_object *object, const struct ps_netns *netns, int cgroup,
	       struct ps_asked *asked)
{
	const struct bpf_program *program = bpf_object__find_program_by_name(object, "ps4_cookie");
	_cleanup_close_ int fd = ps_netns_socket(netns, AF_INET, SOCK_DGRAM, 0);
	_cleanup_close_ int link = -1;

	if (fd < 0)
		return fd;
	link = bpf_link_create(bpf_program__fd(program), cgroup, BPF_CGROUP_INET4_BIND, NULL);
	if (link < 0)
		return -errno;
	return bind_socket(fd, bpf_object__find_map_fd_by_name(object, "ps4_asked"), asked);
}

static int fail(int ret, struct ps_error *error)
{
	if (ret == -EPERM)
		return ps_fail_kernel(error, ret, "ask for the network namespace's cookie");
	return ps_fail(error, PS_EXIT_UNSUPPORTED, -ret,
		       "this kernel does not tell the cookies of network namespaces (%s); use "
		       "Linux 6.1 or newer",
		       strerror(-ret));
}

int ps_cookie_ask(const struct ps_netns *netns, uint64_t *cookie, struct ps_error *error)
{
	_cleanup_close_ int cgroup = -1;
	struct bpf_object *object = NULL;
	struct ps_asked asked = {};
	char mount[256];
	int ret = ps_cgroup2_mount(mount, error);

	if (ret)
		return ret;
	cgroup = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cgroup < 0)
		return ps_fail_kernel(error, errno, "open the root cgroup");
	ret = load(&object);
	if (!ret)
		ret = ask(object, netns, cgroup, &asked);
	bpf_object__close(object);
	if (ret)
		return fail(ret, error);
	*cookie = asked.netns;
	return 0;
}
