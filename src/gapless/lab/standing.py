"""`gapless lab up`, inside: a lab that stays, and answers requests on a socket until it is told to end.

The socket lies in the lab's private /run. From outside it is reached through /proc/PID/root, so it is gone when the
lab is, and only the lab's user can open it. One request a connection, one JSON line; the answer is one JSON line a
time: `Said` and `Alive` while something takes its time, then `Answer` or `Failed`.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import msgspec

from gapless.errors import GaplessError, InvalidRequest
from gapless.lab import faults, runner
from gapless.lab.experiment import experiment
from gapless.lab.findings import table
from gapless.lab.findings.events import LabEvent, PhaseBegan
from gapless.lab.groups import first_of
from gapless.lab.lab import Lab
from gapless.lab.machines.enter import LAB_DIR
from gapless.lab.settings import LabSettings
from gapless.observe.console import console

SOCKET = LAB_DIR / "control"
READY = b"ready\n"
LINE_LIMIT = 2**24
ALIVE_EACH_S = 5.0
"""So often whoever asked hears that the lab is at it."""


class UpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asked for. `ready_fd`: told when the lab is built; then its terminal is let go."""

    settings: LabSettings
    ready_fd: int


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What may be asked of a running lab: `status`, `inside` (of a node), `fault` (on hosts)."""

    ask: str
    node: str = ""
    fault: str = ""
    hosts: tuple[str, ...] = ()


class Said(msgspec.Struct, frozen=True, tag="said"):
    """What it is doing, for people."""

    words: str


class Alive(msgspec.Struct, frozen=True, tag="alive"):
    """It is still at it."""


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """What was asked for."""

    value: Any


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """It could not be done; why, for people."""

    reason: str


Reply = Said | Alive | Answer | Failed


class HostStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A host, by the lab's knowledge and the controller's."""

    name: str
    power: bool
    standing: str
    routers: int
    """Active on it, by a look into its namespaces."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A running lab."""

    hosts: list[HostStatus]
    routers: int
    problems: list[str]
    nodes: list[str]


_tell: ContextVar[Callable[[str], None] | None] = ContextVar("tell", default=None)
"""Where the words of the request that is being answered go; the tasks that it starts inherit it."""


def hear(event: LabEvent) -> None:
    """A listener: tell whoever asked how it goes."""
    tell = _tell.get()
    if tell is not None and isinstance(event, PhaseBegan):
        tell(f"{event.phase.value} {event.detail}".strip())


class Standing:
    """A lab and the requests to it, one after another: two faults at once would blur what either did."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._one_at_a_time = asyncio.Lock()

    async def answer(self, request: Request) -> Any:
        """Do what was asked. Raises GaplessError."""
        kinds: dict[str, Callable[[Request], Awaitable[Any]]] = {
            "status": self._status,
            "inside": self._inside,
            "fault": self._fault,
        }
        if request.ask not in kinds:
            raise InvalidRequest(f"a lab cannot be asked for '{request.ask}'")
        if request.ask == "inside":  # a shell must open while a fault goes on
            return await self._inside(request)
        async with self._one_at_a_time:
            return await kinds[request.ask](request)

    async def _status(self, _: Request) -> Status:
        lab = self._lab
        try:
            standing = {host["name"]: str(host["standing"]) for host in await lab.api.hosts()}
        except GaplessError:
            standing = {}
        placement = await lab.placement()
        hosts = [
            HostStatus(
                name=name,
                power=host.machine.is_on,
                standing=standing.get(name, "the controller does not say"),
                routers=sum(name in where for where in placement.values()),
            )
            for name, host in lab.hosts.items()
        ]
        return Status(
            hosts=hosts,
            routers=len(lab.tenants),
            problems=await lab.problems(),
            nodes=[node.name for node in lab.nodes()],
        )

    async def _inside(self, request: Request) -> list[str]:
        return self._lab.node(request.node).inside()

    async def _fault(self, request: Request) -> Any:
        fault = await faults.choose(self._lab, request.fault, request.hosts)
        try:
            return (await experiment(self._lab, fault)).result
        finally:
            await self._lab.watch.stop()


async def _serve(standing: Standing, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    def say(reply: Reply) -> None:
        writer.write(msgspec.json.encode(reply) + b"\n")

    async def show_life() -> None:
        while True:
            await asyncio.sleep(ALIVE_EACH_S)
            say(Alive())

    showing_life = asyncio.create_task(show_life(), name="show life")
    try:
        request = msgspec.json.decode(await reader.readline(), type=Request)
        _tell.set(lambda words: say(Said(words)))
        say(Answer(await standing.answer(request)))
    except (GaplessError, ExceptionGroup) as error:
        say(Failed(str(first_of(error))))
    except msgspec.DecodeError as error:
        say(Failed(f"a request is one line of JSON: {error}"))
    finally:
        showing_life.cancel()
        writer.close()


async def _stand(request: UpRequest, narrator: table.Narrator) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _serve(standing, reader, writer)

    async with Lab(request.settings, narrator) as lab:
        await lab.build()
        await lab.one_host_each()
        standing = Standing(lab)
        lab.listen = hear
        server = await asyncio.start_unix_server(serve, SOCKET, limit=LINE_LIMIT)
        narrator.stop()
        _let_terminal_go(LAB_DIR / "lab.log")
        with os.fdopen(request.ready_fd, "wb") as ready:
            ready.write(READY)
        async with server:
            await server.serve_forever()


def _let_terminal_go(log: Path) -> None:
    """From here on, whatever the lab prints goes to a file of its own."""
    sys.stdout.flush()
    with log.open("ab") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
    with Path("/dev/null").open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)


def main(argument: dict[str, Any]) -> int:
    """Entry for `enter.call`; returns the exit status."""
    request = msgspec.convert(argument, UpRequest)
    narrator = table.Narrator(console())
    try:
        runner.run_until_signalled(_stand(request, narrator))
    except KeyboardInterrupt:
        narrator.stop()
        return 0
    except (GaplessError, ExceptionGroup) as error:
        narrator.stop()
        print(f"gapless lab: {first_of(error)} [while: {narrator.said()}]", file=sys.stderr)
        return 1
    return 0
