"""Two things fail at once while a router changes hosts: it must not stay dark for longer than there is a doubt."""

from planner_rig import facts
from standby_rig import StandbyRig, binds, tenure

from gapless.core.effects import AskArbiters
from gapless.core.events import HostConfirmedOff, HostForgotten
from gapless.model.host import HostName
from gapless.model.plan import MoveKind
from gapless.model.router import RouterId

R1 = RouterId("r1")


def forget(rig: StandbyRig, host: str) -> None:
    """An operator deletes the host's agent."""
    del rig.store.hosts[HostName(host)]
    rig.handle(HostForgotten(id="forget", host=HostName(host)))


# A takeover by a host that is deleted before that is stored


def unrecorded() -> StandbyRig:
    """h2 has taken r1 over from h1, dies before that could be stored, and is deleted; h3 is idle."""
    rig = StandbyRig("h1", "h2", "h3", "h4", "h5")
    for idle in ("h3", "h4", "h5"):
        rig.set_admin_up(idle, admin_up=False)
    rig.protect("r1")
    rig.settle("h1", "h2")
    assert (rig.host("r1"), rig.standby("r1")) == ("h1", ("h2", "ready"))
    for idle in ("h3", "h4", "h5"):
        rig.set_admin_up(idle, admin_up=True)
    rig.store.is_failing = True
    rig.take_over("h2", "r1", tenure("h1"))
    forget(rig, "h2")
    rig.store.is_failing = False
    rig.forget()
    return rig


def test_a_takeover_by_a_deleted_host_is_asked_about() -> None:
    rig = unrecorded()
    rig.pass_time(3, heard=("h3", "h4", "h5"))
    assert tenure("h2") in {each.tenure for each in rig.all_said(AskArbiters)}
    assert rig.reason("r1") == "h2 took over, and was deleted by an operator; asks the arbiters whether it is over"
    assert binds(rig) == [], "it may forward there"


def test_it_is_bound_elsewhere_once_that_host_is_buried() -> None:
    rig = unrecorded()
    rig.restart_host("h1")
    rig.bury("h1", "h3", subject=tenure("h2"))
    rig.pass_time(1, heard=("h1", "h3", "h4", "h5"))
    rig.settle("h1", "h3", "h4", "h5")
    assert (rig.host("r1"), rig.state("r1"), rig.role("h1", "r1")) == ("h1", "active", "active at 2")


def test_or_once_an_operator_confirms_that_it_is_off() -> None:
    rig = unrecorded()
    up_to = rig.planner.highest(HostName("h2"))
    assert up_to == 1
    rig.confirm_off(HostName("h2"), up_to)
    rig.handle(HostConfirmedOff(id="word", host=HostName("h2"), incarnation=up_to))
    assert rig.role("h2", "r1") == "nothing"
    rig.pass_time(200, heard=("h3", "h4", "h5"))
    rig.settle("h3", "h4", "h5")
    assert (rig.host("r1"), rig.state("r1")) == ("h3", "active")


def test_a_deleted_host_that_connects_again_keeps_what_it_took_over() -> None:
    rig = unrecorded()
    rig.connect(facts("h2", lease_address="h2:9698"))
    rig.guard("h2")
    rig.pass_time(3, heard=("h2", "h3", "h4", "h5"))
    assert (rig.host("r1"), binds(rig)) == ("h2", [("h2", MoveKind.TAKEOVER)])
