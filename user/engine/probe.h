/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What this kernel supports, found out by trying: the real programs are loaded and thrown
 * away. Nothing is pinned or left.
 */
#ifndef PORTSTEER_PROBE_H
#define PORTSTEER_PROBE_H

#include <stdbool.h>
#include <stddef.h>

#include "os/refusal.h"
#include "util/error.h"

enum ps_support {
	PS_NO,
	PS_YES,
	PS_UNKNOWN, /* not to be found out without more privilege */
};

struct ps_feature {
	char name[32]; /* one word: "sk_lookup" */
	const char *use; /* what portsteer does with it */
	enum ps_support support;
	char why[600]; /* if it is not PS_YES; never empty then */
	bool told; /* `why` says what to do as well */
	const struct ps_feature *needs; /* of a mode: the feature that it lacks, or NULL */
};

enum { PS_PROBE_STEER, PS_PROBE_BIND, PS_PROBE_CONNECT, PS_PROBE_MODES, PS_MAX_FEATURES = 48 };

struct ps_probe {
	char kernel[128]; /* release */
	struct ps_feature features[PS_MAX_FEATURES];
	size_t count;
	struct ps_feature modes[PS_PROBE_MODES]; /* why: the first feature that is missing */
	bool permitted; /* false: BPF calls are refused to this process */
	struct ps_facts facts;
	int refused; /* error of the first program that was not loaded, 0: none */
};

/* Try everything. 0 or -ENOMEM. */
int ps_probe_run(struct ps_probe *probe, struct ps_error *error);

/* 0 if every mode works; else why not, with the exit status. */
int ps_probe_judge(const struct ps_probe *probe, struct ps_error *error);

#endif
