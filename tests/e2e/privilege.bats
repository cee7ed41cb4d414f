#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Which capabilities the commands need: those that the man page names (CAPABILITIES), and
# that the service has.

load lib

ADMIN=sys_admin,net_admin

setup_file() { setup_env; }
setup()
{
	setup_test
	cat >"$PS_TEST_DIR/rules.conf" <<-END
		[web]
		ports = 80:8080
		any-user = yes
		[dns]
		ports = 53:5353/udp
		any-user = yes
		[pod]
		from = $CG/a
		ports = 81:8081
		any-user = yes
	END
}
teardown() { teardown_test; }

# limited CAPABILITY,... COMMAND...: a root that has no others.
limited()
{
	setpriv --bounding-set="-all,+${1//,/,+}" --inh-caps=-all -- "${@:2}"
}

# bats test_tags=kernel
@test "all commands that change something, with two capabilities" {
	local words
	while read -ra words; do
		run limited $ADMIN "$PORTSTEER" "${words[@]}"
		assert_equal "$status ${words[*]}" "0 ${words[*]}"
	done <<-END
		load
		add 80:8080 --any-user
		add 53:5353/udp --any-user
		add 81:8081 --from $CG/a --any-user
		add 54:5354/udp --from $CG/a --any-user
		allow 443 --user ps-web
		del 80
		flush
		apply -f $PS_TEST_DIR/rules.conf
		unload
		apply -f $PS_TEST_DIR/rules.conf
		unload --all
	END
	[ ! -e $STATE ]
}

@test "what was set up so works" {
	serve web 127.0.0.1 8080
	limited $ADMIN "$PORTSTEER" -q apply -f "$PS_TEST_DIR/rules.conf"
	answers web http://127.0.0.1/
	limited $ADMIN "$PORTSTEER" list | grep -q "80:8080/tcp"
	limited $ADMIN "$PORTSTEER" save | limited $ADMIN "$PORTSTEER" apply -f - --dry-run
	limited $ADMIN "$PORTSTEER" stats
	limited $ADMIN "$PORTSTEER" status
}

@test "the first load needs no more than three that are narrower" {
	limited bpf,net_admin,perfmon "$PORTSTEER" load
	portsteer status
}

@test "without CAP_SYS_ADMIN: refused with status 4, nothing changed" {
	local words before
	portsteer -q add 80:8080 --any-user
	before=$(portsteer save)
	while read -ra words; do
		run limited bpf,net_admin,perfmon,sys_ptrace "$PORTSTEER" "${words[@]}"
		assert_equal "$status ${words[*]}" "4 ${words[*]}"
		assert_match "$output" "^portsteer: .*run portsteer as root"
		assert_equal "$(portsteer save)" "$before"
	done <<-END
		add 81:8081 --any-user
		add 53:5353/udp --any-user
		del 80
		flush
		list
		apply -f $PS_TEST_DIR/rules.conf
	END
}

@test "two more name the processes of others" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --user ps-web
	limited $ADMIN,sys_ptrace,dac_read_search "$PORTSTEER" list --json >"$PS_TEST_DIR/named"
	limited $ADMIN "$PORTSTEER" list --json >"$PS_TEST_DIR/nameless"
	grep -q '"pid": *[0-9]' "$PS_TEST_DIR/named"
	! grep -q '"pid": *[0-9]' "$PS_TEST_DIR/nameless" || false
}

@test "check needs none, and no root" {
	chmod 0755 "$PS_TEST_DIR"
	(as $WEB "$PORTSTEER" check -f - <"$PS_TEST_DIR/rules.conf")
}

@test "the service has what the tests here have" {
	assert_equal "$(sed -n 's/^CapabilityBoundingSet=//p' "$REPO/systemd/portsteer.service")" \
		"CAP_SYS_ADMIN CAP_NET_ADMIN"
}
