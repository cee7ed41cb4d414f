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
		from = $CG/a
		ports = 90:8080
		any-user = yes
		on-miss = pass
		name = pod
	END
	serve web 127.0.0.1 8080
	out=$(apply)
	assert_equal "$out" "applied: 3 added, 0 removed, 0 changed, 0 as before"
	answers web http://127.0.0.1/
	from a answers web http://127.0.0.1:90/
	portsteer -q add 81:8080 --user ps-web
	config <<-END
		[web]
		ports = 80:8080
		user = ps-web
		on-miss = pass
		[more]
		ports = 82:8080
		user = ps-web
	END
	out=$(apply)
	assert_equal "$out" "applied: 1 added, 3 removed, 1 changed, 0 as before"
	assert_equal "$(rules)" $'80:8080/tcp\n82:8080/tcp'
	answers web http://127.0.0.1:82/
	refused http://127.0.0.1:81/
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
	assert_match "$out" 'has the port of rule 80:8080/tcp: new connections no longer reach it'
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
	assert_equal "$(apply)" "applied: 1 added, 1 removed, 0 changed, 2 as before"
	after=$(portsteer list --json | jsonget 'rules|rule=80:8080/tcp|listeners|0|cookie')
	assert_equal "$after" "$before"
	counters 80:8080/tcp "steered=2 admitted=1"
	answers web http://127.0.0.1/
	counters 80:8080/tcp "steered=3 admitted=1"
	counters 443:8080/tcp "steered=0 admitted=1"
	# A rule that changes counts anew; its target keeps its listener.
	sed -i 's/^ports = 443.*/& \non-miss = pass/' "$RULES"
	assert_equal "$(apply)" "applied: 0 added, 0 removed, 2 changed, 1 as before"
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
		counters $n:8080/tcp "missed=0"
	done
}

@test "nothing to change: nothing is written" {
	local before
	config <<-END
		[web]
		ports = 80:8080 10.0.0.0/8:81:8081
		user = ps-web
		[pod]
		from = $CG/a
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
	assert_equal "$(apply --dry-run)" "+ 80:8080/tcp steer, user ps-web, refuse
+ 82:8082/tcp steer, user ps-web, refuse
would be: 2 added, 0 removed, 0 changed, 0 as before"
	assert_equal "$(rules)" "not loaded"
	[ ! -e $STATE ]
	portsteer -q add 80:8080 81:8081 82:8083 --user ps-web --name x
	portsteer -q del 80
	portsteer -q add 80:8080 --user ps-web
	before=$(kernel_state)
	out=$(apply --dry-run)
	assert_equal "$out" "- 81:8081/tcp steer, user ps-web, refuse, name x
~ 82:8083/tcp steer, user ps-web, refuse, name x
  now: 82:8082/tcp steer, user ps-web, refuse
would be: 0 added, 1 removed, 1 changed, 1 as before"
	out=$(apply --dry-run --json)
	assert_equal "$(jsonget added removed changed unchanged 'differences|#' \
		'differences|0|change' 'differences|0|before|rule' 'differences|0|after' \
		'differences|1|change' 'differences|1|before|name' 'differences|1|after|rule' \
		<<<"$out")" \
		$'0\n1\n1\n1\n2\nremoved\n81:8081/tcp\nnull\nchanged\nx\n82:8082/tcp'
	assert_equal "$(kernel_state)" "$before"
	apply -q
	assert_equal "$(apply --dry-run)" "would be: 0 added, 0 removed, 0 changed, 2 as before"
}

@test "no rules: what is loaded stays loaded, what is not does not become so" {
	config </dev/null
	assert_equal "$(apply)" "nothing to change: 0 rules"
	[ ! -e $STATE ]
	portsteer -q add 80:8080 --user ps-web
	assert_equal "$(apply)" "applied: 0 added, 1 removed, 0 changed, 0 as before"
	assert_equal "$(rules)" ""
}

@test "a kernel that refuses a new rule's programs: the old rules stay" {
	local status=0
	portsteer -q add 80:8080 --user ps-web
	serve web 127.0.0.1 8080
	config <<-END
		[pod]
		from = $CG/a
		ports = 90:8080
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
		portsteer -q add $((80 + n)):$((8080 + n)) --from "./../b/${cgroups[n]}" --any-user \
			2>/dev/null || portsteer -q add $((80 + n)):$((8080 + n)) \
			--from "b/${cgroups[n]}" --any-user
	done
	portsteer -q add '[2001:db8::]/32:500-600:1500-1600' 10.0.0.0/8:500:2500 --user 12345 \
		--on-miss pass
	portsteer -q add 53:10.0.0.1:53/udp 80:9999 --from / --any-user
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
	# Everything changes but 90: targets, the rules there are, prefixes, modes and scopes.
	config "$RULES.a" <<-END
		[steer]
		ports = 80:8081 81:8082 82:8081 10.1.2.3:80:8083 90:8081 92:8085
		user = ps-web
		[connect]
		from = $CG/pod
		ports = 85:8081
		user = ps-web
	END
	config "$RULES.b" <<-END
		[steer]
		ports = 80:8082 81:8081 83:8082 10.1.2.3:80:8084 90:8081 91:8085
		user = ps-web
		[connect]
		from = $CG/pod
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
	counters 90:8081/tcp "missed=0"
}
