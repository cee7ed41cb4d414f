#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Replace a ruleset many times, while clients on every CPU say which one they met.

swaps.py [--from CGROUP] COUNT ENDPOINT... -- COMMAND
runs COMMAND, its last word followed by "b" and "a" in turns, COUNT times: so the ruleset
b replaces a, and a b.
ENDPOINT is ADDRESS,PORT,NAME,NAME: who answers there under ruleset a, and who under b;
"-" is nobody, the connection is refused. Clients are moved to CGROUP.

A connection has met a ruleset at some moment between its begin and its end. One that was
answered by neither NAME is wrong. A ruleset that comes into force at one instant leaves
no two connections of which the first had ended with the new one before the second began
and met the old one: these are counted as torn, over all endpoints and CPUs. One that meets
the old ruleset after the command has ended, or the new one before it has begun, is stale.
Prints "swaps N connections N seen A+B wrong N torn N stale N".
"""
import argparse
import bisect
import os
import pickle
import signal
import socket
import subprocess
import sys
import time


def answer(endpoint):
    """The server's name, "-" for a refused connection, anything else is an error's."""
    family = socket.AF_INET6 if ":" in endpoint[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(10)
        began = time.monotonic()
        try:
            sock.connect((endpoint[0], int(endpoint[1])))
        except ConnectionRefusedError:
            return began, time.monotonic(), "-"
        except OSError as error:
            return began, time.monotonic(), repr(error)
        ended = time.monotonic()
        try:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            reply = b""
            while got := sock.recv(4096):
                reply += got
            return began, ended, reply.split(b"\r\n\r\n", 1)[1].split()[0].decode()
        except (OSError, IndexError) as error:
            return began, ended, repr(error)


def client(cpu, args, endpoints):
    """Until SIGTERM: (began, ended, endpoint, name) of each connection."""
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    os.sched_setaffinity(0, {cpu})
    if args.cgroup:
        with open(os.path.join(args.cgroup, "cgroup.procs"), "w", encoding="ascii") as procs:
            procs.write("0")
    seen = []
    while not stopped:
        for number, endpoint in enumerate(endpoints):
            began, ended, name = answer(endpoint)
            seen.append((began, ended, number, name))
    return seen


def start(cpu, args, endpoints):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, os.fdopen(reader, "rb")
    with os.fdopen(writer, "wb") as out:
        pickle.dump(client(cpu, args, endpoints), out)
    os._exit(0)


def swap(args):
    """(began, ended) of each command; the first is ruleset b's."""
    times = []
    for number in range(args.count):
        began = time.monotonic()
        subprocess.run(args.command[:-1] + [args.command[-1] + "ba"[number % 2]], check=True)
        times.append((began, time.monotonic()))
    return times


def torn(seen, times):
    """Within each swap: what ended with the new ruleset before what met the old one began."""
    count = stale = 0
    seen.sort()
    begins = [one[0] for one in seen]
    for number, (began, ended) in enumerate(times):
        new = "ba"[number % 2]
        until = times[number + 1][0] if number + 1 < len(times) else float("inf")
        after = times[number - 1][1] if number else 0
        near = seen[bisect.bisect(begins, after) : bisect.bisect(begins, until)]
        near = [one for one in near if one[1] < until]
        first_new = min((one[1] for one in near if one[2] == new), default=float("inf"))
        count += sum(one[2] != new and one[0] > first_new for one in near)
        stale += sum(one[2] != new and one[0] > ended for one in near)
        stale += sum(one[2] == new and one[1] < began for one in near)
    return count, stale


def judge(connections, endpoints, times):
    seen, wrong = [], 0
    for began, ended, number, name in connections:
        names = endpoints[number][2:4]
        if name not in names:
            wrong += 1
            print(f"{endpoints[number]}: {name}", file=sys.stderr)
        elif names[0] != names[1]:
            seen.append((began, ended, "ab"[names.index(name)]))
    met = [sum(one[2] == which for one in seen) for which in "ab"]
    count, stale = torn(seen, times)
    print(f"swaps {len(times)} connections {len(connections)} seen {met[0]}+{met[1]} "
          f"wrong {wrong} torn {count} stale {stale}")


def main():
    at = sys.argv.index("--")
    parser = argparse.ArgumentParser()
    parser.add_argument("--from", dest="cgroup")
    parser.add_argument("count", type=int)
    parser.add_argument("endpoints", nargs="+")
    args = parser.parse_args(sys.argv[1:at])
    args.command = sys.argv[at + 1 :]
    endpoints = [tuple(endpoint.split(",")) for endpoint in args.endpoints]
    clients = [start(cpu, args, endpoints) for cpu in sorted(os.sched_getaffinity(0))]
    times = swap(args)
    connections = []
    for pid, reader in clients:
        os.kill(pid, signal.SIGTERM)
        connections += pickle.load(reader)
        os.waitpid(pid, 0)
    judge(connections, endpoints, times)


main()
