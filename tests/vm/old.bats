#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# A kernel that can steer, and no more (Linux 5.10): what it cannot do is refused whole, with
# exit status 5 and one line that says what is missing.

load ../e2e/lib

setup_file() { setup_env; }
setup() { setup_test; }
teardown() { teardown_test; }

# refuses ARGS...
refuses()
{
	local status=0
	portsteer "$@" >"$PS_TEST_DIR/stdout" 2>"$PS_TEST_DIR/stderr" </dev/null || status=$?
	cat "$PS_TEST_DIR/stderr"
	assert_equal "$status" 5
	assert_equal "$(<"$PS_TEST_DIR/stdout")" ""
	assert_equal "$(wc -l <"$PS_TEST_DIR/stderr")" 1
	assert_match "$(<"$PS_TEST_DIR/stderr")" "^portsteer: .*; .*use Linux [0-9.]+ or newer"
}

no_objects()
{
	[ -z "$(bpf_objects)" ]
}

@test "probe says what works" {
	local status=0
	portsteer probe >"$PS_TEST_DIR/probe" 2>"$PS_TEST_DIR/stderr" || status=$?
	cat "$PS_TEST_DIR/probe"
	assert_equal "$status" 1
	assert_equal "$(awk '$1 == "steer" || $1 == "bind" || $1 == "connect" { print $1, $2 }' \
		"$PS_TEST_DIR/probe")" $'steer yes\nbind no\nconnect no'
	assert_equal "$(wc -l <"$PS_TEST_DIR/stderr")" 1
	assert_equal "$(awk '$1 == "netns-cookie" || $1 == "sk_lookup" { print $2 }' \
		"$PS_TEST_DIR/probe")" $'yes\nyes'
	until_true 20 no_objects
}

@test "bind and connect mode are refused, and leave nothing" {
	refuses add 53:5353/udp --user ps-web
	assert_match "$(<"$PS_TEST_DIR/stderr")" "bind mode .*grant a bind"
	refuses add 80:8080 --mode bind --any-user
	refuses allow 443 --user ps-web
	refuses add 80:8080 --from "$CG/web" --user ps-web
	assert_match "$(<"$PS_TEST_DIR/stderr")" "connect mode .*refuse a connect"
	[ ! -e $STATE ]
	until_true 20 no_objects # the kernel frees them a little later
}

@test "with one such rule among them all are refused, and those in force stay" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --user ps-web
	refuses add 81:8080 53:5353/udp --user ps-web
	refuses add 53:5353/udp 81:8080 --any-user
	refuses allow 443 --any-user
	refuses add 82:8082 --from "$CG/web" --any-user
	printf '[web]\nports = 81:8080\nuser = ps-web\n[dns]\nports = 53:5353/udp\nuser = ps-web\n' \
		>"$PS_TEST_DIR/conf"
	refuses apply --file "$PS_TEST_DIR/conf"
	assert_equal "$(rules)" 80:8080/tcp
	answers web client http://$HERE4/
	refused client http://$HERE4:81/
	assert_equal "$(portsteer status --json | jsonget leftovers)" 0
}

@test "the same is told in JSON" {
	local status=0
	portsteer allow 443 --any-user --json >"$PS_TEST_DIR/stdout" 2>/dev/null || status=$?
	assert_equal $status 5
	assert_equal "$(jsonget error.status <"$PS_TEST_DIR/stdout")" 5
}

@test "apply of steer rules, and save" {
	serve web 127.0.0.1 8080
	printf '[web]\nports = 80:8080\ncgroup = %s\n' "$CG/default" >"$PS_TEST_DIR/conf"
	portsteer apply --file "$PS_TEST_DIR/conf"
	answers web client http://$HERE4/
	portsteer save | grep -q '80:8080'
}

@test "upgrade by another build is refused, and changes nothing" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --user ps-web
	install -m 0755 "$REPO/build/others/same" "$PS_TEST_DIR/same"
	PORTSTEER=$PS_TEST_DIR/same refuses upgrade
	[ ! -e $STATE-upgrade ]
	portsteer upgrade # nothing to do
	assert_equal "$(rules)" 80:8080/tcp
	answers web client http://$HERE4/
}
