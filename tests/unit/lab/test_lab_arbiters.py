"""When arbiters are settled, by what the server says of them."""

import pytest

from gapless.core.planner.panel import Arbiters, Member
from gapless.lab.machines.nodes import settled_arbiters
from gapless.model.host import HostName


def line(reason: str) -> str:
    return f"2026-01-01T00:00:00.000Z info    controller Arbiters: {reason} version=2 floor=1 cause=tick-1\n"


def member(name: str) -> Member:
    return Member(name=HostName(name), zone="z", is_heard=True, is_dead=False, is_over=False, follows=True)


def test_they_are_read_from_the_words_of_every_level() -> None:
    """The words come from the panel itself: from the first arbiter, by way of two sets, to three."""
    arbiters, members = Arbiters(None), [member("a")]
    log, found = "something else\n", []
    for now in (0.0, 1.0, 2.0, 3.0, 4.0, 100.0):
        if (level := arbiters.judge(members, now)) is not None:
            arbiters.stored(level.panel)
            log += line(level.reason) + "and more\n"
            found.append(set(settled_arbiters(log)))
        members = [member("a"), member("b"), member("c")]
    assert found == [{"a"}, set(), set(), {"a", "b", "c"}]


@pytest.mark.parametrize("log", ["", "nothing of them\n", line("they are too few for takeovers")])
def test_there_are_none_that_nobody_spoke_of(log: str) -> None:
    assert settled_arbiters(log) == frozenset()


def test_what_is_told_of_their_number_hides_nothing() -> None:
    said = (
        "2026-01-01T00:00:00.000Z info    controller Arbiters: there are arbiters enough for takeovers cause=tick-9\n"
    )
    assert settled_arbiters(line("the first arbiters are a, b, c") + said) == {"a", "b", "c"}
