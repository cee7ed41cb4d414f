#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Real servers, as ordinary users without any capability, on privileged ports.

load lib

setup_file() { setup_env; }
setup()
{
	setup_test
	DIR=$PS_TEST_DIR/programs.$BATS_TEST_NUMBER
	mkdir "$DIR"
}
teardown() { teardown_test; }

# --- nginx -------------------------------------------------------------------------

start_nginx()
{
	cat >"$DIR/nginx.conf" <<-END
		daemon off;
		worker_processes 4;
		pid $DIR/pid;
		error_log $DIR/error.log;
		events { worker_connections 256; }
		http {
			access_log $DIR/access.log;
			$(nginx_paths "$DIR")
			server {
				listen 127.0.0.1:8080 reuseport backlog=4096;
				listen [::1]:8080 reuseport backlog=4096;
				location / {
					return 200 "nginx \$pid \$remote_addr\n";
				}
			}
		}
	END
	chown -R $WEB:$WEB "$DIR"
	start nginx -p "$DIR" -e "$DIR/error.log" -c "$DIR/nginx.conf"
	wait_port 8080
	until_true 10 workers 4
}

workers()
{
	[ "$(wc -l <"$PS_TEST_CGROUP/default/cgroup.procs")" -eq $(($1 + 1)) ]
}

# bats test_tags=kernel
@test "nginx, 4 reuseport workers: both families, the client's address in its log" {
	portsteer -q add 80:8080 --user ps-web
	start_nginx
	every_process $WEB 5
	assert_match "$(fetch client http://$HERE4/)" "^nginx [0-9]+ $THERE4$"
	assert_match "$(fetch client "http://[$HERE6]/")" "^nginx [0-9]+ $THERE6$"
	answers nginx http://127.0.0.1/
	answers nginx http://$HERE4/
	assert_equal "$(listener_count 80:8080/tcp)" 8
	until_true 5 grep -q "^$THERE4 " "$DIR/access.log"
	grep -q "^$THERE6 " "$DIR/access.log"
	counters 80:8080/tcp "steered=4 no_listener=0 wrong_family=0 admitted=8 not_owner=0"
}

@test "nginx was there before the rule" {
	start_nginx
	portsteer add 80:8080 >"$DIR/out"
	assert_equal "$(head -1 "$DIR/out")" \
		"owner of 80:8080/tcp: user ps-web (uid $WEB), which listens on port 8080"
	answers nginx client http://$HERE4/
	answers nginx client "http://[$HERE6]/"
}

@test "nginx reloads, and a worker is killed: no connection fails" {
	portsteer -q add 80:8080 --user ps-web
	start_nginx
	rm -f "$PS_TEST_DIR/stop"
	client_connections --procs 2 --until "$PS_TEST_DIR/stop" $HERE4 80 \
		>"$PS_TEST_DIR/tally" 3>&- &
	local tally=$! _ master=$PID pids
	for _ in 1 2 3; do
		kill -HUP $master
		answers nginx client http://$HERE4/
	done
	until_true 10 workers 4
	# Not by tail: that of coreutils 9.10 prints nothing of such files.
	mapfile -t pids <"$PS_TEST_CGROUP/default/cgroup.procs"
	kill -9 "${pids[-1]}"
	until_true 10 workers 4
	answers nginx client http://$HERE4/
	: >"$PS_TEST_DIR/stop"
	wait $tally
	# "broken": being answered by the worker that was killed.
	assert_match "$(<"$PS_TEST_DIR/tally")" "^ok [1-9][0-9]+ refused 0 broken [0-9]? "
}

# --- python ------------------------------------------------------------------------

@test "python's http.server, dual stack" {
	portsteer -q add 80:8000 --user ps-db
	echo hello >"$DIR/file"
	chmod 0755 "$DIR"
	start -u $DB "$PYTHON" -u -m http.server 8000 --bind :: --directory "$DIR"
	wait_port 8000
	every_process $DB 1
	assert_equal "$(fetch client http://$HERE4/file)" hello
	assert_equal "$(fetch client "http://[$HERE6]/file")" hello
	assert_equal "$(fetch http://127.0.0.1/file)" hello
	until_true 5 grep -q "::ffff:$THERE4 .*GET /file" "$LOG"
	counters 80:8000/tcp "steered=3 wrong_family=0 no_listener=0"
}

# --- TLS ---------------------------------------------------------------------------

@test "openssl s_server, and curl over TLS" {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
		-subj /CN=portsteer.test -addext subjectAltName=DNS:portsteer.test \
		-keyout "$DIR/key" -out "$DIR/cert" 2>"$DIR/err"
	chown -R $WEB "$DIR"
	portsteer -q add 443:8443 --user ps-web
	start openssl s_server -accept 127.0.0.1:8443 -cert "$DIR/cert" -key "$DIR/key" -www
	wait_port 8443
	every_process $WEB 1
	assert_match "$(fetch client --cacert "$DIR/cert" \
		--resolve "portsteer.test:443:$HERE4" https://portsteer.test/)" "s_server -accept"
	assert_match "$(fetch --cacert "$DIR/cert" \
		--resolve portsteer.test:443:127.0.0.1 https://portsteer.test/)" "TLSv1"
	counters 443:8443/tcp "steered=2 no_listener=0"
}

# --- ssh ---------------------------------------------------------------------------

@test "sshd of an ordinary user on port 22: key exchange, login, a command" {
	local sshd
	sshd=$(PATH=$PATH:/usr/sbin command -v sshd)
	ssh-keygen -q -t ed25519 -N '' -f "$DIR/host"
	ssh-keygen -q -t ed25519 -N '' -f "$DIR/user"
	cp "$DIR/user.pub" "$DIR/authorized_keys"
	printf '%s %s\n' "$HERE4,[$HERE6]:22,$HERE6" "$(cat "$DIR/host.pub")" >"$DIR/known"
	cat >"$DIR/sshd_config" <<-END
		ListenAddress 127.0.0.1:2222
		ListenAddress [::1]:2222
		HostKey $DIR/host
		AuthorizedKeysFile $DIR/authorized_keys
		PidFile none
		UsePAM no
		StrictModes no
		PasswordAuthentication no
		KbdInteractiveAuthentication no
	END
	chown -R $SSH:$SSH "$DIR"
	chmod 0755 "$DIR"
	portsteer -q add 22:2222 --user ps-ssh
	start -u $SSH "$sshd" -D -e -f "$DIR/sshd_config"
	wait_port 2222
	every_process $SSH 1
	cp "$DIR/user" "$DIR/root-key"
	chown 0 "$DIR/root-key"
	local address out
	for address in $HERE4 $HERE6; do
		# shellcheck disable=SC2016 # for the shell at the other end
		out=$(client ssh -F none -i "$DIR/root-key" -o IdentitiesOnly=yes -o BatchMode=yes \
			-o UserKnownHostsFile="$DIR/known" -o GlobalKnownHostsFile=none \
			-o StrictHostKeyChecking=yes -o ConnectTimeout=10 \
			"ps-ssh@$address" 'id -u; echo $SSH_CONNECTION; grep CapEff /proc/self/status' \
			2>"$DIR/err") || { cat "$DIR/err" "$LOG" >&2; return 1; }
		assert_match "$out" "^$SSH"$'\n'"[0-9a-f:.]+ [0-9]+ $address 22"$'\n'"CapEff:.0+$"
	done
	assert_match "$out" "$THERE6"
	counters 22:2222/tcp "steered=2 no_listener=0 admitted=2"
}
