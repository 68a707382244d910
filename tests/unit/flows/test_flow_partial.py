"""What a kernel says of a flow in part, as of one that it took up in the middle, is told whole, or not at all."""

import pytest
from flow_kernel import Kernel, began, ended, flows, picked_up, router
from flow_source import identity
from test_flow_behind import Reader, SlowSource, running, serving, until
from test_flow_entries import IDENTITY, ORIGINAL, PROTOCOL, REPLY, STATUS, TIMEOUT, message
from test_flow_flushed import followed

from gapless.core.backoff import Pace
from gapless.core.flows import feed
from gapless.flows import telling
from gapless.flows.entries import lacks_state, name_of
from gapless.flows.figures import Figures
from gapless.flows.sink import Sink
from gapless.flows.turns import Turns
from gapless.kernel.netlink import attribute
from gapless.model.host import HostName
from gapless.wire.flowlink import Asking
from gapless.wire.flows import Part

ROUTER = router(1)
ASKED = {ROUTER: Asking(to=HostName("b"))}


@pytest.mark.parametrize(
    ("parts", "lacks"),
    [
        ((ORIGINAL, REPLY, IDENTITY, STATUS, TIMEOUT), True),
        ((ORIGINAL, REPLY, IDENTITY, STATUS, TIMEOUT, PROTOCOL), False),
        ((ORIGINAL, REPLY, IDENTITY, STATUS, TIMEOUT, attribute(8, b"\0\0\0\7").hex()), True),
    ],
    ids=["picked up", "whole", "marked"],
)
def test_a_flow_without_its_protocols_state_is_said_in_part(parts: tuple[str, ...], lacks: bool) -> None:
    for protocol in ("06", "84"):
        assert lacks_state(message(*(each.replace("05000100 06", f"05000100 {protocol}") for each in parts))) is lacks
    assert not lacks_state(message(*(each.replace("05000100 06", "05000100 11") for each in parts))), "UDP has none"


def test_it_is_asked_for_by_its_flow_and_zone() -> None:
    zone = attribute(18, b"\0\1")
    assert name_of(picked_up(0x9B40)) == bytes.fromhex(ORIGINAL)
    assert name_of(message(ORIGINAL, REPLY, STATUS, zone.hex(), TIMEOUT)) == bytes.fromhex(ORIGINAL) + zone


async def test_what_was_taken_up_in_the_middle_is_with_the_follower(kernel: Kernel, free_tcp_port: int) -> None:
    figures = Figures()
    async with serving(kernel, figures, free_tcp_port), Reader.of(free_tcp_port, ROUTER) as follower:
        await follower.reads(lambda: figures.copies == 1)
        await kernel.picks_up(ROUTER, range(1, 2 * telling.AT_ONCE + 10))
        await follower.reads(lambda: follower.has(range(1, 2 * telling.AT_ONCE + 10)))
        assert picked_up(1) not in follower.changes


async def test_what_is_over_when_it_is_asked_for_is_not_told(kernel: Kernel, free_tcp_port: int) -> None:
    figures = Figures()
    async with serving(kernel, figures, free_tcp_port), Reader.of(free_tcp_port, ROUTER) as follower:
        await follower.reads(lambda: figures.copies == 1)
        await kernel.picks_up(ROUTER, [1, 2])
        await kernel.says(ROUTER, ended(1))
        await follower.reads(lambda: follower.has(range(2, 3)))
        assert not follower.has(range(1, 2))


@pytest.mark.parametrize("is_silent", [True, False], ids=["no answer", "too many"])
async def test_what_cannot_be_asked_for_is_copied(
    kernel: Kernel, free_tcp_port: int, monkeypatch: pytest.MonkeyPatch, is_silent: bool
) -> None:
    monkeypatch.setattr(feed, "PAUSE", Pace(first_s=0.05, most_s=0.05))
    monkeypatch.setattr(telling, "MOST_WAITING", 5)
    figures = Figures()
    async with serving(kernel, figures, free_tcp_port), Reader.of(free_tcp_port, ROUTER) as follower:
        await follower.reads(lambda: figures.copies == 1)
        kernel.table(ROUTER).is_silent = is_silent
        await kernel.picks_up(ROUTER, range(1, 7))
        await follower.reads(lambda: figures.copies > 1 and follower.has(range(1, 7)))
        assert figures.overruns >= 1


async def test_a_follower_has_all_when_it_has_that_too(kernel: Kernel, free_tcp_port: int) -> None:
    async with followed(kernel, free_tcp_port) as (source, table):
        await until(lambda: source.flushed(ASKED) == [ROUTER])
        last = 3 * telling.AT_ONCE
        await kernel.picks_up(ROUTER, range(1, last))
        await until(lambda: source.flushed(ASKED) == [ROUTER])
        assert set(table.there) == flows(range(1, last))


async def test_what_a_follower_can_make_nothing_of_is_counted_and_said(
    kernel: Kernel, free_tcp_port: int, log_lines: list[str]
) -> None:
    """A source of an older release passes on what its kernel said."""
    table, source, figures = kernel.table(ROUTER), SlowSource(), Figures()
    sink = Sink(identity("b"), HostName("a"), figures, path_of=kernel.path_of, turns=Turns(rest=0.0))
    sink.follow(frozenset({ROUTER}), ("127.0.0.1", free_tcp_port))
    async with running(source.serve(free_tcp_port), sink.run()):
        said = await source.says((Part.CHANGES, picked_up(1) + began(2) + picked_up(3)))
        await until(lambda: source.applied == said)
    assert (set(table.there), figures.unread, figures.report().unread) == (flows([2]), 2, 2)
    (line,) = [line for line in log_lines if "not all flows are copied" in line]
    assert f"router={ROUTER}" in line
    assert "2 of 3 are not said whole" in line
