"""That double active frames are seen when there are some: a guard that is held open a tenth of a second too long."""

import asyncio
import os
import re
import signal
from collections.abc import Sequence

import pytest
from chaos_lab import PATIENCE_S, STANDBY, running_lab

from gapless.lab.experiment import experiment
from gapless.lab.faults.links import DataLink
from gapless.lab.lab import Lab
from gapless.lab.machines import shell
from gapless.lab.machines.nodes import Host
from gapless.lab.waiting import until
from gapless.model.observed import GUARDED_GROUP

pytestmark = pytest.mark.lab

TOO_LONG_S = 0.1


class GuardHeldOpen(DataLink):
    """A host is cut off, and its guard lets its routers pass until a while after they were taken over."""

    name = "guard-held-open"

    async def strike(self, lab: Lab) -> None:
        (victim,) = self.hosts
        agent = victim.agent()
        assert agent is not None
        os.kill(agent.pid, signal.SIGSTOP)  # or it puts right what is done here
        taps = await _guarded_taps(victim)
        assert taps
        await _put(victim, taps, 0)
        await super().strike(lab)
        others = [host for host in lab.hosts.values() if host is not victim]

        took_over = re.compile(rf"took over \d+ routers? of {victim.name}\b")

        async def taken_over() -> bool:
            return any(took_over.search(host.sentinel.log.read_text(errors="replace")) for host in others)

        await until(taken_over, f"{victim.name} is taken over from", PATIENCE_S)
        await asyncio.sleep(TOO_LONG_S)
        await _put(victim, taps, GUARDED_GROUP)
        os.kill(agent.pid, signal.SIGCONT)


async def _guarded_taps(host: Host) -> list[str]:
    lines = await shell.run(*host.inside(), "ip", "-o", "link", "show", "group", str(GUARDED_GROUP))
    return [line.split()[1].partition("@")[0] for line in lines.splitlines()]


async def _put(host: Host, taps: Sequence[str], group: int) -> None:
    await shell.ip([f"link set {tap} group {group}" for tap in taps], inside=host.inside())


async def test_a_host_that_forwards_a_tenth_of_a_second_too_long_is_seen_on_the_wire() -> None:
    async with running_lab(hosts=3, routers=6, mode=STANDBY) as lab:
        fault = GuardHeldOpen([await lab.busiest_host()])
        found = (await experiment(lab, fault)).result
        assert found.wire.missed == 0
        assert isinstance(found.double_active_frames, int)
        assert found.double_active_frames > 0
        assert any("two hosts were active for one router" in problem for problem in found.problems)
