"""Downloads that begin all the time while their router moves: whatever the moment, they go on."""

import asyncio
import selectors
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import pytest
from chaos_lab import PATIENT_S, STANDBY, running_lab
from test_chaos_connections import standbys_say_so

from gapless.lab.lab import START_TIMEOUT_S, Lab
from gapless.lab.machines import layout, linux, netns
from gapless.lab.tenants import Tenant
from gapless.lab.waiting import until

pytestmark = pytest.mark.lab

PORT = 7100
EACH_S = 0.004
LINES = 3
SILENT_S = 0.5
"""After it was asked, until the outside says its first line: longer than a move takes."""
PAUSE_S = 0.25
LONG_S = 15.0
"""By then TCP has sent again what was lost, if it can arrive at all."""


@dataclass(slots=True)
class Download:
    """Its client asks once; from then on only the outside speaks, and nothing from inside but what TCP acknowledges."""

    is_asked: bool = False
    heard: int = 0
    broke: str = ""

    @property
    def is_whole(self) -> bool:
        return self.heard == LINES

    @property
    def goes_on(self) -> bool:
        """It was asked, and more is to be heard."""
        return self.is_asked and not (self.is_whole or self.broke)


class Downloads:
    """Of one tenant, through its router's SNAT: one begins each `EACH_S`, in a thread, until that is to end."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self.begun: list[Download] = []
        self._is_over = threading.Event()
        self._poll = selectors.DefaultSelector()
        self._open: set[socket.socket] = set()
        self._lines: list[tuple[float, int, socket.socket]] = []
        """When the outside says which line: in order, for all wait as long."""

    @property
    def going_on(self) -> int:
        return sum(each.goes_on for each in self.begun)

    @asynccontextmanager
    async def beginning(self) -> AsyncIterator[None]:
        """After the block they are heard to the end, for a while at most."""
        linux.in_netns(netns.path_of(layout.OUTSIDE), self._listen)
        thread = threading.Thread(target=linux.in_netns, args=(netns.path_of(self._tenant.vm), self._run))
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            await asyncio.to_thread(thread.join)
            self._poll.close()
            for each in self._open:
                each.close()

    def _listen(self) -> None:
        server = self._opened(socket.create_server((str(layout.FAR_OUTSIDE), PORT), backlog=1024))
        self._poll.register(server, selectors.EVENT_READ, partial(self._accept, server))

    def _opened(self, made: socket.socket) -> socket.socket:
        made.setblocking(False)
        self._open.add(made)
        return made

    def _closed(self, done: socket.socket) -> None:
        self._open.remove(done)
        done.close()

    def _run(self) -> None:
        next_at, end_at = 0.0, None
        while end_at is None or (self.going_on and time.monotonic() < end_at):
            now = time.monotonic()
            if self._is_over.is_set():
                end_at = end_at or now + LONG_S
            elif now >= next_at:
                next_at = now + EACH_S
                self._begin()
            for key, _ in self._poll.select(EACH_S / 4):
                key.data()
            self._say_what_is_due(time.monotonic())

    def _begin(self) -> None:
        client, download = self._opened(socket.socket()), Download()
        client.bind((str(self._tenant.vm_addresses[1]), 0))
        with suppress(BlockingIOError):
            client.connect((str(layout.FAR_OUTSIDE), PORT))
        self.begun.append(download)
        self._poll.register(client, selectors.EVENT_WRITE, partial(self._ask, client, download))

    def _ask(self, client: socket.socket, download: Download) -> None:
        self._poll.modify(client, selectors.EVENT_READ, partial(self._hear, client, download))
        download.is_asked = True
        with self._broken_by_errors(client, download):
            client.send(b"?")

    def _accept(self, server: socket.socket) -> None:
        accepted = self._opened(server.accept()[0])
        self._poll.register(accepted, selectors.EVENT_READ, partial(self._is_asked, accepted))

    def _is_asked(self, accepted: socket.socket) -> None:
        self._poll.unregister(accepted)
        accepted.recv(1)  # Left unread, it would make a reset of the close, and TCP would not send again what was lost.
        self._lines.append((time.monotonic() + SILENT_S, 1, accepted))

    def _say_what_is_due(self, now: float) -> None:
        due = [line for line in self._lines if line[0] <= now]
        self._lines = [line for line in self._lines if line[0] > now]
        for _, number, accepted in due:
            with suppress(OSError):  # Of what broke, its client tells.
                accepted.send(b".")
            if number == LINES:
                self._closed(accepted)
            else:
                self._lines.append((now + PAUSE_S, number + 1, accepted))

    def _hear(self, client: socket.socket, download: Download) -> None:
        with self._broken_by_errors(client, download):
            said = client.recv(LINES)
            download.heard += len(said)
            if not said:
                raise ConnectionError("it ended")
        if download.is_whole:
            self._is_done(client)

    @contextmanager
    def _broken_by_errors(self, client: socket.socket, download: Download) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            download.broke = str(error)
            self._is_done(client)

    def _is_done(self, client: socket.socket) -> None:
        self._poll.unregister(client)
        self._closed(client)


async def move_away(lab: Lab, host: str) -> None:
    """The router, which has all that is copied elsewhere; then the host may have it again."""
    await until(partial(standbys_say_so, lab), "the standby says that it has all connections", START_TIMEOUT_S)
    await lab.api.set_drain(host, wanted=True)
    await lab.routers_active(on=lambda name: name != host)
    await lab.api.set_drain(host, wanted=False)
    await lab.standbys_ready()


async def test_downloads_that_begin_while_their_router_moves_go_on() -> None:
    async with running_lab(2, 1, mode=STANDBY, down_time_s=PATIENT_S) as lab:
        downloads, during = Downloads(lab.tenants[0]), []
        async with downloads.beginning():
            for host in ("host-1", "host-2") * 4:
                before = len(downloads.begun)
                await move_away(lab, host)
                during.append(len(downloads.begun) - before)
        assert [each.broke for each in downloads.begun if each.broke] == []
        assert downloads.going_on == 0, "these are frozen"
        assert min(during) > 0
        whole, begun = sum(each.is_whole for each in downloads.begun), len(downloads.begun)
        assert whole > 0.9 * begun, "all but those that had only just begun"
