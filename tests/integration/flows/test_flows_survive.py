"""Connections through a router that goes on elsewhere: with their state copied ahead of time, in real namespaces."""

import asyncio
import socket
import struct
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from flow_fixtures import CLIENT, FLOATING, PATIENCE_S, ROUTER, SERVER, Pair, at, sh, until
from flow_messages import udp_entry

from gapless.core.flows.feed import KEPT_S
from gapless.flows.driver import FLUSH_LOOK_S
from gapless.flows.entries import entry_of, flow_of
from gapless.flows.table import Table
from gapless.kernel.netlink import attribute
from gapless.kernel.netns import DIRECTORY
from gapless.model.host import HostName
from gapless.wire.flowlink import Asking

pytestmark = pytest.mark.isolated

TIMEOUT = 7
"""CTA_TIMEOUT."""


def has_flows(pair: Pair, name: str, count: int = 1) -> bool:
    return len(pair.tracked(name)) == count


async def test_a_download_goes_on_where_its_state_was_copied(pair: Pair) -> None:
    client, server = pair.connected()
    async with pair.following(pair.source(), pair.sink()):
        await until("the flow is on b", lambda: has_flows(pair, "b"))
    pair.plug_in("b")
    server.sendall(b"nothing from inside speaks first")
    assert client.recv(100) == b"nothing from inside speaks first"


async def test_a_flow_from_outside_to_a_floating_ip_goes_on(pair: Pair) -> None:
    inside = at("client", lambda: socket.create_server((CLIENT, 5002)))
    outside = at("server", lambda: socket.create_connection((FLOATING, 5002), timeout=PATIENCE_S))
    accepted, _ = inside.accept()
    pair.opened += [inside, outside, accepted]
    async with pair.following(pair.source(), pair.sink()):
        await until("the flow is on b", lambda: has_flows(pair, "b"))
    pair.plug_in("b")
    accepted.sendall(b"from inside")
    assert outside.recv(100) == b"from inside"
    outside.sendall(b"from outside")
    accepted.settimeout(PATIENCE_S)
    assert accepted.recv(100) == b"from outside"


async def test_a_flow_that_begins_ends_and_begins_again_is_followed_as_it_does(pair: Pair) -> None:
    async with pair.following(pair.source(), pair.sink()):
        client, server = pair.connected()
        await until("the flow is on b", lambda: has_flows(pair, "b"))
        assert "ASSURED" in pair.tracked("b")[0]
        client.close()
        server.close()
        await until("it is gone from b", lambda: has_flows(pair, "b", 0))
        pair.connected(5003)
        await until("the next one is there", lambda: has_flows(pair, "b"))


async def test_what_nobody_answers_is_not_copied_but_what_speaks_on_is(pair: Pair) -> None:
    def speaker(name: str, address: str) -> socket.socket:
        def make() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind((address, 5004))
            made.settimeout(PATIENCE_S)
            return made

        pair.opened.append(at(name, make))
        return pair.opened[-1]

    asking, answering, silent = speaker("client", CLIENT), speaker("server", SERVER), (SERVER, 5005)
    async with pair.following(pair.source(), pair.sink()):
        asking.sendto(b"nobody is there", silent)
        while not has_flows(pair, "b"):  # assured is what goes on for longer than two seconds
            asking.sendto(b"question", (SERVER, 5004))
            _, seen = answering.recvfrom(100)
            answering.sendto(b"answer", seen)
            asking.recv(100)
            await asyncio.sleep(0.1)
        assert "dport=5004" in pair.tracked("b")[0]


async def test_the_direction_turns_round_with_the_router(pair: Pair) -> None:
    client, server = pair.connected()
    async with pair.following(pair.source(), pair.sink()):
        await until("the flow is on b", lambda: has_flows(pair, "b"))
    pair.plug_in("b")
    async with pair.following(pair.source("b"), pair.sink("a", of="b")):
        pair.connected(5006)
        await until("a has both", lambda: has_flows(pair, "a", 2))
    pair.plug_in("a")
    server.sendall(b"twice")
    assert client.recv(100) == b"twice"


async def test_a_flow_that_its_new_host_took_up_in_the_middle_is_with_the_next_one(pair: Pair) -> None:
    """It was copied to nobody. The kernel takes it up (nf_conntrack_tcp_loose), and no event says all of it."""
    client, server = pair.connected()
    async with pair.following(pair.source("b"), pair.sink("a", of="b")):
        with Table(DIRECTORY / "a") as table:
            table.remove([flow for step in table.assured() for said in step if (flow := flow_of(said)) is not None])
        pair.plug_in("b")
        await until("a was told that b has none", lambda: pair.figures["b"].copies == 1)
        for speaks, hears in ((client, server), (server, client)):  # assured by what follows an answer
            speaks.sendall(b"taken up")
            assert hears.recv(100) == b"taken up"
        await until("the flow is on a", lambda: has_flows(pair, "a"))
    assert (pair.figures["b"].copies, pair.figures["a"].unread) == (1, 0)
    assert "ESTABLISHED" in pair.tracked("a")[0]


async def test_a_copy_removes_what_is_over_meanwhile(pair: Pair) -> None:
    client, server = pair.connected()
    async with pair.following(pair.source(), pair.sink()):
        await until("the flow is on b", lambda: has_flows(pair, "b"))
    with Table(DIRECTORY / "a") as table:
        table.remove([flow for step in table.assured() for said in step if (flow := flow_of(said)) is not None])
    assert has_flows(pair, "a", 0)
    async with pair.following(pair.source(), pair.sink()):
        await until("it is gone from b", lambda: has_flows(pair, "b", 0))
    client.close()
    server.close()


async def test_a_copy_of_what_is_there_changes_nothing(pair: Pair) -> None:
    pair.connected()
    for copies in (1, 2):
        async with pair.following(pair.source(), pair.sink()):
            await until("a copy was told", lambda copies=copies: pair.figures["a"].copies == copies)
            await until("it was applied", lambda copies=copies: pair.figures["b"].applied == copies)
        assert has_flows(pair, "b")
    assert pair.figures["b"].refused == 0


async def test_a_copy_that_is_about_to_time_out_lasts_as_long_again(pair: Pair) -> None:
    """The next copy of it does that."""
    pair.connected()
    async with pair.following(pair.source(), pair.sink()):
        await until("the flow is on b", lambda: has_flows(pair, "b"))
    lasts_s = timeout_s(pair)
    assert lasts_s > KEPT_S - PATIENCE_S
    with Table(DIRECTORY / "b") as table:
        (entry,) = [made for step in table.assured() for said in step if (made := entry_of(said)) is not None]
        assert table.renew([replace(entry, state=attribute(TIMEOUT, struct.pack(">I", 60)))]) == []
    assert timeout_s(pair) <= 60
    async with pair.following(pair.source(), pair.sink()):
        await until("it lasts", lambda: timeout_s(pair) > 60)
    assert timeout_s(pair) > lasts_s - PATIENCE_S


def timeout_s(pair: Pair) -> int:
    """Of the one flow on b."""
    (line,) = pair.tracked("b")
    return int(line.split()[4])


async def test_numbers_of_requests_begin_anew_before_they_are_too_large(pair: Pair) -> None:
    with Table(DIRECTORY / "b") as table:
        for left in range(4):
            made = [udp_entry(2000 + 10 * left + each) for each in range(2)]
            table._numbers.last = 0xFFFFFFFF - left
            assert table.make(made) == []
            table._numbers.last = 0xFFFFFFFF - left
            assert len(table.some([entry.flow for entry in made])) == 2
            table._numbers.last = 0xFFFFFFFF - left
            assert sum(len(step) for step in table.assured()) == 2 * (left + 1)
    assert has_flows(pair, "b", 8)


async def test_a_standby_that_is_built_anew_has_the_flows_again(pair: Pair) -> None:
    pair.connected()
    async with pair.following(pair.source(), pair.sink()):
        await until("the flow is on b", lambda: has_flows(pair, "b"))
        sh("ip link delete b-in", "ip link delete b-out", "ip netns delete b")
        pair.make_router("b")
        await until("the flow is on the new b", lambda: has_flows(pair, "b"))


async def test_a_router_that_is_closed_is_told_of_no_more(pair: Pair) -> None:
    client, server = pair.connected()
    async with pair.following(pair.source(), pair.sink()):
        await until("the flow is on b", lambda: has_flows(pair, "b"))
        pair.told.clear()
        await until("nobody listens on a", lambda: not _listens("a"))
        client.close()
        server.close()
        assert has_flows(pair, "b")
        pair.told.add("a")
        await until("what ended meanwhile is gone", lambda: has_flows(pair, "b", 0))


async def test_it_is_known_when_a_follower_has_all_that_was_said(pair: Pair) -> None:
    source, sink = pair.source(), pair.sink()
    to = {ROUTER: Asking(to=HostName("b"))}
    pair.connected()
    assert source.flushed(to) == [], "nobody follows"
    async with pair.following(source, sink):
        await until("all of it is on b", lambda: source.flushed(to) == [ROUTER])
        assert has_flows(pair, "b")
        await until("it knows that", lambda: sink.copied(time.monotonic())[ROUTER] is True)
        with Table(DIRECTORY / "a") as table:  # which says so before it returns; what packets do may be said later
            assert table.make([udp_entry(2000)]) == []
        assert source.flushed(to) == [], "what the kernel has just said is on its way"
        await until("that is there, too", lambda: source.flushed(to) == [ROUTER])
        assert has_flows(pair, "b", 2)
        assert source.flushed({ROUTER: Asking(to=HostName("c"))}) == [], "which has nothing"


async def test_a_router_on_which_connections_begin_all_the_time_is_flushed_with_all_that_were_there(pair: Pair) -> None:
    """Before each look the kernel has another one, which nobody has heard of yet: nearly two hundred a second."""
    source, to, ports = pair.source(), {ROUTER: Asking(to=HostName("b"))}, count(2000)
    with Table(DIRECTORY / "a") as table:
        async with pair.following(source, pair.sink()):
            await until("it is followed", lambda: source.flushed(to) == [ROUTER])
            before = [udp_entry(next(ports)) for _ in range(100)]
            assert table.make(before) == []
            async with asyncio.timeout(PATIENCE_S):
                assert table.make([udp_entry(next(ports))]) == []
                while source.flushed(to) != [ROUTER]:
                    await asyncio.sleep(FLUSH_LOOK_S)
                    assert table.make([udp_entry(next(ports))]) == []
            copied = {line.split("sport=")[1].split()[0] for line in pair.tracked("b")}
            assert {str(port) for port in range(2000, 2100)} <= copied


def _listens(name: str) -> bool:
    """Whether anybody hears events of a namespace: its netfilter sockets (12) that are in multicast groups."""
    rows = at(name, lambda: Path("/proc/thread-self/net/netlink").read_text()).splitlines()[1:]
    return any(row.split()[1] == "12" and int(row.split()[3], 16) for row in rows)
