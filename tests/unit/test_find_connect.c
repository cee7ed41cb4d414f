// SPDX-License-Identifier: GPL-2.0-only
/* bpf/reach.h: a listener is found also if it is replaced while it is looked for. */
#include "bpf_mock.h"

#define bpf_probe_read_kernel(to, size, from) memcpy(to, from, size)
#define BPF_CORE_READ_BITFIELD_PROBED(sock, field) ((void)(sock), false)

#include "bpf/reach.h"

static void *mock_map_lookup(void *map, const void *key)
{
	static char chunk, more;
	__u32 number;

	memcpy(&number, key, sizeof(number));
	if (map == &ps_sockets)
		return &chunk;
	if (map == &ps_overflows)
		return &more;
	if (map == &chunk && number / PS_SLOTS == MOCK_TARGET)
		return mock_look(number % PS_SLOTS);
	if (map == &more)
		return mock_look(PS_SLOTS + ((const struct ps_overflow_key *)key)->n);
	return mock_shared(map, &ps_instances, &ps_targets);
}

/* From each place to each. */
static void replaced(void **state)
{
	(void)state;
	mock_old = mock_new = (struct bpf_sock){ .family = AF_INET };
	for (int from = 0; from < MOCK_PLACES; from++) {
		for (int to = 0; to < MOCK_PLACES; to++) {
			ROW("from %d to %d", from, to);
			mock_set((unsigned int)from, from == to ? -1 : to);
			mock_use((unsigned int)to); /* a bit where nobody is */
			CHECK_EQ(reach_any(0, MOCK_TARGET, 4) & PS_FOUND, PS_FOUND);
		}
	}
}

static void nobody(void **state)
{
	(void)state;
	mock_set(0, -1);
	mock_place[0] = NULL;
	CHECK_EQ(reach_any(0, MOCK_TARGET, 4), PS_NONE);
	mock_set(1, -1);
	mock_old = (struct bpf_sock){ .family = AF_INET, .state = BPF_TCP_LISTEN };
	CHECK_EQ(reach_any(0, MOCK_TARGET, 6), PS_OTHER_FAMILY);
	CHECK_EQ(reach_any(0, MOCK_TARGET, 4), PS_FOUND);
	mock_old = (struct bpf_sock){ .family = AF_INET6, .state = BPF_TCP_LISTEN };
	CHECK_EQ(reach_any(0, MOCK_TARGET, 6), PS_FOUND);
	CHECK_EQ(reach_any(0, MOCK_TARGET, 4), PS_FOUND);
	mock_old.state = BPF_TCP_CLOSE;
	CHECK_EQ(reach_any(0, MOCK_TARGET, 4), PS_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replaced),
		cmocka_unit_test(nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
