// SPDX-License-Identifier: GPL-2.0-only
#include "engine/counters.h"

const struct ps_counter ps_counters[PS_COUNTER_COUNT] = {
#define PS_COUNTER_ROW(name, modes) { #name, offsetof(struct ps_rule_stats, name), modes },
	PS_COUNTERS(PS_COUNTER_ROW)
#undef PS_COUNTER_ROW
};

uint64_t ps_counter_value(const struct ps_counter *counter, const struct ps_rule_stats *stats)
{
	return *(const uint64_t *)((const char *)stats + counter->offset);
}

bool ps_counter_is_of(const struct ps_counter *counter, enum ps_mode mode)
{
	return counter->modes & 1u << mode;
}
