#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# portsteer upgrade: to another build of the same layout, to one whose layout is another, and
# back; with rules, listeners and sockets kept, and no connection lost. Counters go on where the
# layout is the same. scripts/build-others builds the other programs.

load lib
load upgrade_lib

setup_file() { setup_others; }
setup() { setup_test; }
teardown() { teardown_others; }

# begun PROGRAM: connections to port 80 are counted.
begun()
{
	[ "$(counter 80:8080/tcp steered "$1")" != 0 ]
}

# listing [PROGRAM]: the rules and who is behind them, as JSON.
listing()
{
	"${1:-$PORTSTEER}" list --json | sed "s,\"generation\":[0-9]*\,,,"
}

# links: the ids of the links that are attached to the network namespace and the cgroups
# of our pins.
links()
{
	local pin
	for pin in $STATE/ns-*/link $STATE/host/listen-* $STATE/host/*/*; do
		bpftool -j link show pinned "$pin" 2>/dev/null || true
	done | grep -o '"id":[0-9]*,"type":"[a-z]*"' | sort
}

# programs_of PIN: the id of the program of a link.
program_of()
{
	bpftool -j link show pinned "$1" | grep -o '"prog_id":[0-9]*'
}

# in_background NAME COMMAND...: its output goes to a file that `ended NAME` waits for.
in_background()
{
	local out=$PS_TEST_DIR/background.$1
	rm -f "$out" "$out.part"
	(
		exec 3>&- 4>&-
		in_cgroup background # by which it ends with the test
		"${@:2}" >"$out.part" 2>&1 </dev/null
		mv "$out.part" "$out"
	) &
}
ended()
{
	until_true 30 test -e "$PS_TEST_DIR/background.$1"
	cat "$PS_TEST_DIR/background.$1"
}

# --- from and to -------------------------------------------------------------------

# restart_server: a server on 8082 that is replaced by another, again and again, as long as
# the load lasts; each has to be steered to as soon as it listens.
restart_server()
{
	local lost=0 times=0
	until [ -e "$PS_TEST_DIR/stop" ]; do
		serve again 127.0.0.1 8082
		[ "$(probe 82)" = again ] || lost=$((lost + 1))
		times=$((times + 1))
		stop "$PID"
	done
	echo "times $times lost $lost"
}

# clients_in CGROUP COMMAND...
clients_in()
{
	in_cgroup "$1"
	"${@:2}"
}

@test "under load, to other builds of this layout and another, and back: nothing is lost" {
	local program names=()
	mkdir -p "$PS_TEST_CGROUP/a" "$PS_TEST_CGROUP/clients"
	serve web 0.0.0.0 8080
	serve -g a/web scoped 127.0.0.1 8081
	portsteer -q add 80:8080 82:8082 --user ps-web
	portsteer -q add 81:8081 --cgroup "$CG/a/web"
	portsteer -q add 90:8080 --client-cgroup "$CG/clients" --user ps-web
	rm -f "$PS_TEST_DIR/stop"
	in_background load connections --procs 2 --until "$PS_TEST_DIR/stop" 127.0.0.1 80
	in_background far client "$PYTHON" "$PS_TEST_DIR/connect.py" --procs 1 \
		--until "$PS_TEST_DIR/stop" $HERE4 80
	in_background sent clients_in clients "$PYTHON" "$PS_TEST_DIR/connect.py" --procs 2 \
		--until "$PS_TEST_DIR/stop" 127.0.0.1 90
	in_background again restart_server
	until_true 60 begun "$PORTSTEER"
	for program in "$NEXT" "$PORTSTEER" "$SAME" "$NEXT" "$SAME" "$PORTSTEER" "$NEXT" \
		"$PORTSTEER"; do
		"$program" upgrade
		clean
		until_true 60 begun "$program"
		assert_equal "$("$program" list --json | jsonget rules.# \
			"rules|rule=81:8081/tcp|listeners|#")" $'4\n1'
		assert_equal "$("$program" status --json | jsonget outdated leftovers)" $'false\n0'
	done
	touch "$PS_TEST_DIR/stop"
	for program in load far sent again; do
		names+=("$(ended $program)")
	done
	printf '# %s\n' "${names[@]}" >&3
	assert_match "${names[0]}" "^ok [1-9][0-9]* refused 0 broken 0 "
	assert_match "${names[1]}" "^ok [1-9][0-9]* refused 0 broken 0 "
	assert_match "${names[2]}" "^ok [1-9][0-9]* refused 0 broken 0 "
	assert_match "${names[3]}" "^times [1-9][0-9]* lost 0$"
	counters "81:8081/tcp" "admitted=1 not_owner=0 rejected=0"
	assert_equal "$(probe 81)" scoped
}

# bats test_tags=kernel
@test "another build of the same layout: links stay, programs change, counters never go back" {
	local before after=0 i got link
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --user ps-web
	portsteer -q add 90:8080 --client-cgroup "$CG/clients" --user ps-web
	link=$(echo $STATE/ns-*/link)
	rm -f "$PS_TEST_DIR/stop"
	in_background load connections --procs 2 --until "$PS_TEST_DIR/stop" 127.0.0.1 80
	until_true 60 begun "$PORTSTEER"
	before=$(links)
	got=$(program_of "$link")
	assert_match "$before" netns
	assert_match "$before" cgroup
	assert_equal "$("$SAME" status --json | jsonget outdated leftovers)" $'true\n0'
	in_background upgrades bash -c "for i in 1 2 3 4 5; do
		'$SAME' upgrade && '$PORTSTEER' upgrade || exit
	done; echo well"
	# A reader sees the old or the new, and its counters go on.
	until [ -e "$PS_TEST_DIR/background.upgrades" ]; do
		i=$(counter 80:8080/tcp steered)
		[ "$i" -ge $after ]
		after=$i
	done
	assert_equal "$(ended upgrades | tail -n 1)" well
	assert_equal "$(links)" "$before"
	[ "$(program_of "$link")" != "$got" ]
	assert_equal "$(portsteer status --json | jsonget outdated leftovers)" $'false\n0'
	touch "$PS_TEST_DIR/stop"
	got=$(ended load)
	assert_match "$got" "^ok [1-9][0-9]* refused 0 broken 0 "
	read -r _ i _ <<<"$got"
	counters 80:8080/tcp "steered=$i"
}

@test "what is this version's is left alone" {
	local before
	portsteer -q add 80:8080 --user ps-web
	before=$(kernel_state; links)
	assert_equal "$(portsteer upgrade)" "nothing to do: this version's programs are already loaded"
	assert_equal "$(portsteer upgrade --json | jsonget changed rebuilt)" $'false\nfalse'
	assert_equal "$(kernel_state; links)" "$before"
}

@test "what it says" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 81:8081 --user ps-web
	assert_equal "$("$SAME" upgrade)" "upgraded: 1 network namespace, 2 rules"
	assert_equal "$("$NEXT" upgrade)" \
		"upgraded: 1 network namespace, 2 rules; counters were reset, as their layout has changed"
	assert_equal "$(portsteer upgrade --json)" '{"changed":true,"rebuilt":true,"namespaces":1,"rules":2,"lost_bound":false,"lost_connected":false}'
	assert_equal "$("$SAME" -q upgrade)" ""
}

@test "a listener that a lost hook has missed is found by an upgrade to another layout" {
	portsteer -q add 80:8080 --user ps-web
	bpftool link detach pinned "$(echo $STATE/host/listen-*)"
	serve web 127.0.0.1 8080
	refused http://127.0.0.1/
	"$NEXT" -q upgrade
	answers web http://127.0.0.1/
}

# full_queue PORT: a listener of ps-db's whose accept queue is full once there are two.
full_queue()
{
	start -u $DB "$PYTHON" -c "
import socket, time
s = socket.socket()
s.bind(('127.0.0.1', $1))
s.listen(0)
time.sleep(60)"
	wait_port "$1"
}

# waits ADDRESS FILE: a client in the cgroup "pod" whose connection is not answered yet. What
# becomes of it is written to the file.
waits()
{
	start -g pod "$PYTHON" -c "
import socket, time
keep = [socket.socket() for _ in range(2)]
for one in keep:
    one.setblocking(False)
    one.connect_ex(('$1', 80))
time.sleep(0.2)
last = socket.socket()
last.settimeout(10)
print('waits', flush=True)
try:
    last.connect(('$1', 80))
    last.sendall(b'GET / HTTP/1.0\r\n\r\n')
    print('answered', last.recv(300)[-40:], flush=True)
except OSError as e:
    print('none', flush=True)"
	until_true 10 grep -q waits "$LOG"
	until_true 10 is_unanswered
}
is_unanswered()
{
	[ "$(ss -Htn state syn-sent "dport = :80" | wc -l)" -ge 1 ]
}

@test "a client that waits for an answer gets none from anybody else, after an upgrade" {
	local program
	for program in "$SAME" "$NEXT"; do
		serve other 127.0.0.1 7070
		portsteer -q add 80:7070 --user ps-web
		portsteer -q add 80:8080 --client-cgroup "$CG/pod" --user ps-db
		full_queue 8080
		waits 127.0.0.1
		"$program" -q upgrade
		until_true 20 grep -q "none\|answered" "$LOG"
		assert_equal "$(tail -n 1 "$LOG")" none
		"$program" -q unload
		kill_servers
	done
}

@test "a client that waits for an answer gets none from anybody else when its rule goes" {
	serve other 127.0.0.1 7070
	portsteer -q add 80:7070 --user ps-web
	portsteer -q add 198.51.100.2:80:8080 --client-cgroup "$CG/pod" --user ps-db
	full_queue 8080
	waits 198.51.100.2
	portsteer -q del 198.51.100.2:80 --client-cgroup "$CG/pod"
	until_true 20 grep -q "none\|answered" "$LOG"
	assert_equal "$(tail -n 1 "$LOG")" none
	# The next change has nothing to keep.
	kill_servers
	portsteer -q flush
	portsteer -q load
	assert_equal "$(portsteer status --json | jsonget sock_ops)" "[]"
}

@test "commands of another build of the same layout work with what is loaded" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --user ps-web
	"$SAME" -q add 81:8080 --user ps-web
	assert_equal "$(probe 81)" web
	assert_equal "$(portsteer list --json | jsonget rules.#)" 2
	portsteer -q del 81
	assert_equal "$("$SAME" list --json | jsonget rules.#)" 1
}

# What decides who gets a connection is not what has been counted: an upgrade lets counters begin
# again while the listeners stay.
@test "a deleted rule's listener gets no other rule's connections, after an upgrade either" {
	local program i
	serve web 127.0.0.1 8080
	portsteer -q load
	for program in "$SAME" "$NEXT" "$PORTSTEER"; do
		portsteer -q upgrade
		portsteer -q add 80:8080 --user ps-web
		answers web http://127.0.0.1/
		"$program" -q upgrade
		answers web http://127.0.0.1/
		"$program" -q del 80
		refused http://127.0.0.1/
		# Once through all ids of targets.
		for ((i = 0; i < 66; i++)); do
			"$program" -q add 80:9999 --user ps-db
			refused http://127.0.0.1/
			"$program" -q del 80
		done
	done
}

# --- what is kept ------------------------------------------------------------------

@test "many rules of all kinds: the same afterwards, and they can be changed" {
	local before program
	mkdir -p "$PS_TEST_CGROUP/a"
	serve web 127.0.0.1 8080
	serve -u $DB db ::1 8081
	portsteer -q add 80:8080 10.0.0.0/8:80:8081 '[2001:db8::]/32:443:8081' --user ps-web --name web
	"$PORTSTEER" -q add 1000-1299:2000-2299 --any-user --if-down pass
	"$PORTSTEER" -q add 81:8081 --user ps-db --cgroup "$CG/a/b"
	"$PORTSTEER" -q add 90:8080 --client-cgroup "$CG/a" --user ps-web
	"$PORTSTEER" -q add 91:198.51.100.2:99/udp --client-cgroup "$CG/a" --any-user
	before=$(listing)
	for program in "$NEXT" "$SAME" "$PORTSTEER"; do
		"$program" -q upgrade
		assert_equal "$(listing "$program")" "$before"
	done
	# The port of a rule with an id above those that the first map has.
	serve late 127.0.0.1 2298
	assert_equal "$(probe 1298)" late
	counters 1000-1299:2000-2299/tcp "steered=1"
	"$SAME" -q upgrade
	assert_equal "$(counter 1000-1299:2000-2299/tcp steered "$SAME")" 1
	portsteer -q upgrade
	counters 1000-1299:2000-2299/tcp "steered=1"
	# What is made now begins at 0, also where an id is used again.
	portsteer -q del 80:8080 1000-1299
	portsteer -q add 80:8080 --user ps-web --if-down pass
	counters 80:8080/tcp "steered=0 admitted=1"
	assert_equal "$(probe 80)" web
	counters 80:8080/tcp "steered=1"
	portsteer unload
	[ ! -e $STATE ]
}

# has_left PID: the process has a network namespace of its own by now.
has_left()
{
	[ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ]
}

@test "several network namespaces, one of them without a name, one that has ended" {
	local program pid
	make_pair second veth-s 198.51.101 2001:db8:2:
	serve here 127.0.0.1 8080
	serve -N second there 127.0.0.1 8080
	"$PORTSTEER" -q add 80:8080 --user ps-web
	"$PORTSTEER" -q --netns second add 80:8080 81:8081 --user ps-web
	unshare --net sleep 1000 3>&- &
	pid=$!
	until_true 20 has_left $pid
	"$PORTSTEER" -q --netns pid:$pid add 82:8082 --any-user
	ip netns add ended
	"$PORTSTEER" -q --netns ended add 83:8083 --any-user
	ip netns del ended
	until_true 20 bash -c "'$PORTSTEER' status | grep -q gone"
	for program in "$NEXT" "$SAME" "$PORTSTEER"; do
		"$program" -q upgrade
		assert_equal "$("$program" status --json | jsonget instances.# leftovers)" $'3\n0'
		assert_equal "$("$program" --netns second list --json | jsonget rules.#)" 2
		answers here http://127.0.0.1/
		nsenter --net=/run/netns/second curl -sS http://127.0.0.1/ | grep -q '^there '
		assert_equal "$("$program" --netns pid:$pid list --json | jsonget rules.#)" 1
	done
	kill $pid
	portsteer -q --netns second unload
	portsteer -q unload
}

@test "a client that is connected goes on being told whom it wanted" {
	local fifo=$PS_TEST_DIR/trail program
	serve web 127.0.0.1 8080
	mkdir -p "$PS_TEST_CGROUP/a"
	"$PORTSTEER" -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	mkfifo "$fifo.in" "$fifo.out"
	(
		exec 3>&- 4>&-
		in_cgroup a
		"$PYTHON" -u -c '
import socket
s = socket.create_connection(("127.0.0.1", 80))
while input():
    print(*s.getpeername())' <"$fifo.in" >"$fifo.out"
	) &
	exec 7>"$fifo.in" 8<"$fifo.out"
	for program in "" "$NEXT" "$PORTSTEER" "$SAME"; do
		[ -z "$program" ] || "$program" -q upgrade
		echo ask >&7
		assert_equal "$(read -rt 10 -u 8 line; echo "$line")" "127.0.0.1 80"
	done
	exec 7>&- 8<&-
}

@test "sockets bound through a rule keep their port, and are told the one that they asked for" {
	local fifo=$PS_TEST_DIR/bound program times=0
	"$PORTSTEER" -q add 53:5353/udp 25:2525/tcp --mode bind --user ps-web
	"$PORTSTEER" -q allow 443 --user ps-web
	mkfifo "$fifo.in" "$fifo.out"
	(
		exec 3>&- 4>&-
		in_cgroup a
		as $WEB "$PYTHON" -u -c '
import socket
s = [socket.socket(socket.AF_INET, kind) for kind in
     (socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.SOCK_STREAM)]
for one, port in zip(s, (5353, 2525, 443)):
    one.bind(("127.0.0.1", port))
while input():
    print(*(one.getsockname()[1] for one in s))' <"$fifo.in" >"$fifo.out"
	) &
	exec 7>"$fifo.in" 8<"$fifo.out"
	for program in "" "$SAME" "$NEXT" "$PORTSTEER"; do
		[ -z "$program" ] || "$program" -q upgrade
		echo ask >&7
		assert_equal "$(read -rt 10 -u 8 line; echo "$line")" "5353 2525 443"
		# Counters begin again with the layout.
		times=$(counter 53:5353/udp translated "${program:-$PORTSTEER}")
		becomes 53 -u $WEB 127.0.0.2 5353 --udp
		assert_equal "$(counter 53:5353/udp translated "${program:-$PORTSTEER}")" $((times + 1))
	done
	exec 7>&- 8<&-
}

# --- what is refused ---------------------------------------------------------------

# refuses STATUS PATTERN ARGS...: one line that matches, and nothing has changed.
refuses()
{
	local before status=0 wanted=$1 pattern=$2
	shift 2
	before=$(find $STATE $STATE-upgrade -printf '%p %i %m\n' 2>/dev/null | sort)
	"$@" >"$PS_TEST_DIR/stdout" 2>"$PS_TEST_DIR/stderr" || status=$?
	cat "$PS_TEST_DIR/stderr" >&2
	assert_equal "$status" "$wanted"
	assert_equal "$(<"$PS_TEST_DIR/stdout")" ""
	assert_equal "$(wc -l <"$PS_TEST_DIR/stderr")" 1
	assert_match "$(<"$PS_TEST_DIR/stderr")" "$pattern"
	assert_equal "$(find $STATE $STATE-upgrade -printf '%p %i %m\n' 2>/dev/null | sort)" "$before"
}

@test "nothing is loaded: status 3" {
	refuses 3 "not loaded.*portsteer load" portsteer upgrade
	[ ! -e $STATE ]
}

@test "an ordinary user: status 4" {
	local status=0
	portsteer -q load
	(as $WEB "$PORTSTEER" upgrade >"$PS_TEST_DIR/stdout" 2>"$PS_TEST_DIR/stderr") || status=$?
	assert_equal $status 4
	assert_match "$(<"$PS_TEST_DIR/stderr")" "needs root"
}

@test "an unknown version: refused, with the ways out, and nothing changes" {
	mkdir -m 0700 $STATE $STATE/host
	bpftool map create $STATE/host/instances type array key 4 value 8 entries 1 \
		name ps_instances
	refuses 1 "unknown version, or damaged.*version that created it.*portsteer unload" \
		portsteer upgrade
	rm $STATE/host/instances
	refuses 1 "unknown version, or damaged" portsteer upgrade
	portsteer unload
	[ ! -e $STATE ]
}

# set_record OFFSET BYTE: change the record of who made what is loaded.
set_record()
{
	local bytes
	read -ra bytes < <(bpftool -j map lookup pinned $STATE/host/build key 0 0 0 0 |
		"$PYTHON" -c 'import json, sys; print(*(int(b, 16) for b in json.load(sys.stdin)["value"]))')
	bytes[$1]=$2
	bpftool map update pinned $STATE/host/build key 0 0 0 0 value "${bytes[@]}"
}

@test "a record that is not known: refused, and the rules work on" {
	serve web 127.0.0.1 8080
	"$NEXT" -q add 80:8080 --user ps-web
	set_record 4 9
	refuses 1 "has format 9, this version supports 2" portsteer upgrade
	set_record 4 2
	set_record 0 0
	refuses 1 "damaged" portsteer upgrade
	set_record 0 80
	set_record 29 255 # a word that is out of its element
	refuses 1 "damaged" portsteer upgrade
	answers web http://127.0.0.1/
	set_record 29 0
	portsteer -q upgrade
	answers web http://127.0.0.1/
}

@test "damaged or missing pins: refused, and the rules work on" {
	local pin
	serve web 127.0.0.1 8080
	"$NEXT" -q add 80:8080 --user ps-web
	for pin in $STATE/ns-*/rules-* $STATE/ns-*/alive $STATE/host/netns $STATE/host/instances; do
		mv "$pin" $STATE/away
		refuses 1 "missing|cannot (take over|find)" portsteer upgrade
		bpftool map create "$pin" type hash key 12 value 12 entries 1 name ps_other
		refuses 1 "damaged|cannot (take over|find)" portsteer upgrade
		rm "$pin"
		mv $STATE/away "$pin"
		answers web http://127.0.0.1/
	done
	portsteer -q upgrade
	answers web http://127.0.0.1/
}

@test "a listener that no process here is seen to hold: refused, and it works on" {
	serve web 127.0.0.1 8080
	"$NEXT" -q add 80:8080 --user ps-web
	refuses 1 "cannot take over 1 listening socket.*on the host" \
		unshare --pid --fork --mount-proc "$PORTSTEER" upgrade
	answers web http://127.0.0.1/
	# A listener of a rule that is gone does not matter.
	"$NEXT" -q del 80
	unshare --pid --fork --mount-proc "$PORTSTEER" upgrade
}

@test "a kernel that cannot load the programs: status 5, and the rules work on" {
	serve web 127.0.0.1 8080
	"$NEXT" -q add 80:8080 --user ps-web
	# BPF_PROG_TYPE_SK_LOOKUP
	refuses 5 "cannot load the sk_lookup program" "$KILLAT" -t 30 "$PORTSTEER" upgrade
	answers web http://127.0.0.1/
	assert_equal "$("$NEXT" list --json | jsonget rules.#)" 1
}

@test "several at once, and other commands at the same time" {
	local i pids=()
	serve web 127.0.0.1 8080
	"$NEXT" -q add 80:8080 --user ps-web
	for i in 1 2 3; do
		portsteer upgrade >"$PS_TEST_DIR/at-once.$i" 2>&1 3>&- &
		pids+=($!)
		"$NEXT" upgrade >"$PS_TEST_DIR/at-once.next.$i" 2>&1 3>&- &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		wait "$i"
	done
	portsteer -q upgrade
	clean
	for i in 1 2 3 4 5 6; do
		"$SAME" -q upgrade 3>&- &
		pids=($!)
		portsteer -q add 9$i:909$i --any-user 3>&- &
		pids+=($!)
		portsteer -q upgrade 3>&- &
		pids+=($!)
		wait "${pids[0]}"
		wait "${pids[1]}"
		wait "${pids[2]}"
	done
	assert_equal "$(portsteer list --json | jsonget rules.#)" 7
	answers web http://127.0.0.1/
	clean
}
