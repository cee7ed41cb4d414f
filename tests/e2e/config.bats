#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# The configuration's files: which count, and what is said about those that are wrong. A
# configuration with a mistake changes nothing.

load lib

setup_file()
{
	setup_env
	private_folder /etc /usr/lib
	# /run has the network namespaces in it.
	mkdir -p "$PS_TEST_DIR/netns"
	mount --bind /run/netns "$PS_TEST_DIR/netns"
	private_folder /run
	rm /run/netns
	mkdir /run/netns
	mount --bind "$PS_TEST_DIR/netns" /run/netns
}
setup()
{
	setup_test
	E=/etc/portsteer R=/run/portsteer L=/usr/lib/portsteer
	mkdir -p {$E,$R,$L}/portsteer.conf.d
	MAIN=$E/portsteer.conf
}
teardown()
{
	teardown_test
	rm -rf /etc/portsteer /run/portsteer /usr/lib/portsteer
}

# section NAME PORTS [LINE...]
section()
{
	printf '[%s]\nports = %s\nuser = ps-web\n' "$1" "$2"
	shift 2
	printf '%s\n' "$@"
}

# config FILE < TEXT
config()
{
	install -m 0644 /dev/stdin "$1"
}

# mistakes COMMAND STATUS LINE...: the command fails so, and says exactly this (each a
# pattern, without the "portsteer: " in front), and so does --json; nothing has changed.
mistakes()
{
	local command=$1 wanted=$2 status=0 before n=0 line
	shift 2
	before=$(kernel_state)
	# shellcheck disable=SC2086 # several words
	"${RUN[@]}" "$PORTSTEER" $command >"$PS_TEST_DIR/stdout" 2>"$PS_TEST_DIR/stderr" \
		</dev/null || status=$?
	cat "$PS_TEST_DIR/stderr"
	assert_equal "status $status" "status $wanted"
	[ ! -s "$PS_TEST_DIR/stdout" ]
	while IFS= read -r line; do
		n=$((n + 1))
		assert_match "$line" "^portsteer: ${!n-nothing}"
		assert_match "$line" "; "
		if LC_ALL=C grep -q '[[:cntrl:]]' <<<"$line"; then
			echo "a control character in: $line" >&2
			return 1
		fi
	done <"$PS_TEST_DIR/stderr"
	assert_equal "$n mistakes" "$# mistakes"
	assert_equal "$(kernel_state)" "$before"
	status=0
	# shellcheck disable=SC2086
	"${RUN[@]}" "$PORTSTEER" $command --json >"$PS_TEST_DIR/json" 2>"$PS_TEST_DIR/stderr2" \
		</dev/null || status=$?
	assert_equal "status $status" "status $wanted"
	cmp "$PS_TEST_DIR/stderr" "$PS_TEST_DIR/stderr2"
	assert_equal "$(jsonget error.status 'error|mistakes|#' <"$PS_TEST_DIR/json")" \
		"$wanted"$'\n'"$#"
}
RUN=()

# bad LINE...: of the configuration, with rules in force.
bad()
{
	portsteer -q add 81:8081 --user ps-web --name kept 2>/dev/null || true
	mistakes "apply" 1 "$@"
	mistakes "apply --dry-run" 1 "$@"
	mistakes "check" 1 "$@"
	assert_equal "$(rules)" 81:8081/tcp
}

# --- which files count -------------------------------------------------------------

@test "no configuration: nothing is changed, and that is no failure" {
	local out
	out=$(portsteer apply)
	assert_match "$out" "^there is no configuration: no portsteer/portsteer.conf"
	[ ! -e $STATE ]
	portsteer -q add 80:8080 --user ps-web
	out=$(portsteer apply)
	assert_match "$out" "there is no configuration"
	assert_equal "$(rules)" 80:8080/tcp
	assert_match "$(portsteer check)" "there is no configuration"
	assert_equal "$(portsteer apply -q)" ""
	assert_equal "$(portsteer apply --json | jsonget added removed)" $'0\n0'
	assert_match "$(portsteer apply --dry-run)" "there is no configuration"
	rm -r $E $R $L
	assert_match "$(portsteer apply)" "there is no configuration"
	# An empty one is one.
	mkdir $E
	config $MAIN </dev/null
	assert_match "$(portsteer apply)" "1 rule added by hand stays"
	portsteer -q apply --only
	assert_equal "$(rules)" ""
}

@test "folders in rising order: the same name overrides, other names add" {
	local out
	section web 80:8080 | config $L/portsteer.conf
	section low 81:8081 | config $L/portsteer.conf.d/a.conf
	section lib 82:8082 | config $L/portsteer.conf.d/lib.conf
	portsteer -q apply
	assert_equal "$(rules)" $'80:8080/tcp\n81:8081/tcp\n82:8082/tcp'
	section run 91:8081 | config $R/portsteer.conf.d/a.conf
	section more 92:8082 | config $R/portsteer.conf.d/run.conf
	portsteer -q apply
	assert_equal "$(rules)" $'80:8080/tcp\n82:8082/tcp\n91:8081/tcp\n92:8082/tcp'
	section run 71:8081 | config $E/portsteer.conf.d/a.conf
	section main 70:8080 | config $MAIN
	# What is no drop-in.
	echo garbage | config $E/portsteer.conf.d/x.conf.bak
	echo garbage | config $E/portsteer.conf.d/.x.conf
	echo garbage | config $E/portsteer.conf.d/.conf
	echo garbage | config $E/other.conf
	portsteer -q apply
	assert_equal "$(rules)" $'70:8080/tcp\n71:8081/tcp\n82:8082/tcp\n92:8082/tcp'
	out=$(portsteer check --json)
	assert_equal "$(jsonget rules 'files|#' 'files|0' 'files|1' 'files|2' 'files|3' <<<"$out")" \
		"4
4
$MAIN
$E/portsteer.conf.d/a.conf
$L/portsteer.conf.d/lib.conf
$R/portsteer.conf.d/run.conf"
	assert_equal "$(portsteer check)" "the configuration is valid: 4 rules in 4 files"
}

@test "an empty file and a link to /dev/null mask" {
	section web 80:8080 | config $L/portsteer.conf
	section a 81:8081 | config $L/portsteer.conf.d/a.conf
	section b 82:8082 | config $L/portsteer.conf.d/b.conf
	section c 83:8083 | config $R/portsteer.conf.d/c.conf
	config $E/portsteer.conf.d/a.conf </dev/null
	ln -s /dev/null $E/portsteer.conf.d/c.conf
	portsteer -q apply
	assert_equal "$(rules)" $'80:8080/tcp\n82:8082/tcp'
	ln -s /dev/null $E/portsteer.conf
	ln -s /dev/null $R/portsteer.conf.d/b.conf
	portsteer -q apply
	assert_equal "$(rules)" ""
}

@test "a masked file is not even looked at" {
	mkfifo $L/portsteer.conf.d/a.conf
	mkdir $R/portsteer.conf.d/a.conf
	section a 80:8080 | config $E/portsteer.conf.d/a.conf
	portsteer -q apply
	assert_equal "$(rules)" 80:8080/tcp
}

@test "a link to a file is followed; one that leads nowhere is a mistake" {
	section a 81:8081 | config "$PS_TEST_DIR/target"
	ln -s "$PS_TEST_DIR/target" $MAIN
	portsteer -q apply
	assert_equal "$(rules)" 81:8081/tcp
	rm "$PS_TEST_DIR/target"
	mistakes apply 1 "$MAIN: it cannot be read: No such file or directory; check the path"
	ln -sf loop $E/loop
	ln -sf $E/loop $MAIN
	mistakes apply 1 "$MAIN: it cannot be read: Too many levels of symbolic links"
}

@test "one file by name, or the standard input, instead" {
	section web 80:8080 | config $MAIN
	section a 81:8081 | config "$PS_TEST_DIR/a"
	portsteer -q apply -f "$PS_TEST_DIR/a"
	assert_equal "$(rules)" 81:8081/tcp
	section a 82:8082 | portsteer -q apply -f -
	assert_equal "$(rules)" 82:8082/tcp
	section a 82:8082 | portsteer -q apply --file -
	portsteer -q apply --allow-empty -f - </dev/null
	assert_equal "$(rules)" ""
	section web 83:8083 | portsteer check -f -
	status=0
	(printf '[a]\nx'; cat /dev/null) | portsteer check -f - 2>"$PS_TEST_DIR/err" || status=$?
	assert_equal "$status" 1
	assert_match "$(<"$PS_TEST_DIR/err")" "^portsteer: \(standard input\):2: 'x': neither a key"
	portsteer -q add 81:8081 --user ps-web
	mistakes "apply -f $PS_TEST_DIR/none" 1 "$PS_TEST_DIR/none: it cannot be read: No such file"
	mistakes "apply -f $PS_TEST_DIR" 1 "$PS_TEST_DIR: it is a directory"
	mistakes "apply -f /dev/zero" 1 "/dev/zero: it is a device; give a text file, or - to"
}

# --- mistakes ----------------------------------------------------------------------

@test "keys and sections" {
	config $MAIN <<-'END'
		port = 1
		[web]
		port = 80:8080
		ports = 80:8080
		ports = 82:8082
		user = ps-web
		usr = ps-web
		[web]
		ports = 83:8083
		user = ps-web
		user = ps-web
		[db
		[db] x
		[]
		nothing
		[empty]
	END
	bad "$MAIN:1: 'port' is outside any section" \
		"$MAIN:3: unknown key 'port'; the keys are ports, allow, user, cgroup, any-user, client-cgroup" \
		"$MAIN:5: ports is already set on line 4" \
		"$MAIN:7: unknown key 'usr'" \
		"$MAIN:8: section \[web\] already exists at $MAIN:2; use another name" \
		"$MAIN:11: user is already set on line 10" \
		"$MAIN:12: '\[db' is not a section" \
		"$MAIN:13: '\[db\] x' is not a section" \
		"$MAIN:14: a section name has 1 to 64 bytes, not 0" \
		"$MAIN:15: 'nothing': neither a key nor a section" \
		"$MAIN:16: section \[empty\] has no rules" \
		"$MAIN:16: section \[empty\] has no owner"
}

@test "values" {
	config $MAIN <<-'END'
		[a]
		ports = 80:8080 0:1 90
		user = nosuchuser
		[b]
		ports = 80:80a0
		cgroup = a/../b
		mode = quick
		if-down = drop
		name =
		[c]
		ports = 53:5353/udp
		mode = steer
		any-user = yes
		[d]
		ports = 81:8081
		any-user = perhaps
		[e]
		allow = 8080 22:2222
		user = ps-web
		mode = bind
		[f]
		ports = 82:8082
		any-user = yes
		cgroup = unit:web
		[g]
		ports = 83:8083
		client-cgroup = pid:0
		user = ps-web
	END
	bad "$MAIN:2: bad rule '0:1': '0' is not a port" \
		"$MAIN:2: bad rule '90': the target port is missing" \
		"$MAIN:3: unknown user 'nosuchuser'" \
		"$MAIN:5: bad rule '80:80a0'" \
		"$MAIN:6: bad cgroup 'a/../b'" \
		"$MAIN:7: unknown mode 'quick'; use steer, bind or connect" \
		"$MAIN:8: unknown if-down 'drop'; use refuse or pass" \
		"$MAIN:9: name has no value" \
		"$MAIN:11: rule 53:5353/udp: UDP cannot be steered.*use mode bind, or leave mode out" \
		"$MAIN:14: section \[d\] has no owner" \
		"$MAIN:16: any-user is 'perhaps'; write yes or no" \
		"$MAIN:18: bad grant '22:2222'" \
		"$MAIN:20: mode applies to ports only" \
		"$MAIN:23: any-user contradicts cgroup" \
		"$MAIN:24: cgroup unit:web: not a unit name" \
		"$MAIN:27: cgroup pid:0: "
}

@test "no owner is inferred from who listens" {
	serve web 127.0.0.1 8080
	printf '[a]\nports = 80:8080\n' | config $MAIN
	bad "$MAIN:1: section \[a\] has no owner; add user, cgroup or any-user = yes"
}

@test "rules that conflict across files: both are named" {
	section one "80:8080 443:8443" | config $MAIN
	section two "90:9090
  80-85:9080-9085" | config $E/portsteer.conf.d/a.conf
	section three 443:8443 | config $R/portsteer.conf.d/b.conf
	section four 8443:9443 | config $R/portsteer.conf.d/c.conf
	section one 70:7070 | config $L/portsteer.conf.d/d.conf
	bad "$E/portsteer.conf.d/a.conf:3: rule .* overlaps rule .*\(rule 80:8080/tcp is at $MAIN:2\)" \
		"$R/portsteer.conf.d/b.conf:2: rule 443:8443/tcp already exists at $MAIN:2; delete" \
		"$R/portsteer.conf.d/c.conf:2: rule 443:8443/tcp makes a loop: its target port 8443 is a front port of 8443:9443/tcp.*\(rule 443:8443/tcp is at $MAIN:2\)" \
		"$L/portsteer.conf.d/d.conf:1: section \[one\] already exists at $MAIN:1"
}

@test "line ends, byte order mark, blanks and comments are no mistakes" {
	printf '\xef\xbb\xbf# first\r\n[web] \r\n  ; second\r\nports=80:8080\t82:8082\r\n\t83:8083\r\nuser =  ps-web \r\n' |
		config $MAIN
	portsteer -q apply
	assert_equal "$(rules)" $'80:8080/tcp\n82:8082/tcp\n83:8083/tcp'
	printf '[web]\nports = 80:8080\nuser = ps-web' | config $MAIN
	portsteer -q apply
	assert_equal "$(rules)" 80:8080/tcp
}

@test "what looks like a comment or a key and is none" {
	config $MAIN <<-'END'
		[a]
		ports = 80:8080 # the web server
		  user = ps-web
		user = ps-web
		  name = x
		[b]
		ports = 82:8082
		    83:8083 ; more
		user = ps-web ; and only him
	END
	bad "$MAIN:2: '# the web server' after a value is not a comment; put it on a line of its own" \
		"$MAIN:3: bad rule 'user'" "$MAIN:3: bad rule '='" \
		"$MAIN:3: bad rule 'ps-web'" "$MAIN:5: user takes one value" \
		"$MAIN:8: '; more' after a value is not a comment" \
		"$MAIN:9: '; and only him' after a value is not a comment; .*quote the whole value"
	config $MAIN <<-'END'
		[a]
		ports = 80:8080
		cgroup = a/b # c
		[b]
		allow = 90#tls
		user = ps-web
		mode =	#x
		[c]
		ports = 82:8082
		name = #1
		user = ps-web
	END
	bad "$MAIN:3: '# c' after a value is not a comment" "$MAIN:5: bad rule '90#tls'" "$MAIN:7: '#x' after a value is not a comment" \
		"$MAIN:7: mode applies to ports only" "$MAIN:10: '#1' after a value is not a comment"
	# In quotes, and without a blank, it is text.
	config $MAIN <<-'END'
		[a]
		ports = 80:8080
		cgroup = "a/b # c"
		name = a#1;2
	END
	portsteer -q apply --only
	assert_equal "$(portsteer list --json | jsonget 'rules|0|owner|cgroup' 'rules|0|name')" \
		$'/a/b # c\na#1;2'
	portsteer save | portsteer -q apply --only -f -
	assert_equal "$(portsteer list --json | jsonget 'rules|0|owner|cgroup')" "/a/b # c"
}

@test "bytes that are no text" {
	printf '[a\xff]\n[b]\nports = 80:8080\nname = \x1b[31m\nuser = ps-web\n\xc3\x28 = 1\n' |
		config $MAIN
	bad "$MAIN:1: byte 3 of the line, \\\\xff, is not printable text" \
		"$MAIN:4: byte 8 of the line, \\\\x1b," "$MAIN:6: byte 1 of the line, \\\\xc3,"
	printf '[a]\nports = 80:8080\nuser = ps-web\n# x\0y\n' | config $MAIN
	bad "$MAIN:4: the file contains a NUL byte, so it is not a text file; remove the byte"
	head -c 4096 "$PORTSTEER" | config $MAIN
	bad "$MAIN:1: the file contains a NUL byte"
	printf '\xff\xfe[\0a\0]\0\n' | config $MAIN
	bad "$MAIN:1: the file contains a NUL byte"
	# Not in quotes, where it is written by its number.
	printf '[a]\nports = 80:8080\ncgroup = "x/\\xff"\n' | config $MAIN
	portsteer -q apply
	assert_equal "$(portsteer list --json | jsonget 'rules|0|owner|cgroup')" $'/x/\xef\xbf\xbdff'
}

@test "quotes" {
	config $MAIN <<-'END'
		[a]
		ports = 80:8080
		user = ps-web
		name = "open
		[b]
		ports = 82:8082
		user = ps-web
		name = "a" b
		[c]
		ports = 83:8083
		user = ps-web
		name = "\n"
		[d]
		ports = 84:8084
		cgroup = "\x00"
	END
	bad "$MAIN:4: the value begins with a quote and does not end with one" \
		"$MAIN:8: the value begins with a quote" "$MAIN:12: '.*' is not an escape sequence" \
		"$MAIN:15: '.*' is not an escape sequence"
}

@test "lines and names that are too long" {
	{
		printf '[a]\nports = 80:8080'
		printf ' 80:8080%.0s' {1..9000}
		printf '\nuser = ps-web\n[%0100d]\nports = 82:8082\nuser = ps-web\nname = %0100d\n' 0 0
		printf '%0100d = x\n' 0
	} | config $MAIN
	bad "$MAIN:2: the line is longer than 65536 bytes" \
		"$MAIN:4: a section name has 1 to 64 bytes, not 100" \
		"$MAIN:7: bad name '0*\.\.\.': it is longer than 64 bytes" "$MAIN:8: unknown key '0000"
	# As long as it may be.
	{
		printf '[a]\nports = 80:8080'
		printf ' %d:8080' {1000..7000}
		printf '\nuser = ps-web\n[%064d]\nports = 81:8081\nuser = ps-web\nname = %064d\n' 0 0
	} | config $MAIN
	portsteer -q apply --only
	assert_equal "$(portsteer list --json | jsonget 'rules|#')" 6003
}

@test "a file of 100 MB, and one of nothing but mistakes" {
	local n
	section a 80:8080 | config $MAIN
	truncate -s 100M $MAIN
	bad "$MAIN: the configuration is larger than 64 MiB in all"
	yes '# comment' | head -c 70000000 | config $MAIN
	bad "$MAIN: the configuration is larger than 64 MiB in all"
	n=0
	yes '# comment' | head -c 70000000 | portsteer check -f - 2>"$PS_TEST_DIR/err" || n=$?
	assert_equal "$n" 1
	assert_match "$(<"$PS_TEST_DIR/err")" "^portsteer: \(standard input\): the configuration is larger"
	# Both together are too large, too.
	yes '# comment' | head -c 40000000 | config $MAIN
	portsteer check
	yes '# comment' | head -c 40000000 | config $E/portsteer.conf.d/b.conf
	bad "$E/portsteer.conf.d/b.conf: the configuration is larger"
	rm $E/portsteer.conf.d/b.conf
	# A hundred are told.
	yes x | head -c 40000000 | config $MAIN
	n=0
	portsteer apply 2>"$PS_TEST_DIR/err" || n=$?
	assert_equal "$n $(wc -l <"$PS_TEST_DIR/err")" "1 101"
	assert_equal "$(tail -n 1 "$PS_TEST_DIR/err")" \
		"portsteer: there are more mistakes; correct these first"
}

@test "a folder, a pipe, a socket or a device in place of a file" {
	mkdir $MAIN
	mkfifo $E/portsteer.conf.d/a.conf
	ln -s /dev/zero $E/portsteer.conf.d/b.conf
	"$PYTHON" -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' \
		$E/portsteer.conf.d/c.conf
	bad "$MAIN: it is a directory; give a text file" "$E/portsteer.conf.d/a.conf: it is a pipe" \
		"$E/portsteer.conf.d/b.conf: it is a device" "$E/portsteer.conf.d/c.conf: it is a socket"
	rm -r $E
	echo x | config $E
	bad "$E: it is not a directory; remove it"
	rm $E
	mkdir $E
	echo x | config $E/portsteer.conf.d
	bad "$E/portsteer.conf.d: it is not a directory; remove it"
}

@test "files that others may write to, and others' files" {
	local mode
	for mode in 0646 0664 0666 0777; do
		section a 80:8080 | config $MAIN
		chmod $mode $MAIN
		bad "$MAIN: users other than its owner may write to it \(mode $mode\).*; run 'chmod go-w' on it"
	done
	chmod 0644 $MAIN
	chown ps-web $MAIN
	bad "$MAIN: it belongs to user $WEB, who could change the rules; run 'chown root' on it"
	mv $MAIN "$PS_TEST_DIR/theirs"
	ln -s "$PS_TEST_DIR/theirs" $MAIN
	bad "$MAIN: it belongs to user $WEB"
	rm $MAIN
	section a 80:8080 | config $MAIN
	chmod 0600 $MAIN
	portsteer -q apply --only
	assert_equal "$(rules)" 80:8080/tcp
}

@test "folders that others may write to, and others' folders" {
	section a 80:8080 | config $MAIN
	section b 82:8082 | config $E/portsteer.conf.d/a.conf
	chmod 0777 $E/portsteer.conf.d
	bad "$E/portsteer.conf.d: users other than its owner may write to it \(mode 0777\)"
	chmod 0755 $E/portsteer.conf.d
	chown ps-web $E
	chmod 0775 $R
	bad "$R: users other than its owner may write to it" "$E: it belongs to user $WEB"
}

@test "check needs no root, and says what it cannot read" {
	section a 80:8080 | config $MAIN
	chmod 0644 $MAIN
	RUN=(setpriv --reuid "$WEB" --regid "$WEB" --clear-groups --)
	assert_equal "$("${RUN[@]}" "$PORTSTEER" check)" "the configuration is valid: 1 rule in 1 file"
	chmod 0600 $MAIN
	mistakes check 4 "$MAIN: it cannot be read: Permission denied; run it as root"
	RUN=()
	portsteer check
}

@test "several kinds of mistakes have the status 1" {
	section a 80:8080 | config $MAIN
	echo x | config $E/portsteer.conf.d/a.conf
	chmod 0600 $MAIN
	RUN=(setpriv --reuid "$WEB" --regid "$WEB" --clear-groups --)
	mistakes check 1 "$MAIN: it cannot be read" "$E/portsteer.conf.d/a.conf:1: 'x': neither a key"
}

@test "names of files with anything in them" {
	section a x | config $E/portsteer.conf.d/$'\e[31m\n.conf'
	bad "$E/portsteer.conf.d/.x1b\[31m.x0a.conf:2: bad rule 'x'"
}
