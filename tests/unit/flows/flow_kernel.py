"""A kernel that tracks connections as it is told, in no namespace: tables, and events of what happens in them."""

import asyncio
import contextlib
import socket
import struct
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Self

import pytest
from test_flow_entries import DELETE, IDENTITY, ORIGINAL, PROTOCOL, REPLY, STATUS, TIMEOUT, message

from gapless.errors import Unavailable
from gapless.flows import follower, hearing, telling
from gapless.flows.entries import Entry, entry_of
from gapless.flows.table import Refusal
from gapless.model.router import RouterId

AT_ONCE = 100


def router(number: int) -> RouterId:
    return RouterId(f"{number:08}-1111-4111-8111-111111111111")


def began(port: int, protocol: int = socket.IPPROTO_TCP) -> bytes:
    """What a kernel says of a flow from this port."""
    return message(*_tuples(port, protocol), IDENTITY, STATUS, TIMEOUT, PROTOCOL)


def picked_up(port: int) -> bytes:
    """What it says of a flow that it took up in the middle, once that is assured: nothing of TCP's state."""
    return message(*_tuples(port, socket.IPPROTO_TCP), IDENTITY, STATUS, TIMEOUT)


def ended(port: int, protocol: int = socket.IPPROTO_TCP) -> bytes:
    """What it says of the end of that one."""
    return message(*_tuples(port, protocol), IDENTITY, STATUS, kind=DELETE)


def _tuples(port: int, protocol: int) -> list[str]:
    parts = (part.replace("05000100 06", f"05000100 {protocol:02x}") for part in (ORIGINAL, REPLY))
    return [part.replace("9b40", f"{port:04x}") for part in parts]


def tuple_of(said: bytes) -> bytes:
    """The original direction, also of a protocol that nobody keeps."""
    return said[20:72]


def entry(said: bytes) -> Entry:
    made = entry_of(said)
    assert made is not None
    return made


def flows(ports: Iterable[int]) -> set[bytes]:
    return {entry(began(port)).flow for port in ports}


@dataclass
class SmallTable:
    """One router's table: its flows, each with what is said of it, and no more of them than there is room for."""

    room: float = inf
    there: dict[bytes, bytes] = field(default_factory=dict)
    asked: int = 0
    opened: int = 0
    """How many have it open."""
    is_silent: bool = False
    """Whoever asks for some flows gets no answer."""

    def make(self, made: Sequence[Entry]) -> list[Refusal]:
        self.asked += len(made)
        return [Refusal(entry, is_full=True) for entry in made if not self._takes(entry)]

    def _takes(self, entry: Entry) -> bool:
        if entry.flow not in self.there and len(self.there) >= self.room:
            return False
        self.there[entry.flow] = message(entry.flow.hex(), entry.reply.hex(), entry.state.hex())
        return True

    def add(self, made: Sequence[Entry]) -> list[Refusal]:
        return self.make([entry for entry in made if entry.flow not in self.there])

    def renew(self, there: Sequence[Entry]) -> list[Refusal]:
        return self.make(there)

    def remove(self, gone: Iterable[bytes]) -> None:
        for flow in gone:
            self.there.pop(flow, None)

    def some(self, names: Sequence[bytes]) -> list[bytes]:
        if self.is_silent:
            raise Unavailable("the kernel's answer about flows was lost")
        assert len(names) <= AT_ONCE
        return [self.there[name] for name in names if name in self.there]

    def assured(self) -> Iterator[list[bytes]]:
        listed = list(self.there.values())
        for start in range(0, max(1, len(listed)), AT_ONCE):
            if not self.opened:
                raise Unavailable("it is closed")
            yield listed[start : start + AT_ONCE]

    def all(self) -> Iterator[list[bytes]]:
        return self.assured()

    def close(self) -> None:
        self.opened -= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Kernel:
    """The tables of some routers, each named by a path, and who hears what happens there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.tables = defaultdict[Path, SmallTable](SmallTable)
        self._ears = defaultdict[Path, list[socket.socket]](list)

    def path_of(self, router_id: RouterId) -> Path:
        """Where a router is. That there is a file is what tells that there is a namespace."""
        path = self._directory / router_id
        path.touch()
        return path

    def table(self, router_id: RouterId) -> SmallTable:
        return self.tables[self.path_of(router_id)]

    def opened(self, path: Path) -> SmallTable:
        self.tables[path].opened += 1
        return self.tables[path]

    def listen(self, path: Path, protocols: Collection[int]) -> socket.socket:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        its.setblocking(False)
        hearing.only_assured(its, protocols)
        self._ears[path].append(ours)
        return its

    async def begins(self, router_id: RouterId, ports: Iterable[int]) -> None:
        """Flows begin, and who listens hears it; waits where it is not taken."""
        await self.says(router_id, *map(began, ports))

    async def picks_up(self, router_id: RouterId, ports: Iterable[int]) -> None:
        """Flows are taken up in the middle: it has all of each, and says a part."""
        for port in ports:
            self.table(router_id).there[tuple_of(began(port))] = began(port)
            await self._tell(router_id, picked_up(port))

    async def says(self, router_id: RouterId, *messages: bytes) -> None:
        """This happens to flows, and who listens hears it; waits where it is not taken."""
        path = self.path_of(router_id)
        for said in messages:
            if said[4:6] == struct.pack("=H", DELETE):
                self.tables[path].there.pop(tuple_of(said), None)
            else:
                self.tables[path].there[tuple_of(said)] = said
            await self._tell(router_id, said)

    async def _tell(self, router_id: RouterId, *messages: bytes) -> None:
        path = self.path_of(router_id)
        for said in messages:
            for ear in list(self._ears[path]):
                try:
                    await asyncio.get_running_loop().sock_sendall(ear, said)
                except OSError:  # nobody listens there any more
                    self._ears[path].remove(ear)
                    ear.close()

    def close(self) -> None:
        for ear in (ear for ears in self._ears.values() for ear in ears):
            ear.close()


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """In place of this machine's."""
    with contextlib.closing(Kernel(tmp_path)) as made:
        monkeypatch.setattr(hearing, "listen", made.listen)
        for module in (telling, follower):
            monkeypatch.setattr(module, "Table", made.opened)
        yield made
