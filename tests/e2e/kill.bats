#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Commands that change something, each killed as it enters each of its system calls in turn.
# What the kernel then does, and what the next commands see, is the old state or the new one;
# never a half.

load lib

KILLAT=$REPO/build/tools/killat

setup_file() { setup_env; }
setup() { setup_test; }
teardown() { teardown_test; }

# killed N COMMAND...: run portsteer and kill it at its system call N.
# False if it has ended before.
killed()
{
	local out
	out=$("$KILLAT" "$1" "$PORTSTEER" "${@:2}")
	case $out in
	killed*) return 0 ;;
	"exited "*" 0") return 1 ;;
	*) fail_at "$1" "$* ended by itself: $out" ;;
	esac
}

fail_at()
{
	echo "killed at system call $1: $2" >&2
	find $STATE >&2 || true
	portsteer status >&2 || true
	exit 1
}

# observe N OLD-RULES NEW-RULES: set NOW to old or new, by the rules that list shows.
# Once a kill at some call has left the new state, one at a later call must too. How many
# calls come before that depends a little on what the runs before have left (tables that
# were used are cleared): for some calls, both may be seen.
observe()
{
	local got
	got=$(rules)
	case $got in
	"$2") NOW=old ;;
	"$3") NOW=new ;;
	*) fail_at "$1" "neither old nor new: $got" ;;
	esac
	[ "$NOW" = old ] || [ "$BEFORE" = new ] || FIRST_NEW=$1
	[ "$NOW" = new ] || [ "$BEFORE" = old ] || [ "$1" -lt $((FIRST_NEW + 24)) ] ||
		fail_at "$1" "old again"
	[ "$BEFORE" = new ] || BEFORE=$NOW
	portsteer status --json >"$PS_TEST_DIR/status" || fail_at "$1" "status failed"
}

# steered N PORT NAME: connections to the port reach this server ("refused": none).
steered()
{
	local got
	got=$(probe "$2")
	[ "$got" = "$3" ] || fail_at "$1" "port $2 leads to $got, not to $3; rules are $NOW"
}

# bound N PORT: the port that a bind of ps-web's to 5353 gets.
bound()
{
	becomes "$2" 127.0.0.1 5353 --udp || fail_at "$1" "wrong; rules are $NOW"
}

# sent N NAME: connects to port 80 of processes in the scope reach this server ("refused":
# none); all others are refused.
sent()
{
	local got
	got=$(from a probe 80)
	[ "$got" = "$2" ] || fail_at "$1" "the scope's port 80 leads to $got, not to $2; rules are $NOW"
	got=$(probe 80)
	[ "$got" = refused ] || fail_at "$1" "port 80 leads to $got for all; rules are $NOW"
}

# no_hooks N: the programs that connect rules need are gone.
no_hooks()
{
	[ ! -e $STATE/host/connect ] && [ ! -e $STATE/host/datagram ] ||
		fail_at "$1" "hooks are left"
}

# unloads N: unload works and leaves nothing.
unloads()
{
	portsteer -q unload || fail_at "$1" "unload failed"
	[ ! -e $STATE ] || fail_at "$1" "unload left something"
}

# What is special in a run: the last call was reached, both states were seen.
finished()
{
	echo "# $1: $2 system calls" >&3
	[ "$2" -gt 20 ]
	assert_equal "$BEFORE" "$3"
}

@test "load, killed at each system call" {
	local n BEFORE=old NOW
	for ((n = 0; ; n++)); do
		killed $n load || break
		observe $n "not loaded" ""
		# every fourth time the next command is another load
		if ((n % 4 == 1)); then
			portsteer -q load || fail_at $n "load failed"
			assert_equal "$(rules)" ""
		fi
		unloads $n
	done
	finished load $n new
}

@test "add, killed at each system call" {
	local n BEFORE=old NOW old=81:8081/tcp new=$'80:8080/tcp\n81:8081/tcp'
	# The new owner's rule moves sock_ops, too.
	mkdir -p "$PS_TEST_CGROUP/a/web"
	serve -g a/web old 127.0.0.1 8081
	serve new 127.0.0.1 8080
	portsteer -q add 81:8081 --cgroup "$CG/a/web"
	for ((n = 0; ; n++)); do
		killed $n add 80:8080 --user ps-web || break
		observe $n "$old" "$new"
		steered $n 81 old
		if [ $NOW = new ]; then
			steered $n 80 new
		else
			steered $n 80 refused
		fi
		if ((n % 8 == 0)); then
			unloads $n
			portsteer -q add 81:8081 --cgroup "$CG/a/web"
		elif [ $NOW = new ]; then
			portsteer -q del 80 || fail_at $n "del failed"
		elif ((n % 8 == 4)); then
			portsteer -q add 80:8080 --user ps-web || fail_at $n "add failed"
			steered $n 80 new
			portsteer -q del 80
		fi
	done
	finished add $n new
	assert_equal "$(rules)" "$new"
}

@test "del, killed at each system call" {
	local n BEFORE=old NOW old=$'80:8080/tcp\n81:8081/tcp' new=81:8081/tcp
	mkdir -p "$PS_TEST_CGROUP/a/web"
	serve -g a/web kept 127.0.0.1 8081
	serve deleted 127.0.0.1 8080
	portsteer -q add 81:8081 --cgroup "$CG/a/web"
	portsteer -q add 80:8080 --user ps-web
	for ((n = 0; ; n++)); do
		killed $n del 80 || break
		observe $n "$old" "$new"
		steered $n 81 kept
		if [ $NOW = old ]; then
			steered $n 80 deleted
		else
			steered $n 80 refused
		fi
		if ((n % 8 == 0)); then
			unloads $n
			portsteer -q add 81:8081 --cgroup "$CG/a/web"
			portsteer -q add 80:8080 --user ps-web
		elif [ $NOW = new ]; then
			portsteer -q add 80:8080 --user ps-web || fail_at $n "add failed"
			steered $n 80 deleted
		fi
	done
	finished del $n new
	assert_equal "$(rules)" "$new"
}

@test "unload, killed at each system call" {
	local n BEFORE=old NOW
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 53:5353/udp --user ps-web
	for ((n = 0; ; n++)); do
		killed $n unload || break
		observe $n $'80:8080/tcp\n53:5353/udp' "not loaded"
		if [ $NOW = old ]; then
			steered $n 80 web
			bound $n 53
			# every fourth time the next command unloads
			((n % 4)) && continue
		else
			steered $n 80 refused
			bound $n 5353
		fi
		unloads $n
		portsteer -q add 80:8080 53:5353/udp --user ps-web || fail_at $n "add failed"
		steered $n 80 web
	done
	[ ! -e $STATE ]
	finished unload $n new
}

@test "the first add, which loads, killed at each 5th system call" {
	local n BEFORE=old NOW
	serve web 127.0.0.1 8080
	for ((n = 0; ; n += 5)); do
		killed $n add 80:8080 --user ps-web || break
		observe $n "not loaded" 80:8080/tcp
		if [ $NOW = new ]; then
			steered $n 80 web
		else
			steered $n 80 refused
		fi
		unloads $n
		BEFORE=old
	done
	BEFORE=new
	finished "first add" $n new
}

@test "the first add of a bind rule, which loads its hooks, killed at each 2nd system call" {
	local n BEFORE=old NOW old=81:8081/tcp new=$'81:8081/tcp\n53:5353/udp'
	serve old 127.0.0.1 8081
	portsteer -q add 81:8081 --user ps-web
	for ((n = 0; ; n += 2)); do
		killed $n add 53:5353/udp --user ps-web || break
		observe $n "$old" "$new"
		steered $n 81 old
		if [ $NOW = new ]; then
			bound $n 53
		else
			bound $n 5353
		fi
		if ((n % 8 == 0)); then
			unloads $n
			portsteer -q add 81:8081 --user ps-web
		elif [ $NOW = new ]; then
			portsteer -q del 53/udp || fail_at $n "del failed"
		elif ((n % 8 == 4)); then
			portsteer -q add 53:5353/udp --user ps-web || fail_at $n "add failed"
			bound $n 53
			portsteer -q del 53/udp
		else
			portsteer -q add 82:8082 --user ps-web
			portsteer -q del 82
		fi
		[ ! -e $STATE/host/bind ] || fail_at $n "the next change left the hooks"
	done
	finished "add of a bind rule" $n new
	assert_equal "$(rules)" "$new"
}

@test "del of the last bind rule, killed at each system call" {
	local n BEFORE=old NOW old=$'81:8081/tcp\n53:5353/udp' new=81:8081/tcp
	serve kept 127.0.0.1 8081
	portsteer -q add 81:8081 53:5353/udp --user ps-web
	for ((n = 0; ; n++)); do
		killed $n del 53/udp || break
		observe $n "$old" "$new"
		steered $n 81 kept
		if [ $NOW = old ]; then
			bound $n 53
		else
			bound $n 5353
		fi
		if ((n % 8 == 0)); then
			unloads $n
			portsteer -q add 81:8081 53:5353/udp --user ps-web
		elif [ $NOW = new ]; then
			portsteer -q add 53:5353/udp --user ps-web || fail_at $n "add failed"
			bound $n 53
		fi
	done
	finished "del of a bind rule" $n new
	assert_equal "$(rules)" "$new"
	[ ! -e $STATE/host/bind ]
}

# Rules for TCP and UDP: two sets of programs on the root cgroup.
connect_rules()
{
	portsteer -q "$1" 80:8080 53:5353/udp --from "$CG/a" "${@:2}"
}

@test "the first connect rules, which load programs, killed at each 25th system call" {
	local n BEFORE=old NOW old=81:8081/tcp new=$'81:8081/tcp\n80:8080/tcp\n53:5353/udp'
	serve old 127.0.0.1 8081
	serve new 127.0.0.1 8080
	portsteer -q add 81:8081 --user ps-web
	for ((n = 0; ; n += 25)); do
		killed $n add 80:8080 53:5353/udp --from "$CG/a" --any-user || break
		observe $n "$old" "$new"
		steered $n 81 old
		if [ $NOW = new ]; then
			sent $n new
		else
			sent $n refused
		fi
		# What is left would make the next add a shorter one.
		if ((n % 2)); then
			unloads $n
			portsteer -q add 81:8081 --user ps-web
			continue
		fi
		if [ $NOW = old ]; then
			connect_rules add --any-user || fail_at $n "add failed"
			sent $n new
		fi
		connect_rules del || fail_at $n "del failed"
		no_hooks $n
		sent $n refused
	done
	finished "first add of connect rules" $n new
	sent $n new
}

@test "del of the last connect rules, killed at each 7th system call" {
	local n BEFORE=old NOW old=$'81:8081/tcp\n80:8080/tcp\n53:5353/udp' new=81:8081/tcp
	serve kept 127.0.0.1 8081
	serve deleted 127.0.0.1 8080
	portsteer -q add 81:8081 --user ps-web
	connect_rules add --any-user
	for ((n = 0; ; n += 7)); do
		killed $n del 80 53/udp --from "$CG/a" || break
		observe $n "$old" "$new"
		steered $n 81 kept
		if [ $NOW = old ]; then
			sent $n deleted
			((n % 56)) && continue
			unloads $n
			portsteer -q add 81:8081 --user ps-web
		else
			sent $n refused
		fi
		connect_rules add --any-user || fail_at $n "add failed"
		sent $n deleted
	done
	finished "del of the last connect rules" $n new
	no_hooks $n
	sent $n refused
}

# Both ways between two configurations that differ in rules, targets and prefixes.
@test "apply, killed at each 10th system call" {
	local n BEFORE=old NOW old=$'80:8080/tcp\n81:8081/tcp' new=$'80:8081/tcp\n10.0.0.0/8:82:8080/tcp'
	serve one 0.0.0.0 8080
	serve two 0.0.0.0 8081
	printf '[a]\nports = 80:8080 81:8081\nuser = ps-web\n' >"$PS_TEST_DIR/old.conf"
	printf '[a]\nports = 80:8081 10.0.0.0/8:82:8080\nuser = ps-web\n' >"$PS_TEST_DIR/new.conf"
	chmod 0644 "$PS_TEST_DIR"/{old,new}.conf
	portsteer -q apply -f "$PS_TEST_DIR/old.conf"
	for ((n = 0; ; n += 10)); do
		killed $n apply -f "$PS_TEST_DIR/new.conf" || break
		observe $n "$old" "$new"
		if [ $NOW = old ]; then
			steered $n 80 one
			steered $n 81 two
			# What is left would make the next apply another one, every second time.
			((n % 20)) || continue
		else
			steered $n 80 two
			steered $n 81 refused
		fi
		portsteer -q apply -f "$PS_TEST_DIR/old.conf" || fail_at $n "apply failed"
		steered $n 80 one
		steered $n 81 two
	done
	finished "apply" $n new
	assert_equal "$(rules)" "$new"
}

@test "apply of other modes, which loads their programs, killed at each 25th system call" {
	local n BEFORE=old NOW old=80:8080/tcp new=81:8081/tcp
	serve old 127.0.0.1 8080
	serve new 127.0.0.1 8081
	printf '[a]\nports = 80:8080\nuser = ps-web\n' >"$PS_TEST_DIR/old.conf"
	printf '[a]\nports = 81:8081\nfrom = %s/a\nuser = ps-web\n' "$CG" >"$PS_TEST_DIR/new.conf"
	chmod 0644 "$PS_TEST_DIR"/{old,new}.conf
	portsteer -q apply -f "$PS_TEST_DIR/old.conf"
	for ((n = 0; ; n += 25)); do
		killed $n apply -f "$PS_TEST_DIR/new.conf" || break
		observe $n "$old" "$new"
		if [ $NOW = old ]; then
			steered $n 80 old
		else
			steered $n 80 refused
			[ "$(from a probe 81)" = new ] || fail_at $n "the scope's port 81 leads nowhere"
		fi
		portsteer -q apply -f "$PS_TEST_DIR/old.conf" || fail_at $n "apply failed"
		steered $n 80 old
		no_hooks $n
	done
	finished "apply of other modes" $n new
}
