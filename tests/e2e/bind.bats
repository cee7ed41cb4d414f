#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Bind mode: what bind() does for whom, and what everybody is told about it afterwards.

load lib

setup_file()
{
	setup_env
	keep "53:5353/udp --mode bind --any-user"
}
setup() { setup_test; }
teardown() { teardown_test; }

# --- what a bind becomes -----------------------------------------------------------

@test "the owner's bind to the target port is one to the front port" {
	portsteer add 53:5353/udp --user ps-web
	becomes 53 0.0.0.0 5353 --udp
	counters 53:5353/udp "translated=1 granted=0 not_owner=0 failed=0 steered=0 admitted=0"
}

@test "every kind of address, UDP" {
	portsteer add 53:5353/udp --user ps-web
	local address
	for address in 0.0.0.0 127.0.0.1 $HERE4 10.1.2.3 :: ::1 $HERE6 2001:db8:aa::1; do
		becomes 53 $address 5353 --udp
	done
	for address in :: ::ffff:0.0.0.0 ::ffff:127.0.0.1 ::ffff:10.1.2.3; do
		becomes 53 $address 5353 --udp --dual
	done
	counters 53:5353/udp "translated=12 not_owner=0 failed=0"
}

@test "every kind of address, TCP" {
	portsteer add 80:8080/tcp --mode bind --user ps-web
	local address
	for address in 0.0.0.0 127.0.0.1 $HERE4 10.1.2.3 :: ::1 $HERE6 2001:db8:aa::1; do
		becomes 80 $address 8080
	done
	for address in :: ::ffff:0.0.0.0 ::ffff:127.0.0.1 ::ffff:10.1.2.3; do
		becomes 80 $address 8080 --dual
	done
	counters 80:8080/tcp "translated=12 not_owner=0 failed=0"
}

# bats test_tags=kernel
@test "UDP: clients of all kinds are answered from port 53, the server is told 5353" {
	portsteer add 53:5353/udp --user ps-web
	serve dns 0.0.0.0 5353 --udp
	assert_no_caps $PID $WEB
	assert_equal "$(ports_of $PID)" "udp 0.0.0.0:53"
	assert_equal "$(ask client $HERE4 53)" "dns $PID $THERE4 0.0.0.0 5353"
	asked dns 127.0.0.1 53 # loopback
	asked dns $HERE4 53 # hairpin
	asked dns client --from 999 $HERE4 53
	ask_refused client $HERE4 5353 # the target port is as closed as before
	ask_refused client $HERE6 53
}

@test "UDP over IPv6" {
	portsteer add 53:5353/udp --user ps-web
	serve dns $HERE6 5353 --udp
	assert_equal "$(ports_of $PID)" "udp [$HERE6]:53"
	assert_equal "$(ask client $HERE6 53)" "dns $PID $THERE6 $HERE6 5353"
	asked dns $HERE6 53
	ask_refused client $HERE6 5353
	ask_refused ::1 53
	ask_refused client $HERE4 53
}

@test "UDP, one dual-stack socket for both families" {
	portsteer add 53:5353/udp --user ps-web
	serve dns :: 5353 --udp --dual
	assert_equal "$(ports_of $PID)" "udp *:53"
	assert_equal "$(ask client $HERE4 53)" "dns $PID ::ffff:$THERE4 :: 5353"
	assert_equal "$(ask client $HERE6 53)" "dns $PID $THERE6 :: 5353"
	counters 53:5353/udp "translated=1"
}

@test "UDP, an IPv4 address on an IPv6 socket" {
	portsteer add 53:5353/udp --user ps-web
	serve dns ::ffff:10.1.2.3 5353 --udp --dual
	assert_equal "$(ask client 10.1.2.3 53)" "dns $PID ::ffff:$THERE4 ::ffff:10.1.2.3 5353"
	ask_refused client $HERE4 53
}

# bats test_tags=kernel
@test "TCP: clients of all kinds reach port 80, accepted sockets are told 8080" {
	portsteer add 80:8080/tcp --mode bind --user ps-web
	serve web 0.0.0.0 8080
	assert_no_caps $PID $WEB
	assert_equal "$(ports_of $PID)" "tcp 0.0.0.0:80"
	assert_equal "$(fetch client http://$HERE4/)" "web $PID $THERE4 $HERE4 8080"
	answers web http://127.0.0.1/
	answers web http://$HERE4/
	refused client http://$HERE4:8080/
	refused client "http://[$HERE6]/"
	counters 80:8080/tcp "translated=1 steered=0 no_listener=0 admitted=0"
}

@test "TCP over IPv6" {
	portsteer add 80:8080/tcp --mode bind --user ps-web
	serve web ::1 8080
	assert_equal "$(fetch "http://[::1]/")" "web $PID ::1 ::1 8080"
	refused client "http://[$HERE6]/" # it is bound to one address
	refused http://127.0.0.1/
}

@test "TCP, an IPv4 address on an IPv6 socket" {
	portsteer add 80:8080/tcp --mode bind --user ps-web
	serve web ::ffff:10.1.2.3 8080 --dual
	assert_equal "$(fetch client http://10.1.2.3/)" \
		"web $PID ::ffff:$THERE4 ::ffff:10.1.2.3 8080"
	refused client http://$HERE4/
}

@test "TCP, a listener on one interface: accepted sockets are told 8080 all the same" {
	portsteer add 80:8080/tcp --mode bind --user ps-web
	serve device 0.0.0.0 8080 --device veth-c
	assert_equal "$(fetch client http://$HERE4/)" "device $PID $THERE4 $HERE4 8080"
	# an address of IPv6 that is one interface's only
	ip addr add fe80::1/64 dev veth-c nodad
	ip -n client addr add fe80::2/64 dev eth0 nodad
	serve link fe80::1 8080 --device veth-c
	assert_match "$(fetch client 'http://[fe80::1%25eth0]/')" \
		"^link $PID fe80::2[^ ]* fe80::1[^ ]* 8080$"
}

@test "TCP, one dual-stack socket for both families" {
	portsteer add 80:8080/tcp --mode bind --user ps-web
	serve web :: 8080 --dual
	assert_equal "$(fetch client http://$HERE4/)" \
		"web $PID ::ffff:$THERE4 ::ffff:$HERE4 8080"
	assert_equal "$(fetch client "http://[$HERE6]/")" "web $PID $THERE6 $HERE6 8080"
	refused client "http://[$HERE6]:8080/"
}

# Kernels from 7.1 on have no UDP-Lite: no socket of it can be made.
no_udplite()
{
	[ ! -e /proc/net/udplite ] &&
		! "$PYTHON" -c 'import socket; socket.socket(2, 2, 136)' 2>/dev/null
}

@test "UDP-Lite is covered by a rule for UDP, and by none for TCP" {
	! no_udplite || return 0
	portsteer add 53:5353/udp --user ps-web
	portsteer add 54:5454/tcp --mode bind --user ps-web
	becomes 53 :: 5353 --udplite --dual
	becomes 5454 :: 5454 --udplite --dual
	serve lite 0.0.0.0 5353 --udplite
	assert_equal "$(ask client --udplite $HERE4 53)" "lite $PID $THERE4 0.0.0.0 5353"
	ask_refused client --udplite $HERE4 5353
	ask_refused client $HERE4 53
}

@test "an MPTCP listener, for clients with and without MPTCP" {
	[ "$(sysctl -ne net.mptcp.enabled)" = 1 ] || skip "this kernel has no MPTCP"
	portsteer add 80:8080/tcp --mode bind --user ps-web
	serve web :: 8080 --dual --mptcp
	assert_equal "$(fetch client http://$HERE4/)" \
		"web $PID ::ffff:$THERE4 ::ffff:$HERE4 8080"
	assert_equal "$(ask client --mptcp $HERE6 80)" "web $PID $THERE6 $HERE6 8080"
	refused client http://$HERE4:8080/
	counters 80:8080/tcp "translated=1 failed=0"
	stop $PID
	becomes 80 :: 8080 --dual --mptcp
}

@test "the owner gets the front port by asking for the target port only" {
	portsteer add 53:5353/udp --user ps-web
	becomes EACCES 0.0.0.0 53 --udp
	counters 53:5353/udp "translated=0 granted=0 failed=0"
}

@test "the other protocol's port of the same number is untouched" {
	portsteer add 53:5353/udp --user ps-web
	portsteer allow 443/tcp --user ps-web
	becomes 5353 0.0.0.0 5353
	becomes EACCES 0.0.0.0 53
	becomes EACCES 0.0.0.0 443 --udp
	counters 53:5353/udp "translated=0 not_owner=0"
	counters 443/tcp "granted=0 not_owner=0"
}

@test "neighbour ports are untouched" {
	portsteer add 53:5353/udp --user ps-web
	local port
	for port in 5352 5354; do
		becomes $port 0.0.0.0 $port --udp
	done
	for port in 52 54; do
		becomes EACCES 0.0.0.0 $port --udp
	done
	counters 53:5353/udp "translated=0 not_owner=0 failed=0"
}

@test "a range: first, middle, last, and not one beside it" {
	portsteer add 500-510:7000-7010/udp --user ps-web
	becomes 500 0.0.0.0 7000 --udp
	becomes 505 :: 7005 --udp
	becomes 510 0.0.0.0 7010 --udp
	becomes 6999 0.0.0.0 6999 --udp
	becomes 7011 0.0.0.0 7011 --udp
	counters 500-510:7000-7010/udp "translated=3 not_owner=0"
}

@test "a front port above 1023" {
	portsteer add 2222:3333/tcp --mode bind --user ps-web
	becomes 2222 0.0.0.0 3333
	counters 2222:3333/tcp "translated=1"
}

@test "ports that the kernel chooses are the client's own" {
	portsteer add 53:5353/udp 80:8080/tcp --mode bind --user ps-web
	assert_match "$(as $WEB "$PYTHON" -c '
import socket
for kind in socket.SOCK_DGRAM, socket.SOCK_STREAM:
    for family, address in (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"):
        server = socket.socket(family, kind)
        server.bind((address, 0))
        if kind == socket.SOCK_STREAM:
            server.listen()
        client = socket.socket(family, kind)
        client.connect(server.getsockname())
        assert client.getpeername() == server.getsockname()
        ports = server.getsockname()[1], client.getsockname()[1]
        assert min(ports) > 1023 and not {5353, 8080} & set(ports), ports
print("ok")')" "^ok$"
	counters 53:5353/udp "translated=0 not_owner=0"
}

@test "a server finds nobody on its own target port; the front port is where it is" {
	portsteer add 80:8080/tcp --mode bind --user ps-web
	serve web 0.0.0.0 8080
	refused http://127.0.0.1:8080/
	answers web http://127.0.0.1:80/
}

@test "a dead server: its port is closed, free for the owner, and for nobody else" {
	portsteer add 53:5353/udp --user ps-web
	serve dns 0.0.0.0 5353 --udp
	asked dns client $HERE4 53
	stop $PID
	ask_refused client $HERE4 53
	becomes EACCES -u $DB 0.0.0.0 53 --udp
	serve again 0.0.0.0 5353 --udp
	asked again client $HERE4 53
	counters 53:5353/udp "translated=2 not_owner=1"
}

# --- grants ------------------------------------------------------------------------

@test "allow: the owner may bind the port itself, and no other" {
	portsteer allow 443/tcp --user ps-web
	becomes 443 0.0.0.0 443
	becomes 443 :: 443 --dual
	becomes 443 ::1 443
	becomes EACCES 0.0.0.0 442
	becomes EACCES 0.0.0.0 444
	counters 443/tcp "granted=3 translated=0 not_owner=0 failed=0"
}

# bats test_tags=kernel
@test "allow: clients are served, and the server is told the same port" {
	portsteer allow 443/tcp --user ps-web
	serve web :: 443 --dual
	assert_no_caps $PID $WEB
	assert_equal "$(ports_of $PID)" "tcp *:443"
	assert_equal "$(fetch client http://$HERE4:443/)" \
		"web $PID ::ffff:$THERE4 ::ffff:$HERE4 443"
	assert_equal "$(fetch client "http://[$HERE6]:443/")" "web $PID $THERE6 $HERE6 443"
}

@test "allow: others are refused and counted" {
	portsteer allow 443/tcp --user ps-web
	becomes EACCES -u $DB 0.0.0.0 443
	becomes EACCES -u $DB :: 443
	becomes EACCES -u 0 0.0.0.0 443 # root without a capability
	counters 443/tcp "granted=0 not_owner=3 failed=0"
}

@test "allow: tcp is meant if nothing is said, udp covers UDP-Lite" {
	portsteer allow 443 --user ps-web
	portsteer allow 53/udp --user ps-web
	assert_equal "$(rules | sort)" $'443/tcp\n53/udp'
	becomes 443 0.0.0.0 443
	becomes EACCES 0.0.0.0 443 --udp
	becomes 53 0.0.0.0 53 --udp
	becomes EACCES 0.0.0.0 53
	! no_udplite || return 0
	becomes 53 0.0.0.0 53 --udplite
}

@test "allow: a range, and not the port before or behind it" {
	portsteer allow 500-600/tcp --user ps-web
	local port
	for port in 500 555 600; do
		becomes $port 0.0.0.0 $port
		becomes EACCES -u $DB 0.0.0.0 $port
	done
	becomes EACCES 0.0.0.0 499
	becomes EACCES 0.0.0.0 601
	counters 500-600/tcp "granted=3 not_owner=3"
}

@test "allow: one address" {
	portsteer allow 10.1.2.3:443/tcp '[2001:db8:aa::]/48:443/tcp' --user ps-web
	becomes 443 10.1.2.3 443
	becomes 443 ::ffff:10.1.2.3 443 --dual
	becomes 443 2001:db8:aa::1 443
	local address
	for address in 0.0.0.0 127.0.0.1 10.1.9.9 :: 2001:db8:bb::1; do
		becomes EACCES $address 443
	done
	counters 10.1.2.3:443/tcp "granted=2 not_owner=0"
	counters "[2001:db8:aa::]/48:443/tcp" "granted=1 not_owner=0"
}

@test "allow: the highest port that is privileged, and the lowest" {
	portsteer allow 1 1023 --user ps-web
	becomes 1 0.0.0.0 1
	becomes 1023 0.0.0.0 1023
	becomes EACCES 0.0.0.0 2
	becomes EACCES 0.0.0.0 1022
}

# unprivileged NETNS PORT: where ports begin that everybody may bind, in a namespace.
unprivileged()
{
	nsenter --net=/run/netns/"$1" -- \
		sh -c "echo $2 >/proc/sys/net/ipv4/ip_unprivileged_port_start"
}

@test "allow follows the namespace's own idea of privileged ports" {
	ip netns add high
	unprivileged high 2000
	portsteer --netns high allow 1500/tcp 1999/udp --user ps-web >"$PS_TEST_DIR/out"
	assert_equal "$(grep -c '^note: ' "$PS_TEST_DIR/out" || true)" 0
	becomes 1500 -N high 0.0.0.0 1500
	becomes EACCES -N high -u $DB 0.0.0.0 1500
	local status=0
	portsteer --netns high allow 2000/tcp --user ps-web 2>"$PS_TEST_DIR/err" || status=$?
	assert_equal "$status" 2
	assert_match "$(<"$PS_TEST_DIR/err")" "2000 is not privileged.* below 2000"
	status=0
	portsteer allow 1500/tcp --user ps-web 2>"$PS_TEST_DIR/err" || status=$?
	assert_equal "$status" 2 # ours is another namespace
	assert_match "$(<"$PS_TEST_DIR/err")" "1500 is not privileged.* below 1024"
	printf '[a]\nallow = 1600/tcp\nuser = ps-web\n' >"$PS_TEST_DIR/conf"
	portsteer -q --netns high apply -f "$PS_TEST_DIR/conf"
	becomes 1600 -N high 0.0.0.0 1600
	portsteer -q --netns high unload
	ip netns del high
}

@test "a grant of a port that everybody may bind: a note says so" {
	ip netns add low
	unprivileged low 100
	portsteer --netns low allow 99/tcp --user ps-web >"$PS_TEST_DIR/out"
	assert_equal "$(grep -c '^note: ' "$PS_TEST_DIR/out" || true)" 0
	portsteer --netns low allow 443/tcp --user ps-web >"$PS_TEST_DIR/out"
	assert_match "$(<"$PS_TEST_DIR/out")" \
		"note: rule 443/tcp excludes nobody: .* from 100 up; .*ip_unprivileged_port_start to 444"
	becomes 443 -N low -u $DB 0.0.0.0 443 # true
	assert_match "$(portsteer --netns low allow 90-100/tcp --user ps-db --json 2>&1 || true)" \
		"overlaps"
	assert_match "$(portsteer --netns low allow 90-100/udp --user ps-db --json |
		jsonget notes.0)" "rule 90-100/udp excludes nobody"
	portsteer -q --netns low unload
	ip netns del low
}

# --- owners ------------------------------------------------------------------------

@test "a stranger's bind to the target port is to that, and one to the front port refused" {
	portsteer add 53:5353/udp --user ps-web
	becomes 5353 -u $DB 0.0.0.0 5353 --udp
	becomes EACCES -u $DB 0.0.0.0 53 --udp
	becomes EACCES -u $DB :: 53 --udp
	counters 53:5353/udp "translated=0 granted=0 not_owner=3 failed=0"
}

# bats test_tags=kernel
@test "a squatter on the target port has nothing of the owner's" {
	portsteer add 53:5353/udp --user ps-web
	serve -u $DB thief 0.0.0.0 5353 --udp
	ask_refused client $HERE4 53
	serve dns 0.0.0.0 5353 --udp
	asked dns client $HERE4 53
	asked thief client $HERE4 5353
	counters 53:5353/udp "translated=1 not_owner=1 failed=0"
}

@test "root needs no rule: with the capability its binds are as they were" {
	portsteer add 53:5353/udp --user ps-web
	portsteer allow 443/tcp --user ps-web
	becomes 53 -u root 0.0.0.0 53 --udp
	becomes 5353 -u root 0.0.0.0 5353 --udp
	becomes 443 -u root :: 443 --dual
	becomes 444 -u root 0.0.0.0 444
	counters 53:5353/udp "translated=0 granted=0 failed=0"
	counters 443/tcp "granted=0 failed=0"
}

@test "root as the owner" {
	portsteer add 53:5353/udp --user root
	portsteer allow 443/tcp --user 0
	becomes 53 -u 0 0.0.0.0 5353 --udp
	becomes 443 -u 0 0.0.0.0 443
	becomes 53 -u root 0.0.0.0 5353 --udp
	becomes 5353 0.0.0.0 5353 --udp
	becomes EACCES 0.0.0.0 443
}

@test "owner by uid, with and without a name" {
	portsteer add 53:5353/udp --user $WEB
	portsteer add 54:5454/udp --user 54321
	becomes 53 0.0.0.0 5353 --udp
	becomes 54 -u 54321 0.0.0.0 5454 --udp
	becomes 5454 0.0.0.0 5454 --udp
}

@test "owner by user: it counts who makes the socket" {
	portsteer add 53:5353/udp --user ps-web
	portsteer allow 443/tcp --user ps-web
	# became the user before
	becomes 53 -u root 0.0.0.0 5353 --udp --become $WEB
	becomes 443 -u root 0.0.0.0 443 --become $WEB
	counters 53:5353/udp "translated=1 not_owner=0"
	# and after it had the socket, which is root's
	becomes 5353 -u root 0.0.0.0 5353 --udp --become $WEB --late
	becomes EACCES -u root 0.0.0.0 443 --become $WEB --late
	counters 53:5353/udp "translated=1 not_owner=1"
	counters 443/tcp "granted=1 not_owner=1"
}

# bats test_tags=kernel
@test "owner by cgroup: the cgroup and its children, not its siblings" {
	portsteer add 53:5353/udp --cgroup "$CG/web"
	portsteer allow 443/tcp --cgroup "$CG/web"
	local from
	for from in web2 we default; do
		becomes 5353 -g $from 0.0.0.0 5353 --udp
		becomes EACCES -g $from 0.0.0.0 443
	done
	becomes 53 -g web 0.0.0.0 5353 --udp
	becomes 53 -g web/child -u $DB :: 5353 --udp
	becomes 443 -g web/child -u $DB :: 443
	counters 53:5353/udp "translated=2 not_owner=3"
	counters 443/tcp "granted=1 not_owner=3"
}

@test "owner by cgroup: it counts where the socket was made" {
	portsteer add 53:5353/udp --cgroup "$CG/web"
	mkdir "$PS_TEST_CGROUP/web"
	becomes 53 -g other -u root 0.0.0.0 5353 --udp --enter "$PS_TEST_CGROUP/web"
	becomes 5353 -g other -u root 0.0.0.0 5353 --udp --enter "$PS_TEST_CGROUP/web" --late
	counters 53:5353/udp "translated=1 not_owner=1"
}

@test "owner by a cgroup that does not exist yet, is removed and made again" {
	portsteer add 53:5353/udp --cgroup "$CG/slice/web"
	local _
	for _ in 1 2 3; do
		becomes 5353 -g slice 0.0.0.0 5353 --udp
		becomes 53 -g slice/web 0.0.0.0 5353 --udp
		rmdir "$PS_TEST_CGROUP/slice/web" "$PS_TEST_CGROUP/slice"
	done
	counters 53:5353/udp "translated=3 not_owner=3"
}

@test "owner by user and cgroup: both must hold" {
	portsteer add 53:5353/udp --user ps-web --cgroup "$CG/web"
	becomes 5353 -g web -u $DB 0.0.0.0 5353 --udp
	becomes 5353 -g other -u $WEB 0.0.0.0 5353 --udp
	becomes 53 -g web -u $WEB 0.0.0.0 5353 --udp
	counters 53:5353/udp "translated=1 not_owner=2"
}

@test "--any-user: whoever binds" {
	portsteer add 53:5353/udp --any-user
	portsteer allow 443/tcp --any-user
	becomes 53 -u $DB 0.0.0.0 5353 --udp
	becomes 53 -u 0 -g x :: 5353 --udp
	becomes 443 -u $DB 0.0.0.0 443
	counters 53:5353/udp "translated=2 not_owner=0"
	counters 443/tcp "granted=1 not_owner=0"
}

@test "one target port, a rule for each owner" {
	portsteer add 53:5353/udp --user ps-web
	portsteer add 54:5353/udp --user ps-db
	becomes 53 0.0.0.0 5353 --udp
	becomes 54 -u $DB 0.0.0.0 5353 --udp
	counters 53:5353/udp "translated=1 not_owner=0"
	counters 54:5353/udp "translated=1 not_owner=0"
	becomes 5353 -u $SSH 0.0.0.0 5353 --udp
	counters 53:5353/udp "translated=1 not_owner=1"
	counters 54:5353/udp "translated=1 not_owner=1"
}

@test "one front port and two owners, for TCP and for UDP" {
	portsteer add 53:5353/udp --user ps-web
	portsteer add 53:5353/tcp --mode bind --user ps-db
	becomes 53 0.0.0.0 5353 --udp
	becomes 53 -u $DB 0.0.0.0 5353
	becomes 5353 -u $DB 0.0.0.0 5353 --udp
	becomes 5353 0.0.0.0 5353
}

@test "an owner that is not given is who holds the UDP port now, and the command says so" {
	serve dns 0.0.0.0 5300 --udp
	run portsteer add 53:5300/udp
	[ "$status" -eq 0 ]
	assert_match "${lines[0]}" "^owner of 53:5300/udp: user ps-web \(uid $WEB\), which .*5300$"
	stop $PID
	becomes 53 0.0.0.0 5300 --udp
	becomes 5300 -u $DB 0.0.0.0 5300 --udp
	assert_equal "$(portsteer list --json | jsonget rules.0.owner.uid)" $WEB
}

@test "an owner that is not given is who listens on the TCP port now" {
	serve -u $DB web 127.0.0.1 8080
	portsteer add --mode bind 80:8080 --json >"$PS_TEST_DIR/out"
	assert_equal "$(jsonget added inferred <"$PS_TEST_DIR/out")" \
		$'1\n'"[{\"rule\":\"80:8080/tcp\",\"uid\":$DB}]"
	stop $PID
	becomes 80 -u $DB 0.0.0.0 8080
	becomes 8080 0.0.0.0 8080
}

@test "root of a user namespace has gained nothing, and lost nothing" {
	portsteer allow 443/tcp --user root
	portsteer allow 444/tcp --user ps-db
	portsteer allow 445/tcp --user ps-web
	portsteer add 53:5353/udp --user root
	in_userns 443 EACCES
	in_userns 444 EACCES
	in_userns 446 EACCES
	in_userns 445 445 # the user is the owner, whatever it calls itself
	in_userns "53 --udp" EACCES
	in_userns "5353 --udp" 5353
	counters 443/tcp "granted=0 not_owner=1"
	counters 53:5353/udp "translated=0 not_owner=2"
}

# in_userns "PORT [OPTION]..." WANTED
in_userns()
{
	# shellcheck disable=SC2086 # words
	assert_equal "$1: $(in_cgroup default
		as $WEB unshare -Ur "$PYTHON" "$PS_TEST_DIR/server.py" --once 0.0.0.0 $1)" "$1: $2"
}

# --- addresses ---------------------------------------------------------------------

@test "the longest prefix says who owns an address" {
	portsteer add 53:5353/udp --user ps-web
	portsteer add 10.1.2.3:53:5353/udp --user ps-db
	becomes 53 -u $DB 10.1.2.3 5353 --udp
	becomes 5353 10.1.2.3 5353 --udp
	becomes 53 $HERE4 5353 --udp
	becomes 53 10.1.9.9 5353 --udp
	becomes 53 0.0.0.0 5353 --udp
	becomes 5353 -u $DB $HERE4 5353 --udp
	becomes 5353 -u $DB 0.0.0.0 5353 --udp
	counters 10.1.2.3:53:5353/udp "translated=1 not_owner=1"
	counters 53:5353/udp "translated=3 not_owner=2"
}

@test "two owners serve one port at two addresses" {
	portsteer add $HERE4:53:5353/udp --user ps-web
	portsteer add 10.1.2.3:53:5353/udp --user ps-db
	serve web $HERE4 5353 --udp
	serve -u $DB db 10.1.2.3 5353 --udp
	asked web client $HERE4 53
	asked db client 10.1.2.3 53
}

@test "prefixes of different lengths" {
	portsteer add 10.0.0.0/8:53:5353/udp --user ps-web
	portsteer add 10.1.0.0/16:53:5353/udp --user ps-db
	portsteer add '[2001:db8:aa::]/48:53:5353/udp' --user ps-ssh
	becomes 53 10.200.0.1 5353 --udp
	becomes 53 -u $DB 10.1.9.9 5353 --udp
	becomes 53 -u $SSH 2001:db8:aa::1 5353 --udp
	becomes 5353 10.1.9.9 5353 --udp
	becomes 5353 -u $SSH 2001:db8:bb::1 5353 --udp
	becomes 5353 -u $DB 10.200.0.1 5353 --udp
	becomes 5353 127.0.0.1 5353 --udp
}

@test "a bind to every address is in no prefix but that of every address" {
	portsteer add 10.1.2.3:53:5353/udp '[2001:db8:aa::1]:53:5353/udp' --user ps-web
	portsteer add 0.0.0.0/0:54:5454/udp '[::]/0:55:5555/udp' --user ps-web
	becomes 5353 0.0.0.0 5353 --udp
	becomes 5353 :: 5353 --udp
	becomes 5353 :: 5353 --udp --dual
	becomes 54 0.0.0.0 5454 --udp
	becomes 5454 :: 5454 --udp
	becomes 55 :: 5555 --udp
	becomes 5555 0.0.0.0 5555 --udp
	# what is for both families is in no prefix of one
	becomes 5454 :: 5454 --udp --dual
	becomes 5555 :: 5555 --udp --dual
	counters 10.1.2.3:53:5353/udp "translated=0"
	counters 0.0.0.0/0:54:5454/udp "translated=1"
}

@test "an IPv4 address on an IPv6 socket is in the prefixes of IPv4" {
	portsteer add 10.0.0.0/8:53:5353/udp '[::]/0:54:5454/udp' --user ps-web
	becomes 53 ::ffff:10.1.2.3 5353 --udp --dual
	becomes 5353 ::ffff:127.0.0.1 5353 --udp --dual
	becomes 5454 ::ffff:10.1.2.3 5454 --udp --dual
	becomes 54 2001:db8:aa::1 5454 --udp
}

@test "a rule of one family leaves the other alone" {
	portsteer add 0.0.0.0/0:53:5353/udp --user ps-web
	serve four 0.0.0.0 5353 --udp
	serve six :: 5353 --udp
	asked four client $HERE4 53
	ask_refused client $HERE6 53
	asked six client $HERE6 5353
	ask_refused client $HERE4 5353
	counters 0.0.0.0/0:53:5353/udp "translated=1"
}

# --- between the hook and the end of bind() ------------------------------------------

# What the hook has seen may have changed when the kernel binds. bind_race finds one within some
# hundred tries where nobody looks again; here are some hundred thousand.
@test "a socket that is made one of both families while it is bound gets no port of IPv6's" {
	install -m 0755 "$REPO/build/tools/bind_race" "$PS_TEST_DIR"
	local protocol how
	for protocol in tcp udp; do
		portsteer -q add "[::]/0:53:5300/$protocol" --mode bind --user ps-web
		for how in "" unmark; do
			# shellcheck disable=SC2086 # no word
			assert_match "$(as $WEB "$PS_TEST_DIR/bind_race" $protocol 5300 2 $how)" \
				"^both 0 alone [1-9]"
		done
		portsteer -q flush
	done
}

# meddle PORT PORT [ADDRESS]: another program after ours; see bind_meddle.
meddle()
{
	local ready
	coproc MEDDLE { exec "$REPO/build/tools/bind_meddle" "$PS_TEST_CGROUP2" "$@" 3>&-; }
	read -rt 20 ready <&"${MEDDLE[0]}"
	assert_equal "$ready" ready
}

unmeddle()
{
	local pid=$MEDDLE_PID
	eval "exec ${MEDDLE[1]}>&-"
	wait "$pid" || true
}

@test "another program changes the port that was granted: refused, and so is what it leads to" {
	portsteer -q add 53:5300/udp 77:7700/tcp --mode bind --user ps-web
	portsteer -q allow 79/tcp --user ps-web
	meddle 77 78
	becomes EPERM 0.0.0.0 7700
	becomes EACCES 0.0.0.0 78
	# Root may have both: nothing is taken from who has the capability.
	becomes "78, getsockname says 0.0.0.0 78" -u root 0.0.0.0 77
	becomes 53 0.0.0.0 5300 --udp
	becomes 79 0.0.0.0 79
	unmeddle
	becomes 77 0.0.0.0 7700
	counters 77:7700/tcp "translated=1 failed=1"
}

@test "another program changes the address to one that the rule is not for: refused" {
	portsteer -q add 127.0.0.1:77:7700/tcp 127.0.0.0/24:78:7800/udp --mode bind --user ps-web
	meddle 77 77 10.1.2.3
	becomes EPERM 127.0.0.1 7700
	becomes EADDRNOTAVAIL 203.0.113.1 7700 # no rule's
	unmeddle
	meddle 78 78 127.0.0.9
	becomes "78, getsockname says 127.0.0.9 7800" 127.0.0.1 7800 --udp
	unmeddle
	becomes 77 127.0.0.1 7700
	counters 127.0.0.1:77:7700/tcp "translated=1 failed=1"
}

@test "another program makes an ordinary port of a granted one: that anybody may have" {
	portsteer -q add 77:7700/tcp --mode bind --user ps-web
	meddle 77 7777
	becomes "7777, getsockname says 0.0.0.0 7777" 0.0.0.0 7700
	unmeddle
	counters 77:7700/tcp "translated=0 failed=1"
}

# bats test_tags=kernel
@test "owner by user: an MPTCP socket is whose it was made, too" {
	[ "$(sysctl -ne net.mptcp.enabled)" = 1 ] || skip "this kernel has no MPTCP"
	portsteer add 80:8080/tcp --mode bind --user ps-web
	portsteer allow 443/tcp --user ps-web
	becomes 80 -u root 0.0.0.0 8080 --mptcp --become $WEB
	becomes 8080 -u root 0.0.0.0 8080 --mptcp --become $WEB --late
	becomes EACCES -u root 0.0.0.0 443 --mptcp --become $WEB --late
	counters 80:8080/tcp "translated=1 not_owner=1"
	counters 443/tcp "granted=0 not_owner=1"
}

# given_away PROTOCOL FROM TO: the port of a socket that root makes as FROM, and gives to TO.
given_away()
{
	"$PYTHON" -c '
import os, socket, sys
protocol, before, after = map(int, sys.argv[1:])
os.seteuid(before)
sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
os.seteuid(0)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
os.fchown(sock.fileno(), after, -1)
os.seteuid(47103)
sock.bind(("127.0.0.1", 8080))
sock.listen()
os.system("ss -Hltn src 127.0.0.1")' "$@" | awk '{ sub(".*:", "", $4); print $4 }'
}

@test "owner by user: who was given the socket by chown, and not who had it before" {
	portsteer add 80:8080/tcp --mode bind --user ps-web
	local protocol protocols=(6)
	[ "$(sysctl -ne net.mptcp.enabled)" != 1 ] || protocols+=(262)
	for protocol in "${protocols[@]}"; do
		assert_equal "$protocol $(given_away $protocol $WEB $DB)" "$protocol 8080"
		assert_equal "$protocol $(given_away $protocol $DB $WEB)" "$protocol 80"
	done
	counters 80:8080/tcp "translated=${#protocols[@]} not_owner=${#protocols[@]}"
}

# --- ports that are taken ----------------------------------------------------------

@test "a front port that is taken: EADDRINUSE, as for any port, and counted" {
	serve -u root other 0.0.0.0 53 --udp
	portsteer add 53:5353/udp --user ps-web
	becomes EADDRINUSE 0.0.0.0 5353 --udp
	counters 53:5353/udp "translated=0 failed=1"
	asked other client $HERE4 53
	stop $PID
	becomes 53 0.0.0.0 5353 --udp
	counters 53:5353/udp "translated=1 failed=1"
}

@test "a granted port that is taken, and an address that is not here" {
	serve -u root other 0.0.0.0 443
	portsteer allow 443/tcp --user ps-web
	portsteer add 53:5353/udp --user ps-web
	becomes EADDRINUSE 0.0.0.0 443
	becomes EADDRNOTAVAIL 203.0.113.1 5353 --udp
	counters 443/tcp "granted=0 failed=1"
	counters 53:5353/udp "translated=0 failed=1"
}

@test "a socket that did not get the front port and takes another is told that one" {
	serve -u root other 0.0.0.0 53 --udp
	portsteer add 53:5353/udp --user ps-web
	becomes 6000 0.0.0.0 5353 --udp --fallback 6000
	portsteer add 54:6000/udp --user ps-db # looks at port 6000 too
	becomes 6000 0.0.0.0 5353 --udp --fallback 6000
	counters 53:5353/udp "translated=0 failed=2"
}

@test "a failed bind leaves nothing on the socket, which then gets the port otherwise" {
	serve -u root other 127.0.0.1 53 --udp
	portsteer add 53:5353/udp --user root
	assert_equal "$("$PYTHON" -c '
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try:
    sock.bind(("127.0.0.1", 5353))
except OSError as error:
    print(error.strerror)
sock.bind(("127.0.0.2", 53)) # root may
print(*sock.getsockname())')" $'Address already in use\n127.0.0.2 53'
	counters 53:5353/udp "translated=0 failed=1"
}

@test "two workers with SO_REUSEPORT have the front port together" {
	portsteer add 80:8080/tcp 53:5353/udp --mode bind --user ps-web
	serve web 0.0.0.0 8080 --reuseport --workers 2
	assert_equal "$(ports_of "${PIDS[0]}") $(ports_of "${PIDS[1]}")" \
		"tcp 0.0.0.0:80 tcp 0.0.0.0:80"
	assert_match "$(client_connections --count 50 $HERE4 80)" "^ok 50 refused 0 broken 0 "
	serve dns 0.0.0.0 5353 --udp --reuseport --workers 2
	asked dns client $HERE4 53
	counters 80:8080/tcp "translated=2 failed=0"
	counters 53:5353/udp "translated=2 failed=0"
	becomes EADDRINUSE 0.0.0.0 5353 --udp # without it
	counters 53:5353/udp "translated=2 failed=1"
}

@test "SO_REUSEADDR: a restart while connections are in TIME_WAIT" {
	portsteer add 90:8080/tcp --mode bind --user ps-web
	serve web 0.0.0.0 8080
	assert_match "$(client_connections --count 10 $HERE4 90)" "^ok 10 "
	stop $PID
	[ -n "$(ss -Htn state time-wait "sport = :90")" ]
	becomes EADDRINUSE 0.0.0.0 8080 --reuseaddr 0
	serve again 0.0.0.0 8080
	answers again client http://$HERE4:90/
	counters 90:8080/tcp "translated=2 failed=1"
}

@test "a socket of its own for one client, as DTLS servers have, is on the front port too" {
	portsteer add 443:8443/udp --user ps-web
	start "$PYTHON" -c '
import socket
def bound(*to):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("'$HERE4'", 8443))
    return sock
first = bound()
while True:
    peer = first.recvfrom(4096)[1]
    own = bound()
    own.connect(peer)
    own.send(b"hello %d %d" % (own.getsockname()[1], own.getpeername()[1]))
    own.send(b"asked again %r" % own.recv(4096))
'
	wait_port 443 -u
	assert_equal "$(client "$PYTHON" -c '
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(10)
sock.bind(("", 999))
sock.connect(("'$HERE4'", 443))
sock.send(b"1")
print(sock.recv(4096).decode())
sock.send(b"2")
print(sock.recv(4096).decode())')" $'hello 8443 999\nasked again b\'2\''
	counters 443:8443/udp "translated=2 failed=0"
}

# --- what is said of ports in use --------------------------------------------------

@test "a front port that somebody has: add and allow name the process" {
	serve -u root ssh 0.0.0.0 22
	local holder="python3\[$PID\]"
	assert_match "$(portsteer add 22:2222/tcp --mode bind --user ps-ssh)" \
		$'(^|\n)note: [^\n]*22[^\n]*'"$holder"
	portsteer -q del 22
	assert_match "$(portsteer allow 22 --user ps-ssh)" $'(^|\n)note: [^\n]*22[^\n]*'"$holder"
	portsteer -q del 22
	assert_match "$(portsteer allow 22 --user ps-ssh --json | jsonget notes.0)" "$holder"
	assert_equal "$(portsteer allow 23 --user ps-ssh --json | jsonget notes)" "[]"
}

@test "a front port that somebody has, UDP; not for one who has the TCP port" {
	serve -u root dns 0.0.0.0 53 --udp
	assert_match "$(portsteer add 53:5353/udp --user ps-web --json | jsonget notes.0)" \
		"python3\[$PID\]"
	assert_equal "$(portsteer add 53:5353/tcp --mode bind --user ps-web --json |
		jsonget notes)" "[]"
}

@test "a server that has the target port already gets the front port at its next bind" {
	serve dns 0.0.0.0 5353 --udp
	portsteer add 53:5353/udp --user ps-web >"$PS_TEST_DIR/out"
	local sign="already bound; restart it for"
	grep -q "python3\[$PID\].*$sign\|$sign.*python3\[$PID\]" "$PS_TEST_DIR/out"
	portsteer list >"$PS_TEST_DIR/list"
	grep "0.0.0.0:5353 ps-web python3\[$PID\]" "$PS_TEST_DIR/list" | grep -q "$sign"
	asked dns client $HERE4 5353
	ask_refused client $HERE4 53
	stop $PID
	serve again 0.0.0.0 5353 --udp
	asked again client $HERE4 53
	grep -q "0.0.0.0:53 ps-web python3\[$PID\]$" <(portsteer list)
	grep "$sign" <(portsteer list) && return 1
	counters 53:5353/udp "translated=1 not_owner=0"
}

@test "a TCP server that has the target port already" {
	serve web 127.0.0.1 8080
	portsteer add 80:8080/tcp --mode bind --user ps-web >"$PS_TEST_DIR/out"
	grep "already bound; restart it for" "$PS_TEST_DIR/out" | grep -q "python3\[$PID\]"
	answers web http://127.0.0.1:8080/
	refused http://127.0.0.1/
	stop $PID
	serve again 127.0.0.1 8080
	answers again http://127.0.0.1/
}

@test "UDP bound and TCP steered between the same ports: a note, in whatever order" {
	local rule
	for rule in "53:5300/udp 53:5300/tcp" "53:5300/tcp 53:5300/udp"; do
		# shellcheck disable=SC2086 # words
		assert_equal "$(portsteer add $rule --user ps-web --json | jsonget notes.#)" 1
		portsteer -q flush
		portsteer -q add "${rule% *}" --user ps-web
		assert_match "$(portsteer add "${rule#* }" --user ps-web)" \
			"note: rule 53:5300/udp binds .* rule 53:5300/tcp steers .*--mode bind"
		portsteer -q flush
	done
	# Other ports, other addresses, TCP bound as well: none.
	portsteer -q add 53:5300/udp 10.0.0.0/8:54:5400/udp --user ps-web
	portsteer -q allow 80/udp --user ps-web
	assert_equal "$(portsteer add 53:5301 55:5302 11.0.0.0/8:54:5400 80:8080 --user ps-web --json |
		jsonget notes)" "[]"
	portsteer -q del 53/tcp
	assert_equal "$(portsteer add 53:5300/tcp --mode bind --user ps-web --json |
		jsonget notes)" "[]"
	assert_equal "$(portsteer add 10.1.0.0/16:54:5400 --user ps-web --json | jsonget notes.#)" 1
}

# bats test_tags=kernel
@test "list: who has the front port through the rule" {
	portsteer add 53:5353/udp --user ps-web
	assert_match "$(portsteer list)" "^RULE +MODE +OWNER"$'\n'"53:5353/udp +bind +user ps-web"$'\n'"  not bound yet$"
	serve dns 0.0.0.0 5353 --udp
	assert_match "$(portsteer list)" \
		"53:5353/udp +bind +user ps-web"$'\n'"  0\.0\.0\.0:53 ps-web python3\[$PID\]"
	portsteer list --json >"$PS_TEST_DIR/list"
	assert_equal "$(jsonget rules.0.listener_count rules.0.not_admitted \
		rules.0.listeners.0.address rules.0.listeners.0.port rules.0.listeners.0.family \
		rules.0.listeners.0.user rules.0.listeners.0.processes.0.pid <"$PS_TEST_DIR/list")" \
		$'1\n[]\n0.0.0.0\n53\nipv4\nps-web\n'"$PID"
	stop $PID
	assert_equal "$(listener_count 53:5353/udp)" 0
}

@test "list: sockets of each kind" {
	portsteer add 80:8080/tcp 53:5353/udp --mode bind --user ps-web
	portsteer allow 443/tcp --user ps-web
	serve web :: 8080 --dual
	serve dns :: 5353 --udp
	serve tls 127.0.0.1 443
	portsteer list --json | "$PYTHON" -c '
import json, sys
for rule in json.load(sys.stdin)["rules"]:
    print(rule["rule"], rule["mode"], *[(l["address"], l["port"], l["family"])
          for l in rule["listeners"]])' | sort >"$PS_TEST_DIR/list"
	assert_equal "$(<"$PS_TEST_DIR/list")" "443/tcp bind ('127.0.0.1', 443, 'ipv4')
53:5353/udp bind ('::', 53, 'ipv6')
80:8080/tcp bind ('::', 80, 'dual')"
}

@test "list and del: UDP-Lite and MPTCP sockets too" {
	portsteer -q add 80:8080/tcp 53:5353/udp --mode bind --user ps-web
	if [ "$(sysctl -ne net.mptcp.enabled)" = 1 ]; then
		serve web 127.0.0.1 8080 --mptcp
		assert_equal "$(listener_count 80:8080/tcp)" 1
		assert_equal "$(portsteer del 80 --json | jsonget held.0.processes.0.pid)" $PID
	fi
	if [ -e /proc/net/udplite ]; then
		serve lite 127.0.0.1 5353 --udplite
		assert_equal "$(listener_count 53:5353/udp)" 1
		assert_equal "$(portsteer del 53/udp --json | jsonget held.0.processes.0.pid)" $PID
	fi
}

@test "list: others on the target port, and why they do not count" {
	portsteer add 53:5353/udp --user ps-web
	serve -u $DB thief 127.0.0.1 5353 --udp
	portsteer list --json >"$PS_TEST_DIR/list"
	assert_equal "$(jsonget rules.0.listener_count rules.0.not_admitted_count \
		rules.0.not_admitted.0.user rules.0.not_admitted.0.port \
		rules.0.not_admitted.0.processes.0.pid <"$PS_TEST_DIR/list")" \
		$'0\n1\nps-db\n5353\n'"$PID"
	[ -n "$(jsonget rules.0.not_admitted.0.reason <"$PS_TEST_DIR/list")" ]
	assert_match "$(portsteer list)" "127\.0\.0\.1:5353 ps-db python3\[$PID\] \(not "
}

# outgoing PROTOCOL ADDRESS: what getsockname says of the port of a connection to port 7000.
outgoing()
{
	as "$WEB" "$PYTHON" -c '
import socket, struct, sys
sock = socket.socket(socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET,
                     socket.SOCK_STREAM, int(sys.argv[1]))
sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
sock.connect((sys.argv[2], 7000))
print(sock.getsockname()[1])' "$@"
}

# bats test_tags=kernel
@test "a connection from a port that happens to be a rule's front port is told that one" {
	portsteer add 40000:50000/tcp --mode bind --user ps-web
	serve -u $DB four 127.0.0.1 7000
	serve -u $DB six ::1 7000
	local range=/proc/sys/net/ipv4/ip_local_port_range before protocol protocols=(6)
	before=$(<$range)
	[ "$(sysctl -ne net.mptcp.enabled)" != 1 ] || protocols+=(262)
	echo 40000 40000 >$range
	for protocol in "${protocols[@]}"; do
		assert_equal "$(outgoing $protocol 127.0.0.1)" 40000
		assert_equal "$(outgoing $protocol ::1)" 40000
	done
	echo "$before" >$range
	# Who is accepted on it is told the target.
	serve web 127.0.0.1 50000
	assert_equal "$(fetch http://127.0.0.1:40000/)" "web $PID 127.0.0.1 127.0.0.1 50000"
}

# --- when rules go -----------------------------------------------------------------

@test "del: the next bind is as it was, sockets keep their port, and are named" {
	portsteer add 53:5353/udp --user ps-web
	serve dns 0.0.0.0 5353 --udp
	assert_equal "$(ask client $HERE4 53)" "dns $PID $THERE4 0.0.0.0 5353"
	portsteer del 53/udp >"$PS_TEST_DIR/out"
	grep keeps "$PS_TEST_DIR/out" | grep "0.0.0.0:53 " | grep -q "python3\[$PID\]"
	becomes 5353 127.0.0.1 5353 --udp
	becomes EACCES 127.0.0.1 53 --udp
	# and are told the truth
	assert_equal "$(ask client $HERE4 53)" "dns $PID $THERE4 0.0.0.0 53"
	stop $PID
	ask_refused client $HERE4 53
}

@test "del: a TCP server goes on, and so do its connections" {
	portsteer add 80:8080/tcp --mode bind --user ps-web
	serve web 127.0.0.1 8080
	local fd
	exec {fd}<>/dev/tcp/127.0.0.1/80
	portsteer del 80 >"$PS_TEST_DIR/out"
	grep keeps "$PS_TEST_DIR/out" | grep "127.0.0.1:80 " | grep -q "python3\[$PID\]"
	printf 'GET / HTTP/1.0\r\n\r\n' >&$fd
	assert_equal "$(tail -1 <&$fd)" "web $PID 127.0.0.1 127.0.0.1 80"
	exec {fd}>&-
	assert_equal "$(fetch http://127.0.0.1/)" "web $PID 127.0.0.1 127.0.0.1 80"
}

@test "del as JSON: the sockets that keep their port" {
	portsteer add 53:5353/udp 54:5454/udp --user ps-web
	portsteer allow 443/tcp --user ps-web
	serve dns 127.0.0.1 5353 --udp
	portsteer del 53:5353/udp --json >"$PS_TEST_DIR/out"
	assert_equal "$(jsonget added removed held.# held.0.address held.0.port held.0.user \
		held.0.processes.0.pid <"$PS_TEST_DIR/out")" \
		$'0\n1\n1\n127.0.0.1\n53\nps-web\n'"$PID"
	assert_equal "$(portsteer del 54/udp --json)" '{"added":0,"removed":1,"held":[]}'
	serve tls 127.0.0.1 443
	assert_equal "$(portsteer del 443 --json | jsonget held.0.port \
		held.0.processes.0.pid)" $'443\n'"$PID"
}

@test "flush and unload: the same" {
	keep_nothing
	local change
	for change in flush unload; do
		portsteer -q add 53:5353/udp --user ps-web
		portsteer -q allow 443/tcp --user ps-web
		serve dns 0.0.0.0 5353 --udp
		portsteer -q $change
		becomes 5353 0.0.0.0 5353 --udp
		becomes EACCES 0.0.0.0 443
		assert_equal "$(ask client $HERE4 53)" "dns $PID $THERE4 0.0.0.0 53"
		stop $PID
	done
	[ ! -e $STATE ]
}

@test "a socket of a rule that was deleted is none of the next owner's" {
	portsteer -q add 53:5353/udp 54:5454/udp --user ps-web
	serve dns 0.0.0.0 5353 --udp
	portsteer -q del 53/udp
	portsteer add 53:5353/udp --user ps-db --json >"$PS_TEST_DIR/out"
	assert_match "$(jsonget notes.0 <"$PS_TEST_DIR/out")" "0\.0\.0\.0:53 .*python3\[$PID\]"
	portsteer list --json >"$PS_TEST_DIR/list"
	assert_equal "$(jsonget "rules|rule=53:5353/udp|listener_count" \
		"rules|rule=53:5353/udp|not_admitted|0|processes|0|pid" <"$PS_TEST_DIR/list")" \
		$'0\n'"$PID"
	assert_equal "$(ask client $HERE4 53)" "dns $PID $THERE4 0.0.0.0 53"
}

@test "a server keeps its port through changes of other rules" {
	portsteer add 53:5353/udp --user ps-web
	serve dns 0.0.0.0 5353 --udp
	portsteer -q add 54:5454/udp 80:8080 --user ps-web
	portsteer -q del 54/udp
	portsteer -q del 80
	assert_equal "$(ask client $HERE4 53)" "dns $PID $THERE4 0.0.0.0 5353"
	assert_equal "$(listener_count 53:5353/udp)" 1
	counters 53:5353/udp "translated=1"
}

@test "while other rules come and go, each bind is the owner's" {
	portsteer -q add 53:5353/udp --user ps-web
	portsteer -q allow 443/tcp --user ps-web
	local mover ended=0 held
	rm -f "$PS_TEST_DIR/stop"
	(
		while [ ! -e "$PS_TEST_DIR/stop" ]; do
			portsteer -q add 54:5454/udp 10.0.0.0/8:53:5353/udp 81:8081 --user ps-db
			portsteer -q del 54/udp 10.0.0.0/8:53/udp 81
		done
	) 3>&- &
	mover=$!
	# A command that looks at open files holds each for a moment: a socket that is closed just
	# then has its port until it is let go of.
	(as $WEB "$PYTHON" -c '
import errno, socket
held = {"udp": 0, "tcp": 0}
def bind(kind, sock, port):
    while True:
        try:
            return sock.bind(("127.0.0.1", port))
        except OSError as e:
            if e.errno != errno.EADDRINUSE:
                raise
            held[kind] += 1
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as real:
    real.bind(("127.0.0.1", 53535))
    for _ in range(3000):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            bind("udp", sock, 5353)
            sock.sendto(b"", real.getsockname())
            assert real.recvfrom(1)[1] == ("127.0.0.1", 53)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            bind("tcp", sock, 443)
print(held["udp"], held["tcp"])
') >"$PS_TEST_DIR/held" || ended=$?
	: >"$PS_TEST_DIR/stop"
	wait $mover
	assert_equal $ended 0
	read -ra held <"$PS_TEST_DIR/held"
	counters 53:5353/udp "translated=3000 not_owner=0 failed=${held[0]}"
	counters 443/tcp "granted=3000 not_owner=0 failed=${held[1]}"
}

@test "binds on all CPUs at once are counted, each of them" {
	portsteer -q add 53:5353/udp --user ps-web
	local n pids=()
	for n in 1 2 3 4; do
		as $WEB "$PYTHON" -c '
import socket, sys
for _ in range(1000):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0." + sys.argv[1], 5353))' $n 3>&- &
		pids+=($!)
	done
	wait "${pids[@]}"
	counters 53:5353/udp "translated=4000 not_owner=0 failed=0"
}

# --- the commands ------------------------------------------------------------------

@test "rules of both modes beside each other, in every command" {
	portsteer -q add 80:8080 53:5353/udp --user ps-web --name shop
	portsteer -q allow 443/tcp --user ps-web
	serve web 127.0.0.1 8080
	serve dns 127.0.0.1 5353 --udp
	serve tls 127.0.0.1 443
	answers web client http://$HERE4/ # steered
	asked dns 127.0.0.1 53
	answers tls http://127.0.0.1:443/
	assert_equal "$(portsteer list --json | "$PYTHON" -c '
import json, sys
for r in json.load(sys.stdin)["rules"]:
    print(r["rule"], r["mode"], r["protocol"], r["name"])' | sort)" \
		"443/tcp bind tcp None
53:5353/udp bind udp shop
80:8080/tcp steer tcp shop"
	counters 80:8080/tcp "steered=1 admitted=1 translated=0 granted=0"
	counters 53:5353/udp "steered=0 admitted=0 translated=1 granted=0"
	counters 443/tcp "steered=0 admitted=0 translated=0 granted=1"
	assert_equal "$(portsteer status --json | jsonget "instances|name=current|rules")" 3
	assert_equal "$(portsteer flush --json | jsonget removed)" 3
	assert_equal "$(rules)" ""
}

@test "stats as text: mode, owner and counters" {
	portsteer -q add 53:5353/udp --user ps-web
	portsteer -q allow 443/tcp --cgroup "$CG/web"
	becomes 53 0.0.0.0 5353 --udp
	becomes EACCES 0.0.0.0 443
	portsteer stats >"$PS_TEST_DIR/stats"
	assert_match "$(head -1 "$PS_TEST_DIR/stats")" "^RULE +MODE +OWNER +NOT OWNER +TRANSLATED +LAST HIT$"
	grep -Eq "^53:5353/udp +bind +user ps-web +0 +1 +[0-9]+ s ago$" "$PS_TEST_DIR/stats"
	grep -Eq "^443/tcp +bind +cgroup /$CG/web +1 +0 +never$" "$PS_TEST_DIR/stats"
	assert_match "$(portsteer stats -v | head -1)" " ADMITTED +NOT OWNER +REJECTED +GRANTED +TRANSLATED +FAILED "
}

@test "stats as JSON: every counter for every rule" {
	portsteer -q add 80:8080 53:5353/udp --user ps-web
	portsteer -q allow 443/tcp --user ps-web
	portsteer stats --json | "$PYTHON" -c '
import json, sys
for r in json.load(sys.stdin)["rules"]:
    assert sorted(r["counters"]) == ["admitted", "failed", "granted", "no_listener", "not_owner",
        "refused", "rejected", "steered", "taken", "translated", "wrong_device", "wrong_family"], r
    assert not any(r["counters"].values()), r'
}

@test "add -f: rules of both modes in one file" {
	cat >"$PS_TEST_DIR/rules" <<-END
		[web]
		ports = 80:8080 443:8443 53:5353/udp
		user = ps-web
		[dns]
		ports = 53:5353/tcp
		user = ps-web
		mode = bind
		[ntp]
		# bound, as all of UDP
		ports = 10.1.2.3:123:1230/udp
		cgroup = $CG/ntp
		[dot]
		allow = 853
		user = ps-web
	END
	portsteer -q add -f "$PS_TEST_DIR/rules"
	assert_equal "$(portsteer list --json | "$PYTHON" -c '
import json, sys
for r in json.load(sys.stdin)["rules"]:
    print(r["rule"], r["mode"])' | sort)" \
		"10.1.2.3:123:1230/udp bind
443:8443/tcp steer
53:5353/tcp bind
53:5353/udp bind
80:8080/tcp steer
853/tcp bind"
	becomes 53 0.0.0.0 5353
	becomes 53 0.0.0.0 5353 --udp
	becomes 123 -g ntp 10.1.2.3 1230 --udp
	becomes 853 0.0.0.0 853
}

@test "del: with and without the target, by protocol and address" {
	portsteer -q add 53:5353/udp 53:5353/tcp 10.1.2.3:53:5353/udp 90-99:9090-9099/udp \
		--mode bind --user ps-web
	portsteer -q allow 443 444/udp --user ps-web
	portsteer -q del 53/udp
	becomes 5353 0.0.0.0 5353 --udp
	becomes 53 10.1.2.3 5353 --udp
	becomes 53 0.0.0.0 5353
	portsteer -q del 53:5353/tcp 10.1.2.3:53/udp 443/tcp 444/udp
	assert_equal "$(rules)" 90-99:9090-9099/udp
	portsteer -q del 90-99:9090-9099/udp
	assert_equal "$(rules)" ""
}

@test "counters of a rule go on when others come and go" {
	portsteer -q add 53:5353/udp --user ps-web
	becomes 53 0.0.0.0 5353 --udp
	portsteer -q allow 443 --user ps-web
	becomes 53 0.0.0.0 5353 --udp
	portsteer -q del 443
	becomes 53 0.0.0.0 5353 --udp
	counters 53:5353/udp "translated=3"
	# Another rule of the same name begins at zero.
	portsteer -q del 53/udp
	portsteer -q add 53:5353/udp --user ps-web
	becomes 53 0.0.0.0 5353 --udp
	counters 53:5353/udp "translated=1"
}

@test "large ranges" {
	portsteer -q add 1024-8080:20000-27056/udp --user ps-web
	portsteer -q allow 1-1023 1-1023/udp --user ps-db
	becomes 1024 0.0.0.0 20000 --udp
	becomes 8080 0.0.0.0 27056 --udp
	becomes 27056 -u $DB 0.0.0.0 27056 --udp
	becomes 19999 0.0.0.0 19999 --udp
	becomes 1 -u $DB 0.0.0.0 1
	becomes 1023 -u $DB 0.0.0.0 1023 --udp
	becomes EACCES 0.0.0.0 1023
	counters 1024-8080:20000-27056/udp "translated=2 not_owner=1"
}

@test "many rules at once" {
	local n
	for n in $(seq 1 400); do
		echo "$n:$((20000 + n))/udp --user $((50000 + n))"
		echo "10.1.2.3:$n:$((20000 + n))/udp --user ps-web"
	done | sections | portsteer -q add -f -
	for n in 1 80 255 256 399 400; do
		becomes $n -u $((50000 + n)) 0.0.0.0 $((20000 + n)) --udp
		becomes $n 10.1.2.3 $((20000 + n)) --udp
		becomes $((20000 + n)) 0.0.0.0 $((20000 + n)) --udp
		counters $n:$((20000 + n))/udp "translated=1 not_owner=1"
	done
	becomes 20401 -u 50401 0.0.0.0 20401 --udp
}

# bats test_tags=kernel
@test "instances of two namespaces do not mix" {
	keep_nothing
	portsteer -q --netns client add 53:5353/udp --user ps-web
	portsteer -q --netns client allow 443/tcp --user ps-web
	becomes 5353 0.0.0.0 5353 --udp # nothing is loaded here
	portsteer -q add 54:5353/udp --user ps-web
	becomes 54 0.0.0.0 5353 --udp
	becomes 53 -N client 0.0.0.0 5353 --udp
	becomes EACCES 0.0.0.0 443
	becomes 443 -N client 0.0.0.0 443
	serve -N client dns 0.0.0.0 5353 --udp
	asked dns $THERE4 53
	assert_equal "$(portsteer --netns client list --json | jsonget \
		"rules|rule=53:5353/udp|listeners|0|processes|0|pid")" "$PID"
	counters 54:5353/udp "translated=1"
	portsteer -q unload
	becomes 5353 0.0.0.0 5353 --udp
	becomes 53 -N client ::1 5353 --udp
	portsteer --netns client unload
	[ ! -e $STATE ]
}

# To find the listener of an accepted socket is a lookup, but no connection.
@test "connections that are steered are counted once, whatever is bound elsewhere" {
	portsteer -q add 80:8080 10.0.0.0/8:81:8181 --user ps-web
	portsteer -q --netns client allow 80 --user ps-db
	portsteer -q add $HERE4:81:8182 --mode bind --user ps-web
	serve web 127.0.0.1 8080
	assert_match "$(client_connections --count 20 $HERE4 80)" "^ok 20 "
	counters 80:8080/tcp "steered=20 no_listener=0"
	serve steered 127.0.0.1 8181
	serve bound $HERE4 8182
	assert_match "$(client_connections --count 20 10.1.2.3 81)" "^ok 20 .* steered=20$"
	assert_match "$(client_connections --count 20 $HERE4 81)" "^ok 20 .* bound=20$"
	counters 10.0.0.0/8:81:8181/tcp "steered=20 no_listener=0"
	portsteer -q --netns client unload
}

@test "a namespace that died: the hooks go with the next command" {
	keep_nothing
	ip netns add mortal
	portsteer -q --netns mortal allow 443 --user ps-web
	local cookie
	cookie=$(portsteer --netns mortal list --json | jsonget netns.cookie)
	ip netns del mortal
	until_true 20 is_dead "$cookie"
	[ -e $STATE/host/bind ]
	portsteer -q add 80:8080 --user ps-web
	[ ! -e $STATE/host/bind ]
}

is_dead()
{
	[ "$(portsteer status --json | jsonget "instances|cookie=$1|alive")" = false ]
}

@test "a hook that was taken away: status and the next change say so" {
	local hook command status
	portsteer -q add 53:5353/udp --user ps-web
	for hook in bind4 bind6 post_bind4 post_bind6 getsockname4 getsockname6; do
		rm $STATE/host/bind/$hook
		for command in status "add 54:5454/udp --user ps-web"; do
			status=0
			# shellcheck disable=SC2086
			portsteer $command >/dev/null 2>"$PS_TEST_DIR/stderr" || status=$?
			assert_equal "$hook, $command: $status" "$hook, $command: 1"
			assert_match "$(<"$PS_TEST_DIR/stderr")" "$hook.*portsteer unload"
		done
		portsteer -q unload
		portsteer -q add 53:5353/udp --user ps-web
	done
	becomes 53 0.0.0.0 5353 --udp
}

# bats test_tags=kernel
@test "the hooks are there while any instance has a rule of this mode" {
	keep_nothing
	portsteer -q load
	portsteer -q add 80:8080 --user ps-web
	[ ! -e $STATE/host/bind ]
	portsteer -q add 53:5353/udp --user ps-web
	[ -e $STATE/host/bind ]
	portsteer -q --netns client allow 443 --user ps-web
	portsteer -q del 53/udp
	[ -e $STATE/host/bind ]
	portsteer -q --netns client del 443
	[ ! -e $STATE/host/bind ]
	portsteer -q allow 443 --user ps-web
	[ -e $STATE/host/bind ]
	portsteer -q flush
	[ ! -e $STATE/host/bind ]
	portsteer -q --netns client unload
}
