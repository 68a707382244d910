"""A flows process that may open nothing more: a router's copy waits, and nobody ends."""

import resource
from pathlib import Path

import pytest

from gapless.errors import Unavailable
from gapless.flows.figures import Figures
from gapless.flows.follower import Follower
from gapless.flows.hearing import Ears
from gapless.flows.sink import Sink
from gapless.flows.telling import Telling
from gapless.flows.turns import Turns
from gapless.kernel.limits import allow_descriptors
from gapless.kernel.netns import enter
from gapless.model.flow import FlowPolicy
from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.observe.log import get_logger
from gapless.wire.flows import Identity
from limits_met import no_descriptor_left

HERE = Path("/proc/self/ns/net")
ROUTER = RouterId("11111111-1111-4111-8111-111111111111")
FULL = "Too many open files"


def test_all_that_is_allowed_is_taken() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before[1]), before[1]))
    try:
        allow_descriptors()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_namespace_that_cannot_be_entered_is_unavailable() -> None:
    with no_descriptor_left(), pytest.raises(Unavailable, match=FULL):
        enter(HERE, lambda: None)


def test_a_source_tells_of_it_and_tries_again_later(log_lines: list[str]) -> None:
    figures = Figures()
    nothing = lambda: None  # noqa: E731
    telling = Telling(
        0, ROUTER, HERE, Ears(), figures, get_logger(), most=9, policy=FlowPolicy(), wake=nothing, ask=nothing
    )
    with no_descriptor_left():
        telling.look(is_open=True)
        assert telling.is_due(1.0)
        telling.step(1.0)
    assert (figures.overruns, telling.has_something(1.0)) == (1, False)
    assert [line for line in log_lines if FULL in line and ROUTER in line]


def test_a_follower_tells_of_it_and_asks_for_the_others(log_lines: list[str]) -> None:
    sink = Sink(Identity(name=HostName("b"), cluster="lab", key=b"k"), HostName("a"), Figures(), path_of=lambda _: HERE)
    sink.follow(frozenset({ROUTER}), ("127.0.0.1", 1))
    with no_descriptor_left():
        assert not sink._add(ROUTER, (0, 0))
        with pytest.raises(Unavailable, match=FULL):
            Follower(HERE, Figures(), Turns())
    assert sink.followed == 0
    assert [line for line in log_lines if FULL in line and ROUTER in line]
