"""What must be true whatever happens, judged from outside: by what is really in the kernels and in the store.

1. Never does anything of one router run on two living hosts at once, from the first step of a build to the last of
   a removal; of a guarded one, never is it open on two hosts that hold their leases. Excluded is exactly one case, the
   price of the classic way without a lease: a host that is alive but was
   not heard for twice agent_down_time, because its management link was cut, is taken for dead; what it runs then
   unguarded, it goes on running until it hears its plan again and has removed what moved (`_cut_off`, `_leftovers`).
2. A router that was bound is bound for ever after.
3. Epochs only grow; no plan that is sent holds an older one, or a router that is bound elsewhere; and what
   a host was told to run is never taken from it while it is bound there.
4. When faults stop and time passes, every router that some host can run is active exactly once, on the host that it is
   bound to, and a guarded one has as many standbys as it should, all of them ready, if other hosts can be that; nobody
   stays on a host out of service that could leave it, or on one that has lost its way out for want of which another
   could have it, and no guarded router on one whose data network stays cut; no such host is an arbiter if another can
   be; nothing else runs anywhere (`unsettled`).
5. No host is held dead unless it was not heard for twice agent_down_time in which the controller was there and awake,
   or an operator confirmed that it is off; and nothing moves for silence but from such a host.
6. Nothing moves for silence while more than brake_share of the hosts look dead.
7. No router waits for a host while there is one that has no objection.
8. Of two hosts that have the right to succeed with one router, one waits for the other; and none has a right that is
   not stored, or that does not wait for all that are stored before it. Nothing is to be released but to the host that
   the router is bound to, as stored.
9. A router that fails wherever it is built is not moved on from host to host: `MOST_RETRIES` times, and then only after
   a pause, or when there is a new host.
10. No router leaves a host for the want of an agent unless none ran there steadily for `agent_patience`. (That those
   which can leave do so in the end, and that such a host stands by for nobody where others can, is part of 4.)
11. No router is moved more than five times within an hour because hosts cannot run it.
12. Of routers that their hosts cannot run, all for one cause as hosts are made up here, no more are moved than a few,
    and a few more for each that was active on its new host (`sim.retries`).
13. No router leaves a host for the want of a way out but one that has lost it for `SETTLED_S`, as it says itself, to
    one that has it and says so; and none while the outside is gone for all, however early or late each sees that.
"""

from collections.abc import Mapping, Sequence

from gapless.core.effects import Bind, Effect, RecordStep, ReportHost, ReportPause
from gapless.core.events import BrakeReleased, Event, HostConfirmedOff, HostForgotten, RouterDeleted, RouterNeeds
from gapless.core.ledger.agents import STEADY_S
from gapless.core.ledger.liveness import Attention, Timing
from gapless.core.ledger.plans import Duty
from gapless.core.ledger.tours import PAUSE_S
from gapless.core.ledger.ways import SETTLED_S
from gapless.core.planner.planner import Planner
from gapless.model.host import HostName, Incarnation, machine_of
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch, Guarded, MoveKind, MoveStep, Role, Successor
from gapless.model.router import FailoverMode, RouterId
from gapless.sim.agenda import Agenda
from gapless.sim.guard import Leases
from gapless.sim.machine import EXTERNAL, LINK_DELAY_S, Machine
from gapless.sim.retries import Retries
from gapless.sim.store import Binding, FakeStore

MOST_RETRIES = 2
"""One host fails, and so does the next; once more if it was active in between, for too short to confirm a move."""


class Violated(Exception):
    """An oracle was violated: a bug, in the planner or here."""


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
        self._standbys = standbys
        self._agenda = agenda
        self._leases = leases
        self._store = store
        self._machines = machines
        self._ghosts = ghosts
        self._timing = timing
        self._planner: Planner | None = None
        self._highest: dict[RouterId, Epoch] = {}
        self._told: set[tuple[HostName, RouterId, Epoch]] = set()
        self._ears: dict[HostName, float] = {}
        """When each host was heard, or this controller began, moved by the pauses since: what a death is judged by."""
        self._counted: dict[HostName, float] = {}
        """The same, moved by all that the planner says it does not count."""
        self._in_vain: dict[tuple[RouterId, HostName], float] = {}
        """Since when a router waits although that host could take it."""
        self._dead: set[HostName] = set()
        self._said_to_be_dead: set[HostName] = set()
        """By an operator who released the brake."""
        self._confirmed_off: set[HostName] = set()
        self._cut_off: set[HostName] = set()
        self._classic_at_death: dict[HostName, set[RouterId]] = {}
        """What was not (yet) guarded when such a host was taken for dead."""
        self._leftovers: set[tuple[HostName, RouterId]] = set()
        self._retried: dict[RouterId, dict[Epoch, float]] = {}
        """When each router left hosts that failed, since it was last confirmed to be active."""
        self._is_outside_gone = False
        self._retries = Retries(lambda router_id, epoch: (router_id, epoch) in store.moves)

    # What is seen

    def started(self, planner: Planner) -> None:
        """A new controller reads the store."""
        self._planner = planner
        self._ears = dict.fromkeys(self._store.hosts, self._agenda.now)
        self._counted = dict(self._ears)
        self._in_vain.clear()
        self._dead.clear()
        self._confirmed_off = {word.host for word in self._store.words() if word.is_off}
        self._said_to_be_dead = set(self._confirmed_off)
        self._retried.clear()
        self._retries.forget()

    def resumed(self, away_s: float) -> None:
        """The controller was stopped: nobody could be heard."""
        if away_s > Attention(self._timing, 0.0).away_after_s:
            self._ears.update((host, self._ears[host] + away_s) for host in self._ears.keys() - self._dead)
            self._in_vain.clear()

    def heard(self, host: HostName) -> None:
        """The controller handles something that a host said."""
        if host not in self._ears:
            self._retried.clear()  # A new host may be tried at once.
            self._retries.forget()
        self._ears[host] = self._counted[host] = self._agenda.now
        self._dead.discard(host)
        self._said_to_be_dead.discard(host)
        self._confirmed_off.discard(host)

    def told(self, event: Event) -> None:
        """An operator says something."""
        if isinstance(event, BrakeReleased):
            assert self._planner is not None
            seen = self._planner.brake_view().hosts
            self._said_to_be_dead.update(host for host in seen if event.hosts is None or host in event.hosts)
        if isinstance(event, HostConfirmedOff):
            self._confirmed_off.add(event.host)
            self._said_to_be_dead.add(event.host)
        if isinstance(event, RouterDeleted):
            self._retries.gone(event.router_id)
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
        if isinstance(effect, Bind):
            self._check_tour(effect)
            if wrong := self._retries.asked(effect, self._agenda.now):
                raise Violated(wrong)
            self._check_agent(effect)
            self._check_way_out(effect)
        if isinstance(effect, RecordStep) and effect.step is MoveStep.CONFIRMED:
            self._retried.pop(effect.router_id, None)
            self._retries.confirmed(effect.router_id)

    def turned(self) -> None:
        """The planner has handled something."""
        assert self._planner is not None
        self._planner.check()
        views = self._planner.router_views()
        for router_id, binding in self._store.bindings.items():
            if binding.epoch < self._highest.get(router_id, 0):
                raise Violated(f"oracle 3: the stored epoch of {router_id} fell to {binding.epoch}")
            self._highest[router_id] = binding.epoch
        for router_id in self._highest.keys() & self._store.needs.keys():
            if router_id not in self._store.bindings or (router_id in views and not views[router_id].host):
                if router_id in self._store.bindings and self._store.bindings[router_id].epoch == 1:
                    continue  # Its first binding has just been written, and the answer is on its way.
                raise Violated(f"oracle 2: {router_id} was bound and is bound to nobody")
        self._check_waiting(self._planner)

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

    def outside_is_gone(self, *, is_gone: bool) -> None:
        """What is outside is gone for all hosts, or back and seen to be by all."""
        self._is_outside_gone = is_gone

    def _check_way_out(self, effect: Bind) -> None:
        stored = self._store.bindings.get(effect.router_id)
        if "which has lost its way out" not in effect.reason or (stored is not None and stored.epoch == effect.epoch):
            return
        home, to = self._machines[HostName(effect.previous_host or "")], self._machines[effect.host]
        what = f"oracle 13: {effect.router_id} leaves {home.facts.name} for {to.facts.name}"
        if self._is_outside_gone:
            raise Violated(f"{what} although the outside is gone for all")
        if not (home.says_ways and to.says_ways):
            raise Violated(f"{what}, and one of them does not say whether it has its way out")
        lost_s = self._agenda.now - home.way_changed_at
        if self._is_known(home) if home.has_way_out else lost_s < SETTLED_S:
            raise Violated(f"{what} although it has its way out, or lacks it for a moment")
        if not to.has_way_out and self._is_known(to):
            raise Violated(f"{what}, which has lost its way out as well")

    def _is_known(self, machine: Machine) -> bool:
        """Whether the controller has heard how its way out is now, whatever stall of it went unnoticed."""
        late_s = Attention(self._timing, 0.0).away_after_s + 2 * LINK_DELAY_S
        since = max(machine.way_changed_at, machine.connected_at)
        return machine.session is not None and self._agenda.now - since > late_s

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

    def sending(self, host: HostName, plan: dict[RouterId, Duty]) -> None:
        """A plan leaves for a host."""
        assert self._planner is not None
        views = self._planner.router_views()
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

    def _was_classic(self, machine: Machine, router_id: RouterId) -> bool:
        """Whether the router was a classic one when such a host was taken for dead, whatever its guard knew of that."""
        is_excluded = machine.is_replaced or self._is_excluded(machine, router_id)
        return is_excluded and router_id in self._classic_at_death.get(machine.facts.name, ())

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

    def _may_be_sent(self, host: HostName, router_id: RouterId, epoch: Epoch) -> bool:
        binding = self._store.bindings.get(router_id)
        if binding is None:
            return True  # Deleted, and the planner will hear of it.
        if binding.host == host and binding.epoch == epoch:
            return binding.leaving is None
        # A new binding has just been written, and the answer is on its way: the old host still runs it, as it may.
        return binding.leaving == host and binding.epoch == epoch + 1

    def planned(self, machine: Machine) -> None:
        """A host has heard its plan: what it runs beyond that is a leftover, until it is removed."""
        name = machine.facts.name
        if name in self._cut_off:
            self._cut_off.discard(name)
            self._leftovers.update((name, router_id) for router_id in machine.kernel.keys() - machine.plan.keys())

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

    def vanished(self, machine: Machine, router_id: RouterId) -> None:
        """Nothing of a router is left on a host."""
        self._leftovers.discard((machine.facts.name, router_id))

    def _is_excluded(self, machine: Machine, router_id: RouterId) -> bool:
        return machine.facts.name in self._cut_off or (machine.facts.name, router_id) in self._leftovers

    # Silence

    def _check_death(self, host: HostName) -> None:
        silent_s = self._agenda.now - self._ears[host]
        if silent_s < self._timing.dead_after_s and host not in self._confirmed_off:
            raise Violated(f"oracle 5: {host} is held dead after {silent_s:.1f} s in which it could have been heard")
        self._dead.add(host)
        if host in self._machines and self._machines[host].is_on:
            self._cut_off.add(host)
        if any(each.is_on and each.facts.name == host for each in (*self._machines.values(), *self._ghosts)):
            bound = self._store.bindings.items()
            self._classic_at_death[host] = {each for each, binding in bound if binding.incarnation is None}

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
        assert self._planner is not None
        holding = {
            view.host
            for view in self._planner.router_views().values()
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

    def _wrong_with_way_out(self, needs: RouterNeeds, home: Machine, others: list[HostName]) -> str:
        """`others` are those that can take it, way out and all; some do not say that they have it."""
        assert self._planner is not None
        is_to_leave = not self._is_led_out(home, needs) and home.says_ways and needs.mode is not FailoverMode.OFF
        known = [name for name in others if self._machines[name].says_ways]
        if not is_to_leave or not known or self._planner.brake_view().engaged:
            return ""
        return f"is still on {home.facts.name}, which has lost its way out, but {known} have it"

    def _is_led_out(self, machine: Machine, needs: RouterNeeds) -> bool:
        return machine.has_way_out or EXTERNAL not in needs.physical_networks

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

    def _is_ready(self, standby: Machine, router_id: RouterId) -> bool:
        there = standby.kernel.get(router_id)
        is_built = there is not None and there.is_built
        return router_id in standby.guard.rights and is_built and not standby.agent_is_broken

    def _wrong_with_dead_home(self, needs: RouterNeeds, home: HostName, others: list[HostName]) -> str:
        if needs.mode is FailoverMode.OFF or not others or self._is_braked():
            return ""
        return f"is bound to {home}, which is dead, but {others} can take it"

    def _is_quorum_on(self) -> bool:
        """Whether enough arbiters are there to bury anybody."""
        machines = self._machines
        on = [name for name, each in machines.items() if each.is_on and each.is_on_data and name in self._store.hosts]
        return self._store.panel is not None and self._store.panel.is_quorum(on)

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

    def _holds_lease(self, machine: Machine) -> bool:
        return machine.facts.lease_address is not None and machine.is_on_data

    def _is_braked(self) -> bool:
        """The brake is engaged, and rightly so: most of the hosts that count are really off."""
        assert self._planner is not None
        brake, machines = self._planner.brake_view(), self._machines.values()
        off = sum(machine.facts.name in brake.hosts and not machine.is_on for machine in machines)
        on = sum(machine.is_on for machine in machines)
        return brake.engaged and off > self._timing.brake_share * (off + on)
