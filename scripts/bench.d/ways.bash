# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: GPL-2.0-only
#
# What the comparing scripts share: the ways from a front port to the server, each of which
# can be started in the namespace "server", and cells: two namespaces with a server, a way
# and one piece of work. Comes after bench.bash.

front_tcp=80 target_tcp=8080 front_udp=53 target_udp=5353
owner=65534
state=/sys/fs/bpf/portsteer
results=${RESULTS:-$here/build/bench}
conf=$here/scripts/bench.d
server_cgroup=$PS_TEST_CGROUP/server
client_cgroup=$PS_TEST_CGROUP/client
cgroup_name=${PS_TEST_CGROUP#"$PS_TEST_CGROUP2"/}
export XTABLES_LOCKFILE=$PS_TEST_DIR/xtables.lock
install -m 0755 "$here"/build/tools/bench_net .
mkdir -p "$client_cgroup" "$results"
mkdir -m 0777 tmp tmp-proxy
ulimit -n "$(ulimit -Hn)"
files=$(($(ulimit -n) - 100))
connections=$((files / 2)) # that a proxy can have

# --- the ways

all_ways=(direct again steer bind connect nft iptables-legacy iptables-nft nginx-http
	nginx-stream haproxy proxyd socat)
declare -A label=(
	[direct]='direct' [again]='direct, again' [steer]='portsteer steer'
	[bind]='portsteer bind' [connect]='portsteer connect' [nft]='nft redirect'
	[iptables-legacy]='iptables REDIRECT (legacy)' [iptables-nft]='iptables REDIRECT (nft)'
	[nginx-http]='nginx, HTTP proxy' [nginx-stream]='nginx, stream proxy'
	[haproxy]='haproxy, TCP' [proxyd]='systemd-socket-proxyd' [socat]='socat'
)

# Why a way cannot do a work (of a protocol: tcp, udp, http) over lo or veth; nothing if it
# can.
reason_against() {
	case $1/$2/$3 in
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

# run_in NETNS CGROUP COMMAND...: on our CPU.
run_in() {
	echo "$BASHPID" >"$2/cgroup.procs"
	exec nsenter --net=/run/netns/"$1" -- "${alone[@]}" "${@:3}"
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
	direct | again) ;;
	steer) ns "$portsteer" -q add "$rule" --cgroup "$cgroup_name/server" ;;
	bind) ns "$portsteer" -q add "$rule" --mode bind --cgroup "$cgroup_name/server" ;;
	connect) ns "$portsteer" -q add "$rule" --from "$cgroup_name/client" --any-user ;;
	nft) ns nft -f "$conf/redirect.nft" ;;
	iptables-legacy | iptables-nft) start_iptables "${1#iptables-}" ;;
	nginx-http | nginx-stream)
		render "$1.conf" >"$1.conf"
		background /usr/sbin/nginx -p "$PS_TEST_DIR" -c "$PS_TEST_DIR/$1.conf" -e stderr
		;;
	haproxy)
		render haproxy.cfg >haproxy.cfg
		background haproxy -q -f haproxy.cfg
		;;
	proxyd)
		background systemd-socket-activate -l "$listen:$front" \
			/lib/systemd/systemd-socket-proxyd -c "$connections" \
			"${backend//[\[\]]/}:$target"
		;;
	socat) start_socat ;;
	esac
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
	local name
	ip -batch - <<-'END'
		netns add server
		netns add client
		link add server netns server type veth peer name client netns client
	END
	ip -n server -batch - <<-'END'
		link set lo up
		addr add 198.51.100.1/24 dev server
		addr add 2001:db8::1/64 dev server nodad
		link set server up
	END
	ip -n client -batch - <<-'END'
		link set lo up
		addr add 198.51.100.2/24 dev client
		addr add 2001:db8::2/64 dev client nodad
		link set client up
	END
	# Whoever calls, the client or a proxy, may use many ports.
	for name in client server; do
		nsenter --net=/run/netns/$name -- \
			sh -c 'echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range'
	done
}

end_networks() {
	local _
	[[ ! -d $server_cgroup ]] || {
		echo 1 >"$server_cgroup/cgroup.kill"
		for ((_ = 0; _ < 500; _++)); do
			rmdir "$server_cgroup" 2>/dev/null && break
			sleep 0.01
		done
	}
	if [[ -e $state ]]; then
		ns "$portsteer" -q unload
	fi
	ip -batch - <<-'END'
		netns del server
		netns del client
	END
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
	lo6) listen=[::] backend=[::1] to=::1 ;;
	veth6) listen=[::] backend=[::1] to=2001:db8::1 ;;
	esac
}

# start_server PROGRAM WAY: the program is "nginx", or a mode of bench_net or bench_hold.
# It is an ordinary user's, and asks for the target port, or directly for the front port.
start_server() {
	local port=$target address=${listen//[\[\]]/}
	local as=(setpriv --reuid "$owner" --regid "$owner" --clear-groups --bounding-set=-all
		--inh-caps=-all)
	if [[ $2 == direct || $2 == again ]]; then
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

# await_port PORT: someone has it, on the server's side.
await_port() {
	local deadline=$((SECONDS + 10)) kind=t
	[[ $protocol != udp ]] || kind=u
	until ns ss -Hnl"$kind" "sport = $1" | grep -q .; do
		if ((SECONDS >= deadline)); then
			echo "nobody has port $1: $(tail -n 1 server.log)" >&2
			return 1
		fi
		sleep 0.01
	done
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
	bind)
		start_way "$4"
		start_server "$3" "$4"
		await_port "$front"
		;;
	steer | connect | nft | iptables-*)
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
	end_networks
}

client() {
	(run_in "$client_netns" "$client_cgroup" "$@")
}

# --- CPU time, in microseconds: "client C server S softirq T"

cpu_times() {
	awk -v tick="$(getconf CLK_TCK)" -v cpu="cpu$cpu" '
		$1 == "usage_usec" { time[FILENAME] = $2 }
		$1 == cpu { softirq = $8 / tick * 1e6 }
		END { printf "%d %d %d\n", time[ARGV[1]], time[ARGV[2]], softirq }
	' "$client_cgroup/cpu.stat" "$server_cgroup/cpu.stat" /proc/stat
}

# per_operation BEFORE AFTER COUNT: "cpu-client C" and so on, for one operation.
per_operation() {
	awk -v before="$1" -v after="$2" -v count="$3" 'BEGIN {
		split(before, b); split(after, a); split("client server softirq", name)
		for (i = 1; i <= 3; i++)
			printf "cpu-%s %.4f\n", name[i], (a[i] - b[i]) / count
	}'
}
