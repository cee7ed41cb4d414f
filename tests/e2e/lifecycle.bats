#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# What loading, unloading and everything that can happen between them leaves.

load lib

setup_file()
{
	setup_env
	# A /run that tells of no systemd, whatever this machine has.
	private_folder /run
	rm -f /run/systemd
}
setup() { setup_test; }
teardown()
{
	teardown_test
	rm -rf /run/systemd
}

# --- loading and unloading ---------------------------------------------------------

@test "load and unload are idempotent" {
	assert_equal "$(portsteer load --json)" '{"changed":true}'
	assert_equal "$(portsteer load --json)" '{"changed":false}'
	assert_equal "$(portsteer list --json | jsonget rules)" '[]'
	assert_equal "$(portsteer unload --json)" '{"changed":true}'
	assert_equal "$(portsteer unload --json)" '{"changed":false}'
	[ ! -e $STATE ]
}

@test "load keeps the rules that are there" {
	portsteer -q add 80:8080 --user ps-web
	portsteer load
	assert_equal "$(rules)" 80:8080/tcp
}

@test "unload --all: every namespace's, also twice; as JSON" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --user ps-web
	portsteer -q --netns client add 80:8080 --any-user
	portsteer -q add 53:5353/udp --any-user
	answers web http://127.0.0.1/
	run portsteer unload --all --netns client
	assert_equal "$status" 2
	answers web http://127.0.0.1/
	assert_equal "$(portsteer unload --all)" "unloaded from every network namespace"
	[ ! -e $STATE ]
	refused http://127.0.0.1/
	assert_equal "$(portsteer unload --all)" "nothing is loaded"
	assert_equal "$(portsteer unload --all --json)" '{"changed":false}'
}

# bats test_tags=kernel
@test "unload leaves nothing in the kernel" {
	portsteer -q add 80:8080 --user ps-web
	portsteer -q add 1000-3000:11000-13000 --cgroup "$CG/web" # more tables
	portsteer -q add 10.0.0.0/8:443:8443 --any-user
	portsteer -q add 53:5353/udp --user ps-web
	portsteer -q --netns client add 80:8080 --user ps-web
	serve web 127.0.0.1 8080
	serve dns 127.0.0.1 5353 --udp # has a note of ours on its socket
	own_objects >"$PS_TEST_DIR/own"
	[ "$(wc -l <"$PS_TEST_DIR/own")" -gt 20 ]
	portsteer unload
	portsteer --netns client unload
	[ ! -e $STATE ]
	until_true 20 all_gone "$PS_TEST_DIR/own"
	answers web client http://$HERE4:80/ && return 1
	answers web http://127.0.0.1:8080/
}

@test "rules that come and go leave nothing behind while loaded" {
	portsteer -q load
	portsteer -q add 1000-3000:11000-13000 --user ps-web
	portsteer -q flush
	local n before after objects=''
	before=$(find $STATE | wc -l)
	for n in 1 2 3 4 5; do
		portsteer -q add 80:8080 --user ps-web
		portsteer -q add 1000-3000:11000-13000 --cgroup "$CG/web"
		portsteer -q add 10.0.0.0/8:443:8443 '[2001:db8::]/32:443:8443' --any-user
		portsteer -q add 53:5353/udp 2000-4000:12000-14000/udp --user ps-web
		portsteer -q allow 444 --any-user
		portsteer -q flush
		# Tables that are used for the first time stay.
		[ -n "$objects" ] || objects=$(own_objects | wc -l)
	done
	after=$(find $STATE | wc -l)
	assert_equal "$after" "$before"
	until_true 20 has_objects "$objects"
	assert_equal "$(portsteer status --json | jsonget leftovers sock_ops)" $'0\n[]'
}

has_objects()
{
	[ "$(own_objects | wc -l)" = "$1" ]
}

@test "nothing of portsteer is running once a command has ended" {
	portsteer -q add 80:8080 --user ps-web
	local exe
	for exe in /proc/[0-9]*/exe; do
		[ "$(readlink "$exe")" != "$PORTSTEER" ]
	done
}

@test "the state is root's alone" {
	portsteer -q add 80:8080 --user ps-web
	assert_equal "$(stat -c '%a %u %g' $STATE)" "700 0 0"
	local folder
	for folder in $STATE/*; do
		assert_equal "$(stat -c '%a %u' "$folder")" "700 0"
	done
	assert_equal "$(setpriv --reuid $WEB --regid $WEB --clear-groups ls $STATE 2>/dev/null ||
		echo denied)" denied
	# made wider by someone: narrowed again by the next command
	chmod 0755 $STATE
	portsteer -q add 81:8081 --user ps-web
	assert_equal "$(stat -c '%a' $STATE)" 700
}

@test "a state folder of somebody else's is not trusted" {
	mkdir $STATE
	chown $WEB $STATE
	local status=0
	portsteer load 2>"$PS_TEST_DIR/stderr" || status=$?
	assert_equal $status 1
	assert_match "$(<"$PS_TEST_DIR/stderr")" "private to root"
	rmdir $STATE
}

@test "open connections go on through add, del, flush and unload" {
	portsteer -q add 80:8080 --user ps-web
	serve web 127.0.0.1 8080
	local fd line change
	for change in "add 81:8081 --user ps-web" "del 80" flush unload; do
		portsteer -q load
		[ "$(rules | grep -c ^80:)" = 1 ] || portsteer -q add 80:8080 --user ps-web
		exec {fd}<>"/dev/tcp/$HERE4/80"
		# shellcheck disable=SC2086
		portsteer -q $change
		printf 'GET / HTTP/1.0\r\n\r\n' >&$fd
		line=$(tail -1 <&$fd)
		exec {fd}>&-
		assert_match "$line" "^web "
	done
}

# --- what others leave -------------------------------------------------------------

alive()
{
	[ "$(portsteer status --json | jsonget "instances|cookie=$1|alive")" = "$2" ]
}

@test "a namespace that died is cleaned up by the next command" {
	ip netns add mortal
	portsteer -q --netns mortal add 80:8080 --user ps-web
	local cookie
	cookie=$(portsteer --netns mortal list --json | jsonget netns.cookie)
	alive "$cookie" true
	ip netns del mortal
	until_true 20 alive "$cookie" false
	[ -e "$STATE/ns-$cookie" ]
	portsteer -q add 81:8081 --user ps-web
	[ ! -e "$STATE/ns-$cookie" ]
	assert_equal "$(portsteer status --json | jsonget instances.# leftovers)" $'1\n0'
	assert_equal "$(rules)" 81:8081/tcp
}

@test "the last namespace died: unload removes everything" {
	ip netns add mortal
	portsteer -q --netns mortal add 80:8080 --user ps-web
	local cookie
	cookie=$(portsteer --netns mortal list --json | jsonget netns.cookie)
	ip netns del mortal
	until_true 20 alive "$cookie" false
	portsteer unload
	[ ! -e $STATE ]
}

@test "a half-deleted state: whatever is missing, status answers and unload works" {
	local pin pins status
	portsteer -q add 80:8080 53:5353/udp --user ps-web
	pins=$(cd $STATE && find . -type f | sed 's/ns-[0-9]*/ns-*/')
	portsteer -q unload
	for pin in $pins; do
		portsteer -q add 80:8080 53:5353/udp --user ps-web
		# shellcheck disable=SC2086
		rm $STATE/$pin
		status=0
		portsteer status --json >"$PS_TEST_DIR/stdout" 2>"$PS_TEST_DIR/stderr" || status=$?
		if [ $status -gt 1 ] || [ "$(wc -l <"$PS_TEST_DIR/stderr")" != $status ]; then
			echo "without $pin: status ended with $status" >&2
			return 1
		fi
		if ! portsteer unload || [ -e $STATE ]; then
			echo "without $pin: unload did not work" >&2
			return 1
		fi
	done
	portsteer -q add 80:8080 --user ps-web
	serve web 127.0.0.1 8080
	answers web client http://$HERE4/
}

@test "a half-deleted state: list and add say what is missing and what to do" {
	portsteer -q add 80:8080 --user ps-web
	rm $STATE/host/netns
	local status=0 command
	for command in list stats "add 81:8081 --user ps-web" "del 80" load; do
		status=0
		# shellcheck disable=SC2086
		portsteer $command >/dev/null 2>"$PS_TEST_DIR/stderr" || status=$?
		assert_equal "$command: $status" "$command: 1"
		assert_match "$(<"$PS_TEST_DIR/stderr")" \
			"^portsteer: $STATE/host/netns is missing.*portsteer unload"
	done
	portsteer unload
	[ ! -e $STATE ]
}

@test "folders that an interrupted load left are counted and removed" {
	portsteer -q load
	mkdir -m 0700 $STATE/ns-12345 $STATE/stray
	assert_equal "$(portsteer status --json | jsonget leftovers)" 2
	portsteer -q unload
	[ ! -e $STATE ]
}

@test "another version's objects: an error that says so, and unload removes them" {
	mkdir -m 0700 $STATE $STATE/host
	bpftool map create $STATE/host/instances type array key 4 value 8 entries 1 \
		name ps_instances
	local status command
	for command in list stats status load "add 80:8080 --user ps-web" "del 80" flush; do
		status=0
		# shellcheck disable=SC2086
		portsteer $command >/dev/null 2>"$PS_TEST_DIR/stderr" || status=$?
		assert_equal "$command: $status" "$command: 1"
		assert_equal "$(wc -l <"$PS_TEST_DIR/stderr")" 1
		assert_match "$(<"$PS_TEST_DIR/stderr")" "version.*ABI [0-9]+\);.*portsteer unload"
	done
	[ -e $STATE/host/instances ]
	portsteer unload
	[ ! -e $STATE ]
	portsteer -q load
}

# --- commands at once --------------------------------------------------------------

# Run all commands of stdin at once; print how each ended.
at_once()
{
	local line pids=() pid
	while read -r line; do
		# shellcheck disable=SC2086
		"$PORTSTEER" $line >/dev/null 2>>"$PS_TEST_DIR/stderr" 3>&- &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		local status=0
		wait "$pid" || status=$?
		echo $status
	done
}

@test "20 adds at once: each of them is there" {
	seq 1 20 | sed 's/.*/add &:80& --user ps-web/' | at_once >"$PS_TEST_DIR/ends"
	assert_equal "$(sort -u "$PS_TEST_DIR/ends")" 0
	assert_equal "$(rules | wc -l)" 20
	seq 1 20 | sed 's/.*/del &/' | at_once >"$PS_TEST_DIR/ends"
	assert_equal "$(sort -u "$PS_TEST_DIR/ends")" 0
	assert_equal "$(rules)" ""
}

@test "20 times the same add at once: one of them adds it" {
	local _
	for _ in $(seq 20); do
		echo add 80:8080 --user ps-web
	done | at_once >"$PS_TEST_DIR/ends"
	assert_equal "$(sort "$PS_TEST_DIR/ends" | uniq -c | xargs)" "1 0 19 1"
	assert_equal "$(rules)" 80:8080/tcp
}

@test "load, unload, add and readers at once: no error but 'not loaded'" {
	local n
	: >"$PS_TEST_DIR/stderr"
	for n in $(seq 10); do
		printf '%s\n' load unload "add $n:80$n --user ps-web" list stats status unload load
	done | at_once >"$PS_TEST_DIR/ends"
	if grep -v 'is not loaded' "$PS_TEST_DIR/stderr"; then
		return 1
	fi
	portsteer -q unload
	[ ! -e $STATE ]
}

@test "a reader that was never stopped sees whole rulesets only" {
	portsteer -q add 80:8080 --user ps-web
	local n out
	(
		for n in $(seq 40); do
			portsteer -q add 81:8081 82:8082 83:8083 --user ps-web
			portsteer -q del 81 82 83
		done
	) 3>&- &
	local writer=$! seen=''
	while [ -e /proc/$writer ]; do
		out=$(portsteer list --json | jsonget rules.#)
		[ "$out" = 1 ] || [ "$out" = 4 ]
		seen+=$out
	done
	wait $writer
	assert_match "$seen" 4
}

@test "connections during changes of the ruleset all reach their rule's listener" {
	portsteer -q add 80:8080 --user ps-web
	serve web 0.0.0.0 8080
	rm -f "$PS_TEST_DIR/stop"
	client_connections --procs 2 --until "$PS_TEST_DIR/stop" $HERE4 80 \
		>"$PS_TEST_DIR/tally" 3>&- &
	local tally=$! n
	for n in $(seq 40); do
		portsteer -q add 81:8081 10.0.0.0/8:80:8082 --user ps-web
		portsteer -q del 81 10.0.0.0/8:80
	done
	: >"$PS_TEST_DIR/stop"
	wait $tally
	assert_match "$(<"$PS_TEST_DIR/tally")" "^ok [1-9][0-9]+ refused 0 broken 0 names web="
	counters 80:8080/tcp "no_listener=0 wrong_family=0"
}

# --- where sock_ops sits -----------------------------------------------------------

placed()
{
	assert_equal "$(portsteer status --json |
		"$PYTHON" -c 'import json, sys
print(*sorted(json.load(sys.stdin)["sock_ops"]))')" "$1"
}

# with_slices: where systemd runs, its slices are there.
with_slices()
{
	mkdir -p /run/systemd/system
	host_cgroup /system.slice /user.slice
}

@test "sock_ops: nowhere without rules, else at the root, which stays" {
	portsteer -q load
	placed ""
	portsteer -q add 80:8080 --user ps-web
	placed /
	portsteer -q flush
	placed ""
	portsteer -q add 80:8080 --any-user
	placed /
	portsteer -q del 80
	placed ""
	mkdir -p "$PS_TEST_CGROUP/slice/web"
	portsteer -q add 80:8080 --cgroup "$CG/slice/web"
	placed /
	portsteer -q flush
	placed ""
}

@test "sock_ops: on the slices that systemd keeps, if they contain all owners" {
	portsteer -q add 80:8080 --cgroup /system.slice/ps-test.service
	placed / # without systemd
	portsteer -q flush
	with_slices
	portsteer -q add 80:8080 --cgroup /system.slice/ps-test.service
	placed /system.slice
	portsteer -q add 81:8081 --cgroup /user.slice/user-1000.slice --user ps-db
	placed "/system.slice /user.slice"
	portsteer -q add 82:8082 --cgroup "$CG/b/x"
	placed /
	portsteer -q --netns client add 80:8080 --cgroup /user.slice/user-1000.slice
	portsteer -q del 82
	placed "/system.slice /user.slice"
	portsteer -q flush
	placed /user.slice
	portsteer -q add 80:8080 --cgroup /system.slice # itself: it is no place below it
	placed /
	portsteer -q unload
	placed /user.slice
	portsteer -q --netns client unload
	[ ! -e $STATE ]
}

# bats test_tags=kernel
@test "sock_ops: without the right to open cgroups by their number, status knows the slice and who is on it" {
	local other=$REPO/build/tools/other_prog
	with_slices
	portsteer -q add 80:8080 --cgroup /system.slice/ps-test.service
	said()
	{
		limited $ADMIN "$other" cgroup late "$PS_TEST_CGROUP2/system.slice" sock_ops multi -- \
			"$PORTSTEER" status "$@"
	}
	assert_match "$(said)" "listen hook: +cgroup /system.slice"
	assert_match "$(said)" "program late \(id [0-9]+\) on sock_ops of cgroup /system.slice, runs after"
	assert_equal "$(said --json | jsonget others.0.name others.0.cgroup sock_ops.0)" \
		$'late\n/system.slice\n/system.slice'
	# Nor is it forgotten where it was before somebody detached ours.
	bpftool link detach pinned "$(echo $STATE/host/listen-*)"
	assert_match "$(said)" "program late \(id [0-9]+\) on sock_ops of cgroup /system.slice, where portsteer is not attached"
	# Where the slice is not to be seen it is not said that there is nobody.
	portsteer load
	blinded()
	{
		unshare --mount --pid --fork --mount-proc bash -c \
			"mount -t tmpfs none '$PS_TEST_CGROUP2' && '$PORTSTEER' status $*"
	}
	assert_match "$(blinded)" "others: +unknown: the cgroup"
	assert_equal "$(blinded --json | "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["others"])')" None
	portsteer -q flush
}

@test "sock_ops: while it moves, no listener is missed" {
	with_slices
	host_cgroup /system.slice/ps-test.service
	portsteer -q add 80:8080 --cgroup /system.slice/ps-test.service
	local n mover
	rm -f "$PS_TEST_DIR/stop"
	(
		while [ ! -e "$PS_TEST_DIR/stop" ]; do
			portsteer -q add 90:9090 --user ps-web # to the root
			portsteer -q del 90 # and back
		done
	) 3>&- &
	mover=$!
	for n in $(seq 25); do
		serve -g /system.slice/ps-test.service web$n 127.0.0.1 8080
		answers web$n client http://$HERE4/
		stop $PID
	done
	: >"$PS_TEST_DIR/stop"
	wait $mover
	# Not "admitted": the program may for a moment be in both places.
	counters 80:8080/tcp "steered=25 no_listener=0 not_owner=0 rejected=0"
	placed /system.slice
}

@test "no cgroup that comes or goes stops a rule: all above the owner's go, and are made again" {
	local n
	portsteer -q add 80:8080 --cgroup "$CG/s/user-1/app/web"
	portsteer -q --netns client add 80:8080 --cgroup "$CG/s/user-1/app/web"
	for n in 1 2 3; do
		serve -g s/user-1/app/web web$n 127.0.0.1 8080
		answers web$n client http://$HERE4/
		stop $PID
		rmdir "$PS_TEST_CGROUP/s/user-1/app/web" "$PS_TEST_CGROUP/s/user-1/app" \
			"$PS_TEST_CGROUP/s/user-1" "$PS_TEST_CGROUP/s"
		portsteer -q --netns client load # somebody else's command, meanwhile
	done
	assert_equal "$(portsteer load --json)" '{"changed":false}'
	counters 80:8080/tcp "steered=3 not_owner=0 admitted=3"
}

# detach KIND: somebody detaches our links of a kind.
detach()
{
	local pin
	for pin in $1; do
		bpftool link detach pinned "$pin"
	done
}

# lose_hook: and a listener begins unseen.
lose_hook()
{
	portsteer -q add 80:8080 --user ps-web
	portsteer -q --netns client add 80:8080 --user ps-web
	detach "$STATE/host/listen-*"
	serve web 127.0.0.1 8080
	serve -N client there 127.0.0.1 8080
	placed "(detached)"
	assert_match "$(portsteer status)" "detached: +1 program, by .*run 'portsteer load' to attach it again"
	refused client http://$HERE4/
	refused client http://127.0.0.1/
}

# reasons RULE: why sockets do not serve it.
reasons()
{
	portsteer list --json | jsonget "rules|rule=$1|not_admitted|0|reason"
}

@test "a listen hook that was detached: list says so of listeners, whoever the owner is" {
	local lost="the listen hook is no longer attached, so the socket was missed; run 'portsteer load'"
	portsteer -q add 80:8080 --user ps-web
	portsteer -q add 81:8081 --user ps-web --cgroup "$CG/web"
	portsteer -q add 82:8082 --user ps-web --cgroup "$CG/web"
	portsteer -q add 83:8083 --any-user
	detach "$STATE/host/listen-*"
	serve web 127.0.0.1 8080
	serve -g web web 127.0.0.1 8081
	serve -g elsewhere web 127.0.0.1 8082
	serve web 127.0.0.1 8083
	assert_equal "$(reasons 80:8080/tcp)" "$lost"
	assert_equal "$(reasons 81:8081/tcp)" "$lost"
	assert_equal "$(reasons 82:8082/tcp)" "not in the owner's cgroup"
	assert_equal "$(reasons 83:8083/tcp)" "$lost"
	[[ $(portsteer list) == *"(not admitted: the listen hook is no longer attached"* ]]
	portsteer load
	answers web http://127.0.0.1:80/
	assert_equal "$(portsteer list --json | jsonget "rules|rule=80:8080/tcp|not_admitted_count")" 0
	assert_equal "$(reasons 82:8082/tcp)" "not in the owner's cgroup"
}

@test "a bind hook that was detached: list says so of sockets that were bound unseen" {
	portsteer -q add 53:5353/udp --user ps-web
	detach "$STATE/host/bind/bind4"
	serve web 127.0.0.1 5353 --udp
	assert_match "$(reasons 53:5353/udp)" "^the bind hook is no longer attached, .*run 'portsteer load'"
}

@test "a listener that the kernel has refused: list says that, and not twice that it is not admitted" {
	local list
	serve web 127.0.0.1 8080 --reuseport
	becomes_busy --stays "$PID" 8080 "$PORTSTEER" -q add 80:8080 --user ps-web
	list=$(portsteer list)
	[[ $list != *"not admitted: not admitted"* ]]
	[[ $list == *"(not admitted: rejected by the kernel: "* ]]
}

@test "a listen hook that was detached: load attaches it and finds who listens, everywhere" {
	lose_hook
	assert_equal "$(portsteer load --json)" '{"changed":true}'
	placed /
	answers web client http://$HERE4/
	answers there client http://127.0.0.1/
	counters 80:8080/tcp "steered=1 not_owner=0 admitted=1"
	assert_equal "$(portsteer load --json)" '{"changed":false}'
	assert_equal "$(portsteer --netns client load --json)" '{"changed":false}'
	counters 80:8080/tcp "steered=1 not_owner=0 admitted=1"
	portsteer -q --netns client unload
}

@test "a listen hook that was detached: so does the next change, of any namespace" {
	lose_hook
	portsteer -q --netns client add 81:8081 --any-user
	placed /
	answers web client http://$HERE4/
	answers there client http://127.0.0.1/
	portsteer -q --netns client unload
}

@test "a listen hook that was detached: so does the first rule of another namespace" {
	portsteer -q load
	portsteer -q --netns client add 80:8080 --user ps-web
	detach "$STATE/host/listen-*"
	serve -N client there 127.0.0.1 8080
	refused client http://127.0.0.1/
	portsteer -q add 81:8081 --any-user
	answers there client http://127.0.0.1/
	portsteer -q --netns client unload
}

@test "a listen hook that was detached, and the command that finds the listeners is killed" {
	local n out
	lose_hook
	for ((n = 0; ; n++)); do
		out=$("$REPO/build/tools/killat" $n "$PORTSTEER" load)
		[[ $out == killed* ]] || break
	done
	portsteer -q load
	answers web client http://$HERE4/
	answers there client http://127.0.0.1/
	assert_equal "$(portsteer status --json | jsonget detached leftovers)" $'0\n0'
	portsteer -q --netns client unload
}

@test "a listen hook that is lost and found again admits nobody else" {
	portsteer -q add 80:8080 --cgroup "$CG/slice/web"
	detach "$STATE/host/listen-*"
	serve -g slice/web web 127.0.0.1 8080
	local web=$PID
	serve -g slice/other stranger 127.0.0.2 8080
	portsteer -q load
	counters 80:8080/tcp "admitted=1 not_owner=1"
	stop "$web"
	refused client http://$HERE4/
}

@test "other programs that were detached: status says so, load attaches them again" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --user ps-web
	portsteer -q add 54:5454/udp --user ps-web
	portsteer -q add 90:8080 --client-cgroup "$CG/a" --user ps-web
	detach "$STATE/ns-*/link"
	detach "$STATE/host/bind/bind4"
	refused client http://$HERE4/
	assert_equal "$(portsteer status --json | jsonget detached)" 2
	assert_equal "$(portsteer load --json)" '{"changed":true}'
	assert_equal "$(portsteer status --json | jsonget detached leftovers)" $'0\n0'
	answers web client http://$HERE4/
	from a answers web http://127.0.0.1:90/
	becomes 54 -u $WEB 127.0.0.2 5454 --udp
	counters 80:8080/tcp "admitted=1"
	portsteer unload
	[ ! -e $STATE ]
}

@test "the steering program is attached only while a rule needs it" {
	local link
	portsteer -q load
	link=$(echo $STATE/ns-*)/link
	[ ! -e "$link" ]
	portsteer -q add 53:5353/udp --user ps-web
	[ ! -e "$link" ]
	portsteer -q add 81:8081 --client-cgroup "$CG/a" --user ps-web # clients' flows are found there
	[ -e "$link" ]
	portsteer -q del 81 --client-cgroup "$CG/a"
	[ ! -e "$link" ]
	portsteer -q add 80:8080 --user ps-web
	[ -e "$link" ]
	serve web 127.0.0.1 8080
	answers web client http://$HERE4/
	portsteer -q del 80
	[ ! -e "$link" ]
	refused client http://$HERE4/
	portsteer -q add 80:8080 --user ps-web
	answers web client http://$HERE4/
	portsteer -q flush
	[ ! -e "$link" ]
}

@test "what the rules of one namespace no longer need stays while those of another need it" {
	local cookie
	portsteer -q allow 443 --user ps-web
	portsteer -q --netns client allow 443 --user ps-web
	portsteer -q --netns client add 80:8080 --user ps-web
	compgen -G "$STATE/host/listen-*" >/dev/null
	portsteer -q --netns client flush
	[ -e $STATE/host/bind ]
	[ -z "$(compgen -G "$STATE/host/listen-*")" ]
	portsteer -q flush
	[ ! -e $STATE/host/bind ]
	# what a namespace needed that has ended goes with any change
	ip netns add mortal
	portsteer -q --netns mortal allow 443 --user ps-web
	[ -e $STATE/host/bind ]
	cookie=$(portsteer --netns mortal list --json | jsonget netns.cookie)
	ip netns del mortal
	until_true 20 alive "$cookie" false
	# ... also with one that fails, and with others there that need none of it.
	portsteer -q --netns client add 80:8080 --user ps-web
	portsteer -q add 80:8080 --user ps-web
	[ ! -e $STATE/host/bind ]
	ip netns add mortal
	portsteer -q --netns mortal allow 443 --user ps-web
	cookie=$(portsteer --netns mortal list --json | jsonget netns.cookie)
	ip netns del mortal
	until_true 20 alive "$cookie" false
	[ -e $STATE/host/bind ]
	! portsteer -q add 80:8081 --user ps-web 2>/dev/null || false
	[ ! -e $STATE/host/bind ]
}
