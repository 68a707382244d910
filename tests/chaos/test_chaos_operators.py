"""What operators do while routers carry traffic: a drain that is taken back half-way, and hosts that are made even. By
the commands that they have, but where a command would begin too late."""

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from chaos_lab import CLASSIC, PATIENCE_S, PATIENT_S, STANDBY, moves, running_lab

from gapless.lab.api import Item
from gapless.lab.findings import result
from gapless.lab.lab import Lab
from gapless.lab.machines.enter import LAB_DIR
from gapless.lab.machines.nodes import GAPLESS
from gapless.lab.waiting import until

pytestmark = pytest.mark.lab

MOVED_MS = 4_000
"""A machine under load may be slow; but a router that nobody has open, or that two have, stays that way for longer."""
FIRST = "host-1"
"""All routers are on it at first."""


async def gapless(lab: Lab, *words: str) -> str:
    """What a command says on the controller's machine."""
    return await lab.controller.machine.run(*GAPLESS, *words)


async def active(lab: Lab) -> Counter[str]:
    """Each host -> routers that are active there, by who answers; each router once."""
    where = await lab.placement()
    assert [hosts for hosts in where.values() if len(hosts) != 1] == []
    found = Counter(dict.fromkeys(lab.hosts, 0))
    found.update(host for (host,) in where.values())
    return found


async def nothing_leaves(lab: Lab) -> Item:
    """Wait until nothing is on its way from the first host; how its drain looks then."""
    seen: Item = {}

    async def rests() -> bool:
        seen.update(await lab.api.drain(FIRST))
        return not (seen["leaving"] or seen["on_their_way"])

    await until(rests, f"nothing is on its way from {FIRST}", PATIENCE_S, lambda: str(seen))
    return seen


@asynccontextmanager
async def under_load(lab: Lab) -> AsyncIterator[None]:
    """Probes and connections while the block lasts: none of these breaks, nobody is active twice or dark for long."""
    async with lab.capture() as capture, lab.traffic() as traffic, lab.talking() as talking:
        await traffic.all_answered(for_s=1.0, timeout_s=PATIENCE_S)
        await lab.connections_copied(talking.flows)
        await traffic.begin()
        await capture.begin()
        await talking.begin()
        yield
        await traffic.all_answered(for_s=1.0, timeout_s=PATIENCE_S)
        courses = await talking.end(LAB_DIR / "connections")
        seen = await capture.end(LAB_DIR / "seen")
        recording = await traffic.end(LAB_DIR / "recording")
    wire = result.wire(seen, result.handovers(await moves(lab)), recording.interval_ms)
    assert result.double_active_frames(wire) == 0
    assert len(courses) == lab.settings.flows
    assert [course for course in courses if course.broken or not course.is_heard] == []
    longest = result.gaps(recording, [tenant.router_id for tenant in lab.tenants]).max
    assert longest is not None
    assert longest < MOVED_MS


async def taken_back_half_way(lab: Lab) -> None:
    """Routers leave one at a time; when half have left, their host is back in service."""
    # As `gapless drain` does, which would end, and `gapless undrain` begin, when most or all have left.
    await lab.api.set_drain(FIRST, wanted=True, at_once=1)

    async def half() -> bool:
        return bool((await lab.api.drain(FIRST))["routers"] <= len(lab.tenants) / 2)

    await until(half, "half have left", PATIENCE_S)
    await lab.api.set_drain(FIRST, wanted=False)
    seen = await nothing_leaves(lab)
    assert seen["admin_state_up"]
    await lab.routers_active()
    await lab.standbys_ready()
    await lab.one_host_each(PATIENCE_S)
    left = await moves(lab)
    assert {(each["from_host"], each["kind"], each["outcome"]) for each in left} == {(FIRST, "drain", "confirmed")}
    assert len(left) == len({each["router_id"] for each in left})
    stayed = (await active(lab))[FIRST]
    assert stayed == seen["routers"] == len(lab.tenants) - len(left)
    assert 0 < stayed < len(lab.tenants)


async def made_even(lab: Lab) -> None:
    """Shown first, then done, then there is nothing more to do."""
    before, count = await active(lab), len(await moves(lab))
    assert max(before.values()) - min(before.values()) > 1
    shown = await gapless(lab, "rebalance", "--dry-run")
    assert " to host-" in shown
    assert "Nothing was done." in shown
    assert (await active(lab), len(await moves(lab))) == (before, count)
    done = await gapless(lab, "rebalance", "--at-once", "2")
    assert "moved. Watch: gapless status" in done
    await lab.routers_active()
    after = await active(lab)
    assert max(after.values()) - min(after.values()) <= 1
    assert len(await moves(lab)) - count == (before - after).total() > 0, "no more moved than had to"
    await lab.standbys_ready()
    assert "Nothing to move" in await gapless(lab, "rebalance")
    await lab.one_host_each(PATIENCE_S)


async def test_a_drain_is_taken_back_half_way_and_hosts_are_made_even_under_load() -> None:
    settings = {"mode": STANDBY, "down_time_s": PATIENT_S, "flows": 48, "packed": True}
    async with running_lab(3, 12, **settings) as lab, under_load(lab):
        await taken_back_half_way(lab)
        await made_even(lab)


async def test_a_classic_drain_that_is_taken_back_keeps_what_has_not_begun_to_leave() -> None:
    """Nobody builds meanwhile, so it is half-way for as long as it takes."""
    async with running_lab(2, 8, mode=CLASSIC, packed=True) as lab:
        agent = lab.host("host-2").agent()
        assert agent is not None
        os.kill(agent.pid, signal.SIGSTOP)
        await gapless(lab, "drain", FIRST, "--at-once", "2", "--no-wait")

        async def two_have_left() -> bool:
            seen = await lab.api.drain(FIRST)
            return bool((seen["routers"], seen["leaving"], seen["on_their_way"]) == (6, 0, 2))

        await until(two_have_left, "two have left, and no others yet", PATIENCE_S)
        assert f"{FIRST} is back in service, with 6 routers." in await gapless(lab, "undrain", FIRST)
        os.kill(agent.pid, signal.SIGCONT)
        await nothing_leaves(lab)
        await lab.routers_active()
        await lab.one_host_each(PATIENCE_S)
        assert await active(lab) == {FIRST: 6, "host-2": 2}
        assert {(each["kind"], each["outcome"]) for each in await moves(lab)} == {("drain", "confirmed")}
        async with lab.traffic() as traffic:
            await traffic.all_answered(for_s=1.0, timeout_s=PATIENCE_S)
