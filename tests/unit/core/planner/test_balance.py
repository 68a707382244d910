"""What should move so that hosts have about as many routers active: little, and only to standbys that are ready."""

from collections import Counter
from itertools import count
from random import Random

import pytest
from planner_rig import facts, needs
from standby_rig import StandbyRig

from gapless.core.events import RouterWanted
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.moves import AssignmentState
from gapless.core.ledger.views import StoredHost, StoredRouter
from gapless.core.planner import balance
from gapless.core.planner.balance import Shift, shifts
from gapless.core.planner.placement import objection
from gapless.model.host import AgentState, HostName, Incarnation
from gapless.model.plan import Epoch
from gapless.model.router import FailoverMode


def uneven(count: int = 6) -> StandbyRig:
    """All active on h1, as many ready on h2 as on h3."""
    rig = StandbyRig("h1", "h2", "h3")
    for other in ("h2", "h3"):
        rig.set_admin_up(other, admin_up=False)
    rig.protect(*(f"r{number}" for number in range(count)))
    rig.settle("h1")
    for other in ("h2", "h3"):
        rig.set_admin_up(other, admin_up=True)
    for _ in range(3):
        rig.pass_time(1)
        rig.settle("h1", "h2", "h3")
    assert {rig.standby(f"r{number}")[1] for number in range(count)} == {"ready"}
    return rig


def carry_out(rig: StandbyRig, shifts: list[Shift]) -> None:
    for each in shifts:
        rig.move(each.router_id, each.to_host)
        rig.settle("h1", "h2", "h3")


def active(rig: StandbyRig) -> dict[str, int]:
    return dict(Counter(str(view.host) for view in rig.planner.router_views().values()))


def test_routers_go_to_their_standbys_until_hosts_are_even_and_then_nothing_moves() -> None:
    rig = uneven()
    shifts = rig.planner.shifts()
    assert Counter((each.from_host, each.to_host) for each in shifts) == {("h1", "h2"): 2, ("h1", "h3"): 2}
    assert all(each.is_ready and rig.standby(each.router_id)[0] == each.to_host for each in shifts)
    carry_out(rig, shifts)
    assert active(rig) == {"h1": 2, "h2": 2, "h3": 2}
    assert rig.planner.shifts() == []


def test_a_difference_of_one_is_even() -> None:
    rig = uneven(5)
    carry_out(rig, rig.planner.shifts())
    assert sorted(active(rig).values()) == [1, 2, 2]
    assert rig.planner.shifts() == []


def test_hosts_that_get_no_routers_are_none_of_it() -> None:
    rig = uneven()
    rig.set_admin_up("h2", admin_up=False)
    assert {each.to_host for each in rig.planner.shifts()} == {"h3"}
    rig.set_admin_up("h1", admin_up=False)
    assert rig.planner.shifts() == [], "that is a drain"


def test_a_host_that_is_back_from_a_drain_builds_what_it_gets_first() -> None:
    rig = uneven()
    carry_out(rig, rig.planner.shifts())
    rig.set_admin_up("h3", admin_up=False)
    for _ in range(4):
        rig.pass_time(1)
        rig.settle("h1", "h2", "h3")
    assert "h3" not in active(rig)
    rig.set_admin_up("h3", admin_up=True)
    shifts = rig.planner.shifts()
    assert {(each.to_host, each.is_ready) for each in shifts} == {("h3", False)}
    carry_out(rig, shifts)
    assert active(rig) == {"h1": 2, "h2": 2, "h3": 2}
    assert rig.planner.shifts() == []


def test_what_is_ready_goes_first_and_classic_routers_stay() -> None:
    rig = uneven(4)
    for number in range(4):
        asked = needs(f"c{number}", FailoverMode.RESCHEDULE)
        rig.store.needs[asked.router_id] = asked
        rig.handle(RouterWanted(id="want", needs=asked))
    rig.settle("h1", "h2", "h3")
    assert not {each.router_id for each in rig.planner.shifts()} & {"c0", "c1", "c2", "c3"}
    away = rig.standby("r0")[0] or ""
    rig.failed(away, "r0")
    assert [each.router_id for each in rig.planner.shifts() if each.to_host == away and each.is_ready][:1] != ["r0"]


def fleet(routers: list[int], zones: Random) -> Ledger:
    """Hosts with so many routers active on each, of which some may be in one zone only; nobody stands by."""
    names = [HostName(f"h{number:03}") for number in range(len(routers))]
    hosts = [
        StoredHost(
            facts=facts(name, lease_address="192.0.2.1", availability_zone=zones.choice(["nova", "east"])),
            incarnation=Incarnation(1),
            admin_up=True,
        )
        for name in names
    ]
    stored = [
        StoredRouter(
            needs=needs(
                f"r-{name}-{number}", FailoverMode.STANDBY, availability_zone_hints=zones.choice([(), (), ("east",)])
            ),
            host=name,
            epoch=Epoch(1),
            incarnation=Incarnation(1),
        )
        for name, count in zip(names, routers, strict=True)
        for number in range(count)
    ]
    ledger = Ledger(0.0, hosts, stored)
    for host in ledger.fleet:
        host.link.is_open, host.agent.state = True, AgentState.RUNNING
        host.tenures.leased, host.lease.is_held = Incarnation(1), True
        host.silence.end(0.0)
    for router in ledger.routers.values():
        router.state = AssignmentState.ACTIVE
    return ledger


def one_after_another(ledger: Ledger) -> list[tuple[str, str, str]]:
    """The same, said plainly: of all that could go now, what goes first; and again, until nothing is worth it."""
    active = {host.name: len(host.bound) for host in ledger.fleet}
    share = sum(active.values()) / len(active)
    rich, poor = ([name for name in active if (active[name] > share) is more] for more in (True, False))
    left, found = list(ledger.routers.values()), []
    while True:
        can_go = [
            (active[to] - active[router.host], router.host, to, router.id, router)
            for router in left
            for to in poor
            if router.host in rich and active[router.host] - active[to] > 1
            if (host := ledger.fleet.get(to)) is not None and not objection(host, router.needs)
        ]
        if not can_go:
            return found
        _, from_host, to_host, router_id, router = min(can_go, key=lambda each: each[:4])
        found.append((router_id, from_host, to_host))
        active[from_host] -= 1
        active[to_host] += 1
        left.remove(router)


@pytest.mark.parametrize("seed", range(8))
def test_what_goes_first_is_what_would_be_found_by_looking_at_everything_each_time(seed: int) -> None:
    random = Random(seed)
    ledger = fleet([random.choice([0, 0, 1, 3, 9]) for _ in range(random.randrange(2, 9))], random)
    found = [(each.router_id, each.from_host, each.to_host) for each in shifts(ledger)]
    assert found == one_after_another(ledger)


def test_a_large_fleet_is_not_looked_at_anew_for_each_router(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, looks = fleet([40] * 76 + [0] * 4, Random(1)), count()
    nearness = balance._nearness

    def counted(way: tuple[HostName, HostName], active: dict[HostName, int]) -> int:
        next(looks)
        return nearness(way, active)

    monkeypatch.setattr(balance, "_nearness", counted)
    found = shifts(ledger)
    assert len(found) == 152
    assert next(looks) < 100 * len(found), "there are 304 ways, of which each move changes 80"
