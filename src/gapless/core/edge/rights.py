"""The rights of a host: which routers it may take over, and what each of them waits for.

Most routers of a host that dies wait for the same: so what is ripe, and how many routers wait for whom, is asked of
what is waited for, of which there is little, and not of a thousand routers one by one.

The invariant: each right waits under its own `after`, and nothing is waited for by nobody.
"""

from collections.abc import Collection, Mapping

from gapless.core.edge.beatevents import Right
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch
from gapless.model.router import RouterId

After = tuple[Tenure, ...]


class HeldRights:
    """Those of one plan, less what was used since."""

    def __init__(self, rights: Mapping[RouterId, Right]) -> None:
        self._waiting: dict[After, dict[RouterId, Epoch]] = {}
        self._after: dict[RouterId, After] = {}
        for router_id, right in rights.items():
            self._waiting.setdefault(right.after, {})[router_id] = right.epoch
            self._after[router_id] = right.after

    def waiting(self) -> Mapping[After, Collection[RouterId]]:
        """The routers by what they wait for."""
        return self._waiting

    def find(self, router_id: RouterId) -> Right | None:
        """The right to this router; None: there is none, or it was used."""
        after = self._after.get(router_id)
        return None if after is None else Right(epoch=self._waiting[after][router_id], after=after)

    def use(self, router_id: RouterId) -> None:
        """The right to this router is used: it is one no more. Raises KeyError where there is none."""
        after = self._after.pop(router_id)
        del self._waiting[after][router_id]
        if not self._waiting[after]:
            del self._waiting[after]

    def use_all(self, after: After) -> dict[RouterId, Epoch]:
        """All that wait for this are used; which. Raises KeyError where nothing does."""
        used = self._waiting.pop(after)
        for router_id in used:
            del self._after[router_id]
        return used
