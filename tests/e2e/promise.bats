#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# No connection goes to anyone but the owner, whatever was done before: steps by chance, and a
# model of who may answer; see promise.py. PROMISE_SECONDS: how long; SEED: of the first round;
# PROMISE_ARGS: more for promise.py. `make test-long` is hours of it.

load lib

setup_file() { setup_env; }
setup() { setup_test; }
teardown() { teardown_test; }

@test "every answer is an owner's, after each of some thousand steps by chance" {
	local out status=0 args=() seed=${SEED:-$((RANDOM * 32768 + RANDOM))}
	echo "# seed $seed" >&3
	read -ra args <<<"${PROMISE_ARGS-}"
	out=$("$PYTHON" "$REPO/tests/e2e/promise.py" --seed "$seed" \
		--seconds "${PROMISE_SECONDS:-60}" "${args[@]}" 3>&-) || status=$?
	echo "$out"
	sed -n 's/^[0-9]* rounds/# &/p' <<<"$out" >&3
	return $status
}
