"""What the guard costs: renewing, activating, withdrawing and announcing, and what it takes from traffic.

    python bench/guard.py [--routers 1,100,1000] [--pairs 7] [--seconds 2] [--json out.json]

Re-executes itself in a user namespace of its own, so it needs no root and leaves nothing behind. Traffic goes from a
client through a router to a server; each frame meets the guard at two taps. It is measured with the guard and without,
in turn, in pairs; told are medians, and the median and spread of the pairs' ratios. Needs iperf3 for the throughput.
"""

import argparse
import ctypes
import itertools
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from build_routers import prepare_host, router
from gapless.agent.reconcile import Reconciler
from gapless.core.desired import tap_name
from gapless.kernel import netns
from gapless.model.observed import GUARDED_GROUP
from gapless.model.router import Router
from gapless.sentinel.beat.announce import Announcer
from gapless.sentinel.beat.guard import TABLE, Guard
from gapless.sentinel.beat.preparing import ports_of

INSIDE = "GAPLESS_BENCH_INSIDE"
LONG_S = 3600.0
RENEWALS = 500
ROUNDS = 20
PORT = 7777


def main() -> int:
    """Measure, print, maybe write a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routers", default="1,100,1000", help="sizes, separated by commas (default: 1,100,1000)")
    parser.add_argument("--pairs", type=int, default=7, help="pairs of measurements of traffic (default: 7; 0: none)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one throughput run (default: 2)")
    parser.add_argument("--json", type=Path, help="write the results here too")
    options = parser.parse_args()
    if os.environ.get(INSIDE) != "1":
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "-Urnm", sys.executable, *sys.argv])
    settings = prepare_host()
    sizes = sorted(int(size) for size in options.routers.split(","))
    print(f"{platform.machine()}, Linux {platform.release()}, {os.cpu_count()} cores\n")
    results: dict[str, Any] = {"traffic": traffic(options.pairs, options.seconds) if options.pairs else {}}
    with Guard() as guard:
        guard.install()
        routers = build(Reconciler(settings), max(sizes))
        results["costs"] = costs(guard, routers, sizes)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


# Costs of the guard's own work


def build(reconciler: Reconciler, count: int) -> list[Router]:
    """So many guarded routers, by the agent's own hands."""
    routers = [router(number) for number in range(count)]
    for it in routers:
        reconciler.reconcile(it, guarded=True)
    reconciler.close()
    return routers


def costs(guard: Guard, routers: list[Router], sizes: list[int]) -> list[dict[str, Any]]:
    """For each size, distributions in microseconds."""
    announcer = Announcer()
    table = []
    print("costs in µs: median (slowest)")
    for it in routers:
        announcer.prepare(it.id, ports_of(it, {"external": "ext0"}))
    announcer.settle()
    for size in sizes:
        row = {"routers": size, **costs_of(guard, announcer, routers[:size])}
        table.append(row)
        for name, values in row.items():
            if isinstance(values, list):
                print(f"  {size:5} routers  {name:32} {statistics.median(values):9.0f} ({max(values):.0f})")
    announcer.close()
    return table


def costs_of(guard: Guard, announcer: Announcer, routers: list[Router]) -> dict[str, list[float]]:
    """Distributions in microseconds of what is done for these routers together."""
    names = [name for it in routers for name in taps_of(it)]
    guard.withdraw()
    activate, deactivate, withdraw, announce, processor, gaps, half = [], [], [], [], [], [], []
    for _ in range(ROUNDS):
        activate.append(timed(lambda: guard.activate(names)))
        deactivate.append(timed(lambda: guard.deactivate(names)))
        guard.activate(names)
        guard.extend(time.monotonic() + LONG_S)
        breaths, used = [time.perf_counter()], time.thread_time()
        announce.append(timed(lambda: lost_none(announcer, routers, breaths)))  # noqa: B023 - called at once
        processor.append((time.thread_time() - used) * 1e6)
        breaths.append(time.perf_counter())
        gaps.append(max(later - earlier for earlier, later in itertools.pairwise(breaths)) * 1e6)
        half.append(timed(lambda: lost_none(announcer, routers[: len(routers) // 2 + 1], [])))
        withdraw.append(timed(guard.withdraw))
    guard.activate(names)
    renew = []
    for _ in range(RENEWALS):
        time.sleep(0.002)
        renew.append(timed(lambda: guard.extend(time.monotonic() + 0.2)))
    return {
        "renew the lease": renew,
        "activate": activate,
        "deactivate": deactivate,
        "withdraw": withdraw,
        "announce": announce,
        "announce, processor time": processor,
        "announce, median router": half,
        "announce, longest without breath": gaps,
    }


def lost_none(announcer: Announcer, routers: list[Router], breaths: list[float]) -> None:
    """A burst, of which nothing may be missing: else its time says nothing."""
    burst = announcer.burst([it.id for it in routers], lambda: breaths.append(time.perf_counter()))
    if burst.unready or burst.lost:
        raise SystemExit(f"{len(burst.unready)} routers were not ready, {burst.lost} frames were lost")


def taps_of(it: Router) -> list[str]:
    """The names of a router's taps."""
    ports = [*it.ports, *([it.gateway.port] if it.gateway is not None else [])]
    return [tap_name(port.id) for port in ports]


def timed(work: Callable[[], object]) -> float:
    """Microseconds that `work` takes."""
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1e6


# What it takes from traffic


def traffic(pairs: int, seconds: float) -> dict[str, dict[str, list[float]]]:
    """For each kind of traffic, the values without and with the guard, in pairs."""
    plug_in()
    kinds: dict[str, Callable[[], float]] = {
        "ping flood, µs a round trip": round_trip_us,
        "datagrams through a router, ns each": through_router_ns,
        "datagrams between other ports, ns each": between_others_ns,
    }
    if shutil.which("iperf3") is None:
        print("iperf3 is not installed (package iperf3): throughput is left out")
    else:
        kinds["TCP through a router, Mbit/s"] = lambda: tcp_mbit(seconds, "10.0.2.2")
        kinds["TCP between other ports, Mbit/s"] = lambda: tcp_mbit(seconds, "10.0.1.3")
    found: dict[str, dict[str, list[float]]] = {}
    print(f"traffic, {pairs} pairs: median without and with the guard; with / without: median (least, most)")
    for kind, measure in kinds.items():
        without: list[float] = []
        guarded: list[float] = []
        for pair in range(pairs):
            # Whichever is first may profit or suffer from that: it takes turns.
            for has_guard in (False, True) if pair % 2 else (True, False):
                with guard_on(has_guard):
                    (guarded if has_guard else without).append(measure())
        found[kind] = {"without": without, "with": guarded}
        ratios = [b / a for a, b in zip(without, guarded, strict=True)]
        print(
            f"  {kind:48} {statistics.median(without):12.1f} {statistics.median(guarded):12.1f}"
            f"   {statistics.median(ratios):.3f} ({min(ratios):.3f}, {max(ratios):.3f})"
        )
    print()
    for name in ("client", "gateway", "server", "beside"):
        run(f"ip netns delete {name}")
    return found


def plug_in() -> None:
    """A client and another machine on one bridge, a server on another, and a router between them."""
    run("mkdir -p /run/netns")
    run("ip link set lo up")
    plugs = (
        ("client", "one", "10.0.1.2", 0),
        ("beside", "one", "10.0.1.3", 0),
        ("server", "two", "10.0.2.2", 0),
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
    while subprocess.run(inside("client", "ping -c1 -W1 10.0.2.2"), capture_output=True, check=False).returncode:
        time.sleep(0.1)


@contextmanager
def guard_on(has_guard: bool) -> Iterator[None]:
    """With the guard and the router active, or without any table."""
    if has_guard:
        with Guard() as guard:
            guard.install()
            guard.activate(["one-gateway", "two-gateway", *(f"tap{number:08x}-ab" for number in range(2000))])
            guard.extend(time.monotonic() + LONG_S)
            yield
        run(f"nft delete table bridge {TABLE}")
    else:
        yield


def round_trip_us() -> float:
    """Mean round trip of a ping flood through the router."""
    said = output(inside("client", "ping -f -q -c 20000 10.0.2.2"))
    found = re.search(r"= [\d.]+/([\d.]+)/", said)
    if found is None:
        raise SystemExit(f"ping said: {said}")
    return float(found[1]) * 1000


def tcp_mbit(seconds: float, target: str) -> float:
    """Throughput of one TCP flow."""
    return float(iperf(target, f"-t {seconds}")["end"]["sum_received"]["bits_per_second"]) / 1e6


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


def through_router_ns() -> float:
    """Nanoseconds a datagram from bridge to bridge."""
    return datagram_ns("10.0.2.2")


def between_others_ns() -> float:
    """Nanoseconds a datagram within a bridge."""
    return datagram_ns("10.0.1.3")


def datagram_ns(target: str) -> float:
    """Nanoseconds a small datagram: the sender's processor carries it all the way to the receiver's queue."""
    at_once, times, runs = 64, 40, 12
    words = ctypes.create_string_buffer(b"x" * 22)
    part = Part(ctypes.addressof(words), 22)
    batch = (Datagram * at_once)()
    for datagram in batch:
        datagram.parts, datagram.count = ctypes.addressof(part), 1
    sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
    with udp_socket("client") as sending, udp_socket("beside" if target == "10.0.1.3" else "server") as listening:
        listening.bind(("", PORT))  # and never reads: what does not fit is dropped there
        sending.connect((target, PORT))
        took = []
        for _ in range(runs):
            begin = time.perf_counter_ns()
            for _ in range(times):
                if sendmmsg(sending.fileno(), batch, at_once, 0) != at_once:
                    raise SystemExit(f"datagrams were not sent: {os.strerror(ctypes.get_errno())}")
            took.append((time.perf_counter_ns() - begin) / (at_once * times))
        return min(took)  # of several, so that what else the machine did is left out


def udp_socket(name: str) -> socket.socket:
    """A UDP socket in a namespace."""
    return netns.enter(Path("/run/netns") / name, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))


def iperf(target: str, options: str) -> dict[str, Any]:
    """What iperf3 says of one run from the client to `target`."""
    name = "beside" if target == "10.0.1.3" else "server"
    with subprocess.Popen(inside(name, "iperf3 -s -1 --forceflush"), stdout=subprocess.PIPE, text=True) as server:
        if server.stdout is None or not any("listening" in line for line in server.stdout):
            raise SystemExit("iperf3 did not listen")
        said: dict[str, Any] = json.loads(output(inside("client", f"iperf3 -J -c {target} {options}")))
        server.stdout.read()
    return said


def inside(name: str, command: str) -> list[str]:
    """A command in a namespace."""
    return ["ip", "netns", "exec", name, *command.split()]


def run(command: str) -> None:
    """Run a command that has to work."""
    output(command.split())


def output(command: Sequence[str]) -> str:
    """What a command said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
