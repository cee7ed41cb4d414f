// SPDX-License-Identifier: GPL-2.0-only
/*
 * What ps_steer decides, by BPF_PROG_TEST_RUN: tables of connections with the
 * verdict, the socket and the counter that each must give. The tables in the
 * kernel are laid out and stored by the same code that the commands use; only
 * the listeners are put into the sockmaps by hand. The tests follow each other:
 * each finds what the one before has left. Needs root.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cmocka.h>

#include "host.skel.h"
#include "instance.skel.h"
#include "engine/lifecycle.h"
#include "compile/ids.h"
#include "compile/plan.h"
#include "kernel/tables.h"

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

enum { INSTANCE = 5, MAX_SOCKETS = 1024, EPHEMERAL = 50000 };

/* --- what the rows of a test say --- */

static int failures;

/* All rows of a test are tried. */
__attribute__((format(printf, 3, 4))) static void report(bool good, const char *name,
							 const char *why, ...)
{
	char text[512];
	va_list args;

	if (good)
		return;
	failures++;
	va_start(args, why);
	vsnprintf(text, sizeof(text), why, args);
	va_end(args);
	print_error("%s: %s\n", name, text);
}

__attribute__((noreturn)) static void die(const char *what)
{
	print_error("%s: %s\n", what, strerror(errno));
	exit(1);
}

struct rows {
	void (*fn)(void);
};

static void try_rows(void **state)
{
	const struct rows *rows = *state;

	failures = 0;
	rows->fn();
	assert_int_equal(failures, 0);
}
#define ROWS(name)                                                                                 \
	{                                                                                          \
#name, try_rows, NULL, NULL, &(struct rows)                                        \
		{                                                                                  \
			name                                                                       \
		}                                                                                  \
	}

/* --- the kernel side --- */

static struct ps_host_bpf *host_skel;
static struct ps_instance_bpf *skel;
static struct ps_host host = PS_HOST_NONE;
static struct ps_tables tables = PS_TABLES_NONE;
static struct ps_plan plan;

static void *map_memory(int fd, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static void load_host(void)
{
	host_skel = ps_host_bpf__open_and_load();
	if (!host_skel)
		die("load the shared programs");
	host.fd[PS_HOST_INSTANCES] = bpf_map__fd(host_skel->maps.ps_instances);
	host.fd[PS_HOST_NETNS] = bpf_map__fd(host_skel->maps.ps_netns);
	host.fd[PS_HOST_ADMITS] = bpf_map__fd(host_skel->maps.ps_admits);
	host.fd[PS_HOST_OWNERS] = bpf_map__fd(host_skel->maps.ps_owners);
	host.fd[PS_HOST_SOCKETS] = bpf_map__fd(host_skel->maps.ps_sockets);
	host.fd[PS_HOST_TARGETS] = bpf_map__fd(host_skel->maps.ps_targets);
	host.fd[PS_HOST_EVENTS] = bpf_map__fd(host_skel->maps.ps_events);
	host.fd[PS_HOST_OVERFLOWS] = bpf_map__fd(host_skel->maps.ps_overflows);
	host.fd[PS_HOST_SCOPES] = bpf_map__fd(host_skel->maps.ps_scopes);
	host.fd[PS_HOST_HOPS] = bpf_map__fd(host_skel->maps.ps_hops);
	host.fd[PS_HOST_SCOPES_FOUND] = bpf_map__fd(host_skel->maps.ps_scopes_found);
	host.fd[PS_HOST_FLOWS] = bpf_map__fd(host_skel->maps.ps_flows);
	host.fd[PS_HOST_REFUSALS] = bpf_map__fd(host_skel->maps.ps_refusals);
	host.instances = map_memory(host.fd[PS_HOST_INSTANCES],
				    PS_MAX_INSTANCES * sizeof(struct ps_instance));
}

static void load_instance(void)
{
	skel = ps_instance_bpf__open();
	if (!skel)
		die("open the instance's program");
	skel->rodata->instance = INSTANCE;
	for (size_t i = 0; i < sizeof(skel->rodata->secret) / sizeof(__u64); i++)
		skel->rodata->secret[i] = 0x9e3779b97f4a7c15ULL * (i + 1);
	if (bpf_map__reuse_fd(skel->maps.ps_instances, host.fd[PS_HOST_INSTANCES]) ||
	    bpf_map__reuse_fd(skel->maps.ps_targets, host.fd[PS_HOST_TARGETS]) ||
	    bpf_map__reuse_fd(skel->maps.ps_events, host.fd[PS_HOST_EVENTS]) ||
	    bpf_map__reuse_fd(skel->maps.ps_flows, host.fd[PS_HOST_FLOWS]) ||
	    bpf_map__reuse_fd(skel->maps.ps_refusals, host.fd[PS_HOST_REFUSALS]) ||
	    ps_instance_bpf__load(skel))
		die("load the instance's program");
}

/* A verifier gives up at a million. That of Linux 6.1 looks at 890,000 instructions of the
 * old program, for which 6.12's and later ones need an eighth: what counts is theirs. */
static void check_size(void)
{
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);
	struct utsname uts;
	int major = 0, minor = 0;

	if (uname(&uts) || sscanf(uts.release, "%d.%d", &major, &minor) != 2)
		die("uname");
	if (major < 6 || (major == 6 && minor < 12))
		return;

	if (bpf_obj_get_info_by_fd(bpf_program__fd(skel->progs.ps_steer), &info, &size))
		die("ask about the program");
	report(info.verified_insns < 300000, "what the verifier has to look at", "%u instructions",
	       info.verified_insns);
}

static void open_tables(void)
{
	tables.host = &host;
	tables.index = INSTANCE;
	tables.instance = &host.instances[INSTANCE];
	tables.fd[PS_INST_FILTER] = bpf_map__fd(skel->maps.data);
	tables.fd[PS_INST_FRONTS] = bpf_map__fd(skel->maps.ps_fronts);
	tables.fd[PS_INST_FRONTS_MORE] = bpf_map__fd(skel->maps.ps_fronts_more);
	tables.fd[PS_INST_HITS] = bpf_map__fd(skel->maps.ps_hits);
	tables.fd[PS_INST_HITS_MORE] = bpf_map__fd(skel->maps.ps_hits_more);
	tables.fd[PS_INST_STATES] = bpf_map__fd(skel->maps.ps_states);
	tables.fd[PS_INST_STATES_MORE] = bpf_map__fd(skel->maps.ps_states_more);
	tables.fd[PS_INST_LISTENERS] = bpf_map__fd(skel->maps.ps_listeners);
	tables.fd[PS_INST_LISTENERS_MORE] = bpf_map__fd(skel->maps.ps_listeners_more);
	tables.fd[PS_INST_OVERFLOW] = bpf_map__fd(skel->maps.ps_overflow);
	tables.fd[PS_INST_PREFIXES] = bpf_map__fd(skel->maps.ps_prefixes);
	tables.filter = map_memory(tables.fd[PS_INST_FILTER], 2 * 65536 / 8);
	if (ps_tables_register(&host, INSTANCE, tables.fd))
		die("register the instance");
	tables.listeners[0] = tables.fd[PS_INST_LISTENERS];
	tables.states[0] = tables.fd[PS_INST_STATES];
}

__attribute__((noreturn)) static void die_of(const struct ps_error *error)
{
	print_error("%s\n", error->message);
	exit(1);
}

/* A rule as in `add`; in front of it "pass" is --if-down pass, "strict" an owner with a
 * cgroup. */
static struct ps_rule rule_of(const char *text)
{
	static char cgroup[] = "some.slice";
	struct ps_error error = {};
	struct ps_rule rule = {};
	bool pass = !strncmp(text, "pass ", 5), strict = !strncmp(text, "strict ", 7);

	if (ps_rule_parse(text + (pass ? 5 : 0) + (strict ? 7 : 0), &rule, &error))
		die_of(&error);
	rule.owner.flags = strict ? PS_OWNER_CGROUP : PS_OWNER_ANY;
	rule.owner.cgroup = strict ? cgroup : NULL;
	rule.if_down = pass ? PS_DOWN_PASS : PS_DOWN_REFUSE;
	return rule;
}

static void add_rules(struct ps_ruleset *set, const struct ps_rule *rules, size_t count)
{
	struct ps_error error = {};

	if (ps_ruleset_add(set, rules, count, &error))
		die_of(&error);
}

static void add_rule(struct ps_ruleset *set, const char *text)
{
	struct ps_rule rule = rule_of(text);

	add_rules(set, &rule, 1);
}

/* Store a ruleset beside the one in force; commit() puts it in force. */
static void prepare(const struct ps_ruleset *rules)
{
	struct ps_error error = {};
	struct ps_plan next = {};

	if (!plan.word)
		plan.state.generation = 1;
	if (ps_plan_build(rules, &plan.state, plan.word ? plan.word : PS_WORD(1, 0, 0, 1), &next,
			  &error))
		die_of(&error);
	if (ps_tables_reserve(&tables, &next) || ps_tables_store(&tables, &next, &plan.state))
		die("store the tables");
	ps_plan_clear(&plan);
	plan = next;
	for (int i = 0; i < 2 * 65536 / 32; i++)
		tables.filter[i] |= plan.filter[i];
}

static void commit(void)
{
	ps_store(&tables.instance->active, plan.word);
	for (int i = 0; i < 2 * 65536 / 32; i++)
		tables.filter[i] = plan.filter[i];
	if (ps_tables_sweep(&tables, plan.state.generation))
		die("sweep");
}

/* --- listeners --- */

static struct listener {
	char name[32];
	int fd;
	char kind;
	uint64_t cookie;
} sockets[MAX_SOCKETS];
static size_t socket_count;

/* Bound to ::ffff:127.0.0.1, which serves IPv4 only. */
static void bind_mapped(int fd)
{
	struct sockaddr_in6 addr = { .sin6_family = AF_INET6 };

	inet_pton(AF_INET6, "::ffff:127.0.0.1", &addr.sin6_addr);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		die("bind");
}

/* kind: '4', '6' (IPv6 only), 'd' (dual stack) or 'm' (v4-mapped). On a port of the kernel's
 * choice: the program never looks at it. Bound to the device, if that is not NULL. */
static struct listener *listen_on(const char *name, char kind, const char *device)
{
	struct listener *l = &sockets[socket_count++];
	int family = kind == '4' ? AF_INET : AF_INET6, v6only = kind == '6';
	socklen_t size = sizeof(l->cookie);

	if (socket_count > MAX_SOCKETS)
		die("too many sockets");
	snprintf(l->name, sizeof(l->name), "%s", name);
	l->kind = kind;
	l->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		die("socket");
	if (family == AF_INET6 &&
	    setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)))
		die("IPV6_V6ONLY");
	if (kind == 'm')
		bind_mapped(l->fd);
	if (device &&
	    setsockopt(l->fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)))
		die("SO_BINDTODEVICE");
	if (listen(l->fd, 1) || getsockopt(l->fd, SOL_SOCKET, SO_COOKIE, &l->cookie, &size))
		die("listen");
	return l;
}

static struct listener *listen_as(const char *name, char kind)
{
	return listen_on(name, kind, NULL);
}

static uint32_t target_of(uint16_t port)
{
	for (size_t i = 0; i < plan.state.target_count; i++) {
		if (plan.state.targets[i].port == port)
			return plan.state.targets[i].id;
	}
	print_error("no target on port %u\n", port);
	exit(1);
}

/* Say that somebody is in a place of a target: who serves these families. */
static void set_bits(uint16_t port, uint32_t n, bool v4, bool v6)
{
	uint32_t target = target_of(port), index = PS_TARGET_INDEX_OF(target);
	int states = tables.states[PS_TARGET_CHUNK_OF(target)];
	struct ps_target_state state;

	if (bpf_map_lookup_elem(states, &index, &state))
		die("read a target's state");
	state.used[0][n / 64] |= (uint64_t)v4 << n % 64;
	state.used[1][n / 64] |= (uint64_t)v6 << n % 64;
	if (bpf_map_update_elem(states, &index, &state, 0))
		die("write a target's state");
}

static uint64_t bits_of(uint16_t port)
{
	struct ps_target_state state;

	if (ps_tables_target(&tables, target_of(port), &state))
		die("read a target's state");
	return state.used[0][0] | state.used[1][0] | state.used[0][1] | state.used[1][1];
}

/* Without a word to the program. */
static void fill_place(uint16_t port, uint32_t n, struct listener *l)
{
	uint32_t target = target_of(port);
	uint32_t slot = PS_TARGET_INDEX_OF(target) * PS_SLOTS + n;
	struct ps_overflow_key key = { .target = target, .n = n - PS_SLOTS };
	uint64_t fd = (uint64_t)l->fd;
	int ret = n < PS_SLOTS ?
			  bpf_map_update_elem(tables.listeners[PS_TARGET_CHUNK_OF(target)], &slot,
					      &fd, BPF_NOEXIST) :
			  bpf_map_update_elem(tables.fd[PS_INST_OVERFLOW], &key, &fd, BPF_NOEXIST);

	if (ret)
		die("put a listener into its place");
}

static void put_slot(uint16_t port, uint32_t n, struct listener *l)
{
	fill_place(port, n, l);
	set_bits(port, n, l->kind != '6', l->kind != '4');
}

static const char *name_of(uint64_t cookie)
{
	if (!cookie)
		return "-";
	for (size_t i = 0; i < socket_count; i++) {
		if (sockets[i].cookie == cookie)
			return sockets[i].name;
	}
	return "(unknown)";
}

/* --- one decision --- */

/* What is counted, if anything; the order is that of `counted` below. */
enum hit { NOTHING, STEERED, NO_LISTENER, WRONG_FAMILY, WRONG_DEVICE };

struct row {
	const char *name;
	int proto;
	const char *local; /* address that the client aims at */
	uint16_t port;
	int verdict;
	const char *socket; /* a listener's name, "-" for the normal lookup */
	const char *rule; /* whose counter grows */
	enum hit hit;
};

static int run_from(const struct row *row, uint16_t client, uint64_t *cookie)
{
	struct bpf_sk_lookup ctx = { .protocol = (__u32)row->proto, .local_port = row->port };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx),
		    .ctx_out = &ctx, .ctx_size_out = sizeof(ctx), .repeat = 1);

	ctx.remote_port = htons(client);
	if (strchr(row->local, ':')) {
		ctx.family = AF_INET6;
		inet_pton(AF_INET6, row->local, ctx.local_ip6);
		inet_pton(AF_INET6, "2001:db8:ffff::2", ctx.remote_ip6);
	} else {
		ctx.family = AF_INET;
		inet_pton(AF_INET, row->local, &ctx.local_ip4);
		inet_pton(AF_INET, "203.0.113.2", &ctx.remote_ip4);
	}
	if (bpf_prog_test_run_opts(bpf_program__fd(skel->progs.ps_steer), &opts))
		die("BPF_PROG_TEST_RUN");
	*cookie = ctx.cookie;
	return (int)opts.retval;
}

static int run(const struct row *row, uint64_t *cookie)
{
	return run_from(row, EPHEMERAL, cookie);
}

static const struct ps_rule *rule_called(const char *text)
{
	char formatted[PS_RULE_TEXT];

	for (size_t i = 0; text && i < plan.state.rules.count; i++) {
		ps_rule_format(&plan.state.rules.rules[i], formatted);
		if (!strcmp(formatted, text))
			return &plan.state.rules.rules[i];
	}
	return NULL;
}

/* Hits of one rule, and of all rules together (the first 1000: enough for the
 * tables here, and fast). */
static void read_hits(const struct ps_rule *rule, struct ps_hits *one, struct ps_hits *all)
{
	struct ps_hits hits;

	*one = *all = (struct ps_hits){};
	for (size_t i = 0; i < plan.state.rules.count && i < 1000; i++) {
		const struct ps_rule *r = &plan.state.rules.rules[i];

		if (ps_tables_hits(&tables, r->id, &hits))
			die("read the hits");
		all->steered += hits.steered;
		all->no_listener += hits.no_listener;
		all->wrong_family += hits.wrong_family;
		all->wrong_device += hits.wrong_device;
		if (r == rule)
			*one = hits;
	}
}

static bool counted(const struct row *row, const struct ps_hits *before,
		    const struct ps_hits *after)
{
	return after->steered - before->steered == (row->hit == STEERED) &&
	       after->no_listener - before->no_listener == (row->hit == NO_LISTENER) &&
	       after->wrong_family - before->wrong_family == (row->hit == WRONG_FAMILY) &&
	       after->wrong_device - before->wrong_device == (row->hit == WRONG_DEVICE);
}

static void check(const char *table, const struct row *row)
{
	const struct ps_rule *rule = rule_called(row->rule);
	struct ps_hits one, all, one_after, all_after;
	const char *verdict[] = { "drop", "pass" };
	uint64_t cookie;
	char name[256];
	int ret;

	snprintf(name, sizeof(name), "%s: %s", table, row->name);
	if (row->rule && !rule) {
		report(false, name, "there is no rule %s", row->rule);
		return;
	}
	read_hits(rule, &one, &all);
	ret = run(row, &cookie);
	read_hits(rule, &one_after, &all_after);
	if (ret != row->verdict || strcmp(name_of(cookie), row->socket))
		report(false, name, "%s port %u: %s to %s, should be %s to %s", row->local,
		       row->port, verdict[ret & 1], name_of(cookie), verdict[row->verdict],
		       row->socket);
	else if (!counted(row, &all, &all_after) || (rule && !counted(row, &one, &one_after)))
		report(false, name,
		       "%s port %u: rule %s counted steered +%llu no_listener +%llu wrong_family +%llu, all "
		       "rules +%llu +%llu +%llu",
		       row->local, row->port, row->rule ? row->rule : "(none)",
		       one_after.steered - one.steered, one_after.no_listener - one.no_listener,
		       one_after.wrong_family - one.wrong_family, all_after.steered - all.steered,
		       all_after.no_listener - all.no_listener,
		       all_after.wrong_family - all.wrong_family);
	else
		report(true, name, "-");
}

static void check_all(const char *table, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		check(table, &rows[i]);
}
#define CHECK(table, rows) check_all(table, rows, sizeof(rows) / sizeof((rows)[0]))

#define TCP IPPROTO_TCP
#define UDP IPPROTO_UDP
#define PASS SK_PASS
#define DROP SK_DROP

/* --- tables --- */

static const struct row nothing_loaded[] = {
	{ "a port that a rule will have", TCP, "192.0.2.1", 80, PASS, "-", NULL, NOTHING },
	{ "IPv6", TCP, "2001:db8::1", 80, PASS, "-", NULL, NOTHING },
	{ "port 0", TCP, "192.0.2.1", 0, PASS, "-", NULL, NOTHING },
	{ "port 65535", TCP, "192.0.2.1", 65535, PASS, "-", NULL, NOTHING },
};

static const char *const small_rules[] = {
	"80:8080",	"81:8081",  "82:8082", "83:8083",    "pass 84:8084",
	"pass 85:8085", "443:8443", "1:7001",  "65535:7002", "1000-1010:9000-9010",
};

static const struct row small[] = {
	{ "IPv4 listener, IPv4 client", TCP, "192.0.2.1", 80, PASS, "web4", "80:8080/tcp",
	  STEERED },
	{ "any local address", TCP, "127.0.0.1", 80, PASS, "web4", "80:8080/tcp", STEERED },
	{ "IPv4 listener, IPv6 client", TCP, "2001:db8::1", 80, DROP, "-", "80:8080/tcp",
	  WRONG_FAMILY },
	{ "IPv6-only listener, IPv6 client", TCP, "2001:db8::1", 81, PASS, "only6", "81:8081/tcp",
	  STEERED },
	{ "IPv6-only listener, IPv4 client", TCP, "192.0.2.1", 81, DROP, "-", "81:8081/tcp",
	  WRONG_FAMILY },
	{ "dual-stack listener, IPv4 client", TCP, "192.0.2.1", 82, PASS, "dual", "82:8082/tcp",
	  STEERED },
	{ "dual-stack listener, IPv6 client", TCP, "::1", 82, PASS, "dual", "82:8082/tcp",
	  STEERED },
	{ "no listener: refuse", TCP, "192.0.2.1", 83, DROP, "-", "83:8083/tcp", NO_LISTENER },
	{ "no listener, IPv6: refuse", TCP, "::1", 83, DROP, "-", "83:8083/tcp", NO_LISTENER },
	{ "no listener: pass", TCP, "192.0.2.1", 84, PASS, "-", "84:8084/tcp", NO_LISTENER },
	{ "the other family's listener: pass", TCP, "::1", 85, PASS, "-", "85:8085/tcp",
	  WRONG_FAMILY },
	{ "pass does not matter when there is one", TCP, "127.0.0.1", 85, PASS, "pass4",
	  "85:8085/tcp", STEERED },
	{ "one listener for each family: IPv4", TCP, "192.0.2.1", 443, PASS, "tls4", "443:8443/tcp",
	  STEERED },
	{ "one listener for each family: IPv6", TCP, "2001:db8::1", 443, PASS, "tls6",
	  "443:8443/tcp", STEERED },
	{ "lowest port", TCP, "192.0.2.1", 1, PASS, "low", "1:7001/tcp", STEERED },
	{ "highest port", TCP, "192.0.2.1", 65535, PASS, "high", "65535:7002/tcp", STEERED },
	{ "first of a range", TCP, "192.0.2.1", 1000, PASS, "first", "1000-1010:9000-9010/tcp",
	  STEERED },
	{ "middle of a range", TCP, "192.0.2.1", 1005, PASS, "middle", "1000-1010:9000-9010/tcp",
	  STEERED },
	{ "last of a range", TCP, "192.0.2.1", 1010, PASS, "last", "1000-1010:9000-9010/tcp",
	  STEERED },
	{ "in a range, no listener", TCP, "192.0.2.1", 1004, DROP, "-", "1000-1010:9000-9010/tcp",
	  NO_LISTENER },
	{ "below a range", TCP, "192.0.2.1", 999, PASS, "-", NULL, NOTHING },
	{ "above a range", TCP, "192.0.2.1", 1011, PASS, "-", NULL, NOTHING },
	{ "UDP to a TCP rule's port", UDP, "192.0.2.1", 80, PASS, "-", NULL, NOTHING },
	{ "UDP, IPv6", UDP, "::1", 80, PASS, "-", NULL, NOTHING },
	{ "UDP to a port without listener", UDP, "192.0.2.1", 83, PASS, "-", NULL, NOTHING },
	{ "the port below", TCP, "192.0.2.1", 79, PASS, "-", NULL, NOTHING },
	{ "the port above the last", TCP, "192.0.2.1", 86, PASS, "-", NULL, NOTHING },
	{ "a target port", TCP, "192.0.2.1", 8080, PASS, "-", NULL, NOTHING },
	{ "port 0", TCP, "192.0.2.1", 0, PASS, "-", NULL, NOTHING },
	{ "65536 - 80", TCP, "192.0.2.1", 65456, PASS, "-", NULL, NOTHING },
	{ "80 with its bytes swapped", TCP, "192.0.2.1", 0x5000, PASS, "-", NULL, NOTHING },
};

static const char *const prefix_rules[] = {
	"80:8001",
	"10.0.0.0/8:80:8002",
	"10.1.0.0/16:80:8003",
	"10.1.2.3:80:8004",
	"[2001:db8::]/32:80:8005",
	"[2001:db8::1]:80:8006",
	"172.16.0.0/12:81:8002",
	"pass 172.16.5.0/24:81:8007",
	"[::]/0:82:8005",
	"0.0.0.0/0:83:8002",
	"128.0.0.0/1:84:8002",
};

static const struct row prefix[] = {
	{ "no prefix matches: the rule without address", TCP, "192.0.2.1", 80, PASS, "s1",
	  "80:8001/tcp", STEERED },
	{ "/8", TCP, "10.200.0.1", 80, PASS, "s2", "10.0.0.0/8:80:8002/tcp", STEERED },
	{ "/8, its first address", TCP, "10.0.0.0", 80, PASS, "s2", "10.0.0.0/8:80:8002/tcp",
	  STEERED },
	{ "/8, its last address", TCP, "10.255.255.255", 80, PASS, "s2", "10.0.0.0/8:80:8002/tcp",
	  STEERED },
	{ "just before the /8", TCP, "9.255.255.255", 80, PASS, "s1", "80:8001/tcp", STEERED },
	{ "just after the /8", TCP, "11.0.0.0", 80, PASS, "s1", "80:8001/tcp", STEERED },
	{ "/16 inside the /8", TCP, "10.1.9.9", 80, PASS, "s3", "10.1.0.0/16:80:8003/tcp",
	  STEERED },
	{ "/32 inside the /16", TCP, "10.1.2.3", 80, DROP, "-", "10.1.2.3:80:8004/tcp",
	  NO_LISTENER },
	{ "beside the /32", TCP, "10.1.2.2", 80, PASS, "s3", "10.1.0.0/16:80:8003/tcp", STEERED },
	{ "IPv6 /32", TCP, "2001:db8:5::5", 80, PASS, "s5", "[2001:db8::]/32:80:8005/tcp",
	  STEERED },
	{ "IPv6 host", TCP, "2001:db8::1", 80, PASS, "s6", "[2001:db8::1]:80:8006/tcp", STEERED },
	{ "IPv6, no prefix matches", TCP, "2001:db9::1", 80, DROP, "-", "80:8001/tcp",
	  WRONG_FAMILY },
	{ "a v6 address that begins like 10.0.0.0/8", TCP, "a00::1", 80, DROP, "-", "80:8001/tcp",
	  WRONG_FAMILY },
	{ "a v4 address that begins like 2001:db8::/32", TCP, "32.1.13.184", 80, PASS, "s1",
	  "80:8001/tcp", STEERED },
	{ "only prefix rules, one matches", TCP, "172.31.0.1", 81, PASS, "s2",
	  "172.16.0.0/12:81:8002/tcp", STEERED },
	{ "only prefix rules, none matches", TCP, "172.32.0.1", 81, PASS, "-", NULL, NOTHING },
	{ "only v4 prefix rules, v6 client", TCP, "::1", 81, PASS, "-", NULL, NOTHING },
	{ "a miss of the longest is a miss, its own policy", TCP, "172.16.5.9", 81, PASS, "-",
	  "172.16.5.0/24:81:8007/tcp", NO_LISTENER },
	{ "::/0, IPv6", TCP, "2001:db8:ffff::1", 82, PASS, "s5", "[::]/0:82:8005/tcp", STEERED },
	{ "::/0 is not for IPv4", TCP, "192.0.2.1", 82, PASS, "-", NULL, NOTHING },
	{ "0.0.0.0/0, IPv4", TCP, "192.0.2.1", 83, PASS, "s2", "0.0.0.0/0:83:8002/tcp", STEERED },
	{ "0.0.0.0/0 is not for IPv6", TCP, "::1", 83, PASS, "-", NULL, NOTHING },
	{ "/1, inside", TCP, "128.0.0.1", 84, PASS, "s2", "128.0.0.0/1:84:8002/tcp", STEERED },
	{ "/1, outside", TCP, "127.255.255.255", 84, PASS, "-", NULL, NOTHING },
	{ "a prefix rule's address, another port", TCP, "10.1.2.3", 85, PASS, "-", NULL, NOTHING },
	{ "UDP", UDP, "10.1.2.3", 80, PASS, "-", NULL, NOTHING },
	{ "a port of the ruleset before", TCP, "192.0.2.1", 443, PASS, "-", NULL, NOTHING },
};

/* Counted by a rule that the plan no longer knows. */
static const struct row before_swap[] = {
	{ "an old prefix", TCP, "10.200.0.1", 80, PASS, "s2", NULL, NOTHING },
	{ "an old port", TCP, "172.31.0.1", 81, PASS, "s2", NULL, NOTHING },
	{ "a port to come", TCP, "192.0.2.1", 90, PASS, "-", NULL, NOTHING },
};

static const struct row after_swap[] = {
	{ "a rule that stayed", TCP, "192.0.2.1", 80, PASS, "s1", "80:8001/tcp", STEERED },
	{ "a prefix that went", TCP, "10.200.0.1", 80, PASS, "s1", "80:8001/tcp", STEERED },
	{ "a v6 prefix that went", TCP, "2001:db8::1", 80, DROP, "-", "80:8001/tcp", WRONG_FAMILY },
	{ "a port that went", TCP, "172.31.0.1", 81, PASS, "-", NULL, NOTHING },
	{ "a port that came", TCP, "172.31.0.1", 90, DROP, "-", "90:8090/tcp", NO_LISTENER },
};

static const struct row overflowing[] = {
	{ "all slots are IPv6-only: IPv4 found beyond", TCP, "192.0.2.1", 80, PASS, "far4",
	  "80:8080/tcp", STEERED },
	{ "IPv6 found in the slots", TCP, "::1", 80, PASS, "near6", "80:8080/tcp", STEERED },
	{ "only beyond the slots", TCP, "192.0.2.1", 81, PASS, "only-far", "81:8081/tcp", STEERED },
	{ "only beyond the slots, other family", TCP, "::1", 81, DROP, "-", "81:8081/tcp",
	  WRONG_FAMILY },
	{ "the last of 128", TCP, "192.0.2.1", 82, PASS, "last-far", "82:8082/tcp", STEERED },
};

static const struct row big[] = {
	{ "first of 30000", TCP, "192.0.2.1", 1, PASS, "b1", "1-30000:30001-60000/tcp", STEERED },
	{ "middle of 30000", TCP, "192.0.2.1", 15000, PASS, "b15000", "1-30000:30001-60000/tcp",
	  STEERED },
	{ "last of 30000", TCP, "192.0.2.1", 30000, PASS, "b30000", "1-30000:30001-60000/tcp",
	  STEERED },
	{ "one without a listener", TCP, "192.0.2.1", 29999, DROP, "-", "1-30000:30001-60000/tcp",
	  NO_LISTENER },
	{ "other family", TCP, "::1", 15000, DROP, "-", "1-30000:30001-60000/tcp", WRONG_FAMILY },
	{ "just above", TCP, "192.0.2.1", 30001, PASS, "-", NULL, NOTHING },
	{ "a single rule, early", TCP, "192.0.2.1", 60001, PASS, "s61000", "60001:61000/tcp",
	  STEERED },
	{ "a single rule, late", TCP, "192.0.2.1", 60700, PASS, "s61000", "60700:61000/tcp",
	  STEERED },
	{ "just above the singles", TCP, "192.0.2.1", 60701, PASS, "-", NULL, NOTHING },
	{ "port 0", TCP, "192.0.2.1", 0, PASS, "-", NULL, NOTHING },
	{ "a prefix rule of a port in the range", TCP, "10.0.0.1", 15000, PASS, "s61000",
	  "10.0.0.0/8:15000:61000/tcp", STEERED },
};

/* --- what happens --- */

static void use_rules(const char *const *texts, size_t count)
{
	struct ps_ruleset rules = {};

	for (size_t i = 0; i < count; i++)
		add_rule(&rules, texts[i]);
	prepare(&rules);
	ps_ruleset_clear(&rules);
}
#define USE(texts) use_rules(texts, sizeof(texts) / sizeof((texts)[0]))

static void test_small(void)
{
	USE(small_rules);
	put_slot(8080, 0, listen_as("web4", '4'));
	put_slot(8081, 0, listen_as("only6", '6'));
	put_slot(8082, 3, listen_as("dual", 'd')); /* not the first slot */
	put_slot(8085, 1, listen_as("pass4", '4'));
	put_slot(8443, 0, listen_as("tls6", '6'));
	put_slot(8443, 1, listen_as("tls4", '4'));
	put_slot(7001, 0, listen_as("low", '4'));
	put_slot(7002, 0, listen_as("high", '4'));
	put_slot(9000, 0, listen_as("first", '4'));
	put_slot(9005, 0, listen_as("middle", '4'));
	put_slot(9010, 0, listen_as("last", '4'));
	CHECK("prepared, not in force", nothing_loaded);
	commit();
	CHECK("small", small);
}

/* A listener that closes leaves its slot; the next one goes on. */
static void test_close(void)
{
	static const struct row before = { "two listeners: the first slot",
					   TCP,
					   "192.0.2.1",
					   83,
					   PASS,
					   "one",
					   "83:8083/tcp",
					   STEERED };
	static const struct row after = { "the first closed: the second",
					  TCP,
					  "192.0.2.1",
					  83,
					  PASS,
					  "two",
					  "83:8083/tcp",
					  STEERED };
	static const struct row none = { "both closed", TCP, "192.0.2.1",   83,
					 DROP,		"-", "83:8083/tcp", NO_LISTENER };
	struct listener *one = listen_as("one", '4'), *two = listen_as("two", '4');

	put_slot(8083, 0, one);
	put_slot(8083, 2, two);
	check("close", &before);
	close(one->fd);
	check("close", &after);
	close(two->fd);
	check("close", &none);
}

static void test_prefixes(void)
{
	static const char *const swapped[] = { "80:8001", "90:8090" };

	USE(prefix_rules);
	put_slot(8001, 0, listen_as("s1", '4'));
	put_slot(8002, 0, listen_as("s2", '4'));
	put_slot(8003, 0, listen_as("s3", '4'));
	put_slot(8005, 0, listen_as("s5", '6'));
	put_slot(8006, 0, listen_as("s6", 'd'));
	commit();
	CHECK("prefixes", prefix);
	USE(swapped);
	/* Stored, but not in force: the old rules still answer, all of them. */
	CHECK("a swap is prepared", before_swap);
	commit();
	CHECK("a swap is made", after_swap);
}

static void test_overflow(void)
{
	static const char *const rules[] = { "80:8080", "81:8081", "82:8082" };

	USE(rules);
	for (uint32_t n = 0; n < PS_SLOTS; n++)
		put_slot(8080, n, listen_as("near6", '6'));
	for (uint32_t n = 0; n < 5; n++)
		put_slot(8080, PS_SLOTS + n, listen_as("far6", '6'));
	put_slot(8080, PS_SLOTS + 5, listen_as("far4", '4'));
	put_slot(8081, PS_SLOTS, listen_as("only-far", '4'));
	put_slot(8082, PS_PLACES - 1, listen_as("last-far", '4'));
	commit();
	CHECK("overflow", overflowing);
}

/* --- owners with a cgroup: even shares --- */

enum { CLIENTS = 1000, MANY = 40 };

/* Are CLIENTS clients spread over these listeners, and no others: the busiest has no more than
 * twice what the quietest has? */
static void check_shares(const char *name, const struct row *row, struct listener *const *listeners,
			 int count)
{
	int share[MANY] = {}, sum = 0, least = CLIENTS, most = 0;
	uint64_t cookie;

	for (int i = 0; i < CLIENTS * count / 8 + CLIENTS; i++) {
		run_from(row, (uint16_t)(EPHEMERAL + i), &cookie);
		for (int k = 0; k < count; k++)
			share[k] += cookie == listeners[k]->cookie;
	}
	for (int k = 0; k < count; k++) {
		least = share[k] < least ? share[k] : least;
		most = share[k] > most ? share[k] : most;
		sum += share[k];
	}
	report(sum == CLIENTS * count / 8 + CLIENTS && most <= 2 * least, name,
	       "%d clients reached one of them, the least %d, the most %d", sum, least, most);
}

static const struct row known[] = {
	{ "the only one, looked for", TCP, "192.0.2.1", 80, PASS, "k4", "80:8080/tcp", STEERED },
	{ "the only one, known", TCP, "127.0.0.1", 80, PASS, "k4", "80:8080/tcp", STEERED },
	{ "the other family: none", TCP, "::1", 80, DROP, "-", "80:8080/tcp", WRONG_FAMILY },
	{ "the other family: still none", TCP, "::1", 80, DROP, "-", "80:8080/tcp", WRONG_FAMILY },
	{ "none at all", TCP, "192.0.2.1", 81, DROP, "-", "81:8081/tcp", NO_LISTENER },
	{ "still none at all", TCP, "192.0.2.1", 81, DROP, "-", "81:8081/tcp", NO_LISTENER },
	{ "dual stack, IPv6", TCP, "::1", 82, PASS, "kd", "82:8082/tcp", STEERED },
	{ "dual stack, IPv4", TCP, "192.0.2.1", 82, PASS, "kd", "82:8082/tcp", STEERED },
	{ "dual stack, IPv6, known", TCP, "::1", 82, PASS, "kd", "82:8082/tcp", STEERED },
	{ "dual stack, IPv4, known", TCP, "127.0.0.1", 82, PASS, "kd", "82:8082/tcp", STEERED },
};

static const struct row one_more[] = {
	{ "one of the other family has come", TCP, "::1", 80, PASS, "k6", "80:8080/tcp", STEERED },
	{ "... and is known", TCP, "::1", 80, PASS, "k6", "80:8080/tcp", STEERED },
	{ "the first goes on", TCP, "192.0.2.1", 80, PASS, "k4", "80:8080/tcp", STEERED },
	{ "where there was none", TCP, "192.0.2.1", 81, PASS, "k81", "81:8081/tcp", STEERED },
};

static void test_known(void)
{
	static const char *const rules[] = { "strict 80:8080", "strict 81:8081", "strict 82:8082" };

	USE(rules);
	put_slot(8080, 2, listen_as("k4", '4'));
	put_slot(8082, 1, listen_as("kd", 'd'));
	commit();
	CHECK("known", known);
	put_slot(8080, 0, listen_as("k6", '6'));
	put_slot(8081, 3, listen_as("k81", '4'));
	CHECK("known", one_more);
}

static void test_shares(void)
{
	static const char *const rules[] = { "strict 90:8090" };
	static const struct row row = { "", TCP, "192.0.2.1", 90, PASS, NULL, NULL, STEERED };
	struct listener *l[MANY];

	USE(rules);
	commit();
	for (int i = 0; i < MANY; i++) {
		l[i] = listen_as("share", '4');
		put_slot(8090, (uint32_t)i, l[i]);
		if (i < 9 || i + 1 == MANY)
			check_shares("shares: as more come", &row, l, i + 1);
	}
	for (int i = 8; i < MANY; i++)
		close(l[i]->fd);
	check_shares("shares: all but the first eight have gone", &row, l, 8);
	report(bits_of(8090) == 0xff, "shares: nobody is looked for where nobody is", "bits %llx",
	       (unsigned long long)bits_of(8090));
	close(l[1]->fd);
	l[1] = l[7];
	check_shares("shares: one more", &row, l, 7);
	/* Only a place whose bit is set is looked at. */
	l[7] = listen_as("share", '4');
	fill_place(8090, 1, l[7]);
	check_shares("shares: one that is not looked for", &row, l, 7);
	set_bits(8090, 1, true, false);
	check_shares("shares: ... and now is", &row, l, 8);
}

/* A worker is put to the first free place, as admission does. */
static void restart_workers(uint16_t port, struct listener **l, int count, int round)
{
	for (int i = 0; i < count; i++) {
		if (round)
			close(l[i]->fd);
	}
	for (int i = 0; i < count; i++) {
		l[i] = listen_as("worker", '4');
		put_slot(port, (uint32_t)(i + round * 3) % 24, l[i]);
	}
}

/* However often they were restarted, and in whatever places they were. */
static void test_restarts(void)
{
	static const char *const rules[] = { "strict 90:8092" };
	static const struct row row = { "", TCP, "192.0.2.1", 90, PASS, NULL, NULL, STEERED };
	struct listener *l[8];

	USE(rules);
	commit();
	for (int round = 0; round < 12; round++)
		restart_workers(8092, l, 8, round);
	check_shares("shares: eight workers after eleven restarts", &row, l, 8);
}

/* Those that can serve have equal shares, whoever else is there. */
static void test_mixed(void)
{
	static const char *const rules[] = { "strict 90:8093" };
	static const struct row v4 = { "", TCP, "192.0.2.1", 90, PASS, NULL, NULL, STEERED };
	static const struct row v6 = { "", TCP, "2001:db8::1", 90, PASS, NULL, NULL, STEERED };
	struct listener *l4[4], *l6[8];

	USE(rules);
	commit();
	for (uint32_t i = 0; i < 4; i++) {
		l4[i] = listen_as("four", '4');
		put_slot(8093, i, l4[i]);
	}
	for (uint32_t i = 0; i < 8; i++) {
		l6[i] = listen_as("six", '6');
		put_slot(8093, 4 + i, l6[i]);
	}
	check_shares("shares: IPv4 beside IPv6", &v4, l4, 4);
	check_shares("shares: IPv6 beside IPv4", &v6, l6, 8);
	for (uint32_t i = 0; i < 4; i++)
		put_slot(8093, 12 + i, listen_on("bound", '4', "lo"));
	check_shares("shares: beside such as are bound to a device", &v4, l4, 4);
}

/* --- what a listener serves --- */

/* A test run comes by no device. */
static const struct row served[] = {
	{ "v4-mapped, IPv4", TCP, "192.0.2.1", 80, PASS, "mapped", "80:8080/tcp", STEERED },
	{ "v4-mapped, IPv6", TCP, "2001:db8::1", 80, DROP, "-", "80:8080/tcp", WRONG_FAMILY },
	{ "bound to a device", TCP, "127.0.0.1", 81, DROP, "-", "81:8081/tcp", WRONG_DEVICE },
	{ "bound to a device, IPv6", TCP, "::1", 81, DROP, "-", "81:8081/tcp", WRONG_DEVICE },
	{ "one bound to a device, one to none", TCP, "192.0.2.1", 82, PASS, "any", "82:8082/tcp",
	  STEERED },
	{ "bound to a device: pass", TCP, "192.0.2.1", 84, PASS, "-", "84:8084/tcp", WRONG_DEVICE },
	{ "of the other family, and bound", TCP, "::1", 84, PASS, "-", "84:8084/tcp",
	  WRONG_FAMILY },
	{ "cgroup, bound to a device", TCP, "192.0.2.1", 85, DROP, "-", "85:8085/tcp",
	  WRONG_DEVICE },
	{ "cgroup, v4-mapped, IPv6", TCP, "::1", 86, DROP, "-", "86:8086/tcp", WRONG_FAMILY },
};

static void test_served(void)
{
	static const char *const rules[] = { "80:8080",	     "81:8081",	       "82:8082",
					     "pass 84:8084", "strict 85:8085", "strict 86:8086" };

	USE(rules);
	commit();
	put_slot(8080, 0, listen_as("mapped", 'm'));
	put_slot(8081, 0, listen_on("lo", '4', "lo"));
	put_slot(8081, 1, listen_on("lo6", '6', "lo"));
	put_slot(8082, 0, listen_on("bound", '4', "lo"));
	put_slot(8082, 1, listen_as("any", '4'));
	put_slot(8084, 0, listen_on("p-lo", '4', "lo"));
	put_slot(8085, 0, listen_on("s-lo", '4', "lo"));
	put_slot(8086, 0, listen_as("s-mapped", 'm'));
	CHECK("served", served);
}

/* A socket that stops to listen stays in its place: nobody is there, and nothing failed. */
static void test_pause(void)
{
	static const char *const rules[] = { "80:8180", "strict 81:8181" };
	static const struct row off[] = {
		{ "a user's", TCP, "192.0.2.1", 80, DROP, "-", "80:8180/tcp", NO_LISTENER },
		{ "a cgroup's", TCP, "192.0.2.1", 81, DROP, "-", "81:8181/tcp", NO_LISTENER },
	};
	static const struct row on[] = {
		{ "a user's", TCP, "192.0.2.1", 80, PASS, "one", "80:8180/tcp", STEERED },
		{ "a cgroup's", TCP, "192.0.2.1", 81, PASS, "two", "81:8181/tcp", STEERED },
	};
	struct listener *one = listen_as("one", '4'), *two = listen_as("two", '4');
	struct ps_target_state state;

	USE(rules);
	commit();
	put_slot(8180, 0, one);
	put_slot(8181, 0, two);
	CHECK("before the pause", on);
	if (shutdown(one->fd, SHUT_RD) || shutdown(two->fd, SHUT_RD))
		die("shutdown");
	CHECK("paused", off);
	if (ps_tables_target(&tables, target_of(8180), &state))
		die("read a target's state");
	report(!state.rejected, "paused: none rejected", "%llu rejected", state.rejected);
	if (listen(one->fd, 1) || listen(two->fd, 1))
		die("listen");
	set_bits(8180, 0, true, false);
	set_bits(8181, 0, true, false);
	CHECK("after the pause", on);
}

static void test_big(void)
{
	struct ps_ruleset rules = {};
	char text[64];

	add_rule(&rules, "1-30000:30001-60000");
	add_rule(&rules, "10.0.0.0/8:15000:61000");
	for (int port = 60001; port <= 60700; port++) {
		snprintf(text, sizeof(text), "%d:61000", port);
		add_rule(&rules, text);
	}
	prepare(&rules);
	ps_ruleset_clear(&rules);
	put_slot(30001, 0, listen_as("b1", '4'));
	put_slot(45000, 1, listen_as("b15000", '4'));
	put_slot(60000, 3, listen_as("b30000", '4'));
	put_slot(61000, 0, listen_as("s61000", '4'));
	commit();
	CHECK("big", big);
}

/* 65,534 rules: every front port but the target's own. */
static void use_every_port(void)
{
	struct ps_rule *rules = calloc(65536, sizeof(*rules));
	struct ps_ruleset set = {};
	size_t count = 0;
	char text[64];

	if (!rules)
		die("calloc");
	for (int port = 1; port < 65536; port++) {
		if (port == 8080)
			continue;
		snprintf(text, sizeof(text), "%d:8080", port);
		rules[count++] = rule_of(text);
	}
	add_rules(&set, rules, count);
	prepare(&set);
	ps_ruleset_clear(&set);
	free(rules);
}

static void test_every_port(void)
{
	struct row row = { "", TCP, "192.0.2.1", 0, PASS, "every", NULL, STEERED };
	unsigned long wrong = 0;
	uint64_t cookie;

	use_every_port();
	put_slot(8080, 0, listen_as("every", '4'));
	commit();
	for (uint32_t port = 0; port < 65536; port++) {
		bool front = port && port != 8080;

		row.port = (uint16_t)port;
		if (run(&row, &cookie) != PASS || strcmp(name_of(cookie), front ? "every" : "-"))
			wrong++;
	}
	report(!wrong, "every port: 65534 rules", "%lu ports went wrong", wrong);
}

/* --- flows --- */

/* A connect rule; "pass" as above. */
static void add_client_rule(struct ps_ruleset *set, const char *text)
{
	static char scope[] = "/some.slice";
	struct ps_rule rule = rule_of(text);

	rule.mode = PS_MODE_CONNECT;
	rule.scope = scope;
	add_rules(set, &rule, 1);
}

/* The key of what run() sends to this row. */
static struct ps_flow_key flow_key(const struct row *row)
{
	struct ps_flow_key key = { .namespace = tables.instance->cookie,
				   .client_port = EPHEMERAL,
				   .server_port = row->port,
				   .family = strchr(row->local, ':') ? 6 : 4 };

	inet_pton(key.family == 6 ? AF_INET6 : AF_INET, row->local, key.server);
	inet_pton(key.family == 6 ? AF_INET6 : AF_INET,
		  key.family == 6 ? "2001:db8:ffff::2" : "203.0.113.2", key.client);
	return key;
}

static struct ps_flow flow_to(uint16_t port, uint32_t flags)
{
	struct ps_flow flow = { .socket = 1, .target = target_of(port), .flags = flags };
	struct ps_target_state state;

	if (ps_tables_target(&tables, flow.target, &state))
		die("read the target's state");
	flow.epoch = state.epoch;
	flow.rule = ps_rule_events(plan.state.rules.rules[0].id);
	return flow;
}

static void put_flow(const struct ps_flow_key *key, const struct ps_flow *flow)
{
	if (bpf_map_update_elem(host.fd[PS_HOST_FLOWS], key, flow, 0))
		die("put a flow");
}

/* With this flow in force, or none. */
static void check_flow(const struct row *row, const struct ps_flow *flow)
{
	struct ps_flow_key key = flow_key(row);

	if (flow)
		put_flow(&key, flow);
	check("a flow", row);
	if (flow && bpf_map_delete_elem(host.fd[PS_HOST_FLOWS], &key))
		die("delete a flow");
}

static void check_neighbours(struct ps_flow flow)
{
	const struct row row = { "not this one's", TCP, "192.0.2.1", 80, PASS, "-", NULL, NOTHING };
	struct ps_flow_key key = flow_key(&row);

	key.client_port++;
	put_flow(&key, &flow);
	key.client_port--;
	key.server[0]++;
	put_flow(&key, &flow);
	key.server[0]--;
	key.client[0]++;
	put_flow(&key, &flow);
	key.client[0]--;
	key.namespace ++;
	put_flow(&key, &flow);
	key.namespace --;
	key.family = 6;
	put_flow(&key, &flow);
	check("flows of others", &row);
}

static void test_refusals(void)
{
	struct row row = {
		"one that found no room", TCP, "192.0.2.1", 80, DROP, "-", NULL, NOTHING
	};
	int dropped = 0;

	for (uint32_t place = 0; place < PS_REFUSALS; place++) {
		uint32_t one = 1, none = 0;
		uint64_t cookie;

		bpf_map_update_elem(host.fd[PS_HOST_REFUSALS], &place, &one, 0);
		if (place % 512 == 511 || dropped)
			dropped += run(&row, &cookie) == DROP;
		if (dropped) {
			for (uint32_t i = 0; i <= place; i++)
				bpf_map_update_elem(host.fd[PS_HOST_REFUSALS], &i, &none, 0);
			break;
		}
	}
	report(dropped, "a flow: one that found no room", "it was not refused");
}

static void test_flows(void)
{
	const struct row taken = { "to a listener", TCP,  "192.0.2.1", 80, PASS,
				   "noted",	    NULL, NOTHING };
	const struct row taken6 = {
		"to a listener, IPv6", TCP, "2001:db8::1", 80, PASS, "noted", NULL, NOTHING
	};
	const struct row none = { "none", TCP, "192.0.2.1", 80, PASS, "-", NULL, NOTHING };
	const struct row steered = { "none, on a steered port",
				     TCP,
				     "192.0.2.1",
				     81,
				     PASS,
				     "other",
				     "81:7181/tcp",
				     STEERED };
	const struct row first = {
		"before a steer rule", TCP, "192.0.2.1", 81, PASS, "noted", NULL, NOTHING
	};
	struct row refused = { "refused", TCP, "192.0.2.1", 80, DROP, "-", NULL, NOTHING };
	struct ps_ruleset set = {};
	struct ps_flow flow, old;

	add_client_rule(&set, "80:7080");
	add_client_rule(&set, "81:7080");
	add_rule(&set, "81:7181");
	add_client_rule(&set, "82:7282");
	prepare(&set);
	commit();
	put_slot(7080, 0, listen_as("noted", 'd'));
	put_slot(7181, 0, listen_as("other", 'd'));
	flow = flow_to(7080, 0);
	check_flow(&taken, &flow);
	check_flow(&taken6, &flow);
	check_flow(&first, &flow);
	check_flow(&none, NULL);
	check_flow(&steered, NULL);
	check_neighbours(flow);
	flow.flags = PS_FLOW_REFUSE;
	check_flow(&refused, &flow);
	flow = flow_to(7080, 0);
	flow.epoch--;
	refused.name = "to a target that was another's";
	check_flow(&refused, &flow);
	flow.epoch = 0;
	refused.name = "to a target that was never given out";
	check_flow(&refused, &flow);
	flow = flow_to(7282, 0);
	refused.name = "nobody listens";
	check_flow(&refused, &flow);
	flow = flow_to(7282, PS_FLOW_PASS);
	check_flow(&(struct row){ "nobody listens: pass", TCP, "192.0.2.1", 80, PASS, "-", NULL,
				  NOTHING },
		   &flow);
	check_flow(&(struct row){ "nobody listens: pass to a steer rule", TCP, "192.0.2.1", 81,
				  PASS, "other", "81:7181/tcp", STEERED },
		   &flow);
	test_refusals();
	/* The same id and port again, for another ruleset. */
	old = flow_to(7080, 0);
	ps_tables_retire(&tables, &(struct ps_state){ .retired = &old.target, .retired_count = 1 },
			 0);
	put_slot(7080, 0, listen_as("noted", 'd'));
	refused.name = "to a target that was emptied and filled again";
	check_flow(&refused, &old);
	flow = flow_to(7080, 0);
	check_flow(&taken, &flow);
	ps_ruleset_clear(&set);
}

static void test_unload(void)
{
	ps_store(&tables.instance->active, 0);
	CHECK("the word is 0", nothing_loaded);
}

static void own_netns(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd;

	if (unshare(CLONE_NEWNET))
		die("make a network namespace (root is needed)");
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo))
		die("lo");
	close(fd);
}

static void test_nothing_loaded(void)
{
	CHECK("nothing loaded", nothing_loaded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROWS(check_size),  ROWS(test_nothing_loaded), ROWS(test_small),
		ROWS(test_close),  ROWS(test_prefixes),	      ROWS(test_known),
		ROWS(test_shares), ROWS(test_restarts),	      ROWS(test_mixed),
		ROWS(test_served), ROWS(test_pause),	      ROWS(test_overflow),
		ROWS(test_big),	   ROWS(test_every_port),     ROWS(test_flows),
		ROWS(test_unload),
	};

	if (geteuid()) {
		printf("1..0 # SKIP needs root\n");
		return 0;
	}
	libbpf_set_print(NULL);
	own_netns();
	load_host();
	load_instance();
	open_tables();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
