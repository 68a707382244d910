"""Puts the parts of a plan together, until the one that puts it into force."""

from gapless.core.edge.beatevents import GuardPlan, Planned, Right
from gapless.model.plan import Epoch, Revision, Role, Successor
from gapless.model.router import RouterId
from gapless.wire.beat import PlanPart


class Planning:
    """What the parts so far add up to."""

    def __init__(self) -> None:
        self._active: dict[RouterId, Epoch] = {}
        self._rights: dict[RouterId, Right] = {}
        self._releases: dict[RouterId, Successor] = {}

    def take(self, part: PlanPart) -> Planned | None:
        """The plan, if this was the last part of one.

        A router whose entry was made for another incarnation than the plan's is built here, and no more.
        """
        if part.whole:
            self._active.clear()
            self._rights.clear()
            self._releases.clear()
        for router_id in part.removed:
            self._drop(router_id)
        for router in part.routers:
            self._drop(router.router_id)
            guarded = router.guarded
            if guarded.incarnation != part.incarnation:
                continue
            if guarded.role is Role.ACTIVE:
                self._active[router.router_id] = router.epoch
            elif guarded.release is not None:
                self._releases[router.router_id] = guarded.release
            elif guarded.after:
                self._rights[router.router_id] = Right(epoch=router.epoch, after=guarded.after)
        if not part.last:
            return None
        return Planned(
            plan=GuardPlan(
                revision=Revision(part.revision),
                incarnation=part.incarnation,
                heard=part.heard,
                panel=part.panel.panel if part.panel is not None else None,
                active=dict(self._active),
                rights=dict(self._rights),
                releases=dict(self._releases),
            )
        )

    def _drop(self, router_id: RouterId) -> None:
        self._active.pop(router_id, None)
        self._rights.pop(router_id, None)
        self._releases.pop(router_id, None)
