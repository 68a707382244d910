"""What a host's policy leaves out is told neither by a copy nor by a change; a follower takes whatever it is told."""

import asyncio
import socket
import time
from math import inf, nan

import pytest
from flow_kernel import Kernel, SmallTable, began, ended, router, tuple_of
from flow_source import identity
from test_flow_behind import PATIENCE_S, Reader, running, serving, until
from test_flow_entries import IDENTITY, ORIGINAL, PROTOCOL, REPLY, STATUS, message

from gapless.errors import InvalidRequest
from gapless.flows import hearing
from gapless.flows.driver import Driver
from gapless.flows.figures import Figures
from gapless.flows.sink import Sink
from gapless.flows.turns import Turns
from gapless.model.flow import NUMBERS, FlowPolicy, FlowProtocol
from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.wire.flowlink import FlowsBegin, from_flows, to_flows
from gapless.wire.local import LocalLink

ROUTER = router(1)
TCP, UDP, SCTP = NUMBERS.values()
ICMP, GRE = 1, 47
ALL = (TCP, UDP, SCTP, ICMP, GRE)
AN_HOUR = FlowPolicy(udp_age_s=3600.0)


def only(*protocols: FlowProtocol) -> FlowPolicy:
    return FlowPolicy(protocols=protocols)


POLICIES = pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        (FlowPolicy(), {TCP, UDP, SCTP}),
        (only(FlowProtocol.TCP), {TCP}),
        (only(FlowProtocol.UDP, FlowProtocol.SCTP), {UDP, SCTP}),
    ],
    ids=["default", "tcp", "udp and sctp"],
)


def told(follower: Reader, port: int) -> set[int]:
    """Of which protocols' flows from this port it was told."""
    return {each for each in ALL if tuple_of(began(port, each)) in follower.changes}


@POLICIES
async def test_copies_and_changes_tell_of_what_is_wanted(
    kernel: Kernel, free_tcp_port: int, policy: FlowPolicy, wanted: set[int]
) -> None:
    figures, last = Figures(), max(wanted)
    await kernel.says(ROUTER, *(began(1, each) for each in ALL))
    async with serving(kernel, figures, free_tcp_port, policy), Reader.of(free_tcp_port, ROUTER) as follower:
        await follower.reads(lambda: figures.copies == 1 and bool(told(follower, 1)))
        assert told(follower, 1) == wanted
        await kernel.says(ROUTER, *(began(2, each) for each in ALL), began(3, last))
        await follower.reads(lambda: bool(told(follower, 3)))
        assert told(follower, 2) == wanted
        assert figures.heard == len(wanted) + 1, "the kernel drops all else"
        await kernel.says(ROUTER, *(ended(1, each) for each in ALL), began(4, last))
        await follower.reads(lambda: bool(told(follower, 4)))
        assert {each for each in ALL if ended(1, each) in follower.changes} == wanted


@POLICIES
def test_the_kernel_lets_pass_what_is_assured_and_wanted(policy: FlowPolicy, wanted: set[int]) -> None:
    """Its filter, on a socket that anybody may have."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, its:
        its.setblocking(False)
        hearing.only_assured(its, policy.holds_s)
        assured = [began(1, each) for each in ALL]
        unassured = [said.replace(bytes.fromhex(STATUS), bytes.fromhex("080003000000018a")) for said in assured]
        unsaid = [message(ORIGINAL, REPLY, IDENTITY, PROTOCOL)]
        for said in (*unassured, *unsaid, b"\0" * 16, *assured):
            ours.send(said)
        passed = []
        while len(passed) < len(wanted):
            passed.append(its.recv(2048))
        assert passed == [began(1, each) for each in ALL if each in wanted]
        with pytest.raises(BlockingIOError):
            its.recv(2048)


async def test_udp_is_told_of_when_it_has_gone_on_for_long_enough(kernel: Kernel, free_tcp_port: int) -> None:
    figures = Figures()
    async with serving(kernel, figures, free_tcp_port, AN_HOUR) as source, Reader.of(free_tcp_port, ROUTER) as follower:
        await follower.reads(lambda: figures.copies == 1)
        await kernel.says(
            ROUTER, *(began(port, UDP) for port in (1, 2)), ended(2, UDP), *(began(3, each) for each in ALL)
        )
        await follower.reads(lambda: bool(told(follower, 3)))
        (session,) = source._sessions
        (telling,) = session._channels.values()
        telling._feed._due_at = -inf
        await follower.reads(lambda: figures.copies == 2)
        assert (told(follower, 1), told(follower, 3)) == (set(), {TCP, SCTP}), (
            "the copy tells of it no more than changes"
        )
        assert (telling._feed.held, telling._feed.is_whole) == (2, True)
        source.look(time.monotonic() + 3600.0)
        await follower.reads(lambda: bool(told(follower, 1)))
        assert (told(follower, 2), told(follower, 3)) == (set(), {TCP, UDP, SCTP})
        assert ended(2, UDP) not in follower.changes, "nobody hears of what was over before"


async def test_udp_that_was_there_before_is_copied_whatever_its_age(kernel: Kernel, free_tcp_port: int) -> None:
    """As on a host that has just taken over: what was copied to it is to be on the next one soon."""
    figures = Figures()
    await kernel.says(ROUTER, began(1, UDP))
    async with serving(kernel, figures, free_tcp_port, AN_HOUR), Reader.of(free_tcp_port, ROUTER) as follower:
        await follower.reads(lambda: bool(told(follower, 1)))


async def test_what_a_new_policy_leaves_out_is_over_for_the_follower_with_the_next_copy(
    kernel: Kernel, free_tcp_port: int
) -> None:
    """The source restarts with it. Of the follower's own policy its end of a stream does not even know."""
    await kernel.says(ROUTER, *(began(1, each) for each in ALL))
    for policy, wanted in ((FlowPolicy(), {TCP, UDP, SCTP}), (only(FlowProtocol.SCTP), {SCTP})):
        figures = Figures()
        sink, table = following(kernel, free_tcp_port)
        async with serving(kernel, figures, free_tcp_port, policy), running(sink.run()):
            await until(lambda wanted=wanted, table=table: table.there.keys() == tuples(wanted))
            await until(lambda figures=figures: figures.copies == 1)


def following(kernel: Kernel, port: int) -> tuple[Sink, SmallTable]:
    """A host that follows, with a table of its own."""
    path_of = lambda router_id: kernel.path_of(RouterId(f"{router_id} on b"))  # noqa: E731
    sink = Sink(identity("b"), HostName("a"), Figures(), path_of=path_of, turns=Turns(rest=0.0))
    sink.follow(frozenset({ROUTER}), ("127.0.0.1", port))
    return sink, kernel.tables[path_of(ROUTER)]


def tuples(protocols: set[int]) -> set[bytes]:
    return {tuple_of(began(1, each)) for each in protocols}


async def test_a_process_is_told_its_policy_and_says_it(free_tcp_port: int, log_lines: list[str]) -> None:
    ours, its = socket.socketpair()
    sentinel, link = await LocalLink.over(ours, from_flows), await LocalLink.over(its, to_flows)
    policy = FlowPolicy(protocols=(FlowProtocol.TCP, FlowProtocol.UDP), udp_age_s=30.0)
    name = HostName("a")
    begin = FlowsBegin(key="00", cluster="", name=name, address="127.0.0.1", port=free_tcp_port, most=9, policy=policy)
    await sentinel.send(begin)
    received = await link.receive()
    assert received == begin
    await sentinel.close()
    async with asyncio.timeout(PATIENCE_S):
        await Driver(link, begin).run()
    await link.close()
    (line,) = (each for each in log_lines if "connections are copied from here" in each)
    assert "protocols=tcp,udp" in line
    assert "udp_age_s=30" in line


@pytest.mark.parametrize("age_s", [1.9, 0.0, -1.0, nan, inf])
def test_an_age_that_cannot_be_is_refused(age_s: float) -> None:
    with pytest.raises(InvalidRequest, match="from 2 seconds on, when the kernel takes them for real"):
        FlowPolicy(udp_age_s=age_s)


def test_the_default_is_what_the_kernel_takes_for_real() -> None:
    assert FlowPolicy().holds_s == {TCP: 0.0, UDP: 0.0, SCTP: 0.0}
    assert FlowPolicy(protocols=(FlowProtocol.UDP,), udp_age_s=30.0).holds_s == {UDP: 28.0}
