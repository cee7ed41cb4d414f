// SPDX-License-Identifier: GPL-2.0-only
#include "os/listeners.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "compile/ids.h"
#include "os/netns.h"
#include "os/users.h"
#include "util/text.h"
#include "util/util.h"

/* A bound for the search in /proc: files looked at in all. */
enum { SCAN_FILES = 1 << 20 };

void ps_ports_add(struct ps_ports *ports, uint8_t proto, uint16_t first, uint16_t last)
{
	uint32_t *words = proto == IPPROTO_UDP ? ports->udp : ports->tcp;

	for (uint32_t port = first; port <= last; port++)
		words[port / 32] |= 1u << (port & 31);
}

bool ps_ports_has(const struct ps_ports *ports, uint8_t proto, uint16_t port)
{
	const uint32_t *words = proto == IPPROTO_UDP ? ports->udp : ports->tcp;

	return words[port / 32] >> (port & 31) & 1;
}

void ps_sockets_clear(struct ps_sockets *sockets)
{
	for (size_t i = 0; i < sockets->count; i++)
		free(sockets->items[i].processes);
	free(sockets->items);
	*sockets = (struct ps_sockets){};
}

/* The state of one dump. */
struct dump {
	int fd;
	const struct ps_ports *ports;
	uint8_t proto; /* of this part */
	struct ps_sockets sockets;
	size_t capacity;
};

static void dump_clear(struct dump *dump)
{
	ps_close(&dump->fd);
	ps_sockets_clear(&dump->sockets);
}

static int dump_request(struct dump *dump, uint8_t family)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 request;
	} message = {
		.header = {
			.nlmsg_len = sizeof(message),
			.nlmsg_type = SOCK_DIAG_BY_FAMILY,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		},
		.request = {
			.sdiag_family = family,
			.sdiag_protocol = dump->proto,
			.idiag_states = dump->proto == IPPROTO_TCP ? 1 << TCP_LISTEN : ~0u,
			/* Brings the name of an upper layer protocol along: MPTCP. */
			.idiag_ext = 1 << (INET_DIAG_INFO - 1),
		},
	};

	return send(dump->fd, &message, sizeof(message), 0) < 0 ? -errno : 0;
}

static bool is_mptcp(const struct rtattr *ulp)
{
	const struct rtattr *attr = RTA_DATA(ulp);
	int left = (int)RTA_PAYLOAD(ulp);

	for (; RTA_OK(attr, left); attr = RTA_NEXT(attr, left)) {
		if ((attr->rta_type & NLA_TYPE_MASK) == INET_ULP_INFO_NAME &&
		    RTA_PAYLOAD(attr) >= sizeof("mptcp") &&
		    !memcmp(RTA_DATA(attr), "mptcp", sizeof("mptcp")))
			return true;
	}
	return false;
}

static void read_attributes(const struct nlmsghdr *header, struct ps_socket *socket)
{
	const struct inet_diag_msg *msg = NLMSG_DATA(header);
	const struct rtattr *attr = (const void *)(msg + 1);
	int left = (int)(header->nlmsg_len - NLMSG_LENGTH(sizeof(*msg)));

	for (; RTA_OK(attr, left); attr = RTA_NEXT(attr, left)) {
		switch (attr->rta_type & NLA_TYPE_MASK) {
		case INET_DIAG_SKV6ONLY:
			socket->v6only = RTA_PAYLOAD(attr) && *(const uint8_t *)RTA_DATA(attr);
			break;
		case INET_DIAG_CGROUP_ID:
			if (RTA_PAYLOAD(attr) == sizeof(socket->cgroup))
				memcpy(&socket->cgroup, RTA_DATA(attr), sizeof(socket->cgroup));
			break;
		case INET_DIAG_ULP_INFO:
			socket->mptcp = is_mptcp(attr);
			break;
		}
	}
}

static int add_socket(struct dump *dump, const struct nlmsghdr *header)
{
	const struct inet_diag_msg *msg = NLMSG_DATA(header);
	struct ps_sockets *sockets = &dump->sockets;
	struct ps_socket *socket;

	if (header->nlmsg_len < NLMSG_LENGTH(sizeof(*msg)))
		return -EBADMSG;
	if (!ps_ports_has(dump->ports, dump->proto == IPPROTO_TCP ? IPPROTO_TCP : IPPROTO_UDP,
			  ntohs(msg->id.idiag_sport)))
		return 0;
	if (sockets->count == dump->capacity) {
		size_t capacity = dump->capacity ? dump->capacity * 2 : 32;
		struct ps_socket *items = reallocarray(sockets->items, capacity, sizeof(*items));

		if (!items)
			return -ENOMEM;
		sockets->items = items;
		dump->capacity = capacity;
	}
	socket = &sockets->items[sockets->count++];
	*socket = (struct ps_socket){
		.cookie = (uint64_t)msg->id.idiag_cookie[1] << 32 | msg->id.idiag_cookie[0],
		.uid = msg->idiag_uid,
		.inode = msg->idiag_inode,
		.port = ntohs(msg->id.idiag_sport),
		.proto = dump->proto == IPPROTO_TCP ? IPPROTO_TCP : IPPROTO_UDP,
		.family = msg->idiag_family == AF_INET ? 4 : 6,
	};
	memcpy(socket->addr, msg->id.idiag_src, socket->family == 4 ? 4 : 16);
	read_attributes(header, socket);
	return 0;
}

/* 1 at the end of the dump, 0 to go on. The end says how the dump went: a kernel without the
 * module for a protocol sends nothing else (__inet_diag_dump, netlink_dump). */
static int read_message(struct dump *dump, const struct nlmsghdr *header)
{
	const struct nlmsgerr *failure = NLMSG_DATA(header);
	const int *result = NLMSG_DATA(header);
	bool told = header->nlmsg_len >= NLMSG_LENGTH(sizeof(*result));

	if (header->nlmsg_type == NLMSG_DONE)
		return told && *result < 0 ? *result : 1;
	if (header->nlmsg_type == NLMSG_ERROR)
		return header->nlmsg_len < NLMSG_LENGTH(sizeof(*failure)) || !failure->error ?
			       -EBADMSG :
			       failure->error;
	return header->nlmsg_type == SOCK_DIAG_BY_FAMILY ? add_socket(dump, header) : 0;
}

static int dump_family(struct dump *dump, uint8_t family)
{
	/* The kernel fills what it is given, up to 32 KiB. */
	union {
		struct nlmsghdr header;
		char bytes[32768];
	} buffer;
	int ret = dump_request(dump, family);

	while (!ret) {
		ssize_t size = recv(dump->fd, &buffer, sizeof(buffer), 0);
		struct nlmsghdr *header = &buffer.header;

		if (size < 0 && errno == EINTR)
			continue;
		if (size <= 0)
			return size ? -errno : -EBADMSG;
		for (; !ret && NLMSG_OK(header, size); header = NLMSG_NEXT(header, size))
			ret = read_message(dump, header);
	}
	return ret < 0 ? ret : 0;
}

static int compare_sockets(const void *left, const void *right)
{
	const struct ps_socket *a = left, *b = right;
	int order;

	if (a->proto != b->proto)
		return a->proto < b->proto ? -1 : 1;
	if (a->port != b->port)
		return a->port < b->port ? -1 : 1;
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	order = memcmp(a->addr, b->addr, sizeof(a->addr));
	if (order)
		return order;
	return (a->cookie > b->cookie) - (a->cookie < b->cookie);
}

static int fail_dump(int err, struct ps_error *error)
{
	if (err == -ENOENT || err == -EPROTONOSUPPORT)
		return ps_fail(error, PS_EXIT_UNSUPPORTED, -err,
			       "this kernel cannot list listening sockets; load its modules with "
			       "'modprobe -a tcp_diag udp_diag'");
	return ps_fail(error, PS_EXIT_FAILED, -err,
		       "cannot list listening sockets: %s; see whether 'ss -tln' works",
		       strerror(-err));
}

static bool any_port(const uint32_t words[65536 / 32])
{
	for (int i = 0; i < 65536 / 32; i++) {
		if (words[i])
			return true;
	}
	return false;
}

/* The sockets of one protocol. */
static int dump_protocol(struct dump *dump, uint8_t proto)
{
	int ret;

	if (!any_port(proto == IPPROTO_TCP ? dump->ports->tcp : dump->ports->udp))
		return 0;
	dump->proto = proto;
	ret = dump_family(dump, AF_INET);
	return ret ? ret : dump_family(dump, AF_INET6);
}

int ps_sockets_read(const struct ps_netns *netns, const struct ps_ports *ports,
		    struct ps_sockets *sockets, struct ps_error *error)
{
	__attribute__((cleanup(dump_clear))) struct dump dump = { .fd = -1, .ports = ports };
	int ret;

	dump.fd = ps_netns_socket(netns, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
	if (dump.fd < 0)
		return fail_dump(dump.fd, error);
	ret = dump_protocol(&dump, IPPROTO_TCP);
	if (!ret)
		ret = dump_protocol(&dump, IPPROTO_UDP);
	/* Rules for UDP cover it, where there is such a thing. */
	if (!ret && dump_protocol(&dump, IPPROTO_UDPLITE))
		ret = 0;
	/* A kernel without IPv6 has no such sockets. */
	if (ret == -ENOENT && !ps_exists("/proc/net/if_inet6"))
		ret = 0;
	if (ret)
		return fail_dump(ret, error);
	if (dump.sockets.count)
		qsort(dump.sockets.items, dump.sockets.count, sizeof(*dump.sockets.items),
		      compare_sockets);
	*sockets = dump.sockets;
	dump.sockets = (struct ps_sockets){};
	return 0;
}

int ps_look_read(struct ps_look *look, const struct ps_netns *netns, struct ps_error *error)
{
	int ret = look->read ? 0 : ps_sockets_read(netns, &look->ports, &look->sockets, error);

	look->read = !ret;
	return ret;
}

void ps_look_clear(struct ps_look *look)
{
	ps_sockets_clear(&look->sockets);
	look->read = false;
}

bool ps_look_meets(const struct ps_look *look, const struct ps_ports *ports)
{
	for (size_t i = 0; i < look->sockets.count; i++) {
		if (ps_ports_has(ports, look->sockets.items[i].proto, look->sockets.items[i].port))
			return true;
	}
	return false;
}

size_t ps_sockets_from(const struct ps_sockets *sockets, uint8_t proto, uint32_t port)
{
	size_t low = 0, high = sockets->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct ps_socket *at = &sockets->items[middle];

		if (at->proto < proto || (at->proto == proto && at->port < port))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The state of one search for processes. */
struct scan {
	struct ps_socket **by_inode;
	size_t count;
	size_t incomplete; /* sockets that may take more processes */
	uint32_t each;
	uint32_t files; /* still to be looked at */
	int proc;
};

static void scan_clear(struct scan *scan)
{
	free(scan->by_inode);
	ps_close(&scan->proc);
}

static int compare_inodes(const void *left, const void *right)
{
	const struct ps_socket *const *a = left, *const *b = right;

	return ((*a)->inode > (*b)->inode) - ((*a)->inode < (*b)->inode);
}

static struct ps_socket *find_inode(const struct scan *scan, unsigned long inode)
{
	size_t low = 0, high = scan->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (scan->by_inode[middle]->inode < inode)
			low = middle + 1;
		else
			high = middle;
	}
	return low < scan->count && scan->by_inode[low]->inode == inode ? scan->by_inode[low] :
									  NULL;
}

/* The line is "Uid: REAL EFFECTIVE SAVED FS"; a name above it cannot end a line. */
static uint32_t read_uid(const struct scan *scan, const char *pid)
{
	_cleanup_close_ int fd = -1;
	char path[64], status[1024];
	const char *line;
	unsigned int uid;
	ssize_t size;

	snprintf(path, sizeof(path), "%.20s/status", pid);
	fd = openat(scan->proc, path, O_RDONLY | O_CLOEXEC);
	size = fd < 0 ? -1 : read(fd, status, sizeof(status) - 1);
	status[size > 0 ? size : 0] = '\0';
	line = strstr(status, "\nUid:");
	return line && sscanf(line, "\nUid: %*u %u", &uid) == 1 ? uid : UINT32_MAX;
}

static void read_name(const struct scan *scan, const char *pid, struct ps_process *process)
{
	_cleanup_close_ int fd = -1;
	char path[64];
	ssize_t size;

	snprintf(path, sizeof(path), "%.20s/comm", pid);
	fd = openat(scan->proc, path, O_RDONLY | O_CLOEXEC);
	size = fd < 0 ? -1 : read(fd, process->name, sizeof(process->name) - 1);
	if (size < 0)
		size = 0;
	if (size && process->name[size - 1] == '\n')
		size--;
	process->name[size] = '\0';
}

static int add_process(struct scan *scan, struct ps_socket *socket, const char *pid)
{
	struct ps_process *processes, process;

	process.pid = (pid_t)strtol(pid, NULL, 10);
	/* A process may hold a socket by several descriptors. */
	if (socket->process_count &&
	    socket->processes[socket->process_count - 1].pid == process.pid)
		return 0;
	read_name(scan, pid, &process);
	process.uid = read_uid(scan, pid);
	processes = reallocarray(socket->processes, socket->process_count + 1, sizeof(*processes));
	if (!processes)
		return -ENOMEM;
	processes[socket->process_count++] = process;
	socket->processes = processes;
	if (socket->process_count == scan->each)
		scan->incomplete--;
	return 0;
}

static int look_at_file(struct scan *scan, int fds, const char *name, const char *pid)
{
	char target[64];
	ssize_t size = readlinkat(fds, name, target, sizeof(target) - 1);
	struct ps_socket *socket;

	if (size <= 8)
		return 0;
	target[size] = '\0';
	if (strncmp(target, "socket:[", 8))
		return 0;
	socket = find_inode(scan, strtoul(target + 8, NULL, 10));
	if (!socket || socket->process_count >= scan->each)
		return 0;
	return add_process(scan, socket, pid);
}

static void close_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int look_at_process(struct scan *scan, const char *pid)
{
	__attribute__((cleanup(close_dir))) DIR *dir = NULL;
	struct dirent *entry;
	char path[64];
	int ret = 0, fd;

	snprintf(path, sizeof(path), "%.20s/fd", pid);
	fd = openat(scan->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	dir = fdopendir(fd);
	if (!dir)
		close(fd);
	while (!ret && dir && scan->incomplete && scan->files && (entry = readdir(dir))) {
		scan->files--;
		if (entry->d_name[0] != '.')
			ret = look_at_file(scan, fd, entry->d_name, pid);
	}
	return ret;
}

static int scan_prepare(struct scan *scan, struct ps_sockets *sockets)
{
	scan->proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (scan->proc < 0)
		return -errno;
	scan->by_inode = calloc(sockets->count, sizeof(struct ps_socket *));
	if (!scan->by_inode)
		return -ENOMEM;
	for (size_t i = 0; i < sockets->count; i++) {
		if (sockets->items[i].inode && !sockets->items[i].processes)
			scan->by_inode[scan->count++] = &sockets->items[i];
	}
	scan->incomplete = scan->count;
	qsort(scan->by_inode, scan->count, sizeof(*scan->by_inode), compare_inodes);
	return 0;
}

int ps_sockets_find_processes(struct ps_sockets *sockets, uint32_t each)
{
	__attribute__((cleanup(scan_clear))) struct scan scan = { .proc = -1,
								  .each = each,
								  .files = SCAN_FILES };
	__attribute__((cleanup(close_dir))) DIR *dir = NULL;
	struct dirent *entry;
	int ret;

	if (!sockets->count)
		return 0;
	ret = scan_prepare(&scan, sockets);
	if (ret)
		return ret;
	dir = opendir("/proc");
	if (!dir)
		return -errno;
	while (!ret && scan.incomplete && scan.files && (entry = readdir(dir))) {
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			ret = look_at_process(&scan, entry->d_name);
	}
	return ret;
}

/* An IPv4 address in an IPv6 one, or NULL. */
static const uint8_t *mapped_part(const struct ps_socket *socket)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	return socket->family == 6 && !memcmp(socket->addr, mapped, sizeof(mapped)) ?
		       socket->addr + sizeof(mapped) :
		       NULL;
}

bool ps_socket_in(const struct ps_socket *socket, const struct ps_prefix *prefix)
{
	static const uint8_t any[16];
	const uint8_t *part = mapped_part(socket);

	if (part)
		return ps_prefix_has(prefix, 4, part);
	/* What takes both families is in no prefix of one; see bpf/bind.h. */
	if (socket->family == 6 && !socket->v6only && !memcmp(socket->addr, any, sizeof(any)))
		return !prefix->family;
	return ps_prefix_has(prefix, socket->family, socket->addr);
}

bool ps_socket_meets(const struct ps_socket *socket, const struct ps_prefix *prefix)
{
	static const uint8_t any[16];

	if (memcmp(socket->addr, any, socket->family == 4 ? 4 : 16))
		return ps_socket_in(socket, prefix);
	return !prefix->family || prefix->family == socket->family ||
	       (socket->family == 6 && !socket->v6only);
}

bool ps_socket_is_bound_by(const struct ps_socket *socket, const struct ps_rule *rule)
{
	return rule->mode == PS_MODE_BIND && socket->is_bound && socket->proto == rule->proto &&
	       socket->port >= rule->front && socket->port <= rule->front_last &&
	       socket->mark.target == rule->target + (socket->port - rule->front) &&
	       socket->mark.rule == ps_rule_events(rule->id);
}

const char *ps_socket_family(const struct ps_socket *socket)
{
	static const uint8_t any[16];

	if (socket->family == 4 || mapped_part(socket))
		return "ipv4";
	return socket->v6only || memcmp(socket->addr, any, sizeof(any)) ? "ipv6" : "dual";
}

void ps_socket_address(const struct ps_socket *socket, char text[PS_ADDRESS_TEXT])
{
	inet_ntop(socket->family == 4 ? AF_INET : AF_INET6, socket->addr, text, PS_ADDRESS_TEXT);
}

void ps_socket_text(const struct ps_socket *socket, char text[PS_SOCKET_TEXT])
{
	char address[PS_ADDRESS_TEXT], user[PS_USER_TEXT], name[4 * PS_COMM + 1];
	size_t used;

	ps_socket_address(socket, address);
	ps_user_text(socket->uid, user);
	used = (size_t)snprintf(text, 1024, socket->family == 6 ? "[%s]:%u %s" : "%s:%u %s",
				address, socket->port, user);
	for (uint32_t i = 0; i < socket->process_count && used < 900; i++) {
		const struct ps_process *p = &socket->processes[i];
		bool same = i && !strcmp(p->name, socket->processes[i - 1].name);

		ps_printable(p->name, name, sizeof(name));
		if (same)
			used += (size_t)snprintf(text + used - 1, 1024 - used, ",%d]", p->pid) - 1;
		else
			used += (size_t)snprintf(text + used, 1024 - used, " %s[%d]", name, p->pid);
	}
}
