// SPDX-License-Identifier: GPL-2.0-only
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* setns */
#endif
#include "os/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/vfs.h>

#include "util/util.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

#define OWN_NETNS "/proc/thread-self/ns/net"

/* No descriptor: nothing was entered, which needs no right to. */
enum { STAYED = INT_MAX };

/* Where ports begin that everybody may bind, if nothing else is set. */
enum { UNPRIVILEGED = 1024 };

int ps_netns_enter(const struct ps_netns *netns)
{
	int before;

	if (netns->fd < 0)
		return STAYED;
	before = open(OWN_NETNS, O_RDONLY | O_CLOEXEC);
	if (before < 0)
		return -errno;
	if (setns(netns->fd, CLONE_NEWNET)) {
		int err = errno;

		close(before);
		return -err;
	}
	return before;
}

int ps_netns_leave(int before)
{
	int err;

	if (before == STAYED)
		return 0;
	err = setns(before, CLONE_NEWNET) ? errno : 0;

	close(before);
	return -err;
}

int ps_netns_find_unprivileged(struct ps_netns *netns, struct ps_error *error)
{
	int before = ps_netns_enter(netns);
	FILE *file;

	if (before < 0)
		return ps_fail(error, PS_EXIT_FAILED, -before,
			       "cannot enter network namespace %s: %s; check that /proc is mounted",
			       netns->label, strerror(-before));
	file = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");
	if (!file || fscanf(file, "%" SCNu32, &netns->unprivileged) != 1)
		netns->unprivileged = UNPRIVILEGED;
	if (file)
		fclose(file);
	return ps_netns_leave(before) ?
		       ps_fail(error, PS_EXIT_FAILED, EIO,
			       "cannot leave network namespace %s; try again", netns->label) :
		       0;
}

int ps_netns_socket(const struct ps_netns *netns, int family, int type, int protocol)
{
	int before = ps_netns_enter(netns), fd, err;

	if (before < 0)
		return before;
	fd = socket(family, type | SOCK_CLOEXEC, protocol);
	err = fd < 0 ? -errno : 0;
	if (ps_netns_leave(before)) {
		err = -errno;
		ps_close(&fd);
	}
	return err ? err : fd;
}

/* Find the file that `spec` means. */
static int spec_path(const char *spec, char *path, size_t size, struct ps_error *error)
{
	char *end;
	long pid;

	if (!strncmp(spec, "pid:", 4)) {
		errno = 0;
		pid = strtol(spec + 4, &end, 10);
		if (spec[4] < '0' || spec[4] > '9' || *end || errno || pid < 1 || pid > INT32_MAX)
			return ps_fail(error, PS_EXIT_USAGE, EINVAL,
				       "--netns %.200s: not a process id; write it as pid:1234",
				       spec);
		snprintf(path, size, "/proc/%ld/ns/net", pid);
		return 0;
	}
	if (!*spec || !strcmp(spec, ".") || !strcmp(spec, "..") || strlen(spec) >= size - 20)
		return ps_fail(
			error, PS_EXIT_USAGE, EINVAL,
			"--netns %.200s: not a namespace; give a path, a name from 'ip netns', or "
			"pid:N",
			*spec ? spec : "''");
	if (strchr(spec, '/')) {
		snprintf(path, size, "%s", spec);
		return 0;
	}
	snprintf(path, size, "/run/netns/%s", spec);
	if (!ps_exists(path))
		snprintf(path, size, "/var/run/netns/%s", spec);
	return 0;
}

static int fail_open(const char *spec, int err, struct ps_error *error)
{
	if (err == EPERM || err == EACCES)
		return ps_fail(error, PS_EXIT_NOT_PERMITTED, err,
			       "--netns %.200s: cannot open it: %s; run portsteer as root", spec,
			       strerror(err));
	if (err == ENOENT && !strncmp(spec, "pid:", 4))
		return ps_fail(error, PS_EXIT_FAILED, err,
			       "--netns %.200s: there is no such process; see 'ps -e'", spec);
	if (err == ENOENT && !strchr(spec, '/'))
		return ps_fail(
			error, PS_EXIT_FAILED, err,
			"--netns %.200s: there is no namespace of that name; see 'ip netns list'",
			spec);
	return ps_fail(error, PS_EXIT_FAILED, err,
		       "--netns %.200s: cannot open it: %s; see 'ip netns list' or 'lsns -t net'",
		       spec, strerror(err));
}

static int open_spec(const char *spec, struct ps_error *error)
{
	_cleanup_close_ int fd = -1;
	char path[512];
	struct statfs fs;
	int result, ret = spec_path(spec, path, sizeof(path), error);

	if (ret)
		return ret;
	/* Look before opening: to open a device or a FIFO may have effects. */
	if (statfs(path, &fs))
		return fail_open(spec, errno, error);
	if ((unsigned long)fs.f_type == NSFS_MAGIC) {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd < 0)
			return fail_open(spec, errno, error);
	}
	if (fd < 0 || ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return ps_fail(error, PS_EXIT_FAILED, EINVAL,
			       "--netns %.200s: %s is not a network namespace; see 'ip netns list' or "
			       "'lsns -t net'",
			       spec, path);
	result = fd;
	fd = -1;
	return result;
}

static int read_cookie(struct ps_netns *netns, struct ps_error *error)
{
	_cleanup_close_ int fd = ps_netns_socket(netns, AF_UNIX, SOCK_DGRAM, 0);
	socklen_t size = sizeof(netns->cookie);

	if (fd == -EPERM)
		return ps_fail(error, PS_EXIT_NOT_PERMITTED, EPERM,
			       "cannot enter network namespace %s: %s; run portsteer as root with "
			       "CAP_SYS_ADMIN",
			       netns->label, strerror(EPERM));
	if (fd < 0)
		return ps_fail(error, PS_EXIT_FAILED, -fd,
			       "cannot make a socket in network namespace %s: %s; check that /proc "
			       "is mounted",
			       netns->label, strerror(-fd));
	if (!getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &netns->cookie, &size))
		return 0;
	if (errno == ENOPROTOOPT)
		return ps_fail(error, PS_EXIT_UNSUPPORTED, ENOPROTOOPT,
			       "this kernel does not report the cookies of network namespaces "
			       "(SO_NETNS_COOKIE, Linux 5.14); use Linux 6.1 or newer");
	return ps_fail(error, PS_EXIT_FAILED, errno,
		       "cannot read the cookie of network namespace %s: %s; try another --netns",
		       netns->label, strerror(errno));
}

int ps_netns_open(const char *spec, struct ps_netns *netns, struct ps_error *error)
{
	struct ps_netns opened = PS_NETNS_NONE;
	int ret;

	snprintf(opened.label, sizeof(opened.label), "%s", spec ? spec : "current");
	if (spec) {
		opened.fd = open_spec(spec, error);
		if (opened.fd < 0)
			return opened.fd;
	}
	ret = read_cookie(&opened, error);
	if (ret)
		ps_netns_close(&opened);
	else
		*netns = opened;
	return ret;
}

void ps_netns_close(struct ps_netns *netns)
{
	ps_close(&netns->fd);
	netns->fd = -1;
}
