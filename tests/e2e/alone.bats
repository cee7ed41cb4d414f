#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Programs on the root of all cgroups, which is the whole host's, and that there are none: tests/e2e/run
# has no other environment of the tests there meanwhile. Keep it short.

load lib
load others_lib

setup_file() { setup_env; }
setup()
{
	setup_test
	setup_other_shell
}
teardown() { teardown_test; }

# --- in the way --------------------------------------------------------------------

# is_free HOOK: a program can have that of the root for itself. Where somebody else's is there, another
# portsteer's of this host, say, Linux lets no program be in the way.
is_free()
{
	until_true 1 "$OTHER" cgroup hermit "$PS_TEST_CGROUP2" "$1" alone -- true 2>/dev/null ||
		{ echo "# not to be tested here: another program is on $1 of the root" >&3; return 1; }
}

# in_the_way HOOK COMMAND...: with a program that is alone on the hook of the root.
in_the_way()
{
	local how
	is_free "$1" || return 0
	for how in alone override; do
		failing 1 "$OTHER" cgroup hermit "$PS_TEST_CGROUP2" "$1" $how -- "$PORTSTEER" "${@:2}"
		assert_match "$SAID" "^portsteer: cannot attach to the $1 hook of cgroup /: program \
hermit \(id [0-9]+\) is attached to cgroup / exclusively, without BPF_F_ALLOW_MULTI; .*'bpftool cgroup \
detach $PS_TEST_CGROUP2 $1 id [0-9]+'"
		[ ! -e $STATE ]
	done
	"$OTHER" cgroup friend "$PS_TEST_CGROUP2" "$1" multi -- "$PORTSTEER" "${@:2}"
	portsteer unload
}

# bats test_tags=kernel
@test "a program that is alone on a hook of the root is named, the state is as before" {
	in_the_way bind4 -q allow 443 --user ps-web
	in_the_way post_bind4 -q add 53:5353/udp --user ps-web
	in_the_way connect4 -q add 192.0.2.1:80:8080 --client-cgroup "$CG/a" --user ps-web
	in_the_way sock_ops -q add 80:8080 --user ps-web
}

@test "one that came while our hook was detached: so does load" {
	portsteer -q add 80:8080 --user ps-web
	portsteer -q allow 443 --user ps-web
	bpftool link detach pinned "$(echo $STATE/host/listen-*)"
	is_free sock_ops || return 0
	failing 1 "$OTHER" cgroup hermit "$PS_TEST_CGROUP2" sock_ops alone -- "$PORTSTEER" load
	assert_match "$SAID" "sock_ops hook of cgroup /: program hermit \(id"
	bpftool link detach pinned $STATE/host/bind/bind4
	is_free bind4 || return 0
	failing 1 "$OTHER" cgroup hermit "$PS_TEST_CGROUP2" bind4 alone -- "$PORTSTEER" load
	assert_match "$SAID" "bind4 hook of cgroup /: program hermit \(id"
	portsteer load
	assert_equal "$(portsteer status --json | jsonget detached)" 0
}

# bats test_tags=kernel
@test "status names those before and after ours, and none of ours" {
	local id
	portsteer -q add 80:8080 --user ps-web
	portsteer -q allow 443 --user ps-web
	assert_equal "$(others name)" ""
	assert_equal "$("$OTHER" lookup late pass -- bash -c 'others name hook cgroup runs')" \
		"late sk_lookup - after"
	assert_equal "$("$OTHER" cgroup late "$PS_TEST_CGROUP2" bind4 multi -- \
		bash -c 'others name hook cgroup runs')" "late bind4 / after"
	assert_equal "$("$OTHER" cgroup late "$PS_TEST_CGROUP2" sock_ops multi -- \
		bash -c 'others name hook cgroup runs')" "late sock_ops / after"
	portsteer unload
	assert_equal "$("$OTHER" lookup early pass -- "$OTHER" cgroup soon "$PS_TEST_CGROUP2" bind4 \
		multi -- bash -c 'portsteer -q add 80:8080 --user ps-web; portsteer -q allow 443 \
		--user ps-web; others name hook runs | sort')" \
		"early sk_lookup before"$'\n'"soon bind4 before"
	"$OTHER" lookup late pass -- "$PORTSTEER" status >"$PS_TEST_DIR/status"
	assert_match "$(<"$PS_TEST_DIR/status")" \
		"others: +program late \(id [0-9]+\) on sk_lookup of this network namespace, runs after portsteer"
	id=$("$OTHER" lookup late pass -- bash -c 'others program')
	[ "$id" -gt 0 ]
}

@test "another portsteer's programs are not ours, before or after which somebody's run" {
	another_portsteer
	portsteer -q add 80:8080 --user ps-web
	assert_equal "$("$OTHER" cgroup late "$PS_TEST_CGROUP2" sock_ops multi -- \
		bash -c 'others name runs')" "late after"
	bpftool link detach pinned "$(echo $STATE/host/listen-*)"
	assert_equal "$("$OTHER" cgroup late "$PS_TEST_CGROUP2" sock_ops multi -- \
		bash -c 'others name runs')" "late -"
}

# --- nobody there ------------------------------------------------------------------

# is_bare: nothing is attached to the root. What is there may be portsteer's, and to look at that takes
# all rights.
is_bare()
{
	until_true 1 has_no_programs 2>/dev/null ||
		{ echo "# not to be tested here: programs are on the root cgroup" >&3; return 1; }
}
has_no_programs()
{
	[ -z "$(bpftool -j cgroup show "$PS_TEST_CGROUP2" | grep -o '"id"')" ]
}

# bats test_tags=kernel
@test "what nothing is loaded for needs no more than three that are narrower" {
	local narrow=bpf,net_admin,perfmon has
	is_bare || return 0
	limited $narrow "$PORTSTEER" load
	limited none "$PORTSTEER" status
	limited "$(least)" "$PORTSTEER" unload
	[ ! -e $STATE ]
	# It is not the kernel that lacks something.
	for has in none bpf bpf,net_admin bpf,perfmon net_admin,perfmon; do
		run limited $has "$PORTSTEER" load
		assert_equal "$status $has" "4 $has"
		assert_match "$output" "^portsteer: .*run portsteer as root with CAP_SYS_ADMIN"
		[ ! -e $STATE ]
	done
}
