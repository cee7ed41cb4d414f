#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# What the commands print: help, text for people, JSON for programs.

load lib

setup_file() { setup_env; }
setup() { setup_test; }
teardown() { teardown_test; }

# json PROGRAM: stdin must be one line of JSON, `d`, for which the Python text is true.
json()
{
	"$PYTHON" -c '
import json, re, sys
lines = sys.stdin.read().splitlines()
assert len(lines) == 1, lines
d = json.loads(lines[0])
for check in sys.argv[1:]:
    if not eval(check):
        sys.exit(f"not true: {check}\n{lines[0]}")
' "$@"
}

# --- help and version --------------------------------------------------------------

@test "help: on stdout, status 0, by command, by option" {
	local out command
	out=$(portsteer help 2>&1)
	assert_match "$out" "Usage: portsteer"
	assert_equal "$(portsteer --help)" "$out"
	assert_equal "$(portsteer -h)" "$out"
	for command in $(portsteer help --table | awk '$1 == "command" { print $2 }'); do
		assert_match "$out" "  $command"
		assert_match "$(portsteer help "$command")" "^Usage: portsteer $command"
		assert_equal "$(portsteer "$command" --help)" "$(portsteer help "$command")"
		assert_equal "$(portsteer --help "$command")" "$(portsteer help "$command")"
	done
	assert_equal "$(portsteer help --table | awk '$1 == "command" { print $2 }' | xargs)" \
		"load unload upgrade add allow del flush apply check save list stats status probe version help"
	[ ! -e $STATE ]
}

@test "help: no line is longer than 100 columns, and options are those of the table" {
	local command option
	for command in '' $(portsteer help --table | awk '$1 == "command" { print $2 }'); do
		# shellcheck disable=SC2086
		portsteer help $command >"$PS_TEST_DIR/help"
		assert_equal "$(awk 'length > 100' "$PS_TEST_DIR/help")" ""
		while read -r option; do
			grep -q -- "$option" "$PS_TEST_DIR/help"
		done < <(portsteer help --table |
			awk -v c="$command" '$1 == "option" && ($2 == c || $2 == "global") {
				sub(/,.*/, "", $3); print $3 }')
	done
}

@test "version" {
	assert_match "$(portsteer version)" "^portsteer [0-9]+\.[0-9]+"
	assert_equal "$(portsteer --version)" "$(portsteer version)"
	assert_equal "$(portsteer -V)" "$(portsteer version)"
	portsteer version --json | json 'd["version"]' 'd["abi"] == 8'
}

# --- list --------------------------------------------------------------------------

@test "list: rules and who listens" {
	portsteer -q load
	assert_match "$(portsteer list)" "no rules"
	portsteer -q add 80:8080 --user ps-web --name shop
	portsteer -q add 10.0.0.0/8:443:8443 --cgroup "$CG/web" --if-down pass
	portsteer -q add 1000-1009:9000-9009 --any-user
	assert_match "$(portsteer list)" "80:8080/tcp +steer +user ps-web +refuse +shop"$'\n'"  no listener yet"$'\n'
	serve web 127.0.0.1 8080
	portsteer list >"$PS_TEST_DIR/list"
	assert_match "$(head -1 "$PS_TEST_DIR/list")" "^RULE +MODE +OWNER +IF DOWN +NAME$"
	below "^80:8080/tcp +steer +user ps-web +refuse +shop$" "^  127.0.0.1:8080 ps-web .*\[$PID\]$"
	below "^10.0.0.0/8:443:8443/tcp +steer +cgroup /$CG/web +pass +-$" "^  no listener yet$"
	below "^1000-1009:9000-9009/tcp +steer +any user +refuse +-$" "^  no listener yet$"
	assert_equal "$(wc -l <"$PS_TEST_DIR/list")" 7
	assert_equal "$(grep -c ' $' "$PS_TEST_DIR/list")" 0 # no trailing blanks
}

@test "list: columns are aligned" {
	portsteer -q add 80:8080 --user ps-web
	portsteer -q add '[2001:db8:1234:5678::]/64:10000-10009:20000-20009' --user ps-db
	portsteer list >"$PS_TEST_DIR/list"
	assert_equal "$(awk '/^[^ ]/ { print index($0, NR == 1 ? "MODE" : "steer") }' "$PS_TEST_DIR/list" |
		sort -u | wc -l)" 1
}

@test "list: a squatter is shown, and why it gets nothing" {
	portsteer -q add 80:8080 --user ps-web
	serve -u $DB thief 127.0.0.1 8080
	assert_match "$(portsteer list)" "127.0.0.1:8080 ps-db .*\[$PID\] \(not admitted: "
	portsteer list --json | json 'd["rules"][0]["listeners"] == []' \
		'[l["user"] for l in d["rules"][0]["not_admitted"]] == ["ps-db"]'
}

@test "list --json: every key, whole" {
	serve -g web web :: 8080 --dual --reuseport
	serve -g web six ::1 8080 --v6only --reuseport
	portsteer -q add 80:8080 --user ps-web --cgroup "$CG/web" --name 'a "b" é'
	portsteer -q add '[2001:db8::]/32:1-3:1001-1003' --any-user --if-down pass
	portsteer list --json | json \
		'list(d) == ["netns", "generation", "rules"]' \
		'd["netns"]["cookie"] > 0 and list(d["netns"]) == ["cookie", "name"]' \
		'd["generation"] == 3' \
		'[list(r) for r in d["rules"]] == 2 * [["rule", "address", "protocol", "front", "target", "mode", "grant", "blocked", "client_cgroup", "to", "if_down", "owner", "name", "origin", "listeners", "listener_count", "not_admitted", "not_admitted_count"]]' \
		'[r["rule"] for r in d["rules"]] == ["[2001:db8::]/32:1-3:1001-1003/tcp", "80:8080/tcp"]' \
		'd["rules"][0]["address"] == "[2001:db8::]/32"' \
		'd["rules"][0]["front"] == {"first": 1, "last": 3}' \
		'd["rules"][0]["target"] == {"first": 1001, "last": 1003}' \
		'd["rules"][0]["if_down"] == "pass" and d["rules"][0]["mode"] == "steer"' \
		'd["rules"][0]["owner"] == {"uid": None, "user": None, "cgroup": None, "any": True}' \
		'd["rules"][0]["name"] is None and d["rules"][0]["listeners"] == []' \
		'd["rules"][1]["address"] is None and d["rules"][1]["protocol"] == "tcp"' \
		"d['rules'][1]['owner'] == {'uid': $WEB, 'user': 'ps-web', 'cgroup': '/$CG/web', 'any': False}" \
		'd["rules"][1]["name"] == "a \"b\" é"' \
		'sorted((l["address"], l["port"], l["family"]) for l in d["rules"][1]["listeners"]) == [("::", 8080, "dual"), ("::1", 8080, "ipv6")]' \
		'[list(l) for l in d["rules"][1]["listeners"]] == 2 * [["address", "port", "protocol", "family", "uid", "user", "processes", "cookie"]]' \
		"all(l['uid'] == $WEB and l['user'] == 'ps-web' and l['cookie'] > 0 for l in d['rules'][1]['listeners'])" \
		"$PID in [p['pid'] for l in d['rules'][1]['listeners'] for p in l['processes']]"
}

@test "list and stats: a connect rule, and the column that others do not have" {
	portsteer -q add 80:8080 --user ps-web
	portsteer -q add 80:8081 --client-cgroup "$CG/a" --user ps-web --if-down pass
	portsteer -q add 53:5353/udp 81:10.1.2.3:8082 --client-cgroup "$CG/a" --any-user
	serve web 127.0.0.1 8080
	portsteer list >"$PS_TEST_DIR/list"
	assert_match "$(head -1 "$PS_TEST_DIR/list")" "^RULE +MODE +CLIENT CGROUP +OWNER +IF DOWN$"
	below "^80:8080/tcp +steer +- +user ps-web +refuse$" "^  127.0.0.1:8080 "
	below "^80:8081/tcp +connect +/$CG/a +user ps-web +pass$" "^  no listener yet$"
	below "^53:5353/udp +connect +/$CG/a +any user +-$" "^  fixed destination, owner not checked$"
	below "^81:10.1.2.3:8082/tcp +connect +/$CG/a +any user +-$" "^  fixed destination"
	serve -u $DB thief 127.0.0.1 8081
	assert_match "$(portsteer list)" "127.0.0.1:8081 ps-db .*\(not admitted: not the owner's\)"
	portsteer stats >"$PS_TEST_DIR/stats"
	assert_match "$(head -1 "$PS_TEST_DIR/stats")" "^RULE +MODE +CLIENT CGROUP +OWNER +ADMITTED +NOT OWNER +LAST HIT$"
	grep -Eq "^80:8081/tcp +connect +/$CG/a +user ps-web +0 +1 +never$" \
		"$PS_TEST_DIR/stats"
	portsteer -q del 80 81 --client-cgroup "$CG/a"
	portsteer -q del 53/udp --client-cgroup "$CG/a"
	[[ $(portsteer list) != *"CLIENT CGROUP"* ]]
	[[ $(portsteer stats) != *"CLIENT CGROUP"* ]]
}

@test "list, stats and status --json: a connect rule" {
	serve web 10.1.2.3 8080
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	portsteer -q add '81:[2001:db8::1]:8082' --client-cgroup "$CG/a" --any-user
	portsteer -q add 53:5353/udp --client-cgroup / --any-user
	portsteer list --json | json \
		'[r["rule"] for r in d["rules"]] == ["53:5353/udp", "80:8080/tcp", "81:[2001:db8::1]:8082/tcp"]' \
		"[r['client_cgroup'] for r in d['rules']] == ['/', '/$CG/a', '/$CG/a']" \
		'[r["to"] for r in d["rules"]] == [None, None, "2001:db8::1"]' \
		'[r["mode"] for r in d["rules"]] == 3 * ["connect"]' \
		'[r["if_down"] for r in d["rules"]] == [None, "refuse", None]' \
		'[r["listener_count"] for r in d["rules"]] == [0, 1, 0]' \
		'd["rules"][1]["listeners"][0]["address"] == "10.1.2.3"' \
		'd["rules"][2]["target"] == {"first": 8082, "last": 8082}'
	portsteer stats --json | json "[r['client_cgroup'] for r in d['rules']] == ['/', '/$CG/a', '/$CG/a']"
	portsteer status --json | json 'd["connect_hooks"] is True' 'd["bind_hooks"] is False'
	assert_match "$(portsteer status)" "connect hooks: +cgroup /"
}

@test "a client cgroup with odd characters is shown without them" {
	local name=$'odd \xff\xc2\x9b "'
	portsteer -q add 80:8080 --client-cgroup "$CG/$name" --user ps-web
	portsteer list >"$PS_TEST_DIR/list"
	[ "$(wc -l <"$PS_TEST_DIR/list")" = 3 ]
	grep -Fq 'odd \xff\xc2\x9b' "$PS_TEST_DIR/list"
	portsteer list --json | json 'd["rules"][0]["client_cgroup"].endswith("/odd \ufffdff\u009b \"")'
	portsteer list --json >"$PS_TEST_DIR/list"
	grep -Fq 'ff\u009b ' "$PS_TEST_DIR/list"
	portsteer -q del 80 --client-cgroup "$CG/$name"
}

@test "a process name with control characters is shown without them" {
	portsteer -q add 80:8080 --user ps-web
	cp "$(readlink -f "$PYTHON")" "$PS_TEST_DIR/"$'py\x1b[31m\nx'
	serve_with "$PS_TEST_DIR/"$'py\x1b[31m\nx'
	portsteer list >"$PS_TEST_DIR/list"
	assert_equal "$(wc -l <"$PS_TEST_DIR/list")" 3
	grep -q 'py\\x1b\[31m\\x0ax' "$PS_TEST_DIR/list"
	portsteer list --json | json \
		'd["rules"][0]["listeners"][0]["processes"][0]["name"] == "py\x1b[31m\nx"'
}

serve_with()
{
	local PYTHON=$1
	serve odd 127.0.0.1 8080
}

# --- what Kubernetes calls a container ---------------------------------------------

# two_containers: the cgroups of two in one pod, in POD_a and POD_b.
two_containers()
{
	local pod=$CG/kubepods.slice/kubepods-burstable.slice hex
	pod+=/kubepods-burstable-pod0f5f5b2e_9d5c_4b57_8f0a_6a3f1c2d4e5f.slice
	hex=$(printf '%063d' 0)
	POD_a=$pod/cri-containerd-${hex}a.scope
	POD_b=$pod/cri-containerd-${hex}b.scope
	mkdir -p "$PS_TEST_CGROUP2/$POD_a" "$PS_TEST_CGROUP2/$POD_b"
}

# readable NAME: no line of the test's file is longer than a terminal that is not narrow, and all
# is whole characters.
readable()
{
	"$PYTHON" - "$PS_TEST_DIR/$1" <<-'END'
		import sys
		lines = open(sys.argv[1], "rb").read().decode().splitlines()
		wide = [line for line in lines if len(line) > 100]
		assert lines and not wide, wide
	END
}

@test "list and stats: a container of Kubernetes as owner and as client cgroup" {
	local name
	two_containers
	serve -g "${POD_a#"$CG/"}" web 127.0.0.1 8080
	portsteer -q add 80:8080 81:8081 --cgroup "$POD_a" --name shop
	portsteer -q add 80:8080 --client-cgroup "$POD_a" --user ps-web --cgroup "$POD_a"
	portsteer -q add 80:8080 --client-cgroup "$POD_b" --any-user
	answers web http://127.0.0.1/
	refused http://127.0.0.1:81/
	portsteer list >"$PS_TEST_DIR/list"
	readable list
	assert_equal "$(head -1 "$PS_TEST_DIR/list" | xargs)" "RULE MODE IF DOWN NAME"
	below "^80:8080/tcp +steer +refuse +shop$" "^  owner: cgroup /.*…0*a.scope$"
	below "^  owner: cgroup /.*0a.scope$" "^  127.0.0.1:8080 ps-web "
	below "^80:8080/tcp +connect +refuse +-$" "^  client cgroup: /.*…0*[ab].scope$"
	below "^  client cgroup: .*…0*a.scope$" \
		"^  owner: user ps-web in cgroup /.*…0*a.scope$"
	below "^  client cgroup: .*…0*b.scope$" "^  owner: any user$"
	portsteer stats >"$PS_TEST_DIR/stats"
	readable stats
	assert_equal "$(head -1 "$PS_TEST_DIR/stats" | xargs)" \
		"RULE MODE STEERED NO LISTENER REFUSED ADMITTED LAST HIT"
	assert_equal "$(grep -c '^  client cgroup: /.*….*[ab].scope$' "$PS_TEST_DIR/stats")" 2
	assert_equal "$(grep -c '^  owner: ' "$PS_TEST_DIR/stats")" 4
	# All of it: -v, and the JSON.
	for name in list stats; do
		portsteer -v "$name" >"$PS_TEST_DIR/whole"
		grep -qx "  client cgroup: /$POD_b" "$PS_TEST_DIR/whole"
		grep -qx "  owner: user ps-web in cgroup /$POD_a" "$PS_TEST_DIR/whole"
		[[ $(<"$PS_TEST_DIR/whole") != *…* ]]
		portsteer "$name" --json | json "[r['client_cgroup'] for r in d['rules']].count('/$POD_b') == 1" \
			"[r['owner']['cgroup'] for r in d['rules']].count('/$POD_a') == 3"
	done
	assert_match "$(portsteer list -v | head -1)" " NAME +ORIGIN$"
}

@test "list: what is to be copied for a container's socket is whole" {
	two_containers
	serve -g "${POD_b#"$CG/"}" thief 127.0.0.1 8080
	portsteer -q add 80:8080 --cgroup "$POD_a"
	portsteer list >"$PS_TEST_DIR/list"
	below "^  127.0.0.1:8080 ps-web .*\(not admitted: [^…]*\)$" "^    matching owner: --cgroup /$POD_b$"
}

@test "list and stats: a path that fits stays as it is, beside the rest" {
	local name
	portsteer -q add 80:8080 --cgroup "$CG/web" --client-cgroup "$CG/a"
	portsteer list >"$PS_TEST_DIR/list"
	portsteer stats >"$PS_TEST_DIR/stats"
	for name in list stats; do
		readable $name
		grep -Eq "^80:8080/tcp +connect +/$CG/a +cgroup /$CG/web " "$PS_TEST_DIR/$name"
		assert_equal "$(grep -cE '…|owner:|client cgroup:' "$PS_TEST_DIR/$name")" 0
	done
}

@test "list: a long path is never cut within a character" {
	local name i
	for i in 1 2 3 4; do
		name=$(printf 'ä%.0s' $(seq $((60 + i))))
		portsteer -q add 80:8080 --client-cgroup "$CG/$name/$name" --any-user
		# Nor within what stands for a byte.
		portsteer -q add 80:8081 --any-user \
			--client-cgroup "$CG/$(printf '\xff%.0s' $(seq $((40 + i))))"
		portsteer list >"$PS_TEST_DIR/list"
		readable list
		grep -Eq "^  client cgroup: /$CG/(ä)+…[ä/]+$" "$PS_TEST_DIR/list"
		grep -Eq '^  client cgroup: /[^\]*(\\xff)+…(\\xff)+$' "$PS_TEST_DIR/list"
		portsteer -q flush
	done
}

# --- stats, status -----------------------------------------------------------------

@test "stats: text and JSON" {
	portsteer -q add 80:8080 81:8081 --user ps-web --name shop
	serve web 127.0.0.1 8080
	answers web http://127.0.0.1/
	refused http://127.0.0.1:81/
	portsteer stats >"$PS_TEST_DIR/stats"
	assert_match "$(head -1 "$PS_TEST_DIR/stats")" \
		"^RULE +MODE +OWNER +STEERED +NO LISTENER +REFUSED +ADMITTED +LAST HIT$"
	grep -Eq "^80:8080/tcp +steer +user ps-web +1 +0 +0 +1 +[0-9]+ s ago$" "$PS_TEST_DIR/stats"
	grep -Eq "^81:8081/tcp +steer +user ps-web +0 +1 +1 +0 +[0-9]+ s ago$" "$PS_TEST_DIR/stats"
	portsteer stats --json | json \
		'list(d) == ["netns", "generation", "rules"]' \
		'[list(r) for r in d["rules"]] == 2 * [["rule", "mode", "client_cgroup", "owner", "name", "counters", "last_hit"]]' \
		'list(d["rules"][0]["counters"]) == ["steered", "no_listener", "wrong_family", "wrong_device", "taken", "refused", "admitted", "not_owner", "rejected", "granted", "translated", "failed"]' \
		'd["rules"][0]["counters"]["steered"] == 1 and d["rules"][1]["counters"]["refused"] == 1' \
		'0 <= d["rules"][0]["last_hit"] < 60' 'd["rules"][0]["name"] == "shop"'
}

@test "status: loaded or not, text and JSON" {
	assert_match "$(portsteer status)" "loaded: +no"
	portsteer status --json | json 'd["loaded"] is False and d["instances"] == []' \
		'd["sock_ops"] == [] and d["memory"] >= 0' "d['cgroup2'] == '$PS_TEST_CGROUP2'" \
		'd["bpffs"] == "/sys/fs/bpf"'
	portsteer -q add 80:8080 --user ps-web
	assert_match "$(portsteer status)" "loaded: +yes"
	portsteer status --json | json \
		'list(d) == ["loaded", "abi", "version", "outdated", "bpffs", "cgroup2", "sock_ops", "bind_hooks", "connect_hooks", "memory", "detached", "leftovers", "strays", "others", "instances"]' \
		'd["loaded"] is True and d["abi"] == 8 and d["bind_hooks"] is False and d["connect_hooks"] is False and d["leftovers"] == 0' \
		'd["sock_ops"] == ["/"] and d["memory"] > 4096' 'len(d["instances"]) == 1' \
		'list(d["instances"][0]) == ["cookie", "name", "generation", "rules", "netns_inode", "alive"]' \
		'd["instances"][0]["rules"] == 1 and d["instances"][0]["alive"] is True' \
		"d['instances'][0]['netns_inode'] == $(stat -Lc %i /proc/self/ns/net)"
}

@test "status: namespaces are called by name" {
	portsteer -q load
	portsteer --netns client -q load
	assert_match "$(portsteer status)" "NETNS +COOKIE +INODE +RULES +GENERATION"
	assert_match "$(portsteer status)" $'\n'"current +[0-9]+ +[0-9]+ +0"
	assert_match "$(portsteer status)" $'\n'"client +[0-9]+ +[0-9]+ +0"
	portsteer status --json | json 'sorted(i["name"] for i in d["instances"]) == ["client", "current"]'
	# From inside it is its own.
	portsteer --netns client status --json |
		json 'sorted(i["name"] == "client" for i in d["instances"]) == [False, True]'
	portsteer --netns client -q unload
}

@test "what changes print as JSON" {
	assert_equal "$(portsteer --json load)" '{"changed":true}'
	assert_equal "$(portsteer add 80:8080 81:8081 --user ps-web -j)" \
		'{"added":2,"removed":0,"inferred":[],"notes":[]}'
	assert_equal "$(portsteer del 80 --json)" '{"added":0,"removed":1,"held":[]}'
	assert_equal "$(portsteer flush --json)" '{"added":0,"removed":1,"held":[]}'
	assert_equal "$(portsteer flush --json)" '{"added":0,"removed":0,"held":[]}'
	assert_equal "$(portsteer unload -j)" '{"changed":true}'
}

# --- options -----------------------------------------------------------------------

@test "global options before and after the command, and in one word" {
	portsteer -q add 80:8080 --user ps-web
	local want
	want=$(portsteer --json list)
	assert_equal "$(portsteer list --json)" "$want"
	assert_equal "$(portsteer -j list)" "$want"
	assert_equal "$(portsteer list -jq)" "$want"
	portsteer --netns client --quiet load
	assert_match "$(portsteer --netns client list --json)" '"name":"client"'
	assert_match "$(portsteer list --json --netns=client)" '"name":"client"'
	assert_match "$(portsteer list --json --netns /run/netns/client)" '"rules":\[\]'
	portsteer -q unload --netns client
}

# is_container TEXT PATH: the cgroup that "container:TEXT" is.
is_container()
{
	portsteer -q flush
	portsteer -q add 80:8080 --cgroup "container:$1"
	assert_equal "$(portsteer list --json | jsonget rules.0.owner.cgroup)" "$2"
}

# no_container TEXT [WHY]
no_container()
{
	local message status=0
	portsteer -q flush
	message=$(portsteer -q add 80:8080 --cgroup "container:$1" 2>&1) || status=$?
	assert_equal $status 1
	assert_match "$message" "${2-there is no such container}"
}

# new_id: sets ID to one of 64 digits that no container has.
new_id()
{
	ID=$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')
}

@test "--cgroup container:ID: what runtimes call their cgroups, by the whole id and a part" {
	local name
	portsteer -q load
	for name in system.slice/docker-ID.scope machine.slice/libpod-ID.scope \
		machine.slice/machine-libpod_pod_0123.slice/libpod-ID.scope \
		kubepods.slice/kubepods-pod0123.slice/cri-containerd-ID.scope/init \
		kubepods.slice/kubepods-besteffort.slice/crio-ID.scope \
		system.slice/nerdctl-ID.scope psparent.slice/docker-ID.scope \
		docker/ID libpod_parent/libpod-ID kubepods/burstable/pod01234567-89ab/ID; do
		new_id
		name=/${name/ID/$ID}
		host_cgroup "$name"
		name=${name%/init}
		is_container "$ID" "$name"
		is_container "${ID:0:12}" "$name"
		no_container "${ID:0:11}"
		no_container "${ID:1}"
		no_container "${ID}0"
	done
}

@test "--cgroup container:ID: the monitor of a container, and what only looks like one" {
	portsteer -q load
	new_id
	host_cgroup "/machine.slice/libpod-conmon-$ID.scope" "/system.slice/$ID-1a2b.service" \
		"/system.slice/docker-$ID.scope.d" "/system.slice/dockerx$ID.scope" \
		"/system.slice/docker-${ID}x.scope" "/system.slice/$ID" "/docker/x$ID" "/lxc/docker-$ID"
	no_container "$ID"
	host_cgroup "/machine.slice/libpod-$ID.scope"
	is_container "$ID" "/machine.slice/libpod-$ID.scope"
}

@test "--cgroup container:ID: never inside of a container, a unit or what a user owns" {
	local place name=ps-web-$$
	portsteer -q load
	new_id
	for place in "/machine.slice/libpod-$(tr 0-9a-f 1-9a-f0 <<<"$ID").scope/container" \
		/system.slice/ps-test.service /system.slice/ps-test.service/system.slice \
		"/$CG" "/$CG/machine.slice" "/docker/$(tr 0-9a-f 1-9a-f0 <<<"$ID")" \
		"/lxc.payload.ps-outer-$$" "/lxc.payload.ps-outer-$$/machine.slice"; do
		host_cgroup "$place/docker-$ID.scope" "$place/$ID" "$place/libpod-$ID.scope" \
			"$place/lxc.payload.$name" "$place/machine-$name.scope" "$place/lxc/$name"
	done
	no_container "$ID"
	no_container "$name"
	# below what a user owns
	host_cgroup "/pstest.slice/docker-$ID.scope"
	chown $DB "$PS_TEST_CGROUP2/pstest.slice"
	no_container "$ID"
	# its own may be somebody's: that of a container with a user namespace is
	host_cgroup "/system.slice/docker-$ID.scope"
	chown $DB "$PS_TEST_CGROUP2/system.slice/docker-$ID.scope"
	is_container "$ID" "/system.slice/docker-$ID.scope"
}

@test "--cgroup container:ID: that of a user's own is named, and not taken" {
	local place
	portsteer -q load
	for place in user.slice user.slice/user-x.slice app.slice; do
		new_id
		place=/user.slice/user-$DB.slice/user@$DB.service/$place/libpod-$ID.scope
		host_cgroup "$place"
		chown $DB "$PS_TEST_CGROUP2/user.slice/user-$DB.slice/user@$DB.service"
		no_container "$ID" "it is in $place, where a user chooses the names; .*give its path"
		# the host's own counts, whatever a user calls his
		host_cgroup "/machine.slice/libpod-$ID.scope"
		is_container "$ID" "/machine.slice/libpod-$ID.scope"
	done
}

@test "--cgroup container:ID: more than one" {
	local message status=0 one two
	portsteer -q load
	new_id
	one=/machine.slice/libpod-${ID:0:60}0000.scope two=/system.slice/docker-${ID:0:60}1111.scope
	host_cgroup "$one" "$two"
	message=$(portsteer add 80:8080 --cgroup "container:${ID:0:60}" 2>&1) || status=$?
	assert_equal $status 1
	assert_match "$message" "more than one matches, /.* and /.*; give more of the id, or the path"
	assert_match "$message" "$one"
	assert_match "$message" "$two"
	is_container "${ID:0:60}0" "$one"
	host_cgroup "/lxc.payload.ps$$" "/machine.slice/machine-ps$$.scope"
	no_container "ps$$" "more than one matches, .*lxc.payload.ps$$|more than one.*machine-ps$$"
}

@test "--cgroup container:NAME: LXC's containers and systemd's machines" {
	local n=ps$$
	portsteer -q load
	host_cgroup "/lxc.payload.$n-1" "/lxc.monitor.$n-1" "/lxc/db_$n" "/$CG/lxc/db_$n" \
		"/machine.slice/machine-M$n.scope" "/machine.slice/machine-my\\x2d$n.scope" \
		"/machine.slice/systemd-nspawn@deb\\x2d$n.service/payload" \
		/lxc.payload.abcdefabcdef
	is_container "$n-1" "/lxc.payload.$n-1"
	is_container "db_$n" "/lxc/db_$n"
	is_container "M$n" "/machine.slice/machine-M$n.scope"
	is_container "my-$n" "/machine.slice/machine-my\\x2d$n.scope"
	is_container "deb-$n" "/machine.slice/systemd-nspawn@deb\\x2d$n.service"
	is_container abcdefabcdef /lxc.payload.abcdefabcdef # a name like an id
	no_container "$n"
	no_container "m$n"
	no_container "$n-11"
}

@test "--cgroup container:ID: its listeners are admitted, and no others" {
	new_id
	host_cgroup "/system.slice/docker-$ID.scope/app"
	serve -g "/system.slice/docker-$ID.scope/app" web 127.0.0.1 8080
	portsteer -q add 80:8080 --cgroup "container:${ID:0:12}"
	answers web http://127.0.0.1/
	stop "$PID"
	serve -g other thief 127.0.0.1 8080
	refused http://127.0.0.1/
}

@test "-q says nothing, -v does what the command does" {
	assert_equal "$(portsteer -q load 2>&1)" ""
	assert_equal "$(portsteer add 80:8080 --user ps-web -q 2>&1)" ""
	assert_equal "$(portsteer del 80 --quiet 2>&1)" ""
	assert_equal "$(portsteer -q unload 2>&1)" ""
	portsteer -v add 80:8080 --user ps-web >/dev/null
	assert_equal "$(rules)" 80:8080/tcp
}

@test "add, del and flush say what they did" {
	assert_match "$(portsteer add 80:8080 --user ps-web)" \
		"^added 80:8080/tcp for user ps-web: no listener yet$"
	serve web 127.0.0.1 8081
	assert_match "$(portsteer add 81:8081 --user ps-web)" \
		"^added 81:8081/tcp for user ps-web: 1 listener$"
	assert_match "$(portsteer add 81:8081 --user ps-web --client-cgroup "$CG/a")" \
		"^added 81:8081/tcp for user ps-web, client cgroup /$CG/a: 1 listener$"
	assert_match "$(portsteer add 53:5353/udp --any-user --client-cgroup "$CG/a")" \
		"^added 53:5353/udp for any user, client cgroup /$CG/a: fixed destination, owner not checked"$'\n'"note: rule 53:5353/udp keeps the client's destination .*$"
	assert_equal "$(portsteer del 81 --client-cgroup "$CG/a")" "deleted 1 rule"
	assert_equal "$(portsteer del 53/udp --client-cgroup "$CG/a" --json)" '{"added":0,"removed":1,"held":[]}'
	assert_equal "$(portsteer del 80)" "deleted 1 rule"
	assert_equal "$(portsteer flush)" "deleted 1 rule"
}

@test "add -f: a file, or standard input, as the configuration" {
	cat >"$PS_TEST_DIR/rules" <<-END
		# front of the shop
		[shop]
		ports = 80:8080
		user = ps-web
		name = shop

		[two]
		ports = 443:8443
		  8444-8445:9443-9444
		cgroup = $CG/web
		if-down = pass
		[last]
		ports = [2001:db8::]/32:80:8081
		any-user = yes
		name = last
	END
	portsteer -q add -f "$PS_TEST_DIR/rules"
	portsteer list --json >"$PS_TEST_DIR/one"
	json 'len(d["rules"]) == 4' '"last" in [r["name"] for r in d["rules"]]' \
		'[r["if_down"] for r in d["rules"] if r["rule"] == "443:8443/tcp"] == ["pass"]' \
		<"$PS_TEST_DIR/one"
	json '{o for r in d["rules"] for o in [r.get("origin")]} == {None}' <"$PS_TEST_DIR/one"
	portsteer -q flush
	portsteer -q add --file=- <"$PS_TEST_DIR/rules"
	assert_equal "$(portsteer list --json | jsonget rules)" \
		"$(jsonget rules <"$PS_TEST_DIR/one")"
}

@test "add -f: a grant has an owner of its own, whoever has the port; no means no" {
	local file=$PS_TEST_DIR/rules
	start -u root "$PYTHON" -m http.server 443 --bind 127.0.0.1
	wait_port 443
	printf '[a]\nallow = 443/tcp\n' >"$file"
	! portsteer add -f "$file" 2>"$PS_TEST_DIR/stderr" || false
	assert_match "$(<"$PS_TEST_DIR/stderr")" "^portsteer: 'allow' needs an owner; give --user"
	[ ! -e $STATE ]
	# What is for ports only is for the sections that have them.
	printf '[a]\nallow = 22/tcp\n[b]\nports = 80:8080\n' >"$file"
	portsteer -q add -f "$file" --user ps-web --if-down pass
	assert_equal "$(portsteer list --json | jsonget 'rules|rule=80:8080/tcp|if_down')" pass
	printf '[a]\nports = 81:8081\nany-user = no\n' >"$file"
	! portsteer -q add -f "$file" --any-user 2>"$PS_TEST_DIR/stderr" || false
	assert_equal "$(rules | xargs)" "22/tcp 80:8080/tcp"
}

@test "add -f: what a section does not say is the command's to say, also who the owner is" {
	local out
	cat >"$PS_TEST_DIR/rules" <<-END
		[bare]
		ports = 80:8080
		[own]
		ports = 81:8081
		cgroup = $CG/web
		if-down = refuse
		name = own
	END
	out=$(portsteer add 82:8082 -f "$PS_TEST_DIR/rules" --user ps-web --if-down pass --name all)
	assert_match "$out" "added 80:8080/tcp for user ps-web"
	portsteer list --json >"$PS_TEST_DIR/list"
	json '[(r["rule"], r["if_down"], r["name"], bool(r["owner"]["uid"]), bool(r["owner"]["cgroup"])) for r in d["rules"]] == [
		("80:8080/tcp", "pass", "all", True, False), ("81:8081/tcp", "refuse", "own", False, True),
		("82:8082/tcp", "pass", "all", True, False)]' <"$PS_TEST_DIR/list"
	# Without one the owner is who listens now, as for a rule that is typed.
	portsteer -q flush
	serve web 127.0.0.1 8080
	printf '[bare]\nports = 80:8080\n' >"$PS_TEST_DIR/rules"
	assert_match "$(portsteer add -f "$PS_TEST_DIR/rules")" "owner of 80:8080/tcp: user ps-web"
	printf '[bare]\nports = 83:8083\n' >"$PS_TEST_DIR/rules"
	local status=0
	portsteer add -f "$PS_TEST_DIR/rules" 2>"$PS_TEST_DIR/stderr" || status=$?
	assert_equal $status 2
	assert_match "$(<"$PS_TEST_DIR/stderr")" "no owner for 83:8083/tcp: no process that could be it"
}

@test "add: a listener that begins while it waits for another command is in what it says" {
	local adding
	portsteer -q load
	serve web 127.0.0.1 8081
	printf '[a]\nports = 81:8081\n[b]\nports = 80:8080\nuser = ps-web\n' >"$PS_TEST_DIR/rules"
	mkfifo "$PS_TEST_DIR/unlock"
	timeout 60 flock $STATE cat "$PS_TEST_DIR/unlock" &
	until_true 10 grep -q FLOCK /proc/locks
	timeout 60 "$PORTSTEER" add -f "$PS_TEST_DIR/rules" >"$PS_TEST_DIR/out" &
	adding=$!
	until_true 10 grep -q -e "-> FLOCK" /proc/locks
	serve web 127.0.0.1 8080
	: >"$PS_TEST_DIR/unlock"
	wait $adding
	grep -qx "added 80:8080/tcp for user ps-web: 1 listener" "$PS_TEST_DIR/out"
}

@test "del: with and without the target, as list shows it" {
	portsteer -q add 80:8080 81:8081 10.0.0.0/8:80:8082 '[2001:db8::1]:80:8083' 90-99:9090-9099 \
		--user ps-web
	portsteer -q del 80
	portsteer -q del 81:8081/tcp
	portsteer -q del 10.0.0.0/8:80/tcp '[2001:db8::1]:80'
	assert_equal "$(rules)" 90-99:9090-9099/tcp
	portsteer -q del 90-99:9090-9099
	assert_equal "$(rules)" ""
}

@test "colour: only on a terminal, or when asked for" {
	portsteer -q add 80:8080 --user ps-web
	local esc=$'\x1b'
	[[ $(portsteer list) != *"$esc"* ]]
	[[ $(portsteer list --color=always) == *"$esc"* ]]
	[[ $(portsteer --color=always stats) == *"$esc"* ]]
	[[ $(script -qec "$PORTSTEER list" /dev/null) == *"$esc"* ]]
	[[ $(script -qec "$PORTSTEER list --color=never" /dev/null) != *"$esc"* ]]
	[[ $(NO_COLOR=1 script -qec "$PORTSTEER list" /dev/null) != *"$esc"* ]]
	[[ $(NO_COLOR=1 portsteer list --color=always) == *"$esc"* ]]
	[[ $(portsteer list --json --color=always) != *"$esc"* ]]
	# what is coloured is the same text
	assert_equal "$(portsteer list --color=always | sed "s/$esc\[[0-9;]*m//g")" "$(portsteer list)"
}
