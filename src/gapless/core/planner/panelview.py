"""What people are told of the arbiters: who they are, who is heard, whether leases can be held, and what to do if not.

The rule: the arbiters look lost while no quorum of them is heard within agent_down_time and nobody is heard to hold a
lease. That is what a controller sees; one that is cut off from them sees the same, so it says what to look at, and
decides nothing by it.
"""

from collections.abc import Sequence

from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.liveness import Standing
from gapless.core.ledger.views import ArbiterStatus, PanelStatus
from gapless.core.planner.panel import Member
from gapless.model.host import HostName
from gapless.model.lease import Panel


class Loss:
    """Tells when the arbiters look lost, and when they do not any more."""

    def __init__(self) -> None:
        self._told = ""

    def judge(self, view: PanelStatus) -> str | None:
        """What there is to tell now: the loss, "" for its end, None for nothing new."""
        names = " ".join(view.confirm) if view.is_lost else ""
        if names == self._told:
            return None
        self._told = names
        return view.reason if names else ""


def view(ledger: Ledger, panel: Panel | None, members: Sequence[Member], now: float) -> PanelStatus:
    """The panel as it is at `now`."""
    if panel is None:
        return PanelStatus(
            version=0,
            floor=0,
            level="none",
            arbiters=(),
            holders=(),
            is_lost=False,
            reason="there are no arbiters yet: the first host that takes part in leases will be one",
            confirm=(),
        )
    arbiters = tuple(_arbiter(ledger, panel, name, now) for name in panel.arbiters)
    heard = [each.name for each in arbiters if each.is_heard]
    holders = tuple(sorted(each.name for each in members if each.is_held))
    unheard = tuple(each.name for each in arbiters if not each.is_heard)
    is_lost = not panel.is_quorum(heard) and not holders
    return PanelStatus(
        version=panel.version,
        floor=panel.floor,
        level=_level(panel),
        arbiters=arbiters,
        holders=holders,
        is_lost=is_lost,
        reason=_reason(panel, arbiters, holders, is_lost=is_lost),
        confirm=unheard if is_lost else (),
    )


def _arbiter(ledger: Ledger, panel: Panel, name: HostName, now: float) -> ArbiterStatus:
    host = ledger.fleet.get(name)
    return ArbiterStatus(
        name=name,
        panels=_panels(panel, name),
        is_heard=_is_heard(host),
        is_off=name in ledger.off,
        silent_s=None if host is None or host.silence.heard_at is None else now - host.silence.heard_at,
        standing="unknown" if host is None else host.standing,
    )


def _is_heard(host: Host | None) -> bool:
    """Grace included: whoever is expected has not failed to be heard yet."""
    return host is not None and host.silence.standing in (Standing.ALIVE, Standing.EXPECTED)


def _panels(panel: Panel, name: HostName) -> tuple[str, ...]:
    words = ("old", "new") if len(panel.sets) == 2 else ("present",)
    return tuple(word for word, each in zip(words, panel.sets, strict=True) if name in each)


def _level(panel: Panel) -> str:
    if len(panel.sets) == 1:
        return "single"
    return "joint" if panel.floor < panel.version else "raised"


def _reason(panel: Panel, arbiters: Sequence[ArbiterStatus], holders: Sequence[HostName], *, is_lost: bool) -> str:
    unheard = [each for each in arbiters if not each.is_heard]
    if is_lost:
        return _loss(arbiters, unheard)
    if not unheard:
        return "all arbiters are heard"
    away = f"{len(unheard)} of {len(arbiters)} arbiters are not heard ({_silences(unheard)})"
    if not panel.is_quorum([each.name for each in arbiters if each.is_heard]):
        return (
            f"{away}, but {holders[0]} holds its lease: so a majority answers it, and only this controller is cut off"
        )
    return f"{away}; the others are a majority, so leases are held"


def _loss(arbiters: Sequence[ArbiterStatus], unheard: Sequence[ArbiterStatus]) -> str:
    said = f"{len(unheard)} of {len(arbiters)} arbiters are not heard: {_silences(unheard)}; no host holds a lease"
    if all(each.is_off for each in unheard):
        return f"{said}; an operator confirmed that they are off, and other arbiters follow as soon as a host is heard"
    names = " ".join(each.name for each in unheard)
    return (
        f"{said} that this controller hears of, and guarded routers are dark. Bring one back; or, when you have made "
        f"sure that their machines are off: gapless confirm-off {names}"
    )


def _silences(arbiters: Sequence[ArbiterStatus]) -> str:
    return ", ".join(f"{each.name} {_since(each)}" for each in arbiters)


def _since(arbiter: ArbiterStatus) -> str:
    if arbiter.is_off:
        return "confirmed off"
    return "for unknown time" if arbiter.silent_s is None else f"for {arbiter.silent_s:.0f} s"
