#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Real servers that bind privileged ports, as ordinary users without any capability.

load lib

setup_file() { setup_env; }
setup()
{
	setup_test
	DIR=$PS_TEST_DIR/programs.$BATS_TEST_NUMBER
	mkdir "$DIR"
}
teardown() { teardown_test; }

# --- DNS ---------------------------------------------------------------------------

# start_dnsmasq [-u UID] ANSWER [OPTION]...: a server on 5353, or $PORT, that knows one name.
start_dnsmasq()
{
	local who=()
	if [ "$1" = -u ]; then
		who=(-u "$2")
		shift 2
	fi
	start "${who[@]}" "$(PATH=$PATH:/usr/sbin command -v dnsmasq)" --keep-in-foreground \
		--conf-file=/dev/null --pid-file= --log-facility=- --log-queries \
		--no-resolv --no-hosts --port="${PORT:-5353}" \
		--address="/portsteer.test/$1" "${@:2}"
}

# resolve ADDRESS [OPTION of dig]...: what the client is told about the name. dig takes
# answers only from where it has asked.
resolve()
{
	client dig +short +time=10 +tries=1 "@$1" "${@:2}" portsteer.test A
}

# no_resolver ADDRESS [OPTION of dig]...: the client is refused.
no_resolver()
{
	local status=0 out
	out=$(resolve "$@") || status=$?
	assert_equal $status 9
	assert_match "$out" "connection refused"
}

dns_rules()
{
	portsteer -q add 53:5353/udp 53:5353/tcp --mode bind --user "$1"
}

# bats test_tags=kernel
@test "dnsmasq on port 53: UDP and TCP, both families" {
	dns_rules ps-web
	start_dnsmasq 192.0.2.1
	wait_port 53
	wait_port 53 -u
	every_process $WEB 1
	assert_equal "$(ports_of $PID)" "tcp 0.0.0.0:53
tcp [::]:53
udp 0.0.0.0:53
udp [::]:53"
	local address
	for address in $HERE4 $HERE6 10.1.2.3 2001:db8:aa::1; do
		assert_equal "$(resolve $address)" 192.0.2.1
		assert_equal "$(resolve $address +tcp)" 192.0.2.1
		no_resolver $address -p 5353
		no_resolver $address -p 54
	done
	grep -q "query\[A\] portsteer.test from $THERE4" "$LOG"
	grep -q "query\[A\] portsteer.test from $THERE6" "$LOG"
	counters 53:5353/udp "translated=2 not_owner=0 failed=0"
	counters 53:5353/tcp "translated=2 not_owner=0 failed=0"
}

@test "dnsmasq was there before the rule, and is on port 53 after its restart" {
	local PORT=5300 # on 5353 nobody is taken for the owner
	start_dnsmasq 192.0.2.1
	wait_port 5300
	portsteer add 53:5300/udp 53:5300/tcp --mode bind >"$DIR/out"
	assert_equal "$(grep -c "^owner of 53:5300/[a-z]*: user ps-web " "$DIR/out")" 2
	grep "already bound; restart it for" "$DIR/out" | grep -q "dnsmasq\[$PID\]"
	assert_equal "$(resolve $HERE4 -p 5300)" 192.0.2.1
	no_resolver $HERE4
	stop $PID
	start_dnsmasq 192.0.2.2
	wait_port 53
	assert_equal "$(resolve $HERE4)" 192.0.2.2
	assert_equal "$(resolve $HERE4 +tcp)" 192.0.2.2
}

# It compares the port of each connection with its own, and says nothing if they differ.
@test "dnsmasq with TCP steered and UDP bound answers nothing over TCP: add says so" {
	portsteer -q add 53:5353/udp --user ps-web
	portsteer add 53:5353/tcp --user ps-web >"$DIR/out"
	assert_equal "$(grep -c '^note: .*53:5353/udp .*53:5353/tcp .*--mode bind' "$DIR/out")" 1
	start_dnsmasq 192.0.2.1
	wait_port 53 -u
	wait_port 5353
	assert_equal "$(resolve $HERE4)" 192.0.2.1
	[ "$(resolve $HERE4 +tcp +time=2 2>&1)" != 192.0.2.1 ]
	stop $PID
	portsteer -q del 53/tcp
	portsteer add 53:5353/tcp --mode bind --user ps-web >"$DIR/out"
	assert_equal "$(grep -c '^note: ' "$DIR/out" || true)" 0
	start_dnsmasq 192.0.2.1
	wait_port 53
	assert_equal "$(resolve $HERE4 +tcp)" 192.0.2.1
}

@test "dnsmasq of the wrong user is on its own port, and nobody on port 53" {
	dns_rules ps-web
	start_dnsmasq -u $DB 192.0.2.1
	wait_port 5353
	assert_equal "$(resolve $HERE4 -p 5353)" 192.0.2.1
	no_resolver $HERE4
	no_resolver $HERE4 +tcp
	counters 53:5353/udp "translated=0 not_owner=2"
	counters 53:5353/tcp "translated=0 not_owner=2"
}

@test "two owners' dnsmasq on port 53 of two addresses" {
	dns_rules ps-web
	portsteer -q add 10.1.2.3:53:5353/udp 10.1.2.3:53:5353/tcp --mode bind --user ps-db
	start_dnsmasq 192.0.2.1 --bind-interfaces --listen-address=$HERE4,$HERE6
	start_dnsmasq -u $DB 192.0.2.2 --bind-interfaces --listen-address=10.1.2.3
	until_true 20 all_bound
	local option
	for option in +notcp +tcp; do
		assert_equal "$(resolve $HERE4 $option)" 192.0.2.1
		assert_equal "$(resolve $HERE6 $option)" 192.0.2.1
		assert_equal "$(resolve 10.1.2.3 $option)" 192.0.2.2
		no_resolver 10.1.9.9 $option
	done
	counters 53:5353/udp "translated=2 not_owner=0"
	counters 10.1.2.3:53:5353/udp "translated=1 not_owner=0"
}

all_bound()
{
	[ "$(ss -Hlntu "sport = :53" | wc -l)" -eq 6 ]
}

@test "dnsmasq that root starts and that becomes the user has root's sockets" {
	dns_rules ps-web
	start_dnsmasq -u root 192.0.2.1 --user=ps-web --group=root
	wait_port 5353
	until_true 10 is_user $WEB
	assert_equal "$(resolve $HERE4 -p 5353)" 192.0.2.1
	no_resolver $HERE4
	counters 53:5353/udp "translated=0 not_owner=2"
}

is_user()
{
	[ "$(awk '$1 == "Uid:" { print $3 }' "/proc/$PID/status")" = "$1" ]
}

# --- UDP 443 -----------------------------------------------------------------------

@test "many clients at once as with QUIC, from both families, on UDP 443" {
	portsteer -q add 443:8443/udp --user ps-web
	start "$PYTHON" quic.py server 8443
	wait_port 443 -u
	every_process $WEB 1
	assert_equal "$(client "$PYTHON" "$PS_TEST_DIR/quic.py" clients 20 20 443 \
		$HERE4 $HERE6 10.1.2.3 2001:db8:aa::1)" "ok 1600 lost 0 wrong 0"
	assert_equal "$("$PYTHON" "$PS_TEST_DIR/quic.py" clients 20 20 443 \
		127.0.0.1 ::1 $HERE4)" "ok 1200 lost 0 wrong 0"
	counters 443:8443/udp "translated=1 failed=0"
}

@test "openssl s_server, and s_client over DTLS" {
	mkfifo "$DIR/pipe" "$DIR/open"
	make_certificate
	portsteer -q add 443:8443/udp --user ps-web
	# It ends with its standard input.
	start sh -c 'exec openssl s_server -dtls -accept 8443 -cert "$0/cert" -key "$0/key" \
		<>"$0/open"' "$DIR"
	wait_port 443 -u
	every_process $WEB 1
	client openssl s_client -dtls -connect $HERE4:443 -CAfile "$DIR/cert" \
		-verify_return_error <"$DIR/pipe" >"$DIR/out" 2>&1 3>&- &
	local asker=$! pipe
	exec {pipe}>"$DIR/pipe"
	echo "hello from the client" >&$pipe
	until_true 20 grep -q "hello from the client" "$LOG"
	grep -q "Verify return code: 0" "$DIR/out"
	exec {pipe}>&-
	wait $asker
}

make_certificate()
{
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
		-subj /CN=portsteer.test -addext subjectAltName=DNS:portsteer.test \
		-keyout "$DIR/key" -out "$DIR/cert" 2>"$DIR/err"
	chown -R $WEB "$DIR"
}

# --- nginx -------------------------------------------------------------------------

start_nginx()
{
	local nginx modules
	nginx=$(PATH=$PATH:/usr/sbin command -v nginx)
	modules=$("$nginx" -V 2>&1 | grep -o -- '--modules-path=[^ ]*')
	cat >"$DIR/nginx.conf" <<-END
		load_module ${modules#*=}/ngx_stream_module.so;
		worker_processes 2;
		pid $DIR/pid;
		error_log $DIR/error.log;
		events { worker_connections 256; }
		stream {
			server {
				listen 8443 udp reuseport;
				listen [::]:8443 udp reuseport;
				return "nginx \$remote_addr \$server_port\n";
			}
		}
		http {
			access_log off;
			$(nginx_paths "$DIR")
			server {
				listen 8443;
				listen [::]:8443;
				location / {
					return 200 "nginx \$remote_addr \$server_port\n";
				}
			}
		}
	END
	chown -R $WEB:$WEB "$DIR"
	start "$nginx" -p "$DIR" -e "$DIR/error.log" -c "$DIR/nginx.conf"
	until_true 20 is_master "$DIR/pid"
	PID=$(<"$DIR/pid")
}

# is_master FILE: the process of that number, and two workers, have the sockets.
is_master()
{
	[ -s "$1" ] && [ "$(pgrep -c -P "$(<"$1")")" = 2 ]
}

# nginx_answers: to both protocols and families, on 443; it thinks that it is on 8443.
nginx_answers()
{
	assert_equal "$(fetch client http://$HERE4:443/)" "nginx $THERE4 8443"
	assert_equal "$(fetch client "http://[$HERE6]:443/")" "nginx $THERE6 8443"
	assert_equal "$(ask client $HERE4 443)" "nginx $THERE4 8443"
	assert_equal "$(ask client $HERE6 443)" "nginx $THERE6 8443"
	refused client http://$HERE4:8443/
	ask_refused client $HERE4 8443
}

NGINX_PORTS="tcp 0.0.0.0:443
tcp [::]:443
udp 0.0.0.0:443
udp [::]:443"

@test "nginx on TCP and UDP 443, and its reload" {
	portsteer -q add 443:8443/tcp 443:8443/udp --mode bind --user ps-web
	start_nginx
	every_process $WEB 3
	assert_equal "$(ports_of "$PID")" "$NGINX_PORTS"
	nginx_answers
	kill -HUP "$PID"
	nginx_answers
	until_true 10 is_master "$DIR/pid"
	nginx_answers
	assert_equal "$(listener_count 443:8443/tcp) $(listener_count 443:8443/udp)" "2 4"
	counters 443:8443/tcp "translated=2 not_owner=0 failed=0"
	counters 443:8443/udp "translated=4 not_owner=0 failed=0"
}

# The new process inherits the sockets, and asks getsockname whether they are those of its
# configuration.
@test "nginx takes over from an older nginx without a new bind" {
	portsteer -q add 443:8443/tcp 443:8443/udp --mode bind --user ps-web
	start_nginx
	local old=$PID
	kill -USR2 "$old"
	until_true 20 [ -s "$DIR/pid.oldbin" ]
	until_true 20 is_master "$DIR/pid"
	[ "$(<"$DIR/pid")" != "$old" ]
	kill -QUIT "$old"
	until_true 20 gone "$old"
	assert_equal "$(ports_of "$(<"$DIR/pid")")" "$NGINX_PORTS"
	nginx_answers
	assert_equal "$(grep -cE 'emerg|alert' "$DIR/error.log")" 0
	counters 443:8443/tcp "translated=2 not_owner=0 failed=0"
}

# --- ssh ---------------------------------------------------------------------------

@test "sshd of an ordinary user who is allowed port 22" {
	ssh-keygen -q -t ed25519 -N '' -f "$DIR/host"
	ssh-keygen -q -t ed25519 -N '' -f "$DIR/user"
	cp "$DIR/user.pub" "$DIR/authorized_keys"
	printf '%s %s\n' "$HERE4,$HERE6" "$(cat "$DIR/host.pub")" >"$DIR/known"
	cat >"$DIR/sshd_config" <<-END
		Port 22
		HostKey $DIR/host
		AuthorizedKeysFile $DIR/authorized_keys
		PidFile none
		UsePAM no
		StrictModes no
		PasswordAuthentication no
		KbdInteractiveAuthentication no
	END
	cp "$DIR/user" "$DIR/root-key"
	chown $SSH:$SSH "$DIR"/[!r]*
	chmod 0755 "$DIR"
	portsteer -q allow 22 --user ps-ssh
	start -u $SSH "$(PATH=$PATH:/usr/sbin command -v sshd)" -D -e -f "$DIR/sshd_config"
	wait_port 22
	every_process $SSH 1
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
	counters 22/tcp "granted=2 not_owner=0 failed=0"
}

@test "sshd of the wrong user does not start" {
	ssh-keygen -q -t ed25519 -N '' -f "$DIR/host"
	printf '%s\n' "Port 22" "HostKey $DIR/host" "PidFile none" >"$DIR/sshd_config"
	chown -R $WEB "$DIR"
	portsteer -q allow 22 --user ps-ssh
	start "$(PATH=$PATH:/usr/sbin command -v sshd)" -D -e -f "$DIR/sshd_config"
	until_true 20 gone $PID
	grep -q "Bind to port 22 on 0.0.0.0 failed: Permission denied" "$LOG"
	counters 22/tcp "granted=0 not_owner=2"
}

# --- what setcap, authbind and their like cannot do --------------------------------

@test "a statically linked program" {
	install -m 0755 "$REPO/build/tools/static_server" "$PS_TEST_DIR"
	portsteer -q add 80:8080 --mode bind --user ps-web
	portsteer -q allow 443 --user ps-web
	start "$PS_TEST_DIR/static_server" 8080
	wait_port 80
	start "$PS_TEST_DIR/static_server" 443
	wait_port 443
	every_process $WEB 2
	assert_equal "$(fetch client http://$HERE4/)" "static 8080"
	assert_equal "$(fetch client "http://[$HERE6]/")" "static 8080"
	assert_equal "$(fetch client http://$HERE4:443/)" "static 443"
	refused client http://$HERE4:8080/
}

@test "a shell script that starts python" {
	echo hello >"$DIR/file"
	cat >"$DIR/script" <<-END
		#!/bin/sh
		echo begin
		"$PYTHON" -u -m http.server 8080 --directory "$DIR"
		echo end
	END
	chmod -R 0755 "$DIR"
	portsteer -q add 80:8080 --mode bind --user ps-web
	start "$DIR/script"
	wait_port 80
	every_process $WEB 2
	assert_equal "$(fetch client http://$HERE4/file)" hello
	grep -q "^Serving HTTP on 0.0.0.0 port 8080 " "$LOG"
	until_true 5 grep -q "^$THERE4 .*GET /file" "$LOG"
}

@test "a perl script on an allowed port, and another user's run of it" {
	cat >"$DIR/script" <<-'END'
		#!/usr/bin/perl
		use IO::Socket::INET;
		my $sock = IO::Socket::INET->new(Proto => "udp", LocalPort => 69) or die "$!\n";
		while ($sock->recv(my $packet, 1000)) {
			$sock->send("perl " . $sock->sockport . "\n");
		}
	END
	chmod -R 0755 "$DIR"
	portsteer -q allow 69/udp --user ps-web
	start "$DIR/script"
	wait_port 69 -u
	every_process $WEB 1
	assert_equal "$(ask client $HERE4 69)" "perl 69"
	stop $PID
	start -u $DB "$DIR/script"
	until_true 20 gone $PID
	assert_equal "$(<"$LOG")" "Permission denied"
	counters 69/udp "granted=1 not_owner=1"
}

@test "root of a user namespace is not root, and the user in it stays the user" {
	portsteer -q allow 443 --user root
	portsteer -q add 80:8080 --mode bind --user ps-web
	start unshare -Ur "$PYTHON" -u -m http.server 443
	until_true 20 gone $PID
	grep -q "PermissionError" "$LOG"
	start unshare -Ur "$PYTHON" -u -m http.server 8080
	wait_port 80
	assert_equal "$(client curl -s -o /dev/null -w '%{http_code}' http://$HERE4/)" 200
	counters 443/tcp "granted=0 not_owner=1"
	counters 80:8080/tcp "translated=1 not_owner=0"
}
