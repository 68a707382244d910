"""What must never be is found, as a whole and in slices."""

from collections.abc import Callable

import pytest
from planner_rig import Rig

from gapless.core.ledger import invariants
from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.routers import RouterRecord
from gapless.errors import InvariantError
from gapless.model.host import Incarnation
from gapless.model.plan import Epoch
from gapless.model.router import RouterId


@pytest.fixture
def rig() -> Rig:
    made = Rig("h1", "h2")
    made.want(*(f"r{number}" for number in range(10, 20)))
    return made


def record(rig: Rig, router_id: str) -> RouterRecord:
    return rig.planner._ledger.routers[RouterId(router_id)]


def tour(rig: Rig, most: int) -> int:
    """How many slices a tour takes."""
    slices = 1
    while not rig.planner.check_slice(most):
        slices += 1
    return slices


def test_a_slice_costs_no_more_than_it_may(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    check = invariants._check_router

    def count(ledger: Ledger, router: RouterRecord) -> None:
        checked.append(router.id)
        check(ledger, router)

    monkeypatch.setattr(invariants, "_check_router", count)
    rig.planner.check_slice(4)
    assert len(checked) == 4
    tour(rig, 4)
    assert sorted(checked) == [f"r{number}" for number in range(10, 20)], "a tour comes to each router once"
    tour(rig, 4)
    assert len(checked) == 20


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_every_tour_finds_what_is_wrong(rig: Rig, most: int) -> None:
    tour(rig, most)
    record(rig, "r17").epoch = Epoch(0)
    with pytest.raises(InvariantError, match="router r17 fell from epoch 1 to 0"):
        tour(rig, most)


def carries_an_unknown_router(host: Host) -> None:
    host.bound.add(RouterId("unknown"))


def held_a_later_lease(host: Host) -> None:
    host.tenures.leased = Incarnation(host.tenures.incarnation + 1)


def is_with_and_without_a_lease(host: Host) -> None:
    host.lease.held_since = host.lease.without_since = 0.0


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (carries_an_unknown_router, "counts router unknown"),
        (held_a_later_lease, "held its lease at 2, and is at a lower incarnation"),
        (is_with_and_without_a_lease, "at once with and without its lease"),
    ],
)
def test_so_it_does_of_hosts(rig: Rig, mistake: Callable[[Host], None], said: str) -> None:
    host = rig.planner._ledger.fleet.get(record(rig, "r10").host)
    assert host is not None
    mistake(host)
    with pytest.raises(InvariantError, match=said):
        tour(rig, 3)


def test_routers_and_hosts_may_go_between_slices(rig: Rig) -> None:
    ledger = rig.planner._ledger
    rig.planner.check_slice(2)
    rig.move("r19", None)
    assert rig.epoch("r19") == 2
    tour(rig, 2)
    rig.planner.check_slice(2)
    for gone in ("r12", "r19"):
        ledger.remove(record(rig, gone))
        rig.store.delete_router(RouterId(gone))
    rig.want("r19")
    assert rig.epoch("r19") == 1, "another router of the same id begins anew"
    tour(rig, 2)
