"""Which routers are to be active here, and how far the kernel has been brought to that.

The rule: of each router, one request is under way at most. What is wanted otherwise meanwhile is asked for when the
answer is there; so answers need no names, and the last wish wins. A router counts as forwarding from the decision to
open it until it is known to be closed. So one whose opening failed, and may have been carried out all the same, has a
door: it may be opened again, and has to be closed.

The invariant: a router that is wanted is open, opening, closing, or asked for in the next turn, or failed to open and
is asked for again; one that is not wanted is closed, or on its way there.
"""

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from gapless.model.lease import Tenure
from gapless.model.plan import Epoch
from gapless.model.router import RouterId


class _Door(Enum):
    OPENING = 1
    OPEN = 2
    UNSURE = 3
    """Its opening failed, and nobody knows whether the kernel has it in its active set."""
    CLOSING = 4


_TO_ASK_FOR = (None, _Door.UNSURE)
"""What is opened if it is wanted."""
_TO_CLOSE = (_Door.OPEN, _Door.UNSURE)


@dataclass(frozen=True, slots=True)
class Opening:
    """Routers that are opened in one transaction, and why: whose burial, and the number of that takeover."""

    routers: Mapping[RouterId, Epoch]
    cause: Tenure | None
    number: int
    released: float | None = None
    """Since when the first of them is dark, which `cause` has released; None: that tenure is over."""


class ActiveSet:
    """The active set of one incarnation. A router that is in none of its maps is closed."""

    def __init__(self) -> None:
        self._wanted: dict[RouterId, Epoch] = {}
        self._doors: dict[RouterId, _Door] = {}
        self._epochs: dict[RouterId, Epoch] = {}
        """Of each router with a door, the last epoch at which it was wanted."""
        self._under_way: deque[Opening] = deque()
        self._failed: list[Opening] = []
        self._touched: set[RouterId] = set()

    @property
    def forwarding(self) -> dict[RouterId, Epoch]:
        """All that is in the kernel's active set, or may be, or is wanted there."""
        return {**self._epochs, **self._wanted}

    @property
    def is_settled(self) -> bool:
        """Whether nothing that is not wanted is open, or may be."""
        return self._doors.keys() <= self._wanted.keys() and _Door.CLOSING not in self._doors.values()

    @property
    def is_at_rest(self) -> bool:
        """Whether there is nothing to open or to close: what was wanted is asked for."""
        return not self._touched

    @property
    def is_anything_open(self) -> bool:
        """Whether something is in the kernel's active set for certain, or is being closed."""
        return any(door in (_Door.OPEN, _Door.CLOSING) for door in self._doors.values())

    def are_open(self, routers: Collection[RouterId]) -> bool:
        """Whether all of these are known to be in the kernel's active set."""
        return all(self._doors.get(router_id) is _Door.OPEN for router_id in routers)

    def want(self, routers: Mapping[RouterId, Epoch]) -> None:
        """These are to be active, besides those that are."""
        self._wanted.update(routers)
        self._touched.update(routers)

    def want_only(self, routers: Mapping[RouterId, Epoch]) -> None:
        """These are to be active, and no others."""
        self._touched.update(self._wanted.keys() ^ routers.keys())
        self._wanted = dict(routers)

    def open_now(self, opening: Opening) -> Opening | None:
        """What of an opening can be asked for now; None: nothing. It counts as asked for."""
        ready = {
            router_id: self._wanted[router_id]
            for router_id in opening.routers
            if router_id in self._wanted and self._doors.get(router_id) in _TO_ASK_FOR
        }
        if not ready:
            return None
        for router_id, epoch in ready.items():
            self._doors[router_id], self._epochs[router_id] = _Door.OPENING, epoch
            self._touched.discard(router_id)
        asked = replace(opening, routers=ready)
        self._under_way.append(asked)
        return asked

    def opened(self, *, failed: bool, is_unsure: bool = False) -> Opening | None:
        """The oldest opening under way was carried out, or failed; what is open now and still wanted. None: nothing.
        `is_unsure`: it failed, and may have been carried out all the same.
        """
        opening = self._under_way.popleft()
        for router_id in opening.routers:
            if failed and not is_unsure:
                del self._doors[router_id], self._epochs[router_id]
            else:
                self._doors[router_id] = _Door.UNSURE if failed else _Door.OPEN
                self._touched.add(router_id)
        if failed:
            self._failed.append(opening)
            return None
        kept = {router_id: epoch for router_id, epoch in opening.routers.items() if router_id in self._wanted}
        return replace(opening, routers=kept) if kept else None

    def closed(self, routers: tuple[RouterId, ...]) -> None:
        """These are not in the kernel's active set any more."""
        for router_id in routers:
            del self._doors[router_id], self._epochs[router_id]
        self._touched.update(routers)

    def failed(self) -> list[Opening]:
        """What failed since this was asked last, to be tried again."""
        failed, self._failed = self._failed, []
        return failed

    def to_close(self) -> tuple[RouterId, ...]:
        """What is open, or may be, and is not wanted. It counts as asked for."""
        unwanted = sorted(
            router_id
            for router_id in self._touched
            if self._doors.get(router_id) in _TO_CLOSE and router_id not in self._wanted
        )
        for router_id in unwanted:
            self._doors[router_id] = _Door.CLOSING
        return tuple(unwanted)

    def to_open(self) -> dict[RouterId, Epoch]:
        """What is wanted and closed, and did not just fail; call it last in a turn."""
        failed = {router_id for opening in self._failed for router_id in opening.routers}
        touched, self._touched = self._touched, set()
        return {
            router_id: self._wanted[router_id]
            for router_id in sorted(touched - failed)
            if router_id in self._wanted and router_id not in self._doors
        }
