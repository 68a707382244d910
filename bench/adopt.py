"""What the end of an agent costs a host with many routers: how long until the next one has looked at all of them.

    python bench/adopt.py [--routers 100,1000] [--rounds 5] [--mode standby|reschedule] [--raise-neighbour-limits]
                          [--out DIRECTORY]

One host in namespaces of its own, with the real agent under the sentinel's own supervision, and no controller. Some of
its routers have a machine that sends probes to the world outside. In each round the agent ends in two ways: killed
(`kill -9`), and in order, as when it is upgraded (`systemctl reload`). In sync is the host again when the next agent
has said of every router that it is as it should be. A router was changed when the kernel told of any change in its
namespace or at its host's ends.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import by_size
from gapless.agent.hint import Hint
from gapless.agent.kernel import links, netns
from gapless.agent.kernel.events import RouterEvents
from gapless.kernel.netlink import Netlink
from gapless.lab.measuring.traffic import Traffic
from gapless.model.plan import RouterState
from gapless.model.router import FailoverMode, Router, RouterId
from gapless.observe.words import counted
from gapless.sentinel.supervise import RESTART
from measuring import by_what, spread
from one_host import Agent, agent_of, plug_vm, prepare_outside, probe, router

GOAL_S = 5.0
WAYS = {"kill": "killed", "order": "ended in order"}
PROBED = 10
PROBES_MS = 10.0
PATIENCE_S = 60.0
AFTER_S = 1.0
"""How long probes go on after the host is in sync."""


async def measure(count: int, rounds: int, mode: FailoverMode, state_dir: Path) -> list[dict[str, Any]]:
    """What each end of an agent cost."""
    settings = replace(prepare_outside(), state_dir=state_dir)
    routers = [router(number) for number in range(count)]
    found = []
    async with agent_of(settings, mode) as agent:
        agent.plan(routers)
        await agent.says(RouterState.ACTIVE, routers)
        for number, it in enumerate(routers[:PROBED]):
            plug_vm(number, it)
        for turn in range(rounds):
            for way in WAYS:
                # An agent that lived for less is started again after a pause that grows.
                await asyncio.sleep(RESTART.settled_s + 1)
                found.append({"way": way, **await one_end(agent, way, routers)})
                print(f"{count} routers, round {turn + 1}: {words(found[-1])}", flush=True)
    return found


async def one_end(agent: Agent, way: str, routers: Sequence[Router]) -> dict[str, Any]:
    """End the agent, and see the next one adopt."""
    traffic = Traffic([probe(number, it) for number, it in enumerate(routers[:PROBED])], PROBES_MS)
    await traffic.start()
    try:
        await traffic.all_answered(for_s=0.5, timeout_s=PATIENCE_S)
        await traffic.begin()
        with changes(routers) as changed:
            began = time.monotonic()
            if way == "kill":
                agent.kill()
            else:
                agent.renew()
            in_sync = await agent.says(RouterState.ACTIVE, routers, all_anew=True) - began
            peak_mb = agent.peak_mb
            await asyncio.sleep(AFTER_S)
        with tempfile.TemporaryDirectory() as directory:
            recording = await traffic.end(Path(directory) / "recording")
    finally:
        await traffic.close()
    return {
        "in_sync_s": round(in_sync, 3),
        "probes": recording.sent,
        "lost": recording.lost,
        "worst_gap_ms": round(max(gap.ms for gap in recording.gaps().values()), 1),
        "changed": len(changed),
        "peak_mb": peak_mb,
    }


@contextmanager
def changes(routers: Sequence[Router]) -> Iterator[set[RouterId | None]]:
    """Routers of which the kernel told that something changed; complete after the block. None: it told too much."""
    changed: set[RouterId | None] = set()

    def note(hint: Hint) -> None:
        changed.add(hint.router_id)

    events = RouterEvents()
    try:
        with Netlink() as host:
            for it in routers:
                events.follow(host, it.id, netns.path_of(it.id))
            events.catch_up()
            events.on_hint = note
            before = _ends(host)
            yield changed
            events.catch_up()
            changed |= {RouterId(marked) for marked, _ in before ^ _ends(host)}
    finally:
        events.close()


def _ends(host: Netlink) -> set[tuple[str, tuple[object, ...]]]:
    """The links of ours on the host, by what they are marked with."""
    return {
        (it.marked_id, (it.index, it.name, it.mtu, it.up, it.operational, it.master, it.group))
        for it in links.all_links(host)
        if it.is_ours
    }


def words(it: Mapping[str, Any]) -> str:
    """One end of an agent in a line."""
    return (
        f"{WAYS[it['way']]}: in sync after {it['in_sync_s']:.2f} s, {it['lost']} of {it['probes']} probes lost, "
        f"{counted(it['changed'], 'router')} changed, {it['peak_mb']:g} MiB of memory at most"
    )


def table(found: Mapping[int, Sequence[Mapping[str, Any]]]) -> str:
    """As Markdown."""
    lines = [
        "# The end of an agent, and the next one",
        "",
        f"Median over the rounds (least to most). Probes go each {PROBES_MS:g} ms, through {PROBED} routers. "
        f"Goals: in sync within {GOAL_S:g} s, no probe lost, no router changed. Memory: the most (VmHWM) that the next "
        "agent had until the host was in sync.",
        "",
        "| routers | the agent was | rounds | s until in sync | probes lost | longest gap, ms | routers changed "
        "| memory, MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for count, ends in found.items():
        for way, told in WAYS.items():
            these = [end for end in ends if end["way"] == way]
            cells = [
                f"{count:,}",
                told,
                str(len(these)),
                spread((end["in_sync_s"] for end in these), 2),
                f"{sum(end['lost'] for end in these):,} of {sum(end['probes'] for end in these):,}",
                spread(end["worst_gap_ms"] for end in these),
                str(sum(end["changed"] for end in these)),
                spread(end["peak_mb"] for end in these),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join((*lines, "", by_what(), ""))


if __name__ == "__main__":
    sys.exit(by_size.main(__file__, __doc__, "adopt", measure, table))
