"""What all oracles look at, and what they raise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gapless.core.ledger.liveness import Timing
from gapless.core.planner.planner import Planner
from gapless.model.host import HostName
from gapless.sim.agenda import Agenda
from gapless.sim.guard import Leases
from gapless.sim.machine import Machine
from gapless.sim.store import FakeStore


class Violated(Exception):
    """An oracle was violated: a bug, in the planner or here."""


@dataclass(slots=True)
class Scene:
    """The kernels, the store, and what the planner says of itself."""

    agenda: Agenda
    store: FakeStore
    machines: Mapping[HostName, Machine]
    timing: Timing
    leases: Leases
    ghosts: Sequence[Machine]
    """Machines that run on although others have their names; guarded routers must not care."""
    standbys: int
    """How many a guarded router should have."""
    _planner: Planner | None = None

    def started(self, planner: Planner) -> None:
        """A new controller."""
        self._planner = planner

    @property
    def planner(self) -> Planner:
        """Of the controller that runs, or ran last."""
        assert self._planner is not None
        return self._planner
