#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# What portsteer does where the kernel lacks something that it would rather use (Linux
# 5.10), on any kernel, by a build that does so always: scripts/build-others.

load lib

KILLAT=$REPO/build/tools/killat

setup_file() { setup_env; }
setup()
{
	setup_test
	[ ! -e "$REPO/build/others/older.why" ] || fail_build
	install -m 0755 "$REPO/build/others/older" "$PS_TEST_DIR/older"
	PORTSTEER=$PS_TEST_DIR/older
}
teardown() { teardown_test; }

fail_build()
{
	cat "$REPO/build/others/older.why" >&2
	return 1
}

# The program that is asked for the cookie, if it is on a cgroup.
attached()
{
	bpftool -j cgroup tree "$PS_TEST_CGROUP2" 2>/dev/null | grep -o '"name":"ps4_cookie"' || true
}

@test "who listens before the rule, or after it: each kind of owner, and who is none" {
	serve early 127.0.0.1 8080
	serve -g a inside 127.0.0.1 8081
	serve -u $DB -g a other 127.0.0.1 8082
	serve -u $DB thief 127.0.0.1 8083
	portsteer -q add 80:8080 --user ps-web
	portsteer -q add 81:8081 --cgroup "$CG/a"
	portsteer -q add 82:8082 --cgroup "$CG/a" --user ps-web
	portsteer -q add 83:8083 --user ps-web
	portsteer -q add 84:8083 --any-user
	answers early client http://$HERE4/
	answers inside client http://$HERE4:81/
	refused client http://$HERE4:82/
	refused client http://$HERE4:83/
	answers thief client http://$HERE4:84/
	counters 80:8080/tcp "admitted=1 denied=0 steered=1 error=0"
	counters 82:8082/tcp "admitted=0 denied=1 missed=1"
	counters 83:8083/tcp "admitted=0 denied=1 missed=1"
	counters 84:8083/tcp "admitted=1 denied=0 steered=1"
	stop $PID
	serve late ::1 8083
	answers late client "http://[$HERE6]:83/"
	refused client http://$HERE4:83/
	counters 83:8083/tcp "admitted=1 family=1 steered=1"
	answers late "http://[::1]:84/"
}

@test "a listener that is busy when the rule comes, for a moment or for long" {
	serve web 127.0.0.1 8080 --reuseport
	becomes_busy "$PID" 8080 "$PORTSTEER" -q add 80:8080 --user ps-web
	counters 80:8080/tcp "admitted=1 error=0 denied=0"
	answers web client http://$HERE4/
	portsteer -q unload
	serve other 127.0.0.1 8081
	serve busy 127.0.0.1 8082 --reuseport
	becomes_busy --stays "$PID" 8082 "$PORTSTEER" -q add 81:8081 82:8082 --user ps-web
	counters 81:8081/tcp "admitted=1 error=0"
	counters 82:8082/tcp "admitted=0 error=1"
	answers other client http://$HERE4:81/
}

@test "a cgroup's name that begins with the owner's is another one" {
	serve -g web2 wrong 127.0.0.1 8080
	serve -g web/below right 127.0.0.1 8081
	portsteer -q add 80:8080 --cgroup "$CG/web"
	portsteer -q add 81:8081 --cgroup "$CG/web"
	refused client http://$HERE4/
	answers right client http://$HERE4:81/
}

@test "a listener whose cgroup is gone is no cgroup's, but its user's" {
	serve -g gone web 127.0.0.1 8080
	# Its socket stays in the cgroup that it was made in.
	in_default $PID
	rmdir "$PS_TEST_CGROUP/gone"
	portsteer -q add 80:8080 --cgroup "$CG/gone"
	refused client http://$HERE4/
	portsteer -q add 81:8080 --user ps-web
	answers web client http://$HERE4:81/
}

in_default()
{
	mkdir -p "$PS_TEST_CGROUP/default"
	echo "$1" >"$PS_TEST_CGROUP/default/cgroup.procs"
}

@test "more listeners than slots, open before the rule" {
	serve web 127.0.0.1 8080 --workers 12 --reuseport
	portsteer -q add 80:8080 --user ps-web
	assert_equal "$(listener_count 80:8080/tcp)" 12
	answers web client http://$HERE4/
	counters 80:8080/tcp "admitted=12 error=0"
}

@test "processes that share one socket are one listener" {
	serve web 127.0.0.1 8080 --shared 3
	portsteer -q add 80:8080 --user ps-web
	assert_equal "$(listener_count 80:8080/tcp)" 1
	counters 80:8080/tcp "admitted=1"
}

@test "each namespace has its own cookie, the same each time, and its own listeners" {
	serve -N client there 127.0.0.1 8080
	portsteer -q add 80:8080 --any-user
	portsteer -q --netns client add 80:8080 --user ps-web
	portsteer -q --netns client add 81:8080 --user ps-web
	answers there http://$THERE4/
	refused client http://$HERE4/ # the other's listener is none here
	assert_equal "$(portsteer status --json | jsonget instances.#)" 2
	# Where the kernel tells it too, it is the same.
	assert_equal "$("$PS_TEST_DIR/portsteer" list --json | jsonget rules.#)" 1
	assert_equal "$("$PS_TEST_DIR/portsteer" --netns client list --json | jsonget rules.#)" 2
}

@test "asking for the cookie disturbs nobody's bind, and leaves no program" {
	start "$PYTHON" -c '
import socket
while True:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
'
	portsteer -q load
	for _ in $(seq 30); do
		portsteer list --json >/dev/null
	done
	kill -0 $PID # a bind that failed would have ended it
	assert_equal "$(<"$LOG")" ""
	assert_equal "$(attached)" ""
}

@test "commands at once, each with a program of its own" {
	local n pids=()
	portsteer -q load
	for n in $(seq 12); do
		portsteer list --json >/dev/null &
		pids+=($!)
		portsteer --netns client list --json >/dev/null 2>&1 || true
	done
	for n in "${pids[@]}"; do
		wait "$n"
	done
	assert_equal "$(attached)" ""
}

@test "killed while it asks, it leaves no program" {
	local n out
	for n in $(seq 20 7 1000); do
		out=$("$KILLAT" "$n" "$PORTSTEER" list)
		[[ $out == killed* ]] || break
		until_true 5 no_program
	done
	[ "$n" -gt 40 ]
	[ ! -e $STATE ]
}

no_program()
{
	[ -z "$(attached)" ]
}
