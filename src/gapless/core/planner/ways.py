"""Hosts that are heard and have lost a way out: their routers that use it reach nobody, and leave, if somebody has it.

A host that alone lost its way out resigns by itself, if its heirs can take everything that it has open
(`edge.uplinks`). Here is what is left after that: a host of whose routers some have no standby, or whose heirs lack
another way.

The rule: a router leaves a host that has said for `SETTLED_S` that a way is lost which the router uses, for a host that
has said for as long that it has all of them: a guarded one for a standby that is ready, a classic one for a host that
can take it, as in a drain, a few at a time. Where no standby that is there is known to have them, another host that is
takes a standby's place first. Everything else stays: what does not use that way, what is not to move (failover mode
`off`), what nobody else has a way for. So what all hosts have lost moves nothing; nor do hosts that do
not say how their ways are, neither from them nor to them. Nothing moves back.

While the brake is engaged the controller doubts what it hears, and nothing moves for this either.

The invariant: this is a reason like others to leave a host. Who may be active is the guards' and the ledger's.
"""

from gapless.core.ledger.fleet import STOPPING_AT_ONCE, Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.moves import AssignmentState
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.succession import Right
from gapless.core.planner import readiness
from gapless.core.planner.placement import STANDBYS_AT_ONCE, objection
from gapless.core.planner.rights import Rights
from gapless.core.planner.wishes import Beliefs, Stay, Wish, hindrance, waits_for_its_turn
from gapless.model.host import HostName
from gapless.model.plan import MoveKind
from gapless.model.router import FailoverMode
from gapless.model.way import WayOut

AGAIN_S = 10.0
"""How often a router that should leave, and cannot for the moment, is looked at without any reason."""


def judge(ledger: Ledger) -> None:
    """With each tick: whose word has stood for long enough now."""
    settled = [host for host in ledger.fleet if host.ways.settled(ledger.now)]
    if not settled or not any(host.ways.lost for host in ledger.fleet):
        return
    for host in settled:
        ledger.fleet.changed_standings.add(host.name)
        ledger.looks.at(*host.concerned)
    missed = {way for host in ledger.fleet for way in host.ways.lost}
    there = {way for way in missed if any(host.ways.has_way(way, ledger.now) for host in settled)}
    for host in ledger.fleet:  # Classic routers go to any host, and do not know which.
        if there & host.ways.lost.keys() and host.ways.is_left(ledger.now):
            ledger.looks.at(*host.bound)


def lost(ledger: Ledger, router: RouterRecord, home: Host, beliefs: Beliefs) -> list[WayOut]:
    """Which ways the router lacks on its host, for so long that it should leave; none if it need not."""
    if router.needs.mode is FailoverMode.OFF or not (ways := home.ways.lost_for_long(router.needs, ledger.now)):
        return []
    if _somebody_has_them(ledger, router, ways):  # Else `judge` looks at it as soon as somebody has.
        ledger.looks.later(router.id, ledger.now + AGAIN_S)
    return [] if beliefs.braked else ways


def _somebody_has_them(ledger: Ledger, router: RouterRecord, ways: list[WayOut]) -> bool:
    """Whether any host is known to have all the ways out that the router uses, which lacks these."""
    lacking = ledger.fleet.lacking(router.needs, ways, ledger.now)
    return any(host.name not in lacking for host in ledger.fleet)


def of_guarded(
    ledger: Ledger, rights: Rights, router: RouterRecord, home: Host, ways: list[WayOut], beliefs: Beliefs
) -> Right | Stay | None:
    """What becomes of a guarded router that lacks these: the right of the host that it goes to now, or why it stays.
    None: something was begun that lets it go.
    """
    right, why = _able(ledger, router, ways), has_lost(home, ways)
    if home.absence or (right is None and _has_suitable(ledger, rights, router, ways)):
        return rights.keep(router, home, beliefs)
    if right is None:
        return _choose(ledger, rights, router, home, ways, beliefs)
    turn = "" if router.id in home.drains else waits_for_its_turn(home, why, _pace(home))
    return Stay(reason=turn) if turn else right


def _able(ledger: Ledger, router: RouterRecord, ways: list[WayOut]) -> Right | None:
    """The first who could have it at once, and has its ways out."""
    for right in router.succession.rights:
        host = ledger.fleet.get(right.tenure.host)
        has_them = host is not None and host.ways.has(router.needs.ways, ways, ledger.now)
        if has_them and readiness.first_able(ledger, router, right.tenure.host) is not None:
            return right
    return None


def _has_suitable(ledger: Ledger, rights: Rights, router: RouterRecord, ways: list[WayOut]) -> bool:
    """Whether a standby of it will do as soon as it is ready. One that is missed is not waited for."""
    hosts = [host for right in router.succession.rights if (host := _there(ledger, right)) is not None]
    having = [host for host in hosts if host.ways.has(router.needs.ways, ways, ledger.now)]
    return any(not rights.why_unsuitable(router, host) for host in having)


def _there(ledger: Ledger, right: Right) -> Host | None:
    """The host of a right; None if that is not there any more, as far as is known."""
    host = ledger.fleet.get(right.tenure.host)
    return None if host is None or host.is_dead or host.is_missed else host


def _to_replace(ledger: Ledger, router: RouterRecord) -> Right:
    """Whose place another gets: that of one who is not there, or that of the last."""
    rights = router.succession.rights
    return next((right for right in rights if _there(ledger, right) is None), rights[-1])


def _choose(
    ledger: Ledger, rights: Rights, router: RouterRecord, home: Host, ways: list[WayOut], beliefs: Beliefs
) -> Stay | None:
    """No standby that is there is known to have what its host lacks: one that is becomes the last of them; if they are
    as many as they should be, instead of one.
    """
    if _somebody_has_them(ledger, router, ways) and not ledger.looks.take_turn():
        ledger.looks.wait_for_a_turn(router.id)
        return Stay(reason=f"{has_lost(home, ways)}; a host that has it is looked for when it is its turn")
    if not (hosts := _candidates(ledger, router, home, ways)):
        kept = rights.keep(router, home, beliefs)
        return kept if kept is None else stays(home, ways, kept)
    if (chosen := next((host for host in hosts if len(host.preparing) < STANDBYS_AT_ONCE), None)) is None:
        ledger.looks.wait_for_a_turn(router.id)
        return Stay(reason=f"{has_lost(home, ways)}; hosts that have it build others first")
    if rights.are_full(router):
        return rights.take(router, _to_replace(ledger, router))
    return rights.choose(router, chosen, f"{chosen.name} has the way out that {home.name} has lost")


def _candidates(ledger: Ledger, router: RouterRecord, home: Host, ways: list[WayOut]) -> list[Host]:
    """Hosts that do not stand by for it, could, and have its ways; who carries least comes first."""
    lacking = ledger.fleet.lacking(router.needs, ways, ledger.now)
    having = [host for host in ledger.fleet if host.name not in lacking]
    avoid, right_of = router.hosts.waiting(ledger.now), router.succession.right_of
    others = [host for host in having if host is not home and right_of(host.name) is None]
    able = (host for host in others if not objection(host, router.needs, avoid))
    return sorted(able, key=lambda host: (host.loads, host.name))


def wish(router: RouterRecord, home: Host, ways: list[WayOut], without: frozenset[HostName] = frozenset()) -> Wish:
    """That it should leave. `without`: hosts that are not known to have its ways."""
    what = words(ways)
    return Wish(
        kind=MoveKind.DRAIN,
        reason=f"Router {router.id} leaves {home.name}, which has lost its way out: {what}",
        reason_unmet=f"{home.name} has lost its way out ({what}), and no other host can take it",
        without=without,
        pace=_pace(home),
    )


def _pace(home: Host) -> int:
    """How many routers may be on their way from here at a time."""
    return max(home.pace, STOPPING_AT_ONCE)


def of_classic(ledger: Ledger, router: RouterRecord, stay: Stay, beliefs: Beliefs) -> Wish | Stay:
    """What becomes of a classic router that would stay otherwise."""
    home = ledger.fleet.get(router.host)
    if router.state is not AssignmentState.ACTIVE or home is None:
        return stay
    if not (ways := lost(ledger, router, home, beliefs)):
        return stay
    if why := hindrance(router, home):
        return Stay(reason=f"{has_lost(home, ways)}, but that host {why}, so it stays")
    if not _somebody_has_them(ledger, router, ways):
        return stays(home, ways, stay)
    if turn := waits_for_its_turn(home, has_lost(home, ways), _pace(home)):
        return Stay(reason=turn)
    without = ledger.fleet.lacking(router.needs, ways, ledger.now)
    avoid = without | router.hosts.waiting(ledger.now).keys()
    if all(host is home or host.name in without or objection(host, router.needs, avoid) for host in ledger.fleet):
        return stays(home, ways, stay)
    return wish(router, home, ways, without)


def stays(home: Host, ways: list[WayOut], stay: Stay) -> Stay:
    """It should leave, and nobody is there who has what it lacks."""
    return stay if stay.reason else Stay(reason=f"{has_lost(home, ways)}; no host that could take it now has it")


def has_lost(home: Host, ways: list[WayOut]) -> str:
    """The beginning of a sentence."""
    return f"{home.name} has lost its way out: {words(ways)}"


def words(ways: list[WayOut]) -> str:
    """Some ways out, as people read them."""
    return ", ".join(map(str, ways))
