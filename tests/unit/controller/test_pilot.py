"""How what users want reaches the planner: by hints, and by the audit of what no hint told."""

import pytest
from driver_rig import ONE, THREE, TWO, a_router_on_one
from shell_fakes import add_routers, delete_router, rename_router, router_id

from gapless.controller.pilot import CHECK_S
from gapless.controller.store import projection
from gapless.controller.store.engine import Store
from gapless.errors import InvariantError, StoreUnavailable


async def test_hints_of_the_api_reach_the_planner_after_the_store(store: Store) -> None:
    bench = await a_router_on_one(store, "r")
    pilot = bench.shell.pilot
    (new,) = await add_routers(store, "new")

    pilot.routers_changed([new])
    await bench.settle()
    assert bench.host_of(new) == TWO
    pilot.move_requested(new, THREE)
    await bench.pass_time(3, "h1", "h2", "h3")
    assert bench.host_of(new) == THREE
    assert set(pilot.objections(new)) == {ONE, TWO}

    await delete_router(store, new)
    pilot.router_deleted(new)
    pilot.routers_changed([new])  # a late hint about it does not bring it back
    await bench.settle()
    assert new not in pilot.routers()


async def test_hints_wait_for_a_store_that_is_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = await a_router_on_one(store, "r")
    (new,) = await add_routers(store, "new")

    async def away(*_: object) -> None:
        raise StoreUnavailable("the database is gone")

    bench.shell.pilot.routers_changed([new])
    with monkeypatch.context() as patch:
        patch.setattr(projection, "needs", away)
        assert not await bench.shell.pilot.read_changed()
    await bench.settle()

    assert bench.host_of(new) is not None


async def test_what_no_hint_told_is_found_by_the_audit(store: Store) -> None:
    bench = await a_router_on_one(store, "r", "gone")
    (new,) = await add_routers(store, "new")
    await delete_router(store, router_id("gone"))

    while not await bench.shell.pilot.audit(1):
        pass
    await bench.settle()

    assert bench.host_of(new) is not None
    assert router_id("gone") not in bench.shell.pilot.routers()


async def test_an_audit_looks_at_a_few_routers_at_a_time(store: Store) -> None:
    bench = await a_router_on_one(store, "r")
    pilot = bench.shell.pilot
    added = await add_routers(store, *(f"new-{number}" for number in range(5)))
    in_order = sorted([*added, router_id("r")])
    for count in (2, 4, 6):
        assert not await pilot.audit(2)
        await bench.settle()
        assert sorted(pilot.routers().keys() - {router_id("r")}) == [
            each for each in in_order[:count] if each != router_id("r")
        ]
    for each in in_order:
        await delete_router(store, each)
    assert await pilot.audit(2), "it is the end of the tour: there is nothing after the last one"
    await bench.settle()
    assert len(pilot.routers()) == len(in_order)
    assert await pilot.audit(2)
    await bench.settle()
    assert not pilot.routers()


async def test_an_audit_that_cannot_read_goes_on_later(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = await a_router_on_one(store, "r")
    (new,) = await add_routers(store, "new")

    async def away(*_: object) -> None:
        raise StoreUnavailable("the database is gone")

    with monkeypatch.context() as patch:
        patch.setattr(projection, "needs_after", away)
        assert not await bench.shell.pilot.audit(10)
    assert await bench.shell.pilot.audit(10)
    await bench.settle()
    assert bench.host_of(new) is not None


async def test_a_change_that_no_hint_told_of_reaches_the_host_by_the_audit(store: Store) -> None:
    bench = await a_router_on_one(store, "r")
    router = router_id("r")
    assert (await bench.shell.driver.routers([router]))[router].name == "r"
    await rename_router(store, router, "other")
    assert (await bench.shell.driver.routers([router]))[router].name == "r", "it is kept"
    await bench.shell.pilot.audit(10)
    assert (await bench.shell.driver.routers([router]))[router].name == "other"


async def test_steady_writes_keep_neither_the_audit_nor_the_check_from_their_turns(store: Store) -> None:
    bench = await a_router_on_one(store, "r")
    (new,) = await add_routers(store, "new")
    pilot = bench.shell.pilot
    for _ in range(3):  # One router, the other one, and the end.
        bench.clock.now += CHECK_S
        pilot.routers_changed([router_id("r")])
        assert await pilot.turn()
    await bench.settle()
    assert bench.host_of(new) is not None

    bench.clock.now += CHECK_S
    pilot.routers_changed([router_id("r")])
    bench.shell.driver.planner._ledger.routers[new].host = None  # What must never be.
    with pytest.raises(InvariantError, match="bound, yet unbound"):
        await pilot.turn()
