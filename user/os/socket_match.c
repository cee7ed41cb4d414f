// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whether a module for it is loaded says nothing where it is built in, and nothing of this
 * namespace. So the rules themselves are read: those of nftables, which iptables-nft's are too, and
 * those of iptables-legacy.
 */
#include "os/socket_match.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <linux/netlink.h>

#include "util/util.h"

static const char match[] = "socket"; /* nftables and iptables call it alike */

/* --- nftables */

struct attributes {
	const char *data;
	size_t size;
};

/* Take the next attribute off the list: its type, or -1 at the end. */
static int next_attribute(struct attributes *list, struct attributes *value)
{
	struct nlattr head;
	size_t step;

	if (list->size < sizeof(head))
		return -1;
	memcpy(&head, list->data, sizeof(head));
	if (head.nla_len < sizeof(head) || head.nla_len > list->size)
		return -1;
	*value = (struct attributes){ list->data + NLA_HDRLEN, head.nla_len - NLA_HDRLEN };
	step = NLA_ALIGN(head.nla_len);
	step = step < list->size ? step : list->size;
	list->data += step;
	list->size -= step;
	return head.nla_type & NLA_TYPE_MASK;
}

/* The attribute of this type, or an empty one. */
static struct attributes find_attribute(struct attributes list, int type)
{
	struct attributes value;
	int found;

	while ((found = next_attribute(&list, &value)) >= 0) {
		if (found == type)
			return value;
	}
	return (struct attributes){ "", 0 };
}

static bool is_text(struct attributes value, const char *text)
{
	return value.size == strlen(text) + 1 && !memcmp(value.data, text, value.size);
}

static bool rule_matches(struct attributes rule)
{
	struct attributes list = find_attribute(rule, NFTA_RULE_EXPRESSIONS), one;

	while (next_attribute(&list, &one) >= 0) {
		struct attributes name = find_attribute(one, NFTA_EXPR_NAME);
		struct attributes data = find_attribute(one, NFTA_EXPR_DATA);

		if (is_text(name, match))
			return true;
		/* iptables-nft's own matches are in one for all. */
		if (is_text(name, "match") && is_text(find_attribute(data, NFTA_MATCH_NAME), match))
			return true;
	}
	return false;
}

/* Read one message's rules: 1 if one matches, 0, or -errno; *done if it was the last. */
static int read_rules(const char *buffer, size_t size, bool *done)
{
	enum { HEAD = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg)) };

	for (size_t at = 0; at + NLMSG_HDRLEN <= size;) {
		struct nlmsghdr head;

		memcpy(&head, buffer + at, sizeof(head));
		if (head.nlmsg_len < NLMSG_HDRLEN || head.nlmsg_len > size - at)
			return -EPROTO;
		if (head.nlmsg_type == NLMSG_DONE || head.nlmsg_type == NLMSG_ERROR)
			*done = true;
		else if (head.nlmsg_len >= HEAD &&
			 rule_matches(
				 (struct attributes){ buffer + at + HEAD, head.nlmsg_len - HEAD }))
			return 1;
		at += NLMSG_ALIGN(head.nlmsg_len);
	}
	return 0;
}

static bool nftables_match(const struct ps_netns *netns)
{
	enum { ROOM = 64 << 10 };
	struct {
		struct nlmsghdr head;
		struct nfgenmsg body;
	} ask = {
		.head = { .nlmsg_len = sizeof(ask),
			  .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.body = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0 },
	};
	_cleanup_close_ int fd = ps_netns_socket(netns, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	_cleanup_free_ char *buffer = malloc(ROOM);
	struct timeval patience = { .tv_sec = 2 };
	bool done = false;
	int found = 0;

	if (fd < 0 || !buffer || send(fd, &ask, sizeof(ask), 0) != sizeof(ask))
		return false;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	while (!found && !done) {
		ssize_t got = recv(fd, buffer, ROOM, 0);

		if (got <= 0)
			return false;
		found = read_rules(buffer, (size_t)got, &done);
	}
	return found > 0;
}

/* --- iptables-legacy */

/* Of IPv4 and IPv6 only the head of an entry differs. */
struct flavour {
	int family, level, info, entries;
	const char *names; /* the tables that the namespace has: no other is to be made by asking */
	size_t head, target, next; /* size of the head, and where the offsets are in it */
};
static const struct flavour flavours[] = {
	{ AF_INET, IPPROTO_IP, IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES, "ip_tables_names",
	  sizeof(struct ipt_entry), offsetof(struct ipt_entry, target_offset),
	  offsetof(struct ipt_entry, next_offset) },
	{ AF_INET6, IPPROTO_IPV6, IP6T_SO_GET_INFO, IP6T_SO_GET_ENTRIES, "ip6_tables_names",
	  sizeof(struct ip6t_entry), offsetof(struct ip6t_entry, target_offset),
	  offsetof(struct ip6t_entry, next_offset) },
};
_Static_assert(sizeof(struct ipt_getinfo) == sizeof(struct ip6t_getinfo) &&
		       sizeof(struct ipt_get_entries) == sizeof(struct ip6t_get_entries) &&
		       offsetof(struct ipt_get_entries, entrytable) ==
			       offsetof(struct ip6t_get_entries, entrytable),
	       "what is asked for has one form");

/* Is the match in this entry, which has `size` bytes with its target? */
static bool entry_matches(const char *entry, size_t at, size_t end)
{
	struct xt_entry_match one;

	while (at + sizeof(one) <= end) {
		memcpy(&one, entry + at, sizeof(one));
		if (!strncmp(one.u.user.name, match, sizeof(one.u.user.name)))
			return true;
		if (one.u.match_size < sizeof(one))
			return false;
		at += one.u.match_size;
	}
	return false;
}

static bool entries_match(const struct flavour *f, const char *entries, size_t size)
{
	for (size_t at = 0; at + f->head <= size;) {
		uint16_t target, next;

		memcpy(&target, entries + at + f->target, sizeof(target));
		memcpy(&next, entries + at + f->next, sizeof(next));
		if (next < f->head || next > size - at || target > next)
			return false;
		if (entry_matches(entries + at, f->head, target))
			return true;
		at += next;
	}
	return false;
}

static bool table_matches(const struct flavour *f, int fd, const char *name)
{
	struct ipt_getinfo info = {};
	struct ipt_get_entries *table;
	socklen_t size = sizeof(info);
	bool found = false;

	snprintf(info.name, sizeof(info.name), "%s", name);
	if (getsockopt(fd, f->level, f->info, &info, &size))
		return false;
	size = (socklen_t)sizeof(*table) + info.size;
	table = calloc(1, size);
	if (!table)
		return false;
	memcpy(table->name, info.name, sizeof(table->name));
	table->size = info.size;
	/* It fails if somebody has changed the table meanwhile. */
	if (!getsockopt(fd, f->level, f->entries, table, &size))
		found = entries_match(f, (const char *)table->entrytable, table->size);
	free(table);
	return found;
}

static bool tables_match(const struct flavour *f, const struct ps_netns *netns)
{
	_cleanup_close_ int fd = -1;
	char path[64], name[XT_TABLE_MAXNAMELEN];
	int before = ps_netns_enter(netns);
	bool found = false;
	FILE *names;

	if (before < 0)
		return false;
	snprintf(path, sizeof(path), "/proc/thread-self/net/%s", f->names);
	names = fopen(path, "re");
	if (ps_netns_leave(before) || !names) {
		if (names)
			fclose(names);
		return false;
	}
	while (!found && fscanf(names, "%31s", name) == 1) {
		if (fd < 0)
			fd = ps_netns_socket(netns, f->family, SOCK_DGRAM, 0);
		found = fd >= 0 && table_matches(f, fd, name);
	}
	fclose(names);
	return found;
}

/* --- both */

/* One device may, where all do not. */
static bool is_router(const struct ps_netns *netns)
{
	int before = ps_netns_enter(netns);
	bool on = false;
	glob_t found;

	if (before < 0)
		return false;
	if (!glob("/proc/sys/net/ipv[46]/conf/*/forwarding", 0, NULL, &found)) {
		for (size_t i = 0; i < found.gl_pathc && !on; i++) {
			FILE *file = fopen(found.gl_pathv[i], "re");

			on = file && fgetc(file) > '0';
			if (file)
				fclose(file);
		}
		globfree(&found);
	}
	return !ps_netns_leave(before) && on;
}

bool ps_netns_matches_sockets(const struct ps_netns *netns)
{
	/* A kernel without nftables may load it to answer: so a router only is asked. */
	if (!is_router(netns))
		return false;
	for (size_t i = 0; i < PS_ARRAY_SIZE(flavours); i++) {
		if (tables_match(&flavours[i], netns))
			return true;
	}
	return nftables_match(netns);
}
