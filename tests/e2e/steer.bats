#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Where connections go: clients, listeners, rules, owners, counters.

load lib

setup_file()
{
	setup_env
	keep "1:2001 --any-user"
}
setup() { setup_test; }
teardown() { teardown_test; }

# web_everywhere RULE-PORT: the one server "web" answers clients of all three kinds on port 80.
web_everywhere4()
{
	answers web client "http://$HERE4/" # remote
	answers web http://127.0.0.1/ # loopback
	answers web "http://$HERE4/" # hairpin
}
web_everywhere6()
{
	answers web client "http://[$HERE6]/"
	answers web "http://[::1]/"
	answers web "http://[$HERE6]/"
}

# --- clients and listeners ---------------------------------------------------------

# bats test_tags=kernel
@test "a listener on 127.0.0.1 serves remote, loopback and hairpin clients" {
	portsteer add 80:8080 --user ps-web
	serve web 127.0.0.1 8080
	assert_no_caps $PID $WEB
	web_everywhere4
	refused client http://$HERE4:8080/ # the target port is as closed as before
	counters 80:8080/tcp "steered=3 no_listener=0 refused=0 wrong_family=0 not_owner=0 rejected=0 admitted=1"
}

# bats test_tags=kernel
@test "a listener on ::1 serves remote, loopback and hairpin clients" {
	portsteer add 80:8080 --user ps-web
	serve web ::1 8080
	web_everywhere6
	counters 80:8080/tcp "steered=3 no_listener=0 wrong_family=0"
}

@test "a listener on 0.0.0.0" {
	portsteer add 80:8080 --user ps-web
	serve web 0.0.0.0 8080
	web_everywhere4
	answers web client http://$HERE4:8080/
	counters 80:8080/tcp "steered=3"
}

@test "a listener on one address serves front ports on every address" {
	portsteer add 80:8080 --user ps-web
	serve web 10.1.2.3 8080
	web_everywhere4
	answers web client http://10.200.0.1/
}

@test "a dual-stack listener on :: serves both families" {
	portsteer add 80:8080 --user ps-web
	serve web :: 8080 --dual
	web_everywhere4
	web_everywhere6
	counters 80:8080/tcp "steered=6 wrong_family=0 no_listener=0 admitted=1"
}

# bats test_tags=kernel
@test "an IPv6-only listener serves IPv6; IPv4 is refused and counted as family" {
	portsteer add 80:8080 --user ps-web
	serve web :: 8080 --v6only
	web_everywhere6
	refused client http://$HERE4/
	refused http://127.0.0.1/
	counters 80:8080/tcp "steered=3 wrong_family=2 refused=2 no_listener=0"
}

@test "an IPv4 listener does not serve IPv6; that is counted as family" {
	portsteer add 80:8080 --user ps-web
	serve web 0.0.0.0 8080
	refused client "http://[$HERE6]/"
	counters 80:8080/tcp "steered=0 wrong_family=1 refused=1 no_listener=0"
}

@test "one IPv4 and one IPv6 listener serve a family each" {
	portsteer add 80:8080 --user ps-web
	serve four 0.0.0.0 8080
	serve six :: 8080 --v6only
	answers four client http://$HERE4/
	answers six client "http://[$HERE6]/"
	answers four http://127.0.0.1/
	answers six "http://[::1]/"
	counters 80:8080/tcp "steered=4 wrong_family=0 no_listener=0 admitted=2"
}

@test "the server sees the client's real address, and port 80 as its own" {
	portsteer add 80:8080 --user ps-web
	serve web 127.0.0.1 8080
	assert_match "$(fetch client http://$HERE4/)" "^web [0-9]+ $THERE4 $HERE4 80$"
	assert_match "$(cat "$ACCESS")" "^web [0-9]+ $THERE4 $HERE4 80$"
	serve web6 ::1 8080
	assert_match "$(fetch client "http://[$HERE6]/")" "^web6 [0-9]+ $THERE6 $HERE6 80$"
}

# --- no listener -------------------------------------------------------------------

# A server of root's on the front port itself; with the others it ends with the test.
serve_root()
{
	(
		in_cgroup default
		exec "$PYTHON" "$PS_TEST_DIR/server.py" --name root 0.0.0.0 80
	) >"$PS_TEST_DIR/r" 3>&- &
	ROOT=$!
	wait_port 80
}

# bats test_tags=kernel
@test "without a listener the client is refused, whoever listens on the front port" {
	serve_root
	answers root client http://$HERE4/
	portsteer add 80:8080 --user ps-web
	refused client http://$HERE4/
	refused http://127.0.0.1/
	counters 80:8080/tcp "no_listener=2 refused=2 steered=0 wrong_family=0"
	serve web 127.0.0.1 8080
	answers web client http://$HERE4/
	portsteer del 80
	answers root client http://$HERE4/
	stop "$ROOT"
}

@test "--if-down pass falls through to the normal lookup" {
	serve_root
	portsteer add 80:8080 --user ps-web --if-down pass
	answers root client http://$HERE4/
	counters 80:8080/tcp "no_listener=1 refused=0 steered=0"
	serve web 127.0.0.1 8080
	answers web client http://$HERE4/
	refused client "http://[$HERE6]/" # nobody listens there
	counters 80:8080/tcp "no_listener=1 refused=0 steered=1 wrong_family=1"
	stop $PID
	answers root client http://$HERE4/
	stop "$ROOT"
}

# bats test_tags=kernel
@test "neighbour ports are untouched" {
	portsteer add 80:8080 --user ps-web
	serve web 0.0.0.0 8080
	serve near 0.0.0.0 8081
	refused client http://$HERE4:79/
	refused client http://$HERE4:81/
	answers near client http://$HERE4:8081/
	# Ports that share the filter's word or the table's bucket with 80.
	local p
	for p in 64 95 112 336 592 16464; do
		refused client http://$HERE4:$p/
	done
	counters 80:8080/tcp "steered=0 no_listener=0"
}

@test "a dead listener: refused at once, served again when one comes" {
	portsteer add 80:8080 --user ps-web
	serve web 127.0.0.1 8080
	answers web client http://$HERE4/
	stop $PID
	refused client http://$HERE4/
	assert_equal "$(listener_count 80:8080/tcp)" 0
	serve again 127.0.0.1 8080
	answers again client http://$HERE4/
	counters 80:8080/tcp "steered=2 no_listener=1 refused=1 admitted=2"
}

# --- rules -------------------------------------------------------------------------

# bats test_tags=kernel
@test "the longest prefix wins, then the rule without an address" {
	portsteer add 80:8001 10.0.0.0/8:80:8002 10.1.0.0/16:80:8003 10.1.2.3:80:8004 \
		--user ps-web
	local n
	for n in 1 2 3 4; do
		serve s$n 127.0.0.1 800$n
	done
	answers s4 client http://10.1.2.3/
	answers s3 client http://10.1.9.9/
	answers s2 client http://10.200.0.1/
	answers s1 client http://$HERE4/
	answers s1 http://127.0.0.1/
	counters 10.1.2.3:80:8004/tcp "steered=1"
	counters 10.0.0.0/8:80:8002/tcp "steered=1"
	counters 80:8001/tcp "steered=2"
	# A miss of the longest prefix is a miss: no shorter one takes over.
	stop $PID
	refused client http://10.1.2.3/
	portsteer del 10.1.2.3:80
	answers s3 client http://10.1.2.3/
	portsteer del 80
	refused client http://$HERE4/
	answers s2 client http://10.200.0.1/
}

@test "IPv6 prefixes, and no mixing of the families" {
	portsteer add '[2001:db8:aa::]/48:80:8001' '[2001:db8:aa::1]:81:8001' \
		0.0.0.0/0:82:8001 '[::]/0:83:8001' --user ps-web
	serve web :: 8001 --dual
	answers web client "http://[2001:db8:aa::1]/"
	refused client "http://[2001:db8:bb::1]/"
	answers web client "http://[2001:db8:aa::1]:81/"
	refused client "http://[2001:db8:bb::1]:81/"
	answers web client http://$HERE4:82/
	refused client "http://[$HERE6]:82/"
	refused client http://$HERE4:83/
	answers web client "http://[$HERE6]:83/"
}

# bats test_tags=kernel
@test "a port range: first, middle, last, and not one beside it" {
	portsteer add 1000-1010:8000-8010 --user ps-web
	serve first 127.0.0.1 8000
	serve middle 127.0.0.1 8005
	serve last 127.0.0.1 8010
	answers first client http://$HERE4:1000/
	answers middle client http://$HERE4:1005/
	answers last client http://$HERE4:1010/
	refused client http://$HERE4:1004/
	counters 1000-1010:8000-8010/tcp "steered=3 no_listener=1 admitted=3"
	refused client http://$HERE4:999/
	refused client http://$HERE4:1011/
	counters 1000-1010:8000-8010/tcp "steered=3 no_listener=1"
}

@test "the highest ports, and a range of all that there are" {
	portsteer add 65535:8080 --user ps-web
	serve web 127.0.0.1 8080
	answers web client http://$HERE4:65535/
	portsteer flush
	portsteer add 1-8079:8081-16159 --user ps-web
	serve low 127.0.0.1 8081
	serve high 127.0.0.1 16159
	answers low client http://$HERE4:1/
	answers high client http://$HERE4:8079/
	refused client http://$HERE4:5000/
	counters 1-8079:8081-16159/tcp "steered=2 no_listener=1"
}

@test "two rules to one target share its listener, and count apart" {
	portsteer add 80:8080 81:8080 --user ps-web
	serve web 127.0.0.1 8080
	answers web client http://$HERE4:80/
	answers web client http://$HERE4:81/
	answers web client http://$HERE4:81/
	counters 80:8080/tcp "steered=1"
	counters 81:8080/tcp "steered=2"
}

@test "one target port, a rule for each owner" {
	portsteer add 80:8080 --user ps-web
	portsteer add 81:8080 --user ps-db
	serve web 127.0.0.1 8080
	serve -u $DB db 10.1.2.3 8080
	answers web client http://$HERE4:80/
	answers db client http://$HERE4:81/
	counters 80:8080/tcp "steered=1 admitted=1 not_owner=0"
	counters 81:8080/tcp "steered=1 admitted=1 not_owner=0"
}

@test "counters of a rule go on when others come and go" {
	portsteer add 80:8080 --user ps-web
	serve web 127.0.0.1 8080
	answers web client http://$HERE4/
	portsteer add 81:8081 --user ps-web
	answers web client http://$HERE4/
	portsteer del 81
	answers web client http://$HERE4/
	counters 80:8080/tcp "steered=3 admitted=1"
	# Another rule of the same name begins at zero.
	portsteer del 80
	portsteer add 80:8080 --user ps-web
	answers web client http://$HERE4/
	counters 80:8080/tcp "steered=1"
}

@test "many rules at once: each leads to its own target" {
	local n rules=()
	for n in $(seq 1 400); do
		rules+=("$n:$((20000 + n)) --user ps-web")
	done
	printf '%s\n' "${rules[@]}" | sections | portsteer add -f -
	for n in 1 80 255 256 399 400; do
		serve s$n 127.0.0.1 $((20000 + n))
	done
	for n in 1 80 255 256 399 400; do
		answers s$n client http://$HERE4:$n/
		counters $n:$((20000 + n))/tcp "steered=1 no_listener=0 admitted=1"
	done
	refused client http://$HERE4:401/
	refused client http://$HERE4:300/
	counters 300:20300/tcp "no_listener=1"
}

# --- when listeners come -----------------------------------------------------------

# bats test_tags=kernel
@test "a listener that was open before the rule" {
	serve web 127.0.0.1 8080
	portsteer add 80:8080 --user ps-web
	assert_equal "$(listener_count 80:8080/tcp)" 1
	answers web client http://$HERE4/
	counters 80:8080/tcp "steered=1 admitted=1"
}

# What the kernel's worker does to listeners for a moment, when it frees a sockmap.
# bats test_tags=kernel
@test "a listener that is busy when the rule comes is admitted as soon as it is not" {
	serve web 127.0.0.1 8080 --reuseport --shared 6
	becomes_busy "$PID" 8080 "$PORTSTEER" -q add 80:8080 81:8080 --user ps-web
	counters 80:8080/tcp "admitted=1 rejected=0 not_owner=0"
	answers web client http://$HERE4/
}

@test "a listener that stays busy is counted as an error, and others are not" {
	local n busy
	serve -g web busy 127.0.0.1 8080 --reuseport --shared 3
	busy=$PID
	serve -g web web 127.0.0.1 8080 --reuseport
	serve -g web other 127.0.0.1 8081
	becomes_busy --stays "$busy" 8080 "$PORTSTEER" -q add 80:8080 81:8081 --cgroup "$CG/web"
	counters 80:8080/tcp "admitted=1 rejected=1 not_owner=0"
	counters 81:8081/tcp "admitted=1 rejected=0 not_owner=0"
	for n in 1 2 3 4 5 6; do
		answers web client http://$HERE4/
	done
	answers other client http://$HERE4:81/
}

# bats test_tags=kernel
@test "a listener that comes after the rule, and comes back after a restart" {
	portsteer add 80:8080 --user ps-web
	local n
	for n in 1 2 3 4 5 6; do
		serve s$n 127.0.0.1 8080
		answers s$n client http://$HERE4/
		stop $PID
	done
	counters 80:8080/tcp "steered=6 no_listener=0 admitted=6"
}

@test "a listener that was admitted stays admitted through changes of the rules" {
	portsteer add 80:8080 --user ps-web
	serve web 127.0.0.1 8080
	local n
	for n in $(seq 1 10); do
		portsteer add $((100 + n)):$((9000 + n)) --user ps-web
		answers web client http://$HERE4/
	done
	portsteer flush
	refused client http://$HERE4/
	portsteer add 80:8080 --user ps-web
	answers web client http://$HERE4/
	assert_equal "$(listener_count 80:8080/tcp)" 1
}

@test "every listener that comes while the rules change is admitted" {
	portsteer add 80:8080 --user ps-web
	local n i add
	for n in $(seq 1 10); do
		portsteer -q add $((100 + n)):$((9000 + n)) --user ps-web 3>&- &
		add=$!
		for i in 0 1 2; do
			serve s$i 127.0.0.1 $((8080 + i))
		done
		wait $add
		answers s0 client http://$HERE4/
		kill_servers
	done
	counters 80:8080/tcp "steered=10 admitted=10 no_listener=0"
}

@test "a target that is new and its listener come at the same moment" {
	local n add
	for n in $(seq 1 20); do
		portsteer -q add $((100 + n)):$((9000 + n)) --user ps-web 3>&- &
		add=$!
		serve s$n 127.0.0.1 $((9000 + n))
		wait $add
		answers s$n client http://$HERE4:$((100 + n))/
		counters $((100 + n)):$((9000 + n))/tcp "steered=1 no_listener=0 rejected=0"
	done
}

# --- owners ------------------------------------------------------------------------

# bats test_tags=kernel
@test "a squatter on the target port is not admitted; the owner is served beside it" {
	portsteer add 80:8080 --user ps-web
	serve -u $DB thief 127.0.0.1 8080
	refused client http://$HERE4/
	counters 80:8080/tcp "not_owner=1 admitted=0 no_listener=1 refused=1 steered=0"
	answers thief http://127.0.0.1:8080/ # otherwise undisturbed
	serve web 10.1.2.3 8080
	answers web client http://$HERE4/
	counters 80:8080/tcp "not_owner=1 admitted=1 steered=1"
}

@test "a squatter who was there before the rule is not admitted" {
	serve -u $DB thief 0.0.0.0 8080
	portsteer add 80:8080 --user ps-web
	refused client http://$HERE4/
	refused http://127.0.0.1/
	assert_equal "$(listener_count 80:8080/tcp)" 0
	counters 80:8080/tcp "not_owner=1 admitted=0 no_listener=2"
	stop $PID
	serve web 0.0.0.0 8080
	answers web client http://$HERE4/
}

# bats test_tags=kernel
@test "owner by user: root is not the user" {
	portsteer add 80:8080 --user ps-web
	serve -u 0 root 127.0.0.1 8080
	refused client http://$HERE4/
	counters 80:8080/tcp "not_owner=1"
}

@test "owner by uid, with and without a name" {
	portsteer add 80:8080 --user $WEB
	portsteer add 81:8081 --user 54321
	serve web 127.0.0.1 8080
	serve -u 54321 nameless 127.0.0.1 8081
	answers web client http://$HERE4/
	answers nameless client http://$HERE4:81/
	assert_equal "$(portsteer list --json | jsonget "rules.0.owner.user" "rules.0.owner.uid" \
		"rules.1.owner.user" "rules.1.owner.uid")" $'ps-web\n47101\nnull\n54321'
}

# bats test_tags=kernel
@test "owner by cgroup: the cgroup and its children, not its siblings" {
	in_cgroup_made web web/child web2 we
	portsteer add 80:8080 --cgroup "$CG/web"
	local from
	for from in web2 we default; do
		serve -g $from thief 127.0.0.1 8080
		refused client http://$HERE4/
		stop $PID
	done
	counters 80:8080/tcp "not_owner=3 admitted=0"
	serve -g web web 127.0.0.1 8080
	answers web client http://$HERE4/
	stop $PID
	serve -g web/child -u $DB child 127.0.0.1 8080
	answers child client http://$HERE4/
	counters 80:8080/tcp "not_owner=3 admitted=2 steered=2 no_listener=3"
}

in_cgroup_made()
{
	local name
	for name; do
		mkdir -p "$PS_TEST_CGROUP/$name"
	done
}

@test "owner by cgroup: a listener that was open before the rule" {
	serve -g web web 127.0.0.1 8080
	serve -g other other 10.1.2.3 8080
	portsteer add 80:8080 --cgroup "/$CG/web"
	answers web client http://$HERE4/
	counters 80:8080/tcp "admitted=1 not_owner=1"
}

@test "owner by a cgroup that does not exist yet" {
	portsteer add 80:8080 --cgroup "$CG/one/two/three"
	serve -g one/two near 127.0.0.1 8080
	refused client http://$HERE4/
	stop $PID
	serve -g one/two/three web 127.0.0.1 8080
	answers web client http://$HERE4/
}

@test "owner by a cgroup that is removed and made again" {
	portsteer add 80:8080 --cgroup "$PS_TEST_CGROUP/slice/web"
	local n
	for n in 1 2 3; do
		serve -g slice/web web$n 127.0.0.1 8080
		answers web$n client http://$HERE4/
		stop $PID
		rmdir "$PS_TEST_CGROUP/slice/web"
		refused client http://$HERE4/
	done
	counters 80:8080/tcp "admitted=3 steered=3 no_listener=3"
}

@test "owner by cgroup, its parent removed and made again too" {
	portsteer add 80:8080 --cgroup "$CG/slice/web"
	serve -g slice/web web 127.0.0.1 8080
	answers web client http://$HERE4/
	stop $PID
	rmdir "$PS_TEST_CGROUP/slice/web" "$PS_TEST_CGROUP/slice"
	serve -g slice/web again 127.0.0.1 8080
	answers again client http://$HERE4/
}

@test "owner by cgroup of a process: pid:N" {
	serve -g web web 127.0.0.1 8080
	portsteer add 80:8080 --cgroup pid:$PID
	answers web client http://$HERE4/
	assert_equal "$(portsteer list --json | jsonget rules.0.owner.cgroup)" "/$CG/web"
}

@test "owner by cgroup, the deepest that a path may be" {
	local path=d/e/f/g/h/i/j/k/l/m/n/o/p/q # with $CG 15 components
	portsteer add 80:8080 --cgroup "$CG/$path"
	serve -g $path/deeper/than/that web 127.0.0.1 8080
	answers web client http://$HERE4/
	serve -g ${path%/q} near 10.1.2.3 8080
	counters 80:8080/tcp "admitted=1 not_owner=1"
}

@test "owner by user and cgroup: both must hold" {
	portsteer add 80:8080 --user ps-web --cgroup "$CG/web"
	serve -g web -u $DB user 127.0.0.1 8080
	refused client http://$HERE4/
	stop $PID
	serve -g other -u $WEB cgroup 127.0.0.1 8080
	refused client http://$HERE4/
	stop $PID
	counters 80:8080/tcp "not_owner=2 admitted=0"
	serve -g web -u $WEB both 127.0.0.1 8080
	answers both client http://$HERE4/
}

@test "--any-user: whoever listens" {
	portsteer add 80:8080 --any-user
	serve -u $DB db 127.0.0.1 8080
	answers db client http://$HERE4/
	stop $PID
	serve -u 0 -g x root 127.0.0.1 8080
	answers root client http://$HERE4/
	counters 80:8080/tcp "not_owner=0 admitted=2"
	assert_equal "$(portsteer list --json | jsonget rules.0.owner.any rules.0.owner.uid)" \
		$'true\nnull'
}

@test "an owner that is not given is whoever listens now, and the command says so" {
	serve web 127.0.0.1 8080
	run portsteer add 80:8080
	[ "$status" -eq 0 ]
	assert_equal "${lines[0]}" \
		"owner of 80:8080/tcp: user ps-web (uid $WEB), which listens on port 8080"
	answers web client http://$HERE4/
	assert_equal "$(portsteer list --json | jsonget rules.0.owner.uid)" $WEB
	assert_equal "$(portsteer add -j 81:8080)" \
		"{\"added\":1,\"removed\":0,\"inferred\":[{\"rule\":\"81:8080/tcp\",\"uid\":$WEB}],\"notes\":[]}"
	stop $PID
	serve -u $DB thief 127.0.0.1 8080
	refused client http://$HERE4/
}

# What no check at listen() can prevent; SECURITY in the man page says so. Yama's ptrace_scope
# can: it is set to 0 for this.
@test "pidfd_getfd: a process of the owner's user takes the listener, another user's does not" {
	local scope=/proc/sys/kernel/yama/ptrace_scope before="" server
	if [ -e $scope ]; then
		before=$(<$scope)
		echo 0 >$scope
	fi
	portsteer add 80:8080 --user ps-web --cgroup "$CG/web"
	serve -g web web 127.0.0.1 8080
	server=$PID
	start -u $DB -g web "$PYTHON" thief.py "$server"
	until_true 10 grep -q . "$LOG"
	assert_equal "$(<"$LOG")" "refused EPERM"
	answers web client http://$HERE4/
	start -u $WEB -g elsewhere "$PYTHON" thief.py "$server"
	until_true 10 grep -q . "$LOG"
	[ -z "$before" ] || echo "$before" >$scope
	assert_equal "$(<"$LOG")" "took 1"
	kill -STOP "$server"
	assert_equal "$(client curl -sS http://$HERE4/)" "thief "
	kill -CONT "$server"
}

@test "an MPTCP listener is served, or counted as an error where the kernel refuses it" {
	portsteer add 80:8080 --user ps-web
	serve web 127.0.0.1 8080 --mptcp
	if [ "$(listener_count 80:8080/tcp)" = 0 ]; then
		refused client http://$HERE4/
		counters 80:8080/tcp "rejected=1 admitted=0 not_owner=0 no_listener=1"
	else
		answers web client http://$HERE4/
	fi
}

# Tests that make many connections have a front port of their own. What they leave in
# TIME_WAIT would change the counts of others: a SYN that meets such a socket and finds no
# listener is answered by an ACK, and comes again.

@test "100,000 address rules in one command, and each answers for its own address" {
	"$PYTHON" -c 'for i in range(100000):
    print(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}:{80 + i % 7}:8080")' | sections >"$PS_TEST_DIR/rules"
	portsteer -q add -f "$PS_TEST_DIR/rules" --user ps-web
	serve web 0.0.0.0 8080
	# 10.1.2.3 is number 66051, 10.1.9.9 number 67849.
	answers web client http://10.1.2.3:$((80 + 66051 % 7))/
	answers web client http://10.1.9.9:$((80 + 67849 % 7))/
	refused client http://10.1.9.9:$((80 + 67850 % 7))/
	counters "10.1.2.3:$((80 + 66051 % 7)):8080/tcp" "steered=1 no_listener=0"
	portsteer -q del "10.1.2.3:$((80 + 66051 % 7))"
	refused client http://10.1.2.3:$((80 + 66051 % 7))/
	answers web client http://10.1.9.9:$((80 + 67849 % 7))/
}

# --- several listeners -------------------------------------------------------------

# What a dead worker had not accepted goes to another.
migrate()
{
	sysctl -qw net.ipv4.tcp_migrate_req=1
}

@test "64 reuseport workers, killed one after the other: no connection fails" {
	migrate
	portsteer add 90:8080 --user ps-web
	serve web 0.0.0.0 8080 --reuseport --workers 64
	assert_equal "$(listener_count 90:8080/tcp)" 64
	counters 90:8080/tcp "admitted=64 rejected=0"
	rm -f "$PS_TEST_DIR/stop"
	client_connections --procs 2 --until "$PS_TEST_DIR/stop" $HERE4 90 \
		>"$PS_TEST_DIR/tally" 3>&- &
	local tally=$! pid
	for pid in "${PIDS[@]:0:63}"; do
		kill -9 "$pid"
		answers web client http://$HERE4:90/
	done
	: >"$PS_TEST_DIR/stop"
	wait $tally
	# "broken": the worker was killed while it answered.
	assert_match "$(<"$PS_TEST_DIR/tally")" "^ok [1-9][0-9]+ refused 0 "
	counters 90:8080/tcp "no_listener=0 refused=0 rejected=0"
	assert_equal "$(listener_count 90:8080/tcp)" 1
	kill -9 "${PIDS[63]}"
	until_true 5 gone "$PID"
	refused client http://$HERE4:90/
}

@test "workers killed from the last to the first, and new ones in their place" {
	portsteer add 91:8080 --user ps-web
	local n i
	serve old 0.0.0.0 8080 --reuseport --workers 64
	for n in 1 2 3; do
		for ((i = 63; i > 0; i--)); do
			kill -9 "${PIDS[i]}"
		done
		until_true 5 workers_left 1
		local last=${PIDS[0]}
		serve new$n 0.0.0.0 8080 --reuseport --workers 64
		kill -9 $last
		until_true 5 workers_left 64
		answers new$n client http://$HERE4:91/
	done
	counters 91:8080/tcp "admitted=256 rejected=0 steered=3 no_listener=0"
}

workers_left()
{
	[ "$(listener_count 91:8080/tcp)" -eq "$1" ]
}

# bats test_tags=kernel
@test "hand-over from an old to a new process: no connection fails" {
	migrate
	portsteer add 92:8080 --user ps-web
	serve old 127.0.0.1 8080 --reuseport
	local old=$PID n tally
	rm -f "$PS_TEST_DIR/stop"
	client_connections --until "$PS_TEST_DIR/stop" $HERE4 92 >"$PS_TEST_DIR/tally" 3>&- &
	tally=$!
	for n in 1 2 3 4 5; do
		serve new 127.0.0.1 8080 --reuseport
		answers_often 5
		stop $old
		answers_often 5
		old=$PID
	done
	: >"$PS_TEST_DIR/stop"
	wait $tally
	assert_match "$(<"$PS_TEST_DIR/tally")" "^ok [1-9][0-9]* refused 0 "
	counters 92:8080/tcp "no_listener=0 refused=0 admitted=6"
}

answers_often()
{
	assert_match "$(client_connections --count "$1" $HERE4 92)" "^ok $1 refused 0 broken 0 "
}

@test "the kernel spreads connections over the workers of a group" {
	portsteer add 93:8080 --user ps-web
	local n
	for n in 1 2 3 4; do
		serve w$n 127.0.0.1 8080 --reuseport
	done
	local out
	out=$(client_connections --count 200 $HERE4 93)
	assert_match "$out" "^ok 200 refused 0 broken 0 names w1=[0-9]+,w2=[0-9]+,w3=[0-9]+,w4="
	counters 93:8080/tcp "steered=200"
}

@test "an owner with a cgroup: connections are spread over its own sockets" {
	portsteer add 104:8080 --cgroup "$CG/web"
	local n out
	for n in 1 2 3 4; do
		serve -g web w$n 127.0.0.1 8080 --reuseport
	done
	out=$(client_connections --count 400 $HERE4 104)
	assert_match "$out" "^ok 400 refused 0 broken 0 names w1=[0-9]+,w2=[0-9]+,w3=[0-9]+,w4="
	serve -g web more 127.0.0.1 8080 --reuseport --workers 60
	out=$(client_connections --count 400 $HERE4 104)
	assert_match "$out" "^ok 400 refused 0 broken 0 names more=[23][0-9][0-9],w1="
	counters 104:8080/tcp "steered=800 no_listener=0 rejected=0"
}

# What the program has learned of the sockets of a target is out of date each time.
# bats test_tags=kernel
@test "an owner with a cgroup: sockets that come get their share at once, those that go none" {
	migrate
	portsteer add 107:8080 --cgroup "$CG/web"
	local first tally
	serve -g web w1 0.0.0.0 8080 --reuseport
	first=$PID
	spread 107 "w1=100"
	spread 107 "w1=100"
	serve -g web w2 0.0.0.0 8080 --reuseport
	spread 107 "w1=[0-9]+,w2=[0-9]+"
	serve -g web six ::1 8080
	spread 107 "w1=[0-9]+,w2=[0-9]+"
	answers six http://[::1]:107/
	rm -f "$PS_TEST_DIR/stop"
	client_connections --procs 2 --until "$PS_TEST_DIR/stop" $HERE4 107 >"$PS_TEST_DIR/tally" 3>&- &
	tally=$!
	stop $first
	spread 107 "w2=100"
	serve -g web w3 0.0.0.0 8080 --reuseport
	spread 107 "w2=[0-9]+,w3=[0-9]+"
	: >"$PS_TEST_DIR/stop"
	wait $tally
	assert_match "$(<"$PS_TEST_DIR/tally")" "^ok [1-9][0-9]* refused 0 "
	counters 107:8080/tcp "no_listener=0 refused=0 rejected=0 admitted=4"
}

# spread PORT NAMES: 100 connections, and who answered them
spread()
{
	assert_match "$(client_connections --count 100 $HERE4 "$1")" \
		"^ok 100 refused 0 broken 0 names $2\$"
}

# The kernel spreads over a group by itself, or as a program of any member says: here
# everything to the second socket, which is the stranger's.
# bats test_tags=kernel
@test "an owner with a cgroup: a stranger in its reuseport group gets nothing" {
	portsteer add 105:8080 --cgroup "$CG/web"
	portsteer add 106:8080 --cgroup "$CG/web" --user ps-web
	serve -g web good 127.0.0.1 8080 --reuseport
	serve -g evil EVIL 127.0.0.1 8080 --reuseport --take-all
	assert_match "$(connections --count 20 127.0.0.1 8080)" "names EVIL=20"
	assert_match "$(client_connections --count 200 $HERE4 105)" \
		"^ok 200 refused 0 broken 0 names good=200$"
	assert_match "$(client_connections --count 200 $HERE4 106)" \
		"^ok 200 refused 0 broken 0 names good=200$"
	counters 105:8080/tcp "steered=200 not_owner=1 admitted=1"
}

@test "processes that share one socket are one listener, found before or after" {
	serve -g web web 127.0.0.1 8080 --shared 6
	portsteer add 80:8080 --user ps-web
	counters 80:8080/tcp "admitted=1"
	kill_servers
	serve -g web web 127.0.0.1 8080 --shared 6
	counters 80:8080/tcp "admitted=2"
	answers web client http://$HERE4/
}

# Every owner of the port matches: all targets get the listener, however many.
many_owners()
{
	local path=$CG n
	portsteer -q add 1000:8080 --any-user
	portsteer -q add 1001:8080 --user ps-web
	for n in 2 3 4 5 6; do
		path=$path/$n
		portsteer -q add 100$n:8080 --cgroup "$path"
		portsteer -q add 101$n:8080 --cgroup "$path" --user ps-web
	done
}

all_answer()
{
	local port
	for port in 1000 1001 100{2..6} 101{2..6}; do
		answers web client http://$HERE4:$port/
		counters $port:8080/tcp "admitted=1 not_owner=0 steered=1"
	done
}

@test "one listener of twelve owners' targets, open before the rules" {
	mkdir -p "$PS_TEST_CGROUP/2/3/4/5/6"
	serve -g 2/3/4/5/6 web 127.0.0.1 8080
	many_owners
	all_answer
}

# The same rules as a file.
file_of_many_owners()
{
	many_owners
	portsteer list --json | "$PYTHON" -c 'import json, sys
for r in json.load(sys.stdin)["rules"]:
    o = r["owner"]
    print(r["rule"], "--any-user" if o["any"] else "",
          "--user ps-web" if o["uid"] else "", "--cgroup " + o["cgroup"] if o["cgroup"] else "")
' | sections >"$PS_TEST_DIR/rules"
	portsteer -q flush
}

@test "one listener of twelve owners' targets, all rules at once" {
	file_of_many_owners
	serve -g 2/3/4/5/6 web 127.0.0.1 8080
	portsteer -q add -f "$PS_TEST_DIR/rules"
	all_answer
}

@test "one listener of twelve owners' targets, which is busy" {
	file_of_many_owners
	serve -g 2/3/4/5/6 web 127.0.0.1 8080 --reuseport
	becomes_busy "$PID" 8080 "$PORTSTEER" -q add -f "$PS_TEST_DIR/rules"
	all_answer
}

@test "one listener of twelve owners' targets, after the rules" {
	many_owners
	serve -g 2/3/4/5/6 web 127.0.0.1 8080
	all_answer
}

# --- exact counters ----------------------------------------------------------------

# bats test_tags=kernel
@test "2000 connections from all CPUs at once are 2000" {
	portsteer add 94:8080 --user ps-web
	serve web 0.0.0.0 8080 --reuseport --workers 4
	local a b
	connections --procs 2 --count 1000 127.0.0.1 94 >"$PS_TEST_DIR/a" 3>&- &
	a=$!
	client_connections --procs 2 --count 1000 $HERE4 94 >"$PS_TEST_DIR/b" 3>&- &
	b=$!
	wait $a $b
	assert_match "$(cat "$PS_TEST_DIR/a" "$PS_TEST_DIR/b")" \
		"^ok 1000 refused 0 broken 0 .*ok 1000 refused 0 broken 0"
	counters 94:8080/tcp "steered=2000 no_listener=0 refused=0 wrong_family=0 rejected=0 not_owner=0"
}

@test "2000 refused connections from all CPUs at once are 2000" {
	portsteer add 95:8080 --user ps-web
	local a b
	connections --procs 2 --count 1000 127.0.0.1 95 >"$PS_TEST_DIR/a" 3>&- &
	a=$!
	client_connections --procs 2 --count 1000 $HERE4 95 >"$PS_TEST_DIR/b" 3>&- &
	b=$!
	wait $a $b
	assert_match "$(cat "$PS_TEST_DIR/a" "$PS_TEST_DIR/b")" \
		"^ok 0 refused 1000 .*ok 0 refused 1000"
	counters 95:8080/tcp "no_listener=2000 refused=2000 steered=0"
}

@test "last_hit is the time since the last connection" {
	portsteer add 80:8080 --user ps-web
	serve web 127.0.0.1 8080
	assert_equal "$(portsteer stats --json | jsonget rules.0.last_hit)" null
	local seconds since=$SECONDS
	answers web client http://$HERE4/
	seconds=$(portsteer stats --json | jsonget rules.0.last_hit)
	awk -v s="$seconds" -v most=$((SECONDS - since + 1)) 'BEGIN { exit !(s >= 0 && s <= most) }'
}

# --- namespaces --------------------------------------------------------------------

# bats test_tags=kernel
@test "instances of two namespaces do not mix" {
	keep_nothing
	portsteer add 80:8080 --user ps-web
	portsteer --netns client add 80:8080 --user ps-db
	serve here 0.0.0.0 8080
	serve -N client -u $DB there 0.0.0.0 8080
	answers here client http://$HERE4/
	answers there http://$THERE4/
	answers here http://127.0.0.1/
	answers there client http://127.0.0.1/
	counters 80:8080/tcp "steered=2 admitted=1 not_owner=0"
	assert_equal "$(portsteer --netns client stats --json | jsonget \
		rules.0.counters.steered rules.0.counters.admitted)" $'2\n1'
	assert_equal "$(portsteer status --json | jsonget instances.#)" 2
	# The other's owner is not this one's.
	stop $PID
	serve -N client -u $WEB wrong 0.0.0.0 8080
	refused http://$THERE4/
	portsteer unload
	answers here http://127.0.0.1:8080/
	refused http://127.0.0.1/
	assert_equal "$(portsteer --netns client list --json | jsonget rules.#)" 1
	portsteer --netns /run/netns/client unload
	[ ! -e $STATE ]
}

@test "a rule in a namespace that is named finds the listeners open there" {
	serve -N client there 127.0.0.1 8080
	portsteer --netns pid:$PID add 80:8080 --user ps-web
	answers there http://$THERE4/
	assert_equal "$(portsteer list --json --netns client |
		jsonget rules.0.listeners.#)" 1
	assert_equal "$(portsteer list --json --netns client |
		jsonget rules.0.listeners.0.processes.0.pid)" "$PID"
	portsteer --netns client unload
}
