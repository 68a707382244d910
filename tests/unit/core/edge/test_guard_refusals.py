"""A host whose kernel refuses the guard gives up what others can have, and comes back more and more slowly."""

from math import inf

import pytest
from beat_rig import ME, R1, R2, A, B, C, Rig, news

from gapless.core.edge.beatevents import (
    Activate,
    Activated,
    BeatEffect,
    Deactivated,
    Fenced,
    HoldFailed,
    NeedIncarnation,
    Reborn,
    Send,
    Withdraw,
    Withdrawn,
)
from gapless.core.edge.refusals import ALONE_S, PACE
from gapless.model.host import Incarnation
from gapless.model.lease import DEFAULT, DatagramKind, Tenure
from gapless.model.plan import Epoch, Revision
from gapless.model.router import RouterId

NO_MEMORY = "Cannot allocate memory"


@pytest.fixture
def rig() -> Rig:
    """A host that holds its lease."""
    made = Rig()
    made.hold()
    return made


def untaken(rig: Rig, ends: float) -> list[BeatEffect]:
    return rig.do(HoldFailed(ends=ends, reason=NO_MEMORY))


def refused(rig: Rig, *routers: RouterId, is_unsure: bool = False) -> list[BeatEffect]:
    return rig.do(Activated(routers=routers, reason=NO_MEMORY, is_unsure=is_unsure, is_refused=True))


def refused_for(rig: Rig, seconds: float, *routers: RouterId, is_unsure: bool = False) -> list[BeatEffect]:
    """It is asked for again each interval, and arbiters grant."""
    end, effects = rig.now + seconds, refused(rig, *routers, is_unsure=is_unsure)
    while rig.now < end and not gives_up(effects):
        rig.stay(DEFAULT.interval_s)
        effects = refused(rig, *routers, is_unsure=is_unsure)
    return effects


def gives_up(effects: list[BeatEffect]) -> str:
    """Why."""
    reasons = [each.reason for each in news(effects) if isinstance(each, Fenced)]
    assert [each.reason for each in effects if isinstance(each, Withdraw)] == reasons
    return "".join(reasons)


def comes_back(rig: Rig) -> float:
    """After how many seconds it asks for a lease, which it gets."""
    fenced_at = rig.now
    (needed,) = [each for each in rig.do(Withdrawn()) if isinstance(each, NeedIncarnation)]
    rig.me = Tenure(ME, Incarnation(needed.after + 1))
    effects = rig.do(Reborn(incarnation=rig.me.incarnation))
    while not (asked := [each.datagram.seq for each in effects if isinstance(each, Send)]):
        assert rig.beat.tenure is None
        effects = rig.tick(DEFAULT.interval_s)
    for arbiter in (A, B):
        rig.say(DatagramKind.GRANT, arbiter, rig.me, seq=asked[0])
    assert rig.beat.tenure == rig.me
    return rig.now - fenced_at


# The lease


def test_a_lease_that_the_kernel_does_not_take_is_given_up_when_the_last_one_it_took_is_over(rig: Rig) -> None:
    rig.plan(active={R1: Epoch(1)})
    rig.do(Activated(routers=(R1,)))
    rig.stay(1.0)
    ends = rig.now + DEFAULT.lease_s
    rig.stay(DEFAULT.lease_s - DEFAULT.interval_s)
    assert not gives_up(untaken(rig, ends)), "it forwards still"
    rig.say(DatagramKind.HEIR, B, rig.me, seq=1)
    rig.stay(DEFAULT.interval_s)
    said = "the kernel does not take its lease (Cannot allocate memory); it asks for no lease for 1 s"
    assert gives_up(untaken(rig, ends)) == said
    assert (rig.beat.tenure, rig.beat.forwarding) == (None, {})


def forwarding(rig: Rig, count: int) -> None:
    """So many routers are open."""
    routers = [RouterId(f"r{number}") for number in range(count)]
    rig.plan(active=dict.fromkeys(routers, Epoch(1)))
    rig.do(Activated(routers=tuple(routers)))


@pytest.mark.parametrize(("others_can", "is_soon"), [(4, False), (5, True), (9, True)])
def test_what_others_cannot_take_over_waits_for_the_kernel_for_some_seconds_if_it_is_the_larger_part(
    rig: Rig, others_can: int, *, is_soon: bool
) -> None:
    """Of ten routers, by two heirs."""
    forwarding(rig, 10)
    rig.stay(1.0)
    for heir, routers in ((A, 1), (B, others_can - 1)):
        rig.say(DatagramKind.HEIR, heir, rig.me, seq=routers)
    assert bool(gives_up(untaken(rig, rig.now))) is is_soon


def untaken_until(rig: Rig, end: float, ends: float) -> str:
    """Why it gives up while the kernel takes nothing until then; "" if it does not."""
    while not (why := gives_up(untaken(rig, ends))) and rig.now < end:
        rig.stay(DEFAULT.interval_s)
    return why


def test_it_waits_for_five_seconds_and_no_longer(rig: Rig) -> None:
    forwarding(rig, 1)
    rig.stay(1.0)
    ends = rig.now + DEFAULT.interval_s
    assert not untaken_until(rig, ends + ALONE_S - 2 * DEFAULT.interval_s, ends)
    assert untaken_until(rig, ends + ALONE_S + DEFAULT.interval_s, ends)


def test_a_lease_that_the_kernel_takes_now_and_then_prolongs_nothing(rig: Rig) -> None:
    """One in 2.5 s: dark for nearly all of that."""
    forwarding(rig, 1)
    rig.stay(1.0)
    dark_at = ends = rig.now
    for _ in range(2):
        assert not untaken_until(rig, ends + 2.2, ends)
        ends = rig.now + DEFAULT.lease_s
    assert untaken_until(rig, ends + 2.2, ends)
    assert rig.now - dark_at < ALONE_S + 2 * DEFAULT.lease_s + 4 * DEFAULT.interval_s


def test_a_kernel_that_misses_a_lease_now_and_then_keeps_its_host_for_long(rig: Rig) -> None:
    """A fifth of a second in four, where nobody takes over: to give up would be dark for longer."""
    forwarding(rig, 1)
    for _ in range(10):
        rig.stay(3.8)
        assert not untaken_until(rig, rig.now + 0.2, rig.now)


@pytest.mark.parametrize(("refusals", "is_for_ever"), [(3, True), (4, False), (5, False)])
def test_a_gap_is_counted_until_the_next_lease_is_due_however_short_it_is(
    rig: Rig, refusals: int, *, is_for_ever: bool
) -> None:
    """One lease is taken, then so many are refused, over and over: three cost a millisecond each time, four 51."""
    forwarding(rig, 1)
    rig.stay(1.0)
    began, lasts_s, dark_s = rig.now, DEFAULT.lease_s - 0.001, 0.0
    while rig.now < began + 60.0:
        ends = rig.now + lasts_s
        for _ in range(refusals):
            rig.stay(DEFAULT.interval_s)
            if gives_up(untaken(rig, ends)):
                assert not is_for_ever
                assert abs(dark_s + rig.now - ends - ALONE_S) < 3 * DEFAULT.interval_s
                return
        rig.stay(DEFAULT.interval_s)
        dark_s += rig.now - ends
    assert is_for_ever


def test_leases_that_the_kernel_takes_without_a_gap_for_some_seconds_make_up_for_what_was(rig: Rig) -> None:
    forwarding(rig, 1)
    rig.stay(1.0)
    for _ in range(3):
        assert not untaken_until(rig, rig.now + ALONE_S - 1.0, rig.now)
        rig.stay(ALONE_S)
        assert not gives_up(untaken(rig, rig.now + DEFAULT.interval_s)), "once, and before the last one was over"
        rig.stay(2 * DEFAULT.interval_s)


def test_the_first_lease_of_a_tenure_has_until_its_end(rig: Rig) -> None:
    assert not gives_up(untaken(rig, -inf)), "once is no reason"
    rig.stay(DEFAULT.lease_s)
    assert gives_up(untaken(rig, -inf))


def test_what_the_kernel_did_not_take_for_an_earlier_incarnation_ends_no_later_one(rig: Rig) -> None:
    rig.stay(1.0)
    assert gives_up(untaken(rig, -inf))
    assert untaken(rig, -inf) == []
    comes_back(rig)
    assert not gives_up(untaken(rig, -inf))


# Openings


@pytest.mark.parametrize("is_unsure", [False, True])
def test_openings_that_the_kernel_refuses_for_a_lease_are_given_up_where_nothing_is_open(
    rig: Rig, *, is_unsure: bool
) -> None:
    """But for what may be: the lease by which it would forward is over by then."""
    rig.plan(active={R1: Epoch(1)})
    assert not gives_up(refused_for(rig, DEFAULT.lease_s - 2 * DEFAULT.interval_s, R1, is_unsure=is_unsure))
    rig.stay(DEFAULT.interval_s)
    given_up = gives_up(refused_for(rig, 2 * DEFAULT.interval_s, R1, is_unsure=is_unsure))
    assert given_up.startswith("the kernel does not take the routers that are to be opened (Cannot allocate memory); ")
    assert rig.beat.forwarding == {}


def test_what_is_open_is_not_given_up_for_what_the_kernel_does_not_open(rig: Rig) -> None:
    """Whoever gets it may be refused the same: so a common cause would close it everywhere, one host after another."""
    rig.plan(active={R1: Epoch(1)})
    rig.do(Activated(routers=(R1,)))
    rig.plan(revision=Revision(2), active={R1: Epoch(1), R2: Epoch(1)})
    assert not gives_up(refused_for(rig, 5 * DEFAULT.lease_s, R2))
    (again,) = [each for each in rig.tick(DEFAULT.interval_s) if isinstance(each, Activate)]
    assert again.routers == {R2: 1}


def test_what_fails_for_what_was_asked_is_no_refusal(rig: Rig) -> None:
    rig.plan(active={R1: Epoch(1)})
    for _ in range(10):
        assert not gives_up(rig.do(Activated(routers=(R1,), reason="more than 32768 router ports")))
        rig.stay(DEFAULT.interval_s)


def test_openings_that_are_refused_now_and_then_end_nothing(rig: Rig) -> None:
    rig.plan(active={R1: Epoch(1)})
    refused_for(rig, DEFAULT.lease_s / 2, R1)
    rig.stay(DEFAULT.interval_s)
    rig.do(Activated(routers=(R1,)))
    rig.plan(revision=Revision(2))
    rig.do(Deactivated(routers=(R1,)))
    rig.plan(revision=Revision(3), active={R2: Epoch(2)})
    rig.stay(DEFAULT.lease_s / 2)
    assert not gives_up(refused(rig, R2)), "something was opened in between"
    rig.plan(revision=Revision(4))
    rig.stay(1.0)
    rig.plan(revision=Revision(5), active={R2: Epoch(3)})
    assert not gives_up(refused(rig, R2)), "nothing was to be opened in between"


# And then


def test_it_asks_for_a_lease_more_and_more_slowly(rig: Rig) -> None:
    """So a host that could never open anything is leaseless soon, and others get its part."""
    rests = []
    for _ in range(8):
        rig.stay(DEFAULT.lease_s)
        assert gives_up(untaken(rig, -inf))
        rests.append(comes_back(rig))
    assert rests == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60], abs=2 * DEFAULT.interval_s)


def test_a_tenure_that_the_kernel_took_for_long_makes_up_for_those_before(rig: Rig) -> None:
    for rest_s in (1, 2):
        rig.stay(DEFAULT.lease_s)
        assert gives_up(untaken(rig, -inf))
        assert comes_back(rig) == pytest.approx(rest_s, abs=2 * DEFAULT.interval_s)
    rig.stay(PACE.settled_s)
    assert gives_up(untaken(rig, rig.now))
    assert comes_back(rig) == pytest.approx(1, abs=2 * DEFAULT.interval_s)


def test_whoever_is_fenced_for_another_reason_asks_at_once(rig: Rig) -> None:
    rig.stay(DEFAULT.lease_s)
    assert gives_up(untaken(rig, -inf))
    comes_back(rig)
    assert "its lease lapsed" in gives_up(rig.tick(DEFAULT.lease_s))
    assert comes_back(rig) == 0


def test_as_an_arbiter_it_goes_on() -> None:
    rig = Rig(me=C)
    rig.hold()
    rig.stay(DEFAULT.quiet_s)
    assert gives_up(untaken(rig, -inf))
    other = Tenure(A, Incarnation(1))
    answers = rig.say(DatagramKind.RENEW, A, other, seq=1, asker=1)
    assert [each.datagram.kind for each in answers if isinstance(each, Send)] == [DatagramKind.GRANT]
