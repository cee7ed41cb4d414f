#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Who listens on a rule's target and is not the owner's: named at once, with the owner that would
# fit, by add, apply and list.

load lib

setup_file() { setup_env; }
setup()
{
	setup_test
	DIR=$PS_TEST_DIR/who.$BATS_TEST_NUMBER
	mkdir "$DIR"
}
teardown() { teardown_test; }

NGINX=/system.slice/nginx.service

json()
{
	"$PYTHON" -c '
import json, re, sys
d = json.load(sys.stdin)
for check in sys.argv[1:]:
    if not eval(check):
        sys.exit(f"not true: {check}\n{d}")
' "$@"
}

# called NAME [start's options] ADDRESS PORT: a real program that listens and calls itself that: a
# copy of socat, as the programs of containers are large and want containers.
called()
{
	local name=$1 args=()
	shift
	while [[ $1 == -* ]]; do
		args+=("$1" "$2")
		shift 2
	done
	[ -e "$DIR/$name" ] || install -m 0755 "$(command -v socat)" "$DIR/$name"
	chmod 0755 "$DIR"
	start "${args[@]}" "$DIR/$name" "tcp-listen:$2,bind=$1,fork,reuseaddr" \
		"system:sed -n /^.$/q; echo HTTP/1.0 200 OK; echo; echo $name"
	until_true 10 listens "$1" "$2"
}

listens()
{
	[ -n "$(ss -Hltn "src = $1 and sport = :$2")" ]
}

# nginx as Debian has it, but for the port: root's, with workers of www-data, in its unit's cgroup.
start_debians_nginx()
{
	host_cgroup $NGINX
	# The one change that the README asks for.
	sed -e 's/listen 80 /listen 8080 /; s/listen \[::\]:80 /listen [::]:8080 /' \
		/etc/nginx/sites-available/default >"$DIR/default"
	grep -q 'listen 8080 default_server;' "$DIR/default"
	grep -q 'listen \[::\]:8080 default_server;' "$DIR/default"
	# Where nothing of the machine's is written to.
	sed -e "s#^pid .*#pid $DIR/pid;#; s#/var/log/nginx#$DIR#; s#sites-enabled/\*#default#" \
		-e "s#/etc/nginx/default#$DIR/default#" /etc/nginx/nginx.conf >"$DIR/nginx.conf"
	grep -q '^user www-data;' "$DIR/nginx.conf"
	grep -q "include $DIR/default;" "$DIR/nginx.conf"
	start -u root -g $NGINX nginx -e "$DIR/error.log" -c "$DIR/nginx.conf" \
		-g 'daemon off; master_process on;'
	wait_port 8080
	# The first worker has become www-data.
	until_true 10 pgrep -u www-data -P $PID >/dev/null
}

# The first line of the README that types a command.
readme_line()
{
	sed -n 's/^# \(portsteer .*\)/\1/p' "$REPO/README.md" | head -1
}

# bats test_tags=kernel
@test "Debian's nginx: the README's first line serves it" {
	local line
	start_debians_nginx
	line=$(readme_line)
	assert_match "$line" "^portsteer add 80:8080 --cgroup unit:nginx.service$"
	$line >"$DIR/out"
	assert_match "$(head -1 "$DIR/out")" \
		"^added 80:8080/tcp for cgroup $NGINX: 2 listeners$"
	assert_equal "$(grep -c 'does not serve' "$DIR/out")" 0
	assert_match "$(fetch client http://$HERE4/)" "nginx"
	assert_match "$(fetch client "http://[$HERE6]/")" "nginx"
	# And when it comes after the rule.
	kill_cgroup "$PS_TEST_CGROUP2$NGINX"
	until_true 10 refused http://127.0.0.1/
	start_debians_nginx
	assert_match "$(fetch client http://$HERE4/)" "nginx"
}

@test "Debian's nginx and --user www-data: who is there, why not, and what fits" {
	local fits
	start_debians_nginx
	portsteer add 80:8080 --user www-data >"$DIR/out"
	assert_equal "$(head -1 "$DIR/out")" "added 80:8080/tcp for user www-data: no listener yet"
	assert_equal "$(wc -l <"$DIR/out")" 3
	assert_match "$(sed -n 2p "$DIR/out")" "^note: 0\.0\.0\.0:8080 root nginx\[$PID,.*\] in unit \
nginx.service does not serve rule 80:8080/tcp: not the owner's; the server created it before it \
changed to the owner's user.*; if it is the server, use --cgroup unit:nginx.service$"
	assert_match "$(sed -n 3p "$DIR/out")" \
		"^note: \[::\]:8080 root nginx\[$PID,.*\] does not serve rule 80:8080/tcp either$"
	refused http://127.0.0.1/
	assert_match "$(portsteer list)" \
		"0.0.0.0:8080 root nginx\[$PID,.*\(not admitted: not the owner's; matching owner: --cgroup unit:nginx.service\)"
	portsteer list --json | json 'all(s["fits"] == "--cgroup unit:nginx.service" and
		s["unit"] == "nginx.service" and s["cgroup"] == "/system.slice/nginx.service" and
		s["reason"] == "not the owner'"'"'s" and "before it changed" in s["advice"]
		for s in d["rules"][0]["not_admitted"])' 'd["rules"][0]["not_admitted_count"] == 2'
	# What is said is what works.
	fits=$(sed -n '2s/.*if it is the server, use //p' "$DIR/out")
	portsteer -q del 80
	eval "portsteer -q add 80:8080 $fits"
	assert_match "$(fetch http://127.0.0.1/)" "nginx"
}

@test "no owner named, and root listens: a note names the owner that is less" {
	start_debians_nginx
	assert_match "$(portsteer add 80:8080)" "note: the owner of rule 80:8080/tcp is every process \
of root; a narrower owner is --cgroup unit:nginx.service"
	portsteer -q flush
	serve web 127.0.0.1 8081
	assert_equal "$(portsteer add 81:8081 | grep -c note:)" 0
}

@test "apply names them, too, and --json has the notes" {
	start_debians_nginx
	printf '[web]\nports = 80:8080\nuser = www-data\n' >"$DIR/conf"
	assert_match "$(portsteer apply -f "$DIR/conf")" \
		"note: 0.0.0.0:8080 root nginx.* if it is the server, use --cgroup unit:nginx.service"
	portsteer -q flush
	portsteer add 80:8080 --user www-data --json | json \
		'"if it is the server, use --cgroup unit:nginx.service" in d["notes"][0]' 'len(d["notes"]) == 2'
	portsteer -q flush
	assert_equal "$(portsteer -q add 80:8080 --user www-data)" ""
}

@test "a cgroup that is no unit's, an ordinary user, root without either" {
	local out
	called server -u root -g some/where 127.0.0.1 8080
	out=$(portsteer add 80:8080 --user ps-web)
	assert_match "$out" "127.0.0.1:8080 root server\[$PID\] in cgroup /$CG/some/where does not serve"
	assert_match "$out" "if it is the server, use --cgroup /$CG/some/where$"
	called other -u $DB 127.0.0.1 8081
	assert_match "$(portsteer add 81:8081 --user ps-web)" \
		"127.0.0.1:8081 ps-db other\[$PID\] in cgroup .* if it is the server, use --user ps-db$"
	assert_match "$(portsteer add 82:8081 --cgroup "$CG/none")" \
		"does not serve rule 82:8081/tcp: not in the owner's cgroup; .* server, use --cgroup /$CG/default$"
	# A login of root's says nothing of who is in it.
	host_cgroup /user.slice/user-0.slice/session-psw.scope
	called login -u root -g /user.slice/user-0.slice/session-psw.scope 127.0.0.1 8082
	out=$(portsteer add 83:8082 --user ps-web)
	assert_match "$out" "127.0.0.1:8082 root login.* not the owner's; root created it, outside any \
service's cgroup: .*run it as a service, or as an ordinary user$"
	[[ $out != *"server, use"* ]]
	portsteer list --json | json \
		'[s["fits"] for r in d["rules"] for s in r["not_admitted"] if s["port"] == 8082] == [None]'
}

# bats test_tags=kernel
@test "a socket that systemd made for a socket unit: the unit whose cgroup it was made in" {
	local out unit=ps-act.socket
	host_cgroup /system.slice/$unit
	# Made by root in the unit's cgroup, held by a process elsewhere, as systemd does it.
	start -u root "$PYTHON" -c "
import os, socket
procs = '$PS_TEST_CGROUP2/system.slice/$unit/cgroup.procs'
back = '$PS_TEST_CGROUP/default/cgroup.procs'
open(procs, 'w').write(str(os.getpid()))
s = socket.create_server(('127.0.0.1', 8080))
open(back, 'w').write(str(os.getpid()))
while True:
    c = s.accept()[0]
    c.recv(1000)
    c.send(b'HTTP/1.0 200 OK\r\n\r\nactivated\n')
    c.close()
"
	wait_port 8080
	until_true 10 grep -qx $PID "$PS_TEST_CGROUP/default/cgroup.procs"
	out=$(portsteer add 80:8080 --user ps-web)
	assert_match "$out" "in unit $unit does not serve .* server, use --cgroup unit:$unit$"
	portsteer -q del 80
	portsteer -q add 80:8080 --cgroup "unit:$unit"
	answers activated http://127.0.0.1/
	portsteer -q del 80
	# What a service that is started for it might have been taken for.
	portsteer -q add 80:8080 --cgroup "$CG/default"
	refused http://127.0.0.1/
}

@test "a socket that systemd itself made: unit:init.scope" {
	host_cgroup /init.scope
	called systemd -u root -g /init.scope 127.0.0.1 8080
	assert_match "$(portsteer add 80:8080 --user ps-web)" \
		"in unit init.scope does not .*systemd created it, for a socket unit; .* server, use --cgroup unit:init.scope$"
	portsteer -q del 80
	portsteer -q add 80:8080 --cgroup unit:init.scope
	answers systemd http://127.0.0.1/
}

@test "a container's published port: what listens is not the container" {
	local name out port=8080
	host_cgroup /system.slice/docker.service
	called docker-proxy -u root -g /system.slice/docker.service 127.0.0.1 8079
	out=$(portsteer add 79:8079 --user ps-db)
	assert_match "$out" "root docker-proxy\[$PID\] in unit docker.service does not serve .*: not the \
owner's; if it is Docker's docker-proxy, it forwards connections .* see its address .* if it is the \
server, use --cgroup unit:docker.service$"
	portsteer -q del 79
	portsteer -q add 79:8079 --cgroup unit:docker.service
	answers docker-proxy http://127.0.0.1:79/
	for name in rootlessport slirp4netns pasta pasta.avx2; do
		port=$((port + 1))
		called $name 127.0.0.1 $port
		out=$(portsteer add $((port - 8000)):$port --user ps-db)
		assert_match "$out" "ps-web $name\[$PID\] .* if it is .* ${name%.*}, it forwards connections \
.* if it is the server, use --user ps-web$"
	done
	# conmon never answers.
	called conmon -u root -g pods 127.0.0.1 8090
	out=$(portsteer add 90:8090 --user ps-db)
	assert_match "$out" "root conmon\[$PID\] .* it only reserves a container's port .*never answers"
	[[ $out != *"server, use"* ]]
	# An owner's listener is one, whatever it calls itself, and nobody else's is.
	called conmon 127.0.0.1 8091
	assert_equal "$(portsteer add 91:8091 --user ps-web)" \
		"added 91:8091/tcp for user ps-web: 1 listener"
	answers conmon http://127.0.0.1:91/
}

# The program itself, which calls itself passt.avx2, or passt.
@test "a port that pasta publishes" {
	ip route add default via $THERE4
	start -u $WEB pasta -f --config-net -t 8080 -u none -T none -U none -- sleep 1000
	until_true 10 listens 0.0.0.0 8080
	assert_match "$(portsteer add 80:8080 --user ps-db)" \
		"ps-web passt[.a-z0-9]*\[[0-9]+\] .* if it is a container's .* network helper passt, it \
forwards connections .* if it is the server, use --user ps-web$"
	ip route del default
}

@test "nothing is said of the owner's, of a neighbour port, nor of the other family" {
	serve web 127.0.0.1 8080
	assert_equal "$(portsteer add 80:8080 --user ps-web)" \
		"added 80:8080/tcp for user ps-web: 1 listener"
	assert_equal "$(portsteer add 81:8080 --cgroup "$CG/default")" \
		"added 81:8080/tcp for cgroup /$CG/default: 1 listener"
	assert_equal "$(portsteer add 82:8080 --any-user)" "added 82:8080/tcp for any user: 1 listener"
	serve -u $DB low 127.0.0.1 8081
	serve -u $DB high 127.0.0.1 8083
	assert_equal "$(portsteer add 83:8082 --user ps-web)" \
		"added 83:8082/tcp for user ps-web: no listener yet"
	serve -u $DB six ::1 8084 --v6only
	assert_equal "$(portsteer add 10.0.0.0/8:84:8084 --user ps-web)" \
		"added 10.0.0.0/8:84:8084/tcp for user ps-web: no listener yet"
	assert_match "$(portsteer list)" "\[::1\]:8084 ps-db .*\(not admitted: IPv6 only, and the rule is for IPv4\)"
	# For the rule of both families it is one.
	assert_match "$(portsteer add 85:8084 --user ps-web)" "\[::1\]:8084 ps-db .* does not serve"
}

@test "many are bounded, and each is named once" {
	local i out
	for i in 1 2 3 4 5 6 7; do
		called "many$i" -u $DB 127.0.0.$i 8080
	done
	out=$(portsteer add 80:8080 81:8080 --user ps-web)
	assert_equal "$(grep -c 'does not serve rule' <<<"$out")" 4
	assert_equal "$(grep -c '^note:' <<<"$out")" 5
	assert_match "$out" "note: and 3 more that do not serve their rule; 'portsteer list' shows them$"
	assert_equal "$(portsteer list | grep -c '127.* matching owner: --user ps-db')" 14
}

@test "the names of hostile programs and cgroups are escaped, and never for a shell" {
	local out name=$'\e[2Jx;$(id)'
	called "$name" -u root -g $'a b;$(touch x)\e' 127.0.0.1 8080
	out=$(portsteer add 80:8080 --user ps-web)
	[[ $out != *$'\e'* ]]
	assert_match "$out" "root .x1b\[2Jx;.* in cgroup /$CG/a b;.*.x1b does not serve"
	[[ $out != *"server, use"* ]]
	out=$(portsteer list)
	[[ $out != *$'\e'* ]]
	[[ $out != *"matching owner"* ]]
	portsteer list --json | json 'd["rules"][0]["not_admitted"][0]["fits"] is None'
	# A user's can be named by the user.
	called server -u $DB -g $'c d\t' 127.0.0.1 8081
	assert_match "$(portsteer add 81:8081 --cgroup "$CG/none")" "if it is the server, use --user ps-db$"
}

@test "without the right to open cgroups by their number the paths are found all the same" {
	called server -u root -g some/where 127.0.0.1 8080
	assert_match "$(without dac_read_search "$PORTSTEER" add 80:8080 --user ps-web)" \
		"127.0.0.1:8080 root .* if it is the server, use --cgroup /$CG/some/where$"
	# Nor to look into root's processes: what cannot be told is said to be so.
	assert_match "$(limited $ADMIN "$PORTSTEER" add 81:8080 --user ps-web)" \
		"127.0.0.1:8080 root does not serve .*; root created it, in a cgroup that no longer exists or \
cannot be read without CAP_DAC_READ_SEARCH$"
}

@test "bind rules: a socket on the target that is not the owner's" {
	serve -u $DB -g named dns 127.0.0.1 5300 --udp
	assert_match "$(portsteer add 53:5300/udp --user ps-web)" \
		"127.0.0.1:5300 ps-db .* does not serve rule 53:5300/udp: not the owner's; .* server, use --user ps-db$"
	serve -g named web 127.0.0.1 5301
	assert_match "$(portsteer add 54:5301/tcp --mode bind --cgroup "$CG/other")" \
		"127.0.0.1:5301 ps-web .* not in the owner's cgroup; .* server, use --cgroup /$CG/named$"
	# The owner's has only to be restarted.
	assert_match "$(portsteer add 55:5301/tcp --mode bind --cgroup "$CG/named")" \
		"127.0.0.1:5301 ps-web .* was already bound; restart it for rule 55:5301/tcp to apply"
}

@test "root has the front port: what it still gets is said as it is" {
	local out
	serve -u root other 0.0.0.0 80
	out=$(portsteer add 80:8080 --user ps-web --if-down pass)
	assert_match "$out" "note: 0\.0\.0\.0:80 root .* has the front port of rule 80:8080/tcp: new \
connections reach it only while the owner has no listener"
	[[ $out != *"instead"* ]]
	answers other http://127.0.0.1/
	portsteer -q del 80
	assert_match "$(portsteer add 80:8080 --user ps-web)" \
		"of rule 80:8080/tcp: new connections reach the owner's listener instead"
	refused http://127.0.0.1/
	portsteer -q flush
	# A section with a mistake has no owner.
	printf '[web]\nports = 80:8080\nuser = nosuchuser\n[x]\nports = 81:8081\nuser = ps-web\n' \
		>"$DIR/conf"
	out=$(portsteer apply --keep-going -f "$DIR/conf" 2>"$DIR/err" || true)
	assert_match "$out" "note: 0\.0\.0\.0:80 root .* has port 80/tcp, whose section has a \
mistake: new connections are refused until the mistake is corrected"
	[[ $out != *"owner's listener"* ]]
	refused http://127.0.0.1/
}

# A socket of all addresses is in the way of each.
in_the_way() # ADDRESS OPTION...: root's server there and a grant of one address, which fails
{
	serve -u root other "$1" 80 "${@:2}"
	assert_match "$(portsteer allow 10.1.2.3:80 --user ps-web)" \
		"note: .*:80 root .* still holds the port of rule 10.1.2.3:80/tcp; stop it"
	assert_match "$(portsteer list)" "not bound through this rule, and blocks the port"
	start -u $WEB "$PYTHON" -c 'import socket; socket.socket().bind(("10.1.2.3", 80))'
	until_true 10 grep -q "Address already in use" "$LOG"
	kill_servers
	portsteer -q flush
}

@test "a grant of one address: a socket of all of them is in the way" {
	in_the_way 0.0.0.0
	in_the_way :: --dual
	# Not one of the other family, nor of another address.
	serve -u root six :: 80 --v6only
	serve -u root four 10.1.9.9 80
	assert_equal "$(portsteer allow 10.1.2.3:80 --user ps-web | grep -c note:)" 0
	assert_match "$(portsteer allow '[2001:db8:aa::1]:80' --user ps-web)" \
		"note: \[::\]:80 root .* still holds the port of rule"
}

@test "what never answers is not offered as an owner, named or not" {
	local out
	called conmon -u root -g some/pod 127.0.0.1 8080
	out=$(portsteer add 80:8080 2>&1)
	assert_match "$out" "the owner of rule 80:8080/tcp is every process of root; if it is Podman's conmon"
	[[ $out != *"narrower owner"* ]]
	out=$(portsteer add 81:8080 --user ps-web)
	assert_match "$out" "does not serve rule 81:8080/tcp: .* Podman's conmon"
	[[ $out != *"server, use"* ]]
}

@test "a stranger in a cgroup deeper than an owner's can be: nothing is offered that add refuses" {
	local out deep fits
	deep=$(printf '/%d' {1..22})
	called server -u root -g "deep$deep" 127.0.0.1 8080
	out=$(portsteer add 80:8080 --user ps-web)
	assert_match "$out" "does not serve rule .*; root created it, in a cgroup more than 16 levels"
	[[ $out != *"server, use"* ]]
	# As deep as it may be.
	deep=$(printf '/%d' {1..14})
	called server -u root -g "deep$deep" 127.0.0.1 8081
	out=$(portsteer add 81:8081 --user ps-web)
	assert_match "$out" "if it is the server, use --cgroup /$CG/deep$deep$"
	fits=${out##*server, use }
	portsteer -q del 81
	eval "portsteer -q add 81:8081 $fits"
}

@test "a cgroup with a backslash: as it is, to be copied" {
	local name='/system.slice/ps-a\x2db.service' out
	host_cgroup "$name"
	called server -u root -g "$name" 127.0.0.1 8080
	portsteer -q add 82:8080 --cgroup "$name"
	assert_match "$(portsteer list)" "cgroup /system.slice/ps-a\\\\x2db.service "
	portsteer list --json | json 'd["rules"][0]["owner"]["cgroup"] == r"'"$name"'"'
	out=$(portsteer add 80:8080 --user ps-web)
	[[ $out != *x5c* ]]
	portsteer list --json | json \
		'd["rules"][0]["not_admitted"][0]["cgroup"] == r"'"$name"'"'
	# So what is there can be given back.
	portsteer -q add 83:8080 --cgroup "$(portsteer list --json | jsonget rules.1.owner.cgroup)"
	portsteer list --json | json 'd["rules"][2]["owner"] == d["rules"][1]["owner"]'
}

# A U+FFFD in JSON is a byte, always: what the name was can be told.
@test "JSON: names that are no UTF-8 can be told from those that look like it" {
	local name n=80
	for name in $'x\xff' $'x\xef\xbf\xbdff' 'x\xff' $'x\xc3\xa4\xe2\x80\xae'; do
		portsteer -q add "$n:8080" --cgroup "$CG/$name"
		n=$((n + 1))
	done
	portsteer list --json >"$DIR/json"
	json <"$DIR/json" '([re.sub(b"\xef\xbf\xbd(..)", lambda m: bytes.fromhex(m[1].decode()),
		r["owner"]["cgroup"].encode()).split(b"/")[-1] for r in d["rules"]] ==
		[b"x\xff", b"x\xef\xbf\xbdff", rb"x\xff", "x\u00e4\u202e".encode()])'
	# Nothing that turns the line round.
	grep -Fq '\u202e' "$DIR/json"
}

# bats test_tags=kernel
@test "a listener that only io_uring keeps is not found, which is said; started again it is seen" {
	start -u $WEB "$PYTHON" uring.py 8080
	until_true 10 listens 127.0.0.1 8080
	until_true 10 grep -q ready "$LOG"
	assert_match "$(portsteer add 80:8080 --user ps-web)" \
		"note: 127.0.0.1:8080 ps-web .*does not serve rule 80:8080/tcp: not found, as no visible process .*io_uring"
	assert_match "$(portsteer list)" "127.0.0.1:8080 ps-web \(not admitted: not found, as no visible process .*io_uring"
	refused http://127.0.0.1/
	counters 80:8080/tcp "admitted=0 steered=0 missed=1"
	stop "$PID"
	start -u $WEB "$PYTHON" uring.py 8080
	until_true 10 grep -q ready "$LOG"
	assert_equal "$(listener_count 80:8080/tcp)" 1
	counters 80:8080/tcp "admitted=1"
}
