// SPDX-License-Identifier: GPL-2.0-only
/* bpf/steer.h: a listener is found also if it is replaced while it is looked for. */
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

#include "bpf/instance.bpf.c"

static void *mock_map_lookup(void *map, const void *key)
{
	__u32 number;

	memcpy(&number, key, sizeof(number));
	if (map == &listeners && number / PS_SLOTS == MOCK_TARGET)
		return mock_look(number % PS_SLOTS);
	if (map == &spill)
		return mock_look(PS_SLOTS + ((const struct ps_overflow_key *)key)->n);
	return mock_shared(map, &instances, &events);
}

static enum ps_found find(__u32 flags, __u16 client)
{
	struct bpf_sk_lookup ctx = { .family = AF_INET, .remote_port = client };
	struct ps_front front = { .target = MOCK_TARGET, .flags = flags };

	assigned = NULL;
	return find_listener(&ctx, &mock_instance, &front);
}

/* From each place to each, for clients whose search begins anywhere. */
static void replaced(__u32 flags, unsigned int places)
{
	memset(taken, 0, sizeof(taken));
	mock_events.overflow = places - PS_SLOTS;
	mock_instance.overflowed = places > PS_SLOTS;
	for (unsigned int from = 0; from < places; from++) {
		for (unsigned int to = 0; to < places; to++) {
			for (__u16 client = 1; from != to && client < 200; client++) {
				ROW("flags %u, from %u to %u of %u, client %u", flags, from, to,
				    places, client);
				mock_set(from, (int)to);
				CHECK_EQ(find(flags, client) & PS_FOUND, PS_FOUND);
				CHECK(assigned == &mock_old || assigned == &mock_new);
				/* If it moved while it was found, it is found there, too. */
				CHECK_EQ(find(flags, client) & PS_FOUND, PS_FOUND);
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
	mock_set(0, -1);
	mock_place[0] = NULL;
	CHECK_EQ(find(PS_FRONT_DEFAULT, 1), PS_NONE);
	CHECK_EQ(find(PS_FRONT_STRICT, 1), PS_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots),
		cmocka_unit_test(more_than_slots),
		cmocka_unit_test(owner_with_cgroup),
		cmocka_unit_test(nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
