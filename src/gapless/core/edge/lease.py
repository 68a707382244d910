"""The holder's side: one incarnation's right to forward, as long as a quorum of arbiters' grants lasts.

Theory: Gray and Cheriton, "Leases" (1989); by a majority and without disks, Trencseni et al., "PaxosLease" (2012).
A grant counts from the *sending* of the question that it answers, an arbiter counts it from the receipt, and for
longer by what two clocks may drift apart. So while a holder counts a grant, the arbiter does, too.

The rule: the lease ends when the last quorum of grants ends. Its end only grows, and once it has passed it is never
moved again: whoever found a quorum without an unexpired grant (`edge.takeover`) may rely on that for ever. Only a
higher incarnation, which has nothing active, is granted anything anew.

The invariant: at every moment before `until`, a quorum of arbiters has an unexpired grant for this tenure.
"""

from gapless.model.host import HostName
from gapless.model.lease import LeaseTiming, Panel, Tenure


class Lease:
    """The lease of one tenure."""

    def __init__(self, tenure: Tenure, timing: LeaseTiming) -> None:
        self.tenure = tenure
        self.until: float | None = None
        """When it ends, or ended; None: never held."""
        self.ends: dict[HostName, float] = {}
        """When each arbiter's last grant ends."""
        self.refused: set[HostName] = set()
        """These will never grant anything to this tenure again."""
        self._lease_s = timing.lease_s
        self._sent: dict[int, float] = {}
        self._seq = 0

    def is_lapsed(self, now: float) -> bool:
        """Whether it was held, and is over for good."""
        return self.until is not None and now >= self.until

    def ask(self, now: float) -> int:
        """The number of a question that leaves now, or later: never earlier."""
        for seq in [seq for seq, sent in self._sent.items() if sent + self._lease_s <= now]:
            del self._sent[seq]
        self._seq += 1
        self._sent[self._seq] = now
        return self._seq

    def grant(self, arbiter: HostName, seq: int, panel: Panel, now: float) -> bool | None:
        """An arbiter granted question `seq`: whether the lease lasts longer by that. None: the grant came too late."""
        if (sent := self._sent.get(seq)) is None or sent + self._lease_s <= now or self.is_lapsed(now):
            return None
        self.ends[arbiter] = max(self.ends.get(arbiter, 0.0), sent + self._lease_s)
        return self.look(panel, now)

    def look(self, panel: Panel, now: float) -> bool:
        """Whether the grants that there are make the lease last longer, counted by this panel."""
        until = panel.lasts_until(self.ends)
        if until <= now or self.is_lapsed(now) or (self.until is not None and until <= self.until):
            return False
        self.until = until
        return True

    def refuse(self, arbiter: HostName, panel: Panel) -> bool:
        """An arbiter refuses this tenure for good: whether there is nothing left to hope for.

        Not yet held, the tenure is worth nothing, and a higher one is granted by all. Held, it goes on as long as those
        who do not refuse can be a quorum: one arbiter that buries on hearsay must not end what the others grant.
        """
        self.refused.add(arbiter)
        return self.until is None or not panel.is_quorum([each for each in panel.arbiters if each not in self.refused])
