"""The plan of one host, followed by revisions: a snapshot, then one change after another.

The rule: a change fits only on the revision right before it. Whoever misses one starts again from a snapshot, because
a plan with a hole would keep a router that is no longer this host's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gapless.errors import Conflict
from gapless.model.plan import PlannedRouter, Revision
from gapless.model.router import RouterId


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What leads from one plan to another."""

    routers: tuple[PlannedRouter, ...] = ()
    removed: tuple[RouterId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """What a host should run, at a revision. What is not in it must not run there."""

    revision: Revision
    routers: Mapping[RouterId, PlannedRouter]

    @classmethod
    def of(cls, revision: Revision, routers: Iterable[PlannedRouter]) -> "HostPlan":
        """A whole plan, as a snapshot carries it."""
        return cls(revision=revision, routers=MappingProxyType({each.router.id: each for each in routers}))

    def followed_by(self, revision: Revision, difference: Difference) -> "HostPlan":
        """The plan after the next revision's change. Raises Conflict when it is not the next one."""
        if revision != self.revision + 1:
            raise Conflict(f"the plan is at revision {self.revision}, and the change that arrived is {revision}")
        return self.brought_to(revision, difference)

    def brought_to(self, revision: Revision, difference: Difference) -> "HostPlan":
        """The plan after a difference that was made from this very plan, however many revisions it spans."""
        gone = frozenset(difference.removed)
        kept = [each for each in self.routers.values() if each.router.id not in gone]
        return HostPlan.of(revision, [*kept, *difference.routers])

    def difference_to(self, newer: "HostPlan") -> Difference:
        """What leads from this plan to `newer`."""
        return Difference(
            routers=tuple(
                each for each in newer.routers.values() if not _is_same(self.routers.get(each.router.id), each)
            ),
            removed=tuple(router_id for router_id in self.routers if router_id not in newer.routers),
        )


def _is_same(old: PlannedRouter | None, new: PlannedRouter) -> bool:
    """Nearly always the very same object: a change replaces only what it names."""
    return old is new or old == new


EMPTY_PLAN = HostPlan.of(Revision(0), ())
"""What a host knows before anybody spoke."""
