"""Why a router should be bound anew, seen from how things are now; or why it stays.

The rule: a wish follows from levels (who is dead, in service, failed), never from the event that was heard last. So it
does not matter in which order things happened, and a controller that starts in the middle comes to the same wish.

    its host is ...                            the router ...
    (never bound)                              goes to its first host                             SCHEDULE
    dead, mode not `off`, brake off            moves at once                                      RESCHEDULE
    dead, brake engaged or mode `off`          stays, and says why
    deleted by an operator                     moves at once                                      DRAIN
    alive, and an operator wants it elsewhere  moves, or the operator is refused with the reason  MANUAL
    alive, and says that it cannot run it      moves if another can, else is retried there        RETRY
                                               (with mode `off` it stays)
        ... and that was so elsewhere, often,  stays, and says why and how long; it leaves all
        or of others that were moved           the same if all leave that host: see
                                               `ledger.tours` and `ledger.trials`
    alive, taken out of service                moves, a few at a time                             DRAIN
    alive, about to stop                       moves if it is guarded: only then it would be dark DRAIN
    alive, and its agent does not work         moves if it is guarded; see `planner.agentless`       DRAIN
    alive, and has lost a way out              moves if another has it; see `planner.ways`        DRAIN

That is how classic routers move. Of a guarded one, the last three say why it should go, and `planner.standbys` how.
"""

from dataclasses import dataclass

from gapless.core.ledger.fleet import Host
from gapless.core.ledger.moves import AssignmentState
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.tours import PAUSE_S, Damping, Why
from gapless.core.ledger.trials import Trials
from gapless.model.host import HostName
from gapless.model.plan import MoveKind
from gapless.model.router import FailoverMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """Nothing to be decided; `reason` says what it waits for, "" if for nothing."""

    reason: str = ""
    is_stuck: bool = False
    """It waits for a host that can take it, or stand by for it, and there is none."""
    damping: Damping | None = None
    """It could move, and that would not help, as far as is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """It should be bound anew."""

    kind: MoveKind
    reason: str
    """The sentence for the log and the record."""
    reason_unmet: str
    """How an explanation begins when no host can take it."""
    only: HostName | None = None
    """The host that an operator named."""
    is_urgent: bool = False
    """It runs nowhere: a host that failed with it a short while ago is better than none."""
    without: frozenset[HostName] = frozenset()
    """Hosts that would not help it."""
    pace: int = 0
    """How many may be on their way from its host at a time; 0: as from any host that is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beliefs:
    """What the planner holds true of the fleet as a whole."""

    dead_after_s: float
    braked: bool
    now: float
    trials: Trials


def is_gone(host: Host | None, beliefs: Beliefs) -> bool:
    """Nothing is to be waited for from this host: it was deleted, or it is dead and the brake does not doubt it."""
    return host is None or (host.is_dead and not is_doubted(host, beliefs))


def is_doubted(host: Host, beliefs: Beliefs) -> bool:
    """It only looks dead, and the brake doubts that. What an operator confirmed to be off is beyond doubt."""
    return host.is_dead and beliefs.braked and not host.is_off


def wish_of(router: RouterRecord, home: Host | None, beliefs: Beliefs) -> Wish | Stay:
    """What should happen to a router; `home` is the host that it is bound to, None if that is not known."""
    if router.state is AssignmentState.UNBOUND:
        return _first(router)
    if router.state is AssignmentState.WITHDRAWN:
        return Stay(reason=f"waits until it is stored that {router.leaving} has let go of it")
    if home is None or is_gone(home, beliefs):
        return homeless(router, home, beliefs)
    if router.state is AssignmentState.WITHDRAWING:
        return Stay(reason=removing(router))
    if home.is_dead:
        return Stay(reason=f"{home.name} looks dead, but the brake is engaged: nothing moves for silence")
    if (wish := moving(router, home, beliefs)) is not None:
        return wish
    if router.state is AssignmentState.FAILED:
        return Stay(reason=f"{failing(router)} and goes on trying; this router's failover mode is off")
    return Stay(reason=router.refused)


def moving(router: RouterRecord, home: Host, beliefs: Beliefs) -> Wish | Stay | None:
    """Why a router should leave a host that is alive, or why it cannot; None: nothing speaks against that host."""
    if router.wanted is not None:
        return _manual(router, home)
    if router.state is not AssignmentState.FAILED or router.needs.mode is FailoverMode.OFF:
        return _leaving(router, home)
    if (damping := _damping_of(router, beliefs)) is None:
        return _retry(router, home)
    return _leaving(router, home) or Stay(reason=_why_damped(router, home, damping, beliefs), damping=damping)


def _leaving(router: RouterRecord, home: Host) -> Wish | Stay | None:
    """Why it should leave its host as all others there; None: they need not."""
    if not home.admin_up or (home.is_stopping and router.is_guarded):
        return _drain(router, home)
    if home.is_to_be_left and router.needs.mode is not FailoverMode.OFF:
        return _leave(router, home)
    return None


def _first(router: RouterRecord) -> Wish:
    if router.wanted is not None and router.wanted.host is not None:
        return _named(router, router.wanted.host)
    return Wish(
        kind=MoveKind.SCHEDULE,
        reason=f"Router {router.id} needs its first host",
        reason_unmet="no host can take it",
        is_urgent=True,
    )


def homeless(router: RouterRecord, home: Host | None, beliefs: Beliefs) -> Wish | Stay:
    """What becomes of a router whose host is dead, or was deleted (None)."""
    if router.needs.mode is FailoverMode.OFF:
        if router.wanted is not None:
            return _named(router, router.wanted.host)
        what = "is dead" if home is not None else "was deleted"
        return Stay(reason=f"{router.host} {what}, and this router's failover mode is off")
    if home is None:
        return Wish(
            kind=MoveKind.DRAIN,
            reason=f"Router {router.id} leaves host {router.host}, which an operator deleted",
            reason_unmet=f"{router.host} was deleted, and no host can take it",
            is_urgent=True,
        )
    # Neutron's sentence, word for word: operators grep for it.
    why = f"the agent did not report to the server in the last {beliefs.dead_after_s:g} seconds."
    if home.is_off:
        why = f"an operator confirmed that {home.name} is off."
    return Wish(
        kind=MoveKind.RESCHEDULE,
        reason=f"Rescheduling router {router.id} from agent {home.facts.instance} because {why}",
        reason_unmet=f"{home.name} is dead, and no other host can take it",
        is_urgent=True,
    )


def _named(router: RouterRecord, host: HostName | None) -> Wish:
    where = f"to {host}" if host is not None else f"away from {router.host}"
    return Wish(
        kind=MoveKind.MANUAL,
        reason=f"An operator asked to move router {router.id} {where}",
        reason_unmet=f"an operator asked to move it {where}; refused, since no host can take it",
        only=host,
        is_urgent=router.state is AssignmentState.UNBOUND,
    )


def _manual(router: RouterRecord, home: Host) -> Wish | Stay:
    assert router.wanted is not None
    wish = _named(router, router.wanted.host)
    return _unless_stuck(wish, router, home)


def _retry(router: RouterRecord, home: Host) -> Wish | Stay:
    wish = Wish(
        kind=MoveKind.RETRY,
        reason=f"Router {router.id} leaves {home.name}, which cannot run it: {router.fault or 'it gives no reason'}",
        reason_unmet=f"{failing(router)} and goes on trying; no other host can take it",
    )
    return _unless_stuck(wish, router, home)


def failing(router: RouterRecord) -> str:
    """How an explanation begins when its host cannot run it."""
    return f"{router.host} cannot run it ({router.fault or 'it gives no reason'})"


def removing(router: RouterRecord) -> str:
    """What a router waits for that is to be removed on the host that it leaves."""
    so_far = f"; so far it says: {router.why_not_removed}" if router.why_not_removed else ""
    return f"waits until {router.leaving} says that nothing of it is left there{so_far}"


def _damping_of(router: RouterRecord, beliefs: Beliefs) -> Damping | None:
    """Why a router that failed should not leave yet; None: it should."""
    if (damping := router.tour.damping(beliefs.now)) is not None:
        return damping
    until = beliefs.trials.waits_until(router)
    return None if until is None else Damping(Why.CAUSE, until)


def _why_damped(router: RouterRecord, home: Host, damping: Damping, beliefs: Beliefs) -> str:
    """The sentence for it. It stays the same while the damping lasts."""
    match damping.why:
        case Why.REASON:
            others = " and ".join(router.tour.others(home.name))
            what = f"{others} failed with it for the same reason, so it is not moved on for {PAUSE_S / 60:g} minutes"
        case Why.MOVES:
            what = (
                "it was moved again and again for that, so it is not moved on within "
                f"{router.tour.wait_s / 60:g} minutes of the last time"
            )
        case Why.CAUSE:
            what = (
                "others were moved for the same reason, and it is not known whether that helps; it follows when one "
                f"of them is well elsewhere, or {beliefs.trials.pause_of(router) / 60:g} minutes after the last"
            )
    return f"{failing(router)} and goes on trying; {what}"


def waits_for_its_turn(home: Host, why: str = "", pace: int = 0) -> str:
    """Why a router may not leave a host yet that is left (for a reason of its own: `why`, a sentence); "" if it may.
    `pace`: how many leave it at a time; 0: as many as leave it otherwise.
    """
    at_once = pace or home.pace
    if len(home.drains) < at_once:
        return ""
    are = "router leaves" if at_once == 1 else "routers leave"
    return f"{why or f'{home.name} {why_left(home)}'}; {at_once} {are} it at a time"


def _drain(router: RouterRecord, home: Host) -> Wish | Stay:
    wish = Wish(
        kind=MoveKind.DRAIN,
        reason=f"Router {router.id} leaves {home.name}, which {home.unavailing}",
        reason_unmet=f"{home.name} {home.unavailing}, but no other host can take it",
    )
    return _unless_stuck(wish, router, home)


def _leave(router: RouterRecord, home: Host) -> Wish | Stay:
    if not router.is_guarded:
        return Stay(reason=f"{home.name} {why_left(home)}; only an agent could remove it there, so it stays")
    wish = Wish(
        kind=MoveKind.DRAIN,
        reason=f"Router {router.id} leaves {home.name}, whose agent does not work: {agent_trouble(home)}",
        reason_unmet=f"{home.name} {why_left(home)}, but no other host can take it",
    )
    return _unless_stuck(wish, router, home)


def why_left(home: Host) -> str:
    """Why routers leave a host that is alive, a few at a time, as a clause; "" if they need not."""
    return home.unavailing or ("has no agent that works" if home.is_to_be_left else "")


def agent_trouble(host: Host) -> str:
    """Why its agent does not work, in its sentinel's words."""
    return host.agent.trouble or "it gives no reason"


def hindrance(router: RouterRecord, home: Host) -> str:
    """Why a router cannot leave a host now, as a clause; "" if it can. That host has to do something for it: its guard
    to close a guarded router, its agent to remove a classic one.
    """
    return home.absence if router.is_guarded else home.inability


def _unless_stuck(wish: Wish, router: RouterRecord, home: Host) -> Wish | Stay:
    """As long as it cannot leave, it had better stay where it runs."""
    why = hindrance(router, home)
    return Stay(reason=f"it should leave {home.name}, but that host {why}, so it stays") if why else wish
