"""What each kind of breakage costs a router: traffic lost until it is repaired, as distributions, with the machine.

    python bench/repair.py [--routers 1,100,1000] [--times 20] [--at-once 100] [--kinds link-down,...]
                           [--mode standby|reschedule] [--seconds 30] [--raise-neighbour-limits] [--strict]

One host in namespaces of its own, with the real agent and the real kernel, without a controller. Some of its routers
have a VM that sends probes to the world outside (the lab's prober), in mode `standby` through an open guard. Each
breakage (`breakages.py`) strikes one of these after another; then, where the host has so many, all at once; what the
routers share is broken by one stroke for all. A gap is the longest stretch without a reply from the strike on, and
never shorter than the probes' interval. A router whose tap is not guarded any more loses nothing: of that breakage it
is told how long the tap was not. Before anything is broken nothing is, for a while: what the agent takes then is its
steady state.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from breakages import BREAKAGES, GUARD_ALTERED, SHARED, Breakage, inner_tap, kinds_of
from gapless.agent.kernel import links, ruleset
from gapless.agent.worklist import REST
from gapless.core.dataplane.desired import desired_router
from gapless.errors import InvalidRequest
from gapless.kernel.netlink import Netlink
from gapless.lab.measuring.probes import Recording, gap
from gapless.lab.measuring.traffic import Traffic
from gapless.model.observed import GUARDED_GROUP, KernelRouter
from gapless.model.plan import RouterState
from gapless.model.router import FailoverMode, Router
from measuring import HERE, commit, measured, spread, write
from neighbours import add_flag, fullness, raised_if, times_full
from one_host import (
    add_mode,
    agent_of,
    bridges_of,
    enter_namespaces,
    is_guarded,
    memory_mb,
    of_mode,
    plug_vm,
    prepare_outside,
    probe,
    router,
)

PROBED = 10
"""Routers with a VM, where they are struck one at a time, or by what they share."""
MEDIAN_MS, MOST_MS = 50.0, 250.0
"""Goals of what one router loses, and of what each of many that are struck at once does."""
SETTLES_S = 5.0
"""After it was built, until the agent does nothing but watch."""
PATIENCE_S = 60.0
LOOK_AGAIN_S = 0.001


def main() -> int:
    """Measure each size in a process of its own, print the table, write both files. Exit 1, with `--strict`, when a
    goal was missed.
    """
    options = _options()
    if options.measure is not None:
        return _inside(options)
    try:
        with raised_if(options.raise_neighbour_limits, max(map(int, options.routers.split(",")))):
            found = [_apart(size, options) for size in options.routers.split(",")]
    except InvalidRequest as error:
        print(f"bench/repair.py: {error}", file=sys.stderr)
        return 1
    text = _table(found)
    print(f"\n{text}")
    write(options.out, "repair", text, found)
    return 1 if options.strict and any(map(_misses, _all_gaps(found))) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routers", default="1,100,1000", help="routers on the host (default: 1,100,1000)")
    parser.add_argument("--times", type=int, default=20, help="how often each kind strikes one router (default: 20)")
    parser.add_argument("--at-once", type=int, default=100, help="routers struck at once, 0: none (default: 100)")
    parser.add_argument("--shared-times", type=int, default=3, help="how often what is shared is broken (default: 3)")
    kinds = ",".join((*BREAKAGES, *SHARED))
    parser.add_argument("--kinds", help=f"breakages (default: all that the mode has, of {kinds})")
    parser.add_argument("--seconds", type=float, default=30.0, help="of steady state, 0: none (default: 30)")
    add_mode(parser)
    add_flag(parser)
    parser.add_argument("--strict", action="store_true", help="exit 1 when a goal is missed")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="directory for the results")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    there = [*kinds_of(options.mode), *SHARED]
    options.kinds = options.kinds or ",".join(there)
    if unknown := [kind for kind in options.kinds.split(",") if kind not in there]:
        parser.error(f"mode {options.mode} has no breakage {', '.join(unknown)}: {', '.join(there)}")
    return options


def _apart(size: str, options: argparse.Namespace) -> dict[str, Any]:
    argv = [__file__, "--routers", size, "--times", str(options.times), "--at-once", str(options.at_once)]
    argv += ["--shared-times", str(options.shared_times)]
    argv += ["--mode", options.mode, "--seconds", str(options.seconds), "--kinds", options.kinds]
    before = times_full()
    figures: dict[str, Any] = measured([sys.executable, *argv, "--measure"])
    return figures | {"neighbours_full": times_full() - before}


def _inside(options: argparse.Namespace) -> int:
    enter_namespaces()
    with tempfile.TemporaryDirectory() as state_dir:
        figures = asyncio.run(_measure(options, Path(state_dir)))
    options.measure.write_text(json.dumps(figures))
    return 0


# The host, its agent, and what is around.


async def _measure(options: argparse.Namespace, state_dir: Path) -> dict[str, Any]:
    settings = replace(prepare_outside(), state_dir=state_dir)
    routers = [router(number) for number in range(int(options.routers))]
    everyone = min(options.at_once, len(routers))
    probed = to_probe(routers, max(min(PROBED, len(routers)), everyone))
    async with agent_of(settings, options.mode) as agent:
        agent.plan(routers)
        await agent.says(RouterState.ACTIVE, routers)
        for number, it in enumerate(probed):
            plug_vm(number, it)
        figures: dict[str, Any] = {
            "routers": len(routers),
            "mode": options.mode,
            "steady": await _steady(agent.pid, options.seconds),
            "alone": {},
            "at_once": {},
            "shared": {},
            "struck": everyone,
        }
        kinds = options.kinds.split(",")
        for kind in filter(BREAKAGES.__contains__, kinds):
            alone = [[it] for it, _ in zip(_again(probed[:PROBED]), range(options.times), strict=False)]
            strike = _unguarded if kind == GUARD_ALTERED else _strike
            guarded = is_guarded(options.mode)
            figures["alone"][kind] = await strike(BREAKAGES[kind], probed[:PROBED], alone, guarded)
            if everyone > 1:
                figures["at_once"][kind] = await strike(BREAKAGES[kind], probed, [probed], guarded)
            print(len(routers), kind, _words(figures["alone"][kind]), _words(figures["at_once"].get(kind)), flush=True)
        for kind in filter(SHARED.__contains__, kinds):
            figures["shared"][kind] = await _strike_shared(kind, probed[:PROBED], options)
            print(len(routers), kind, _words(figures["shared"][kind]), flush=True)
        figures["rss_mb"] = memory_mb(agent.pid, "VmRSS")
    return figures


def to_probe(routers: Sequence[Router], count: int) -> list[Router]:
    """So many of them; the first few are spread over all, as what all share comes back to some sooner."""
    first = routers[:: max(1, len(routers) // PROBED)][:PROBED]
    known = {it.id for it in first}
    return [*first, *(it for it in routers if it.id not in known)][:count]


def _again(routers: list[Router]) -> Iterable[Router]:
    while True:
        yield from routers


async def _steady(pid: int, seconds: float) -> dict[str, float] | None:
    if not seconds:
        return None
    await asyncio.sleep(SETTLES_S)
    before, began = _cpu_s(pid), time.monotonic()
    await asyncio.sleep(seconds)
    share = (_cpu_s(pid) - before) / (time.monotonic() - began)
    return {"core_percent": round(100 * share, 2), "rss_mb": memory_mb(pid, "VmRSS")}


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# Striking.


Plan = tuple[Router, KernelRouter]
"""A router that is to be struck, and what its kernel state should be."""


async def _strike(kind: Breakage, probed: list[Router], victims: list[list[Router]], guarded: bool) -> list[float]:
    """The gaps of all victims of all strikes, in milliseconds, least first."""
    flows = [probe(number, it) for number, it in enumerate(probed)]
    strikes: list[tuple[int, list[Router]]] = []
    traffic = Traffic(flows, 10.0 if len(flows) <= PROBED else 50.0)
    await traffic.start()
    try:
        await traffic.all_answered(for_s=0.5, timeout_s=PATIENCE_S)
        await traffic.begin()
        for place, struck in enumerate(victims):
            if place >= len(probed):
                await _rest_since(strikes[-len(probed)][0])
            plans = _plans(struck, guarded)
            strikes.append((time.monotonic_ns(), struck))
            await asyncio.to_thread(_break, kind, plans)
            await asyncio.sleep(0.1)
            await traffic.all_answered(for_s=0.2, timeout_s=PATIENCE_S)
        with tempfile.TemporaryDirectory() as directory:
            recording = await traffic.end(Path(directory) / "recording")
    finally:
        await traffic.close()
    return sorted(_gaps(recording, strikes))


async def _strike_shared(kind: str, probed: list[Router], options: argparse.Namespace) -> list[float]:
    """The gaps of all routers that are probed, of all strokes, in milliseconds, least first."""

    def for_all(it: Router, desired: KernelRouter) -> None:
        if it is probed[0]:
            SHARED[kind](it, desired)

    found: list[float] = []
    for _ in range(options.shared_times):
        await asyncio.sleep(REST.settled_s)
        found += await _strike(for_all, probed, [probed], is_guarded(options.mode))
    return sorted(found)


async def _unguarded(kind: Breakage, probed: list[Router], victims: list[list[Router]], guarded: bool) -> list[float]:
    """For how long the tap that was struck was not guarded, of all victims of all strikes, in ms, least first."""
    times: list[int] = []
    found: list[float] = []
    for place, struck in enumerate(victims):
        if place >= len(probed):
            await _rest_since(times[-len(probed)])
        plans = _plans(struck, guarded)
        times.append(time.monotonic_ns())
        await asyncio.to_thread(_break, kind, plans)
        ends = await asyncio.to_thread(until_guarded, [inner_tap(desired) for _, desired in plans])
        found += (round((end - times[-1]) / 1e6, 1) for end in ends)
    return sorted(found)


async def _rest_since(struck_ns: int) -> None:
    """Who strikes one router again and again is answered slowly, on purpose."""
    await asyncio.sleep(max(0.0, REST.settled_s - (time.monotonic_ns() - struck_ns) / 1e9))


def _plans(struck: Sequence[Router], guarded: bool) -> list[Plan]:
    return [(it, desired_router(it, ruleset.render(it), bridges_of(it), guarded)) for it in struck]


def _break(kind: Breakage, plans: Sequence[Plan]) -> None:
    for it, desired in plans:
        kind(it, desired)


def until_guarded(taps: Iterable[str], patience_s: float = PATIENCE_S) -> list[int]:
    """The moment at which each of these was seen to be guarded, in monotonic nanoseconds. Raises TimeoutError."""
    left, ends = set(taps), []
    deadline = time.monotonic() + patience_s
    with Netlink() as host:
        while True:
            found = links.find(host, sorted(left))
            right = {name for name, link in found.items() if link.group == GUARDED_GROUP}
            ends += [time.monotonic_ns()] * len(right)
            left -= right
            if not left:
                return ends
            if time.monotonic() > deadline:
                raise TimeoutError(f"{', '.join(sorted(left))} did not become guarded again")
            time.sleep(LOOK_AGAIN_S)


def _gaps(recording: Recording, strikes: list[tuple[int, list[Router]]]) -> Iterable[float]:
    ends = [at for at, _ in strikes[1:]] + [recording.end_ns]
    tracks = {track.flow.router_id: track for track in recording.tracks}
    for (at, struck), end in zip(strikes, ends, strict=True):
        for it in struck:
            yield round(gap(tracks[it.id].replied, at - int(recording.interval_ms * 1e6), end).ms, 1)


def _words(gaps: list[float] | None) -> str:
    return spread(gaps) if gaps else "–"


def _table(found: list[dict[str, Any]]) -> str:
    sizes = [it["routers"] for it in found]
    lines = [
        "# Repairs",
        "",
        "Lost traffic in milliseconds, median (least to most). Probes go each 10 ms; each 50 ms where many routers are "
        f"struck at once. Of {GUARD_ALTERED}, which costs no traffic: for how long the tap was not guarded. The goals: "
        f"{MEDIAN_MS:g} in the median, {MOST_MS:g} at most; what misses one is **bold**.",
        "",
        f"| breakage | {' | '.join(_heads(found))} |",
        f"|---|{'---|' * len(_heads(found))}",
    ]
    for kind in found[0]["alone"]:
        gaps = [it["alone"][kind] for it in found] + [it["at_once"][kind] for it in found if it["at_once"]]
        cells = [f"**{_words(each)}**" if _misses(each) else _words(each) for each in gaps]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    lines += [
        *_shared_lines(found),
        "",
        f"| steady state | {' | '.join(f'{size} routers' for size in sizes)} |",
        f"|---|{'---|' * len(sizes)}",
    ]
    shares = (str(it["steady"]["core_percent"]) if it["steady"] else "–" for it in found)
    lines.append(f"| % of a core | {' | '.join(shares)} |")
    lines.append(f"| MB, at the end | {' | '.join(str(it['rss_mb']) for it in found)} |")
    full = fullness({it["routers"]: it["neighbours_full"] for it in found})
    version = f"{os.cpu_count()} cores, Linux {os.uname().release}, Gapless at {commit()}"
    return "\n".join((*lines, "", f"{of_mode(FailoverMode(found[0]['mode']))} {full}", "", f"{version}.", ""))


def _shared_lines(found: list[dict[str, Any]]) -> list[str]:
    kinds = list(found[0]["shared"])
    if not kinds:
        return []
    heads = [f"{min(PROBED, it['routers'])} of {it['routers']}" for it in found]
    lines = ["", f"| shared by all; seen by | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for kind in kinds:
        gaps = [it["shared"][kind] for it in found]
        cells = [f"**{_words(each)}**" if _misses(each) else _words(each) for each in gaps]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return lines


def _misses(gaps: list[float]) -> bool:
    return bool(gaps) and (median(gaps) > MEDIAN_MS or max(gaps) > MOST_MS)


def _all_gaps(found: list[dict[str, Any]]) -> list[list[float]]:
    return [gaps for it in found for kinds in (it["alone"], it["at_once"], it["shared"]) for gaps in kinds.values()]


def _heads(found: list[dict[str, Any]]) -> list[str]:
    alone = [f"one of {it['routers']}" for it in found]
    return alone + [f"{it['struck']} at once of {it['routers']}" for it in found if it["at_once"]]


if __name__ == "__main__":
    sys.exit(main())
