#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# portsteer upgrade, killed at its system calls: the old or the new version's rules are in
# force, nothing of both is broken, and the next command finishes it or cleans up.

load lib
load upgrade_lib

setup_file() { setup_others; }
setup() { setup_test; }
teardown() { teardown_others; }

fail_at()
{
	echo "killed at system call $1: $2" >&2
	find $STATE $STATE-upgrade >&2 || true
	exit 1
}

# whose: which version's state is there.
whose()
{
	if "$OLD" list >/dev/null 2>&1; then
		echo old
	elif portsteer list >/dev/null 2>&1; then
		echo new
	else
		echo neither
	fi
}

# works N: the rules are in force for all who ask.
works()
{
	[ "$(probe 80)" = web ] || fail_at "$1" "port 80 is not steered"
	[ "$(from a probe 90)" = web ] || fail_at "$1" "the scope's port 90 is not"
}

@test "killed at each 50th system call: old or new, and the next command finishes or cleans up" {
	local n out now before=old hits=0
	serve web 127.0.0.1 8080
	mkdir -p "$PS_TEST_CGROUP/a"
	"$OLD" -q add 80:8080 --user ps-web
	"$OLD" -q add 90:8080 --from "$CG/a" --user ps-web
	for ((n = 0; ; n += 50)); do
		out=$("$KILLAT" $n "$PORTSTEER" upgrade)
		[[ $out == killed* ]] || break
		now=$(whose)
		works $n
		hits=$((hits + 1))
		[ "$now" != neither ] || fail_at $n "neither works"
		# Once a kill at some call has left the new state, one at a later call must too.
		[ "$now" = new ] || [ $before = old ] || fail_at $n "old again"
		before=$now
		if [ "$now" = old ]; then
			# The old version works on as if nothing had been.
			"$OLD" -q add 99:9999 --any-user || fail_at $n "add failed"
			"$OLD" -q del 99
			works $n
			hits=$((hits + 1))
			continue
		fi
		# The next command of any kind finishes it.
		if ((n % 100)); then
			portsteer -q add 99:9999 --any-user || fail_at $n "add failed"
		else
			portsteer -q upgrade || fail_at $n "upgrade failed"
		fi
		clean || fail_at $n "something is left"
		works $n
		hits=$((hits + 1))
		counters 80:8080/tcp "steered=$hits missed=0" || fail_at $n "counters"
		portsteer -q unload
		"$OLD" -q add 80:8080 --user ps-web
		"$OLD" -q add 90:8080 --from "$CG/a" --user ps-web
		hits=0
	done
	echo "# upgrade: $n system calls" >&3
	[ "$before" = new ]
	[ "$n" -gt 500 ]
	works $n
	clean
	portsteer unload
	[ ! -e $STATE ]
}

@test "killed around the exchange, at each 20th system call" {
	local n out last first=0 now hits=0
	serve web 127.0.0.1 8080
	mkdir -p "$PS_TEST_CGROUP/a"
	"$NEXT" -q add 80:8080 --user ps-web
	"$NEXT" -q add 90:8080 --from "$CG/a" --user ps-web
	# Count the calls of a whole upgrade, by one that cannot be reached.
	last=$("$KILLAT" 1000000 "$PORTSTEER" upgrade)
	last=$(awk '{ print $2 }' <<<"$last")
	"$NEXT" -q upgrade
	for ((n = last - 1; n > 0; n -= 20)); do
		out=$("$KILLAT" $n "$PORTSTEER" upgrade)
		[[ $out == killed* ]] || fail_at $n "$out"
		works $n
		hits=$((hits + 1))
		if "$NEXT" list >/dev/null 2>&1; then
			# Before the exchange. A few calls more, then enough.
			first=$((first + 1))
			[ $first -lt 3 ] || break
		else
			portsteer list >/dev/null || fail_at $n "list failed"
			# Back: what was killed is finished first.
			"$NEXT" -q upgrade || fail_at $n "upgrade back failed"
		fi
		works $n
		hits=$((hits + 1))
		[ "$("$NEXT" stats --json | jsonget "rules|rule=80:8080/tcp|counters|steered")" = $hits ] ||
			fail_at $n "counters"
	done
	echo "# the last $((last - n)) of $last system calls" >&3
	[ $((last - n)) -gt 30 ]
	portsteer -q upgrade
	clean
}

@test "what a killed upgrade left is counted, and unload removes it" {
	local n out
	portsteer -q load
	for n in 300 100000; do
		out=$("$KILLAT" $n "$SAME" upgrade)
		[ $n = 100000 ] || [ -e $STATE-upgrade ]
		[ $n = 100000 ] || assert_equal "$(portsteer status --json | jsonget leftovers)" 1
	done
	"$KILLAT" 300 "$PORTSTEER" upgrade >/dev/null
	portsteer -q unload
	[ ! -e $STATE ]
	[ ! -e $STATE-upgrade ]
}
