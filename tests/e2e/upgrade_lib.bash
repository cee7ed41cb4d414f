# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-only
# What the tests of portsteer upgrade use: two other builds, which scripts/build-others has
# built (NEXT has another layout), and how to ask them.

KILLAT=$REPO/build/tools/killat
SAME=$REPO/build/others/same-layout
NEXT=$REPO/build/others/other-layout

setup_others()
{
	local program
	for program in "$SAME" "$NEXT"; do
		if [ ! -x "$program" ]; then
			echo "no build to upgrade from or to: $program; run: make tests" >&2
			return 1
		fi
	done
	setup_env
}

teardown_others()
{
	teardown_test
	rm -rf "${STATE:?}-upgrade"
	[ ! -e /run/netns/second ] || ip netns del second
}

# counter RULE NAME [PROGRAM]
counter()
{
	"${3:-$PORTSTEER}" stats --json | jsonget "rules|rule=$1|counters|$2"
}

# clean: nothing of an upgrade is left.
clean()
{
	[ ! -e $STATE-upgrade ] && [ ! -e $STATE/upgrading ] && [ ! -e $STATE/upgraded ] &&
		[ ! -e $STATE/replacing ]
}
