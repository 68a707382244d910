"""Stores that fail or are all that is left, what hosts say of other times, and the record of moves."""

from itertools import pairwise

import pytest
from planner_rig import ACTIVE, FAILED, REMOVED, Rig, facts, needs

from gapless.core.effects import PublishPlan, RecordStep
from gapless.core.events import BindingFailed, BindingStored, HostConnected, RouterDeleted, RouterWanted
from gapless.errors import InvariantError
from gapless.model.host import HostName, Incarnation
from gapless.model.plan import Epoch, MoveStep, RouterReport
from gapless.model.router import RouterId

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
