"""What the agent says of its routers: the last word on each, and which words the sentinel has not heard yet.

A newer report of a router replaces an older one that was not taken yet: reports are levels, not a history. That a
router's interfaces or addresses are new is none, and is said each time: the host's beat has to announce them.
"""

from dataclasses import replace

from gapless.model.plan import Epoch, Revision, RouterReport, RouterState
from gapless.model.router import RouterId
from gapless.wire.messages import AgentReport


class Told:
    """Reports said, and reports not heard yet."""

    def __init__(self) -> None:
        self._said: dict[RouterId, RouterReport] = {}
        self._unheard: dict[RouterId, RouterReport] = {}
        self._revision_heard: Revision | None = None
        self._unannounced: set[RouterId] = set()

    def say(self, report: RouterReport) -> None:
        """The newest word on a router. REMOVED is the last one: the router is forgotten once that was heard."""
        known = self._said.get(report.router_id)
        # A word repeated without the times of the build is nothing new.
        if known is not None and report in (known, replace(known, times=None)):
            return
        self._unheard[report.router_id] = report
        if report.state is RouterState.REMOVED:
            self._said.pop(report.router_id, None)
        else:
            self._said[report.router_id] = report

    def forget(self, router_id: RouterId) -> None:
        """Whatever was said of it is not so for sure any more, and what is found next is news."""
        self._said.pop(router_id, None)
        self._unheard.pop(router_id, None)

    def unannounced(self, router_id: RouterId) -> None:
        """Interfaces or addresses of a guarded router are new."""
        self._unannounced.add(router_id)

    def guards_no_more(self, router_id: RouterId) -> None:
        """Whatever was said of its taps is not so for sure any more."""
        said = self._said.get(router_id)
        if said is not None and said.guarded:
            self.say(replace(said, times=None, guarded=False))

    def amend(self, router_id: RouterId, epoch: Epoch, *, ailment: str) -> None:
        """Of an active router: what was said of it stays true, and this with it."""
        if self.has_said(router_id, epoch, RouterState.ACTIVE):
            self.say(replace(self._said[router_id], times=None, ailment=ailment))

    def has_said(self, router_id: RouterId, epoch: Epoch, state: RouterState | None = None) -> bool:
        """Whether the last word on a router was spoken at this epoch (and was `state`)."""
        said = self._said.get(router_id)
        return said is not None and said.epoch == epoch and state in (None, said.state)

    def take(self, revision: Revision, *, full: bool) -> AgentReport | None:
        """What was not heard yet, in the order in which it happened, and everything else when `full`; None when there
        is nothing new, the revision included.
        """
        if not (full or self._unheard or self._unannounced) and revision == self._revision_heard:
            return None
        told = self._unheard if not full else self._unheard | self._said
        unannounced = tuple(sorted(self._unannounced))
        self._unheard, self._unannounced = {}, set()
        self._revision_heard = revision
        return AgentReport(revision=revision, routers=tuple(told.values()), full=full, unannounced=unannounced)
