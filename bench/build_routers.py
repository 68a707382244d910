"""What building and deleting many routers on one host costs, beside what the kernel takes for the same: ratios.

    python bench/build_routers.py [--routers 100,1000] [--rounds 5] [--mode standby|reschedule]
                                  [--raise-neighbour-limits] [--out DIRECTORY]

Each router has one tenant port (on a VXLAN network of its own), a gateway on one shared flat network, SNAT and one
floating IP. The agent is the real one, as a process: a build begins when its sentinel has the plan, and ends when it
has said of the last router that it is active, observed in the kernel; a deletion ends when it has said of the last one
that it is removed, and its network is gone. The floor is the same end by bare requests (`blindly.py`), and the lower
floor the same again with sysctls found, and rules loaded, as the agent does it. All are done in turn in each round, so
that a slow moment of the machine strikes all, and a ratio is that of one round.

Re-executes itself in a user namespace of its own, so it needs no root and leaves nothing behind.
"""

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import by_size
from blindly import Floor
from gapless.agent.reconcile import Reconciler
from gapless.config import HostSettings
from gapless.core.dataplane.desired import bridge_name
from gapless.model.plan import RouterState
from gapless.model.router import FailoverMode, Router
from measuring import by_what, spread
from one_host import agent_of, is_guarded, prepare_host, quiet, router, until_gone

GOAL = 1.6
WORK = ("build", "delete")
FLOORS = {"floor": False, "lower": True}
"""Whether they save what the agent saves (`Floor`)."""
PEAK = "peak_mb"
"""By which a round tells the most memory that the agent had."""
ADOPTED = 3
"""Of what was built blindly, so many are looked at by the agent's own code, which must find nothing to do."""


def measured_apart(count: int, rounds: int, mode: FailoverMode) -> list[dict[str, float]]:
    """The rounds of one size, milliseconds a router by `key`, from a process in namespaces of its own."""
    return by_size.measured_apart(__file__, count, rounds, mode)


def key(work: str, whose: str) -> str:
    """By which a round tells a figure; `whose`: gapless, or one of `FLOORS`."""
    return f"{work}_{whose}_ms"


async def measure(count: int, rounds: int, mode: FailoverMode, state_dir: Path) -> list[dict[str, float]]:
    """Milliseconds a router, and the agent's peak of memory (`PEAK`), for each round."""
    settings = replace(prepare_host(), state_dir=state_dir)
    routers = [router(number) for number in range(count)]
    found = []
    for turn in range(rounds):
        taken: dict[str, float] = {}
        for whose in (*FLOORS, "gapless") if turn % 2 else ("gapless", *reversed(FLOORS)):
            if whose == "gapless":
                *times, taken[PEAK] = await by_agent(settings, routers, mode)
            else:
                times = [*await blindly(settings, routers, is_low=FLOORS[whose], guarded=is_guarded(mode))]
            taken |= {key(work, whose): round(s * 1000 / count, 3) for work, s in zip(WORK, times, strict=True)}
        found.append(taken)
        print(f"{count} routers, round {turn + 1}: {words(taken)}", flush=True)
    return found


async def by_agent(settings: HostSettings, routers: Sequence[Router], mode: FailoverMode) -> tuple[float, float, float]:
    """Seconds for building and for deleting, and the most memory in MiB that the agent had by the end of building."""
    async with agent_of(settings, mode) as agent:
        agent.plan(())
        await agent.says(RouterState.ACTIVE, (), all_anew=True)
        await quiet()
        began = time.monotonic()
        agent.plan(routers)
        built = await agent.says(RouterState.ACTIVE, routers) - began
        await quiet()
        peak_mb = agent.peak_mb
        began = time.monotonic()
        agent.plan(())
        await agent.says(RouterState.REMOVED, routers)
        await asyncio.to_thread(until_gone, [bridge_name(it.ports[0].network.id) for it in routers])
        deleted = time.monotonic() - began
    await quiet()
    return built, deleted, peak_mb


async def blindly(
    settings: HostSettings, routers: Sequence[Router], *, is_low: bool, guarded: bool
) -> tuple[float, float]:
    """Seconds for building and for deleting. Ends the program when what was built is not what the agent builds."""
    floor = Floor(routers, guarded=guarded, is_low=is_low)
    await quiet()
    began = time.monotonic()
    floor.build()
    built = time.monotonic() - began
    reconciler = Reconciler(settings)
    outcomes = [reconciler.reconcile(it, guarded=guarded) for it in routers[:ADOPTED]]
    reconciler.close()
    if any(outcome.changed for outcome in outcomes):
        raise SystemExit(f"what was built blindly is not the same: {next(filter(None, (it.what for it in outcomes)))}")
    await quiet()
    began = time.monotonic()
    floor.delete()
    deleted = time.monotonic() - began
    await quiet()
    return built, deleted


def ratios(rounds: Sequence[Mapping[str, float]], work: str, floor: str = "floor") -> list[float]:
    """Gapless / a floor, of each round."""
    return [taken[key(work, "gapless")] / taken[key(work, floor)] for taken in rounds]


def words(taken: Mapping[str, float]) -> str:
    """One round in a line."""
    return "; ".join(
        f"{work} {taken[key(work, 'gapless')]:.2f} ms, floor {taken[key(work, 'floor')]:.2f}, "
        f"ratio {ratios([taken], work)[0]:.2f}, with the lower one {ratios([taken], work, 'lower')[0]:.2f}"
        for work in WORK
    )


def table(found: Mapping[int, Sequence[Mapping[str, Any]]]) -> str:
    """As Markdown."""
    lines = [
        "# Building and deleting routers",
        "",
        "Milliseconds a router: median over the rounds (least to most). The floor is what the kernel takes for the "
        "same end by bare requests of one thread, in the same round, sysctls found below /proc and rules loaded by "
        "libnftables; for the lower floor both as Gapless does it. A ratio is that of one round. "
        f"Goal: {GOAL:g} at most.",
        "",
        "| routers | rounds | what | Gapless | floor | ratio | lower floor | ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for count, rounds in found.items():
        for work in WORK:
            cells = [f"{count:,}", str(len(rounds)), work, spread((it[key(work, "gapless")] for it in rounds), 2)]
            for floor in FLOORS:
                cells.append(spread((it[key(work, floor)] for it in rounds), 2))
                cells.append(spread(ratios(rounds, work, floor), 2))
            lines.append(f"| {' | '.join(cells)} |")
    peaks = (f"{spread(taken[PEAK] for taken in rounds)} with {count:,} routers" for count, rounds in found.items())
    lines += ["", f"Most memory of the agent until all were built, in MiB (VmHWM): {', '.join(peaks)}."]
    return "\n".join((*lines, "", by_what(), ""))


if __name__ == "__main__":
    sys.exit(by_size.main(__file__, __doc__, "build", measure, table))
