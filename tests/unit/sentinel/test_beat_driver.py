"""Three beats on virtual time: who forwards, who takes over, and what each sentinel hears."""

from ipaddress import IPv4Address
from itertools import accumulate
from uuid import UUID

import msgspec
import pytest
from beat_fakes import X, Y, Z, router
from beat_net import NAMES, NO_CARRIER, TRAVEL_S, Net, active, panel, plan_part, tenure_of

from gapless.core.edge.beat import Beat
from gapless.core.edge.openings import RELEASED_AT_ONCE
from gapless.errors import InvariantError, Unavailable
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DEFAULT, DRIFT, DatagramKind, PanelVersion, Tenure
from gapless.model.plan import Epoch, Role, Successor
from gapless.model.router import RouterId
from gapless.model.way import WayOut, WaysSaid
from gapless.sentinel.beat.driver import RHYTHM_S, ROUTERS_PER_MESSAGE
from gapless.sentinel.beat.hands import ROUTERS_AT_ONCE
from gapless.sentinel.beat.haste import ANNOUNCED_WITHIN_S, CLAIM_LEASES
from gapless.sentinel.beat.healed import ABSENT_LEASES
from gapless.sentinel.beat.story import CHARACTERS, MOMENTS
from gapless.wire import beat as wire


@pytest.fixture
def net() -> Net:
    made = Net()
    made.holds()
    return made


def test_every_host_begins_with_nothing_and_comes_to_hold_its_lease() -> None:
    net = Net()
    net.holds()
    for host in net.hosts.values():
        assert host.guard.until > net.now
        assert host.level == wire.Level(
            tenure=Incarnation(1), settled=0, panel=panel().panel, takeovers=0, reborn=Incarnation(1), ways=WaysSaid()
        )


def test_a_host_that_never_heard_of_arbiters_waits_until_a_plan_names_them(net: Net) -> None:
    host = net.hosts[NAMES[0]]
    net.begin(host)
    net.run()
    assert host.level == wire.Level(
        tenure=Incarnation(0), settled=0, panel=None, reborn=Incarnation(2), ways=WaysSaid()
    )
    net.tell(host, plan_part([], 1, 0, last=True, whole=True, panel=panel()))
    net.holds()


def test_a_dead_host_is_succeeded_and_the_sentinel_hears_of_each_step(net: Net) -> None:
    first, second = active(net, X, Y)
    first.is_up = False
    second.said.clear()
    net.run(until=lambda: len(second.heard(wire.TookOver)) == 2)
    kinds = [type(each) for each in second.said if not isinstance(each, wire.Said | wire.Rhythm)]
    claimed, *steps, done = kinds
    assert steps == [wire.Opened, wire.TookOver, wire.Level, wire.TookOver], "told before it opened, and once announced"
    assert (claimed, done) == (wire.Level, wire.Level)
    assert [each.is_taking_over for each in second.heard(wire.Level)] == [True, True, False], "the agent stands aside"
    opened, announced = second.heard(wire.TookOver)
    for told in (opened, announced):
        assert [(each.router_id, each.epoch, each.of.host) for each in told.takeovers] == [(X, 2, "h1"), (Y, 2, "h1")]
    assert opened.takeovers[0].times.announced_ms is None
    times = announced.takeovers[0].times
    assert times.silent_ms is not None
    assert times.announced_ms is not None
    assert DEFAULT.lease_s * 1000 * (1 - DRIFT) - 60 < times.silent_ms <= times.buried_ms <= times.opened_ms
    assert times.opened_ms <= times.announced_ms == times.told_ms < 300
    assert second.announcer.sent == [X, Y]
    assert second.level.takeovers == 1
    assert second.guard.passes(net.now) == {"tap-x", "tap-y"}
    assert not first.guard.passes(net.now)


def test_a_router_that_is_released_is_open_on_its_standby_within_a_moment(net: Net) -> None:
    """Without anybody's burial, and without a word of the controller's to the new host."""
    moving, staying = RouterId(str(UUID(int=1))), RouterId(str(UUID(int=2)))
    first, second = active(net, moving, staying)
    to = Successor(tenure=Tenure(second.name, Incarnation(second.incarnation)), epoch=Epoch(2))
    asked_at = net.now
    net.plan(
        first,
        router(moving, role=Role.STANDBY, epoch=3, incarnation=first.incarnation, release=to),
        router(staying, incarnation=first.incarnation),
        revision=2,
    )
    net.run(until=lambda: bool(second.told_open))
    assert net.now - asked_at < 2 * TRAVEL_S
    assert (first.told_open, second.told_open) == ({staying: 1}, {moving: 2})
    (opened,) = second.heard(wire.Opened)
    assert [each.is_released for each in opened.routers] == [True]
    net.run(until=lambda: len(second.heard(wire.TookOver)) == 2)
    told = second.heard(wire.TookOver)[1].takeovers[0]
    assert (told.router_id, told.epoch, told.of.host, told.is_released) == (moving, 2, "h1", True)
    assert told.times.silent_ms is None
    assert told.times.announced_ms is not None
    assert 0 == told.times.buried_ms < told.times.opened_ms <= told.times.announced_ms < 1
    assert not second.level.is_taking_over, "the agent has no reason to stand aside"
    net.run()
    assert (first.level.tenure, second.told_open) == (first.incarnation, {moving: 2})


def test_many_that_are_released_are_closed_a_few_at_a_time_and_said_before_the_next_are(net: Net) -> None:
    many = [RouterId(str(UUID(int=number))) for number in range(1, 2 * RELEASED_AT_ONCE + 2)]
    first, second = active(net, *many)
    to = Successor(tenure=Tenure(second.name, Incarnation(second.incarnation)), epoch=Epoch(2))
    leaving = [router(each, role=Role.STANDBY, epoch=3, incarnation=first.incarnation, release=to) for each in many]
    first.guard.calls.clear()

    def said() -> int:
        return sum(raw[3] == DatagramKind.RELEASED for raw in net.under_way())

    net.tell(first, plan_part(leaving, 2, first.incarnation, last=True, whole=True))
    assert first.guard.calls == ["deactivate"]
    assert len(first.told_open) == len(many) - RELEASED_AT_ONCE
    assert first.driver.has_more
    assert said() == RELEASED_AT_ONCE, "they wait for no other"
    first.driver.go_on()
    assert (first.guard.calls, said()) == (["deactivate"] * 2, 2 * RELEASED_AT_ONCE)
    net.run(until=lambda: len(second.told_open) == len(many))
    assert (first.told_open, first.level.settled) == ({}, 2)
    net.run()
    assert second.told_open == dict.fromkeys(many, 2)


def test_what_was_not_ready_is_told_as_announced_once_it_is(net: Net) -> None:
    first, second = active(net, X, Y)
    second.announcer.unready = {Y}
    first.is_up = False
    net.run(until=lambda: len(second.heard(wire.TookOver)) == 2)
    assert [each.router_id for each in second.heard(wire.TookOver)[1].takeovers] == [X]
    assert second.level.is_taking_over
    net.run(ANNOUNCED_WITHIN_S + DEFAULT.interval_s)
    assert not second.level.is_taking_over, "one router that cannot be announced holds up the agent no longer"
    assert len(second.heard(wire.TookOver)) == 2
    second.announcer.become_whole(Y)
    net.run(DEFAULT.interval_s)
    assert [each.router_id for each in second.heard(wire.TookOver)[2].takeovers] == [Y]
    assert second.announcer.sent[-1] == Y


def test_a_claim_that_leads_to_nothing_is_no_haste_for_long(net: Net) -> None:
    """One arbiter of the three is gone as well, so nobody can be buried."""
    first, second = active(net, X)
    first.is_up = False
    net.run(until=lambda: second.level.is_taking_over)
    net.hosts[NAMES[2]].is_up = False
    net.run(CLAIM_LEASES * DEFAULT.lease_s + 2 * DEFAULT.interval_s, until=lambda: not second.level.is_taking_over)
    assert not second.level.is_taking_over


def test_a_host_that_was_paused_returns_fenced_and_higher(net: Net) -> None:
    first, second = active(net, X)
    first.is_up = False
    net.run(until=lambda: bool(second.heard(wire.TookOver)))
    first.is_up, first.gives_incarnations = True, False
    net.run()
    assert (first.told_open, tenure_of(first), first.guard.active) == ({}, 0, set())
    assert first.heard(wire.IncarnationNeeded) == [wire.IncarnationNeeded(after=Incarnation(1))]
    first.gives_incarnations = True
    net.run()
    assert (tenure_of(first), first.told_open) == (2, {})
    assert second.told_open == {X: 2}
    net.plan(first, router(X), revision=2)
    assert first.told_open == {}, "a plan for an incarnation that is over gives nothing"


def test_without_its_arbiters_a_host_closes_by_itself_and_said_so(net: Net) -> None:
    first, _ = active(net, X)
    net.hosts[NAMES[1]].is_up = net.hosts[NAMES[2]].is_up = False
    net.run(until=lambda: tenure_of(first) == 0)
    assert (first.told_open, first.guard.active) == ({}, set())
    assert any("fenced" in line.event for line in first.heard(wire.Said))


def test_a_thousand_are_told_in_parts_and_counted_when_they_are_whole(net: Net) -> None:
    many = [RouterId(f"{number:04}") for number in range(1000)]
    first, second = active(net, *many)
    first.is_up = False
    second.said.clear()
    net.run(until=lambda: any(level.takeovers for level in second.heard(wire.Level)))
    assert len(second.told_open) == 1000, "all open at once, whatever is announced when"
    told = [type(each) for each in second.said if not isinstance(each, wire.Said | wire.Rhythm)]
    assert told[1:10] == [wire.Opened] * 4 + [wire.TookOver] * 4 + [wire.Level], "the level comes after all of it"
    assert sum(len(each.takeovers) for each in second.heard(wire.TookOver)[:4]) == 1000
    assert all(len(each.routers) <= ROUTERS_PER_MESSAGE for each in second.heard(wire.Opened))
    assert second.level.takeovers == 1
    assert len(second.announcer.sent) < 1000
    net.run()
    assert len(second.announcer.sent) >= 1000


def test_a_plan_that_had_not_heard_of_a_takeover_does_not_undo_it(net: Net) -> None:
    first, second = active(net, X, Y)
    first.is_up = False
    net.run(until=lambda: bool(second.heard(wire.TookOver)))
    net.plan(second, router(Z), revision=2)
    assert second.told_open == {X: 2, Y: 2, Z: 1}
    assert second.level.settled == 2
    assert not second.announcer.forgotten, "what is open is announced until it is closed"
    net.plan(second, router(Z), revision=3, heard=1)
    assert second.told_open == {Z: 1}
    assert set(second.announcer.forgotten) == {X, Y}


def test_an_uplink_that_is_lost_is_told_and_gateways_are_watched(net: Net) -> None:
    first, _ = active(net, X)
    gateway = ("eth2", IPv4Address("203.0.113.1"))
    net.plan(first, msgspec.structs.replace(router(X), gateway=gateway), revision=2)
    assert first.uplinks.watched == {gateway}
    first.uplinks.missing = frozenset({gateway})
    net.run(0.2)
    assert first.level.trouble == "eth2 203.0.113.1"
    assert first.level.ways == WaysSaid(lost=(WayOut("external", gateway[1]),))
    first.uplinks.missing = frozenset()
    net.run(0.2)
    assert (first.level.trouble, first.level.ways) == ("", WaysSaid())


def test_a_beat_that_starts_while_its_uplink_is_down_says_so_and_holds_its_lease(net: Net) -> None:
    host = net.hosts[NAMES[0]]
    host.uplinks.missing = NO_CARRIER
    net.begin(host, panel())
    net.holds()
    assert (tenure_of(host), host.level.trouble) == (2, "eth2 None")


def test_a_turn_that_fences_may_see_a_lost_uplink(net: Net) -> None:
    first, _ = active(net, X)
    first.is_up = False
    net.run(2 * DEFAULT.lease_s)
    first.is_up, first.uplinks.missing = True, NO_CARRIER
    first.driver.on_deadline(net.now)
    assert (first.told_open, first.level.trouble) == ({}, "eth2 None")


def test_a_clock_that_is_slewed_too_fast_costs_the_lease_and_is_told_once(net: Net) -> None:
    first, second = active(net, X)
    first.clock_fault = "the clock is slewed by +8.3 %"
    net.run(until=lambda: X in second.told_open)
    first.clock_fault = "the clock is slewed by +4.1 %"
    net.run(5.0)
    assert not first.level.tenure
    lines = [each.event for each in first.heard(wire.Said)]
    assert lines.count("cannot hold or grant a lease; trying again") == 1
    first.clock_fault = ""
    net.run(until=lambda: bool(first.level.tenure))
    assert "can hold or grant a lease again" in [each.event for each in first.heard(wire.Said)]


def test_a_router_goes_to_the_successor_when_its_host_alone_lost_the_way_out(net: Net) -> None:
    """Both hosts call the network by one name, whatever their interfaces are called; what both lost moves nothing."""
    gateway = IPv4Address("203.0.113.1")
    first, second = active(net, X, gateway=gateway)
    second.uplinks.missing = frozenset({("eth3", gateway)})
    net.run(2.0)
    first.uplinks.missing = frozenset({("eth2", gateway)})
    net.run(3.0)
    assert X in first.told_open
    first.uplinks.missing |= {("eth2", None)}
    net.run(until=lambda: X in second.told_open)
    assert X not in first.told_open


def test_each_tenure_counts_its_takeovers_anew(net: Net) -> None:
    first, second = active(net, X)
    first.is_up = False
    net.run(until=lambda: bool(second.heard(wire.TookOver)))
    second.is_up = False
    net.run()
    net.begin(first, panel())
    second.is_up = True
    net.run()
    assert (tenure_of(second), second.level.takeovers) == (2, 0)
    of = Tenure(first.name, Incarnation(first.incarnation))
    standby = router(X, role=Role.STANDBY, epoch=4, incarnation=2, after=(of,))
    net.plan(second, standby, revision=5)
    second.said.clear()
    first.is_up = False
    net.run(until=lambda: bool(second.heard(wire.TookOver)))
    assert (second.heard(wire.TookOver)[0].number, second.level.takeovers) == (1, 1)


def test_a_plan_is_settled_once_all_that_it_takes_away_is_closed(net: Net) -> None:
    first, _ = active(net, X, Y)
    first.guard.fails("deactivate", Unavailable("no"), Unavailable("no"))
    net.plan(first, router(X), revision=2)
    assert (first.level.settled, first.told_open.keys()) == (1, {X, Y})
    net.run(2 * DEFAULT.interval_s)
    assert (first.level.settled, first.told_open) == (2, {X: 1})
    lines = [line.event for line in first.heard(wire.Said)]
    assert [line for line in lines if "close" in line] == [
        "cannot close routers; trying again",
        "can close routers again",
    ]


def test_a_thousand_are_closed_in_parts_and_the_lease_is_renewed_between_them(net: Net) -> None:
    many = [RouterId(f"{number:04}") for number in range(1000)]
    first, _ = active(net, *many)
    first.guard.calls.clear()
    net.plan(first, router(X), revision=2)
    assert (len(first.told_open), first.guard.calls) == (1000 - ROUTERS_AT_ONCE + 1, ["activate", "deactivate"])
    assert first.driver.has_more
    net.run(DEFAULT.interval_s)
    assert first.guard.calls.count("deactivate") == 1000 / ROUTERS_AT_ONCE
    assert (first.level.settled, first.told_open, first.driver.has_more) == (2, {X: 1}, False)


def test_a_higher_epoch_of_an_open_router_is_told(net: Net) -> None:
    first, _ = active(net, X)
    net.plan(first, router(X, epoch=3), revision=2)
    assert first.told_open == {X: 3}
    assert first.guard.calls.count("activate") == 1


def test_only_what_changed_is_said(net: Net) -> None:
    first, _ = active(net, X)
    before = len(first.said)
    net.run(0.9)
    assert [type(each) for each in first.said[before:] if not isinstance(each, wire.Rhythm)] == []


def test_a_whole_plan_lets_go_of_what_it_does_not_name(net: Net) -> None:
    first, _ = active(net, X, Y)
    first.announcer.forgotten.clear()
    net.plan(first, router(Y), router(Z), revision=2)
    assert first.announcer.forgotten == [X]
    assert first.told_open == {Y: 1, Z: 1}


def test_a_part_of_a_plan_changes_nothing_yet(net: Net) -> None:
    first, _ = active(net, X)
    net.tell(first, plan_part([router(Y)], 2, 1, last=False, whole=True))
    net.run(0.1)
    assert first.told_open == {X: 1}
    net.tell(first, plan_part([router(Z)], 2, 1, last=True))
    assert first.told_open == {Y: 1, Z: 1}


def test_an_arbiter_that_comes_back_after_long_has_what_is_open_announced_anew(net: Net) -> None:
    first, _ = active(net, X)
    net.run(2.0)
    net.hosts[NAMES[2]].is_up = False
    net.run((ABSENT_LEASES + 2) * DEFAULT.lease_s)
    first.announcer.sent.clear()
    net.begin(net.hosts[NAMES[2]], panel())
    net.run(until=lambda: bool(first.announcer.sent))
    assert first.announcer.sent == [X]


def test_a_host_that_comes_back_has_what_was_taken_from_it_announced_once_more(net: Net) -> None:
    """It may have been stopped in the middle of announcing, and have sent the rest when it went on."""
    first, second = active(net, X)
    first.is_up = False
    net.run(until=lambda: second.announcer.sent == [X])
    net.run(0.3)
    second.announcer.sent.clear()
    second.announcer.turns.clear()
    net.begin(first, panel())
    net.run(3.0)
    assert second.announcer.turns == [0, 2], "and the last repeat of the takeover"


def test_an_arbiter_that_flaps_has_nothing_announced(net: Net) -> None:
    first, _ = active(net, X)
    net.run(2.0)
    first.announcer.sent.clear()
    returns = len([line for line in first.heard(wire.Said) if "arbiters grant" in line.event])
    for _ in range(5):
        net.hosts[NAMES[2]].is_up = False
        net.run(2 * DEFAULT.lease_s)
        net.hosts[NAMES[2]].is_up = True
        net.run(2 * DEFAULT.lease_s)
    assert len([line for line in first.heard(wire.Said) if "arbiters grant" in line.event]) == returns + 5
    assert first.announcer.sent == []


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


def test_a_successor_knows_whom_it_succeeds_by_its_plan(net: Net) -> None:
    _, second = active(net, X)
    gone = Tenure(HostName("no longer among the addresses"), Incarnation(3))
    net.plan(second, router(Y, role=Role.STANDBY, epoch=2, after=(gone,)), revision=2)
    net.run()
    assert second.told_open == {}


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


def test_a_beat_begins_once(net: Net) -> None:
    begin = wire.Begin(
        key="", cluster="", zone="", name=NAMES[0], incarnation=Incarnation(1), address="", interval_s=1, lease_s=4
    )
    with pytest.raises(ValueError, match="begins once"):
        net.tell(net.hosts[NAMES[0]], begin)


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


def test_a_host_whose_disk_was_restored_from_an_old_copy_rises_above_what_was_heard(net: Net) -> None:
    """What it says is dropped, as what somebody replays would be; and it is told so."""
    host = net.hosts[NAMES[0]]
    host.is_up = False
    host.incarnation = 8
    net.begin(host, panel())
    net.run(2 * DEFAULT.quiet_s)
    assert tenure_of(host) == 9
    host.is_up = False
    host.incarnation = 3
    net.begin(host, panel())
    net.run(2 * DEFAULT.quiet_s)
    assert tenure_of(host) == 10
    assert host.level.reborn == 10
    for other in NAMES[1:]:
        assert tenure_of(net.hosts[other]) == 1, "and as an arbiter it is heard as well"


def test_an_uplink_of_another_network_than_its_routers_leave_by_moves_none(net: Net) -> None:
    """Its standbys may need it, so that is said."""
    first, _ = active(net, X, gateway=IPv4Address("203.0.113.1"))
    first.uplinks.missing = frozenset({("eth9", None)})
    net.run(5.0)
    assert (first.told_open, tenure_of(first), first.level.trouble) == ({X: 1}, 1, "eth9 None")


def test_what_a_host_has_lost_counts_once_it_has_taken_over_what_needs_it(net: Net) -> None:
    first, second = active(net, X, gateway=IPv4Address("203.0.113.1"))
    second.uplinks.missing = frozenset({("eth3", None)})
    first.is_up = False
    net.run(until=lambda: bool(second.told_open))
    third = net.hosts[NAMES[2]]
    of = Tenure(second.name, Incarnation(second.incarnation))
    net.plan(
        third, router(X, role=Role.STANDBY, epoch=3, incarnation=third.incarnation, after=(of,)), revision=2, whole=True
    )
    net.run(until=lambda: bool(third.told_open))
    assert (third.told_open, second.told_open) == ({X: 3}, {})
    assert any("it resigns" in line.event for line in second.heard(wire.Said))
