"""One host's control link after the handshake: its plan goes down by level, its reports come up.

The rule: a plan is never queued. What the host was last sent is kept; when its plan may have changed the session is
woken, and only when the socket has taken the message before does it look at the plan again and send the difference.
So a slow host costs one message of memory, and nobody waits for it; one that takes nothing for `SEND_TIMEOUT_S` is
cut off, and gets a snapshot when it comes back.

The invariant: what leaves is never more than the planner wants on this host at the moment of leaving, and each report
is passed on with the version of the plan that it was made from. So "not in my report" is never taken for "removed"
while a plan with that router is on its way. Likewise each plan says how many of the reports the planner had heard, and
a takeover gets an answer even if nothing else is to be said: until then the host repeats it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Protocol

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from gapless.core.hostplan import EMPTY_PLAN, HostPlan
from gapless.core.ledger.plans import Duty
from gapless.errors import StoreUnavailable
from gapless.model.host import HostName
from gapless.model.lease import Tenure
from gapless.model.plan import PanelPlan, PlannedRouter, Revision
from gapless.model.router import Router, RouterId
from gapless.observe.log import get_logger
from gapless.wire.messages import Bury, Change, Malformed, Report, Snapshot, encode, from_host

SEND_TIMEOUT_S = 20.0
"""How long a host may take nothing of a message before its link is closed."""
STORE_RETRY_S = 1.0
_VERSIONS_KEPT = 1000
"""Of how many revisions that the host has not reported on the version is kept; older ones count as unknown."""


class PlanSource(Protocol):
    """Where a session finds what its host should run."""

    def plan_of(self, host: HostName) -> Mapping[RouterId, Duty]:
        """What the planner wants on the host at this instant."""

    def plan_version(self, host: HostName) -> int:
        """Which plan that is."""

    def heard(self, host: HostName, session: int) -> int:
        """How many reports of this session of the host it takes into account."""

    def panel(self) -> PanelPlan | None:
        """The arbiters at this instant; None before there are any."""

    async def routers(self, ids: Collection[RouterId]) -> Mapping[RouterId, Router]:
        """The routers as they should be; those that are gone from the store are missing. Raises StoreUnavailable."""

    def plan_sent(self, host: HostName, routers: Iterable[PlannedRouter], sent_s: float) -> None:
        """A message with these routers left for the host at `sent_s` (the loop's time)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOver:
    """Why a session ended: one word for the metric, a sentence for the log."""

    cause: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A report, and what the session knows of it."""

    report: Report
    plan_version: int
    """Of the plan that the agent worked from; 0: unknown."""
    guard_version: int
    """Of the plan that the guard worked from; 0: unknown."""
    session: int
    number: int
    """Its place among the reports of the session, from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What the host should know, at one instant."""

    routers: dict[RouterId, PlannedRouter]
    version: int
    heard: int
    panel: PanelPlan | None


ReportSink = Callable[[HostName, Heard, float], Awaitable[None]]
"""Gets each report with the loop's time of its arrival. It may wait, and so slow this one host down."""
_NUMBERS = count(1)


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
    number: int = field(default_factory=lambda: next(_NUMBERS))
    """Tells this session from all others of this controller."""
    _sent: HostPlan = EMPTY_PLAN
    _sent_panel: PanelPlan | None = None
    _sent_heard: int = 0
    _reports: int = 0
    _unanswered: int = 0
    """The number of the last report with a takeover in it."""
    _questions: dict[Tenure, Bury] = field(default_factory=dict)
    """The newest on each tenure."""
    _versions: dict[Revision, int] = field(default_factory=dict)
    _stale: set[RouterId] = field(default_factory=set)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _over: "asyncio.Future[SessionOver]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def wake(self) -> None:
        """The plan may have changed."""
        self._woken.set()

    def look_at(self, changed: Set[RouterId]) -> None:
        """These routers should be built otherwise than before; the host may have none of them."""
        # One that is not in the plan now is read when it enters it. Changes are few, plans are long, hosts are many.
        plan, sent = self.source.plan_of(self.host), self._sent.routers
        if len(changed) <= len(plan):
            stale = {router_id for router_id in changed if router_id in plan or router_id in sent}
        else:
            stale = {router_id for known in (plan, sent) for router_id in known if router_id in changed}
        if stale:
            self._stale |= stale
            self._woken.set()

    def ask(self, question: Bury) -> None:
        """Ask the host as an arbiter; a question that did not leave yet is replaced by a newer one on its tenure."""
        self._questions[question.tenure] = question
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
                self._reports += 1
                if report.takeovers:
                    self._unanswered = self._reports
                heard = Heard(
                    report=report,
                    plan_version=self._versions.get(report.revision, 0),
                    guard_version=self._versions.get(report.guard_revision, 0),
                    session=self.number,
                    number=self._reports,
                )
                await self.on_report(self.host, heard, received_s)
        except ConnectionClosed as closed:
            return SessionOver(cause="closed", reason=f"the link closed: {closed}")
        except Malformed as error:
            return SessionOver(cause="malformed", reason=f"a malformed message arrived: {error}")
        except TimeoutError:
            return SessionOver(cause="silent", reason=f"nothing was heard for {self.dead_after_s:g} s")

    def _checked(self, raw: bytes) -> Report:
        report = from_host.decode(raw)
        if not isinstance(report, Report):
            raise Malformed("a second hello")
        newest = max(report.revision, report.guard_revision)
        if newest > self._sent.revision:
            raise Malformed(f"a report on revision {newest}, but {self._sent.revision} is the newest")
        both_have = min(report.revision, report.guard_revision)
        for passed in [revision for revision in self._versions if revision < both_have]:
            del self._versions[passed]
        return report

    async def _write(self) -> SessionOver:
        log = get_logger().bind(host=self.host)
        while True:
            await self._woken.wait()
            self._woken.clear()
            if over := await self._put_questions():
                return over
            try:
                wanted = await self._wanted()
            except StoreUnavailable as error:
                log.warning("The plan cannot be read; the host keeps the one it has", reason=str(error))
                await asyncio.sleep(STORE_RETRY_S)
                self._woken.set()
                continue
            if over := await self._bring_to(wanted):
                return over

    async def _put_questions(self) -> SessionOver | None:
        while self._questions:
            if over := await self._send(self._questions.pop(next(iter(self._questions)))):
                return over
        return None

    async def _wanted(self) -> _Wanted:
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
        for router_id, duty in self.source.plan_of(self.host).items():
            if router_id in asked:
                if router_id in read:
                    wanted[router_id] = PlannedRouter(router=read[router_id], epoch=duty.epoch, guarded=duty.guarded)
            elif (sent := self._sent.routers.get(router_id)) is not None:
                is_same = (sent.epoch, sent.guarded) == (duty.epoch, duty.guarded)
                wanted[router_id] = sent if is_same else replace(sent, epoch=duty.epoch, guarded=duty.guarded)
        if self._unknown() - asked:
            self._woken.set()
        return _Wanted(
            routers=wanted,
            version=self.source.plan_version(self.host),
            heard=self.source.heard(self.host, self.number),
            panel=self.source.panel(),
        )

    def _unknown(self) -> set[RouterId]:
        """Routers of the plan that the host does not have, or has as they were before."""
        return {
            router_id
            for router_id in self.source.plan_of(self.host)
            if router_id in self._stale or router_id not in self._sent.routers
        }

    async def _bring_to(self, wanted: _Wanted) -> SessionOver | None:
        """Send what is missing; returns why the session is over if the host does not take it."""
        plan = HostPlan.of(Revision(self._sent.revision + 1), wanted.routers.values())
        first = self._sent is EMPTY_PLAN
        step = self._sent.difference_to(plan)
        panel = None if wanted.panel == self._sent_panel else wanted.panel
        is_answer = self._sent_heard < self._unanswered <= wanted.heard
        if not (first or step.routers or step.removed or panel is not None or is_answer):
            self._versions[self._sent.revision] = wanted.version
            return None
        routers = tuple(wanted.routers.values())
        message: Snapshot | Change = (
            Snapshot(revision=plan.revision, routers=routers, heard=wanted.heard, panel=wanted.panel)
            if first
            else Change(
                revision=plan.revision,
                routers=step.routers,
                removed=step.removed,
                heard=wanted.heard,
                panel=panel,
            )
        )
        # Noted before it is sent: the host's answer may overtake the end of sending.
        self._sent, self._sent_panel, self._sent_heard = plan, wanted.panel, wanted.heard
        self._versions[plan.revision] = wanted.version
        while len(self._versions) > _VERSIONS_KEPT:
            del self._versions[next(iter(self._versions))]
        if over := await self._send(message):
            return over
        self.source.plan_sent(self.host, step.routers, asyncio.get_running_loop().time())
        return None

    async def _send(self, message: Snapshot | Change | Bury) -> SessionOver | None:
        """Send one message; returns why the session is over if the host does not take it."""
        try:
            async with asyncio.timeout(self.send_timeout_s):
                await self.connection.send(encode(message), text=True)
        except ConnectionClosed as closed:
            return SessionOver(cause="closed", reason=f"the link closed: {closed}")
        except TimeoutError:
            return SessionOver(cause="slow", reason=f"the host took nothing for {self.send_timeout_s:g} s")
        return None
