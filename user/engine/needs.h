/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the rules of all instances need together: programs on the root cgroup, the places of
 * sock_ops, and the ports in the filters of these.
 */
#ifndef PORTSTEER_NEEDS_H
#define PORTSTEER_NEEDS_H

#include "compile/state.h"
#include "kernel/host.h"

/* Sets of ports: bit p & 31 of word p / 32. */
enum { PS_PORT_WORDS = 65536 / 32 };

/* A filter must never lack a port of the ruleset in force: it grows before the store
 * and shrinks after it. `count` is of words. */
void ps_filter_widen(uint32_t *filter, const uint32_t *plan, int count);
void ps_filter_narrow(uint32_t *filter, const uint32_t *plan, int count);

/* The ports to which clients of a namespace have flows (0: of any), a bit each, if wanted; true
 * if there are any. While there are, their rule may be gone, but not what refuses a connection of
 * theirs that is still to be answered: it was sent where somebody else may be. */
bool ps_client_flows(const struct ps_host *host, uint64_t cookie, uint32_t ports[PS_PORT_WORDS]);

/* Attach sock_ops where any instance's rules need it. */
int ps_attach_needed(const struct ps_host *host, struct ps_error *error);

/* Are there programs which these rules do not need? */
bool ps_has_idle(const struct ps_host *host, const struct ps_ruleset *rules);

/* Was a command killed that changed any instance, whatever it left for all of them? */
bool ps_any_interrupted(const struct ps_host *host);

/*
 * Detach what no instance's rules need any more, after the instance with this cookie, whose rules
 * are `now` (NULL: it has none), has had `before`. What others need is only read if some of that
 * has gone, or if `before` is NULL: not known. 0 or -errno.
 */
int ps_release(struct ps_host *host, uint64_t cookie, const struct ps_state *before,
	       const struct ps_state *now);

#endif
