#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# A kernel that portsteer supports: its verifier accepts every program.

load ../e2e/lib

setup() { setup_test; }
teardown() { teardown_test; }

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
