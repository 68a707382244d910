"""What the store is told of hosts: a new machine before it may stay, everything else now and then.

A host that is known must not depend on the store to come back: with the database gone a hundred hosts reconnect at
once, and their reports matter more than their rows. What could not be written is written with the next round.

A host without a row was deleted by an operator. Mostly that is known already; if not, the deletion was stored although
its transaction was seen to fail, and whoever asks (`on_gone`) hears of it here.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

from gapless.controller import wallclock
from gapless.controller.store import hostrows
from gapless.controller.store.engine import Store
from gapless.controller.store.hostrows import NameRecord
from gapless.errors import LostRace, StoreUnavailable
from gapless.model.host import HostFacts, HostName, Incarnation
from gapless.observe.ailment import Ailment
from gapless.observe.log import get_logger
from gapless.observe.metrics import Metrics


class HostBook:
    """Writes hosts and their heartbeats."""

    def __init__(self, store: Store, metrics: Metrics, *, every_s: float) -> None:
        self._store = store
        self._metrics = metrics
        self._every_s = every_s
        self._heard: dict[HostName, datetime] = {}
        self._greeted: dict[HostName, tuple[HostFacts, Incarnation]] = {}
        self._names: dict[HostName, NameRecord] = {}
        self._trouble = Ailment()
        self.on_gone: Callable[[HostName], None] = lambda name: None
        """Told of a host that is heard and has no row."""

    async def register(self, facts: HostFacts, record: NameRecord) -> None:
        """Store a machine that is new under its name. Raises StoreUnavailable or LostRace."""
        async with self._store.transaction(ahead=True) as session:
            await hostrows.save_host(session, facts, record.started, wallclock.utc_now())
            await hostrows.save_names(session, {facts.name: record})

    def greeted(self, facts: HostFacts, record: NameRecord) -> None:
        """A known machine connected: store what it says with the next round."""
        self._greeted[facts.name] = (facts, record.started)
        self._heard[facts.name] = wallclock.utc_now()
        self.risen(facts.name, record)

    def risen(self, name: HostName, record: NameRecord) -> None:
        """A host has a higher incarnation: stored with the next round, also if the host is deleted before."""
        self._names[name] = record

    def heard(self, name: HostName) -> None:
        """A report of the host arrived."""
        self._heard[name] = wallclock.utc_now()

    def forget(self, name: HostName) -> None:
        """The host was deleted: write nothing of it any more."""
        self._greeted.pop(name, None)
        self._heard.pop(name, None)

    async def run(self) -> None:
        """Write a round every `every_s` seconds, for ever."""
        while True:
            await asyncio.sleep(self._every_s)
            await self.write()

    async def write(self) -> None:
        """Write what has gathered. What cannot be written stays for the next round."""
        greeted, self._greeted = self._greeted, {}
        heard, self._heard = self._heard, {}
        names, self._names = self._names, {}
        if not heard and not names:
            return
        try:
            for each in greeted.values():
                await self._write_host(*each)
            async with self._store.transaction() as session:
                gone = await hostrows.save_heartbeats(session, heard)
                await hostrows.save_names(session, names)
        except StoreUnavailable as error:
            self._metrics.store_failures.labels(job="hosts").inc()
            self._trouble.persists(
                get_logger().warning,
                "Hosts and heartbeats cannot be stored, which delays no move; each round tries again",
                reason=str(error),
            )
            self._greeted = {**greeted, **self._greeted}
            self._heard = {**heard, **self._heard}
            self._names = {**names, **self._names}
            return
        self._trouble.ends(get_logger().info, "Hosts and heartbeats are stored again")
        for name in sorted(gone):
            get_logger().warning(
                "A host that an operator deleted is heard: it has to come back as a new one", host=name
            )
            self.on_gone(name)

    async def _write_host(self, facts: HostFacts, incarnation: Incarnation) -> None:
        """Each in a transaction of its own, so that one that does not fit keeps no other from being written.

        The host is known, so its row is there, unless an operator deleted it since: then it must not come back.
        """
        try:
            async with self._store.transaction() as session:
                await hostrows.save_known_host(session, facts, incarnation, wallclock.utc_now())
        except LostRace as error:
            self._metrics.store_failures.labels(job="hosts").inc()
            get_logger().error("What a host says of itself cannot be stored", host=facts.name, reason=str(error))
