"""What a router waits for while the brake is engaged is looked at when that ends, whoever is known by then."""

from planner_rig import facts
from standby_rig import StandbyRig, tenure, three

from gapless.core.effects import AskArbiters
from gapless.core.events import BrakeReleased
from gapless.model.lease import Tenure
from gapless.model.router import FailoverMode

LIVING = ("h1", "h2", "h3")
SOON_S = 3


def brake(rig: StandbyRig, *living: str) -> None:
    """Most hosts look dead at once."""
    for host in ("c1", "c2", "c3", "c4", "c5", "c6"):
        rig.join(facts(host))
        rig.set_mode(f"classic-of-{host}", FailoverMode.RESCHEDULE)
    rig.pass_time(rig.timing.dead_after_s + 2, heard=living)
    assert rig.planner.brake_view().engaged
    rig.forget()


def release(rig: StandbyRig) -> None:
    rig.handle(BrakeReleased(id="release"))
    rig.pass_time(SOON_S)


def asked(rig: StandbyRig) -> set[Tenure]:
    return {each.tenure for each in rig.all_said(AskArbiters)}


def test_a_standby_that_is_deleted_meanwhile_is_asked_about() -> None:
    rig = three()
    brake(rig, *LIVING)
    rig.delete("h2")
    rig.pass_time(SOON_S)
    absent = "its standby h2 is not heard"
    assert rig.reason("r1") == f"{absent}; the brake is engaged, so nobody is asked whether it is over"
    release(rig)
    assert tenure("h2") in asked(rig)
    assert rig.reason("r1") == f"{absent}; asks the arbiters whether it is over"


def test_so_is_a_host_that_a_router_leaves() -> None:
    rig = three()
    brake(rig, *LIVING)
    rig.move("r1", "h2")
    assert rig.state("r1") == "withdrawing"
    rig.delete("h1")
    rig.pass_time(SOON_S)
    assert tenure("h1") not in asked(rig)
    release(rig)
    assert tenure("h1") in asked(rig)


def test_so_is_one_that_took_over() -> None:
    rig = three()
    brake(rig, *LIVING)
    rig.store.is_failing = True
    rig.take_over("h2", "r1", tenure("h1"))
    rig.delete("h2")
    rig.store.is_failing = False
    rig.pass_time(SOON_S)
    assert tenure("h2") not in asked(rig)
    release(rig)
    assert tenure("h2") in asked(rig)


def test_so_is_one_that_is_silent_and_not_dead_yet() -> None:
    """It has still to say that it will not succeed any more."""
    rig = three()
    brake(rig, *LIVING)
    rig.pass_time(rig.timing.agent_down_time_s + 1, heard=("h1", "h3"))
    rig.move("r1", "h3")
    rig.pass_time(SOON_S)
    assert rig.reason("r1") == "waits until h2 says that it will not succeed h1 any more"
    assert tenure("h2") not in asked(rig)
    release(rig)
    assert tenure("h2") in asked(rig)
