"""Who may be held dead, and what may move for silence.

5. No host is held dead unless it was not heard for twice agent_down_time in which the controller was there and awake,
   or an operator confirmed that it is off; and nothing moves for silence but from such a host.
6. Nothing moves for silence while more than brake_share of the hosts look dead.
"""

from gapless.core.effects import Bind, Effect, ReportHost, ReportPause
from gapless.core.events import BrakeReleased, Event, HostConfirmedOff, HostForgotten
from gapless.core.ledger.liveness import Attention
from gapless.model.host import HostName
from gapless.model.plan import MoveKind
from gapless.model.router import FailoverMode
from gapless.sim.oracles.scene import Scene, Violated


class Silence:
    """Counts for itself how long each host was not heard."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._agenda, self._timing = scene.agenda, scene.timing
        self._store, self._machines = scene.store, scene.machines
        self._ears: dict[HostName, float] = {}
        """When each host was heard, or this controller began, moved by the pauses since: what a death is judged by."""
        self._counted: dict[HostName, float] = {}
        """The same, moved by all that the planner says it does not count."""
        self._dead: set[HostName] = set()
        self._said_to_be_dead: set[HostName] = set()
        """By an operator who released the brake."""
        self._confirmed_off: set[HostName] = set()

    # What is seen

    def started(self) -> None:
        """A new controller reads the store."""
        self._ears = dict.fromkeys(self._store.hosts, self._agenda.now)
        self._counted = dict(self._ears)
        self._dead.clear()
        self._confirmed_off = {word.host for word in self._store.words() if word.is_off}
        self._said_to_be_dead = set(self._confirmed_off)

    def resumed(self, away_s: float) -> None:
        """The controller was stopped for long: nobody could be heard."""
        self._ears.update((host, self._ears[host] + away_s) for host in self._ears.keys() - self._dead)

    def is_new(self, host: HostName) -> bool:
        """Whether this controller knows nothing of it."""
        return host not in self._ears

    def heard(self, host: HostName) -> None:
        """The controller handles something that a host said."""
        self._ears[host] = self._counted[host] = self._agenda.now
        self._dead.discard(host)
        self._said_to_be_dead.discard(host)
        self._confirmed_off.discard(host)

    def told(self, event: Event) -> None:
        """An operator says something."""
        if isinstance(event, BrakeReleased):
            seen = self._scene.planner.brake_view().hosts
            self._said_to_be_dead.update(host for host in seen if event.hosts is None or host in event.hosts)
        if isinstance(event, HostConfirmedOff):
            self._confirmed_off.add(event.host)
            self._said_to_be_dead.add(event.host)
        if isinstance(event, HostForgotten):
            self._ears.pop(event.host, None)
            self._counted.pop(event.host, None)

    def emitted(self, effect: Effect) -> None:
        """The planner asks for something."""
        if isinstance(effect, ReportPause):
            now, excused_s = self._agenda.now, effect.excused_s
            self._counted = {host: min(now, since + excused_s) for host, since in self._counted.items()}
        if isinstance(effect, ReportHost) and effect.standing == "dead":
            self._check_death(effect.host)
        if isinstance(effect, Bind) and effect.kind is MoveKind.RESCHEDULE:
            self._check_reschedule(effect)

    # What follows

    def _check_death(self, host: HostName) -> None:
        silent_s = self._agenda.now - self._ears[host]
        if silent_s < self._timing.dead_after_s and host not in self._confirmed_off:
            raise Violated(f"oracle 5: {host} is held dead after {silent_s:.1f} s in which it could have been heard")
        self._dead.add(host)

    def _check_reschedule(self, effect: Bind) -> None:
        stored = self._store.bindings.get(effect.router_id)
        if stored is not None and stored.epoch == effect.epoch:
            return  # It was decided before; now the host that it leaves, which is back, is added.
        if effect.previous_host not in self._dead:
            raise Violated(f"oracle 5: {effect.router_id} leaves {effect.previous_host}, which is not dead")
        if effect.previous_host in self._confirmed_off:
            return  # It moves by an operator's word, not for silence.
        down, known = self._down(), self._ears.keys() - self._said_to_be_dead
        heard = [host for host in known if not self._is_silent(host)]
        if len(down) > self._timing.brake_share * (len(down) + len(heard)):
            raise Violated(f"oracle 6: {effect.router_id} moves for silence while {sorted(down)} look dead")

    def _down(self) -> set[HostName]:
        """Hosts that look dead, are in service, and hold something that silence would move."""
        holding = {
            view.host
            for view in self._scene.planner.router_views().values()
            if view.router_id in self._store.needs and self._store.needs[view.router_id].mode is not FailoverMode.OFF
        }
        return {
            host
            for host in self._ears.keys() & holding - self._said_to_be_dead
            if host in self._store.hosts and self._is_silent(host) and self._store.hosts[host].admin_up
        }

    def _is_silent(self, host: HostName) -> bool:
        """Judged two ticks late, since the planner judges at its ticks."""
        late_s = 2 * Attention(self._timing, 0.0).tick_s
        return self._agenda.now - self._counted[host] > self._timing.agent_down_time_s + late_s
