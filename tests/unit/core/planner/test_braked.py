"""What a router waits for while the brake is engaged is looked at when that ends, whoever is known by then."""

from planner_rig import facts
from standby_rig import StandbyRig, binds, tenure, three

from gapless.core.effects import AskArbiters
from gapless.core.events import BrakeReleased
from gapless.core.planner.restarts import NEWS_S
from gapless.model.lease import Tenure
from gapless.model.plan import MoveKind
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


def both_over() -> StandbyRig:
    """r1 was active on h4, and h5 stood by; both hung, and were buried. Nobody else is in their zone."""
    rig = StandbyRig(*LIVING)
    for host in ("h4", "h5"):
        rig.join(facts(host, lease_address=f"{host}:9698", availability_zone="apart"))
    rig.protect("r1", availability_zone_hints=frozenset({"apart"}))
    rig.settle("h4", "h5")
    assert (rig.host("r1"), rig.standby("r1")) == ("h4", ("h5", "ready"))
    dead = (tenure("h4"), tenure("h5"))
    rig.miss(*LIVING, subjects=dead)
    for subject in dead:
        rig.bury("h1", "h2", subject=subject)
    assert (rig.host("r1"), rig.role("h5", "r1")) == ("h4", "built")
    return rig


def test_a_router_whose_host_looks_dead_goes_to_who_stood_by_for_it_and_holds_a_lease_again() -> None:
    """That is not for silence: both tenures are over."""
    rig = both_over()
    brake(rig, *LIVING)
    assert rig.reason("r1") == "h4 looks dead, but the brake is engaged: nothing moves for silence"
    rig.miss(*LIVING, subjects=[tenure("h4")])
    rig.fence("h5")
    rig.pass_time(SOON_S)
    rig.hold("h5")
    rig.pass_time(2 * NEWS_S)
    assert rig.planner.brake_view().engaged
    assert binds(rig) == [("h5", MoveKind.RESTART)]
