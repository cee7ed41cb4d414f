#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Programs of others on the hooks that portsteer uses: who is in the way, who runs before and after,
# and whose choice a connection gets.

load lib

OTHER=$REPO/build/tools/other_prog

setup_file() { setup_env; }
# What runs while somebody else's program is attached is a shell of its own.
setup()
{
	setup_test
	export REPO STATE CG PYTHON HERE4
	export -f portsteer answers fetch refused counters jsonget assert_equal from in_cgroup others \
		until_true before_ours before_flow
}
teardown() { teardown_test; }

# failing STATUS COMMAND...: it ends so, and says so in one line, which is in $SAID.
failing()
{
	local status=0
	SAID=$("${@:2}" 2>&1 >/dev/null) || status=$?
	assert_equal "$status: $SAID" "$1: $SAID"
	assert_equal "$(wc -l <<<"$SAID")" 1
}

# others WHAT...: what status says of others' programs, one a line.
others()
{
	portsteer status --json | "$PYTHON" -c '
import json, sys
for o in json.load(sys.stdin)["others"]:
    print(*(o[key] or "-" for key in sys.argv[1:]))' "$@"
}

# --- in the way --------------------------------------------------------------------

# in_the_way HOOK COMMAND...: with a program that is alone on the hook of the root.
in_the_way()
{
	local how
	for how in alone override; do
		failing 1 "$OTHER" cgroup hermit "$PS_TEST_CGROUP2" "$1" $how -- "$PORTSTEER" "${@:2}"
		assert_match "$SAID" "^portsteer: cannot attach to the $1 hook of cgroup /: program \
hermit \(id [0-9]+\) has that of cgroup / for itself, without BPF_F_ALLOW_MULTI; .*'bpftool cgroup \
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
	failing 1 "$OTHER" cgroup hermit "$PS_TEST_CGROUP2" sock_ops alone -- "$PORTSTEER" load
	assert_match "$SAID" "sock_ops hook of cgroup /: program hermit \(id"
	bpftool link detach pinned $STATE/host/bind/bind4
	failing 1 "$OTHER" cgroup hermit "$PS_TEST_CGROUP2" bind4 alone -- "$PORTSTEER" load
	assert_match "$SAID" "bind4 hook of cgroup /: program hermit \(id"
	portsteer load
	assert_equal "$(portsteer status --json | jsonget detached)" 0
}

# bats test_tags=kernel
@test "64 programs on sk_lookup are all that Linux allows" {
	failing 1 "$OTHER" lookup many 64 -- "$PORTSTEER" -q add 80:8080 --user ps-web
	assert_match "$SAID" "sk_lookup hook of the network namespace: 64 programs are attached there"
	[ ! -e $STATE ]
}

# --- before and after --------------------------------------------------------------

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
		"others: +program late \(id [0-9]+\) on sk_lookup of this network namespace, runs after ours"
	id=$("$OTHER" lookup late pass -- bash -c 'others program')
	[ "$id" -gt 0 ]
}

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
	assert_match "$(blinded)" "others: +not known"
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
	counters 80:8080/tcp "steered=1 taken=0 missed=0 error=0"
	kill -9 "$WEB_PID"
	until_true 5 refused http://127.0.0.1:8080/ 2>/dev/null
	# The kernel gives it to the other's socket, whatever ours says.
	answers early http://127.0.0.1/
	counters 80:8080/tcp "steered=1 taken=1 missed=0 refused=0 error=0"
	refused http://127.0.0.1:81/
	counters 81:8081/tcp "steered=0 taken=0 missed=1 refused=1"
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
	counters 80:8080/tcp "steered=1 taken=0 missed=0"
	kill -9 "$WEB_PID"
	until_true 5 refused http://127.0.0.1:8080/ 2>/dev/null
	from a answers early http://127.0.0.1/
	counters 80:8080/tcp "steered=1 taken=1 missed=0 refused=0"
}

# bats test_tags=kernel
@test "another program chooses after ours: it has the last word if it insists, and status names it" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --user ps-web
	taking late keep bash -ec 'answers web http://127.0.0.1/'
	taking late replace bash -ec 'answers late http://127.0.0.1/
		[ "$(others name runs)" = "late after" ]'
	# It is more than ours can know.
	counters 80:8080/tcp "steered=2 taken=0 missed=0"
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
