"""Hosts that are heard and hold no lease: their data network is cut, or their clock, disk or beat is sick.

The rule: a host that is fenced is often back within a second, so at first nothing is concluded: whatever is built there
stays, and is waited for. Who held no lease for `LEASELESS_S` for which another host is known to have held one (it said
so before and after), is leaseless. Then it is neither arbiter nor standby where another host can be that, gets no
routers, and what was bound to it goes elsewhere. It is so until it says that it holds its lease.

Where nobody holds a lease, the arbiters are away, and that is no host's fault: no time counts against anybody, so when
they are back every host gets its own back, and nothing is moved. What a host said that is not heard since does not
count either: it may be such an arbiter. One holder is enough to say that leases can be held:
in a data network that fell apart, the routers of the part without arbiters are dark, and those of the other can take
them.

The invariant: this says nothing about whether a tenure is over. A host says that itself (`Host.reborn`), or the
arbiters do.
"""

from math import inf

from gapless.core.effects import ReportHost
from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.liveness import Standing

LEASELESS_S = 5.0
"""Many times what it takes to be fenced and to hold a lease anew, a new beat included."""


def heard(ledger: Ledger, host: Host, *, is_held: bool) -> None:
    """A host says whether it holds its lease."""
    is_news, host.is_held = is_held is not host.is_held, is_held
    if is_news:
        ledger.looks.at(*host.bound, *host.standbys)
    if not is_held:
        began(host, ledger.now)
        return
    host.without_since = None
    if host.held_since is None:
        host.held_since = ledger.now
    if host.is_leaseless:
        host.is_leaseless = False
        _tell(ledger, host, "it holds its lease again")


def began(host: Host, now: float) -> None:
    """From now on it is not known to hold its lease."""
    host.held_since = None
    if host.without_since is None:
        host.without_since = now


def excuse(ledger: Ledger, seconds: float) -> None:
    """Nobody could have been heard for so long."""
    for host in ledger.fleet:
        if host.without_since is not None:
            host.without_since = min(ledger.now, host.without_since + seconds)
        if host.held_since is not None:
            host.held_since = min(ledger.now, host.held_since + seconds)


def judge(ledger: Ledger) -> None:
    """With each tick: who has been without for too long."""
    parts = [host for host in ledger.fleet if _takes_part(host)]
    spans = [(host.held_since, host.silence.heard_at) for host in parts]
    held_at = [to for start, to in spans if start is not None and to is not None and to - start >= LEASELESS_S]
    last_held_at = max(held_at, default=-inf)
    for host in parts:
        if (since := host.without_since) is None or host.is_leaseless:
            continue
        if last_held_at - since >= LEASELESS_S:
            host.is_leaseless = True
            said = f"it holds no lease for {ledger.now - since:.0f} s, and others do: is its data network cut?"
            _tell(ledger, host, said)


def _takes_part(host: Host) -> bool:
    return host.facts.lease_address is not None and host.connected and host.silence.standing is Standing.ALIVE


def _tell(ledger: Ledger, host: Host, reason: str) -> None:
    ledger.lease_changed(host)
    ledger.looks.again()
    ledger.emit(ReportHost(host=host.name, standing=host.standing, reason=reason, cause=ledger.cause))
