"""Connections that are copied to a machine, made up: of which routers it has all of them, as it says.

Most are there in a moment, some late, some never; and now and then what was there has to be copied anew.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from random import Random

from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.sim.agenda import Agenda

COPIED_AFTER_S = (0.05, 0.05, 0.05, 1.0, 8.0, 50.0, None)
ANEW = 0.3
"""Of what is there, how much has to be copied again later."""


@dataclass(slots=True, eq=False)
class _Copy:
    is_whole: bool = False
    since: float = 0.0
    """Since when it is not."""


class Copies:
    """Of one machine."""

    def __init__(self, agenda: Agenda, name: HostName, is_news: Callable[[], None]) -> None:
        self._agenda, self._is_news = agenda, is_news
        self._random = Random(f"copies of {name}")
        self._copies: dict[RouterId, _Copy] = {}
        """Of what it stands by for."""
        self._told: dict[RouterId, bool] = {}

    def session_began(self) -> None:
        """The controller at the other end knows nothing of it."""
        self._told = {}

    def lost(self) -> None:
        """The machine is off."""
        self._copies.clear()

    def news(self, followed: Collection[RouterId]) -> dict[RouterId, bool | None]:
        """What the session was not told. `followed`: what this machine stands by for now."""
        for router_id in self._copies.keys() - set(followed):
            del self._copies[router_id]
        for router_id in sorted(set(followed) - self._copies.keys()):
            self._begin(router_id, _Copy())
        told, self._told = self._told, {each: copy.is_whole for each, copy in self._copies.items()}
        changed = {each for each in told.keys() | self._told.keys() if told.get(each) != self._told.get(each)}
        return {router_id: self._told.get(router_id) for router_id in sorted(changed)}

    def lacks_since(self, router_id: RouterId) -> float | None:
        """Since when it has not all connections of a router that it stands by for; None: it has them."""
        copy = self._copies.get(router_id)
        return None if copy is None or copy.is_whole else copy.since

    def _begin(self, router_id: RouterId, copy: _Copy) -> None:
        self._copies[router_id] = copy
        copy.is_whole, copy.since = False, self._agenda.now
        if (after_s := self._random.choice(COPIED_AFTER_S)) is not None:
            self._agenda.after(after_s, partial(self._end, router_id, copy))

    def _end(self, router_id: RouterId, copy: _Copy) -> None:
        if self._copies.get(router_id) is not copy:
            return
        copy.is_whole = True
        if self._random.random() < ANEW:
            self._agenda.after(self._random.uniform(1, 100), partial(self._anew, router_id, copy))
        self._is_news()

    def _anew(self, router_id: RouterId, copy: _Copy) -> None:
        if self._copies.get(router_id) is copy:
            self._begin(router_id, copy)
            self._is_news()
