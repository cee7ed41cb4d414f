// SPDX-License-Identifier: GPL-2.0-only
/* bpf/listener.h: a listener is found also if it is replaced while it is looked for. */
#include "bpf_mock.h"

static struct bpf_sock *assigned;

static int mock_assign(struct bpf_sk_lookup *ctx, struct bpf_sock *sk, __u64 flags)
{
	(void)ctx;
	(void)flags;
	assigned = sk;
	return 0;
}
#define bpf_sk_assign mock_assign

/* Instead of bpf/device.h, which reads the kernel's own types. */
#define PORTSTEER_DEVICE_H
static bool comes_by_device(const struct bpf_sk_lookup *ctx, const struct bpf_sock *sk)
{
	return !sk->bound_dev_if || sk->bound_dev_if == ctx->ingress_ifindex;
}

#include "bpf/instance.bpf.c"

static void *mock_map_lookup(void *map, const void *key)
{
	__u32 number;

	memcpy(&number, key, sizeof(number));
	if (map == &ps_listeners && number / PS_SLOTS == MOCK_TARGET)
		return mock_look(number % PS_SLOTS);
	if (map == &ps_overflow)
		return mock_look(PS_SLOTS + ((const struct ps_overflow_key *)key)->n);
	return map == &ps_states ? &mock_state : NULL;
}

static enum ps_found find(__u32 flags, __u16 client)
{
	struct bpf_sk_lookup ctx = { .family = AF_INET, .remote_port = client };

	assigned = NULL;
	return find_listener(&ctx, MOCK_TARGET, flags);
}

/* With bits of these places, too, where nobody is; they lose them. */
static void may_replace_after(int looks, unsigned int from, unsigned int to, __u64 stale,
			      __u32 flags, __u16 client)
{
	mock_set(from, (int)to);
	mock_looks = looks;
	mock_state.used[0][0] |= stale;
	CHECK_EQ(find(flags, client) & PS_FOUND, PS_FOUND);
	CHECK(assigned == &mock_old || assigned == &mock_new);
	/* If it moved while it was found, it is found there, too. */
	CHECK_EQ(find(flags, client) & PS_FOUND, PS_FOUND);
}

/* After the first look at the new place, or after the second, which follows when its bit has been
 * cleared. */
static void may_replace(unsigned int from, unsigned int to, __u64 stale, __u32 flags, __u16 client)
{
	for (int looks = 1; looks <= 3; looks++)
		may_replace_after(looks, from, to, stale, flags, client);
}

/* From each place to each, for clients whose search begins anywhere. */
static void replaced(__u32 flags, unsigned int places)
{
	for (unsigned int from = 0; from < places; from++) {
		for (unsigned int to = 0; to < places; to++) {
			for (__u16 client = 1; from != to && client < 50; client++) {
				ROW("flags %u, from %u to %u of %u, client %u", flags, from, to,
				    places, client);
				may_replace(from, to, 0, flags, client);
				may_replace(from, to, 1ULL << to, flags, client);
				may_replace(from, to, 0xffffff, flags, client);
			}
		}
	}
}

static void slots(void **state)
{
	(void)state;
	replaced(PS_FRONT_DEFAULT, PS_SLOTS);
}

static void more_than_slots(void **state)
{
	(void)state;
	replaced(PS_FRONT_DEFAULT, MOCK_PLACES);
}

static void owner_with_cgroup(void **state)
{
	(void)state;
	replaced(PS_FRONT_STRICT, PS_SLOTS);
	replaced(PS_FRONT_STRICT, MOCK_PLACES);
}

static void nobody(void **state)
{
	(void)state;
	for (unsigned int n = 0; n < MOCK_PLACES; n++) {
		mock_set(n, -1);
		mock_place[n] = NULL;
		CHECK_EQ(find(n & 1 ? PS_FRONT_DEFAULT : PS_FRONT_STRICT, 1), PS_NONE);
		CHECK_EQ(mock_state.used[0][n / 64], 0); /* and is not looked for again */
	}
}

/* A listener that stops to listen without being closed, and comes back to its place. */
static void paused(void **state)
{
	(void)state;
	mock_set(2, -1);
	mock_old.state = BPF_TCP_CLOSE;
	CHECK_EQ(find(PS_FRONT_STRICT, 1), PS_NONE);
	mock_old.state = BPF_TCP_LISTEN;
	mock_use(2);
	CHECK_EQ(find(PS_FRONT_STRICT, 1), PS_FOUND);
}

/* The hint: the nth bit, and shares that are equal whatever gaps there are. */
static void numbers(void **state)
{
	static const __u64 masks[] = { 1,
				       0x8000000000000000ULL,
				       0xff,
				       0x8100000000000081ULL,
				       ~0ULL,
				       0x5555555555555555ULL,
				       0xfffffffffffffffeULL };
	__u32 n;

	(void)state;
	for (size_t m = 0; m < sizeof(masks) / sizeof(*masks); m++) {
		n = 0;
		for (__u32 bit = 0; bit < 64; bit++) {
			ROW("mask %llx, bit %u", masks[m], bit);
			if (masks[m] >> bit & 1)
				CHECK_EQ(nth_used(masks[m], n++), bit);
		}
		CHECK_EQ(ones(masks[m]), n);
	}
	CHECK_EQ(pick_place(0, 0, 1), PS_PLACES);
}

static void shares(void **state)
{
	__u32 share[PS_PLACES] = {}, most = 0, least = ~0U;

	(void)state;
	for (__u32 number = 0; number < 65536; number++)
		share[pick_place(0x8000000000000011ULL, 0x8000000000000100ULL, number)]++;
	for (__u32 n = 0; n < PS_PLACES; n++) {
		most = share[n] > most ? share[n] : most;
		least = share[n] && share[n] < least ? share[n] : least;
	}
	CHECK_EQ(share[0] + share[4] + share[63] + share[72] + share[127], 65536);
	CHECK(most - least <= 1);
}

/* Whoever comes while the bit is cleared is not lost: the old one leaves, and another comes
 * to the same place after the look and before the bit is cleared. */
static void refilled(void **state)
{
	(void)state;
	mock_set(1, 1);
	mock_place[1] = NULL;
	CHECK_EQ(find(PS_FRONT_STRICT, 1) & PS_FOUND, PS_FOUND);
	CHECK(mock_state.used[0][0] & 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots),
		cmocka_unit_test(more_than_slots),
		cmocka_unit_test(owner_with_cgroup),
		cmocka_unit_test(nobody),
		cmocka_unit_test(paused),
		cmocka_unit_test(numbers),
		cmocka_unit_test(shares),
		cmocka_unit_test(refilled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
