"""A host without uplinks gives up what others can carry, and nothing else."""

import pytest
from beat_rig import DEAD, ME, R1, R2, A, B, C, Rig, news, right

from gapless.core.edge.beatevents import (
    Activated,
    BeatEffect,
    Fenced,
    NeedIncarnation,
    Reborn,
    Right,
    Send,
    UplinksSeen,
    Withdraw,
    Withdrawn,
)
from gapless.core.edge.uplinks import TELL_INTERVALS, as_bits
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DEFAULT, DatagramKind, Tenure
from gapless.model.plan import Epoch
from gapless.model.router import RouterId

NET = frozenset({"external"})
CUT = UplinksSeen(trouble="no carrier on eth1", carriers=NET, used=NET)
THERE = UplinksSeen(trouble="")
S1, S2 = HostName("s1"), HostName("s2")
"""Successors; they need not be arbiters."""
COUNTS_S = 3 * TELL_INTERVALS * DEFAULT.interval_s


@pytest.fixture
def rig() -> Rig:
    """A host with two routers."""
    made = Rig()
    made.hold()
    made.plan(active={R1: Epoch(1), R2: Epoch(1)})
    made.do(Activated(routers=(R1, R2)))
    return made


def heir(
    rig: Rig, successor: HostName, routers: int, of: Tenure | None = None, *, lost: frozenset[str] = frozenset()
) -> list[BeatEffect]:
    return rig.say(DatagramKind.HEIR, successor, of or rig.me, seq=routers, lost=as_bits(lost))


def lose(rig: Rig) -> list[BeatEffect]:
    """The uplinks are lost, and time passes, in which the others could say that they lost theirs."""
    at_once = rig.do(CUT)
    assert not resigns(at_once)
    rig.stay(DEFAULT.interval_s)
    return rig.tick(DEFAULT.interval_s)


def resigns(effects: list[BeatEffect]) -> bool:
    fenced = [each for each in news(effects) if isinstance(each, Fenced)]
    assert all("it resigns: no carrier on eth1" in each.reason for each in fenced)
    assert any(isinstance(each, Withdraw) for each in effects) is bool(fenced)
    return bool(fenced)


def said_heir(rig: Rig, intervals: int) -> list[tuple[HostName, Tenure, int]]:
    """What this host says as a successor while time passes: to whom, of which tenure, how many routers."""
    said = []
    for _ in range(intervals):
        effects = rig.tick(DEFAULT.interval_s)
        sent = [each for each in effects if isinstance(each, Send)]
        said += [
            (each.to, each.datagram.subject, each.datagram.seq)
            for each in sent
            if each.datagram.kind is DatagramKind.HEIR
        ]
        for arbiter in (A, B, C):
            renewal = next(each.datagram for each in sent if each.datagram.kind is DatagramKind.RENEW)
            rig.say(DatagramKind.GRANT, arbiter, rig.me, seq=renewal.seq)
    return said


# The host that resigns


def test_without_uplinks_it_resigns_when_its_successors_have_theirs(rig: Rig) -> None:
    heir(rig, S1, 2)
    effects = lose(rig)
    assert resigns(effects)
    assert (rig.beat.tenure, rig.beat.forwarding) == (None, {})
    assert rig.do(Withdrawn()) == [NeedIncarnation(after=Incarnation(1))]
    asked = rig.do(Reborn(incarnation=Incarnation(2)))
    renewals = [each.datagram for each in asked if isinstance(each, Send)]
    assert {each.subject for each in renewals} == {Tenure(ME, Incarnation(2))}, "arbiters hear that the lower is over"


def test_several_may_carry_it_together(rig: Rig) -> None:
    heir(rig, S1, 1)
    heir(rig, S2, 1)
    assert resigns(lose(rig))


def test_it_stays_while_they_cannot_carry_everything_and_goes_with_a_renewal_after_they_can(rig: Rig) -> None:
    heir(rig, S1, 1)
    assert not resigns(lose(rig))
    heir(rig, S2, 1)
    rig.stay(DEFAULT.interval_s)
    assert resigns(rig.tick(DEFAULT.interval_s))


def test_with_its_uplinks_it_stays_whatever_they_say(rig: Rig) -> None:
    heir(rig, S1, 2)
    assert not resigns(rig.do(THERE))
    assert not resigns(rig.tick(DEFAULT.interval_s))


def test_an_uplink_that_came_back_is_no_reason_any_more(rig: Rig) -> None:
    rig.do(CUT)
    rig.do(THERE)
    heir(rig, S1, 2)
    assert not resigns(rig.tick(DEFAULT.interval_s))


def test_when_its_successor_loses_its_own_in_the_same_moment_it_stays(rig: Rig) -> None:
    heir(rig, S1, 2)
    assert not resigns(rig.do(CUT))
    heir(rig, S1, 2, lost=NET)
    rig.stay(3 * DEFAULT.interval_s)
    assert rig.beat.tenure == rig.me


def test_it_stays_when_nobody_says_anything(rig: Rig) -> None:
    assert not resigns(lose(rig))
    rig.stay(1.0)
    assert rig.beat.tenure == rig.me


def test_it_stays_when_those_who_could_have_lost_theirs_since(rig: Rig) -> None:
    """What was said before is forgotten."""
    heir(rig, S1, 2)
    rig.stay(COUNTS_S)
    assert not resigns(lose(rig))
    rig.stay(1.0)
    assert rig.beat.tenure == rig.me


def test_what_was_said_of_another_incarnation_or_host_does_not_count(rig: Rig) -> None:
    heir(rig, S1, 2, of=Tenure(ME, Incarnation(9)))
    heir(rig, S1, 2, of=DEAD)
    assert not resigns(lose(rig))


def test_a_new_incarnation_begins_with_no_heirs(rig: Rig) -> None:
    heir(rig, S1, 2)
    lose(rig)
    rig.do(Withdrawn())
    rig.do(Reborn(incarnation=Incarnation(2)))
    rig.me = Tenure(ME, Incarnation(2))
    rig.stay(DEFAULT.interval_s)
    rig.plan(active={R1: Epoch(3), R2: Epoch(3)})
    rig.do(Activated(routers=(R1, R2)))
    assert not resigns(rig.tick(DEFAULT.interval_s)), "they have said nothing to this one"
    assert rig.beat.tenure == rig.me
    heir(rig, S1, 2, of=Tenure(ME, Incarnation(1)))
    assert not resigns(rig.tick(DEFAULT.interval_s)), "that was to the one before"
    heir(rig, S1, 2)
    rig.stay(DEFAULT.interval_s)
    assert resigns(rig.tick(DEFAULT.interval_s))


def test_a_host_with_nothing_active_has_nothing_to_resign_from() -> None:
    rig = Rig()
    rig.hold()
    heir(rig, S1, 2)
    assert not resigns(lose(rig))
    assert not resigns(rig.tick(DEFAULT.interval_s))


def test_a_host_that_has_resigned_does_not_do_it_twice(rig: Rig) -> None:
    heir(rig, S1, 2)
    assert resigns(lose(rig))
    heir(rig, S1, 2)
    assert rig.do(CUT) == []


# The successor that says so


def test_a_successor_with_uplinks_says_now_and_then_how_much_it_may_take_over() -> None:
    rig = Rig()
    rig.hold()
    rig.plan(rights={R1: right(5), R2: right(6)})
    assert said_heir(rig, 2 * TELL_INTERVALS) == [(DEAD.host, DEAD, 2)] * 2


def test_what_it_lost_or_has_back_it_says_at_once_and_once_more() -> None:
    """A datagram may be lost, and the next one comes after ten intervals."""
    rig = Rig()
    rig.hold()
    rig.plan(rights={R1: right(5)})
    (lost,), (back,) = rig.do(CUT), rig.do(THERE)
    assert isinstance(lost, Send)
    assert isinstance(back, Send)
    assert [(each.to, each.datagram.kind, each.datagram.seq, each.datagram.lost) for each in (lost, back)] == [
        (DEAD.host, DatagramKind.HEIR, 1, as_bits(NET)),
        (DEAD.host, DatagramKind.HEIR, 1, 0),
    ]
    assert rig.do(THERE) == []
    assert said_heir(rig, 1) == [(DEAD.host, DEAD, 1)]
    assert said_heir(rig, 1) == []


def test_it_says_so_only_of_the_one_tenure_that_a_right_waits_for() -> None:
    """A router whose right waits for two tenures would not come here if one of them ended."""
    rig = Rig()
    rig.hold()
    other = Tenure(HostName("other"), Incarnation(2))
    both = Right(epoch=Epoch(7), after=(DEAD, other))
    r3 = RouterId("r3")
    rig.plan(rights={R1: right(5), R2: both, r3: Right(epoch=Epoch(2), after=(other,))})
    assert sorted(said_heir(rig, TELL_INTERVALS)) == [(DEAD.host, DEAD, 1), (other.host, other, 1)]
    rig.take_over()
    assert said_heir(rig, TELL_INTERVALS) == [(other.host, other, 2)], "one of the two is over by now"
