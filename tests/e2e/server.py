#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A small HTTP server whose listening sockets are made exactly as a test asks.

Answers every request with one line: NAME PID PEER-ADDRESS LOCAL-ADDRESS LOCAL-PORT, and
writes the same line to --log. Prints "ready PID..." on stdout once it listens.
"""
import argparse
import ctypes
import os
import signal
import socket
import struct
import sys

IPPROTO_MPTCP = 262
SO_ATTACH_REUSEPORT_CBPF = 51


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--name", default="server")
    parser.add_argument("--log")
    parser.add_argument("--v6only", action="store_true")
    parser.add_argument("--dual", action="store_true")
    parser.add_argument("--reuseport", action="store_true")
    parser.add_argument("--mptcp", action="store_true")
    parser.add_argument("--take-all", action="store_true", help="of a group of two")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--shared", type=int, default=1, help="processes for one socket")
    return parser.parse_args()


def listener(args):
    family = socket.AF_INET6 if ":" in args.address else socket.AF_INET
    proto = IPPROTO_MPTCP if args.mptcp else 0
    sock = socket.socket(family, socket.SOCK_STREAM, proto)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if args.reuseport:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if args.dual else 1)
    sock.bind((args.address, args.port))
    sock.listen(4096)
    if args.take_all:
        # A classic BPF program that returns 1: the group's second socket.
        code = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 1))
        program = struct.pack("@HP", 1, ctypes.addressof(code))
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)
    return sock


def answer(conn, peer, args, log):
    conn.settimeout(10)
    try:
        local = conn.getsockname()
        request = b""
        while b"\r\n\r\n" not in request:
            got = conn.recv(4096)
            if not got:
                return
            request += got
        line = f"{args.name} {os.getpid()} {peer[0]} {local[0]} {local[1]}\n"
        if log:
            os.write(log, line.encode())
        head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(line)}\r\nConnection: close\r\n\r\n"
        conn.sendall((head + line).encode())
    except OSError:
        pass  # the client went away
    finally:
        conn.close()


def serve(sock, args):
    log = os.open(args.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if args.log else None
    while True:
        conn, peer = sock.accept()
        answer(conn, peer, args, log)


def worker(args):
    """A child with a listener of its own; dies with its parent."""
    ready, tell = os.pipe()
    pid = os.fork()
    if not pid:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        sock = listener(args)
        os.write(tell, b".")
        os.close(tell)
        os.close(1)
        serve(sock, args)
    os.close(tell)
    if os.read(ready, 1) != b".":
        sys.exit("a worker could not listen")
    os.close(ready)
    return pid


def main():
    args = arguments()
    if args.workers == 1:
        sock, pids = listener(args), [os.getpid()]
        while len(pids) < args.shared and os.getpid() == pids[0]:
            pids.append(os.fork() or serve(sock, args))
    else:
        sock, pids = None, [worker(args) for _ in range(args.workers)]
    os.write(1, ("ready " + " ".join(map(str, pids)) + "\n").encode())
    os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
    if sock:
        serve(sock, args)
    for _ in pids:
        os.wait()


main()
