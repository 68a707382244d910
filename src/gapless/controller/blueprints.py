"""Routers as they should run, read from the store once for all sessions that ask.

A router of failover mode `standby` is in two plans, and when a host dies its routers enter a hundred others at once. So
what was read is kept, shared, until it changes; who asks in the same moment is answered by the same read.

The rule: what is kept was read after the last change that anybody told of. What changed while it was being read is
handed to whoever asked, who was told of the change as well and asks again, but it is not kept.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from gapless.controller.store import projection, thread
from gapless.controller.store.engine import Store
from gapless.model.router import Router, RouterId

READ_AT_ONCE = 1000
"""Routers: half a second's work. Who asks after that waits for the next read, and whoever came first goes on."""


@dataclass(eq=False, slots=True)
class _Batch:
    """What is to be read at once."""

    ids: set[RouterId] = field(default_factory=set)
    read: "asyncio.Task[Mapping[RouterId, Router]] | None" = None


class Blueprints:
    """Every router that some session asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[RouterId, Router] = {}
        self._changed: set[RouterId] = set()
        """While something is being read: what changed since that began."""
        self._open: _Batch | None = None
        """It may still be added to."""
        self._turn = asyncio.Lock()
        self._reads: set[asyncio.Task[Mapping[RouterId, Router]]] = set()

    async def of(self, ids: Collection[RouterId]) -> Mapping[RouterId, Router]:
        """These routers; one that does not exist is not in the answer. Raises StoreUnavailable."""
        known = {router_id: self._known[router_id] for router_id in ids if router_id in self._known}
        missing = set(ids) - known.keys()
        if not missing:
            return known
        read = await self._read_with_others(missing)
        return known | {router_id: read[router_id] for router_id in missing if router_id in read}

    def changed(self, ids: Iterable[RouterId]) -> None:
        """These are otherwise than before, or gone. Say so before anybody is told to ask again."""
        for router_id in ids:
            self._known.pop(router_id, None)
            if self._turn.locked():
                self._changed.add(router_id)

    async def end(self) -> None:
        """Nobody waits any more."""
        for task in self._reads:
            task.cancel()
        await asyncio.gather(*self._reads, return_exceptions=True)

    async def _read_with_others(self, missing: set[RouterId]) -> Mapping[RouterId, Router]:
        batch = self._open
        if batch is None or len(batch.ids) >= READ_AT_ONCE:
            batch = self._open = _Batch()
            batch.read = asyncio.create_task(self._read(batch), name="blueprints")
            self._reads.add(batch.read)
            batch.read.add_done_callback(self._reads.discard)
        assert batch.read is not None
        batch.ids |= missing
        return await asyncio.shield(batch.read)  # Others wait for it as well.

    async def _read(self, batch: _Batch) -> Mapping[RouterId, Router]:
        async with self._turn:
            if self._open is batch:
                self._open = None
            self._changed.clear()
            async with self._store.reading(ahead=True) as session:
                read = await thread.run(session, projection.routers(session, batch.ids))
            for router_id in read.keys() - self._changed:
                self._known[router_id] = read[router_id]
            return read
