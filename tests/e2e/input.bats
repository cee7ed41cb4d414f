#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Bad input: a message on one line that names what is wrong, the right exit status, and a
# kernel that is as it was. Every command is given once with rules loaded, and once more
# with --json.

load lib

setup_file()
{
	setup_env
	keep "1:2001 --any-user" "1:2001/udp --mode bind --any-user"
}
setup()
{
	setup_test
	portsteer -q add 80:8080 10.0.0.0/8:443:8443 --user ps-web --name first
}
teardown() { teardown_test; }

# one_bad STATUS PATTERN ARGS...: $RUN is what runs portsteer, if not empty.
one_bad()
{
	local wanted=$1 pattern=$2 status=0 before after
	shift 2
	before=$(kernel_state)
	"${RUN[@]}" "$PORTSTEER" "$@" >"$PS_TEST_DIR/stdout" 2>"$PS_TEST_DIR/stderr" \
		</dev/null || status=$?
	after=$(kernel_state)
	if [ $status != "$wanted" ]; then
		echo "portsteer $*: exit status $status, should be $wanted" >&2
		cat "$PS_TEST_DIR/stderr" >&2
		return 1
	fi
	if [ "$(wc -l <"$PS_TEST_DIR/stderr")" != 1 ]; then
		echo "portsteer $*: not one line on stderr:" >&2
		cat "$PS_TEST_DIR/stderr" >&2
		return 1
	fi
	MESSAGE=$(<"$PS_TEST_DIR/stderr")
	assert_match "$MESSAGE" "^portsteer: .*[:;] "
	assert_match "$MESSAGE" "$pattern"
	if LC_ALL=C grep -q '[[:cntrl:]]' <<<"$MESSAGE"; then
		echo "portsteer $*: a control character in: $MESSAGE" >&2
		return 1
	fi
	assert_equal "$after" "$before"
}

# bad STATUS PATTERN ARGS...
bad()
{
	one_bad "$@"
	assert_equal "$(<"$PS_TEST_DIR/stdout")" ""
	local plain=${MESSAGE#portsteer: }
	one_bad "$@" --json
	assert_equal "$(jsonget error.status error.message <"$PS_TEST_DIR/stdout")" \
		"$1"$'\n'"$plain"
}
RUN=()

@test "ports that are none" {
	local rule
	for rule in 0:8080 80:0 65536:8080 80:65536 -1:8080 80:-1 99999999999:80 80x:8080 \
		80:8o80 '80: 8080' ' 80:8080' 0x50:8080 080808:80 1e3:80 +80:8080 80:+8080; do
		bad 2 "bad rule '.*'" add "$rule" --user ps-web
	done
	bad 2 "'0' is not a port; use a number from 1 to 65535" add 0:8080 --user ps-web
	bad 2 "'65536' is not a port" add 65536:8080 --user ps-web
	bad 2 "'-1:8080'" add -1:8080 --user ps-web
}

@test "rules that are none" {
	local rule
	for rule in 80 80: :80 : '' :: 80:8080:9090 80:8080:9090:1 80:8080/ 80:8080/tcp/tcp \
		80-:8080 -80:8080 80--81:8080 80-81-82:8080 80,81:8080 'a b'; do
		bad 2 "bad rule '" add "$rule" --user ps-web
	done
	bad 2 "'80'" add 80 --user ps-web
	bad 2 "'80:'" add 80: --user ps-web
	bad 2 "'80:8080:9090'" add 80:8080:9090 --user ps-web
	bad 2 "needs a rule" add --user ps-web
}

@test "ranges of unequal length, or from high to low" {
	bad 2 "11 front ports but 10 target ports" add 10-20:1000-1009 --user ps-web
	bad 2 "1 front port but 2 target ports;" add 90:9090-9091 --user ps-web
	bad 2 "2 front ports but 1 target port;" add 90-91:9090 --user ps-web
	bad 2 "1 front ports? but 2 target" add 90:9090-9091 --user ps-web
	bad 2 "'99-90:1000-1009'" add 99-90:1000-1009 --user ps-web
	bad 2 "'1-2:65535-65536'" add 1-2:65535-65536 --user ps-web
}

@test "rules that overlap: the error names both" {
	bad 1 "80:9090/tcp.*80:8080/tcp" add 80:9090 --user ps-web
	bad 1 "70-90:7070-7090/tcp.*80:8080/tcp" add 70-90:7070-7090 --user ps-web
	bad 1 "10.0.0.0/8:443:9443/tcp.*10.0.0.0/8:443:8443/tcp" add 10.0.0.0/8:443:9443 \
		--user ps-web
	# also among those of one command; none is added
	bad 1 "1000:7000/tcp.*1000-1001:7000-7001/tcp|1000-1001:7000-7001/tcp.*1000:7000/tcp" \
		add 900:7000 1000:7000 1000-1001:7000-7001 --user ps-web
}

@test "a rule that is there already" {
	bad 1 "80:8080/tcp already exists" add 80:8080 --user ps-web --name first
}

@test "an unknown user" {
	bad 2 "nosuchuser" add 90:9090 --user nosuchuser
	bad 2 "''|empty" add 90:9090 --user ''
	bad 2 "4294967295" add 90:9090 --user 4294967295 # (uid_t)-1 is nobody
	bad 2 "4294967296" add 90:9090 --user 4294967296
	bad 2 "-5" add 90:9090 --user -5
}

@test "a cgroup path with .., too long, too deep, or with control characters" {
	bad 2 "a/../b" add 90:9090 --cgroup a/../b
	bad 2 "'\.\.'" add 90:9090 --cgroup ..
	bad 2 "/system.slice/\.\./x" add 90:9090 --cgroup /system.slice/../x
	bad 2 "\./a" add 90:9090 --cgroup ./a
	bad 2 "cgroup" add 90:9090 --cgroup ''
	local long deep
	long=$(printf 'x%.0s' {1..200})
	bad 2 "cgroup.*(long|1023|1024)" add 90:9090 \
		--cgroup "$long/$long/$long/$long/$long/$long"
	bad 2 "cgroup.*(long|255|256)" add 90:9090 --cgroup "$long$long"
	deep=$(printf 'a/%.0s' {1..17})
	bad 2 "cgroup.*(deep|16|compon)" add 90:9090 --cgroup "$deep"
	bad 2 "cgroup" add 90:9090 --cgroup $'a\nb'
	bad 2 "cgroup" add 90:9090 --cgroup $'a\x1b[31mb'
	bad 2 "pid:none" add 90:9090 --cgroup pid:none
	bad 1 "no such process" add 90:9090 --cgroup pid:4194304
	bad 1 "no such cgroup" add 90:9090 --cgroup unit:portsteer-none.scope
	bad 2 "/sys/kernel" add 90:9090 --cgroup /sys/kernel
}

@test "a container that is none, or is not there" {
	local text
	for text in '' . .. a/b 'a b' a: 'a*' .hidden $'a\nb' /docker-0123456789ab.scope \
		"$(printf 'a%.0s' {1..129})"; do
		bad 2 "cgroup container:.*neither a container id nor a container name; write it as" \
			add 90:9090 --cgroup "container:$text"
	done
	bad 1 "container:0123456789ab: there is no such container; start it.*path" add 90:9090 \
		--cgroup container:0123456789ab
	bad 1 "no such container" add 90:9090 --cgroup container:portsteer-none
}

@test "the root of the cgroups, which is everybody" {
	local cgroup
	for cgroup in / // "$PS_TEST_CGROUP2" "$PS_TEST_CGROUP2/"; do
		bad 2 "cgroup .*it is the root.*--any-user" add 90:9090 --cgroup "$cgroup"
	done
}

@test "a unit that is none, or has no cgroup" {
	local text
	for text in '' web .service a/b.service 'a b.service' $'a\nb.service' web.conf @1.service \
		a--b.slice "$(printf 'a%.0s' {1..256}).service"; do
		bad 2 "cgroup unit:.*not a unit name; write it with its suffix" add 90:9090 \
			--cgroup "unit:$text"
	done
	bad 2 "unit:web@.service: it is a template; name an instance" add 90:9090 \
		--cgroup unit:web@.service
	bad 2 "unit:web.timer: a unit of this kind has no cgroup" add 90:9090 --cgroup unit:web.timer
	bad 1 "unit:ps-none.socket: there is no such cgroup; start the unit" add 90:9090 \
		--cgroup unit:ps-none.socket
	bad 2 "it is the root" add 90:9090 --cgroup unit:-.slice
}

# Where systemd runs it does not know these units; where not, nor does anything else.
@test "a unit is where systemd's rules put it, and the command says that this is assumed" {
	local unit path text
	while read -r unit path; do
		text=$(portsteer add 90:9090 --cgroup "unit:$unit")
		assert_match "$text" "^added 90:9090/tcp for cgroup ${path//\\/\\\\}: no listener yet"
		assert_match "$text" "note: unit:${unit//\\/\\\\} is assumed to have the cgroup .*: systemd "
		portsteer -q del 90
	done <<-'END'
		ps-none.service /system.slice/ps-none.service
		psnone@1.service /system.slice/system-psnone.slice/psnone@1.service
		ps-none@a-b.service /system.slice/system-ps\x2dnone.slice/ps-none@a-b.service
	END
	text=$(portsteer add 90:9090 --cgroup unit:psa-psb.slice)
	assert_match "$text" "for cgroup /psa.slice/psa-psb.slice: no listener yet$"
	portsteer -q del 90
	assert_match "$(portsteer add 90:9090 --cgroup unit:ps-none.service --json)" \
		'"notes":\["unit:ps-none.service is assumed to have the cgroup '
	assert_equal "$(portsteer add 91:9090 --cgroup unit:ps-none.service -q)" ""
}

@test "a unit is never found by a name that was made inside of another's cgroup" {
	local id=psforged
	host_cgroup "/machine.slice/libpod-$id.scope/container/system.slice/ps-forged.service" \
		"/ps-custom.slice/ps-forged.service" "/$CG/system.slice/ps-forged.service" \
		"/$CG/ps-forged.scope"
	portsteer -q add 90:9090 --cgroup unit:ps-forged.service
	assert_equal "$(portsteer list --json | jsonget "rules|rule=90:9090/tcp|owner|cgroup")" \
		/system.slice/ps-forged.service
	bad 1 "unit:ps-forged.scope: there is no such cgroup" add 91:9090 --cgroup unit:ps-forged.scope
	host_cgroup /system.slice/ps-real.scope
	portsteer -q add 91:9090 --cgroup unit:ps-real.scope
	assert_equal "$(portsteer list --json | jsonget "rules|rule=91:9090/tcp|owner|cgroup")" \
		/system.slice/ps-real.scope
}

@test "a unit's files say its slice where systemd does not" {
	local folder=/usr/local/lib/systemd/system
	mount -t tmpfs none /usr/local/lib
	mkdir -p $folder/ps-a.service.d $folder/ps-b@.service.d $folder/ps-.service.d
	printf '[Service]\nSlice=ps-one.slice\n' >$folder/ps-a.service
	printf '[Service]\nSlice=ps%%i.slice\n' >$folder/ps-b@.service
	printf '[Service]\nSlice=%%H.slice\n' >$folder/psc.service
	unit_is()
	{
		portsteer -q add 90:9090 --cgroup "unit:$1"
		assert_equal "$(portsteer list --json | jsonget "rules|rule=90:9090/tcp|owner|cgroup")" "$2"
		portsteer -q del 90
	}
	unit_is ps-a.service /ps.slice/ps-one.slice/ps-a.service
	unit_is ps-b@7.service /ps7.slice/ps-b@7.service
	printf '[Service]\nSlice=ps-two.slice\n' >$folder/ps-.service.d/10.conf
	printf '[Service]\nSlice=ps-three.slice\n' >$folder/ps-a.service.d/20.conf
	unit_is ps-a.service /ps.slice/ps-three.slice/ps-a.service
	printf '[Service]\n' >$folder/ps-a.service.d/20.conf
	unit_is ps-a.service /ps.slice/ps-two.slice/ps-a.service
	bad 1 "unit:psc.service: only systemd can evaluate the Slice= in its unit files" \
		add 90:9090 --cgroup unit:psc.service
	umount /usr/local/lib
}

# in_cgroup_namespace FOLDER COMMAND...: where that cgroup is the root, and what is mounted has no
# other.
in_cgroup_namespace()
{
	# shellcheck disable=SC2016 # for the inner shells
	bash -c 'echo $$ >"$1/cgroup.procs" && shift && exec unshare --cgroup --mount \
		--propagation private bash -c '\''umount -l "$1" && mount -t cgroup2 none "$1" &&
			shift && exec "$@"'\'' - "$@"' - "$1" "$PS_TEST_CGROUP2" "${@:2}"
}

# In the tests' PID namespace process 1 sees the host's cgroups.
@test "in a cgroup namespace the root of all cgroups is process 1's" {
	mkdir "$PS_TEST_CGROUP/container"
	RUN=(in_cgroup_namespace "$PS_TEST_CGROUP/container")
	"${RUN[@]}" "$PORTSTEER" -q add 90:9090 --user ps-web
	"${RUN[@]}" "$PORTSTEER" -q add 91:9091 --cgroup "/$CG/web"
	"${RUN[@]}" "$PORTSTEER" -q add 92:9092 --cgroup "$PS_TEST_CGROUP2/web"
	assert_equal "$(portsteer list --json |
		jsonget "rules|rule=91:9091/tcp|owner|cgroup" "rules|rule=92:9092/tcp|owner|cgroup")" \
		"/$CG/web"$'\n'"/$CG/container/web"
	# a listener outside of it is admitted
	serve web 127.0.0.1 9090
	answers web http://127.0.0.1:90/
	bad 5 "cgroup pid:1: portsteer runs in a cgroup namespace" add 93:9090 --cgroup pid:1
	RUN=()
}

@test "in a cgroup namespace without the root of all cgroups nothing is attached" {
	mkdir "$PS_TEST_CGROUP/container"
	RUN=(in_cgroup_namespace "$PS_TEST_CGROUP/container" unshare --pid --fork --kill-child
		--mount-proc)
	bad 5 "cannot reach its root; run it on the host" add 90:9090 --user ps-web
	bad 5 "cannot reach its root; run it on the host" add 90:9090 --cgroup web
	bad 5 "cannot reach its root; run it on the host" add 90:9090 --cgroup pid:1
	bad 5 "cannot reach its root; run it on the host" add 90:9090 --any-user --client-cgroup web
	RUN=()
}

@test "any mount of cgroup2 will do for a path, and one stays in use" {
	local first
	first=$(portsteer status --json 2>/dev/null | jsonget cgroup2) || first=$PS_TEST_CGROUP2
	mkdir -p "$PS_TEST_DIR/cg2" "$PS_TEST_DIR/part" "$PS_TEST_CGROUP/a"
	cgroup_is()
	{
		portsteer -q add 90:9090 --cgroup "$1"
		assert_equal "$(portsteer list --json | jsonget "rules|rule=90:9090/tcp|owner|cgroup")" "$2"
		assert_equal "$(portsteer status --json | jsonget cgroup2)" "$first"
		portsteer -q del 90
	}
	cgroup_is "$PS_TEST_CGROUP2/$CG/x" "/$CG/x"
	mount -t cgroup2 none "$PS_TEST_DIR/cg2"
	mount --bind "$PS_TEST_CGROUP/a" "$PS_TEST_DIR/part"
	cgroup_is "$PS_TEST_CGROUP2/$CG/x" "/$CG/x"
	cgroup_is "$PS_TEST_DIR/cg2/$CG/x" "/$CG/x"
	cgroup_is "$PS_TEST_DIR/part/x" "/$CG/a/x"
	cgroup_is "$PS_TEST_DIR/part" "/$CG/a"
	bad 2 "it is the root" add 90:9090 --cgroup "$PS_TEST_DIR/cg2"
	umount "$PS_TEST_DIR/part"
	# one that something else has been mounted over is none
	mount -t tmpfs none "$PS_TEST_CGROUP2"
	first=$PS_TEST_DIR/cg2
	cgroup_is "$PS_TEST_DIR/cg2/$CG/x" "/$CG/x"
	umount "$PS_TEST_CGROUP2" "$PS_TEST_DIR/cg2"
}

@test "a manager that does not answer is asked once for all units" {
	mkdir -p /run/systemd
	mount -t tmpfs none /run/systemd
	mkdir /run/systemd/system
	printf '#!/bin/sh\necho "$@" >>%s\nexec sleep 100\n' "$PS_TEST_DIR/asked" >"$PS_TEST_DIR/systemctl"
	chmod 0755 "$PS_TEST_DIR/systemctl"
	mount --bind "$PS_TEST_DIR/systemctl" "$(readlink -f /bin/systemctl)"
	portsteer apply -f - >"$PS_TEST_DIR/out" <<-END
		[a]
		ports = 90:9090
		cgroup = unit:ps-a.service
		[b]
		ports = 91:9091
		cgroup = unit:ps-b.service
		client-cgroup = unit:ps-c.service
	END
	assert_match "$(<"$PS_TEST_DIR/out")" "unit:ps-c.service is assumed .*: systemd does not respond"
	assert_match "$(cat "$PS_TEST_DIR/asked")" "show -- ps-a.service"
	assert_equal "$(wc -l <"$PS_TEST_DIR/asked")" 1
	umount "$(readlink -f /bin/systemctl)" /run/systemd
}

@test "a user by number is that number, whatever the user database has" {
	local passwd=$PS_TEST_DIR/passwd.numbers
	cp /etc/passwd "$passwd"
	printf '47102:x:47103:47103::/:/bin/sh\n' >>"$passwd"
	mount --bind "$passwd" /etc/passwd
	portsteer -q add 90:9090 --user 47102
	assert_equal "$(portsteer list --json | jsonget "rules|rule=90:9090/tcp|owner|uid")" 47102
	portsteer -q add 91:9091 --user ps-ssh
	umount /etc/passwd
	sed -i '/^ps-ssh:/d' "$passwd"
	mount --bind "$passwd" /etc/passwd
	assert_match "$(portsteer save)" "user = 47103"
	bad 2 "unknown user '4294967295'" add 92:9090 --user 4294967295
	bad 2 "unknown user '99999999999'" add 92:9090 --user 99999999999
	umount /etc/passwd
}

@test "a user that systemd gives out anew gets a note" {
	assert_match "$(portsteer add 90:9090 --user 61184)" \
		"note: systemd assigns user 61184 .*DynamicUser=.*--cgroup unit:"
	assert_match "$(portsteer add 91:9091 --user 65519)" "note: systemd assigns user 65519 "
	assert_match "$(portsteer add 92:9092 --user 61183)" ": no listener yet$"
	assert_match "$(portsteer add 93:9093 --user 65520)" ": no listener yet$"
	serve -u 61200 web 127.0.0.1 9094
	assert_match "$(portsteer add 94:9094)" "note: systemd assigns user 61200 "
}

@test "a process's number in a file of rules" {
	printf '[a]\nports = 90:9090\ncgroup = pid:1\n' >"$PS_TEST_DIR/rules"
	bad 1 "rules:3: cgroup pid:1: process ids are reused" add --file "$PS_TEST_DIR/rules"
	printf '[a]\nports = 90:9090\nuser = ps-web\nclient-cgroup = pid:1\n' >"$PS_TEST_DIR/rules"
	bad 1 "rules:4: cgroup pid:1: process ids are reused" add --file "$PS_TEST_DIR/rules"
	# what is typed is for now
	start -g pid "$PYTHON" -c 'import signal; signal.pause()'
	until_true 5 grep -qx "0::/$CG/pid" "/proc/$PID/cgroup"
	printf '[a]\nports = 91:9091\n' >"$PS_TEST_DIR/rules"
	portsteer -q add --file "$PS_TEST_DIR/rules" --cgroup "pid:$PID"
	assert_equal "$(portsteer list --json | jsonget "rules|rule=91:9091/tcp|owner|cgroup")" "/$CG/pid"
}

@test "an address with host bits set, or that is none" {
	bad 2 "host bits.*10.0.0.0/8" add 10.1.2.3/8:90:9090 --user ps-web
	bad 2 "host bits.*2001:db8::" add '[2001:db8::1]/32:90:9090' --user ps-web
	bad 2 "/33" add 10.0.0.0/33:90:9090 --user ps-web
	bad 2 "129" add '[::]/129:90:9090' --user ps-web
	bad 2 "10.0.0" add 10.0.0:90:9090 --user ps-web
	bad 2 "10.0.0.256" add 10.0.0.256:90:9090 --user ps-web
	bad 2 "2001:db8::g" add '[2001:db8::g]:90:9090' --user ps-web
	bad 2 "2001:db8::1" add 2001:db8::1:90:9090 --user ps-web
	bad 2 "bad rule" add '[2001:db8::1:90:9090' --user ps-web
	bad 2 "bad rule" add 10.0.0.0/:90:9090 --user ps-web
	bad 2 "localhost" add localhost:90:9090 --user ps-web
}

@test "an unknown protocol or mode, and UDP, which cannot be steered" {
	bad 2 "unknown protocol 'sctp'" add 90:9090/sctp --user ps-web
	bad 2 "unknown protocol 'TCPP'" add 90:9090/TCPP --user ps-web
	bad 2 "UDP cannot be steered" add 53:5353/udp --user ps-web --mode steer
	bad 2 "sideways" add 90:9090 --user ps-web --mode sideways
}

@test "a mode and a client cgroup that do not go together" {
	bad 2 "90:9090/tcp: connect mode needs a client cgroup.*--client-cgroup" add 90:9090 --user ps-web --mode connect
	bad 2 "90:9090/tcp: --client-cgroup is only for connect mode.*steer" add 90:9090 --user ps-web --mode steer \
		--client-cgroup "$CG/a"
	bad 2 "53:5353/udp: --client-cgroup is only for connect mode.*bind" add 53:5353/udp --user ps-web \
		--mode bind --client-cgroup "$CG/a"
	bad 2 "a target address works in connect mode only.*--client-cgroup" add 90:10.1.2.3:9090 --any-user
	bad 2 "a target address works in connect mode only.*--client-cgroup" add 90:10.1.2.3:9090/udp --user ps-web
	bad 2 "unknown option '--client-cgroup" allow 443 --user ps-web --client-cgroup "$CG/a"
	bad 2 "unknown option '--client-cgroup" list --client-cgroup "$CG/a"
	bad 2 "client-cgroup is given twice" add 90:9090 --user ps-web --client-cgroup a --client-cgroup b
}

@test "a client cgroup that is none, or everybody's by mistake" {
	local scope long deep
	for scope in // "$PS_TEST_CGROUP2" "$PS_TEST_CGROUP2/"; do
		bad 2 "client cgroup .*it is the root.*--client-cgroup /" add 90:9090 --user ps-web --client-cgroup "$scope"
	done
	bad 2 "a/../b" add 90:9090 --user ps-web --client-cgroup a/../b
	bad 2 "'\.\.'" add 90:9090 --user ps-web --client-cgroup ..
	bad 2 "empty" add 90:9090 --user ps-web --client-cgroup ''
	long=$(printf 'x%.0s' {1..200})
	bad 2 "(long|1022)" add 90:9090 --user ps-web --client-cgroup "$long/$long/$long/$long/$long/$long"
	bad 2 "(long|255)" add 90:9090 --user ps-web --client-cgroup "$long$long"
	deep=$(printf 'a/%.0s' {1..17})
	bad 2 "16 levels" add 90:9090 --user ps-web --client-cgroup "$deep"
	bad 2 "control character" add 90:9090 --user ps-web --client-cgroup $'a\nb'
	bad 2 "control character" add 90:9090 --user ps-web --client-cgroup $'a\x1b[31mb'
	bad 2 "/sys/kernel: it is not below $PS_TEST_CGROUP2" add 90:9090 --user ps-web \
		--client-cgroup /sys/kernel
	bad 2 "/sys/fs/bpf/a: it is not below $PS_TEST_CGROUP2" add 90:9090 --user ps-web \
		--client-cgroup /sys/fs/bpf/a
	bad 2 "/proc/1: it is not below $PS_TEST_CGROUP2" add 90:9090 --user ps-web --client-cgroup /proc/1
	bad 2 "pid:none" add 90:9090 --user ps-web --client-cgroup pid:none
	bad 1 "no such process" add 90:9090 --user ps-web --client-cgroup pid:4194304
	bad 1 "no such cgroup" add 90:9090 --user ps-web --client-cgroup unit:portsteer-none.scope
	bad 2 "a/../b" del 80 --client-cgroup a/../b
}

@test "a client cgroup that is the cgroup of a process in the root" {
	# shellcheck disable=SC2016 # for the inner shell
	bash -c 'echo $$ >"$1/cgroup.procs" && exec tail -f /dev/null' - "$PS_TEST_CGROUP2" 3>&- &
	local pid=$!
	until_true 5 grep -qx 0::/ /proc/$pid/cgroup
	bad 2 "client cgroup pid:$pid: it is the root.*--client-cgroup /" add 90:9090 --user ps-web --client-cgroup pid:$pid
	stop $pid
}

@test "connect rules that lead to each other, or into a rule of another mode" {
	portsteer -q add 9000:9001 --client-cgroup "$CG/a" --user ps-web
	bad 1 "9001:9000/tcp makes a loop|9000:9001/tcp makes a loop" add 9001:9000 --client-cgroup "$CG/a" \
		--user ps-web
	bad 1 "loop" add 9001:9002 --client-cgroup "$CG/a" --user ps-web
	bad 1 "loop" add 9002:9000 --client-cgroup "$CG/a" --user ps-web
	bad 1 "90:90/tcp makes a loop" add 90:90 --client-cgroup "$CG/b" --user ps-web
	bad 1 "90:80/tcp makes a loop.*port 80 .*of 80:8080/tcp" add 90:80 --client-cgroup "$CG/b" --user ps-web
	bad 1 "90:9001/tcp makes a loop|9001:9002/tcp" add 9001:9002 --user ps-web
	bad 1 "loop" add 90:91 91:92 --client-cgroup "$CG/b" --user ps-web
	portsteer -q add 9001:9000 --client-cgroup "$CG/b" --user ps-web
	portsteer -q add 9001:9002/udp --client-cgroup "$CG/a" --any-user # another protocol
}

@test "connect rules of one client cgroup that overlap" {
	portsteer -q add 90:9090 --client-cgroup "$CG/a" --user ps-web
	bad 1 "90:9090/tcp already exists" add 90:9090 --client-cgroup "$CG/a" --user ps-web
	bad 1 "90:9091/tcp \(connect, user ps-web, client cgroup /$CG/a\) overlaps rule 90:9090/tcp \(connect, user ps-web, client cgroup /$CG/a\)" add 90:9091 --client-cgroup "/$CG/a/" --user ps-web
	bad 1 "85-95:9085-9095/tcp .* overlaps" add 85-95:9085-9095 --client-cgroup "$CG/a" --user ps-web
	bad 1 "90:10.1.2.3:9090/tcp .* overlaps" add 90:10.1.2.3:9090 --client-cgroup "$CG/a" --any-user
	portsteer -q add 90:9090 --client-cgroup "$CG/b" --user ps-web
	portsteer -q add 90:9090 --user ps-web
}

@test "an address that a target cannot have" {
	local -a go=(--client-cgroup "$CG/a" --any-user)
	bad 2 "an IPv4 client cannot connect to an IPv6 address" add \
		'10.0.0.0/8:90:[2001:db8::1]:9090' "${go[@]}"
	bad 2 "an IPv6 client cannot connect to an IPv4 address" add '[::1]:90:10.1.2.3:9090' \
		"${go[@]}"
	bad 2 "10.1.2.256" add 90:10.1.2.256:9090 "${go[@]}"
	bad 2 "bad rule" add '90:[2001:db8::1:9090' "${go[@]}"
	bad 2 "bad rule" add '90:[2001:db8::1]9090' "${go[@]}"
	bad 2 "bad rule" add '90:[10.1.2.3]:9090' "${go[@]}"
	bad 2 "bad rule" add 90:2001:db8::1:9090 "${go[@]}"
	bad 2 "bad rule" add 90:10.1.2.0/24:9090 "${go[@]}"
	bad 2 "bad rule" add 90:10.1.2.3: "${go[@]}"
	bad 2 "bad rule" add 90:10.1.2.3 "${go[@]}"
	bad 2 "bad rule.*port" add 90:10.1.2.3:0 "${go[@]}"
	bad 2 "bad rule" add 90:localhost:9090 "${go[@]}"
}

@test "a pair as it is given has no owner, and nothing to miss" {
	bad 2 "53:5353/udp: .*owner is not checked.*--any-user" add 53:5353/udp --client-cgroup "$CG/a" --user ps-web
	bad 2 "53:5353/udp: .*owner is not checked.*--any-user" add 53:5353/udp --client-cgroup "$CG/a" --cgroup web
	bad 2 "--any-user" add 53:5353/udp --client-cgroup "$CG/a"
	bad 2 "90:10.1.2.3:9090/tcp: .*--any-user" add 90:10.1.2.3:9090 --client-cgroup "$CG/a" --user ps-web
	bad 2 "if-down" add 53:5353/udp --client-cgroup "$CG/a" --any-user --if-down pass
	bad 2 "if-down" add 90:10.1.2.3:9090 --client-cgroup "$CG/a" --any-user --if-down refuse
}

@test "a client cgroup in a cgroup namespace" {
	mkdir "$PS_TEST_CGROUP/container"
	in_cgroup_namespace "$PS_TEST_CGROUP/container" "$PORTSTEER" -q add 90:9090 --user ps-web \
		--client-cgroup web
	assert_equal "$(portsteer list --json | jsonget "rules|rule=90:9090/tcp|client_cgroup")" /web
}

@test "a rule that is not there" {
	bad 1 "no rule 81" del 81
	bad 1 "no rule 80:9090.*80:8080/tcp" del 80:9090
	bad 1 "no rule 443" del 443 # there it is with an address
	bad 1 "no rule 10.0.0.0/9:443" del 10.0.0.0/9:443
	bad 1 "no rule 81" del 80 81 # all or none
	bad 1 "no rule 80/tcp --client-cgroup /a, but there is 80:8080/tcp;" del 80 --client-cgroup a
	bad 2 "bad rule '80:'" del 80:
	bad 2 "bad rule '0'" del 0
	bad 2 "needs a rule" del
}

@test "no owner and no listener" {
	bad 2 "no owner for 90:9090/tcp.*no process that could be it has port 9090 open.*--user" add 90:9090
	bad 2 "no owner" add 90:9090 --name x --if-down pass
	serve -u $WEB one 127.0.0.1 9090 --reuseport
	serve -u $DB two 127.0.0.2 9090 --reuseport
	bad 2 "no owner for 90:9090/tcp.*($WEB and $DB|$DB and $WEB)" add 90:9090
}

@test "no owner, and part of the range has no listener" {
	serve web 127.0.0.1 9090
	bad 2 "no owner for 90-91:9090-9091/tcp: no process that could be it has port 9091 open" add 90-91:9090-9091
}

@test "no owner and --quiet: nobody would be told who it is" {
	serve web 127.0.0.1 9090
	bad 2 "--quiet would hide who becomes the owner" -q add 90:9090
}

@test "owners that contradict each other, and other options" {
	bad 2 "any-user" add 90:9090 --any-user --user ps-web
	bad 2 "any-user" add 90:9090 --any-user --cgroup web
	bad 2 "user is given twice" add 90:9090 --user ps-web --user ps-db
	bad 2 "if-down.*drop" add 90:9090 --user ps-web --if-down drop
	bad 2 "unknown option '--bogus'" add 90:9090 --bogus
	bad 2 "unknown option '--bogus'" add 90:9090 --user ps-web --bogus
	bad 2 "unknown option '-x'" list -x
	one_bad 2 "--user.*needs a value" add 90:9090 --user # "--json" would be its value
	bad 2 "unknown option '--user" list --user ps-web
	bad 2 "takes no '80'" list 80
	bad 2 "--any-user takes no value" add 90:9090 --any-user=yes
	bad 2 "color.*pink" list --color=pink
	bad 2 "--all takes no value" list --all=yes
	bad 2 "unknown option '--all'" status --all
	bad 2 "--all and --netns exclude each other" list --all --netns client
	bad 2 "--all and --netns exclude each other" stats --netns nosuchns --all
	bad 2 "unknown command 'frobnicate'" frobnicate
	bad 2 "unknown command 'lis'; did you mean 'portsteer list'" lis # no abbreviations
	# The command comes first, whatever options it has.
	bad 2 "unknown command 'rm'; did you mean 'portsteer del'" rm 80 --frob
	bad 2 "unknown command 'ls'; did you mean 'portsteer list'" --netns client ls -x
	bad 2 "unknown command 'show'; did you mean 'portsteer list'" show --all
	bad 2 "unknown command 'reload'; did you mean 'portsteer apply'" reload
	bad 2 "unknown command 'replace'; did you mean 'portsteer apply'" replace 80:8080 --user
	bad 2 "unknown command 'revoke'; did you mean 'portsteer del'" -q revoke 443
	bad 2 "unknown command 'statuss'; did you mean 'portsteer status'" statuss --bogus=1
	bad 2 "unknown command 'rm'; did you mean 'portsteer del'" help rm
	bad 2 "'portsteer check' takes no 'rules.conf'; .*'portsteer check --file rules.conf'" check rules.conf
	bad 2 "'portsteer apply --file x'" apply x
	bad 2 "no command"
	bad 2 "unknown command 'frobnicate'; 'portsteer help' lists all commands" help frobnicate
}

@test "a loop: a target that is itself a front port" {
	bad 1 "90:80/tcp.*loop.*80.*80:8080/tcp" add 90:80 --user ps-web
	bad 1 "8080:9090/tcp|80:8080/tcp" add 8080:9090 --user ps-web
	bad 1 "loop" add 90:90 --user ps-web
	bad 1 "loop" add 8000-8100:9000-9100 --user ps-web
	bad 1 "loop" add 90:91 91:92 --user ps-web
	bad 1 "loop" add 100-109:105-114 --user ps-web
	assert_match "$MESSAGE" "loop"
}

@test "grants that are none" {
	bad 2 "bad grant '443:8443': a grant has no target" allow 443:8443 --user ps-web
	bad 2 "1024/tcp: port 1024 is not privileged" allow 1024 --user ps-web
	bad 2 "1000-1024/tcp: port 1024 is not privileged" allow 1000-1024/tcp --user ps-web
	bad 2 "is not privileged" allow 5353/udp --user ps-web
	bad 2 "is not privileged" add 5353:5353/udp --user ps-web
	bad 2 "unknown protocol 'sctp'" allow 444/sctp --user ps-web
	bad 2 "'0' is not a port" allow 0 --user ps-web
	bad 2 "'65536' is not a port" allow 65536 --user ps-web
	bad 2 "host bits" allow 10.1.2.3/8:444 --user ps-web
	bad 2 "444-443" allow 444-443 --user ps-web
	bad 2 "needs a port" allow --user ps-web
	bad 2 "target port is missing.*'portsteer allow'" add 444/tcp --mode bind --user ps-web
	bad 2 "target port is missing.*'portsteer allow'" add 443 --user ps-web
	bad 1 "443:443/tcp makes a loop: .*to let the owner bind port 443 directly, use 'portsteer allow'" \
		add 443:443 --user ps-web
	# Where it is one of a range it is a loop like others.
	bad 1 "8000-8009:8001-8010/tcp makes a loop: its target port 8001 is a front port of itself" \
		add 8000-8009:8001-8010 --user ps-web
}

@test "a grant without an owner, and with what does not go with it" {
	bad 2 "allow' needs an owner.*--user, --cgroup or --any-user" allow 444
	bad 2 "allow' needs an owner" allow 444/udp --name x
	serve -u root other 127.0.0.1 444
	bad 2 "allow' needs an owner" allow 444 # not even who has it now
	bad 2 "any-user" allow 445 --any-user --user ps-web
	bad 2 "nosuchuser" allow 445 --user nosuchuser
	bad 2 "unknown option '--mode'" allow 445 --user ps-web --mode bind
	bad 2 "unknown option '--if-down'" allow 445 --user ps-web --if-down pass
	bad 2 "unknown option '--file'" allow --file rules --user ps-web
}

@test "a target that is privileged itself, and options for steering" {
	bad 2 "53:1023/udp: its target port 1023 is privileged itself.*portsteer allow" \
		add 53:1023/udp --user ps-web
	bad 2 "target port 1022 is privileged itself" add 90-92:1022-1024 --mode bind --user ps-web
	bad 2 "bind rule.*--if-down" add 53:5353/udp --user ps-web --if-down refuse
	bad 2 "bind rule.*--if-down" add 90:9090 --mode bind --user ps-web --if-down pass
}

@test "a translation without an owner" {
	bad 2 "no owner for 53:5300/udp.*has port 5300 open" add 53:5300/udp
	bad 2 "no owner for 90:9090/tcp" add 90:9090 --mode bind
	serve -u $WEB tcp 127.0.0.1 5300
	bad 2 "no owner for 53:5300/udp" add 53:5300/udp # that is the other protocol's
	serve -u $WEB one 127.0.0.1 5300 --udp
	serve -u $DB two 127.0.0.2 5300 --udp
	bad 2 "no owner for 53:5300/udp.*($WEB and $DB|$DB and $WEB)" add 53:5300/udp
}

# Avahi has it, or a browser.
@test "an owner is never taken from multicast DNS's port" {
	serve -u $WEB mdns 127.0.0.1 5353 --udp
	serve -u $WEB tcp 127.0.0.1 5353
	serve -u $WEB beside 127.0.0.1 5352
	bad 2 "no owner for 53:5353/udp: multicast DNS shares port 5353.*--user" add 53:5353/udp
	bad 2 "no owner for 53:5353/tcp: multicast DNS shares port 5353.*--user" add 53:5353/tcp
	bad 2 "multicast DNS shares port 5353" add 52-53:5352-5353/tcp
	portsteer -q flush || true
	portsteer -q add 53:5353/udp --user ps-db # who says so may have it
	portsteer add 52:5352 | grep -q "^owner of 52:5352/tcp: user ps-web "
}

@test "a steer rule and a bind rule for one front port" {
	bad 1 "80:9090/tcp.*80:8080/tcp" add 80:9090 --mode bind --user ps-web
	bad 1 "80:8080/tcp.*192.0.2.1:80:9090/tcp" add 192.0.2.1:80:9090 --mode bind --user ps-web
	bad 1 "10.0.0.0/8:443:8443/tcp.*10.1.2.3:443/tcp" allow 10.1.2.3:443 --user ps-web
	bad 1 "10.0.0.0/8:443:8443/tcp.* 443/tcp" allow 443 --user ps-web
	bad 1 "80/tcp.*80:8080/tcp" allow 80 --user ps-db
	# the other way round
	portsteer -q add 90:9090 10.0.0.0/8:91:9191 --mode bind --user ps-web
	portsteer -q allow 92 --user ps-web
	bad 1 "90:7070/tcp.*90:9090/tcp" add 90:7070 --user ps-web
	bad 1 "10.1.2.3:90:7070/tcp.*90:9090/tcp" add 10.1.2.3:90:7070 --user ps-web
	bad 1 "91:7070/tcp.*10.0.0.0/8:91:9191/tcp" add 91:7070 --user ps-web
	bad 1 "92:7070/tcp.*92/tcp" add 92:7070 --user ps-web
	# also in one command
	printf '%s\n' '93:7070' '10.1.2.3:93:7171 --mode bind' | sections >"$PS_TEST_DIR/rules"
	bad 1 "93:7070/tcp.*10.1.2.3:93:7171/tcp" add -f "$PS_TEST_DIR/rules" --user ps-web
	# other addresses, and the other protocol, are no conflict
	portsteer -q add 192.0.2.0/24:443:9443 --mode bind --user ps-web
	portsteer -q allow 80/udp --user ps-web
}

@test "a steer rule and a bind rule for one target port" {
	bad 1 "80:8080/tcp.*81:8080/tcp.* target port 8080" add 81:8080 --mode bind --user ps-web
	bad 1 "80:8080/tcp.*81:8080/tcp" add 81:8080 --mode bind --user ps-db
	portsteer -q add 90:9090 --mode bind --user ps-web
	bad 1 "91:9090/tcp.*90:9090/tcp" add 91:9090 --user ps-web
	portsteer -q add 81:8080/udp --user ps-web
}

@test "bind rules that overlap, or contradict each other" {
	portsteer -q add 53:5353/udp --user ps-web
	bad 1 "53:5454/udp.*53:5353/udp" add 53:5454/udp --user ps-db
	bad 1 "53:5353/udp already exists" add 53:5353/udp --user ps-web
	bad 1 "50-59:6050-6059/udp.*53:5353/udp" add 50-59:6050-6059/udp --user ps-web
	bad 1 "53/udp.*53:5353/udp" allow 53/udp --user ps-db
	bad 1 "54:5353/udp" add 54:5353/udp --user ps-web # one owner, one target, two fronts
	portsteer -q allow 444 --user ps-web
	bad 1 "444/tcp.*444/tcp" allow 444 --user ps-db
	bad 1 "444:5454/tcp.*444/tcp" add 444:5454 --mode bind --user ps-web
	bad 1 "440-450/tcp.*444/tcp" allow 440-450 --user ps-db
	portsteer -q add 53:5353/tcp --mode bind --user ps-db
	portsteer -q allow 444/udp 10.1.2.3:444 --user ps-db
}

@test "a loop of bind rules" {
	portsteer -q add 53:5353/udp --user ps-web
	bad 1 "loop" add 5353:6363/udp --user ps-web
	bad 1 "loop" add 5000-5400:6000-6400/udp --user ps-db
	bad 1 "loop" add 2000:2001 2001:2002 --mode bind --user ps-web
	bad 1 "loop" add 2000-2010:2005-2015/udp --user ps-web
	portsteer -q add 5353:6363/tcp --mode bind --user ps-web
}

@test "too many bind rules of one port" {
	seq 1 65 | sed 's/.*/10.0.&.0\/24:53:5353\/udp --user ps-web/' >"$PS_TEST_DIR/lines"
	sections <"$PS_TEST_DIR/lines" >"$PS_TEST_DIR/many"
	bad 1 "port 53.* 64 " add -f "$PS_TEST_DIR/many"
	head -64 "$PS_TEST_DIR/lines" | sections | portsteer -q add -f -
}

@test "del of a bind rule that is not there" {
	portsteer -q add 53:5353/udp --user ps-web
	portsteer -q allow 444/tcp --user ps-web
	bad 1 "no rule 53/tcp.*53:5353/udp" del 53
	bad 1 "no rule 53:5454/udp" del 53:5454/udp
	bad 1 "no rule 444/udp" del 444/udp
	bad 1 "no rule 444:4444/tcp" del 444:4444
	bad 1 "no rule 10.0.0.0/8:53/udp" del 10.0.0.0/8:53/udp
}

@test "a name with control characters, too long, empty, or not UTF-8" {
	bad 2 "name.*control" add 90:9090 --user ps-web --name $'a\nb'
	bad 2 "name.*control" add 90:9090 --user ps-web --name $'a\x1b[2Jb'
	bad 2 "name.*control" add 90:9090 --user ps-web --name $'\x7f'
	bad 2 "name" add 90:9090 --user ps-web --name $'\xc2\x9b31m' # C1
	bad 2 "name" add 90:9090 --user ps-web --name $'\xff\xfe'
	bad 2 "name.*empty" add 90:9090 --user ps-web --name ''
	bad 2 "name.*64" add 90:9090 --user ps-web --name "$(printf 'n%.0s' {1..65})"
}

@test "text of the user's with control characters is shown without them" {
	bad 2 "bad rule" add $'80\n:8080' --user ps-web
	bad 2 "user" add 90:9090 --user $'a\x1bb'
	bad 2 "unknown command" $'li\x07st'
	bad 2 "netns" list --netns $'a\nb/../x' || bad 1 "netns" list --netns $'a\nb/../x'
}

@test "--netns that is none" {
	local command
	for command in list stats load flush 'add 90:9090 --user ps-web'; do
		# shellcheck disable=SC2086
		bad 1 "--netns nosuchns: there is no namespace" $command --netns nosuchns
	done
	bad 1 "/etc/passwd is not a network namespace" list --netns /etc/passwd
	bad 1 "/proc/self/ns/mnt is not a network namespace" list --netns /proc/self/ns/mnt
	bad 1 "/nowhere/at/all" list --netns /nowhere/at/all
	bad 1 "no such process" list --netns pid:4194304
	bad 2 "pid:x: not a process" list --netns pid:x
	bad 2 "pid:-1: not a process" list --netns pid:-1
	bad 2 "not a namespace" list --netns ''
	mkfifo "$PS_TEST_DIR/pipe"
	bad 1 "not a network namespace" list --netns "$PS_TEST_DIR/pipe"
	rm "$PS_TEST_DIR/pipe"
}

@test "a file of rules: all or nothing, and the error names the line" {
	local file=$PS_TEST_DIR/rules good='[a]\nports = 90:9090\nuser = ps-web\n'
	# shellcheck disable=SC2059 # formats
	{
		printf "${good}[b]\nports = 91:9091\nuser = nosuch\n" >"$file"
		bad 1 "$file:6: .*nosuch" add -f "$file"
		printf "${good}[b]\nports = 91:\nuser = ps-web\n" >"$file"
		bad 1 "$file:5: .*91:" add -f "$file"
		printf "${good}[b]\nports = 91:9091\nuser =\n" >"$file"
		bad 1 "$file:6: user has no value" add -f "$file"
		printf "${good}frob = 1\n" >"$file"
		bad 1 "$file:4: unknown key 'frob'" add -f "$file"
		printf "${good}[a]\nports = 91:9091\nuser = ps-web\n" >"$file"
		bad 1 "$file:4: section \[a\] already exists at $file:1" add -f "$file"
		printf "${good}[b]\nports = 80:9090\nuser = ps-web\n" >"$file"
		bad 1 "80:9090.*80:8080" add -f "$file"
		printf "${good}[b]\nports = 91:9\00091\nuser = ps-web\n" >"$file"
		bad 1 "$file:5: the file contains a NUL byte" add -f "$file"
	}
	# as commands were written once
	printf '90:9090 --user ps-web\n' >"$file"
	bad 1 "$file:1: .*neither a key nor a section" add -f "$file"
	printf '[a]\nports = 90:9090\n' >"$file"
	bad 2 "unknown --mode 'no'" add -f "$file" --user ps-web --mode no
	chmod o+w "$file"
	bad 1 "$file: users other than its owner may write to it" add -f "$file" --user ps-web
	rm "$file"
	bad 1 "/nowhere/rules" add -f /nowhere/rules
	printf '# no rule\n\n' >"$file"
	bad 2 "$file contains no rule, so nothing was added" add -f "$file" --user ps-web
	bad 2 "\(standard input\) contains no rule" add -f - --user ps-web # nothing to read
	bad 1 "$PS_TEST_DIR" add -f "$PS_TEST_DIR" # a folder
}

# Too few descriptors is a failure of the moment: nothing that is loaded is given up.
@test "too few file descriptors, in any command" {
	ip netns add other
	portsteer -q --netns other add 80:8080 --any-user
	local n command before
	before=$(kernel_state)
	for n in $(seq 3 30); do
		for command in unload load "add 90:9090 --any-user" flush; do
			# shellcheck disable=SC2086 # words
			prlimit --nofile="$n" "$PORTSTEER" -q --netns client $command \
				>/dev/null 2>&1 || true
			portsteer -q --netns client unload
			assert_equal "$(kernel_state)" "$before"
			assert_equal "$(portsteer --netns other list --json | jsonget rules.0.rule)" \
				80:8080/tcp
			assert_equal "$(portsteer status --json | jsonget sock_ops.0)" /
		done
	done
	portsteer -q --netns other unload
}

@test "too much: rules, owners of one port" {
	local n file=$PS_TEST_DIR/many
	for n in $(seq 1 33); do
		echo "$((100 + n)):9999 --user $((50000 + n))"
	done | sections >"$file"
	bad 1 "9999.*32" add -f "$file"
	seq 1 200001 | awk '{ printf "10.%d.%d.%d:443:9443 --user 1\n", $1 / 65536, $1 / 256 % 256, $1 % 256 }' |
		sections >"$file"
	bad 1 "too many" add -f "$file"
}

@test "too much: rules of one client cgroup for one port" {
	local n
	for n in $(seq 1 64); do
		echo "10.1.$n.0/24:90:9090 --client-cgroup $CG/a --user ps-web"
	done | sections >"$PS_TEST_DIR/many"
	portsteer -q add -f "$PS_TEST_DIR/many"
	bad 1 "/$CG/a .*more than 64 rules for port 90" add 90:9090 --client-cgroup "$CG/a" --user ps-web
	portsteer -q add 90:9090 --client-cgroup "$CG/b" --user ps-web
	bad 1 "too many connect rules" add 1-65000:10.1.2.3:1-65000 1-65000:10.1.2.3:1-65000/udp \
		10.0.0.0/8:1-2000:10.1.2.3:1-2000 --client-cgroup "$CG/c" --any-user
}

@test "not loaded: list, stats, del and flush say so" {
	keep_nothing
	portsteer -q unload
	local command
	for command in list stats 'list --all' 'stats --all' 'del 80' flush; do
		# shellcheck disable=SC2086
		bad 3 "not loaded.*portsteer (load|add)" $command
	done
	[ ! -e $STATE ]
	portsteer -q --netns client load
	bad 3 "not loaded" list
	bad 3 "not loaded" flush
	portsteer -q --netns client unload
}

@test "an add that fails loads nothing" {
	keep_nothing
	portsteer -q unload
	bad 2 "no owner" add 90:9090
	[ ! -e $STATE ]
	bad 1 "loop" add 90:91 91:92 --user ps-web
	[ ! -e $STATE ]
}

@test "not root" {
	local command
	kernel_state() { find $STATE -printf '%P %y %m %U\n' | sort; }
	RUN=(setpriv --reuid "$WEB" --regid "$WEB" --clear-groups --inh-caps=-all --)
	for command in load unload 'add 90:9090 --any-user' 'allow 90 --any-user' 'del 80' flush \
		list stats status 'list --netns client' 'list --all' 'stats --all'; do
		# shellcheck disable=SC2086
		bad 4 "root" $command
	done
	"${RUN[@]}" "$PORTSTEER" version
	"${RUN[@]}" "$PORTSTEER" help >/dev/null
	RUN=()
}

@test "root without capabilities" {
	kernel_state() { find $STATE -printf '%P %y %m %U\n' | sort; }
	RUN=(setpriv --inh-caps=-all --bounding-set=-all --)
	bad 4 "CAP_|root" add 90:9090 --any-user
	bad 4 "CAP_|root" add 90:9090/udp --any-user
	bad 4 "CAP_|root" allow 90 --any-user
	bad 4 "CAP_|root" del 80
	bad 4 "CAP_|root" flush
	bad 4 "CAP_|root" load --netns client
	RUN=()
	assert_equal "$(rules)" $'80:8080/tcp\n10.0.0.0/8:443:8443/tcp'
}

# In namespaces of its own, where process 1 has none either.
@test "no cgroup2 is mounted" {
	RUN=(unshare --pid --fork --kill-child --mount-proc --propagation private -- bash -c '
		while read -r at; do umount -l "$at"; done < <(awk "/ - cgroup2 / { print \$5 }" \
			/proc/self/mountinfo | sort -r)
		exec "$@"' --)
	bad 5 "no cgroup2 file system is mounted.*mount -t cgroup2" add 90:9090 --user ps-web
	bad 5 "no cgroup2" add 90:9090 --cgroup web
	bad 5 "no cgroup2" add 90:9090 --cgroup /sys/fs/cgroup/web
	RUN=()
	portsteer -q add 90:9090 --user ps-web
}

@test "no cgroup2 is mounted here: process 1's is used" {
	local cgroup=$PS_TEST_CGROUP2/$CG/a
	unshare --mount --propagation private bash -c '
		umount -l "$1" && shift && exec "$@"' - "$PS_TEST_CGROUP2" \
		"$PORTSTEER" -q add 90:9090 --cgroup "$cgroup"
	assert_equal "$(portsteer list --json | jsonget "rules|rule=90:9090/tcp|owner|cgroup")" \
		"/$CG/a"
	serve -g a web 127.0.0.1 9090
	answers web http://127.0.0.1:90/
}

@test "no cgroup2 is mounted and nothing is loaded: nothing is loaded after it" {
	keep_nothing
	portsteer -q unload
	RUN=(unshare --pid --fork --kill-child --mount-proc --propagation private -- bash -c '
		while read -r at; do umount -l "$at"; done < <(awk "/ - cgroup2 / { print \$5 }" \
			/proc/self/mountinfo | sort -r)
		exec "$@"' --)
	bad 5 "no cgroup2" add 90:9090 --user ps-web
	RUN=()
	[ ! -e $STATE ]
}

@test "no /sys/fs/bpf, and none that can be mounted" {
	keep_nothing
	portsteer -q unload # as is what is loaded is noticed all the same
	RUN=(unshare -m --pid --fork --mount-proc --propagation private -- bash -c '
		mount -t tmpfs none /sys/fs
		exec "$@"' --)
	bad 5 "/sys/fs/bpf" load
	bad 5 "/sys/fs/bpf" add 90:9090 --any-user
	bad 3 "not loaded" list
	RUN=()
}

@test "/sys/fs/bpf is not a bpffs yet: it is mounted" {
	# Below the test's own there may be the machine's, which must stay as it is.
	portsteer -q unload
	unshare -m --pid --fork --mount-proc --propagation private -- bash -c '
		while mountpoint -q /sys/fs/bpf; do umount -l /sys/fs/bpf; done
		"$0" load && mountpoint -q /sys/fs/bpf && stat -fc %T /sys/fs/bpf &&
		stat -c "%a %u" /sys/fs/bpf/portsteer' "$PORTSTEER" >"$PS_TEST_DIR/o"
	assert_match "$(<"$PS_TEST_DIR/o")" $'bpf_fs\n700 0$'
}

@test "a kernel without sk_lookup" {
	keep_nothing
	portsteer -q unload
	RUN=("$REPO/build/tools/killat" -t 30) # BPF_PROG_TYPE_SK_LOOKUP
	# It is new enough: that is not what is said.
	bad 5 "cannot load the sk_lookup program: Linux .* is recent enough, .*CONFIG_BPF_SYSCALL" load
	bad 5 "cannot load the sk_lookup program" add 90:9090 --any-user
	RUN=()
	[ ! -e $STATE ]
}

@test "a kernel without sock_ops, or without BPF iterators" {
	keep_nothing
	portsteer -q unload
	local type
	for type in 13 26; do # BPF_PROG_TYPE_SOCK_OPS, _TRACING
		RUN=("$REPO/build/tools/killat" -t "$type")
		bad 5 "cannot load the programs that find listeners: Linux .* is recent enough" load
		RUN=()
		[ ! -e $STATE ]
	done
}

@test "output that cannot be written" {
	local status=0
	portsteer list >/dev/full 2>"$PS_TEST_DIR/stderr" || status=$?
	assert_equal $status 1
	assert_match "$(<"$PS_TEST_DIR/stderr")" "^portsteer: cannot write"
}
