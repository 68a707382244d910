"""Finding the processes of a machine: those of its pid namespace and of namespaces below it, read from /proc."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process as /proc shows it. `pid` is its number here, ready for `os.kill`."""

    pid: int
    name: str
    """Its number in /proc: another one where the lab could not mount a /proc of its own."""
    argv: tuple[str, ...]


def _numbers(name: str) -> list[int]:
    """NSpid of /proc/NAME/status: its pid in each pid namespace, from the one that /proc belongs to downwards."""
    for line in Path(f"/proc/{name}/status").read_text().splitlines():
        if line.startswith("NSpid:"):
            return [int(word) for word in line.split()[1:]]
    return []


def pid_here(name: str) -> int:
    """The pid here of what /proc calls `name`. Raises OSError when it is gone."""
    return _numbers(name)[len(_numbers("self")) - 1]


def every() -> Iterator[Process]:
    """All processes of the lab that are not over."""
    level = len(_numbers("self")) - 1
    for name in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208 -- hundreds of names; no Path for each
        try:
            numbers = _numbers(name)
            argv = Path(f"/proc/{name}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
        except OSError:
            continue  # it ended while we looked
        if len(numbers) > level and argv:
            yield Process(numbers[level], name, tuple(argv))


def in_pid_namespace(descriptor: int) -> list[Process]:
    """The processes whose pid namespace is the one that `descriptor` holds open."""
    wanted = os.fstat(descriptor).st_ino
    found = []
    for process in every():
        try:
            if os.stat(f"/proc/{process.name}/ns/pid").st_ino == wanted:  # noqa: PTH116 -- a namespace, not a path
                found.append(process)
        except OSError:
            continue
    return found
