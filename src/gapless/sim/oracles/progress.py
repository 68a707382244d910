"""What has to come about: no router waits in vain, and when all is over everything is as it should be.

4. When faults stop and time passes, every router that some host can run is active exactly once, on the host that it is
   bound to, and a guarded one has as many standbys as it should, all of them ready, if other hosts can be that; nobody
   stays on a host out of service that could leave it, or on one that has lost its way out for want of which another
   could have it, and no guarded router on one whose data network stays cut; no such host is an arbiter if another can
   be; nothing else runs anywhere (`unsettled`).
7. No router waits for a host while there is one that has no objection.
"""

from gapless.core.events import RouterNeeds
from gapless.core.ledger.liveness import Attention
from gapless.core.planner.planner import Planner
from gapless.model.host import HostName
from gapless.model.router import FailoverMode, RouterId
from gapless.sim.machine import EXTERNAL, Machine
from gapless.sim.oracles.scene import Scene, Violated
from gapless.sim.store import Binding


class Progress:
    """Watches what waits, and looks at what is left when nothing fails any more."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._agenda, self._timing = scene.agenda, scene.timing
        self._store, self._machines = scene.store, scene.machines
        self._standbys = scene.standbys
        self._in_vain: dict[tuple[RouterId, HostName], float] = {}
        """Since when a router waits although that host could take it."""

    # Meanwhile

    def forget(self) -> None:
        """A new controller, or one that was stopped for long: nobody has waited for it yet."""
        self._in_vain.clear()

    def turned(self) -> None:
        """The planner has handled something."""
        self._check_waiting(self._scene.planner)

    def _check_waiting(self, planner: Planner) -> None:
        """Judged two ticks late, since it is a tick that ends the time in which a host is avoided."""
        now, late_s = self._agenda.now, 2 * Attention(self._timing, 0.0).tick_s
        before, self._in_vain = self._in_vain, {}
        for router_id in planner.waiting_for_a_host():
            for host, objection in planner.objections(router_id).items():
                if objection or self._waits_for_another(router_id, host):
                    continue
                since = self._in_vain[router_id, host] = before.get((router_id, host), now)
                if now - since > late_s:
                    raise Violated(f"oracle 7: {router_id} waits since {since:.3f} although {host} can take it")

    def _waits_for_another(self, router_id: RouterId, host: HostName) -> bool:
        """Whether what it lacks is one more standby, and this host is one already."""
        standbys = self._store.bindings[router_id].successors if router_id in self._store.bindings else ()
        return len(standbys) < self._standbys and any(each.tenure.host == host for each in standbys)

    # When all is over

    def unsettled(self) -> str:
        """What is still not as it should be, now that nothing fails any more; "" if nothing."""
        for router_id, needs in self._store.needs.items():
            if wrong := self._wrong_with(router_id, needs):
                return f"oracle 4: {router_id} {wrong}"
        if wrong := self._wrong_with_arbiters():
            return f"oracle 4: {wrong}"
        for name, machine in self._machines.items():
            for router_id, there in machine.kernel.items():
                if there.is_guarded and router_id in machine.plan:
                    continue  # Built, because its plan says so; what is open is looked at below.
                if machine.agent_is_broken:
                    continue  # Nobody is there to remove it.
                binding = self._store.bindings.get(router_id)
                if binding is None or binding.host != name:
                    return f"oracle 4: {router_id} runs on {name}, but is {binding}"
            for router_id in machine.guard.active:
                binding = self._store.bindings.get(router_id)
                if machine.is_on and (binding is None or binding.host != name):
                    return f"oracle 4: {router_id} is open on {name}, but is {binding}"
        return ""

    def _wrong_with(self, router_id: RouterId, needs: RouterNeeds) -> str:
        binding = self._store.bindings.get(router_id)
        is_leased = needs.mode is FailoverMode.STANDBY or (binding is not None and binding.incarnation is not None)
        if is_leased and not self._is_quorum_on():
            return ""  # Nobody holds a lease, and nobody can be buried.
        able = [name for name in self._machines if self._is_able(name, needs)]
        if binding is None:
            return f"has no host, but {able} can take it" if able else ""
        home = self._machines[binding.host]
        others = [name for name in able if name != binding.host]
        if not home.is_on:
            return self._wrong_with_dead_home(needs, binding.host, others)
        if is_leased and not self._holds_lease(home):
            is_dark = binding.incarnation is not None and others
            return f"is on {binding.host}, which reaches no arbiter, but {others} can take it" if is_dark else ""
        if binding.leaving is not None and self._machines[binding.leaving].is_on:
            is_stuck = self._machines[binding.leaving].agent_is_broken and binding.leaving_incarnation is None
            return "" if is_stuck else f"still leaves {binding.leaving}"
        if binding.leaving is not None:
            return "" if self._is_braked() else f"still leaves {binding.leaving}, which is dead"
        if home.agent_is_broken:
            can_leave = needs.mode is FailoverMode.STANDBY and binding.incarnation is not None and others
            if can_leave:
                return f"is still on {binding.host}, where no agent works, but {others} can take it"
            there = home.kernel.get(router_id)
            is_ready = binding.incarnation is not None and there is not None and there.is_built and there.is_guarded
            is_shut = is_ready and home.is_known and not home.guard.forwards(router_id)
            return f"is built on {binding.host} and not open, where no agent works" if is_shut else ""
        if wrong := self._wrong_with_way_out(needs, home, others):
            return wrong
        if not self._store.hosts[binding.host].admin_up and others:
            return f"is still on {binding.host}, which is out of service, but {others} can take it"
        there = home.kernel.get(router_id)
        if there is None or not there.is_built or there.epoch != binding.epoch:
            may_stay = router_id in home.broken and (not others or needs.mode is FailoverMode.OFF)
            return "" if may_stay else f"is not active on {binding.host} ({there}); {others} can take it"
        is_guarded = needs.mode is FailoverMode.STANDBY and home.facts.lease_address is not None
        if is_guarded is not (binding.incarnation is not None):
            return f"is to be guarded: {is_guarded}, but is {binding}"
        return self._wrong_with_guard(router_id, binding, others) if is_guarded else ""

    def _wrong_with_dead_home(self, needs: RouterNeeds, home: HostName, others: list[HostName]) -> str:
        if needs.mode is FailoverMode.OFF or not others or self._is_braked():
            return ""
        return f"is bound to {home}, which is dead, but {others} can take it"

    def _wrong_with_way_out(self, needs: RouterNeeds, home: Machine, others: list[HostName]) -> str:
        """`others` are those that can take it, way out and all; some do not say that they have it."""
        is_to_leave = not self._is_led_out(home, needs) and home.says_ways and needs.mode is not FailoverMode.OFF
        known = [name for name in others if self._machines[name].says_ways]
        if not is_to_leave or not known or self._scene.planner.brake_view().engaged:
            return ""
        return f"is still on {home.facts.name}, which has lost its way out, but {known} have it"

    def _wrong_with_guard(self, router_id: RouterId, binding: Binding, others: list[HostName]) -> str:
        if not self._machines[binding.host].guard.forwards(router_id):
            return f"is built on {binding.host} and not open: {binding}"
        standbys = [each.tenure.host for each in binding.successors]
        able = [name for name in others if name not in standbys]
        if len(standbys) > self._standbys:
            return f"has {standbys} as standbys: too many"
        if len(standbys) < self._standbys and able:
            return f"has {standbys} as standbys, but {able} could be that"
        idle = [name for name in standbys if not self._is_ready(self._machines[name], router_id)]
        return f"has standbys that are not ready ({idle}), but {able} could be that" if able and idle else ""

    def _wrong_with_arbiters(self) -> str:
        panel = self._store.panel
        if panel is None or not self._is_quorum_on():
            return ""
        mute = [name for name in panel.arbiters if self._machines[name].is_on and not self._machines[name].is_on_data]
        others = [
            name
            for name, each in self._machines.items()
            if each.is_on and each.is_on_data and each.facts.lease_address is not None and name in self._store.hosts
        ]
        able = sorted(set(others).difference(panel.arbiters))
        return f"{mute} of the arbiters reach nobody, but {able} could be that" if mute and able else ""

    def _is_able(self, name: HostName, needs: RouterNeeds) -> bool:
        machine, stored = self._machines[name], self._store.hosts.get(name)
        load = sum(
            binding.host == name or any(each.tenure.host == name for each in binding.successors)
            for binding in self._store.bindings.values()
        )
        return (
            stored is not None
            and machine.is_on
            and not machine.agent_is_broken
            and stored.admin_up
            and load < machine.facts.capacity
            and needs.router_id not in machine.broken
            and needs.physical_networks <= set(machine.facts.physical_networks)
            and self._is_led_out(machine, needs)
            and (needs.mode is not FailoverMode.STANDBY or self._holds_lease(machine))
            and (not needs.needs_vxlan or machine.facts.data_address is not None)
            and (not needs.availability_zone_hints or machine.facts.availability_zone in needs.availability_zone_hints)
        )

    def _is_led_out(self, machine: Machine, needs: RouterNeeds) -> bool:
        return machine.has_way_out or EXTERNAL not in needs.physical_networks

    def _is_ready(self, standby: Machine, router_id: RouterId) -> bool:
        there = standby.kernel.get(router_id)
        is_built = there is not None and there.is_built
        return router_id in standby.guard.rights and is_built and not standby.agent_is_broken

    def _is_quorum_on(self) -> bool:
        """Whether enough arbiters are there to bury anybody."""
        machines = self._machines
        on = [name for name, each in machines.items() if each.is_on and each.is_on_data and name in self._store.hosts]
        return self._store.panel is not None and self._store.panel.is_quorum(on)

    def _holds_lease(self, machine: Machine) -> bool:
        return machine.facts.lease_address is not None and machine.is_on_data

    def _is_braked(self) -> bool:
        """The brake is engaged, and rightly so: most of the hosts that count are really off."""
        brake, machines = self._scene.planner.brake_view(), self._machines.values()
        off = sum(machine.facts.name in brake.hosts and not machine.is_on for machine in machines)
        on = sum(machine.is_on for machine in machines)
        return brake.engaged and off > self._timing.brake_share * (off + on)
