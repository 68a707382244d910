"""Who may succeed whom, stored for many routers by one statement, as when a host dies."""

from typing import Any

import pytest
from row_rig import bind, bind_of
from shell_fakes import add_routers, delete_router, facts_of, router_id

from gapless.controller.recorder import Recorder, Write
from gapless.controller.store import bindingrows, hostrows
from gapless.controller.store.engine import Store
from gapless.controller.wallclock import utc_now
from gapless.core.effects import StoreSuccession
from gapless.errors import Conflict
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch, Successor
from gapless.model.router import RouterId
from gapless.observe.metrics import Metrics

NAMES = ("a", "b", "c")
A, B, C = map(router_id, NAMES)
NEXT = Successor(tenure=Tenure(HostName("h2"), Incarnation(5)), epoch=Epoch(2))


def succession(router: RouterId, epoch: int = 1, incarnation: int | None = 3, **other: Any) -> StoreSuccession:
    said: dict[str, Any] = {"successors": (NEXT,), "reason": "so", "cause": "e-1", **other}
    guarded = None if incarnation is None else Incarnation(incarnation)
    return StoreSuccession(router_id=router, epoch=Epoch(epoch), incarnation=guarded, **said)


@pytest.fixture
async def bound(store: Store) -> Store:
    """Three routers on h1."""
    async with store.transaction() as session:
        await hostrows.save_host(session, facts_of("h1"), Incarnation(3), utc_now())
    await add_routers(store, *NAMES)
    await bind(store, *(bind_of(each, "h1", 1, incarnation=Incarnation(3)) for each in NAMES))
    return store


async def stored(store: Store) -> dict[RouterId, tuple[Incarnation | None, tuple[Successor, ...]]]:
    async with store.reading() as session:
        found = await bindingrows.bindings(session)
    return {router_id: (each.incarnation, each.successors) for router_id, each in found.items()}


async def test_each_is_stored_as_if_it_were_alone(bound: Store) -> None:
    effects = [succession(A), succession(B, incarnation=None, successors=())]
    async with bound.transaction() as session:
        await bindingrows.store_successions(session, effects)
    assert await stored(bound) == {A: (3, (NEXT,)), B: (None, ()), C: (3, ())}


async def test_nothing_to_store_is_nothing(bound: Store) -> None:
    before = await stored(bound)
    async with bound.transaction() as session:
        await bindingrows.store_successions(session, [])
    assert await stored(bound) == before


async def test_one_that_does_not_fit_is_told_and_nothing_is_stored(bound: Store) -> None:
    before = await stored(bound)
    with pytest.raises(Conflict, match="of 2 routers 1 were deleted, or are at another epoch"):
        async with bound.transaction() as session:
            await bindingrows.store_successions(session, [succession(A), succession(B, epoch=2)])
    assert await stored(bound) == before


async def test_a_router_that_was_deleted_holds_up_no_other(bound: Store) -> None:
    answers: dict[RouterId, str] = {}

    def answered(effect: Write, failure: str) -> None:
        assert isinstance(effect, StoreSuccession)
        answers[effect.router_id] = failure

    recorder = Recorder(bound, Metrics(), answered)
    await delete_router(bound, B)
    for each in (A, B, C):
        recorder.take(succession(each), utc_now())
    assert await recorder.flush()
    assert (answers[A], answers[C]) == ("", "")
    assert "was deleted before it had other standbys" in answers[B]
    assert (await stored(bound)).keys() == {A, C}
    assert (await stored(bound))[C] == (3, (NEXT,))
