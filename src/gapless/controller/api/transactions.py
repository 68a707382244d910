"""One request, one transaction; and afterwards the running controller hears what changed.

The order is fixed: read the body, do everything in one transaction, tell Controls, answer. So the controller hears of
nothing that is not stored, no slow caller holds the store, and a request that fails leaves nothing behind. A lost race
(two callers took the same address) is run again from its beginning.

The work runs in the thread of its connection (`store.thread`), so it may look at nothing but its session. Work that
also asks Controls, which lives on the event loop, goes through doors made with `on_loop`, and pays a hop a statement.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.controls import Controls
from gapless.controller.store import thread
from gapless.controller.store.engine import Store, retry_conflicts
from gapless.model.host import HostName
from gapless.model.router import RouterId

T = TypeVar("T")
Work = Callable[[AsyncSession], Coroutine[Any, Any, T]]


class Transactions:
    """The two doors of the store, as requests use them."""

    def __init__(self, store: Store, controls: Controls, *, on_loop: bool = False) -> None:
        self._store = store
        self._controls = controls
        self._on_loop = on_loop

    async def write(self, work: Work[T]) -> T:
        """Run `work` until it is stored or refused, then tell Controls what it put into `session.info`."""

        async def attempt() -> tuple[T, Mapping[str, Any]]:
            async with self._store.transaction() as session:
                result = await self._done(session, work)
            return result, session.info

        result, told = await retry_conflicts(attempt)
        self._tell(told)
        return result

    async def read(self, work: Work[T]) -> T:
        """Run `work` on one moment of the store."""
        async with self._store.reading() as session:
            return await self._done(session, work)

    async def _done(self, session: AsyncSession, work: Work[T]) -> T:
        return await (work(session) if self._on_loop else thread.run(session, work(session)))

    def _tell(self, told: Mapping[str, Any]) -> None:
        deleted: set[RouterId] = told["routers_deleted"]
        for router_id in deleted:
            self._controls.router_deleted(router_id)
        if changed := told["routers_changed"] - deleted:
            self._controls.routers_changed(sorted(changed))
        paces: Mapping[HostName, int] = told.get(HOSTS_PACED, {})
        for host, at_once in paces.items():  # Before what begins to leave by it.
            self._controls.drain_paced(host, at_once)
        hosts: Mapping[HostName, bool] = told.get(HOSTS_ADMIN_CHANGED, {})
        for host, admin_up in hosts.items():
            self._controls.host_admin_changed(host, admin_up)
        for host in told.get(HOSTS_FORGOTTEN, ()):
            self._controls.host_forgotten(host)


HOSTS_ADMIN_CHANGED = "hosts_admin_changed"
"""Key in `session.info`: a mapping of host names to the `admin_state_up` that was asked for."""
HOSTS_PACED = "hosts_paced"
"""Key in `session.info`: a mapping of host names to how many routers may be on their way from each at a time."""
HOSTS_FORGOTTEN = "hosts_forgotten"
"""Key in `session.info`: names of hosts that are deleted."""
