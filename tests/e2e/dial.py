#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A client that makes the calls it is told, and says what it sees.

dial.py tcp4|tcp6|udp4|udp6 STEP...
prints what the steps have to say on one line, with commas: errors by their names, peers as
"ADDRESS PORT", answers as "NAME from ADDRESS PORT" (NAME is the server's first word).

  bind=A:P connect=A:P begin=A:P (does not wait) finish (waits) fastopen=A:P
  sendto=A:P sendmsg=A:P sendmmsg=A:P,A:P... send recv recvfrom recvmsg recvmmsg=COUNT
  unconnect (by AF_UNSPEC) peer ask (a request on the connection) new (another socket)
  device=NAME (be bound to it) abort (reset the connection when it is closed)
  enter=CGROUP (move to this folder) until=FIFO (wait until somebody has opened it)
"""
import ctypes
import errno
import os
import select
import socket
import struct
import sys

REQUEST = b"GET / HTTP/1.0\r\n\r\n"
LIBC = ctypes.CDLL(None, use_errno=True)


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]


class Message(ctypes.Structure):
    """struct mmsghdr"""

    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("iov", ctypes.POINTER(Iovec)),
        ("iov_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_size_t),  # an int, and padding
        ("size", ctypes.c_size_t),
    ]


def parse(text):
    address, port = text.rsplit(":", 1)
    return address.strip("[]"), int(port)


def pack(text):
    """The raw address; an IPv4 one also for an IPv6 socket."""
    address, port = parse(text)
    if ":" in address:
        raw = socket.inet_pton(socket.AF_INET6, address)
        return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI16sI", port, 0, raw, 0)
    raw = socket.inet_pton(socket.AF_INET, address)
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, raw)


def unpack(raw):
    (family,), (port,) = struct.unpack("=H", raw[:2]), struct.unpack("!H", raw[2:4])
    address = raw[4:8] if family == socket.AF_INET else raw[8:24]
    return socket.inet_ntop(family, address), port


def messages(contents, names):
    """An array of struct mmsghdr, and the buffers that it points to."""
    made = (Message * len(contents))()
    keep = []
    for one, content, name in zip(made, contents, names):
        content, name = ctypes.create_string_buffer(content), ctypes.create_string_buffer(name)
        iov = Iovec(ctypes.addressof(content), len(content) - 1)
        one.name, one.name_size = ctypes.addressof(name), len(name) - 1
        one.iov, one.iov_count = ctypes.pointer(iov), 1
        keep.append((content, name))
    return made, keep


def told(data, peer):
    return f"{data.decode().split()[0]} from {peer[0]} {peer[1]}"


class Client:
    def __init__(self, kind):
        self.family = socket.AF_INET6 if kind[3] == "6" else socket.AF_INET
        self.type = socket.SOCK_DGRAM if kind[:3] == "udp" else socket.SOCK_STREAM
        self.sock = None
        self.new()

    def new(self):
        if self.sock:
            self.sock.close()
        self.sock = socket.socket(self.family, self.type)
        self.sock.settimeout(10)

    def bind(self, to):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(parse(to))

    def device(self, name):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())

    def abort(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def connect(self, to):
        self.sock.connect(parse(to))

    def begin(self, to):
        self.sock.setblocking(False)
        self.sock.connect(parse(to))

    def finish(self):
        poll = select.poll()
        poll.register(self.sock, select.POLLOUT)
        if not poll.poll(10000):
            return "nothing"
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self.sock.settimeout(10)
        return errno.errorcode[error] if error else "connected"

    def unconnect(self):
        if LIBC.connect(self.sock.fileno(), struct.pack("=H14x", socket.AF_UNSPEC), 16):
            raise OSError(ctypes.get_errno(), "connect")

    def fastopen(self, to):
        self.sock.setblocking(True)
        self.sock.sendto(REQUEST, socket.MSG_FASTOPEN, parse(to))
        return self.read()

    def ask(self):
        self.sock.sendall(REQUEST)
        return self.read()

    def read(self):
        reply = b""
        while got := self.sock.recv(4096):
            reply += got
        return reply.rsplit(b"\r\n", 1)[-1].split()[0].decode()

    def peer(self):
        return "{} {}".format(*self.sock.getpeername())

    def send(self):
        self.sock.send(REQUEST)

    def sendto(self, to):
        self.sock.sendto(REQUEST, parse(to))

    def sendmsg(self, to):
        self.sock.sendmsg([REQUEST], [], 0, parse(to))

    def sendmmsg(self, to):
        names = [pack(one) for one in to.split(",")]
        array, _keep = messages([REQUEST] * len(names), names)
        if LIBC.sendmmsg(self.sock.fileno(), array, len(names), 0) != len(names):
            raise OSError(ctypes.get_errno(), "sendmmsg")

    def recv(self):
        return self.sock.recv(4096).decode().split()[0]

    def recvfrom(self):
        return told(*self.sock.recvfrom(4096))

    def recvmsg(self):
        data, _, _, peer = self.sock.recvmsg(4096)
        return told(data, peer)

    def recvmmsg(self, count):
        count = int(count)
        self.sock.setblocking(True)
        array, keep = messages([bytes(4096)] * count, [bytes(28)] * count)
        if LIBC.recvmmsg(self.sock.fileno(), array, count, 0, None) != count:
            raise OSError(ctypes.get_errno(), "recvmmsg")
        return sorted(told(data.value, unpack(name.raw)) for data, name in keep)

    def enter(self, cgroup):
        with open(os.path.join(cgroup, "cgroup.procs"), "w", encoding="ascii") as procs:
            procs.write(str(os.getpid()))

    def until(self, fifo):
        with open(fifo, "rb") as waiting:
            waiting.read()


def main():
    client = Client(sys.argv[1])
    said = []
    for word in sys.argv[2:]:
        name, _, value = word.partition("=")
        try:
            got = getattr(client, name)(*[value] if value else [])
        except TimeoutError:
            got = "timeout"
        except OSError as error:
            got = errno.errorcode[error.errno]
        said += got if isinstance(got, list) else [got] if got else []
    print(", ".join(said))


main()
