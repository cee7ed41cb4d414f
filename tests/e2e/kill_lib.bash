# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-only
# What tests of killed commands use (kill*.bats).
#
# A row is rounds: each kills a command at one of its system calls and goes on in one of the ways
# that there are. All of them take long. So each KILL_EVERY-th is done, from one on that SEED
# chooses: in KILL_EVERY runs whose seeds follow each other, all are. It is a number that has no
# divisor in common with those of ways, so that each way gets its turn. KILL_EVERY=1: all.

KILLAT=$REPO/build/tools/killat
KILL_EVERY=${KILL_EVERY:-7}
SEED=${SEED:-$RANDOM}
FIRST=$((SEED % KILL_EVERY))
CALLS='' # of a command that ended by itself

# killed N COMMAND...: run portsteer and kill it at its system call N.
# False if it has ended before: it made CALLS.
killed()
{
	local out
	out=$("$KILLAT" "$1" "$PORTSTEER" "${@:2}")
	case $out in
	killed*) return 0 ;;
	"exited "*" 0")
		read -r _ CALLS _ <<<"$out"
		return 1
		;;
	*) fail_at "$1" "$* ended by itself: $out" ;;
	esac
}

fail_at()
{
	echo "killed at system call $1: $2" >&2
	find $STATE >&2 || true
	portsteer status >&2 || true
	exit 1
}

# all_old: no kill has left the new state yet.
all_old()
{
	BEFORE=old
}

# observe N OLD-RULES NEW-RULES: set NOW to old or new, by the rules that list shows.
# Once a kill at some call has left the new state, one at a later call must too. How many
# calls come before that depends a little on what the runs before have left (tables that
# were used are cleared): for some calls, both may be seen.
observe()
{
	local got
	got=$(rules)
	case $got in
	"$2") NOW=old ;;
	"$3") NOW=new ;;
	*) fail_at "$1" "neither old nor new: $got" ;;
	esac
	[ "$NOW" = old ] || [ "$BEFORE" = new ] || FIRST_NEW=$1
	[ "$NOW" = new ] || [ "$BEFORE" = old ] || [ "$1" -lt $((FIRST_NEW + 4)) ] ||
		fail_at "$1" "old again"
	[ "$BEFORE" = new ] || BEFORE=$NOW
	portsteer status --json >"$PS_TEST_DIR/status" || fail_at "$1" "status failed"
}

# steered N PORT NAME: connections to the port reach this server ("refused": none).
steered()
{
	local got
	got=$(probe "$2")
	[ "$got" = "$3" ] || fail_at "$1" "port $2 leads to $got, not to $3; rules are $NOW"
}

# bound N PORT: the port that a bind of ps-web's to 5353 gets.
bound()
{
	becomes "$2" 127.0.0.1 5353 --udp || fail_at "$1" "wrong; rules are $NOW"
}

# sent N NAME: connects to port 80 of processes in the client cgroup reach this server ("refused":
# none); all others are refused.
sent()
{
	local got
	got=$(from a probe 80)
	[ "$got" = "$2" ] || fail_at "$1" "the client cgroup's port 80 leads to $got, not to $2; rules are $NOW"
	got=$(probe 80)
	[ "$got" = refused ] || fail_at "$1" "port 80 leads to $got for all; rules are $NOW"
}

# no_hooks N: the programs that connect rules need are gone.
no_hooks()
{
	[ ! -e $STATE/host/connect ] && [ ! -e $STATE/host/datagram ] ||
		fail_at "$1" "hooks are left"
}

# unloads N: unload works and leaves nothing.
unloads()
{
	portsteer -q unload || fail_at "$1" "unload failed"
	[ ! -e $STATE ] || fail_at "$1" "unload left something"
}

# finished COMMAND STATE RULES: what is special in a run: the last call was reached, the rules are
# these then, and both states were seen, if all calls were tried.
finished()
{
	echo "# $1: $CALLS system calls; KILL_EVERY=$KILL_EVERY SEED=$SEED" >&3
	[ "$CALLS" -gt 12 ]
	assert_equal "$(rules)" "$3"
	[ "$KILL_EVERY" != 1 ] || assert_equal "$BEFORE" "$2"
}
