"""Which tenures are over for certain, and how the controller finds out: it claims at the arbiters, as a successor does.

The rule: what a quorum of answers proves, and which of them count together, is said in `edge.claim`.

The invariant: what is over stays over. Silence of any length makes nothing over; an operator's word does
(`planner.confirmed`).

An answer counts from the moment at which its question was decided on, which is before it was sent. Questions are asked
again, each time with another number and ever more seldom, for as long as somebody wants to know.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from gapless.core.backoff import Backoff, Pace
from gapless.core.edge.claim import Claim
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DEFAULT, NOBODY, LeaseTiming, Panel, PanelVersion, Tenure
from gapless.model.plan import Burial
from gapless.model.router import RouterId

PACE = Pace(first_s=1.0, most_s=30.0)
"""How long until a tenure is claimed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """To be asked of these arbiters now."""

    tenure: Tenure
    seq: int
    panel: PanelVersion
    arbiters: tuple[HostName, ...]


@dataclass(slots=True)
class _Claim:
    """One tenure that somebody wants buried."""

    counted: Claim
    again_at: float = -inf
    backoff: Backoff = field(default_factory=lambda: Backoff(PACE))
    routers: set[RouterId] = field(default_factory=set)
    """Who waits for it, besides the panel."""


class Burials:
    """Remembers what is over, and claims what is wanted."""

    def __init__(self, lease: LeaseTiming = DEFAULT) -> None:
        self._lease = lease
        self._over: dict[HostName, Incarnation] = {}
        self._claims: dict[Tenure, _Claim] = {}
        self._panel: Panel | None = None
        self._count = 0
        self._denied: dict[HostName, tuple[HostName, float]] = {}

    def is_over(self, tenure: Tenure) -> bool:
        """Whether it is known to be buried."""
        return tenure.incarnation <= self.up_to(tenure.host)

    def up_to(self, host: HostName) -> Incarnation:
        """The highest incarnation of a host's name that is known to be buried; whoever has the name now."""
        return self._over.get(host, NOBODY)

    def bury(self, tenure: Tenure) -> set[RouterId]:
        """It is over for certain: the arbiters said so, to the controller or to a successor. Who waited for that."""
        waiting: set[RouterId] = set()
        if not self.is_over(tenure):
            self._over[tenure.host] = tenure.incarnation
        for claimed in [each for each in self._claims if self.is_over(each)]:
            waiting |= self._claims.pop(claimed).routers
        return waiting

    def want(self, tenure: Tenure, *routers: RouterId) -> None:
        """Find out whether it is over; asked until it is, or until `forget`."""
        if not self.is_over(tenure):
            self._claims.setdefault(tenure, _Claim(Claim(self._lease))).routers.update(routers)

    def denied_by(self, host: HostName, since: float) -> HostName | None:
        """The arbiter that said last, no earlier than `since`, that it has an unexpired grant to this host."""
        arbiter, at = self._denied.get(host, (None, since))
        return arbiter if at >= since else None

    def is_wanted(self, tenure: Tenure) -> bool:
        """Whether the arbiters are asked about it."""
        return tenure in self._claims

    def forget(self, tenure: Tenure) -> None:
        """Nobody wants to know of this tenure any more: it was heard."""
        self._claims.pop(tenure, None)

    def questions(self, panel: Panel | None, reachable: Iterable[HostName], now: float) -> list[Question]:
        """What to ask now, and whom; counts by the panel that is given last."""
        if panel != self._panel:
            self._panel = panel
            for claim in self._claims.values():
                claim.counted = Claim(self._lease)
        if panel is None:
            return []
        asked = tuple(sorted(set(panel.arbiters) & set(reachable)))
        due = sorted(tenure for tenure, claim in self._claims.items() if now >= claim.again_at)
        return [self._question(tenure, panel, asked, now) for tenure in due]

    def _question(self, tenure: Tenure, panel: Panel, asked: tuple[HostName, ...], now: float) -> Question:
        self._count += 1
        claim = self._claims[tenure]
        claim.counted.ask(self._count, now)
        claim.again_at = now + claim.backoff.after()
        return Question(tenure=tenure, seq=self._count, panel=panel.version, arbiters=asked)

    def answered(self, arbiter: HostName, answer: Burial, now: float) -> bool:
        """An arbiter's word; whether the tenure is over by it. Then `bury` it."""
        claim = self._claims.get(answer.tenure)
        if claim is None or self._panel is None or not claim.counted.has_asked(answer.seq, now):
            return False
        if not answer.is_buried:
            claim.counted.deny(arbiter)
            self._denied[answer.tenure.host] = arbiter, now
            return False
        return claim.counted.bury(arbiter, answer.seq, self._panel, now)
