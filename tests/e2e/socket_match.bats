#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# A router whose filter matches sockets: it asks the kernel whose a packet is that is for another
# host, and a rule without an address answers. One with an address breaks nothing.

load lib

FAR4=203.0.113.2
FAR6=2001:db8:2::2

setup_file()
{
	setup_env
	make_pair far veth-f 203.0.113 2001:db8:2:
	ip -n far route add default via 203.0.113.1
	ip -n far -6 route add default via 2001:db8:2::1
	ip -n client route add 203.0.113.0/24 via "$HERE4"
	# What is marked is for this host.
	ip rule add fwmark 1 lookup 100
	ip route add local default dev lo table 100
	ip -6 rule add fwmark 1 lookup 100
	ip -6 route add local default dev lo table 100
}

setup()
{
	setup_test
	router 1
	serve -u root -N far far 0.0.0.0 80
	serve -u root -N far far :: 80 --v6only
	serve web 127.0.0.1 8080
	serve web ::1 8080
}

teardown()
{
	no_filter
	router 0
	teardown_test
}

router() # 0|1
{
	sysctl -qw net.ipv4.ip_forward="$1" net.ipv6.conf.all.forwarding="$1"
}

# The divert of the kernel's Documentation/networking/tproxy.rst, by each program there is.
tables() # iptables-legacy|iptables-nft
{
	local program
	for program in "$1" "ip6${1#ip}"; do
		"$program" -t mangle -A PREROUTING -p tcp -m socket -j MARK --set-mark 1
	done
}
native()
{
	nft -f - <<-END
		table inet divert {
			chain prerouting {
				type filter hook prerouting priority mangle;
				meta l4proto tcp socket wildcard 0 meta mark set 1
			}
		}
	END
}
no_filter()
{
	local program
	for program in iptables-legacy ip6tables-legacy; do
		"$program" -t mangle -F
		"$program" -t mangle -X
	done
	nft flush ruleset
}

forwards()
{
	answers far client "http://$FAR4/"
	answers far client "http://[$FAR6]/"
}

# It is taken for this host's: the rule's listener has the SYN, and an answer may not even leave.
is_broken() # URL
{
	local got
	got=$(client curl -sS --globoff --noproxy '*' --max-time 2 "$1" 2>&1) || true
	[ "${got%% *}" != far ]
}

breaks_forwarding_without_an_address()
{
	forwards
	assert_match "$(portsteer add 80:8080 --user ps-web)" \
		"note: rule 80:8080/tcp may also take connections to other hosts: .* give the rule an address"
	is_broken "http://$FAR4/"
	is_broken "http://[$FAR6]/"
	portsteer -q del 80
	assert_equal "$(portsteer add "$HERE4:80:8080" "[$HERE6]:80:8080" --user ps-web --json |
		jsonget notes.#)" 0
	forwards
	answers web client "http://$HERE4/"
	answers web client "http://[$HERE6]/"
}

@test "iptables-legacy -m socket: forwarded connections, with an address in the rule and without" {
	tables iptables-legacy
	breaks_forwarding_without_an_address
}

@test "iptables-nft -m socket: forwarded connections, with an address in the rule and without" {
	tables iptables-nft
	breaks_forwarding_without_an_address
}

@test "nft socket: forwarded connections, with an address in the rule and without" {
	native
	breaks_forwarding_without_an_address
}

@test "a filter that does not match sockets, or a host that is no router: forwarded, and no note" {
	iptables-legacy -t mangle -A PREROUTING -p tcp -m mark --mark 7 -j ACCEPT
	iptables-nft -t mangle -A PREROUTING -p tcp -m mark --mark 7 -j ACCEPT
	assert_equal "$(portsteer add 80:8080 --user ps-web --json | jsonget notes.#)" 0
	forwards
	answers web client "http://$HERE4/"
	portsteer -q del 80
	native
	router 0
	assert_equal "$(portsteer add 80:8080 --user ps-web --json | jsonget notes.#)" 0
	# One device that forwards makes a router; other modes are none of the filter's.
	sysctl -qw net.ipv4.conf.veth-f.forwarding=1
	assert_equal "$(portsteer add 81:8080 --user ps-web --json | jsonget notes.#)" 1
	assert_equal "$(portsteer add 82:9090 --mode bind --user ps-web --json | jsonget notes.#)" 0
	assert_equal "$(portsteer add 83:8080 --client-cgroup "$CG/a" --user ps-web --json | jsonget notes.#)" 0
	assert_equal "$(portsteer add 10.0.0.0/8:84:8080 --user ps-web --json | jsonget notes.#)" 1
	sysctl -qw net.ipv4.conf.veth-f.forwarding=0
}
