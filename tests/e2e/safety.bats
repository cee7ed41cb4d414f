#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Where the state is kept: nobody but root may have a hand in it, and what is loaded is seen from
# every mount namespace, also with a file system mounted over it.

load lib

setup_file() { setup_env; }
setup()
{
	setup_test
	MOUNTS=$(mounts)
}
teardown()
{
	until [ "$(mounts)" -le "$MOUNTS" ]; do
		umount /sys/fs/bpf
	done
	chown 0:0 /sys/fs/bpf
	chmod 0700 /sys/fs/bpf
	portsteer -q unload --all || true
	teardown_test
}

# How many file systems are mounted on /sys/fs/bpf, the machine's own among them.
mounts()
{
	grep -c ' /sys/fs/bpf ' /proc/self/mountinfo
}

# fails STATUS WORDS COMMAND...: one line, with these words.
fails()
{
	local wanted=$1 words=$2 status=0
	"${@:3}" >/dev/null 2>"$PS_TEST_DIR/stderr" || status=$?
	assert_equal "$status $(wc -l <"$PS_TEST_DIR/stderr")" "$wanted 1"
	assert_match "$(<"$PS_TEST_DIR/stderr")" "^portsteer: .*$words"
}

# --- whose the bpffs is ------------------------------------------------------------

@test "a bpffs that others may write to is refused, with the command that mends it" {
	local mode command
	portsteer -q add 80:8080 --any-user
	for mode in 1777 0777 0770 0702; do
		chmod $mode /sys/fs/bpf
		for command in load "add 81:8081 --any-user" "del 80" list stats status save unload \
			"unload --all" upgrade "list --all"; do
			# shellcheck disable=SC2086
			fails 1 "mode $mode.*chmod 0700 /sys/fs/bpf" portsteer $command
		done
	done
	chmod 0755 /sys/fs/bpf
	assert_equal "$(rules)" 80:8080/tcp
}

@test "a bpffs that others may write to is refused by status, too, beside another portsteer" {
	another_portsteer
	chmod 1777 /sys/fs/bpf
	fails 1 "mode 1777.*chmod 0700 /sys/fs/bpf" portsteer status
	fails 1 "mode 1777.*chmod 0700 /sys/fs/bpf" portsteer status --json
}

@test "a bpffs that is somebody else's is refused" {
	chown $WEB /sys/fs/bpf
	fails 1 "belongs to user $WEB.*chown 0:0 /sys/fs/bpf" portsteer load
	fails 1 "belongs to user $WEB" portsteer list
	[ ! -e $STATE ]
}

@test "a user who exchanges folders and links beside the state has nothing deleted" {
	local n
	mkdir -m 0700 "$PS_TEST_DIR/victim" "$PS_TEST_DIR/victim/sub"
	for n in $(seq 20); do echo x >"$PS_TEST_DIR/victim/$n"; done
	install -m 0755 "$REPO/build/tools/swap_link" "$PS_TEST_DIR/swap_link"
	chmod 1777 /sys/fs/bpf
	start -u $WEB "$PS_TEST_DIR/swap_link" /sys/fs/bpf/portsteer-upgrade /sys/fs/bpf/x \
		"$PS_TEST_DIR/victim"
	until_true 5 test -e /sys/fs/bpf/x
	for n in $(seq 20); do
		portsteer -q load 2>/dev/null || true
		portsteer -q unload 2>/dev/null || true
	done
	# Mended, what the user has put there is still no folder of root's.
	chmod 0700 /sys/fs/bpf
	for n in $(seq 10); do
		portsteer -q load 2>/dev/null || true
	done
	stop "$PID"
	assert_equal "$(find "$PS_TEST_DIR/victim" -type f | wc -l)" 20
	fails 1 "portsteer-upgrade.*private to root.*rm -r" portsteer load
	rm -rf /sys/fs/bpf/x /sys/fs/bpf/portsteer-upgrade
	portsteer -q load
}

@test "a file, a link, another's folder or a wide one in the state's place" {
	local path make
	for path in $STATE $STATE-upgrade; do
		for make in "ln -s $PS_TEST_DIR" "mkdir -m 0777" "mkdir -m 0730" \
			"bpftool map create type array key 4 value 4 entries 1 name x"; do
			if [[ $make = bpftool* ]]; then
				bpftool map create $path type array key 4 value 4 entries 1 name x
			else
				# shellcheck disable=SC2086
				$make $path
			fi
			fails 1 "$path is not a directory private to root.*rm -r $path" portsteer load
			fails 1 "$path is not" portsteer list
			fails 1 "$path is not" portsteer unload
			rm -r $path
		done
	done
	[ -d "$PS_TEST_DIR" ]
}

# --- mounting it -------------------------------------------------------------------

@test "first commands at the same moment mount one bpffs, which is root's alone" {
	# shellcheck disable=SC2016
	unshare --mount --pid --fork --kill-child --mount-proc --propagation private -- bash -c '
		while mountpoint -q /sys/fs/bpf; do umount -l /sys/fs/bpf; done
		for i in $(seq 60); do
			for k in 1 2 3 4; do "$0" -q load & done
			wait
			n=$(grep -c " /sys/fs/bpf " /proc/self/mountinfo)
			[ "$n" = 1 ] || echo "round $i: $n mounts"
			stat -c "%a %u" /sys/fs/bpf
			"$0" -q unload --all
			umount /sys/fs/bpf || exit
		done' "$PORTSTEER" >"$PS_TEST_DIR/o" 2>&1
	assert_equal "$(sed 's/^1700/700/' "$PS_TEST_DIR/o" | sort | uniq -c | xargs)" "60 700 0"
}

@test "a first command that comes second mounts nothing over what the first has mounted" {
	# shellcheck disable=SC2016
	unshare --mount --pid --fork --kill-child --mount-proc --propagation private -- bash -c '
		while mountpoint -q /sys/fs/bpf; do umount -l /sys/fs/bpf; done
		exec {fd}>/sys/bus/platform/uevent
		flock $fd # as the first
		"$0" -q load {fd}>&- &
		for _ in $(seq 500); do
			! grep -q -e "-> FLOCK" /proc/locks || break
			kill -0 $! && sleep 0.01 || break
		done
		mount -t bpf -o mode=0700 bpf /sys/fs/bpf
		exec {fd}>&-
		wait $! && grep -c " /sys/fs/bpf " /proc/self/mountinfo
		"$0" -q unload' "$PORTSTEER" >"$PS_TEST_DIR/o"
	assert_equal "$(<"$PS_TEST_DIR/o")" 1
}

@test "a user's lock on a folder of /sys does not stop the first command" {
	# shellcheck disable=SC2016
	unshare --mount --pid --fork --kill-child --mount-proc --propagation private -- bash -c '
		while mountpoint -q /sys/fs/bpf; do umount -l /sys/fs/bpf; done
		for at in /sys /sys/fs /sys/fs/bpf; do
			setpriv --reuid '$WEB' --clear-groups flock $at sleep 30 &
		done
		sleep 0.3 # they have the locks
		timeout 10 "$0" -q load && "$0" -q unload' "$PORTSTEER"
}

# --- in another mount namespace ----------------------------------------------------

in_client()
{
	ip netns exec client "$PORTSTEER" "$@"
}

@test "ip netns exec: the host's state, with this network namespace" {
	serve -N client web 127.0.0.1 8080
	in_client load
	in_client add 80:8080 --user ps-web
	in_client add 53:5353/udp --cgroup "$CG/web" # needs cgroup2
	assert_equal "$(portsteer --netns client list --json | jsonget rules.#)" 2
	assert_equal "$(in_client list --json | jsonget rules.#)" 2
	assert_match "$(in_client status)" "loaded: *yes"
	answers web client http://127.0.0.1/
	fails 3 "not loaded" portsteer list
	# What the user's shell there sees stays as it was.
	ip netns exec client bash -c '"$0" -q del 53/udp && ! mountpoint -q /sys/fs/bpf' "$PORTSTEER"
	(cd "$PS_TEST_DIR" && echo "82:8082 --any-user" | sections >some.rules &&
		in_client -q add -f some.rules && rm some.rules)
	in_client -q del 82
	in_client unload
	[ ! -e $STATE ]
	refused client http://127.0.0.1/
}

@test "ip netns exec: the first command mounts the host's bpffs" {
	# shellcheck disable=SC2016
	unshare --mount --pid --fork --kill-child --mount-proc --propagation private -- bash -c '
		while mountpoint -q /sys/fs/bpf; do umount -l /sys/fs/bpf; done
		ip netns exec client "$0" -q add 80:8080 --any-user && mountpoint -q /sys/fs/bpf &&
			"$0" --netns client list | grep -q 80:8080 && "$0" --netns client -q unload' \
		"$PORTSTEER"
}

@test "ip netns exec: without the right to look for the host's, --netns is named" {
	local command
	for command in load list status unload "add 80:8080 --any-user"; do
		# shellcheck disable=SC2086
		fails 4 "ip netns exec.*--netns NS" limited $ADMIN ip netns exec client \
			"$PORTSTEER" $command
	done
	portsteer -q --netns client load
}

@test "the service's restrictions: the state is the host's" {
	# As systemd makes them, with no right to look into other processes.
	# shellcheck disable=SC2016
	unshare --mount --propagation slave -- setpriv --no-new-privs \
		--bounding-set=-all,+${ADMIN//,/,+} --inh-caps=-all -- bash -c '
			mount -o remount,ro,bind / 2>/dev/null || true
			"$0" -q add 80:8080 --any-user' "$PORTSTEER"
	assert_equal "$(rules)" 80:8080/tcp
}

@test "a bpffs of one's own, on purpose, is used; the other's programs stay" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --user ps-web
	# shellcheck disable=SC2016
	unshare --mount --net --propagation private -- bash -c '
		mount -t bpf -o mode=0700 bpf /sys/fs/bpf
		"$0" -q add 80:9090 --any-user && "$0" list | grep -q 80:9090 &&
			"$0" -q unload --all && [ ! -e /sys/fs/bpf/portsteer ]' "$PORTSTEER"
	answers web http://127.0.0.1/
	# In the same network namespace there is only one.
	# shellcheck disable=SC2016
	fails 1 "mount namespace of process 1.*nsenter" unshare --mount --propagation private -- \
		bash -c 'mount -t bpf -o mode=0700 bpf /sys/fs/bpf; exec "$0" load' "$PORTSTEER"
	assert_equal "$(rules)" 80:8080/tcp
}

# --- hidden, or lost ---------------------------------------------------------------

# every COMMAND says that there are programs, with these words.
noticed()
{
	local command
	for command in load list "list --all" stats save flush unload upgrade "del 80" \
		"add 81:8081 --any-user"; do
		# shellcheck disable=SC2086
		fails 1 "active.*unreachable.*$1" portsteer $command
	done
	! portsteer status | grep -q "loaded: *no" || false
	assert_match "$(portsteer status)" "strays: .*$1"
	assert_equal "$(own_strays | sort -u)" "$2"
}

@test "a bpffs mounted over the state: noticed, back again when it is unmounted" {
	local mode
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --user ps-web
	for mode in 0700 1777; do
		mount -t bpf -o mode=$mode bpf /sys/fs/bpf
		noticed "umount /sys/fs/bpf.*unload --all" hidden
		[ ! -e $STATE ]
		umount /sys/fs/bpf
	done
	assert_equal "$(rules)" 80:8080/tcp
	assert_equal "$(own_strays)" ""
	answers web http://127.0.0.1/
}

@test "a tmpfs mounted over the state is noticed, and nothing is mounted over that" {
	portsteer -q add 80:8080 --any-user
	mount -t tmpfs none /sys/fs/bpf
	noticed "umount /sys/fs/bpf" hidden
	umount /sys/fs/bpf
	assert_equal "$(rules)" 80:8080/tcp
}

@test "every mode's programs are noticed below another mount, and removed by unload --all" {
	local rule
	serve web 127.0.0.1 8080
	for rule in "80:8080" "54:5354/udp" "80:8080 --client-cgroup $CG/a" "54:5354/udp --client-cgroup $CG/a"; do
		# shellcheck disable=SC2086
		portsteer -q add $rule --any-user
		mount -t bpf -o mode=0700 bpf /sys/fs/bpf
		noticed "umount" hidden
		assert_equal "$(portsteer unload --all)" "unloaded from every network namespace"
		assert_equal "$(own_strays)" ""
		assert_equal "$(portsteer unload --all)" "nothing is loaded"
		refused http://127.0.0.1/
		# Another state in its place works, ...
		portsteer -q add 80:8080 --user ps-web
		answers web http://127.0.0.1/
		portsteer -q unload
		# ... and what comes to light again does not look loaded, nor is it in the way.
		umount /sys/fs/bpf
		fails 3 "not loaded" portsteer list || fails 1 "portsteer unload" portsteer list
		portsteer -q unload
		[ ! -e $STATE ]
	done
}

@test "with a state of its own above, what is below is noticed too" {
	portsteer -q add 80:8080 --any-user
	mount -t bpf -o mode=0700 bpf /sys/fs/bpf
	mkdir -m 0700 $STATE
	noticed "umount /sys/fs/bpf" hidden
	rmdir $STATE
}

@test "a state that was moved away: noticed, and removed" {
	serve web 127.0.0.1 8080
	portsteer -q add 80:8080 --user ps-web
	mv $STATE /sys/fs/bpf/moved
	fails 1 "their state cannot be found.*unload --all" portsteer list
	fails 1 "their state cannot be found" portsteer add 81:8081 --any-user
	portsteer -q unload --all
	refused http://127.0.0.1/
	fails 3 "not loaded" portsteer list
	rm -r /sys/fs/bpf/moved
}

@test "a bpffs that is mounted nowhere any more, but open: noticed, and removed" {
	mount -t bpf -o mode=0700 bpf /sys/fs/bpf
	portsteer -q add 80:8080 --any-user
	local fd
	exec {fd}</sys/fs/bpf
	umount -l /sys/fs/bpf
	fails 1 "their state cannot be found.*unload --all" portsteer list
	portsteer -q unload --all
	fails 3 "not loaded" portsteer list
	exec {fd}<&-
}

@test "programs with our names but without the mark are others'" {
	bpftool prog loadall "$REPO/build/instance.bpf.o" /sys/fs/bpf/others
	unshare --net true
	fails 3 "not loaded" portsteer list
	assert_equal "$(own_strays)" ""
	rm -r /sys/fs/bpf/others
}

@test "unload without the right to look does not say that nothing is loaded" {
	fails 4 "search for portsteer programs.*CAP_SYS_ADMIN" limited none "$PORTSTEER" unload
	fails 4 "search for portsteer programs.*CAP_SYS_ADMIN" limited none "$PORTSTEER" unload --all
	assert_match "$(limited none "$PORTSTEER" status)" "strays: +unknown without CAP_SYS_ADMIN"
	assert_equal "$(limited none "$PORTSTEER" status --json | jsonget strays)" null
}
