"""Why routers leave hosts that are heard, and how often: no more than it helps, and for no less than a lasting reason.

9. A router that fails wherever it is built is not moved on from host to host: `MOST_RETRIES` times, and then only after
   a pause, or when there is a new host.
10. No router leaves a host for the want of an agent unless none ran there steadily for `agent_patience`. (That those
   which can leave do so in the end, and that such a host stands by for nobody where others can, is part of 4.)
11. No router is moved more than five times within an hour because hosts cannot run it.
12. Of routers that their hosts cannot run, all for one cause as hosts are made up here, no more are moved than a few,
    and a few more for each that was active on its new host (`oracles.retries`).
13. No router leaves a host for the want of a way out but one that has lost it for `SETTLED_S`, as it says itself, to
    one that has it and says so; and none while the outside is gone for all, however early or late each sees that, but
    to one that is over, or is not linked, and cannot say it.
14. No router that works leaves a host on purpose for one that says that it has not all of its connections, unless that
    was waited for, and is said. (That it leaves in the end is part of 4.)
"""

import re
from math import inf

from gapless.core.effects import Bind, Effect, ExplainRouter, RecordStep
from gapless.core.events import Event, RouterDeleted
from gapless.core.ledger.agents import STEADY_S
from gapless.core.ledger.liveness import Attention
from gapless.core.ledger.tours import PAUSE_S
from gapless.core.ledger.ways import SETTLED_S
from gapless.core.planner.copies import PATIENCE_S
from gapless.model.host import HostName
from gapless.model.plan import Epoch, MoveKind, MoveStep
from gapless.model.router import RouterId
from gapless.sim.machine import LINK_DELAY_S, Machine
from gapless.sim.oracles.retries import Retries
from gapless.sim.oracles.scene import Scene, Violated

_WAITS = re.compile(r"waits until (\S+) has all of its connections")
MOST_RETRIES = 2
"""One host fails, and so does the next; once more if it was active in between, for too short to confirm a move."""


class Moves:
    """Watches bindings that are asked for."""

    def __init__(self, scene: Scene) -> None:
        self._agenda, self._timing = scene.agenda, scene.timing
        self._store, self._machines, self._scene = scene.store, scene.machines, scene
        self._retried: dict[RouterId, dict[Epoch, float]] = {}
        """When each router left hosts that failed, since it was last confirmed to be active."""
        self._is_outside_gone = False
        self._waits: dict[tuple[RouterId, Epoch, HostName], float] = {}
        """Since when each router, as it is bound, waits until it is copied to that host, as was said."""
        self._active: dict[RouterId, Epoch] = {}
        """At which epoch each was active, as this controller has heard."""
        self._resumed_at = -inf
        """When the controller went on last after it was stopped."""
        self._retries = Retries(lambda router_id, epoch: (router_id, epoch) in scene.store.moves)

    def forget(self) -> None:
        """A new controller, or a new host: routers may be tried at once."""
        self._retried.clear()
        self._retries.forget()
        self._active.clear()

    def resumed(self) -> None:
        """The controller was stopped: it may have much to hear."""
        self._resumed_at = self._agenda.now

    def told(self, event: Event) -> None:
        """An operator says something."""
        if isinstance(event, RouterDeleted):
            self._retries.gone(event.router_id)

    def outside_is_gone(self, *, is_gone: bool) -> None:
        """What is outside is gone for all hosts, or back and seen to be by all."""
        self._is_outside_gone = is_gone

    def emitted(self, effect: Effect) -> None:
        """The planner asks for something."""
        if isinstance(effect, Bind):
            self._check_tour(effect)
            if wrong := self._retries.asked(effect, self._agenda.now):
                raise Violated(wrong)
            self._check_agent(effect)
            self._check_way_out(effect)
            self._check_copies(effect)
        if isinstance(effect, RecordStep) and effect.step is MoveStep.CONFIRMED:
            self._retried.pop(effect.router_id, None)
            self._retries.confirmed(effect.router_id)
            self._active[effect.router_id] = effect.epoch
        if isinstance(effect, ExplainRouter) and (waits := _WAITS.search(effect.reason)):
            stored = self._store.bindings.get(effect.router_id)
            if stored is not None:  # else it was deleted meanwhile
                self._waits.setdefault((effect.router_id, stored.epoch, HostName(waits[1])), self._agenda.now)

    def _check_tour(self, effect: Bind) -> None:
        moves = self._retried.pop(effect.router_id, {})
        if effect.kind is not MoveKind.RETRY:
            return
        if "cannot run it" in effect.reason:  # Else it goes back, since the host that it was going to is over.
            moves.setdefault(effect.epoch, self._agenda.now)  # The same may be asked for once more.
        lately = {epoch: moved_at for epoch, moved_at in moves.items() if self._agenda.now - moved_at < PAUSE_S}
        if len(lately) > MOST_RETRIES:
            raise Violated(
                f"oracle 9: {effect.router_id} tours: {len(lately)} hosts failed with it within {PAUSE_S:g} s"
            )
        self._retried[effect.router_id] = lately

    def _check_agent(self, effect: Bind) -> None:
        if "whose agent does not work" not in effect.reason or effect.previous_host not in self._machines:
            return
        home, now = self._machines[HostName(effect.previous_host or "")], self._agenda.now
        if home.agent_runs:
            # It may have come back while it had no link, and in this one it has to run steadily first.
            works_s = now - max(home.agent_began_at, home.connected_at)
            is_wrong = works_s > STEADY_S + self._timing.report_interval_s + 2 * Attention(self._timing, 0.0).tick_s
        else:
            is_wrong = now - home.agent_worked_at < self._timing.agent_patience_s
        if is_wrong:
            raise Violated(f"oracle 10: {effect.router_id} leaves {home.facts.name} although its agent works")

    def _check_way_out(self, effect: Bind) -> None:
        stored = self._store.bindings.get(effect.router_id)
        if "which has lost its way out" not in effect.reason or (stored is not None and stored.epoch == effect.epoch):
            return
        home, to = self._machines[HostName(effect.previous_host or "")], self._machines[effect.host]
        what = f"oracle 13: {effect.router_id} leaves {home.facts.name} for {to.facts.name}"
        if self._is_outside_gone and to.session is not None:
            raise Violated(f"{what} although the outside is gone for all")
        if not (home.says_ways and to.says_ways):
            raise Violated(f"{what}, and one of them does not say whether it has its way out")
        lost_s = self._agenda.now - home.way_changed_at
        if self._is_known(home) if home.has_way_out else lost_s < SETTLED_S:
            raise Violated(f"{what} although it has its way out, or lacks it for a moment")
        if not to.has_way_out and self._is_known(to):
            raise Violated(f"{what}, which has lost its way out as well")

    def _check_copies(self, effect: Bind) -> None:
        stored = self._store.bindings.get(effect.router_id)
        is_on_purpose = effect.kind in (MoveKind.DRAIN, MoveKind.MANUAL) and effect.incarnation is not None
        if stored is None or stored.epoch == effect.epoch or not is_on_purpose or effect.leaving_host is None:
            return
        what = f"oracle 14: {effect.router_id} leaves {effect.leaving_host} for {effect.host}"
        if effect.reason.endswith("some may break"):
            since = self._waits.get((effect.router_id, stored.epoch, effect.host), inf)
            if self._agenda.now - since < PATIENCE_S - self._late_s():
                raise Violated(f"{what}, which has not all of its connections, and was not waited for")
            return
        home, to = self._machines[effect.leaving_host], self._machines[effect.host]
        lacks_since, late_s = to.copies.lacks_since(effect.router_id), self._late_s()
        since = max(lacks_since or 0.0, to.connected_at, self._resumed_at)
        is_known_to_lack = lacks_since is not None and self._agenda.now - since > late_s
        view = self._scene.planner.router_view(effect.router_id)
        works = view is not None and view.health == "healthy" and self._active.get(effect.router_id) == stored.epoch
        is_led_out = home.has_way_out and self._is_known(home)
        if is_known_to_lack and works and is_led_out and home.facts.copies_flows and to.facts.copies_flows:
            raise Violated(f"{what}, which has not all of its connections, and that is not said")

    def _is_known(self, machine: Machine) -> bool:
        """Whether the controller has heard how its way out is now, whatever stall of it went unnoticed."""
        since = max(machine.way_changed_at, machine.connected_at)
        return machine.session is not None and self._agenda.now - since > self._late_s()

    def _late_s(self) -> float:
        return Attention(self._timing, 0.0).away_after_s + 2 * LINK_DELAY_S
