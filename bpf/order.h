/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that is shared with other CPUs and with user space: how it is accessed, and why in this
 * order. This is the only place where the order is argued; elsewhere a comment names one of the
 * numbers below.
 *
 * Programs have little to order memory with. A plain load or store becomes a plain one, on every
 * machine: BPF has load-acquire and store-release only since Linux 6.15. An atomic instruction
 * that returns the old value is a full barrier on every JIT; that is smp_mb(). Loads from an
 * address that was loaded come after the load of the address, on every machine that Linux
 * supports BPF on, also where a key is stored on the stack and loaded again by the map. x86 and
 * s390 keep loads in order without being asked.
 *
 * 1. The rules in force. Each table exists twice. user space writes the half that is not in
 *    force and then stores the ruleset word, by which the half is found.
 *
 *	user space                              a program
 *	active = word n + 1; full barrier       word = READ_ONCE(active)
 *	write the half of word n                read the half that it names
 *	active = word n + 2 (release)           smp_rmb(); READ_ONCE(active) == word?
 *
 *    A program that sees a word sees the tables that were written before: it finds them by an
 *    address made of the word, and the store is a release. If it reads anything that is written
 *    later to this half, for the ruleset after the next, it also sees that the word has moved
 *    on: the smp_rmb() pairs with the full barrier (ps_store, user/kernel/host.h). What it read
 *    is dropped then. So tables are read by plain loads, which may see half a value, and nothing
 *    is done by them before the second look. Programs that admit listeners read the word
 *    `pending` in the same way; a half is written only when neither word names it any more.
 *
 * 2. Target ids. A ruleset may give an id of an earlier one to another owner. User space first
 *    waits until no program runs that began before the id was retired (ps_wait_for_programs), and
 *    empties the id's places. So what a program decided for an id holds until it ends. A flow lives
 *    longer than that: it carries the epoch that the id had, which is compared.
 *
 * 3. A listener that begins while a ruleset is being prepared is found by its own listen(), or by
 *    the scan for open sockets:
 *
 *	listen()                                user space
 *	state = LISTEN                          pending = word; full barrier
 *	smp_mb(); READ_ONCE(pending)            read the states of open sockets
 *
 *    One of the two sees what the other has stored.
 *
 * 4. Places and their bits (places.h). Admission puts a listener into a place, then sets the bit:
 *
 *	admission                               lookup
 *	enter the place                         bits = READ_ONCE(used)
 *	smp_mb(); set the bit                   look at a place that is made of the bits
 *
 *    A lookup that sees the bit sees the listener, as the place's address depends on the bits.
 *    A lookup that finds nobody under a bit clears it, does smp_mb(), and looks once more. If it
 *    has cleared a bit that a new listener had set, it sees that listener, and sets the bit again.
 *    So no bit is lost.
 *
 *    "Nobody" is said after all places were looked at twice. A new listener may enter a place that
 *    has been passed, and the old one leave a place that has not been reached. It entered before
 *    the old one left; so whoever sees that the old one, or its bit, is gone, and reads the bits
 *    and places again after smp_rmb(), sees the new one.
 *
 * 5. Flows, and refusals, are stored by the client's connect() before its SYN is sent, and looked
 *    up when the SYN arrives. The queues in between have locks. Only `flags` may change while a
 *    flow is in use: it is read once.
 *
 * 6. The filters. A port is added before the word is stored and removed after it, so that a bit
 *    may be set too long, but is never missing for a ruleset that a program could see. Programs
 *    need no order: not to see a new bit yet is to have come before the new ruleset.
 *
 * 7. Counters order nothing. They are read one by one, and may disagree by what happens just then.
 */
#ifndef PORTSTEER_ORDER_H
#define PORTSTEER_ORDER_H

/* One load or store of a value that others may access at the same time. */
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile typeof(x) *)&(x) = (value))

/* No access is moved across it. The compiler must not see that nobody else has the variable. */
#define smp_mb()                                                                                   \
	do {                                                                                       \
		__u64 on_stack_ = 0;                                                               \
		__asm__ volatile("" : : "r"(&on_stack_) : "memory");                               \
		(void)__sync_lock_test_and_set(&on_stack_, 1);                                     \
		__asm__ volatile("" : : : "memory");                                               \
	} while (0)

/* No load is moved across it. The lookup of each connection has one. */
#if defined(__TARGET_ARCH_x86) || defined(__TARGET_ARCH_s390)
#define smp_rmb() __asm__ volatile("" : : : "memory")
#else
#define smp_rmb() smp_mb()
#endif

/* One more, where other CPUs count too. Relaxed, and without a result: that is the cheapest
 * atomic instruction. Of __sync_fetch_and_add() clang 23 makes one that fetches the old value,
 * whether or not anybody asks for it. */
#define PS_COUNT(counter) ((void)__atomic_fetch_add(&(counter), 1, __ATOMIC_RELAXED))
#define PS_UNCOUNT(counter) ((void)__atomic_fetch_add(&(counter), -1, __ATOMIC_RELAXED))

/* One more in a counter that only this CPU writes. */
#define PS_COUNT_HERE(counter) WRITE_ONCE(counter, (counter) + 1)

#endif
