"""An operator's word that a machine is off: what it does, and when it is not taken.

Silence of any length ends no tenure, and the arbiters, who could, may be gone themselves. Then somebody has to look:
the way of Pacemaker's `stonith confirm`. Whoever confirms vouches for three things: the machine is off (or destroyed,
or all its interfaces are pulled), it was so before the word was given, and whoever switches it on again lets it start
from the beginning, and not from where it was frozen.

The rule: the word counts for every tenure of that name up to the highest incarnation that was ever heard of it, as if
the arbiters had buried it, and for nothing above: a host that comes back counts as back from its first message. Where
what is heard contradicts the word it is refused.

The invariant, if the word is true: a machine that was off after its last tenure forwards nothing by it, and grants
nothing. If the word is false, a router may be active on two hosts: no rule of ours can mend that.
"""

from collections.abc import Collection

from gapless.core.events import HostConfirmedOff
from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.liveness import Standing, Timing
from gapless.core.ledger.routers import RouterRecord
from gapless.core.planner import guards
from gapless.core.planner.panel import is_lost
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import NOBODY, Panel, Tenure


def take_in(ledger: Ledger, event: HostConfirmedOff) -> None:
    """It is stored. A host that was heard meanwhile is not off; what it was before is over all the same."""
    host = ledger.fleet.get(event.host)
    if host is None or host.silence.standing is not Standing.ALIVE:
        ledger.confirm_off(event.host)
    guards.note_over(ledger, Tenure(event.host, event.incarnation))
    ledger.looks.at(*(each.id for each in ledger.routers.values() if event.host in _hosts_of(each)))


def highest(ledger: Ledger, name: HostName) -> Incarnation:
    """The highest incarnation of a name that was heard of, as far as bindings and the host itself tell."""
    host = ledger.fleet.get(name)
    known = [NOBODY] if host is None else [host.tenures.highest]
    known += [each.incarnation for router in ledger.routers.values() for each in _tenures(router) if each.host == name]
    return max(*known, ledger.burials.up_to(name))


def objections(
    ledger: Ledger, panel: Panel | None, names: Collection[HostName], timing: Timing, now: float
) -> dict[HostName, str]:
    """Why the word on each of these hosts is refused, as a sentence; empty if on none."""
    refused = {}
    for name in names:
        host = ledger.fleet.get(name)
        if name not in ledger.off and (why := _objection(ledger, host, name, timing, now)):
            refused[name] = why
    others = (host for host in ledger.fleet if host.name not in names)
    holders = [host.name for host in others if host.lease.is_held and host.silence.is_alive]
    if panel is not None and holders and is_lost(panel, {*ledger.off, *names}):
        lost = sorted({*ledger.off, *names}.intersection(panel.arbiters))
        for name in names:
            refused.setdefault(
                name,
                f"{holders[0]} says that it holds its lease, for which it needs a majority of the arbiters: so of "
                f"{', '.join(lost)} at least one is on",
            )
    return refused


def _objection(ledger: Ledger, host: Host | None, name: HostName, timing: Timing, now: float) -> str:
    patience_s = timing.agent_down_time_s
    if (arbiter := ledger.burials.denied_by(name, now - patience_s)) is not None:
        return f"{arbiter}, an arbiter, has said within {patience_s:g} s that {name} holds a lease: it is on"
    if host is None or not host.silence.is_alive:
        return ""
    if host.silence.standing is Standing.EXPECTED:
        return f"the controller has listened for less than {patience_s:g} s, and {name} may be about to come back"
    heard_s = host.silence.length_s(now)
    return f"{name} was heard {heard_s:.0f} s ago: wait until it has been silent for {patience_s:g} s"


def _hosts_of(router: RouterRecord) -> set[HostName | None]:
    return {router.host, router.leaving, *(right.tenure.host for right in router.succession.rights)}


def _tenures(router: RouterRecord) -> list[Tenure]:
    """Those that a router is bound to, leaves, or may be succeeded by."""
    succession = router.succession
    found = [right.tenure for right in (*succession.rights, *succession.lost)]
    if succession.took is not None:
        found.append(succession.took.by)
    if router.host is not None and succession.covered is not None:
        found.append(Tenure(router.host, succession.covered))
    if router.leaving is not None and succession.leaving is not None:
        found.append(Tenure(router.leaving, succession.leaving))
    return found
