"""Hosts that hold no lease: they are dead, or hung for a moment; or they are heard, and their data network is cut, or
their clock, disk or beat is sick.

The rule: a host that is fenced is often back within a second, so at first nothing is concluded: whatever is built there
stays, and is waited for. Who held no lease for `LEASELESS_S` for which another host is known to have held one (it said
so before and after), is leaseless. Then it is neither arbiter nor standby where another host can be that, gets no
routers, and what was bound to it goes elsewhere. It is so until it says that it holds its lease.

Who was buried, and said nothing since, is waited for in the same way, heard or not, for `CALM_S`: it may have hung, or
its beat ended. Then it counts for what it is: buried, whatever it said of its lease before.

Where nobody holds a lease, the arbiters are away, and that is no host's fault: no time counts against anybody, so when
they are back every host gets its own back, and nothing is moved. What a host said that is not heard since does not
count either: it may be such an arbiter. One holder is enough to say that leases can be held:
in a data network that fell apart, the routers of the part without arbiters are dark, and those of the other can take
them.

The invariant: this says nothing about whether a tenure is over. A host says that itself (`Tenures.reborn`), or the
arbiters do.
"""

from math import inf

from gapless.core.effects import ReportHost
from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger

LEASELESS_S = 5.0
"""Many times what it takes to be fenced and to hold a lease anew, a new beat included."""
CALM_S = 10.0
"""After a takeover nothing is built for so long, neither on the host that took over nor for the router, nor for those
for which the host before stands by: a host whose guard only hiccuped is back by then, with everything built."""


def heard(ledger: Ledger, host: Host, *, is_held: bool) -> None:
    """A host says whether it holds its lease."""
    if host.lease.heard(ledger.now, is_held=is_held):
        ledger.looks.at(*host.concerned)
    if is_held and host.lease.is_lacking:
        host.lease.is_lacking = False
        _tell(ledger, host, "it holds its lease again")


def excuse(ledger: Ledger, seconds: float) -> None:
    """Nobody could have been heard for so long."""
    for host in ledger.fleet:
        host.lease.excuse(seconds, ledger.now)


def judge(ledger: Ledger) -> None:
    """With each tick: who has been without for too long."""
    _end_waiting(ledger)
    parts = [host for host in ledger.fleet if _takes_part(host)]
    spans = [(host.lease.held_since, host.silence.heard_at) for host in parts]
    held_at = [to for start, to in spans if start is not None and to is not None and to - start >= LEASELESS_S]
    last_held_at = max(held_at, default=-inf)
    for host in parts:
        if (since := host.lease.without_since) is None or host.lease.is_lacking:
            continue
        if last_held_at - since >= LEASELESS_S:
            host.lease.is_lacking = True
            said = (
                f"it holds no lease for {ledger.now - since:.0f} s, and others do: "
                "is its data network cut, or does its kernel refuse the guard?"
            )
            _tell(ledger, host, said)


def _end_waiting(ledger: Ledger) -> None:
    """Who was buried, and had its time to come back."""
    for host in ledger.fleet:
        if host.lease.buried_at is not None and ledger.now - host.lease.buried_at >= CALM_S:
            host.lease.buried_at = None
            ledger.looks.at(*host.concerned)
            ledger.looks.again()


def _takes_part(host: Host) -> bool:
    return host.is_heard and host.facts.lease_address is not None


def _tell(ledger: Ledger, host: Host, reason: str) -> None:
    ledger.lease_changed(host)
    ledger.looks.again()
    ledger.emit(ReportHost(host=host.name, standing=host.standing, reason=reason, cause=ledger.cause))
