"""A host that says that it is about to stop: what would be dark by that leaves it, and nothing comes."""

from planner_rig import needs
from standby_rig import StandbyRig

from gapless.core.effects import Bind
from gapless.core.events import RouterWanted
from gapless.core.ledger.fleet import STOPPING_AT_ONCE
from gapless.model.plan import MoveKind
from gapless.model.router import FailoverMode


def rig_with(*routers: str) -> StandbyRig:
    """All active on h1, h2 ready to succeed."""
    rig = StandbyRig("h1", "h2")
    rig.set_admin_up("h2", admin_up=False)
    rig.protect(*routers)
    rig.settle("h1")
    rig.set_admin_up("h2", admin_up=True)
    for _ in range(1 + len(routers) // 4):
        rig.pass_time(1)
        rig.settle("h1", "h2")
    assert {rig.standby(each) for each in routers} == {("h2", "ready")}
    rig.forget()
    return rig


def test_guarded_routers_leave_many_at_a_time_and_classic_ones_stay() -> None:
    rig = rig_with("r1", "r2", "r3", "r4", "r5", "r6")
    classic = needs("c1", FailoverMode.RESCHEDULE)
    rig.set_admin_up("h2", admin_up=False)
    rig.store.needs[classic.router_id] = classic
    rig.handle(RouterWanted(id="want", needs=classic))
    rig.set_admin_up("h2", admin_up=True)
    rig.settle("h1", "h2")
    assert rig.host("c1") == "h1"
    rig.forget()
    rig.guard("h1", stopping=True)
    assert {(each.host, each.kind) for each in rig.all_said(Bind)} == {("h2", MoveKind.DRAIN)}
    assert len(rig.all_said(Bind)) == 6 <= STOPPING_AT_ONCE
    assert rig.all_said(Bind)[0].reason == "Router r1 leaves h1, which is being stopped"
    assert rig.host("c1") == "h1", "it forwards without this host's processes"


def test_nothing_is_placed_on_a_host_that_stops() -> None:
    rig = StandbyRig("h1", "h2")
    rig.guard("h1", stopping=True)
    rig.protect("r1")
    assert rig.host("r1") == "h2"
    rig.settle("h1", "h2")
    assert "no standby: h1 is being stopped" in rig.reason("r1")


def test_it_is_as_before_when_it_is_back() -> None:
    rig = rig_with("r1")
    rig.guard("h1", stopping=True)
    rig.settle("h1", "h2")
    assert (rig.host("r1"), rig.state("r1")) == ("h2", "active")
    rig.restart_host("h1")
    rig.settle("h1", "h2")
    assert rig.standby("r1") == ("h1", "ready")
    rig.pass_time(100, heard=["h1", "h2"])
    assert rig.host("r1") == "h2", "nothing moves back by itself"
