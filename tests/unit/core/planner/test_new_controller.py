"""A planner that begins from the store, and what it puts together for many hosts or routers."""

from typing import Any

import pytest
from planner_rig import facts
from standby_rig import StandbyRig, tenure

from gapless.core.effects import StoreSuccession
from gapless.core.events import HostForgotten
from gapless.core.ledger.fleet import Host
from gapless.core.planner import placement
from gapless.model.host import HostName

H4 = HostName("h4")


def three() -> StandbyRig:
    """r1 active on h1, h2 ready to succeed, h3 idle."""
    rig = StandbyRig("h1", "h2", "h3")
    rig.protect("r1")
    rig.settle("h1", "h2", "h3")
    assert (rig.host("r1"), rig.standby("r1")) == ("h1", ("h2", "ready"))
    rig.forget()
    return rig


def come_back(rig: StandbyRig, *hosts: str) -> None:
    """They connect anew, as they were."""
    for host in hosts:
        rig.connect(facts(host, lease_address=f"{host}:9698"))
        rig.guard(host)


def test_a_controller_that_has_just_begun_takes_no_standby_for_unsuitable_before_it_was_heard() -> None:
    rig = three()
    rig.restart()
    come_back(rig, "h1", "h3")
    rig.pass_time(30, heard=("h1", "h3"))
    assert rig.role("h2", "r1") == "may succeed h1@1"
    come_back(rig, "h2")
    rig.settle("h1", "h2", "h3")
    assert rig.standby("r1") == ("h2", "ready")
    assert not rig.all_said(StoreSuccession)


def test_where_hosts_are_reached_is_put_together_once_and_anew_when_that_changes() -> None:
    rig = three()
    plan = rig.planner.panel_plan()
    assert plan is not None
    rig.pass_time(1, heard=("h1", "h2", "h3"))
    assert rig.planner.panel_plan() is plan
    rig.join(facts("h4", lease_address="h4:9698"))
    assert [each.address for each in rig.planner.panel_plan().addresses] == [f"h{n}:9698" for n in (1, 2, 3, 4)]  # type: ignore[union-attr]
    rig.handle(HostForgotten(id="forgotten", host=H4))
    assert rig.planner.panel_plan() == plan


def test_states_are_those_of_the_views() -> None:
    rig = three()
    rig.protect("r2", "r3")
    rig.settle("h1", "h2")
    states = [each.state for each in rig.planner.router_views().values()]
    assert list(rig.planner.router_states()) == states
    assert len(set(states)) > 1


def test_a_standby_that_a_new_controller_never_hears_is_replaced() -> None:
    rig = three()
    rig.restart()
    come_back(rig, "h1", "h3")
    rig.pass_time(rig.timing.agent_down_time_s + 1, heard=("h1", "h3"))
    assert rig.role("h2", "r1") == "built", "the right is taken; it has to say that it knows, or to be over"
    rig.bury("h1", "h3", subject=tenure("h2"))
    rig.settle("h1", "h3")
    assert rig.standby("r1") == ("h3", "ready")


def test_hosts_are_looked_at_once_for_all_that_the_store_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = StandbyRig("h1", "h2", "h3", "h4")
    rig.answers = False
    rig.protect("r1", "r2", "r3")
    looked: list[str] = []
    look = placement.objection

    def count(host: Host, *rest: Any, **more: Any) -> str:
        looked.append(host.name)
        return look(host, *rest, **more)

    monkeypatch.setattr(placement, "objection", count)
    for bind in list(rig.unanswered):
        rig.answer(bind)
    assert [rig.standby(each)[1] for each in ("r1", "r2", "r3")] == ["building"] * 3
    assert sorted(looked) == ["h1", "h2", "h3", "h4"]
    rig.set_admin_up("h4", admin_up=False)
    rig.protect("r4")
    rig.answer(rig.unanswered[-1])
    assert len(looked) > 4, "what hosts can do may have changed"
