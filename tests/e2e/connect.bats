#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Where clients are sent, by the cgroup that they are in: client cgroups, listeners, what the client
# sees, datagrams, counters.

load lib

setup_file()
{
	setup_env
	keep "1:2001 --client-cgroup kept --any-user" "1:2001/udp --client-cgroup kept --any-user"
}
setup() { setup_test; }
teardown() { teardown_test; }

# What port 80 leads to where no rule says otherwise: root's server on every address.
serve_front()
{
	serve -u root front :: 80 --dual
}

# made NAME...: cgroups that are there.
made()
{
	local name
	for name; do
		mkdir -p "$PS_TEST_CGROUP/$name"
	done
}

# --- client cgroups ------------------------------------------------------------------------

# bats test_tags=kernel
@test "clients in the cgroup, and below it, reach the listener; all others port 80" {
	serve_front
	serve web 127.0.0.1 8080
	assert_no_caps $PID $WEB
	portsteer add 80:8080 --client-cgroup "$CG/a" --user ps-web
	from a answers web http://127.0.0.1/
	from a/b/c/d answers web http://127.0.0.1/
	answers front http://127.0.0.1/
	from b answers front http://127.0.0.1/
	answers front client http://$HERE4/
	counters 80:8080/tcp "steered=2 no_listener=0 refused=0 wrong_family=0 not_owner=0 rejected=0 admitted=1"
}

@test "an ordinary user's client without any capability" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	start -g a -u $DB "$PYTHON" dial.py tcp4 connect=127.0.0.1:80 peer ask
	until_true 5 gone $PID
	assert_equal "$(<"$LOG")" "127.0.0.1 80, web"
}

# bats test_tags=kernel
@test "two cgroups, each with a map of its own" {
	serve one 127.0.0.1 8001
	serve -u $DB two 127.0.0.1 8002
	portsteer -q add 80:8001 --client-cgroup "$CG/a" --user ps-web
	portsteer -q add 80:8002 --client-cgroup "$CG/b" --user ps-db
	from a answers one http://127.0.0.1/
	from b answers two http://127.0.0.1/
	refused http://127.0.0.1/
	counters 80:8001/tcp "steered=1"
	counters 80:8002/tcp "steered=1"
}

@test "the same ports in two client cgroups count apart" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	portsteer -q add 80:8080 --client-cgroup "$CG/b" --user ps-web
	from a answers web http://127.0.0.1/
	from b answers web http://127.0.0.1/
	from b answers web http://127.0.0.1/
	assert_equal "$(portsteer stats --json | jsonget "rules|client_cgroup=/$CG/a|counters|steered" \
		"rules|client_cgroup=/$CG/b|counters|steered")" $'1\n2'
}

@test "the deepest client cgroup that has a rule for the port wins" {
	local n
	for n in 1 2 3; do
		serve s$n 127.0.0.1 800$n
	done
	portsteer -q add 80:8001 81:8001 --client-cgroup "$CG/a" --user ps-web
	portsteer -q add 80:8002 --client-cgroup "$CG/a/b" --user ps-web
	portsteer -q add 80:8003 --client-cgroup "$CG/a/b/c/d" --user ps-web
	from a answers s1 http://127.0.0.1/
	from a/x answers s1 http://127.0.0.1/
	from a/b answers s2 http://127.0.0.1/
	from a/b/c answers s2 http://127.0.0.1/
	from a/b/c/d answers s3 http://127.0.0.1/
	from a/b/c/d/e answers s3 http://127.0.0.1/
	# which hides nothing else of those around it
	from a/b/c/d/e answers s1 http://127.0.0.1:81/
	# a miss of the deepest is a miss
	stop $PID
	from a/b/c/d refused http://127.0.0.1/
	portsteer -q del 80 --client-cgroup "$CG/a/b/c/d"
	from a/b/c/d answers s2 http://127.0.0.1/
	portsteer -q del 80 --client-cgroup "$CG/a/b"
	from a/b/c/d answers s1 http://127.0.0.1/
}

@test "a client cgroup with rules for other ports, other addresses or UDP only hides nothing" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	portsteer -q add 79:8081 81:8082 10.1.0.0/16:80:8083 80:8084/udp --client-cgroup "$CG/a/b" --any-user
	from a/b answers web http://127.0.0.1/
	from a/b refused http://127.0.0.1:81/
	from a/b refused http://10.1.2.3/
}

@test "names that are alike are other cgroups" {
	serve_front
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/ab/cd" --user ps-web
	local name
	for name in ab ab/c ab/cde ab/cd2 a/cd abc ab/x/cd x/ab/cd cd; do
		from $name answers front http://127.0.0.1/
	done
	from ab/cd answers web http://127.0.0.1/
	from ab/cd/cd answers web http://127.0.0.1/
	counters 80:8080/tcp "steered=2"
}

@test "many client cgroups: each has its own rule" {
	local n
	for n in $(seq 1 300); do
		echo "80:$((20000 + n)) --client-cgroup $CG/s$n --user ps-web"
		echo "80:$((20300 + n)) --client-cgroup $CG/s$n/deep --user ps-web"
	done | sections | portsteer -q add -f -
	for n in 1 2 150 299 300; do
		serve s$n 127.0.0.1 $((20000 + n))
		serve d$n 127.0.0.1 $((20300 + n))
	done
	for n in 1 2 150 299 300; do
		from s$n answers s$n http://127.0.0.1/
		from s$n/deep/er answers d$n http://127.0.0.1/
	done
	from s3 refused http://127.0.0.1/
	refused http://127.0.0.1/
	counters 80:20300/tcp "steered=1 no_listener=0"
	counters 80:20003/tcp "steered=0 no_listener=1"
}

@test "a name of 255 bytes, and the deepest that a path may be" {
	local long deep=d/e/f/g/h/i/j/k/l/m/n/o/p/q # with $CG 15 components
	long=$(printf 'x%.0s' {1..255})
	serve one 127.0.0.1 8001
	serve two 127.0.0.1 8002
	portsteer -q add 80:8001 --client-cgroup "$CG/$long" --user ps-web
	portsteer -q add 80:8002 --client-cgroup "$CG/$deep" --user ps-web
	from "$long" answers one http://127.0.0.1/
	from "${long%x}" refused http://127.0.0.1/
	from $deep answers two http://127.0.0.1/
	from $deep/deeper/than/that answers two http://127.0.0.1/
	from ${deep%/q} refused http://127.0.0.1/
}

@test "a cgroup that does not exist yet" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/one/two" --user ps-web
	[ ! -e "$PS_TEST_CGROUP/one" ]
	from one refused http://127.0.0.1/
	from one/two answers web http://127.0.0.1/
}

@test "a cgroup that is removed and made again is the same client cgroup" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a/b" --user ps-web
	local n ids=()
	for n in 1 2 3; do
		from a/b answers web http://127.0.0.1/
		ids+=("$(stat -c %i "$PS_TEST_CGROUP/a/b")")
		rmdir "$PS_TEST_CGROUP/a/b" "$PS_TEST_CGROUP/a"
		# whatever takes its place is not
		from c refused http://127.0.0.1/
		rmdir "$PS_TEST_CGROUP/c"
	done
	assert_equal "$(printf '%s\n' "${ids[@]}" | sort -u | wc -l)" 3
	counters 80:8080/tcp "steered=3"
}

# bats test_tags=kernel
@test "a process that is moved has its new cgroup's map at its next connect" {
	serve one 127.0.0.1 8001
	serve two 127.0.0.1 8002
	serve_front
	portsteer -q add 80:8001 --client-cgroup "$CG/a" --user ps-web
	portsteer -q add 80:8002 --client-cgroup "$CG/b" --user ps-web
	made a b c
	assert_equal "$(dial tcp4 enter="$PS_TEST_CGROUP/a" connect=127.0.0.1:80 ask \
		new enter="$PS_TEST_CGROUP/b" connect=127.0.0.1:80 ask \
		new enter="$PS_TEST_CGROUP/c" connect=127.0.0.1:80 ask \
		new enter="$PS_TEST_CGROUP/a" connect=127.0.0.1:80 ask)" "one, two, front, one"
	# what is connected stays so
	assert_equal "$(dial tcp4 enter="$PS_TEST_CGROUP/a" connect=127.0.0.1:80 \
		enter="$PS_TEST_CGROUP/b" peer ask)" "127.0.0.1 80, one"
}

@test "client cgroups are shown as paths, however they are given" {
	host_cgroup /system.slice/ps-shop.scope
	start -g pid "$PYTHON" -c 'import signal; signal.pause()'
	until_true 5 grep -qx "0::/$CG/pid" "/proc/$PID/cgroup"
	portsteer -q add 1000:8080 --client-cgroup "$CG/a//b/" --user ps-web
	portsteer -q add 1001:8080 --client-cgroup "/$CG/a" --user ps-web
	portsteer -q add 1002:8080 --client-cgroup "$PS_TEST_CGROUP/c" --user ps-web
	portsteer -q add 1003:8080 --client-cgroup pid:$PID --user ps-web
	portsteer -q add 1004:8080 --client-cgroup unit:ps-shop.scope --user ps-web
	portsteer -q add 1005:8080 --client-cgroup unit:portsteer-none.service --user ps-web
	local n paths=("/$CG/a/b" "/$CG/a" "/$CG/c" "/$CG/pid" /system.slice/ps-shop.scope
		/system.slice/portsteer-none.service)
	for n in 0 1 2 3 4 5; do
		assert_equal "$(portsteer list --json |
			jsonget "rules|rule=100$n:8080/tcp|client_cgroup")" "${paths[n]}"
	done
	serve web 127.0.0.1 8080
	from pid answers web http://127.0.0.1:1003/
	from /system.slice/ps-shop.scope answers web http://127.0.0.1:1004/
}

@test "--client-cgroup / is everybody" {
	serve web 127.0.0.1 8080
	serve deep 127.0.0.1 8081
	portsteer -q add 80:8080 --client-cgroup / --user ps-web
	portsteer -q add 80:8081 --client-cgroup "$CG/a" --user ps-web
	answers web http://127.0.0.1/
	from b answers web http://127.0.0.1/
	from a/b answers deep http://127.0.0.1/
	refused client http://127.0.0.1/ # everybody of this network namespace
	assert_equal "$(portsteer list --json | jsonget rules.0.client_cgroup)" /
	portsteer -q del 80 --client-cgroup /
	refused http://127.0.0.1/
	from a answers deep http://127.0.0.1/
}

# --- listeners ---------------------------------------------------------------------

# reaches4 NAME, reaches6 NAME: clients in "a" reach this server on port 80.
reaches4()
{
	from a answers "$1" http://127.0.0.1/
	from a answers "$1" http://127.1.2.3/
	assert_equal "$(from a dial tcp6 connect=::ffff:127.0.0.1:80 ask)" "$1"
}
reaches6()
{
	from a answers "$1" "http://[::1]/"
}

@test "IPv4 listeners: on loopback, on another address, on all, on a v4-mapped one" {
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	local address
	for address in 127.0.0.1 127.9.9.9 10.1.2.3 $HERE4 0.0.0.0 ::ffff:10.1.2.3; do
		serve web $address 8080 --dual
		reaches4 web
		from a refused "http://[::1]/"
		stop $PID
	done
	counters 80:8080/tcp "steered=18 wrong_family=6 refused=6 no_listener=0 admitted=6"
}

@test "IPv6 listeners: on loopback, on another address, on all" {
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	local address
	for address in ::1 2001:db8:aa::1 ::; do
		serve web $address 8080 --v6only
		reaches6 web
		from a refused http://127.0.0.1/
		stop $PID
	done
	counters 80:8080/tcp "steered=3 wrong_family=3 refused=3 no_listener=0 admitted=3"
}

@test "a dual-stack listener on :: serves both families" {
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	serve web :: 8080 --dual
	reaches4 web
	reaches6 web
	counters 80:8080/tcp "steered=4 wrong_family=0 no_listener=0 admitted=1"
}

@test "one IPv4 and one IPv6 listener serve a family each" {
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	serve four 10.1.2.3 8080
	serve six 2001:db8:aa::1 8080 --v6only
	reaches4 four
	reaches6 six
	counters 80:8080/tcp "steered=4 wrong_family=0 no_listener=0 admitted=2"
}

@test "server and client see the address and port that were asked for" {
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	serve web 0.0.0.0 8080
	assert_match "$(from a fetch http://127.1.2.3/)" "^web [0-9]+ [0-9.]+ 127.1.2.3 80$"
	assert_match "$(from a fetch http://127.0.0.1/)" "^web [0-9]+ 127.0.0.1 127.0.0.1 80$"
}

# bats test_tags=kernel
@test "a listener that is there before the rule, after it, and again after a restart" {
	serve before 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	from a answers before http://127.0.0.1/
	local n
	for n in 1 2 3; do
		stop $PID
		from a refused http://127.0.0.1/
		serve s$n 127.0.0.1 8080
		from a answers s$n http://127.0.0.1/
	done
	counters 80:8080/tcp "steered=4 no_listener=3 refused=3 admitted=4"
}

# bats test_tags=kernel
@test "without a listener the client is refused at once, whoever is on port 80" {
	serve_front
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	from a refused http://127.0.0.1/
	from a refused "http://[::1]/"
	assert_equal "$(from a dial tcp4 connect=127.0.0.1:80 new begin=127.0.0.1:80 finish new \
		fastopen=127.0.0.1:80)" "ECONNREFUSED, EINPROGRESS, ECONNREFUSED, ECONNREFUSED"
	assert_equal "$(from a dial tcp6 connect=::1:80 new connect=::ffff:127.0.0.1:80)" \
		"ECONNREFUSED, ECONNREFUSED"
	counters 80:8080/tcp "no_listener=7 refused=7 steered=0 wrong_family=0"
}

@test "--if-down pass: whoever is on port 80" {
	serve_front
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web --if-down pass
	from a answers front http://127.0.0.1/
	counters 80:8080/tcp "no_listener=1 refused=0 steered=0"
	serve web 127.0.0.1 8080
	from a answers web http://127.0.0.1/
	from a answers front "http://[::1]/"
	counters 80:8080/tcp "no_listener=1 refused=0 steered=1 wrong_family=1"
	stop $PID
	from a answers front http://127.0.0.1/
}

@test "several listeners: connections are spread, and none fails when one dies" {
	portsteer -q add 90:8080 --client-cgroup "$CG/a" --user ps-web
	serve one 127.0.0.1 8080
	serve two 10.1.2.3 8080
	assert_match "$(from a connections --count 200 127.0.0.1 90)" \
		"^ok 200 refused 0 broken 0 names one=[0-9]{2,},two=[0-9]{2,}$"
	stop $PID
	assert_equal "$(from a connections --count 100 127.0.0.1 90)" \
		"ok 100 refused 0 broken 0 names one=100"
	counters 90:8080/tcp "steered=300 no_listener=0"
}

@test "more listeners than a target has slots" {
	portsteer -q add 90:8080 --client-cgroup "$CG/a" --user ps-web
	local n names=()
	for n in 1 2 3 4 5 6 7 8; do
		serve w$n 127.0.0.1$n 8080
		names+=("w$n=[0-9]+")
	done
	assert_match "$(from a connections --count 400 127.0.0.1 90)" \
		"^ok 400 refused 0 broken 0 names $(IFS=, && echo "${names[*]}")$"
	counters 90:8080/tcp "steered=400 no_listener=0 admitted=8"
}

# --- owners ------------------------------------------------------------------------

# bats test_tags=kernel
@test "a stranger on the target port is not admitted; the owner is served beside it" {
	serve -u $DB early 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	from a refused http://127.0.0.1/
	counters 80:8080/tcp "not_owner=1 admitted=0 no_listener=1 refused=1 steered=0"
	answers early http://127.0.0.1:8080/
	serve -u $DB late 10.1.2.3 8080
	from a refused http://127.0.0.1/
	serve web 127.0.0.2 8080
	assert_equal "$(from a connections --count 20 127.0.0.1 80)" \
		"ok 20 refused 0 broken 0 names web=20"
	counters 80:8080/tcp "not_owner=2 admitted=1 no_listener=2 steered=20"
}

@test "owner by cgroup: servers of the one, clients of the other" {
	portsteer -q add 80:8080 --client-cgroup "$CG/clients" --cgroup "$CG/web"
	serve -g clients thief 127.0.0.1 8080
	from clients refused http://127.0.0.1/
	serve -g web/child web 10.1.2.3 8080
	from clients answers web http://127.0.0.1/
	from web refused http://127.0.0.1/
	counters 80:8080/tcp "not_owner=1 admitted=1 steered=1 no_listener=1"
}

@test "a client and its server in one cgroup" {
	portsteer -q add 80:8080 --client-cgroup "$CG/pod" --cgroup "$CG/pod"
	serve -g pod web 127.0.0.1 8080
	from pod answers web http://127.0.0.1/
	refused http://127.0.0.1/
}

@test "--any-user: whoever listens" {
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --any-user
	serve -u $DB db 127.0.0.1 8080
	from a answers db http://127.0.0.1/
	counters 80:8080/tcp "admitted=1 not_owner=0 steered=1"
}

@test "an owner that is not given is whoever listens now" {
	serve web 127.0.0.1 8080
	assert_match "$(portsteer add 80:8080 --client-cgroup "$CG/a")" \
		"^owner of 80:8080/tcp: user ps-web \(uid $WEB\), which listens on port 8080"
	from a answers web http://127.0.0.1/
	stop $PID
	serve -u $DB thief 127.0.0.1 8080
	from a refused http://127.0.0.1/
}

# --- destinations ------------------------------------------------------------------

@test "without an address, only loopback destinations" {
	serve_front
	serve -N client -u root there :: 80 --dual
	serve web :: 8080 --dual
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	from a answers there http://$THERE4/
	from a answers there "http://[$THERE6]/"
	from a answers front http://$HERE4/
	from a answers front "http://[$HERE6]/"
	from a answers front http://10.1.2.3/
	assert_equal "$(from a dial tcp6 connect=::ffff:$HERE4:80 ask)" front
	counters 80:8080/tcp "steered=0 no_listener=0 wrong_family=0"
}

# bats test_tags=kernel
@test "neighbour ports are untouched, and the target port itself" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	from a answers web http://127.0.0.1:8080/
	assert_equal "$(from a dial tcp4 connect=127.0.0.1:8080 peer ask)" "127.0.0.1 8080, web"
	local p
	for p in 79 81 64 95 112 16464; do
		from a refused http://127.0.0.1:$p/
	done
	counters 80:8080/tcp "steered=0 no_listener=0"
}

@test "a prefix: the destinations in it, also those of another host" {
	serve_front
	serve -N client -u root there 0.0.0.0 80
	serve web 127.0.0.1 8080
	portsteer -q add 198.51.100.0/24:80:8080 --client-cgroup "$CG/a" --user ps-web
	from a answers web http://$THERE4/
	from a answers web http://$HERE4/
	from a answers web http://198.51.100.77/ # where nobody is
	from a answers front http://127.0.0.1/
	from a answers front http://10.1.2.3/
	answers there http://$THERE4/
	assert_equal "$(from a dial tcp4 connect=$THERE4:80 peer ask)" "$THERE4 80, web"
	counters 198.51.100.0/24:80:8080/tcp "steered=4 no_listener=0"
}

@test "an IPv6 prefix, and a listener on every address" {
	serve -N client -u root there :: 80
	serve web :: 8080 --dual
	portsteer -q add '[2001:db8:1::]/64:80:8080' --client-cgroup "$CG/a" --user ps-web
	from a answers web "http://[$THERE6]/"
	from a refused "http://[::1]/"
	from a refused "http://[2001:db8:aa::1]/"
	answers there "http://[$THERE6]/"
	assert_equal "$(from a dial tcp6 connect=$THERE6:80 peer)" "$THERE6 80"
}

@test "the longest prefix wins, then the rule without an address" {
	local n
	for n in 1 2 3 4 5; do
		serve s$n :: 800$n --dual
	done
	portsteer -q add 80:8001 10.0.0.0/8:80:8002 10.1.0.0/16:80:8003 10.1.2.3:80:8004 \
		'[::1]:80:8005' --client-cgroup "$CG/a" --user ps-web
	from a answers s1 http://127.0.0.1/
	from a answers s2 http://10.200.0.1/
	from a answers s3 http://10.1.9.9/
	from a answers s4 http://10.1.2.3/
	from a answers s5 "http://[::1]/"
	from a refused http://$HERE4/
	portsteer -q del '[::1]:80' 10.1.2.3:80 --client-cgroup "$CG/a"
	from a answers s1 "http://[::1]/"
	from a answers s3 http://10.1.2.3/
}

@test "an explicit prefix that is as long as what is meant without one" {
	serve one 127.0.0.1 8001
	serve two 127.0.0.1 8002
	portsteer -q add 80:8001 127.0.0.0/8:80:8002 --client-cgroup "$CG/a" --user ps-web
	portsteer -q add 127.0.0.0/8:80:8002 --client-cgroup "$CG/b" --user ps-web
	portsteer -q add 80:8001 --client-cgroup "$CG/b" --user ps-web
	from a answers two http://127.0.0.1/
	from b answers two http://127.0.0.1/
}

@test "a port range: first, middle, last, and not one beside it" {
	portsteer -q add 1000-1010:8000-8010 --client-cgroup "$CG/a" --user ps-web
	serve first 127.0.0.1 8000
	serve middle 127.0.0.1 8005
	serve last 127.0.0.1 8010
	from a answers first http://127.0.0.1:1000/
	from a answers middle http://127.0.0.1:1005/
	from a answers last http://127.0.0.1:1010/
	from a refused http://127.0.0.1:1004/
	counters 1000-1010:8000-8010/tcp "steered=3 no_listener=1 admitted=3"
	from a refused http://127.0.0.1:999/
	from a refused http://127.0.0.1:1011/
	counters 1000-1010:8000-8010/tcp "steered=3 no_listener=1"
}

@test "a target with an address: an IPv4 one, for IPv4 clients" {
	serve_front
	serve -u $DB db 10.1.2.3 8080
	portsteer -q add 80:10.1.2.3:8080 --client-cgroup "$CG/a" --any-user
	reaches4 db
	from a answers front "http://[::1]/"
	from a answers front http://$HERE4/
	counters 80:10.1.2.3:8080/tcp "steered=3 no_listener=0 refused=0 wrong_family=0"
	stop $PID # it is fixed destination, owner not checked
	from a refused http://127.0.0.1/
	counters 80:10.1.2.3:8080/tcp "steered=4 no_listener=0 refused=0"
}

@test "a target with an address: an IPv6 one, for IPv6 clients" {
	serve_front
	serve -u $DB db 2001:db8:aa::1 8080
	portsteer -q add '80:[2001:db8:aa::1]:8080' --client-cgroup "$CG/a" --any-user
	reaches6 db
	from a answers front http://127.0.0.1/
	assert_equal "$(from a dial tcp6 connect=::1:80 peer ask)" "::1 80, db"
	counters '80:[2001:db8:aa::1]:8080/tcp' "steered=2"
}

@test "a target of another host" {
	serve -N client there4 $THERE4 8080
	serve -N client there6 $THERE6 8080
	portsteer -q add 127.0.0.0/8:80:$THERE4:8080 "[::1]:80:[$THERE6]:8080" --client-cgroup "$CG/a" \
		--any-user
	from a answers there4 http://127.0.0.1/
	from a answers there6 "http://[::1]/"
	assert_equal "$(from a dial tcp4 connect=127.0.0.1:80 peer)" "127.0.0.1 80"
	refused http://127.0.0.1/
}

@test "a target with an address on the front port itself" {
	serve_front
	serve -N client -u root there 0.0.0.0 80
	portsteer -q add 80:$THERE4:80 --client-cgroup "$CG/a" --any-user
	from a answers there http://127.0.0.1/
	answers front http://127.0.0.1/
}

# --- what the client sees ----------------------------------------------------------

# bats test_tags=kernel
@test "the client sees the address that it has asked for; others see the truth" {
	serve web 10.1.2.3 8080
	serve six 2001:db8:aa::1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	assert_equal "$(from a dial tcp4 connect=127.0.0.1:80 peer ask)" "127.0.0.1 80, web"
	assert_equal "$(from a dial tcp4 connect=127.3.2.1:80 peer ask)" "127.3.2.1 80, web"
	assert_equal "$(from a dial tcp6 connect=::1:80 peer ask)" "::1 80, six"
	assert_equal "$(from a dial tcp6 connect=::ffff:127.0.0.1:80 peer ask)" \
		"::ffff:127.0.0.1 80, web"
	assert_equal "$(from a dial tcp4 connect=10.1.2.3:8080 peer)" "10.1.2.3 8080"
	assert_equal "$(dial tcp4 connect=10.1.2.3:8080 peer)" "10.1.2.3 8080"
	assert_equal "$(dial tcp6 connect=2001:db8:aa::1:8080 peer)" "2001:db8:aa::1 8080"
}

@test "a connect that does not wait, and one with data (TCP Fast Open)" {
	serve web 127.0.0.1 8080
	serve six ::1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	assert_equal "$(from a dial tcp4 begin=127.0.0.1:80 finish peer ask)" \
		"EINPROGRESS, connected, 127.0.0.1 80, web"
	assert_equal "$(from a dial tcp6 begin=::1:80 finish peer ask)" \
		"EINPROGRESS, connected, ::1 80, six"
	assert_equal "$(from a dial tcp4 fastopen=127.0.0.1:80)" web
	assert_equal "$(from a dial tcp6 fastopen=::1:80)" six
	counters 80:8080/tcp "steered=4 no_listener=0"
}

@test "a client with a port and an address of its own" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	assert_equal "$(from a dial tcp4 bind=10.1.9.9:4321 connect=127.0.0.1:80 peer ask)" \
		"127.0.0.1 80, web"
	grep -q "^web [0-9]* 10.1.9.9 " "$ACCESS"
}

@test "a socket that is connected anew: to the target itself, and again to the front" {
	serve web 127.0.0.1 8080 --reuseport --workers 2
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	assert_equal "$(from a dial tcp4 connect=127.0.0.1:80 peer unconnect \
		connect=127.0.0.1:8080 peer unconnect connect=127.0.0.2:80 peer ask)" \
		"127.0.0.1 80, 127.0.0.1 8080, 127.0.0.2 80, web"
}

# flows ARGS of flows.py
flows()
{
	"$PYTHON" "$PS_TEST_DIR/flows.py" $STATE/host/flows "$@"
}

# noted COUNT: so many flows are there.
noted()
{
	[ "$(flows count)" = "$1" ]
}

@test "a flow is there until the client's socket is closed, or goes elsewhere" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	portsteer -q add 80:8081 --client-cgroup "$CG/b" --user ps-web
	mkfifo "$PS_TEST_DIR/end"
	from a dial tcp4 connect=127.0.0.1:80 until="$PS_TEST_DIR/end" &
	until_true 10 noted 1
	: >"$PS_TEST_DIR/end"
	wait $!
	until_true 10 noted 0
	# Nobody is there; nobody waits for it; connected to another place.
	assert_equal "$(from b dial tcp4 connect=127.0.0.1:80)" ECONNREFUSED
	assert_equal "$(from a dial tcp4 begin=127.0.0.1:80 unconnect)" EINPROGRESS
	assert_equal "$(from a dial tcp4 connect=127.0.0.1:80 unconnect \
		connect=127.0.0.1:8080)" ""
	assert_equal "$(from a dial tcp6 connect=::ffff:127.0.0.1:80 unconnect)" ""
	until_true 10 noted 0
	# The port is no longer one of a rule.
	portsteer -q add 82:8082 --client-cgroup "$CG/c" --user ps-web
	from a dial tcp4 connect=127.0.0.1:80 until="$PS_TEST_DIR/end" &
	until_true 10 noted 1
	portsteer -q add 81:8082 --client-cgroup "$CG/a" --user ps-web
	portsteer -q del 80 --client-cgroup "$CG/a"
	portsteer -q del 80 --client-cgroup "$CG/b"
	: >"$PS_TEST_DIR/end"
	wait $!
	until_true 10 noted 0
}

@test "thousands of connects that are taken back leave nothing" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	from a "$PYTHON" - <<-'END'
		import ctypes, socket
		libc = ctypes.CDLL(None)
		for _ in range(3000):
		    with socket.socket() as s:
		        s.connect(("127.0.0.1", 80))
		        libc.connect(s.fileno(), bytes(16), 16)
	END
	until_true 10 noted 0
	from a answers web http://127.0.0.1/
}

@test "an MPTCP client" {
	[ "$(sysctl -ne net.mptcp.enabled)" = 1 ] || skip "this kernel has no MPTCP"
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	from a asked web --mptcp 127.0.0.1 80
}

@test "open connections go on through add, del, flush and unload" {
	serve web 127.0.0.1 8080
	local fd line change
	for change in "add 81:8081 --client-cgroup $CG/a --user ps-web" "del 80 --client-cgroup $CG/a" flush unload; do
		portsteer -q load
		[ "$(rules | grep -c ^80:)" = 1 ] ||
			portsteer -q add 80:8080 --client-cgroup / --user ps-web
		exec {fd}<>"/dev/tcp/127.0.0.1/80"
		# shellcheck disable=SC2086
		portsteer -q ${change/"$CG/a"/\/}
		printf 'GET / HTTP/1.0\r\n\r\n' >&$fd
		line=$(tail -1 <&$fd)
		exec {fd}>&-
		assert_match "$line" "^web "
	done
}

# --- no other socket ---------------------------------------------------------------

# full ADDRESS PORT: a server, in $PID, with room for one connection, which it has; it takes none.
# "go" in $PS_TEST_DIR lets it.
full()
{
	rm -f "$PS_TEST_DIR/go"
	start "${@:3}" "$PYTHON" -c '
import os, socket, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((sys.argv[1], int(sys.argv[2])))
s.listen(0)
own = socket.create_connection(s.getsockname())
print("ready", flush=True)
while not os.path.exists(sys.argv[3]):
    time.sleep(0.02)
first, _ = s.accept()
while True:
    c, _ = s.accept()
    c.recv(99)
    c.sendall(b"HTTP/1.0 200 OK\r\n\r\nfull\n")
    c.close()' "$1" "$2" "$PS_TEST_DIR/go"
	until_true 10 grep -q ready "$LOG"
}

# waits: a client in "a" whose SYN the full server has dropped, in $CLIENT; it says into "said".
waits()
{
	from a dial tcp4 connect=127.0.0.1:80 ask >"$PS_TEST_DIR/said" 2>&1 3>&- &
	CLIENT=$!
	until_true 10 dropped
}
dropped()
{
	[ "$(ss -Htn state syn-sent dport = :80 | wc -l)" = 1 ]
}

# bats test_tags=kernel
@test "a stranger on the owner's port, by another device, is not asked" {
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	serve web 0.0.0.0 8080 --device veth-c
	serve -u $DB stranger 0.0.0.0 8080 --device lo
	answers stranger http://127.0.0.1:8080/
	assert_equal "$(from a curl -s -m 2 http://127.0.0.1/ || true)" ""
	stop $PID
	serve web 0.0.0.0 8080 --device lo
	from a answers web http://127.0.0.1/
}

# bats test_tags=kernel
@test "an owner on an address that is another host's: nothing leaves this one" {
	echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind
	serve web $THERE4 8080
	echo 0 >/proc/sys/net/ipv4/ip_nonlocal_bind
	serve -N client -u $DB there $THERE4 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	from a answers web http://127.0.0.1/
	counters 80:8080/tcp "steered=1 no_listener=0"
}

# bats test_tags=kernel
@test "a SO_REUSEPORT group: members in other cgroups get nothing" {
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --cgroup "$CG/web"
	serve -g other stranger 127.0.0.1 8080 --reuseport
	serve -g web web 127.0.0.1 8080 --reuseport
	assert_equal "$(from a connections --count 60 127.0.0.1 80)" \
		"ok 60 refused 0 broken 0 names web=60"
	counters 80:8080/tcp "steered=60 admitted=1 not_owner=1"
}

# bats test_tags=kernel
@test "a SYN that is repeated goes where the first one went" {
	serve_front
	full 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	waits
	: >"$PS_TEST_DIR/go"
	wait $CLIENT
	assert_equal "$(<"$PS_TEST_DIR/said")" full
}

# bats test_tags=kernel
@test "the owner goes while a SYN waits, and a stranger takes its address: refused" {
	serve_front
	full 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	local owner=$PID
	waits
	stop $owner
	serve -u $DB stranger 127.0.0.1 8080
	wait $CLIENT
	assert_match "$(<"$PS_TEST_DIR/said")" "^ECONNREFUSED"
}

# bats test_tags=kernel
@test "the rules change while a SYN waits: the new rule's owner does not get it" {
	serve_front
	full 127.0.0.1 8080
	serve -u $DB db 127.0.0.1 9090
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	waits
	portsteer -q add 81:9090 80:9090 --client-cgroup "$CG/b" --user ps-db
	portsteer -q del 80 --client-cgroup "$CG/a"
	portsteer -q add 80:9090 --client-cgroup "$CG/a" --user ps-db
	wait $CLIENT
	assert_match "$(<"$PS_TEST_DIR/said")" "^ECONNREFUSED"
	from a answers db http://127.0.0.1/
}

# bats test_tags=kernel
@test "SYN cookies: the answer goes where the SYN went" {
	serve_front
	serve web 127.0.0.1 8080
	serve two 127.0.0.2 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	local before
	before=$(</proc/sys/net/ipv4/tcp_syncookies)
	echo 2 >/proc/sys/net/ipv4/tcp_syncookies
	assert_match "$(from a connections --count 40 127.0.0.1 80)" \
		"^ok 40 refused 0 broken 0 names two=[0-9]+,web=[0-9]+$"
	echo "$before" >/proc/sys/net/ipv4/tcp_syncookies
	until_true 10 noted 0
}

# bats test_tags=kernel
@test "more connections than can be noted are refused, and go to nobody" {
	serve_front
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	portsteer -q add 81:8080 --client-cgroup "$CG/a" --user ps-web --if-down pass
	[ "$(flows fill)" -ge 65536 ]
	assert_equal "$(from a dial tcp4 connect=127.0.0.1:80 new connect=127.0.0.1:81)" \
		"ECONNREFUSED, ECONNREFUSED"
	assert_equal "$(from a dial tcp6 connect=::1:80)" ECONNREFUSED
	answers front http://127.0.0.1/
	flows empty
	from a answers web http://127.0.0.1/
	assert_equal "$(from a connections --count 20 127.0.0.1 80)" \
		"ok 20 refused 0 broken 0 names web=20"
	answers front http://127.0.0.1/
	counters 80:8080/tcp "steered=21 no_listener=2"
	# Nothing is refused for good.
	assert_equal "$(bpftool -j map dump pinned $STATE/host/refusals | "$PYTHON" -c '
import json, sys
print(sum(int(byte, 16) for e in json.load(sys.stdin) for byte in e["value"]))')" 0
}

# bats test_tags=kernel
@test "a flow whose end was missed is nobody else's" {
	local tuple="bind=127.0.0.1:4321 connect=127.0.0.1:80"
	serve_front
	serve web 127.0.0.1 8080
	serve -u $DB db 127.0.0.1 9090
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	portsteer -q add 80:9090 --client-cgroup "$CG/b" --user ps-db
	mkfifo "$PS_TEST_DIR/over"
	# shellcheck disable=SC2086
	from a dial tcp4 abort $tuple until="$PS_TEST_DIR/over" &
	until_true 10 noted 1
	flows save "$PS_TEST_DIR/saved"
	: >"$PS_TEST_DIR/over"
	wait $!
	until_true 10 noted 0
	flows restore "$PS_TEST_DIR/saved"
	# shellcheck disable=SC2086
	assert_equal "$(dial tcp4 abort $tuple ask)" front
	noted 0
	flows restore "$PS_TEST_DIR/saved"
	# shellcheck disable=SC2086
	assert_equal "$(from b dial tcp4 abort $tuple ask)" db
	until_true 10 noted 0
}

# bats test_tags=kernel
@test "two sockets with the same addresses and ports: neither gets the other's" {
	serve_front
	full 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	from a dial tcp4 device=lo bind=127.0.0.1:4321 connect=127.0.0.1:80 ask \
		>"$PS_TEST_DIR/said" 3>&- &
	local client=$!
	until_true 10 dropped
	assert_equal "$(dial tcp4 bind=127.0.0.1:4321 connect=127.0.0.1:80)" ECONNREFUSED
	: >"$PS_TEST_DIR/go"
	wait $client
	assert_match "$(<"$PS_TEST_DIR/said")" "^ECONNREFUSED"
	until_true 10 noted 0
}

@test "an address, and rules that change while a SYN waits: whoever is on loopback is not asked" {
	serve_front
	full 127.0.0.1 8080
	portsteer -q add 198.51.100.0/24:80:8080 --client-cgroup "$CG/a" --user ps-web
	portsteer -q add 80:8081 --client-cgroup "$CG/b" --user ps-web
	from a dial tcp4 connect=$THERE4:80 ask >"$PS_TEST_DIR/said" 3>&- &
	local client=$!
	until_true 10 dropped
	portsteer -q del 198.51.100.0/24:80 --client-cgroup "$CG/a"
	wait $client
	assert_match "$(<"$PS_TEST_DIR/said")" "^ECONNREFUSED"
}

@test "an address with --if-down pass: where the client wanted to go" {
	serve_front
	serve -N client -u root there 0.0.0.0 80
	portsteer -q add 198.51.100.0/24:80:8080 --client-cgroup "$CG/a" --user ps-web --if-down pass
	from a answers there http://$THERE4/
	serve web 127.0.0.1 8080
	from a answers web http://$THERE4/
	stop $PID
	from a answers there http://$THERE4/
	counters 198.51.100.0/24:80:8080/tcp "steered=1 no_listener=2 refused=0"
}

@test "a client that is bound to a device is not turned to loopback" {
	serve -N client -u root there 0.0.0.0 80
	serve web 127.0.0.1 8080
	portsteer -q add 198.51.100.0/24:80:8080 --client-cgroup "$CG/a" --user ps-web
	assert_equal "$(from a dial tcp4 device=veth-c connect=$THERE4:80)" ECONNREFUSED
	counters 198.51.100.0/24:80:8080/tcp "steered=0 no_listener=1 refused=1"
}

# --- datagrams ---------------------------------------------------------------------

# bats test_tags=kernel
@test "UDP: connected sockets, IPv4, IPv6 and v4-mapped" {
	serve dns 127.0.0.1 5353 --udp
	serve six ::1 5353 --udp
	portsteer -q add 53:5353/udp --client-cgroup "$CG/a" --any-user
	assert_equal "$(from a dial udp4 connect=127.0.0.1:53 peer send recvfrom send recv)" \
		"127.0.0.1 53, dns from 127.0.0.1 53, dns"
	assert_equal "$(from a dial udp6 connect=::1:53 peer send recvmsg)" "::1 53, six from ::1 53"
	assert_equal "$(from a dial udp6 connect=::ffff:127.0.0.1:53 peer send recvfrom)" \
		"::ffff:127.0.0.1 53, dns from ::ffff:127.0.0.1 53"
	counters 53:5353/udp "steered=3 no_listener=0 refused=0 wrong_family=0"
	from b ask_refused 127.0.0.1 53
}

@test "UDP: a target without an address is on the one that the client asks for: a note" {
	serve dns 127.0.0.1 5353 --udp
	assert_match "$(portsteer add 53:5353/udp --client-cgroup "$CG/a" --any-user)" \
		"note: rule 53:5353/udp keeps the client's destination .*127.0.0.53.*, as in 53:127.0.0.1:5353/udp$"
	from a ask_refused 127.0.0.53 53
	portsteer -q flush
	assert_match "$(portsteer add '[2001:db8::]/32:53-54:5353-5354/udp' --client-cgroup "$CG/a" --any-user)" \
		'as in \[2001:db8::\]/32:53-54:\[::1\]:5353-5354/udp$'
	portsteer -q flush
	# With an address, with one address only, for TCP, in bind mode: none.
	assert_equal "$(portsteer add 53:127.0.0.1:5353/udp 127.0.0.2:55:5355/udp 56:5356/tcp \
		--client-cgroup "$CG/a" --any-user --json | jsonget notes.#)" 0
	assert_equal "$(from a dial udp4 sendto=127.0.0.53:53 recvfrom)" "dns from 127.0.0.53 53"
	assert_equal "$(portsteer add 57:5357/udp --user ps-web --json | jsonget notes.#)" 0
}

# bats test_tags=kernel
@test "UDP: unconnected sockets, by every call there is" {
	serve dns 127.0.0.1 5353 --udp
	serve six ::1 5353 --udp
	portsteer -q add 53:5353/udp --client-cgroup "$CG/a" --any-user
	local got="dns from 127.0.0.1 53" got6="six from ::1 53"
	assert_equal "$(from a dial udp4 sendto=127.0.0.1:53 recvfrom sendmsg=127.0.0.1:53 recvmsg \
		sendmmsg=127.0.0.1:53,127.0.0.1:53 recvmmsg=2)" "$got, $got, $got, $got"
	assert_equal "$(from a dial udp6 sendto=::1:53 recvfrom sendmsg=::1:53 recvmsg \
		sendmmsg=::1:53,::1:53 recvmmsg=2)" "$got6, $got6, $got6, $got6"
	counters 53:5353/udp "steered=8 no_listener=0"
}

@test "UDP: IPv4 through an IPv6 socket, by a v4-mapped and by an IPv4 address" {
	serve dns 127.0.0.1 5353 --udp
	portsteer -q add 53:5353/udp --client-cgroup "$CG/a" --any-user
	local got="dns from ::ffff:127.0.0.1 53"
	assert_equal "$(from a dial udp6 sendto=::ffff:127.0.0.1:53 recvfrom \
		sendmmsg=::ffff:127.0.0.1:53,127.0.0.1:53 recvmmsg=2)" "$got, $got, $got"
	counters 53:5353/udp "steered=3"
}

@test "UDP: several servers on one socket, each seen as it was asked" {
	local n asked='' said=''
	for n in 1 2 3 4; do
		serve s$n 127.0.0.$n 5353 --udp
		asked+=,127.0.0.$n:53
		said+=", s$n from 127.0.0.$n 53"
	done
	portsteer -q add 53:5353/udp --client-cgroup "$CG/a" --any-user
	assert_equal "$(from a dial udp4 "sendmmsg=${asked#,}" recvmmsg=4)" "${said#, }"
}

@test "UDP: more servers on one socket than it remembers, one after the other" {
	local n steps=() said=''
	for n in 1 2 3 4 5 6; do
		serve s$n 127.0.0.$n 5353 --udp
		steps+=("sendto=127.0.0.$n:53" recvfrom)
		said+=", s$n from 127.0.0.$n 53"
	done
	portsteer -q add 53:5353/udp --client-cgroup "$CG/a" --any-user
	assert_equal "$(from a dial udp4 "${steps[@]}" "${steps[@]}")" "${said#, }$said"
}

@test "UDP: an unconnected socket's next datagram, after its process has moved" {
	serve one 127.0.0.1 5353 --udp
	serve two 127.0.0.1 5354 --udp
	serve -u root front 127.0.0.1 53 --udp
	portsteer -q add 53:5353/udp --client-cgroup "$CG/a" --any-user
	portsteer -q add 53:5354/udp --client-cgroup "$CG/b" --any-user
	made a b c
	local say="sendto=127.0.0.1:53 recvfrom"
	assert_equal "$(dial udp4 enter="$PS_TEST_CGROUP/a" $say $say enter="$PS_TEST_CGROUP/b" \
		$say $say enter="$PS_TEST_CGROUP/c" $say enter="$PS_TEST_CGROUP/a" $say)" \
		"one from 127.0.0.1 53, one from 127.0.0.1 53, two from 127.0.0.1 53, two from \
127.0.0.1 53, front from 127.0.0.1 53, one from 127.0.0.1 53"
	counters 53:5353/udp "steered=3 no_listener=0"
	counters 53:5354/udp "steered=2 no_listener=0"
	portsteer -q add 54:5354/udp --client-cgroup "$CG/a" --any-user
	assert_equal "$(from a dial udp4 $say sendto=127.0.0.1:54 recvfrom $say)" \
		"one from 127.0.0.1 53, two from 127.0.0.1 54, one from 127.0.0.1 53"
}

# has_steered COUNT
has_steered()
{
	[ "$(portsteer stats --json | jsonget rules.0.counters.steered)" = "$1" ]
}

@test "UDP: an unconnected socket's next datagram, after the rules have changed" {
	local change wanted line fd say="sendto=127.0.0.1:53 recvfrom"
	serve one 127.0.0.1 5353 --udp
	serve two 127.0.0.1 5354 --udp
	serve -u root front 127.0.0.1 53 --udp
	mkfifo "$PS_TEST_DIR/go"
	while IFS='|' read -r change wanted; do
		portsteer -q add 53:5353/udp --client-cgroup "$CG/a" --any-user
		exec {fd}< <(from a dial udp4 $say $say until="$PS_TEST_DIR/go" $say)
		until_true 10 has_steered 2
		eval "$change"
		: >"$PS_TEST_DIR/go"
		read -r line <&$fd
		exec {fd}<&-
		assert_equal "$line" \
			"one from 127.0.0.1 53, one from 127.0.0.1 53, $wanted from 127.0.0.1 53"
		portsteer -q unload
	done <<-'END'
		portsteer -q add 54:5353/udp --client-cgroup "$CG/a" --any-user|one
		portsteer -q flush|front
		portsteer -q unload; portsteer -q add 54:5353/udp --client-cgroup "$CG/a" --any-user|front
		portsteer -q del 53/udp --client-cgroup "$CG/a"; portsteer -q add 53:5354/udp --client-cgroup "$CG/a" --any-user|two
		portsteer -q add 127.0.0.1:53:5354/udp --client-cgroup "$CG/a" --any-user|two
	END
}

@test "UDP: an unconnected socket's next datagram, after a load that counts rulesets anew" {
	local line fd say="sendto=127.0.0.1:53 recvfrom"
	portsteer -q --netns client add 90:9090/udp --client-cgroup "$CG/x" --any-user # keeps the hooks
	serve one 127.0.0.1 5353 --udp
	serve two 127.0.0.1 5354 --udp
	mkfifo "$PS_TEST_DIR/go-on"
	portsteer -q add 53:5353/udp --client-cgroup "$CG/a" --any-user
	exec {fd}< <(from a dial udp4 $say until="$PS_TEST_DIR/go-on" $say)
	until_true 10 has_steered 1
	portsteer -q unload
	portsteer -q add 53:5354/udp --client-cgroup "$CG/a" --any-user
	: >"$PS_TEST_DIR/go-on"
	read -r line <&$fd
	exec {fd}<&-
	assert_equal "$line" "one from 127.0.0.1 53, two from 127.0.0.1 53"
	portsteer -q unload
	portsteer -q --netns client unload
}

@test "UDP: who talks to the target port directly sees it" {
	serve dns 127.0.0.1 5353 --udp
	portsteer -q add 53:5353/udp --client-cgroup "$CG/a" --any-user
	local direct="dns from 127.0.0.1 5353"
	assert_equal "$(from a dial udp4 sendto=127.0.0.1:5353 recvfrom)" "$direct"
	# also on a socket that was sent there before
	assert_equal "$(from a dial udp4 sendto=127.0.0.1:53 recvfrom sendto=127.0.0.1:5353 recvfrom \
		sendto=127.0.0.1:53 recvfrom)" "dns from 127.0.0.1 53, $direct, dns from 127.0.0.1 53"
	assert_equal "$(dial udp4 sendto=127.0.0.1:5353 recvfrom)" "$direct"
}

@test "UDP: a connected socket is aimed again, or let go" {
	serve one 127.0.0.1 5353 --udp
	serve two 127.0.0.2 5353 --udp
	serve -u root other 127.0.0.3 54 --udp
	portsteer -q add 53:5353/udp --client-cgroup "$CG/a" --any-user
	assert_equal "$(from a dial udp4 connect=127.0.0.1:53 peer send recv \
		connect=127.0.0.2:53 peer send recv connect=127.0.0.3:54 peer send recv)" \
		"127.0.0.1 53, one, 127.0.0.2 53, two, 127.0.0.3 54, other"
	assert_equal "$(from a dial udp4 connect=127.0.0.1:53 send recvfrom \
		connect=127.0.0.1:5353 peer send recvfrom)" \
		"one from 127.0.0.1 53, 127.0.0.1 5353, one from 127.0.0.1 5353"
	assert_equal "$(from a dial udp4 connect=127.0.0.1:53 unconnect peer \
		sendto=127.0.0.2:53 recvfrom sendto=127.0.0.1:5353 recvfrom)" \
		"ENOTCONN, two from 127.0.0.2 53, one from 127.0.0.1 5353"
}

@test "UDP: a connected socket that sends elsewhere for once" {
	serve one 127.0.0.1 5353 --udp
	portsteer -q add 53:5353/udp --client-cgroup "$CG/a" --any-user
	assert_equal "$(from a dial udp4 connect=127.0.0.9:9 sendto=127.0.0.1:53 unconnect \
		sendto=127.0.0.1:53 recvfrom)" "one from 127.0.0.1 53"
	counters 53:5353/udp "steered=2"
}

@test "UDP: nobody is there, which the kernel says as ever" {
	portsteer -q add 53:5353/udp --client-cgroup "$CG/a" --any-user
	from a ask_refused 127.0.0.1 53
	counters 53:5353/udp "steered=1 no_listener=0 refused=0"
}

@test "UDP: a target with an address, also of another host" {
	serve dns 10.1.2.3 5353 --udp
	serve -N client there $THERE4 5353 --udp
	serve -u root front 127.0.0.1 54 --udp
	portsteer -q add 53:10.1.2.3:5353/udp 54:$THERE4:5353/udp --client-cgroup "$CG/a" --any-user
	assert_equal "$(from a dial udp4 sendto=127.0.0.1:53 recvfrom sendto=127.0.0.1:54 recvfrom)" \
		"dns from 127.0.0.1 53, there from 127.0.0.1 54"
	assert_equal "$(from a dial udp4 connect=127.0.0.1:54 peer send recvfrom)" \
		"127.0.0.1 54, there from 127.0.0.1 54"
	assert_equal "$(dial udp4 sendto=127.0.0.1:54 recvfrom)" "front from 127.0.0.1 54"
}

@test "UDP: a prefix, and a client of an IPv6 address in none" {
	serve dns 10.1.2.3 5353 --udp
	serve -u root six ::1 53 --udp
	portsteer -q add 10.0.0.0/8:53:5353/udp --client-cgroup "$CG/a" --any-user
	assert_equal "$(from a dial udp4 sendto=10.1.2.3:53 recvfrom)" "dns from 10.1.2.3 53"
	assert_equal "$(from a dial udp6 sendto=::1:53 recvfrom)" "six from ::1 53"
	from a ask_refused 127.0.0.1 53
	counters 10.0.0.0/8:53:5353/udp "steered=1"
}

@test "UDP and TCP rules of the same port are two" {
	serve web 127.0.0.1 5353
	serve dns 127.0.0.1 5354 --udp
	portsteer -q add 53:5353/tcp --client-cgroup "$CG/a" --user ps-web
	portsteer -q add 53:5354/udp --client-cgroup "$CG/a" --any-user
	from a answers web http://127.0.0.1:53/
	from a asked dns 127.0.0.1 53
	portsteer -q del 53/udp --client-cgroup "$CG/a"
	from a ask_refused 127.0.0.1 53
	from a answers web http://127.0.0.1:53/
}

# --- beside rules of other modes ---------------------------------------------------

@test "a steer rule for the same port: clients in the client cgroup go elsewhere, and only once" {
	serve web 127.0.0.1 8080
	serve -u $DB db 127.0.0.1 9090
	portsteer -q add 80:9090 --user ps-db
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	from a answers web http://127.0.0.1/
	from b answers db http://127.0.0.1/
	from a answers db http://$HERE4/
	answers db client http://$HERE4/
	counters 80:8080/tcp "steered=1 no_listener=0"
	counters 80:9090/tcp "steered=3 no_listener=0"
	portsteer -q del 80 --client-cgroup "$CG/a"
	from a answers db http://127.0.0.1/
}

@test "--if-down pass leads to the steer rule of the same port" {
	serve -u $DB db 127.0.0.1 9090
	portsteer -q add 80:9090 --user ps-db
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web --if-down pass
	from a answers db http://127.0.0.1/
	counters 80:8080/tcp "no_listener=1 steered=0"
	counters 80:9090/tcp "steered=1"
}

@test "one listener behind a steer rule and a connect rule" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --user ps-web
	portsteer -q add 81:8080 --client-cgroup "$CG/a" --user ps-web
	answers web client http://$HERE4/
	from a answers web http://127.0.0.1:81/
	refused http://127.0.0.1:81/
	counters 80:8080/tcp "steered=1 admitted=1"
	counters 81:8080/tcp "steered=1 admitted=1"
}

@test "a server that is bound to the front port by a bind rule" {
	portsteer -q add 80:8080 --mode bind --user ps-web
	serve bound 127.0.0.1 8080
	serve -u $DB db 127.0.0.1 9090
	portsteer -q add 80:9090 --client-cgroup "$CG/a" --user ps-db
	answers bound http://127.0.0.1/
	from a answers db http://127.0.0.1/
	assert_equal "$(dial tcp4 connect=127.0.0.1:80 peer)" "127.0.0.1 80"
}

@test "ports that lead to each other, in different client cgroups" {
	serve low 127.0.0.1 1080
	serve high 127.0.0.1 8080
	portsteer -q add 1080:8080 --client-cgroup "$CG/a" --user ps-web
	portsteer -q add 8080:1080 --client-cgroup "$CG/b" --user ps-web
	from a answers high http://127.0.0.1:1080/
	from b answers low http://127.0.0.1:8080/
	answers low http://127.0.0.1:1080/
}

# --- network namespaces ------------------------------------------------------------

# bats test_tags=kernel
@test "instances of two namespaces do not mix" {
	keep_nothing
	serve_front
	serve here 127.0.0.1 8080
	serve -N client -u $DB there 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	portsteer -q --netns client add 80:8080 --client-cgroup "$CG/b" --user ps-db
	from a answers here http://127.0.0.1/
	from b answers front http://127.0.0.1/
	from a refused client http://127.0.0.1/
	from b answers there client http://127.0.0.1/
	from b answers there client http://127.0.0.1/
	counters 80:8080/tcp "steered=1 no_listener=0 admitted=1"
	assert_equal "$(portsteer --netns client stats --json | jsonget \
		rules.0.counters.steered rules.0.counters.no_listener)" $'2\n0'
	portsteer -q unload
	from a answers front http://127.0.0.1/
	from b answers there client http://127.0.0.1/
	portsteer -q --netns client unload
	[ ! -e $STATE ]
}

@test "a namespace that is unloaded and loaded again: nobody is taken for who he was" {
	portsteer -q --netns client add 90:9090 --client-cgroup "$CG/x" --any-user # keeps the hooks
	serve one 127.0.0.1 8001
	serve_front
	made a b
	local n scopes=(a b a b)
	for n in 0 1 2 3; do
		portsteer -q add 80:8001 --client-cgroup "$CG/${scopes[n]}" --user ps-web
		from "${scopes[n]}" answers one http://127.0.0.1/
		from "${scopes[n + 1 & 3]}" answers front http://127.0.0.1/
		portsteer -q unload
	done
	portsteer -q --netns client unload
}

# --- exact counters, load ----------------------------------------------------------

@test "2000 connects from all CPUs at once are 2000" {
	portsteer -q add 94:8080 --client-cgroup "$CG/a" --user ps-web
	serve web 127.0.0.1 8080 --reuseport --workers 4
	assert_match "$(from a connections --procs 4 --count 2000 127.0.0.1 94)" \
		"^ok 2000 refused 0 broken 0 "
	counters 94:8080/tcp "steered=2000 no_listener=0 refused=0 wrong_family=0 rejected=0 not_owner=0"
}

@test "2000 refused connects from all CPUs at once are 2000" {
	portsteer -q add 95:8080 --client-cgroup "$CG/a" --user ps-web
	assert_match "$(from a connections --procs 4 --count 2000 127.0.0.1 95)" \
		"^ok 0 refused 2000 broken 0 "
	counters 95:8080/tcp "no_listener=2000 refused=2000 steered=0"
}

@test "rules are replaced under load: no connect fails, none goes to the front port" {
	portsteer -q add 96:8080 --client-cgroup "$CG/a" --user ps-web
	serve -u root front 127.0.0.1 96
	serve web 127.0.0.1 8080 --reuseport --workers 2
	rm -f "$PS_TEST_DIR/stop"
	from a/b connections --procs 2 --until "$PS_TEST_DIR/stop" 127.0.0.1 96 \
		>"$PS_TEST_DIR/tally" 3>&- &
	local tally=$! n
	for n in $(seq 1 40); do
		portsteer -q add 96:8081 97:8081 --client-cgroup "$CG/b" --any-user
		portsteer -q add 98:8082/udp --client-cgroup "$CG/a/b" --any-user
		portsteer -q del 96 97 --client-cgroup "$CG/b"
		portsteer -q del 98/udp --client-cgroup "$CG/a/b"
	done
	: >"$PS_TEST_DIR/stop"
	wait $tally
	assert_match "$(<"$PS_TEST_DIR/tally")" "^ok ([1-9][0-9]*) refused 0 broken 0 names web=[0-9]+$"
	counters 96:8080/tcp "steered=${BASH_REMATCH[1]} no_listener=0 refused=0"
}

@test "last_hit is the time since the last connect, taken or refused" {
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	assert_equal "$(portsteer stats --json | jsonget rules.0.last_hit)" null
	from a refused http://127.0.0.1/
	awk -v s="$(portsteer stats --json | jsonget rules.0.last_hit)" \
		'BEGIN { exit !(s >= 0 && s < 3) }'
}

# all_by NAME: who answers clients in the cgroup on port 80, one after the other.
all_by()
{
	assert_equal "$(from a connections --count 5 127.0.0.1 80)" \
		"ok 5 refused 0 broken 0 names $1=5"
}

@test "a decision that was made before is not made again when something has changed" {
	local change wanted
	portsteer -q --netns client add 90:9090 --client-cgroup "$CG/x" --any-user # keeps the hooks
	serve one 127.0.0.1 8001
	serve two 127.0.0.1 8002
	serve_front
	made a b
	while IFS='|' read -r change wanted; do
		portsteer -q add 80:8001 --client-cgroup "$CG/a" --user ps-web
		all_by one
		eval "$change"
		all_by "$wanted"
		from b answers front http://127.0.0.1/
		portsteer -q unload
	done <<-'END'
		portsteer -q add 81:8001 --client-cgroup "$CG/a" --user ps-web|one
		portsteer -q flush|front
		portsteer -q del 80 --client-cgroup "$CG/a"; portsteer -q add 80:8002 --client-cgroup "$CG/a" --user ps-web|two
		portsteer -q add 127.0.0.1:80:8002 --client-cgroup "$CG/a" --user ps-web|two
		portsteer -q add 127.0.0.0/8:80:8002 --client-cgroup "$CG/a" --user ps-web|two
		portsteer -q unload; portsteer -q add 81:8001 --client-cgroup "$CG/a" --user ps-web|front
		portsteer -q unload; portsteer -q add 80:8002 --client-cgroup "$CG/a" --user ps-web|two
		portsteer -q unload; portsteer -q add 81:8001 80:8002 --client-cgroup "$CG/a" --user ps-web|two
	END
	portsteer -q --netns client unload
}

@test "many decisions at once: each holds for its own cgroup, port and address" {
	local n
	serve one 127.0.0.1 8000
	serve two 127.0.0.1 8001
	for n in {1..100}; do
		made "d$n"
		echo "98:$((8000 + n % 2)) --client-cgroup $CG/d$n"
		((n % 2 == 0)) || echo "127.0.0.$n/32:99:8001 --client-cgroup $CG/d1"
		echo "$((100 + n)):$((8000 + n % 2)) --client-cgroup $CG/d1"
	done | sections >"$PS_TEST_DIR/rules"
	portsteer -q add 99:8000 --client-cgroup "$CG/d1" --user ps-web
	portsteer -q add -f "$PS_TEST_DIR/rules" --user ps-web
	# More than the programs remember, so that some share a place; some come in turns with
	# each of the others.
	python3 - "$PS_TEST_CGROUP" <<-'END'
		import socket, sys
		def check(cgroup, address, port, n):
		    with open(f"{sys.argv[1]}/d{cgroup}/cgroup.procs", "w") as procs:
		        procs.write("0")
		    with socket.create_connection((f"127.0.0.{address}", port)) as s:
		        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
		        got = s.makefile().read().split("\n\n")[1].split()[0]
		    assert got == ("one", "two")[n % 2], (cgroup, address, port, got)
		numbers = range(1, 101)
		for cases in ([(n, 1, 98, n) for n in numbers], [(1, n, 99, n) for n in numbers],
		              [(1, 1, 100 + n, n) for n in numbers]):
		    for one in cases[::9]:
		        for other in cases:
		            check(*one)
		            check(*other)
	END
}

@test "a listener that comes later has its share, one that goes leaves its place" {
	local first
	serve one 127.0.0.1 8080
	first=$PID
	made a
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	all_by one
	serve two 10.1.2.3 8080
	assert_match "$(from a connections --count 400 127.0.0.1 80)" \
		"^ok 400 refused 0 broken 0 names one=[0-9]{2,},two=[0-9]{2,}$"
	stop "$first"
	all_by two
	stop "$PID"
	assert_equal "$(from a connections --count 3 127.0.0.1 80)" \
		"ok 0 refused 3 broken 0 names  errors connect:ECONNREFUSED=3"
	serve three 127.0.0.1 8080
	all_by three
}

@test "counters of a rule go on when others come and go, and begin anew with a new one" {
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	serve web 127.0.0.1 8080
	from a answers web http://127.0.0.1/
	portsteer -q add 81:8081 80:8081 --client-cgroup "$CG/b" --any-user
	from a answers web http://127.0.0.1/
	portsteer -q del 81 80 --client-cgroup "$CG/b"
	from a answers web http://127.0.0.1/
	counters 80:8080/tcp "steered=3 admitted=1"
	portsteer -q del 80 --client-cgroup "$CG/a"
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	counters 80:8080/tcp "steered=0"
}

# --- commands ----------------------------------------------------------------------

@test "del: the client cgroup is a part of the rule's name" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 81:8080 --client-cgroup "$CG/a" --user ps-web
	portsteer -q add 80:8080 --client-cgroup "$CG/b" --user ps-web
	local status=0
	portsteer del 80 2>"$PS_TEST_DIR/stderr" || status=$?
	assert_equal $status 1
	assert_match "$(<"$PS_TEST_DIR/stderr")" "no rule 80/tcp.*80:8080/tcp --client-cgroup /$CG/a"
	status=0
	portsteer del 80 --client-cgroup "$CG/c" 2>"$PS_TEST_DIR/stderr" || status=$?
	assert_equal $status 1
	assert_match "$(<"$PS_TEST_DIR/stderr")" \
		"no rule 80/tcp --client-cgroup /$CG/c.*80:8080/tcp --client-cgroup /$CG/a"
	portsteer -q del 80:8080 --client-cgroup "$PS_TEST_CGROUP/b/"
	from b refused http://127.0.0.1/
	from a answers web http://127.0.0.1/
	portsteer -q del 80 81 --client-cgroup "/$CG/a"
	assert_equal "$(rules)" ""
	from a refused http://127.0.0.1/
}

@test "del without --client-cgroup takes the rule without one" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	portsteer -q add 80:9090 --user ps-web
	portsteer -q del 80
	assert_equal "$(rules)" 80:8080/tcp
	from a answers web http://127.0.0.1/
}

@test "the programs are loaded while a rule needs them" {
	keep_nothing
	portsteer -q add 80:9090 --user ps-web
	[ ! -e $STATE/host/connect ]
	# To find a listener takes no more than the listen hook.
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	[ ! -e $STATE/host/connect ]
	assert_match "$(portsteer status)" "listen hook: +cgroup /"$'\n'
	portsteer -q add 10.0.0.0/8:80:8080 --client-cgroup "$CG/a" --user ps-web
	[ -e $STATE/host/connect ]
	portsteer -q del 10.0.0.0/8:80 --client-cgroup "$CG/a"
	[ ! -e $STATE/host/connect ]
	portsteer -q add 81:10.1.2.3:8080 --client-cgroup "$CG/a" --any-user
	[ -e $STATE/host/connect ]
	[ ! -e $STATE/host/datagram ]
	portsteer -q add 53:5353/udp --client-cgroup "$CG/a" --any-user
	[ -e $STATE/host/datagram ]
	portsteer -q del 53/udp --client-cgroup "$CG/a"
	[ ! -e $STATE/host/datagram ]
	portsteer -q --netns client add 53:5353/udp --client-cgroup "$CG/a" --any-user
	portsteer -q flush
	[ -e $STATE/host/connect ]
	[ -e $STATE/host/datagram ]
	portsteer -q --netns client flush
	[ ! -e $STATE/host/connect ]
	[ ! -e $STATE/host/datagram ]
	portsteer -q --netns client unload
}

# bats test_tags=kernel
@test "unload leaves nothing in the kernel" {
	keep_nothing
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	portsteer -q add 53:5353/udp --client-cgroup "$CG/a" --any-user
	serve web 127.0.0.1 8080
	from a answers web http://127.0.0.1/
	own_objects >"$PS_TEST_DIR/own"
	grep -q ps_connect4 "$PS_TEST_DIR/own"
	grep -q ps_recvmsg6 "$PS_TEST_DIR/own"
	grep -q ps_scopes "$PS_TEST_DIR/own"
	grep -q ps_hops "$PS_TEST_DIR/own"
	grep -q ps_trails "$PS_TEST_DIR/own"
	portsteer -q unload
	[ ! -e $STATE ]
	until_true 20 all_gone "$PS_TEST_DIR/own"
	from a refused http://127.0.0.1/
}

# inner_maps PIN: the ids of the maps in this one.
inner_maps()
{
	bpftool -j map dump pinned "$1" | "$PYTHON" -c '
import json, sys
for entry in json.load(sys.stdin):
    bytes_ = entry.get("value", [])
    if isinstance(bytes_, list) and any(int(b, 0) for b in bytes_):
        print(int.from_bytes([int(b, 0) for b in bytes_], sys.byteorder))'
}

# The kernel gives an entry of this map to another cgroup while it is read: such a mixture is none.
@test "what is remembered of another cgroup is not believed" {
	local map entry changed=
	serve -g a web 127.0.0.1 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	from a answers web http://127.0.0.1/
	# The answer "no rule is for this cgroup", with the check of the one that is there.
	for map in $(inner_maps $STATE/host/scopes_found); do
		bpftool -j map dump id "$map" | "$PYTHON" -c '
import json, sys
for entry in json.load(sys.stdin):
    value = entry["value"]
    if value[0] != "0x00":
        print("key", *entry["key"], "value", *["0x00"] * 4, *value[4:])' >"$PS_TEST_DIR/entries"
		while read -r -a entry; do
			bpftool map update id "$map" "${entry[@]}"
			changed=1
		done <"$PS_TEST_DIR/entries"
	done
	[ -n "$changed" ]
	from a answers web http://127.0.0.1/
}

@test "add -f: sections with client-cgroup, and the command's own for those without" {
	cat >"$PS_TEST_DIR/rules" <<-END
		# of the command line
		[a]
		ports = 80:8080
		user = ps-web
		[b]
		ports = 80:8081 81:8081
		client-cgroup = $CG/b
		user = ps-web
		[c]
		ports = 53:5353/udp
		client-cgroup = $CG/b/c
		any-user = yes
	END
	portsteer -q add -f "$PS_TEST_DIR/rules" --client-cgroup "$CG/a"
	assert_equal "$(portsteer list --json | jsonget rules.0.client_cgroup rules.1.client_cgroup \
		rules.2.client_cgroup rules.3.client_cgroup)" "/$CG/a
/$CG/b
/$CG/b
/$CG/b/c"
	serve one 127.0.0.1 8080
	serve two 127.0.0.1 8081
	from a answers one http://127.0.0.1/
	from b/c answers two http://127.0.0.1/
}
