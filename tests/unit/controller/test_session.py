"""One host's plan: the smallest difference, never more than is wanted, and nobody waits for a slow host."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, KeysView, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from shell_fakes import PATIENCE_S, FakeHost, dialled, facts_of, router_id
from websockets.asyncio.server import ServerConnection, serve

from gapless.controller import session as session_module
from gapless.controller.session import Heard, Session, SessionOver
from gapless.core.ledger.plans import Duty
from gapless.errors import StoreUnavailable
from gapless.model.host import AgentState, HostName, Incarnation
from gapless.model.lease import DEFAULT, Panel, PanelVersion, Tenure
from gapless.model.plan import (
    Epoch,
    Guarded,
    LeaseAddress,
    PanelPlan,
    PlannedRouter,
    Revision,
    Role,
    Takeover,
    TakeoverTimes,
)
from gapless.model.router import Router, RouterId
from gapless.wire.messages import Bury, Change, Report, Snapshot

A, B, C = (router_id(name) for name in "abc")


@dataclass
class Source:
    """What hosts should run, as a test says."""

    plans: dict[str, dict[RouterId, Duty]] = field(default_factory=dict)
    content: dict[RouterId, str] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    sent: list[tuple[RouterId, Epoch]] = field(default_factory=list)
    reads: list[set[RouterId]] = field(default_factory=list)
    read_began: asyncio.Event = field(default_factory=asyncio.Event)
    may_read: asyncio.Event = field(default_factory=asyncio.Event)
    is_away: bool = False
    reports_heard: int = 0
    arbiters: PanelPlan | None = None

    def __post_init__(self) -> None:
        self.may_read.set()

    def want(self, host: str, **routers: int) -> None:
        """`host` should run these routers at these epochs."""
        self.plans[host] = {router_id(name): Duty(epoch=Epoch(epoch)) for name, epoch in routers.items()}
        self.versions[host] = self.versions.get(host, 0) + 1

    def plan_of(self, host: HostName) -> Mapping[RouterId, Duty]:
        return self.plans.get(host, {})

    def heard(self, host: HostName, session: int) -> int:
        return self.reports_heard

    def panel(self) -> PanelPlan | None:
        return self.arbiters

    def plan_version(self, host: HostName) -> int:
        return self.versions.get(host, 0)

    async def routers(self, ids: Collection[RouterId]) -> Mapping[RouterId, Router]:
        self.reads.append(set(ids))
        read = {each: Router(id=each, name=self.content.get(each, "as made")) for each in ids if self.exists(each)}
        self.read_began.set()
        await self.may_read.wait()
        if self.is_away:
            raise StoreUnavailable("the database is gone")
        return read

    def exists(self, router: RouterId) -> bool:
        return self.content.get(router) != "deleted"

    def plan_sent(self, host: HostName, routers: Iterable[PlannedRouter], sent_s: float) -> None:
        self.sent += [(each.router.id, each.epoch) for each in routers]


@dataclass
class Line:
    """Both ends of one host's link."""

    session: Session
    host: FakeHost
    reports: "asyncio.Queue[Heard]"
    over: "asyncio.Future[SessionOver]"

    async def report(self, revision: int, *, full: bool = False) -> int:
        """Report on a revision; the plan version that the planner is told."""
        await self.host.say(Report(revision=Revision(revision), agent=AgentState.RUNNING, full=full))
        async with asyncio.timeout(PATIENCE_S):
            return (await self.reports.get()).plan_version


@pytest.fixture
def source() -> Source:
    return Source()


@asynccontextmanager
async def linked(
    source: Source, name: str = "h1", *, dead_after_s: float = PATIENCE_S, send_timeout_s: float = PATIENCE_S
) -> AsyncIterator[Line]:
    """A session between a real server and a real client, woken for its first plan."""
    made: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
    over: asyncio.Future[SessionOver] = asyncio.get_running_loop().create_future()
    reports: asyncio.Queue[Heard] = asyncio.Queue()

    async def on_report(_: HostName, heard: Heard, __: float) -> None:
        reports.put_nowait(heard)

    async def handle(connection: ServerConnection) -> None:
        session = Session(HostName(name), connection, source, on_report, dead_after_s, send_timeout_s)
        session.wake()
        made.set_result(session)
        over.set_result(await session.run())

    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None, close_timeout=0.2) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with dialled(port, max_queue=1, ping_interval=None) as connection:
            yield Line(await made, FakeHost(connection, facts_of(name)), reports, over)
            connection.transport.abort()


async def test_first_a_snapshot_even_of_nothing(source: Source) -> None:
    async with linked(source) as line:
        assert await line.host.next() == Snapshot(revision=Revision(1), routers=())


async def test_then_only_what_changed(source: Source) -> None:
    source.want("h1", a=1, b=1)
    async with linked(source) as line:
        await line.host.next()
        assert line.host.plan.routers.keys() == {A, B}

        source.want("h1", b=1, c=4)
        line.session.wake()
        change = await line.host.next()

        assert isinstance(change, Change)
        assert change.revision == 2
        assert [(each.router.id, each.epoch) for each in change.routers] == [(C, 4)]
        assert change.removed == (A,)
        assert source.reads == [{A, B}, {C}], "what the host has is not read again"
        assert source.sent == [(A, 1), (B, 1), (C, 4)] or source.sent == [(B, 1), (A, 1), (C, 4)]


async def test_a_router_whose_content_or_epoch_changed_is_sent_again(source: Source) -> None:
    source.want("h1", a=1, b=1)
    async with linked(source) as line:
        await line.host.next()
        source.content[A] = "renamed"
        line.session.look_at({A, C})
        change = await line.host.next()
        assert isinstance(change, Change)
        assert [each.router.name for each in change.routers] == ["renamed"]

        source.want("h1", a=1, b=2)
        line.session.wake()
        change = await line.host.next()
        assert isinstance(change, Change)
        assert [(each.router.id, each.epoch) for each in change.routers] == [(B, 2)]


async def test_nothing_is_sent_when_nothing_changed(source: Source) -> None:
    source.want("h1", a=1)
    async with linked(source) as line:
        await line.host.next()
        line.session.wake()
        line.session.look_at({A})
        source.want("h1", a=1, b=1)
        line.session.wake()

        change = await line.host.next()

        assert isinstance(change, Change)
        assert change.revision == 2, "no revision was used up by waking for nothing"


async def test_a_router_that_is_gone_from_the_store_leaves_the_plan(source: Source) -> None:
    source.want("h1", a=1)
    async with linked(source) as line:
        await line.host.next()
        source.content[A] = "deleted"
        line.session.look_at({A})
        change = await line.host.next()
        assert isinstance(change, Change)
        assert change.removed == (A,)


async def test_what_the_planner_takes_back_while_it_is_read_never_leaves(source: Source) -> None:
    source.want("h1", a=1, b=1)
    source.may_read.clear()
    async with linked(source) as line:
        await source.read_began.wait()
        source.want("h1", b=1)  # a is bound elsewhere, and may run there any moment
        line.session.wake()
        source.may_read.set()

        snapshot = await line.host.next()

        assert isinstance(snapshot, Snapshot)
        assert [each.router.id for each in snapshot.routers] == [B]


async def test_what_changes_while_it_is_read_is_sent_after(source: Source) -> None:
    source.want("h1", a=1)
    source.may_read.clear()
    async with linked(source) as line:
        await source.read_began.wait()
        source.content[A] = "newer"
        line.session.look_at({A})
        source.want("h1", a=1, b=1)
        line.session.wake()
        source.may_read.set()

        await line.host.until(lambda plan: B in plan and plan[A].router.name == "newer")

        assert isinstance(line.host.received[0], Snapshot)
        assert [each.router.name for each in line.host.received[0].routers] == ["as made"]


async def test_a_store_that_is_away_delays_the_plan(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "STORE_RETRY_S", 0.01)
    source.want("h1", a=1)
    source.is_away = True
    source.may_read.clear()
    async with linked(source) as line:
        await source.read_began.wait()
        source.may_read.set()
        while len(source.reads) < 3:
            source.read_began.clear()
            await source.read_began.wait()
        source.is_away = False

        await line.host.next()

        assert line.host.plan.routers.keys() == {A}


async def test_each_report_is_passed_on_with_the_version_of_its_plan(source: Source) -> None:
    source.want("h1", a=1)  # version 1
    async with linked(source) as line:
        await line.host.next()
        assert await line.report(0) == 0, "from no plan of this session"
        assert await line.report(1, full=True) == 1

        source.want("h1", b=1)  # version 2: a has to leave
        line.session.wake()
        await line.host.next()

        assert await line.report(1, full=True) == 1, "made before the host heard of it"
        assert await line.report(2, full=True) == 2


async def test_a_report_on_a_revision_that_was_never_sent_is_malformed(source: Source) -> None:
    async with linked(source) as line:
        await line.host.next()
        await line.host.say(Report(revision=Revision(7), agent=AgentState.RUNNING))
        over = await line.over
        assert (over.cause, over.reason) == (
            "malformed",
            "a malformed message arrived: a report on revision 7, but 1 is the newest",
        )


async def test_a_host_that_takes_nothing_is_cut_off_and_nobody_waits_for_it(source: Source) -> None:
    heavy = {f"heavy{number}": 1 for number in range(40)}
    source.content = {router_id(name): "x" * 1_000_000 for name in heavy}
    source.want("slow", **heavy)
    source.want("quick", a=1)
    source.may_read.clear()
    async with linked(source, "slow", send_timeout_s=1.0) as slow, linked(source, "quick") as quick:
        slow.host.connection.transport.pause_reading()  # what is sent fills the kernel's buffers, and no more
        source.may_read.set()
        for epoch in range(2, 12):  # the slow one is stuck in its snapshot all the while
            source.want("quick", a=epoch)
            quick.session.wake()
            slow.session.wake()
            await quick.host.until(lambda plan, epoch=epoch: A in plan and plan[A].epoch == epoch)

        over = await slow.over

        assert (over.cause, over.reason) == ("slow", "the host took nothing for 1 s")
        assert not quick.over.done()


async def test_ending_a_session_closes_it_with_its_reason(source: Source) -> None:
    async with linked(source) as line:
        await line.host.next()
        line.session.end("replaced", "the host opened a new control link")
        line.session.end("slow", "later")
        assert (await line.over).cause == "replaced"


async def test_a_link_on_which_nothing_comes_any_more_ends(source: Source) -> None:
    async with linked(source, dead_after_s=0.05) as line:
        assert (await line.over).cause == "silent"


# Guards


def guarded(role: Role, *after: Tenure) -> Guarded:
    return Guarded(role=role, incarnation=Incarnation(1), after=after)


async def test_a_role_that_changes_is_sent_without_reading_the_router_again(source: Source) -> None:
    source.plans["h1"] = {A: Duty(epoch=Epoch(2), guarded=guarded(Role.STANDBY))}
    async with linked(source) as line:
        await line.host.next()
        source.plans["h1"] = {A: Duty(epoch=Epoch(2), guarded=guarded(Role.ACTIVE))}
        line.session.wake()
        change = await line.host.next()
        assert isinstance(change, Change)
        assert [each.guarded for each in change.routers] == [guarded(Role.ACTIVE)]
        assert source.reads == [{A}]


async def test_a_takeover_is_answered_even_if_there_is_nothing_else_to_say(source: Source) -> None:
    times = TakeoverTimes(buried_ms=1, opened_ms=2, told_ms=3)
    of = Tenure(HostName("h2"), Incarnation(1))
    took = Takeover(router_id=A, epoch=Epoch(2), of=of, times=times)
    async with linked(source) as line:
        await line.host.next()
        await line.report(1)
        await line.host.say(Report(revision=Revision(1), agent=AgentState.RUNNING, takeovers=(took,)))
        heard = await line.reports.get()
        assert (heard.number, heard.session) == (2, line.session.number)
        line.session.wake()
        source.reports_heard = 2
        line.session.wake()
        assert await line.host.next() == Change(revision=Revision(2), heard=2)


async def test_the_panel_is_sent_when_it_is_another(source: Source) -> None:
    h1 = HostName("h1")
    panel = Panel(version=PanelVersion(1), floor=PanelVersion(1), sets=(frozenset({h1}),))
    first = PanelPlan(timing=DEFAULT, panel=panel, addresses=(LeaseAddress(host=h1, address="192.0.2.1:9698"),))
    source.arbiters = first
    async with linked(source) as line:
        snapshot = await line.host.next()
        assert isinstance(snapshot, Snapshot)
        assert snapshot.panel == first
        source.want("h1", a=1)
        line.session.wake()
        change = await line.host.next()
        assert isinstance(change, Change)
        assert change.panel is None, "as before"
        source.arbiters = replace(first, addresses=())
        line.session.wake()
        assert await line.host.next() == Change(revision=Revision(3), panel=source.arbiters)


async def test_a_guard_s_answer_is_told_with_the_plan_that_it_worked_from(source: Source) -> None:
    source.want("h1", a=1)
    async with linked(source) as line:
        await line.host.next()
        source.want("h1", b=1)
        line.session.wake()
        await line.host.next()
        await line.host.say(Report(revision=Revision(2), guard_revision=Revision(1), agent=AgentState.RUNNING))
        heard = await line.reports.get()
        assert (heard.plan_version, heard.guard_version) == (2, 1)
        await line.host.say(Report(revision=Revision(2), guard_revision=Revision(9), agent=AgentState.RUNNING))
        assert (await line.over).cause == "malformed"


async def test_only_the_newest_question_on_a_tenure_is_put_to_an_arbiter(source: Source) -> None:
    async with linked(source) as line:
        await line.host.next()
        for seq in (1, 2):
            line.session.ask(Bury(tenure=Tenure(HostName("h2"), Incarnation(1)), seq=seq, panel=PanelVersion(1)))
        asked = await line.host.next()
        assert isinstance(asked, Bury)
        assert asked.seq == 2


class Counting(dict[RouterId, Duty]):
    """A plan that counts how often it is looked through."""

    walks = 0

    def __iter__(self) -> Iterator[RouterId]:
        self.walks += 1
        return super().__iter__()

    def keys(self) -> KeysView[RouterId]:
        self.walks += 1
        return super().keys()


@pytest.mark.parametrize("changed", [{A}, {A, C}, {C}, {A, B, C, router_id("d")}])
async def test_of_what_changed_only_that_is_looked_at_which_the_host_has(
    source: Source, changed: set[RouterId]
) -> None:
    source.want("h1", a=1, b=1)
    async with linked(source) as line:
        await line.host.next()
        plan = source.plans["h1"] = Counting(source.plans["h1"])
        line.session.look_at(changed)
        assert line.session._stale == changed & {A, B}
        assert plan.walks == (len(changed) > len(plan)), "changes are few, and plans are long"


async def test_what_was_sent_and_is_planned_no_more_is_looked_at_too(source: Source) -> None:
    source.want("h1", a=1, b=1)
    async with linked(source) as line:
        await line.host.next()
        source.want("h1", b=1)
        line.session.look_at({A})
        assert line.session._stale == {A}
