"""One experiment: see that all is well, strike, wait for the traffic, heal, look where every router is.

Whatever goes wrong on the way becomes a problem in the result, with the measurement so far; it does not hide what was
measured.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from gapless.errors import GaplessError
from gapless.lab.api import Item
from gapless.lab.faults import Fault
from gapless.lab.faults.base import MARGIN_S
from gapless.lab.findings import events, expect, result
from gapless.lab.findings.events import Phase
from gapless.lab.findings.expect import Bounds, Gap, Measured
from gapless.lab.findings.result import Patience, Result
from gapless.lab.lab import ASK_A_ROUTER_S, Lab
from gapless.lab.machines.enter import LAB_DIR
from gapless.lab.measuring import probes, survival
from gapless.lab.measuring.connections import Course
from gapless.lab.measuring.probes import Recording
from gapless.lab.measuring.sniffer import Seen
from gapless.lab.measuring.traffic import Traffic
from gapless.lab.waiting import LOOK_AGAIN_S

STEADY_S = 1.0
"""How long everything has to be answered before and after; and how long is measured before the fault."""
BACK_WITHIN_S = 60.0
"""Patience for traffic, beyond the time after which routers move, plus a second a router."""
UNDONE_WITHIN_S = 10.0
"""Patience for healing when the experiment is broken off: whoever waits for that may be about to end the lab."""
RECORDED_WITHIN_S = 10.0
"""Patience for the ends of moves in the controller's records: it hears, and stores, a moment after packets pass."""
MOST_MOVES = 10_000
NO_BOUNDS = Bounds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result, and what a report needs to draw it."""

    result: Result
    recording: Recording
    struck_ns: int
    """CLOCK_MONOTONIC."""
    moves: tuple[Item, ...]
    """The controller's records of the moves since then, oldest first."""


@dataclass(slots=True)
class _Course:
    """What has been found so far."""

    before: Mapping[str, list[str]]
    struck_ns: int = 0
    struck: datetime = field(default_factory=lambda: result.utc(time.time()))
    problems: list[str] = field(default_factory=list)
    seen: Seen | None = None
    connections: Sequence[Course] = ()
    """What became of them."""


async def experiment(lab: Lab, fault: Fault, bounds: Bounds = NO_BOUNDS, hold_s: float = 0.0) -> Outcome:
    """Carry it out on a lab that is built. Raises GaplessError when it cannot even begin.

    `hold_s`: how many seconds a fault lasts that heals, and what comes of any other is looked at; 0: as it says itself.
    """
    try:
        return await _experiment(lab, fault, bounds, hold_s or fault.hold_s(lab.settings.liveness))
    except BaseException as error:
        try:
            async with asyncio.timeout(UNDONE_WITHIN_S):
                await _undo(lab, fault)
        except (GaplessError, TimeoutError) as why:
            error.add_note(f"and the fault goes on: {str(why) or 'there was no time to heal it'}")
        raise
    finally:
        lab.whole_since = result.utc(time.time())


async def _undo(lab: Lab, fault: Fault) -> None:
    """Heal what has been struck and not healed, and end what was begun: nothing, where that has been done."""
    try:
        if fault.heals and fault.is_on:
            await fault.heal(lab)
            fault.is_on = False
    finally:
        await fault.let_go(lab)


async def _experiment(lab: Lab, fault: Fault, bounds: Bounds, hold_s: float) -> Outcome:
    await fault.prepare(lab)
    await lab.standbys_ready()
    lab.watch.start()
    course = _Course(before=await lab.placement())
    async with lab.capture() as capture, lab.traffic() as traffic, lab.talking() as talking:
        _begin(lab, Phase.TRAFFIC, f"{len(traffic.flows)} probes, one each {traffic.interval_ms:g} ms")
        await traffic.all_answered(for_s=STEADY_S, timeout_s=BACK_WITHIN_S)
        if talking.connections and _are_copied(lab):
            await lab.connections_copied(talking.flows)
        await traffic.begin()
        await capture.begin()
        await talking.begin()
        _begin(lab, Phase.STEADY)
        await asyncio.sleep(STEADY_S)
        await _strike_and_heal(lab, fault, traffic, course, hold_s)
        async with _noting(course):
            await _undo(lab, fault)
        async with _noting(course):
            _begin(lab, Phase.CHECK)
            await lab.one_host_each()
        async with _noting(course):
            course.connections = await talking.end(LAB_DIR / "connections")
        async with _noting(course):
            course.seen = await capture.end(LAB_DIR / "seen")
        recording = await traffic.end(LAB_DIR / "recording")
    outcome = await _judged(lab, fault, bounds, course, recording)
    _begin(lab, Phase.DONE)
    return outcome


async def _strike_and_heal(lab: Lab, fault: Fault, traffic: Traffic, course: _Course, hold_s: float) -> None:
    liveness = lab.settings.liveness
    patience_s = BACK_WITHIN_S + liveness.dead_after_s + len(lab.tenants)
    async with _noting(course):
        _begin(lab, Phase.FAULT, fault.describe())
        course.struck_ns, course.struck = time.monotonic_ns(), result.utc(time.time())
        fault.is_on = True
        await fault.strike(lab)
        struck = events.FaultStruck(
            at=time.monotonic(),
            began=course.struck_ns / 1e9,
            name=fault.name,
            description=fault.describe(),
            hosts=fault.names,
        )
        lab.listen(struck)
        if fault.heals:
            await asyncio.sleep(hold_s)
            await fault.heal(lab)
            fault.is_on = False
            lab.listen(events.FaultHealed(at=time.monotonic(), name=fault.name, description=fault.describe()))
            _begin(lab, Phase.HEALED)
            # A harmless fault has to stay harmless for as long as a wrong decision would take to show.
            hold_s = liveness.dead_after_s + MARGIN_S if _is_harmless(lab, fault) else STEADY_S
        await traffic.all_answered(for_s=max(hold_s, STEADY_S), timeout_s=patience_s)
        _begin(lab, Phase.BACK)


@asynccontextmanager
async def _noting(course: _Course) -> AsyncIterator[None]:
    """What fails in the block becomes a problem."""
    try:
        yield
    except GaplessError as error:
        course.problems.append(str(error))


def _are_copied(lab: Lab) -> bool:
    """Whether connections have their state on standbys; a fault strikes when they have."""
    return lab.settings.has_standbys and lab.settings.flow_sync


def _is_harmless(lab: Lab, fault: Fault) -> bool:
    return fault.expects(lab.settings.mode).gap is Gap.NONE


async def _judged(lab: Lab, fault: Fault, bounds: Bounds, course: _Course, recording: Recording) -> Outcome:
    problems = course.problems
    after: Mapping[str, list[str]] = {}
    records: list[Item] = []
    async with _noting(course):
        after = await lab.placement()
        records = await _records(lab, course.struck)
    moves = [move for move in records if result.decided(move) >= course.struck]
    affected = [router for router, hosts in course.before.items() if fault.hurts(router, hosts)]
    moved = result.moved(course.before, after)
    gaps = result.gaps(recording, affected)
    wire = result.wire(course.seen, result.handovers(records), recording.interval_ms)
    known = {tenant.router_id for tenant in lab.tenants}
    survived = survival.survivals(course.connections, affected, synced=_are_copied(lab))
    measured = Measured(
        affected=affected,
        moved=moved,
        recorded=sum(result.is_move(move) and move["router_id"] in known for move in moves),
        answered_within_ms=probes.answered_within_ms(recording.interval_ms) + recording.lateness_ms,
        gap_ms=gaps.max or 0.0,
        bystanders_ms=gaps.bystanders.max or 0.0,
        sent=recording.sent,
        lost=recording.lost,
        double_active_frames=result.double_active_frames(wire),
        overlaps=wire.double_active,
        must_affect=fault.is_aimed and not _is_harmless(lab, fault),
        frames_missed=wire.missed,
        connections=survived if course.connections else None,
    )
    problems += expect.problems(fault.expects(lab.settings.mode), bounds, measured)
    found = Result(
        ok=not problems,
        problems=problems,
        at=course.struck.isoformat(),
        fault=fault.name,
        description=fault.describe(),
        mode=lab.settings.mode.value,
        timing=lab.settings.timing,
        hosts=len(lab.hosts),
        routers=len(lab.tenants),
        affected=len(affected),
        moved=len(moved),
        taken_over_before=result.takeovers(records, lab.whole_since, course.struck),
        gap_ms=gaps,
        double_active_frames=measured.double_active_frames,
        wire=wire,
        probes=result.probes(recording),
        connections=measured.connections,
        liveness=Patience.of(lab.settings.liveness),
        timeline=result.timeline(moves, course.struck),
        versions=await asyncio.to_thread(result.versions),
    )
    return Outcome(
        result=found, recording=recording, struck_ns=course.struck_ns, moves=tuple(sorted(moves, key=result.decided))
    )


async def _records(lab: Lab, struck: datetime) -> list[Item]:
    """The controller's records of moves, when those of the lab's routers since then have come to an end, or as they are
    when patience is over.
    """
    known = {tenant.router_id for tenant in lab.tenants}

    def is_under_way(move: Item) -> bool:
        return move["router_id"] in known and move["outcome"] == "running" and result.decided(move) >= struck

    deadline = time.monotonic() + RECORDED_WITHIN_S
    while True:
        records = await lab.api.failovers(limit=MOST_MOVES)
        if time.monotonic() > deadline or not any(map(is_under_way, records)):
            return records
        await asyncio.sleep(LOOK_AGAIN_S + len(known) * ASK_A_ROUTER_S)


def _begin(lab: Lab, phase: Phase, detail: str = "") -> None:
    lab.listen(events.PhaseBegan(at=time.monotonic(), phase=phase, detail=detail))
