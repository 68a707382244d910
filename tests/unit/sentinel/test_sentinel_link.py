"""The host's end of the control link against a controller that runs, and errs in every way that matters."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

import pytest
from fake_controller import CLUSTER, KEY, PATIENCE_S, FakeController, controller, planned

from gapless.config import Address
from gapless.core.backoff import Pace
from gapless.core.hostplan import HostPlan
from gapless.errors import GaplessError, Refused, Unavailable
from gapless.model.host import AgentState, HostFacts, HostName, Incarnation, InstanceId
from gapless.model.plan import PanelPlan, Revision
from gapless.sentinel.link import Credentials, Link, Tempo
from gapless.wire import messages
from gapless.wire.messages import Bury, Report, Welcome

FACTS = HostFacts(name=HostName("net1"), instance=InstanceId("0f0e0d0c-0000-4000-8000-000000000001"))
QUICK = Pace(first_s=0.01, most_s=0.05)
TEMPO = Tempo(retry=QUICK, refused=QUICK, handshake_s=PATIENCE_S)
"""Whoever gave up a handshake that a busy machine delays would leave a session behind in which nobody is."""
HASTY = replace(TEMPO, handshake_s=0.5)
"""For controllers that say nothing."""


@dataclass
class Member:
    """A host without an agent: remembers what the link told it."""

    cluster: str | None = None
    plans: list[HostPlan] = field(default_factory=list)
    partings: list[GaplessError] = field(default_factory=list)
    welcomes: list[float] = field(default_factory=list)
    disk_is_full: bool = False
    asked: list[Bury] = field(default_factory=list)
    outlived: list[tuple[int, str | None]] = field(default_factory=list)
    reports: asyncio.Queue[Report] = field(default_factory=asyncio.Queue)
    _happened: asyncio.Condition = field(default_factory=asyncio.Condition)

    def outlives(self, up_to: Incarnation) -> None:
        self.outlived.append((up_to, self.cluster))

    async def joined(self, cluster: str) -> None:
        if self.disk_is_full:
            raise Unavailable("identity.json cannot be written: No space left on device")
        self.cluster = cluster

    def welcomed(self, report_interval_s: float) -> None:
        self.welcomes.append(report_interval_s)
        self._notify()

    def planned(self, plan: HostPlan, *, heard: int, panel: PanelPlan | None) -> None:
        self.plans.append(plan)
        self._notify()

    def bury(self, asked: Bury) -> None:
        self.asked.append(asked)
        self._notify()

    def parted(self, error: GaplessError) -> None:
        self.partings.append(error)
        self._notify()

    async def next_report(self) -> Report:
        return await self.reports.get()

    def _notify(self) -> None:
        async def notify() -> None:
            async with self._happened:
                self._happened.notify_all()

        self._notifying = asyncio.ensure_future(notify())

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S), self._happened:
            await self._happened.wait_for(is_so)


@contextlib.asynccontextmanager
async def link(server: Address, member: Member, *, key: bytes = KEY, tempo: Tempo = TEMPO) -> AsyncIterator[None]:
    credentials = Credentials(facts=FACTS, incarnation=Incarnation(4), key=key)
    running = asyncio.create_task(Link(server, credentials, member, tempo).run())
    try:
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_a_session_follows_the_plan_and_reports() -> None:
    member = Member()
    async with controller(FakeController(snapshot=(planned("a"),))) as fake, link(fake.address, member):
        session = await fake.session()
        assert (session.hello.facts, session.hello.incarnation) == (FACTS, 4)
        await session.change(planned("b"), planned("a", 2))
        await session.change(removed=("a",))
        await member.until(lambda: len(member.plans) == 3)
        assert [sorted(plan.routers) for plan in member.plans] == [["a"], ["a", "b"], ["b"]]
        assert [plan.revision for plan in member.plans] == [1, 2, 3]
        member.reports.put_nowait(Report(revision=Revision(3), agent=AgentState.RUNNING))
        assert (await session.heard(lambda report: report.revision == 3)).agent == AgentState.RUNNING
    assert member.cluster == CLUSTER
    assert member.welcomes == [5.0]


@pytest.mark.parametrize("skip", [1, -1, 5])
async def test_a_missing_change_starts_anew_from_a_snapshot(skip: int, log_lines: list[str]) -> None:
    member = Member()
    async with controller(FakeController(snapshot=(planned("a"),))) as fake, link(fake.address, member):
        session = await fake.session()
        await session.change(planned("b"), skip=skip)
        await session.over()
        fake.snapshot = (planned("a"), planned("b"))
        await fake.session()
        await member.until(lambda: len(member.plans) >= 2)
    assert not any("b" in plan.routers and plan.revision != 1 for plan in member.plans)
    assert any("the plan is at revision 1" in line for line in log_lines)


async def test_a_change_before_any_snapshot_is_not_taken_for_a_plan() -> None:
    member = Member()
    async with controller(FakeController(begins_with_change=True)) as fake, link(fake.address, member):
        await (await fake.session()).over()
    assert "before the plan" in str(member.partings[0])
    assert member.plans == []


async def test_it_comes_back_when_the_controller_does(log_lines: list[str]) -> None:
    member = Member()
    fake = FakeController()
    async with controller(fake):
        address = fake.address
    async with link(address, member):
        await member.until(lambda: len(member.partings) >= 3)
        assert "cannot be reached" in str(member.partings[0])
        async with controller(fake):
            await fake.session()
        before = len(member.partings)
        await member.until(lambda: any("cannot be reached" in str(each) for each in member.partings[before:]))
        async with controller(fake):
            await fake.session()
    assert "Connection refused" in log_lines[0]
    told = [line for line in log_lines if "cannot be reached" in line]
    assert len(told) == 2, "a trouble that goes on is told once a minute, and anew after a session"


async def test_a_host_of_another_cluster_refuses_before_it_says_anything(log_lines: list[str]) -> None:
    member = Member(cluster="another-cluster")
    async with controller() as fake, link(fake.address, member):
        await fake.knocked(3)
        await member.until(lambda: len(member.partings) >= 2)
        assert fake.hellos == []
        async with asyncio.timeout(PATIENCE_S):
            declined = await fake.declined.get()
        assert declined.cluster == "another-cluster", "so the controller can say it"
    assert all(isinstance(error, Refused) for error in member.partings)
    assert member.plans == member.welcomes == []
    assert member.cluster == "another-cluster"
    assert "this host belongs to cluster another-cluster" in log_lines[0]


async def test_a_controller_without_the_key_is_not_believed(log_lines: list[str]) -> None:
    member = Member()
    async with controller(FakeController(key=bytes(32))) as fake, link(fake.address, member):
        await member.until(lambda: len(member.partings) >= 2)
    assert all(isinstance(error, Refused) for error in member.partings)
    assert (member.cluster, member.plans, member.welcomes) == (None, [], [])
    assert "does not have this host's key" in log_lines[0]


async def test_a_refused_host_retries_and_touches_nothing(log_lines: list[str]) -> None:
    member = Member()
    refusal = messages.Refused(code="name-taken", reason="the name net1 belongs to another machine")
    async with controller(FakeController(refuse_with=refusal)) as fake, link(fake.address, member):
        await member.until(lambda: len(member.partings) >= 3)
        assert all(isinstance(error, Refused) for error in member.partings)
        assert member.plans == []
        fake.refuse_with = None
        await fake.session()
    assert sum("belongs to another machine (name-taken)" in line for line in log_lines) == 1


async def test_a_controller_that_is_busy_is_no_refusal() -> None:
    member = Member()
    refusal = messages.Refused(code="busy", reason="come back later")
    async with controller(FakeController(refuse_with=refusal)) as fake, link(fake.address, member):
        await member.until(lambda: len(member.partings) >= 1)
    assert isinstance(member.partings[0], Unavailable)


async def test_refusals_are_retried_more_slowly() -> None:
    member = Member()
    tempo = replace(TEMPO, refused=Pace(first_s=3600, most_s=3600))
    async with controller(FakeController(cluster="other")) as fake:
        member.cluster = "mine"
        async with link(fake.address, member, tempo=tempo):
            await member.until(lambda: len(member.partings) >= 1)
            await asyncio.sleep(0)
            assert fake.connections == 1


async def test_another_protocol_version_is_told(log_lines: list[str]) -> None:
    member = Member()
    async with controller(FakeController(protocol=99)) as fake, link(fake.address, member):
        await member.until(lambda: len(member.partings) >= 1)
    assert "version 99" in str(member.partings[0])
    assert "same release" in log_lines[0]


NONSENSE = {
    "silence": ([], "nothing that a controller says"),
    "not-json": ([b"\xff\xff"], "cannot be read"),
    "wrong-type": ([b'{"type":"hello"}'], "cannot be read"),
    "deep": ([b"[" * 50_000], "cannot be read"),
    "bad-address": (
        [
            b'{"type":"snapshot","revision":1,"routers":[{"epoch":1,"router":{"id":"a","name":"","routes":'
            b'[{"destination":"x","next_hop":"y"}]}}]}'
        ],
        "cannot be read",
    ),
    "no-challenge": ([messages.encode(messages.Snapshot(revision=Revision(1), routers=()))], "no challenge"),
    "welcome-first": ([messages.encode(Welcome(cluster="c", proof="p", report_interval_s=1))], "no challenge"),
}


@pytest.mark.parametrize("kind", NONSENSE)
async def test_what_no_controller_says(kind: str) -> None:
    words, complaint = NONSENSE[kind]
    member = Member()
    tempo = TEMPO if words else HASTY
    async with controller(FakeController(first_words=words)) as fake, link(fake.address, member, tempo=tempo):
        await member.until(lambda: len(member.partings) >= 2)
    assert complaint in str(member.partings[0])
    assert (member.plans, member.cluster) == ([], None)


@pytest.mark.parametrize("interval_s", [0.0, -1.0, 1e9])
async def test_an_impossible_report_interval(interval_s: float) -> None:
    member = Member()
    async with controller(FakeController(report_interval_s=interval_s)) as fake, link(fake.address, member):
        await member.until(lambda: len(member.partings) >= 1)
    assert "cannot be" in str(member.partings[0])
    assert member.welcomes == []


async def test_what_a_host_has_to_be_above_is_said_before_it_joins() -> None:
    member = Member()
    async with controller(FakeController(outlived=7)) as fake, link(fake.address, member):
        await member.until(lambda: len(member.plans) == 1)
    assert member.outlived == [(7, None)]


@pytest.mark.parametrize("outlived", [-1, 2**53])
async def test_incarnations_that_cannot_be_are_not_believed(outlived: int) -> None:
    member = Member()
    async with controller(FakeController(outlived=outlived)) as fake, link(fake.address, member):
        await member.until(lambda: len(member.partings) >= 1)
    assert "cannot be" in str(member.partings[0])
    assert (member.outlived, member.cluster) == ([], None)


async def test_a_cluster_that_cannot_be_remembered_is_not_joined() -> None:
    member = Member(disk_is_full=True)
    async with controller() as fake, link(fake.address, member):
        await member.until(lambda: len(member.partings) >= 1)
        assert "No space left" in str(member.partings[0])
        assert (member.welcomes, member.plans) == ([], [])
        member.disk_is_full = False
        await fake.session()


async def test_a_half_dead_connection_is_noticed() -> None:
    """A relay that stops carrying, and closes nothing: what a cut cable or a vanished firewall state looks like."""
    member = Member()
    fake = FakeController(report_interval_s=0.1)
    tempo = replace(TEMPO, handshake_s=5.0)  # what is said while the cable is cut is lost, handshakes too
    async with controller(fake), relay(fake) as cable, link(cable.address, member, tempo=tempo):
        await member.until(lambda: len(member.plans) == 1)
        await fake.session()
        cable.cut.set()
        await member.until(lambda: len(member.partings) >= 1)
        assert "did not answer" in str(member.partings[0])
        cable.cut.clear()
        await fake.session()


@dataclass
class Cable:
    address: Address
    cut: asyncio.Event


@contextlib.asynccontextmanager
async def relay(fake: FakeController) -> AsyncIterator[Cable]:
    cut = asyncio.Event()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not cut.is_set():
                    writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        its_reader, its_writer = await asyncio.open_connection(fake.address.host, fake.address.port)
        await asyncio.gather(carry(reader, its_writer), carry(its_reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Cable(address=Address(host="127.0.0.1", port=port), cut=cut)
    finally:
        server.close()


@pytest.mark.parametrize(
    "greeting", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"]
)
async def test_what_answers_is_no_websocket(greeting: bytes) -> None:
    """As the API, to which --server may lead by mistake."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")  # What lay unread when it closes would take the answer away.
        writer.write(greeting)
        writer.close()

    member = Member()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, link(Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1]), member):
        await member.until(lambda: len(member.partings) >= 1)
    said = str(member.partings[0])
    assert said.startswith("what answers there is no controller's control link: ")
    assert said.endswith("; --server names that, and not the API")


async def test_what_accepts_and_says_nothing() -> None:
    member = Member()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with link(Address(host="127.0.0.1", port=listening.getsockname()[1]), member, tempo=HASTY):
            await member.until(lambda: len(member.partings) >= 1)
    assert isinstance(member.partings[0], Unavailable)


async def test_a_refusal_in_the_middle_of_a_session_is_a_refusal() -> None:
    member = Member()
    async with controller() as fake, link(fake.address, member):
        session = await fake.session()
        await session.send(messages.Refused(code="name-taken", reason="somebody else took the name"))
        await session.connection.close()
        await member.until(lambda: len(member.partings) >= 1)
    assert isinstance(member.partings[0], Refused)
