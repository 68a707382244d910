"""What is done to a controller and its fleet, and what is measured of it."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fleet_hosts import Fleet
from fleet_server import LOOK_S, Server
from fleet_store import Place
from gapless.errors import Unavailable
from gapless.model.host import HostName
from gapless.model.router import FailoverMode, RouterId

RECORDED_WITHIN_MS = 1000.0
"""The goal of a host's death: all its takeovers are in the database."""
DONE_WITHIN_S = 600.0
LOOK_AT_ALL_S = 0.5
"""Between two looks that cost something themselves."""
SETTLES_S = 3.0
"""After a look at all routers, which the controller is busy with."""
LOOKS_AFTER_S = 2.0
"""After a death; by then what is counted in milliseconds is over, unless it takes long."""
CLAIMED_BEFORE_S = 1.0
"""A takeover is decided some milliseconds before it is carried out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """From the start of the process, in seconds."""

    listens_s: float
    planned_s: float
    """The last host had its plan."""
    ready_s: float
    """Every router was seen active, and with a standby that is ready where it should have one."""
    used_s: float
    """Processor time until then."""
    rss_mib: float
    kept: int
    """Routers that have the standby that they had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """While nothing happens."""

    seconds: float
    percent: float
    """Of one core."""
    rss_mib: float
    decide_mean_ms: float
    decide_most_ms: float | None
    """A bound that all decisions kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """Of one host, or of a zone's; of the move that took longest.

    Milliseconds, in mode reschedule from the planner's decision on each move. In mode standby from when the power went:
    made-up successors have taken over in that moment, so what a takeover itself takes (160 ms, as they tell it) is no
    part of any figure, and what is: until a host says it, until that is read, and all that follows. Wall clock: the
    machine has one for the controller and for the hosts.
    """

    hosts: int
    routers: int
    """That were active there."""
    told_ms: float | None
    """The last successor's report of it was written: until then it is the benchmark that takes time, not the
    controller. None: nobody takes over."""
    stored_ms: float
    """Its new binding was in the database."""
    planned_ms: float
    """The plan with it had left; of takeovers: the plan that says that they were heard had arrived."""
    confirmed_ms: float
    """It was heard to be active."""
    protected_ms: float | None
    """Every router that had lost host or standby had a standby again, by its host's plan."""
    recorded_s: float
    """Processor time until every record was whole, less what rest would have cost meanwhile;"""
    renewed_s: float | None
    """and the same until all were protected."""
    decide_most_ms: float | None


@dataclass(slots=True, kw_only=True)
class Run:
    """One fleet in one mode."""

    hosts: int
    routers: int
    mode: FailoverMode
    fill_s: float = 0.0
    database_mib: float = 0.0
    start: Start | None = None
    restart: Start | None = None
    rest: Rest | None = None
    host: Death | None = None
    zone: Death | None = None
    rss_most_mib: float = 0.0
    loads: list[float] = field(default_factory=list)
    """Of the machine (averages over a minute), before and after: made-up hosts, controller and whatever else ran."""
    problems: list[str] = field(default_factory=list)

    @property
    def is_guarded(self) -> bool:
        """Its routers have standbys."""
        return self.mode is FailoverMode.STANDBY

    @property
    def misses(self) -> bool:
        """Its host's death was recorded later than is the goal of takeovers."""
        return self.is_guarded and self.host is not None and self.host.stored_ms > RECORDED_WITHIN_MS


class Trial:
    """A controller and its fleet, and what is done to them."""

    def __init__(
        self,
        run: Run,
        server: Server,
        fleet: Fleet,
        places: Sequence[Place],
    ) -> None:
        self._run = run
        self._server = server
        self._fleet = fleet
        self._standbys = {each.router_id: each.standby for each in places}

    async def start(self, what: str) -> Start:
        """From the start of the process until everything is ready."""
        began, seen = time.monotonic(), self._fleet.seen
        await self._server.listens()
        listens_s = time.monotonic() - began
        await self._when("every host has its plan", lambda: len(seen.planned) == self._run.hosts)
        planned_s = time.monotonic() - began
        await self._ready()
        start = Start(
            listens_s=listens_s,
            planned_s=planned_s,
            ready_s=time.monotonic() - began,
            used_s=self._server.used_s(),
            rss_mib=self._server.memory_mib()[0],
            kept=sum(seen.successors.get(router_id) == host for router_id, host in self._standbys.items()),
        )
        say(f"{what}: {start}")
        if self._run.is_guarded and start.kept != self._run.routers:
            self._run.problems.append(f"{what}: {self._run.routers - start.kept} routers got another standby")
        return start

    async def _ready(self) -> None:
        """Return once the controller says of every router that it is active, and its standby ready."""
        until = time.monotonic() + DONE_WITHIN_S
        while time.monotonic() < until:
            if await self._server.active() < self._run.routers:
                await asyncio.sleep(LOOK_AT_ALL_S)
                continue
            routers = (await self._server.ask("routers"))["routers"]
            if all(each["state"] == "active" for each in routers) and (
                not self._run.is_guarded or all(each["standby_state"] == "ready" for each in routers)
            ):
                return
            await asyncio.sleep(LOOK_AT_ALL_S)
        raise Unavailable(f"not every router is active and has a standby after {DONE_WITHIN_S:.0f} s")

    async def rest(self, seconds: float) -> Rest:
        """What it costs while nothing happens, and what was asked of it before is over."""
        await asyncio.sleep(SETTLES_S)
        before, used_before, began = await self._server.decisions(), self._server.used_s(), time.monotonic()
        await asyncio.sleep(seconds)
        used, lasted = self._server.used_s() - used_before, time.monotonic() - began
        decisions = (await self._server.decisions()).since(before)
        rest = Rest(
            seconds=lasted,
            percent=100 * used / lasted,
            rss_mib=self._server.memory_mib()[0],
            decide_mean_ms=1000 * decisions.sum_s / max(decisions.count, 1),
            decide_most_ms=decisions.within_ms(1.0),
        )
        say(f"at rest: {rest}")
        return rest

    async def death(self, what: str, names: Sequence[HostName]) -> Death:
        """These lose power at once."""
        seen, server = self._fleet.seen, self._server
        struck = {router_id for router_id, host in seen.active.items() if host in names}
        is_guarded, before, spent_s = self._run.is_guarded, await server.decisions(), self._meter()
        at = self._fleet.lose_power(names)
        if not is_guarded:
            await self._decided(at)
        planned, (_, recorded_s), (protected, renewed_s) = await asyncio.gather(
            self._planned(struck),
            _and_then(self._recorded(names), spent_s),
            _and_then(self._protected(), spent_s) if is_guarded else _never(),
        )
        lasted = await asyncio.to_thread(_lasted, server.database, at, is_guarded=is_guarded)
        death = Death(
            hosts=len(names),
            routers=len(struck),
            told_ms=1000 * (seen.said_at - at) if is_guarded else None,
            stored_ms=lasted.stored_ms,
            planned_ms=1000 * (planned - at) if is_guarded else lasted.sent_ms,
            confirmed_ms=lasted.confirmed_ms,
            protected_ms=None if protected is None else 1000 * (protected - at),
            recorded_s=recorded_s,
            renewed_s=renewed_s,
            decide_most_ms=(await server.decisions()).since(before).within_ms(1.0),
        )
        say(f"{what}: {death}")
        return death

    def _meter(self) -> Callable[[], float]:
        """Tells the controller's processor time from now on, less what rest, as it was measured, would have cost."""
        began, used_before = time.monotonic(), self._server.used_s()
        share = 0.0 if self._run.rest is None else self._run.rest.percent / 100

        def spent_s() -> float:
            return self._server.used_s() - used_before - share * (time.monotonic() - began)

        return spent_s

    async def _decided(self, at: float) -> None:
        """Return once the planner has decided on a move. Raises Unavailable if the brake holds them back."""
        until = time.monotonic() + DONE_WITHIN_S
        while time.monotonic() < until:
            if await asyncio.to_thread(_has_decided, self._server.database, at):
                return
            if (brake := (await self._server.ask("brake"))["brake"])["engaged"]:
                raise Unavailable(f"the brake is engaged: {brake['reason']}")
            await asyncio.sleep(LOOK_AT_ALL_S)
        raise Unavailable("the host is not found dead")

    async def _planned(self, struck: Iterable[RouterId]) -> float:
        """When the last host was told what it has now; also that its takeovers were heard."""
        seen, living = self._fleet.seen, self._fleet.living

        def is_planned() -> bool:
            return seen.unanswered == 0 and all(seen.active.get(router_id) in living for router_id in struck)

        return await self._when("every plan has left", is_planned)

    async def _recorded(self, names: Sequence[HostName]) -> float:
        """When every record was whole. Beside the loop, which made-up hosts need, and never while they say most."""
        await asyncio.sleep(LOOKS_AFTER_S)
        until = time.monotonic() + DONE_WITHIN_S
        while await asyncio.to_thread(_unfinished, self._server.database, names):
            self._server.check()
            if time.monotonic() > until:
                raise Unavailable(f"not so after {DONE_WITHIN_S:.0f} s: every record is whole")
            await asyncio.sleep(LOOK_AT_ALL_S)
        return time.time()

    async def _protected(self) -> float:
        """When the last router was given a standby that has power."""
        seen, living = self._fleet.seen, self._fleet.living

        def are_protected() -> bool:
            return len(seen.successors) == self._run.routers and living.issuperset(seen.successors.values())

        return await self._when("every router has a standby", are_protected)

    async def _when(self, what: str, holds: Callable[[], bool]) -> float:
        """The wall clock's time at which it came true. Raises Unavailable if it does not."""
        until = time.monotonic() + DONE_WITHIN_S
        while not holds():
            self._server.check()
            if time.monotonic() > until:
                raise Unavailable(f"not so after {DONE_WITHIN_S:.0f} s: {what}")
            await asyncio.sleep(LOOK_S)
        return time.time()


async def _and_then(reached: Awaitable[float], spent_s: Callable[[], float]) -> tuple[float, float]:
    """When it was reached, and what had been spent by then."""
    at = await reached
    return at, spent_s()


async def _never() -> tuple[None, None]:
    return None, None


def say(what: str) -> None:
    """To whoever waits."""
    print(f"  {what}", flush=True)


# What the database has, seen from another process


def _looked_up(database: Path, query: str, *values: object) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(query, values).fetchall()


def _unfinished(database: Path, names: Sequence[HostName]) -> int:
    """Routers that are bound to one of these hosts, or whose move elsewhere is not confirmed."""
    asked = ", ".join("?" * len(names))
    query = (
        "SELECT count(*) FROM moves JOIN bindings USING (router_id) "
        f"WHERE moves.epoch = bindings.epoch AND (moves.confirmed_at IS NULL OR bindings.host IN ({asked}))"
    )
    ((count,),) = _looked_up(database, query, *names)
    assert isinstance(count, int)
    return count


def _has_decided(database: Path, at: float) -> bool:
    """Whether a move was decided after that."""
    ((count,),) = _looked_up(database, "SELECT count(*) FROM moves WHERE decided_at > ?", _moment(at))
    return bool(count)


@dataclass(frozen=True, slots=True)
class _Lasted:
    """The longest, of many moves."""

    stored_ms: float
    sent_ms: float
    confirmed_ms: float


def _lasted(database: Path, at: float, *, is_guarded: bool) -> _Lasted:
    """Of each move since then: from the planner's decision, or, of takeovers, from then.

    When a takeover was decided the controller knows by the receipt of a report, and not how long that was on its way.
    """
    query = "SELECT decided_at, bound_at, coalesce(sent_at, bound_at), confirmed_at FROM moves WHERE decided_at > ?"
    since = _moment(at - CLAIMED_BEFORE_S if is_guarded else at)
    rows = [[datetime.fromisoformat(str(each)) for each in row] for row in _looked_up(database, query, since)]
    began = datetime.fromisoformat(_moment(at))
    spans = [
        [(each - (began if is_guarded else decided)) / timedelta(milliseconds=1) for each in steps]
        for decided, *steps in rows
    ]
    return _Lasted(*(max(span) for span in zip(*spans, strict=True)))


def _moment(at: float) -> str:
    """As the database writes it."""
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None).isoformat(" ")
