"""A host whose guard was away says so to those that it may succeed, and who hears it has something to put right."""

from beat_rig import DEAD, R1, R2, B, Rig, news

from gapless.core.edge.beatevents import BeatEffect, GuardRestored, Misheard, Right, Send
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
