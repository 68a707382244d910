"""What a living host closes and hands over: said once it is closed, heeded by whom it is for, and by nobody else."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

import pytest
from beat_rig import DEAD, ME, PANEL, R1, R2, A, B, L, Rig, news, right

from gapless.core.edge.beatevents import (
    Activate,
    Activated,
    Announce,
    BeatEffect,
    Deactivate,
    Deactivated,
    PlanSettled,
    Reborn,
    Received,
    Right,
    Send,
    TookOver,
    Withdrawn,
)
from gapless.core.edge.openings import HEARD_MOST, RELEASED_AT_ONCE
from gapless.core.edge.releases import AGAIN_AT_ONCE, Releases
from gapless.model.host import MACHINE_STEP, HostName, Incarnation
from gapless.model.lease import DEFAULT, Datagram, DatagramKind, Tenure
from gapless.model.plan import Epoch, Revision, Successor
from gapless.model.router import RouterId

TO = Successor(tenure=Tenure(B, Incarnation(7)), epoch=Epoch(5))
LIVES = DEAD
"""A host that this one may succeed, and that is well."""


def released(effects: list[BeatEffect]) -> list[tuple[HostName, Datagram]]:
    sent = [each for each in effects if isinstance(each, Send)]
    return [(each.to, each.datagram) for each in sent if each.datagram.kind is DatagramKind.RELEASED]


@pytest.fixture
def rig() -> Rig:
    """A host that holds its lease."""
    made = Rig()
    made.hold()
    return made


def hands_over(rig: Rig) -> list[BeatEffect]:
    """r1 and r2 are active; a plan takes r1."""
    rig.plan(active={R1: Epoch(4), R2: Epoch(4)})
    rig.do(Activated(routers=(R1, R2)))
    return rig.plan(revision=Revision(2), active={R2: Epoch(4)}, releases={R1: TO})


# The host that has it


def test_a_router_is_closed_and_only_then_released(rig: Rig) -> None:
    closing = hands_over(rig)
    assert [each for each in closing if isinstance(each, Deactivate)] == [
        Deactivate(routers=(R1,), reason="its plan says so")
    ]
    assert released(closing) == []
    assert released(rig.tick(DEFAULT.interval_s)) == [], "the kernel may have it open still"
    ((to, said),) = released(rig.do(Deactivated(routers=(R1,))))
    assert (to, said.subject, said.router, said.seq) == (B, TO.tenure, R1, 5)
    assert said.sender == rig.me


def test_it_is_said_again_each_interval_until_a_plan_asks_for_it_no_more(rig: Rig) -> None:
    hands_over(rig)
    closed_at = rig.now
    ((_, said),) = released(rig.do(Deactivated(routers=(R1,))))
    assert said.silent_for_s == 0
    for _ in range(3):
        rig.stay(DEFAULT.interval_s)
        ((_, said),) = released(rig.tick(DEFAULT.interval_s))
        assert said.silent_for_s == pytest.approx(rig.now - closed_at), "a word that was lost is time without traffic"
    rig.plan(revision=Revision(3), active={R2: Epoch(4)})
    assert released(rig.tick(DEFAULT.interval_s)) == []


def test_what_the_kernel_took_to_close_it_is_time_without_traffic(rig: Rig) -> None:
    """Or the beat to hear of it, which may not have run for a while."""
    hands_over(rig)
    begun_at = rig.now
    rig.stay(0.08)
    ((_, said),) = released(rig.do(Deactivated(routers=(R1,), begun_at=begun_at)))
    assert said.silent_for_s == pytest.approx(rig.now - begun_at)


def test_whoever_it_is_released_to_next_hears_since_when_it_is_dark(rig: Rig) -> None:
    """The first successor died before it opened the router."""
    hands_over(rig)
    closed_at = rig.now
    rig.do(Deactivated(routers=(R1,)))
    rig.stay(2.0)
    other = Successor(tenure=Tenure(C_HOST, Incarnation(3)), epoch=Epoch(6))
    ((to, said),) = released(rig.plan(revision=Revision(3), active={R2: Epoch(4)}, releases={R1: other}))
    assert (to, said.seq) == (C_HOST, 6)
    assert said.silent_for_s == pytest.approx(rig.now - closed_at)


def test_what_a_plan_gives_back_is_not_released_any_more(rig: Rig) -> None:
    hands_over(rig)
    rig.plan(revision=Revision(3), active={R1: Epoch(6), R2: Epoch(4)})
    reopened = rig.do(Deactivated(routers=(R1,)))
    assert released(reopened) == []
    assert [each.routers for each in reopened if isinstance(each, Activate)] == [{R1: 6}]
    assert released(rig.tick(DEFAULT.interval_s)) == []


def test_what_is_closed_already_is_released_at_once(rig: Rig) -> None:
    ((_, said),) = released(rig.plan(releases={R1: TO}))
    assert said.router == R1


def test_what_was_taken_over_unheard_is_neither_closed_nor_released(rig: Rig) -> None:
    rig.plan(rights={R1: right(2)})
    rig.take_over()
    rig.do(Activated(routers=(R1,)))
    assert released(rig.plan(revision=Revision(2), heard=0, releases={R1: TO})) == []
    assert rig.beat.forwarding == {R1: 2}


def test_a_fenced_host_releases_nothing(rig: Rig) -> None:
    """What it had is over with its tenure, and of the next one nobody waits."""
    hands_over(rig)
    rig.do(Deactivated(routers=(R1,)))
    fenced = rig.tick(DEFAULT.lease_s)
    assert released(fenced) == []
    again = rig.do(Withdrawn()) + rig.do(Reborn(incarnation=Incarnation(2)))
    assert released(again + rig.tick(DEFAULT.interval_s)) == []


# The host that gets it


def hear(
    rig: Rig,
    by: Tenure = LIVES,
    router: RouterId = R1,
    epoch: int = 2,
    to: Tenure | None = None,
    *,
    closed_for_s: float = 0.0,
    waited_s: float = 0.0,
    is_all: bool = True,
) -> list[BeatEffect]:
    """`is_all`: nothing else is to be read."""
    said = Datagram(
        kind=DatagramKind.RELEASED,
        sender=by,
        panel=PANEL.version,
        lease_s=L,
        subject=to or rig.me,
        seq=epoch,
        router=router,
        silent_for_s=closed_for_s,
    )
    return rig.do(Received(datagram=said, waited_s=waited_s)) + (rig.listen() if is_all else [])


def test_a_release_opens_a_router_by_its_right_at_once(rig: Rig) -> None:
    rig.plan(rights={R1: right(2), R2: right(2)})
    assert hear(rig) == [Activate(routers={R1: Epoch(2)}, cause=LIVES, reason=f"{LIVES} released it")]
    assert (rig.beat.takeovers, set(rig.beat.released)) == (1, {R1})
    done = rig.do(Activated(routers=(R1,)))
    assert Announce(routers=(R1,), cause=LIVES) in done
    (told,) = news(done)
    assert isinstance(told, TookOver)
    assert (told.number, told.of, told.routers, told.is_released) == (1, LIVES, {R1: 2}, True)
    assert rig.beat.forwarding == {R1: 2}, "r2 is that host's as before"


def test_the_steps_of_a_release_count_from_when_the_host_before_closed_the_router(rig: Rig) -> None:
    rig.plan(rights={R1: right(2)})
    hear(rig, closed_for_s=0.05)
    rig.now += 0.001
    (told,) = news(rig.do(Activated(routers=(R1,))))
    assert isinstance(told, TookOver)
    assert told.times.opened - told.times.buried == pytest.approx(0.051)


def test_for_how_long_a_release_lay_unread_counts_as_well(rig: Rig) -> None:
    """This host's beat could not run: that it was told in time helped nobody."""
    rig.plan(rights={R1: right(2), R2: right(2)})
    hear(rig, waited_s=0.06, is_all=False)
    hear(rig, router=R2, waited_s=0.05)
    rig.now += 0.001
    (told,) = news(rig.do(Activated(routers=(R1, R2))))
    assert isinstance(told, TookOver)
    assert told.times.opened - told.times.buried == pytest.approx(0.061)


def test_what_was_dark_for_long_is_told_apart_from_what_was_closed_just_now(rig: Rig) -> None:
    """The first word of one of them was lost."""
    rig.plan(rights={R1: right(2), R2: right(2)})
    hear(rig, closed_for_s=0.05, is_all=False)
    hear(rig, router=R2, closed_for_s=0.0002)
    old, fresh = news(rig.do(Activated(routers=(R1,))) + rig.do(Activated(routers=(R2,))))
    assert isinstance(old, TookOver)
    assert isinstance(fresh, TookOver)
    assert (set(old.routers), set(fresh.routers)) == ({R1}, {R2})
    assert old.times.opened - old.times.buried == pytest.approx(0.05)
    assert fresh.times.opened - fresh.times.buried == pytest.approx(0.0002)


def test_a_second_copy_of_a_release_does_nothing(rig: Rig) -> None:
    rig.plan(rights={R1: right(2)})
    hear(rig)
    assert hear(rig) == []
    rig.do(Activated(routers=(R1,)))
    assert hear(rig) == []
    assert rig.beat.counters.useless_releases == 2


@pytest.mark.parametrize(
    "said",
    [
        {"epoch": 1},
        {"epoch": 3},
        {"router": R2},
        {"by": replace(LIVES, incarnation=Incarnation(9))},
        {"by": Tenure(A, Incarnation(1))},
        {"to": Tenure(ME, Incarnation(2))},
        {"to": TO.tenure},
    ],
)
def test_a_release_that_fits_no_right_opens_nothing(rig: Rig, said: dict[str, object]) -> None:
    rig.plan(rights={R1: right(2)})
    assert hear(rig, **said) == []  # type: ignore[arg-type]
    assert (rig.beat.forwarding, rig.beat.counters.useless_releases) == ({}, 1)


def test_a_right_that_waits_for_another_host_too_is_not_used(rig: Rig) -> None:
    both = Right(epoch=Epoch(2), after=(LIVES, Tenure(C_HOST, Incarnation(1))))
    rig.plan(rights={R1: both})
    assert hear(rig) == []
    assert rig.beat.forwarding == {}


C_HOST = HostName("another")


def test_a_host_without_a_lease_opens_nothing() -> None:
    rig = Rig()
    rig.tick()
    rig.do(Withdrawn())
    rig.plan(rights={R1: right(2)})
    assert hear(rig) == []


def test_no_plan_that_has_not_heard_of_it_undoes_it(rig: Rig) -> None:
    rig.plan(rights={R1: right(2)})
    hear(rig)
    rig.do(Activated(routers=(R1,)))
    rig.plan(revision=Revision(2), heard=0, rights={R1: right(2)})
    assert (rig.beat.forwarding, set(rig.beat.released)) == ({R1: 2}, {R1})
    rig.plan(revision=Revision(3), heard=1, active={R1: Epoch(2)})
    assert set(rig.beat.released) == {R1}, "how it was opened stays true"
    closing = rig.plan(revision=Revision(4), heard=1)
    assert [each.routers for each in closing if isinstance(each, Deactivate)] == [(R1,)]
    assert not rig.beat.released


def test_what_is_released_together_is_opened_in_one_transaction(rig: Rig) -> None:
    rig.plan(rights={R1: right(2), R2: right(3)})
    assert hear(rig, is_all=False) == []
    assert (rig.beat.forwarding, rig.beat.takeovers, rig.beat.is_listening) == ({}, 0, True)
    rig.now += 0.001
    opening = Activate(routers={R1: Epoch(2), R2: Epoch(3)}, cause=LIVES, reason=f"{LIVES} released it")
    assert hear(rig, router=R2, epoch=3) == [opening]
    assert (rig.beat.takeovers, rig.beat.is_listening) == (1, False)
    rig.now += 0.001
    (told,) = news(rig.do(Activated(routers=(R1, R2))))
    assert isinstance(told, TookOver)
    assert (told.routers, told.times.opened - told.times.buried) == ({R1: 2, R2: 3}, pytest.approx(0.002))


def test_what_two_hosts_release_is_opened_as_theirs(rig: Rig) -> None:
    other = Tenure(C_HOST, Incarnation(1))
    rig.plan(rights={R1: right(2), R2: Right(epoch=Epoch(2), after=(other,))})
    hear(rig, is_all=False)
    opening = [each for each in hear(rig, by=other, router=R2) if isinstance(each, Activate)]
    assert [(each.cause, each.routers) for each in opening] == [(LIVES, {R1: 2}), (other, {R2: 2})]
    assert rig.beat.takeovers == 2


def test_a_flood_of_datagrams_holds_up_no_release(rig: Rig) -> None:
    """There is always more to read: the beat comes all the same, and so do many releases."""
    many = [RouterId(f"r{number}") for number in range(HEARD_MOST)]
    rig.plan(rights={each: right(2) for each in many})
    for each in many[:-1]:
        assert hear(rig, router=each, is_all=False) == []
    assert [type(each) for each in hear(rig, router=many[-1], is_all=False)] == [Activate]
    last = RouterId("last")
    rig.plan(revision=Revision(2), rights={last: right(3)})
    hear(rig, router=last, epoch=3, is_all=False)
    rig.now += DEFAULT.interval_s
    opened = [each for each in rig.beat.on_deadline(rig.now) if isinstance(each, Activate)]
    assert [each.routers for each in opened] == [{last: 3}]


def test_a_plan_finds_open_what_was_released_right_before_it(rig: Rig) -> None:
    rig.plan(rights={R1: right(2)})
    hear(rig, is_all=False)
    opened = [each for each in rig.plan(revision=Revision(2), rights={R1: right(2)}) if isinstance(each, Activate)]
    assert [(each.routers, each.cause) for each in opened] == [({R1: 2}, LIVES)]
    assert not rig.beat.is_listening


def test_a_host_that_is_fenced_opens_nothing_that_it_had_heard_of_by_then(rig: Rig) -> None:
    rig.plan(rights={R1: right(2)})
    hear(rig, is_all=False)
    fenced = rig.tick(DEFAULT.lease_s)
    assert [each for each in fenced if isinstance(each, Activate)] == []
    assert (rig.beat.forwarding, rig.beat.takeovers) == ({}, 0)


def test_many_that_leave_are_closed_a_few_at_a_time_and_what_nobody_waits_for_after_them(rig: Rig) -> None:
    many = [RouterId(f"r{number:02}") for number in range(RELEASED_AT_ONCE + 2)]
    stays, goes = RouterId("x"), RouterId("a")
    rig.plan(active=dict.fromkeys([*many, goes, stays], Epoch(4)))
    rig.do(Activated(routers=(*many, goes, stays)))
    leaving = rig.plan(revision=Revision(2), active={stays: Epoch(4)}, releases=dict.fromkeys(many, TO))
    closing = [each.routers for each in leaving if isinstance(each, Deactivate)]
    assert closing == [tuple(many[:RELEASED_AT_ONCE]), tuple(many[RELEASED_AT_ONCE:]), (goes,)]
    said = released(rig.do(Deactivated(routers=closing[0])))
    assert [each.router for _, each in said] == many[:RELEASED_AT_ONCE]
    assert [each.router for _, each in released(rig.do(Deactivated(routers=closing[1])))] == many[RELEASED_AT_ONCE:]


def test_an_opening_that_fails_is_tried_again(rig: Rig) -> None:
    rig.plan(rights={R1: right(2)})
    hear(rig)
    rig.do(Activated(routers=(R1,), reason="no memory"))
    (again,) = [each for each in rig.tick(DEFAULT.interval_s) if isinstance(each, Activate)]
    assert (again.routers, again.cause) == ({R1: 2}, LIVES)
    (told,) = news(rig.do(Activated(routers=(R1,))))
    assert isinstance(told, TookOver)
    assert told.is_released


# What is due


def test_what_changed_hands_in_the_plan_is_said_to_the_other_one() -> None:
    releases = Releases()
    releases.give({R1: TO})
    assert releases.due(()) == [(R1, TO)]
    assert releases.due(()) == []
    other = replace(TO, epoch=Epoch(6))
    releases.give({R1: other})
    assert (set(releases.said), releases.due(())) == (set(), [(R1, other)])
    assert set(releases.said) == {R1}


def test_of_many_some_are_said_again_each_interval_and_each_in_its_turn() -> None:
    releases, many = Releases(), [RouterId(f"r{number:03}") for number in range(500)]
    releases.give(dict.fromkeys(many, TO))
    assert len(releases.due(())) == 500, "each is said at once when it is closed"
    for _ in range(2):
        rounds = [again(releases) for _ in range(ceil(500 / AGAIN_AT_ONCE))]
        assert {len(each) for each in rounds[:-1]} == {AGAIN_AT_ONCE}
        assert set().union(*rounds) == set(many)


def test_what_a_plan_asks_for_no_more_leaves_and_what_waits_to_be_closed_takes_nobody_s_turn() -> None:
    releases, many = Releases(), [RouterId(f"r{number:03}") for number in range(500)]
    is_open = many[400:]
    releases.give(dict.fromkeys(many, TO))
    releases.due(is_open)
    assert again(releases, is_open) | again(releases, is_open) == set(many[: 2 * AGAIN_AT_ONCE])
    left = many[100:]
    releases.give(dict.fromkeys(left, TO))
    rounds = [again(releases, is_open) for _ in range(ceil(300 / AGAIN_AT_ONCE))]
    assert set().union(*rounds) == set(many[100:400])
    assert again(releases) >= set(is_open), "closed by now, and said for the first time"


def again(releases: Releases, is_open: Sequence[RouterId] = ()) -> set[RouterId]:
    releases.again()
    return {router_id for router_id, _ in releases.due(is_open)}


def test_what_it_has_released_no_plan_of_this_tenure_gives_back_at_that_epoch(rig: Rig) -> None:
    """The store was put back from a copy of before: who took the router has it open."""
    hands_over(rig)
    rig.do(Deactivated(routers=(R1,)))
    rig.plan(revision=Revision(3), active={R2: Epoch(4)})
    old = rig.plan(revision=Revision(4), active={R1: Epoch(4), R2: Epoch(4)})
    same = rig.plan(revision=Revision(5), active={R1: Epoch(5), R2: Epoch(4)})
    assert [each for each in (*old, *same) if isinstance(each, Activate)] == []
    assert rig.beat.counters.older_epochs == 2
    later = rig.plan(revision=Revision(6), active={R1: Epoch(6), R2: Epoch(4)})
    assert [each.routers for each in later if isinstance(each, Activate)] == [{R1: 6}]


def test_what_was_released_here_stays_open_by_a_plan_that_heard_of_it_and_still_gives_the_right(rig: Rig) -> None:
    rig.plan(rights={R1: right(2)})
    hear(rig)
    rig.do(Activated(routers=(R1,)))
    assert [each for each in rig.plan(heard=1, rights={R1: right(2)}) if isinstance(each, Deactivate)] == []
    assert rig.beat.forwarding == {R1: 2}


# A host that is over gets nothing


OVER = Successor(tenure=DEAD, epoch=Epoch(5))


def leaves(rig: Rig) -> list[BeatEffect]:
    """r1 is active, and a plan takes it, to be released to DEAD."""
    rig.plan(active={R1: Epoch(4), R2: Epoch(4)})
    rig.do(Activated(routers=(R1, R2)))
    return rig.plan(revision=Revision(2), heard=1, active={R2: Epoch(4)}, releases={R1: OVER})


def stays_open(rig: Rig, said: list[BeatEffect]) -> None:
    assert [each for each in said if isinstance(each, Deactivate)] == []
    assert rig.beat.forwarding == {R1: 4, R2: 4}
    assert news(said) == [PlanSettled(revision=Revision(2))], "acknowledged, together with what is open"
    assert released(rig.tick(DEFAULT.interval_s)) == []


def renews(rig: Rig, incarnation: int) -> None:
    """This host, an arbiter, hears DEAD's name at this incarnation."""
    rig.stay(DEFAULT.quiet_s)
    heard = Tenure(DEAD.host, Incarnation(incarnation))
    asked = Datagram(
        kind=DatagramKind.RENEW, sender=heard, panel=PANEL.version, lease_s=L, subject=heard, seq=1, asker=incarnation
    )
    rig.do(Received(datagram=asked))


def test_what_would_go_to_a_host_that_this_one_has_buried_stays_open(rig: Rig) -> None:
    rig.plan(rights={R2: right(4)})
    rig.take_over()
    rig.do(Activated(routers=(R2,)))
    rig.plan(heard=1, active={R1: Epoch(4), R2: Epoch(4)})
    rig.do(Activated(routers=(R1,)))
    stays_open(rig, rig.plan(revision=Revision(2), heard=1, active={R2: Epoch(4)}, releases={R1: OVER}))


def test_what_would_go_to_an_incarnation_that_is_over_by_that_host_s_own_word_stays_open(rig: Rig) -> None:
    renews(rig, DEAD.incarnation + 1)
    stays_open(rig, leaves(rig))


@pytest.mark.parametrize("incarnation", [DEAD.incarnation, DEAD.incarnation + MACHINE_STEP])
def test_what_is_not_known_to_be_over_is_released_to(rig: Rig, incarnation: int) -> None:
    """An unexpired grant says nothing, nor does another machine of that name: the one before may have other grants."""
    renews(rig, incarnation)
    assert [each.routers for each in leaves(rig) if isinstance(each, Deactivate)] == [(R1,)]


def test_the_next_host_to_which_it_is_released_gets_it(rig: Rig) -> None:
    renews(rig, DEAD.incarnation + 1)
    leaves(rig)
    closing = rig.plan(revision=Revision(3), heard=1, active={R2: Epoch(4)}, releases={R1: TO})
    assert [each.routers for each in closing if isinstance(each, Deactivate)] == [(R1,)]
    ((to, said),) = released(rig.do(Deactivated(routers=(R1,))))
    assert (to, said.subject) == (B, TO.tenure)


def test_what_was_closed_for_it_before_that_was_known_is_not_opened_again(rig: Rig) -> None:
    """Others may have heard by now that it is closed: only a later epoch is above that."""
    leaves(rig)
    rig.do(Deactivated(routers=(R1,)))
    renews(rig, DEAD.incarnation + 1)
    rig.plan(revision=Revision(3), active={R2: Epoch(4)}, releases={R1: OVER})
    assert rig.beat.forwarding == {R2: 4}
