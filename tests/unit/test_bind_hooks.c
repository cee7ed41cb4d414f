// SPDX-License-Identifier: GPL-2.0-only
/*
 * bpf/bind.h: what changes between a bind's hook and the end of the bind, where the kernel holds
 * no lock. The records are those that user/compile/plan_bind.c lays out.
 */
#include "bpf_mock.h"

/* --- The kernel's types, and what it says --- */

typedef struct {
	unsigned int val;
} kuid_t;
typedef struct {
	__u64 val;
} kernel_cap_t;
struct kernfs_node {
	struct kernfs_node *parent;
	const char *name;
};
struct kernfs_node___v615 {
	struct kernfs_node *__parent;
};
struct cgroup {
	int level;
	struct kernfs_node *kn;
};
struct user_namespace {
	int unused;
};
struct net {
	struct user_namespace *user_ns;
	struct {
		int sysctl_ip_prot_sock;
	} ipv4;
};
struct sock {
	struct {
		unsigned char skc_ipv6only;
		struct {
			struct net *net;
		} skc_net;
	} __sk_common;
	__u16 sk_protocol;
	unsigned char sk_userlocks;
	struct {
		struct cgroup *cgroup;
	} sk_cgrp_data;
	kuid_t sk_uid;
};
struct cred {
	kernel_cap_t cap_effective;
	struct user_namespace *user_ns;
};
struct task_struct {
	const struct cred *cred;
};
struct tcp_sock {
	struct sock sock;
	unsigned char is_mptcp;
};
struct mptcp_sock {
	struct sock *first;
};
struct mptcp_subflow_context {
	struct sock *conn;
};
struct inet_bind_bucket {
	signed char fastreuse;
};
struct inet_connection_sock {
	struct tcp_sock tcp;
	struct inet_bind_bucket *icsk_bind_hash;
	void *icsk_ulp_data;
};
struct bpf_sock_addr_kern {
	struct sock *sk;
};
enum { PROTOCOL_MPTCP = 262, SOCK_STREAM_TYPE = 1, SOCK_BINDPORT_LOCK = 8, SOCK_CONNECT_BIND = 16 };
enum { CAP_NET_BIND_SERVICE = 10 };

#define READ_2(a, b) ((a)->b)
#define READ_3(a, b, c) ((a)->b->c)
#define READ_OF(a, b, c, name, ...) name
#define BPF_CORE_READ(...) READ_OF(__VA_ARGS__, READ_3, READ_2, )(__VA_ARGS__)
#define BPF_CORE_READ_BITFIELD_PROBED(a, b) READ_2(a, b)
#define bpf_core_type_exists(type) 1
#define bpf_core_field_exists(field) 1
#define __builtin_preserve_access_index(x) (x)
#define bpf_probe_read_kernel(to, size, from) (memcpy(to, from, size), 0)
#define bpf_skc_to_mptcp_sock(sk) ((void)(sk), (struct mptcp_sock *)NULL)
#define bpf_get_netns_cookie(ctx) ((void)(ctx), 7ULL)
#define bpf_sk_lookup_tcp(ctx, tuple, size, ns, flags)                                             \
	((void)(tuple), (void)(size), (struct bpf_sock *)NULL)

static int mock_read_str(char *to, __u32 size, const char *from)
{
	return snprintf(to, size, "%s", from) + 1;
}
#define bpf_probe_read_kernel_str mock_read_str

/* Whose call it is. */
static struct user_namespace user_ns;
static struct cred creds;
static struct task_struct task;
#define bpf_get_current_task_btf() (&task)

/* What is noted on the one socket that there is. */
static struct ps_bound noted;
static bool marked;

static void *mock_storage(void *map, const void *sk, const void *value, __u64 flags)
{
	(void)map;
	(void)sk;
	(void)value;
	marked = marked || flags & BPF_SK_STORAGE_GET_F_CREATE;
	return marked ? &noted : NULL;
}
#define bpf_sk_storage_get mock_storage

/* The ruleset in force; both halves are its. */
static struct ps_plan plan;

static void *record_at(__u32 index)
{
	return index < plan.bind_count ? &plan.binds[index] : NULL;
}

static void *owner_of(__u32 index)
{
	return index < plan.owner_count ? &plan.owners[index] : NULL;
}

#include "bpf/bind.h"

static struct ps_bind_events counted[16];

static void *mock_map_lookup(void *map, const void *key)
{
	static char bind_map, owner_map, event_map;
	static __u32 instance;
	__u32 index;

	memcpy(&index, key, sizeof(index));
	if (map == &ps_netns)
		return &instance;
	if (map == &ps_instances)
		return &mock_instance;
	if (map == &ps_binds)
		return &bind_map;
	if (map == &ps_owners)
		return &owner_map;
	if (map == &ps_events)
		return &event_map;
	if (map == &event_map)
		return &counted[index];
	if (map == &bind_map)
		return record_at(index / 2);
	return map == &owner_map ? owner_of(index / 2) : NULL;
}

/* --- A bind, in its two halves --- */

enum { OWNER = 1, STRANGER = 2, TARGET = 5300, FRONT = 53 };

static struct kernfs_node root_node = { .name = "" }, web_node = { &root_node, "web" },
			  other_node = { &root_node, "other" };
static struct cgroup web = { 1, &web_node }, other = { 1, &other_node };
static struct net net;
static struct inet_connection_sock sock;
static struct sock *const sk = &sock.tcp.sock;

static void put_in_force(const char *rule, const char *options)
{
	struct ps_state before = { .generation = 1 };
	struct ps_ruleset set = {};
	struct ps_error error = NO_ERROR;

	ps_plan_clear(&plan);
	if (rule)
		must_add(&set, rule, options);
	CHECK_EQ(ps_plan_build(&set, &before, PS_WORD(1, 0, 0, 1), &plan, &error), 0);
	memcpy(filter, plan.bind_filter, sizeof(filter));
	mock_instance.active = plan.word;
	mock_instance.cookie = 7;
	ps_ruleset_clear(&set);
}

/* An owner's socket, in a process without capabilities. */
static void start(const char *rule, const char *options)
{
	user_ns = (struct user_namespace){};
	net = (struct net){ .user_ns = &user_ns, .ipv4.sysctl_ip_prot_sock = 1024 };
	creds = (struct cred){ .user_ns = &user_ns };
	task.cred = &creds;
	memset(&sock, 0, sizeof(sock));
	sk->sk_protocol = IPPROTO_TCP;
	sk->sk_uid.val = OWNER;
	sk->sk_cgrp_data.cgroup = &web;
	sk->__sk_common.skc_ipv6only = 1;
	sk->__sk_common.skc_net.net = &net;
	marked = false;
	noted = (struct ps_bound){};
	memset(counted, 0, sizeof(counted));
	put_in_force(rule, options);
}

/* The hook: the port that the kernel is to bind, 0 if it refuses; *grants says whether it needs
 * no capability. */
static __u16 hook(__u16 port, bool *grants)
{
	static struct bpf_sock free_socket;
	struct bpf_sock_addr ctx = { .user_port = bpf_htons(port),
				     .protocol = IPPROTO_TCP,
				     .sk = &free_socket };
	struct ps_bind_ask ask = {};
	int ret = is_named(port) ? bind_asked(&ctx, sk, &ask) : PS_BIND_GO_ON;

	*grants = ret == PS_BIND_GRANT;
	return ret ? bpf_ntohs((__u16)ctx.user_port) : 0;
}

/* The end: may the socket, now on :: and the port, keep it? */
static bool keeps(__u16 port)
{
	struct bpf_sock ctx = { .src_port = port };
	struct ps_bind_ask ask = {};

	return bind_done(&ctx, sk, &ask) == PS_BIND_GO_ON;
}

static void must_grant(void)
{
	bool grants;

	CHECK_EQ(hook(TARGET, &grants), FRONT);
	CHECK(grants);
}

static void check_count(unsigned int tried, unsigned int done)
{
	CHECK_EQ(counted[0].tried, tried);
	CHECK_EQ(counted[0].done, done);
}

/* --- What may change in between --- */

static void nothing(void)
{
}

static void both_families(void)
{
	sk->__sk_common.skc_ipv6only = 0;
}

static void another_user(void)
{
	sk->sk_uid.val = STRANGER;
}

static void another_cgroup(void)
{
	sk->sk_cgrp_data.cgroup = &other;
}

static void deleted(void)
{
	put_in_force(NULL, NULL);
}

static void anothers(void)
{
	put_in_force("53:5300", "u2 bind");
}

static void anothers_prefix(void)
{
	put_in_force("10.0.0.0/8:53:5300", "u1 bind");
}

static void another_front(void)
{
	put_in_force("54:5300", "u1 bind");
}

static void made_again(void)
{
	put_in_force("53:5300", "any bind n=again");
}

static void unloaded(void)
{
	mock_instance.active = 0;
}

static void other_bind_fails(void)
{
	bool grants;

	/* By another thread: to the front port itself, which is no rule's to give. */
	CHECK_EQ(hook(FRONT, &grants), FRONT);
	CHECK(!grants);
}

static void test_changes(void **state)
{
	static const struct {
		const char *name, *rule, *options;
		void (*change)(void);
		bool keeps;
	} rows[] = {
		{ "nothing", "[::]/0:53:5300", "u1 bind", nothing, true },
		{ "nothing, a cgroup", "53:5300", "c/web bind", nothing, true },
		{ "both families", "[::]/0:53:5300", "u1 bind", both_families, false },
		{ "both families, of a rule for both", "53:5300", "u1 bind", both_families, true },
		{ "uid", "53:5300", "u1 bind", another_user, false },
		{ "uid, anybody's", "53:5300", "any bind", another_user, true },
		{ "cgroup", "53:5300", "c/web bind", another_cgroup, false },
		{ "the rule is deleted", "53:5300", "u1 bind", deleted, false },
		{ "the rule is another owner's now", "53:5300", "u1 bind", anothers, false },
		{ "the rule is for other addresses now", "53:5300", "u1 bind", anothers_prefix,
		  false },
		{ "the rule is for another port now", "53:5300", "u1 bind", another_front, false },
		{ "the rule is made again", "53:5300", "u1 bind", made_again, true },
		{ "unloaded", "53:5300", "u1 bind", unloaded, false },
		{ "another bind of the socket", "53:5300", "u1 bind", other_bind_fails, false },
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		ROW("%s", rows[i].name);
		start(rows[i].rule, rows[i].options);
		must_grant();
		rows[i].change();
		CHECK_EQ(keeps(FRONT), rows[i].keeps);
		check_count(1, rows[i].keeps);
	}
}

/* A bind that was let through and failed: what of the next ones? */
static void test_after_failure(void **state)
{
	bool grants;

	(void)state;
	ROW("the same again");
	start("53:5300", "u1 bind");
	must_grant();
	must_grant();
	CHECK(keeps(FRONT));
	check_count(2, 1);

	ROW("a port that anybody may have");
	start("53:5300", "u1 bind");
	must_grant();
	CHECK(keeps(6000));
	CHECK_EQ(noted.front, 0);
	check_count(1, 0);

	ROW("a port for which the capability is needed, and is not there");
	start("53:5300", "u1 bind");
	must_grant();
	CHECK(!keeps(54));

	ROW("... and is there");
	creds.cap_effective.val = 1 << CAP_NET_BIND_SERVICE;
	CHECK(keeps(54));

	ROW("... but in a user namespace that is not the network's");
	creds.user_ns = NULL;
	must_grant();
	CHECK(!keeps(54));

	ROW("all capabilities but that one");
	start("53:5300", "u1 bind");
	creds.cap_effective.val = ~(1ULL << CAP_NET_BIND_SERVICE);
	must_grant();
	CHECK(!keeps(54));

	ROW("privileged ports begin elsewhere");
	start("53:5300", "u1 bind");
	must_grant();
	net.ipv4.sysctl_ip_prot_sock = 54;
	CHECK(keeps(54));
	must_grant();
	net.ipv4.sysctl_ip_prot_sock = 2000;
	CHECK(!keeps(1999));

	ROW("the front port itself, with the capability");
	start("53:5300", "u1 bind");
	must_grant();
	creds.cap_effective.val = 1 << CAP_NET_BIND_SERVICE;
	CHECK_EQ(hook(FRONT, &grants), FRONT);
	CHECK(!grants);
	CHECK(keeps(FRONT));
	check_count(1, 0);
}

/* A socket that was never let through is never looked at. */
static void test_others(void **state)
{
	bool grants;

	(void)state;
	start("53:5300", "u1 bind");
	sk->sk_uid.val = STRANGER;
	ROW("target");
	CHECK_EQ(hook(TARGET, &grants), TARGET);
	CHECK(!grants);
	CHECK(keeps(TARGET));
	ROW("a privileged port, by whatever right");
	CHECK_EQ(hook(FRONT, &grants), FRONT);
	CHECK(!grants);
	CHECK(keeps(FRONT));
	CHECK(keeps(54));
	CHECK(!marked);
}

/* Two binds of a socket by two threads, both let through: one is undone at the most, and none
 * gets what is not the owner's. */
static void test_two_threads(void **state)
{
	bool grants;

	(void)state;
	ROW("one port");
	start("53:5300", "u1 bind");
	must_grant();
	must_grant();
	CHECK(keeps(FRONT));
	check_count(2, 1);

	ROW("two ports of a range");
	start("53-54:5300-5301", "u1 bind");
	must_grant();
	CHECK_EQ(hook(TARGET + 1, &grants), FRONT + 1);
	CHECK(grants);
	CHECK(!keeps(FRONT));
	CHECK(keeps(FRONT + 1));
	check_count(2, 1);
}

/* Of a subflow it is the MPTCP socket's owner that counts, before and after. */
static void test_mptcp(void **state)
{
	struct sock whole = { .sk_uid.val = OWNER, .sk_cgrp_data.cgroup = &web };
	struct mptcp_subflow_context subflow = { &whole };
	bool grants;

	(void)state;
	ROW("the owner's, by another's subflow");
	start("53:5300", "u1 c/web bind");
	sock.tcp.is_mptcp = 1;
	sock.icsk_ulp_data = &subflow;
	sk->sk_uid.val = STRANGER;
	sk->sk_cgrp_data.cgroup = &other;
	must_grant();
	CHECK(keeps(FRONT));

	ROW("given to another in between");
	must_grant();
	whole.sk_uid.val = STRANGER;
	sk->sk_uid.val = OWNER;
	CHECK(!keeps(FRONT));
	CHECK_EQ(hook(TARGET, &grants), TARGET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_changes), cmocka_unit_test(test_after_failure),
		cmocka_unit_test(test_others),	cmocka_unit_test(test_two_threads),
		cmocka_unit_test(test_mptcp),
	};
	int ret = cmocka_run_group_tests(tests, NULL, NULL);

	ps_plan_clear(&plan);
	return ret;
}
