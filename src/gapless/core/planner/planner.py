"""The planner: which host each router is bound to. Events in, effects out; time is an argument.

What happens when a host dies, in the order of this file:

1. `on_deadline` judges silence. After agent_down_time a host is silent, after twice that it is dead
   (`ledger.liveness`).
2. The brake is judged: if most hosts look dead at once, nothing moves for silence (`planner.brake`).
3. Every router of the dead host is looked at: what does it wish (`planner.wishes`), and which host can take it
   (`planner.placement`)? The answer is a `Bind` effect: to be stored, with the next epoch.
4. `BindingStored` comes back (`planner.binding`). Only then is it true: the router enters its new host's plan, and
   `PublishPlan` sends it.
5. The new host reports it building, then active (`planner.reports`): the move is confirmed. If it fails, step 3 again.

A living host that loses a router (drain, an operator's move, a failed build) is waited for between 4 and 5: the new
host hears of the router when the old one has reported that nothing of it is left, and that is stored (`ledger.moves`).

That is the classic way. A router of failover mode `standby` is guarded by its host's lease, and another host takes it
over without asking anybody: `planner.standbys` decides who may, and learns what happened from reports. Who the arbiters
of the lease are is led on by `planner.panelsteps`.

The rule: state follows from what is stored and what hosts report, never from what was merely asked for. So a planner
may be lost at any moment, and one that is made from the store goes on where it was.

The invariants (`ledger.invariants`): a router runs by one host's plan at most, that of the host it is bound to, and by
none while another host may still have it; an epoch only grows; what is bound once is bound for ever.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import MappingProxyType

from gapless.core.effects import Effect, EngageBrake, ReleaseBrake, ReportCommonCause, ReportPause
from gapless.core.events import (
    BindingFailed,
    BindingStored,
    BrakeReleased,
    Event,
    HostConnected,
    HostForgotten,
    PanelFailed,
    PanelStored,
    SuccessionFailed,
    SuccessionStored,
    WithdrawalFailed,
    WithdrawalStored,
)
from gapless.core.ledger.burials import Burials
from gapless.core.ledger.fleet import Host
from gapless.core.ledger.invariants import Invariants
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.liveness import Attention, Timing, excused_s
from gapless.core.ledger.looks import STANDBY_TURNS
from gapless.core.ledger.plans import Duty
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.tours import Why
from gapless.core.ledger.views import (
    BrakeStatus,
    DrainStatus,
    HostStatus,
    PanelStatus,
    Prospect,
    RouterStatus,
    StoredHost,
    StoredRouter,
    StoredWord,
)
from gapless.core.planner import agentless, balance, confirmed, drains, leaseless, news, status, ways
from gapless.core.planner.balance import Shift
from gapless.core.planner.binding import Binding
from gapless.core.planner.brake import Brake, Census, at_once_s
from gapless.core.planner.panelsteps import PanelSteps
from gapless.core.planner.placement import Placement, Placing, objection
from gapless.core.planner.standbys import Standbys
from gapless.core.planner.story import Story
from gapless.core.planner.wishes import Beliefs, Stay, Wish, is_gone, waits_for_its_turn, wish_of
from gapless.errors import InvariantError
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DEFAULT, LeaseTiming, Panel
from gapless.model.plan import MoveKind, PanelPlan
from gapless.model.router import FailoverMode, RouterId

LOOK_AGAIN_S = 60.0
"""How often everything that waits for a host is looked at without any reason. Each change that may help such a router
looks at it at once; should one ever be forgotten, the router waits a minute, and not for ever."""

_STORED = (BindingStored, WithdrawalStored, SuccessionStored)
"""Events that change nothing that hosts can do."""
_URGENCY = (MoveKind.RESCHEDULE, MoveKind.RESTART, MoveKind.SCHEDULE, MoveKind.RETRY, MoveKind.MANUAL, MoveKind.DRAIN)
"""Who chooses first where room is short: what runs nowhere before what does."""


class Planner:
    """Decides which host each router is bound to.

    `now` is monotonic seconds and never falls. The shell calls `on_deadline` when `next_deadline()` has come, the first
    time at once. It may hand events in any order and at any later time, and carries effects out in theirs.
    """

    def __init__(
        self,
        timing: Timing,
        *,
        now: float,
        hosts: Iterable[StoredHost] = (),
        routers: Iterable[StoredRouter] = (),
        panel: Panel | None = None,
        lease: LeaseTiming = DEFAULT,
        words: Iterable[StoredWord] = (),
        standbys: int = 1,
    ) -> None:
        """`standbys`: how many hosts may succeed a guarded router's, one after another."""
        self._timing = timing
        self._attention = Attention(timing, now)
        self._ledger = Ledger(now, hosts, routers, Burials(lease), words)
        self._binding = Binding(self._ledger, self._is_gone)
        self._standbys = Standbys(self._ledger, self._binding, standbys)
        self._panel = PanelSteps(self._ledger, panel, lease, timing, deaths=standbys)
        self._agents = agentless.Agents(timing)
        self._brake = Brake(timing.brake_share, linger_s=timing.agent_down_time_s)
        self._invariants = Invariants()
        self._story = Story()
        self._ticks = 0
        self._next_tick = now
        self._next_look_again = now + LOOK_AGAIN_S

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take in one event. Raises InvariantError, with the recent story, for what cannot happen."""
        return self._turn(event, event.id, now, lambda: self._take_in(event))

    def next_deadline(self) -> float | None:
        """When to call `on_deadline`, in monotonic seconds."""
        return self._next_tick

    def on_deadline(self, now: float) -> list[Effect]:
        """Judge silence; try again what waited for time to pass."""
        self._ticks += 1
        self._next_tick = now + self._attention.tick_s
        return self._turn("tick", f"tick-{self._ticks}", now, self._judge_silence)

    def _turn(self, what: Event | str, cause: str, now: float, take_in: Callable[[], None]) -> list[Effect]:
        """One event from beginning to end: what it says, what follows, what is to be sent."""
        ledger = self._ledger
        if now < ledger.now:
            raise InvariantError(f"time fell from {ledger.now} to {now}")
        ledger.now, ledger.cause, ledger.effects = now, cause, []
        self._story.tell(now, what)
        try:
            self._notice_pause()
            take_in()
            self._panel.judge_loss()
            status.tell(ledger, self._timing)
            self._judge_brake()
            if not isinstance(what, _STORED):
                self._standbys.begin_turn()
            self._settle()
            ledger.publish()
        except InvariantError as error:
            raise self._with_story(error) from error
        for effect in ledger.effects:
            self._story.tell(now, effect)
        return ledger.effects

    # 1. Silence

    def _notice_pause(self) -> None:
        """If the controller itself was away, nobody could have been heard: that is held against no host."""
        away_s = self._attention.notice(self._ledger.now)
        if away_s is None:
            return
        excused = excused_s(away_s, self._timing)
        for host in self._ledger.fleet:
            host.silence.excuse(excused, self._ledger.now)
        leaseless.excuse(self._ledger, excused)
        self._agents.excuse(self._ledger, excused)
        for host in self._ledger.fleet:
            host.ways.excuse(self._ledger.now)
        reason = f"the controller did nothing for {away_s:.1f} s: {excused:.1f} s of every host's silence do not count"
        pause = ReportPause(pause_s=away_s, excused_s=excused, reason=reason, cause=self._ledger.cause)
        self._ledger.emit(pause)

    def _judge_silence(self) -> None:
        for host in self._ledger.fleet:
            if host.silence.judge(self._ledger.now, self._timing):
                self._ledger.looks.at(*host.concerned)
                self._ledger.fleet.changed_standings.add(host.name)
        self._ledger.census_due = True
        self._judge_trials()
        self._ledger.looks.at_what_is_due(self._ledger.now)
        if self._ledger.now >= self._next_look_again:
            self._next_look_again = self._ledger.now + LOOK_AGAIN_S
            self._ledger.looks.again()
        self._ledger.looks.next_standby(STANDBY_TURNS)
        leaseless.judge(self._ledger)
        self._agents.judge(self._ledger)
        ways.judge(self._ledger)
        self._panel.judge(braked=self._brake.engaged)

    def _judge_trials(self) -> None:
        """See whether moving what hosts cannot run has helped, and who may follow."""
        ledger = self._ledger
        ledger.looks.at(*ledger.trials.judge(ledger.routers, ledger.now))
        for reason in ledger.trials.take_common(ledger.routers):
            ledger.emit(ReportCommonCause(reason=reason, cause=ledger.cause))

    # 2. The brake

    def _judge_brake(self) -> None:
        """Engage or end the brake. Either way, all that belongs to a host that may be over is looked at again; when it
        ends, so is what waits for one that could not be asked about, and may not be known any more.
        """
        brake, cause = self._brake, self._ledger.cause
        if not self._ledger.census_due:
            return
        self._ledger.census_due = False
        if not brake.judge(self._census(), self._ledger.now):
            return
        if brake.engaged:
            self._ledger.emit(EngageBrake(hosts=brake.hosts, reason=brake.reason, cause=cause))
        else:
            self._ledger.emit(ReleaseBrake(reason=brake.reason, cause=cause))
            self._ledger.looks.brake_ended()
        for host in self._ledger.fleet:
            if host.may_be_over:
                self._ledger.looks.at(*host.concerned)

    def _census(self) -> Census:
        heard = [host.name for host in self._ledger.fleet if host.silence.is_alive]
        down = [host for host in self._ledger.fleet if not host.silence.is_alive and self._is_missed(host)]
        return Census(
            heard=heard,
            down=[host.name for host in down],
            any_dead=any(host.is_dead and self._would_move(host) for host in down),
        )

    def _is_missed(self, host: Host) -> bool:
        """Whether this host was to be heard, so that its silence says something of the controller's sight."""
        if not host.admin_up or host.is_off:
            return False
        fell_silent_lately = host.silence.length_s(self._ledger.now) <= at_once_s(self._timing)
        return fell_silent_lately or host.name in self._brake.hosts or self._would_move(host)

    def _would_move(self, host: Host) -> bool:
        """Whether this host's death would move something."""
        routers = self._ledger.routers
        return host.admin_up and any(routers[each].needs.mode is not FailoverMode.OFF for each in host.bound)

    # 3. Decisions

    def _settle(self) -> None:
        """See what every router wishes about which something changed, and grant it where that is possible."""
        beliefs = self._beliefs()
        self._ledger.fleet.looks_begin()
        wishes: list[tuple[int, RouterRecord, Wish]] = []
        for router in self._ledger.take_unsettled():
            if router.asked is not None:
                continue  # Its answer looks at it again.
            router.damping = None
            answer = self._answer(router, beliefs)
            if isinstance(answer, Stay):
                self._stay(router, answer)
            elif answer is not None:
                wishes.append((_URGENCY.index(answer.kind), router, answer))
        if not wishes:
            return
        wishes.sort(key=lambda wish: wish[0])  # Stable: of one urgency, by id.
        placing = Placing(self._ledger.fleet)
        for _, router, wish in wishes:
            # Those granted before it may have taken what room there was.
            if wish.kind is MoveKind.RETRY or wish.without:
                answer = self._answer(router, beliefs)
                if isinstance(answer, Stay):
                    self._stay(router, answer)
                    continue
            if not router.is_wishing or wish.kind is MoveKind.MANUAL:
                router.is_wishing, router.cause = True, self._ledger.cause
            self._grant(router, wish, placing)

    def _answer(self, router: RouterRecord, beliefs: Beliefs) -> Wish | Stay | None:
        """What the router wishes; None: something is under way for it."""
        if router.is_guarded:
            return self._standbys.settle(router, beliefs)
        if self._binding.settle_withdrawal(router) or self._standbys.cover(router):
            return None
        answer = wish_of(router, self._ledger.fleet.get(router.host), beliefs)
        return ways.of_classic(self._ledger, router, answer, beliefs) if isinstance(answer, Stay) else answer

    def _stay(self, router: RouterRecord, stay: Stay) -> None:
        """Say why it stays; if its host cannot run it, note what will let it go."""
        router.is_wishing, router.damping = False, stay.damping
        if stay.damping is not None:
            self._ledger.looks.later(router.id, stay.damping.until)
        if stay.damping is not None and stay.damping.why is Why.CAUSE:
            self._ledger.trials.waits(router)
        self._ledger.explain(router, stay.reason, waiting=stay.is_stuck)

    def _grant(self, router: RouterRecord, wish: Wish, placing: Placing) -> None:
        """Bind the router anew, or say what it waits for."""
        home = self._ledger.fleet.get(router.host)
        if (retry_at := router.store.waits_until("bind", self._ledger.now)) is not None:
            self._ledger.looks.later(router.id, retry_at)  # `Binding.failed` has said why.
            return
        if wish.kind is MoveKind.DRAIN and home is not None and (turn := waits_for_its_turn(home, pace=wish.pace)):
            self._ledger.explain(router, turn)
            return
        placement = self._choose(router, wish, placing)
        if placement.host is not None:
            self._binding.ask(router, wish, home, placement.host, placement.reason)
            return
        reason = f"{wish.reason_unmet}: {placement.reason}"
        if wish.kind is MoveKind.MANUAL:
            router.wanted, router.refused = None, reason
            self._ledger.looks.at(router.id)  # With the next event or tick: it may wish something else as well.
        self._ledger.explain(router, reason, waiting=wish.kind is not MoveKind.MANUAL)

    def _choose(self, router: RouterRecord, wish: Wish, placing: Placing) -> Placement:
        """Look for a host among those with which the router did not fail lately, then, if it is urgent, among all."""
        avoid = router.hosts.waiting(self._ledger.now)
        if wish.kind is MoveKind.RETRY:
            failed = avoid.keys() | router.tour.reasons.keys() | self._ledger.trials.in_vain(router)
            untried = placing.place(router.needs, leaving=router.host, avoid=failed)
            if untried.host is not None:
                return untried
        if wish.only is not None:
            named = self._ledger.fleet.get(wish.only)
            if named is None:
                return Placement(host=None, reason=f"no host {wish.only} is known")
            placing, avoid = Placing([named]), {}
        placement = placing.place(router.needs, leaving=router.host, avoid=avoid.keys() | wish.without)
        if placement.host is None and wish.is_urgent:
            return placing.place(router.needs, leaving=router.host, is_urgent=True)
        if placement.host is None and avoid:
            self._ledger.looks.later(router.id, min(avoid.values()))
        return placement

    def _is_gone(self, name: HostName) -> bool:
        return is_gone(self._ledger.fleet.get(name), self._beliefs())

    def _beliefs(self) -> Beliefs:
        ledger = self._ledger
        dead_after_s, braked = self._timing.dead_after_s, self._brake.engaged
        return Beliefs(dead_after_s=dead_after_s, braked=braked, now=ledger.now, trials=ledger.trials)

    # What the store answers, and what hosts and operators say

    def _take_in(self, event: Event) -> None:
        if isinstance(event, HostConnected | HostForgotten):
            self._panel.hosts_changed()
        match event:
            case BindingStored():
                self._binding.stored(event)
            case BindingFailed():
                self._binding.failed(event)
            case WithdrawalStored():
                self._binding.withdrawal_stored(event)
            case WithdrawalFailed():
                self._binding.withdrawal_failed(event)
            case SuccessionStored():
                self._standbys.stored(event)
            case SuccessionFailed():
                self._standbys.failed(event)
            case PanelStored():
                self._panel.stored(event)
            case PanelFailed():
                self._panel.failed()
            case BrakeReleased():
                self._brake.release(event.hosts)
                self._ledger.census_due = True
            case _:
                news.take_in(self._ledger, event)

    # What may be looked at

    def plan_of(self, host: HostName) -> Mapping[RouterId, Duty]:
        """What `host` has to do now. A live view: read it, do not keep it. Empty for a host that is not known."""
        known = self._ledger.fleet.get(host)
        return MappingProxyType(known.plan.duties if known is not None else {})

    def plan_version(self, host: HostName) -> int:
        """Grows with each change of `plan_of(host)`; 0 for a host that is not known.

        Read it together with the plan that is sent, and hand it back in each `HostReported` made from that plan.
        """
        known = self._ledger.fleet.get(host)
        return 0 if known is None else known.plan.version

    def heard(self, host: HostName, session: int) -> int:
        """How many reports of this connection `plan_of(host)` takes into account."""
        known = self._ledger.fleet.get(host)
        return known.link.heard if known is not None and known.link.session == session else 0

    def panel_plan(self) -> PanelPlan | None:
        """The arbiters, and where every host that takes part in leases is reached; None before there are any."""
        return self._panel.plan()

    def host_views(self, now: float) -> dict[HostName, HostStatus]:
        """Every host that is known, as of `now`."""
        panel = self._panel.panel
        arbiters = frozenset(panel.arbiters if panel is not None else ())
        return {host.name: status.of_host(host, self._timing, now, arbiters) for host in self._ledger.fleet}

    def router_view(self, router_id: RouterId) -> RouterStatus | None:
        """One router; None: it is not known."""
        router = self._ledger.routers.get(router_id)
        return None if router is None else status.of_router(router, self._ledger.fleet, self._ledger.now)

    def router_views(self) -> dict[RouterId, RouterStatus]:
        """Every router that is known."""
        views = ((router_id, self.router_view(router_id)) for router_id in self._ledger.routers)
        return {router_id: view for router_id, view in views if view is not None}

    def router_states(self) -> Iterator[str]:
        """The state of every router that is known, in one word each; of tens of thousands, views would take long."""
        fleet = self._ledger.fleet
        return (status.word_of(router, fleet.get(router.host)) for router in self._ledger.routers.values())

    def router_healths(self) -> Iterator[str]:
        """How every router is that is known, in one word each."""
        fleet = self._ledger.fleet
        return (status.health_of(router, fleet) for router in self._ledger.routers.values())

    def router_dampings(self) -> Iterator[str]:
        """Of every router that its host cannot run and that is not moved all the same: why, in one word."""
        return (each.damping.why.value for each in self._ledger.routers.values() if each.damping is not None)

    def objections(self, router_id: RouterId) -> dict[HostName, str]:
        """Why each host but its present one cannot take this router now, as a clause that follows the host's name; ""
        for a host that can. Empty for a router that is not known."""
        router = self._ledger.routers.get(router_id)
        if router is None:
            return {}
        avoid = router.hosts.waiting(self._ledger.now)
        others = (host for host in self._ledger.fleet if host.name != router.host)
        return {host.name: objection(host, router.needs, avoid, has_it=router.id in host.standbys) for host in others}

    def drain_view(self, host: HostName) -> DrainStatus | None:
        """How far a host's routers have left it; None for one that is not known."""
        return drains.progress(self._ledger, host)

    def prospects(self, host: HostName) -> list[Prospect]:
        """Where each router of this host would go, were that taken out of service now."""
        return drains.prospects(self._ledger, host)

    def shifts(self) -> list[Shift]:
        """Which routers should go elsewhere, so that all hosts have about as many active."""
        return balance.shifts(self._ledger)

    def waiting_for_a_host(self) -> list[RouterId]:
        """Routers that should be bound anew and for which no host was found when they were last looked at."""
        return self._ledger.waiting_for_a_host()

    def brake_view(self) -> BrakeStatus:
        """The brake as it is now."""
        return BrakeStatus(engaged=self._brake.engaged, hosts=self._brake.hosts, reason=self._brake.reason)

    def panel_view(self, now: float) -> PanelStatus:
        """The arbiters as they are now."""
        return self._panel.view(now)

    def objections_to_off(self, hosts: Collection[HostName], now: float) -> dict[HostName, str]:
        """Why an operator's word that these machines are off is refused, by host; empty if it is taken."""
        return confirmed.objections(self._ledger, self._panel.panel, hosts, self._timing, now)

    def highest(self, host: HostName) -> Incarnation:
        """The highest incarnation of a name that is known of."""
        return confirmed.highest(self._ledger, host)

    def story(self) -> list[str]:
        """The last events and effects, oldest first."""
        return self._story.lines()

    def check(self) -> None:
        """Raise InvariantError, with the recent story, if an invariant does not hold. Costs a look at everything."""
        try:
            self._invariants.check(self._ledger)
        except InvariantError as error:
            raise self._with_story(error) from error

    def check_slice(self, most: int) -> bool:
        """As `check`, of about `most` routers, going on where the last slice ended; true at the end of each tour."""
        try:
            return self._invariants.check_slice(self._ledger, most)
        except InvariantError as error:
            raise self._with_story(error) from error

    def _with_story(self, error: InvariantError) -> InvariantError:
        return InvariantError("\n".join([str(error), "The story so far:", *self._story.lines()]))
