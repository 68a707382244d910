"""What must be true whatever happens, judged from outside: by what is really in the kernels, in real time.

1. At no instant do two hosts forward for one router. Forwarding can only begin with a write to a kernel, so it is
   looked at then.
2. With a quorum of arbiters and one successor connected, a router whose host died forwards again within `bound_s`. That
   is for arbiters who have heard that tenure and hint quickly still; one that restarted, or was stopped, for all of its
   time has nothing to hint at, and then the controller may have to claim.
3. Incarnations and epochs only grow: no router begins to forward at an epoch below one at which it forwarded, nor on
   two hosts at the same. And no plan takes back what was taken over before its maker had heard of that.
4. When faults stop and time passes, every router is active exactly once.
5. What all hosts have lost, each noticing in its own time, makes nobody resign.
6. No host holds for long a lease that its kernel does not take: others could forward what it has, and may not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

from gapless.core.edge import refusals
from gapless.core.edge.beatevents import Activate, BeatEffect, Deactivate, Fenced, HoldLease, Tell, TookOver
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import LeaseTiming, Tenure
from gapless.model.plan import Epoch
from gapless.model.router import RouterId
from gapless.sim.agenda import Agenda
from gapless.sim.lease.controller import Controller
from gapless.sim.lease.machine import Machine
from gapless.sim.lease.network import Network

QUICK_INTERVALS = 8
"""For so long hints follow each other so fast that whoever is there for the next one is within the bound."""


class Violated(Exception):
    """An oracle was violated: a bug, in the protocol or here."""


@dataclass(frozen=True, slots=True)
class _Mute:
    """One tenure's: its kernel refuses its lease, and has none that is alive; or was so a short time ago."""

    dark_s: float
    """For how long together."""
    until: float
    is_best_left: bool
    """Others told that host that they can take the larger part of what is open there."""
    as_now_since: float
    """Without a lease in between, and with the same to be had of others."""


def bound_s(timing: LeaseTiming, longest_delay_s: float) -> float:
    """How long a router may be dark: until the last arbiter's grant is over, on any clock; its hint, a claim and the
    answer on their way; and an interval more, where an arbiter was asked a moment too soon."""
    return timing.arbiter_s * 1.02 + 5 * longest_delay_s + 2.5 * timing.interval_s


class Oracles:
    """Watches the kernels."""

    def __init__(
        self,
        agenda: Agenda,
        machines: Mapping[HostName, Machine],
        network: Network,
        controller: Controller,
        bound: float,
    ) -> None:
        self._agenda = agenda
        self._machines = machines
        self._network = network
        self._controller = controller
        self._bound_s = bound
        self._highest: dict[RouterId, tuple[Epoch, HostName]] = {}
        self._incarnations: dict[HostName, Incarnation] = {}
        self._dark: dict[tuple[RouterId, HostName], float] = {}
        """Since when a router forwards nowhere, although that successor could take it."""
        self._mute: dict[Tenure, _Mute] = {}
        self._taken: dict[tuple[Tenure, RouterId], int] = {}
        """The number of the takeover by which a tenure got a router."""
        self.takeovers = 0
        self.is_lost_by_all = False
        """Nobody of this fleet loses a way out that another one has."""

    def carried_out(self, machine: Machine, effect: BeatEffect) -> None:
        """A kernel was written to."""
        if isinstance(effect, HoldLease | Activate):
            self._check_incarnation(machine)
            for router_id in machine.kernel.active:
                self._check_alone(machine, router_id)
        if isinstance(effect, Activate):
            self.takeovers += effect.cause is not None
        if isinstance(effect, Deactivate):
            self._check_unheard(machine, effect)
        if isinstance(effect, Tell) and isinstance(effect.news, Fenced) and self.is_lost_by_all:
            self._check_reason(machine, effect.news)
        if isinstance(effect, Tell) and isinstance(effect.news, TookOver):
            self._took_over(machine, effect.news)

    def _check_reason(self, machine: Machine, news: Fenced) -> None:
        if "it resigns" in news.reason:
            raise Violated(f"oracle 5: {machine.name} resigns from what nobody has")

    def _check_incarnation(self, machine: Machine) -> None:
        highest = self._incarnations.get(machine.name, 0)
        if machine.incarnation < highest:
            raise Violated(f"oracle 3: {machine.name} fell from incarnation {highest} to {machine.incarnation}")
        self._incarnations[machine.name] = machine.incarnation

    def _check_alone(self, machine: Machine, router_id: RouterId) -> None:
        if not machine.forwards(router_id):
            return
        for other in self._machines.values():
            if other is not machine and other.forwards(router_id):
                raise Violated(f"oracle 1: {router_id} is forwarded by {other.name} and {machine.name}")
        here = machine.kernel.active[router_id], machine.name
        before = self._highest.get(router_id, here)
        if here[0] < before[0] or (here[0] == before[0] and here[1] != before[1]):
            raise Violated(
                f"oracle 3: {router_id} is forwarded by {here[1]} at epoch {here[0]}, after {before[1]} at {before[0]}"
            )
        self._highest[router_id] = here

    def _took_over(self, machine: Machine, news: TookOver) -> None:
        assert machine.sentinel is not None
        if (tenure := machine.sentinel.beat.tenure) is not None:
            self._taken.update(((tenure, router_id), news.number) for router_id in news.routers)

    def _check_unheard(self, machine: Machine, effect: Deactivate) -> None:
        """Judged by the last plan that it was handed."""
        sentinel = machine.sentinel
        if sentinel is None or sentinel.plan is None or (tenure := sentinel.beat.tenure) is None:
            return
        for router_id in effect.routers:
            if self._taken.pop((tenure, router_id), 0) > sentinel.plan.heard:
                raise Violated(f"oracle 3: {machine.name} gives back {router_id}, of whose takeover nobody has heard")

    # Oracle 2

    def look(self) -> None:
        """To be called often: how long has what been dark without need?"""
        now = self._agenda.now
        self._look_at_the_mute(now)
        before, self._dark = self._dark, {}
        if now < self._network.clear_since:
            return
        for router_id in self._controller.chains:
            if any(machine.forwards(router_id) for machine in self._machines.values()):
                continue
            for machine in self._machines.values():
                if self._could_take(machine, router_id):
                    since = self._dark[router_id, machine.name] = before.get((router_id, machine.name), now)
                    if now - since > self._bound_s:
                        raise Violated(f"oracle 2: {machine.name} could take {router_id} for {now - since:.3f} s")

    def _look_at_the_mute(self, now: float) -> None:
        """Judged by each answer of the kernel: after a grant, which comes in time, or else the lease lapses."""
        before, self._mute = self._mute, {}
        for machine in self._machines.values():
            tenure = machine.sentinel.beat.tenure if machine.sentinel is not None else None
            if tenure is None:
                continue
            bound = 1.02 * machine.timing.lease_s + 2.5 * machine.timing.interval_s
            known = before.get(tenure)
            if known is not None and now - known.until >= refusals.ALONE_S - bound:
                known = None
            if not self._is_mute(machine):
                if known is not None:
                    self._mute[tenure] = replace(known, as_now_since=inf)
                continue
            mute = self._mute[tenure] = self._still_mute(machine, known, now)
            patience_s = 0.0 if mute.is_best_left else 1.02 * refusals.ALONE_S
            if now - mute.as_now_since > bound and mute.dark_s > bound + patience_s:
                raise Violated(f"oracle 6: {machine.name} holds a lease that its kernel does not take")

    def _still_mute(self, machine: Machine, known: _Mute | None, now: float) -> _Mute:
        is_best_left = self._is_best_left(machine)
        if known is None:
            return _Mute(0.0, now, is_best_left, now)
        is_as_before = known.is_best_left is is_best_left
        dark_s = known.dark_s + (now - known.until if known.as_now_since < inf else 0.0)
        return _Mute(dark_s, now, is_best_left, min(known.as_now_since, now) if is_as_before else now)

    def _is_best_left(self, machine: Machine) -> bool:
        assert machine.sentinel is not None
        beat = machine.sentinel.beat
        return 2 * beat._ways_out.others_can(machine.now) >= len(beat.forwarding)

    def _is_mute(self, machine: Machine) -> bool:
        sentinel, kernel = machine.sentinel, machine.kernel
        if sentinel is None or sentinel.is_paused or sentinel.stall is not None or not kernel.refuses:
            return False
        is_held = sentinel.beat.tenure is not None and sentinel.beat.lease_until is not None
        return is_held and not kernel.is_alive(machine.now)

    def _could_take(self, machine: Machine, router_id: RouterId) -> bool:
        """Whether that host holds a lease, has the right, reaches a quorum that remembers who died, and all did."""
        if machine.sentinel is None or machine.sentinel.is_paused or machine.sentinel.stall is not None:
            return False
        if machine.kernel.refuses:
            return False
        beat = machine.sentinel.beat
        right = beat._takeover._rights.find(router_id)
        if right is None or beat.panel is None or beat.tenure is None or not machine.kernel.is_alive(machine.now):
            return False
        awake = [each for each in self._machines.values() if self._answers(each, machine, right.after)]
        return beat.panel.is_quorum([each.name for each in awake]) and all(
            self._is_dead(tenure.host) for tenure in right.after
        )

    def _answers(self, arbiter: Machine, successor: Machine, dead: tuple[Tenure, ...]) -> bool:
        if arbiter.sentinel is None or arbiter.sentinel.is_paused or arbiter.sentinel.stall is not None:
            return False
        if self._network.is_cut(arbiter.name, successor.name) or self._network.is_cut(successor.name, arbiter.name):
            return False
        memory, now = arbiter.sentinel.beat._arbiter, arbiter.now
        quick_s = QUICK_INTERVALS * arbiter.timing.interval_s
        quick = {host: hints.incarnation for host, hints in memory._hints.items() if now - hints.since < quick_s}
        quick.update((host, memory._grants[host].incarnation) for host in memory._expiring)
        return all(quick.get(tenure.host, 0) >= tenure.incarnation for tenure in dead)

    def _is_dead(self, host: HostName) -> bool:
        machine = self._machines[host]
        return machine.sentinel is None or machine.sentinel.is_paused

    # Oracle 4

    def unsettled(self) -> str:
        """What is not as it should be at the end; "" if nothing."""
        for router_id in self._controller.chains:
            hosts = [machine.name for machine in self._machines.values() if machine.forwards(router_id)]
            if len(hosts) != 1:
                return f"oracle 4: {router_id} is forwarded by {', '.join(hosts) or 'nobody'}"
        return ""
