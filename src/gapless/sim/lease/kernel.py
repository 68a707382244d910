"""A host's kernel: which routers' frames pass. It survives its sentinel, and goes with its machine.

A frame passes while its router is in the active set and the lease is alive. The lease is an absolute end on the
machine's clock, so a refresh that comes too late revives nothing.
"""

from math import inf

from gapless.model.plan import Epoch
from gapless.model.router import RouterId


class Kernel:
    """The guard's two parts."""

    def __init__(self) -> None:
        self.active: dict[RouterId, Epoch] = {}
        self._until: float | None = None
        self.refuses = False
        """Whether it takes nothing; what it has taken stays."""

    @property
    def ends(self) -> float:
        """When the lease that it took last ends, or ended."""
        return -inf if self._until is None else self._until

    def hold(self, until: float, now: float, *, decided_at: float) -> None:
        """The lease ends at `until`. When that was decided makes no difference."""
        del now, decided_at
        self._until = until

    def is_alive(self, now: float) -> bool:
        """Whether the lease is alive."""
        return self._until is not None and now < self._until

    def withdraw(self, *, is_first: bool) -> None:
        """Empty the active set. Whether it is a new sentinel's first act makes no difference."""
        del is_first
        self.active.clear()
