/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Flows (struct ps_flow): what the programs that note them (client.h) and the one that looks for
 * them (steer.h) share.
 */
#ifndef PORTSTEER_FLOW_H
#define PORTSTEER_FLOW_H

#include "common.h"
#include "maps.h"

/* Made by bpf/host.bpf.c, put in place of its own by bpf/instance.bpf.c. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, PS_FLOWS);
	__type(key, struct ps_flow_key);
	__type(value, struct ps_flow);
} ps_flows SEC(".maps");

/* By a hash of the key: how many connections there are whose flow found no room. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PS_REFUSALS);
	__type(key, __u32);
	__type(value, __u32);
} ps_refusals SEC(".maps");

static __always_inline __u32 refusal_of(const struct ps_flow_key *key)
{
	__u32 hash = (__u32)key->client_port << 16 | key->server_port;

#pragma unroll
	for (int i = 0; i < 4; i++)
		hash = (hash ^ key->client[i]) * 0x9e3779b1 ^ key->server[i];
	return (hash * 0x9e3779b1) >> 20;
}
_Static_assert(PS_REFUSALS == 1 << 12, "the hash has 12 bits");

/* The counters of struct ps_connect_events. */
enum ps_client_event {
	PS_CLIENT_STEERED,
	PS_CLIENT_NO_LISTENER,
	PS_CLIENT_WRONG_FAMILY,
	PS_CLIENT_TAKEN
};

static __always_inline void count_client(__u32 inst, __u32 rule, enum ps_client_event event)
{
	struct ps_connect_events *e = rule ? (void *)events_at(inst, rule) : NULL;

	if (!e)
		return;
	if (event == PS_CLIENT_STEERED)
		PS_COUNT(e->steered);
	else if (event == PS_CLIENT_WRONG_FAMILY)
		PS_COUNT(e->wrong_family);
	else if (event == PS_CLIENT_TAKEN)
		PS_COUNT(e->taken);
	else
		PS_COUNT(e->no_listener);
	WRITE_ONCE(e->last, bpf_jiffies64());
}

#endif
