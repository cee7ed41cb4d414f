#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# What kill.bats does, for the other modes, and apply.

load lib
load kill_lib

setup_file() { setup_env; }
setup() { setup_test; }
teardown() { teardown_test; }

@test "the first add of a bind rule, which loads its hooks, killed at each system call" {
	local i n NOW old=81:8081/tcp new=$'81:8081/tcp\n53:5353/udp'
	all_old
	serve old 127.0.0.1 8081
	portsteer -q add 81:8081 --user ps-web
	for ((i = FIRST; ; i += KILL_EVERY)); do
		n=$((i / 3))
		killed $n add 53:5353/udp --user ps-web || break
		observe $n "$old" "$new"
		steered $n 81 old
		if [ $NOW = new ]; then
			bound $n 53
		else
			bound $n 5353
		fi
		if ((i % 3 == 0)); then
			unloads $n
			portsteer -q add 81:8081 --user ps-web
		elif [ $NOW = new ]; then
			portsteer -q del 53/udp || fail_at $n "del failed"
		elif ((i % 3 == 1)); then
			portsteer -q add 53:5353/udp --user ps-web || fail_at $n "add failed"
			bound $n 53
			portsteer -q del 53/udp
		else
			portsteer -q add 82:8082 --user ps-web
			portsteer -q del 82
		fi
		[ ! -e $STATE/host/bind ] || fail_at $n "the next change left the hooks"
	done
	finished "add of a bind rule" new "$new"
}

@test "del of the last bind rule, killed at each system call" {
	local i n NOW old=$'81:8081/tcp\n53:5353/udp' new=81:8081/tcp
	all_old
	serve kept 127.0.0.1 8081
	portsteer -q add 81:8081 53:5353/udp --user ps-web
	for ((i = FIRST; ; i += KILL_EVERY)); do
		n=$((i / 2))
		killed $n del 53/udp || break
		observe $n "$old" "$new"
		steered $n 81 kept
		if [ $NOW = old ]; then
			bound $n 53
		else
			bound $n 5353
		fi
		if ((i % 2 == 0)); then
			unloads $n
			portsteer -q add 81:8081 53:5353/udp --user ps-web
		elif [ $NOW = new ]; then
			portsteer -q add 53:5353/udp --user ps-web || fail_at $n "add failed"
			bound $n 53
		fi
	done
	finished "del of a bind rule" new "$new"
	[ ! -e $STATE/host/bind ]
}

# Rules for TCP and UDP: two sets of programs on the root cgroup.
connect_rules()
{
	portsteer -q "$1" 80:8080 53:5353/udp --client-cgroup "$CG/a" "${@:2}"
}

@test "the first connect rules, which load programs, killed at each system call" {
	local i n NOW old=81:8081/tcp new=$'81:8081/tcp\n80:8080/tcp\n53:5353/udp'
	all_old
	serve old 127.0.0.1 8081
	serve new 127.0.0.1 8080
	portsteer -q add 81:8081 --user ps-web
	for ((i = FIRST; ; i += KILL_EVERY)); do
		n=$((i / 2))
		killed $n add 80:8080 53:5353/udp --client-cgroup "$CG/a" --any-user || break
		observe $n "$old" "$new"
		steered $n 81 old
		if [ $NOW = new ]; then
			sent $n new
		else
			sent $n refused
		fi
		# What is left would make the next add a shorter one.
		if ((i % 2)); then
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
	finished "first add of connect rules" new "$new"
	sent $n new
}

@test "del of the last connect rules, killed at each system call" {
	local i n NOW old=$'81:8081/tcp\n80:8080/tcp\n53:5353/udp' new=81:8081/tcp
	all_old
	serve kept 127.0.0.1 8081
	serve deleted 127.0.0.1 8080
	portsteer -q add 81:8081 --user ps-web
	connect_rules add --any-user
	for ((i = FIRST; ; i += KILL_EVERY)); do
		n=$((i / 2))
		killed $n del 80 53/udp --client-cgroup "$CG/a" || break
		observe $n "$old" "$new"
		steered $n 81 kept
		if [ $NOW = old ]; then
			sent $n deleted
			((i % 2)) && continue
			unloads $n
			portsteer -q add 81:8081 --user ps-web
		else
			sent $n refused
		fi
		connect_rules add --any-user || fail_at $n "add failed"
		sent $n deleted
	done
	finished "del of the last connect rules" new "$new"
	no_hooks $n
	sent $n refused
}

# Both ways between two configurations that differ in rules, targets and prefixes.
@test "apply, killed at each system call" {
	local i n NOW old=$'80:8080/tcp\n81:8081/tcp' new=$'80:8081/tcp\n10.0.0.0/8:82:8080/tcp'
	all_old
	serve one 0.0.0.0 8080
	serve two 0.0.0.0 8081
	printf '[a]\nports = 80:8080 81:8081\nuser = ps-web\n' >"$PS_TEST_DIR/old.conf"
	printf '[a]\nports = 80:8081 10.0.0.0/8:82:8080\nuser = ps-web\n' >"$PS_TEST_DIR/new.conf"
	chmod 0644 "$PS_TEST_DIR"/{old,new}.conf
	portsteer -q apply -f "$PS_TEST_DIR/old.conf"
	for ((i = FIRST; ; i += KILL_EVERY)); do
		n=$((i / 2))
		killed $n apply -f "$PS_TEST_DIR/new.conf" || break
		observe $n "$old" "$new"
		if [ $NOW = old ]; then
			steered $n 80 one
			steered $n 81 two
			# What is left would make the next apply another one, every second time.
			((i % 2)) || continue
		else
			steered $n 80 two
			steered $n 81 refused
		fi
		portsteer -q apply -f "$PS_TEST_DIR/old.conf" || fail_at $n "apply failed"
		steered $n 80 one
		steered $n 81 two
	done
	finished "apply" new "$new"
}

@test "apply of other modes, which loads their programs, killed at each system call" {
	local n NOW old=80:8080/tcp new=81:8081/tcp
	all_old
	serve old 127.0.0.1 8080
	serve new 127.0.0.1 8081
	printf '[a]\nports = 80:8080\nuser = ps-web\n' >"$PS_TEST_DIR/old.conf"
	printf '[a]\nports = 81:8081\nclient-cgroup = %s/a\nuser = ps-web\n' "$CG" >"$PS_TEST_DIR/new.conf"
	chmod 0644 "$PS_TEST_DIR"/{old,new}.conf
	portsteer -q apply -f "$PS_TEST_DIR/old.conf"
	for ((n = FIRST; ; n += KILL_EVERY)); do
		killed $n apply -f "$PS_TEST_DIR/new.conf" || break
		observe $n "$old" "$new"
		if [ $NOW = old ]; then
			steered $n 80 old
		else
			steered $n 80 refused
			[ "$(from a probe 81)" = new ] || fail_at $n "the client cgroup's port 81 leads nowhere"
		fi
		portsteer -q apply -f "$PS_TEST_DIR/old.conf" || fail_at $n "apply failed"
		steered $n 80 old
		no_hooks $n
	done
	finished "apply of other modes" new "$new"
}
