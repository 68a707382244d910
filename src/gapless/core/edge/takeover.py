"""The successor's side: when a host is silent, prove that it is over, then take what one has the right to.

What happens when a host H dies at incarnation i, in the order of this file:

1. Arbiters say SILENT (`hint`). A hint proves nothing; a quorum of them is worth a claim.
2. CLAIM goes to every arbiter, again each interval, as long as a quorum hints (`due`). One that says ALIVE, takes its
   hint back.
3. Arbiters say BURIED (`bury`).
4. With a quorum of answers within a window, H at i is over for ever (`edge.claim` says why).
5. Rights whose every `after` is over are ripe (`take_ripe`): the routers become active here, each at its right's epoch.

The rule: nothing but a quorum within the window makes a tenure over, and what is over stays over. Rights belong to this
host's incarnation: whoever is fenced gives none (`give`), while burials are kept.

The invariant: a router is taken over only when every tenure that its right waits for had no quorum of grants.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from gapless.core.edge.arbiter import until_next_hint
from gapless.core.edge.beatevents import Counters, HostSilent, Right
from gapless.core.edge.claim import Claim
from gapless.core.edge.rights import HeldRights
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import LeaseTiming, Panel, Tenure
from gapless.model.plan import Epoch
from gapless.model.router import RouterId


@dataclass(frozen=True, slots=True, kw_only=True)
class Burial:
    """What this host found to be over, and when, on its own clock: the last grant expired, a quorum said SILENT, the
    first CLAIM since that was made, a quorum said BURIED."""

    incarnation: Incarnation
    last_grant: float
    silent: float
    claimed: float
    buried: float


@dataclass(slots=True)
class _Pursuit:
    """Of one tenure: who hints that it is over, and what became of claiming it."""

    claim: Claim
    hints: dict[HostName, float] = field(default_factory=dict)
    """Until when each arbiter's last one counts."""
    next_at: float = inf
    """When to ask again; inf: too few hints."""
    silent_s: float = 0.0
    """For how long it had been silent when a quorum hinted, as far as the last of them knew."""
    silent: float = inf
    claimed: float = inf
    """When it was claimed first since a quorum hinted."""


class Takeover:
    """What this host may take over, and what it knows to be over."""

    def __init__(self, timing: LeaseTiming, counters: Counters) -> None:
        self._timing = timing
        self._counters = counters
        self._rights = HeldRights({})
        self._pursuits: dict[HostName, dict[Tenure, _Pursuit]] = {}
        """For each tenure that some right waits for and that is not over."""
        self._burials: dict[HostName, Burial] = {}
        self._seq = 0

    def give(self, rights: Mapping[RouterId, Right]) -> None:
        """These are the rights, and there are no others."""
        self._rights = HeldRights(rights)
        before, self._pursuits = self._pursuits, {}
        for after in self._rights.waiting():
            for tenure in after:
                if not self.is_over(tenure):
                    known = before.get(tenure.host, {}).get(tenure)
                    self._pursuits.setdefault(tenure.host, {})[tenure] = known or _Pursuit(Claim(self._timing))

    def forget(self) -> None:
        """What was hinted, asked and answered counts no more; what is over stays over."""
        for pursuits in self._pursuits.values():
            for tenure in pursuits:
                pursuits[tenure] = _Pursuit(Claim(self._timing))

    def is_over(self, tenure: Tenure) -> bool:
        """Whether this host knows it to be buried by a quorum; then all lower incarnations are, too."""
        burial = self._burials.get(tenure.host)
        return burial is not None and tenure.incarnation <= burial.incarnation

    def heir_of(self) -> dict[Tenure, int]:
        """By tenure: how many routers this host may take over as soon as that one is over."""
        count: dict[Tenure, int] = {}
        for after, routers in self._rights.waiting().items():
            left = [tenure for tenure in after if not self.is_over(tenure)]
            if len(left) == 1:
                count[left[0]] = count.get(left[0], 0) + len(routers)
        return count

    def awaited(self) -> list[Tenure]:
        """All that this host's rights wait for, and that may not be over."""
        awaited = dict.fromkeys(tenure for after in self._rights.waiting() for tenure in after)
        return [tenure for tenure in awaited if not self.is_over(tenure)]

    # 1. Hints

    def hint(self, arbiter: HostName, subject: Tenure, silent_s: float, panel: Panel, now: float) -> list[HostSilent]:
        """An arbiter says SILENT of `subject`, and so of every lower incarnation: what a quorum says by now."""
        concerned = [
            (tenure, pursuit)
            for tenure, pursuit in self._pursuits.get(subject.host, {}).items()
            if tenure.incarnation <= subject.incarnation
        ]
        if not concerned:
            self._counters.useless_hints += 1
        said = []
        for tenure, pursuit in concerned:
            pursuit.hints[arbiter] = now + self._counts_for(silent_s)
            if pursuit.next_at == inf and self._is_hinted(pursuit, panel, now):
                pursuit.next_at = pursuit.silent = now
                pursuit.silent_s, pursuit.claimed = silent_s, inf
                said.append(HostSilent(tenure=tenure, silent_for_s=silent_s))
        return said

    def unsure(self, subject: Tenure, panel: Panel, now: float) -> list[tuple[Tenure, list[HostName]]]:
        """Tenures that too few arbiters hint at, and the others: one that has restarted has nothing to hint at."""
        return [
            (tenure, [each for each in panel.arbiters if pursuit.hints.get(each, -inf) <= now])
            for tenure, pursuit in self._pursuits.get(subject.host, {}).items()
            if tenure.incarnation <= subject.incarnation and pursuit.next_at == inf
        ]

    def _is_hinted(self, pursuit: _Pursuit, panel: Panel, now: float) -> bool:
        return panel.is_quorum([arbiter for arbiter, until in pursuit.hints.items() if until > now])

    def _counts_for(self, silent_s: float) -> float:
        """The next hint may be lost, and the one after it late. A hint that an arbiter has no reason for any more ends
        by itself: the first ones, which a moment's delay can bring about, after three intervals.
        """
        interval_s = self._timing.interval_s
        return 2 * until_next_hint(silent_s, interval_s) + interval_s

    # 2. Claims

    def due(self, panel: Panel, now: float) -> list[tuple[Tenure, int]]:
        """Which tenures to claim now, at every arbiter, and the number of each question."""
        asked = []
        for pursuits in self._pursuits.values():
            for tenure, pursuit in pursuits.items():
                if pursuit.next_at > now:
                    continue
                if not self._is_hinted(pursuit, panel, now):
                    pursuit.next_at = inf
                    continue
                self._seq += 1
                pursuit.claim.ask(self._seq, now)
                pursuit.claimed = min(pursuit.claimed, now)
                pursuit.next_at = now + self._timing.interval_s
                asked.append((tenure, self._seq))
        return asked

    def next_deadline(self) -> float:
        """When `due` has something to say."""
        if not self._pursuits:
            return inf  # as in nearly each turn of a host that stands by for nobody
        return min((each.next_at for pursuits in self._pursuits.values() for each in pursuits.values()), default=inf)

    def deny(self, arbiter: HostName, tenure: Tenure, seq: int, now: float) -> None:
        """An arbiter says ALIVE: what it had hinted is not so."""
        if (pursuit := self._asked(tenure, seq, now)) is not None:
            pursuit.hints.pop(arbiter, None)

    # 3 and 4. Burials

    def bury(self, arbiter: HostName, tenure: Tenure, seq: int, panel: Panel, now: float) -> bool:
        """An arbiter says BURIED: whether the tenure is over by that."""
        pursuit = self._asked(tenure, seq, now)
        if pursuit is None or not pursuit.claim.bury(arbiter, seq, panel, now):
            return False
        self._burials[tenure.host] = Burial(
            incarnation=tenure.incarnation,
            last_grant=pursuit.silent - pursuit.silent_s,
            silent=pursuit.silent,
            claimed=pursuit.claimed,
            buried=now,
        )
        pursuits = self._pursuits[tenure.host]
        self._pursuits[tenure.host] = {each: pursuits[each] for each in pursuits if not self.is_over(each)}
        return True

    def _asked(self, tenure: Tenure, seq: int, now: float) -> _Pursuit | None:
        """What an answer is about; None: nothing any more."""
        pursuit = self._pursuits.get(tenure.host, {}).get(tenure)
        if pursuit is not None and pursuit.claim.has_asked(seq, now):
            return pursuit
        self._counters.late_answers += 1
        return None

    def burial_of(self, tenure: Tenure) -> Burial:
        """What is known of a tenure that is over."""
        return self._burials[tenure.host]

    # Besides: what a host that lives releases

    def release(self, by: Tenure, router_id: RouterId, epoch: Epoch) -> bool:
        """A host has closed a router, and released it to this one at that epoch: whether there is a right that waits
        for nobody else. It is used by that.
        """
        right = self._rights.find(router_id)
        if right is None or right.epoch != epoch or by not in right.after:
            return False
        if not all(tenure == by or self.is_over(tenure) for tenure in right.after):
            return False
        self._rights.use(router_id)
        return True

    # 5. What is ripe

    def take_ripe(self) -> dict[Tenure, dict[RouterId, Epoch]]:
        """The routers whose rights are ripe, by the tenure that their rights waited for last. They are given once."""
        over = [after for after in self._rights.waiting() if after and all(self.is_over(tenure) for tenure in after)]
        ripe: dict[Tenure, dict[RouterId, Epoch]] = {}
        for after in over:
            last = max(after, key=lambda tenure: self._burials[tenure.host].buried)
            ripe.setdefault(last, {}).update(self._rights.use_all(after))
        return ripe
