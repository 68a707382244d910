"""A lab for chaos tests: short liveness, and everything the processes said when a test fails."""

import sys
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gapless.errors import Unavailable
from gapless.lab import faults, layout, shell
from gapless.lab.expect import Bounds
from gapless.lab.experiment import NO_BOUNDS, Outcome, experiment
from gapless.lab.lab import Lab
from gapless.lab.nodes import Service
from gapless.lab.settings import LabSettings
from gapless.lab.tenants import Tenant
from gapless.model.router import FailoverMode

REPORT_INTERVAL_S = 0.25
DOWN_TIME_S = 1.0
"""Dead after 2 s: short enough for tests, long enough for a busy machine not to lose a host by itself."""
PATIENCE_S = 60.0
CLASSIC = FailoverMode.RESCHEDULE
STANDBY = FailoverMode.STANDBY


@asynccontextmanager
async def running_lab(hosts: int = 3, routers: int = 3, *, mode: FailoverMode, **more: float) -> AsyncIterator[Lab]:
    """A lab that is built, with all routers active, and all standbys ready where the mode has them. What its processes
    said is printed when the block fails."""
    settings = LabSettings(
        hosts=hosts,
        routers=routers,
        mode=mode,
        report_interval_s=REPORT_INTERVAL_S,
        agent_down_time_s=DOWN_TIME_S,
        **more,
    )
    async with Lab(settings) as lab:
        try:
            await lab.build()
            yield lab
        except BaseException:
            arbiter = [lab.controller.arbiter] if lab.controller.arbiter else []
            for service in (lab.controller.server, *arbiter, *(host.sentinel for host in lab.hosts.values())):
                sys.stderr.write(f"{service.log.parent.name}: {service.last_words(60)}\n")
            raise


async def strike(lab: Lab, name: str, *hosts: str, bounds: Bounds = NO_BOUNDS) -> Outcome:
    """One experiment with one fault."""
    return await experiment(lab, await faults.choose(lab, name, hosts), bounds)


def some_thorough(names: Iterable[str], short: Collection[str]) -> list[Any]:
    """Parameters of a test, of which only those in `short` are for every day."""
    thorough = pytest.mark.thorough
    return [pytest.param(name, marks=() if name in short else thorough, id=name) for name in names]


def said(service: Service, words: str) -> bool:
    """Whether a process has written these words to its log."""
    return words in service.log.read_text(errors="replace")


async def host_of(lab: Lab, tenant: Tenant) -> str:
    """The one host that a tenant's router is active on."""
    (host,) = (await lab.placement())[tenant.router_id]
    return host


async def reaches_outside(lab: Lab, tenant: Tenant) -> bool:
    """Whether the tenant's VM gets an answer from the far outside, and the outside from its floating IP."""
    try:
        await shell.run(*lab.node(tenant.vm).inside(), "ping", "-c", "1", "-W", "2", str(layout.FAR_OUTSIDE))
        await shell.run(*lab.node(layout.OUTSIDE).inside(), "ping", "-c", "1", "-W", "2", str(tenant.floating_address))
    except Unavailable:
        return False
    return True
