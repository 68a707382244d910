"""Between the controller, its store and its hosts: what is stored stands, and hosts are sent that and nothing else.

2. A router that was bound is bound for ever after.
3. Epochs only grow; no plan that is sent holds an older one, or a router that is bound elsewhere; and what
   a host was told to run is never taken from it while it is bound there.
8. No host has a right to succeed that is not stored, or that does not wait for all that are stored before it. Nothing
   is to be released but to the host that the router is bound to, as stored. (That of two with such a right one waits
   for the other is judged in `oracles.never_two`.)
"""

from gapless.core.ledger.plans import Duty
from gapless.model.host import HostName, Incarnation, machine_of
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch, Guarded, Role, Successor
from gapless.model.router import RouterId
from gapless.sim.oracles.scene import Scene, Violated


class Bookkeeping:
    """Watches the store and the plans that leave."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._store, self._leases = scene.store, scene.leases
        self._machines, self._ghosts = scene.machines, scene.ghosts
        self._highest: dict[RouterId, Epoch] = {}
        self._told: set[tuple[HostName, RouterId, Epoch]] = set()

    def turned(self) -> None:
        """The planner has handled something."""
        views = self._scene.planner.router_views()
        for router_id, binding in self._store.bindings.items():
            if binding.epoch < self._highest.get(router_id, 0):
                raise Violated(f"oracle 3: the stored epoch of {router_id} fell to {binding.epoch}")
            self._highest[router_id] = binding.epoch
        for router_id in self._highest.keys() & self._store.needs.keys():
            if router_id not in self._store.bindings or (router_id in views and not views[router_id].host):
                if router_id in self._store.bindings and self._store.bindings[router_id].epoch == 1:
                    continue  # Its first binding has just been written, and the answer is on its way.
                raise Violated(f"oracle 2: {router_id} was bound and is bound to nobody")

    def sending(self, host: HostName, plan: dict[RouterId, Duty]) -> None:
        """A plan leaves for a host."""
        views = self._scene.planner.router_views()
        for router_id, duty in plan.items():
            if duty.guarded is not None:
                self._check_guarded(host, router_id, duty.epoch, duty.guarded)
            elif not self._may_be_sent(host, router_id, duty.epoch):
                stored = self._store.bindings[router_id]
                raise Violated(f"oracle 3: {host} is sent {router_id} at {duty.epoch}: {stored}")
            if not duty.is_standby:
                self._told.add((host, router_id, duty.epoch))
        for router_id, binding in self._store.bindings.items():
            if binding.host != host or router_id in plan or (host, router_id, binding.epoch) not in self._told:
                continue
            if router_id in views and views[router_id].state != "binding":
                raise Violated(f"oracle 3: {router_id} is taken from {host}, which it is bound to")

    def _may_be_sent(self, host: HostName, router_id: RouterId, epoch: Epoch) -> bool:
        binding = self._store.bindings.get(router_id)
        if binding is None:
            return True  # Deleted, and the planner will hear of it.
        if binding.host == host and binding.epoch == epoch:
            return binding.leaving is None
        # A new binding has just been written, and the answer is on its way: the old host still runs it, as it may.
        return binding.leaving == host and binding.epoch == epoch + 1

    def _check_guarded(self, host: HostName, router_id: RouterId, epoch: Epoch, guarded: Guarded) -> None:
        """A role is given only if it is stored; or if it was, and the store's next word on it is on its way."""
        stored, tenure = self._store.bindings.get(router_id), Tenure(host, guarded.incarnation)
        if stored is None or stored.incarnation is None:
            return  # Deleted, or not guarded yet, or not any more: what a guard does then is to close.
        if self._is_past(tenure) or self._leases.is_buried(tenure):
            return  # It is for a tenure that is over, and gives nothing.
        bound = Tenure(stored.host, stored.incarnation)
        is_next, is_old = Successor(tenure=tenure, epoch=epoch) in stored.successors, epoch < stored.epoch
        if guarded.role is Role.ACTIVE:
            is_left = stored.leaving is None or self._is_over(stored.leaving, stored.leaving_incarnation)
            is_left |= self._has_open(tenure, router_id)
            is_bound = (tenure, epoch) == (bound, stored.epoch) and is_left
            if not (is_bound or is_next or is_old):
                raise Violated(f"oracle 3: {host} is sent {router_id} at {epoch} to be active: {stored}")
        elif guarded.release is not None:
            is_told = guarded.release == Successor(tenure=bound, epoch=stored.epoch)
            if not (is_told or guarded.release.epoch < stored.epoch):
                raise Violated(f"oracle 8: {host} is sent to release {router_id} to {guarded.release}: {stored}")
        elif guarded.after:
            is_coming = (tenure, epoch) == (bound, stored.epoch)
            before = {bound, *(each.tenure for each in stored.successors if each.epoch < epoch)}
            if stored.leaving is not None and stored.leaving_incarnation is not None:
                before.add(Tenure(stored.leaving, stored.leaving_incarnation))
            if not ((is_next and before <= set(guarded.after)) or is_coming):
                raise Violated(f"oracle 8: {host} is sent the right to {router_id} at {epoch}: {stored}")

    def _is_past(self, tenure: Tenure) -> bool:
        """Whether its machine, which has that name or had it, is at a higher incarnation, or off: it will be at one."""
        return any(
            each.facts.name == tenure.host
            and each.incarnation >= tenure.incarnation + each.is_on
            and machine_of(each.incarnation) == machine_of(tenure.incarnation)
            for each in (*self._machines.values(), *self._ghosts)
        )

    def _has_open(self, tenure: Tenure, router_id: RouterId) -> bool:
        """It was released to that host, which has it open; `opened` has seen whether it might."""
        return any(
            each.guard.tenure == tenure and router_id in each.guard.active
            for each in (*self._machines.values(), *self._ghosts)
        )

    def _is_over(self, host: HostName, incarnation: Incarnation | None) -> bool:
        return incarnation is not None and self._leases.is_buried(Tenure(host, incarnation))
