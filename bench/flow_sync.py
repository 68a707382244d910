"""What it costs to copy tracked connections to a successor: processor time a flow at both ends, and the lag.

    python bench/flow_sync.py [--rates 1000,5000,20000] [--seconds 5] [--routers 1000] [--out DIRECTORY]

Re-executes itself in a user namespace of its own, so it needs no root and leaves nothing behind. It makes two
namespaces with the router's NAT and runs a source and a sink on them, each in a process of its own, as on two hosts.

Flows are made by ctnetlink, not by packets: more than some hundred connections a second cannot be opened from here
without measuring the opening. To the kernel's events it makes no difference: a flow is established, closes in three
steps and is forgotten, each step an event of an assured flow, so five a flow. It lives for a second.

The processor time of a flow is the process's own, kernel included, less what it uses idle; one over it is the rate that
one core could hold. On a machine that is busy with other things the lag is what those make of it.

`--routers`: what a source and a sink of so many quiet routers use, a second.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from gapless.flows.driver import LOOK_S
from gapless.flows.figures import Figures
from gapless.flows.names import Names
from gapless.flows.sink import Sink
from gapless.flows.source import Source
from gapless.flows.table import Table
from gapless.kernel.netns import DIRECTORY, enter
from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.wire.flows import Identity
from made_flows import FIN_WAIT, LAST_ACK, TIME_WAIT, established, forgotten, in_state
from measuring import COPY_S

INSIDE = "GAPLESS_BENCH_INSIDE"
KEY = b"k" * 32
ADDRESS = ("127.0.0.1", 9695)
AT_ONCE = 50
LIFE_S = 1.0
SETTLE_S = 3.0
IDLE_S = 5.0
RULES = """
table ip gapless {
  chain postrouting { type nat hook postrouting priority 100; oifname "out" snat to 198.51.100.1; }
}
"""


@dataclass
class Used:
    """What a process used and did meanwhile."""

    cpu_s: float
    figures: Figures
    lags_ms: list[float]


def main() -> int:
    """Measure, print, maybe write."""
    given = arguments()
    if INSIDE not in os.environ:
        os.execvpe("unshare", ["unshare", "-Urnm", sys.executable, *sys.argv], os.environ | {INSIDE: "1"})
    run("mount -t tmpfs none /run && mkdir /run/netns && ip link set lo up")
    lines = []
    if given.rates:
        lines += ["| flows/s asked | made | source, µs/flow | sink, µs/flow | lag, median | lag, worst | overruns |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for host in "ab":
            make_router(f"{host}0")
        idle = [each.cpu_s / IDLE_S for each in both([RouterId("0")], lambda: time.sleep(IDLE_S))]
        for rate in given.rates:
            lines.append(measured(rate, given.seconds, idle))
            print(lines[-1], flush=True)
    if given.routers:
        lines += ["", "| routers | source, ms CPU/s | sink, ms CPU/s |", "|---|---|---|"]
        routers = [RouterId(str(number)) for number in range(given.routers)]
        for number in range(1 if given.rates else 0, given.routers):
            for host in "ab":
                make_router(f"{host}{number}")
        used = [each.cpu_s / IDLE_S * 1000 for each in both(routers, lambda: time.sleep(IDLE_S), COPY_S * len(routers))]
        lines.append(f"| {given.routers:,} | {used[0]:.1f} | {used[1]:.1f} |")
    print("\n".join(lines))
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "flows.md").write_text("\n".join(lines) + "\n")
    return 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers: Callable[[str], list[int]] = lambda text: [int(word) for word in text.split(",") if word]  # noqa: E731
    parser.add_argument("--rates", type=numbers, default=[1000, 5000, 20000], help="flows a second; empty: none")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--routers", type=int, default=0)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def run(command: str, given: str = "") -> None:
    """Run a shell command."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    subprocess.run(["sh", "-ec", command], check=True, input=given, text=True, env=os.environ | {"PATH": path})


def make_router(name: str) -> None:
    """A namespace with the router's NAT, whose flows make events."""
    run(f"ip netns add {name} && ip netns exec {name} nft -f -", RULES)
    enter(DIRECTORY / name, lambda: Path("/proc/sys/net/netfilter/nf_conntrack_events").write_text("1"))


def measured(rate: int, seconds: float, idle: list[float]) -> str:
    """One line of the table."""
    made: list[float] = []
    source, sink = both([RouterId("0")], lambda: made.append(make_flows(rate, seconds)))
    whole_s = seconds + SETTLE_S
    flows = rate * seconds
    costs = [(each.cpu_s - idle_s * whole_s) / flows * 1e6 for each, idle_s in zip((source, sink), idle, strict=True)]
    lags = sorted(source.lags_ms) or [0.0]
    with Table(DIRECTORY / "a0") as table:
        left = [len(step) for step in table.assured()]
    return (
        f"| {rate:,} | {flows / made[0]:,.0f} | {costs[0]:.1f} | {costs[1]:.1f} | {lags[len(lags) // 2]:.0f} ms "
        f"| {lags[-1]:.0f} ms | {source.figures.overruns} |"
    ) + ("" if sum(left) < rate * LIFE_S * 3 else " flows were left")


def both(routers: list[RouterId], work: Callable[[], None], settle_s: float = 1.0) -> tuple[Used, Used]:
    """What a source and a sink use while `work` is done, and for a moment after it."""
    used = []
    ends = [(role, *multiprocessing.Pipe()) for role in (as_source, as_sink)]
    processes = [multiprocessing.Process(target=role, args=(its, routers)) for role, _, its in ends]
    for process in processes:
        process.start()
    time.sleep(settle_s + 1.0)
    for _, ours, _ in ends:
        ours.send("begin")
    work()
    time.sleep(SETTLE_S)
    for _, ours, _ in ends:
        ours.send("end")
        used.append(ours.recv())
    for process in processes:
        process.join()
    return used[0], used[1]


def as_source(end: Connection, routers: list[RouterId]) -> None:
    """The process of the host where they are active."""
    figures = Figures()
    path_of: Callable[[RouterId], Path] = lambda router_id: DIRECTORY / f"a{router_id}"  # noqa: E731
    me = Identity(name=HostName("a"), cluster="bench", key=KEY)
    source = Source(me, figures, lambda _: True, most=1_000_000, path_of=path_of)
    asyncio.run(serve(end, figures, source.serve(*ADDRESS), lambda names: source.look(time.monotonic(), names=names)))


def as_sink(end: Connection, routers: list[RouterId]) -> None:
    """The process of the host that may succeed it."""
    figures = Figures()
    path_of: Callable[[RouterId], Path] = lambda router_id: DIRECTORY / f"b{router_id}"  # noqa: E731
    sink = Sink(Identity(name=HostName("b"), cluster="bench", key=KEY), HostName("a"), figures, path_of=path_of)
    sink.follow(frozenset(routers), ADDRESS)
    asyncio.run(serve(end, figures, sink.run(), lambda names: sink.look(names=names)))


async def serve(end: Connection, figures: Figures, running: Awaitable[None], look: Callable[[bool], None]) -> None:
    """Run, look each `LOOK_S`, at namespaces where names may differ; tell what was used between `begin` and `end`."""
    task = asyncio.ensure_future(running)
    began, lags, names = 0.0, [], Names()
    while True:
        await asyncio.sleep(LOOK_S)
        look(names.may_differ(time.monotonic()))
        lags.append(figures.report().lag_ms)
        if not end.poll():
            continue
        if end.recv() == "begin":
            began, lags = time.process_time(), []
            continue
        end.send(Used(time.process_time() - began, figures, lags))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return


def make_flows(rate: int, seconds: float) -> float:
    """Have so many flows begin and end on the source; how long it took, in seconds."""
    batches = [
        batch(start, int(rate * LIFE_S), int(rate * seconds)) for start in range(0, int(rate * seconds), AT_ONCE)
    ]
    kernel = enter(DIRECTORY / "a0", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12))
    began = time.monotonic()
    for number, packed in enumerate(batches):
        late_s = began + number * AT_ONCE / rate - time.monotonic()
        if late_s > 0:
            time.sleep(late_s)
        kernel.send(packed)
    took_s = time.monotonic() - began
    kernel.close()
    return took_s


def batch(start: int, life: int, count: int) -> bytes:
    """The next flows begin; those that began a life ago close, and those of two lives ago are forgotten."""
    end = min(start + AT_ONCE, count)
    messages = [established(number) for number in range(start, end)]
    for number in range(max(0, start - life), end - life):
        messages += [in_state(number, state) for state in (FIN_WAIT, LAST_ACK, TIME_WAIT)]
    messages += [forgotten(number) for number in range(max(0, start - 2 * life), end - 2 * life)]
    return b"".join(messages)


if __name__ == "__main__":
    raise SystemExit(main())
