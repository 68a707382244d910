"""A host's beat: its lease, its part as an arbiter, its takeovers, and what it has active, as one machine.

Each of these is in a file of its own; here they meet. What a host does, in the order of this file: it renews its lease
(`edge.lease`), is fenced when its kernel refuses that, or to open routers (`edge.refusals`), resigns when it alone has
lost its way out (`edge.uplinks`), says when its guard was away (`edge.unguarded`), goes from a fenced incarnation to
the next (`edge.incarnations`), hears others and answers as an arbiter (`edge.answering`), claims whom it may succeed
(`edge.takeover`), follows its plan, and opens and closes routers (`edge.openings`). What a turn comes to is collected
in `edge.outgoing`.

The rule: whatever is active, and every right, belongs to one incarnation, and to the lease that it holds. When that
lapses, or cannot be renewed any more, the host is fenced: it withdraws everything, takes a higher incarnation and asks
for a lease anew. A sentinel that starts does the same, since the kernel may still hold what an earlier life left there.

The invariants: nothing is renewed before everything of an earlier incarnation is withdrawn; nothing is opened but by
an incarnation that has held its lease.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import assert_never

from gapless.core.edge.answering import Answering
from gapless.core.edge.arbiter import Arbiter
from gapless.core.edge.beatevents import (
    Activated,
    ArbitersBack,
    ArbitersLost,
    BeatEffect,
    BeatEvent,
    Belated,
    BurialAsked,
    ClockJudged,
    Counters,
    Deactivated,
    Emptied,
    Fenced,
    GuardPlan,
    GuardRestored,
    HoldFailed,
    HoldLease,
    LeaseHeld,
    Misheard,
    NeedIncarnation,
    Outlived,
    PanelStale,
    Planned,
    Reborn,
    Received,
    UplinksSeen,
    Withdraw,
    Withdrawn,
)
from gapless.core.edge.incarnations import Incarnations
from gapless.core.edge.lease import Lease
from gapless.core.edge.openings import Openings
from gapless.core.edge.outgoing import Outgoing
from gapless.core.edge.refusals import Refusals
from gapless.core.edge.takeover import Takeover
from gapless.core.edge.unguarded import Unguarded
from gapless.core.edge.uplinks import TELL_INTERVALS, WaysOut
from gapless.errors import InvariantError
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Datagram, DatagramKind, LeaseTiming, Panel, Tenure
from gapless.model.plan import Epoch, Revision
from gapless.model.router import RouterId

_QUESTIONS = (DatagramKind.RENEW, DatagramKind.CLAIM, DatagramKind.ASK)


class Beat:
    """One host, in one life of its sentinel.

    `incarnation` is on the disk already and was never used. `panel` is the last one that this host was told (its floor
    is a promise, so it is on the disk before it is told to anybody); None: it asks and answers nobody until a plan
    brings one. `now` is monotonic seconds and never falls. The shell calls `on_deadline` when `next_deadline()` has
    come, the first time at once: then a `Withdraw` is asked for, and nothing is renewed before it is done.
    """

    def __init__(
        self, me: HostName, incarnation: Incarnation, timing: LeaseTiming, *, now: float, panel: Panel | None = None
    ) -> None:
        self.counters = Counters()
        self.panel: Panel | None = None
        """The one that it follows: to be kept on the disk before it is reported."""
        self._timing = timing
        self._now = now
        self._incarnations = Incarnations(me, incarnation)
        self._out = Outgoing(self._incarnations, timing)
        self._lease = Lease(self._me, timing)
        self._arbiter = Arbiter(timing, now, self.counters)
        self._answering = Answering(self._arbiter, self._out, self.counters)
        self._takeover = Takeover(timing, self.counters)
        self._openings = self._nothing_open()
        self._next_renewal = now
        self._arbiters: tuple[HostName, ...] = ()
        self._granting: frozenset[HostName] = frozenset()
        self._stale_told: set[HostName] = set()
        self._renewals = 0
        self._ways_out = WaysOut(timing.interval_s)
        self._refusals = Refusals(timing)
        self._clock_fault = ""
        """Why this machine's clock measures no lease; "" if it does."""
        self._must_tell = False
        """What was said of the ways out was said once: a datagram may be lost."""
        self._unguarded = Unguarded()
        if panel is not None:
            self._follow(panel)

    # Turns

    def handle(self, event: BeatEvent, now: float) -> list[BeatEffect]:
        """Take in one event."""
        self._begin(now)
        match event:
            case Received():
                self._hear(event.datagram, event.waited_s)
            case Belated():
                if self._me.host in self._arbiters:
                    self._answering.refuse(event.sender, event.highest)
            case Emptied():
                self._openings.open_released()
                if self._answering.is_listening:
                    self._answering.judge(event.at, now)
            case Planned():
                self._plan(event.plan)
            case Withdrawn():
                self._withdrawn()
            case Reborn():
                self._reborn(event.incarnation)
            case Outlived():
                self._outlived(event.up_to)
            case Activated() | Deactivated():
                self._carried_out(event)
            case HoldFailed():
                self._hold_failed(event)
            case BurialAsked():
                self._answering.answer_controller(event, now)
            case UplinksSeen():
                self._uplinks_are(event)
            case ClockJudged():
                self._judge_clock(event.fault)
            case GuardRestored():
                self._unguarded.restored()
                self._own_up()
            case _:
                assert_never(event)
        return self._end()

    def on_deadline(self, now: float) -> list[BeatEffect]:
        """Renew, judge the lease, claim again: whatever is due; and open what was released to this host. Others are
        judged when the socket was emptied.
        """
        self._begin(now)
        self._openings.open_released()
        if self._incarnations.begin():
            self._out.ask(Withdraw(reason="the sentinel starts: what an earlier life left active is over"))
        if now >= self._next_renewal:
            # From the time at which it was due: being late now and then must not make renewals rarer.
            due = self._next_renewal + self._timing.interval_s
            self._next_renewal = due if due > now else now + self._timing.interval_s
            self._answering.begin_interval()
            self._renew()
        self._answering.on_deadline(now)
        return self._end()

    def next_deadline(self) -> float:
        """When to call `on_deadline`, in monotonic seconds."""
        due = min(self._next_renewal, self._takeover.next_deadline(), self._answering.next_deadline())
        until = self._lease.until
        return due if until is None or until >= due or not self._incarnations.is_renewing else until

    @property
    def is_listening(self) -> bool:
        """What is in the socket decides something: the shell reads all of it, and then says `Emptied`."""
        return self._answering.is_listening or self._openings.is_collecting

    def _begin(self, now: float) -> None:
        """The lease is judged first of all: nothing that comes too late may renew it."""
        if now < self._now:
            raise InvariantError(f"time fell from {self._now} to {now}")
        self._now = now
        self._out.begin()
        if self._incarnations.is_renewing and self._lease.is_lapsed(now):
            self._fence("its lease lapsed: no quorum of arbiters granted it in time")

    def _end(self) -> list[BeatEffect]:
        while (datagram := self._out.next_to_itself()) is not None:
            self._hear(datagram, waited_s=0.0)
        if self.panel is not None and self._incarnations.is_renewing and self._takeover.next_deadline() <= self._now:
            self._claim(self.panel)
            return self._end()
        if self._incarnations.is_renewing:
            self._openings.move(self._now)
        return self._out.effects

    # The lease

    @property
    def tenure(self) -> Tenure | None:
        """This host at its incarnation, once that has held a lease and until it is fenced; else None."""
        return self._me if self._incarnations.is_renewing and self._lease.until is not None else None

    @property
    def lease_until(self) -> float | None:
        """When the lease ends, or ended; None: this incarnation never held one."""
        return self._lease.until

    def _renew(self) -> None:
        """Ask every arbiter; also try again what failed, and tell which arbiters were lost."""
        if not self._incarnations.is_renewing or self.panel is None or self._clock_fault:
            return
        if self._refusals.is_resting(self._now):
            return
        seq = self._lease.ask(self._now)
        question = self._out.datagram(DatagramKind.RENEW, self._me, seq=seq)
        for arbiter in self._arbiters:
            self._out.send(arbiter, question)
        self.counters.asked += len(self._arbiters)
        self._openings.begin_interval()
        self._count_arbiters()
        self._renewals += 1
        if self._renewals % TELL_INTERVALS == 0 or self._must_tell:
            self._must_tell = False
            self._tell_whom_it_may_succeed()
        if self._unguarded.take_repeat():
            self._own_up()
        self._resign_if_alone()

    def _count_arbiters(self) -> None:
        granting = frozenset(arbiter for arbiter in self._arbiters if self._lease.ends.get(arbiter, 0.0) > self._now)
        if granting == self._granting:
            return
        if lost := self._granting - granting:
            self._out.tell(ArbitersLost(arbiters=tuple(sorted(lost))))
        if back := granting - self._granting:
            self._out.tell(ArbitersBack(arbiters=tuple(sorted(back))))
        self._granting = granting

    def _hold(self, *, is_first: bool) -> None:
        """The lease lasts longer than it did, or is held for the first time."""
        assert self._lease.until is not None
        self._out.ask(HoldLease(until=self._lease.until))
        if is_first:
            self._refusals.held(self._lease.until, self._now)
            self._out.tell(LeaseHeld(tenure=self._me))
            self._count_arbiters()

    def _hold_failed(self, event: HoldFailed) -> None:
        """The arbiters grant what the kernel does not take: by and by nothing forwards here, and nobody may succeed."""
        if self.tenure is None:
            return
        open_here, others_can = len(self.forwarding), self._ways_out.others_can(self._now)
        if self._refusals.is_unheld(event.ends, self._now, open_here=open_here, others_can=others_can):
            self._give_up(f"the kernel does not take its lease ({event.reason})")

    def _judge_clock(self, fault: str) -> None:
        """A clock that runs too fast or too slow makes no promises: neither as a holder, nor as an arbiter, nor by
        counting others' answers. What this host holds goes on until the end that was promised by the clock as it was.
        """
        if bool(fault) != bool(self._clock_fault):
            self._arbiter.trust(self._now, is_true=not fault)
            self._takeover.forget()
        self._clock_fault = fault

    # Ways out

    def _uplinks_are(self, seen: UplinksSeen) -> None:
        """Whoever counts on this host's uplinks hears at once when they are lost, and when they are back."""
        ways = self._ways_out
        if ways.seen(
            seen.trouble,
            carriers=seen.carriers,
            gateways=seen.gateways,
            unsure=seen.unsure,
            used=seen.used,
            now=self._now,
        ):
            self._tell_whom_it_may_succeed()
            self._must_tell = True

    def _tell_whom_it_may_succeed(self) -> None:
        if self.panel is not None:
            lost = self._ways_out.lost
            for tenure, routers in self._takeover.heir_of().items():
                datagram = self._out.datagram(DatagramKind.HEIR, tenure, seq=routers)
                self._out.send(tenure.host, replace(datagram, lost=lost))

    def _own_up(self) -> None:
        """Whoever may have been misheard, because this host had no guard, can put that right."""
        if self.panel is not None:
            for tenure in self._takeover.awaited():
                word = self._out.datagram(DatagramKind.UNGUARDED, tenure, seq=self._unguarded.number)
                self._out.send(tenure.host, word)

    def _resign_if_alone(self) -> None:
        """Whoever takes everything over has a way out that this host has lost."""
        ways = self._ways_out
        if ways.trouble and self.tenure is not None and ways.is_alone(len(self.forwarding), self._now):
            self._fence(f"it resigns: {ways.trouble}, and its successors have their uplinks")

    # What the controller asks its arbiters about

    @property
    def expired(self) -> tuple[Tenure, ...]:
        """Whose grants by this host, as an arbiter, have been over for a while."""
        return self._arbiter.expired(self._now)

    # One incarnation after another

    @property
    def _me(self) -> Tenure:
        return self._incarnations.me

    @property
    def reborn(self) -> Incarnation:
        """Every lower incarnation of this machine is over, and nothing of it is open; NOBODY before that is so."""
        return self._incarnations.reborn

    def _fence(self, reason: str) -> None:
        """This incarnation is over: nothing of it may stay."""
        if self._lease.until is not None:
            self._out.tell(Fenced(tenure=self._me, reason=reason))
        self._incarnations.end()
        self._openings = self._nothing_open()
        self._takeover.give({})
        self._granting = frozenset()
        self._out.ask(Withdraw(reason=reason))

    def _give_up(self, reason: str) -> None:
        """The kernel refuses the guard: others may have better ones."""
        rest_s = self._refusals.rest(self._now)
        self._fence(f"{reason}; it asks for no lease for {rest_s:g} s")

    def _withdrawn(self) -> None:
        if (after := self._incarnations.withdrawn()) is None:
            self._start_renewing()
        else:
            self._out.ask(NeedIncarnation(after=after))

    def _reborn(self, incarnation: Incarnation) -> None:
        if (after := self._incarnations.bear(incarnation)) is not None:
            self._out.ask(NeedIncarnation(after=after))
            return
        self._lease = Lease(self._me, self._timing)
        self._ways_out.forget_heirs()
        self._start_renewing()

    def _outlived(self, up_to: Incarnation) -> None:
        self._incarnations.rule_out(up_to)
        if self._incarnations.is_renewing and self._me.incarnation <= up_to:
            self._fence(
                f"the controller says that incarnations up to {up_to} are over: another machine had this host's name, "
                "or an operator confirmed that this one was off"
            )

    def _start_renewing(self) -> None:
        self._next_renewal = self._now + self._timing.interval_s
        self._renew()

    # Datagrams

    def _hear(self, datagram: Datagram, waited_s: float) -> None:
        if datagram.lease_s != self._timing.lease_s:
            self.counters.other_timings += 1
        elif datagram.kind in _QUESTIONS:
            self._answering.answer(datagram, self._now)
        elif datagram.kind is DatagramKind.HEIR:
            if datagram.subject == self._me:
                self._ways_out.tell(datagram.sender.host, datagram.seq, datagram.lost, self._now)
        elif datagram.kind is DatagramKind.UNGUARDED:
            if datagram.subject == self._me and self._unguarded.hear(datagram.sender, datagram.seq):
                self._out.tell(Misheard(of=datagram.sender.host))
        elif datagram.kind is DatagramKind.RELEASED:
            self._hear_release(datagram, waited_s)
        elif self.panel is None or datagram.sender.host not in self._arbiters:
            self.counters.strangers += 1
        elif self._clock_fault:
            self.counters.untimed += 1
        elif datagram.kind is DatagramKind.SILENT:
            self._hear_silence(datagram, self.panel)
        elif not self._incarnations.is_renewing or datagram.asker != self._me.incarnation:
            if datagram.kind in (DatagramKind.BURIED, DatagramKind.ALIVE):
                self.counters.late_answers += 1
            else:
                self.counters.late_grants += 1
        else:
            self._hear_answer(datagram, self.panel)

    def _hear_answer(self, datagram: Datagram, panel: Panel) -> None:
        arbiter, subject, seq = datagram.sender.host, datagram.subject, datagram.seq
        match datagram.kind:
            case DatagramKind.GRANT:
                self._granted(arbiter, seq, panel)
            case DatagramKind.REFUSE:
                self._incarnations.rule_out(subject.incarnation)
                if self._lease.refuse(arbiter, panel):
                    self._fence(f"arbiters refuse it: every incarnation up to {subject.incarnation} is over")
            case DatagramKind.STALE:
                if arbiter not in self._stale_told:
                    self._stale_told.add(arbiter)
                    self._out.tell(PanelStale(arbiter=arbiter))
            case DatagramKind.BURIED:
                if self._takeover.bury(arbiter, subject, seq, panel, self._now):
                    self._openings.take_over()
            case DatagramKind.ALIVE:
                self._takeover.deny(arbiter, subject, seq, self._now)

    def _granted(self, arbiter: HostName, seq: int, panel: Panel) -> None:
        is_first = self._lease.until is None
        longer = self._lease.grant(arbiter, seq, panel, self._now)
        if longer is None:
            self.counters.late_grants += 1
            return
        self.counters.granted += 1
        if longer:
            self._hold(is_first=is_first)

    # Takeovers

    def _hear_silence(self, datagram: Datagram, panel: Panel) -> None:
        arbiter, subject = datagram.sender.host, datagram.subject
        for news in self._takeover.hint(arbiter, subject, datagram.silent_for_s, panel, self._now):
            self._out.tell(news)
        for tenure, others in self._takeover.unsure(subject, panel, self._now):
            question = self._out.datagram(DatagramKind.ASK, tenure)
            for each in others:
                self._out.send(each, question)

    def _claim(self, panel: Panel) -> None:
        for tenure, seq in self._takeover.due(panel, self._now):
            question = self._out.datagram(DatagramKind.CLAIM, tenure, seq=seq)
            for arbiter in self._arbiters:
                self._out.send(arbiter, question)

    def _hear_release(self, datagram: Datagram, waited_s: float) -> None:
        """A host that lives has closed a router and hands it to this one."""
        router_id = datagram.router if self.tenure == datagram.subject else None
        by, epoch, closed_for_s = datagram.sender, Epoch(datagram.seq), datagram.silent_for_s
        arrived_at = self._now - waited_s
        if router_id is None or not self._openings.take_released(by, router_id, epoch, arrived_at, closed_for_s):
            self.counters.useless_releases += 1

    # Plans

    def _follow(self, panel: Panel) -> None:
        """Follow a later panel. What was granted and answered before stays so, whoever asks by which panel.

        A lease that is held while the panel goes on by more than one version rests on a quorum that need share no
        arbiter with those that follow (`Panel`). No change in three levels leaves such a lease. A panel that begins
        anew may: where arbiters that an operator confirmed to be off are on again, with the old panel on their disks.
        """
        if not panel.follows(self.panel):
            return
        if self.tenure is not None and self.panel is not None and panel.version > self.panel.version + 1:
            self._fence("the arbiters that granted its lease are not those of the present panel, which began anew")
        self._arbiter.floor = max(panel.floor, self._arbiter.floor or panel.floor)
        self.panel = replace(panel, floor=self._arbiter.floor)
        self._out.panel = panel.version
        self._arbiters = panel.arbiters
        self._stale_told.clear()
        is_first = self._lease.until is None
        if self._incarnations.is_renewing and self._lease.look(panel, self._now):
            self._hold(is_first=is_first)

    def _plan(self, plan: GuardPlan) -> None:
        """Take in a plan, if it is for this incarnation, and that has held its lease."""
        if plan.panel is not None:
            self._follow(plan.panel)
        if self.tenure is None or plan.incarnation != self.tenure.incarnation:
            self.counters.other_plans += 1
            if self.tenure is None:
                self._openings.settle_later(plan.revision)
            return
        self._openings.plan(plan)

    def _is_over(self, tenure: Tenure) -> bool:
        """Whether this host knows that for certain: a quorum has buried it, or its own machine says so."""
        return self._takeover.is_over(tenure) or self._arbiter.has_outlived(tenure)

    # What is open here

    @property
    def forwarding(self) -> Mapping[RouterId, Epoch]:
        """All that is in the kernel's active set or may be: from the decision to open until it is closed."""
        return self._openings.forwarding

    @property
    def released(self) -> Collection[RouterId]:
        """Of those, what was opened because the host before released it."""
        return self._openings.released

    @property
    def takeovers(self) -> int:
        """How many takeovers of this incarnation were decided so far."""
        return self._openings.takeovers

    @property
    def settled(self) -> Revision | None:
        """The last plan of this incarnation that was settled."""
        return self._openings.settled

    def _nothing_open(self) -> Openings:
        return Openings(self._out, self._takeover, self.counters, self._is_over)

    def _carried_out(self, event: Activated | Deactivated) -> None:
        if not self._incarnations.is_renewing:
            return  # An incarnation asked for it that is over; the Withdraw comes after it.
        self._openings.carried_out(event, self._now)
        if isinstance(event, Activated):
            self._judge_opening(event)

    def _judge_opening(self, event: Activated) -> None:
        if not event.reason:
            self._refusals.opened()
        elif event.is_refused and self._refusals.refused(self._now) and not self._openings.is_anything_open:
            self._give_up(f"the kernel does not take the routers that are to be opened ({event.reason})")

    def check(self) -> None:
        """Raise InvariantError if an invariant does not hold."""
        self._arbiter.check(self._now)
        if self.forwarding and self.tenure is None:
            raise InvariantError(f"{self._me} forwards {self.forwarding}, and holds no lease")
        self._openings.check()
