#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# The commands that the README, the man pages, docs/ and --help show are typed as they stand:
# each is done, says nothing on stderr but notes, and leaves what it says. Examples of the
# configuration are read by scripts/check-docs.

load lib

setup_file()
{
	local user
	setup_env
	for user in alice dns git; do
		echo "$user:x:$((47200 + ${#user})):47200::/:/bin/sh" >>/etc/passwd
	done
}
setup()
{
	setup_test
	ETC=$PS_TEST_DIR/etc.$BATS_TEST_NUMBER
	mkdir "$ETC"
}
teardown() { teardown_test; }

# A shell's commands, a line each, of the files that users read.
shown_in_docs()
{
	cd "$REPO" || return
	sed -nE 's/^ {0,4}# (portsteer (add|allow|del|apply|save|list|stats|status|load|unload|upgrade|probe|check).*)/\1/p' \
		README.md docs/*.md
	sed -nE 's/^\.Dl # (portsteer .*)/\1/p' man/*.[58] | sed -e 's/\\-/-/g' -e 's/\\(dq/"/g'
}
shown_by_help()
{
	local command
	for command in $("$PORTSTEER" help --table | awk '$1 == "command" { print $2 }'); do
		"$PORTSTEER" "$command" --help | sed -nE 's/^ +(portsteer .*)/\1/p'
	done
}

# The rules that examples of del and others are about.
add_rules()
{
	portsteer -q add 80:8080 443:8443 10.0.0.1:80:8080 --any-user
	portsteer -q add 53:5300/udp --any-user
	portsteer -q add 80:8080 --client-cgroup machine.slice/pod-a.scope --any-user
}

# The files that they read.
write_files()
{
	awk '/^# web.conf/ { on = 1 } /^\.Ed/ { on = 0 } on' "$REPO/man/portsteer.8" >"$ETC/web.conf"
	mkdir -p "$ETC/portsteer"
	awk '/^# \/etc\/portsteer\/portsteer.conf/ { on = 1 } /^```$/ { on = 0 } on' \
		"$REPO/README.md" >"$ETC/portsteer/portsteer.conf"
	cp "$ETC/portsteer/portsteer.conf" "$ETC/rules.conf"
	[ -s "$ETC/web.conf" ]
	[ -s "$ETC/rules.conf" ]
}

# typed COMMAND: only /etc and the numbers that stand for something of the user's are put here.
typed()
{
	local line=$1 status=0
	line=${line//\/etc\/portsteer/$ETC/portsteer}
	line=${line//pid:4711/pid:$$}
	case $line in
	*"portsteer apply" | *"portsteer apply --dry-run" | *"portsteer check")
		line+=" -f $ETC/portsteer/portsteer.conf" ;;
	esac
	(cd "$ETC" && eval "$line") >"$ETC/out" 2>"$ETC/err" || status=$?
	if [ $status != 0 ] || grep -v '^note: ' "$ETC/err"; then
		echo "$1: $status" >&2
		cat "$ETC/err" >&2
		return 1
	fi
}

# All that come on standard input, each with nothing or the usual rules before it.
all_typed()
{
	local line count=0
	write_files
	host_cgroup "/system.slice/docker-0123456789ab$(printf 'c%.0s' {1..52}).scope"
	while IFS= read -r line; do
		[ ! -e "$STATE" ] || portsteer -q unload
		[[ $line == *" "@(add|allow|load|apply|check|probe)* ]] || add_rules
		typed "$line"
		count=$((count + 1))
		if [[ $line == *" "@(add|allow)" "* && $line != *--netns* ]]; then
			[ -n "$(rules)" ]
		fi
	done
	echo "# $count commands" >&3
	[ "$count" -ge "$1" ]
	[ ! -e "$STATE" ] || portsteer -q unload
}

@test "the README's, the man pages' and docs/" {
	shown_in_docs >"$ETC/shown"
	all_typed 15 <"$ETC/shown"
}

@test "--help's" {
	shown_by_help >"$ETC/shown"
	all_typed 15 <"$ETC/shown"
}

@test "a mistake in one would be seen" {
	write_files
	! typed "portsteer add 80:8080 --user nobody-of-that-name" || false
	! typed "portsteer ad 80:8080 --user alice" || false
}
