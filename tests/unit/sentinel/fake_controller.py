"""A controller that runs: a websocket server that speaks the control link's protocol, and errs when told to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from gapless.config import Address
from gapless.model.host import Incarnation
from gapless.model.plan import Epoch, PlannedRouter, Revision
from gapless.model.router import Router, RouterId
from gapless.wire import messages, proof
from gapless.wire.messages import PROTOCOL, Challenge, Change, Declined, Hello, Refused, Report, Snapshot, Welcome

KEY = bytes(range(32))
CLUSTER = "3f0c6c1e-5d7f-4f5d-9a54-0d3a8c1d9b11"
PATIENCE_S = 20.0


def planned(router_id: str, epoch: int = 1, name: str = "") -> PlannedRouter:
    return PlannedRouter(router=Router(id=RouterId(router_id), name=name), epoch=Epoch(epoch))


async def eventually(is_so: Callable[[], bool]) -> None:
    """Return once this is so. For what other processes and threads do to files: nobody tells when they did."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)


@dataclass
class FakeController:
    """Its attributes may be changed while it runs; they count for the next connection."""

    key: bytes = KEY
    cluster: str = CLUSTER
    protocol: int = PROTOCOL
    report_interval_s: float = 5.0
    first_words: list[bytes] | None = None
    """Said instead of a challenge; then nothing more."""
    snapshot: tuple[PlannedRouter, ...] = ()
    begins_with_change: bool = False
    says_no_plan: bool = False
    hellos: list[Hello] = field(default_factory=list)
    refuse_with: Refused | None = None
    outlived: int = 0
    declined: "asyncio.Queue[Declined]" = field(default_factory=asyncio.Queue)
    address: Address = Address(host="127.0.0.1", port=0)  # noqa: RUF009 - frozen
    sessions: "asyncio.Queue[Session]" = field(default_factory=asyncio.Queue)
    connections: int = 0
    _knocks: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def session(self) -> "Session":
        """The next session that a host opens."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.sessions.get()

    async def knocked(self, times: int) -> None:
        """Return once so many connections were made."""
        async with asyncio.timeout(PATIENCE_S), self._knocks:
            await self._knocks.wait_for(lambda: self.connections >= times)

    async def _serve(self, connection: ServerConnection) -> None:
        async with self._knocks:
            self.connections += 1
            self._knocks.notify_all()
        with contextlib.suppress(ConnectionClosed):
            if self.first_words is not None:
                for word in self.first_words:
                    await connection.send(word, text=False)
                await connection.wait_closed()
                return
            hello = await self._handshake(connection)
            if hello is None:
                return
            session = Session(connection, hello)
            plan = Change if self.begins_with_change else Snapshot
            if not self.says_no_plan:
                await session.send(plan(revision=Revision(1), routers=self.snapshot))
            await self.sessions.put(session)
            await session.listen()

    async def _handshake(self, connection: ServerConnection) -> Hello | None:
        nonce = proof.fresh_nonce()
        challenge = Challenge(protocol=self.protocol, cluster=self.cluster, nonce=nonce)
        await connection.send(messages.encode(challenge), text=True)
        hello = messages.from_host.decode(await connection.recv())
        if isinstance(hello, Declined):
            await self.declined.put(hello)
            return None
        assert isinstance(hello, Hello)
        self.hellos.append(hello)
        said = {
            "cluster": self.cluster,
            "server_nonce": nonce,
            "host_nonce": hello.nonce,
            "facts": hello.facts,
            "incarnation": hello.incarnation,
        }
        refusal = self.refuse_with
        if refusal is not None:
            await connection.send(messages.encode(refusal), text=True)
            await connection.close()
            return None
        welcome = Welcome(
            cluster=self.cluster,
            proof=proof.server_proof(self.key, **said),
            report_interval_s=self.report_interval_s,
            outlived=Incarnation(self.outlived),
        )
        await connection.send(messages.encode(welcome), text=True)
        return hello


class Session:
    """One host's link, seen from the controller."""

    def __init__(self, connection: ServerConnection, hello: Hello) -> None:
        self.connection = connection
        self.hello = hello
        self.reports: list[Report] = []
        self.revision = 1
        self._heard = asyncio.Condition()
        self.is_over = asyncio.Event()

    async def listen(self) -> None:
        try:
            while True:
                report = messages.from_host.decode(await self.connection.recv())
                assert isinstance(report, Report)
                async with self._heard:
                    self.reports.append(report)
                    self._heard.notify_all()
        except ConnectionClosed:
            self.is_over.set()

    async def send(self, message: msgspec.Struct) -> None:
        await self.connection.send(messages.encode(message), text=True)

    async def change(self, *routers: PlannedRouter, removed: tuple[str, ...] = (), skip: int = 0) -> None:
        self.revision += 1 + skip
        gone = tuple(map(RouterId, removed))
        await self.send(Change(revision=Revision(self.revision), routers=routers, removed=gone))

    async def heard(self, is_it: Callable[[Report], bool]) -> Report:
        """The first report, past or coming, for which this is so."""

        def found() -> list[Report]:
            return [each for each in self.reports if is_it(each)]

        async with asyncio.timeout(PATIENCE_S), self._heard:
            await self._heard.wait_for(lambda: bool(found()))
        return found()[0]

    async def over(self) -> None:
        """Return once the host closed the link."""
        async with asyncio.timeout(PATIENCE_S):
            await self.is_over.wait()


@contextlib.asynccontextmanager
async def controller(fake: FakeController | None = None) -> AsyncIterator[FakeController]:
    """A controller on a free port of loopback, or on the one that it had before."""
    fake = fake or FakeController()
    handler: Callable[[ServerConnection], Awaitable[None]] = fake._serve
    async with serve(handler, "127.0.0.1", fake.address.port, compression=None, close_timeout=0.2) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        fake.address = Address(host="127.0.0.1", port=port)
        yield fake
