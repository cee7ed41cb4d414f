# shellcheck shell=bash disable=SC2034,SC2154
# SPDX-License-Identifier: GPL-2.0-only
#
# What the comparing scripts share: the ways from a front port to the server, each of which
# can be started in the namespace "server", and cells: two namespaces with a server, a way
# and one piece of work. Comes after bench.bash.

front_tcp=80 target_tcp=8080 front_udp=53 target_udp=5300
owner=65534
state=/sys/fs/bpf/portsteer
results=${RESULTS:-$here/build/bench}
conf=$here/scripts/bench.d
# An owner's sock_ops program is attached to the cgroup above; clients are elsewhere.
services_cgroup=$PS_TEST_CGROUP/services
server_cgroup=$services_cgroup/server
client_cgroup=$PS_TEST_CGROUP/client
owner_cgroup=${server_cgroup#"$PS_TEST_CGROUP2"/} cgroup_name=${PS_TEST_CGROUP#"$PS_TEST_CGROUP2"/}
export XTABLES_LOCKFILE=$PS_TEST_DIR/xtables.lock
install -m 0755 "$here"/build/tools/bench_{net,hold,flood,empty} .
mkdir -p "$services_cgroup" "$client_cgroup" "$results"
mkdir -m 0777 tmp tmp-proxy
ulimit -n "$(ulimit -Hn)"

# With APART=1 the server's side has a CPU of its own.
alone_server=("${alone[@]}")
other_cpu=$(awk -v ours="cpu$cpu" '/^cpu[0-9]/ && $1 != ours { print substr($1, 4); exit }' \
	/proc/stat)
if [[ -n ${APART-} && -n $other_cpu ]]; then
	alone_server[2]=$other_cpu
fi

files=$(($(ulimit -n) - 100))
connections=$((files / 2)) # that a proxy can have

# --- the ways

all_ways=(direct again empty steer bind connect nft iptables-legacy iptables-nft nginx-http
	nginx-stream haproxy proxyd socat)
declare -A label=(
	[direct]='direct' [again]='direct, again' [empty]='direct, empty programs'
	[steer]='portsteer steer'
	[bind]='portsteer bind' [connect]='portsteer connect' [nft]='nft redirect'
	[iptables-legacy]='iptables REDIRECT (legacy)' [iptables-nft]='iptables REDIRECT (nft)'
	[nginx-http]='nginx, HTTP proxy' [nginx-stream]='nginx, stream proxy'
	[haproxy]='haproxy, TCP' [proxyd]='systemd-socket-proxyd' [socat]='socat'
)

# Why a way cannot do a work (of a protocol: tcp, udp, http) over lo or veth; nothing if it
# can.
reason_against() {
	case $1/$2/$3 in
	empty/*/udp) echo 'as for steer mode' ;;
	steer/*/udp) echo 'UDP is not steered, it is bound' ;;
	connect/veth/*) echo 'for clients on the same host' ;;
	nginx-http/*/tcp | nginx-http/*/udp) echo 'HTTP only' ;;
	haproxy/*/udp | proxyd/*/udp) echo 'no UDP' ;;
	esac
}

# render FILE: a configuration, with our addresses and ports.
render() {
	local options=
	[[ $protocol != udp ]] || options=udp
	sed -e "s/@LISTEN@/$listen/; s/@PORT@/$front/; s/@TARGET@/$backend:$target/; s/@UDP@/$options/" \
		-e "s/@BACKLOG@/${options:+reuseport}/; s/@CONNECTIONS@/$connections/; s/@FILES@/$files/" \
		"$conf/$1"
}

# run_in NETNS CGROUP COMMAND...: on the CPU of its side.
run_in() {
	local on=("${alone[@]}")
	[[ $2 != "$server_cgroup" ]] || on=("${alone_server[@]}")
	echo "$BASHPID" >"$2/cgroup.procs"
	exec nsenter --net=/run/netns/"$1" -- "${on[@]}" "${@:3}"
}

# A program on the server's side goes on until the cell ends.
background() {
	(run_in server "$server_cgroup" "$@" >>server.log 2>&1 </dev/null) &
	disown
}

ns() {
	nsenter --net=/run/netns/server -- "$@"
}

start_way() {
	local rule=$front:$target/${protocol/http/tcp}
	case $1 in
	none | direct | again) ;;
	empty) start_empty ;;
	steer) ns "$portsteer" -q add "$rule" --cgroup "$owner_cgroup" ;;
	bind) ns "$portsteer" -q add "$rule" --mode bind --cgroup "$owner_cgroup" ;;
	connect) ns "$portsteer" -q add "$rule" --client-cgroup "$cgroup_name/client" --any-user ;;
	nft) ns nft -f "$conf/redirect.nft" ;;
	iptables-legacy | iptables-nft) start_iptables "${1#iptables-}" ;;
	nginx-http | nginx-stream)
		render "$1.conf" >way.conf
		background /usr/sbin/nginx -p "$PS_TEST_DIR" -c "$PS_TEST_DIR/way.conf" -e stderr
		;;
	haproxy)
		render haproxy.cfg >way.cfg
		background haproxy -q -f way.cfg
		;;
	proxyd)
		background systemd-socket-activate -l "$listen:$front" \
			/lib/systemd/systemd-socket-proxyd -c "$connections" \
			"${backend//[\[\]]/}:$target"
		;;
	socat) start_socat ;;
	esac
}

# Nobody can steer for less than this: on the hooks of steer mode, programs that do nothing.
start_empty() {
	rm -f empty.ready
	(run_in server "$server_cgroup" ./bench_empty /run/netns/server sk_lookup -- \
		"$services_cgroup" sock_ops >empty.ready 2>>server.log < <(exec sleep infinity)) &
	disown
	await grep -qs ready empty.ready
}

start_iptables() {
	local command=iptables-$1-restore
	[[ $family == 4 ]] || command=ip6tables-$1-restore
	ns "$command" "$conf/redirect.iptables"
}

# As in the examples of its manual; with the default backlog of 5 it would lose connections.
start_socat() {
	if [[ $protocol == udp ]]; then
		background socat "UDP$family-LISTEN:$front,fork,reuseaddr" "UDP$family:$backend:$target"
	else
		background socat "TCP$family-LISTEN:$front,fork,reuseaddr,backlog=4096" \
			"TCP$family:$backend:$target"
	fi
}

# --- a cell

make_networks() {
	make_namespace server
	[[ $over == veth ]] || return 0
	make_namespace client
	ip link add server netns server type veth peer name client netns client
	give_address server 1
	give_address client 2
}

# Whoever calls, the client or a proxy, may use many ports.
make_namespace() {
	ip netns add "$1"
	nsenter --net=/run/netns/"$1" -- sh -c 'ip link set lo up
		echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range'
}

give_address() {
	ip -n "$1" -batch - <<-END
		addr add 198.51.100.$2/24 dev $1
		addr add 2001:db8::$2/64 dev $1 nodad
		link set $1 up
	END
}

end_networks() {
	local try
	[[ ! -d $server_cgroup ]] || {
		echo 1 >"$server_cgroup/cgroup.kill"
		for ((try = 0; try < 3000; try++)); do
			rmdir "$server_cgroup" 2>/dev/null && break
			sleep 0.01
		done
	}
	if [[ -e $state ]]; then
		ns "$portsteer" -q unload
	fi
	ip netns del server
	[[ $over != veth ]] || ip netns del client
}

# aim SETTING PROTOCOL: addresses and ports. A setting is lo4, veth6 and so on.
aim() {
	over=${1%?} family=${1#"${1%?}"} protocol=$2
	front=$front_tcp target=$target_tcp
	[[ $2 != udp ]] || front=$front_udp target=$target_udp
	client_netns=client
	[[ $over == veth ]] || client_netns=server
	case $1 in
	lo4) listen=0.0.0.0 backend=127.0.0.1 to=127.0.0.1 ;;
	veth4) listen=0.0.0.0 backend=127.0.0.1 to=198.51.100.1 ;;
	lo6) listen='[::]' backend='[::1]' to=::1 ;;
	veth6) listen='[::]' backend='[::1]' to=2001:db8::1 ;;
	esac
}

# start_server PROGRAM WAY: the program is "nginx", or a mode of bench_net or bench_hold.
# It is an ordinary user's, and asks for the target port, or directly for the front port.
start_server() {
	local port=$target address=${listen//[\[\]]/}
	local as=(setpriv --reuid "$owner" --regid "$owner" --clear-groups --bounding-set=-all
		--inh-caps=-all)
	if [[ $2 == direct || $2 == again || $2 == empty ]]; then
		port=$front
		ns sh -c 'echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start'
	fi
	if [[ $1 == nginx ]]; then
		sed "s/@LISTEN@/$listen/; s/@PORT@/$port/" "$conf/server.conf" >server.conf
		background "${as[@]}" /usr/sbin/nginx -p "$PS_TEST_DIR" \
			-c "$PS_TEST_DIR/server.conf" -e stderr
	elif [[ $1 == hold ]]; then
		background "${as[@]}" ./bench_hold serve "$address" "$port"
	else
		background "${as[@]}" ./bench_net serve "$1" "$address" "$port"
	fi
}

# await COMMAND...: until it succeeds.
await() {
	local deadline=$((SECONDS + 10))
	until "$@"; do
		if ((SECONDS >= deadline)); then
			echo "$* fails: $(tail -n 1 server.log)" >&2
			return 1
		fi
		sleep 0.01
	done
}

# await_port PORT: someone has it, on the server's side.
await_port() {
	await has_port "$1"
}

has_port() {
	local kind=t
	[[ $protocol != udp ]] || kind=u
	ns ss -Hnl"$kind" "sport = $1" | grep -q .
}

# open_cell SETTING PROTOCOL SERVER WAY
open_cell() {
	aim "$1" "$2"
	make_networks
	mkdir "$server_cgroup"
	: >server.log
	case $4 in
	direct | again)
		start_server "$3" "$4"
		await_port "$front"
		;;
	empty | bind)
		start_way "$4"
		start_server "$3" "$4"
		await_port "$front"
		;;
	none | steer | connect | nft | iptables-*)
		start_way "$4"
		start_server "$3" "$4"
		await_port "$target"
		;;
	*)
		start_server "$3" "$4"
		await_port "$target"
		start_way "$4"
		await_port "$front"
		;;
	esac
}

close_cell() {
	echo 1 >"$client_cgroup/cgroup.kill"
	end_networks
}

client() {
	(run_in "$client_netns" "$client_cgroup" "$@")
}

# --- CPU time, in microseconds

cpu_parts='client-user client-system server-user server-system softirq'

# All of them so far; softirqs of our CPUs are part of the others too.
cpu_times() {
	awk -v tick="$(getconf CLK_TCK)" -v cpu="cpu$cpu" -v other="cpu${alone_server[2]}" '
		$1 == "user_usec" || $1 == "system_usec" { times = times " " $2 }
		$1 == cpu || $1 == other { softirq += $8 / tick * 1e6 }
		END { print times, softirq }
	' "$client_cgroup/cpu.stat" "$server_cgroup/cpu.stat" /proc/stat
}

# per_operation BEFORE AFTER COUNT: "cpu:PART US", for one operation.
per_operation() {
	awk -v before="$1" -v after="$2" -v count="$3" -v parts="$cpu_parts" 'BEGIN {
		split(before, b); split(after, a); n = split(parts, part)
		for (i = 1; i <= n; i++)
			printf "cpu:%s %.4f\n", part[i], (a[i] - b[i]) / count
	}'
}

# --- samples

failures=0

# attempt FUNCTION SETTING WORK WAY SECONDS: the sample that the function makes, "metric
# value" lines, goes to the file "sample"; if it fails, why goes to "why". In any case
# nothing is left.
attempt() {
	local status=0
	"$@" >sample 2>why || status=$?
	close_cell >>why 2>&1 || status=$?
	return "$status"
}

reason_given() {
	cat why server.log 2>/dev/null |
		awk 'NF && !said { said = $0 } END { print said ? said : "no reason given" }' | tr '\t' ' '
}

# measure FUNCTION FILE ROUND SETTING WORK WAY SECONDS: the sample is added to the file:
# round, setting, work, way, metric, value.
measure() {
	local metric value
	if attempt "$1" "${@:4}"; then
		while read -r metric value; do
			printf '%s\t%s\t%s\t%s\t%s\t%s\n' "${@:3:4}" "$metric" "$value"
		done <sample >>"$results/$2"
	else
		echo "$4, $5, ${label[$6]-$6}, in round $3: $(reason_given)" |
			tee -a "$results/failures" >&2
		failures=$((failures + 1))
	fi
}

# A way that does not work here is not tried again: "absent" has it, and why.
find_usable() {
	local way usable=()
	for way in "${ways[@]}"; do
		grep -qs "^$way	" "$results/absent.tsv" || usable+=("$way")
	done
	ways=("${usable[@]}")
}

# Is it the turn of this way in this round? Those near the limit have all rounds, the
# others as many as are wanted, evenly spread.
is_its_turn() {
	[[ ' direct again empty steer bind connect ' == *" $1 "* ]] ||
		(($2 * far / rounds != ($2 + 1) * far / rounds))
}

# in_turn COUNT ROUND: the indices, in turns forwards and backwards.
in_turn() {
	local i
	for ((i = 0; i < $1; i++)); do
		echo $(($2 % 2 == 0 ? i : $1 - 1 - i))
	done
}
