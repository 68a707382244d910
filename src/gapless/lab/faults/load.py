"""Machines that have more to do than routers: what keeps them busy must not look like a death, nor hide one."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from itertools import count

from gapless.errors import NotFound, Unavailable
from gapless.lab.api import Api
from gapless.lab.faults.base import HARMLESS, RESCHEDULED, TAKEN_OVER, Lasting, Reach, in_mode
from gapless.lab.faults.machines import HostPower
from gapless.lab.lab import Lab
from gapless.lab.machines import layout, shell
from gapless.lab.machines.nodes import Host
from gapless.lab.waiting import until

HOGS_A_CORE = 2
BUILDERS = 4
"""Tenants that are made and removed at once."""
STANDING = 3
"""How many of its tenants each builder leaves standing, before it removes the oldest."""
UNDER_WAY_WITHIN_S = 60.0
TRY_AGAIN_S = 0.2


class CpuHogs(Lasting):
    """Endless loops on every core, at the priority of everything else: whoever is late is not dead."""

    name = "cpu-hogs"
    summary = "every core of the machine is busy with something else"
    reach = Reach.CONTROLLER
    expected = HARMLESS

    def __init__(self, hosts: Iterable[Host] = ()) -> None:
        super().__init__(hosts)
        self._hogs: list[Process] = []

    async def strike(self, lab: Lab) -> None:
        """Start them."""
        del lab
        for _ in range(HOGS_A_CORE * (os.cpu_count() or 1)):
            self._hogs.append(await shell.spawn(sys.executable, "-c", "while True: pass"))

    async def heal(self, lab: Lab) -> None:
        """End them."""
        del lab
        for hog in self._hogs:
            await shell.end(hog)


class BusyThenPower(HostPower):
    """A host dies while all hosts build and delete routers of other tenants, which goes on meanwhile."""

    name = "busy-then-power"
    summary = "a host loses power while all hosts build and delete other routers"
    expected = in_mode(reschedule=RESCHEDULED, standby=TAKEN_OVER)

    def __init__(self, hosts: Iterable[Host] = ()) -> None:
        super().__init__(hosts)
        self._work: list[asyncio.Task[None]] = []
        self._there: set[_Tenancy] = set()
        """What was made, or half made, and not removed."""
        self._numbers = count(1)
        self._made = self._removed = 0
        self._made_before: int | None = None
        """How many when it struck."""

    async def prepare(self, lab: Lab) -> None:
        """Begin to build, and wait until routers are deleted as well."""
        self._work = [asyncio.create_task(self._build(lab), name=f"builder-{n}") for n in range(BUILDERS)]

        async def under_way() -> bool:
            for ended in (task for task in self._work if task.done()):
                ended.result()  # raises what ended it
            return self._removed >= BUILDERS

        await until(under_way, "routers are built and deleted", UNDER_WAY_WITHIN_S)

    async def strike(self, lab: Lab) -> None:
        """While they build."""
        self._made_before = self._made
        await super().strike(lab)

    async def let_go(self, lab: Lab) -> None:
        """Stop building. What stands then stays. Raises what ended a builder before, and Unavailable when nothing was
        built since it struck: then it was no busy machine."""
        del lab
        work, self._work = self._work, []
        made_before, self._made_before = self._made_before, None
        for task in work:
            task.cancel()
        ended = await asyncio.gather(*work, return_exceptions=True)
        for error in (how for how in ended if isinstance(how, Exception)):
            raise error
        if made_before is not None and made_before == self._made:
            raise Unavailable(f"nothing was built while {', '.join(self.names)} died")

    async def clear(self, lab: Lab) -> None:
        """Remove what stands."""
        del lab
        for tenancy in list(self._there):
            await tenancy.remove()
            self._there.discard(tenancy)

    async def _build(self, lab: Lab) -> None:
        external = (await lab.api.find("network", name="public"))[0]["id"]
        standing: deque[_Tenancy] = deque()
        going: deque[_Tenancy] = deque()
        while True:
            # Whose host has just died has its request refused for a moment: what is half made is removed.
            try:
                while going:
                    await going[0].remove()
                    self._there.discard(going.popleft())
                    self._removed += 1
                tenancy = _Tenancy(lab.api)
                going.append(tenancy)
                self._there.add(tenancy)
                await tenancy.make(external, f"busy-{next(self._numbers)}", lab.settings.mode)
                going.remove(tenancy)
                standing.append(tenancy)
                self._made += 1
                if len(standing) > STANDING:
                    going.append(standing.popleft())
            except Unavailable:
                await asyncio.sleep(TRY_AGAIN_S)


class _Tenancy:
    """A network and a router that come and go."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._undo: list[Callable[[], Awaitable[None]]] = []

    async def make(self, external: str, name: str, mode: str) -> None:
        """Raises Unavailable; what there is by then can be removed."""
        api = self._api
        network = await api.create("network", name=name)
        self._undo.append(partial(api.delete, "network", network["id"]))
        subnet = await api.create(
            "subnet", name=name, network_id=network["id"], ip_version=4, cidr=str(layout.TENANT_NET)
        )
        gateway = {"network_id": external}
        router = await api.create("router", name=name, external_gateway_info=gateway, failover_mode=str(mode))
        self._undo.append(partial(api.delete, "router", router["id"]))
        # One that is refused may have been plugged in even so, and one that is not there is as good as removed.
        self._undo.append(partial(api.remove_interface, router["id"], subnet_id=subnet["id"]))
        await api.add_interface(router["id"], subnet_id=subnet["id"])

    async def remove(self) -> None:
        """All that there is of it. Raises Unavailable; it can be called again."""
        while self._undo:
            with contextlib.suppress(NotFound):
                await self._undo[-1]()
            self._undo.pop()
