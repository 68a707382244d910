"""Never two at once: the oracles of safety, judged by what is in the kernels and what is open there.

1. Never does anything of one router run on two living hosts at once, from the first step of a build to the last of
   a removal; of a guarded one, never is it open on two hosts that hold their leases. Excluded is exactly one case, the
   price of the classic way without a lease: a host that is alive but was not heard for twice agent_down_time, because
   its management link was cut, is taken for dead; what it runs then unguarded, it goes on running until it hears its
   plan again and has removed what moved (`_cut_off`, `_leftovers`).
8. Of two hosts that have the right to succeed with one router, one waits for the other. (What else this one says is
   judged in `oracles.bookkeeping`.)
"""

from gapless.core.effects import Effect, ReportHost
from gapless.model.host import HostName
from gapless.model.lease import Tenure
from gapless.model.router import RouterId
from gapless.sim.machine import Machine
from gapless.sim.oracles.scene import Scene, Violated


class NeverTwo:
    """Watches routers appear, open, close and vanish, and who may open them."""

    def __init__(self, scene: Scene) -> None:
        self._store = scene.store
        self._machines, self._ghosts = scene.machines, scene.ghosts
        self._cut_off: set[HostName] = set()
        self._classic_at_death: dict[HostName, set[RouterId]] = {}
        """What was not (yet) guarded when such a host was taken for dead."""
        self._leftovers: set[tuple[HostName, RouterId]] = set()

    def appeared(self, machine: Machine, router_id: RouterId) -> None:
        """A host begins to build a router."""
        for other in self._machines.values():
            if other is machine or not other.is_on or machine.kernel[router_id].is_guarded:
                continue
            there = other.kernel.get(router_id)
            if (there is None or there.is_guarded) and not other.guard.forwards(router_id):
                continue
            if not self._is_excluded(machine, router_id) and not self._is_excluded(other, router_id):
                raise Violated(f"oracle 1: {router_id} is on {other.facts.name} and on {machine.facts.name}")

    def opened(self, tenure: Tenure, router_id: RouterId) -> None:
        """A guarded router is open on a host."""
        name = tenure.host
        for other in (*self._machines.values(), *self._ghosts):
            if other.guard.tenure == tenure or not other.is_on:
                continue
            if other.guard.forwards(router_id) and not self._was_classic(other, router_id):
                raise Violated(f"oracle 1: {router_id} is open on {other.facts.name} and on {name}")
            there = None if other.is_replaced else other.kernel.get(router_id)
            if there is not None and not there.is_guarded and not self._is_excluded(other, router_id):
                raise Violated(f"oracle 1: {router_id} runs on {other.facts.name} and is open on {name}")

    def righted(self, name: HostName) -> None:
        """A host has other rights than before. Two may have one each if one's begins only with the other's end."""
        mine = self._machines[name].guard
        for router_id, (_, after) in mine.rights.items():
            for other in (*self._machines.values(), *self._ghosts):
                guard = other.guard
                if guard is mine or not (other.is_on and guard.is_alive and mine.is_alive) or guard.tenure in after:
                    continue
                if router_id in guard.rights and mine.tenure not in guard.rights[router_id][1]:
                    raise Violated(f"oracle 8: {name} and {other.facts.name} may succeed with {router_id}")
                if guard.forwards(router_id) and not self._was_classic(other, router_id):
                    raise Violated(f"oracle 8: {name} may succeed {after}, but {router_id} is on {other.facts.name}")

    def vanished(self, machine: Machine, router_id: RouterId) -> None:
        """Nothing of a router is left on a host."""
        self._leftovers.discard((machine.facts.name, router_id))

    # What is excluded

    def emitted(self, effect: Effect) -> None:
        """The planner asks for something."""
        if isinstance(effect, ReportHost) and effect.standing == "dead":
            self._note_death(effect.host)

    def _note_death(self, host: HostName) -> None:
        if host in self._machines and self._machines[host].is_on:
            self._cut_off.add(host)
        if any(each.is_on and each.facts.name == host for each in (*self._machines.values(), *self._ghosts)):
            bound = self._store.bindings.items()
            self._classic_at_death[host] = {each for each, binding in bound if binding.incarnation is None}

    def planned(self, machine: Machine) -> None:
        """A host has heard its plan: what it runs beyond that is a leftover, until it is removed."""
        name = machine.facts.name
        if name in self._cut_off:
            self._cut_off.discard(name)
            self._leftovers.update((name, router_id) for router_id in machine.kernel.keys() - machine.plan.keys())

    def _is_excluded(self, machine: Machine, router_id: RouterId) -> bool:
        return machine.facts.name in self._cut_off or (machine.facts.name, router_id) in self._leftovers

    def _was_classic(self, machine: Machine, router_id: RouterId) -> bool:
        """Whether the router was a classic one when such a host was taken for dead, whatever its guard knew of that."""
        is_excluded = machine.is_replaced or self._is_excluded(machine, router_id)
        return is_excluded and router_id in self._classic_at_death.get(machine.facts.name, ())
