"""`docs/openstack-client.md` as something that can be run: its blocks of commands, a shell to type them into, and
the table of paths.
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

DOCUMENT = Path(__file__).parents[2] / "docs" / "openstack-client.md"
PATIENCE_S = 240
"""For a block of several commands, each of which takes a second and more of a processor: the test gets what is left."""
ENDING_S = 10
_BLOCK = re.compile(
    r"^## (?P<heading>[^\n]+)$|^<!-- (?P<where>[a-z: ]+) -->\n```sh\n(?P<commands>.*?)^```$", re.M | re.S
)
_SHELL = re.compile(r"^```sh$", re.M)
_PATH = re.compile(r"^\| (?P<method>[A-Z]+) \| `(?P<path>/[^`]+)` \|", re.M)
_END = "--- end of block ---"


@dataclass(frozen=True)
class Block:
    """Commands that a reader types, and where."""

    heading: str
    where: str
    """`run`: at the controller; `elsewhere`: there, but not in a lab; `lab: ...`: only in a lab."""
    commands: str


def blocks() -> list[Block]:
    """Every block of commands in the document, in its order."""
    text, heading, found = DOCUMENT.read_text(), "", []
    for match in _BLOCK.finditer(text):
        heading = match["heading"] or heading
        if match["commands"] is not None:
            found.append(Block(heading, match["where"], match["commands"]))
    assert len(found) == len(_SHELL.findall(text)), "a block of commands does not say where it is run"
    return found


def paths() -> list[tuple[str, str]]:
    """Method and path of each row of the table of Gapless's own API, in its order."""
    return [(match["method"], match["path"]) for match in _PATH.finditer(DOCUMENT.read_text())]


class Shell:
    """A shell that ends with the first command that fails. Variables live from block to block, as for a reader."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def open(cls, *inside: str, **environment: str) -> AsyncIterator[Self]:
        """`inside`: a command line to run it with; `environment`: what it has on top of this process's."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        clean = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
        process = await asyncio.create_subprocess_exec(
            *inside,
            *("bash", "-eu", "-o", "pipefail"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=clean | {"PATH": path} | environment,
        )
        try:
            yield cls(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()  # it ends when there is nothing more to read, wherever it runs
            try:
                await asyncio.wait_for(process.wait(), ENDING_S)
            except TimeoutError:
                process.kill()
                await process.wait()  # else it is found unclosed, and whatever test runs then is said to have failed

    async def run(self, commands: str) -> str:
        """Type commands; what they print. Fails with all of it if one of them does."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # From nowhere, or a command that reads its standard input would eat what is typed next.
        self._process.stdin.write(f"{{\n{commands}\n}} < /dev/null\necho '{_END}'\n".encode())
        printed = ""
        async with asyncio.timeout(PATIENCE_S):
            while line := (await self._process.stdout.readline()).decode():
                if line.strip() == _END:
                    return printed
                printed += line
        raise AssertionError(f"a command of this block failed:\n{commands}\nIt printed:\n{printed}")
