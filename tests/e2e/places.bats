#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Which listeners get what share: how many there may be, how often they were restarted, what
# they are bound to.

load lib

setup_file()
{
	setup_env
	ip link add veth-d type veth peer name peer-d
	ip addr add 192.0.2.1/24 dev veth-d
	ip link set veth-d up
	ip link set peer-d up
}
setup() { setup_test; }
teardown() { teardown_test; }

# --- shares ------------------------------------------------------------------------

# even COUNT ACCESS: each of COUNT processes has answered, the busiest at most twice as often as
# the quietest.
even()
{
	local counts
	mapfile -t counts < <(awk '{ n[$2]++ } END { for (pid in n) print n[pid] }' "$2" | sort -n)
	echo "answers of each: ${counts[*]}"
	[ ${#counts[@]} -eq "$1" ] && ((counts[-1] <= 2 * counts[0]))
}

restart()
{
	stop "$PID"
	until_true 5 nobody_on 8080
	serve -g web web 127.0.0.1 8080 --reuseport --workers 8
}
nobody_on() { [ -z "$(ss -Hltn "sport = :$1")" ]; }

# bats test_tags=kernel
@test "eight workers share evenly, however often they were restarted" {
	portsteer add 80:8080 --cgroup "$CG/web"
	serve -g web web 127.0.0.1 8080 --reuseport --workers 8
	for _ in $(seq 12); do
		restart
	done
	client_connections --count 1000 $HERE4 80
	even 8 "$ACCESS"
	counters 80:8080/tcp "steered=1000 no_listener=0 rejected=0 admitted=104"
}

@test "40 workers of IPv4 beside 40 of IPv6 share evenly" {
	portsteer add 80:8080 --cgroup "$CG/web"
	local four
	serve -g web four 0.0.0.0 8080 --reuseport --workers 40
	four=$ACCESS
	serve -g web six :: 8080 --v6only --reuseport --workers 40
	client_connections --count 4000 $HERE4 80
	client_connections --count 4000 $HERE6 80
	even 40 "$four"
	even 40 "$ACCESS"
	counters 80:8080/tcp "steered=8000 no_listener=0 wrong_family=0 rejected=0"
}

# --- places ------------------------------------------------------------------------

# hog FIRST LAST: 128 listeners on each of these ports
hog()
{
	start -u $DB $PYTHON -c "
import signal, socket
kept = []
for port in range($1, $2 + 1):
    for i in range(128):
        s = socket.socket()
        s.bind((f'127.1.0.{i + 1}', port))
        s.listen(1)
        kept.append(s)
print('ready', flush=True)
signal.pause()"
	until_true 20 grep -q ready "$LOG"
}

# What deletes the rule, or takes the listeners, decides who may have the shared places.
@test "one owner cannot use up the places of another" {
	portsteer add 8000-8009:9000-9009 --user ps-db
	portsteer add 80:8080 --cgroup "$CG/web"
	hog 9000 9009
	serve -g web web 127.0.0.1 8080 --reuseport --workers 16
	client_connections --count 2000 $HERE4 80
	even 16 "$ACCESS"
	counters 80:8080/tcp "steered=2000 admitted=16 rejected=0"
	counters 8000-8009:9000-9009/tcp "admitted=1184 rejected=96" # 10 times 16, and 1024
}

@test "places of a rule that is deleted are free, though its listeners stay" {
	portsteer add 8000-8009:9000-9009 --user ps-db
	hog 9000 9009
	counters 8000-8009:9000-9009/tcp "rejected=96"
	portsteer del 8000-8009:9000-9009
	portsteer add 80:8080 --cgroup "$CG/web"
	serve -g web web 127.0.0.1 8080 --reuseport --workers 128
	counters 80:8080/tcp "admitted=128 rejected=0"
	assert_equal "$(listener_count 80:8080/tcp)" 128
}

# --- devices -----------------------------------------------------------------------

# ends_as WANTED HOST: 90 ends as the port itself, 8080, does. (Not 80: a client that meets its
# own connection of a row before, in TIME_WAIT, is looked up twice.)
ends_as()
{
	local port got status
	for port in 8080 90; do
		status=0
		got=$(curl -sS --globoff --noproxy '*' --max-time 4 "http://$2:$port/" 2>/dev/null) || status=$?
		assert_equal "$2:$port ${got%% *} $status" "$2:$port $1"
	done
}
client_ends_as() { client bash -c "$(declare -f ends_as assert_equal); ends_as '$1' '$2'"; }

# All ways in, to listeners of each device.
bound_to_devices()
{
	serve -g web lo 0.0.0.0 8080 --device lo
	serve -g web lo6 :: 8080 --v6only --device lo
	ends_as "lo 0" 127.0.0.1
	ends_as "lo6 0" '[::1]'
	client_ends_as " 7" $HERE4
	client_ends_as " 7" "[$HERE6]"
	ends_as " 7" 192.0.2.1 # an address of a device is not lo's
	kill_servers
	serve -g web veth 0.0.0.0 8080 --device veth-c
	serve -g web veth6 :: 8080 --v6only --device veth-c
	client_ends_as "veth 0" $HERE4
	client_ends_as "veth6 0" "[$HERE6]"
	ends_as " 7" 127.0.0.1
	ends_as " 7" '[::1]'
	serve -g web lo 0.0.0.0 8080 --device lo
	serve -g web d 0.0.0.0 8080 --device veth-d
	ends_as "lo 0" 127.0.0.1
	client_ends_as "veth 0" $HERE4
}

# bats test_tags=kernel
@test "a listener bound to a device serves who comes by it: owner by user" {
	portsteer add 90:8080 --user ps-web
	bound_to_devices
	counters 90:8080/tcp "wrong_device=5 refused=5 no_listener=0 wrong_family=0 rejected=0"
}

# bats test_tags=kernel
@test "a listener bound to a device serves who comes by it: owner by cgroup" {
	portsteer add 90:8080 --cgroup "$CG/web"
	bound_to_devices
	counters 90:8080/tcp "wrong_device=5 refused=5 no_listener=0 wrong_family=0 rejected=0"
	assert_match "$(portsteer stats)" "WRONG DEVICE"
}

@test "workers bound to a device share evenly what comes by it" {
	portsteer add 80:8080 --cgroup "$CG/web"
	local veth
	serve -g web veth 0.0.0.0 8080 --device veth-c --reuseport --workers 8
	veth=$ACCESS
	serve -g web lo 0.0.0.0 8080 --device lo --reuseport --workers 8
	client_connections --count 1000 $HERE4 80
	connections --count 1000 127.0.0.1 80
	even 8 "$veth"
	even 8 "$ACCESS"
}

@test "no listener by the client's device, --if-down pass: the normal lookup" {
	portsteer add 80:8080 --user ps-web --if-down pass
	serve -u root front 0.0.0.0 80
	serve veth 0.0.0.0 8080 --device veth-c
	answers veth client http://$HERE4/
	answers front http://127.0.0.1/
	counters 80:8080/tcp "wrong_device=1 refused=0 steered=1"
}

# --- families and pauses -----------------------------------------------------------

# bats test_tags=kernel
@test "a v4-mapped listener serves IPv4 only" {
	portsteer add 80:8080 81:8081 --user ps-web
	serve mapped ::ffff:127.0.0.1 8080 --dual
	serve any ::ffff:0.0.0.0 8081 --dual
	answers mapped client http://$HERE4/
	answers any client http://$HERE4:81/
	refused "http://[::1]/"
	refused client "http://[$HERE6]:81/"
	counters 80:8080/tcp "steered=1 wrong_family=1 refused=1 no_listener=0"
}

# paused HOW OWNER...: a listener that pauses is nobody, and comes back
paused()
{
	portsteer add 80:8080 "${@:2}"
	coproc PAUSES (
		exec 3>&- 4>&-
		in_cgroup web
		cd "$PS_TEST_DIR" || exit
		as $WEB $PYTHON pauses.py 8080 "$1"
	)
	local word
	read -rt 10 word <&"${PAUSES[0]}"
	answers paused http://127.0.0.1/
	for _ in $(seq 20); do
		echo >&"${PAUSES[1]}"
		read -rt 10 word <&"${PAUSES[0]}"
		assert_equal "$word" paused
		refused http://127.0.0.1/
		echo >&"${PAUSES[1]}"
		read -rt 10 word <&"${PAUSES[0]}"
		assert_equal "$word" listens
		answers paused http://127.0.0.1/
	done
	counters 80:8080/tcp "no_listener=20 steered=21 rejected=0 admitted=1"
	assert_equal "$(listener_count 80:8080/tcp)" 1
}

@test "a listener that pauses by shutdown is one who does not listen: owner by user" {
	paused shutdown --user ps-web
}
@test "a listener that pauses by shutdown is one who does not listen: owner by cgroup" {
	paused shutdown --cgroup "$CG/web"
}
@test "a listener that pauses by connect to nowhere is one who does not listen" {
	paused connect --cgroup "$CG/web"
}

# The program itself: it pauses on SIGTTOU, and goes on on SIGTTIN.
@test "HAProxy that pauses is one who does not listen, and comes back" {
	cat >"$PS_TEST_DIR/haproxy.cfg" <<-END
		defaults
		    mode http
		    timeout client 5s
		frontend web
		    bind 127.0.0.1:8080
		    http-request return status 200 content-type text/plain string "haproxy 1"
	END
	portsteer -q add 80:8080 --user ps-web
	start -u $WEB haproxy -db -f "$PS_TEST_DIR/haproxy.cfg"
	wait_port 8080
	answers haproxy http://127.0.0.1/
	kill -TTOU "$PID"
	until_true 10 nobody_on_8080
	refused http://127.0.0.1/
	refused http://127.0.0.1:8080/
	kill -TTIN "$PID"
	wait_port 8080
	answers haproxy http://127.0.0.1/
	counters 80:8080/tcp "steered=2 no_listener=1 refused=1 rejected=0"
}
nobody_on_8080() { [ -z "$(ss -Hltn 'sport = :8080')" ]; }
