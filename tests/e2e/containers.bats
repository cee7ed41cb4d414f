#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# What listens where a container publishes a port is not the container: Docker's and Podman's own
# programs, as Debian has them, are told by their names, and what is said of them is what happens.
# scripts/deps containers and scripts/fetch-docker-proxy bring them.

load lib

BOX4=203.0.113.2

setup_file()
{
	setup_env
	command -v podman >/dev/null || skip "there is no podman: run scripts/deps containers"
	docker_proxy >/dev/null || skip "there is no docker-proxy: run scripts/fetch-docker-proxy"
	make_image
}

setup()
{
	setup_test
	DIR=$PS_TEST_DIR/containers.$BATS_TEST_NUMBER
	mkdir "$DIR"
}

teardown()
{
	teardown_test
	# What Podman leaves where it cannot clean up.
	ip link del podman0 2>/dev/null || true
	iptables -t nat -F
	iptables -t nat -X
	iptables -F
	iptables -X
	sysctl -qw net.ipv4.ip_forward=0
}

# An image with one program in it, which says on which port it was reached: "static 80".
make_image()
{
	local image=$PS_TEST_DIR/image
	mkdir "$image"
	install -m 0755 "$REPO/build/tools/static_server" "$image"
	tar -C "$image" -cf "$image.tar" .
	# Podman as it is, but for what would leave the test: the host's cgroups and its journal.
	cat >"$PS_TEST_DIR/containers.conf" <<-END
		[containers]
		cgroups = "disabled"
		log_driver = "none"
		[engine]
		cgroup_manager = "cgroupfs"
		events_logger = "none"
	END
}

# Where Docker is not installed, the one that scripts/fetch-docker-proxy has taken from its package.
docker_proxy()
{
	command -v docker-proxy && return
	[ -x "$REPO/build/docker-proxy" ] && echo "$REPO/build/docker-proxy"
}

# container UID|root [OPTION of podman run]...: run the image, as people do.
container()
{
	export -f podman_host as
	start -u root -g pods unshare --mount --propagation private bash -euc '
		podman_host "$1" "$2"
		(as "$1" podman import -q "$PS_TEST_DIR/image.tar" web)
		(as "$1" podman run -d "${@:3}" web /static_server 80)
	' - "$1" "$DIR/home" "${@:2}"
}

# podman_host UID|root HOME: what Podman keeps outside of the test's own folder is in folders that
# go with its processes. As on a host of today there is one tree of cgroups, and a tun device for
# everybody.
podman_host()
{
	mount --make-rshared /
	mount --bind "$PS_TEST_CGROUP2" /sys/fs/cgroup
	mount -t tmpfs -o mode=1777 none /dev/shm
	mount -t tmpfs -o mode=0755 none /dev/net
	mknod -m 0666 /dev/net/tun c 10 200
	mount -t tmpfs -o mode=0755 none /var/lib
	mount -t tmpfs -o mode=0755 none /run
	export CONTAINERS_CONF=$PS_TEST_DIR/containers.conf STORAGE_DRIVER=vfs HOME=$2 TMPDIR=$2
	install -d -o "${1/root/0}" "$HOME"
	if [ "$1" != root ]; then
		export XDG_RUNTIME_DIR=/run/user/$1
		install -D -d -o "$1" "$XDG_RUNTIME_DIR"
	fi
}

# served [client] URL: the container answers.
served()
{
	[ "$(fetch "$@" 2>&1)" = "static 80" ]
}

# hangs [client] URL: the connection is taken, and no answer comes.
hangs()
{
	local status=0
	fetch "$@" >/dev/null 2>&1 || status=$?
	assert_equal "curl $*: $status" "curl $*: 28"
}

# assert_program PID PATTERN: what runs is the program of that file, not one called so.
assert_program()
{
	assert_match "$(readlink "/proc/$1/exe")" "$2"
}

# listener PORT: the process that listens there.
listener()
{
	ss -Hltnp "sport = :$1" | sed -n 's/.*pid=\([0-9]*\),.*/\1/p'
}

@test "Docker: docker-proxy listens, and passes connections on" {
	local unit=/system.slice/docker.service out
	make_pair box veth-b 203.0.113 2001:db8:2:
	serve -u root -N box inside $BOX4 80
	host_cgroup $unit
	# As dockerd starts it, with a file for it to say "0" in when it listens.
	# shellcheck disable=SC2016 # for the inner shell
	start -u root -g $unit bash -c 'exec "$@" 3>"$0"' "$DIR/said" "$(docker_proxy)" -proto tcp \
		-host-ip 0.0.0.0 -host-port 8080 -container-ip $BOX4 -container-port 80
	until_true 20 grep -qsx 0 "$DIR/said"
	assert_program "$PID" "/docker-proxy$"
	out=$(portsteer add 80:8080 --user ps-web)
	assert_match "$out" "0\.0\.0\.0:8080 root docker-proxy\[$PID\] in unit docker.service \
does not serve rule 80:8080/tcp: not the owner's; if it is Docker's docker-proxy, it forwards connections \
.* see its address .* if it is the server, use --cgroup unit:docker.service$"
	refused client "http://$HERE4/"
	portsteer -q del 80
	portsteer -q add 80:8080 --cgroup unit:docker.service
	# The server in there sees the host's address for the client's.
	assert_match "$(fetch client "http://$HERE4/")" "^inside [0-9]+ ${BOX4%.*}.1 $BOX4 80$"
	ip netns del box
}

@test "Podman of root: conmon keeps the port, and never answers" {
	local out pid
	container root -p 8080:80
	until_true 20 served client "http://$HERE4:8080/"
	pid=$(listener 8080)
	assert_program "$pid" "/conmon$"
	out=$(portsteer add 80:8080 --user ps-web)
	assert_match "$out" "0\.0\.0\.0:8080 root conmon\[$pid\] in cgroup /$CG/pods does not serve \
rule 80:8080/tcp: not the owner's; if it is Podman's conmon, it only reserves a container.s port .*never answers"
	[[ $out != *"server, use"* ]]
	assert_match "$(portsteer list)" "conmon\[$pid\] \(not admitted: not the owner's\)"
	portsteer -q del 80
	# It is said of a rule that has it for its owner, too, and is so.
	assert_match "$(portsteer add 80:8080)" "the owner of rule 80:8080/tcp is every process of root; \
if it is Podman's conmon, it only reserves a container's port and never answers"
	hangs client --max-time 2 "http://$HERE4/"
	counters 80:8080/tcp "steered=1"
	# The port itself is the container's as before.
	served client "http://$HERE4:8080/"
}

@test "Podman of a user: rootlessport listens, and passes connections on" {
	local pid
	container $WEB --network slirp4netns -p 8080:80
	until_true 20 is_open 8080
	pid=$(listener 8080)
	assert_program "$pid" "/rootlessport$"
	assert_match "$(portsteer add 80:8080 --user ps-db)" "\[::\]:8080 ps-web rootlessport\[$pid\] .* \
if it is Podman's rootlessport, it forwards connections .* if it is the server, use --user ps-web$"
	refused client "http://$HERE4/"
	portsteer -q del 80
	portsteer -q add 80:8080 --user ps-web
	until_true 20 served client "http://$HERE4/"
	served client "http://[$HERE6]/"
}

@test "Podman of a user, with slirp4netns alone: that listens, and passes connections on" {
	local pid
	container $WEB --network slirp4netns:port_handler=slirp4netns -p 8080:80
	until_true 20 is_open 8080
	pid=$(listener 8080)
	assert_program "$pid" "/slirp4netns$"
	assert_match "$(portsteer add 80:8080 --user ps-db)" "0\.0\.0\.0:8080 ps-web \
slirp4netns\[$pid\] .* if it is the container's network helper slirp4netns, it forwards connections \
.* if it is the server, use --user ps-web$"
	portsteer -q del 80
	portsteer -q add 80:8080 --user ps-web
	until_true 20 served client "http://$HERE4/"
}

# It runs the program that fits the processor: pasta.avx2, and in older versions passt.avx2.
@test "a port that pasta publishes" {
	ip route add default via $THERE4
	start -u $WEB pasta -f --config-net -t 8080 -u none -T none -U none -- sleep 1000
	until_true 10 is_open 8080
	assert_match "$(portsteer add 80:8080 --user ps-db)" \
		"ps-web pas(ta|st)[.a-z0-9]*\[[0-9]+\] .* if it is .* network helper pas(ta|st), it \
forwards connections .* if it is the server, use --user ps-web$"
	ip route del default
}
