"""What a host's processes cost while nothing happens: processor time and memory, with no routers and with a thousand.

    python bench/idle.py [--routers 0,100,1000] [--timings default,fast] [--seconds 60] [--classic]
                         [--raise-neighbour-limits]

Two hosts and a third arbiter: a lab that stays (`gapless lab up --hosts 2 --packed`), all routers active on host-1 and
built on host-2. A lab is up when every standby is ready; when also the routers' connections have been copied a first
time, each process's time and memory are read from the kernel, before and after a while in which nobody asks the lab for
anything. Hosts of a lab report each half second, and with --classic each 30 s, as they do elsewhere unless told
otherwise. A lab that cannot be built is told, and ends no other.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from gapless.errors import GaplessError, InvalidRequest
from gapless.lab import running
from gapless.lab.machines import enter
from gapless.lab.machines.nodes import AGENT_MODULE, BEAT_MODULE, FLOWS_MODULE
from gapless.lab.settings import CLASSIC, QUICK, LabSettings
from measuring import COPY_S, HERE, commit, write
from neighbours import FLAG, raised, why_no_room
from real_time import real_time

HOSTS = 2
ACTIVE, STANDBY = "host-1", "host-2"
MODULES = {"beat": BEAT_MODULE, "agent": AGENT_MODULE, "flows": FLOWS_MODULE}
ROLES = ("sentinel", *MODULES)
NAME = "bench-idle"
UP_WITHIN_S = 900
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
MIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one process. `percent`: of one core."""

    percent: float
    rss_mib: float
    pss_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One host of one lab."""

    routers: int
    timing: str
    host: str
    costs: Mapping[str, Cost]

    @property
    def percent(self) -> float:
        """All its processes."""
        return sum(cost.percent for cost in self.costs.values())


def main() -> int:
    """Measure, print the table, write both files. Exit 1 when a lab could not be built."""
    options = _options()
    most = LabSettings(hosts=HOSTS, routers=max(options.routers), packed=True)
    reason = enter.why_forbidden() or (None if options.raise_neighbour_limits else why_no_room(most))
    if reason:
        print(f"bench/idle.py: {reason}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows: list[Row] = []
    failures: list[str] = []
    try:
        with raised(most) if options.raise_neighbour_limits else nullcontext(), real_time() as given:
            for timing, routers in product(options.timings, options.routers):
                try:
                    rows += measure(routers, timing, options.seconds, classic=options.classic)
                except GaplessError as error:
                    failures.append(f"{routers} routers, timing {timing}: {error}")
                    print(f"  {failures[-1]}", file=sys.stderr, flush=True)
    except InvalidRequest as error:
        print(f"bench/idle.py: {error}", file=sys.stderr)
        return 1
    text = table(rows, failures, options.seconds, given.words, classic=options.classic)
    print(f"\n{text}")
    write(options.out, "idle", text, [asdict(row) for row in rows])
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routers", type=_sizes, default=[0, 100, 1000], help="sizes (default: 0,100,1000)")
    parser.add_argument("--timings", type=lambda words: words.split(","), default=["default", "fast"])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each lab is looked at (default: 60)")
    parser.add_argument("--classic", action="store_true", help="hosts report as rarely as elsewhere, not as in labs")
    parser.add_argument(FLAG, action="store_true", help="as root: set the kernel's limits so that labs fit, and back")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="directory for the results")
    return parser.parse_args()


def _sizes(words: str) -> list[int]:
    return [int(word) for word in words.split(",")]


def measure(routers: int, timing: str, seconds: float, *, classic: bool) -> list[Row]:
    """Both hosts of one lab. Raises GaplessError."""
    began = time.monotonic()
    with _lab(routers, timing, classic=classic) as top:
        pids = {host: of_host(top, host) for host in (ACTIVE, STANDBY)}
        print(f"{routers} routers, timing {timing}: up after {time.monotonic() - began:.0f} s", flush=True)
        print(f"  first copies: {COPY_S * routers:.0f} s; then {seconds:g} s in which nothing happens", flush=True)
        time.sleep(COPY_S * routers)
        before = {pid: used_s(pid) for found in pids.values() for pid in found.values()}
        start = time.monotonic()
        time.sleep(seconds)
        lasted = time.monotonic() - start
        rows = [
            Row(
                routers=routers,
                timing=timing,
                host=host,
                costs={role: _cost(pid, before[pid], lasted) for role, pid in found.items()},
            )
            for host, found in pids.items()
        ]
    for row in rows:
        said = ", ".join(f"{role} {cost.percent:.2f} %" for role, cost in row.costs.items())
        print(f"  {row.host}: {said}; together {row.percent:.2f} % of a core", flush=True)
    return rows


@contextmanager
def _lab(routers: int, timing: str, *, classic: bool) -> Iterator[int]:
    """A lab that is up; the pid of its first process."""
    argv = [sys.executable, "-m", "gapless", "lab", "up", "--hosts", str(HOSTS), "--packed", "--name", NAME]
    argv += ["--routers", str(routers), "--timing", timing, *(["--classic"] if classic else [])]
    try:
        up = subprocess.run(argv, capture_output=True, text=True, timeout=UP_WITHIN_S, check=False)
        if up.returncode:
            raise InvalidRequest((up.stderr or up.stdout).strip())
        yield running.the(NAME).said.pid
    except subprocess.TimeoutExpired:
        raise InvalidRequest(f"it was not up after {UP_WITHIN_S} s") from None
    finally:
        lab = running.find(NAME)
        if lab is not None:
            lab.end()


def of_host(top: int, host: str) -> dict[str, int]:
    """Role -> pid, of a host's processes below the process `top`. Raises InvalidRequest where one is not there."""
    parents = _parents()
    words = {pid: _words(pid) for pid in parents if top in _ancestors(pid, parents)}
    found: dict[str, int] = {}
    for pid, argv in sorted(words.items()):
        if argv[1:6] == ["-m", "gapless", "host", "--name", host]:  # and not the nsenter that waits for it
            found["sentinel"] = pid
    for role, module in MODULES.items():
        for pid, argv in words.items():
            if module in argv and parents[pid] == found.get("sentinel"):
                found[role] = pid
    if missing := set(ROLES) - set(found):
        raise InvalidRequest(f"{host} runs no {' and no '.join(sorted(missing))}")
    return {role: found[role] for role in ROLES}


def _parents() -> dict[int, int]:
    found = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208 -- names, not paths
        try:
            found[int(name)] = int(_stat(int(name))[1])
        except OSError:
            continue  # it ended while we looked
    return found


def _ancestors(pid: int, parents: Mapping[int, int]) -> Iterator[int]:
    while pid in parents:
        pid = parents[pid]
        yield pid


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def _stat(pid: int) -> list[str]:
    """proc_pid_stat(5) from the third field on; the second may hold spaces and ends at the last parenthesis."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def used_s(pid: int) -> float:
    """Processor time of all threads of a process. Raises OSError."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) * TICK_S


def _cost(pid: int, before_s: float, lasted_s: float) -> Cost:
    try:
        memory = Path(f"/proc/{pid}/smaps_rollup").read_text()
        used = used_s(pid) - before_s
    except OSError as error:
        raise InvalidRequest(f"process {pid} ended meanwhile: {error.strerror}") from error
    return Cost(percent=100 * used / lasted_s, rss_mib=_kib(memory, "Rss") / MIB, pss_mib=_kib(memory, "Pss") / MIB)


def _kib(memory: str, name: str) -> int:
    """proc_pid_smaps(5)."""
    return next(int(line.split()[1]) for line in memory.splitlines() if line.startswith(f"{name}:"))


def table(rows: list[Row], failures: list[str], seconds: float, real_time_words: str, *, classic: bool) -> str:
    """In Markdown."""
    memory = " | ".join(f"{role}, MiB" for role in ROLES)
    lines = [
        "# Idle",
        "",
        f"Percent of one core over {seconds:g} s, and memory: resident, and (in brackets) its share of what processes "
        f"share. {ACTIVE} has every router active, {STANDBY} has every router built and stands by. "
        f"Hosts report each {CLASSIC.report_interval_s if classic else QUICK.report_interval_s:g} s.",
        "",
        f"| routers | timing | host | {' | '.join(ROLES)} | together | {memory} |",
        "|---" * (4 + 2 * len(ROLES)) + "|",
    ]
    for row in rows:
        costs = [row.costs[role] for role in ROLES]
        cells = [
            str(row.routers),
            row.timing,
            row.host,
            *(f"{cost.percent:.2f} %" for cost in costs),
            f"{row.percent:.2f} %",
            *(f"{cost.rss_mib:.0f} ({cost.pss_mib:.0f})" for cost in costs),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"Not measured: {failure}" for failure in failures)]
    cores = len(os.sched_getaffinity(0))
    lines += ["", f"Gapless at {commit()}, {cores} cores. {real_time_words[:1].upper()}{real_time_words[1:]}.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
