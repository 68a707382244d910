"""The planner: which host each router is bound to. Events in, effects out; time is an argument.

What happens when a host dies, in the order of this file:

1. `on_deadline` judges silence. After agent_down_time a host is silent, after twice that it is dead (`core.liveness`).
2. The brake is judged: if most hosts look dead at once, nothing moves for silence (`core.brake`).
3. Every router of the dead host is looked at: what does it wish (`core.wishes`), and which host can take it
   (`core.placement`)? The answer is a `Bind` effect: to be stored, with the next epoch.
4. `BindingStored` comes back. Only then is it true: the router enters its new host's plan, and `PublishPlan` sends it.
5. The new host reports it building, then active (`core.reports`): the move is confirmed. If it fails, step 3 again.

A living host that loses a router (drain, an operator's move, a failed build) is waited for between 4 and 5: the new
host hears of the router when the old one has reported that nothing of it is left, and that is stored (`core.moves`).

The rule: state follows from what is stored and what hosts report, never from what was merely asked for. So a planner
may be lost at any moment, and one that is made from the store goes on where it was.

The invariants (`core.invariants`): a router is in one host's plan at most, that of the host it is bound to, and in none
while another host may still have it; an epoch only grows; what is bound once is bound for ever.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

from gapless.core import news, status
from gapless.core.brake import Brake, Census, at_once_s
from gapless.core.effects import (
    Bind,
    Effect,
    EngageBrake,
    ReleaseBrake,
    ReportPause,
    StoreWithdrawal,
)
from gapless.core.events import (
    BindingFailed,
    BindingStored,
    BrakeReleased,
    Event,
    WithdrawalFailed,
    WithdrawalStored,
)
from gapless.core.fleet import Host
from gapless.core.invariants import Invariants
from gapless.core.ledger import Ledger
from gapless.core.liveness import Attention, Timing, excused_s
from gapless.core.moves import AssignmentState
from gapless.core.placement import Placement, Placing, objection
from gapless.core.routers import RouterRecord
from gapless.core.story import Story
from gapless.core.tours import PAUSE_S
from gapless.core.views import BrakeStatus, HostStatus, RouterStatus, StoredHost, StoredRouter
from gapless.core.wishes import Beliefs, Stay, Wish, failing, is_gone, wish_of
from gapless.errors import InvariantError
from gapless.model.host import HostName
from gapless.model.plan import Epoch, MoveKind, MoveStep
from gapless.model.router import FailoverMode, RouterId

DRAINS_AT_ONCE = 4
"""Routers that may be on their way from one host out of service; an agent builds about as many in parallel."""

LOOK_AGAIN_S = 60.0
"""How often everything that waits for a host is looked at without any reason. Each change that may help such a router
looks at it at once; should one ever be forgotten, the router waits a minute, and not for ever."""

_URGENCY = (MoveKind.RESCHEDULE, MoveKind.SCHEDULE, MoveKind.RETRY, MoveKind.MANUAL, MoveKind.DRAIN)
"""Who chooses first where room is short: what runs nowhere before what does."""


_Asked = TypeVar("_Asked", Bind, StoreWithdrawal)


class Planner:
    """Decides which host each router is bound to.

    `now` is monotonic seconds and never falls. The shell calls `on_deadline` when `next_deadline()` has come, the first
    time at once. It may hand events in any order and at any later time, and carries effects out in theirs.
    """

    def __init__(
        self, timing: Timing, *, now: float, hosts: Iterable[StoredHost] = (), routers: Iterable[StoredRouter] = ()
    ) -> None:
        self._timing = timing
        self._attention = Attention(timing, now)
        self._ledger = Ledger(now, hosts, routers)
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
            status.tell(ledger, self._timing)
            self._judge_brake()
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
        reason = f"the controller did nothing for {away_s:.1f} s: {excused:.1f} s of every host's silence do not count"
        pause = ReportPause(pause_s=away_s, excused_s=excused, reason=reason, cause=self._ledger.cause)
        self._ledger.emit(pause)

    def _judge_silence(self) -> None:
        for host in self._ledger.fleet:
            if host.silence.judge(self._ledger.now, self._timing):
                self._ledger.look_at(*host.bound, *host.letting_go)
                self._ledger.fleet.changed_standings.add(host.name)
        self._ledger.census_due = True
        self._ledger.look_at_what_is_due()
        if self._ledger.now >= self._next_look_again:
            self._next_look_again = self._ledger.now + LOOK_AGAIN_S
            self._ledger.look_again()

    # 2. The brake

    def _judge_brake(self) -> None:
        """Engage or end the brake; either way, everything that belongs to a dead host is looked at again."""
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
        for host in self._ledger.fleet:
            if host.is_dead:
                self._ledger.look_at(*host.bound, *host.letting_go)

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
        if not host.admin_up:
            return False
        fell_silent_lately = host.silence.length_s(self._ledger.now) <= at_once_s(self._timing)
        return fell_silent_lately or host.name in self._brake.hosts or self._would_move(host)

    def _would_move(self, host: Host) -> bool:
        """Whether this host's death would move something."""
        routers = self._ledger.routers
        return host.admin_up and any(routers[each].needs.mode is FailoverMode.RESCHEDULE for each in host.bound)

    # 3. Decisions

    def _settle(self) -> None:
        """See what every router wishes about which something changed, and grant it where that is possible."""
        beliefs = Beliefs(dead_after_s=self._timing.dead_after_s, braked=self._brake.engaged)
        wishes: list[tuple[int, RouterRecord, Wish]] = []
        for router in self._ledger.take_unsettled():
            if router.asked is not None:
                continue  # Its answer looks at it again.
            if self._settle_withdrawal(router, beliefs):
                continue
            answer = wish_of(router, self._ledger.fleet.get(router.host), beliefs)
            if isinstance(answer, Stay):
                router.is_wishing = False
                self._ledger.explain(router, answer.reason)
            else:
                wishes.append((_URGENCY.index(answer.kind), router, answer))
        if not wishes:
            return
        wishes.sort(key=lambda wish: wish[0])  # Stable: of one urgency, by id.
        placing = Placing(self._ledger.fleet)
        for _, router, wish in wishes:
            if not router.is_wishing or wish.kind is MoveKind.MANUAL:
                router.is_wishing, router.cause = True, self._ledger.cause
            self._grant(router, wish, placing)

    def _grant(self, router: RouterRecord, wish: Wish, placing: Placing) -> None:
        """Bind the router anew, or say what it waits for."""
        home = self._ledger.fleet.get(router.host)
        if (retry_at := router.store.waits_until("bind", self._ledger.now)) is not None:
            self._ledger.look_later(router, retry_at)  # `_binding_failed` has said why.
            return
        until = router.tour.stays_until(self._ledger.now)
        if wish.kind is MoveKind.RETRY and home is not None and until is not None:
            self._ledger.look_later(router, until)
            same = f"{router.tour.others(home.name)} failed with it for the same reason, so it is not moved on"
            self._ledger.explain(router, f"{failing(router)} and goes on trying; {same} for {PAUSE_S / 60:g} minutes")
            return
        if wish.kind is MoveKind.DRAIN and home is not None and len(home.drains) >= DRAINS_AT_ONCE:
            turn = f"{home.name} is taken out of service; {DRAINS_AT_ONCE} routers leave it at a time"
            self._ledger.explain(router, turn)
            return
        placement = self._choose(router, wish, placing)
        if placement.host is not None:
            self._bind(router, wish, home, placement.host, placement.reason)
            return
        lament = f"{wish.lament}: {placement.reason}"
        if wish.kind is MoveKind.MANUAL:
            router.wanted, router.refused = None, lament
            self._ledger.look_at(router.id)  # With the next event or tick: it may wish something else as well.
        self._ledger.explain(router, lament, waiting=wish.kind is not MoveKind.MANUAL)

    def _choose(self, router: RouterRecord, wish: Wish, placing: Placing) -> Placement:
        """Look for a host among those with which the router did not fail lately, then, if it is urgent, among all."""
        avoid = router.hosts.waiting(self._ledger.now)
        if wish.kind is MoveKind.RETRY:
            failed = avoid.keys() | router.tour.reasons.keys()
            untried = placing.place(router.needs, leaving=router.host, avoid=failed)
            if untried.host is not None:
                return untried
        if wish.only is not None:
            named = self._ledger.fleet.get(wish.only)
            if named is None:
                return Placement(host=None, reason=f"no host {wish.only} is known")
            placing, avoid = Placing([named]), {}
        placement = placing.place(router.needs, leaving=router.host, avoid=avoid)
        if placement.host is None and avoid:
            if wish.is_urgent:
                return placing.place(router.needs, leaving=router.host)
            self._ledger.look_later(router, min(avoid.values()))
        return placement

    def _bind(self, router: RouterRecord, wish: Wish, home: Host | None, target: Host, choice: str) -> None:
        """Ask for the next epoch. Until it is stored, the router stays bound to what it is bound to."""
        bind = Bind(
            router_id=router.id,
            host=target.name,
            epoch=Epoch(router.epoch + 1),
            previous_host=router.host,
            leaving_host=self._leaving(router, target.name),
            kind=wish.kind,
            silent_s=home.silence.length_s(self._ledger.now) if home and wish.kind is MoveKind.RESCHEDULE else None,
            choice=choice,
            reason=wish.reason,
            cause=router.cause,
        )
        router.asked = bind
        target.coming.add(router.id)
        if router.is_withheld:
            self._ledger.withhold(router)
        if wish.kind is MoveKind.DRAIN and home is not None:
            self._ledger.begin_drain(router, home)
        if wish.kind is MoveKind.RETRY:
            self._ledger.explain(router, f"{wish.reason}; {target.name} takes it")
        self._ledger.emit(bind)

    def _leaving(self, router: RouterRecord, target: HostName) -> HostName | None:
        """The host that has to let go before `target` may have the router; None if there is none."""
        last = router.leaving or router.host
        if last is None or last == target or self._is_gone(last):
            return None
        return last

    def _is_gone(self, name: HostName) -> bool:
        beliefs = Beliefs(dead_after_s=self._timing.dead_after_s, braked=self._brake.engaged)
        return is_gone(self._ledger.fleet.get(name), beliefs)

    def _settle_withdrawal(self, router: RouterRecord, beliefs: Beliefs) -> bool:
        """If the host that the router leaves has let go of it, or is gone: have that stored. Whether that is so."""
        if router.state is AssignmentState.WITHDRAWING and is_gone(self._ledger.fleet.get(router.leaving), beliefs):
            self._ledger.let_go(router, confirmed=False)
        if router.state is not AssignmentState.WITHDRAWN:
            return False
        if (retry_at := router.store.waits_until("withdrawal", self._ledger.now)) is not None:
            self._ledger.look_later(router, retry_at)
            return True
        assert router.leaving is not None
        how = "has nothing left of it" if router.let_go_at is not None else "is gone"
        router.asked = StoreWithdrawal(
            router_id=router.id,
            epoch=router.epoch,
            leaving_host=router.leaving,
            reason=f"{router.leaving} {how}",
            cause=router.cause or self._ledger.cause,
        )
        self._ledger.emit(router.asked)
        return True

    # 4. What the store answers

    def _binding_stored(self, event: BindingStored) -> None:
        """Now it is true: the old host's plan loses the router; the new one's gains it, at once or when let go of."""
        if (answered := self._answered(event.router_id, event.epoch, Bind)) is None:
            return
        router, bind = answered
        # A host that was dead when this was decided may be back, and has to let go first after all. That is stored as
        # well before anything follows: a controller that starts now would tell the new host at once.
        leaving = bind.leaving_host or self._leaving(router, bind.host)
        if leaving != bind.leaving_host:
            self._amend(router, replace(bind, leaving_host=leaving))
        else:
            self._bound(router, bind)

    def _amend(self, router: RouterRecord, bind: Bind) -> None:
        """Have the same binding stored once more, with the host that it has to leave first."""
        router.asked, router.is_amending = bind, True
        if target := self._ledger.fleet.get(bind.host):
            target.coming.add(router.id)
        self._ledger.emit(bind)

    def _bound(self, router: RouterRecord, bind: Bind) -> None:
        router.is_amending = False
        if router.open_move and not router.failure_told and router.epoch:
            self._ledger.record(router, MoveStep.SUPERSEDED, reason=f"epoch {bind.epoch} follows: {bind.reason}")
        self._ledger.bind(router, bind.host, bind.epoch, bind.leaving_host)
        if bind.kind is not MoveKind.DRAIN:
            self._ledger.end_drain(router)
        router.store.forget("bind")
        router.choice, router.wanted, router.refused, router.is_wishing = bind.choice, None, "", False

    def _binding_failed(self, event: BindingFailed) -> None:
        """What was bound still is; the decision is made again after a while, from how things are then."""
        if (answered := self._answered(event.router_id, event.epoch, Bind)) is None:
            return
        router, bind = answered
        if router.is_amending:
            self._bound(router, bind)  # What was stored before is: only a restart would not know whom it leaves.
            return
        self._ledger.give_back(router)
        self._ledger.end_drain(router)
        router.store.failed("bind", self._ledger.now)
        self._ledger.explain(router, f"its move to {bind.host} could not be stored ({event.reason}); tried again soon")

    def _withdrawal_stored(self, event: WithdrawalStored) -> None:
        if (answered := self._answered(event.router_id, event.epoch, StoreWithdrawal)) is None:
            return
        router, asked = answered
        if router.let_go_at is not None:
            ago_s = self._ledger.now - router.let_go_at
            self._ledger.record(router, MoveStep.WITHDRAWN, ago_s=ago_s, reason=asked.reason)
        router.store.forget("withdrawal")
        self._ledger.hand_over(router)

    def _withdrawal_failed(self, event: WithdrawalFailed) -> None:
        if (answered := self._answered(event.router_id, event.epoch, StoreWithdrawal)) is None:
            return
        router, asked = answered
        router.store.failed("withdrawal", self._ledger.now)
        what = f"that {asked.leaving_host} has let go of it could not be stored ({event.reason}); tried again soon"
        self._ledger.explain(router, what)

    def _answered(self, router_id: RouterId, epoch: Epoch, kind: type[_Asked]) -> tuple[RouterRecord, _Asked] | None:
        """The router, and what was asked of the store for it, if this is the answer; None if it was deleted since."""
        router = self._ledger.routers.get(router_id)
        if router is None or not isinstance(router.asked, kind) or router.asked.epoch != epoch:
            return None
        self._ledger.end_coming(router)
        asked, router.asked = router.asked, None
        self._ledger.look_at(router_id)
        return router, asked

    # 5. What hosts and operators say

    def _take_in(self, event: Event) -> None:
        match event:
            case BindingStored():
                self._binding_stored(event)
            case BindingFailed():
                self._binding_failed(event)
            case WithdrawalStored():
                self._withdrawal_stored(event)
            case WithdrawalFailed():
                self._withdrawal_failed(event)
            case BrakeReleased():
                self._brake.release()
                self._ledger.census_due = True
            case _:
                news.take_in(self._ledger, event)

    # What may be looked at

    def plan_of(self, host: HostName) -> Mapping[RouterId, Epoch]:
        """What `host` should run now. A live view: read it, do not keep it. Empty for a host that is not known."""
        known = self._ledger.fleet.get(host)
        return MappingProxyType(known.plan if known is not None else {})

    def plan_version(self, host: HostName) -> int:
        """Grows with each change of `plan_of(host)`; 0 for a host that is not known.

        Read it together with the plan that is sent, and hand it back in each `HostReported` made from that plan.
        """
        known = self._ledger.fleet.get(host)
        return 0 if known is None else known.plan_version

    def host_views(self, now: float) -> dict[HostName, HostStatus]:
        """Every host that is known, as of `now`."""
        return {host.name: status.of_host(host, self._timing, now) for host in self._ledger.fleet}

    def router_views(self) -> dict[RouterId, RouterStatus]:
        """Every router that is known."""
        fleet = self._ledger.fleet
        return {each.id: status.of_router(each, fleet.get(each.host)) for each in self._ledger.routers.values()}

    def objections(self, router_id: RouterId) -> dict[HostName, str]:
        """Why each host but its present one cannot take this router now, as a clause that follows the host's name; ""
        for a host that can. Empty for a router that is not known."""
        router = self._ledger.routers.get(router_id)
        if router is None:
            return {}
        avoid = router.hosts.waiting(self._ledger.now)
        others = (host for host in self._ledger.fleet if host.name != router.host)
        return {host.name: objection(host, router.needs, avoid) for host in others}

    def waiting_for_a_host(self) -> list[RouterId]:
        """Routers that should be bound anew and for which no host was found when they were last looked at."""
        return self._ledger.waiting_for_a_host()

    def brake_view(self) -> BrakeStatus:
        """The brake as it is now."""
        return BrakeStatus(engaged=self._brake.engaged, hosts=self._brake.hosts, reason=self._brake.reason)

    def story(self) -> list[str]:
        """The last events and effects, oldest first."""
        return self._story.lines()

    def check(self) -> None:
        """Raise InvariantError, with the recent story, if an invariant does not hold. Costs a look at everything."""
        try:
            self._invariants.check(self._ledger)
        except InvariantError as error:
            raise self._with_story(error) from error

    def _with_story(self, error: InvariantError) -> InvariantError:
        return InvariantError("\n".join([str(error), "The story so far:", *self._story.lines()]))
