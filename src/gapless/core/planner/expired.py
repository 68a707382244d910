"""Hosts that have stopped to renew their leases, as the arbiters say: a host and its standbys may have died together.

Whoever may succeed a dead host claims it within a fraction of a second. Where nobody is left who may, only the
controller can claim, and by silence alone it would know of the death after twice `agent_down_time`. Arbiters know it
at once, and say in each report whose grants have been over for a second.

The rule: a host is *expired* if a quorum of the arbiters that are heard say so of the newest incarnation that is known
of it. Its word that it holds its lease counts no more then: where a router waits for it, the arbiters are asked, and
no guarded router is placed there anew. One arbiter's word does nothing, since a claim has its price: an arbiter that
hears nothing of a host that is well would bury it, and the host would go on with one arbiter less.

While more than `brake_share` of the hosts that are not dead are expired at once, nobody is: the controller goes by what
it hears itself, with its patience and its brake.

The invariant: this says nothing about whether a tenure is over. It is asked about by it, and what is asked harms nobody
who holds a lease. It follows from what arbiters said last alone, so a controller that has just begun finds it the same.
"""

from collections.abc import Mapping

from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import NOBODY, Panel


def judge(ledger: Ledger, panel: Panel | None, brake_share: float) -> None:
    """With each tick: who has stopped, and who has not after all."""
    up_to = {} if panel is None else _believable(ledger, panel, brake_share)
    for host in ledger.fleet:
        expired = up_to.get(host.name, NOBODY)
        if expired != host.tenures.expired:
            host.tenures.expired = expired
            ledger.looks.at(*host.concerned)
            ledger.looks.again()


def _believable(ledger: Ledger, panel: Panel, brake_share: float) -> Mapping[HostName, Incarnation]:
    """Up to which incarnation each host is expired; nothing if that is more hosts at once than is believable."""
    arbiters = [host for name in panel.arbiters if (host := ledger.fleet.get(name)) is not None and host.is_heard]
    parts = [host for host in ledger.fleet if host.facts.lease_address is not None and not host.is_dead]
    said = {host.name: _by_quorum(host.name, arbiters, panel) for host in parts}
    expired = {host.name: said[host.name] for host in parts if said[host.name] >= host.tenures.incarnation}
    return expired if len(expired) <= brake_share * len(parts) else {}


def _by_quorum(name: HostName, arbiters: list[Host], panel: Panel) -> Incarnation:
    """The highest incarnation of which a quorum say that it is over, or one above it."""
    said = {host.name: host.guard.expired[name] for host in arbiters if name in host.guard.expired}
    for incarnation in sorted(set(said.values()), reverse=True):
        if panel.is_quorum([arbiter for arbiter, each in said.items() if each >= incarnation]):
            return incarnation
    return NOBODY
