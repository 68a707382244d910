"""A host whose guard was away says so to those that it may succeed, and who hears it has something to put right."""

from beat_rig import DEAD, R1, R2, B, Rig, news

from gapless.core.edge.beatevents import BeatEffect, GuardRestored, Misheard, Right, Send
from gapless.core.edge.unguarded import Unguarded
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DEFAULT, DatagramKind, Tenure
from gapless.model.plan import Epoch

OTHER = Tenure(HostName("other"), Incarnation(4))


def owned_up(effects: list[BeatEffect]) -> list[tuple[HostName, Tenure]]:
    return [
        (each.to, each.datagram.subject)
        for each in effects
        if isinstance(each, Send) and each.datagram.kind is DatagramKind.UNGUARDED
    ]


def test_all_that_its_rights_wait_for_hear_of_it_and_once_more() -> None:
    rig = Rig()
    rig.hold()
    rig.plan(rights={R1: Right(epoch=Epoch(2), after=(DEAD,)), R2: Right(epoch=Epoch(2), after=(DEAD, OTHER))})
    expected = [(DEAD.host, DEAD), (OTHER.host, OTHER)]
    assert sorted(owned_up(rig.do(GuardRestored()))) == expected
    assert sorted(owned_up(rig.tick(DEFAULT.interval_s))) == expected
    assert owned_up(rig.tick(DEFAULT.interval_s)) == []


def test_who_may_succeed_nobody_owns_up_to_nobody() -> None:
    rig = Rig()
    rig.hold()
    assert rig.do(GuardRestored()) == []


def test_it_concerns_the_incarnation_that_it_names_and_needs_no_arbiter() -> None:
    rig = Rig()
    rig.hold()
    before = Tenure(rig.me.host, Incarnation(rig.me.incarnation + 1))
    assert news(rig.say(DatagramKind.UNGUARDED, OTHER.host, rig.me)) == [Misheard(of=OTHER.host)]
    assert news(rig.say(DatagramKind.UNGUARDED, B, before)) == []


def test_what_is_said_twice_is_told_once_and_the_next_time_again() -> None:
    rig = Rig()
    rig.hold()
    told = [news(rig.say(DatagramKind.UNGUARDED, B, rig.me, seq=seq)) for seq in (1, 1, 2, 2)]
    assert told == [[Misheard(of=B)], [], [Misheard(of=B)], []]


def test_both_words_of_one_return_have_one_number_and_those_of_the_next_another() -> None:
    rig = Rig()
    rig.hold()
    rig.plan(rights={R1: Right(epoch=Epoch(2), after=(DEAD,))})
    said = [
        each.datagram.seq
        for _ in range(2)
        for effects in (rig.do(GuardRestored()), rig.tick(DEFAULT.interval_s))
        for each in effects
        if isinstance(each, Send) and each.datagram.kind is DatagramKind.UNGUARDED
    ]
    assert said == [1, 1, 2, 2]


def test_of_a_later_incarnation_it_is_news_and_of_a_host_that_does_not_number_it_each_time() -> None:
    heard = Unguarded()
    assert heard.hear(OTHER, 1)
    assert heard.hear(Tenure(OTHER.host, Incarnation(5)), 1)
    assert heard.hear(DEAD, 0)
    assert heard.hear(DEAD, 0)
