"""What a successor did is recorded with its own times, and never undone."""

from dataclasses import replace

import pytest
from planner_rig import facts
from standby_rig import TIMES, StandbyRig, binds, tenure, three, two

from gapless.core.effects import Bind, PublishPlan, RecordStep, ReportHost
from gapless.core.events import HostDisconnected
from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.planner.leaseless import CALM_S
from gapless.model.host import HostName
from gapless.model.plan import Epoch, MoveKind, MoveStep, Takeover
from gapless.model.router import RouterId


def test_a_takeover_is_recorded_with_the_successor_s_own_times() -> None:
    rig = two()
    rig.take_over("h2", "r1", tenure("h1"))
    (bind,) = rig.all_said(Bind)
    assert (bind.host, bind.kind, bind.epoch, bind.leaving_host) == ("h2", MoveKind.TAKEOVER, 2, None)
    assert bind.reason == "h2 took over router r1: the lease of h1@1 is over"
    assert [each.step for each in rig.all_said(RecordStep)] == [MoveStep.CONFIRMED], "the others come with the binding"
    steps = rig.steps("r1", 2)
    assert {step: round(ago, 3) for step, ago in steps.items() if step is not MoveStep.CONFIRMED} == {
        MoveStep.GRANTED: 0.300,
        MoveStep.MISSED: 0.250,
        MoveStep.SILENT: 0.050,
        MoveStep.DECIDED: 0.049,
        MoveStep.BURIED: 0.047,
        MoveStep.OPENED: 0.046,
        MoveStep.ANNOUNCED: 0.020,
    }
    assert MoveStep.CONFIRMED in steps
    assert (rig.host("r1"), rig.epoch("r1"), rig.state("r1")) == ("h2", 2, "active")


OPENED = replace(TIMES, announced_ms=None, told_ms=210)
"""A takeover as it is told at once; `TIMES` is of the same one, told once more when it was announced."""


def announced(rig: StandbyRig) -> list[float]:
    """How long ago, each time it was recorded."""
    steps = [each for each in rig.all_said(RecordStep) if each.router_id == "r1" and each.step is MoveStep.ANNOUNCED]
    assert all(each.epoch == 2 for each in steps)
    return [round(each.ago_s, 3) for each in steps]


def test_a_takeover_is_recorded_before_it_is_announced_and_then_its_announcement_once() -> None:
    rig = two()
    rig.take_over("h2", "r1", tenure("h1"), times=OPENED)
    assert MoveStep.OPENED in rig.steps("r1", 2)
    assert announced(rig) == []
    rig.now += 0.04
    for _ in range(2):
        rig.take_over("h2", "r1", tenure("h1"))
    assert announced(rig) == [0.020]
    assert len(rig.all_said(Bind)) == 1


def test_the_first_packet_is_recorded_when_it_is_told_once_and_after_the_rest() -> None:
    rig = two()
    rig.take_over("h2", "r1", tenure("h1"), times=OPENED)
    rig.now += 0.04
    rig.take_over("h2", "r1", tenure("h1"))
    assert MoveStep.FORWARDED not in rig.steps("r1", 2)
    rig.now += 0.01
    for _ in range(2):
        rig.take_over("h2", "r1", tenure("h1"), times=replace(TIMES, forwarded_ms=240, told_ms=260))
    forwarded = [each for each in rig.all_said(RecordStep) if each.step is MoveStep.FORWARDED]
    assert [(each.router_id, each.epoch, round(each.ago_s, 3)) for each in forwarded] == [("r1", 2, 0.020)]
    assert announced(rig) == [0.020]


def test_what_is_told_before_the_takeover_is_stored_is_recorded_with_it_once() -> None:
    rig = two()
    rig.answers = False
    rig.take_over("h2", "r1", tenure("h1"), times=OPENED)
    whole = replace(TIMES, forwarded_ms=240)
    rig.take_over("h2", "r1", tenure("h1"), times=whole)
    rig.answers = True
    for effect in list(rig.unanswered):
        rig.answer(effect)
    rig.take_over("h2", "r1", tenure("h1"), times=whole)
    steps = [each.step for each in rig.all_said(RecordStep) if each.router_id == "r1" and each.epoch == 2]
    assert steps.count(MoveStep.FORWARDED) == steps.count(MoveStep.ANNOUNCED) == 1


def test_an_announcement_that_is_heard_before_the_takeover_is_stored_is_recorded_with_it() -> None:
    rig = two()
    rig.answers = False
    rig.take_over("h2", "r1", tenure("h1"), times=OPENED)
    rig.now += 0.04
    rig.take_over("h2", "r1", tenure("h1"))
    assert announced(rig) == []
    rig.answers = True
    for effect in list(rig.unanswered):
        rig.answer(effect)
    assert announced(rig) == [0.020]
    rig.take_over("h2", "r1", tenure("h1"))
    assert announced(rig) == [0.020]


@pytest.mark.parametrize("is_stored_late", [False, True])
def test_a_takeover_of_which_only_the_opening_was_heard_at_first_has_all_of_its_steps(is_stored_late: bool) -> None:
    """A report may go between the beat's word that a router is open and the one of the takeover."""
    rig = two()
    rig.answers = not is_stored_late
    epoch = rig.duty("h2", "r1").epoch
    rig.open["h2"][RouterId("r1")] = epoch
    rig.guard("h2")
    assert rig.steps("r1", 2).keys() <= {MoveStep.DECIDED, MoveStep.CONFIRMED}, "when it was heard: a guess"
    rig.now += 0.005
    took = Takeover(router_id=RouterId("r1"), epoch=epoch, of=tenure("h1"), times=OPENED)
    for _ in range(2):
        rig.guard("h2", took=(took,))
    rig.answers = True
    for write in list(rig.unanswered):
        rig.answer(write)
    rig.now += 0.04
    for _ in range(2):
        rig.guard("h2", took=(replace(took, times=TIMES),))
    known = [each for each in rig.all_said(RecordStep) if each.step is not MoveStep.CONFIRMED]
    told = {each.step: round(each.ago_s, 3) for each in known}
    assert len(known) == len(told), "each once"
    assert told == {
        MoveStep.GRANTED: 0.260,
        MoveStep.MISSED: 0.210,
        MoveStep.SILENT: 0.010,
        MoveStep.DECIDED: 0.009,
        MoveStep.BURIED: 0.007,
        MoveStep.OPENED: 0.006,
        MoveStep.ANNOUNCED: 0.020,
    }


@pytest.mark.parametrize("is_stored_late", [False, True])
def test_a_takeover_that_is_told_late_was_open_when_that_was_heard(is_stored_late: bool) -> None:
    """Its word is 40 ms on its way, and the one before, that the router is open, was none."""
    rig = two()
    rig.answers = not is_stored_late
    epoch = rig.duty("h2", "r1").epoch
    rig.open["h2"][RouterId("r1")] = epoch
    rig.guard("h2")
    heard_at = rig.now
    rig.now += 0.045
    rig.guard("h2", took=(Takeover(router_id=RouterId("r1"), epoch=epoch, of=tenure("h1"), times=OPENED),))
    rig.answers = True
    for write in list(rig.unanswered):
        rig.answer(write)
    at = {step: rig.now - ago_s for step, ago_s in rig.steps("r1", 2).items()}
    assert at[MoveStep.OPENED] == pytest.approx(heard_at)
    assert at[MoveStep.MISSED] == pytest.approx(heard_at - 0.204)


def test_a_host_of_an_older_release_does_not_say_when_it_was_granted_last() -> None:
    rig = two()
    rig.take_over("h2", "r1", tenure("h1"), times=replace(TIMES, granted_ms=None))
    steps = rig.steps("r1", 2)
    assert MoveStep.GRANTED not in steps
    assert round(steps[MoveStep.MISSED], 3) == 0.250


WHOLE = replace(TIMES, forwarded_ms=240, told_ms=260)
"""The same once more; by its own clock, 50 ms after it was told at once."""


@pytest.mark.parametrize("is_stored_late", [False, True])
def test_a_second_word_that_was_quicker_on_its_way_puts_no_step_before_those_of_the_first(
    is_stored_late: bool,
) -> None:
    """The first took 49 ms longer: by when it was heard, the router was opened later than announced by the second."""
    rig = two()
    rig.answers = not is_stored_late
    rig.take_over("h2", "r1", tenure("h1"), times=OPENED)
    (bind,) = rig.all_said(Bind)
    at = {step: rig.now - ago_s for step, ago_s in rig.steps("r1", 2).items()}
    rig.now += 0.001
    rig.forget()
    rig.take_over("h2", "r1", tenure("h1"), times=WHOLE)
    if is_stored_late:
        rig.answers = True
        rig.answer(bind)
    at |= {step: rig.now - ago_s for step, ago_s in rig.steps("r1", 2).items()}
    told = [at[step] for step in (MoveStep.MISSED, MoveStep.SILENT, MoveStep.DECIDED, MoveStep.BURIED, MoveStep.OPENED)]
    assert [round((each - told[0]) * 1000, 3) for each in told] == [0, 200, 201, 203, 204]
    assert at[MoveStep.OPENED] <= at[MoveStep.ANNOUNCED] <= rig.now
    assert at[MoveStep.OPENED] <= at[MoveStep.FORWARDED] <= rig.now


def test_an_announcement_by_another_host_or_of_another_epoch_is_none_of_this_takeover() -> None:
    rig = two()
    rig.take_over("h2", "r1", tenure("h1"), times=OPENED)
    said = Takeover(router_id=RouterId("r1"), epoch=Epoch(2), of=tenure("h1"), times=TIMES)
    rig.guard("h1", took=(said,))
    rig.guard("h2", took=(replace(said, epoch=Epoch(1)),))
    rig.guard("h2", took=(replace(said, router_id=RouterId("unknown")),))
    assert announced(rig) == []


def test_what_a_dead_host_had_is_looked_at_once_however_much_of_it_was_taken_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = StandbyRig("h1", "h2")
    rig.set_admin_up("h2", admin_up=False)
    routers = [f"r{number}" for number in range(10, 22)]
    rig.protect(*routers)
    rig.settle("h1")
    rig.set_admin_up("h2", admin_up=True)
    for _ in range(4):
        rig.pass_time(1)
        rig.settle("h1", "h2")
    looked: list[str] = []
    lease_changed = Ledger.lease_changed

    def count(ledger: Ledger, host: Host) -> None:
        looked.append(host.name)
        lease_changed(ledger, host)

    monkeypatch.setattr(Ledger, "lease_changed", count)
    took = tuple(
        Takeover(router_id=RouterId(each), epoch=rig.duty("h2", each).epoch, of=tenure("h1"), times=TIMES)
        for each in routers
    )
    rig.open["h2"] = {each.router_id: each.epoch for each in took}
    rig.guard("h2", took=took)
    assert {rig.host(each) for each in routers} == {"h2"}
    assert looked == ["h1"]


def test_no_plan_that_knows_of_a_takeover_undoes_it_stored_or_not() -> None:
    rig = two()
    rig.answers = False
    rig.take_over("h2", "r1", tenure("h1"))
    assert rig.role("h2", "r1") == "active at 1"
    assert rig.role("h1", "r1") == "built"
    assert rig.planner.heard(HostName("h2"), rig.sessions["h2"]) == rig.numbers["h2"]
    assert [each.host for each in rig.all_said(PublishPlan)] == ["h2", "h1"]


def test_a_takeover_that_cannot_be_stored_stays_true() -> None:
    rig = two()
    rig.store.is_failing = True
    rig.take_over("h2", "r1", tenure("h1"))
    assert rig.role("h2", "r1") == "active at 1"
    rig.store.is_failing = False
    rig.pass_time(5, heard=("h1", "h2"))
    assert (rig.host("r1"), rig.epoch("r1")) == ("h2", 2)


def test_a_controller_that_was_away_learns_of_it_from_what_is_open() -> None:
    rig = two()
    rig.restart()
    rig.open["h2"][RouterId("r1")] = rig.duty("h2", "r1").epoch
    rig.connect(facts("h2", lease_address="h2:9698"))
    assert rig.role("h2", "r1") == "may succeed h1@1", "a plan that has not heard of it"
    rig.guard("h2")
    assert binds(rig)[-1] == ("h2", MoveKind.TAKEOVER)
    assert rig.role("h2", "r1") == "active at 1"


def test_what_was_said_in_an_older_connection_is_not_heard() -> None:
    rig = two()
    rig.connect(facts("h2", lease_address="h2:9698"))
    rig.sessions["h2"] -= 1
    rig.take_over("h2", "r1", tenure("h1"))
    assert rig.host("r1") == "h1"
    assert rig.planner.heard(HostName("h2"), rig.sessions["h2"] + 1) == 0


def test_a_takeover_without_a_right_is_not_believed() -> None:
    rig = three()
    rig.open["h3"][RouterId("r1")] = 2  # type: ignore[assignment]
    rig.guard("h3")
    assert rig.host("r1") == "h1"


def test_a_successor_that_was_fenced_before_it_could_say_so_took_over_and_is_over() -> None:
    rig = two()
    said = Takeover(router_id=RouterId("r1"), epoch=rig.duty("h2", "r1").epoch, of=tenure("h1"), times=TIMES)
    rig.restart()
    rig.incarnations["h2"], rig.open["h2"] = 2, {}
    rig.connect(facts("h2", lease_address="h2:9698"))
    rig.guard("h2", took=(said,))
    assert not [each for each in rig.all_said(ReportHost) if "old copy" in each.reason]
    rig.restart_host("h1")
    rig.settle("h1", "h2")
    assert binds(rig)[-1] == ("h1", MoveKind.RESTART)
    assert (rig.state("r1"), rig.epoch("r1")) == ("active", 2)


def test_an_epoch_that_no_right_explains_is_wondered_at() -> None:
    rig = two()
    rig.open["h2"][RouterId("r1")] = Epoch(7)
    rig.guard("h2")
    assert any("was the database restored from an old copy?" in each.reason for each in rig.all_said(ReportHost))


def test_there_is_no_fail_back_and_the_host_that_returns_stands_by() -> None:
    rig = three()
    rig.take_over("h2", "r1", tenure("h1"))
    assert rig.standby("r1") == (None, ""), "nothing is built right after a takeover"
    assert rig.role("h1", "r1") == "built"
    rig.restart_host("h1")
    rig.settle("h1", "h2", "h3")
    assert (rig.host("r1"), rig.standby("r1")) == ("h2", ("h1", "ready"))


def test_a_host_that_does_not_return_is_replaced_as_standby_when_things_are_calm() -> None:
    rig = three()
    rig.handle(HostDisconnected(id="gone", host=HostName("h1")))
    rig.take_over("h2", "r1", tenure("h1"))
    rig.pass_time(CALM_S - 1)
    assert rig.standby("r1") == (None, "")
    rig.pass_time(2)
    assert rig.standby("r1")[0] == "h3"
    assert rig.role("h1", "r1") == "nothing"
