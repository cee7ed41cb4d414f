#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# A kernel that can steer, and no more (Linux 5.10): what it cannot do is refused whole, with
# exit status 5 and one line that says what is missing.

load ../e2e/lib

MODPROBE=$(</proc/sys/kernel/modprobe)

setup_file() { setup_env; }
setup() { setup_test; }
teardown()
{
	echo "$MODPROBE" >/proc/sys/kernel/modprobe
	teardown_test
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

# locking KIB COMMAND...: before Linux 5.11 the memory of BPF maps counts as locked.
locking()
{
	(ulimit -l "$1" && "${@:2}")
}

@test "all commands of steer mode, with two capabilities and memory to lock, as the service" {
	local words
	printf '[web]\nports = 80:8080\nuser = ps-web\n' >"$PS_TEST_DIR/rules.conf"
	while read -ra words; do
		run locking unlimited limited $ADMIN "$PORTSTEER" "${words[@]}"
		assert_equal "$status ${words[*]}" "0 ${words[*]}"
	done <<-END
		load
		add 80:8080 --any-user
		add 81:8081 --cgroup $CG/default
		list
		list --all
		stats
		status
		save
		del 80
		flush
		unload
		apply -f $PS_TEST_DIR/rules.conf
		apply -f $PS_TEST_DIR/rules.conf
		upgrade
		unload --all
	END
	[ ! -e $STATE ]
}

@test "without memory to lock: with a third capability, or refused with what is missing" {
	local n
	for ((n = 0; n < 2; n++)); do
		run locking 64 limited $ADMIN "$PORTSTEER" load
		assert_equal "$status ${#lines[@]}" "4 1"
		assert_match "$output" "^portsteer: .*CAP_SYS_RESOURCE or LimitMEMLOCK=infinity"
		[ ! -e $STATE ]
	done
	until_true 20 no_objects
	locking 64 limited $ADMIN,sys_resource "$PORTSTEER" load
	portsteer status
}

# What needs which of them: neither alone will do.
@test "listeners of others that were open before are found with two more" {
	serve web 127.0.0.1 8080
	local more
	for more in "" ,sys_ptrace ,dac_read_search; do
		locking unlimited limited $ADMIN$more "$PORTSTEER" -q add 80:8080 --user ps-web
		refused client http://$HERE4/
		portsteer -q del 80
	done
	locking unlimited limited $ADMIN,sys_ptrace,dac_read_search \
		"$PORTSTEER" -q add 80:8080 --user ps-web
	answers web client http://$HERE4/
}

@test "with all but CAP_SYS_ADMIN: refused, nothing changed" {
	local words before
	portsteer -q add 80:8080 --any-user
	before=$(portsteer save)
	for words in load "add 81:8081 --any-user" "del 80" flush list stats save; do
		# shellcheck disable=SC2086 # words
		run without sys_admin "$PORTSTEER" $words
		assert_equal "$status $words" "4 $words"
		assert_match "$output" "^portsteer: .*run portsteer as root with CAP_SYS_ADMIN"
		assert_equal "$(portsteer save)" "$before"
	done
}

# The kernel's socket maps ask for it by name, until Linux 6.5.
@test "with all but CAP_NET_ADMIN: refused, nothing is loaded" {
	run locking unlimited without net_admin "$PORTSTEER" add 80:8080 --any-user
	assert_equal "$status" 4
	assert_match "$output" "^portsteer: .*CAP_NET_ADMIN"
	[ ! -e $STATE ]
}

# There is no other way to find those that are open, and a rule that lacks them is none.
@test "without the modules that list sockets: refused whole, with what to do" {
	serve web 127.0.0.1 8080
	modprobe -a tcp_diag udp_diag
	echo /bin/false >/proc/sys/kernel/modprobe
	rmmod tcp_diag udp_diag
	local status=0
	portsteer add 80:8080 --user ps-web 2>"$PS_TEST_DIR/stderr" || status=$?
	assert_equal "$status" 5
	assert_match "$(<"$PS_TEST_DIR/stderr")" "^portsteer: .*modprobe -a tcp_diag udp_diag"
	assert_equal "$(wc -l <"$PS_TEST_DIR/stderr")" 1
	[ ! -e $STATE ]
	echo "$MODPROBE" >/proc/sys/kernel/modprobe
	portsteer add 80:8080 --user ps-web
	answers web client http://$HERE4/
}
