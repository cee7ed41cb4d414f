# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-only
# What the tests of portsteer upgrade use: the other versions, which scripts/build-others
# has built, and how to ask them.

KILLAT=$REPO/build/tools/killat
OLD=$REPO/build/others/old
BEFORE=$REPO/build/others/before
SAME=$REPO/build/others/same
NEXT=$REPO/build/others/next

setup_others()
{
	local name
	for name in old before same next; do
		if [ -e "$REPO/build/others/$name.why" ] || [ ! -x "$REPO/build/others/$name" ]; then
			echo "no build to upgrade from or to: build/others/$name; run: make tests" >&2
			cat "$REPO/build/others/$name.why" >&2
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
	[ ! -e $STATE-upgrade ] && [ ! -e $STATE/upgrading ] && [ ! -e $STATE/upgraded ]
}
