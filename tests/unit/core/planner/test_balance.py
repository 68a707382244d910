"""What should move so that hosts have about as many routers active: little, and only to standbys that are ready."""

from collections import Counter

from planner_rig import needs
from standby_rig import StandbyRig

from gapless.core.events import RouterWanted
from gapless.core.planner.balance import Shift
from gapless.model.router import FailoverMode


def uneven(count: int = 6) -> StandbyRig:
    """All active on h1, as many ready on h2 as on h3."""
    rig = StandbyRig("h1", "h2", "h3")
    for other in ("h2", "h3"):
        rig.set_admin_up(other, admin_up=False)
    rig.protect(*(f"r{number}" for number in range(count)))
    rig.settle("h1")
    for other in ("h2", "h3"):
        rig.set_admin_up(other, admin_up=True)
    for _ in range(3):
        rig.pass_time(1)
        rig.settle("h1", "h2", "h3")
    assert {rig.standby(f"r{number}")[1] for number in range(count)} == {"ready"}
    return rig


def carry_out(rig: StandbyRig, shifts: list[Shift]) -> None:
    for each in shifts:
        rig.move(each.router_id, each.to_host)
        rig.settle("h1", "h2", "h3")


def active(rig: StandbyRig) -> dict[str, int]:
    return dict(Counter(str(view.host) for view in rig.planner.router_views().values()))


def test_routers_go_to_their_standbys_until_hosts_are_even_and_then_nothing_moves() -> None:
    rig = uneven()
    shifts = rig.planner.shifts()
    assert Counter((each.from_host, each.to_host) for each in shifts) == {("h1", "h2"): 2, ("h1", "h3"): 2}
    assert all(each.is_ready and rig.standby(each.router_id)[0] == each.to_host for each in shifts)
    carry_out(rig, shifts)
    assert active(rig) == {"h1": 2, "h2": 2, "h3": 2}
    assert rig.planner.shifts() == []


def test_a_difference_of_one_is_even() -> None:
    rig = uneven(5)
    carry_out(rig, rig.planner.shifts())
    assert sorted(active(rig).values()) == [1, 2, 2]
    assert rig.planner.shifts() == []


def test_hosts_that_get_no_routers_are_none_of_it() -> None:
    rig = uneven()
    rig.set_admin_up("h2", admin_up=False)
    assert {each.to_host for each in rig.planner.shifts()} == {"h3"}
    rig.set_admin_up("h1", admin_up=False)
    assert rig.planner.shifts() == [], "that is a drain"


def test_a_host_that_is_back_from_a_drain_builds_what_it_gets_first() -> None:
    rig = uneven()
    carry_out(rig, rig.planner.shifts())
    rig.set_admin_up("h3", admin_up=False)
    for _ in range(4):
        rig.pass_time(1)
        rig.settle("h1", "h2", "h3")
    assert "h3" not in active(rig)
    rig.set_admin_up("h3", admin_up=True)
    shifts = rig.planner.shifts()
    assert {(each.to_host, each.is_ready) for each in shifts} == {("h3", False)}
    carry_out(rig, shifts)
    assert active(rig) == {"h1": 2, "h2": 2, "h3": 2}
    assert rig.planner.shifts() == []


def test_what_is_ready_goes_first_and_classic_routers_stay() -> None:
    rig = uneven(4)
    for number in range(4):
        asked = needs(f"c{number}", FailoverMode.RESCHEDULE)
        rig.store.needs[asked.router_id] = asked
        rig.handle(RouterWanted(id="want", needs=asked))
    rig.settle("h1", "h2", "h3")
    assert not {each.router_id for each in rig.planner.shifts()} & {"c0", "c1", "c2", "c3"}
    away = rig.standby("r0")[0] or ""
    rig.failed(away, "r0")
    assert [each.router_id for each in rig.planner.shifts() if each.to_host == away and each.is_ready][:1] != ["r0"]
