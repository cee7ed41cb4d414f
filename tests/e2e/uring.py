#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A listener on 127.0.0.1 that io_uring alone keeps: no process has a descriptor of it.

uring.py PORT. Prints "ready", and waits.
"""
import ctypes
import os
import signal
import socket
import sys

SETUP, REGISTER, REGISTER_FILES = 425, 427, 2  # of <asm/unistd.h> and <linux/io_uring.h>


def system_call(*arguments):
    result = libc.syscall(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


libc = ctypes.CDLL(None, use_errno=True)
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
ring = system_call(SETUP, 4, ctypes.create_string_buffer(120))
system_call(REGISTER, ring, REGISTER_FILES, (ctypes.c_int * 1)(listener.fileno()), 1)
listener.close()
print("ready", flush=True)
signal.pause()
