"""A standby that lost a router from its plan and gets it back: it is asked anew, whatever it heard of that."""

from standby_rig import StandbyRig, tenure

from gapless.model.host import HostName, Incarnation
from gapless.model.plan import Guarded, Role, RouterReport, RouterState
from gapless.model.router import RouterId


def three() -> StandbyRig:
    """r1 active on h1, h2 ready to succeed; h3 is out of service."""
    rig = StandbyRig("h1", "h2", "h3")
    rig.set_admin_up("h3", admin_up=False)
    rig.protect("r1")
    rig.settle("h1", "h2", "h3")
    assert (rig.host("r1"), rig.standby("r1")) == ("h1", ("h2", "ready"))
    rig.forget()
    return rig


def said_by(rig: StandbyRig, host: str) -> RouterReport:
    """What its agent would say of r1 by its present plan."""
    duty = rig.duty(host, "r1")
    return RouterReport(router_id=RouterId("r1"), epoch=duty.epoch, state=RouterState.ACTIVE, guarded=True)


def send_away_and_back(rig: StandbyRig) -> None:
    """h3 stands by instead of h2, then h2 again."""
    for leaves, comes in (("h2", "h3"), ("h3", "h2")):
        rig.set_admin_up(comes, admin_up=True)
        rig.set_admin_up(leaves, admin_up=False)
        rig.guard(leaves)
        rig.pass_time(1, heard=("h1", "h2", "h3"))
        assert (rig.role(leaves, "r1"), rig.role(comes, "r1")) == ("nothing", "may succeed h1@1")


def test_a_right_that_is_given_again_is_at_another_epoch() -> None:
    """Else a host that never heard of the plan between would have nothing new to say, and nobody would ask it."""
    rig = three()
    before = rig.duty("h2", "r1").epoch
    send_away_and_back(rig)
    assert rig.duty("h2", "r1").epoch > before
    assert rig.standby("r1") == ("h2", "building")
    rig.guard("h2", said_by(rig, "h2"))
    assert rig.standby("r1") == ("h2", "ready")


def test_what_it_said_of_the_epoch_before_does_not_count() -> None:
    rig = three()
    before = said_by(rig, "h2")
    send_away_and_back(rig)
    rig.guard("h2", before)
    assert rig.standby("r1") == ("h2", "building")


def test_a_host_that_hung_keeps_what_it_has_built_and_gets_its_right_again() -> None:
    """It is heard, and its tenure is over, before it can say that it was fenced."""
    rig = three()
    rig.protect("r2")
    rig.settle("h1", "h2")
    assert (rig.host("r2"), rig.standby("r2")) == ("h2", ("h1", "ready"))
    rig.take_over("h1", "r2", tenure("h2"))
    assert rig.role("h2", "r1") == "may succeed h1@1", "of an incarnation that is over: it gives nothing"
    rig.fence("h2")
    rig.hold("h2")
    assert rig.role("h2", "r1") == "may succeed h1@1"
    assert rig.planner.plan_of(HostName("h2"))[RouterId("r1")].guarded == Guarded(
        role=Role.STANDBY, incarnation=Incarnation(2), after=(tenure("h1"),)
    )


def test_a_host_that_is_dead_does_not_keep_it() -> None:
    rig = three()
    rig.bury("h1", "h3", subject=tenure("h2"))
    rig.pass_time(1, heard=("h1", "h3"))
    assert rig.role("h2", "r1") == "nothing"
