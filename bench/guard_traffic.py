"""Traffic through a guarded router and past one, for `guard.py`: a client and another machine on one bridge, a server
on another, a router between them.

Each kind is a fixed piece of work that is done again and again, with the guard and without (`paired.py`), over sockets
that stay: one TCP connection lives through all of it. What a piece costs is told in processor time where one thread
does all of it, the way to the far socket included, for veth carries a frame through bridges and router in its sender's
own context: so what else the machine does is left out. Throughput of a TCP flow is of two processes, in real time, and
beside it the processor time of both.
"""

import ctypes
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gapless.kernel import netns
from gapless.model.observed import GUARDED_GROUP
from gapless.sentinel.beat import clock
from gapless.sentinel.beat.guard import TABLE, Guard

LONG_S = 3600.0
PORT = 7777
PIECES = 3
"""Of a piece of work that takes milliseconds, the best of so many: the others were interrupted."""
SERVER, BESIDE = "10.0.2.2", "10.0.1.3"
"""Beyond the router; on the client's own bridge."""
_NAME_OF = {SERVER: "server", BESIDE: "beside"}
_CHUNK = 1 << 18
_SETTLE = 10_000_000
"""After the guard came or went, so many bytes are not counted: some were under way."""


def plug_in() -> None:
    """Make the namespaces, and wait until the router carries something."""
    run("mkdir -p /run/netns")
    run("ip link set lo up")
    plugs = (
        ("client", "one", "10.0.1.2", 0),
        ("beside", "one", BESIDE, 0),
        ("server", "two", SERVER, 0),
        ("gateway", "one", "10.0.1.1", GUARDED_GROUP),
        ("gateway", "two", "10.0.2.1", GUARDED_GROUP),
    )
    for bridge in ("one", "two"):
        run(f"ip link add {bridge} type bridge mcast_snooping 0 forward_delay 0")
        run(f"ip link set {bridge} up")
    for name in ("client", "beside", "server", "gateway"):
        run(f"ip netns add {name}")
        run(f"ip -n {name} link set lo up")
    for name, bridge, address, group in plugs:
        port, link = f"{bridge}-{name}", f"to-{bridge}"
        run(f"ip link add {port} group {group} type veth peer name {link} netns {name}")
        run(f"ip link set {port} master {bridge} up")
        run(f"ip -n {name} link set {link} up")
        run(f"ip -n {name} address add {address}/24 dev {link}")
    run("ip -n client route add default via 10.0.1.1")
    run("ip -n server route add default via 10.0.2.1")
    run("ip netns exec gateway sysctl -qw net.ipv4.ip_forward=1")
    run_words(["ip", "netns", "exec", "client", "sysctl", "-qw", "net.ipv4.ping_group_range=0 0"])
    while subprocess.run(
        ["ip", "netns", "exec", "client", "ping", "-c1", "-W1", SERVER], capture_output=True
    ).returncode:
        time.sleep(0.1)


def unplug() -> None:
    """Take all of it away."""
    for name in ("client", "gateway", "server", "beside"):
        run(f"ip netns delete {name}")


@contextmanager
def guard_on() -> Iterator[None]:
    """With the guard and the router active among a thousand; else there is no table at all."""
    with Guard() as guard:
        guard.install()
        guard.activate(["one-gateway", "two-gateway", *(f"tap{number:08x}-ab" for number in range(2000))])
        guard.extend(clock.now() + LONG_S)
        yield
    run(f"nft delete table bridge {TABLE}")


Measure = Callable[[], Mapping[str, float]]


@contextmanager
def kinds(megabytes: int) -> Iterator[dict[str, Measure]]:
    """Everything that is measured, by name, while the block lasts. `megabytes`: of each piece of a TCP flow."""
    with (
        _pinging() as round_trip,
        _datagrams(SERVER) as through,
        _datagrams(BESIDE) as past,
        _flow(SERVER, megabytes) as tcp_through,
        _flow(BESIDE, megabytes) as tcp_past,
    ):
        yield {
            "ping flood": lambda: {"ping flood through a router, ns a round trip": round_trip()},
            "datagrams": lambda: {"datagram through a router, ns": through()},
            "datagrams past": lambda: {"datagram between other ports, ns": past()},
            "TCP": lambda: _named("TCP through a router", tcp_through()),
            "TCP past": lambda: _named("TCP between other ports", tcp_past()),
        }


def _named(what: str, values: tuple[float, float]) -> dict[str, float]:
    mbit, cpu_us = values
    return {f"{what}, Mbit/s": mbit, f"{what}, µs of processors a MB": cpu_us}


def _best(piece: Callable[[], None], count: int) -> float:
    """Nanoseconds of this thread's processor time, each of `count`; the best of some pieces."""
    took = []
    for _ in range(PIECES):
        begin = time.thread_time_ns()
        piece()
        took.append((time.thread_time_ns() - begin) / count)
    return min(took)


@contextmanager
def _pinging(count: int = 500) -> Iterator[Callable[[], float]]:
    """Echo requests, each when the last was answered; as `ping -f` does, without its clock."""
    request = struct.pack("!BBHHH", 8, 0, 0, 0, 0) + bytes(56)
    with _socket("client", socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as pinging:
        pinging.connect((SERVER, 0))
        pinging.settimeout(5)

        def piece() -> None:
            for _ in range(count):
                pinging.send(request)
                pinging.recv(128)

        yield lambda: _best(piece, count)


class Datagram(ctypes.Structure):
    """struct mmsghdr (64-bit Linux), for `sendmmsg`."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("parts", ctypes.c_void_p),
        ("count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_long),
        ("sent", ctypes.c_long),
    )


class Part(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


@contextmanager
def _datagrams(target: str, at_once: int = 64, times: int = 40) -> Iterator[Callable[[], float]]:
    """Small datagrams, carried all the way to the receiver's queue, where nobody reads them."""
    words = ctypes.create_string_buffer(b"x" * 22)
    part = Part(ctypes.addressof(words), 22)
    batch = (Datagram * at_once)()
    for datagram in batch:
        datagram.parts, datagram.count = ctypes.addressof(part), 1
    sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
    with _socket("client") as sending, _socket(_NAME_OF[target]) as listening:
        listening.bind(("", PORT))
        sending.connect((target, PORT))

        def piece() -> None:
            for _ in range(times):
                if sendmmsg(sending.fileno(), batch, at_once, 0) != at_once:
                    raise SystemExit(f"datagrams were not sent: {os.strerror(ctypes.get_errno())}")

        yield lambda: _best(piece, at_once * times)


@contextmanager
def _flow(target: str, megabytes: int) -> Iterator[Callable[[], tuple[float, float]]]:
    """One TCP connection of two processes; a piece of it in Mbit/s, and in µs of both processes' time a MB.

    Between pieces the sender is stopped by what the receiver does not read.
    """
    sending = _socket("client", socket.SOCK_STREAM)
    with _socket(_NAME_OF[target], socket.SOCK_STREAM) as listening:
        listening.bind(("", PORT))
        listening.listen()
        sending.connect((target, PORT))
        receiving, _ = listening.accept()
    with receiving, _sender(sending) as sender, _on_cores(sender):
        room = bytearray(_CHUNK)
        # POSIX clock_getcpuclockid(3), as Linux numbers the clocks of other processes
        clocks = (time.CLOCK_PROCESS_CPUTIME_ID, (~sender << 3) | 2)

        def read(least: int) -> tuple[float, int, float]:
            used, begin, got = sum(map(time.clock_gettime, clocks)), time.monotonic(), 0
            while got < least:
                chunk = receiving.recv_into(room)
                if not chunk:
                    raise SystemExit(f"the connection to {target} has ended")
                got += chunk
            return time.monotonic() - begin, got, sum(map(time.clock_gettime, clocks)) - used

        def piece() -> tuple[float, float]:
            read(_SETTLE)
            lasted, got, used = read(megabytes * 1_000_000)
            return got * 8e-6 / lasted, used * 1e6 / (got / 1e6)

        yield piece


@contextmanager
def _sender(connection: socket.socket) -> Iterator[int]:
    """A process that sends whatever the connection takes; its pid."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        chunk = bytes(_CHUNK)
        try:
            while True:
                connection.send(chunk)
        except OSError:
            os._exit(0)
    connection.close()
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@contextmanager
def _on_cores(sender: int) -> Iterator[None]:
    """Sender and receiver on a core each, where there are two: else where they meet changes from piece to piece."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(sender, cores[:1])
        os.sched_setaffinity(0, cores[1:2])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _socket(name: str, kind: int = socket.SOCK_DGRAM, protocol: int = 0) -> socket.socket:
    """A socket in a namespace."""

    def made() -> socket.socket:
        it = socket.socket(socket.AF_INET, kind, protocol)
        it.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return it

    return netns.enter(Path("/run/netns") / name, made)


def run(command: str) -> None:
    """Run a command that has to work."""
    run_words(command.split())


def run_words(command: Sequence[str]) -> None:
    """The same, in words."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr or done.stdout}")
