#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What clients see whose sockets share a place in the table of turns.

turns.py PLACES ADDRESS PORT
Connects one socket, then a second whose cookie has the same remainder, closes the first and
connects a third such; prints each one's peer port, then those of all that are still open.
Stays on one CPU: the kernel gives cookies out by CPU.
"""
import os
import socket
import struct
import sys

SO_COOKIE = 57


def cookie(sock):
    return struct.unpack("=Q", sock.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0]


def make(places, remainder=None):
    """A socket whose cookie has this remainder."""
    while True:
        sock = socket.socket()
        if remainder in (None, cookie(sock) % places):
            return sock
        sock.close()


def main():
    places, to = int(sys.argv[1]), (sys.argv[2], int(sys.argv[3]))
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    first = make(places)
    first.connect(to)
    second = make(places, cookie(first) % places)
    second.connect(to)
    peers = [first.getpeername()[1], second.getpeername()[1]]
    third = make(places, cookie(first) % places)
    first.close()
    third.connect(to)
    peers += [s.getpeername()[1] for s in (third, second, third)]
    print(*peers)


main()
