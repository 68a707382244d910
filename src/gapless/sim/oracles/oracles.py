"""All oracles together: what happens is told to those whom it concerns, in the order in which they are to judge it."""

from collections.abc import Mapping, Sequence

from gapless.core.effects import Effect
from gapless.core.events import Event
from gapless.core.ledger.liveness import Attention, Timing
from gapless.core.ledger.plans import Duty
from gapless.core.planner.planner import Planner
from gapless.model.host import HostName
from gapless.model.lease import Tenure
from gapless.model.router import RouterId
from gapless.sim.agenda import Agenda
from gapless.sim.guard import Leases
from gapless.sim.machine import Machine
from gapless.sim.oracles.bookkeeping import Bookkeeping
from gapless.sim.oracles.moves import Moves
from gapless.sim.oracles.never_two import NeverTwo
from gapless.sim.oracles.progress import Progress
from gapless.sim.oracles.scene import Scene
from gapless.sim.oracles.silence import Silence
from gapless.sim.store import FakeStore


class Oracles:
    """Watches controllers, kernels and the store."""

    def __init__(
        self,
        agenda: Agenda,
        store: FakeStore,
        machines: Mapping[HostName, Machine],
        timing: Timing,
        leases: Leases,
        ghosts: Sequence[Machine] = (),
        standbys: int = 1,
    ) -> None:
        """`ghosts`: machines that run on although others have their names; guarded routers must not care. `standbys`:
        how many a guarded router should have.
        """
        self._scene = scene = Scene(agenda, store, machines, timing, leases, ghosts, standbys)
        self._never_two = NeverTwo(scene)
        self._bookkeeping = Bookkeeping(scene)
        self._silence = Silence(scene)
        self._moves = Moves(scene)
        self._progress = Progress(scene)

    # The controller

    def started(self, planner: Planner) -> None:
        """A new controller reads the store."""
        self._scene.started(planner)
        self._silence.started()
        self._moves.forget()
        self._progress.forget()

    def resumed(self, away_s: float) -> None:
        """The controller was stopped: nobody could be heard."""
        self._moves.resumed()
        if away_s > Attention(self._scene.timing, 0.0).away_after_s:
            self._silence.resumed(away_s)
            self._progress.forget()

    def heard(self, host: HostName) -> None:
        """The controller handles something that a host said."""
        if self._silence.is_new(host):
            self._moves.forget()  # A new host may be tried at once.
        self._silence.heard(host)

    def told(self, event: Event) -> None:
        """An operator says something."""
        self._silence.told(event)
        self._moves.told(event)

    def emitted(self, effect: Effect) -> None:
        """The planner asks for something."""
        self._silence.emitted(effect)
        self._never_two.emitted(effect)
        self._moves.emitted(effect)

    def turned(self) -> None:
        """The planner has handled something."""
        self._scene.planner.check()
        self._bookkeeping.turned()
        self._progress.turned()

    def sending(self, host: HostName, plan: dict[RouterId, Duty]) -> None:
        """A plan leaves for a host."""
        self._bookkeeping.sending(host, plan)

    # The hosts

    def planned(self, machine: Machine) -> None:
        """A host has heard its plan."""
        self._never_two.planned(machine)

    def appeared(self, machine: Machine, router_id: RouterId) -> None:
        """A host begins to build a router."""
        self._never_two.appeared(machine, router_id)

    def vanished(self, machine: Machine, router_id: RouterId) -> None:
        """Nothing of a router is left on a host."""
        self._never_two.vanished(machine, router_id)

    def opened(self, tenure: Tenure, router_id: RouterId) -> None:
        """A guarded router is open on a host."""
        self._never_two.opened(tenure, router_id)

    def righted(self, name: HostName) -> None:
        """A host has other rights than before."""
        self._never_two.righted(name)

    # The outside, and the end

    def outside_is_gone(self, *, is_gone: bool) -> None:
        """What is outside is gone for all hosts, or back and seen to be by all."""
        self._moves.outside_is_gone(is_gone=is_gone)

    def unsettled(self) -> str:
        """What is still not as it should be, now that nothing fails any more; "" if nothing."""
        return self._progress.unsettled()
