// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is loaded for each network namespace: the sk_lookup program that steers connections.
 */
#include "steer.h"

SEC("sk_lookup")
int ps_steer(struct bpf_sk_lookup *ctx)
{
	return steer(ctx);
}

char LICENSE[] SEC("license") = "GPL";
