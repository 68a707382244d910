"""A router that forwards unguarded and is to be guarded: what its agent may be told, and what may be said of it. Pure.

The rule: first the guard opens it, then the agent puts its taps under the guard, then that is on the disk, and then it
is said to be guarded; before that nobody may succeed it. So not a frame is lost, and no start of this host from its
disk takes the guard away from a router that somebody else may take over.

Invariant: what is said to be guarded was seen so by an agent that worked from a plan that the disk has.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from gapless.core.hostplan import HostPlan
from gapless.model.plan import PlannedRouter, Role, RouterReport, RouterState
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
    """Routers that the agent puts under the guard, or takes from it."""
    was = before.routers
    return [
        router_id
        for router_id, each in after.routers.items()
        if router_id in was and (was[router_id].guarded is None) != (each.guarded is None)
    ]


class Proofs:
    """Whether an agent's word that a router is guarded may be passed on. Versions are those of `Desired`."""

    def __init__(self) -> None:
        self._since: dict[RouterId, int] = {}
        """The version by which a router's taps change groups, until that is done and kept."""
        self._unkept: set[RouterId] = set()
        """The agent said so, and the disk does not have it yet."""
        self._kept = 0

    def regroup(self, routers: Iterable[RouterId], version: int) -> None:
        """From this version on, the agent is to have these the other way."""
        for router_id in routers:
            self._since[router_id] = version
            self._unkept.discard(router_id)

    def word(self, said: RouterReport, version: int) -> RouterReport:
        """What an agent said, working from this version, as it may be passed on."""
        since = self._since.get(said.router_id)
        self._unkept.discard(said.router_id)
        if since is not None and said.state is RouterState.REMOVED and version >= since:
            del self._since[said.router_id]  # If it comes back, it is built as it is to be.
            return said
        if since is None or not said.guarded:
            return said
        if version < since:
            return replace(said, guarded=False)
        if self._kept < since:
            self._unkept.add(said.router_id)
            return replace(said, guarded=False)
        del self._since[said.router_id]
        return said

    def kept(self, version: int, known: Mapping[RouterId, RouterReport]) -> list[RouterReport]:
        """The disk has this version: the words that may be passed on now, of those `known`."""
        self._kept = version
        proven = [router_id for router_id in self._unkept if self._since[router_id] <= version]
        self._unkept.difference_update(proven)
        for router_id in proven:
            del self._since[router_id]
        return [replace(known[router_id], guarded=True) for router_id in sorted(proven) if router_id in known]
