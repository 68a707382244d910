"""Moves from living hosts, hosts that fail, stores that fail, and the record of it all."""

from itertools import pairwise

import pytest
from planner_rig import ACTIVE, BUILDING, FAILED, REMOVED, Rig, facts, needs

from gapless.core import placement
from gapless.core.effects import Bind, PublishPlan, RecordStep, StoreWithdrawal
from gapless.core.events import (
    BindingFailed,
    BindingStored,
    HostConnected,
    RouterDeleted,
    RouterWanted,
    WithdrawalFailed,
)
from gapless.core.planner import DRAINS_AT_ONCE
from gapless.errors import InvariantError
from gapless.model.host import AgentState, HostName, Incarnation
from gapless.model.plan import Epoch, MoveKind, MoveStep, RouterReport
from gapless.model.router import FailoverMode, RouterId

# A host that fails


def test_a_router_whose_new_host_fails_goes_to_another() -> None:
    rig = Rig("h1", "h2", "h3")
    rig.want("r1")
    rig.pass_time(150, heard=["h2", "h3"])
    rig.forget()
    rig.say("h2", "r1", FAILED, "no such device")
    assert MoveStep.FAILED in rig.steps("r1", 2)
    (bind,) = rig.all_said(Bind)
    assert (bind.host, bind.epoch, bind.kind, bind.leaving_host) == ("h3", 3, MoveKind.RETRY, "h2")
    assert rig.explanations("r1") == [
        "Router r1 leaves h2, which cannot run it: no such device; h3 takes it",
        "waits until h2 says that nothing of it is left there",
    ]
    assert MoveStep.SUPERSEDED not in rig.steps("r1", 2), "it failed, which says more"
    rig.say("h2", "r1", REMOVED)
    assert rig.plan("h3") == {"r1": 3}
    assert rig.host("r1") == "h3"


def test_how_a_router_is_by_its_hosts_last_word_while_that_host_is_heard() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")

    def health() -> tuple[str, str]:
        view = rig.planner.router_views()[RouterId("r1")]
        return view.health, view.ailment

    home = rig.host("r1") or ""
    rig.say(home, "r1", BUILDING)
    assert health() == ("", "")
    rig.say(home, "r1", ACTIVE)
    assert health() == ("healthy", "")
    report = RouterReport(
        router_id=RouterId("r1"), epoch=rig.epoch("r1"), state=ACTIVE, ailment="it could not be repaired yet: no memory"
    )
    rig.report(home, report)
    assert health() == ("degraded", "it could not be repaired yet: no memory")
    assert rig.host("r1") == home
    rig.pass_time(100, heard=())
    assert health() == ("", "")


def test_a_router_that_no_other_host_can_take_stays_and_is_retried_there() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.pass_time(150, heard=["h2"])
    rig.say("h2", "r1", FAILED, "no such device")
    assert rig.host("r1") == "h2"
    assert rig.reason("r1") == (
        "h2 cannot run it (no such device) and goes on trying; no other host can take it: h1 is dead"
    )
    rig.forget()
    rig.say("h2", "r1", BUILDING)
    assert rig.state("r1") == "failed", "what failed has failed until it is active"
    assert rig.explanations("r1") == []
    rig.say("h2", "r1", ACTIVE)
    assert rig.state("r1") == "active"
    assert rig.explanations("r1") == [""]
    assert MoveStep.CONFIRMED in rig.steps("r1", 2)


def test_a_router_that_had_long_been_active_moves_as_well() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.pass_time(1000, heard=["h1", "h2"])
    rig.forget()
    rig.say("h1", "r1", FAILED, "the namespace cannot be repaired")
    assert [bind.kind for bind in rig.all_said(Bind)] == [MoveKind.RETRY]
    assert rig.steps("r1", 1) == {}, "the move that brought it here was confirmed long ago"


def test_a_router_does_not_return_to_a_host_that_failed_until_a_while_has_passed() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.say("h1", "r1", FAILED)
    rig.say("h1", "r1", REMOVED)
    assert rig.plan("h2") == {"r1": 2}
    rig.say("h2", "r1", FAILED)
    assert rig.reason("r1").endswith("h1 could not run it a short while ago")
    rig.pass_time(29, heard=["h1", "h2"])
    assert rig.host("r1") == "h2"
    rig.pass_time(2, heard=["h1", "h2"])
    assert rig.host("r1") == "h1"
    rig.say("h2", "r1", REMOVED)
    rig.say("h1", "r1", FAILED)  # h1 for the second time: it is avoided for twice as long.
    rig.pass_time(35, heard=["h1", "h2"])
    assert rig.host("r1") == "h2"
    rig.say("h1", "r1", REMOVED)
    rig.say("h2", "r1", FAILED)
    rig.pass_time(20, heard=["h1", "h2"])
    assert rig.host("r1") == "h2"


def test_a_router_that_fails_for_one_reason_wherever_it_is_does_not_tour_the_hosts() -> None:
    rig = Rig("h1", "h2", "h3", "h4")
    hosts = ["h1", "h2", "h3", "h4"]
    rig.want("r1")
    rig.say("h1", "r1", ACTIVE)
    rig.say("h1", "r1", FAILED, "nft: too many elements")
    rig.say("h1", "r1", REMOVED)
    assert rig.plan("h2") == {"r1": 2}
    rig.forget()
    rig.say("h2", "r1", FAILED, "nft: too many elements")
    assert rig.explanations("r1") == [
        "h2 cannot run it (nft: too many elements) and goes on trying; h1 failed with it for the same reason, so it is "
        "not moved on for 10 minutes"
    ]
    rig.pass_time(599, heard=hosts)
    assert (rig.host("r1"), rig.all_said(Bind)) == ("h2", [])
    rig.pass_time(2, heard=hosts)
    assert rig.host("r1") == "h3", "one that it has not failed on, not h1"
    rig.say("h2", "r1", REMOVED)
    rig.say("h3", "r1", FAILED, "nft: too many elements")
    rig.pass_time(599, heard=hosts)
    assert rig.host("r1") == "h3"


def test_a_router_that_tours_is_tried_on_a_new_host_soon() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.say("h1", "r1", FAILED, "no such device")
    rig.say("h1", "r1", REMOVED)
    rig.say("h2", "r1", FAILED, "no such device")
    rig.pass_time(40, heard=["h1", "h2"])
    assert rig.host("r1") == "h2"
    rig.join("h3")
    rig.pass_time(29, heard=["h1", "h2", "h3"])
    assert rig.host("r1") == "h2", "until it is sure that the new host's agent runs"
    rig.pass_time(2, heard=["h1", "h2", "h3"])
    assert rig.host("r1") == "h3"


def test_another_reason_or_a_while_of_work_is_another_matter() -> None:
    rig = Rig("h1", "h2", "h3")
    rig.want("r1")
    rig.say("h1", "r1", FAILED, "no such device")
    rig.say("h1", "r1", REMOVED)
    rig.say("h2", "r1", FAILED, "no memory")
    rig.say("h2", "r1", REMOVED)
    assert rig.plan("h3") == {"r1": 3}
    rig.say("h3", "r1", ACTIVE)
    rig.pass_time(700, heard=["h1", "h2", "h3"])
    rig.say("h3", "r1", FAILED, "no such device")
    assert rig.host("r1") == "h1"


def test_a_host_that_failed_a_short_while_ago_is_better_than_a_dead_one() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.pass_time(140, heard=["h1"])
    rig.join("h2")
    rig.say("h1", "r1", FAILED)
    rig.say("h1", "r1", REMOVED)
    rig.pass_time(10, heard=["h1", "h2"])
    rig.say("h2", "r1", FAILED)
    rig.pass_time(10)
    assert rig.host("r1") == "h2"
    rig.pass_time(150, heard=["h1"])
    assert rig.host("r1") == "h1"


def test_a_host_without_a_running_agent_is_not_asked_to_let_go() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.report("h1", agent=AgentState.RESTARTING)
    rig.set_admin_up("h1", False)
    assert rig.reason("r1") == "it should leave h1, but that host has no running agent, so it stays"
    assert rig.plan("h1") == {"r1": 1}
    rig.report("h1")
    assert rig.state("r1") == "withdrawing"


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


def test_an_operator_may_name_the_first_host() -> None:
    rig = Rig("h1", "h2")
    rig.set_admin_up("h1", False)
    rig.set_admin_up("h2", False)
    rig.want("r1")
    assert rig.state("r1") == "unplaced"
    rig.set_admin_up("h1", True)
    assert rig.host("r1") == "h1"


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


# The store


def test_a_binding_that_cannot_be_stored_is_tried_again_and_stops_nobody() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.set_admin_up("h2", False)
    rig.want("r2")
    rig.set_admin_up("h2", True)
    rig.answers = False
    rig.pass_time(150, heard=["h2"])
    first, second = rig.unanswered
    rig.unanswered.clear()
    rig.handle(BindingFailed(id="lost", router_id=first.router_id, epoch=first.epoch, reason="the disk is full"))
    rig.unanswered.append(second)
    rig.answer(second)
    assert (rig.host("r1"), rig.host("r2")) == ("h1", "h2")
    assert rig.reason("r1") == "its move to h2 could not be stored (the disk is full); tried again soon"
    attempts = []
    for _ in range(200):
        rig.pass_time(1, heard=["h2"])
        for asked in list(rig.unanswered):
            rig.unanswered.remove(asked)
            attempts.append(rig.now)
            rig.handle(
                BindingFailed(id="lost", router_id=asked.router_id, epoch=asked.epoch, reason="the disk is full")
            )
    waits = [later - earlier for earlier, later in pairwise(attempts)]
    assert waits == sorted(waits)
    assert max(waits) <= 61
    rig.answers = True
    rig.pass_time(61, heard=["h2"])
    assert rig.host("r1") == "h2"
    assert rig.epoch("r1") == 2, "an epoch that was never stored was never used"


def test_an_answer_for_a_deleted_router_is_ignored() -> None:
    rig = Rig("h1", "h2")
    rig.answers = False
    rig.want("r1")
    (bind,) = rig.unanswered
    rig.handle(RouterDeleted(id="api", router_id=RouterId("r1")))
    rig.handle(BindingStored(id="stored", router_id=bind.router_id, host=HostName("h1"), epoch=bind.epoch))
    assert rig.planner.router_views() == {}
    assert rig.plan("h1") == {}


def test_a_deleted_router_leaves_its_hosts_plan() -> None:
    rig = Rig("h1")
    rig.want("r1", "r2")
    rig.forget()
    rig.handle(RouterDeleted(id="api", router_id=RouterId("r1")))
    assert rig.plan("h1") == {"r2": 1}
    assert [effect.host for effect in rig.all_said(PublishPlan)] == ["h1"]


def test_a_changed_router_is_sent_again() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    version = rig.planner.plan_version(HostName("h1"))
    rig.forget()
    rig.handle(RouterWanted(id="api", needs=needs("r1")))
    assert [effect.host for effect in rig.all_said(PublishPlan)] == ["h1"]
    assert rig.planner.plan_version(HostName("h1")) > version


# Leftovers


def test_what_a_host_says_of_an_older_epoch_counts_for_nothing() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.move("r1", "h2")
    rig.say("h1", "r1", REMOVED)
    rig.move("r1", "h1")
    rig.say("h2", "r1", REMOVED)
    assert rig.plan("h1") == {"r1": 3}
    rig.forget()
    old = RouterReport(router_id=RouterId("r1"), epoch=Epoch(1), state=FAILED)
    rig.report("h1", old)
    rig.report("h2", RouterReport(router_id=RouterId("r1"), epoch=Epoch(2), state=ACTIVE))
    assert rig.said == []
    assert rig.state("r1") == "planned"


def test_a_host_with_leftovers_is_reported_once() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.pass_time(150, heard=["h2"])
    rig.forget()
    rig.handle(HostConnected(id="back", facts=facts("h1"), incarnation=Incarnation(2), admin_up=True))
    leftover = RouterReport(router_id=RouterId("r1"), epoch=Epoch(1), state=ACTIVE)
    rig.report("h1", leftover, full=True, plan_version=0)
    rig.report("h1", leftover, full=True)
    assert rig.standings("h1") == ["alive", "alive"]
    assert rig.host("r1") == "h2"


def test_a_host_that_knows_a_higher_epoch_is_not_believed() -> None:
    rig = Rig("h1")
    rig.want("r1")
    rig.forget()
    for _ in range(2):
        rig.report("h1", RouterReport(router_id=RouterId("r1"), epoch=Epoch(9), state=ACTIVE))
    assert rig.standings("h1") == ["alive"]
    assert rig.epoch("r1") == 1


def test_a_host_that_returns_with_nothing_builds_again_what_is_its_own() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.handle(HostConnected(id="back", facts=facts("h1"), incarnation=Incarnation(2), admin_up=True))
    rig.report("h1", full=True)
    assert rig.state("r1") == "planned"
    rig.forget()
    rig.say("h1", "r1", ACTIVE)
    assert rig.all_said(RecordStep) == [], "the move that brought it here is long over"


# The record of a move


def test_the_timeline_of_a_move() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.forget()
    rig.move("r1", "h2")
    rig.now += 0.5
    rig.say("h1", "r1", REMOVED)
    sent_at = rig.now
    rig.now += 0.25
    rig.say("h2", "r1", ACTIVE, ms=200)
    steps = rig.steps("r1", 2)
    assert list(steps) == [
        MoveStep.WITHDRAWN,
        MoveStep.SENT,
        MoveStep.BUILT,
        MoveStep.ANNOUNCED,
        MoveStep.CONFIRMED,
    ]
    assert rig.now - steps[MoveStep.BUILT] == pytest.approx(sent_at + 0.2)
    rig.forget()
    rig.say("h2", "r1", ACTIVE, ms=200)
    assert rig.all_said(RecordStep) == []


def test_a_build_is_never_over_in_the_future() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.pass_time(150, heard=["h2"])
    rig.say("h2", "r1", ACTIVE, ms=86_400_000)
    assert rig.steps("r1", 2)[MoveStep.BUILT] == 0


def test_a_plan_is_sent_when_the_host_connects_and_not_before() -> None:
    rig = Rig("h1")
    rig.answers = False
    rig.want("r1")
    (bind,) = rig.unanswered
    rig.handle(HostConnected(id="flap", facts=facts("h1"), incarnation=Incarnation(1), admin_up=True))
    rig.answer(bind)
    assert MoveStep.SENT in rig.steps("r1", 1)


def test_a_move_that_is_overtaken_is_superseded() -> None:
    rig = Rig("h1", "h2", "h3")
    rig.want("r1")
    rig.pass_time(150, heard=["h2", "h3"])
    assert rig.host("r1") == "h2"
    rig.pass_time(150, heard=["h3"])
    assert rig.host("r1") == "h3"
    assert MoveStep.SUPERSEDED in rig.steps("r1", 2)


# After a restart


def test_a_move_goes_on_where_it_was_when_the_controller_is_lost() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.move("r1", "h2")
    rig.restart()
    rig.join("h2")
    assert rig.plan("h2") == {}
    rig.join("h1")
    rig.report("h1", full=True)
    assert rig.plan("h2") == {"r1": 2}
    rig.say("h2", "r1", ACTIVE)
    assert rig.steps("r1", 2).keys() >= {MoveStep.WITHDRAWN, MoveStep.SENT, MoveStep.CONFIRMED}


def test_a_confirmed_move_is_not_confirmed_again_after_a_restart() -> None:
    rig = Rig("h1")
    rig.want("r1")
    rig.restart()
    rig.forget()
    rig.join("h1")
    rig.say("h1", "r1", ACTIVE)
    assert rig.state("r1") == "active"
    assert rig.all_said(RecordStep) == []


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

    def counted(*arguments: object) -> str:
        nonlocal looks
        looks += 1
        return look(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(placement, "objection", counted)
    rig.forget()
    rig.pass_time(150, heard=[f"h{number:02}" for number in range(1, 51)])
    assert len(rig.all_said(Bind)) == 300
    assert looks <= 2 * 51
    loads = [view.routers for name, view in rig.planner.host_views(rig.now).items() if name != "h00"]
    assert set(loads) == {6}


# When something cannot happen


def test_a_broken_invariant_carries_the_story() -> None:
    rig = Rig("h1")
    rig.want("r1")
    rig.planner._ledger.routers[RouterId("r1")].epoch = Epoch(7)
    with pytest.raises(InvariantError) as caught:
        rig.planner.check()
    assert "The story so far:" in str(caught.value)
    assert "RouterWanted" in str(caught.value)


def test_check_notices_a_router_that_is_bound_to_nobody_any_more() -> None:
    rig = Rig("h1")
    rig.want("r1")
    rig.planner._ledger.routers[RouterId("r1")].host = None
    with pytest.raises(InvariantError, match="bound to nobody"):
        rig.planner.check()


def test_mode_off_is_drained_but_not_retried() -> None:
    rig = Rig("h1", "h2")
    rig.want(needs("r1", FailoverMode.OFF))
    rig.say("h1", "r1", FAILED, "it broke")
    assert rig.reason("r1") == "h1 cannot run it (it broke) and goes on trying; this router's failover mode is off"
    rig.set_admin_up("h1", False)
    assert rig.host("r1") == "h2"


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
