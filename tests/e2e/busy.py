#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Run a command while a listener is busy: no sockmap takes it (EBUSY).

busy.py [--stays] PID PORT COMMAND...
PID's listener at PORT, which must have SO_REUSEPORT, is put into an array of another program's,
as the kernel lets a socket be in one kind of them only. It is taken out as soon as the command
has met it; with --stays, once the command has ended. Exits as the command does.
"""
import ctypes
import os
import platform
import socket
import subprocess
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
PIDFD_GETFD = 438
MAP_CREATE, MAP_UPDATE, MAP_DELETE, MAP_NEXT_KEY, OBJ_GET = 0, 2, 3, 4, 7
REUSEPORT_SOCKARRAY = 20
SEEN = b"/sys/fs/bpf/portsteer/host/seen"


def call(number, *args):
    ret = LIBC.syscall(number, *args)
    if ret < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return ret


def bpf(command, *words):
    """words: the 64-bit words that union bpf_attr begins with."""
    attr = (ctypes.c_uint64 * 16)(*words)
    return call(BPF, command, ctypes.byref(attr), ctypes.sizeof(attr))


def at(thing):
    return ctypes.cast(ctypes.pointer(thing), ctypes.c_void_p).value


def find_listener(pid, port):
    """A descriptor of it, and what /proc calls it."""
    pidfd = os.pidfd_open(pid)
    for name in os.listdir(f"/proc/{pid}/fd"):
        link = os.readlink(f"/proc/{pid}/fd/{name}")
        if not link.startswith("socket:"):
            continue
        found = socket.socket(fileno=call(PIDFD_GETFD, pidfd, int(name), 0))
        if found.family in (socket.AF_INET, socket.AF_INET6) and found.getsockname()[1] == port:
            return found, link
        found.close()
    sys.exit(f"busy.py: process {pid} does not listen on port {port}")


def has_seen():
    """Has the kernel's program met a socket?"""
    path, key = ctypes.create_string_buffer(SEEN), ctypes.c_uint64()
    try:
        seen = bpf(OBJ_GET, at(path))
        try:
            bpf(MAP_NEXT_KEY, seen, 0, at(key))
        finally:
            os.close(seen)
    except OSError:
        return False
    return True


def holds(pid, link):
    """Has the process a descriptor of the socket?"""
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{name}") == link:
                return True
        except FileNotFoundError:
            pass
    return False


def main():
    stays = sys.argv[1] == "--stays"
    pid, port, *command = sys.argv[1 + stays:]
    listener, link = find_listener(int(pid), int(port))
    array = bpf(MAP_CREATE, REUSEPORT_SOCKARRAY | 4 << 32, 8 | 1 << 32)
    key, value = ctypes.c_uint32(0), ctypes.c_uint64(listener.fileno())
    bpf(MAP_UPDATE, array, at(key), at(value), 0)
    listener.close()
    run = subprocess.Popen(command)
    while run.poll() is None and (stays or not (has_seen() or holds(run.pid, link))):
        pass
    was_met = run.returncode is None
    bpf(MAP_DELETE, array, at(key))
    code = run.wait()
    sys.exit(code if stays or was_met else "busy.py: the command ended, and met nobody")


main()
