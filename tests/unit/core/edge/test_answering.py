"""A beat as an arbiter: whom it answers what, at once or when everything that has arrived is read."""

from dataclasses import replace

from beat_rig import DEAD, PANEL, RIGHT, WRONG, A, B, C, Rig, news

from gapless.core.edge.beatevents import Belated, BurialAnswered, BurialAsked, Send, Withdrawn
from gapless.model.host import Incarnation
from gapless.model.lease import DEFAULT, DatagramKind, PanelVersion, Tenure


def test_a_host_at_a_lower_incarnation_than_was_heard_is_refused_once_an_interval() -> None:
    """Its disk was restored from an old copy."""
    rig = Rig(me=A)
    rig.tick()
    rig.do(Withdrawn())
    old = Belated(sender=Tenure(B, Incarnation(5)), highest=Incarnation(9))
    (refused,) = rig.do(old)
    assert isinstance(refused, Send)
    assert (refused.to, refused.datagram.kind) == (B, DatagramKind.REFUSE)
    assert (refused.datagram.subject, refused.datagram.asker) == (Tenure(B, Incarnation(9)), 5)
    assert rig.do(old) == []
    rig.tick(DEFAULT.interval_s)
    assert rig.do(old) == [refused]


def test_who_is_no_arbiter_refuses_nobody() -> None:
    rig = Rig()
    assert rig.do(Belated(sender=Tenure(B, Incarnation(5)), highest=Incarnation(9))) == []


def test_it_answers_the_controller_as_it_answers_others() -> None:
    rig = Rig()
    rig.hold()
    asked = BurialAsked(tenure=DEAD, seq=3, panel=PANEL.version)
    assert rig.do(asked) == [], "it is quiet still"
    rig.stay(DEFAULT.quiet_s)
    assert news(rig.do(asked)) == [BurialAnswered(tenure=DEAD, seq=3, is_buried=True)]
    assert rig.do(replace(asked, panel=PanelVersion(0))) == []


def test_it_grants_what_others_ask() -> None:
    rig = Rig()
    rig.hold()
    rig.stay(DEFAULT.quiet_s)
    other = Tenure(A, Incarnation(1))
    (answer,) = rig.say(DatagramKind.RENEW, A, other, seq=9)
    assert isinstance(answer, Send)
    assert (answer.to, answer.datagram.kind, answer.datagram.seq) == (A, DatagramKind.GRANT, 9)
    assert (answer.datagram.subject, answer.datagram.asker) == (other, 1)


def an_arbiter_for(*holders: Tenure) -> Rig:
    """A beat that has granted these once, just now."""
    rig = Rig(me=A)
    rig.tick()
    rig.do(Withdrawn())
    rig.tick(DEFAULT.quiet_s)
    for holder in holders:
        rig.say(DatagramKind.RENEW, holder.host, holder, seq=1)
    return rig


def test_an_arbiter_that_was_held_up_reads_what_waits_before_it_calls_anybody_silent() -> None:
    """Its own renewal waits for nothing; then what is in its socket; and only then what was not there."""
    rig = an_arbiter_for(well := Tenure(B, Incarnation(1)), dead := Tenure(DEAD.host, Incarnation(1)))
    rig.now += 2 * DEFAULT.arbiter_s
    first = rig.beat.on_deadline(rig.now)
    assert {each.datagram.kind for each in first if isinstance(each, Send)} <= {DatagramKind.RENEW}
    assert rig.beat.is_listening
    assert rig.beat.next_deadline() > rig.now, "it is not called again and again while it listens"
    claims = [rig.say(DatagramKind.CLAIM, C, each, seq=7) for each in (well, dead)]
    assert claims == [[], []]
    rig.say(DatagramKind.RENEW, B, well, seq=5)
    said = [each.datagram for each in rig.listen() if isinstance(each, Send)]
    assert {(each.kind, each.subject) for each in said} == {
        (DatagramKind.SILENT, dead),
        (DatagramKind.ALIVE, well),
        (DatagramKind.BURIED, dead),
    }
    assert not rig.beat.is_listening


def test_a_controllers_claim_waits_for_what_is_unread_too() -> None:
    rig = an_arbiter_for(dead := Tenure(DEAD.host, Incarnation(1)))
    rig.now += DEFAULT.arbiter_s
    assert news(rig.do(BurialAsked(tenure=dead, seq=3, panel=PANEL.version))) == []
    assert BurialAnswered(tenure=dead, seq=3, is_buried=True) in news(rig.listen())


def test_with_a_clock_that_runs_wrong_it_is_no_arbiter_and_quiet_after_that() -> None:
    """What it granted by the wrong clock may last longer than it knows."""
    rig = an_arbiter_for(well := Tenure(B, Incarnation(1)))
    rig.do(WRONG)
    assert rig.say(DatagramKind.RENEW, B, well, seq=2) == []
    rig.now += DEFAULT.arbiter_s
    rig.listen()
    assert rig.say(DatagramKind.CLAIM, C, well, seq=1) == []
    rig.do(RIGHT)
    assert rig.say(DatagramKind.CLAIM, C, well, seq=2) == []
    rig.tick(DEFAULT.quiet_s)
    said = rig.say(DatagramKind.CLAIM, C, well, seq=3) + rig.listen()
    assert [each.datagram.kind for each in said if isinstance(each, Send)] == [DatagramKind.BURIED]
