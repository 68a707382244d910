"""One host's control link after the handshake: its plan goes down by level, its reports come up.

The rule: a plan is never queued. What the host was last sent is kept; when its plan may have changed the session is
woken, and only when the socket has taken the message before does it look at the plan again and send the difference.
So a slow host costs one message of memory, and nobody waits for it; one that takes nothing for `SEND_TIMEOUT_S` is
cut off, and gets a snapshot when it comes back.

The invariant: what leaves is never more than the planner wants on this host at the moment of leaving, and each report
is passed on with the version of the plan that it was made from. So "not in my report" is never taken for "removed"
while a plan with that router is on its way.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from gapless.core.hostplan import EMPTY_PLAN, HostPlan
from gapless.errors import StoreUnavailable
from gapless.model.host import HostName
from gapless.model.plan import Epoch, PlannedRouter, Revision
from gapless.model.router import Router, RouterId
from gapless.observe.log import get_logger
from gapless.wire.messages import Change, FromHost, Report, Snapshot, encode, from_host

SEND_TIMEOUT_S = 20.0
"""How long a host may take nothing of a message before its link is closed."""
STORE_RETRY_S = 1.0
_VERSIONS_KEPT = 1000
"""Of how many revisions that the host has not reported on the version is kept; older ones count as unknown."""


class PlanSource(Protocol):
    """Where a session finds what its host should run."""

    def plan_of(self, host: HostName) -> Mapping[RouterId, Epoch]:
        """What the planner wants on the host at this instant."""

    def plan_version(self, host: HostName) -> int:
        """Which plan that is."""

    async def routers(self, ids: Collection[RouterId]) -> Mapping[RouterId, Router]:
        """The routers as they should be; those that are gone from the store are missing. Raises StoreUnavailable."""

    def plan_sent(self, host: HostName, routers: Iterable[PlannedRouter], sent_s: float) -> None:
        """A message with these routers left for the host at `sent_s` (the loop's time)."""


class Malformed(Exception):
    """A message that no host of this protocol sends; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOver:
    """Why a session ended: one word for the metric, a sentence for the log."""

    cause: str
    reason: str


def decode(raw: bytes) -> FromHost:
    """One message of a host. Raises Malformed, whatever the bytes are."""
    try:
        message: FromHost = from_host.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        # Besides its own errors msgspec raises UnicodeDecodeError, and RecursionError for deep nesting.
        raise Malformed(str(error)) from error
    return message


ReportSink = Callable[[HostName, Report, int, float], Awaitable[None]]
"""Gets each report with the version of the plan that it was made from (0: unknown) and the loop's time of its arrival.
It may wait, and so slow this one host down."""


@dataclass(eq=False, slots=True)
class Session:
    """The control link of one host. `run` ends with the link; `wake` and `end` may be called at any time."""

    host: HostName
    connection: ServerConnection
    source: PlanSource
    on_report: ReportSink
    dead_after_s: float
    """A link on which nothing came for so long leads nowhere: the peer lost power, and no packet will ever say so."""
    send_timeout_s: float = SEND_TIMEOUT_S
    _sent: HostPlan = EMPTY_PLAN
    _versions: dict[Revision, int] = field(default_factory=dict)
    _stale: set[RouterId] = field(default_factory=set)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _over: "asyncio.Future[SessionOver]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def wake(self) -> None:
        """The plan may have changed."""
        self._woken.set()

    def look_at(self, changed: Collection[RouterId]) -> None:
        """These routers should be built otherwise than before; the host may have none of them."""
        # One that is not in the plan now is read when it enters it.
        if stale := self.source.plan_of(self.host).keys() & set(changed):
            self._stale |= stale
            self._woken.set()

    def end(self, cause: str, reason: str) -> None:
        """Close the link from this side."""
        if not self._over.done():
            self._over.set_result(SessionOver(cause=cause, reason=reason))

    async def run(self) -> SessionOver:
        """Serve the link until it ends; returns why it did."""
        tasks = [
            asyncio.create_task(self._read(), name=f"link-{self.host}-read"),
            asyncio.create_task(self._write(), name=f"link-{self.host}-write"),
        ]
        try:
            done, _ = await asyncio.wait([*tasks, self._over], return_when=asyncio.FIRST_COMPLETED)
            return next(iter(done)).result()
        finally:
            self.end("closed", "the session is over")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self) -> SessionOver:
        loop = asyncio.get_running_loop()
        try:
            while True:
                async with asyncio.timeout(self.dead_after_s):
                    raw = await self.connection.recv(decode=False)
                received_s = loop.time()
                report = self._checked(raw)
                await self.on_report(self.host, report, self._versions.get(report.revision, 0), received_s)
        except ConnectionClosed as closed:
            return SessionOver(cause="closed", reason=f"the link closed: {closed}")
        except Malformed as error:
            return SessionOver(cause="malformed", reason=f"a malformed message arrived: {error}")
        except TimeoutError:
            return SessionOver(cause="silent", reason=f"nothing was heard for {self.dead_after_s:g} s")

    def _checked(self, raw: bytes) -> Report:
        report = decode(raw)
        if not isinstance(report, Report):
            raise Malformed("a second hello")
        if report.revision > self._sent.revision:
            raise Malformed(f"a report on revision {report.revision}, but {self._sent.revision} is the newest")
        for passed in [revision for revision in self._versions if revision < report.revision]:
            del self._versions[passed]
        return report

    async def _write(self) -> SessionOver:
        log = get_logger().bind(host=self.host)
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                wanted, version = await self._wanted()
            except StoreUnavailable as error:
                log.warning("The plan cannot be read; the host keeps the one it has", reason=str(error))
                await asyncio.sleep(STORE_RETRY_S)
                self._woken.set()
                continue
            if over := await self._bring_to(wanted, version):
                return over

    async def _wanted(self) -> tuple[dict[RouterId, PlannedRouter], int]:
        """The plan as it should be now, and its version; only what may have changed is read from the store."""
        asked = self._unknown()
        self._stale -= asked
        try:
            read = await self.source.routers(asked) if asked else {}
        except StoreUnavailable:
            self._stale |= asked
            raise
        # The planner may have gone on meanwhile. What it no longer wants here must not leave; what it wants here only
        # now was not read, so it is looked at again.
        wanted = {}
        for router_id, epoch in self.source.plan_of(self.host).items():
            if router_id in asked:
                if router_id in read:
                    wanted[router_id] = PlannedRouter(router=read[router_id], epoch=epoch)
            elif router_id in self._sent.routers:
                wanted[router_id] = self._sent.routers[router_id]
        if self._unknown() - asked:
            self._woken.set()
        return wanted, self.source.plan_version(self.host)

    def _unknown(self) -> set[RouterId]:
        """Routers of the plan that the host does not have, has at another epoch, or has as they were before."""
        return {
            router_id
            for router_id, epoch in self.source.plan_of(self.host).items()
            if router_id in self._stale or (sent := self._sent.routers.get(router_id)) is None or sent.epoch != epoch
        }

    async def _bring_to(self, wanted: Mapping[RouterId, PlannedRouter], version: int) -> SessionOver | None:
        """Send what is missing; returns why the session is over if the host does not take it."""
        plan = HostPlan.of(Revision(self._sent.revision + 1), wanted.values())
        first = self._sent is EMPTY_PLAN
        step = self._sent.difference_to(plan)
        if not first and not step.routers and not step.removed:
            self._versions[self._sent.revision] = version
            return None
        message: Snapshot | Change = (
            Snapshot(revision=plan.revision, routers=tuple(wanted.values()))
            if first
            else Change(revision=plan.revision, routers=step.routers, removed=step.removed)
        )
        # Noted before it is sent: the host's answer may overtake the end of sending.
        self._sent = plan
        self._versions[plan.revision] = version
        while len(self._versions) > _VERSIONS_KEPT:
            del self._versions[next(iter(self._versions))]
        try:
            async with asyncio.timeout(self.send_timeout_s):
                await self.connection.send(encode(message), text=True)
        except ConnectionClosed as closed:
            return SessionOver(cause="closed", reason=f"the link closed: {closed}")
        except TimeoutError:
            return SessionOver(cause="slow", reason=f"the host took nothing for {self.send_timeout_s:g} s")
        self.source.plan_sent(self.host, step.routers, asyncio.get_running_loop().time())
        return None
