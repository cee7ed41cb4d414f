#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Programs of others on the sk_lookup hook, which portsteer uses: who is in the way, who runs before
# and after, and whose choice a connection gets. Those on the root cgroup's are in alone.bats.

load lib
load others_lib

setup_file() { setup_env; }
setup()
{
	setup_test
	setup_other_shell
	export -f before_ours before_flow
}
teardown() { teardown_test; }

# bats test_tags=kernel
@test "64 programs on sk_lookup are all that Linux allows" {
	failing 1 "$OTHER" lookup many 64 -- "$PORTSTEER" -q add 80:8080 --user ps-web
	assert_match "$SAID" "sk_lookup hook of the network namespace: 64 programs are attached there"
	[ ! -e $STATE ]
}

# --- before and after --------------------------------------------------------------

# bats test_tags=kernel
@test "a program that another user than root has loaded has its name, too" {
	portsteer -q add 80:8080 --user ps-web
	install -m 0755 "$OTHER" "$PS_TEST_DIR/other_prog"
	mkfifo -m 0666 "$PS_TEST_DIR/up" "$PS_TEST_DIR/end"
	setpriv --reuid $DB --clear-groups --inh-caps=+sys_admin,+net_admin,+bpf,+perfmon \
		--ambient-caps=+sys_admin,+net_admin,+bpf,+perfmon -- \
		"$PS_TEST_DIR/other_prog" lookup theirs pass -- \
		bash -c 'echo >"$0/up"; read <"$0/end"; true' "$PS_TEST_DIR" 3>&- &
	read -r -t 20 <"$PS_TEST_DIR/up" || true
	portsteer status --json >"$PS_TEST_DIR/status"
	echo >"$PS_TEST_DIR/end"
	wait $!
	assert_equal "$(jsonget others.0.name <"$PS_TEST_DIR/status")" theirs
}

# Programs are on the root of all cgroups, which is not to be seen there.
@test "where the cgroup of a bind hook is not to be seen it is not said that there is nobody" {
	portsteer -q allow 443 --user ps-web
	blinded()
	{
		unshare --mount --pid --fork --mount-proc bash -c \
			"mount -t tmpfs none '$PS_TEST_CGROUP2' && '$PORTSTEER' status $*"
	}
	assert_match "$(portsteer status --json | jsonget others)" "^\[\]$"
	assert_match "$(blinded)" "others: +unknown: the cgroup of "
	assert_equal "$(blinded --json | "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["others"])')" None
}

# taking NAME HOW COMMAND...: with a program that gives port 80 to a socket of its own.
taking()
{
	"$OTHER" take "$1" 80 7999 "$2" -- "${@:3}"
}

# bats test_tags=kernel
@test "another program chooses before ours: ours replaces it; without a listener it is taken" {
	serve web 127.0.0.1 8080
	export WEB_PID=$PID
	taking early replace bash -ec before_ours
}
before_ours()
{
	portsteer -q add 80:8080 --user ps-web
	portsteer -q add 81:8081 --user ps-web
	answers web http://127.0.0.1/
	counters 80:8080/tcp "steered=1 taken=0 no_listener=0 rejected=0"
	kill -9 "$WEB_PID"
	until_true 5 refused http://127.0.0.1:8080/ 2>/dev/null
	# The kernel gives it to the other's socket, whatever ours says.
	answers early http://127.0.0.1/
	counters 80:8080/tcp "steered=1 taken=1 no_listener=0 refused=0 rejected=0"
	refused http://127.0.0.1:81/
	counters 81:8081/tcp "steered=0 taken=0 no_listener=1 refused=1"
	portsteer stats | grep -q TAKEN
}

# bats test_tags=kernel
@test "another program chooses before ours: so for a client of connect mode" {
	serve web 127.0.0.1 8080
	export WEB_PID=$PID
	taking early replace bash -ec before_flow
}
before_flow()
{
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	from a answers web http://127.0.0.1/
	counters 80:8080/tcp "steered=1 taken=0 no_listener=0"
	kill -9 "$WEB_PID"
	until_true 5 refused http://127.0.0.1:8080/ 2>/dev/null
	from a answers early http://127.0.0.1/
	counters 80:8080/tcp "steered=1 taken=1 no_listener=0 refused=0"
}

# bats test_tags=kernel
@test "another program chooses after ours: it has the last word if it insists, and status names it" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --user ps-web
	taking late keep bash -ec 'answers web http://127.0.0.1/'
	taking late replace bash -ec 'answers late http://127.0.0.1/
		[ "$(others name runs)" = "late after" ]'
	# It is more than ours can know.
	counters 80:8080/tcp "steered=2 taken=0 no_listener=0"
}

# bats test_tags=kernel
@test "another program drops everything: what ours has chosen counts more, all else is refused" {
	serve web 127.0.0.1 8080
	serve db 127.0.0.1 9000
	portsteer -q add 80:8080 --user ps-web
	portsteer -q add 9000:8081 --user ps-web --if-down pass
	answers db http://127.0.0.1:9000/
	"$OTHER" lookup wall drop -- bash -ec 'answers web http://127.0.0.1/
		refused http://127.0.0.1:9000/
		[ "$(others name hook runs)" = "wall sk_lookup after" ]'
	portsteer unload
	"$OTHER" lookup wall drop -- bash -ec 'portsteer -q add 80:8080 --user ps-web
		answers web http://127.0.0.1/
		[ "$(others name hook runs)" = "wall sk_lookup before" ]'
}
