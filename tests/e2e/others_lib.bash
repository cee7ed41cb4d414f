# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-only
# What tests of others' programs use (others.bats, alone.bats).

OTHER=$REPO/build/tools/other_prog

# What runs while somebody else's program is attached is a shell of its own.
setup_other_shell()
{
	HOST_PROGRAMS=$(bpftool -j prog list)
	export REPO STATE CG PYTHON HERE4 HOST_PROGRAMS
	export -f portsteer answers fetch refused counters jsonget assert_equal from in_cgroup others \
		until_true
}

# failing STATUS COMMAND...: it ends so, and says so in one line, which is in $SAID.
failing()
{
	local status=0
	SAID=$("${@:2}" 2>&1 >/dev/null) || status=$?
	assert_equal "$status: $SAID" "$1: $SAID"
	assert_equal "$(wc -l <<<"$SAID")" 1
}

# others WHAT...: what status says of others' programs that have come in this test, one a line.
others()
{
	portsteer status --json | "$PYTHON" -c '
import json, os, sys
before = {program["id"] for program in json.loads(os.environ["HOST_PROGRAMS"])}
for o in json.load(sys.stdin)["others"]:
    if o["program"] not in before:
        print(*(o[key] or "-" for key in sys.argv[1:]))' "$@"
}
