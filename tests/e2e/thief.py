#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""thief.py PID: take the listening sockets of a process by pidfd_getfd(2), and answer there.

Prints "took N" with how many, or "refused" and the error's name for each try. What it accepts is
answered as server.py answers, by the name "thief".
"""
import ctypes
import errno
import os
import select
import socket
import sys

SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 434, 438


def take(libc, pidfd, number):
    fd = libc.syscall(SYS_PIDFD_GETFD, pidfd, number, 0)
    if fd < 0:
        return ctypes.get_errno()
    taken = socket.socket(fileno=fd)
    listens = taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return taken if listens else None


def main():
    libc = ctypes.CDLL(None, use_errno=True)
    pid = int(sys.argv[1])
    pidfd = libc.syscall(SYS_PIDFD_OPEN, pid, 0)
    sockets = []
    for number in range(64):
        try:
            got = take(libc, pidfd, number)
        except OSError:
            continue  # no socket
        if isinstance(got, socket.socket):
            sockets.append(got)
        elif got == errno.EPERM:
            print("refused EPERM", flush=True)
            return
    print("took", len(sockets), flush=True)
    while sockets:
        for ready in select.select(sockets, [], [])[0]:
            client, _ = ready.accept()
            client.recv(4096)
            client.sendall(b"HTTP/1.0 200 OK\r\n\r\nthief \n")
            client.close()


main()
