// SPDX-License-Identifier: GPL-2.0-only
/* bpf/reach.h: a listener is found also if it is replaced while it is looked for. */
#include "bpf_mock.h"

static __u32 random_number;

#define bpf_get_prandom_u32() (random_number << 8)
#define bpf_probe_read_kernel(to, size, from) memcpy(to, from, size)
#define BPF_CORE_READ_BITFIELD_PROBED(sock, field) ((void)(sock), false)

#include "bpf/maps.h"

#include "bpf/listener_maps.h"

#include "bpf/address.h"
#include "bpf/way.h"

#include "bpf/reach.h"

static void *mock_map_lookup(void *map, const void *key)
{
	static char chunk, more;
	__u32 number;

	memcpy(&number, key, sizeof(number));
	if (map == &sockets)
		return &chunk;
	if (map == &overflows)
		return &more;
	if (map == &chunk && number / PS_SLOTS == MOCK_TARGET)
		return mock_look(number % PS_SLOTS);
	if (map == &more)
		return mock_look(PS_SLOTS + ((const struct ps_overflow_key *)key)->n);
	return mock_shared(map, &instances, &events);
}

static int find(__u8 vacant, struct ps_way *way)
{
	struct ps_want want = { .family = 4, .protocol = IPPROTO_TCP };

	*way = (struct ps_way){ .listeners = MOCK_TARGET, .vacant = vacant };
	return reach_any(&want, way);
}

static void may_replace(unsigned int from, unsigned int to, __u8 vacant)
{
	struct ps_way way;

	mock_set(from, (int)to);
	CHECK_EQ(find(vacant, &way) & PS_FOUND, PS_FOUND);
	CHECK(way.port == mock_old.src_port || way.port == mock_new.src_port);
}

/* From each place to each, the search beginning anywhere, and whatever the hint says. */
static void replaced(unsigned int places)
{
	mock_old = (struct bpf_sock){ .family = AF_INET, .src_port = 8080 };
	mock_new = (struct bpf_sock){ .family = AF_INET, .src_port = 8081 };
	mock_events.overflow = places - PS_SLOTS;
	mock_instance.overflowed = places > PS_SLOTS;
	for (unsigned int from = 0; from < places; from++) {
		for (unsigned int to = 0; to < places; to++) {
			for (random_number = 0; from != to && random_number < places;
			     random_number++) {
				for (__u8 vacant = 0; vacant < 1 << PS_SLOTS; vacant++) {
					ROW("from %u to %u of %u, at %u, hint %x", from, to, places,
					    random_number, vacant);
					may_replace(from, to, vacant);
				}
			}
		}
	}
}

static void slots(void **state)
{
	(void)state;
	replaced(PS_SLOTS);
}

static void more_than_slots(void **state)
{
	(void)state;
	replaced(MOCK_PLACES);
}

static void nobody(void **state)
{
	struct ps_way way;

	(void)state;
	mock_set(0, -1);
	mock_place[0] = NULL;
	CHECK_EQ(find(0, &way), PS_NONE);
	mock_place[1] = &mock_old;
	mock_old = (struct bpf_sock){ .family = AF_INET6, .src_ip6 = { 0, 0, 0, 1 } };
	CHECK_EQ(find(0, &way), PS_OTHER_FAMILY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots),
		cmocka_unit_test(more_than_slots),
		cmocka_unit_test(nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
