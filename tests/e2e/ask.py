#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Ask a server by another protocol than curl's, and print its answer.

ask.py [--udp | --udplite | --mptcp] [--from PORT] ADDRESS PORT
The socket is a connected one: an answer from any other port is none. Exit status, as
curl's: 7 if it is refused, 28 if nothing comes.
"""
import argparse
import socket
import sys

KINDS = {
    "udp": (socket.SOCK_DGRAM, 0),
    "udplite": (socket.SOCK_DGRAM, 136),
    "mptcp": (socket.SOCK_STREAM, 262),
}


def ask(args):
    family = socket.AF_INET6 if ":" in args.address else socket.AF_INET
    with socket.socket(family, *KINDS[args.kind]) as sock:
        sock.settimeout(10)
        if args.source:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("", args.source))
        sock.connect((args.address, args.port))
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        reply = got = sock.recv(4096)
        while args.kind == "mptcp" and got:
            got = sock.recv(4096)
            reply += got
        return reply.rsplit(b"\r\n", 1)[-1].decode()


def main():
    parser = argparse.ArgumentParser()
    for kind in KINDS:
        parser.add_argument(f"--{kind}", dest="kind", action="store_const", const=kind)
    parser.set_defaults(kind="udp")
    parser.add_argument("--from", dest="source", type=int, help="the client's own port")
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    try:
        print(ask(parser.parse_args()), end="")
    except ConnectionRefusedError:
        sys.exit(7)
    except TimeoutError:
        sys.exit(28)


main()
