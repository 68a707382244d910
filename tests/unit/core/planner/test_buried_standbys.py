"""A host that died, or hung for a moment, stood by for others: it is waited for, then replaced."""

from collections.abc import Iterable

import pytest
from planner_rig import facts
from standby_rig import TIMES, StandbyRig, binds, tenure

from gapless.core.effects import Bind, StoreSuccession
from gapless.core.events import HostDisconnected
from gapless.core.planner.leaseless import CALM_S
from gapless.model.host import HostFacts, HostName
from gapless.model.lease import Tenure
from gapless.model.plan import MoveKind, Takeover
from gapless.model.router import RouterId

ALL = ("h1", "h2", "h3", "h4")
OTHERS = ALL[1:]
HIS = ("r11", "r12", "r13")
"""Active on h1, with h2 as their standby."""
THEIRS = ("r21", "r22", "r23")
"""Active on h3, with h1 as their standby."""


@pytest.fixture
def rig() -> StandbyRig:
    """h4 is idle."""
    made = StandbyRig(plugged("h1", "east", "west"))
    made.protect(*HIS, physical_networks=frozenset({"east"}))
    made.join(plugged("h2", "east"))
    made.join(plugged("h3", "west"))
    made.protect(*THEIRS, physical_networks=frozenset({"west"}))
    for _ in range(3):
        made.settle("h1", "h2", "h3")
        made.pass_time(1)
    made.join(plugged("h4", "east", "west"))
    pass_on(made, 10, ALL)
    assert {(made.host(each), made.standby(each)) for each in HIS} == {("h1", ("h2", "ready"))}
    assert {(made.host(each), made.standby(each)) for each in THEIRS} == {("h3", ("h1", "ready"))}
    made.forget()
    return made


def plugged(name: str, *networks: str) -> HostFacts:
    return facts(name, lease_address=f"{name}:9698", physical_networks=networks)


def take_over_all(rig: StandbyRig) -> None:
    """h1 is over, and h2 says that it took over."""
    took = tuple(
        Takeover(router_id=RouterId(each), epoch=rig.duty("h2", each).epoch, of=tenure("h1"), times=TIMES)
        for each in HIS
    )
    rig.open["h2"] |= {each.router_id: each.epoch for each in took}
    rig.guard("h2", took=took)
    assert {rig.host(each) for each in HIS} == {"h2"}


def pass_on(rig: StandbyRig, seconds: float, hosts: Iterable[str] = OTHERS) -> None:
    """All of these obey each second."""
    for _ in range(int(seconds)):
        rig.pass_time(1, heard=tuple(hosts))
        rig.settle(*hosts)


def stored(rig: StandbyRig, router_id: str) -> list[list[Tenure]]:
    """Who was to succeed, one after another."""
    said = [each for each in rig.all_said(StoreSuccession) if each.router_id == router_id]
    return [[right.tenure for right in each.successors] for each in said]


def test_a_host_that_hung_for_a_moment_has_its_rights_again_and_nobody_builds_elsewhere(rig: StandbyRig) -> None:
    take_over_all(rig)
    assert {rig.role("h1", each) for each in THEIRS} == {"may succeed h3@1"}, "of what is over: it gives nothing"
    assert {rig.standby(each) for each in THEIRS} == {("h1", "changing")}
    assert not rig.all_said(StoreSuccession)
    pass_on(rig, 1)
    assert not rig.all_said(StoreSuccession)
    rig.fence("h1")
    rig.hold("h1")
    rig.settle(*ALL)
    assert {rig.standby(each) for each in THEIRS} == {("h1", "ready")}, "at once"
    pass_on(rig, 2 * CALM_S, ALL)
    assert {rig.standby(each) for each in (*HIS, *THEIRS)} == {("h1", "ready")}
    assert [stored(rig, each) for each in THEIRS] == [[[], [tenure("h1", 2)]]] * 3
    assert not rig.plan("h4")
    assert {each.kind for each in rig.all_said(Bind)} == {MoveKind.TAKEOVER}


def test_a_host_that_restarts_meanwhile_is_waited_for_without_a_control_link(rig: StandbyRig) -> None:
    rig.handle(HostDisconnected(id="gone", host=HostName("h1")))
    take_over_all(rig)
    pass_on(rig, CALM_S - 2)
    assert not rig.all_said(StoreSuccession)
    rig.join(plugged("h1", "east", "west"), 2)
    pass_on(rig, CALM_S, ALL)
    assert {rig.standby(each) for each in (*HIS, *THEIRS)} == {("h1", "ready")}
    assert not rig.plan("h4")


@pytest.mark.parametrize("has_link", [True, False])
def test_a_host_that_never_comes_back_is_replaced_when_it_had_its_time_and_once(
    rig: StandbyRig, *, has_link: bool
) -> None:
    if not has_link:
        rig.handle(HostDisconnected(id="gone", host=HostName("h1")))
    take_over_all(rig)
    pass_on(rig, CALM_S - 1)
    assert not rig.all_said(StoreSuccession)
    pass_on(rig, rig.timing.dead_after_s + CALM_S)
    assert [stored(rig, each) for each in THEIRS] == [[[], [tenure("h4")]]] * 3
    assert {rig.standby(each)[1] for each in (*HIS, *THEIRS)} == {"ready"}
    assert not rig.plan("h1")
    assert {kind for _, kind in binds(rig)} == {MoveKind.TAKEOVER}


def test_it_is_replaced_when_it_had_its_time_and_not_later(rig: StandbyRig) -> None:
    take_over_all(rig)
    pass_on(rig, CALM_S + 3)
    assert {rig.standby(each)[1] for each in (*HIS, *THEIRS)} == {"ready"}


def test_it_is_replaced_though_no_host_says_anything_meanwhile(rig: StandbyRig) -> None:
    take_over_all(rig)
    rig.pass_time(CALM_S + 1)
    assert [stored(rig, each)[:1] for each in THEIRS] == [[[]]] * 3
    assert [stored(rig, each) for each in HIS] == [[[tenure("h4")]]] * 3


def test_while_the_controller_is_deaf_its_time_does_not_run(rig: StandbyRig) -> None:
    take_over_all(rig)
    rig.now += 60.0
    rig.guard("h2")  # What waited in the sockets is read one after another.
    rig.pass_time(1, heard=())
    assert not rig.all_said(StoreSuccession)


def test_a_host_that_was_silent_for_long_when_it_is_buried_is_not_waited_for(rig: StandbyRig) -> None:
    rig.pass_time(rig.timing.agent_down_time_s + 1, heard=OTHERS)
    take_over_all(rig)
    pass_on(rig, 2)
    assert {rig.standby(each) for each in THEIRS} == {("h4", "ready")}


def test_a_router_whose_own_host_is_over_as_well_does_not_wait(rig: StandbyRig) -> None:
    """Nobody is left who may succeed: it goes back to its host, or elsewhere."""
    take_over_all(rig)
    rig.fence("h3")
    assert {rig.role("h1", each) for each in THEIRS} == {"built"}
    rig.hold("h3")
    pass_on(rig, 1)
    assert {rig.host(each) for each in THEIRS} == {"h3"}


def test_a_router_that_leaves_a_host_which_is_stopped_does_not_wait(rig: StandbyRig) -> None:
    take_over_all(rig)
    rig.guard("h3", stopping=True)
    pass_on(rig, 2)
    assert {(rig.host(each), rig.state(each)) for each in THEIRS} == {("h4", "active")}


def test_a_router_that_its_host_cannot_run_does_not_wait(rig: StandbyRig) -> None:
    take_over_all(rig)
    rig.failed("h3", "r21")
    pass_on(rig, 2, ("h2", "h4"))
    assert rig.host("r21") == "h4"
    assert {rig.standby(each) for each in THEIRS[1:]} == {("h1", "changing")}


def test_a_router_that_leaves_a_host_without_an_agent_does_not_wait(rig: StandbyRig) -> None:
    rig.agentless["h3"] = "it ends again and again"
    rig.guard("h3")
    rig.pass_time(rig.timing.agent_patience_s - 1, heard=ALL)
    take_over_all(rig)
    pass_on(rig, 4)
    assert {(rig.host(each), rig.state(each)) for each in THEIRS} == {("h4", "active")}


def test_a_router_that_leaves_and_has_nowhere_else_to_go_waits_for_it_all_the_same(rig: StandbyRig) -> None:
    rig.set_admin_up("h4", admin_up=False)
    take_over_all(rig)
    rig.guard("h3", stopping=True)
    pass_on(rig, 2)
    assert {(rig.host(each), rig.state(each)) for each in THEIRS} == {("h3", "active")}
    rig.fence("h1")
    rig.hold("h1")
    rig.settle(*ALL)
    pass_on(rig, 2, ALL)
    assert {(rig.host(each), rig.state(each)) for each in THEIRS} == {("h1", "active")}


def test_a_router_that_leaves_waits_for_a_standby_that_says_itself_that_it_was_fenced(rig: StandbyRig) -> None:
    """It is there, and back in a moment."""
    rig.fence("h1")
    rig.set_admin_up("h3", admin_up=False)
    pass_on(rig, 2, ALL)
    assert not any(stored(rig, each) for each in THEIRS)
    assert not rig.plan("h4").keys() & set(THEIRS)
    rig.hold("h1")
    pass_on(rig, 2, ALL)
    assert {rig.host(each) for each in THEIRS} == {"h1"}


def test_a_new_controller_that_is_told_of_the_takeover_waits_as_well(rig: StandbyRig) -> None:
    """h1 was not heard by it."""
    rig.restart()
    come_back(rig, OTHERS)
    take_over_all(rig)
    pass_on(rig, CALM_S - 1)
    assert not rig.all_said(StoreSuccession)
    pass_on(rig, CALM_S)
    assert {rig.standby(each)[1] for each in (*HIS, *THEIRS)} == {"ready"}


def test_a_new_controller_that_knows_of_the_takeover_from_the_store_waits_until_the_host_is_silent(
    rig: StandbyRig,
) -> None:
    """Who buried it was not stored: the arbiters say so once more."""
    take_over_all(rig)
    rig.pass_time(1, heard=OTHERS)
    rig.restart()
    come_back(rig, OTHERS)
    pass_on(rig, rig.timing.agent_down_time_s - 2)
    assert {rig.standby(each)[0] for each in THEIRS} == {"h1"}
    pass_on(rig, 3)
    rig.bury("h2", "h3", subject=tenure("h1"))
    pass_on(rig, 3)
    assert [stored(rig, each) for each in THEIRS] == [[[], [tenure("h4")]]] * 3


def test_a_new_controller_finds_the_host_back(rig: StandbyRig) -> None:
    take_over_all(rig)
    rig.restart()
    come_back(rig, OTHERS)
    rig.join(plugged("h1", "east", "west"), 2)
    pass_on(rig, 2 * CALM_S, ALL)
    assert {rig.standby(each) for each in THEIRS} == {("h1", "ready")}
    assert not rig.plan("h4").keys() & set(THEIRS)


def come_back(rig: StandbyRig, hosts: Iterable[str]) -> None:
    """They connect anew, as they were."""
    for host in hosts:
        rig.connect(rig.store.hosts[HostName(host)].facts)
        rig.guard(host)
