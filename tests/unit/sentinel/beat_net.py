"""Three beats on virtual time and a network in memory, and the rule that no router passes on two hosts."""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import count
from typing import Any, TypeVar

import msgspec
import pytest
from beat_fakes import FakeAnnouncer, FakeGuard, router

from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DEFAULT, Panel, PanelVersion, Tenure
from gapless.model.plan import LeaseAddress, PanelPlan, Role
from gapless.model.router import RouterId
from gapless.sentinel.beat.announcements import Announcements
from gapless.sentinel.beat.driver import Driver, Endpoint
from gapless.sentinel.beat.ways import Way, Ways
from gapless.wire import beat as wire
from gapless.wire.beat import BeatRouter, PlanPart

Message = TypeVar("Message", bound=msgspec.Struct)
NAMES = tuple(HostName(f"h{number}") for number in (1, 2, 3))
TRAVEL_S = 0.0002
TICK_S = 1e-6
"""Each reading of a clock is later than the one before, as real ones are."""
SOON_S = 10 * DEFAULT.arbiter_s


def panel(
    *, address: Callable[[int], str] = "10.0.0.{}:9698".format, arbiters: Iterable[HostName] = NAMES
) -> PanelPlan:
    return PanelPlan(
        timing=DEFAULT,
        panel=Panel(version=PanelVersion(1), floor=PanelVersion(1), sets=(frozenset(arbiters),)),
        addresses=tuple(LeaseAddress(host=name, address=address(n)) for n, name in enumerate(NAMES, 1)),
    )


NO_CARRIER = frozenset({("eth2", None)})


@dataclass
class FakeUplinks:
    """Uplinks that are lost when a test says so."""

    watched: set[tuple[str, IPv4Address]] = field(default_factory=set)

    def watch(self, gateways: Iterable[tuple[str, IPv4Address]]) -> None:
        self.watched = set(gateways)

    missing: frozenset[Way] = frozenset()
    found: Ways = field(default_factory=Ways)

    def look(self, now: float) -> Ways:
        trouble = ", ".join(sorted(f"{link} {address}" for link, address in self.missing))
        if (found := Ways(trouble=trouble, watched=self.missing, lost=self.missing)) != self.found:
            self.found = found
        return self.found


@dataclass
class Host:
    """One beat with a guard in memory, and a sentinel that gives it incarnations; everything said is kept."""

    name: HostName
    guard: FakeGuard = field(default_factory=FakeGuard)
    announcer: FakeAnnouncer = field(default_factory=FakeAnnouncer)
    uplinks: FakeUplinks = field(default_factory=FakeUplinks)
    said: list[msgspec.Struct] = field(default_factory=list)
    incarnation: int = 0
    is_up: bool = True
    clock_fault: str = ""
    gives_incarnations: bool = True
    driver: Driver = None  # type: ignore[assignment] # made by the net
    announcements: Announcements = None  # type: ignore[assignment] # made by the net

    def heard(self, kind: type[Message]) -> list[Message]:
        return [each for each in self.said if isinstance(each, kind)]

    @property
    def level(self) -> wire.Level:
        return self.heard(wire.Level)[-1]

    @property
    def told_open(self) -> dict[RouterId, int]:
        """What its sentinel takes for open."""
        is_open: dict[RouterId, int] = {}
        for each in self.said:
            if isinstance(each, wire.Opened):
                is_open |= {one.router_id: one.epoch for one in each.routers}
            if isinstance(each, wire.Closed):
                is_open = {one: epoch for one, epoch in is_open.items() if one not in each.routers}
        return is_open


class Net:
    """The network, the clock, and the rule that no router passes on two hosts."""

    def __init__(self, plan: PanelPlan | None = None) -> None:
        self.now = 1000.0
        self.hosts = {name: Host(name) for name in NAMES}
        self._wire: list[tuple[float, int, Endpoint, bytes]] = []
        self._numbers = count()
        for host in self.hosts.values():
            self.begin(host, plan or panel())

    def begin(self, host: Host, panel: PanelPlan | None = None) -> None:
        """A new life of its beat. `panel`: as kept on the disk."""
        host.incarnation += 1
        host.guard.withdraw()
        host.said.clear()
        host.announcements = Announcements(host.announcer, self.clock, lease_until=lambda: host.guard.until)
        begin = wire.Begin(
            key=bytes(32).hex(),
            cluster="cloud",
            zone="",
            name=host.name,
            incarnation=Incarnation(host.incarnation),
            address="10.0.0.1:9698",
            interval_s=DEFAULT.interval_s,
            lease_s=DEFAULT.lease_s,
            panel=panel,
            uplinks=("eth2",) if host.name == NAMES[0] else ("eth3",),
            networks=("external",),
        )
        host.driver = Driver(
            begin,
            host.guard,
            host.announcements,
            host.uplinks,
            send=lambda to, raw: self._send(host, to, raw),
            say=host.said.append,
            chat=host.said.append,
            clock=self.clock,
            clock_fault=lambda: host.clock_fault,
        )
        host.announcements.announced = host.driver.announced
        host.is_up = True

    def clock(self) -> float:
        self.now += TICK_S
        return self.now

    def _send(self, by: Host, to: Endpoint, raw: bytes) -> None:
        if by.is_up:
            heapq.heappush(self._wire, (self.now + TRAVEL_S, next(self._numbers), to, raw))

    def under_way(self) -> list[bytes]:
        """Datagrams that were sent and have not arrived."""
        return [raw for *_, raw in self._wire]

    def run(self, seconds: float = SOON_S, *, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass."""
        end = self.now + seconds
        while not until():
            due = [each.driver.next_deadline() for each in self.hosts.values() if each.is_up]
            due += [self._wire[0][0]] if self._wire else []
            due += [at for each in self.hosts.values() if each.is_up and (at := each.announcements.next_deadline())]
            due += [self.now for each in self.hosts.values() if each.is_up and each.driver.has_more]
            if min(due) > end:
                self.now = end
                return
            self.now = max(self.now, min(due))
            self._turn()
            self.check()

    def _turn(self) -> None:
        for host in self.hosts.values():
            if host.is_up and self.now >= host.driver.next_deadline():
                host.driver.on_deadline(self.now)
        while self._wire and self._wire[0][0] <= self.now:
            _, _, (address, _), raw = heapq.heappop(self._wire)
            host = self.hosts[NAMES[int(address.rpartition(".")[2]) - 1]]
            if host.is_up:
                host.driver.received(raw, self.now)
        for host in self.hosts.values():
            host.driver.emptied(self.now)
        for host in self.hosts.values():
            if host.is_up:
                host.driver.go_on()
                host.announcements.work()
                self._bear(host)

    def _bear(self, host: Host) -> None:
        needed = [each for each in host.heard(wire.IncarnationNeeded) if each.after >= host.incarnation]
        if needed and host.gives_incarnations:
            host.incarnation = max(each.after for each in needed) + 1
            self.tell(host, wire.NewIncarnation(incarnation=Incarnation(host.incarnation)))

    def tell(self, host: Host, message: wire.ToBeat) -> None:
        host.driver.told(message, self.now)
        self.check()
        host.driver.go_on()
        self.check()

    def check(self) -> None:
        passing = [tap for host in self.hosts.values() for tap in host.guard.passes(self.now)]
        assert len(passing) == len(set(passing)), f"two hosts let the same pass: {passing}"
        for host in self.hosts.values():
            assert {tap.removeprefix("tap-") for tap in host.guard.active} <= host.told_open.keys()

    def holds(self) -> None:
        """Run until every host that is up holds its lease."""
        self.run(until=lambda: all(host.said and tenure_of(host) for host in self.hosts.values() if host.is_up))
        assert all(tenure_of(host) for host in self.hosts.values() if host.is_up)

    def plan(self, host: Host, *routers: BeatRouter, revision: int, whole: bool = True, **more: Any) -> None:
        """In one part for each router, so that whatever comes between the parts matters."""
        for number, part in enumerate([[each] for each in routers] or [[]]):
            is_last = number == max(len(routers), 1) - 1
            self.tell(
                host, plan_part(part, revision, host.incarnation, last=is_last, whole=whole and not number, **more)
            )


@pytest.fixture
def net() -> Net:
    made = Net()
    made.holds()
    return made


def plan_part(
    routers: Iterable[BeatRouter], revision: int, incarnation: int, *, heard: int = 0, **more: Any
) -> PlanPart:
    return PlanPart(
        revision=revision, incarnation=Incarnation(incarnation), heard=heard, routers=tuple(routers), **more
    )


def tenure_of(host: Host) -> int:
    return host.level.tenure if host.heard(wire.Level) else 0


def active(net: Net, *routers: RouterId, gateway: IPv4Address | None = None) -> tuple[Host, Host]:
    """These are active on the first host, and the second one may succeed it. `gateway`: of all of them, behind the
    uplink that all hosts have.
    """
    first, second = net.hosts[NAMES[0]], net.hosts[NAMES[1]]
    of = Tenure(first.name, Incarnation(first.incarnation))
    net.plan(first, *(_behind("eth2", gateway, each, incarnation=first.incarnation) for each in routers), revision=1)
    standby: dict[str, Any] = {"role": Role.STANDBY, "epoch": 2, "incarnation": second.incarnation, "after": (of,)}
    net.plan(second, *(_behind("eth3", gateway, each, **standby) for each in routers), revision=1)
    net.run(DEFAULT.interval_s)
    assert first.told_open == dict.fromkeys(routers, 1)
    assert (second.told_open, second.level.settled) == ({}, 1)
    return first, second


def _behind(uplink: str, gateway: IPv4Address | None, router_id: RouterId, **more: Any) -> BeatRouter:
    made = router(router_id, **more)
    return made if gateway is None else msgspec.structs.replace(made, gateway=(uplink, gateway))
