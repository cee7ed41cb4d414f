#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Listeners and clients of a VRF: port 80 ends as the listener's own port does.

load ../e2e/lib

setup_file()
{
	setup_env
	modprobe vrf
	ip link add red type vrf table 100
	ip link set red up
	make_pair member veth-m 203.0.113 2001:db8:2:
	ip link set veth-m master red
	ip addr add 2001:db8:2::1/64 dev veth-m nodad
	ip -n member route add default via 203.0.113.1
}
setup() { setup_test; }
teardown()
{
	sysctl -qw net.ipv4.tcp_l3mdev_accept=0
	teardown_test
}

# get [NETNS] PREFIX... URL-HOST PORT: who answers, and curl's status; 28: it hangs
get()
{
	local got status=0
	got=$("${@:1:$#-2}" curl -sS --globoff --noproxy '*' --max-time 4 "http://${*: -2:1}:${*: -1}/" 2>/dev/null) || status=$?
	echo "${got%% *} $status"
}
in_member() { nsenter --net=/run/netns/member -- "$@"; }

# alike HOST PREFIX...: 80 as 8080
alike()
{
	assert_equal "$1 from ${*:2}: $(get "${@:2}" "$1" 80)" \
		"$1 from ${*:2}: $(get "${@:2}" "$1" 8080)"
}
all_alike()
{
	alike 127.0.0.1
	alike $HERE4 client
	alike "[$HERE6]" client
	alike 203.0.113.1 in_member
	alike "[2001:db8:2::1]" in_member
	alike 203.0.113.1 ip vrf exec red
	alike "[2001:db8:2::1]" ip vrf exec red
}

listeners_of() # OPTION...
{
	serve any 0.0.0.0 8080 "$@"
	all_alike
	kill_servers
	serve any6 :: 8080 --v6only "$@"
	all_alike
	kill_servers
}

@test "no listener is bound: a VRF's clients are refused" {
	portsteer add 80:8080 --user ps-web
	listeners_of
	serve any 0.0.0.0 8080
	assert_equal "$(get client $HERE4 80)" "any 0"
	assert_equal "$(get in_member 203.0.113.1 80)" " 7"
}

@test "no listener is bound, tcp_l3mdev_accept: a VRF's clients are served" {
	sysctl -qw net.ipv4.tcp_l3mdev_accept=1
	portsteer add 80:8080 --user ps-web
	listeners_of
	serve any 0.0.0.0 8080
	assert_equal "$(get in_member 203.0.113.1 80)" "any 0"
}

@test "listeners bound to the VRF, to its member, to a device outside" {
	portsteer add 80:8080 --user ps-web
	local device
	for device in red veth-m veth-c lo; do
		listeners_of --device $device
	done
	serve red 0.0.0.0 8080 --device red
	serve out 0.0.0.0 8080 --device veth-c
	assert_equal "$(get in_member 203.0.113.1 80)" "red 0"
	assert_equal "$(get client $HERE4 80)" "out 0"
	assert_equal "$(get 127.0.0.1 80)" " 7"
}
