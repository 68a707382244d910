"""What waits to be said to a beat, besides its plan: levels too, so that a beat that does not read costs no memory."""

import asyncio
from collections.abc import Collection

from gapless.model.host import Incarnation
from gapless.model.lease import Tenure
from gapless.model.router import RouterId
from gapless.wire.beat import Built, BurialQuestion, NewIncarnation, Outlived, ToBeat

ROUTERS_PER_MESSAGE = 50
"""The beat looks at each: a thousand at once would hold it up."""


class Outbox:
    """Of one beat."""

    def __init__(self) -> None:
        self._built: dict[RouterId, bool] = {}
        """Whether they were given more."""
        self._questions: dict[Tenure, BurialQuestion] = {}
        self._incarnation: Incarnation | None = None
        self._outlived: Incarnation | None = None
        self._filled = asyncio.Event()

    def built(self, routers: Collection[RouterId], given_more: Collection[RouterId] = ()) -> None:
        """The interfaces of these are there, and of some of them new, or their addresses."""
        for router_id in routers:
            self._built[router_id] = self._built.get(router_id, False) or router_id in given_more
        if routers:
            self._filled.set()

    def ask(self, question: BurialQuestion) -> None:
        """Ask about a tenure; an older question about it, if it waits still, is not needed any more."""
        self._questions[question.tenure] = question
        self._filled.set()

    def bear(self, incarnation: Incarnation) -> None:
        """This incarnation is on the disk."""
        self._incarnation = incarnation
        self._filled.set()

    def outlive(self, up_to: Incarnation) -> None:
        """Incarnations up to this one belong to other machines."""
        self._outlived = up_to
        self._filled.set()

    def __len__(self) -> int:
        """How many things wait: no more than there are tenures to ask about and routers, and two."""
        news = sum(each is not None for each in (self._outlived, self._incarnation))
        return news + len(self._questions) + len(self._built)

    async def next(self) -> ToBeat:
        """The most urgent message, once there is one."""
        while True:
            await self._filled.wait()
            if self._outlived is not None:
                up_to, self._outlived = self._outlived, None
                return Outlived(up_to=up_to)
            if self._incarnation is not None:
                incarnation, self._incarnation = self._incarnation, None
                return NewIncarnation(incarnation=incarnation)
            if self._questions:
                return self._questions.pop(next(iter(self._questions)))
            if self._built:
                some = {each: self._built.pop(each) for each in tuple(self._built)[:ROUTERS_PER_MESSAGE]}
                return Built(routers=tuple(some), given_more=tuple(each for each, is_more in some.items() if is_more))
            self._filled.clear()
