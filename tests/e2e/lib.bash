# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-only
#
# What all end-to-end tests use. tests/e2e/run has made the environment: the network
# namespace that the test runs in is the server's ("here"), "client" is another one, joined
# to it by a veth pair. Servers run as users without any capability, in cgroups below
# $PS_TEST_CGROUP, by which they are all killed when a test ends. $PORTSTEER is the program.

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
STATE=/sys/fs/bpf/portsteer
PYTHON=/usr/bin/python3
[ -x "$PYTHON" ] || PYTHON=$(command -v python3)

# Users that tests/e2e/run puts into the environment's /etc/passwd.
WEB=47101 # ps-web
DB=47102 # ps-db
SSH=47103 # ps-ssh

# Addresses of the server's and of the client's end; the server has more on lo.
HERE4=198.51.100.1 HERE6=2001:db8:1::1
THERE4=198.51.100.2 THERE6=2001:db8:1::2

# The name below the cgroup2 root of our cgroup subtree: "portsteer-test-123".
CG=${PS_TEST_CGROUP#"$PS_TEST_CGROUP2"/}

portsteer()
{
	"$PORTSTEER" "$@"
}

client()
{
	nsenter --net=/run/netns/client -- "$@"
}

# limited CAPABILITY,... COMMAND...: a root that has no others; "none": none. ADMIN: what the
# man page asks for.
ADMIN=sys_admin,net_admin
limited()
{
	local caps=-all
	[ "$1" = none ] || caps+=,+${1//,/,+}
	setpriv --bounding-set="$caps" --inh-caps=-all -- "${@:2}"
}

# least: the capabilities that are enough on this kernel.
least()
{
	if [ "$(printf '%s\n' 6.5 "$(uname -r)" | sort -V | head -n 1)" = 6.5 ]; then
		echo sys_admin
	else
		echo $ADMIN
	fi
}

# without CAPABILITY COMMAND...: a root that has all others.
without()
{
	setpriv --bounding-set="-$1" --inh-caps=-all -- "${@:2}"
}

# --- environment -------------------------------------------------------------------

# setup_file of every .bats file.
setup_env()
{
	install -m 0755 "$REPO"/tests/e2e/*.py "$PS_TEST_DIR"
	keep_ended
	make_pair client veth-c 198.51.100 2001:db8:1:
	local a
	for a in 10.1.2.3 10.1.9.9 10.200.0.1; do
		ip addr add "$a/32" dev lo
		ip -n client route add "$a" via "$HERE4"
	done
	ip addr add 2001:db8:aa::1/128 dev lo nodad
	ip addr add 2001:db8:bb::1/128 dev lo nodad
	ip -n client -6 route add default via "$HERE6"
}

# make_pair NETNS IFNAME V4NET V6NET: a namespace, its ".2" joined to our ".1".
make_pair()
{
	ip netns add "$1"
	ip link add "$2" type veth peer name eth0 netns "$1"
	ip addr add "$3.1/24" dev "$2"
	ip addr add "$4:1/64" dev "$2" nodad
	ip link set "$2" up
	ip -n "$1" addr add "$3.2/24" dev eth0
	ip -n "$1" addr add "$4:2/64" dev eth0 nodad
	ip -n "$1" link set eth0 up
	ip -n "$1" link set lo up
	nsenter --net="/run/netns/$1" bash -c "$(declare -f keep_ended); keep_ended"
}

# Connections that have ended are remembered, all of them: the last packet of one that is not would
# be looked up as a new one's. On a small machine there is room for 8,192.
keep_ended()
{
	echo 262144 >/proc/sys/net/ipv4/tcp_max_tw_buckets
}

# private_folder FOLDER...: what is made in these from now on is seen by the test alone; what
# there is stays, behind links.
private_folder()
{
	local folder real links file
	for folder; do
		real=$PS_TEST_DIR/real$folder links=$PS_TEST_DIR/links$folder
		mkdir -p "$real" "$links"
		mount --rbind "$folder" "$real"
		mount -t tmpfs -o mode=0755 none "$links"
		for file in "$real"/* "$real"/.[!.]*; do
			ln -s "$file" "$links/"
		done
		# Not before: what is in there runs these commands.
		mount --bind "$links" "$folder"
	done
}

# setup of every test.
setup_test()
{
	SERVERS=0
	RETRANSMITTED=$(retransmitted)
}

# How things are when a test has failed, which may not be seen again: bats shows it then.
describe_failure()
{
	[ -d $STATE ] || return 0
	timeout 20 "$PORTSTEER" list --all || true
	timeout 20 "$PORTSTEER" stats --all --json || true
	timeout 20 ss -Htlnp || true
}

# teardown of every test: no server, no cgroup, nothing of portsteer.
teardown_test()
{
	[ -n "${BATS_TEST_COMPLETED-}" ] || describe_failure
	: >"$PS_TEST_DIR/stop" # for clients of a test that has failed
	kill_servers
	if [ -d $STATE ]; then
		portsteer -q unload || true
		# Other namespaces' instances, or what a test has broken.
		if [ -d $STATE ] && ! only_kept; then
			rm -rf $STATE
		fi
	fi
	keep_again
}

# keep RULE...: in setup_file: another namespace has these rules all the time, so that the programs
# that all namespaces share are loaded once for a file and not by each test. That takes most of the
# time of a test that is about something else.
keep()
{
	ip netns add kept
	printf '%s\n' "$@" >"$PS_TEST_DIR/kept"
	keep_again
}

keep_again()
{
	[ ! -e "$PS_TEST_DIR/kept" ] || [ -d $STATE ] ||
		sections <"$PS_TEST_DIR/kept" | portsteer -q --netns kept add -f -
}

# keep_nothing: a test begins with nothing loaded.
keep_nothing()
{
	portsteer -q --netns kept unload
}

# Nothing is left of the test but what is kept.
only_kept()
{
	[ -e "$PS_TEST_DIR/kept" ] && portsteer status --json | "$PYTHON" -c '
import json, sys
status = json.load(sys.stdin)
sys.exit([i["name"] for i in status["instances"]] != ["kept"] or status["leftovers"] or status["detached"])'
}

kill_servers()
{
	local d
	remove_host_cgroups
	kill_cgroup "$PS_TEST_CGROUP"
	until_true 5 cgroup_empty
	while IFS= read -r d; do
		[ "$d" = "$PS_TEST_CGROUP" ] || rmdir "$d"
	done < <(find "$PS_TEST_CGROUP" -depth -type d)
}

# host_cgroup PATH...: make cgroups where the host's own are: "/system.slice/x.service". What was
# not there is removed when the test ends, and what is in it killed. So that no two tests of the
# host make and remove the same, each has these folders for itself until it ends.
host_cgroup()
{
	local path above part
	if [ -z "${HOST_CGROUPS-}" ]; then
		exec {HOST_CGROUPS}<"$PS_TEST_CGROUP2/cgroup.stat"
		flock "$HOST_CGROUPS"
	fi
	for path; do
		above=$PS_TEST_CGROUP2
		while IFS= read -r part; do
			above+=/$part
			[ ! -d "$above" ] || continue
			printf '%s\n' "$above" >>"$PS_TEST_DIR/host-cgroups"
			mkdir "$above"
		done < <(tr / '\n' <<<"${path#/}")
	done
}

remove_host_cgroups()
{
	local d
	if [ -e "$PS_TEST_DIR/host-cgroups" ]; then
		while IFS= read -r d; do
			kill_cgroup "$d"
			until_true 5 rmdir "$d" 2>/dev/null
		done < <(tac "$PS_TEST_DIR/host-cgroups")
		rm "$PS_TEST_DIR/host-cgroups"
	fi
	if [ -n "${HOST_CGROUPS-}" ]; then
		flock --unlock "$HOST_CGROUPS" # a process that is just ending may have it, too
		exec {HOST_CGROUPS}<&-
		HOST_CGROUPS=''
	fi
}

# kill_cgroup FOLDER: kill all that is in it or below.
kill_cgroup()
{
	echo 1 >"$1/cgroup.kill"
}

cgroup_empty()
{
	grep -q 'populated 0' "$PS_TEST_CGROUP/cgroup.events"
}

# until_true SECONDS COMMAND...: wait for a condition; on a machine that has much else to do, longer.
until_true()
{
	local deadline=$((SECONDS + 4 * $1 + 1))
	shift
	until "$@"; do
		if [ $SECONDS -ge $deadline ]; then
			echo "still not true: $*" >&2
			return 1
		fi
		sleep 0.02
	done
}

# --- unprivileged processes --------------------------------------------------------

# as UID COMMAND...: becomes the command, as that user, with no capability at all ("root":
# as root with all of them); in the network namespace $NETNS if that is set.
as()
{
	local uid=$1 enter=()
	shift
	[ -z "${NETNS-}" ] || enter=(nsenter --net="/run/netns/$NETNS" --)
	[ "$uid" != root ] || exec "${enter[@]}" "$@"
	exec "${enter[@]}" setpriv --reuid "$uid" --regid "$uid" --clear-groups --no-new-privs \
		--inh-caps=-all --ambient-caps=-all --bounding-set=-all -- "$@"
}

# in_cgroup NAME: move the calling process to $PS_TEST_CGROUP/NAME, made if it is missing, or
# to one that host_cgroup has made: "/NAME".
in_cgroup()
{
	if [ "${1:0:1}" = / ]; then
		echo "$BASHPID" >"$PS_TEST_CGROUP2$1/cgroup.procs"
		return
	fi
	mkdir -p "$PS_TEST_CGROUP/$1"
	echo "$BASHPID" >"$PS_TEST_CGROUP/$1/cgroup.procs"
}

# Options of start, serve and becomes: -u UID, -g CGROUP, -N NETNS. Sets RUN_UID, CGROUP, NETNS and
# SKIP, the number of arguments read.
parse_where()
{
	local opt OPTIND=1
	RUN_UID=$WEB CGROUP=default NETNS=''
	while getopts u:g:N: opt; do
		case $opt in
		u) RUN_UID=$OPTARG ;;
		g) CGROUP=$OPTARG ;;
		N) NETNS=$OPTARG ;;
		*) return 2 ;;
		esac
	done
	SKIP=$((OPTIND - 1))
	SERVERS=$((SERVERS + 1))
	RUN_ID=$BATS_TEST_NUMBER.$BASHPID.$SERVERS
	LOG=$PS_TEST_DIR/out.$RUN_ID
}

# start [-u UID] [-g CGROUP] [-N NETNS] COMMAND...: in the background. Sets PID, and LOG,
# which its output goes to.
start()
{
	parse_where "$@"
	shift "$SKIP"
	(
		exec 3>&- 4>&-
		in_cgroup "$CGROUP"
		cd "$PS_TEST_DIR" || exit
		as "$RUN_UID" "$@"
	) >"$LOG" 2>&1 </dev/null &
	PID=$!
	disown $PID # no message when it is killed
}

# serve [-u UID] [-g CGROUP] [-N NETNS] NAME ADDRESS PORT [OPTION of server.py]...: start a
# server and wait until it listens. Sets PID, PIDS (its workers) and ACCESS, its log.
serve()
{
	local ready=() fifo
	parse_where "$@"
	shift "$SKIP"
	ACCESS=$PS_TEST_DIR/log.$RUN_ID
	fifo=$PS_TEST_DIR/fifo.$RUN_ID
	install -m 0666 /dev/null "$ACCESS"
	mkfifo -m 0600 "$fifo"
	(
		exec 3>&- 4>&-
		in_cgroup "$CGROUP"
		cd "$PS_TEST_DIR" || exit
		as "$RUN_UID" "$PYTHON" server.py --name "$1" --log "$ACCESS" "${@:2}"
	) >"$fifo" 2>"$LOG" </dev/null &
	PID=$!
	disown $PID
	read -rt 20 -a ready <"$fifo" || true
	if [ "${ready[0]-}" != ready ]; then
		echo "server $* did not start:" >&2
		cat "$LOG" >&2
		return 1
	fi
	PIDS=("${ready[@]:1}")
}

# wait_port PORT [-u]: wait until somebody listens on the TCP (UDP) port.
wait_port()
{
	until_true 20 is_open "$@"
}

is_open()
{
	[ -n "$(ss -Hln "${2:--t}" "sport = :$1")" ]
}

# ports_of PID: its sockets as the kernel has them, whatever they are told: "udp 0.0.0.0:53".
ports_of()
{
	ss -Hlntup | awk -v pid="pid=$1," 'index($0, pid) { print $1, $5 }' | sort -u
}

# becomes WANTED [-u UID] [-g CGROUP] [-N NETNS] ADDRESS PORT [OPTION of server.py]...: what
# bind() does for a process that then ends: the port that the socket has, or an error's name.
# Unless that is wanted too, getsockname has to say what was asked for.
becomes()
{
	local wanted=$1 got
	shift
	parse_where "$@"
	shift "$SKIP"
	got=$(
		exec 3>&- 4>&-
		in_cgroup "$CGROUP"
		cd "$PS_TEST_DIR" || exit
		as "$RUN_UID" "$PYTHON" server.py --once "$@"
	)
	if [ "$got" != "$wanted" ]; then
		echo "bind of $* became: $got; should be: $wanted" >&2
		return 1
	fi
}

# another_portsteer: somebody's in namespaces of his own, with programs on the root cgroup's hooks,
# until the test ends.
another_portsteer()
{
	local up=$PS_TEST_DIR/another.$BATS_TEST_NUMBER
	mkfifo "$up"
	(
		exec 3>&- 4>&-
		in_cgroup another
		# shellcheck disable=SC2016 # for the inner shell
		exec unshare --mount --pid --net --fork --kill-child --mount-proc --propagation private -- \
			bash -c 'mount -t bpf -o mode=0700 bpf /sys/fs/bpf &&
				"$0" -q add 80:8080 53:5353/udp --any-user && echo up >"$1" && sleep infinity' \
			"$PORTSTEER" "$up"
	) >/dev/null 2>&1 </dev/null &
	disown $!
	read -rt 60 <"$up"
}

# stop PID: end a process at once and wait until it is gone.
stop()
{
	kill -9 "$1"
	until_true 5 gone "$1"
}

gone()
{
	[ ! -e "/proc/$1" ]
}

# becomes_busy [--stays] PID PORT COMMAND...: run it while the kernel lets the process's listener
# into no map, until the command has met it; see busy.py.
becomes_busy()
{
	"$PYTHON" "$PS_TEST_DIR/busy.py" "$@"
}

# assert_no_caps PID UID: the process is an ordinary user's and has no capability.
assert_no_caps()
{
	local set
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		if ! grep -qx "$set:	0000000000000000" "/proc/$1/status"; then
			echo "process $1 has capabilities:" >&2
			grep '^Cap' "/proc/$1/status" >&2
			return 1
		fi
	done
	assert_equal "$(awk '$1 == "Uid:" { print $2, $3, $4, $5 }' "/proc/$1/status")" \
		"$2 $2 $2 $2"
}

# every_process UID COUNT: no process that start made has a capability; there are at least COUNT.
every_process()
{
	local pid count=0
	while read -r pid; do
		assert_no_caps "$pid" "$1"
		count=$((count + 1))
	done <"$PS_TEST_CGROUP/default/cgroup.procs"
	[ $count -ge "$2" ]
}

# --- clients -----------------------------------------------------------------------

# from CGROUP COMMAND...: run a command, or a function, in $PS_TEST_CGROUP/CGROUP.
from()
{
	(
		in_cgroup "$1"
		"${@:2}"
	)
}

# dial ARGS of dial.py: what a client sees.
dial()
{
	"$PYTHON" "$PS_TEST_DIR/dial.py" "$@"
}

# probe PORT: the name of the server that answers there, "refused" if none does. Quicker
# than curl, as it runs a thousand times.
probe()
{
	local fd line last=''
	if ! { exec {fd}<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null; then
		echo refused
		return
	fi
	printf 'GET / HTTP/1.0\r\n\r\n' >&$fd
	while read -r line; do
		last=$line
	done <&$fd
	exec {fd}>&-
	echo "${last%% *}"
}

# fetch [client] URL: what the server answers. 7 is curl's status for "refused".
fetch()
{
	local run=()
	if [ "$1" = client ]; then
		run=(client)
		shift
	fi
	"${run[@]}" curl -sS --globoff --noproxy '*' --max-time 10 "$@"
}

# answers NAME [client] URL: the server of that name answers.
answers()
{
	local name=$1 got
	shift
	got=$(fetch "$@") || return 1
	if [ "${got%% *}" != "$name" ]; then
		echo "$* was answered by: $got; should be: $name" >&2
		return 1
	fi
}

# refused [client] URL: the connection is refused, at once.
refused()
{
	local status=0
	fetch "$@" >/dev/null 2>&1 || status=$?
	if [ $status != 7 ]; then
		echo "curl $* should be refused (7), gave $status" >&2
		return 1
	fi
}

# ask [client] ARGS of ask.py: what the server answers. 7: "refused", 28: nothing came.
ask()
{
	local run=()
	if [ "$1" = client ]; then
		run=(client)
		shift
	fi
	"${run[@]}" "$PYTHON" "$PS_TEST_DIR/ask.py" "$@"
}

# asked NAME [client] ARGS of ask.py: the server of that name answers.
asked()
{
	local name=$1 got
	shift
	got=$(ask "$@") || got="nobody ($?)"
	if [ "${got%% *}" != "$name" ]; then
		echo "$* was answered by: $got; should be: $name" >&2
		return 1
	fi
}

# ask_refused [client] ARGS of ask.py: the kernel says at once that nobody is there.
ask_refused()
{
	local status=0
	ask "$@" >/dev/null || status=$?
	assert_equal "ask $*: $status" "ask $*: 7"
}

# connections ARGS of connect.py...: here; client_connections: from the client.
connections()
{
	"$PYTHON" "$PS_TEST_DIR/connect.py" "$@"
}
client_connections()
{
	client "$PYTHON" "$PS_TEST_DIR/connect.py" "$@"
}

# nginx_paths FOLDER: lines of nginx's http block, by which it writes nowhere else.
nginx_paths()
{
	printf '%s_temp_path %s;\n' client_body "$1/body" proxy "$1/proxy" fastcgi "$1/fastcgi" \
		uwsgi "$1/uwsgi" scgi "$1/scgi"
}

# --- what portsteer says -----------------------------------------------------------

jsonget()
{
	"$PYTHON" "$REPO/tests/e2e/jsonget" "$@"
}

# counters RULE "steered=1 no_listener=0": the counters named have these values. A packet that is
# sent twice, as on a machine that is so slow that a timer runs out, may be one more lookup: the
# second answer to a FIN finds the connection gone, and is looked up as a new one's.
counters()
{
	local rule=$1 pairs pair paths=() got wanted
	read -ra pairs <<<"$2"
	for pair in "${pairs[@]}"; do
		paths+=("rules|rule=$rule|counters|${pair%=*}")
	done
	wanted=$(printf '%s\n' "${pairs[@]#*=}")
	got=$(portsteer stats --json | jsonget "${paths[@]}")
	if [ "$got" != "$wanted" ] && ! only_late "$wanted" "$got" "${pairs[@]%=*}"; then
		echo "counters of $rule should be: $2" >&2
		portsteer stats --json >&2
		nstat -as >&2 || true
		ss -Htan >&2 || true
		client nstat -as >&2 || true
		client ss -Htan >&2 || true
		return 1
	fi
}

# below RULE LINE: in $PS_TEST_DIR/list the line that matches RULE is followed by one
# that matches LINE.
below()
{
	grep -E -A1 -- "$1" "$PS_TEST_DIR/list" | tail -n +2 | grep -Eq -- "$2"
}

# How many TCP segments were sent more than once, here and by the client: RetransSegs.
retransmitted()
{
	{ cat /proc/net/snmp; client cat /proc/net/snmp 2>/dev/null || true; } |
		awk '$1 == "Tcp:" && $13 ~ /^[0-9]/ { sum += $13 } END { print sum + 0 }'
}

# only_late WANTED GOT NAME...: is nothing wrong but that there are more lookups than
# connections, and no more of them than packets that were sent again in this test? One of them
# may be one more refusal, too.
only_late()
{
	local wanted got names=("${@:3}") i more=0 refused=0 sent
	mapfile -t wanted <<<"$1"
	mapfile -t got <<<"$2"
	for i in "${!wanted[@]}"; do
		[ "${got[i]}" != "${wanted[i]}" ] || continue
		((got[i] > wanted[i])) || return 1
		case ${names[i]} in
		steered | no_listener) ((more += got[i] - wanted[i])) ;;
		refused) ((refused = got[i] - wanted[i])) ;;
		*) return 1 ;;
		esac
	done
	sent=$(($(retransmitted) - RETRANSMITTED))
	echo "# $more more lookups, $refused more refusals; $sent packets were sent again" >&3
	((more <= sent && refused <= sent))
}

# rules: the rules in force, one to a line; "not loaded" when it is so.
rules()
{
	local out status=0
	out=$(portsteer list --json 2>/dev/null) || status=$?
	case $status in
	0) grep -o '"rule":"[^"]*"' <<<"$out" | cut -d'"' -f4 || true ;;
	3) echo "not loaded" ;;
	*) echo "error: $out" ;;
	esac
}

# listener_count RULE
listener_count()
{
	portsteer list --json | jsonget "rules|rule=$1|listeners|#"
}

# Everything that the kernel keeps for us, as text to compare.
kernel_state()
{
	portsteer list --json 2>/dev/null || true
	if [ -d $STATE ]; then
		find $STATE -printf '%P %y %m %U\n' | sort
	fi
}

# own_objects: the BPF objects that this environment's portsteer has in the kernel, by what they
# hang on: "map 12 ps_netns"; see own_objects.c.
own_objects()
{
	"$REPO/build/tools/own_objects" /sys/fs/bpf
}

# all_gone FILE: none of the objects in there exists any more, and there are no new ones. The
# kernel frees them a little later than it is asked to.
all_gone()
{
	[ -z "$("$REPO/build/tools/own_objects" --alive <"$1")" ] && [ -z "$(own_objects)" ]
}

# own_strays: how status calls the programs that are not of the state that there is, one a line:
# "hidden". Those of other environments are elsewhere, in all senses.
own_strays()
{
	portsteer status --json | "$PYTHON" -c '
import json, sys
for stray in json.load(sys.stdin)["strays"]:
    if stray["here"] or stray["where"] != "elsewhere":
        print(stray["where"])'
}

# --- assertions --------------------------------------------------------------------

assert_equal()
{
	if [ "$1" != "$2" ]; then
		printf 'got:    %s\nwanted: %s\n' "$1" "$2" >&2
		return 1
	fi
}

assert_match()
{
	if ! [[ $1 =~ $2 ]]; then
		printf 'got:    %s\nshould match: %s\n' "$1" "$2" >&2
		return 1
	fi
}

# sections: of lines of rules and options, as a command has them, make a configuration.
sections()
{
	awk '{
		sub(/#.*/, "")
		rules = keys = ""
		for (i = 1; i <= NF; i++) {
			if ($i !~ /^--/) {
				rules = rules " " $i
				continue
			}
			key = substr($i, 3)
			at = index(key, "=")
			value = key == "any-user" ? "yes" : at ? substr(key, at + 1) : $(++i)
			keys = keys (at ? substr(key, 1, at - 1) : key) " = " value "\n"
		}
		if (rules && sections && keys == last)
			print " " rules
		else if (rules)
			printf "[s%d]\n%sports =\n %s\n", ++sections, keys, rules
		last = keys
	}'
}
