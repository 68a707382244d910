"""Running labs, from outside: the file that says where one is, asking it something, entering its nodes, ending it.

The file is kept by the lab's supervisor (see `enter`) and removed when the lab ends. One whose supervisor was killed
too is recognised by its pid and start time, and removed by whoever finds it.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from gapless.errors import InvalidRequest, Unavailable
from gapless.lab import registry, standing
from gapless.lab.machines import enter
from gapless.lab.machines.enter import KILL_AFTER_S
from gapless.lab.registry import Registered
from gapless.lab.standing import Answer, Failed, Reply, Request, Said

SILENCE_S = 6 * standing.ALIVE_EACH_S
"""Of a lab that was asked something. What it does may take long, but it says that it is at it."""


@dataclass(frozen=True, slots=True)
class RunningLab:
    """A lab that runs now."""

    name: str
    file: Path
    said: Registered

    def ask(self, request: Request, hear: Callable[[str], None] = lambda _: None) -> Any:
        """Send a request and wait for its answer, however long that takes, but not for a lab that shows no life.

        `hear` is given its words meanwhile. Raises Unavailable with the reason.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(SILENCE_S)
            try:
                connection.connect(f"/proc/{self.said.pid}/root{standing.SOCKET}")
                connection.sendall(msgspec.json.encode(request) + b"\n")
                return self._answer(connection.makefile("rb"), hear)
            except TimeoutError:
                raise Unavailable(f"lab '{self.name}' has been silent for {SILENCE_S:g} s; is it stopped?") from None
            except OSError as error:
                raise Unavailable(f"lab '{self.name}' does not answer: {error.strerror}") from error

    def _answer(self, lines: Iterable[bytes], hear: Callable[[str], None]) -> Any:
        for line in lines:
            if not line.endswith(b"\n"):
                break  # it was ended while it spoke
            match msgspec.json.decode(line, type=Reply):
                case Said(words):
                    hear(words)
                case Answer(value):
                    return value
                case Failed(reason):
                    raise Unavailable(reason)
        raise Unavailable(f"lab '{self.name}' ended")

    def inside(self, node: str) -> list[str]:
        """The command line that runs what follows it on a node. Raises Unavailable, InvalidRequest."""
        into_lab = ["nsenter", "--target", str(self.said.pid), "--user", "--preserve-credentials"]
        into_lab += ["--mount", "--net", "--pid", "--"]
        return [*into_lab, *self.ask(Request(ask="inside", node=node))]

    def end(self) -> None:
        """End it and wait until it is gone. Blocks, for at most as long as its supervisor grants it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.said.supervisor, signal.SIGTERM)
        deadline = time.monotonic() + KILL_AFTER_S + 5
        while self.said.runs:
            if time.monotonic() > deadline:
                raise Unavailable(f"lab '{self.name}' (process {self.said.supervisor}) does not end")
            time.sleep(0.05)
        registry.remove(self.file, self.said)


def file_of(name: str) -> Path:
    """The file of the lab of that name. Raises InvalidRequest for a name that is none."""
    if not name.replace("-", "").isalnum():
        raise InvalidRequest(f"'{name}' is no name for a lab: letters, digits and '-'")
    return registry.directory() / f"{name}.json"


def find(name: str) -> RunningLab | None:
    """The running lab of that name; what a dead one left is removed. Raises InvalidRequest where the directory of such
    files is not this user's alone."""
    file = file_of(name)
    said = registry.read(file)
    if said is None:
        return None
    if not said.runs:
        registry.remove(file, said)
        return None
    return RunningLab(name, file, said)


def the(name: str) -> RunningLab:
    """The running lab of that name. Raises InvalidRequest when there is none."""
    lab = find(name)
    if lab is None:
        others = names()
        there = f"; there is {', '.join(others)}" if others else ""
        raise InvalidRequest(f"no lab '{name}' is running{there}. Start one with `gapless lab up`")
    return lab


def names() -> list[str]:
    """The labs that run now."""
    files = sorted(registry.directory().glob("*.json"))
    return [file.stem for file in files if find(file.stem)]


def command(argv: Sequence[str], *, name: str) -> list[str]:
    """The command line that runs `argv` as a lab of that name. Raises InvalidRequest when one runs already; of several
    that are begun at once, all but one refuse when they are registered."""
    file = file_of(name)
    if find(name):
        raise registry.taken(file)
    return enter.command(argv, register=file)
