#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Make many connections and say what became of them.

connect.py [--procs N] [--count N | --until FILE] [--pause SECONDS] [--from PORT]
           ADDRESS PORT
prints "ok N refused N broken N names A=N,B=N": answered; not even connected; connected but
not answered; and how many answers each server gave. Behind it, if any failed, " errors E=N":
where, with which error, how often. With --until it goes on until FILE exists; --pause is between
two connections. Each process stays on a CPU of its own.
"""
import argparse
import collections
import errno
import os
import pickle
import socket
import time


def note(tally, where, error):
    number = getattr(error, "errno", None)
    tally[f"error {where}:{errno.errorcode.get(number, type(error).__name__)}"] += 1


def listed(tally, word):
    return ",".join(f"{k[len(word):]}={tally[k]}" for k in sorted(tally) if k.startswith(word))


def once(address, source, tally):
    try:
        sock = socket.create_connection(address, 10, source and ("", source))
    except OSError as error:
        # A reset before the handshake is done is ECONNREFUSED (tcp_reset() in the kernel).
        # What comes after it is ECONNRESET, also if connect() has not returned by then.
        reset = isinstance(error, ConnectionResetError)
        tally["broken" if reset else "refused"] += 1
        note(tally, "connect", error)
        return
    try:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        reply = b""
        while got := sock.recv(4096):
            reply += got
        name = reply.split(b"\r\n\r\n", 1)[1].split()[0].decode()
        tally["ok"] += 1
        tally["name " + name] += 1
    except (OSError, IndexError) as error:
        tally["broken"] += 1
        note(tally, "answer", error)
    finally:
        sock.close()


def run(args, number, count):
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[number % len(cpus)]})
    tally = collections.Counter()
    done = 0
    while not os.path.exists(args.until) if args.until else done < count:
        once((args.address, args.port), args.source, tally)
        done += 1
        time.sleep(args.pause)
    return tally


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--procs", type=int, default=1)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--until")
    parser.add_argument("--pause", type=float, default=0)
    parser.add_argument("--from", dest="source", type=int)
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    args = parser.parse_args()
    readers = []
    for number in range(args.procs):
        share = args.count // args.procs + (number < args.count % args.procs)
        ends = os.pipe()
        if not os.fork():
            os.write(ends[1], pickle.dumps(run(args, number, share)))
            os._exit(0)
        os.close(ends[1])
        readers.append(os.fdopen(ends[0], "rb"))
    tally = collections.Counter()
    for reader in readers:
        tally += pickle.loads(reader.read())
    names, errors = listed(tally, "name "), listed(tally, "error ")
    print(
        f"ok {tally['ok']} refused {tally['refused']} broken {tally['broken']} names {names}"
        + (f" errors {errors}" if errors else "")
    )


main()
