#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# portsteer upgrade, killed at its system calls: the old or the new version's rules are in
# force, nothing of both is broken, and the next command finishes it or cleans up. A sample of the
# calls: kill_lib.bash says which.

load lib
load kill_lib
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

# whose: which layout's state is there.
whose()
{
	if "$NEXT" list >/dev/null 2>&1; then
		echo other
	elif portsteer list >/dev/null 2>&1; then
		echo this
	else
		echo neither
	fi
}

# works N: the rules are in force for all who ask.
works()
{
	[ "$(probe 80)" = web ] || fail_at "$1" "port 80 is not steered"
	[ "$(from a probe 90)" = web ] || fail_at "$1" "the client cgroup's port 90 is not"
}

# sampled ROW: says how many there were.
sampled()
{
	read -r _ CALLS _ <<<"$out"
	echo "# $1: $CALLS system calls; KILL_EVERY=$KILL_EVERY SEED=$SEED" >&3
}

@test "killed at each system call: old or new, and the next command finishes or cleans up" {
	local n out now before=other way=0
	serve web 127.0.0.1 8080
	mkdir -p "$PS_TEST_CGROUP/a"
	"$NEXT" -q add 80:8080 --user ps-web
	"$NEXT" -q add 90:8080 --client-cgroup "$CG/a" --user ps-web
	for ((n = FIRST; ; n += KILL_EVERY)); do
		out=$("$KILLAT" $n "$PORTSTEER" upgrade)
		[[ $out == killed* ]] || break
		now=$(whose)
		works $n
		[ "$now" != neither ] || fail_at $n "neither works"
		# Once a kill at some call has left the new state, one at a later call must too.
		[ "$now" = this ] || [ $before = other ] || fail_at $n "the other again"
		before=$now
		if [ "$now" = other ]; then
			# The other build works on as if nothing had been.
			"$NEXT" -q add 99:9999 --any-user || fail_at $n "add failed"
			"$NEXT" -q del 99
			works $n
			continue
		fi
		# The next command of any kind finishes it.
		if ((way++ % 2)); then
			portsteer -q add 99:9999 --any-user || fail_at $n "add failed"
		else
			portsteer -q upgrade || fail_at $n "upgrade failed"
		fi
		clean || fail_at $n "something is left"
		works $n
		portsteer -q unload
		"$NEXT" -q add 80:8080 --user ps-web
		"$NEXT" -q add 90:8080 --client-cgroup "$CG/a" --user ps-web
	done
	sampled upgrade
	[ "$before" = this ]
	[ "$CALLS" -gt 150 ]
	works $n
	clean
	portsteer unload
	[ ! -e $STATE ]
}

@test "killed around the exchange, at each system call" {
	local n out last first=0
	serve web 127.0.0.1 8080
	mkdir -p "$PS_TEST_CGROUP/a"
	"$NEXT" -q add 80:8080 --user ps-web
	"$NEXT" -q add 90:8080 --client-cgroup "$CG/a" --user ps-web
	# Count the calls of a whole upgrade, by one that cannot be reached.
	last=$("$KILLAT" 1000000 "$PORTSTEER" upgrade)
	last=$(awk '{ print $2 }' <<<"$last")
	"$NEXT" -q upgrade
	for ((n = last - 1 - FIRST; n > 0; n -= KILL_EVERY)); do
		out=$("$KILLAT" $n "$PORTSTEER" upgrade)
		[[ $out == killed* ]] || fail_at $n "$out"
		works $n
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
	done
	echo "# the last $((last - n)) of $last system calls" >&3
	[ $((last - n)) -gt 5 ]
	portsteer -q upgrade
	clean
}

@test "the same layout, killed at each system call: counters go on, the next one finishes" {
	local n out hits=0
	serve web 127.0.0.1 8080
	mkdir -p "$PS_TEST_CGROUP/a"
	portsteer -q add 80:8080 --user ps-web
	portsteer -q add 90:8080 --client-cgroup "$CG/a" --user ps-web
	for ((n = FIRST; ; n += KILL_EVERY)); do
		out=$("$KILLAT" $n "$SAME" upgrade)
		[[ $out == killed* ]] || break
		works $n
		"$SAME" -q add 99:9999 --any-user || fail_at $n "add failed"
		portsteer -q del 99 || fail_at $n "del failed"
		clean || fail_at $n "something is left"
		works $n
		hits=$((hits + 2))
		counters 80:8080/tcp "steered=$hits no_listener=0" || fail_at $n "counters"
		"$SAME" -q upgrade || fail_at $n "upgrade failed"
		portsteer -q upgrade || fail_at $n "upgrade back failed"
	done
	sampled "upgrade in place"
	[ "$CALLS" -gt 50 ]
	portsteer -q unload
	[ ! -e $STATE ]
}

@test "what a killed upgrade left is counted, and unload removes it" {
	local n out
	portsteer -q load
	"$KILLAT" 60 "$NEXT" upgrade
	[ -e $STATE-upgrade ]
	assert_equal "$(portsteer status --json | jsonget leftovers)" 1
	portsteer -q unload
	[ ! -e $STATE ]
	[ ! -e $STATE-upgrade ]
}

# Its socket is in the old state's tables still, and the new rules do not lead to it.
@test "a deleted rule's listener, whose del was killed before it had cleaned up" {
	local n out after=0
	serve web 127.0.0.1 8080
	for ((n = 8 + FIRST; ; n += KILL_EVERY)); do
		# The same target is another's, too.
		"$NEXT" -q add 81:8080 --user ps-db
		"$NEXT" -q add 80:8080 --user ps-web
		out=$("$KILLAT" $n "$NEXT" del 80)
		[[ $out == killed* ]] || break
		if [ "$("$NEXT" list --json | jsonget rules.0.rule)" = 81:8080/tcp ]; then
			after=$((after + 1))
			# Whatever is changed next cleans up, as does an upgrade.
			if ((after % 2)); then
				"$NEXT" -q add 82:8082 --user ps-web
				assert_equal "$("$NEXT" status --json | jsonget leftovers)" 0
			fi
		fi
		portsteer -q upgrade || fail_at $n "upgrade failed"
		portsteer -q unload
	done
	[ "$KILL_EVERY" != 1 ] || [ "$after" -gt 1 ]
	"$NEXT" -q unload
}
