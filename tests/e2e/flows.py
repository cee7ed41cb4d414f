#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Reads and writes the map of flows, as what cannot be had otherwise: a full one, an old entry.

flows.py MAP count         how many there are
flows.py MAP save FILE     all of them
flows.py MAP restore FILE  puts them back
flows.py MAP fill          puts as many in as there is room for
flows.py MAP empty         deletes all
"""
import ctypes
import os
import sys

SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
LOOKUP, UPDATE, DELETE, NEXT, GET = 1, 2, 3, 4, 7
KEY, VALUE, MOST = 48, 32, 65536
LIBC = ctypes.CDLL(None, use_errno=True)


class Element(ctypes.Structure):
    _fields_ = [("fd", ctypes.c_uint32), ("pad", ctypes.c_uint32), ("key", ctypes.c_uint64),
                ("value", ctypes.c_uint64), ("flags", ctypes.c_uint64)]


class Path(ctypes.Structure):
    _fields_ = [("path", ctypes.c_uint64), ("fd", ctypes.c_uint32), ("flags", ctypes.c_uint32)]


def call(command, attribute):
    return LIBC.syscall(SYS_BPF, command, ctypes.byref(attribute), ctypes.sizeof(attribute))


class Map:
    def __init__(self, path):
        self.path = ctypes.create_string_buffer(path.encode())
        self.fd = call(GET, Path(ctypes.addressof(self.path), 0, 0))
        if self.fd < 0:
            sys.exit(f"{path}: {os.strerror(ctypes.get_errno())}")

    def element(self, command, key, value=None):
        key = ctypes.create_string_buffer(key, KEY) if key else None
        address = ctypes.addressof(key) if key else 0
        return call(command, Element(self.fd, 0, address,
                                     ctypes.addressof(value) if value else 0, 0))

    def keys(self):
        found, key, after = [], None, ctypes.create_string_buffer(KEY)
        while not self.element(NEXT, key, after):
            key = after.raw
            found.append(key)
        return found

    def value(self, key):
        value = ctypes.create_string_buffer(VALUE)
        return value.raw if not self.element(LOOKUP, key, value) else None

    def put(self, key, value):
        return self.element(UPDATE, key, ctypes.create_string_buffer(value, VALUE)) == 0


def main():
    flows, what = Map(sys.argv[1]), sys.argv[2]
    if what == "count":
        print(len(flows.keys()))
    elif what == "save":
        with open(sys.argv[3], "wb") as file:
            for key in flows.keys():
                file.write(key + flows.value(key))
    elif what == "restore":
        with open(sys.argv[3], "rb") as file:
            while pair := file.read(KEY + VALUE):
                flows.put(pair[:KEY], pair[KEY:])
    elif what == "fill":
        # Of no namespace there is. The kernel may let some more in than it says, for each CPU.
        number = 0
        while number < 2 * MOST and flows.put(number.to_bytes(KEY, "little"), bytes(VALUE)):
            number += 1
        print(number)
    elif what == "empty":
        for key in flows.keys():
            flows.element(DELETE, key)


main()
