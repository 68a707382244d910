"""Healthy, degraded or broken, and why."""

from gapless.core.dataplane.health import LATELY_S, OFTEN, Health, Repairs, judge
from gapless.model.plan import Epoch, RouterReport, RouterState
from gapless.model.router import RouterId


def said(state: RouterState, reason: str = "", ailment: str = "") -> RouterReport:
    return RouterReport(router_id=RouterId("r"), epoch=Epoch(1), state=state, reason=reason, ailment=ailment)


def test_a_repair_now_and_then_is_no_ailment() -> None:
    repairs = Repairs()
    for number in range(10):
        repairs.repaired("LoadRules", number * LATELY_S)
        assert repairs.ailment(number * LATELY_S) == ""


def test_repairs_that_follow_each_other_are_one_until_there_is_peace() -> None:
    repairs = Repairs()
    for number in range(OFTEN):
        assert repairs.ailment(number) == ""
        repairs.repaired("RaiseLink qr-1", number)
    assert "repaired 3 times within 60 s, the last time by RaiseLink qr-1" in repairs.ailment(OFTEN)
    assert repairs.ailment(LATELY_S + 0.1) == ""
    repairs.repaired("RaiseLink qr-1", LATELY_S)
    assert repairs.ailment(LATELY_S) != ""
    repairs.forget()
    assert repairs.ailment(LATELY_S) == ""


def test_what_a_host_says_is_judged() -> None:
    assert judge(None) == (None, "")
    assert judge(said(RouterState.BUILDING)) == (None, "")
    assert judge(said(RouterState.REMOVED)) == (None, "")
    assert judge(said(RouterState.ACTIVE)) == (Health.HEALTHY, "")
    assert judge(said(RouterState.ACTIVE, ailment="not yet")) == (Health.DEGRADED, "not yet")
    assert judge(said(RouterState.FAILED, "no memory")) == (Health.BROKEN, "no memory")
