#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# A kernel that portsteer supports: its verifier accepts every program.

load ../e2e/lib

MODPROBE=$(</proc/sys/kernel/modprobe)

setup_file() { setup_env; }
setup() { setup_test; }
teardown()
{
	echo "$MODPROBE" >/proc/sys/kernel/modprobe
	teardown_test
}

@test "the verifier accepts every program of every object" {
	local object name count=0
	for object in "$REPO"/build/*.bpf.o; do
		name=$(basename "$object" .bpf.o)
		bpftool prog loadall "$object" "/sys/fs/bpf/$name" >"$PS_TEST_DIR/out" 2>&1 ||
			{ cat "$PS_TEST_DIR/out"; return 1; }
		count=$((count + $(find "/sys/fs/bpf/$name" -type f | wc -l)))
		rm -r "/sys/fs/bpf/$name"
	done
	echo "# $count programs" >&3
	[ "$count" -ge 3 ]
}

@test "load, a rule, unload" {
	portsteer load
	portsteer add 80:8080 --user ps-web
	assert_equal "$(rules)" 80:8080/tcp
	assert_equal "$(portsteer status --json | jsonget instances.#)" 1
	portsteer unload
	[ ! -e $STATE ]
}

# An open listener is admitted all the same, and list says what lacks.
without_diag()
{
	portsteer add 80:8080 --user ps-web
	answers web client http://$HERE4/
	assert_match "$(portsteer list)" "unknown; try 'modprobe -a tcp_diag udp_diag'"
	counters 80:8080/tcp "admitted=1 steered=1"
	portsteer unload
}

@test "without the modules that list sockets: open listeners are admitted, list says what lacks" {
	serve web 127.0.0.1 8080
	modprobe -a tcp_diag udp_diag
	echo /bin/false >/proc/sys/kernel/modprobe
	rmmod tcp_diag udp_diag # the kernel says so at the end of an empty list
	without_diag
	rmmod inet_diag # it says so at once
	without_diag
}
