#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A small server whose sockets are made exactly as a test asks.

Answers every request (HTTP, or any datagram) with one line: NAME PID PEER-ADDRESS
LOCAL-ADDRESS LOCAL-PORT, and writes the same line to --log. Prints "ready PID..." on stdout
once it listens. With --once it only binds, and says what came of it: the port that the
socket has in the kernel, and what getsockname says if that is not what was asked for; or
the error's name.
"""
import argparse
import ctypes
import errno
import os
import signal
import socket
import struct
import sys

SO_ATTACH_REUSEPORT_CBPF = 51
KINDS = {
    "tcp": (socket.SOCK_STREAM, 0),
    "mptcp": (socket.SOCK_STREAM, 262),
    "udp": (socket.SOCK_DGRAM, 0),
    "udplite": (socket.SOCK_DGRAM, 136),
}


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--name", default="server")
    parser.add_argument("--log")
    parser.add_argument("--v6only", action="store_true")
    parser.add_argument("--dual", action="store_true")
    parser.add_argument("--reuseport", action="store_true")
    for kind in ("mptcp", "udp", "udplite"):
        parser.add_argument(f"--{kind}", dest="kind", action="store_const", const=kind)
    parser.set_defaults(kind="tcp")
    parser.add_argument("--reuseaddr", type=int, help="default: 1, with datagrams 0")
    parser.add_argument("--take-all", action="store_true", help="of a group of two")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--shared", type=int, default=1, help="processes for one socket")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--device", help="the interface to be bound to")
    parser.add_argument("--fallback", type=int, help="port to take if the first cannot be had")
    parser.add_argument("--become", type=int, help="the user to be before there is a socket")
    parser.add_argument("--enter", help="the cgroup to be in before there is a socket")
    parser.add_argument("--late", action="store_true", help="both after there is one")
    args = parser.parse_args()
    args.datagrams = KINDS[args.kind][0] == socket.SOCK_DGRAM
    if args.reuseaddr is None:
        args.reuseaddr = 0 if args.datagrams else 1
    return args


def change(args):
    if args.enter:
        with open(os.path.join(args.enter, "cgroup.procs"), "w", encoding="ascii") as procs:
            procs.write(str(os.getpid()))
    if args.become is not None:
        os.setgroups([])
        os.setresgid(*3 * [args.become])
        os.setresuid(*3 * [args.become])


def bound(args):
    family = socket.AF_INET6 if ":" in args.address else socket.AF_INET
    if not args.late:
        change(args)
    sock = socket.socket(family, *KINDS[args.kind])
    if args.late:
        change(args)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, args.reuseaddr)
    if args.reuseport:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if args.dual else 1)
    if args.device:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, args.device.encode())
    try:
        sock.bind((args.address, args.port))
    except OSError:
        if args.fallback is None:
            raise
        args.port = args.fallback
        sock.bind((args.address, args.port))
    return sock


def listener(args):
    sock = bound(args)
    if not args.datagrams:
        sock.listen(4096)
    if args.take_all:
        # A classic BPF program that returns 1: the group's second socket.
        code = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 1))
        program = struct.pack("@HP", 1, ctypes.addressof(code))
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)
    return sock


def line_for(sock, peer, args, log):
    local = sock.getsockname()
    line = f"{args.name} {os.getpid()} {peer[0]} {local[0]} {local[1]}\n".encode()
    if log:
        os.write(log, line)
    return line


def answer(conn, peer, args, log):
    conn.settimeout(10)
    try:
        request = b""
        while b"\r\n\r\n" not in request:
            got = conn.recv(4096)
            if not got:
                return
            request += got
        line = line_for(conn, peer, args, log)
        head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(line)}\r\nConnection: close\r\n\r\n"
        conn.sendall(head.encode() + line)
    except OSError:
        pass  # the client went away
    finally:
        conn.close()


def serve(sock, args):
    log = os.open(args.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if args.log else None
    while True:
        if args.datagrams:
            peer = sock.recvfrom(65536)[1]
            sock.sendto(line_for(sock, peer, args, log), peer)
        else:
            conn, peer = sock.accept()
            answer(conn, peer, args, log)


def kernel_port(sock, kind):
    """What getsockname cannot colour: the port in /proc/net/udp and its like."""
    inode = str(os.fstat(sock.fileno()).st_ino)
    table = "tcp" if kind == "mptcp" else kind
    for name in (table, table + "6"):
        with open("/proc/net/" + name, encoding="ascii") as lines:
            for fields in map(str.split, lines):
                if fields[9] == inode:
                    return int(fields[1].rsplit(":", 1)[1], 16)
    return None


def once(args):
    try:
        sock = listener(args)
    except OSError as error:
        return errno.errorcode[error.errno]
    said, real = sock.getsockname()[:2], kernel_port(sock, args.kind)
    if said == (args.address, args.port):
        return str(real)
    return f"{real}, getsockname says {said[0]} {said[1]}"


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
    if args.once:
        print(once(args))
        return
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
