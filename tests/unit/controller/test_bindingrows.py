"""Rows of bindings, and of who may succeed."""

import pytest
from row_rig import AT, R, bind, bind_of, ms
from shell_fakes import add_routers, delete_router, router_id

from gapless.controller.store import bindingrows, moverows
from gapless.controller.store.engine import Store
from gapless.core.effects import StoreSuccession, StoreWithdrawal
from gapless.errors import Conflict, LostRace, NotFound
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch, MoveKind, MoveStep, Successor


async def test_epochs_grow_by_one(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1), bind_of("s", "h2", 1))
    await bind(ready, bind_of("r", "h2", 2, previous_host="h1", leaving_host="h1", kind=MoveKind.DRAIN))

    async with ready.reading() as session:
        bound = await bindingrows.bindings(session)
    assert (bound[R].assignment.host, bound[R].assignment.epoch, bound[R].leaving_host) == ("h2", 2, "h1")
    assert bound[router_id("s")].assignment.host == "h2"


@pytest.mark.parametrize("epoch", [1, 3, 7])
async def test_a_stale_or_early_epoch_changes_nothing(ready: Store, epoch: int) -> None:
    await bind(ready, bind_of("r", "h1", 1))
    with pytest.raises(Conflict, match=rf"router {R} is at epoch 1 in the store: epoch {epoch} is stale"):
        await bind(ready, bind_of("s", "h1", 1), bind_of("r", "h2", epoch))

    async with ready.reading() as session:
        bound = await bindingrows.bindings(session)
        assert len(await moverows.moves(session)) == 1
    assert list(bound) == [R], "of a batch that fails nothing is stored"


async def test_storing_the_same_twice_is_storing_it_once(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1))
    await bind(ready, bind_of("r", "h1", 1), at=ms(9))
    async with ready.reading() as session:
        (move,) = await moverows.moves(session)
    assert move.timeline[0].at == AT


async def test_a_binding_that_is_stored_may_still_be_given_the_host_that_it_leaves(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1))
    await bind(ready, bind_of("r", "h2", 2))
    await bind(ready, bind_of("r", "h2", 2, leaving_host="h1"))
    async with ready.reading() as session:
        assert (await bindingrows.bindings(session))[R].leaving_host == "h1"
        assert len(await moverows.moves(session)) == 2


async def test_first_next_and_repeated_bindings_are_stored_together(ready: Store) -> None:
    await add_routers(ready, "t", "u")
    await bind(ready, bind_of("r", "h1", 1), bind_of("s", "h1", 1), bind_of("t", "h1", 1))
    await bind(
        ready,
        bind_of("r", "h2", 2, leaving_host="h1"),
        bind_of("s", "h1", 1, leaving_host="h2"),
        bind_of("t", "h2", 2, kind=MoveKind.TAKEOVER, over=((MoveStep.OPENED, 0.0),)),
        bind_of("u", "h2", 1),
    )
    async with ready.reading() as session:
        bound = await bindingrows.bindings(session)
        begun = {(each.router_name, each.epoch): len(each.timeline) for each in await moverows.moves(session)}
    found = {each: (bound[router_id(each)].assignment.epoch, bound[router_id(each)].leaving_host) for each in "rstu"}
    assert found == {"r": (2, "h1"), "s": (1, "h2"), "t": (2, None), "u": (1, None)}
    assert begun == {("r", 1): 2, ("s", 1): 2, ("t", 1): 2, ("r", 2): 2, ("t", 2): 3, ("u", 1): 2}


async def test_a_router_that_is_gone_is_not_bound(ready: Store) -> None:
    await delete_router(ready, R)
    with pytest.raises(NotFound, match="was deleted before it was bound to h1"):
        await bind(ready, bind_of("r", "h1", 1))


async def test_a_host_that_is_not_stored_gets_no_router(ready: Store) -> None:
    with pytest.raises(LostRace):
        await bind(ready, bind_of("r", "h9", 1))


async def test_a_withdrawal_is_stored_once_and_only_at_its_epoch(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1))
    await bind(ready, bind_of("r", "h2", 2, leaving_host="h1"))

    def withdrawal(epoch: int) -> StoreWithdrawal:
        return StoreWithdrawal(
            router_id=R, epoch=Epoch(epoch), leaving_host=HostName("h1"), reason="nothing is left", cause="e"
        )

    with pytest.raises(Conflict, match="is at epoch 2 in the store: epoch 1 is stale"):
        async with ready.transaction() as session:
            await bindingrows.store_withdrawal(session, withdrawal(1))
    async with ready.transaction() as session:
        await bindingrows.store_withdrawal(session, withdrawal(2))
    async with ready.reading() as session:
        assert (await bindingrows.bindings(session))[R].leaving_host is None
    await delete_router(ready, R)
    with pytest.raises(NotFound, match="was deleted before it had left h1"):
        async with ready.transaction() as session:
            await bindingrows.store_withdrawal(session, withdrawal(2))


# Who may succeed


def succession(epoch: int, *successors: Successor, incarnation: int | None = 1) -> StoreSuccession:
    guarded = None if incarnation is None else Incarnation(incarnation)
    return StoreSuccession(
        router_id=R, epoch=Epoch(epoch), incarnation=guarded, successors=successors, reason="so", cause="e-1"
    )


def successor(host: str, epoch: int) -> Successor:
    return Successor(tenure=Tenure(HostName(host), Incarnation(5)), epoch=Epoch(epoch))


async def stored_binding(store: Store) -> bindingrows.StoredBinding:
    async with store.reading() as session:
        return (await bindingrows.bindings(session))[R]


async def test_who_may_succeed_is_stored_and_ends_with_the_next_binding(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1, incarnation=Incarnation(1)))
    given = succession(1, successor("h2", 2))
    async with ready.transaction() as session:
        await bindingrows.store_succession(session, given)
    stored = await stored_binding(ready)
    assert (stored.incarnation, stored.successors) == (1, (successor("h2", 2),))
    assert bindingrows.has(stored, given)
    assert not bindingrows.has(stored, succession(1))

    leaving = {"leaving_host": HostName("h1"), "leaving_incarnation": Incarnation(1)}
    await bind(ready, bind_of("r", "h2", 2, incarnation=Incarnation(5), **leaving))
    stored = await stored_binding(ready)
    assert (stored.incarnation, stored.leaving_incarnation, stored.successors) == (5, 1, ())
    async with ready.transaction() as session:
        left = StoreWithdrawal(router_id=R, epoch=Epoch(2), leaving_host=HostName("h1"), reason="so", cause="e-1")
        await bindingrows.store_withdrawal(session, left)
    assert (await stored_binding(ready)).leaving_incarnation is None


async def test_successors_of_higher_epochs_outlive_a_binding(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1, incarnation=Incarnation(1)))
    async with ready.transaction() as session:
        await bindingrows.store_succession(session, succession(1, successor("h2", 2), successor("h3", 3)))
    await bind(ready, bind_of("r", "h2", 2, incarnation=Incarnation(5)))
    assert (await stored_binding(ready)).successors == (successor("h3", 3),)


async def test_a_takeover_by_the_second_skips_the_epoch_of_the_first(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1, incarnation=Incarnation(1)))
    async with ready.transaction() as session:
        await bindingrows.store_succession(session, succession(1, successor("h2", 2), successor("h3", 3)))
    with pytest.raises(Conflict, match="epoch 3 is stale"):
        await bind(ready, bind_of("r", "h2", 3, incarnation=Incarnation(5)))
    await bind(ready, bind_of("r", "h2", 3, skipped=1, incarnation=Incarnation(5)))
    stored = await stored_binding(ready)
    assert (stored.assignment.epoch, stored.successors) == (3, ())
    with pytest.raises(Conflict, match="epoch 3 in the store: epoch 2 is stale"):
        await bind(ready, bind_of("r", "h2", 2, incarnation=Incarnation(5)))


async def test_who_may_succeed_holds_only_for_the_epoch_that_it_was_decided_for(ready: Store) -> None:
    with pytest.raises(NotFound, match="deleted before it had other standbys"):
        async with ready.transaction() as session:
            await bindingrows.store_succession(session, succession(1))
    await bind(ready, bind_of("r", "h1", 1))
    with pytest.raises(Conflict, match="epoch 2 is stale"):
        async with ready.transaction() as session:
            await bindingrows.store_succession(session, succession(2))
