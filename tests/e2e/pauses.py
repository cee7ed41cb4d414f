#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A listener on 127.0.0.1 that stops to listen without closing its socket, and begins again.

pauses.py PORT HOW: "shutdown" as HAProxy does on SIGTTOU, or "connect" to nowhere. Prints
"ready"; a line on standard input ends or begins a pause, and is answered by "paused" or
"listens".
"""
import ctypes
import os
import socket
import struct
import sys
import threading

AF_UNSPEC = struct.pack("=H14x", 0)


def pause(sock, how):
    if how == "shutdown":
        sock.shutdown(socket.SHUT_RD)
    elif ctypes.CDLL(None).connect(sock.fileno(), AF_UNSPEC, len(AF_UNSPEC)):
        sys.exit("connect")


def serve(sock, listens):
    while True:
        listens.wait()
        try:
            conn = sock.accept()[0]
        except OSError:
            continue
        conn.recv(4096)
        conn.sendall(b"HTTP/1.0 200 OK\r\n\r\npaused %d\n" % os.getpid())
        conn.close()


def main():
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", int(sys.argv[1])))
    sock.listen(64)
    listens = threading.Event()
    listens.set()
    threading.Thread(target=serve, args=(sock, listens), daemon=True).start()
    print("ready", flush=True)
    for _ in sys.stdin:
        if listens.is_set():
            listens.clear()
            pause(sock, sys.argv[2])
            print("paused", flush=True)
        else:
            sock.listen(64)
            listens.set()
            print("listens", flush=True)


main()
