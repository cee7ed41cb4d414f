#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# portsteer probe: what it says is what then works, and it leaves nothing.

load lib

KILLAT=$REPO/build/tools/killat

setup_file() { setup_env; }
setup() { setup_test; }
teardown() { teardown_test; }

# probed [WRAPPER...]: run it; sets STATUS, its text is in $PS_TEST_DIR/probe.
probed()
{
	STATUS=0
	"$@" "$PORTSTEER" probe >"$PS_TEST_DIR/probe" 2>"$PS_TEST_DIR/stderr" || STATUS=$?
}

# supports NAME: yes, no or unknown.
supports()
{
	awk -v name="$1" '$1 == name { print $2 }' "$PS_TEST_DIR/probe"
}

# unmarked: the programs called as ours are that no state has marked as its own, as the probe's are.
unmarked()
{
	"$REPO/build/tools/own_objects" --unmarked | sort
}
none_left()
{
	[ -z "$(comm -12 "$PS_TEST_DIR/new" <(unmarked))" ]
}

# bats test_tags=kernel
@test "each mode works as it says, and nothing is left of the probe" {
	local status pins
	pins=$(ls -A /sys/fs/bpf)
	unmarked >"$PS_TEST_DIR/before"
	probed
	comm -13 "$PS_TEST_DIR/before" <(unmarked) >"$PS_TEST_DIR/new"
	until_true 20 none_left # the kernel frees them a little later
	assert_equal "$(own_objects)" ""
	assert_equal "$(ls -A /sys/fs/bpf)" "$pins"

	assert_equal "$(supports steer)" yes
	portsteer -q add 80:8080 --user ps-web
	portsteer unload
	status=0
	portsteer -q add 53:5353/udp --user ps-web || status=$?
	assert_equal "$(supports bind)" "$( ((status)) && echo no || echo yes)"
	status=0
	portsteer -q add 80:8080 53:5353/udp --client-cgroup "$CG/a" --any-user || status=$?
	assert_equal "$(supports connect)" "$( ((status)) && echo no || echo yes)"
	case $(supports bind)$(supports connect) in
	yesyes) assert_equal "$STATUS" 0 ;;
	*) assert_equal "$STATUS" 1 ;;
	esac
}

@test "MPTCP listeners can be steered to if it says so" {
	local rejected
	probed
	[ -n "$(supports mptcp-sockmap)" ]
	portsteer -q add 80:8080 --user ps-web
	serve mp 127.0.0.1 8080 --mptcp
	rejected=$(portsteer stats --json | jsonget "rules|rule=80:8080/tcp|counters|rejected")
	assert_equal "$(supports mptcp-sockmap)" "$( ((rejected)) && echo no || echo yes)"
}

@test "a kernel without a kind of program: which mode that is, and the exit status" {
	# BPF_PROG_TYPE_SK_LOOKUP, _CGROUP_SOCK_ADDR
	probed "$KILLAT" -t 30
	assert_equal "$STATUS" 5
	assert_equal "$(supports sk_lookup) $(supports steer) $(supports connect4)" "no no yes"
	assert_match "$(<"$PS_TEST_DIR/stderr")" "steer mode does not work.*needs sk_lookup"
	assert_equal "$(wc -l <"$PS_TEST_DIR/stderr")" 1
	probed "$KILLAT" -t 18
	assert_equal "$STATUS" 1
	assert_equal "$(supports steer) $(supports bind) $(supports connect)" "yes no no"
	assert_equal "$(supports bind4) $(supports connect6) $(supports sock_ops)" "no no yes"
}

@test "an ordinary user is told what can be told, and status 4" {
	local status=0
	(as $WEB "$PORTSTEER" probe >"$PS_TEST_DIR/probe" 2>"$PS_TEST_DIR/stderr") || status=$?
	assert_equal "$status" 4
	assert_equal "$(supports btf) $(supports sk_lookup) $(supports steer)" "yes unknown unknown"
	assert_match "$(<"$PS_TEST_DIR/stderr")" "cannot test what this kernel supports: .*; run portsteer as root with CAP_SYS_ADMIN"
}

@test "as JSON: one object, with the same" {
	local status=0
	portsteer probe --json >"$PS_TEST_DIR/json" 2>/dev/null || status=$?
	probed
	assert_equal "$status" "$STATUS"
	assert_equal "$(jsonget kernel modes.# "modes|name=steer|supported" "features|name=btf|why" \
		<"$PS_TEST_DIR/json")" "$(uname -r)"$'\n3\ntrue\nnull'
	assert_equal "$(jsonget features.# <"$PS_TEST_DIR/json")" \
		"$(awk '$1 == "FEATURE" { on = 1; next } on && NF' "$PS_TEST_DIR/probe" | wc -l)"
}

# --- why not, in the errors of load too

# why_not STATUS WHAT WRAPPER...: both say so, and load leaves nothing.
why_not()
{
	local command status
	for command in probe load; do
		status=0
		"${@:3}" "$PORTSTEER" $command >"$PS_TEST_DIR/probe" 2>"$PS_TEST_DIR/stderr" || status=$?
		assert_equal "$command $status" "$command $1"
		assert_equal "$(wc -l <"$PS_TEST_DIR/stderr")" 1
		assert_match "$(<"$PS_TEST_DIR/stderr")" "$2"
		! grep -Eq "as root|Linux 6.1" "$PS_TEST_DIR/stderr" || false
		[ ! -e $STATE ]
	done
}

# with_file FILE TEXT COMMAND...: the file is there, or its folder is empty (""). The folder is a file
# system of the command's own.
with_file()
{
	unshare --mount --propagation private -- bash -c '
		mount -t tmpfs none "${1%/*}" && { [ -z "$2" ] || echo "$2" >"$1"; } && exec "${@:3}"
		' - "$@"
}

LOCKDOWN=/sys/kernel/security/lockdown

@test "kernel lockdown keeps programs from reading memory: that is named, not the kernel's age" {
	# As it is then: the verifier knows no helper that reads memory, and says EINVAL.
	why_not 4 "kernel lockdown is in mode 'confidentiality' .*; boot with lockdown=integrity" \
		with_file $LOCKDOWN "none integrity [confidentiality]" "$KILLAT" -t 30
	with_file $LOCKDOWN "none [integrity] confidentiality" "$PORTSTEER" probe
	probed with_file $LOCKDOWN "none [integrity] confidentiality" "$KILLAT" -t 30
	assert_match "$(<"$PS_TEST_DIR/stderr")" "needs sk_lookup: Linux .* is recent enough"
}

@test "in a user namespace: root there has rights for nothing" {
	why_not 4 "this process has its capabilities in a user namespace .*; run portsteer on the host" \
		unshare --user --map-root-user
}

@test "a kernel without BTF, and a missing mount" {
	why_not 5 "there is no /sys/kernel/btf/vmlinux.*CONFIG_DEBUG_INFO_BTF" \
		with_file /sys/kernel/btf/vmlinux ""
	probed with_file /sys/fs/bpf ""
	assert_equal "$STATUS" 5
	assert_match "$(<"$PS_TEST_DIR/stderr")" "it needs bpffs: there is no /sys/fs/bpf"
	probed with_file /sys/fs ""
	assert_match "$(<"$PS_TEST_DIR/stderr")" "sysfs is not mounted on /sys.*'mount -t sysfs sysfs /sys'"
}
