"""A host's beat, as a transcript: what it is told, what it asks for."""

import pytest
from beat_rig import DEAD, ME, PANEL, R1, R2, RIGHT, WRONG, A, B, C, L, Rig, news, right

from gapless.core.edge.beatevents import (
    Activate,
    Activated,
    Announce,
    ArbitersLost,
    Deactivate,
    Deactivated,
    Fenced,
    HoldLease,
    LeaseHeld,
    NeedIncarnation,
    Outlived,
    PanelStale,
    PlanSettled,
    Reborn,
    Send,
    Tell,
    TookOver,
    Withdraw,
    Withdrawn,
)
from gapless.errors import InvariantError
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DEFAULT, DatagramKind, Panel, PanelVersion, Tenure
from gapless.model.plan import Epoch, Revision


@pytest.fixture
def rig() -> Rig:
    """A host that holds its lease."""
    made = Rig()
    made.hold()
    return made


# Start and lease


def test_a_start_withdraws_before_it_asks_for_anything() -> None:
    rig = Rig()
    assert [type(each) for each in rig.tick()] == [Withdraw]
    assert rig.tick(DEFAULT.interval_s) == []
    asked = rig.do(Withdrawn())
    assert [each.to for each in asked if isinstance(each, Send)] == [A, B, C]


def test_the_first_lease_is_told_and_every_longer_one_goes_to_the_kernel() -> None:
    rig = Rig()
    effects = rig.hold()
    assert HoldLease(until=rig.now + L) in effects
    assert LeaseHeld(tenure=rig.me) in news(effects)
    assert rig.beat.tenure == rig.me
    seq = rig.renew()
    rig.say(DatagramKind.GRANT, A, rig.me, seq=seq)
    assert rig.say(DatagramKind.GRANT, C, rig.me, seq=seq) == [HoldLease(until=rig.now + L)]


def test_a_lapsed_host_withdraws_takes_a_higher_incarnation_and_has_nothing(rig: Rig) -> None:
    rig.plan(active={R1: Epoch(1)})
    rig.do(Activated(routers=(R1,)))
    fenced = rig.tick(L)
    assert isinstance(news(fenced)[0], Fenced)
    assert [type(each) for each in fenced if not isinstance(each, Tell | Send)] == [Withdraw]
    assert (rig.beat.tenure, rig.beat.forwarding) == (None, {})
    rig.do(Deactivated(routers=(R1,)))  # What was under way is answered still.
    assert rig.do(Withdrawn()) == [NeedIncarnation(after=Incarnation(1))]
    asked = rig.do(Reborn(incarnation=Incarnation(5)))
    assert {each.datagram.subject for each in asked if isinstance(each, Send)} == {Tenure(ME, Incarnation(5))}


def test_a_grant_that_comes_with_the_lapse_does_not_undo_it(rig: Rig) -> None:
    seq = rig.renew()
    rig.say(DatagramKind.GRANT, A, rig.me, seq=seq)
    rig.now += L - DEFAULT.interval_s
    effects = rig.say(DatagramKind.GRANT, B, rig.me, seq=seq)
    assert isinstance(news(effects)[0], Fenced)
    counters = rig.beat.counters
    assert (counters.asked, counters.granted, counters.late_grants) == (9, 3, 1)


def test_an_answer_to_an_earlier_incarnation_counts_for_nothing(rig: Rig) -> None:
    rig.tick(L)
    rig.do(Withdrawn())
    rig.do(Reborn(incarnation=Incarnation(2)))
    for arbiter in (A, B, C):
        rig.say(DatagramKind.GRANT, arbiter, rig.me, seq=1)
        rig.say(DatagramKind.BURIED, arbiter, DEAD, seq=1)
    assert rig.beat.tenure is None
    assert (rig.beat.counters.late_grants, rig.beat.counters.late_answers) == (3, 3)


def test_a_refused_host_takes_an_incarnation_above_all_that_is_over() -> None:
    rig = Rig()
    rig.tick()
    rig.do(Withdrawn())
    assert any(isinstance(each, Withdraw) for each in rig.say(DatagramKind.REFUSE, A, Tenure(ME, Incarnation(7))))
    assert rig.do(Withdrawn()) == [NeedIncarnation(after=Incarnation(7))]


def test_it_says_that_lower_incarnations_are_over_when_all_of_them_is_withdrawn(rig: Rig) -> None:
    assert rig.beat.reborn == 1
    rig.tick(L)
    assert rig.beat.reborn == 1, "the kernel may still have it open"
    rig.do(Withdrawn())
    assert rig.beat.reborn == 2, "also while the disk takes no higher one"
    rig.do(Reborn(incarnation=Incarnation(5)))
    assert rig.beat.reborn == 5


def test_a_refusal_of_an_incarnation_that_is_not_its_own_disturbs_no_host(rig: Rig) -> None:
    """Somebody replays what it sent long ago, and arbiters answer that."""
    for arbiter in (A, B, C):
        assert rig.say(DatagramKind.REFUSE, arbiter, Tenure(ME, Incarnation(9)), asker=Incarnation(0)) == []
    assert rig.beat.tenure == rig.me
    assert rig.beat.counters.late_grants == 3


def test_a_host_that_learns_of_a_machine_before_it_goes_above_that(rig: Rig) -> None:
    rig.plan(active={R1: Epoch(1)})
    assert isinstance(news(rig.do(Outlived(up_to=Incarnation(10))))[0], Fenced)
    assert (rig.beat.tenure, rig.beat.forwarding) == (None, {})
    assert rig.do(Withdrawn()) == [NeedIncarnation(after=Incarnation(10))]
    assert rig.do(Outlived(up_to=Incarnation(20))) == []
    assert rig.do(Reborn(incarnation=Incarnation(11))) == [NeedIncarnation(after=Incarnation(20))]
    asked = rig.do(Reborn(incarnation=Incarnation(21)))
    assert {each.datagram.subject for each in asked if isinstance(each, Send)} == {Tenure(ME, Incarnation(21))}
    assert not rig.do(Outlived(up_to=Incarnation(20))), "it is above that"


def test_a_host_that_learns_of_it_before_it_has_begun_asks_for_nothing_below() -> None:
    rig = Rig()
    rig.do(Outlived(up_to=Incarnation(10)))
    assert [type(each) for each in rig.tick()] == [Withdraw]
    assert rig.do(Withdrawn()) == [NeedIncarnation(after=Incarnation(10))]


def test_an_arbiter_whose_grant_is_over_is_told(rig: Rig) -> None:
    rig.stay(L)
    for _ in range(4):
        seq = rig.renew()
        rig.say(DatagramKind.GRANT, A, rig.me, seq=seq)
        rig.say(DatagramKind.GRANT, B, rig.me, seq=seq)
    assert news(rig.tick(DEFAULT.interval_s)) == [ArbitersLost(arbiters=(C,))]


def test_a_host_that_is_an_arbiter_asks_itself_without_a_datagram() -> None:
    rig = Rig(me=A)
    rig.tick()
    assert [each.to for each in rig.do(Withdrawn()) if isinstance(each, Send)] == [B, C]
    rig.tick(DEFAULT.quiet_s)
    seq = rig.renew()
    effects = rig.say(DatagramKind.GRANT, B, rig.me, seq=seq)
    assert LeaseHeld(tenure=rig.me) in news(effects)


def test_time_never_falls_and_answers_are_asked_for(rig: Rig) -> None:
    with pytest.raises(InvariantError):
        rig.beat.on_deadline(0.0)
    with pytest.raises(InvariantError):
        rig.do(Withdrawn())
    with pytest.raises(InvariantError):
        rig.do(Reborn(incarnation=Incarnation(9)))


# Plans


def test_a_plan_opens_what_it_gives_announces_it_and_is_settled(rig: Rig) -> None:
    effects = rig.plan(active={R1: Epoch(1)})
    assert isinstance(effects[0], Activate)
    assert (effects[0].routers, effects[0].cause) == ({R1: 1}, None)
    assert news(effects) == [PlanSettled(revision=Revision(1))]
    assert rig.do(Activated(routers=(R1,))) == [Announce(routers=(R1,), cause=None)]


def test_a_plan_that_takes_is_settled_when_the_router_is_closed(rig: Rig) -> None:
    rig.plan(active={R1: Epoch(1)})
    rig.do(Activated(routers=(R1,)))
    effects = rig.plan(revision=Revision(2))
    assert [type(each) for each in effects] == [Deactivate]
    assert rig.beat.settled == 1
    assert news(rig.do(Deactivated(routers=(R1,)))) == [PlanSettled(revision=Revision(2))]
    assert (rig.beat.settled, rig.beat.forwarding) == (2, {})


def test_a_plan_for_another_incarnation_gives_only_its_panel(rig: Rig) -> None:
    later = Panel(version=PanelVersion(2), floor=PanelVersion(1), sets=(frozenset({A}),))
    assert rig.plan(incarnation=Incarnation(2), active={R1: Epoch(1)}, panel=later) == []
    assert (rig.beat.forwarding, rig.beat.panel, rig.beat.settled) == ({}, later, None)
    assert rig.beat.counters.other_plans == 1


def test_a_plan_before_the_first_lease_gives_nothing() -> None:
    rig = Rig(panel=None)
    rig.tick()
    rig.do(Withdrawn())
    rig.plan(active={R1: Epoch(1)}, panel=PANEL)
    assert (rig.beat.forwarding, rig.beat.panel) == ({}, PANEL)


def test_a_host_without_a_lease_follows_its_plan_since_all_that_it_could_close_is_closed(rig: Rig) -> None:
    rig.plan(active={R1: Epoch(1)})
    rig.tick(L)
    assert rig.plan() == [], "what was open is being withdrawn"
    rig.do(Withdrawn())
    effects = rig.do(Reborn(incarnation=Incarnation(2)))
    assert [each for each in news(effects) if isinstance(each, PlanSettled)]


def test_an_earlier_panel_is_not_followed(rig: Rig) -> None:
    later = Panel(version=PanelVersion(3), floor=PanelVersion(2), sets=(frozenset({A, B, C}),))
    rig.plan(panel=later)
    rig.plan(panel=PANEL)
    assert rig.beat.panel == later


def test_what_cannot_be_opened_is_tried_again_with_the_next_renewal(rig: Rig) -> None:
    rig.plan(active={R1: Epoch(1)})
    assert rig.do(Activated(routers=(R1,), reason="no memory")) == []
    effects = rig.tick(DEFAULT.interval_s)
    assert [each.routers for each in effects if isinstance(each, Activate)] == [{R1: 1}]


# Takeovers


def test_a_takeover_opens_all_of_a_tenure_at_once_and_tells_its_times(rig: Rig) -> None:
    rig.plan(rights={R1: right(5), R2: right(6)})
    (activate,) = rig.take_over()
    assert isinstance(activate, Activate)
    assert (activate.routers, activate.cause) == ({R1: 5, R2: 6}, DEAD)
    opened = rig.do(Activated(routers=(R1, R2)))
    assert opened[0] == Announce(routers=(R1, R2), cause=DEAD)
    (told,) = news(opened)
    assert isinstance(told, TookOver)
    assert (told.number, told.of, told.times.buried, told.times.opened) == (1, DEAD, rig.now, rig.now)


def test_a_plan_that_has_not_heard_of_a_takeover_does_not_undo_it(rig: Rig) -> None:
    rig.plan(rights={R1: right(5)})
    rig.take_over()
    rig.do(Activated(routers=(R1,)))
    assert rig.beat.takeovers == 1
    effects = rig.plan(revision=Revision(2), heard=0)
    assert news(effects) == [PlanSettled(revision=Revision(2))]
    assert rig.beat.forwarding == {R1: 5}
    assert any(isinstance(each, Deactivate) for each in rig.plan(revision=Revision(3), heard=1))


def test_a_plan_that_had_not_heard_again_after_one_that_had_undoes_nothing_either(rig: Rig) -> None:
    rig.plan(rights={R1: right(5)})
    rig.take_over()
    rig.do(Activated(routers=(R1,)))
    rig.plan(heard=1, active={R1: Epoch(5)})
    rig.plan(heard=0)
    assert rig.beat.forwarding == {R1: 5}


def test_a_right_that_was_used_and_is_still_given_by_a_plan_that_heard_of_it_is_not_used_again(rig: Rig) -> None:
    """Else nobody would ever hear of that takeover, which opens nothing, and no plan could undo it."""
    rig.plan(rights={R1: right(5)})
    rig.take_over()
    rig.do(Activated(routers=(R1,)))
    rig.plan(heard=1, rights={R1: right(5)})
    assert (rig.beat.takeovers, rig.beat.forwarding) == (1, {R1: 5})
    taken = rig.plan(heard=1)
    assert [each.routers for each in taken if isinstance(each, Deactivate)] == [(R1,)]


def test_a_right_is_gone_with_its_incarnation(rig: Rig) -> None:
    rig.plan(rights={R1: right(5)})
    rig.tick(L)
    rig.do(Withdrawn())
    rig.do(Reborn(incarnation=Incarnation(2)))
    rig.me = Tenure(ME, Incarnation(2))
    assert rig.say(DatagramKind.SILENT, A, DEAD) == []
    assert rig.say(DatagramKind.SILENT, B, DEAD) == []
    assert rig.beat.counters.useless_hints == 2


def test_an_older_epoch_than_what_is_active_is_not_acted_on(rig: Rig) -> None:
    rig.plan(active={R1: Epoch(5)})
    rig.do(Activated(routers=(R1,)))
    rig.plan(active={R1: Epoch(4)})
    assert rig.beat.forwarding == {R1: 5}
    assert rig.beat.counters.older_epochs == 1


# Rhythm, clock, and who is not heard


def test_renewals_keep_their_rate_although_each_is_late(rig: Rig) -> None:
    late_s = 0.2 * DEFAULT.interval_s
    due = rig.beat._next_renewal
    for number in range(1, 11):
        rig.now = rig.beat._next_renewal + late_s
        rig.tick()
        assert rig.beat._next_renewal == pytest.approx(due + number * DEFAULT.interval_s)
    rig.now = rig.beat._next_renewal + 3.5 * DEFAULT.interval_s
    rig.tick()
    assert rig.beat._next_renewal == pytest.approx(rig.now + DEFAULT.interval_s), "missed ones are not made up for"


def test_with_a_clock_that_runs_wrong_it_asks_for_nothing_and_its_lease_runs_out(rig: Rig) -> None:
    rig.do(WRONG)
    assert rig.say(DatagramKind.GRANT, A, rig.me, seq=1) == []
    assert rig.beat.counters.untimed == 1
    sent = rig.tick(DEFAULT.interval_s)
    assert not [each for each in sent if isinstance(each, Send)]
    assert rig.beat.tenure == rig.me, "what was promised by the clock as it was goes on"
    assert any(isinstance(each, Fenced) for each in news(rig.tick(L)))
    rig.do(Withdrawn())
    rig.do(Reborn(incarnation=Incarnation(2)))
    assert not [each for each in rig.tick(DEFAULT.interval_s) if isinstance(each, Send)]
    rig.do(RIGHT)
    assert [each for each in rig.tick(DEFAULT.interval_s) if isinstance(each, Send)]


def test_with_a_clock_that_runs_wrong_it_claims_nobody(rig: Rig) -> None:
    rig.plan(rights={R1: right(5)})
    rig.say(DatagramKind.SILENT, A, DEAD)
    rig.do(WRONG)
    assert rig.say(DatagramKind.SILENT, B, DEAD) == []
    rig.do(RIGHT)
    assert not news(rig.say(DatagramKind.SILENT, B, DEAD)), "what was hinted before counts no more"
    assert news(rig.say(DatagramKind.SILENT, A, DEAD))


def test_it_says_once_of_each_arbiter_that_its_panel_is_stale(rig: Rig) -> None:
    assert news(rig.say(DatagramKind.STALE, A, rig.me, seq=1)) == [PanelStale(arbiter=A)]
    assert rig.say(DatagramKind.STALE, A, rig.me, seq=2) == []


def test_strangers_and_other_timings_are_counted_and_not_heard(rig: Rig) -> None:
    assert rig.say(DatagramKind.GRANT, HostName("x"), rig.me, seq=1) == []
    assert rig.say(DatagramKind.RENEW, A, Tenure(A, Incarnation(1)), seq=1, lease_s=9.0) == []
    assert (rig.beat.counters.strangers, rig.beat.counters.other_timings) == (1, 1)


# A panel that begins anew


def anew(*arbiters: HostName) -> Panel:
    return Panel(version=PanelVersion(3), floor=PanelVersion(3), sets=(frozenset(arbiters),))


def test_a_lease_by_arbiters_of_before_ends_with_a_panel_that_begins_anew(rig: Rig) -> None:
    """They were confirmed to be off, came back, and granted each other: nobody of the new panel knows of that."""
    rig.plan(active={R1: Epoch(1)})
    rig.do(Activated(routers=(R1,)))
    effects = rig.plan(active={R1: Epoch(1)}, panel=anew(ME))
    assert isinstance(news(effects)[0], Fenced)
    assert any(isinstance(each, Withdraw) for each in effects)
    assert (rig.beat.forwarding, rig.beat.panel, rig.beat.settled) == ({}, anew(ME), None)
    assert rig.do(Withdrawn()) == [NeedIncarnation(after=Incarnation(1))]


def test_whoever_holds_no_lease_follows_it_and_goes_on() -> None:
    rig = Rig(me=A)
    rig.tick()
    rig.do(Withdrawn())
    rig.tick(DEFAULT.quiet_s)
    assert rig.beat.tenure is None, "of three arbiters it is one"
    rig.tick(DEFAULT.interval_s)
    effects = rig.plan(panel=anew(A))
    assert news(effects)[0] == LeaseHeld(tenure=rig.me), "what it granted itself is a majority now"
    assert rig.beat.settled == 1


def test_what_was_taken_over_unheard_is_open_before_a_plan_without_it_is_acknowledged() -> None:
    """An opening that failed is tried again: nobody may hear in between that it is not open here, by that plan."""
    rig = Rig()
    rig.hold()
    rig.plan(rights={R1: right(2)})
    rig.take_over()
    rig.do(Activated(routers=(R1,), reason="no memory"))
    settled = PlanSettled(revision=Revision(2))
    assert settled not in news(rig.plan(revision=Revision(2), heard=0))
    assert settled not in news(rig.tick(DEFAULT.interval_s)), "it is opening"
    assert settled not in news(rig.do(Activated(routers=(R1,), reason="no memory")))
    rig.tick(DEFAULT.interval_s)
    assert settled in news(rig.do(Activated(routers=(R1,))))
