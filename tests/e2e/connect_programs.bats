#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Real programs as clients in a client cgroup: they work, and see what they have asked for.

load lib

setup_file() { setup_env; }
setup()
{
	setup_test
	DIR=$PS_TEST_DIR/programs.$BATS_TEST_NUMBER
	mkdir "$DIR"
}
teardown() { teardown_test; }

# --- HTTP --------------------------------------------------------------------------

# start_nginx NAME PORT: a server on both loopback addresses that says its name.
start_nginx()
{
	mkdir "$DIR/$1"
	cat >"$DIR/$1/nginx.conf" <<-END
		daemon off;
		worker_processes 2;
		pid $DIR/$1/pid;
		error_log $DIR/$1/error.log;
		events { worker_connections 256; }
		http {
			access_log $DIR/$1/access.log;
			$(nginx_paths "$DIR/$1")
			server {
				listen 127.0.0.1:$2;
				listen [::1]:$2;
				location / {
					return 200 "$1 \$http_host\n";
				}
			}
		}
	END
	chown -R $WEB:$WEB "$DIR/$1"
	chmod 0755 "$DIR"
	start nginx -p "$DIR/$1" -e "$DIR/$1/error.log" -c "$DIR/$1/nginx.conf"
	wait_port "$2"
}

# bats test_tags=kernel
@test "curl and two nginx: each cgroup has its own on port 80" {
	start_nginx blue 8001
	start_nginx green 8002
	every_process $WEB 6
	portsteer -q add 80:8001 --client-cgroup "$CG/a" --user ps-web
	portsteer -q add 80:8002 --client-cgroup "$CG/b" --user ps-web
	local host
	for host in localhost 127.0.0.1 '[::1]'; do
		assert_match "$(from a fetch "http://$host/")" "^blue "
		assert_match "$(from b fetch "http://$host/")" "^green "
		refused "http://$host/"
	done
	assert_equal "$(from a fetch -o /dev/null -w '%{remote_ip} %{remote_port}' \
		http://127.0.0.1/)" "127.0.0.1 80"
	assert_equal "$(from a fetch -o /dev/null -w '%{remote_ip} %{remote_port}' \
		"http://[::1]/")" "::1 80"
	assert_equal "$(from a fetch http://127.0.0.1/)" "blue 127.0.0.1"
	counters 80:8001/tcp "steered=6 no_listener=0 wrong_family=0"
}

@test "curl falls back to IPv4 where nobody serves IPv6" {
	start "$PYTHON" -u -m http.server 8000 --bind 127.0.0.1 --directory "$DIR"
	chmod 0755 "$DIR"
	echo hello >"$DIR/file"
	wait_port 8000
	portsteer -q add 80:8000 --client-cgroup "$CG/a" --user ps-web
	assert_equal "$(from a fetch http://localhost/file)" hello
}

@test "nginx as a client: a proxy in the client cgroup, and one outside" {
	serve web 127.0.0.1 8080
	portsteer -q add 90:8080 --client-cgroup "$CG/a" --user ps-web
	local where
	for where in a b; do
		cat >"$DIR/$where.conf" <<-END
			daemon off;
			pid $DIR/$where.pid;
			error_log $DIR/$where.log;
			events { worker_connections 64; }
			http {
				access_log off;
				client_body_temp_path $DIR/$where-body;
				proxy_temp_path $DIR/$where-proxy;
				fastcgi_temp_path $DIR/$where-fastcgi;
				uwsgi_temp_path $DIR/$where-uwsgi;
				scgi_temp_path $DIR/$where-scgi;
				server {
					listen unix:$DIR/$where.sock;
					location / { proxy_pass http://127.0.0.1:90; }
				}
			}
		END
		chown $WEB "$DIR"
		start -g $where nginx -p "$DIR" -e "$DIR/$where.log" -c "$DIR/$where.conf"
		until_true 20 test -S "$DIR/$where.sock"
	done
	assert_match "$(fetch --unix-socket "$DIR/a.sock" http://x/)" "^web "
	assert_match "$(fetch --unix-socket "$DIR/b.sock" http://x/)" "502 Bad Gateway"
}

@test "python: urllib, asyncio, and threads of one process" {
	serve web :: 8080 --dual --reuseport --workers 2
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	assert_match "$(from a "$PYTHON" -c '
import urllib.request
for host in "localhost", "127.0.0.1", "[::1]":
    print(urllib.request.urlopen(f"http://{host}/", timeout=10).read().decode().split()[0])
')" $'^web\nweb\nweb$'
	assert_equal "$(from a "$PYTHON" -c '
import asyncio
async def ask():
    reader, writer = await asyncio.open_connection("127.0.0.1", 80)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    body = (await reader.read()).split(b"\r\n")[-1]
    return body.split()[0].decode(), *writer.get_extra_info("peername")
async def main():
    return set(await asyncio.gather(*(ask() for _ in range(50))))
print(asyncio.run(main()))
')" "{('web', '127.0.0.1', 80)}"
	assert_equal "$(from a "$PYTHON" -c '
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
def ask(n):
    connection = HTTPConnection("127.0.0.1", timeout=10)
    connection.request("GET", "/")
    return connection.getresponse().read().split()[0]
print(set(ThreadPoolExecutor(8).map(ask, range(80))))
')" "{b'web'}"
	counters 80:8080/tcp "steered=133 no_listener=0"
}

# What localhost is depends on /etc/hosts; here it is both addresses, which node tries in turn.
@test "node: http.get to localhost, by whichever address is served" {
	portsteer -q add 80:8080 --client-cgroup "$CG/a" --user ps-web
	cat >"$DIR/get.js" <<-'END'
		const both = [{ address: '::1', family: 6 }, { address: '127.0.0.1', family: 4 }];
		const request = require('http').get({
			host: process.argv[2], port: 80, agent: false, autoSelectFamily: true,
			lookup: (name, options, done) => done(null, both),
		});
		request.on('error', (error) => console.log(error.code || error.errors[0].code));
		request.on('response', (response) => {
			const { remoteAddress, remotePort } = response.socket;
			response.on('data', (data) =>
				console.log(`${data}`.split(' ')[0], remoteAddress, remotePort));
		});
	END
	local address
	for address in 127.0.0.1 ::1 ::; do
		if [ $address = :: ]; then
			serve web :: 8080 --dual
		else
			serve web $address 8080
		fi
		assert_match "$(from a node "$DIR/get.js" localhost)" "^web (127.0.0.1|::1) 80$"
		stop $PID
	done
	serve web :: 8080 --dual
	assert_equal "$(from a node "$DIR/get.js" 127.0.0.1)" "web 127.0.0.1 80"
	assert_equal "$(from a node "$DIR/get.js" ::1)" "web ::1 80"
	assert_equal "$(from a node "$DIR/get.js" ::ffff:127.0.0.1)" "web ::ffff:127.0.0.1 80"
	assert_equal "$(node "$DIR/get.js" 127.0.0.1)" ECONNREFUSED
	stop $PID
	assert_equal "$(from a node "$DIR/get.js" 127.0.0.1)" ECONNREFUSED
}

# --- DNS ---------------------------------------------------------------------------

# start_dnsmasq PORT ANSWER: a server on loopback that knows one name.
start_dnsmasq()
{
	start "$(PATH=$PATH:/usr/sbin command -v dnsmasq)" --keep-in-foreground \
		--conf-file=/dev/null --pid-file= --log-facility=- --no-resolv --no-hosts \
		--port="$1" --listen-address=127.0.0.1,::1 --bind-interfaces \
		--address="/portsteer.test/$2"
	wait_port "$1"
	wait_port "$1" -u
}

# resolve SERVER [OPTION of dig]...: dig takes answers only from where it has asked.
resolve()
{
	dig +short +time=10 +tries=1 "@$1" "${@:2}" portsteer.test A
}

@test "dig and two dnsmasq: each cgroup has its own on port 53, UDP and TCP" {
	start_dnsmasq 5301 192.0.2.1
	start_dnsmasq 5302 192.0.2.2
	every_process $WEB 2
	portsteer -q add 53:5301/udp 53:5301/tcp --client-cgroup "$CG/a" --any-user
	portsteer -q add 53:5302/udp 53:5302/tcp --client-cgroup "$CG/b" --any-user
	local server option
	for server in 127.0.0.1 ::1; do
		for option in +notcp +tcp; do
			assert_equal "$(from a resolve $server $option)" 192.0.2.1
			assert_equal "$(from b resolve $server $option)" 192.0.2.2
		done
	done
	assert_match "$(from a dig +time=10 +tries=1 @127.0.0.1 portsteer.test A)" \
		"SERVER: 127.0.0.1#53\(127.0.0.1\)"
	local status=0
	resolve 127.0.0.1 >"$DIR/out" || status=$?
	assert_equal $status 9
	counters 53:5301/udp "no_listener=0 refused=0"
}

@test "the C library's resolver" {
	start_dnsmasq 5301 192.0.2.1
	portsteer -q add 53:5301/udp --client-cgroup "$CG/a" --any-user
	echo 'nameserver 127.0.0.1' >"$DIR/resolv.conf"
	assert_match "$(from a unshare -m --propagation private sh -c '
		mount --bind "$1/resolv.conf" /etc/resolv.conf
		exec getent -s dns ahostsv4 portsteer.test' - "$DIR")" "^192.0.2.1 "
}

@test "dnsmasq as a client: its upstream is on another port" {
	start_dnsmasq 5301 192.0.2.1
	portsteer -q add 53:5301/udp --client-cgroup "$CG/cache" --any-user
	start -g cache "$(PATH=$PATH:/usr/sbin command -v dnsmasq)" --keep-in-foreground \
		--conf-file=/dev/null --pid-file= --log-facility=- --no-resolv --no-hosts \
		--port=5399 --listen-address=127.0.0.1 --bind-interfaces --server=127.0.0.1
	wait_port 5399 -u
	assert_equal "$(resolve 127.0.0.1 -p 5399)" 192.0.2.1
	counters 53:5301/udp "no_listener=0"
}

# --- TLS ---------------------------------------------------------------------------

@test "openssl s_client and curl over TLS: the name and the port are those asked for" {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
		-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
		-keyout "$DIR/key" -out "$DIR/cert" 2>"$DIR/err"
	chown -R $WEB "$DIR"
	portsteer -q add 443:8443 --client-cgroup "$CG/a" --user ps-web
	start openssl s_server -accept 127.0.0.1:8443 -cert "$DIR/cert" -key "$DIR/key" -www
	wait_port 8443
	assert_match "$(from a openssl s_client -connect 127.0.0.1:443 -CAfile "$DIR/cert" \
		-verify_return_error -verify_ip 127.0.0.1 -brief </dev/null 2>&1)" \
		"Verification: OK.*Verified peername: 127.0.0.1|Peer certificate: CN ?= ?localhost"
	assert_match "$(from a fetch --cacert "$DIR/cert" https://localhost/)" "s_server -accept"
	assert_equal "$(from a fetch --cacert "$DIR/cert" -o /dev/null \
		-w '%{remote_ip} %{remote_port}' https://127.0.0.1/)" "127.0.0.1 443"
	refused --cacert "$DIR/cert" https://localhost/
	counters 443:8443/tcp "steered=3 no_listener=0"
}

# --- ssh ---------------------------------------------------------------------------

# start_sshd NAME PORT
start_sshd()
{
	ssh-keygen -q -t ed25519 -N '' -f "$DIR/$1-host"
	cat >"$DIR/$1-config" <<-END
		ListenAddress 127.0.0.1:$2
		ListenAddress [::1]:$2
		HostKey $DIR/$1-host
		AuthorizedKeysFile $DIR/authorized_keys
		PidFile none
		UsePAM no
		StrictModes no
		PasswordAuthentication no
		KbdInteractiveAuthentication no
	END
	chown $SSH:$SSH "$DIR/$1"-*
	start -u $SSH "$(PATH=$PATH:/usr/sbin command -v sshd)" -D -e -f "$DIR/$1-config"
	wait_port "$2"
}

# known_ssh NAME ADDRESS: log in; the host's key must be the one known for that address and
# port 22, which ssh looks up by what getpeername says.
known_ssh()
{
	printf '%s %s\n' "$2" "$(cat "$DIR/$1-host.pub")" >"$DIR/$1-known"
	# shellcheck disable=SC2016 # for the shell at the other end
	ssh -F none -i "$DIR/user" -o IdentitiesOnly=yes -o BatchMode=yes -o CheckHostIP=yes \
		-o UserKnownHostsFile="$DIR/$1-known" -o GlobalKnownHostsFile=none \
		-o StrictHostKeyChecking=yes -o ConnectTimeout=10 "ps-ssh@$2" \
		'id -u; echo $SSH_CONNECTION' 2>"$DIR/err" || { cat "$DIR/err" >&2; return 1; }
}

@test "ssh to two hosts' sshd on port 22 of one address, each with its known key" {
	ssh-keygen -q -t ed25519 -N '' -f "$DIR/user"
	cp "$DIR/user.pub" "$DIR/authorized_keys"
	chmod 0755 "$DIR"
	start_sshd one 2201
	start_sshd two 2202
	portsteer -q add 22:2201 --client-cgroup "$CG/a" --user ps-ssh
	portsteer -q add 22:2202 --client-cgroup "$CG/b" --user ps-ssh
	local address
	for address in 127.0.0.1 ::1; do
		assert_match "$(from a known_ssh one $address)" "^$SSH"$'\n'"$address [0-9]+ $address 22$"
		assert_match "$(from b known_ssh two $address)" "^$SSH"$'\n'"$address [0-9]+ $address 22$"
	done
	local status=0
	known_ssh one 127.0.0.1 >"$DIR/out" 2>&1 || status=$?
	[ $status != 0 ]
	grep -q "port 22: Connection refused" "$DIR/out"
}
