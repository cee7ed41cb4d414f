#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# list --all and stats --all: the instances of all network namespaces, however these are
# found, and what cannot be known of those that are not.

load lib

setup_file() { setup_env; }
setup() { setup_test; }
teardown()
{
	local name
	teardown_test
	for name in $(ip netns list | awk '$1 != "client" { print $1 }'); do
		ip netns del "$name"
	done
	while umount "$PS_TEST_DIR/held" 2>/dev/null; do :; done
}

# json CHECK...: stdin is one line of JSON, `d`, for which these Python expressions are true.
json()
{
	"$PYTHON" -c '
import json, sys
lines = sys.stdin.read().splitlines()
assert len(lines) == 1, lines
d = json.loads(lines[0])
of = {i["netns"]["cookie"]: i for i in d["instances"]}
for check in sys.argv[1:]:
    if not eval(check):
        sys.exit(f"not true: {check}\n{lines[0]}")
' "$@"
}

# cookie_of ARGS...: of the instance that --netns or the like names.
cookie_of()
{
	portsteer "$@" list --json | jsonget netns.cookie
}

# sleeper [PROGRAM]: a process in a network namespace of its own, which has no name. Sets
# SLEEPER.
sleeper()
{
	local program=${1:-sleep}
	(
		exec 3>&- 4>&-
		in_cgroup sleepers
		exec unshare --net "$program" infinity
	) >/dev/null 2>&1 </dev/null &
	SLEEPER=$!
	disown $SLEEPER
	until_true 5 is_apart $SLEEPER
}
is_apart()
{
	[[ $(readlink "/proc/$1/exe") == *sleep* ]]
}

# A namespace that is held by a mount where nobody looks. Sets HELD, its cookie.
hold()
{
	ip netns add hidden
	portsteer -q --netns hidden add 82:8082 --user ps-web
	HELD=$(cookie_of --netns hidden)
	touch "$PS_TEST_DIR/held"
	mount --bind /run/netns/hidden "$PS_TEST_DIR/held"
	ip netns del hidden
}

# A namespace that has ended. Sets ENDED, its cookie.
end_one()
{
	ip netns add mortal
	portsteer -q --netns mortal add 83:8083 --user ps-web
	ENDED=$(cookie_of --netns mortal)
	ip netns del mortal
	until_true 20 has_ended "$ENDED"
}
has_ended()
{
	[ "$(portsteer status --json | jsonget "instances|cookie=$1|alive")" = false ]
}

@test "list --all: one's own, a named one, a process's, one held elsewhere, one that ended" {
	local own named unnamed
	portsteer -q add 80:8080 --user ps-web
	portsteer -q --netns client add 81:8081 --user ps-web --name there
	sleeper
	portsteer -q --netns "pid:$SLEEPER" add 1-9:2001-2009 --any-user
	hold
	end_one
	serve web 127.0.0.1 8080
	serve -N client other 127.0.0.1 8081
	serve -N "../../proc/$SLEEPER/ns/net" third 127.0.0.1 2005
	own=$(cookie_of)
	named=$(cookie_of --netns client)
	unnamed=$(cookie_of --netns "pid:$SLEEPER")
	portsteer list --all >"$PS_TEST_DIR/list"
	grep -qx "netns $own: current" "$PS_TEST_DIR/list"
	grep -qx "netns $named: client" "$PS_TEST_DIR/list"
	grep -qx "netns $unnamed: pid:$SLEEPER (sleep)" "$PS_TEST_DIR/list"
	grep -qx "netns $HELD: unknown (inode $(stat -c %i "$PS_TEST_DIR/held"))" "$PS_TEST_DIR/list"
	grep -qx "netns $ENDED: gone" "$PS_TEST_DIR/list"
	below "^80:8080/tcp " "^  127.0.0.1:8080 ps-web python3.*\[[0-9,]+\]$"
	below "^81:8081/tcp .* there$" "^  127.0.0.1:8081 ps-web python3.*\[[0-9,]+\]$"
	below "^1-9:2001-2009/tcp " "^  127.0.0.1:2005 ps-web python3.*\[[0-9,]+\]$"
	below "^82:8082/tcp " "^  unknown; this namespace has no name and no process$"
	below "^83:8083/tcp " "^  none; this namespace no longer exists$"
	# five blocks: a heading, the heads, a rule, what is below it; four lines between them
	assert_equal "$(wc -l <"$PS_TEST_DIR/list")" 24
	assert_equal "$(awk '/^netns/ { print $2 + 0 }' "$PS_TEST_DIR/list")" \
		"$(printf '%s\n' "$own" "$named" "$unnamed" "$HELD" "$ENDED" | sort -n)"
	assert_equal "$(portsteer list --all -q)" ""
}

# block ARGS...: an instance as list --all shows it.
block()
{
	printf 'netns %s: %s\n' "$(cookie_of "$@")" "$(portsteer "$@" list --json | jsonget netns.name)"
	portsteer "$@" list
}

@test "list --all: below each heading is what list shows there" {
	portsteer -q add 80:8080 --user ps-web
	portsteer -q --netns client add 81:8081 82:8082 --any-user --name there
	serve web 127.0.0.1 8080
	serve -u $DB -N client other 127.0.0.1 8081
	block >"$PS_TEST_DIR/one"
	block --netns client >"$PS_TEST_DIR/other"
	# cookies are given out by each CPU from a store of its own
	if [ "$(cookie_of)" -lt "$(cookie_of --netns client)" ]; then
		assert_equal "$(portsteer list --all)" \
			"$(<"$PS_TEST_DIR/one")"$'\n\n'"$(<"$PS_TEST_DIR/other")"
	else
		assert_equal "$(portsteer list --all)" \
			"$(<"$PS_TEST_DIR/other")"$'\n\n'"$(<"$PS_TEST_DIR/one")"
	fi
	# and from there
	assert_match "$(client "$PORTSTEER" list --all)" "netns $(cookie_of): pid:1 \("
	assert_match "$(client "$PORTSTEER" list --all)" "netns $(cookie_of --netns client): current"
	portsteer -q --netns client flush
	assert_match "$(portsteer list --all)" "client"$'\n'"no rules; 'portsteer add' adds one"
}

@test "list --all --json: each as list has it, and the inode" {
	portsteer -q add 80:8080 --user ps-web
	portsteer -q --netns client add 81:8081 --user ps-web
	sleeper
	portsteer -q --netns "pid:$SLEEPER" add 53:5353/udp --any-user
	hold
	end_one
	serve web 127.0.0.1 8080
	serve -N client other 127.0.0.1 8081
	local plain here there
	plain=$(portsteer list --json)
	here=$(cookie_of) there=$(cookie_of --netns client)
	portsteer list --all --json | json \
		'list(d) == ["instances"] and len(d["instances"]) == 5' \
		'all(list(i) == ["netns", "generation", "rules"] for i in d["instances"])' \
		'all(list(i["netns"]) == ["cookie", "name", "inode"] for i in d["instances"])' \
		'sorted(of) == [i["netns"]["cookie"] for i in d["instances"]]' \
		"of[$here]['netns']['name'] == 'current'" \
		"of[$here]['netns']['inode'] == $(stat -Lc %i /proc/self/ns/net)" \
		"of[$here]['netns'].pop('inode') and of[$here] == json.loads('''$plain''')" \
		"of[$there]['netns'] == {'cookie': $there, 'name': 'client', 'inode': $(stat -c %i /run/netns/client)}" \
		"[l['processes'][0]['pid'] for l in of[$there]['rules'][0]['listeners']] == [$PID]" \
		"of[$(cookie_of --netns "pid:$SLEEPER")]['netns']['name'] == 'pid:$SLEEPER (sleep)'" \
		"of[$HELD]['netns'] == {'cookie': $HELD, 'name': None, 'inode': $(stat -c %i "$PS_TEST_DIR/held")}" \
		"of[$ENDED]['netns'] == {'cookie': $ENDED, 'name': 'gone', 'inode': None}" \
		"all(of[c]['rules'][0][k] is None for c in ($HELD, $ENDED) for k in ('listeners', 'listener_count', 'not_admitted', 'not_admitted_count'))"
}

@test "stats --all: text and JSON" {
	portsteer -q add 80:8080 --user ps-web
	portsteer -q --netns client add 81:8081 --user ps-web
	hold
	end_one
	refused http://127.0.0.1/
	refused client http://127.0.0.1:81/
	refused client http://127.0.0.1:81/
	# but for how long ago it was
	assert_equal "$(portsteer stats --all | grep -A2 ": client$" | tail -n +2 | sed 's/ *[0-9]* s ago//')" \
		"$(portsteer --netns client stats | sed 's/ *[0-9]* s ago//')"
	assert_equal "$(portsteer stats --all | grep '^netns' | cut -d' ' -f3 | sort | xargs)" \
		"client current gone unknown"
	portsteer stats --all --json | json 'len(d["instances"]) == 4' \
		'{i["netns"]["name"]: i["rules"][0]["counters"]["no_listener"] for i in d["instances"]} == {"current": 1, "client": 2, None: 0, "gone": 0}' \
		'all(list(i["netns"]) == ["cookie", "name", "inode"] for i in d["instances"])' \
		'all(list(i) == ["netns", "generation", "rules"] for i in d["instances"])'
}

@test "a name comes before a process, and a link is a name" {
	sleeper
	portsteer -q --netns "pid:$SLEEPER" load
	assert_match "$(portsteer list --all)" ": pid:$SLEEPER \(sleep\)"
	ln -s "/proc/$SLEEPER/ns/net" /run/netns/linked
	assert_match "$(portsteer list --all)" ": linked"
	rm /run/netns/linked
	: >/run/netns/file
	ln -s /nowhere /run/netns/dangling
	assert_match "$(portsteer list --all)" ": pid:$SLEEPER \(sleep\)"
	rm /run/netns/file /run/netns/dangling
}

@test "a process's name with control characters is shown without them" {
	cp "$(command -v sleep)" "$PS_TEST_DIR/"$'a\x1b[31m\nsleep'
	sleeper "$PS_TEST_DIR/"$'a\x1b[31m\nsleep'
	portsteer -q --netns "pid:$SLEEPER" load
	assert_match "$(portsteer list --all)" ": pid:$SLEEPER \(a.x1b\[31m.x0asleep\)"
	portsteer list --all --json >"$PS_TEST_DIR/list"
	json 'd["instances"][0]["netns"]["name"].endswith(" (a\x1b[31m\nsleep)")' <"$PS_TEST_DIR/list"
	[ "$(tr -cd '\000-\011\013-\037' <"$PS_TEST_DIR/list" | wc -c)" = 0 ]
}

@test "an ended namespace whose rules cannot be read is left out" {
	portsteer -q add 80:8080 --user ps-web
	end_one
	rm $STATE/ns-"$ENDED"/rules-*
	portsteer list --all --json | json '[i["netns"]["name"] for i in d["instances"]] == ["current"]'
	portsteer stats --all --json | json 'len(d["instances"]) == 1'
	# all that there is
	portsteer -q unload
	end_one
	rm $STATE/ns-"$ENDED"/rules-*
	local status=0
	portsteer list --all 2>"$PS_TEST_DIR/stderr" || status=$?
	assert_equal $status 3
	assert_match "$(<"$PS_TEST_DIR/stderr")" "^portsteer: portsteer is not loaded; run"
}

@test "nothing but what is elsewhere is loaded" {
	portsteer -q --netns client add 81:8081 --any-user
	portsteer list --all --json | json '[i["netns"]["name"] for i in d["instances"]] == ["client"]'
	portsteer stats --all --json | json '[i["netns"]["name"] for i in d["instances"]] == ["client"]'
}

@test "a namespace that may not be entered is an error, not one that is not found" {
	portsteer -q --netns client add 81:8081 --any-user
	local run=(setpriv --inh-caps=-all --bounding-set=-sys_admin --) status=0
	"${run[@]}" "$PORTSTEER" list --all 2>"$PS_TEST_DIR/stderr" || status=$?
	assert_equal $status 4
	assert_match "$(<"$PS_TEST_DIR/stderr")" "run portsteer as root with CAP_SYS_ADMIN"
}

@test "too few file descriptors: an error, or all of it" {
	portsteer -q --netns client add 81:8081 --any-user
	portsteer -q add 80:8080 --any-user
	local n whole out
	whole=$(portsteer list --all)
	for n in $(seq 3 64); do
		out=$(prlimit --nofile="$n" "$PORTSTEER" list --all 2>/dev/null) || continue
		assert_equal "$out" "$whole"
	done
	assert_equal "$out" "$whole"
}

# listeners NETNS...: one process that listens on port 8080 in each.
listeners()
{
	"$PYTHON" -c '
import ctypes, os, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
held = []
for name in sys.argv[1:]:
    fd = os.open("/run/netns/" + name, os.O_RDONLY)
    if libc.setns(fd, 0x40000000):
        sys.exit(os.strerror(ctypes.get_errno()))
    os.close(fd)
    held.append(socket.create_server(("127.0.0.1", 8080)))
print("ready", flush=True)
signal.pause()
' "$@"
}

# end_some FIRST LAST: unload some and end others, most likely from the last one to be
# listed on.
end_some()
{
	local n
	for n in $(seq "$2" -1 "$1"); do
		if [ $((n % 2)) = 0 ]; then
			portsteer -q --netns "many$n" unload
		else
			ip netns del "many$n"
		fi
	done
}

@test "200 namespaces, each with a rule and a listener: all of them, and while some go" {
	local n names=() ending
	for n in $(seq 200); do
		names+=("many$n")
		ip netns add "many$n"
		portsteer -q --netns "many$n" add 80:8080 --any-user
	done
	(
		exec 3>&- 4>&-
		in_cgroup many
		listeners "${names[@]}"
	) >"$PS_TEST_DIR/ready" 2>&1 </dev/null &
	disown $!
	until_true 20 grep -q ready "$PS_TEST_DIR/ready"
	portsteer list --all --json >"$PS_TEST_DIR/list"
	portsteer stats --all >"$PS_TEST_DIR/stats"
	json 'len(d["instances"]) == 200' \
		'sorted(i["netns"]["name"] for i in d["instances"]) == sorted(f"many{n}" for n in range(1, 201))' \
		'all(len(i["rules"][0]["listeners"]) == 1 for i in d["instances"])' \
		'all(len(l["processes"]) == 1 for i in d["instances"] for l in i["rules"][0]["listeners"])' \
		<"$PS_TEST_DIR/list"
	assert_equal "$(grep -c ^netns "$PS_TEST_DIR/stats")" 200
	# a few descriptors do, however many there are
	assert_equal "$(prlimit --nofile=64 "$PORTSTEER" list --all --json | jsonget instances.#)" 200

	kill_servers
	end_some 160 200 3>&- 4>&- &
	ending=$!
	while kill -0 $ending 2>/dev/null; do
		portsteer list --all --json | json '159 <= len(d["instances"]) <= 200'
		portsteer stats --all --json | json '159 <= len(d["instances"]) <= 200'
	done
	wait $ending
	portsteer -q --netns many1 load # cleans up eight
	portsteer list --all --json |
		json 'sum(i["netns"]["name"] != "gone" for i in d["instances"]) == 159'
}
