"""Machines that have more to do than routers: what keeps them busy must not look like a death, nor hide one."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Iterable
from itertools import count

from gapless.errors import Unavailable
from gapless.lab import layout, shell
from gapless.lab.api import Api
from gapless.lab.faults.base import HARMLESS, RESCHEDULED, TAKEN_OVER, Lasting, Reach, in_mode
from gapless.lab.faults.machines import HostPower
from gapless.lab.lab import Lab
from gapless.lab.nodes import Host
from gapless.lab.waiting import until

HOGS_A_CORE = 2
BUILDERS = 4
"""Tenants that are made and removed at once."""
STANDING = 3
"""How many of its tenants each builder leaves standing, before it removes the oldest."""
UNDER_WAY_WITHIN_S = 60.0


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
        self._numbers = count(1)
        self._removed = 0

    async def prepare(self, lab: Lab) -> None:
        """Begin to build, and wait until routers are deleted as well."""
        self._work = [asyncio.create_task(self._build(lab), name=f"builder-{n}") for n in range(BUILDERS)]

        async def under_way() -> bool:
            for ended in (task for task in self._work if task.done()):
                ended.result()  # raises what ended it
            return self._removed >= BUILDERS

        await until(under_way, "routers are built and deleted", UNDER_WAY_WITHIN_S)

    async def let_go(self, lab: Lab) -> None:
        """Stop building. What stands then stays. Raises what ended a builder before."""
        del lab
        work, self._work = self._work, []
        for task in work:
            task.cancel()
        ended = await asyncio.gather(*work, return_exceptions=True)
        for error in (how for how in ended if isinstance(how, Exception)):
            raise error

    async def _build(self, lab: Lab) -> None:
        external = (await lab.api.find("network", name="public"))[0]["id"]
        standing: deque[_Tenancy] = deque()
        while True:
            # Whose host has just died has its request refused for a moment: the next tenant is tried.
            with contextlib.suppress(Unavailable):
                standing.append(
                    await _Tenancy.made(lab.api, external, f"busy-{next(self._numbers)}", lab.settings.mode)
                )
                if len(standing) > STANDING:
                    await standing.popleft().removed(lab.api)
                    self._removed += 1


class _Tenancy:
    """A network and a router that come and go."""

    def __init__(self, network: str, subnet: str, router: str) -> None:
        self._network, self._subnet, self._router = network, subnet, router

    @classmethod
    async def made(cls, api: Api, external: str, name: str, mode: str) -> "_Tenancy":
        network = await api.create("network", name=name)
        subnet = await api.create(
            "subnet", name=name, network_id=network["id"], ip_version=4, cidr=str(layout.TENANT_NET)
        )
        gateway = {"network_id": external}
        router = await api.create("router", name=name, external_gateway_info=gateway, failover_mode=str(mode))
        await api.add_interface(router["id"], subnet_id=subnet["id"])
        return cls(network["id"], subnet["id"], router["id"])

    async def removed(self, api: Api) -> None:
        await api.remove_interface(self._router, subnet_id=self._subnet)
        await api.delete("router", self._router)
        await api.delete("network", self._network)
