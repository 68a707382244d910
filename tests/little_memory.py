"""Memory that runs out for one process alone: a control group (cgroups v1 or v2) whose limit is next to nothing.

What the process holds already stays where it was charged; of what it asks for from now on there is so little that the
kernel's out-of-memory killer ends it. Only real root can make such a group, where the groups can be written to: for
others a test that needs one is skipped. Real root may be a person's machine without such groups; where CI=true it is
not, and the test fails.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

import namespaces

_ROOT = Path("/sys/fs/cgroup")
_V1 = _ROOT / "memory"


@dataclass(frozen=True, slots=True)
class Group:
    """One such group."""

    path: Path

    @property
    def killed(self) -> int:
        """How many of its processes the kernel has ended for want of memory."""
        events = self.path / ("memory.oom_control" if self.path.parent == _V1 else "memory.events")
        counts = dict(line.split() for line in events.read_text().splitlines())
        return int(counts["oom_kill"])

    def take(self, pid: int) -> None:
        """From now on this process is charged here."""
        (self.path / "cgroup.procs").write_text(str(pid))


@contextlib.contextmanager
def group(name: str, kilobytes: int) -> Iterator[Group]:
    """A group that may hold so much; gone at the end, when its processes are. Where none can be made, the test is left
    out.
    """
    parent = _V1 if _V1.is_dir() else _ROOT
    made = Group(parent / f"{name}-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        made.path.mkdir()
    except OSError as error:
        _leave_out(f"no group of processes with little memory can be made here: {error}")
    try:
        _limit(made.path, kilobytes << 10)
        yield made
    finally:
        made.path.rmdir()


def _leave_out(reason: str) -> NoReturn:
    if _outer_user() == 0:
        namespaces.leave_out(reason)
    pytest.skip(reason)


def _outer_user() -> int:
    """Who this process is outside its user namespace (user_namespaces(7)), which every isolated test has."""
    return int(Path("/proc/self/uid_map").read_text().split()[1])


def _limit(path: Path, most: int) -> None:
    v1, v2 = path / "memory.limit_in_bytes", path / "memory.max"
    if not v1.exists() and not v2.exists():
        _leave_out(f"{path.parent} has no controller for memory")
    (v1 if v1.exists() else v2).write_text(str(most))
    for swap in (path / "memory.memsw.limit_in_bytes", path / "memory.swap.max"):
        if swap.exists():
            swap.write_text(str(most if v1.exists() else 0))
