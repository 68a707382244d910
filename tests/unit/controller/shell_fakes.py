"""What tests of the controller's shell share: a clock, hosts that speak the protocol, and a database in trouble."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import event
from websockets.asyncio.client import ClientConnection, connect

from gapless.config import Address, Liveness
from gapless.controller.session import Heard
from gapless.controller.shell import Shell, assemble
from gapless.controller.store.engine import Store
from gapless.controller.store.tables import RouterRow
from gapless.core.hostplan import EMPTY_PLAN, Difference, HostPlan
from gapless.model.host import AgentState, HostFacts, HostName, Incarnation, InstanceId
from gapless.model.plan import Epoch, Revision, RouterReport, RouterState
from gapless.model.router import FailoverMode, RouterId
from gapless.wire.messages import (
    PROTOCOL,
    Challenge,
    Change,
    FromController,
    Hello,
    Refused,
    Report,
    Snapshot,
    Welcome,
    encode,
    from_controller,
)
from gapless.wire.proof import fresh_nonce, host_proof, is_valid, server_proof

KEY = bytes(range(32))
PATIENCE_S = 20.0
"""How long a test waits for something that must happen; only a failing test waits that long."""
NAMES = UUID("00000000-0000-0000-0000-000000000001")
CLASSIC = Liveness()
"""30 s, 75 s, 150 s."""


def an_id(name: str) -> str:
    """The same UUID for the same name."""
    return str(uuid5(NAMES, name))


def router_id(name: str) -> RouterId:
    return RouterId(an_id(name))


def facts_of(name: str, **other: Any) -> HostFacts:
    """A host that can carry anything; its instance follows from its name unless told otherwise."""
    said: dict[str, Any] = {"instance": InstanceId(an_id(f"instance of {name}")), "data_address": "192.0.2.1"}
    return HostFacts(name=HostName(name), **{**said, **other})


async def add_routers(store: Store, *names: str) -> list[RouterId]:
    """Routers without any interface, in the failover mode that asks nothing of hosts but to be heard."""
    mode = FailoverMode.RESCHEDULE.value
    async with store.transaction() as session:
        session.add_all(RouterRow(id=router_id(name), name=name, failover_mode=mode, ha=False) for name in names)
    return [router_id(name) for name in names]


async def rename_router(store: Store, router: RouterId, name: str) -> None:
    """Change what its host should build."""
    async with store.transaction() as session:
        row = await session.get_one(RouterRow, router)
        row.name = name


async def delete_router(store: Store, router: RouterId) -> None:
    async with store.transaction() as session:
        await session.delete(await session.get_one(RouterRow, router))


class Trouble:
    """Makes the database fail for real, at SQLite itself, from the next transaction on."""

    def __init__(self, store: Store) -> None:
        self._pragmas: list[str] = []
        for engine in store._engines:
            event.listen(engine.sync_engine, "checkout", self._apply)

    def _apply(self, connection: Any, *_: Any) -> None:
        cursor = connection.cursor()
        for pragma in self._pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def read_only(self) -> None:
        """SQLITE_READONLY."""
        self._pragmas = ["query_only=ON"]

    def full(self) -> None:
        """SQLITE_FULL: not one page more than there is."""
        self._pragmas = ["max_page_count=1"]

    def impatient(self) -> None:
        """SQLITE_BUSY without waiting, when somebody else holds the lock."""
        self._pragmas = ["busy_timeout=0"]

    def over(self) -> None:
        self._pragmas = ["query_only=OFF", "max_page_count=4294967294", "busy_timeout=5000"]


@dataclass
class Clock:
    """Monotonic seconds that pass when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    """A shell on a test's clock, without tasks: the test takes each turn itself."""

    store: Store
    clock: Clock
    shell: Shell
    incarnations: dict[str, int] = field(default_factory=dict)
    sessions: dict[str, int] = field(default_factory=dict)
    reports: dict[str, int] = field(default_factory=dict)

    @classmethod
    async def open(cls, store: Store, clock: Clock | None = None, liveness: Liveness = CLASSIC) -> "Bench":
        clock = clock or Clock()
        return cls(store, clock, await assemble(store, key=KEY, liveness=liveness, clock=clock))

    async def settle(self) -> None:
        """Take turns until nothing follows any more."""
        driver = self.shell.driver
        await self.shell.pilot.read_changed()
        for _ in range(20):
            await driver.turn()
            await driver.recorder.flush()
            if not len(driver._inbox):
                return
        raise AssertionError("the shell does not come to rest")

    async def pass_time(self, seconds: float, *reporting: str) -> None:
        """Second by second; these hosts report each second."""
        for _ in range(round(seconds)):
            self.clock.now += 1
            for name in reporting:
                await self.report(name)
            await self.settle()

    async def connect(self, name: str, **other: Any) -> None:
        """A host connects, and says that its agent runs."""
        incarnation = Incarnation(self.incarnations.setdefault(name, 1))
        facts = facts_of(name, **other)
        await self.shell.book.register(facts, self.shell.link._roster.name_record(facts, incarnation))
        self.sessions[name] = self.sessions.get(name, 0) + 1
        self.reports[name] = 0
        self.shell.driver.host_connected(facts, incarnation, self.sessions[name], self.clock.now)
        await self.report(name)

    async def report(self, name: str, *routers: RouterReport, full: bool = True, **guard: Any) -> None:
        """A report, by default full and from the newest plan, of routers active as planned."""
        driver = self.shell.driver
        host = HostName(name)
        said = routers or tuple(
            RouterReport(router_id=router, epoch=duty.epoch, state=RouterState.ACTIVE)
            for router, duty in driver.plan_of(host).items()
        )
        guard.setdefault("agent", AgentState.RUNNING)
        report = Report(revision=Revision(1), routers=said, full=full, **guard)
        self.reports[name] += 1
        heard = Heard(
            report=report,
            plan_version=driver.plan_version(host),
            guard_version=driver.plan_version(host),
            session=self.sessions[name],
            number=self.reports[name],
        )
        await driver.host_reported(host, heard, self.clock.now)

    def host_of(self, router: RouterId) -> HostName | None:
        return self.shell.pilot.routers()[router].host

    def plan(self, name: str) -> dict[RouterId, Epoch]:
        return {router: duty.epoch for router, duty in self.shell.driver.plan_of(HostName(name)).items()}


@dataclass
class FakeHost:
    """A host's end of a control link: it keeps the plan that it was sent, as a sentinel does."""

    connection: ClientConnection
    facts: HostFacts
    plan: HostPlan = EMPTY_PLAN
    received: list[FromController] = field(default_factory=list)

    async def next(self) -> FromController:
        """The next message, taken into the plan if it is about that."""
        async with asyncio.timeout(PATIENCE_S):
            message = from_controller.decode(await self.connection.recv(decode=False))
        self.received.append(message)
        match message:
            case Snapshot():
                self.plan = HostPlan.of(message.revision, message.routers)
            case Change():
                step = Difference(routers=message.routers, removed=message.removed)
                self.plan = self.plan.followed_by(message.revision, step)
        return message

    async def report(self, state: RouterState = RouterState.ACTIVE, *, full: bool = True) -> None:
        """Say that the agent runs, and that everything planned is in `state`."""
        said = tuple(
            RouterReport(router_id=each.router.id, epoch=each.epoch, state=state) for each in self.plan.routers.values()
        )
        await self.say(Report(revision=self.plan.revision, agent=AgentState.RUNNING, routers=said, full=full))

    async def say(self, message: Any) -> None:
        await self.connection.send(encode(message), text=True)

    async def until(self, has: Any) -> None:
        """Take in messages until the plan is as wished."""
        while not has(self.plan.routers):
            await self.next()

    async def closed(self) -> str:
        """Wait until the controller has closed the link; the reason that it gave."""
        async with asyncio.timeout(PATIENCE_S):
            await self.connection.wait_closed()
        return self.connection.close_reason or ""


async def greet(
    connection: ClientConnection,
    facts: HostFacts,
    *,
    incarnation: int = 1,
    key: bytes = KEY,
    cluster: str | None = None,
    protocol: int = PROTOCOL,
) -> Welcome | Refused:
    """Answer the challenge as a host does; checks the controller's own proof."""
    challenge = from_controller.decode(await connection.recv(decode=False))
    assert isinstance(challenge, Challenge)
    said: dict[str, Any] = {
        "cluster": cluster or challenge.cluster,
        "server_nonce": challenge.nonce,
        "host_nonce": fresh_nonce(),
        "facts": facts,
        "incarnation": Incarnation(incarnation),
    }
    hello = Hello(
        protocol=protocol,
        facts=facts,
        incarnation=Incarnation(incarnation),
        nonce=said["host_nonce"],
        proof=host_proof(key, **said),
    )
    await connection.send(encode(hello), text=True)
    answer = from_controller.decode(await connection.recv(decode=False))
    if isinstance(answer, Welcome):
        assert is_valid(server_proof(key, **said), answer.proof)
    assert isinstance(answer, Welcome | Refused)
    return answer


@asynccontextmanager
async def fake_host(port: int, facts: HostFacts | str, **how: Any) -> AsyncIterator[FakeHost]:
    """A host that is welcome, its snapshot taken in."""
    facts = facts_of(facts) if isinstance(facts, str) else facts
    async with dialled(port) as connection:
        answer = await greet(connection, facts, **how)
        assert isinstance(answer, Welcome), answer
        host = FakeHost(connection, facts)
        assert isinstance(await host.next(), Snapshot)
        yield host


@asynccontextmanager
async def dialled(port: int, **how: Any) -> AsyncIterator[ClientConnection]:
    """A connection, nothing said yet."""
    async with connect(f"ws://127.0.0.1:{port}", compression=None, close_timeout=1, **how) as connection:
        yield connection


@asynccontextmanager
async def listening(store: Store, liveness: Liveness = CLASSIC) -> AsyncIterator[tuple[Shell, int]]:
    """A shell with all its tasks on the loop's clock, and the port of its control link."""
    shell = await assemble(store, key=KEY, liveness=liveness, clock=asyncio.get_running_loop().time)
    tasks = [asyncio.create_task(each.run()) for each in shell.tasks]
    try:
        async with shell.link.listening(Address(host="127.0.0.1", port=0)) as port:
            yield shell, port
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(outcome, asyncio.CancelledError):
                raise AssertionError("a task of the shell ended") from outcome
