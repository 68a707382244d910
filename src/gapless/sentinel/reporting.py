"""When this host reports, and what. Pure: the agent's words and the link's sessions in, reports out.

The rule: a report is made from levels, the last word on each router. They outlive the agent that spoke them, because
a dead agent changes nothing about its routers; and they outlive the session, because a new controller asks for all.
A full report says "there is nothing else of ours here", so there is none before an agent has looked at the kernel.

The revision in a report is the one that the *agent* had when it last spoke, not the newest one that arrived: only a
report made from a plan without a router proves that the host has let go of it. 0: made from no plan of this session.
What the guard lets pass, and what was taken over, comes from the beat, with a revision of its own.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf

from gapless.model.host import AgentState, Incarnation
from gapless.model.lease import NOBODY
from gapless.model.plan import Burial, Epoch, Forwarding, Revision, RouterReport, RouterState, Takeover
from gapless.model.router import RouterId
from gapless.sentinel.covering import Proofs
from gapless.sentinel.levels import Done, Levels
from gapless.wire.messages import AgentReport, Report

COALESCE_S = 0.005
"""What happens within this time after a change goes into one report."""
ALL_EACH_S = 300.0
"""So often everything is said again, in a report that is due anyway: whatever the controller has missed, or forgotten
because a plan that this host never got took a router away and gave it back, it knows then.
"""


@dataclass(frozen=True, slots=True)
class _GuardPlan:
    revision: Revision
    held: frozenset[RouterId]
    """Routers that this plan takes away, and that the beat has as before."""


@dataclass(slots=True)
class _Session:
    """One session of the control link."""

    interval_s: float
    due_at: float
    revisions: dict[int, Revision] = field(default_factory=dict)
    """The revision that each version of `Desired` stands for, as far as it came in this session."""
    wants_all: bool = False
    all_again_at: float = inf
    unheard: set[RouterId] = field(default_factory=set)
    reports: int = 0
    """Sent so far."""
    guard_plans: dict[int, _GuardPlan] = field(default_factory=dict)
    """What each version of the beat's plan stands for."""
    told_forwarding: Mapping[RouterId, Epoch] | None = None
    tenure: Incarnation = NOBODY
    """Whose takeovers the following are about: each tenure counts its own from 1."""
    told_takeovers: list[tuple[int, int]] = field(default_factory=list)
    """(report, the takeover up to which it named all), both counted from 1."""
    told_done: dict[RouterId, Done] = field(default_factory=dict)
    """What was told last of each router's takeover."""
    heard_takeover: int = 0
    told_copied: Mapping[RouterId, bool] = field(default_factory=dict)
    burials: list[Burial] = field(default_factory=list)


class Reporting:
    """Keeps the levels, and says when a report is due. `now` is monotonic seconds."""

    def __init__(self, coalesce_s: float = COALESCE_S) -> None:
        self._coalesce_s = coalesce_s
        self._agent = AgentState.STARTING
        self._agent_reason = ""
        self._agent_version = 0
        self._routers: dict[RouterId, RouterReport] = {}
        self._is_complete = False
        self._session: _Session | None = None
        self._guard = Levels()
        self._copied: Mapping[RouterId, bool] = {}
        """Of which routers that this host stands by for it has all connections, and of which not; as far as known."""
        self._proofs = Proofs()
        self._owed: dict[RouterId, int] = {}
        """Routers of which the agent's next word is news, if it works from this version or a later one."""
        self._is_stopping = False

    def stop(self, now: float) -> None:
        """This host is about to stop."""
        self._is_stopping = True
        self._hurry(now)

    # --- the agent

    def agent_is(self, state: AgentState, reason: str, now: float) -> None:
        """The agent started, works, or ended."""
        if (state, reason) != (self._agent, self._agent_reason):
            self._agent, self._agent_reason = state, reason
            self._hurry(now)

    def agent_said(self, report: AgentReport, now: float) -> None:
        """The agent reported, from the plan that `Desired` had at version `report.revision`."""
        named = {each.router_id: self._proofs.word(self._with_epoch(each), report.revision) for each in report.routers}
        self._proofs.heard(report.revision)
        owed = {router_id for router_id, version in self._owed.items() if version <= report.revision}
        news = {each for each, said in named.items() if each in owed or not _is_same(self._routers.get(each), said)}
        for router_id in owed & named.keys():
            del self._owed[router_id]
        self._routers = named if report.full else self._routers | named
        self._is_complete |= report.full
        knew_session = self._revision() > 0
        self._agent_version = report.revision
        if self._session is None:
            return
        # With its first word of the session, the agent turns what it said before into words on this session's plan.
        self._session.wants_all |= report.full or (not knew_session and self._revision() > 0)
        self._session.unheard |= news
        if news or self._session.wants_all:
            self._hurry(now)

    def _with_epoch(self, report: RouterReport) -> RouterReport:
        """What an agent found and removed without knowing its epoch; the agent before may have said it."""
        known = self._routers.get(report.router_id)
        return replace(report, epoch=known.epoch) if report.epoch == 0 and known is not None else report

    def regroup(self, routers: Collection[RouterId], version: int) -> None:
        """From this version of `Desired` on, the agent puts these under the guard or takes them from it: what was said
        of that before is not so for sure any more.
        """
        self._proofs.regroup(routers, version)
        self._say(
            replace(said, guarded=False) for each in routers if (said := self._routers.get(each)) and said.guarded
        )

    def depart(self, routers: Iterable[RouterId]) -> None:
        """`Desired` does not have these any more."""
        gone = set(routers)
        self._proofs.depart(gone)
        self._owed = {each: version for each, version in self._owed.items() if each not in gone}

    def arrive(self, routers: Iterable[RouterId], version: int) -> None:
        """`Desired` has these from this version on, and did not. What was said of one before was said when nobody had
        planned it here, and so believed it: what the agent finds of it now is news, if it is the same as well.
        """
        self._owed |= dict.fromkeys(routers, version)

    def kept(self, version: int, now: float) -> None:
        """This version of `Desired` is on the disk."""
        if self._say(self._proofs.kept(version, self._routers)):
            self._hurry(now)

    def _say(self, words: Iterable[RouterReport]) -> bool:
        """Whether there is anything that the controller has not heard."""
        said = {each.router_id: each for each in words}
        self._routers = self._routers | said
        if self._session is not None:
            self._session.unheard |= said.keys()
        return bool(said)

    # --- the guard

    def guard_is(self, levels: Levels, now: float) -> None:
        """What the beat says changed."""
        self._guard = levels
        if self._session is not None and levels.tenure != self._session.tenure:
            self._session.tenure = levels.tenure
            self._session.told_takeovers, self._session.heard_takeover = [], 0
        self._hurry(now)

    def buried(self, burial: Burial, now: float) -> None:
        """This host buried a tenure for the controller of this session."""
        if self._session is not None:
            self._session.burials.append(burial)
            self._hurry(now)

    def guard_planned(self, version: int, revision: Revision, held: Collection[RouterId] = ()) -> None:
        """A plan of this session became `version` of what the beat works from, but for those that are `held` open."""
        if self._session is not None:
            self._session.guard_plans[version] = _GuardPlan(revision, frozenset(held))

    def heard(self, reports: int) -> int:
        """The controller has taken in so many reports of this session: the last takeover that it knows from them."""
        session = self._session
        if session is None:
            return 0
        known = [takeover for report, takeover in session.told_takeovers if report <= reports]
        session.heard_takeover = max([session.heard_takeover, *known])
        session.told_takeovers = [each for each in session.told_takeovers if each[0] > reports]
        return session.heard_takeover

    # --- the connections

    def copied_are(self, copied: Mapping[RouterId, bool], now: float) -> None:
        """What is known of copies changed."""
        self._copied = dict(copied)
        self._hurry(now)

    # --- the control link

    def session_began(self, interval_s: float, now: float) -> None:
        """The controller welcomed this host; the first report is due now."""
        self._session = _Session(interval_s=interval_s, due_at=now, tenure=self._guard.tenure)

    def planned(self, version: int, revision: Revision, now: float) -> None:
        """A plan of this session became `version` of `Desired`."""
        if self._session is None:
            return
        self._session.revisions[version] = revision
        if len(self._session.revisions) == 1:
            self._session.wants_all = True
            self._hurry(now)

    def session_ended(self) -> None:
        """There is nobody to report to."""
        self._session = None

    def next_deadline(self) -> float | None:
        """When the next report is due; None without a session."""
        return None if self._session is None else self._session.due_at

    def on_deadline(self, now: float) -> Report | None:
        """The report that is due, if one is."""
        session = self._session
        if session is None or now < session.due_at:
            return None
        session.due_at = now + session.interval_s
        if is_all_due := now >= session.all_again_at:
            session.wants_all, session.told_forwarding = True, None
        revision = self._revision()
        named = self._routers.keys() if session.wants_all else session.unheard
        full = session.wants_all and self._is_complete
        if full and (is_all_due or session.all_again_at == inf):
            session.all_again_at = now + ALL_EACH_S
        routers = tuple(said for router_id, said in self._routers.items() if router_id in named)
        session.wants_all, session.unheard = False, set()
        session.revisions = {each: known for each, known in session.revisions.items() if each >= self._agent_version}
        if revision > 0 and self._is_complete:
            self._forget_removed(named)
        session.reports += 1
        burials, session.burials = tuple(session.burials), []
        return Report(
            revision=revision,
            agent=self._agent,
            agent_reason=self._agent_reason,
            routers=routers,
            full=full,
            leased=self._guard.leased,
            guard_revision=self._guard_revision(session),
            forwarding=self._forwarding(session),
            takeovers=self._takeovers(session, now),
            buried=burials,
            copied=self._copied_news(session, everything=is_all_due),
            uplink_trouble=self._guard.trouble,
            ways=self._guard.ways,
            is_held=self._guard.tenure != NOBODY,
            reborn=self._guard.reborn,
            is_stopping=self._is_stopping,
            expired=self._guard.expired,
        )

    def _guard_revision(self, session: _Session) -> Revision:
        """That of the plan that is settled. What it takes away may be held open, as long as it is said to be open: of a
        router that is not, the plan's maker would take this for the word that it is closed for good.
        """
        settled = self._guard.settled
        session.guard_plans = {each: known for each, known in session.guard_plans.items() if each >= settled}
        plan = session.guard_plans.get(settled)
        return plan.revision if plan is not None and plan.held <= self._guard.open.keys() else Revision(0)

    def _forwarding(self, session: _Session) -> tuple[Forwarding, ...] | None:
        """All that is open, if that is news in this session."""
        is_open = self._guard.open
        if session.told_forwarding == is_open:
            return None
        session.told_forwarding = dict(is_open)
        released = self._guard.released
        return tuple(
            Forwarding(router_id=router_id, epoch=epoch, is_released=router_id in released)
            for router_id, epoch in is_open.items()
        )

    def _copied_news(self, session: _Session, *, everything: bool) -> dict[RouterId, bool | None]:
        """What this session was not told; or all that is known."""
        told, session.told_copied = session.told_copied, self._copied
        changed = {router_id for router_id, _ in self._copied.items() ^ told.items()}
        changed |= self._copied.keys() if everything else set()
        return {router_id: self._copied.get(router_id) for router_id in changed}

    def _takeovers(self, session: _Session, now: float) -> tuple[Takeover, ...]:
        """Those in force that no plan of this session takes into account, and those of which there is more to tell."""
        is_open, told = self._guard.open, session.told_done
        due = [
            done
            for router_id, done in self._guard.takeovers.items()
            # A plan may have raised the epoch since: it is the same opening.
            if is_open.get(router_id, 0) >= done.takeover.epoch
            and (done.number > session.heard_takeover or told.get(router_id) is not done)
        ]
        if self._guard.told_whole > max([session.heard_takeover, *(number for _, number in session.told_takeovers)]):
            session.told_takeovers.append((session.reports, self._guard.told_whole))
        told.update((done.takeover.router_id, done) for done in due)
        for router_id in told.keys() - self._guard.takeovers.keys():
            del told[router_id]
        return tuple(done.as_of(now) for done in due)

    def unbuilt(self, routers: Collection[RouterId]) -> tuple[RouterId, ...]:
        """Those of them that the agent did not say to be built. One that it has given up may be built all the same."""
        said = self._routers
        built = {each for each in routers if each in said and _is_built(said[each])}
        return tuple(sorted(set(routers) - built))

    def count(self, routers: Collection[RouterId], state: RouterState) -> int:
        """How many of them the agent last said to be so."""
        return sum(each in self._routers and self._routers[each].state is state for each in routers)

    def _revision(self) -> Revision:
        return Revision(0) if self._session is None else self._session.revisions.get(self._agent_version, Revision(0))

    def _forget_removed(self, told: Collection[RouterId]) -> None:
        """From here on, not being named in a full report says the same, and each session begins with one."""
        removed = [each for each in told if each in self._routers and self._routers[each].state is RouterState.REMOVED]
        for router_id in removed:
            del self._routers[router_id]

    def _hurry(self, now: float) -> None:
        if self._session is not None:
            self._session.due_at = min(self._session.due_at, now + self._coalesce_s)


def _is_built(said: RouterReport) -> bool:
    return said.state is RouterState.ACTIVE or (said.state is RouterState.FAILED and said.guarded)


def _is_same(known: RouterReport | None, said: RouterReport) -> bool:
    """An agent that was started anew repeats what is known, without the times of a build that it did not see."""
    return known is not None and replace(known, times=None) == replace(said, times=None)
