# shellcheck shell=bash disable=SC2034,SC2153,SC2154
# SPDX-License-Identifier: GPL-2.0-only
#
# What the scripts that measure share. They are run by tests/e2e/run, after `make tools`,
# with `here` set to the project's folder.

portsteer=$PORTSTEER # a copy of build/portsteer, made by tests/e2e/run
python=/usr/bin/python3
missed=0
cd "$PS_TEST_DIR" || exit

# --- figures

# report TEXT VALUE UNIT RELATION AIM: a figure and whether it is "<=" or ">=" its aim.
report() {
	local verdict=ok
	if ! awk -v v="$2" -v relation="$4" -v aim="$5" \
		'BEGIN { exit !(relation == "<=" ? v <= aim : v >= aim) }'; then
		verdict=MISSED
		missed=1
	fi
	printf '%-62s %10s %-6s aim %s %6s  %s\n' "$@" "$verdict"
}

note() {
	printf '%-62s %10s %s\n' "$@"
}

median() {
	sort -n "$@" | awk '{ v[NR] = $1 } END { printf "%.1f", v[int((NR + 1) / 2)] }'
}

# longer OF THAN: by how much, each at its best: others on the machine, with hooks of their
# own too, only add to it.
longer() {
	paste <(sort -n "$1") <(sort -n "$2") | awk 'NR == 1 { printf "%.1f", $1 - $2 }'
}

# ratios OF TO: median, quartiles and extremes of the ratios in a round.
ratios() {
	paste "$1" "$2" | awk '{ print $1 / $2 }' | sort -n | awk '
		function at(part) { return v[int((NR - 1) * part + 0.5) + 1] }
		{ v[NR] = $1 }
		END { printf "%.3f %.3f %.3f %.3f %.3f\n", at(0.5), at(0.25), at(0.75), v[1], v[NR] }'
}

json() {
	"$python" -c 'import json, sys; print(eval("j" + sys.argv[1], {"j": json.load(sys.stdin)}))' "$1"
}

# as_section: rules, one a line, as a configuration.
as_section() {
	printf '[rules]\nports =\n'
	sed 's/^/ /'
}

# The median wall time in ms of a whole process, with another command between the runs
# that undoes it: milliseconds UNDO... -- COMMAND...
milliseconds() {
	"$python" - "$rounds" "$@" <<-'END'
		import statistics, subprocess, sys, time
		rounds, words = int(sys.argv[1]), sys.argv[2:]
		undo, command = words[:words.index("--")], words[words.index("--") + 1:]
		times = []
		for _ in range(rounds):
		    start = time.perf_counter()
		    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
		    times.append(time.perf_counter() - start)
		    subprocess.run(undo, check=True, stdout=subprocess.DEVNULL)
		print(f"{statistics.median(times) * 1000:.1f}")
	END
}

# Bytes of kernel memory above what was there when we came, in objects called like ours:
# the host's own portsteer is counted too.
baseline=0
memory() {
	echo $(($("$portsteer" status --json | json '["memory"]') - baseline))
}

# --- a namespace for each round

# Client and server share a CPU. With one for each, a cost on the side that waits for the
# other does not show, and waking the other's CPU is most of what is measured: on a virtual
# machine no two rounds of that are alike.
cpu=$(awk '/^Cpus_allowed_list/ { n = split($2, cpus, /[-,]/); print cpus[n] }' /proc/self/status)
alone=(taskset -c "$cpu")
# Nothing else runs on it meanwhile, but for the 5 percent that the kernel keeps for others.
if chrt -f 1 true 2>/dev/null; then
	alone+=(chrt -f 1)
fi

inside() {
	nsenter --net=/run/netns/bench -- "${alone[@]}" "$@"
}

make_netns() {
	ip netns add bench
	ip -n bench link set lo up
}

end_netns() {
	"$portsteer" -q --netns bench unload
	ip netns del bench
}

# --- exchanges; scripts say with whom

# wait_for_server udp|tcp PORT
wait_for_server() {
	local deadline=$((SECONDS + 10))
	until nsenter --net=/run/netns/bench -- ss -Hnl "--$1" "sport = $2" | grep -q .; do
		if ((SECONDS >= deadline)); then
			echo "${0##*/}: no server has port $2 ($1)" >&2
			exit 1
		fi
		sleep 0.02
	done
}

# exchange WHAT WAY: one round, its rate goes to the file WHAT-WAY. The script's start_server
# leaves the process in `server`, load prints the rate.
exchange() {
	make_netns
	start_server "$@"
	load "$@" >>"$1-$2"
	kill "$server"
	wait "$server" || true
	end_netns
}

# compare_exchanges TEXT WHAT WAY OTHER-WAY [AIM]: rounds of both, in turns forwards and
# backwards; the ratio of the first way's rate to the other's.
compare_exchanges() {
	local round way median low high least most ways=("$3" "$4")
	rm -f "$2-$3" "$2-$4"
	for ((round = 0; round < rounds; round++)); do
		for way in "${ways[@]}"; do
			exchange "$2" "$way"
		done
		ways=("${ways[1]}" "${ways[0]}")
	done
	read -r median low high least most < <(ratios "$2-$3" "$2-$4")
	if [[ -n ${5-} ]]; then
		report "$1" "$median" times '>=' "$5"
	else
		note "$1" "$median" times
	fi
	note "  $rounds rounds from $least to $most, half of them" "$low" "to $high"
}

# The rate that bench_net says.
rate() {
	awk '$1 == "rate" { print $2 }'
}

# --- the hooks

# The programs that are attached to cgroups. All that is pinned in the BPF file system of
# this run is ours; by name one would find those of the host's own portsteer too.
hooks() {
	bpftool -j -f link list | "$python" -c 'import json, sys
for link in json.load(sys.stdin):
    if link["type"] == "cgroup" and link.get("pinned"):
        print(link["prog_id"])'
}

# is_crowded PATTERN: does anybody have such hooks attached now? What is measured as "none"
# has them then.
is_crowded() {
	bpftool cgroup show "$PS_TEST_CGROUP2" effective | grep -qE "$1"
}

# cost LABEL CALL PORT [PROGRAM-ID...]: what bench_call says goes to the files
# LABEL-CALL-WHAT. It runs in the cgroup "bench".
cost() {
	local what ns
	inside ./bench_call "$2" "$other" "$3" "$PS_TEST_CGROUP/bench" "${@:4}" >costs
	while read -r what ns; do
		echo "$ns" >>"$1-$2-$what"
	done <costs
}

# What is behind the figures of a label's call.
note_details() {
	local file name
	for file in "$1-$2"-ps*; do
		name=${file#"$1-$2-"}
		if [[ $(median "$file") != 0.0 ]]; then
			note "  of this $name" "$(median "$file")" ns
		fi
	done
	note '  the call by the clock, longer by' "$(longer "$1-$2-call" "none-$2-call")" ns
}
