"""A router that forwards unguarded and is to be guarded: what its agent may be told, and what may be said of it. Pure.

The rule: first the guard opens it, then the agent puts its taps under the guard, then that is on the disk, and then it
is said to be guarded; before that nobody may succeed it. So not a frame is lost, and no start of this host from its
disk takes the guard away from a router that somebody else may take over.

Invariant: what is said to be guarded was seen so by an agent that worked from a plan that the disk has.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from gapless.core.hostplan import HostPlan
from gapless.model.plan import PlannedRouter, Role, RouterReport
from gapless.model.router import RouterId


def as_the_agent_may_have_it(
    planned: PlannedRouter, known: PlannedRouter | None, passing: Collection[RouterId]
) -> PlannedRouter:
    """A router of the plan, given what the agent has of it. It goes on without a guard until the guard lets it pass;
    but not where it was bound anew: whoever is active by another binding was guarded before.
    """
    if planned.guarded is None or planned.guarded.role is not Role.ACTIVE or planned.router.id in passing:
        return planned
    forwards_unguarded = known is not None and known.guarded is None and known.epoch == planned.epoch
    return replace(planned, guarded=None) if forwards_unguarded else planned


def regrouped(before: HostPlan, after: HostPlan) -> list[RouterId]:
    """Routers that the agent puts under the guard, or takes from it. Those that leave unguarded are among them: they
    may come back guarded before the disk has it that they left.
    """
    return [router_id for router_id, was in before.routers.items() if _is_regrouped(was, after.routers.get(router_id))]


def _is_regrouped(was: PlannedRouter, now: PlannedRouter | None) -> bool:
    return was.guarded is None if now is None else (was.guarded is None) != (now.guarded is None)


def departed(before: HostPlan, after: HostPlan) -> set[RouterId]:
    """Routers that the plan does not have any more."""
    return before.routers.keys() - after.routers.keys()


def arrived(before: HostPlan, after: HostPlan) -> set[RouterId]:
    """Routers that the plan did not have."""
    return after.routers.keys() - before.routers.keys()


class Proofs:
    """Whether an agent's word that a router is guarded may be passed on. Versions are those of `Desired`."""

    def __init__(self) -> None:
        self._since: dict[RouterId, int] = {}
        """The version by which a router's taps change groups, until that is done and kept."""
        self._unkept: set[RouterId] = set()
        """The agent said so, and the disk does not have it yet."""
        self._departed: set[RouterId] = set()
        """Of `_since`: those that left the plan. They may be back, and then the same is to be proven of them."""
        self._heard = self._kept = 0
        """The versions that the agent worked from when it spoke last, and that the disk has."""

    def regroup(self, routers: Iterable[RouterId], version: int) -> None:
        """From this version on, the agent is to have these the other way."""
        for router_id in routers:
            self._since[router_id] = version
            self._unkept.discard(router_id)
            self._departed.discard(router_id)

    def depart(self, routers: Iterable[RouterId]) -> None:
        """These are in the plan no more: nobody may ever say a word of them again."""
        self._departed.update(router_id for router_id in routers if router_id in self._since)

    def word(self, said: RouterReport, version: int) -> RouterReport:
        """What an agent said, working from this version, as it may be passed on."""
        since = self._since.get(said.router_id)
        self._unkept.discard(said.router_id)
        if since is None or not said.guarded:
            return said
        if version < since:
            return replace(said, guarded=False)
        if self._kept < since:
            self._unkept.add(said.router_id)
            return replace(said, guarded=False)
        self._forget(said.router_id)
        return said

    def heard(self, version: int) -> None:
        """All words of the agent were made from this version, from here on, or from a later one."""
        self._heard = version
        self._forget_departed()

    def kept(self, version: int, known: Mapping[RouterId, RouterReport]) -> list[RouterReport]:
        """The disk has this version: the words that may be passed on now, of those `known`."""
        self._kept = version
        proven = [router_id for router_id in self._unkept if self._since[router_id] <= version]
        for router_id in proven:
            self._forget(router_id)
        self._forget_departed()
        return [replace(known[router_id], guarded=True) for router_id in sorted(proven) if router_id in known]

    def _forget_departed(self) -> None:
        """If one comes back now, neither the agent nor the disk knows it from before."""
        sure = min(self._heard, self._kept)
        for router_id in [each for each in self._departed if self._since[each] <= sure]:
            self._forget(router_id)

    def _forget(self, router_id: RouterId) -> None:
        del self._since[router_id]
        self._unkept.discard(router_id)
        self._departed.discard(router_id)
