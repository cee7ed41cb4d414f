#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Commands that change something, each killed as it enters each of its system calls in turn
# that may make a difference (killat.c), and that as often as there are ways to go on. What the
# kernel then does, and what the next commands see, is the old state or the new one; never a
# half. A sample of them: kill_lib.bash says which.

load lib
load kill_lib

setup_file() { setup_env; }
setup() { setup_test; }
teardown() { teardown_test; }

@test "load, killed at each system call" {
	local i n NOW
	all_old
	for ((i = FIRST; ; i += KILL_EVERY)); do
		n=$((i / 2))
		killed $n load || break
		observe $n "not loaded" ""
		# every second time the next command is another load
		if ((i % 2)); then
			portsteer -q load || fail_at $n "load failed"
			assert_equal "$(rules)" ""
		fi
		unloads $n
	done
	finished load new ""
}

@test "add, killed at each system call" {
	local i n NOW old=81:8081/tcp new=$'80:8080/tcp\n81:8081/tcp'
	all_old
	# The new owner's rule moves sock_ops, too.
	mkdir -p "$PS_TEST_CGROUP/a/web"
	serve -g a/web old 127.0.0.1 8081
	serve new 127.0.0.1 8080
	portsteer -q add 81:8081 --cgroup "$CG/a/web"
	for ((i = FIRST; ; i += KILL_EVERY)); do
		n=$((i / 3))
		killed $n add 80:8080 --user ps-web || break
		observe $n "$old" "$new"
		steered $n 81 old
		if [ $NOW = new ]; then
			steered $n 80 new
		else
			steered $n 80 refused
		fi
		if ((i % 3 == 0)); then
			unloads $n
			portsteer -q add 81:8081 --cgroup "$CG/a/web"
		elif [ $NOW = new ]; then
			portsteer -q del 80 || fail_at $n "del failed"
		elif ((i % 3 == 1)); then
			portsteer -q add 80:8080 --user ps-web || fail_at $n "add failed"
			steered $n 80 new
			portsteer -q del 80
		fi
	done
	finished add new "$new"
}

@test "del, killed at each system call" {
	local i n NOW old=$'80:8080/tcp\n81:8081/tcp' new=81:8081/tcp
	all_old
	mkdir -p "$PS_TEST_CGROUP/a/web"
	serve -g a/web kept 127.0.0.1 8081
	serve deleted 127.0.0.1 8080
	portsteer -q add 81:8081 --cgroup "$CG/a/web"
	portsteer -q add 80:8080 --user ps-web
	for ((i = FIRST; ; i += KILL_EVERY)); do
		n=$((i / 2))
		killed $n del 80 || break
		observe $n "$old" "$new"
		steered $n 81 kept
		if [ $NOW = old ]; then
			steered $n 80 deleted
		else
			steered $n 80 refused
		fi
		if ((i % 2 == 0)); then
			unloads $n
			portsteer -q add 81:8081 --cgroup "$CG/a/web"
			portsteer -q add 80:8080 --user ps-web
		elif [ $NOW = new ]; then
			portsteer -q add 80:8080 --user ps-web || fail_at $n "add failed"
			steered $n 80 deleted
		fi
	done
	finished del new "$new"
}

@test "unload, killed at each system call" {
	local i n NOW
	all_old
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 53:5353/udp --user ps-web
	for ((i = FIRST; ; i += KILL_EVERY)); do
		n=$((i / 2))
		killed $n unload || break
		observe $n $'80:8080/tcp\n53:5353/udp' "not loaded"
		if [ $NOW = old ]; then
			steered $n 80 web
			bound $n 53
			# every second time the next command unloads
			((i % 2)) || continue
		else
			steered $n 80 refused
			bound $n 5353
		fi
		unloads $n
		portsteer -q add 80:8080 53:5353/udp --user ps-web || fail_at $n "add failed"
		steered $n 80 web
	done
	[ ! -e $STATE ]
	finished unload new "not loaded"
}

@test "the first add, which loads, killed at each system call" {
	local n NOW
	all_old
	serve web 127.0.0.1 8080
	for ((n = FIRST; ; n += KILL_EVERY)); do
		killed $n add 80:8080 --user ps-web || break
		observe $n "not loaded" 80:8080/tcp
		if [ $NOW = new ]; then
			steered $n 80 web
		else
			steered $n 80 refused
		fi
		unloads $n
		all_old
	done
	finished "first add" old 80:8080/tcp
}

# By its generation what a killed command has stored would be the next ruleset's.
@test "add of a rule with an address, killed: the next rules have nothing of it" {
	local n out
	serve -u $DB other 127.0.0.1 9090
	serve web 127.0.0.1 7070
	for ((n = FIRST; ; n += KILL_EVERY)); do
		portsteer -q add 80:7070 --user ps-web
		out=$("$KILLAT" $n "$PORTSTEER" add 10.1.2.3:80:8080 --user ps-web)
		[[ $out == killed* ]] || break
		if [ "$(rules | wc -l)" = 1 ]; then
			portsteer -q add 10.1.9.9:80:9090 --user ps-db
			answers web http://10.1.2.3/ || fail_at $n "another rule's listener"
		fi
		portsteer -q unload
	done
	read -r _ CALLS _ <<<"$out"
	[ "$CALLS" -gt 20 ]
}
