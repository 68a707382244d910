"""Inside of a lab: takeovers in turn with so many copied connections and with none, for `entries.py`.

Two hosts; all routers are active on one of them, which loses power (`gapless.lab.rounds`), again and again. Before each
round the kernel of the host that is about to die forgets all connections; then, if it is their turn, new ones are made
there by ctnetlink (`made_flows`), for which no packet is needed. Nothing else is told of either: what the successor's
kernel has of it was copied, as of any other connection, and a round strikes when it is all there, or all gone.

    python bench/entries_lab.py ORDERS FILE     in a lab's namespaces; `Measurement` and what is written, as JSON
"""

import asyncio
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

import made_flows
from gapless.errors import GaplessError, Unavailable
from gapless.kernel.netlink import NETFILTER
from gapless.lab.findings import table
from gapless.lab.findings.expect import Bounds
from gapless.lab.groups import first_of
from gapless.lab.lab import Lab
from gapless.lab.machines import linux
from gapless.lab.machines.nodes import Host
from gapless.lab.rounds import Round, Rounds, carry_out, turns_of
from gapless.lab.runner import run_until_signalled
from gapless.lab.settings import LabSettings
from gapless.lab.waiting import until
from gapless.observe.console import console
from gapless.observe.words import counted
from paired import order

T = TypeVar("T")
FAULT = "host-power"
AT_ONCE = 50
"""Connections that are made by one request."""
OTHERS = 5
"""A router knows so many at most that are no business of ours: of its own, and of probes."""
PATIENCE_S = 120.0
MOST_A_SECOND = 1_000
"""Connections that are copied for certain: patience grows with them."""
LOOK_EACH_S = 0.5
_COUNT = Path("/proc/thread-self/net/stat/nf_conntrack")


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure: so many pairs of rounds, one of each with so many connections, spread over all routers."""

    settings: LabSettings
    entries: int
    pairs: int


class Turn(msgspec.Struct, kw_only=True):
    """What one round met, beside what it measured."""

    number: int
    wanted: int
    """Connections; 0: it is a round with none."""
    copied: int = 0
    """So many the successor's kernel knew when the host was struck,"""
    kept: int = 0
    """and so many when the round was over."""
    copied_s: float = 0.0
    """Seconds until it knew them, or none."""

    @property
    def present(self) -> bool:
        """Whether it is a round with connections."""
        return self.wanted > 0


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was found: a turn for each round, in the same order."""

    rounds: Rounds
    turns: list[Turn]


class Turns:
    """What is done with the lab before each round, and what was found then."""

    def __init__(self, lab: Lab, orders: Measurement) -> None:
        self._lab, self._orders = lab, orders
        self.found: list[Turn] = []

    async def before(self, number: int) -> None:
        """Have the kernels know as many connections as it is this round's turn. Raises Unavailable."""
        turn = Turn(number=number, wanted=self._orders.entries if is_present(number) else 0)
        self.found.append(turn)
        began = time.monotonic()
        active, standby = await self._hosts()
        await asyncio.to_thread(in_each, active, lambda _: forget_all())
        turn.copied = await self._known(standby, lambda known: known <= self._most_others, "no connection is known")
        if turn.present:
            shares = share(turn.wanted, sorted(active.machine.router_namespaces()))
            await asyncio.to_thread(in_each, active, lambda router_id: make(shares[router_id]))
            what = f"{turn.wanted:,} connections are known"
            turn.copied = await self._known(standby, lambda known: known >= turn.wanted, what)
        turn.copied_s = round(time.monotonic() - began, 1)
        print(
            f"turn {number} of {2 * self._orders.pairs}: {counted(turn.copied, 'connection')} known to {standby.name} "
            f"after {turn.copied_s:g} s",
            flush=True,
        )

    def after(self, _: Round) -> None:
        """The round is over, well or not. What cannot be counted then is not there."""
        with suppress(Unavailable):
            self.found[-1].kept = sum(counts(host) for host in self._lab.hosts.values())

    @property
    def _most_others(self) -> int:
        return OTHERS * len(self._lab.tenants)

    async def _hosts(self) -> tuple[Host, Host]:
        """Where all routers are active, and the other one."""
        active = await self._lab.busiest_host()
        return active, next(host for host in self._lab.hosts.values() if host is not active)

    async def _known(self, host: Host, fits: Callable[[int], bool], what: str) -> int:
        """Wait until as many connections as fit are known there; how many."""
        known = 0

        async def fit() -> bool:
            nonlocal known
            known = await asyncio.to_thread(counts, host)
            return fits(known)

        patience_s = PATIENCE_S + self._orders.entries / MOST_A_SECOND
        await until(fit, f"{what} to {host.name}", patience_s, lambda: f"{known:,} are", each_s=LOOK_EACH_S)
        return known


def is_present(number: int) -> bool:
    """Whether the round of this number, from 1 on, is one with connections: pairs of two, by turns."""
    pair, place = divmod(number - 1, 2)
    return order(pair)[place]


def share(entries: int, routers: list[str]) -> Mapping[str, int]:
    """How many each router gets, of all together; none gets two more than another."""
    each, more = divmod(entries, len(routers))
    return {router_id: each + (place < more) for place, router_id in enumerate(routers)}


def requests(count: int) -> Iterator[bytes]:
    """What is sent to the kernel for so many connections of one router, in pieces."""
    for start in range(0, count, AT_ONCE):
        yield b"".join(made_flows.established(number) for number in range(start, min(start + AT_ONCE, count)))


# -- in a router's namespace ------------------------------------------------------------------------------------------


def in_each(host: Host, action: Callable[[str], T]) -> list[T]:
    """Do it in the namespace of each router of a host, by its id. Blocks. Raises Unavailable if one goes."""
    namespaces = host.machine.router_namespaces()
    try:
        return [linux.in_netns(path, partial(action, router_id)) for router_id, path in namespaces.items()]
    except (OSError, ValueError) as error:
        raise Unavailable(f"connections of routers on {host.name} cannot be looked at: {error}") from error


def counts(host: Host) -> int:
    """How many connections the kernel knows of all routers of a host; 0 of one without power. Blocks."""
    return sum(in_each(host, lambda _: count_in(_COUNT.read_text())))


def count_in(statistics: str) -> int:
    """Connections in a namespace, by its statistics: a line for each processor, which all begin with that number.
    Raises ValueError where that is not what it says.
    """
    _, line, *_ = statistics.splitlines()
    return int(line.partition(" ")[0], 16)


def make(count: int) -> None:
    """Make so many. What the kernel does not take is missed by who counts them."""
    with _ask() as kernel:
        for piece in requests(count):
            kernel.send(piece)


def forget_all() -> None:
    """Have the kernel know none any more."""
    with _ask() as kernel:
        kernel.send(made_flows.all_forgotten())


def _ask() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER)


# -- the whole --------------------------------------------------------------------------------------------------------


async def _measure(orders: Measurement, rounds: Rounds, found: list[Turn], narrator: table.Narrator) -> None:
    async with Lab(orders.settings, narrator) as lab:
        await lab.build()
        turns = Turns(lab, orders)
        turns.found = found

        def tell(one: Round) -> None:
            turns.after(one)
            narrator.told(one)

        wanted = turns_of((FAULT,), 2 * orders.pairs)
        await carry_out(lab, wanted, rounds, bounds=Bounds(), tell=tell, before=turns.before)


def main() -> int:
    """Measure; what was found by then is written, whatever ends it."""
    orders, path = msgspec.json.decode(sys.argv[1], type=Measurement), Path(sys.argv[2])
    narrator = table.Narrator(console())
    rounds, turns = Rounds(), list[Turn]()
    try:
        run_until_signalled(_measure(orders, rounds, turns, narrator))
    except KeyboardInterrupt as interrupt:
        rounds.broken = f"interrupted by {interrupt} ({narrator.said()})"
    except (GaplessError, ExceptionGroup) as error:
        rounds.broken = f"{first_of(error)} [while: {narrator.said()}]"
    narrator.stop()
    path.write_bytes(msgspec.json.encode(Found(rounds=rounds.summed(), turns=turns[: len(rounds.rounds)])))
    return 1 if rounds.broken else 0


if __name__ == "__main__":
    sys.exit(main())
