// SPDX-License-Identifier: GPL-2.0-only
#include "util/patience.h"

#include <time.h>

enum { NS_A_MS = 1000 * 1000 };

bool ps_wait_a_little(struct ps_patience *patience)
{
	const struct timespec little = { .tv_nsec = NS_A_MS };
	struct timespec time;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &time);
	now = (uint64_t)time.tv_sec * 1000 * NS_A_MS + (uint64_t)time.tv_nsec;
	if (!patience->until)
		patience->until = now + (uint64_t)1000 * NS_A_MS;
	if (now >= patience->until)
		return false;
	nanosleep(&little, NULL);
	return true;
}
