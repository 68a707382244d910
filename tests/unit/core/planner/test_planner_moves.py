"""Moves from hosts that live: the old one lets go first. What operators ask for, and drains."""

import pytest
from planner_rig import ACTIVE, BUILDING, FAILED, REMOVED, Rig, facts, needs

from gapless.core.effects import Bind, PublishPlan, StoreWithdrawal
from gapless.core.events import WithdrawalFailed
from gapless.core.ledger.fleet import DRAINS_AT_ONCE
from gapless.core.planner import placement
from gapless.model.host import AgentState, HostName
from gapless.model.plan import Epoch, MoveStep, RouterReport
from gapless.model.router import FailoverMode, RouterId

# Leaving a living host


def test_the_new_host_hears_of_a_router_when_the_old_one_has_let_go_and_that_is_stored() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.forget()
    rig.move("r1", "h2")
    assert (rig.plan("h1"), rig.plan("h2")) == ({}, {})
    assert rig.store.bindings[RouterId("r1")].leaving == "h1"
    rig.answers = False
    rig.say("h1", "r1", REMOVED)
    assert rig.plan("h2") == {}
    rig.answer(rig.unanswered[0])
    assert rig.plan("h2") == {"r1": 2}
    assert rig.store.bindings[RouterId("r1")].leaving is None
    kinds = [type(effect) for effect in rig.said if isinstance(effect, Bind | StoreWithdrawal | PublishPlan)]
    assert kinds == [Bind, PublishPlan, StoreWithdrawal, PublishPlan]


def test_a_report_from_before_the_plan_changed_proves_nothing() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    before = rig.planner.plan_version(HostName("h1"))
    rig.move("r1", "h2")
    rig.report("h1", full=True, plan_version=before)
    removed = RouterReport(router_id=RouterId("r1"), epoch=Epoch(1), state=REMOVED)
    rig.report("h1", removed, plan_version=before)
    rig.report("h1", full=True, plan_version=0)
    assert rig.state("r1") == "withdrawing"
    still_there = RouterReport(router_id=RouterId("r1"), epoch=Epoch(1), state=BUILDING)
    rig.report("h1", still_there, full=True)
    assert rig.state("r1") == "withdrawing"
    rig.report("h1", full=True)
    assert rig.plan("h2") == {"r1": 2}


def test_a_host_that_dies_need_not_let_go() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.move("r1", "h2")
    rig.pass_time(150, heard=["h2"])
    assert rig.plan("h2") == {"r1": 2}
    assert MoveStep.WITHDRAWN not in rig.steps("r1", 2)


def test_the_new_host_dies_before_the_old_one_has_let_go() -> None:
    rig = Rig("h1", "h2", "h3")
    rig.want("r1")
    rig.move("r1", "h2")
    for _ in range(16):
        rig.pass_time(10, heard=["h3"])
        rig.report("h1", agent=AgentState.RESTARTING)
    assert (rig.host("r1"), rig.epoch("r1"), rig.state("r1")) == ("h3", 3, "withdrawing")
    assert rig.store.bindings[RouterId("r1")].leaving == "h1"
    rig.report("h1", full=True)
    assert rig.plan("h3") == {"r1": 3}


def test_both_hosts_of_a_move_die() -> None:
    rig = Rig("h1", "h2", "h3", "h4")
    rig.want("r1")
    rig.move("r1", "h2")
    rig.pass_time(151, heard=["h3", "h4"])
    assert rig.plan("h3") == {"r1": 3}


def test_a_router_may_go_back_to_the_host_that_has_not_let_go_yet() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.move("r1", "h2")
    for _ in range(16):
        rig.pass_time(10)
        rig.report("h1", agent=AgentState.RESTARTING)
    assert rig.state("r1") == "waiting"
    rig.report("h1")
    assert rig.plan("h1") == {"r1": 3}
    assert rig.state("r1") == "planned"


def test_a_withdrawal_that_cannot_be_stored_is_stored_later() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.move("r1", "h2")
    rig.answers = False
    rig.say("h1", "r1", REMOVED)
    (asked,) = rig.unanswered
    rig.unanswered.clear()
    failed = WithdrawalFailed(id="lost", router_id=asked.router_id, epoch=asked.epoch, reason="the disk is full")
    rig.handle(failed)
    assert rig.plan("h2") == {}
    assert rig.reason("r1") == "that h1 has let go of it could not be stored (the disk is full); tried again soon"
    rig.pass_time(2, heard=["h1", "h2"])
    rig.answer(rig.unanswered[0])
    assert rig.plan("h2") == {"r1": 2}


def test_an_operators_request_is_granted_or_refused() -> None:
    rig = Rig("h1", facts("h2", capacity=0), "h3")
    rig.want("r1")
    rig.forget()
    rig.move("r1", "h2")
    refusal = "an operator asked to move it to h2; refused, since no host can take it: h2 carries no routers"
    assert rig.explanations("r1") == [refusal]
    rig.pass_time(5, heard=["h1", "h2", "h3"])
    assert rig.reason("r1") == refusal, "it can still be read"
    assert rig.host("r1") == "h1"
    rig.move("r1", "h9")
    assert rig.reason("r1").endswith("no host h9 is known")
    rig.move("r1", "h1")
    assert rig.explanations("r1")[-1] == ""
    rig.move("r1", None)
    assert rig.host("r1") == "h3"
    assert rig.all_said(Bind)[0].reason == "An operator asked to move router r1 away from h1"


@pytest.mark.parametrize("named", ["h1", "h3"])
def test_what_an_operator_asks_for_while_a_move_is_being_stored_comes_next(named: str) -> None:
    """Also if it is to stay where it is: by then it is on its way."""
    rig = Rig("h1", "h2", "h3")
    rig.want("r1")
    rig.answers = False
    rig.move("r1", "h2")
    rig.move("r1", named)
    rig.answers = True
    rig.answer(rig.unanswered[0])
    rig.say("h1", "r1", REMOVED)
    rig.say("h2", "r1", ACTIVE)
    rig.say("h2", "r1", REMOVED)
    assert [each.host for each in rig.all_said(Bind)][1:] == ["h2", named]


def test_what_waits_until_its_host_can_let_go_is_taken_back_by_asking_for_that_host() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.report("h1", agent=AgentState.RESTARTING)
    rig.move("r1", "h2")
    assert rig.reason("r1") == "it should leave h1, but that host has no running agent, so it stays"
    rig.move("r1", "h1")
    rig.report("h1")
    assert (rig.host("r1"), rig.explanations("r1")[-1]) == ("h1", "")


def test_what_was_asked_for_is_done_when_it_is_bound_there() -> None:
    rig = Rig("h1", "h2", "h3")
    rig.want("r1")
    rig.move("r1", "h2")
    rig.say("h1", "r1", REMOVED)
    rig.say("h2", "r1", ACTIVE)
    rig.pass_time(5, heard=["h1", "h2", "h3"])
    assert [each.host for each in rig.all_said(Bind)][1:] == ["h2"]


def test_an_operator_may_name_the_first_host() -> None:
    rig = Rig("h1", "h2")
    rig.set_admin_up("h1", False)
    rig.set_admin_up("h2", False)
    rig.want("r1")
    assert rig.state("r1") == "unplaced"
    rig.set_admin_up("h1", True)
    assert rig.host("r1") == "h1"


def test_a_returning_host_that_lets_go_before_the_new_binding_is_stored_is_not_asked_again() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.answers = False
    rig.pass_time(150, heard=["h2"])
    bind = rig.all_said(Bind)[-1]
    assert (bind.previous_host, bind.host) == ("h1", "h2")
    rig.join("h1")
    rig.say("h1", "r1", REMOVED)
    rig.answers = True
    rig.answer(bind)
    assert rig.plan("h2") == {"r1": 2}
    assert rig.plan("h1") == {}


# Drain


def test_a_drained_host_loses_its_routers_a_few_at_a_time() -> None:
    rig = Rig("h1", "h2")
    rig.set_admin_up("h2", False)
    rig.want(*(f"r{number:02}" for number in range(10)))
    rig.set_admin_up("h2", True)
    rig.forget()
    rig.set_admin_up("h1", False)
    assert len(rig.all_said(Bind)) == DRAINS_AT_ONCE
    assert rig.standings("h1") == ["draining"]
    assert rig.reason("r09") == "h1 is taken out of service; 4 routers leave it at a time"
    for number in range(10):
        under_way = [bind.router_id for bind in rig.all_said(Bind)]
        assert len(under_way) == min(10, DRAINS_AT_ONCE + number)
        rig.say("h1", under_way[number], REMOVED)
        rig.say("h2", under_way[number], ACTIVE)
    assert rig.plan("h2").keys() == {f"r{number:02}" for number in range(10)}
    assert rig.standings("h1") == ["draining", "drained"]
    rig.forget()
    rig.set_admin_up("h1", True)
    rig.pass_time(100, heard=["h1", "h2"])
    assert rig.all_said(Bind) == [], "nothing moves back by itself"


def test_a_drained_router_that_nobody_else_can_take_stays() -> None:
    rig = Rig("h1", facts("h2", physical_networks=("external",)))
    rig.want(needs("r1", physical_networks=frozenset({"external"})))
    rig.set_admin_up("h2", False)
    assert rig.plan("h2") == {"r1": 1}
    assert rig.reason("r1") == (
        "h2 is taken out of service, but no other host can take it: h1 is not plugged into external"
    )
    rig.set_admin_up("h2", True)
    assert rig.explanations("r1")[-1] == ""


def test_a_failing_new_host_does_not_block_a_drain() -> None:
    rig = Rig("h1", "h2", "h3")
    rig.set_admin_up("h2", False)
    rig.set_admin_up("h3", False)
    rig.want(*(f"r{number}" for number in range(6)))
    rig.set_admin_up("h2", True)
    rig.set_admin_up("h1", False)
    for number in range(4):
        rig.say("h1", f"r{number}", REMOVED)
        rig.say("h2", f"r{number}", FAILED, "it cannot")
    assert {rig.host(f"r{number}") for number in range(6)} == {"h2"}


def test_mode_off_is_drained_but_not_retried() -> None:
    rig = Rig("h1", "h2")
    rig.want(needs("r1", FailoverMode.OFF))
    rig.say("h1", "r1", FAILED, "it broke")
    assert rig.reason("r1") == "h1 cannot run it (it broke) and goes on trying; this router's failover mode is off"
    rig.set_admin_up("h1", False)
    assert rig.host("r1") == "h2"


# Size


def test_a_mass_move_looks_at_each_host_a_few_times_and_spreads_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: 2,000 routers among 50 hosts must not cost 100,000 looks."""
    rig = Rig("h00", *(f"h{number:02}" for number in range(1, 51)))
    for number in range(1, 51):
        rig.set_admin_up(f"h{number:02}", False)
    rig.want(*(f"r{number:04}" for number in range(300)))
    for number in range(1, 51):
        rig.set_admin_up(f"h{number:02}", True)
    looks = 0
    look = placement.objection

    def counted(*arguments: object, **more: object) -> str:
        nonlocal looks
        looks += 1
        return look(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(placement, "objection", counted)
    rig.forget()
    rig.pass_time(150, heard=[f"h{number:02}" for number in range(1, 51)])
    assert len(rig.all_said(Bind)) == 300
    assert looks <= 2 * 51
    loads = [view.routers for name, view in rig.planner.host_views(rig.now).items() if name != "h00"]
    assert set(loads) == {6}


def test_a_router_that_waits_is_healthy_as_long_as_its_host_is_heard() -> None:
    """By this the API tells a drained host's router, which forwards, from a dead host's (`api.router_status`)."""
    rig = Rig("h1")
    rig.want("r1")
    rig.say("h1", "r1", ACTIVE)
    rig.set_admin_up("h1", admin_up=False)
    view = rig.planner.router_view(RouterId("r1"))
    assert view is not None
    assert (view.state, view.health) == ("waiting", "healthy")
    rig.pass_time(151)
    view = rig.planner.router_view(RouterId("r1"))
    assert view is not None
    assert (view.state, view.health) == ("waiting", "")
