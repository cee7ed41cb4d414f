#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A random test of the promise that no connection goes to anyone but the owner.

Runs in the environment of tests/e2e/run, with the namespace "client" of lib.bash's setup_env:
see promise.bats. Each step is a command (add, del, apply, upgrade to another build, ..., some of
them killed) or a change of who listens. After each step, clients of several kinds connect to all
ports, and a model says who may answer: a plain one, which knows only the documents.

It goes in rounds. Each has a seed, begins with nothing loaded, and is the same steps whenever it
is given that seed (but for what a killed command got done). The first failure ends the test:
it prints the seed, the steps before it, and what was wrong.
"""
import argparse
import collections
import ctypes
import errno
import ipaddress
import json
import os
import random
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

# --- what there is ------------------------------------------------------------------------

USERS = (47101, 47102, 47103)
OWNER_CGROUPS = ("web", "web/deep", "db")  # below $PS_TEST_CGROUP
REMOVABLE = ("web/deep", "db")  # with nothing below; what is above is an attach point
CLIENTS = {  # name: its cgroup, whether it is in the other network namespace
    "here": ("clients", False),
    "remote": ("clients", True),
    "pod": ("pod", False),
    "inner": ("pod/inner", False),
    "pod2": ("pod2", False),
}
SCOPES = ("pod", "pod/inner", "pod2")

STEER_FRONTS = range(80, 85)
STEER_TARGETS = range(8080, 8084)
BIND_FRONTS = range(50, 53)
BIND_TARGETS = range(5300, 5303)
MANY_FRONT, MANY_TARGET, MANY = 600, 9600, 64

LOCAL = (("127.0.0.1", "127.0.0.1", "10.1.2.3"), ("::1", "::1", "2001:db8:aa::1"))
REMOTE = (("198.51.100.1", "10.1.2.3"), ("2001:db8:1::1",))
STEER_PREFIXES = ("127.0.0.1", "127.0.0.0/8", "10.0.0.0/8", "10.1.2.3", "[::1]", "[2001:db8::]/32")
BIND_PREFIXES = ("127.0.0.1", "127.0.0.0/8", "10.1.2.3", "[::1]")
BIND_TO = ("127.0.0.1", "0.0.0.0", "10.1.2.3", "::1", "::", "2001:db8:aa::1")

PATIENCE = 5  # seconds for a connection; it takes microseconds
COMMAND_LIMIT = 60  # seconds


class Failure(Exception):
    """The program did what it must not do."""


def family_of(address):
    return 6 if ":" in address else 4


# --- agents: processes that listen, or connect, as they are asked to ------------------------

SO_REUSEPORT = 15
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1


def set_timeouts(sock):
    limit = struct.pack("ll", PATIENCE, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def ask(protocol, address, port):
    """Who answers there: a listener's number; or the name of an error."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as sock:
        set_timeouts(sock)
        if protocol == "tcp":  # reset when it is closed: nothing lingers on the server's port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            sock.connect((address, port))
            if protocol == "udp":
                sock.send(b"?")
            got = sock.recv(64)
        except OSError as error:
            return errno.errorcode[error.errno]
        return int(got) if got else "closed without an answer"


def open_listener(protocol, address, port, dual, group):
    sock = socket.socket(
        socket.AF_INET6 if ":" in address else socket.AF_INET,
        socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM,
    )
    try:
        if protocol == "tcp":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if group:
            sock.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, 1)
        if ":" in address:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        sock.bind((address, port))
        if protocol == "tcp":
            sock.listen(128)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


class AgentLoop:
    """What runs in an agent's process."""

    def __init__(self, control):
        self.control, self.listeners, self.numbers = control, {}, {}
        self.poll = select.epoll()
        self.poll.register(control.fileno(), select.EPOLLIN)

    def open(self, number, *how):
        try:
            sock = open_listener(*how)
        except OSError as error:
            return errno.errorcode[error.errno]
        self.listeners[number], self.numbers[sock.fileno()] = sock, number
        self.poll.register(sock.fileno(), select.EPOLLIN)
        return "ok"

    def close(self, number):
        sock = self.listeners.pop(number)
        del self.numbers[sock.fileno()]
        self.poll.unregister(sock.fileno())
        sock.close()
        return "ok"

    @staticmethod
    def probe(questions):
        return [ask(*question) for question in questions]

    def answer(self, number):
        sock, name = self.listeners[number], str(number).encode()
        try:
            while True:
                if sock.type == socket.SOCK_DGRAM:
                    sock.sendto(name, sock.recvfrom(64)[1])
                else:
                    conn = sock.accept()[0]
                    conn.send(name)
                    conn.close()
        except OSError:
            pass  # nobody is there any more

    def obey(self):
        message = self.control.recv(1 << 20)
        if not message:
            os._exit(0)
        word, *rest = json.loads(message)
        self.control.send(json.dumps(getattr(self, word)(*rest)).encode())

    def run(self):
        while True:
            for fd, _ in self.poll.poll():
                if fd == self.control.fileno():
                    self.obey()
                elif fd in self.numbers:
                    self.answer(self.numbers[fd])


class Agent:
    """A process of a user in a cgroup, from the test's side."""

    def __init__(self, env, uid, cgroup, remote=False):
        self.uid, self.cgroup = uid, cgroup
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.control, theirs):
            for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, buffer, 1 << 20)
        folder = env.make_cgroup(cgroup)
        self.pid = os.fork()
        if not self.pid:
            try:
                self.become(folder, theirs, remote)
            finally:
                os._exit(1)
        theirs.close()

    def become(self, folder, control, remote):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        control = socket.socket(fileno=os.dup2(control.detach(), 3))
        os.closerange(4, 1024)
        with open(os.path.join(folder, "cgroup.procs"), "w", encoding="ascii") as procs:
            procs.write(str(os.getpid()))
        if remote:
            netns = os.open("/run/netns/client", os.O_RDONLY)
            if libc.setns(netns, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            os.close(netns)
        if self.uid:
            os.setgroups([])
            os.setresgid(*3 * [self.uid])
            os.setresuid(*3 * [self.uid])
        AgentLoop(control).run()

    def send(self, *message):
        self.control.send(json.dumps(message).encode())

    def result(self):
        self.control.settimeout(10 * PATIENCE)
        return json.loads(self.control.recv(1 << 20))

    def do(self, *message):
        self.send(*message)
        return self.result()

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.control.close()

    def __str__(self):
        return f"{self.uid or 'root'}@{self.cgroup}"


# --- the model ----------------------------------------------------------------------------

Owner = collections.namedtuple("Owner", "uid cgroup")  # neither: anyone
Listener = collections.namedtuple("Listener", "number agent protocol address dual group port")

RuleFields = "mode protocol address first last target owner scope passes"


class Rule(collections.namedtuple("Rule", RuleFields)):
    """target is that of the first port. Of connect mode: scope. passes: if nobody listens."""

    @property
    def grant(self):
        return self.mode == "bind" and self.first == self.target

    @property
    def net(self):
        return ipaddress.ip_network(self.address.translate({91: None, 93: None}))

    @property
    def targets(self):
        return range(self.target, self.target + self.last - self.first + 1)

    def front_text(self):
        ports = f"{self.first}-{self.last}" if self.last > self.first else str(self.first)
        return f"{self.address}:{ports}" if self.address else ports

    def text(self, target=True):
        end = self.target + self.last - self.first
        to = f":{self.target}-{end}" if self.last > self.first else f":{self.target}"
        return self.front_text() + ("" if self.grant or not target else to) + f"/{self.protocol}"

    def covers(self, protocol, port):
        return self.protocol == protocol and self.first <= port <= self.last

    def owns(self, listener):
        agent, wanted = listener.agent, self.owner
        if wanted.uid is not None and wanted.uid != agent.uid:
            return False
        return wanted.cgroup is None or is_below(agent.cgroup, wanted.cgroup)

    def length(self, address, wildcard=True):
        """How well it fits this address: -1 not at all, 0 as one without an address."""
        if not self.address:
            loopback = ipaddress.ip_address(address).is_loopback
            return 0 if wildcard or loopback else -1
        net, address = self.net, ipaddress.ip_address(address)
        return net.prefixlen + 1 if net.version == address.version and address in net else -1

    def bind_length(self, address, dual):
        if dual:
            return -1 if self.address else 0
        return self.length(address)


def is_below(cgroup, wanted):
    return cgroup == wanted or cgroup.startswith(wanted + "/")


def best(rules, address, wildcard=True):
    """Of rules for one port, that with the longest prefix around the address, or None."""
    fitting = [rule for rule in rules if rule.length(address, wildcard) >= 0]
    return max(fitting, key=lambda rule: rule.length(address, wildcard), default=None)


class Model:
    """Rules in force, who listens, and what follows: who may answer a client."""

    def __init__(self):
        self.rules, self.listeners = set(), {}

    def of(self, mode):
        return [rule for rule in self.rules if rule.mode == mode]

    def may_answer(self, client, protocol, address, port):
        """The listeners that may; if there are any, one has to."""
        if protocol == "tcp" and client not in ("here", "remote"):
            return self.connected(CLIENTS[client][0], address, port)
        return self.arrived(protocol, address, port)

    def connected(self, cgroup, address, port):
        scopes = [scope for scope in SCOPES if is_below(cgroup, scope)]
        for scope in sorted(scopes, key=len, reverse=True):
            rules = [r for r in self.of("connect") if r.scope == scope and r.covers("tcp", port)]
            rule = best(rules, address, wildcard=False)
            if rule:
                return self.owners(rule, address, port)
        return self.arrived("tcp", address, port)

    def arrived(self, protocol, address, port):
        rule = best([r for r in self.of("steer") if r.covers(protocol, port)], address)
        return self.owners(rule, address, port) if rule else self.bound(protocol, address, port)

    def owners(self, rule, address, port):
        target, found = rule.target + port - rule.first, set()
        for listener in self.serving("tcp", address, target):
            if rule.owns(listener):
                found.add(listener.number)
        if found or not rule.passes:
            return found
        # As if there were no rule: of this mode, that is.
        go_on = self.arrived if rule.scope else self.bound
        return go_on("tcp", address, port)

    def serving(self, protocol, address, port):
        """Who listens there, for this address family."""
        family = family_of(address)
        for listener in self.listeners.values():
            if (listener.protocol, listener.port) == (protocol, port):
                if listener.dual or family_of(listener.address) == family:
                    yield listener

    def bound(self, protocol, address, port):
        """Who listens at exactly this address, or else at all: what the kernel does alone."""
        serving = list(self.serving(protocol, address, port))
        exact = {l.number for l in serving if l.address == address}
        return exact or {l.number for l in serving if l.address in ("0.0.0.0", "::")}

    def port_for(self, listener):
        """The port that a bind gets, and whether it needs no capability."""

        def order(rule):
            owner = rule.owner
            rank = 2 * (owner.cgroup is not None) + (owner.uid is not None)
            depth = owner.cgroup.count("/") if owner.cgroup else 0
            return rule.bind_length(listener.address, listener.dual), rank, depth

        protocol, asked, grants = listener.protocol, listener.port, []
        for rule in self.of("bind"):
            if rule.protocol == protocol and asked in rule.targets and rule.owns(listener):
                if rule.bind_length(listener.address, listener.dual) >= 0:
                    grants.append(rule)
        if not grants:
            return asked, False
        rule = max(grants, key=order)
        front, length = rule.first + asked - rule.target, order(rule)[0]
        for other in self.of("bind"):  # of another's longer prefix
            if other.covers(protocol, front):
                if other.bind_length(listener.address, listener.dual) > length:
                    return asked, False
        return front, True


# --- the program --------------------------------------------------------------------------


class Program:
    """portsteer, in several builds, of which one has loaded what is loaded."""

    def __init__(self, env, builds, killat):
        self.env, self.builds, self.killat = env, builds, killat
        self.current = builds[0]
        self.calls = collections.Counter()  # system calls that a command made, at the most

    def run(self, *words, build=None, stdin=None):
        command = [build or self.current, *words]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=COMMAND_LIMIT, check=False
        )

    def run_killed(self, at, *words, build=None):
        """Kill it as it enters its system call of this number. None, or its exit status."""
        command = [self.killat, str(at), build or self.current, *words]
        out = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_LIMIT, check=True
        ).stdout.split()
        self.calls[words[0]] = max(self.calls[words[0]], int(out[1]))
        return None if out[0] == "killed" else int(out[2])

    def options(self, rule):
        yield from ("--mode", rule.mode)
        owner = rule.owner
        if owner.uid is not None:
            yield from ("--user", str(owner.uid))
        if owner.cgroup is not None:
            yield from ("--cgroup", self.env.cgroup_name(owner.cgroup))
        if owner == Owner(None, None):
            yield "--any-user"
        if rule.scope:
            yield from ("--client-cgroup", self.env.cgroup_name(rule.scope))
        if rule.passes:
            yield from ("--if-down", "pass")

    def section(self, number, rule):
        options, lines = list(self.options(rule)), [f"[rule{number}]"]
        lines.append(("allow = " if rule.grant else "ports = ") + rule.text())
        while options:
            word = options.pop(0)[2:]
            if word == "any-user":
                lines.append("any-user = yes")
            elif word != "mode" or not rule.grant:
                lines.append(f"{word} = {options.pop(0)}")
            else:
                options.pop(0)
        return "\n".join(lines) + "\n\n"

    def config(self, rules):
        return "".join(self.section(n, rule) for n, rule in enumerate(sorted(rules, key=str)))

    def rules(self, build=None):
        """The rules in force as it lists them, or None if it says that nothing is loaded."""
        done = self.run("list", "--json", build=build)
        if done.returncode == 3:
            return None
        if done.returncode:
            raise Failure(f"list failed ({done.returncode}): {done.stderr.strip()}")
        return {self.parse(rule) for rule in json.loads(done.stdout)["rules"]}

    def parse(self, listed):
        owner, name = listed["owner"], self.env.short_name
        return Rule(
            listed["mode"],
            listed["protocol"],
            listed["address"] or "",
            listed["front"]["first"],
            listed["front"]["last"],
            listed["target"]["first"],
            Owner(owner["uid"], name(owner["cgroup"])),
            name(listed["client_cgroup"]),
            listed["if_down"] == "pass",
        )


class Environment:
    """What tests/e2e/run has made."""

    def __init__(self):
        try:
            self.top, root = os.environ["PS_TEST_CGROUP"], os.environ["PS_TEST_CGROUP2"]
            self.folder, self.portsteer = os.environ["PS_TEST_DIR"], os.environ["PORTSTEER"]
        except KeyError as missing:
            sys.exit(f"promise.py: no {missing}; run it by tests/e2e/run tests/e2e/promise.bats")
        self.base = "/" + os.path.relpath(self.top, root)
        self.state = "/sys/fs/bpf/portsteer"

    def make_cgroup(self, name):
        folder = os.path.join(self.top, name)
        os.makedirs(folder, exist_ok=True)
        return folder

    def remove_cgroup(self, name):
        deadline = time.monotonic() + PATIENCE
        while True:  # until the kernel has seen that the last process is gone
            try:
                return os.rmdir(os.path.join(self.top, name))
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.001)

    def cgroup_name(self, name):
        return f"{self.base}/{name}"

    def short_name(self, path):
        return os.path.relpath(path, self.base) if path else None


# --- the test -----------------------------------------------------------------------------


class Test:
    """One round."""

    def __init__(self, env, program, agents, clients, options):
        self.env, self.program, self.agents, self.clients = env, program, agents, clients
        self.modes, self.groups = options.modes, not options.no_groups
        self.model, self.random, self.number = Model(), None, 0
        self.loaded = False
        self.log = collections.deque(maxlen=options.log)
        self.done = collections.Counter()
        self.steps = [
            (20, self.open),
            (6, self.join),
            (12, self.close),
            (20, self.add),
            (14, self.delete),
            (6, self.many),
            (7, self.upgrade),
            (5, self.apply),
            (1, self.flush),
            (1, self.unload),
            (1, self.load),
            (8, self.kill),
            (2, self.restart_agent),
            (1, self.restart_cgroup),
        ]

    def questions_of(self, name):
        """What a client asks: all fronts, their neighbours, all targets; of both families."""
        tcp, udp = [79, *STEER_FRONTS, STEER_FRONTS.stop, *STEER_TARGETS], []
        bound = [*BIND_FRONTS, BIND_FRONTS.stop, *BIND_TARGETS]
        if name in ("here", "remote"):
            tcp += bound
        if name == "here":  # the other is not told that a port is closed as often as it asks
            udp = bound
        for pool in REMOTE if name == "remote" else LOCAL:
            address = self.random.choice(pool)
            yield from (("tcp", address, port) for port in tcp)
            yield from (("udp", address, port) for port in udp)

    def note(self, text):
        self.number += 1
        self.log.append(f"{self.number:5} {text}")

    # --- checks

    def describe(self, number):
        listener = self.model.listeners.get(number)
        if not listener:
            return f"listener {number}, who is closed"
        return f"listener {number} ({listener.agent}, {listener.address} {listener.port})"

    def check_answer(self, client, question, got):
        may = self.model.may_answer(client, *question)
        if got in may or (not may and got == "ECONNREFUSED"):
            self.done["answers" if may else "refusals"] += 1
            return
        protocol, address, port = question
        wanted = " or ".join(map(self.describe, sorted(may))) or "refused"
        got = self.describe(got) if isinstance(got, int) else got
        raise Failure(
            f"client {client} to {address} port {port}/{protocol}\n"
            f"  got:    {got}\n  wanted: {wanted}"
        )

    def check_answers(self, questions):
        for name, asked in questions.items():
            self.clients[name].send("probe", asked)
        for name, asked in questions.items():
            for question, got in zip(asked, self.clients[name].result()):
                self.check_answer(name, question, got)

    def check(self):
        """What is in force is what the model says, and so is who answers."""
        listed = self.program.rules()
        self.loaded = listed is not None
        if (listed or set()) != self.model.rules:
            raise Failure(self.difference(listed or set(), self.model.rules))
        self.check_answers({name: list(self.questions_of(name)) for name in self.clients})

    @staticmethod
    def difference(listed, wanted):
        more = [f"  + {rule}" for rule in listed - wanted]
        missing = [f"  - {rule}" for rule in wanted - listed]
        return "\n".join(["the rules in force are not those that should be:"] + more + missing)

    # --- commands

    def command(self, wanted, *words, build=None, kill=None):
        """Run a command that makes `wanted` the rules, or fails and changes nothing. To be
        killed at one of its system calls if kill is not None. True if it got to its end."""
        before = self.model.rules
        said = " ".join(words).replace(self.env.base + "/", "")
        if kill is None:
            done = self.program.run(*words, build=build)
            status, error = done.returncode, done.stderr.strip()
        else:
            status, error = self.program.run_killed(kill, *words, build=build), "no output"
            said = f"killat {kill} {said}"
        self.note(f"{said}: {'killed' if status is None else status or 'done'}")
        self.done[words[0] + (" killed" if status is None else " failed" if status else "")] += 1
        if status is None:
            self.after_kill(before, wanted, build)
        elif status == 0:
            self.model.rules = wanted
            self.program.current = build or self.program.current
        elif status not in (1, 2) or "rule" not in error and kill is None:
            raise Failure(f"{said}: exit status {status}: {error}")
        else:
            self.log[-1] += " " + error
        return status == 0

    def after_kill(self, before, wanted, build):
        """The old or the new: also of the builds, of which the right one knows."""
        failures = []
        for one in dict.fromkeys([build or self.program.current, self.program.current]):
            try:
                listed = self.program.rules(one)
            except Failure as failure:
                failures.append(f"{os.path.basename(one)}: {failure}")
                continue
            if (listed or set()) not in (before, wanted):
                raise Failure("after a kill: " + self.difference(listed or set(), before))
            self.model.rules, self.program.current = listed or set(), one
            if before != wanted:
                now = "the new" if self.model.rules == wanted else "the old"
                self.log[-1] += f", it is {now}"
            return
        raise Failure("after a kill no build can list the rules:\n  " + "\n  ".join(failures))

    def random_owner(self):
        uid, cgroup = self.random.choice(USERS), self.random.choice(OWNER_CGROUPS)
        return self.random.choice(
            4 * [Owner(uid, None)]
            + 3 * [Owner(None, cgroup)]
            + 4 * [Owner(uid, cgroup)]
            + [Owner(None, None)]
        )

    def owner_like(self, agent):
        return self.random.choice(
            (Owner(agent.uid, None), Owner(None, agent.cgroup), Owner(agent.uid, agent.cgroup))
        )

    def random_rule(self):
        """Half of them for somebody who listens, if there is one."""
        rule = self.any_rule()
        near = [
            l for _, l in sorted(self.model.listeners.items())
            if l.agent.uid and l.protocol == "tcp" and l.port in STEER_TARGETS
        ]
        if rule.mode == "bind" or not near or self.random.random() < 0.5:
            return rule
        listener = self.random.choice(near)
        return rule._replace(
            last=rule.first, target=listener.port, owner=self.owner_like(listener.agent)
        )

    def any_rule(self):
        mode, owner = self.random.choice(self.modes), self.random_owner()
        span = self.random.choice((0, 0, 0, 1))
        passes = self.random.random() < 0.3 and mode != "bind"
        if mode == "bind":
            protocol = self.random.choice(("tcp", "udp"))
            first = self.random.choice(BIND_FRONTS[: len(BIND_FRONTS) - span])
            target = self.random.choice(BIND_TARGETS[: len(BIND_TARGETS) - span])
            if self.random.random() < 0.3:
                target = first
            address = self.random.choice(3 * [""] + list(BIND_PREFIXES))
        else:
            protocol = "tcp"
            first = self.random.choice(STEER_FRONTS[: len(STEER_FRONTS) - span])
            target = self.random.choice(STEER_TARGETS[: len(STEER_TARGETS) - span])
            address = self.random.choice(6 * [""] + list(STEER_PREFIXES))
        scope = self.random.choice(SCOPES) if mode == "connect" else None
        return Rule(mode, protocol, address, first, first + span, target, owner, scope, passes)

    def add(self, kill=None):
        rule = self.random_rule()
        # Not twice the same, which is refused and so tests nothing.
        for _ in range(8):
            if not any(self.overlap(rule, other) for other in self.model.rules):
                break
            rule = self.random_rule()
        self.command(
            self.model.rules | {rule}, "add" if not rule.grant else "allow",
            rule.text() if not rule.grant else rule.front_text() + "/" + rule.protocol,
            *(list(self.program.options(rule))[2 if rule.grant else 0 :]), kill=kill,
        )

    @staticmethod
    def overlap(one, other):
        if (one.mode, one.protocol, one.address, one.scope) != (
            other.mode, other.protocol, other.address, other.scope
        ):
            return False
        return one.first <= other.last and other.first <= one.last

    def some_rule(self):
        return self.random.choice(sorted(self.model.rules, key=str))

    def delete(self, kill=None):
        if not self.model.rules:
            return self.add(kill)
        rule = self.some_rule()
        scope = ("--client-cgroup", self.env.cgroup_name(rule.scope)) if rule.scope else ()
        return self.command(
            self.model.rules - {rule}, "del", rule.text(target=False), *scope, kill=kill
        )

    def many(self, kill=None):
        """Use so many targets that their numbers come round again; nobody listens on them."""
        rule = Rule("steer", "tcp", "", MANY_FRONT, MANY_FRONT + MANY - 1, MANY_TARGET,
                    self.random_owner(), None, False)
        if not self.command(
            self.model.rules | {rule}, "add", rule.text(), *self.program.options(rule), kill=kill
        ):
            if rule not in self.model.rules:
                return
        ports = range(rule.first, rule.last + 1)
        self.check_answers({"here": [("tcp", "127.0.0.1", port) for port in ports]})
        self.command(self.model.rules - {rule}, "del", rule.text(target=False))

    def apply(self, kill=None):
        """Half of the rules stay, others come."""
        wanted = {rule for rule in sorted(self.model.rules, key=str) if self.random.random() < 0.5}
        for _ in range(self.random.randrange(4)):
            rule = self.random_rule()
            if not any(self.overlap(rule, other) for other in wanted):
                wanted.add(rule)
        path = os.path.join(self.env.folder, "promise.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write(self.program.config(wanted) or "# none\n")
        done = self.command(wanted, "apply", "--only", "--allow-empty", "-f", path, kill=kill)
        self.log[-1] += " " + "; ".join(rule.text() for rule in sorted(wanted, key=str))
        return done

    def upgrade(self, kill=None):
        """From one build to another; or choose the next that loads."""
        builds = [b for b in self.program.builds if b != self.program.current]
        build = self.random.choice(3 * builds + [self.program.current])
        if not os.path.exists(os.path.join(self.env.state, "host")):
            self.program.current = build
            self.note(f"the build is {os.path.basename(build)}")
        else:
            self.command(self.model.rules, "upgrade", build=build, kill=kill)
            self.log[-1] += " to " + os.path.basename(build)

    def flush(self, kill=None):
        if self.loaded:
            self.command(set(), "flush", kill=kill)

    def unload(self, kill=None):
        if self.command(set(), "unload", kill=kill) and os.path.exists(self.env.state):
            raise Failure(f"unload left {self.env.state}")

    def load(self, kill=None):
        self.command(self.model.rules, "load", kill=kill)

    def kill(self):
        """One of the others, killed somewhere on its way."""
        often = (self.add, self.delete, self.apply, self.upgrade)
        rarely = (self.flush, self.unload, self.load)
        step = self.random.choice(6 * often + rarely)
        word = {"delete": "del"}.get(step.__name__, step.__name__)
        # It depends on much how many it makes: as many as it has made, or of any magnitude.
        any_number, calls = int(2 ** self.random.uniform(0, 8.5)), self.program.calls[word]
        seen = self.random.randrange(calls + calls // 8 + 1)
        step(kill=seen if calls and self.random.random() < 0.6 else any_number)

    # --- listeners

    def join(self):
        """Another member of a SO_REUSEPORT group, in any of its user's cgroups; or a first."""
        groups = [l for _, l in sorted(self.model.listeners.items()) if l.group and l.agent.uid]
        if not groups or not self.groups:
            return self.open()
        like = self.random.choice(groups)
        agent = self.agents[like.agent.uid, self.random.choice(OWNER_CGROUPS)]
        self.next_listener += 1
        return self.open_as(like._replace(number=self.next_listener - 1, agent=agent))

    def open(self):
        """Half of them where some rule leads to, by one who may be its owner."""
        mode, key = self.random.choice(self.modes), self.random.choice(sorted(self.agents, key=str))
        protocol, pool = "tcp", list(STEER_TARGETS)
        if mode == "bind":
            protocol = self.random.choice(("tcp", "udp"))
            pool = [*BIND_TARGETS, *BIND_TARGETS, *BIND_FRONTS, BIND_FRONTS.stop]
        elif self.random.random() < 0.08:  # in the front port's way, or beside it
            key, pool = ("root", "clients"), [79, *STEER_FRONTS, STEER_FRONTS.stop]
        if self.model.rules and key[0] != "root" and self.random.random() < 0.5:
            rule = self.some_rule()
            protocol, pool = rule.protocol, rule.targets
            key = (rule.owner.uid or key[0], rule.owner.cgroup or key[1])
        group = self.groups and self.random.random() < 0.4
        listener = Listener(
            self.next_listener, self.agents[key], protocol, self.random.choice(BIND_TO),
            self.random.random() < 0.5, group, self.random.choice(pool),
        )
        self.next_listener += 1
        self.open_as(listener._replace(dual=listener.dual and listener.address == "::"))

    def open_as(self, listener):
        port, granted = self.model.port_for(listener)
        free = not any(
            (l.protocol, l.port) == (listener.protocol, port) for l in self.model.listeners.values()
        )
        result = listener.agent.do("open", listener.number, *listener[2:4], listener.port,
                                   listener.dual, listener.group)
        self.note(
            f"open {listener.number}: {listener.agent} {listener.address} {listener.port}"
            f"/{listener.protocol}{' dual' * listener.dual}{' group' * listener.group}: {result}"
        )
        if not granted and port < 1024 and listener.agent.uid:
            allowed = ("EACCES",)
        else:
            allowed = ("ok",) if free else ("ok", "EADDRINUSE")
        if result not in allowed:
            raise Failure(f"that bind should be: {' or '.join(allowed)}, with port {port}")
        if result == "ok":
            self.model.listeners[listener.number] = listener._replace(port=port)
        self.done["listeners"] += result == "ok"

    def close(self):
        if not self.model.listeners:
            return self.open()
        number = self.random.choice(sorted(self.model.listeners))
        listener = self.model.listeners.pop(number)
        listener.agent.do("close", number)
        return self.note(f"close {number}")

    def end_agent(self, key):
        agent = self.agents.pop(key)
        agent.end()
        for number, listener in list(self.model.listeners.items()):
            if listener.agent is agent:
                del self.model.listeners[number]

    def restart_agent(self):
        key = self.random.choice(sorted(self.agents, key=str))
        self.note(f"restart {self.agents[key]}")
        self.end_agent(key)
        self.agents[key] = Agent(self.env, 0 if key[0] == "root" else key[0], key[1])

    def restart_cgroup(self):
        """All that is in it ends, and it is removed and made again."""
        name = self.random.choice(REMOVABLE)
        self.note(f"restart cgroup {name}")
        for uid in USERS:
            self.end_agent((uid, name))
        self.env.remove_cgroup(name)
        for uid in USERS:
            self.agents[uid, name] = Agent(self.env, uid, name)

    # --- a round

    def run(self, seed, steps, deadline):
        self.random, self.next_listener = random.Random(seed), 1
        self.program.current = self.program.builds[0]
        self.program.calls.clear()
        weights = [weight for weight, _ in self.steps]
        while self.number < steps and time.monotonic() < deadline:
            self.random.choices(self.steps, weights)[0][1]()
            self.check()
        self.end()

    def end(self):
        for number, listener in self.model.listeners.items():
            listener.agent.do("close", number)
        self.model.listeners.clear()
        self.unload()
        self.check()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, help="of the first round; the next have the next")
    parser.add_argument("--steps", type=int, default=400, help="of a round")
    parser.add_argument("--rounds", type=int, default=sys.maxsize)
    parser.add_argument("--others", nargs="*", help="other builds of the program")
    parser.add_argument("--killat", help="the tool that kills a command at a system call")
    parser.add_argument("--modes", default="steer,bind,connect", help="of the rules")
    parser.add_argument("--no-groups", action="store_true", help="no SO_REUSEPORT")
    parser.add_argument("--log", type=int, default=40, help="steps to show of a failure")
    args = parser.parse_args()
    args.modes = args.modes.split(",")
    build = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build")
    if args.killat is None:
        args.killat = os.path.join(build, "tools/killat")
    if args.others is None:
        others = ("same-layout", "other-layout")
        args.others = [os.path.join(build, "others", name) for name in others]
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(1, 10**9)
    return args


def copies(env, paths):
    """Where nobody builds them anew meanwhile."""
    for path in paths:
        copy = os.path.join(env.folder, "promise-" + os.path.basename(path))
        shutil.copy(path, copy)
        yield copy


def explain(test, env, seed, args, failure):
    print(f"FAILED in the round of seed {seed}: {failure}")
    print("the steps before:", *test.log, sep="\n")
    print("the rules:", *sorted(map(str, test.model.rules)), sep="\n  ")
    print("the listeners:", *map(test.describe, test.model.listeners), sep="\n  ")
    print(test.program.run("list").stdout)
    again = f"--steps {args.steps} --rounds 1 --modes {','.join(args.modes)}"
    again += " --no-groups" * args.no_groups
    print(f"again: SEED={seed} PROMISE_ARGS='{again}'",
          "tests/e2e/run tests/e2e/promise.bats")


def main():
    args, env = arguments(), Environment()
    program = Program(env, [env.portsteer, *copies(env, args.others)], args.killat)
    agents = {(u, c): Agent(env, u, c) for u in USERS for c in OWNER_CGROUPS}
    agents["root", "clients"] = Agent(env, 0, "clients")
    clients = {name: Agent(env, 0, *where) for name, where in CLIENTS.items()}
    deadline = time.monotonic() + args.seconds
    total, seed, rounds = collections.Counter(), args.seed, 0
    print(f"seed {seed}", flush=True)
    while time.monotonic() < deadline and rounds < args.rounds:
        test = Test(env, program, agents, clients, args)
        try:
            test.run(seed, args.steps, deadline)
        except (Failure, OSError, subprocess.SubprocessError) as failure:
            explain(test, env, seed, args, failure)
            sys.exit(1)
        total.update(test.done, steps=test.number)
        seed, rounds = seed + 1, rounds + 1
    print(f"{rounds} rounds:", ", ".join(f"{count} {what}" for what, count in total.most_common()))


if __name__ == "__main__":
    main()
