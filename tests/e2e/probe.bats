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

no_new_objects()
{
	[ -z "$(comm -13 "$PS_TEST_DIR/before" <(bpf_objects))" ]
}

# bats test_tags=kernel
@test "each mode works as it says, and nothing is left of the probe" {
	local status
	bpf_objects >"$PS_TEST_DIR/before"
	probed
	until_true 20 no_new_objects # the kernel frees them a little later
	[ ! -e $STATE ]

	assert_equal "$(supports steer)" yes
	portsteer -q add 80:8080 --user ps-web
	portsteer unload
	status=0
	portsteer -q add 53:5353/udp --user ps-web || status=$?
	assert_equal "$(supports bind)" "$( ((status)) && echo no || echo yes)"
	status=0
	portsteer -q add 80:8080 53:5353/udp --from "$CG/a" --any-user || status=$?
	assert_equal "$(supports connect)" "$( ((status)) && echo no || echo yes)"
	case $(supports bind)$(supports connect) in
	yesyes) assert_equal "$STATUS" 0 ;;
	*) assert_equal "$STATUS" 1 ;;
	esac
}

@test "MPTCP listeners can be steered to if it says so" {
	local error
	probed
	[ -n "$(supports mptcp-sockmap)" ]
	portsteer -q add 80:8080 --user ps-web
	serve mp 127.0.0.1 8080 --mptcp
	error=$(portsteer stats --json | jsonget "rules|rule=80:8080/tcp|counters|error")
	assert_equal "$(supports mptcp-sockmap)" "$( ((error)) && echo no || echo yes)"
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
	assert_match "$(<"$PS_TEST_DIR/stderr")" "only be tried as root"
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
