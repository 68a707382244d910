"""One claim: questions to the arbiters whether a tenure is over, until a quorum has buried it.

Theory: burying is monotone, so it needs no ballots; arbiters forget when they restart, so it needs a window.

The rule: an answer counts from the *sending* of the question that it answers, and the tenure is over at the moment at
which a quorum's answers all lie within `window_s`. No arbiter of that quorum has an unexpired grant for it then: none
when it answered; none since, for it remembers the burial, or it has restarted after its answer and is quiet still. A
holder without a quorum of grants, be it for a moment, is fenced for good (`edge.lease`), so what is over stays over.

A successor claims over datagrams (`edge.takeover`), the controller over its links (`ledger.burials`). A tenure that
never held a lease must not be claimed: it has nothing to lapse, and is granted after all once the arbiters forgot.
"""

from gapless.model.host import HostName
from gapless.model.lease import LeaseTiming, Panel


class Claim:
    """The questions about one tenure, and their answers. `seq` of a question never returns in a claimant's life."""

    def __init__(self, timing: LeaseTiming) -> None:
        self._window_s = timing.window_s
        self._sent: dict[int, float] = {}
        self._answers: dict[HostName, float] = {}
        """By arbiter, when the last question that it answered BURIED was sent."""

    def ask(self, seq: int, now: float) -> None:
        """Question `seq` leaves now or later, never earlier."""
        self._sent = {each: sent for each, sent in self._sent.items() if now - sent <= self._window_s}
        self._sent[seq] = now

    def has_asked(self, seq: int, now: float) -> bool:
        """Whether an answer to question `seq` still counts."""
        sent = self._sent.get(seq)
        return sent is not None and now - sent <= self._window_s

    def bury(self, arbiter: HostName, seq: int, panel: Panel, now: float) -> bool:
        """An arbiter answered BURIED to a question that still counts: whether the tenure is over by that."""
        sent = self._sent[seq]
        self._answers[arbiter] = max(sent, self._answers.get(arbiter, sent))
        return panel.is_quorum([each for each, at in self._answers.items() if now - at <= self._window_s])

    def deny(self, arbiter: HostName) -> None:
        """An arbiter has an unexpired grant after all: what it answered before does not count any more."""
        self._answers.pop(arbiter, None)
