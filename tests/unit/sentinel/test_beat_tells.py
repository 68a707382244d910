"""Three beats on virtual time: what a beat tells, answers and counts, and how it ends at a mistake of its own."""

from itertools import accumulate

import pytest
from beat_fakes import X
from beat_net import NAMES, Net, active, panel, plan_part

from gapless.core.edge.beat import Beat
from gapless.errors import InvariantError, Unavailable
from gapless.model.host import Incarnation
from gapless.model.lease import DEFAULT, PanelVersion, Tenure
from gapless.sentinel.beat.driver import RHYTHM_S
from gapless.sentinel.beat.story import CHARACTERS, MOMENTS
from gapless.wire import beat as wire


def test_only_what_changed_is_said(net: Net) -> None:
    first, _ = active(net, X)
    before = len(first.said)
    net.run(0.9)
    assert [type(each) for each in first.said[before:] if not isinstance(each, wire.Rhythm)] == []


@pytest.mark.parametrize("is_exclusive", [False, True])
def test_a_guard_that_is_away_for_an_interval_is_told_where_somebody_else_may_have_removed_it(
    net: Net, is_exclusive: bool
) -> None:
    first, _ = active(net, X)
    first.guard.is_taken_away()
    first.guard.is_exclusive = is_exclusive
    first.guard.fails("restore", *[Unavailable("no memory")] * 1000)
    net.run(until=lambda: "restore" in first.guard.calls)
    assert not first.level.is_unguarded, "it may be back in a moment"
    net.run(2 * DEFAULT.interval_s)
    assert first.level.is_unguarded is not is_exclusive
    first.guard.fail_next.clear()
    net.run(DEFAULT.interval_s)
    assert (first.level.is_unguarded, first.guard.is_there) == (False, True)
    assert first.told_open == {X: 1}, "what is open stays so"


def test_the_controller_is_answered_by_an_arbiter(net: Net) -> None:
    first, second = active(net, X)
    of = Tenure(first.name, Incarnation(1))
    net.run()
    net.tell(second, wire.BurialQuestion(tenure=of, seq=7, panel=PanelVersion(1)))
    first.is_up = False
    net.run()
    net.tell(second, wire.BurialQuestion(tenure=of, seq=8, panel=PanelVersion(1)))
    assert second.heard(wire.BurialAnswer) == [
        wire.BurialAnswer(tenure=of, seq=7, is_buried=False),
        wire.BurialAnswer(tenure=of, seq=8, is_buried=True),
    ]


def test_garbage_is_counted_and_changes_nothing(net: Net) -> None:
    first, _ = active(net, X)
    for raw in (b"", b"GL", bytes(144), b"GL\x01\x01" + bytes(140), b"x" * 1500):
        first.driver.received(raw, net.now)
    net.run(1.5)
    assert {"malformed": 4, "forged": 1}.items() <= first.heard(wire.Rhythm)[-1].dropped.items()
    assert first.told_open == {X: 1}


@pytest.mark.parametrize(
    "address",
    ["", "host.example:9698", "10.0.0.1", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:70000", "10.0.0.1:x", "[::1]:1"],
)
def test_an_address_that_is_none_is_said_and_nobody_asks_for_a_name(net: Net, address: str) -> None:
    first, _ = active(net, X)
    net.tell(first, plan_part([], 2, 1, last=True, panel=panel(address=lambda _: address)))
    assert any("no ADDRESS:PORT" in line.event for line in first.heard(wire.Said))
    first.driver.on_deadline(first.driver.next_deadline())
    net.run(1.5)
    assert first.heard(wire.Rhythm)[-1].dropped["no address"] > 0


# How it keeps time


def test_how_the_beat_kept_time_is_told_each_second(net: Net) -> None:
    host = net.hosts[NAMES[0]]
    net.run(3.0)
    rhythms = host.heard(wire.Rhythm)
    assert len(rhythms) in (3, 4)
    assert all(rhythm.beats > 0 for rhythm in rhythms)


def test_how_late_beats_were_is_counted_since_the_start(net: Net) -> None:
    """A word that is dropped costs nothing: the next one has all of it."""
    host = net.hosts[NAMES[0]]
    net.run(3.0)
    rhythms = host.heard(wire.Rhythm)
    assert [sum(rhythm.late) for rhythm in rhythms] == [*accumulate(rhythm.beats for rhythm in rhythms)]
    assert rhythms[-1].late_s >= rhythms[0].late_s >= 0


def test_what_was_granted_and_what_led_to_nothing_is_told_with_it(net: Net) -> None:
    """Of three arbiters one is gone, so a third of what is asked is not granted."""
    host, gone = net.hosts[NAMES[0]], net.hosts[NAMES[2]]
    gone.is_up = False
    net.run(1.5)
    before = host.heard(wire.Rhythm)[-1].counts
    net.run(3.0)
    counts = host.heard(wire.Rhythm)[-1].counts
    asked, granted = counts["asked"] - before["asked"], counts["granted"] - before["granted"]
    assert asked / 3 >= 3.0 / DEFAULT.interval_s - 1
    assert abs(granted - asked * 2 / 3) <= 2, "one answer may be on its way"
    assert counts["late_grants"] == before["late_grants"]


# Mistakes


def test_a_beat_that_finds_a_mistake_tells_its_recent_story(net: Net) -> None:
    first, _ = active(net, X)
    with pytest.raises(InvariantError) as raised:
        first.driver.on_deadline(net.now - 1.0)
    what, *story = str(raised.value).splitlines()
    assert what.startswith("time fell")
    assert len(story) == MOMENTS
    assert all(len(line) < CHARACTERS + 30 for line in story)
    assert story[-1].endswith("<- a deadline")
    assert any("-> Activate(" in line for line in story)
    assert any("<- Received(datagram=Datagram(kind=<DatagramKind.GRANT" in line for line in story)


def test_a_beat_that_contradicts_itself_ends_within_a_second(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    active(net, X)

    def check(self: Beat) -> None:
        raise InvariantError("it forwards what it has released")

    monkeypatch.setattr(Beat, "check", check)
    with pytest.raises(InvariantError) as raised:
        net.run(RHYTHM_S + DEFAULT.interval_s)
    assert str(raised.value).startswith("it forwards what it has released\n")
    assert "<- a deadline" in str(raised.value)
