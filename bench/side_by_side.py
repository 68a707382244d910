"""Gapless and its peers, measured by the same fault in the same lab: which can be measured here, and one run of one.

Two hosts; all routers are active on the first, which loses power. Gapless is measured by `gapless lab run`, keepalived,
with conntrackd or without, by `vrrp_lab`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gapless.errors import GaplessError, InvalidRequest
from gapless.lab.machines import enter, room
from gapless.lab.measuring import connections
from gapless.lab.measuring.connections import MIX, Kinds
from gapless.lab.settings import LabSettings
from keepalived import Timing
from measuring import HERE, NothingMeasuredError, measured, why_missing
from real_time import real_time
from runs import Case, Run, of_routers
from vrrp_lab import Found, Measurement
from vrrp_routers import Peer

HOSTS = 2
TIMEOUT_S = 300.0
"""For one measurement of keepalived, from an empty lab to its result;"""
TIMEOUT_A_ROUTER_S = 3.0
"""and for each router, whose daemons are started on both hosts."""
MOST_ADVERTS_A_CORE = 2_500
"""A second. 20,000 on two cores left nothing to anybody else for minutes, and keepalived never settled."""
NEUTRON = Timing(name="neutron", version=2, advert_s=2)
EACH_100_MS = Timing(name="vrrp3-100ms", version=3, advert_s=0.1)
EACH_10_MS = Timing(name="vrrp3-10ms", version=3, advert_s=0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gapless:
    """As it comes, but for what is named."""

    timing: str = "default"
    flow_sync: bool = True


System = Gapless | Peer
Systems = Mapping[str, System]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What goes through the routers of every system at one size: a probe each `interval_ms`, and connections."""

    interval_ms: float
    flows: int = 0
    kinds: Kinds = MIX


def carried(asked: Sequence[Case], systems: Systems) -> tuple[list[Case], list[str]]:
    """Those of the cases that this machine can carry, and a line for what is left out."""
    reasons = {case: _why_left_out(case, systems[case[1]]) for case in asked}
    left_out = dict.fromkeys(f"left out: {reason}" for reason in reasons.values() if reason)
    return [case for case, reason in reasons.items() if not reason], list(left_out)


def _why_left_out(case: Case, system: System) -> str | None:
    if isinstance(system, Gapless):
        return None
    if missing := why_missing("keepalived"):
        return f"keepalived. {missing}"
    if system.conntrackd and (missing := why_missing("conntrackd")):
        return f"conntrackd. {missing}"
    size, name = case
    most, adverts = MOST_ADVERTS_A_CORE * len(os.sched_getaffinity(0)), size / system.timing.advert_s
    if adverts <= most:
        return None
    return f"{name}, {of_routers(size)}: {adverts:,.0f} adverts a second, and this machine carries {most:,}"


def why_impossible(routers: int, flows: int = 0) -> str | None:
    """One line when this machine has no room for the largest lab, or allows none."""
    try:
        room.check(LabSettings(hosts=HOSTS, routers=routers, flows=flows))
    except GaplessError as error:
        return str(error)
    return enter.why_forbidden()


def in_turn(
    cases: Sequence[Case], runs: int, measure: Callable[[Case], Run], say: Callable[[Run], str]
) -> tuple[dict[Case, list[Run]], str]:
    """So many runs of each case, in turn over all, so that a slow moment of the machine is shared out.

    What each found, and in words which priority beats had. `say`: how a run went, for people who wait.
    """
    found: dict[Case, list[Run]] = {case: [] for case in cases}
    with real_time() as given:
        for turn in range(runs):
            for case in cases:
                print(f"run {turn + 1} of {runs}: {case[1]}, {of_routers(case[0])}", flush=True)
                run = measure(case)
                print(f"  {say(run)}", flush=True)
                found[case].append(run)
    return found, given.words


def measure(system: System, routers: int, load: Load) -> Run:
    """One run, in a lab of its own."""
    if isinstance(system, Gapless):
        return _of_gapless(system, routers, load)
    return _of_keepalived(system, routers, load)


def arguments(system: Gapless, routers: int, load: Load) -> list[str]:
    """Of `gapless`, for one run; a file's name is to follow."""
    argv = ["lab", "run", "--hosts", str(HOSTS), "--packed", "--routers", str(routers), "--fault", "host-power"]
    argv += ["--timing", system.timing, "--interval-ms", f"{load.interval_ms:g}", "--flows", str(load.flows)]
    argv += ["--kinds", ",".join(load.kinds)]
    return [*argv, *([] if system.flow_sync else ["--no-flow-sync"]), "--json"]


def _of_gapless(system: Gapless, routers: int, load: Load) -> Run:
    try:
        found = measured([sys.executable, "-m", "gapless", *arguments(system, routers, load)])
    except NothingMeasuredError as error:
        return Run.failed(str(error))
    problems = list(found["problems"])
    if found["affected"] != routers:
        problems.append(f"{found['affected']} of {routers} routers were active on the host that was struck")
    return Run(
        gaps_ms=list(found["gap_ms"]["per_router"].values()),
        double_active_frames=found["double_active_frames"],
        problems=problems,
        found=found,
    )


def _of_keepalived(system: Peer, routers: int, load: Load) -> Run:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "result.json"
        orders = Measurement(
            peer=system,
            routers=routers,
            interval_ms=load.interval_ms,
            flows=load.flows,
            kinds=load.kinds,
            result=str(path),
        )
        argv = enter.command(enter.call("vrrp_lab:main", msgspec.to_builtins(orders)), outlives_us=False)
        within_s = TIMEOUT_S + TIMEOUT_A_ROUTER_S * routers
        paths = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
        try:
            ended = subprocess.run(  # whose end is the whole lab's
                argv,
                env={**os.environ, "PYTHONPATH": paths},
                stderr=subprocess.PIPE,
                text=True,
                timeout=within_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Run.failed(f"not measured within {within_s:g} s")
        if ended.returncode != 0 or not path.exists():
            return Run.failed(ended.stderr or f"the lab ended with {ended.returncode}")
        found = msgspec.json.decode(path.read_bytes(), type=Found)
    return Run(
        gaps_ms=list(found.gap_ms.per_router.values()),
        double_active_frames=found.double_active_frames,
        problems=found.problems,
        found=msgspec.to_builtins(found),
    )


# -- options ----------------------------------------------------------------------------------------------------------


def names_of(systems: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """What reads names of these systems, separated by commas; raises ArgumentTypeError for others."""

    def read(words: str) -> tuple[str, ...]:
        names = tuple(words.split(","))
        if unknown := sorted(set(names) - set(systems)):
            raise argparse.ArgumentTypeError(f"there is no system {', '.join(unknown)}: {', '.join(systems)}")
        return names

    return read


def kinds(words: str) -> Kinds:
    """Of connections (`connections.kinds_of`). Raises ArgumentTypeError."""
    try:
        return connections.kinds_of(words)
    except InvalidRequest as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def sizes(words: str) -> tuple[int, ...]:
    """Numbers, separated by commas. Raises ArgumentTypeError."""
    return tuple(positive(word) for word in words.split(","))


def positive(word: str) -> int:
    """Raises ArgumentTypeError."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"'{word}' is not a number from 1 on")
    return int(word)
