"""What it costs to copy tracked connections to a successor: processor time a flow at both ends, the lag, and what is
right of it at the end.

    python bench/flow_sync.py [--rates 1000,5000,20000] [--seconds 5] [--routers 1000] [--out DIRECTORY]

Re-executes itself in a user namespace of its own, so it needs no root and leaves nothing behind. It makes two
namespaces with the router's NAT and runs a source and a sink on them, each in a process of its own, as on two hosts.

Flows are made by ctnetlink, not by packets: more than some hundred connections a second cannot be opened from here
without measuring the opening. To the kernel's events it makes no difference: a flow is established, closes in three
steps and is forgotten, each step an event of an assured flow, so five a flow. It lives for a second.

When a rate is over, the follower's table should have the flows that are open in the source's, as they are there, and no
others: what is missing or left over makes the benchmark fail.

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
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from gapless.flows.driver import LOOK_S
from gapless.flows.entries import Entry, entry_of
from gapless.flows.figures import Figures
from gapless.flows.names import Names
from gapless.flows.sink import Sink
from gapless.flows.source import Source
from gapless.flows.table import Table
from gapless.kernel.netlink import NETFILTER
from gapless.kernel.netns import DIRECTORY, enter
from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.wire.flows import Identity
from made_flows import FIN_WAIT, LAST_ACK, TIME_WAIT, all_forgotten, established, forgotten, in_state
from measuring import COPY_S, HERE, by_what, write

INSIDE = "GAPLESS_BENCH_INSIDE"
KEY = b"k" * 32
ADDRESS = ("127.0.0.1", 9695)
AT_ONCE = 50
LIFE_S = 1.0
SETTLE_S = 3.0
IDLE_S = 5.0
TIMEOUT_AT, TIMEOUT_END = 8, 16
"""Of an entry's state, which begins with two attributes of one number."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """What so many flows a second cost, and what came of them."""

    asked: int
    made: float
    source_us: float
    """Processor time of one flow,"""
    sink_us: float
    """and of the same at the follower."""
    lag_ms: float
    """The median, and"""
    lag_ms_max: float
    overruns: int
    not_made: int
    """Flows that should have been open at the source when the rate was over, and were not."""
    missing: int
    """Open at the source and, as they are there, not with the follower;"""
    left_over: int
    """with the follower, and not so at the source."""

    @property
    def is_right(self) -> bool:
        """The follower had what it should have had."""
        return not (self.not_made or self.missing or self.left_over)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """What so many routers cost without a flow, in milliseconds of processor time a second."""

    routers: int
    source_ms: float
    sink_ms: float


def main() -> int:
    """Measure, print the table, write both files. Exit 1 when a follower did not have what it should."""
    given = arguments()
    if INSIDE not in os.environ:
        os.execvpe("unshare", ["unshare", "-Urnm", sys.executable, *sys.argv], os.environ | {INSIDE: "1"})
    run("mount -t tmpfs none /run && mkdir /run/netns && ip link set lo up")
    busy = list(at_rates(given.rates, given.seconds)) if given.rates else []
    quiet = at_rest(given.routers) if given.routers else None
    text = table(busy, quiet)
    print(f"\n{text}")
    write(given.out, "flow-sync", text, {"rates": list(map(asdict, busy)), "quiet": quiet and asdict(quiet)})
    return 0 if all(each.is_right for each in busy) else 1


def at_rates(rates: Iterable[int], seconds: float) -> Iterator[Busy]:
    """One router, at one rate after another."""
    make_routers(1)
    idle = [each.cpu_s / IDLE_S for each in both([RouterId("0")], lambda: time.sleep(IDLE_S))]
    for rate in rates:
        found = measured(rate, seconds, idle)
        print(busy_line(found), flush=True)
        yield found


def at_rest(count: int) -> Quiet:
    """So many routers, and no flow."""
    make_routers(count)
    routers = [RouterId(str(number)) for number in range(count)]
    used = [each.cpu_s / IDLE_S * 1000 for each in both(routers, lambda: time.sleep(IDLE_S), COPY_S * count)]
    return Quiet(routers=count, source_ms=used[0], sink_ms=used[1])


def table(busy: Sequence[Busy], quiet: Quiet | None) -> str:
    """As Markdown."""
    lines = ["# Copies of connections", ""]
    if busy:
        lines += [
            "Processor time of a flow in µs; lag in ms. `missing`, `left over`: flows that the follower, when all was "
            "over, did not have as the source had them, and had though the source had not.",
            "",
            "| flows/s asked | made | source | follower | lag, median | worst | overruns | missing | left over |",
            "|---|---|---|---|---|---|---|---|---|",
            *map(busy_line, busy),
            "",
            *(f"At {each.asked:,} a second {each.not_made:,} flows were not made." for each in busy if each.not_made),
        ]
    if quiet is not None:
        lines += [
            "",
            "| routers without a flow | source, ms of processor time a second | follower |",
            "|---|---|---|",
            f"| {quiet.routers:,} | {quiet.source_ms:.1f} | {quiet.sink_ms:.1f} |",
        ]
    return "\n".join((*lines, "", by_what(), ""))


def busy_line(it: Busy) -> str:
    """A line of the table."""
    return (
        f"| {it.asked:,} | {it.made:,.0f} | {it.source_us:.1f} | {it.sink_us:.1f} | {it.lag_ms:.0f} "
        f"| {it.lag_ms_max:.0f} | {it.overruns} | {it.missing:,} | {it.left_over:,} |"
    )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers: Callable[[str], list[int]] = lambda text: [int(word) for word in text.split(",") if word]  # noqa: E731
    parser.add_argument("--rates", type=numbers, default=[1000, 5000, 20000], help="flows a second; empty: none")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--routers", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "results", help="directory for the results")
    return parser.parse_args()


def run(command: str, given: str = "") -> None:
    """Run a shell command."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    subprocess.run(["sh", "-ec", command], check=True, input=given, text=True, env=os.environ | {"PATH": path})


def make_routers(count: int) -> None:
    """So many on both hosts, unless they are there."""
    for name in [f"{host}{number}" for number in range(count) for host in "ab"]:
        if not (DIRECTORY / name).exists():
            make_router(name)


def make_router(name: str) -> None:
    """A namespace with the router's NAT, whose flows make events."""
    run(f"ip netns add {name} && ip netns exec {name} nft -f -", RULES)
    enter(DIRECTORY / name, lambda: Path("/proc/sys/net/netfilter/nf_conntrack_events").write_text("1"))


def measured(rate: int, seconds: float, idle: list[float]) -> Busy:
    """What one rate cost, of a router that knew no flow before it."""
    for host in "ab":
        ask(f"{host}0", [all_forgotten()])
    took: list[float] = []
    source, sink = both([RouterId("0")], lambda: took.append(make_flows(rate, seconds)))
    whole_s, flows = seconds + SETTLE_S, int(rate * seconds)
    costs = [(each.cpu_s - idle_s * whole_s) / flows * 1e6 for each, idle_s in zip((source, sink), idle, strict=True)]
    lags = sorted(source.lags_ms) or [0.0]
    active, standby = known(DIRECTORY / "a0"), known(DIRECTORY / "b0")
    still_open = {as_kept(each) for each in active if not each.is_over}
    copied = {as_kept(each) for each in standby}
    return Busy(
        asked=rate,
        made=flows / took[0],
        source_us=costs[0],
        sink_us=costs[1],
        lag_ms=lags[len(lags) // 2],
        lag_ms_max=lags[-1],
        overruns=source.figures.overruns,
        not_made=min(flows, int(rate * LIFE_S)) - len(still_open),
        missing=len(still_open - copied),
        left_over=len(copied - still_open),
    )


def known(path: Path) -> list[Entry]:
    """What the kernel knows of the flows of a namespace."""
    with Table(path) as table:
        return [entry for step in table.assured() for entry in map(entry_of, step) if entry is not None]


def as_kept(entry: Entry) -> tuple[bytes, ...]:
    """All that a follower takes over of a flow, but for how long its kernel keeps it."""
    return entry.flow, entry.reply, entry.nat, entry.state[:TIMEOUT_AT] + entry.state[TIMEOUT_END:]


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
    began = time.monotonic()

    def paced() -> Iterator[bytes]:
        for number, packed in enumerate(batches):
            late_s = began + number * AT_ONCE / rate - time.monotonic()
            if late_s > 0:
                time.sleep(late_s)
            yield packed

    ask("a0", paced())
    return time.monotonic() - began


def ask(name: str, requests: Iterable[bytes]) -> None:
    """Have the kernel do this in a namespace."""
    with enter(DIRECTORY / name, lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER)) as kernel:
        for packed in requests:
            kernel.send(packed)


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
