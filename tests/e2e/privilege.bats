#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Which capabilities the commands need: those that the man page names (CAPABILITIES), and
# that the service has.

load lib

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
		client-cgroup = $CG/a
		ports = 81:8081
		any-user = yes
	END
}
teardown() { teardown_test; }

# bats test_tags=kernel
@test "all commands, with the two that the man page names; the second only before Linux 6.5" {
	local words least
	least=$(least)
	while read -ra words; do
		run limited "$least" "$PORTSTEER" "${words[@]}"
		assert_equal "$status ${words[*]}" "0 ${words[*]}"
	done <<-END
		load
		add 80:8080 --any-user
		add 53:5353/udp --any-user
		add 81:8081 --client-cgroup $CG/a --any-user
		add 54:5354/udp --client-cgroup $CG/a --any-user
		allow 443 --user ps-web
		list
		list --all
		stats
		status
		save
		del 80
		flush
		load --netns /run/netns/client
		upgrade
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

# Not in all kernels: that of 6.1 takes long over the programs, where it is emulated.
@test "probe can do with the same three, and says when it lacks one" {
	local has
	limited "$(least)" "$PORTSTEER" probe
	limited bpf,net_admin,perfmon "$PORTSTEER" probe
	for has in none bpf bpf,net_admin bpf,perfmon net_admin,perfmon; do
		run limited $has "$PORTSTEER" probe
		assert_equal "$status $has" "4 $has"
		assert_match "$output" "run portsteer as root with CAP_SYS_ADMIN"
	done
}

# bats test_tags=kernel
@test "with all but CAP_SYS_ADMIN: refused with status 4, nothing changed" {
	local words before
	portsteer -q add 80:8080 --any-user
	before=$(portsteer save)
	while read -ra words; do
		run without sys_admin "$PORTSTEER" "${words[@]}"
		assert_equal "$status ${words[*]}" "4 ${words[*]}"
		assert_match "$output" "^portsteer: .*run portsteer as root with CAP_SYS_ADMIN"
		assert_equal "$(portsteer save)" "$before"
	done <<-END
		load
		add 81:8081 --any-user
		add 53:5353/udp --any-user
		allow 443 --any-user
		del 80
		flush
		list
		list --all
		stats
		save
		apply -f $PS_TEST_DIR/rules.conf
		apply -f $PS_TEST_DIR/rules.conf --dry-run
		load --netns /run/netns/client
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
