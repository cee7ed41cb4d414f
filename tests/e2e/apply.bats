#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# apply and save: the rules become those of the configuration, at one instant; what is
# unchanged goes on.

load lib

KILLAT=$REPO/build/tools/killat

setup_file() { setup_env; }
setup()
{
	setup_test
	RULES=$PS_TEST_DIR/rules.conf
}
teardown() { teardown_test; }

# config [FILE]: the configuration is what comes on stdin.
config()
{
	install -m 0644 /dev/stdin "${1:-$RULES}"
}

# apply ARGS...: with this configuration.
apply()
{
	portsteer apply -f "$RULES" "$@"
}

@test "apply loads what is needed, and rules that are not in the configuration go" {
	local out
	config <<-END
		[web]
		ports = 80:8080 443:8443
		user = ps-web
		[pod]
		client-cgroup = $CG/a
		ports = 90:8080
		any-user = yes
		if-down = pass
		name = pod
	END
	serve web 127.0.0.1 8080
	out=$(apply)
	assert_equal "$out" "applied: 3 added, 0 removed, 0 changed, 0 unchanged"
	answers web http://127.0.0.1/
	from a answers web http://127.0.0.1:90/
	config <<-END
		[web]
		ports = 80:8080
		user = ps-web
		if-down = pass
		[more]
		ports = 82:8080
		user = ps-web
	END
	out=$(apply)
	assert_equal "$out" "applied: 1 added, 2 removed, 1 changed, 0 unchanged"
	assert_equal "$(rules)" $'80:8080/tcp\n82:8080/tcp'
	answers web http://127.0.0.1:82/
	refused http://127.0.0.1:443/
	out=$(apply)
	assert_equal "$out" "nothing to change: 2 rules"
	assert_equal "$(apply -q)" ""
}

@test "apply --json: counts, notes and held sockets" {
	local out
	config <<-END
		[web]
		ports = 80:8080
		user = ps-web
	END
	serve -u root old 0.0.0.0 80
	out=$(apply --json)
	assert_equal "$(jsonget added removed changed unchanged 'held|#' 'notes|#' <<<"$out")" \
		$'1\n0\n0\n0\n0\n1'
	assert_match "$out" "has the front port of rule 80:8080/tcp: new connections reach the owner's listener instead"
	out=$(apply --json)
	assert_equal "$(jsonget added removed changed unchanged 'notes|#' <<<"$out")" $'0\n0\n0\n1\n0'
}

# bats test_tags=kernel
@test "unchanged rules keep their listeners, their counters and their ids" {
	local before after
	config <<-END
		[web]
		ports = 80:8080 443:8080
		user = ps-web
		[db]
		ports = 90:9090
		user = ps-db
	END
	apply -q
	serve web 127.0.0.1 8080
	answers web http://127.0.0.1/
	answers web http://127.0.0.1/
	before=$(portsteer list --json | jsonget 'rules|rule=80:8080/tcp|listeners|0|cookie')
	# No scan finds this listener any more: it is in a slot, or it is lost.
	config <<-END
		[other]
		ports = 70:7070
		user = ps-db
		[again]
		user = $WEB
		ports = 443:8080 80:8080
	END
	assert_equal "$(apply)" "applied: 1 added, 1 removed, 0 changed, 2 unchanged"
	after=$(portsteer list --json | jsonget 'rules|rule=80:8080/tcp|listeners|0|cookie')
	assert_equal "$after" "$before"
	counters 80:8080/tcp "steered=2 admitted=1"
	answers web http://127.0.0.1/
	counters 80:8080/tcp "steered=3 admitted=1"
	counters 443:8080/tcp "steered=0 admitted=1"
	# A rule that changes counts anew; its target keeps its listener.
	sed -i 's/^ports = 443.*/& \nif-down = pass/' "$RULES"
	assert_equal "$(apply)" "applied: 0 added, 0 removed, 2 changed, 1 unchanged"
	counters 80:8080/tcp "steered=0 admitted=1"
	answers web http://127.0.0.1/
}

@test "listeners are there from the first moment of a new rule" {
	local n
	serve web 127.0.0.1 8080
	serve db 127.0.0.1 9090 --workers 2 --reuseport
	for n in {1..20}; do
		config <<-END
			[a]
			ports = $n:8080 $((n + 100)):9090
			user = ps-web
		END
		apply -q
		answers web http://127.0.0.1:$n/
		answers db http://127.0.0.1:$((n + 100))/
		counters $n:8080/tcp "no_listener=0"
	done
}

@test "nothing to change: nothing is written" {
	local before
	config <<-END
		[web]
		ports = 80:8080 10.0.0.0/8:81:8081
		user = ps-web
		[pod]
		client-cgroup = $CG/a
		ports = 80:8080
		any-user = yes
	END
	apply -q
	before=$(kernel_state && find $STATE -printf '%P %i %T@\n' | sort)
	assert_equal "$("$KILLAT" -w "$PORTSTEER" apply -f "$RULES")" ""
	assert_equal "$(kernel_state && find $STATE -printf '%P %i %T@\n' | sort)" "$before"
	# And the tool sees what is written if there is something.
	sed -i 's/81:8081/81:8082/' "$RULES"
	assert_match "$("$KILLAT" -w "$PORTSTEER" apply -f "$RULES")" "bpf 2"
}

@test "--dry-run shows what would change, and changes nothing" {
	local out before
	config <<-END
		[web]
		ports = 80:8080 82:8082
		user = ps-web
	END
	assert_equal "$(apply --dry-run)" "+ will be 80:8080/tcp steer, user ps-web, refuse
+ will be 82:8082/tcp steer, user ps-web, refuse
dry run, nothing was changed: 2 added, 0 removed, 0 changed, 0 unchanged"
	assert_equal "$(rules)" "not loaded"
	[ ! -e $STATE ]
	portsteer -q add 80:8080 81:8081 82:8083 --user ps-web --name x
	portsteer -q del 80
	portsteer -q add 80:8080 --user ps-web
	before=$(kernel_state)
	out=$(apply --only --dry-run)
	assert_equal "$out" "- is      81:8081/tcp steer, user ps-web, refuse, name x
~ is      82:8083/tcp steer, user ps-web, refuse, name x
  will be 82:8082/tcp steer, user ps-web, refuse
dry run, nothing was changed: 0 added, 1 removed, 1 changed, 1 unchanged"
	out=$(apply --only --dry-run --json)
	assert_equal "$(jsonget added removed changed unchanged 'differences|#' \
		'differences|0|change' 'differences|0|before|rule' 'differences|0|after' \
		'differences|1|change' 'differences|1|before|name' 'differences|1|after|rule' \
		<<<"$out")" \
		$'0\n1\n1\n1\n2\nremoved\n81:8081/tcp\nnull\nchanged\nx\n82:8082/tcp'
	assert_equal "$(kernel_state)" "$before"
	apply -q --only
	assert_equal "$(apply --dry-run)" \
		"dry run, nothing was changed: 0 added, 0 removed, 0 changed, 2 unchanged"
	portsteer -q add 81:8081 --user ps-web
	assert_equal "$(apply --dry-run)" "= stays   81:8081/tcp steer, user ps-web, refuse
dry run, nothing was changed: 0 added, 0 removed, 0 changed, 3 unchanged"
	assert_equal "$(apply --dry-run --json | jsonget 'by_hand|0')" 81:8081/tcp
}

@test "no rules: what is loaded stays loaded, what is not does not become so" {
	printf '# none\n\n; here\n' | config
	assert_equal "$(apply --allow-empty)" "nothing to change: 0 rules"
	[ ! -e $STATE ]
	portsteer -q add 80:8080 --user ps-web
	assert_equal "$(apply --allow-empty --only)" "applied: 0 added, 1 removed, 0 changed, 0 unchanged"
	assert_equal "$(rules)" ""
}

# fails STATUS LINE... -- ARGS...: the command fails so; its errors begin with these patterns.
fails()
{
	local wanted=$1 status=0 n=0 line patterns=()
	shift
	while [ "$1" != -- ]; do
		patterns+=("$1")
		shift
	done
	portsteer "${@:2}" >"$PS_TEST_DIR/out" 2>"$PS_TEST_DIR/err" </dev/null || status=$?
	cat "$PS_TEST_DIR/err"
	assert_equal "status $status" "status $wanted"
	while IFS= read -r line; do
		assert_match "$line" "^portsteer: ${patterns[n]-nothing}"
		n=$((n + 1))
	done <"$PS_TEST_DIR/err"
	assert_equal "$n lines" "${#patterns[@]} lines"
}

# with_nvmet ARGS...: portsteer where the kernel's NVMe target seems to be loaded.
with_nvmet()
{
	unshare --mount bash -c 'mount -t tmpfs none /sys/module && mkdir /sys/module/nvmet_tcp &&
		exec "$0" "$@"' "$PORTSTEER" "$@"
}

# The real ones, before there are rules: tests/vm/services.bats.
@test "--keep-going: a port of the kernel's own is no mistake where its rule is in force" {
	config <<-END
		[files]
		ports = 81:4420 82:8080
		any-user = yes
	END
	! with_nvmet apply -f "$RULES" 2>"$PS_TEST_DIR/err" || false
	assert_match "$(<"$PS_TEST_DIR/err")" "port 4420 belongs to the kernel's NVMe target "
	! with_nvmet -q apply --keep-going -f "$RULES" 2>/dev/null || false
	portsteer -q flush
	portsteer -q apply -f "$RULES"
	with_nvmet -q apply --keep-going -f "$RULES"
	with_nvmet -q apply -f "$RULES"
	assert_equal "$(rules | sort | xargs)" "81:4420/tcp 82:8080/tcp"
}

@test "what is missing is named by what can be read of it" {
	printf '[web\nports = 80:8080\nuser = ps-web\n[x]\nports = 81:8081\nuser = ps-web\n' >"$RULES"
	fails 1 "$RULES:1: " \
		"1 rule is in force, but connections are refused to 80/tcp; correct it" \
		-- apply --keep-going -f "$RULES"
}

@test "a file of nothing deletes nothing, unless that is asked for" {
	local text before
	config <<-END
		[web]
		ports = 80:8080
		user = ps-web
	END
	apply -q
	before=$(kernel_state)
	for text in '' '# only\n; comments\n' '\n\n' '\xef\xbb\xbf' '  \n'; do
		# shellcheck disable=SC2059 # a format
		printf "$text" | config
		fails 1 "$RULES: it has no section and .*'portsteer flush'.*--allow-empty" -- apply -f "$RULES"
		fails 1 "$RULES: it has no section" -- apply --only -f "$RULES"
		fails 1 "$RULES: it has no section" "rules are in force and the configuration has mistakes" -- apply --keep-going -f "$RULES"
		fails 1 "$RULES: it has no section" -- apply --dry-run -f "$RULES"
		fails 1 "$RULES: it has no section" -- check -f "$RULES"
	done
	fails 1 "\(standard input\): it has no section" -- apply -f -
	fails 1 "/dev/null: it has no section" -- apply -f /dev/null
	assert_equal "$(kernel_state)" "$before"
	portsteer -q check --allow-empty -f "$RULES"
	assert_equal "$(apply --allow-empty)" "applied: 0 added, 1 removed, 0 changed, 0 unchanged"
}

@test "what was added by hand stays, and is reported" {
	local out before hint
	hint="'portsteer apply --only' deletes what is not in the configuration"
	config <<-END
		[web]
		ports = 80:8080
		user = ps-web
	END
	portsteer -q add 81:8080 82:8082 --user ps-web
	serve web 127.0.0.1 8080
	out=$(apply)
	assert_equal "$out" "applied: 1 added, 0 removed, 0 changed, 2 unchanged
note: 2 rules added by hand stay: 81:8080/tcp, 82:8082/tcp; $hint"
	answers web http://127.0.0.1/
	answers web http://127.0.0.1:81/
	assert_equal "$(apply --json | jsonget unchanged 'by_hand|#' 'by_hand|0')" $'3\n2\n81:8080/tcp'
	# Another file's rules are what apply made, too.
	sed 's/80:8080/83:8080/' "$RULES" >"$RULES.2"
	assert_match "$(portsteer apply -f "$RULES.2")" "^applied: 1 added, 1 removed, 0 changed, 2 unchanged"
	assert_equal "$(rules)" $'81:8080/tcp\n82:8082/tcp\n83:8080/tcp'
	# What is in the configuration is its own from then on.
	sed 's/80:8080/81:8080/' "$RULES" >"$RULES.2"
	assert_equal "$(portsteer apply -f "$RULES.2")" "applied: 0 added, 1 removed, 0 changed, 2 unchanged
note: 1 rule added by hand stays: 82:8082/tcp; $hint"
	assert_match "$(apply)" "^applied: 1 added, 1 removed, 0 changed, 1 unchanged"
	assert_equal "$(rules)" $'80:8080/tcp\n82:8082/tcp'
	# Both for one port: neither is guessed away.
	portsteer -q add 84:8084 --user ps-web
	sed 's/80:8080/84:8080/' "$RULES" >"$RULES.2"
	before=$(kernel_state)
	fails 1 "rule 84:8084/tcp \(steer, user ps-web\) overlaps rule 84:8080/tcp \(steer, user ps-web, at $RULES.2:2\).*'portsteer del'.*--only" \
		-- apply -f "$RULES.2"
	fails 1 "rule 84:8084/tcp" -- apply --dry-run -f "$RULES.2"
	assert_equal "$(kernel_state)" "$before"
	assert_equal "$(portsteer apply --only -f "$RULES.2")" \
		"applied: 0 added, 2 removed, 1 changed, 0 unchanged"
	# No rules in the configuration: its own go, and no others.
	portsteer -q add 85:8085 --user ps-web
	printf '' | config
	assert_match "$(apply --allow-empty)" "^applied: 0 added, 1 removed, 0 changed, 1 unchanged"
	assert_equal "$(rules)" 85:8085/tcp
}

@test "each rule has an origin: file and line, or by hand" {
	local out
	config <<-END
		[web]
		ports = 80:8080
		  81:8081
		user = ps-web
	END
	portsteer -q add 82:8082 --user ps-web
	assert_match "$(portsteer list)" "IF DOWN"$'\n'
	assert_match "$(portsteer list -v)" " ORIGIN"$'\n'"82:8082/tcp .* hand"$'\n'
	apply -q
	out=$(portsteer list)
	assert_match "$out" "IF DOWN +ORIGIN"$'\n'
	assert_match "$out" "80:8080/tcp +steer +user ps-web +refuse +$RULES:2"$'\n'
	assert_match "$out" "81:8081/tcp +steer +user ps-web +refuse +$RULES:3"$'\n'
	assert_match "$out" "82:8082/tcp +steer +user ps-web +refuse +hand"$'\n'
	assert_equal "$(portsteer list --json | jsonget 'rules|0|origin|file' 'rules|1|origin|line' \
		'rules|2|origin')" "$RULES"$'\n3\nnull'
	# It moves with the line, and that is no change of the rule.
	sed -i '1i # a comment' "$RULES"
	assert_match "$(apply)" "^nothing to change: 3 rules"
	assert_match "$(portsteer list)" "80:8080/tcp .* $RULES:3"$'\n'
	# Other changes keep it, and so does another build.
	portsteer -q add 83:8083 --user ps-web
	portsteer -q del 82
	assert_match "$(portsteer list)" "80:8080/tcp .* $RULES:3"$'\n'".*83:8083/tcp .* hand"$'\n'
	# A relative name is found from anywhere.
	(cd "$PS_TEST_DIR" && portsteer -q apply -f "${RULES##*/}")
	assert_match "$(portsteer list)" "80:8080/tcp .* $RULES:3"$'\n'
	portsteer -q apply -f - <"$RULES"
	assert_match "$(portsteer list)" "80:8080/tcp .* \(standard input\):3"$'\n'
}

@test "a rule added by hand is in the way: a long message is not cut within a character" {
	local before cgroup client
	cgroup=$(printf '\\xff%.0s' $(seq 57))
	for before in '' b; do
		client=$(printf '\\xff%.0s' $(seq 20))$(printf 'ä%.0s' $(seq 20))
		portsteer -q add 80:8080 --client-cgroup "/$(printf %b "$client")" \
			--cgroup "/$(printf %b "$cgroup")"
		config <<-END
			[a]
			ports = 80:8081
			client-cgroup = "/$client"
			cgroup = "/$before$cgroup"
		END
		fails 1 ".*overlaps rule 80:8081.*ä \(rules added by hand stay" -- apply -f "$RULES"
		iconv -f UTF-8 -t UTF-16 "$PS_TEST_DIR/err" >/dev/null
		portsteer -q flush
	done
}

# bats test_tags=kernel
@test "--keep-going: sections without a mistake count, what the others name is refused" {
	config <<-END
		[web]
		ports = 80:8080
		user = ps-web
		[broken]
		ports = 127.0.0.2:80:8081 90:8080
		user = nosuchuser
		[pod]
		client-cgroup = $CG/a
		ports = 91:8080
		user = ps-web
		[all]
		client-cgroup = /
		ports = 92:8080
		user = ps-web
		[broken-pod]
		client-cgroup = $CG/a
		ports = 92:8080
		mode = fast
		user = ps-web
	END
	serve web 0.0.0.0 8080
	serve -u root other 0.0.0.0 90
	fails 1 "$RULES:6: unknown user 'nosuchuser'" "$RULES:18: unknown mode 'fast'" \
		"3 rules are in force, but sections with a mistake are missing: \[broken\] \[broken-pod\], connections are refused to .*; correct it" \
		-- apply --keep-going -f "$RULES"
	assert_match "$(<"$PS_TEST_DIR/out")" "^applied: 6 added, 0 removed"
	answers web http://127.0.0.1/
	refused http://127.0.0.2/
	refused http://127.0.0.1:90/
	from a answers web http://127.0.0.1:91/
	from b answers web http://127.0.0.1:92/
	from a refused http://127.0.0.1:92/
	assert_match "$(portsteer list)" \
		"90/tcp +steer +- +none +refuse[^/]*$RULES:5"$'\n'"  refused until its section is corrected"
	assert_equal "$(portsteer list --json | jsonget 'rules|rule=90/tcp|blocked' \
		'rules|rule=80:8080/tcp|blocked')" $'true\nfalse'
	assert_match "$(portsteer save)" "# Refused because its section has a mistake: 90/tcp \($RULES:5\)"
	# Now that there are rules, a mistake changes nothing.
	fails 1 "$RULES:6:" "$RULES:18:" "rules are in force and the configuration has mistakes, so nothing was changed" \
		-- apply --keep-going -f "$RULES"
	fails 1 "$RULES:6:" "$RULES:18:" -- apply -f "$RULES"
	from a refused http://127.0.0.1:92/
	# By hand nobody gets past it.
	fails 1 "rule 90:8080/tcp \(steer, user ps-web\) overlaps rule 90/tcp \(steer, refused: its section has a mistake, at $RULES:5\)" \
		-- add 90:8080 --user ps-web
	# Mended.
	sed -i 's/nosuchuser/ps-web/; s/fast/connect/' "$RULES"
	apply -q
	answers web http://127.0.0.1:90/
	from a answers web http://127.0.0.1:92/
	assert_equal "$(portsteer list --json | jsonget 'rules|rule=90:8080/tcp|blocked')" false
	# Without a mistake it is as without the option.
	portsteer -q unload
	assert_match "$(apply --keep-going)" "^applied: 6 added, 0 removed, 0 changed, 0 unchanged"
	# A block can be deleted by hand.
	portsteer -q unload
	sed -i '6s/ps-web/nosuchuser/' "$RULES"
	apply --keep-going -q 2>/dev/null || true
	portsteer -q del 90
	answers other http://127.0.0.1:90/
}

# bats test_tags=kernel
@test "--keep-going: what a misspelt key or a second client-cgroup names is refused, too" {
	config <<-END
		[misspelt]
		port = 127.0.0.2:80:8080
		user = ps-web
		[twice]
		ports = 91:8080
		client-cgroup = $CG/a
		client-cgroup = $CG/b
		user = ps-web
		[web]
		ports = 80:8080 91:8080
		user = ps-web
		[all]
		client-cgroup = /
		ports = 91:8080
		user = ps-web
		[outside
		127.0.0.3:80:8080
	END
	serve web 0.0.0.0 8080
	fails 1 "$RULES:2: unknown key 'port'" "$RULES:7: client-cgroup is already set" \
		"$RULES:14: rule 91:8080/tcp would take the connections of 91/tcp" \
		"$RULES:16: '\[outside' is not a section" "$RULES:17: '127.0.0.3:80:8080': neither a key" \
		"2 rules are in force, .* refused to 127.0.0.2:80/tcp 127.0.0.3:80/tcp 91/tcp; correct" \
		-- apply --keep-going -f "$RULES"
	answers web http://127.0.0.1/
	refused http://127.0.0.2/
	refused http://127.0.0.3/
	from a refused http://127.0.0.1:91/
	from b refused http://127.0.0.1:91/
	refused http://127.0.0.1:91/
}

# bats test_tags=kernel
@test "--keep-going: a number is a port only where ports are" {
	config <<-END
		client-cgroup = $CG/a
		[below]
		ports = 94:8080
		user = ps-web
		[web]
		ports = 80:8080 443:8080
		user = ps-web
		[described]
		ports = 91:8080
		description = ticket 80 of 2026-11-26, see https://wiki/443
		usr = 443
		user = ps-web
		[unread]
		ports = 0x50:8080 "92:80" 127.0.0.2:*:443
		user = ps-web
		[all]
		client-cgroup = /
		ports = 94:8080
		user = ps-web
	END
	serve web 0.0.0.0 8080
	fails 1 "$RULES:1: 'client-cgroup' is outside any section" "$RULES:2: text above the first" \
		"$RULES:10: unknown key 'description'" "$RULES:11: unknown key 'usr'" \
		"$RULES:14: bad rule '0x50:8080': .*; its front side cannot be read, so its ports do not refuse connections" \
		"$RULES:14: bad rule '\"92:80\"'" "$RULES:14: bad rule '127.0.0.2:\*:443'" \
		"$RULES:18: rule 94:8080/tcp would take the connections of 94/tcp" \
		"2 rules are in force, .* \[below\] .* refused to .*; correct" \
		-- apply --keep-going -f "$RULES"
	answers web http://127.0.0.1/
	answers web http://127.0.0.1:443/
	refused http://127.0.0.1:91/
	refused http://127.0.0.1:92/
	refused http://127.0.0.1:94/
	from a refused http://127.0.0.1:94/
	refused http://127.0.0.2/
	refused http://127.0.0.2:443/
}

@test "--keep-going: a log gives neither rules nor refusals" {
	{
		printf '[log]\nports = 79:8080\nuser = ps-web\n'
		seq -f 'Nov 26 12:34:56 host app[%.0f]: 10.0.0.1:80:8080 is 443/tcp' 50000
	} >"$RULES"
	fails 1 "$RULES: the file has more than [0-9]+ words that cannot be parsed" "0 rules are in force, but" \
		-- apply --keep-going -f "$RULES"
	assert_equal "$(rules)" "not loaded"
}

@test "--keep-going: other files count without one that cannot be read" {
	local out
	config "$RULES" <<-END
		[web]
		ports = 80:8080
		user = ps-web
	END
	printf 'x\0y' >"$RULES.2"
	fails 1 "$RULES.2:1: the file contains a NUL byte" "0 rules are in force, but" \
		-- apply --keep-going -f "$RULES.2"
	assert_equal "$(rules)" "not loaded"
	out=$(portsteer apply --keep-going --json -f "$RULES.2" 2>/dev/null) || true
	assert_equal "$(jsonget 'error|status' 'error|mistakes|#' <<<"$out")" $'1\n1'
}

@test "a kernel that refuses a new rule's programs: the old rules stay" {
	local status=0
	portsteer -q add 80:8080 --user ps-web
	serve web 127.0.0.1 8080
	config <<-END
		[pod]
		client-cgroup = $CG/a
		ports = 90:127.0.0.1:8080
		any-user = yes
	END
	# BPF_PROG_TYPE_CGROUP_SOCK_ADDR
	"$KILLAT" -t 18 "$PORTSTEER" apply -f "$RULES" 2>"$PS_TEST_DIR/err" || status=$?
	assert_equal "$status" 5
	assert_equal "$(wc -l <"$PS_TEST_DIR/err")" 1
	assert_equal "$(rules)" 80:8080/tcp
	answers web http://127.0.0.1/
	counters 80:8080/tcp "steered=1"
	portsteer -q unload
	status=0
	"$KILLAT" -t 18 "$PORTSTEER" apply -f "$RULES" 2>"$PS_TEST_DIR/err" || status=$?
	assert_equal "$status $(rules)" "5 not loaded"
}

@test "apply in another network namespace" {
	config <<-END
		[web]
		ports = 80:8080
		user = ps-web
	END
	serve -N client there 127.0.0.1 8080
	portsteer --netns client -q apply -f "$RULES"
	answers there client http://127.0.0.1/
	assert_equal "$(rules)" "not loaded"
	assert_match "$(portsteer --netns client save)" "ports = 80:8080/tcp"
	portsteer --netns client -q unload
}

@test "what save writes makes the same rules again" {
	local names=("plain" " blanks " 'quo"te' '"quoted"' 'back\slash' '; # [x]' 'a=b' $'gr\xc3\xbc\xc3\x9f')
	local cgroups=('a\x2db.slice/c' ' x ' '"' 'pid:7/x' 'sys/fs' $'\xff\xfe' 'k = v ; #' '[s]')
	local n saved
	for n in "${!names[@]}"; do
		portsteer -q add $((80 + n)):$((8080 + n)) --cgroup "/a/${cgroups[n]}" --name "${names[n]}"
		portsteer -q add $((80 + n)):$((8080 + n)) --client-cgroup "./../b/${cgroups[n]}" --any-user \
			2>/dev/null || portsteer -q add $((80 + n)):$((8080 + n)) \
			--client-cgroup "b/${cgroups[n]}" --any-user
	done
	portsteer -q add '[2001:db8::]/32:500-600:1500-1600' 10.0.0.0/8:500:2500 --user 12345 \
		--if-down pass
	portsteer -q add 53:10.0.0.1:53/udp 80:9999 --client-cgroup / --any-user
	portsteer -q add 70:7070 --any-user
	saved=$(portsteer save)
	portsteer list --json | jsonget 'rules|#' >"$PS_TEST_DIR/count"
	[ "$(<"$PS_TEST_DIR/count")" = 21 ]
	# It changes nothing ...
	assert_equal "$(portsteer apply -f - <<<"$saved")" "nothing to change: 21 rules"
	# ... and makes everything.
	portsteer list --json | sed 's/"generation":[0-9]*//' >"$PS_TEST_DIR/before"
	portsteer -q unload
	portsteer -q apply -f - <<<"$saved"
	portsteer list --json | sed 's/"generation":[0-9]*//' >"$PS_TEST_DIR/after"
	cmp "$PS_TEST_DIR/before" "$PS_TEST_DIR/after"
	assert_equal "$(portsteer save)" "$saved"
	assert_equal "$(portsteer save --json | jsonget config)" "$saved"
}

@test "1,000 changes of the ruleset, with clients on every CPU: no failure, no mixture" {
	local out n
	for n in 1 2 3 4; do
		serve s$n 0.0.0.0 808$n
	done
	serve v6 ::1 8085
	# Everything changes but 90: targets, the rules there are, prefixes, modes and client cgroups.
	config "$RULES.a" <<-END
		[steer]
		ports = 80:8081 81:8082 82:8081 10.1.2.3:80:8083 90:8081 92:8085
		user = ps-web
		[connect]
		client-cgroup = $CG/pod
		ports = 85:8081
		user = ps-web
	END
	config "$RULES.b" <<-END
		[steer]
		ports = 80:8082 81:8081 83:8082 10.1.2.3:80:8084 90:8081 91:8085
		user = ps-web
		[connect]
		client-cgroup = $CG/pod
		ports = 85:8082
		user = ps-web
	END
	mkdir "$PS_TEST_CGROUP/pod"
	portsteer -q apply -f "$RULES.a"
	out=$("$PYTHON" "$PS_TEST_DIR/swaps.py" --from "$PS_TEST_CGROUP/pod" 1000 \
		127.0.0.1,80,s1,s2 127.0.0.1,81,s2,s1 127.0.0.1,82,s1,- 127.0.0.1,83,-,s2 \
		10.1.2.3,80,s3,s4 10.1.9.9,80,s1,s2 127.0.0.1,90,s1,s1 127.0.0.1,85,s1,s2 \
		::1,92,v6,- ::1,91,-,v6 \
		-- "$PORTSTEER" -q apply -f "$RULES.")
	echo "# $out" >&3
	assert_match "$out" "^swaps 1000 connections [0-9]{5,} seen [0-9]{4,}\+[0-9]{4,} wrong 0 torn 0 stale 0$"
	counters 90:8081/tcp "no_listener=0"
}
