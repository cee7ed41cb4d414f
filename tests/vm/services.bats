#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Listeners of the kernel itself: no rule leads to them, and none of them breaks.

load ../e2e/lib

setup_file() { setup_env; }
setup() { setup_test; }
teardown()
{
	stop_nfsd
	teardown_test
}

start_nfsd()
{
	mkdir -p /var/lib/nfs
	mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd
	echo "-2 -3 +4" >/proc/fs/nfsd/versions || echo "-3 +4" >/proc/fs/nfsd/versions # no rpcbind is here
	echo "tcp 2049" >/proc/fs/nfsd/portlist # which makes its socket
	echo 1 >/proc/fs/nfsd/threads
	wait_port 2049
}
stop_nfsd()
{
	[ ! -e /proc/fs/nfsd/threads ] || timeout 20 sh -c 'echo 0 >/proc/fs/nfsd/threads'
}
complaints() { dmesg | grep -cE 'WARNING|BUG:|sock_map|Oops' || true; }

# Of the rules in $PS_TEST_DIR/rules only a part came into force.
applied_in_part()
{
	local status=0
	portsteer apply --keep-going -f "$PS_TEST_DIR/rules" 2>"$PS_TEST_DIR/err" || status=$?
	assert_equal $status 1
}

@test "a target port of the kernel's NFS server is refused, with the reason" {
	modprobe nfsd
	local status=0
	portsteer add 80:2049 --any-user 2>"$PS_TEST_DIR/err" || status=$?
	assert_equal $status 1
	assert_match "$(<"$PS_TEST_DIR/err")" "^portsteer: port 2049 belongs to the kernel's NFS server "
	! portsteer add 80:2000-2100 --any-user 2>/dev/null || false
	portsteer add 81:2049 --user ps-web # none of the kernel's sockets is this user's
	portsteer add 80:8080 --any-user
	! portsteer add 82:2049 --cgroup / 2>/dev/null || false
	assert_equal "$(rules | sort | xargs)" "80:8080/tcp 81:2049/tcp"
}

@test "a front side that only refuses connections is not refused for the kernel's NFS server" {
	modprobe nfsd
	cat >"$PS_TEST_DIR/rules" <<-END
		[web]
		ports = 80:8080
		user = ps-web
		[broken]
		ports = 127.0.0.2:1-65535:443
		user = ps-web
		usr = ps-web
	END
	applied_in_part
	assert_match "$(<"$PS_TEST_DIR/err")" "1 rule is in force"
	serve web 0.0.0.0 8080
	answers web http://127.0.0.1/
	refused http://127.0.0.2/
}

@test "--keep-going: a rule for the kernel's NFS server is its section's mistake" {
	modprobe nfsd
	cat >"$PS_TEST_DIR/rules" <<-END
		[web]
		ports = 80:8080
		user = ps-web
		[files]
		ports = 81:2049 82:8080
		any-user = yes
	END
	applied_in_part
	assert_match "$(<"$PS_TEST_DIR/err")" "rules:5: port 2049 belongs to the kernel's NFS server "
	assert_match "$(<"$PS_TEST_DIR/err")" "1 rule is in force, .*\[files\], .*81/tcp 82/tcp"
	serve web 0.0.0.0 8080
	answers web http://127.0.0.1/
	refused http://127.0.0.1:81/
	refused http://127.0.0.1:82/
	portsteer -q unload
	# Without it nothing is changed.
	! portsteer apply -f "$PS_TEST_DIR/rules" 2>/dev/null || false
	[ ! -e $STATE ]
}

@test "a listener that the kernel made is not admitted, and stays what it is" {
	local before
	before=$(complaints)
	# Before the module is there the port says nothing.
	rmmod nfsd
	portsteer add 80:2049 --any-user
	modprobe nfsd
	start_nfsd
	counters 80:2049/tcp "admitted=0 rejected=0"
	refused http://127.0.0.1/
	stop_nfsd
	until_true 10 nobody_on_2049
	assert_equal "$(complaints)" "$before"
}
nobody_on_2049() { [ -z "$(ss -Hltn 'sport = :2049')" ]; }
