"""The agent's shell with a kernel that runs in memory, over a real local link."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from kernel_in_memory import PATIENCE_S, FakeKernel, planned

from gapless.agent.driver import Driver, Rhythm
from gapless.agent.hint import Hint
from gapless.agent.removals import REMOVED_AT_ONCE
from gapless.errors import Unavailable
from gapless.model.plan import PlannedRouter, Revision, RouterReport, RouterState
from gapless.model.router import Router, RouterId
from gapless.wire.local import LocalLink
from gapless.wire.messages import (
    AgentAlive,
    AgentPlan,
    AgentReport,
    AgentUnable,
    Change,
    FromAgent,
    TakingOver,
    from_agent,
    to_agent,
)
from limits_met import no_thread_more
from stopped_clock import stopped_clock

RHYTHM = Rhythm(alive_interval_s=0.02, listing_interval_s=0.05, audit_period_s=3600)


class FakeHints:
    """Hints by hand."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Hint] = asyncio.Queue()
        self.closed = False

    def __aiter__(self) -> AsyncIterator[Hint]:
        return self._all()

    async def _all(self) -> AsyncIterator[Hint]:
        while True:
            yield await self.queue.get()

    def close(self) -> None:
        self.closed = True


@dataclass
class Bench:
    """The sentinel's end of a link to a driver that runs."""

    kernel: FakeKernel
    hints: FakeHints
    link: LocalLink[FromAgent]
    driver: asyncio.Task[None]
    said: list[RouterReport] = field(default_factory=list)
    alive: list[AgentAlive] = field(default_factory=list)
    revisions: list[int] = field(default_factory=list)
    full_revisions: list[int] = field(default_factory=list)
    revision: int = 0

    async def plan(self, *routers: PlannedRouter, confirmed: bool = True) -> None:
        self.revision += 1
        await self.link.send(AgentPlan(confirmed=confirmed, revision=Revision(self.revision), routers=routers))

    async def change(self, *routers: PlannedRouter, removed: tuple[str, ...] = ()) -> None:
        self.revision += 1
        gone = tuple(map(RouterId, removed))
        await self.link.send(Change(revision=Revision(self.revision), routers=routers, removed=gone))

    async def hear(self) -> FromAgent | None:
        message = await self.link.receive()
        match message:
            case AgentReport():
                self.said += message.routers
                self.revisions.append(message.revision)
                if message.full:
                    self.full_revisions.append(message.revision)
            case AgentAlive():
                self.alive.append(message)
        return message

    async def hear_until(self, is_enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not is_enough():
                assert await self.hear() is not None, "the agent ended"

    async def hear_state(self, router_id: str, state: RouterState, epoch: int = 1) -> RouterReport:
        def found() -> Iterator[RouterReport]:
            return (each for each in self.said if (each.router_id, each.state, each.epoch) == (router_id, state, epoch))

        await self.hear_until(lambda: any(found()))
        return next(found())

    async def wait_for(self, line: str, count: int = 1) -> None:
        await asyncio.to_thread(self.kernel.wait_for, line, count)


@asynccontextmanager
async def agent(kernel: FakeKernel, rhythm: Rhythm = RHYTHM) -> AsyncIterator[Bench]:
    ours, its = socket.socketpair()
    link = await LocalLink.over(ours, from_agent)
    hints = FakeHints()
    driver = Driver(await LocalLink.over(its, to_agent), lambda: kernel, lambda: hints, rhythm)
    running = asyncio.create_task(driver.run())
    bench = Bench(kernel=kernel, hints=hints, link=link, driver=running)
    try:
        yield bench
    finally:
        await link.close()
        async with asyncio.timeout(PATIENCE_S):
            await running
    assert kernel.closed
    assert hints.closed


def strays(*names: str) -> dict[RouterId, Router]:
    return {RouterId(each): Router(id=RouterId(each), name="") for each in names}


async def test_removals_strictly_before_builds_by_the_kernels_own_record() -> None:
    kernel = FakeKernel(routers=strays(*(f"old{number}" for number in range(20))))
    async with agent(kernel) as bench:
        await bench.plan(*(planned(f"new{number}") for number in range(20)))
        for number in range(20):
            await bench.hear_state(f"new{number}", RouterState.ACTIVE)
            await bench.hear_state(f"old{number}", RouterState.REMOVED, epoch=0)
    last_removal = max(place for place, line in enumerate(kernel.record) if line.startswith("removed old"))
    first_build = min(place for place, line in enumerate(kernel.record) if line.startswith("reconcile "))
    assert last_removal < first_build
    assert kernel.running() == {f"new{number}" for number in range(20)}
    assert bench.full_revisions == [1]


async def test_a_removal_that_hangs_holds_builds_back_and_one_that_fails_does_not() -> None:
    kernel = FakeKernel(routers=strays("slow", "stuck"))
    gate = kernel.hold("remove slow")
    kernel.fail_next("remove stuck", "device busy")
    async with agent(kernel) as bench:
        await bench.plan(planned("new"))
        await asyncio.to_thread(kernel.wait_for, "remove slow")
        assert not any(line.startswith("reconcile") for line in kernel.record)
        gate.set()
        assert "device busy" in (await bench.hear_state("stuck", RouterState.FAILED, epoch=0)).reason
        await bench.hear_state("new", RouterState.ACTIVE)
        await bench.hear_state("stuck", RouterState.REMOVED, epoch=0)


async def test_adoption_builds_nothing() -> None:
    wanted = [planned(f"r{number}") for number in range(5)]
    kernel = FakeKernel(routers={each.router.id: each.router for each in wanted})
    before = dict(kernel.routers)
    async with agent(kernel) as bench:
        await bench.plan(*wanted)
        await bench.hear_until(lambda: bool(bench.full_revisions))
    assert kernel.routers == before
    assert {(each.state, each.times) for each in bench.said} == {(RouterState.ACTIVE, None)}


async def test_an_unconfirmed_plan_adopts_repairs_and_touches_nothing_else() -> None:
    mine = planned("mine")
    kernel = FakeKernel(routers=strays("stranger") | {mine.router.id: Router(id=mine.router.id, name="drifted")})
    async with agent(kernel) as bench:
        await bench.plan(mine, planned("absent"), confirmed=False)
        await bench.hear_state("mine", RouterState.ACTIVE)
        await bench.wait_for("reconciled mine")
        assert kernel.running() == {"mine", "stranger"}
        assert bench.full_revisions == []
        await bench.plan(mine, planned("absent"))
        await bench.hear_state("absent", RouterState.ACTIVE)
        await bench.hear_until(lambda: bool(bench.full_revisions))
        assert kernel.running() == {"mine", "absent"}


async def test_a_build_is_reported_with_times_since_the_plan_arrived() -> None:
    async with agent(FakeKernel()) as bench:
        await bench.plan(planned("r1"))
        report = await bench.hear_state("r1", RouterState.ACTIVE)
        assert [each.state for each in bench.said] == [RouterState.BUILDING, RouterState.ACTIVE]
        times = report.times
        assert times is not None
        assert 0 <= times.started_ms <= times.built_ms <= times.announced_ms <= times.verified_ms < PATIENCE_S * 1000


async def test_one_routers_failure_never_stops_the_others_and_is_tried_again() -> None:
    kernel = FakeKernel()
    kernel.fail_next("reconcile bad", "no such interface")
    async with agent(kernel) as bench:
        await bench.plan(planned("bad"), *(planned(f"r{number}") for number in range(8)))
        assert (await bench.hear_state("bad", RouterState.FAILED)).reason == "no such interface"
        for number in range(8):
            await bench.hear_state(f"r{number}", RouterState.ACTIVE)
        await bench.hear_state("bad", RouterState.ACTIVE)


async def test_a_bug_met_by_one_router_is_told_and_stops_nothing(log_lines: list[str]) -> None:
    class Buggy(FakeKernel):
        def reconcile(self, router: Router, guarded: bool = False) -> Any:
            if router.id == "bad":
                raise KeyError("mtu")
            return super().reconcile(router, guarded)

    async with agent(Buggy()) as bench:
        await bench.plan(planned("bad"), planned("good"))
        assert "KeyError" in (await bench.hear_state("bad", RouterState.FAILED)).reason
        await bench.hear_state("good", RouterState.ACTIVE)
    assert any("Traceback" in line for line in log_lines)


async def test_different_routers_are_built_in_parallel_and_one_in_sequence() -> None:
    """As many at once as the product itself has workers."""
    kernel = FakeKernel()
    workers = Rhythm().workers
    assert workers > 1
    gates = [kernel.hold(f"reconcile r{number}") for number in range(workers)]
    async with agent(kernel) as bench:
        await bench.plan(*(planned(f"r{number}", name="old") for number in range(workers + 1)))
        for number in range(workers):
            await bench.wait_for(f"reconcile r{number}")
        assert f"reconcile r{workers}" not in kernel.record, "no more than there are workers"
        await bench.change(planned("r0", epoch=2, name="new"))
        gates[1].set()
        await bench.hear_state(f"r{workers}", RouterState.ACTIVE)
        assert kernel.record.count("reconcile r0") == 1, "one router's work runs in sequence"
        for gate in gates:
            gate.set()
        await bench.hear_state("r0", RouterState.ACTIVE, epoch=2)
        assert not any((each.router_id, each.epoch, each.state) == ("r0", 1, "active") for each in bench.said)
    assert kernel.routers[RouterId("r0")].name == "new"


async def test_what_is_done_soon_is_done_alone() -> None:
    kernel = FakeKernel()
    gate = kernel.hold("reconcile first")
    async with agent(kernel, replace(RHYTHM, alone_s=3600.0)) as bench:
        await bench.plan(planned("first"), planned("second"))
        await bench.wait_for("reconcile first")
        alive = len(bench.alive)
        await bench.hear_until(lambda: len(bench.alive) > alive + 3)
        assert "reconcile second" not in kernel.record
        gate.set()
        await bench.hear_state("second", RouterState.ACTIVE)
    assert kernel.record.index("reconciled first") < kernel.record.index("reconcile second")


async def test_a_repair_that_traffic_waits_for_is_begun_beside_what_is_done_soon() -> None:
    kernel = FakeKernel()
    async with agent(kernel, replace(RHYTHM, alone_s=3600.0)) as bench:
        await bench.plan(planned("forwards"))
        await bench.hear_state("forwards", RouterState.ACTIVE)
        gate = kernel.hold("reconcile new")
        await bench.change(planned("new"))
        await bench.wait_for("reconcile new")
        await bench.hints.queue.put(Hint(heard_at=time.monotonic(), router_id=RouterId("forwards")))
        await bench.wait_for("reconciled forwards", count=2)
        assert "reconciled new" not in kernel.record
        gate.set()
        await bench.hear_state("new", RouterState.ACTIVE)


async def test_a_removal_that_takes_long_holds_up_no_repair_that_traffic_waits_for() -> None:
    """Whatever else is to be removed."""
    kernel = FakeKernel(routers=strays(*(f"old{number:03}" for number in range(2 * REMOVED_AT_ONCE))))
    gates = [kernel.hold(f"remove old{number:03}") for number in (0, REMOVED_AT_ONCE)]
    kernel.routers[RouterId("forwards")] = planned("forwards").router
    async with agent(kernel, replace(RHYTHM, alone_s=0.0)) as bench:
        await bench.plan(planned("forwards"), confirmed=False)
        await bench.hear_state("forwards", RouterState.ACTIVE)
        await bench.plan(planned("forwards"))
        await bench.wait_for("remove old000")
        alive = len(bench.alive)
        await bench.hear_until(lambda: len(bench.alive) > alive + 3)
        await bench.hints.queue.put(Hint(heard_at=time.monotonic(), router_id=RouterId("forwards")))
        await bench.wait_for("reconciled forwards", count=2)
        for gate in gates:
            gate.set()
        await bench.hear_state("old000", RouterState.REMOVED, epoch=0)
    assert RouterState.FAILED not in {each.state for each in bench.said}, "the repair waited until a removal gave up"


async def test_changes_follow_on_each_other() -> None:
    kernel = FakeKernel()
    async with agent(kernel) as bench:
        await bench.plan(planned("a"))
        await bench.change(planned("b"))
        await bench.change(planned("c"), removed=("a",))
        await bench.hear_state("c", RouterState.ACTIVE)
        await bench.hear_state("a", RouterState.REMOVED)
        await bench.hear_state("b", RouterState.ACTIVE)
    assert kernel.running() == {"b", "c"}


async def test_a_namespace_deleted_by_hand_comes_back() -> None:
    kernel = FakeKernel()
    async with agent(kernel) as bench:
        await bench.plan(planned("a"))
        await bench.hear_state("a", RouterState.ACTIVE)
        del kernel.routers[RouterId("a")]
        await bench.wait_for("reconciled a", count=2)
        alive = len(bench.alive)
        await bench.hear_until(lambda: len(bench.alive) > alive + 3)
        assert [each.state for each in bench.said] == [RouterState.BUILDING, RouterState.ACTIVE]


async def test_a_hint_is_followed() -> None:
    kernel = FakeKernel()
    kernel.routers = {RouterId("a"): planned("a").router}
    async with agent(kernel) as bench:
        await bench.plan(planned("a"))
        await bench.hear_state("a", RouterState.ACTIVE)
        kernel.routers[RouterId("a")] = Router(id=RouterId("a"), name="drifted")
        await bench.hints.queue.put(Hint(heard_at=time.monotonic(), router_id=RouterId("a")))
        await bench.wait_for("reconciled a", count=2)
    assert kernel.routers[RouterId("a")] == planned("a").router


async def test_a_hint_leads_to_a_look_at_once() -> None:
    """It waits for no audit, no listing, and no other moment."""
    kernel = FakeKernel()
    async with agent(kernel) as bench:
        await bench.plan(planned("a"))
        await bench.hear_state("a", RouterState.ACTIVE)
        await bench.wait_for("sweep but")
        with stopped_clock():
            await bench.hints.queue.put(Hint(heard_at=time.monotonic(), router_id=RouterId("a")))
            await bench.wait_for("reconciled a", count=2)


async def test_audits_find_what_no_hint_told() -> None:
    kernel = FakeKernel()
    async with agent(kernel, Rhythm(audit_period_s=0.05)) as bench:
        await bench.plan(planned("a"))
        await bench.hear_state("a", RouterState.ACTIVE)
        kernel.routers[RouterId("a")] = Router(id=RouterId("a"), name="drifted")
        seen = kernel.record.count("reconciled a")
        await bench.wait_for("reconciled a", count=seen + 2)
        assert kernel.routers[RouterId("a")] == planned("a").router


async def test_it_says_that_it_lives_and_how_long_kernel_work_takes() -> None:
    kernel = FakeKernel()
    gate = kernel.hold("reconcile a")
    async with agent(kernel) as bench:
        await bench.plan(planned("a"))
        await bench.wait_for("reconcile a")
        await bench.hear_until(lambda: len(bench.alive) > 3 and bench.alive[-1].busy_s > 0)
        gate.set()
        await bench.hear_state("a", RouterState.ACTIVE)


async def test_the_end_of_the_sentinel_is_the_end_of_the_agent_and_of_no_router() -> None:
    kernel = FakeKernel()
    async with agent(kernel) as bench:
        await bench.plan(planned("a"), planned("b"))
        await bench.hear_state("a", RouterState.ACTIVE)
        await bench.hear_state("b", RouterState.ACTIVE)
        await bench.link.close()
        async with asyncio.timeout(PATIENCE_S):
            await bench.driver
    assert kernel.running() == {"a", "b"}


async def test_a_job_at_hand_may_end_after_the_sentinel_is_gone_and_then_the_kernel_is_closed() -> None:
    class Closing(FakeKernel):
        built_when_closed: frozenset[RouterId] | None = None

        def close(self) -> None:
            self.built_when_closed = frozenset(self.routers)
            super().close()

    kernel = Closing()
    gate = kernel.hold("reconcile a")
    async with agent(kernel) as bench:
        await bench.plan(planned("a"))
        await bench.wait_for("reconcile a")
        await bench.link.close()
        asyncio.get_running_loop().call_later(0.1, gate.set)  # it would have been closed long before
        async with asyncio.timeout(PATIENCE_S):
            await bench.driver
    assert kernel.routers[RouterId("a")] == planned("a").router
    assert kernel.built_when_closed == {"a"}


async def test_a_new_agent_completes_what_a_killed_one_began() -> None:
    kernel = FakeKernel(routers={RouterId("a"): Router(id=RouterId("a"), name="half-built")})
    async with agent(kernel) as bench:
        await bench.plan(planned("a", name="whole"))
        report = await bench.hear_state("a", RouterState.ACTIVE)
        assert report.times is not None, "the controller still waits for this build"
    assert kernel.routers[RouterId("a")].name == "whole"


async def test_a_listing_that_fails_later_is_no_catastrophe(log_lines: list[str]) -> None:
    class Forgetful(FakeKernel):
        listings = 0

        def running(self) -> frozenset[RouterId]:
            self.listings += 1
            if self.listings == 2:
                raise Unavailable("too many open files")
            self._note("listed")
            return super().running()

    kernel = Forgetful()
    async with agent(kernel) as bench:
        await bench.plan(planned("a"))
        await bench.wait_for("listed", count=3)
    assert any("too many open files" in line for line in log_lines)


@pytest.mark.parametrize("where", ["open", "list", "watch"])
async def test_a_host_that_cannot_do_the_job_says_why(where: str) -> None:
    class Unusable(FakeKernel):
        def running(self) -> frozenset[RouterId]:
            raise Unavailable("no namespaces here")

    def open_hints() -> FakeHints:
        if where == "watch":
            raise Unavailable("no namespaces here")
        return FakeHints()

    def open_kernel() -> FakeKernel:
        if where == "open":
            raise Unavailable("no namespaces here")
        return Unusable() if where == "list" else FakeKernel()

    ours, its = socket.socketpair()
    link = await LocalLink.over(ours, from_agent)
    driver = Driver(await LocalLink.over(its, to_agent), open_kernel, open_hints, RHYTHM)
    with pytest.raises(BaseExceptionGroup) as caught:
        await driver.run()
    assert caught.group_contains(Unavailable, match="no namespaces here")
    heard = []
    while (word := await link.receive()) is not None:
        heard.append(word)
    assert AgentUnable(reason="no namespaces here") in heard
    await link.close()


async def test_a_host_that_may_start_no_threads_is_told_so() -> None:
    ours, its = socket.socketpair()
    link = await LocalLink.over(ours, from_agent)
    kernel = FakeKernel()
    driver = Driver(await LocalLink.over(its, to_agent), lambda: kernel, FakeHints)
    with no_thread_more():
        running = asyncio.create_task(driver.run())
        word = await link.receive()
        while isinstance(word, AgentAlive):
            word = await link.receive()
    assert isinstance(word, AgentUnable)
    assert word.reason.startswith("start the agent's workers: Resource temporarily unavailable: no more threads")
    with pytest.raises(ExceptionGroup):
        await running
    await link.close()


async def test_a_sweep_goes_on_until_nothing_is_left() -> None:
    kernel = FakeKernel(portions=3)
    async with agent(kernel) as bench:
        await bench.plan(planned("r1"))
        await bench.wait_for("sweep but", 3)
        await bench.plan(planned("r1"), planned("r2"))
        await bench.hear_state("r2", RouterState.ACTIVE)
    assert kernel.record.count("sweep but") == 3


async def test_a_host_that_takes_over_builds_nothing_until_that_is_over_but_what_it_opened() -> None:
    kernel = FakeKernel()
    async with agent(kernel) as bench:
        await bench.link.send(TakingOver(is_on=True))
        await bench.plan(planned("r1"), planned("r2"), planned("r3"))
        await bench.link.send(TakingOver(is_on=True, unbuilt=(RouterId("r2"),)))
        await bench.hear_state("r2", RouterState.ACTIVE)
        assert not [line for line in kernel.record if "r1" in line or "r3" in line]
        await bench.link.send(TakingOver(is_on=False))
        await bench.hear_state("r1", RouterState.ACTIVE)
        await bench.hear_state("r3", RouterState.ACTIVE)
