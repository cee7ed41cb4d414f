#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# From a NAT rule to portsteer and back, by the steps of docs/firewall.md, while clients go on; and
# what other orders of the steps cost.

load lib

setup_file() { setup_env; }

setup()
{
	setup_test
	DIR=$PS_TEST_DIR/nat.$BATS_TEST_NUMBER
	mkdir "$DIR"
	start_nginx
}

teardown()
{
	touch "$DIR/stop"
	no_filter
	teardown_test
}

# Says which port the connection has come to: 8080 by NAT, 80 by portsteer.
start_nginx()
{
	cat >"$DIR/nginx.conf" <<-END
		daemon off;
		worker_processes 2;
		pid $DIR/pid;
		error_log $DIR/error.log;
		events { worker_connections 256; }
		http {
			access_log off;
			$(nginx_paths "$DIR")
			keepalive_timeout 600s;
			server {
				listen 0.0.0.0:8080 backlog=4096;
				listen [::]:8080 backlog=4096;
				location / {
					return 200 "\$server_port\n";
				}
			}
		}
	END
	chown -R $WEB:$WEB "$DIR"
	start nginx -p "$DIR" -e "$DIR/error.log" -c "$DIR/nginx.conf"
	wait_port 8080
}

# --- the NAT rules, of IPv4 and IPv6, for other hosts and this one ---------------------------------

# What docs/firewall.md has people type, after these words, without a shell's quotes. There is one
# such line only.
documented()
{
	local line
	line=$(sed -n "s/^ \{4,\}\(# \)\?\($1 .*\)/\2/p" "$REPO/docs/firewall.md")
	[ -n "$line" ] && [ "$(wc -l <<<"$line")" = 1 ] || return
	line=${line#"$1 "}
	echo "${line//\'/}"
}

redirect() # to|new: all packets that NAT is asked about, or those that open a connection
{
	case $TABLES-$1 in
	nft-to) echo "tcp dport 80 redirect to :8080" ;;
	nft-new) documented "nft add rule ip nat prerouting" ;;
	*-to) echo "-p tcp --dport 80 -j REDIRECT --to-ports 8080" ;;
	*-new) documented "iptables -t nat -A PREROUTING" ;;
	esac
}

exemption()
{
	if [ "$TABLES" = nft ]; then
		documented "nft insert rule ip nat prerouting"
	else
		documented "iptables -t nat -I PREROUTING"
	fi
}

# nat add|insert|delete RULE
nat()
{
	if [ "$TABLES" = nft ]; then
		nat_nft "$@"
	else
		nat_iptables "$@"
	fi
}

nat_iptables()
{
	local program option rule
	read -ra rule <<<"$2"
	option=$(tr aid AID <<<"${1:0:1}")
	for program in "$TABLES" "ip6${TABLES#ip}"; do
		"$program" -t nat "-$option" PREROUTING "${rule[@]}"
		"$program" -t nat "-$option" OUTPUT -o lo "${rule[@]}"
	done
}

nat_nft()
{
	local family
	for family in ip ip6; do
		nft_chain "$1" "$family" prerouting "$2"
		nft_chain "$1" "$family" output "oif lo $2"
	done
}

nft_chain() # add|insert|delete FAMILY CHAIN RULE
{
	local handle
	if [ "$1" != delete ]; then
		nft "$1" rule "$2" nat "$3" "$4"
		return
	fi
	# By what it does: nft may write the rest in other words.
	handle=$(nft -a list chain "$2" nat "$3" | sed -n "s/.* $(verdict "$4").*# handle //p")
	nft delete rule "$2" nat "$3" handle "$handle"
}

verdict() # RULE
{
	[[ $1 == *redirect* ]] && echo redirect || echo accept
}

# Work with this program, and have the chains that nft does not have by itself.
use() # iptables-legacy|iptables-nft|nft
{
	local family
	TABLES=$1
	[ "$TABLES" = nft ] || return 0
	for family in ip ip6; do
		nft -f - <<-END
			table $family nat {
				chain prerouting { type nat hook prerouting priority -100; }
				chain output { type nat hook output priority -100; }
			}
		END
	done
}

no_filter()
{
	local program
	for program in iptables-legacy ip6tables-legacy; do
		"$program" -t nat -F
	done
	nft flush ruleset
}

# --- clients ---------------------------------------------------------------------------------------

# hold NAME [client] ADDRESS [FROM-PORT]: a connection that stays.
hold()
{
	local name=$1 run=() to from
	shift
	if [ "$1" = client ]; then
		run=(client)
		shift
	fi
	mkfifo "$DIR/$name.in" "$DIR/$name.out"
	(
		exec 3>&- 4>&-
		"${run[@]}" "$PYTHON" "$PS_TEST_DIR/hold.py" "$1" 80 "${@:2}" \
			<"$DIR/$name.in" >"$DIR/$name.out"
	) &
	exec {to}>"$DIR/$name.in" {from}<"$DIR/$name.out"
	TO[$name]=$to FROM[$name]=$from
	heard "$name" connected
}

# held NAME PORT|broken: a request on the connection, which has come to that port.
held()
{
	echo >&"${TO[$1]}"
	heard "$@"
}

# breaks NAME: the connection does, as soon as nothing is tracked any more, which nft takes a while to
# see to.
breaks()
{
	until_true 10 is_broken "$1"
}
is_broken()
{
	local line
	echo >&"${TO[$1]}"
	read -rt 20 -u "${FROM[$1]}" line
	[[ $line == broken* ]]
}

heard()
{
	local line
	read -rt 20 -u "${FROM[$1]}" line
	assert_match "$1: $line" "^$1: $2"
}

release() # NAME
{
	echo end >&"${TO[$1]}"
}

# come_to PORT: new connections, of clients of all kinds.
come_to()
{
	assert_equal "$(fetch client "http://$HERE4/")" "$1"
	assert_equal "$(fetch client "http://[$HERE6]/")" "$1"
	assert_equal "$(fetch http://127.0.0.1/)" "$1"
	assert_equal "$(fetch "http://[::1]/")" "$1"
}

# Clients that go on until the test has ended.
begin_loops()
{
	loop remote client_connections $HERE4
	loop remote6 client_connections $HERE6
	loop local connections 127.0.0.1
}

loop() # NAME FUNCTION ADDRESS
{
	"$2" --until "$DIR/stop" --pause 0.005 "$3" 80 >"$DIR/loop.$1" 3>&- 4>&- &
	LOOPS+=($!)
}

# Every one was answered, and they came both ways.
end_loops()
{
	local pid name
	touch "$DIR/stop"
	for pid in "${LOOPS[@]}"; do
		wait "$pid"
	done
	for name in remote remote6 local; do
		assert_match "$(cat "$DIR/loop.$name")" \
			"^ok [1-9][0-9]* refused 0 broken 0 names 80=[0-9]+,8080=[0-9]+$"
	done
}

# How many connections are left, as the documents have it looked up.
left_at() # PORT
{
	local line
	line=$(documented "ss -tn")
	# shellcheck disable=SC2086 # a list of words
	ss -Htn ${line/:8080/:$1} | wc -l
}
none_left()
{
	[ "$(left_at "$1")" = 0 ]
}

# How long connections that have ended are remembered.
remember() # SECONDS
{
	sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_time_wait="$1"
}

# What was translated, and has ended.
is_forgotten()
{
	[ -r /proc/net/nf_conntrack ] && ! grep -q 'sport=8080 ' /proc/net/nf_conntrack
}

# --- the steps -------------------------------------------------------------------------------------

moves_and_returns()
{
	local -A TO FROM
	local LOOPS=()
	use "$1"
	nat add "$(redirect to)"
	remember 1
	hold old client $HERE4
	hold idle client $HERE4
	hold here 127.0.0.1
	held old 8080
	held here 8080
	begin_loops
	# Step 1.
	assert_match "$(portsteer add 80:8080 --user ps-web)" ": 2 listeners$"
	come_to 8080
	held old 8080
	counters 80:8080/tcp "steered=0"
	# Step 2.
	nat insert "$(exemption)"
	come_to 80
	held old 8080
	held here 8080
	hold steered client $HERE4
	held steered 80
	# Step 3.
	[ "$(portsteer stats --json | jsonget "rules|rule=80:8080/tcp|counters|steered")" -ge 5 ]
	# Something may be wrong: as it was, and the step again.
	nat delete "$(exemption)"
	come_to 8080
	held steered 80
	held old 8080
	nat insert "$(exemption)"
	come_to 80
	held steered 80
	# Step 4.
	until_true 20 is_left 8080 3
	held idle 8080
	held old 8080
	release old
	release idle
	release here
	until_true 20 none_left 8080
	# Step 5.
	nat delete "$(redirect to)"
	come_to 80
	held steered 80
	nat delete "$(exemption)"
	come_to 80
	held steered 80
	hold untracked client $HERE4
	hold quiet client $HERE4
	held untracked 80
	# And back.
	until_true 20 is_forgotten
	nat add "$(redirect new)"
	come_to 8080
	held steered 80
	held untracked 80
	portsteer -q del 80
	come_to 8080
	held steered 80
	held untracked 80
	held quiet 80
	end_loops
}

is_left() # PORT COUNT
{
	[ "$(left_at "$1")" = "$2" ]
}

@test "iptables-legacy: there and back, nothing is lost, and what is open stays" {
	moves_and_returns iptables-legacy
}

@test "iptables-nft: there and back, nothing is lost, and what is open stays" {
	moves_and_returns iptables-nft
}

@test "nft: there and back, nothing is lost, and what is open stays" {
	moves_and_returns nft
}

# Wrong orders, each of which has its price.
wrong_orders()
{
	local -A TO FROM
	local port=$((20000 + BATS_TEST_NUMBER)) # none that the kernel chooses
	use "$1"
	# Exempt before there is a rule: nobody listens on port 80.
	nat add "$(redirect to)"
	remember 120
	come_to 8080
	nat insert "$(exemption)"
	refused client "http://$HERE4/"
	nat delete "$(exemption)"
	# The NAT rule is deleted instead, with a rule and without.
	hold one client $HERE4
	held one 8080
	nat delete "$(redirect to)"
	refused client "http://$HERE4/"
	breaks one
	nat add "$(redirect to)"
	hold two client $HERE4
	held two 8080
	portsteer -q add 80:8080 --user ps-web
	nat delete "$(redirect to)"
	come_to 80
	breaks two
	# Back by a rule that is asked about the packets of open connections, too. No packet of this one
	# is on its way: one that comes after tracking has begun, and before there is a rule, saves it.
	hold three client $HERE4
	until_true 10 is_left 80 1
	nat add "$(redirect to)"
	come_to 8080
	held three broken
	# Back while it is remembered what NAT did to a connection of the same client and port, which
	# the server ended first.
	assert_equal "$(client_connections --from $port $HERE4 80)" "ok 1 refused 0 broken 0 names 8080=1"
	hold other client $HERE4
	held other 8080
	nat delete "$(redirect to)"
	breaks other
	hold four client $HERE4 $port
	until_true 10 is_left 80 2
	nat add "$(redirect new)"
	come_to 8080
	held four broken
}

@test "iptables-legacy: the NAT rule deleted first, exempted too early, put back as it was or too early" {
	wrong_orders iptables-legacy
}

@test "iptables-nft: the NAT rule deleted first, exempted too early, put back as it was or too early" {
	wrong_orders iptables-nft
}

@test "nft: the NAT rule deleted first, exempted too early, put back as it was or too early" {
	wrong_orders nft
}
