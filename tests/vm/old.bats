#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# A kernel that is too old: exit status 5, one line that says what is needed, and nothing
# that stays.

load ../e2e/lib

# No servers here: these kernels lack what kills them, cgroup.kill.
teardown()
{
	rm -rf $STATE
}

# refuses ARGS...
refuses()
{
	local status=0
	portsteer "$@" >"$PS_TEST_DIR/stdout" 2>"$PS_TEST_DIR/stderr" </dev/null || status=$?
	cat "$PS_TEST_DIR/stderr"
	assert_equal "$status" 5
	assert_equal "$(<"$PS_TEST_DIR/stdout")" ""
	assert_equal "$(wc -l <"$PS_TEST_DIR/stderr")" 1
	assert_match "$(<"$PS_TEST_DIR/stderr")" "^portsteer: .*; use Linux [0-9.]+ or newer"
	[ ! -e $STATE ]
	until_true 20 no_objects # the kernel frees them a little later
}

no_objects()
{
	[ -z "$(bpf_objects)" ]
}

@test "load is refused" {
	refuses load
	refuses load # the first try left nothing that a second would stumble over
}

@test "add is refused, whatever the owner" {
	refuses add 80:8080 --user ps-web
	refuses add 80:8080 --cgroup "$CG/web"
	refuses add 80:8080 --any-user
}

@test "so are the other modes: a bind may not be granted here" {
	refuses add 53:5353/udp --user ps-web
	refuses add 80:8080 --mode bind --user ps-web
	refuses allow 443 --user ps-web
	refuses add 80:8080 --from "$CG/web" --user ps-web
}

@test "so is every other command that asks the kernel" {
	local command
	for command in list stats status unload flush "del 80"; do
		# shellcheck disable=SC2086 # "del 80" is two words
		refuses $command
	done
}

@test "programs are told in JSON" {
	local status=0
	portsteer load --json >"$PS_TEST_DIR/stdout" 2>"$PS_TEST_DIR/stderr" || status=$?
	assert_equal $status 5
	assert_equal "$(jsonget error.status <"$PS_TEST_DIR/stdout")" 5
}
