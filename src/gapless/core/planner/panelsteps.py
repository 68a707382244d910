"""The planner's side of the panel: leads it from level to level, and asks its arbiters what somebody waits to know.

Which level is next, and when, is `planner.panel`'s; what people are told of it, `planner.panelview`'s. Here is what
belongs to a level's way: asked for (`StorePanel`), stored, and then published to every host with its next plan.

The rule: the panel that is relied on is the one that is stored. One level is asked for at a time, and what could not be
stored is asked for again with the next tick.

The invariant: from the word that leaves no quorum of the panel on, until another panel is stored or the word is undone,
nothing is planned for a lease (`Ledger.panel_lost`).
"""

from collections.abc import Sequence

from gapless.core.effects import AskArbiters, ReportArbiters, StorePanel
from gapless.core.events import PanelStored
from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.liveness import Timing
from gapless.core.ledger.views import PanelStatus
from gapless.core.planner import expired, panelview
from gapless.core.planner.panel import Arbiters, Member, Shortage, is_lost
from gapless.core.planner.panelview import Loss
from gapless.model.lease import LeaseTiming, Panel
from gapless.model.plan import LeaseAddress, PanelPlan


class PanelSteps:
    """Of one planner."""

    def __init__(self, ledger: Ledger, panel: Panel | None, lease: LeaseTiming, timing: Timing, deaths: int) -> None:
        """`deaths`: how many hosts may die at once, where there are hosts enough, and a quorum is left."""
        self._ledger = ledger
        self._lease = lease
        self._arbiters = Arbiters(panel, lease, deaths=deaths)
        self._brake_share = timing.brake_share
        self._shortage = Shortage(timing.dead_after_s)
        self._loss = Loss()
        self._plan: PanelPlan | None = None
        """None: it is another one than before, or a host is reached elsewhere."""
        self._asked: Panel | None = None
        """A level that is being stored."""
        self._begins_anew = False
        """... which shares no quorum with the one of before."""

    @property
    def panel(self) -> Panel | None:
        """The one that is stored; None before there was any."""
        return self._arbiters.panel

    def judge(self, *, braked: bool) -> None:
        """Lead the panel on if it is time, and ask the arbiters what somebody waits to know."""
        ledger, arbiters = self._ledger, self._arbiters
        expired.judge(ledger, arbiters.panel, self._brake_share)
        members = self._members()
        if not braked:
            for name in arbiters.awaited(members):
                # One that is heard asks for its first lease at this incarnation: that is never claimed.
                host = ledger.fleet.get(name)
                if host is not None and (host.is_dead or host.tenures.leased == host.tenures.incarnation):
                    ledger.burials.want(host.tenure)
        if self._asked is None and (following := arbiters.judge(members, ledger.now, ledger.off)) is not None:
            self._asked, self._begins_anew = following.panel, following.begins_anew
            ledger.emit(StorePanel(panel=following.panel, reason=following.reason, cause=ledger.cause))
        self._tell_shortage(members)
        self._tell_loss(members)
        self._ask()

    def judge_loss(self) -> None:
        """Whether the panel is lost, by an operator's word, or not any more."""
        panel, ledger = self._arbiters.panel, self._ledger
        lost = self._begins_anew or (panel is not None and is_lost(panel, ledger.off))
        if lost and not ledger.is_panel_lost:
            ledger.panel_lost()
        elif ledger.is_panel_lost and not lost:
            ledger.panel_found(begins_anew=False)

    def stored(self, event: PanelStored) -> None:
        """A level is in the store: every host has to hear of it."""
        if event.panel != self._asked:
            return
        self._asked = self._plan = None
        self._arbiters.stored(event.panel)
        self._ledger.panel_changed(f"arbiters: {', '.join(event.panel.arbiters)}")
        if self._begins_anew:
            self._begins_anew = False
            self._ledger.panel_found(begins_anew=True)

    def failed(self) -> None:
        """A level could not be stored. The next tick asks again."""
        self._asked, self._begins_anew = None, False

    def plan(self) -> PanelPlan | None:
        """The arbiters, and where every host that takes part in leases is reached; None before there are any. All hosts
        hear of it, so it is put together once for them all.
        """
        if self._plan is None and self._arbiters.panel is not None:
            self._plan = self._put_together(self._arbiters.panel)
        return self._plan

    def hosts_changed(self) -> None:
        """There are others than before, or one is reached elsewhere."""
        self._plan = None

    def _put_together(self, panel: Panel) -> PanelPlan:
        facts = sorted((host.facts for host in self._ledger.fleet), key=lambda each: each.name)
        addresses = (
            LeaseAddress(host=each.name, address=each.lease_address) for each in facts if each.lease_address is not None
        )
        return PanelPlan(panel=panel, timing=self._lease, addresses=tuple(addresses))

    def view(self, now: float) -> PanelStatus:
        """The arbiters as they are now."""
        return panelview.view(self._ledger, self._arbiters.panel, self._members(), now)

    def _tell_shortage(self, members: Sequence[Member]) -> None:
        """Say when there are too few arbiters for takeovers, and when there are enough again."""
        if (shortage := self._shortage.judge(self._arbiters.panel, members, self._ledger.now)) is not None:
            reason = shortage or "there are arbiters enough for takeovers"
            self._ledger.emit(ReportArbiters(is_short=bool(shortage), reason=reason, cause=self._ledger.cause))

    def _tell_loss(self, members: Sequence[Member]) -> None:
        """Say when the arbiters look lost, and when they do not any more."""
        view = panelview.view(self._ledger, self._arbiters.panel, members, self._ledger.now)
        if (said := self._loss.judge(view)) is not None:
            reason = said or "a majority of them is heard again"
            self._ledger.emit(ReportArbiters(is_short=bool(said), reason=reason, cause=self._ledger.cause))

    def _ask(self) -> None:
        """Whether a tenure is over: of each that somebody waits for, all arbiters that are connected."""
        ledger = self._ledger
        connected = [host.name for host in ledger.fleet if host.link.is_open]
        for each in ledger.burials.questions(self._arbiters.panel, connected, ledger.now):
            reason = f"nobody hears {each.tenure.host}; is {each.tenure} over?"
            ledger.emit(
                AskArbiters(
                    tenure=each.tenure,
                    seq=each.seq,
                    panel=each.panel,
                    arbiters=each.arbiters,
                    reason=reason,
                    cause=ledger.cause,
                )
            )

    def _members(self) -> list[Member]:
        return [_member(host, self._ledger) for host in self._ledger.fleet if host.facts.lease_address is not None]


def _member(host: Host, ledger: Ledger) -> Member:
    return Member(
        name=host.name,
        zone=host.facts.availability_zone,
        is_heard=host.is_heard,
        is_dead=host.is_dead,
        is_leaseless=host.is_leaseless,
        is_over=ledger.burials.is_over(host.tenure),
        follows=host.follows_panel,
        is_held=host.is_heard and host.lease.is_held,
    )
