"""What the recorder promises the planner: "failed" means "not done", whatever the database does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from driver_rig import Log, lines
from shell_fakes import Bench, add_routers, delete_router, facts_of, router_id
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller import recorder
from gapless.controller.recorder import Recorder, Write
from gapless.controller.store import bindingrows, hostrows, moverows
from gapless.controller.store.engine import Store
from gapless.controller.wallclock import utc_now
from gapless.core.effects import Bind, StorePanel, StoreSuccession, StoreWithdrawal
from gapless.errors import InvariantError, LostRace, StoreUnavailable
from gapless.model.host import HostName, Incarnation
from gapless.model.plan import Epoch, MoveKind, MoveStep
from gapless.observe.metrics import Metrics

R = router_id("r")


class FlakyStore:
    """A store whose connection breaks: right after the commit, or before anything could be read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.fails_after_commit = False
        self.fails_to_read = False
        self.transactions = 0

    @asynccontextmanager
    async def transaction(self, *, ahead: bool = False) -> AsyncIterator[AsyncSession]:
        self.transactions += 1
        async with self._store.transaction(ahead=ahead) as session:
            yield session
        if self.fails_after_commit:
            raise StoreUnavailable("the connection broke after the commit")

    @asynccontextmanager
    async def reading(self, *, ahead: bool = False) -> AsyncIterator[AsyncSession]:
        if self.fails_to_read:
            raise StoreUnavailable("nothing can be read")
        async with self._store.reading(ahead=ahead) as session:
            yield session


@dataclass
class Desk:
    """A recorder on a store that fails on demand, and what it answered."""

    store: FlakyStore
    answers: list[tuple[str, int, str]] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.recorder = Recorder(
            self.store,  # type: ignore[arg-type]  (the two doors of a Store are all that it uses)
            self.metrics,
            self.answered,
        )

    def answered(self, effect: Write, failure: str) -> None:
        done = {Bind: "bound", StoreWithdrawal: "withdrawn", StoreSuccession: "succeeded", StorePanel: "appointed"}
        number = effect.panel.version if isinstance(effect, StorePanel) else effect.epoch
        self.answers.append((f"not {done[type(effect)]}" if failure else done[type(effect)], number, failure))

    def bind(self, epoch: int, host: str = "h1", name: str = "r", leaving: str | None = None) -> None:
        effect = Bind(
            router_id=router_id(name),
            host=HostName(host),
            epoch=Epoch(epoch),
            previous_host=None,
            leaving_host=None if leaving is None else HostName(leaving),
            kind=MoveKind.SCHEDULE,
            silent_s=None,
            choice="the only host",
            reason="it has no host",
            cause="e-1",
        )
        self.recorder.take(effect, utc_now())

    def withdraw(self, epoch: int) -> None:
        effect = StoreWithdrawal(
            router_id=R, epoch=Epoch(epoch), leaving_host=HostName("h1"), reason="nothing is left", cause="e-2"
        )
        self.recorder.take(effect, utc_now())


@pytest.fixture
async def desk(store: Store) -> Desk:
    """Hosts h1 and h2, routers r and s."""
    async with store.transaction() as session:
        for name in ("h1", "h2"):
            await hostrows.save_host(session, facts_of(name), Incarnation(1), utc_now())
    await add_routers(store, "r", "s")
    return Desk(FlakyStore(store))


async def test_a_binding_that_is_stored_although_its_transaction_failed_is_answered_as_stored(desk: Desk) -> None:
    desk.store.fails_after_commit = True
    desk.bind(1)
    await desk.recorder.flush()
    assert desk.answers == [("bound", 1, "")]


async def test_a_binding_waits_for_one_caller_of_the_api_and_not_for_a_queue_of_them(desk: Desk, store: Store) -> None:
    bound_before: list[bool] = []

    async def call() -> None:
        async with store.transaction():
            bound_before.append(bool(desk.answers))

    async with asyncio.TaskGroup() as tasks, store.transaction():
        tasks.create_task(call())
        tasks.create_task(call())
        await asyncio.sleep(0)  # both are in the queue
        desk.bind(1)
        tasks.create_task(desk.recorder.flush())
        await asyncio.sleep(0)
    assert bound_before == [True, True]


async def test_a_withdrawal_that_is_stored_although_its_transaction_failed_is_answered_as_stored(desk: Desk) -> None:
    desk.bind(1)
    desk.bind(2, host="h2", leaving="h1")
    await desk.recorder.flush()
    desk.answers.clear()
    desk.store.fails_after_commit = True
    desk.withdraw(2)
    await desk.recorder.flush()
    assert desk.answers == [("withdrawn", 2, "")]


async def test_what_was_not_stored_is_answered_as_failed_with_the_first_reason(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(bindingrows, "bind", fail)
    desk.bind(1)
    await desk.recorder.flush()
    assert desk.answers == [("not bound", 1, "the disk is full")]


async def test_as_long_as_nothing_can_be_read_nothing_is_answered_and_nothing_else_is_written(desk: Desk) -> None:
    desk.store.fails_after_commit = desk.store.fails_to_read = True
    desk.bind(1)
    assert not await desk.recorder.flush()
    desk.bind(1, name="s")
    written = desk.store.transactions
    assert not await desk.recorder.flush()
    assert desk.answers == []
    assert desk.store.transactions == written

    desk.store.fails_after_commit = desk.store.fails_to_read = False
    assert await desk.recorder.flush()
    assert desk.answers == [("bound", 1, ""), ("bound", 1, "")]


@pytest.mark.parametrize("epoch", [1, 3])
async def test_an_epoch_that_is_not_the_next_ends_the_controller(desk: Desk, epoch: int) -> None:
    desk.bind(1)
    await desk.recorder.flush()
    desk.bind(epoch, host="h2")
    with pytest.raises(InvariantError, match=f"is at epoch 1 in the store: epoch {epoch} is stale"):
        await desk.recorder.flush()


async def test_a_withdrawal_at_another_epoch_ends_the_controller(desk: Desk) -> None:
    desk.bind(1)
    await desk.recorder.flush()
    desk.withdraw(2)
    with pytest.raises(InvariantError, match="is at epoch 1 in the store: epoch 2 is stale"):
        await desk.recorder.flush()


async def test_a_deleted_router_and_a_deleted_host_are_answered_as_such(desk: Desk, store: Store) -> None:
    await delete_router(store, R)
    desk.bind(1)
    desk.bind(1, name="s", host="h9")
    desk.withdraw(1)
    await desk.recorder.flush()
    (gone, homeless, withdrawn) = desk.answers
    assert "was deleted before it was bound to h1" in gone[2]
    assert "another request was first" in homeless[2]
    assert "was deleted before it had left h1" in withdrawn[2]


async def test_a_controller_whose_commits_look_failed_still_moves_routers(store: Store) -> None:
    """The planner's own view: one epoch, one answer, no move that is decided twice."""
    bench = await Bench.open(store)
    flaky = FlakyStore(store)
    bench.shell.driver.recorder._store = flaky  # type: ignore[assignment]
    await bench.connect("h1")
    await add_routers(store, "r")
    flaky.fails_after_commit = True
    bench.shell.pilot.routers_changed([R])
    await bench.pass_time(2, "h1")
    assert bench.plan("h1") == {R: 1}


async def test_steps_that_are_stored_one_by_one_are_all_counted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.bind(1)
    desk.bind(1, name="s")
    await desk.recorder.flush()
    at_once = moverows.record_steps

    async def only_alone(session: AsyncSession, taken: Any) -> Any:
        if len(taken) > 1:
            raise LostRace("not together")
        return await at_once(session, taken)

    monkeypatch.setattr(moverows, "record_steps", only_alone)
    for name in ("r", "s"):
        desk.recorder.note(router_id(name), Epoch(1), MoveStep.CONFIRMED, utc_now())
    assert await desk.recorder.flush()
    assert 'gapless_moves_total{kind="schedule",outcome="confirmed"} 2.0' in desk.metrics.page().decode()


async def test_steps_for_which_there_is_no_room_are_lost_oldest_first_and_that_is_said(
    desk: Desk, store: Store, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(recorder, "MOST_STEPS", 2)
    desk.bind(1)
    assert await desk.recorder.flush()
    moments = [utc_now() + timedelta(seconds=number) for number in range(5)]
    with monkeypatch.context() as away:
        away.setattr(moverows, "record_steps", fail)
        for at in moments[:4]:
            desk.recorder.note(R, Epoch(1), MoveStep.SENT, at)
        assert not await desk.recorder.flush()
    desk.recorder.note(R, Epoch(1), MoveStep.SENT, moments[4])
    for _ in range(2):
        assert await desk.recorder.flush()
    async with store.reading() as session:
        (*_, sent) = (await moverows.move(session, R, 1)).timeline
    assert (sent.step, sent.at) == (MoveStep.SENT, moments[3])
    assert [(line["log_level"], line["event"]) for line in lines(log, "steps")] == [
        ("warning", "More than 2 steps of moves wait to be stored: the oldest are lost"),
        ("error", "2 steps of moves could not be stored"),
        ("warning", "The records of moves lack 3 steps"),
    ]
