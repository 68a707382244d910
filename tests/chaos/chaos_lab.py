"""A lab for chaos tests: short liveness, and everything the processes said when a test fails."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from gapless.errors import GaplessError, Unavailable
from gapless.lab import faults
from gapless.lab.api import Item
from gapless.lab.experiment import MOST_MOVES, NO_BOUNDS, Outcome, experiment
from gapless.lab.faults import Fault
from gapless.lab.findings import result
from gapless.lab.findings.expect import Bounds
from gapless.lab.lab import Lab
from gapless.lab.machines import layout, shell
from gapless.lab.machines.nodes import Service
from gapless.lab.settings import LabSettings
from gapless.lab.tenants import Tenant
from gapless.lab.waiting import until
from gapless.model.router import FailoverMode

REPORT_INTERVAL_S = 0.25
DOWN_TIME_S = 1.0
"""Dead after 2 s: short enough for tests, long enough for a busy machine not to lose a host by itself."""
PATIENT_S = 5.0
"""Dead after 10 s, by what the controller hears: who is replaced before that, was replaced without it."""
PATIENCE_S = 60.0
WELL_WITHIN_S = 30.0
Turn = Callable[[Lab], Awaitable[object]]
Chosen = Callable[[Lab], Awaitable[list[str]]]
Shows = Callable[[Lab, Fault, Outcome], None]
CLASSIC = FailoverMode.RESCHEDULE
STANDBY = FailoverMode.STANDBY


@asynccontextmanager
async def running_lab(
    hosts: int = 3, routers: int = 3, *, mode: FailoverMode, down_time_s: float = DOWN_TIME_S, **more: Any
) -> AsyncIterator[Lab]:
    """A lab that is built, with all routers active, and all standbys ready where the mode has them. What its processes
    said is printed when the block fails. `more`: as in `LabSettings`."""
    settings = LabSettings(
        hosts=hosts,
        routers=routers,
        mode=mode,
        report_interval_s=REPORT_INTERVAL_S,
        agent_down_time_s=down_time_s,
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


async def strike(
    lab: Lab, name: str, *hosts: str, bounds: Bounds = NO_BOUNDS, hold_s: float = 0.0, shows: Shows | None = None
) -> Outcome:
    """One experiment with one fault. `shows` is given what came of it, when that is as the fault promises."""
    fault = await faults.choose(lab, name, hosts)
    outcome = await experiment(lab, fault, bounds, hold_s)
    assert outcome.result.problems == []
    if shows is not None:
        shows(lab, fault, outcome)
    return outcome


async def one_after_another(lab: Lab, turns: Mapping[str, Turn]) -> None:
    """Carry them all out in one lab, and raise at the end what failed, each with the name of its turn. After a failure
    there are more only if the lab is well."""
    failures: list[Exception] = []
    for name, turn in turns.items():
        began, outcome = time.monotonic(), "passed"
        try:
            await turn(lab)
        except (AssertionError, GaplessError) as error:
            error.add_note(f"in the turn: {name}")
            failures.append(error)
            outcome = "failed"
        sys.stderr.write(f"{name}: {outcome} after {time.monotonic() - began:.1f} s\n")
        if outcome == "failed" and not await _is_well(lab):
            break
    if failures:
        raise ExceptionGroup(f"of {', '.join(turns)}", failures)


async def _is_well(lab: Lab) -> bool:
    try:
        async with asyncio.timeout(WELL_WITHIN_S):
            await lab.routers_active()
            await lab.standbys_ready()
            await lab.one_host_each()
    except (GaplessError, TimeoutError) as error:
        sys.stderr.write(f"the lab is not well, so this was the last turn: {error}\n")
        return False
    return True


def a_fault(
    name: str, *, on: Chosen | None = None, bounds: Bounds = NO_BOUNDS, hold_s: float = 0.0, shows: Shows | None = None
) -> Turn:
    """A turn that is one experiment; see `strike`. `on`: says which hosts are struck; None: whom the fault takes."""

    async def turn(lab: Lab) -> None:
        hosts = await on(lab) if on else []
        await strike(lab, name, *hosts, bounds=bounds, hold_s=hold_s, shows=shows)

    return turn


async def the_busiest(lab: Lab) -> list[str]:
    """The host with the most routers."""
    return [(await lab.busiest_host()).name]


async def without_power(lab: Lab) -> list[str]:
    """The hosts that lost it."""
    return [name for name, host in lab.hosts.items() if not host.machine.is_on]


async def without_routers(lab: Lab) -> list[str]:
    """The hosts on which nothing is active."""
    busy = {name for hosts in (await lab.placement()).values() for name in hosts}
    return [name for name in lab.hosts if name not in busy]


def some_thorough(names: Iterable[str], short: Collection[str]) -> list[Any]:
    """Parameters of a test, of which only those in `short` are for every day."""
    thorough = pytest.mark.thorough
    return [pytest.param(name, marks=() if name in short else thorough, id=name) for name in names]


async def everything_works(lab: Lab) -> None:
    """Each router is active, on one host, and every probe is answered for a second."""
    await lab.routers_active()
    await lab.one_host_each(PATIENCE_S)
    async with lab.traffic() as traffic:
        await traffic.all_answered(for_s=1.0, timeout_s=PATIENCE_S)


def said(service: Service, words: str) -> bool:
    """Whether a process has written these words to its log."""
    return words in service.log.read_text(errors="replace")


def said_since(service: Service, since: datetime) -> list[tuple[datetime, str]]:
    """What a process has logged since then: when, and the line."""
    lines = []
    for line in service.log.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):  # an indented line of a traceback
            lines.append((datetime.fromisoformat(line.partition(" ")[0]), line))
    return [(at, line) for at, line in lines if at >= since]


async def moves(lab: Lab) -> list[Item]:
    """The records of routers that went from one host to another, when each move has come to its end: of that the
    controller hears, and writes it down, a moment after packets pass."""
    found: list[Item] = []

    async def have_ended() -> bool:
        found[:] = [each for each in await lab.api.failovers(limit=MOST_MOVES) if result.is_move(each)]
        return all(each["outcome"] != "running" for each in found)

    await until(have_ended, "no move is under way", PATIENCE_S, lambda: str(found))
    return found


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
