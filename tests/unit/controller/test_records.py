"""Rows of hosts, bindings and moves."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from shell_fakes import add_routers, delete_router, facts_of, router_id
from sqlalchemy import event

from gapless.controller.store import records
from gapless.controller.store.engine import Store
from gapless.core.effects import Bind, StorePanel, StoreSuccession, StoreWithdrawal
from gapless.errors import Conflict, LostRace, NotFound
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Panel, PanelVersion, Tenure
from gapless.model.plan import Epoch, MoveKind, MoveStep, Successor

AT = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
R = router_id("r")


def ms(milliseconds: float) -> datetime:
    return AT + timedelta(milliseconds=milliseconds)


def bind_of(name: str, host: str, epoch: int, **other: Any) -> Bind:
    said: dict[str, Any] = {
        "previous_host": None,
        "leaving_host": None,
        "kind": MoveKind.SCHEDULE,
        "silent_s": None,
        "choice": "the only host",
        "reason": "it has no host",
        "cause": "e-1",
    }
    return Bind(router_id=router_id(name), host=HostName(host), epoch=Epoch(epoch), **{**said, **other})


async def bind(store: Store, *effects: Bind, at: datetime = AT) -> None:
    async with store.transaction() as session:
        await records.bind(session, [(effect, at) for effect in effects], at)


def taken(step: MoveStep, at: datetime, epoch: int = 1, router: str = "r") -> records.StepTaken:
    return records.StepTaken(router_id=router_id(router), epoch=Epoch(epoch), step=step, at=at, reason=f"{step} it is")


async def record(store: Store, epoch: int, step: MoveStep, at: datetime) -> records.RecordedStep | None:
    async with store.transaction() as session:
        (recorded,) = await records.record_steps(session, [taken(step, at, epoch)])
        return recorded


@pytest.fixture
async def ready(store: Store) -> Store:
    """Hosts h1 and h2, routers r and s."""
    async with store.transaction() as session:
        for name in ("h1", "h2"):
            await records.save_host(session, facts_of(name), Incarnation(1), AT)
    await add_routers(store, "r", "s")
    return store


async def test_a_cluster_has_one_id_for_ever(store: Store) -> None:
    async with store.transaction() as session:
        made = await records.cluster_id(session)
    async with store.transaction() as session:
        assert await records.cluster_id(session) == made


async def test_a_host_is_stored_with_all_that_it_says(store: Store) -> None:
    facts = facts_of("h1", availability_zone="az2", capacity=7, physical_networks=("ext", "dmz"), version="0.1")
    async with store.transaction() as session:
        await records.save_host(session, facts, Incarnation(3), AT)
    async with store.reading() as session:
        host = (await records.hosts(session))[facts.name]
    assert (host.facts, host.incarnation, host.admin_up) == (facts, 3, True)


async def test_what_an_operator_set_survives_a_reconnect(ready: Store) -> None:
    async with ready.transaction() as session:
        row = await session.get_one(records.HostRow, "h1")
        row.admin_state_up, row.description = False, "being repaired"
    async with ready.transaction() as session:
        await records.save_host(session, facts_of("h1"), Incarnation(2), ms(1))
    async with ready.reading() as session:
        row = await session.get_one(records.HostRow, "h1")
        assert (row.admin_state_up, row.description, row.incarnation) == (False, "being repaired", 2)
        assert (row.created_at, row.started_at) == (AT, ms(1))


async def test_two_names_cannot_share_an_instance(ready: Store) -> None:
    with pytest.raises(LostRace):
        async with ready.transaction() as session:
            await records.save_host(session, facts_of("h3", instance=facts_of("h1").instance), Incarnation(1), AT)


async def test_heartbeats_of_many_hosts_and_of_none_that_is_known(ready: Store) -> None:
    async with ready.transaction() as session:
        await records.save_heartbeats(session, {HostName("h1"): ms(5), HostName("gone"): ms(5)})
    async with ready.reading() as session:
        hosts = await records.hosts(session)
    assert hosts[HostName("h1")].heartbeat_at == ms(5)
    assert hosts[HostName("h2")].heartbeat_at == AT


async def test_epochs_grow_by_one(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1), bind_of("s", "h2", 1))
    await bind(ready, bind_of("r", "h2", 2, previous_host="h1", leaving_host="h1", kind=MoveKind.DRAIN))

    async with ready.reading() as session:
        bound = await records.bindings(session)
    assert (bound[R].assignment.host, bound[R].assignment.epoch, bound[R].leaving_host) == ("h2", 2, "h1")
    assert bound[router_id("s")].assignment.host == "h2"


@pytest.mark.parametrize("epoch", [1, 3, 7])
async def test_a_stale_or_early_epoch_changes_nothing(ready: Store, epoch: int) -> None:
    await bind(ready, bind_of("r", "h1", 1))
    with pytest.raises(Conflict, match=rf"router {R} is at epoch 1 in the store: epoch {epoch} is stale"):
        await bind(ready, bind_of("s", "h1", 1), bind_of("r", "h2", epoch))

    async with ready.reading() as session:
        bound = await records.bindings(session)
        assert len(await records.moves(session)) == 1
    assert list(bound) == [R], "of a batch that fails nothing is stored"


async def test_storing_the_same_twice_is_storing_it_once(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1))
    await bind(ready, bind_of("r", "h1", 1), at=ms(9))
    async with ready.reading() as session:
        (move,) = await records.moves(session)
    assert move.timeline[0].at == AT


async def test_a_binding_that_is_stored_may_still_be_given_the_host_that_it_leaves(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1))
    await bind(ready, bind_of("r", "h2", 2))
    await bind(ready, bind_of("r", "h2", 2, leaving_host="h1"))
    async with ready.reading() as session:
        assert (await records.bindings(session))[R].leaving_host == "h1"
        assert len(await records.moves(session)) == 2


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
            await records.store_withdrawal(session, withdrawal(1))
    async with ready.transaction() as session:
        await records.store_withdrawal(session, withdrawal(2))
    async with ready.reading() as session:
        assert (await records.bindings(session))[R].leaving_host is None
    await delete_router(ready, R)
    with pytest.raises(NotFound, match="was deleted before it had left h1"):
        async with ready.transaction() as session:
            await records.store_withdrawal(session, withdrawal(2))


async def test_a_timeline_is_in_time_order_with_the_time_between_steps(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1, silent_s=150.0, kind=MoveKind.RESCHEDULE))
    await record(ready, 1, MoveStep.CONFIRMED, ms(90))
    await record(ready, 1, MoveStep.SENT, ms(10))
    await record(ready, 1, MoveStep.BUILT, ms(60))

    async with ready.reading() as session:
        move = await records.move(session, R, 1)

    assert [(each.step.value, each.after_ms) for each in move.timeline] == [
        ("last_heard", None),
        ("decided", 150_000),
        ("bound", 0),
        ("sent", 10),
        ("built", 50),
        ("confirmed", 30),
    ]
    assert (move.outcome, move.total_ms, move.detail) == ("confirmed", 150_090, "the only host")
    shown = move.as_json()
    assert shown["timeline"][0] == {"step": "last_heard", "at": "2026-01-01T11:57:30Z", "after_ms": None}
    assert shown["kind"] == "reschedule"


async def test_the_first_time_of_a_step_counts(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1))
    assert await record(ready, 1, MoveStep.SENT, ms(1)) is not None
    assert await record(ready, 1, MoveStep.SENT, ms(2)) is None
    assert await record(ready, 9, MoveStep.SENT, ms(2)) is None, "no such move"

    built = await record(ready, 1, MoveStep.BUILT, ms(31))
    assert built is not None
    assert built.since_sent_s == pytest.approx(0.03)
    assert not built.ended


async def test_steps_of_many_moves_are_recorded_with_one_read_and_few_writes(ready: Store) -> None:
    names = [f"r{number}" for number in range(40)]
    await add_routers(ready, *names)
    await bind(ready, *(bind_of(name, "h1", 1) for name in names))
    said: list[str] = []

    async with ready.transaction() as session:
        connection = await session.connection()

        def note(*said_to: Any) -> None:
            said.append(said_to[2])

        event.listen(connection.sync_connection, "before_cursor_execute", note)
        steps = [taken(step, ms(1), router=name) for name in names for step in (MoveStep.SENT, MoveStep.BUILT)]
        recorded = await records.record_steps(session, [*steps, taken(MoveStep.SENT, ms(9), router=names[0])])

    assert [each is not None for each in recorded] == [True] * 80 + [False], "the first time of a step counts"
    assert len(said) <= 3, said
    async with ready.reading() as session:
        moves = await records.moves(session)
    assert all(MoveStep.BUILT in [step.step for step in move.timeline] for move in moves)


async def test_a_host_that_was_deleted_is_not_stored_again(ready: Store) -> None:
    async with ready.transaction() as session:
        await session.delete(await session.get_one(records.HostRow, "h1"))
    async with ready.transaction() as session:
        assert not await records.save_known_host(session, facts_of("h1"), Incarnation(2), AT)
    async with ready.reading() as session:
        assert list(await records.hosts(session)) == ["h2"]


async def test_a_move_ends_once(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1))
    failed = await record(ready, 1, MoveStep.FAILED, ms(5))
    superseded = await record(ready, 1, MoveStep.SUPERSEDED, ms(6))
    assert failed is not None
    assert failed.ended
    assert superseded is not None
    assert not superseded.ended
    async with ready.reading() as session:
        assert (await records.move(session, R, 1)).outcome == "failed"


async def test_open_moves_are_those_of_the_present_epoch(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1), bind_of("s", "h1", 1))
    await record(ready, 1, MoveStep.CONFIRMED, ms(1))
    await bind(ready, bind_of("r", "h2", 2, kind=MoveKind.RESCHEDULE))
    async with ready.reading() as session:
        assert await records.open_moves(session) == {R: MoveKind.RESCHEDULE, router_id("s"): MoveKind.SCHEDULE}
    await record(ready, 2, MoveStep.CONFIRMED, ms(2))
    async with ready.reading() as session:
        assert await records.open_moves(session) == {router_id("s"): MoveKind.SCHEDULE}


async def test_moves_are_listed_newest_first_by_router_or_host(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1), at=ms(1))
    await bind(ready, bind_of("s", "h2", 1), at=ms(2))
    await bind(ready, bind_of("r", "h2", 2, previous_host="h1"), at=ms(3))

    async def listed(**asked: Any) -> list[tuple[str, int]]:
        async with ready.reading() as session:
            return [(move.router_name, move.epoch) for move in await records.moves(session, **asked)]

    assert await listed() == [("r", 2), ("s", 1), ("r", 1)]
    assert await listed(router_id=R) == [("r", 2), ("r", 1)]
    assert await listed(host="h1") == [("r", 2), ("r", 1)]
    assert await listed(limit=1) == [("r", 2)]
    assert await listed(router_id="nobody") == []


async def test_the_record_outlives_the_router_and_an_unknown_move_is_not_found(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1))
    await delete_router(ready, R)
    async with ready.reading() as session:
        assert (await records.move(session, R, 1)).router_name == "r"
        assert R not in await records.bindings(session)
        with pytest.raises(NotFound, match="to epoch 2"):
            await records.move(session, R, 2)


async def test_why_a_router_is_where_it_is_is_known_later(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1), bind_of("s", "h1", 1, reason="it has no host"))
    await record(ready, 1, MoveStep.CONFIRMED, ms(1))
    await bind(ready, bind_of("r", "h2", 2, choice="h2 has room"))
    await record(ready, 1, MoveStep.SUPERSEDED, ms(2))
    await record(ready, 2, MoveStep.SENT, ms(3))
    async with ready.transaction() as session:
        await records.record_steps(session, [taken(MoveStep.FAILED, ms(4), router="s")])
    async with ready.reading() as session:
        assert await records.choices(session) == {R: "h2 has room", router_id("s"): "it has no host"}
        details = {move.epoch: move.detail for move in await records.moves(session, router_id=R)}
        assert details == {2: "h2 has room", 1: "superseded it is"}
        assert (await records.move(session, router_id("s"), 1)).detail == "failed it is"


async def test_long_reasons_are_cut_not_refused(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1, reason="because " * 1000, choice="since " * 1000))
    async with ready.reading() as session:
        move = await records.move(session, R, 1)
    assert len(move.reason) == len(move.detail) == 1024


# Standbys and arbiters


def succession(epoch: int, *successors: Successor, incarnation: int | None = 1) -> StoreSuccession:
    guarded = None if incarnation is None else Incarnation(incarnation)
    return StoreSuccession(
        router_id=R, epoch=Epoch(epoch), incarnation=guarded, successors=successors, reason="so", cause="e-1"
    )


def successor(host: str, epoch: int) -> Successor:
    return Successor(tenure=Tenure(HostName(host), Incarnation(5)), epoch=Epoch(epoch))


async def stored_binding(store: Store) -> records.StoredBinding:
    async with store.reading() as session:
        return (await records.bindings(session))[R]


async def test_who_may_succeed_is_stored_and_ends_with_the_next_binding(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1, incarnation=Incarnation(1)))
    given = succession(1, successor("h2", 2))
    async with ready.transaction() as session:
        await records.store_succession(session, given)
    stored = await stored_binding(ready)
    assert (stored.incarnation, stored.successors) == (1, (successor("h2", 2),))
    assert records.has(stored, given)
    assert not records.has(stored, succession(1))

    leaving = {"leaving_host": HostName("h1"), "leaving_incarnation": Incarnation(1)}
    await bind(ready, bind_of("r", "h2", 2, incarnation=Incarnation(5), **leaving))
    stored = await stored_binding(ready)
    assert (stored.incarnation, stored.leaving_incarnation, stored.successors) == (5, 1, ())
    async with ready.transaction() as session:
        left = StoreWithdrawal(router_id=R, epoch=Epoch(2), leaving_host=HostName("h1"), reason="so", cause="e-1")
        await records.store_withdrawal(session, left)
    assert (await stored_binding(ready)).leaving_incarnation is None


async def test_successors_of_higher_epochs_outlive_a_binding(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1, incarnation=Incarnation(1)))
    async with ready.transaction() as session:
        await records.store_succession(session, succession(1, successor("h2", 2), successor("h3", 3)))
    await bind(ready, bind_of("r", "h2", 2, incarnation=Incarnation(5)))
    assert (await stored_binding(ready)).successors == (successor("h3", 3),)


async def test_a_takeover_by_the_second_skips_the_epoch_of_the_first(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1, incarnation=Incarnation(1)))
    async with ready.transaction() as session:
        await records.store_succession(session, succession(1, successor("h2", 2), successor("h3", 3)))
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
            await records.store_succession(session, succession(1))
    await bind(ready, bind_of("r", "h1", 1))
    with pytest.raises(Conflict, match="epoch 2 is stale"):
        async with ready.transaction() as session:
            await records.store_succession(session, succession(2))


async def test_the_panel_is_one_and_only_grows(store: Store) -> None:
    def level(version: int, floor: int, *sets: str) -> StorePanel:
        chosen = tuple(frozenset(map(HostName, each.split())) for each in sets)
        panel = Panel(version=PanelVersion(version), floor=PanelVersion(floor), sets=chosen)
        return StorePanel(panel=panel, reason="so", cause="e-1")

    async with store.transaction() as session:
        assert await records.panel(session) is None
    for each in (level(1, 1, "h1"), level(2, 1, "h1", "h1 h2 h3"), level(2, 2, "h1", "h1 h2 h3")):
        async with store.transaction() as session:
            await records.store_panel(session, each)
        async with store.reading() as session:
            assert await records.panel(session) == each.panel
    with pytest.raises(Conflict, match="version 2, floor 2"):
        async with store.transaction() as session:
            await records.store_panel(session, level(2, 1, "h1"))


async def test_a_takeover_s_record_begins_before_the_controller_heard_of_it(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1, kind=MoveKind.TAKEOVER, decided_ago_s=0.049))
    for step, at in ((MoveStep.MISSED, -250), (MoveStep.SILENT, -50), (MoveStep.BURIED, -47), (MoveStep.OPENED, -46)):
        await record(ready, 1, step, ms(at))
    async with ready.reading() as session:
        move = await records.move(session, R, 1)
    assert [each.step for each in move.timeline] == ["missed", "silent", "decided", "buried", "opened", "bound"]
    assert move.total_ms == 250


async def test_an_operators_word_is_not_overwritten_by_what_was_known_before(ready: Store) -> None:
    """A round of the host book may have been on its way."""
    h1, before = (
        HostName("h1"),
        records.NameRecord(
            instance=facts_of("h1").instance, started=Incarnation(3), highest=Incarnation(3), outlived=Incarnation(0)
        ),
    )
    async with ready.transaction() as session:
        await records.save_names(session, {h1: before})
    async with ready.transaction() as session:
        await records.confirm_off(session, {h1: Incarnation(4)})
    async with ready.transaction() as session:
        await records.save_names(session, {h1: before})
    async with ready.reading() as session:
        after = (await records.names(session))[h1]
    assert (after.confirmed, after.outlived, after.highest, after.is_off) == (4, 4, 4, True)
