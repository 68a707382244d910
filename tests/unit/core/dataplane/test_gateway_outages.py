"""A gateway that answers nobody for a while is the trouble of no router: looks at kernels that ask as Linux does."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address
from math import inf

import pytest

from gapless.core.dataplane.gateways import BATCH_S, Gateways
from gapless.model.neighbour import Neighbour, Reach, WayOut
from gapless.model.network import NetworkId
from gapless.model.plan import Epoch
from gapless.model.router import RouterId

MANY = 1000
REACHABLE_S, DELAY_S, PATIENCE_S = 30.0, 5.0, 3.0
"""How long a kernel believes an answer, how long it waits before it doubts an old one, and for how long it asks."""


def way(router_id: str) -> WayOut:
    return WayOut(
        router_id=RouterId(router_id),
        epoch=Epoch(1),
        link=f"qg-{router_id}",
        gateway=IPv4Address("203.0.113.1"),
        network_id=NetworkId("outside"),
        guarded=True,
    )


@dataclass
class Outside:
    """A gateway that is down at times, seconds since the beginning."""

    outages: tuple[tuple[float, float], ...]

    def answers_at(self, begin: float, end: float) -> float:
        """When a question is answered that is asked from `begin` to `end`; inf: it is not."""
        at = begin
        for down, up in self.outages:
            if down <= at < up:
                at = up
        return at if at <= end else inf


@dataclass
class Kernel:
    """One router's entry for its gateway (net/core/neighbour.c)."""

    outside: Outside
    is_busy: bool = False
    """Packets have it ask without a look, again and again."""
    is_cut: bool = False
    """Somebody drops what it asks."""
    confirmed: float = 0.0
    asks_from: float | None = None
    """It asks from then on, for `PATIENCE_S`; None: it has an answer that was not doubted."""

    def look(self, now: float) -> Neighbour:
        """What it knows; it is asked anew where that is old or nothing."""
        if self.is_busy and self.asks_from is None and now >= self.confirmed + REACHABLE_S:
            self.asks_from = self.confirmed + REACHABLE_S + DELAY_S
        if self.asks_from is not None:
            end = inf if self.is_busy else self.asks_from + PATIENCE_S
            answered = inf if self.is_cut else self.outside.answers_at(self.asks_from, end)
            if answered <= now:
                self.confirmed, self.asks_from = answered, None
            elif now < end:
                is_incomplete = self.asks_from <= now
                return Neighbour(reach=Reach.SILENT) if is_incomplete else self._seen(Reach.ASKED, now)
            else:
                self.asks_from = now
                return Neighbour(reach=Reach.SILENT)
        if now - self.confirmed < REACHABLE_S:
            return self._seen(Reach.HEARD, now)
        self.asks_from = now + DELAY_S
        return self._seen(Reach.ASKED, now)

    def _seen(self, reach: Reach, now: float) -> Neighbour:
        return Neighbour(reach=reach, mac="02:00:00:00:00:01", confirmed_ago_s=now - self.confirmed)


@dataclass
class Bench:
    """A host's routers, and what is told of them in the end."""

    kernels: dict[RouterId, Kernel]
    gateways: Gateways = field(default_factory=Gateways)
    told: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        ways = [way(each) for each in self.kernels]
        for number in range(int(seconds / BATCH_S)):
            now = number * BATCH_S
            batch = self.gateways.next_batch(now, lambda: ways)
            found = self.gateways.take({it.router_id: self.kernels[it.router_id].look(now) for it in batch}, now)
            self.told |= {it.router_id: deafness.why for it, deafness in found.items() if deafness.why}
            self.lines += self.gateways.take_lines()


def bench(count: int, *outages: tuple[float, float], cut: int = 0) -> Bench:
    outside = Outside(outages)
    kernels = {RouterId(f"r{number}"): Kernel(outside, is_busy=number % 10 == 1) for number in range(count)}
    kernels |= {RouterId(f"cut{number}"): Kernel(outside, is_cut=True) for number in range(cut)}
    return Bench(kernels)


@pytest.mark.parametrize("count", [2, 100, MANY])
@pytest.mark.parametrize("lasts_s", [5.0, 20.0, 40.0, 90.0, 300.0])
def test_a_gateway_that_was_gone_for_all_makes_none_degraded(count: int, lasts_s: float) -> None:
    it = bench(count, (100.0, 100.0 + lasts_s))
    it.run(500.0)
    assert it.told == {}, len(it.told)
    assert len(it.lines) in (0, 2), it.lines


def test_one_that_comes_back_and_goes_again_makes_none_degraded_either() -> None:
    it = bench(MANY, (100.0, 220.0), (225.0, 345.0))
    it.run(500.0)
    assert it.told == {}


@pytest.mark.parametrize("count", [2, MANY])
def test_who_alone_is_not_answered_is_found_all_the_same_before_and_after(count: int) -> None:
    it = bench(count, (300.0, 400.0), cut=1)
    it.run(250.0)
    assert it.told.keys() == {"cut0"}
    late = bench(count, (20.0, 200.0), cut=1)
    late.run(450.0)
    assert late.told.keys() == {"cut0"}


def test_that_a_gateway_is_gone_for_all_is_told_once_though_one_was_deaf_before() -> None:
    it = bench(3, (200.0, 400.0), cut=1)
    it.run(600.0)
    assert it.told.keys() == {"cut0"}
    assert [line.split(" here")[0] for line in it.lines] == [
        "gateway 203.0.113.1 answers none of 4 guarded routers",
        "gateway 203.0.113.1 answers routers",
    ]
