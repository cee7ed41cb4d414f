#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What QUIC does with UDP: connections are told apart by an id in each packet.

quic.py server PORT
    One socket for all clients and both families. Answers each packet (8 bytes of id, 4 of
    number, padding) with its id, its number, and how many packets it had with this id, from
    the address that the client had called.

quic.py clients CONNECTIONS PACKETS PORT ADDRESS...
    CONNECTIONS to each address, all at once. Each has a connected socket, to which only
    answers from that address and port are any, and goes on from another half-way, as when a
    client's address changes. Prints "ok N lost N wrong N", in packets.
"""
import os
import socket
import struct
import sys

HEAD = struct.Struct("!8sI")
SIZE = 1200  # as the first packets of QUIC, at least


def server(port):
    counts = {}
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        sock.bind(("::", port))
        while True:
            packet, called, _, peer = sock.recvmsg(65536, 1024)
            key = HEAD.unpack_from(packet)[0]
            counts[key] = counts.get(key, 0) + 1
            sock.sendmsg([packet[: HEAD.size], struct.pack("!I", counts[key])], called, 0, peer)


def connected(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(10)
    sock.connect((address, port))
    return sock


def clients(connections, packets, port, addresses):
    tally = {"ok": 0, "lost": 0, "wrong": 0}
    open_ones = [(os.urandom(8), a) for a in addresses for _ in range(connections)]
    socks = {}
    for number in range(packets):
        for key, address in open_ones:
            if number in (0, packets // 2):
                socks[key] = connected(address, port)
            socks[key].send(HEAD.pack(key, number).ljust(SIZE, b"\0"))
        for key, _ in open_ones:
            try:
                reply = socks[key].recv(65536)
            except OSError:
                tally["lost"] += 1
                continue
            right = reply == HEAD.pack(key, number) + struct.pack("!I", number + 1)
            tally["ok" if right else "wrong"] += 1
    print(" ".join(f"{name} {count}" for name, count in tally.items()))


if sys.argv[1] == "server":
    server(int(sys.argv[2]))
else:
    clients(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
