"""Planned moves to standbys that have not all connections: they are waited for, a while, where the router can wait."""

from collections.abc import Mapping

import pytest
from planner_rig import facts
from standby_rig import StandbyRig, binds, tenure
from ways_rig import OUTSIDE

from gapless.core.effects import Bind
from gapless.core.events import DrainPaced, HostDisconnected
from gapless.core.planner.copies import PATIENCE_S
from gapless.model.host import HostName
from gapless.model.plan import MoveKind
from gapless.model.router import RouterId

R1, R2, R3 = (RouterId(f"r{number}") for number in (1, 2, 3))
WAITS = f"waits until h2 has all of its connections, {PATIENCE_S:g} s at most"
IN_VAIN = f"h2 has not all of its connections after {PATIENCE_S:g} s, and some may break"
HEARD = ("h1", "h2")


def rig_of(*routers: RouterId, copy: Mapping[str, bool | None] | None = None) -> StandbyRig:
    """Routers that are active on h1; h2 has them built. `copy`: of hosts that say otherwise than that they copy
    connections.
    """
    says = {"h1": True, "h2": True, **(copy or {})}
    rig = StandbyRig(*(said(each, copies=says[each]) for each in says))
    rig.set_admin_up("h2", admin_up=False)
    rig.protect(*routers, physical_networks=OUTSIDE)
    rig.settle("h1")
    rig.set_admin_up("h2", admin_up=True)
    for _ in range(3):
        rig.pass_time(3)
        rig.settle("h1", "h2")
    assert {(rig.host(each), rig.standby(each)) for each in routers} == {("h1", ("h2", "ready"))}
    rig.forget()
    return rig


def said(name: str, *, copies: bool | None):  # type: ignore[no-untyped-def]
    return facts(name, lease_address=f"{name}:9698", physical_networks=OUTSIDE, copies_flows=copies)


def drain(rig: StandbyRig) -> None:
    rig.set_admin_up("h1", admin_up=False)


def move(rig: StandbyRig) -> None:
    rig.move(R1, "h2")


ON_PURPOSE = pytest.mark.parametrize(
    ("asks", "kind"), [(drain, MoveKind.DRAIN), (move, MoveKind.MANUAL)], ids=["drain", "move"]
)


@ON_PURPOSE
def test_a_router_leaves_on_purpose_when_its_standby_has_all_connections(asks, kind: MoveKind) -> None:  # type: ignore[no-untyped-def]
    rig = rig_of(R1)
    rig.guard("h2", copied={R1: False})
    asks(rig)
    assert binds(rig) == []
    assert WAITS in rig.reason(R1)
    assert (rig.state(R1), rig.role("h1", R1)) == ("active", "active at 1"), "it forwards where it is"
    rig.pass_time(PATIENCE_S / 2, heard=HEARD)
    assert binds(rig) == []
    rig.guard("h2", copied={R1: True})
    assert binds(rig) == [("h2", kind)], "at once"
    assert IN_VAIN not in rig.all_said(Bind)[0].reason


@ON_PURPOSE
def test_what_is_never_copied_whole_leaves_all_the_same_and_says_so(asks, kind: MoveKind) -> None:  # type: ignore[no-untyped-def]
    """Such as a router with more connections than are copied."""
    rig = rig_of(R1)
    rig.guard("h2", copied={R1: False})
    asks(rig)
    rig.pass_time(PATIENCE_S - 1, heard=HEARD)
    assert binds(rig) == []
    rig.pass_time(2, heard=HEARD)
    assert binds(rig) == [("h2", kind)]
    assert rig.all_said(Bind)[0].reason.endswith(IN_VAIN)
    assert len([each for each in rig.explanations(R1) if WAITS in each]) == 1, "said once"


@ON_PURPOSE
def test_what_is_copied_leaves_at_once(asks, kind: MoveKind) -> None:  # type: ignore[no-untyped-def]
    rig = rig_of(R1)
    rig.guard("h2", copied={R1: True})
    asks(rig)
    assert binds(rig) == [("h2", kind)]


def test_a_host_that_has_just_built_a_router_has_said_nothing_yet_and_is_waited_for() -> None:
    """As where hosts are made even: it builds the router, and is to have it."""
    rig = rig_of(R1)
    rig.join(said("h3", copies=True))
    rig.settle("h1", "h2", "h3")
    rig.move(R1, "h3")
    for _ in range(3):
        rig.settle("h1", "h2", "h3")
    assert rig.standby(R1) == ("h3", "ready")
    assert binds(rig) == []
    assert WAITS.replace("h2", "h3") in rig.reason(R1)
    rig.guard("h3", copied={R1: False})
    rig.guard("h3", copied={R1: True})
    assert binds(rig) == [("h3", MoveKind.MANUAL)]


@pytest.mark.parametrize(
    ("copy", "is_copied"),
    [
        ({"h1": None, "h2": None}, None),
        ({"h1": None}, None),
        ({"h2": None}, None),
        ({"h1": False, "h2": False}, None),
        ({"h1": False}, False),
        ({"h2": False}, None),
    ],
    ids=["older", "older source", "older follower", "off", "off at the source", "off at the follower"],
)
def test_what_nobody_copies_or_says_nothing_of_is_not_waited_for(
    copy: Mapping[str, bool | None], is_copied: bool | None
) -> None:
    rig = rig_of(R1, copy=copy)
    rig.guard("h2", copied={R1: is_copied})
    drain(rig)
    assert binds(rig) == [("h2", MoveKind.DRAIN)]


def test_older_hosts_that_say_that_they_have_not_all_are_waited_for() -> None:
    rig = rig_of(R1, copy={"h1": None, "h2": None})
    rig.guard("h2", copied={R1: False})
    drain(rig)
    assert binds(rig) == []
    assert WAITS in rig.reason(R1)


def test_a_host_that_is_about_to_stop_has_no_time() -> None:
    rig = rig_of(R1)
    rig.guard("h2", copied={R1: False})
    drain(rig)
    assert binds(rig) == []
    rig.guard("h1", stopping=True)
    assert binds(rig) == [("h2", MoveKind.DRAIN)]
    assert IN_VAIN not in rig.all_said(Bind)[0].reason


def test_what_its_host_cannot_run_does_not_wait() -> None:
    rig = rig_of(R1)
    rig.guard("h2", copied={R1: False})
    drain(rig)
    assert binds(rig) == []
    rig.failed("h1", R1)
    assert binds(rig) == [("h2", MoveKind.RETRY)]


def test_what_reaches_nobody_outside_from_there_does_not_wait() -> None:
    rig = rig_of(R1)
    rig.say_ways("h1", lost="external")
    rig.guard("h2", copied={R1: False})
    drain(rig)
    assert binds(rig) == [("h2", MoveKind.DRAIN)]


def test_a_router_whose_host_dies_is_taken_over_as_ever() -> None:
    rig = rig_of(R1)
    rig.guard("h2", copied={R1: False})
    drain(rig)
    rig.take_over("h2", R1, tenure("h1"))
    assert (rig.host(R1), rig.role("h2", R1)) == ("h2", "active at 1")


def test_those_that_are_copied_do_not_wait_for_those_that_are_not_and_these_take_no_turns() -> None:
    rig = rig_of(R1, R2, R3)
    rig.guard("h2", copied={R1: False, R2: False, R3: True})
    rig.handle(DrainPaced(id="pace", host=HostName("h1"), at_once=1))
    drain(rig)
    assert [each.router_id for each in rig.all_said(Bind)] == [R3]
    for _ in range(2):
        rig.settle("h1", "h2")
    rig.pass_time(PATIENCE_S, heard=HEARD)
    assert [each.router_id for each in rig.all_said(Bind)] == [R3, R1], "they leave one at a time"
    rig.settle("h1", "h2")
    assert [each.router_id for each in rig.all_said(Bind)] == [R3, R1, R2], "it has waited while it had no turn"


def test_a_drain_that_is_taken_back_and_begun_again_waits_anew() -> None:
    rig = rig_of(R1)
    rig.guard("h2", copied={R1: False})
    drain(rig)
    rig.pass_time(PATIENCE_S - 1, heard=HEARD)
    rig.set_admin_up("h1", admin_up=True)
    assert WAITS not in rig.reason(R1)
    rig.pass_time(5, heard=HEARD)
    assert binds(rig) == []
    drain(rig)
    rig.pass_time(PATIENCE_S - 1, heard=HEARD)
    assert binds(rig) == []
    rig.pass_time(2, heard=HEARD)
    assert binds(rig) == [("h2", MoveKind.DRAIN)]


def test_a_standby_that_is_not_the_one_that_was_waited_for_is_waited_for_anew() -> None:
    rig = rig_of(R1)
    rig.guard("h2", copied={R1: False})
    drain(rig)
    rig.pass_time(PATIENCE_S - 1, heard=HEARD)
    rig.join(said("h2", copies=True), incarnation=2)
    for _ in range(3):
        rig.pass_time(1)
        rig.settle("h1", "h2")
    assert rig.standby(R1) == ("h2", "ready")
    assert binds(rig) == []
    rig.pass_time(PATIENCE_S, heard=HEARD)
    assert binds(rig) == [("h2", MoveKind.DRAIN)]


def test_a_standby_whose_link_is_closed_is_no_way_out_of_the_wait() -> None:
    """It cannot take it, whatever it has; and says it anew when it is back."""
    rig = rig_of(R1)
    rig.guard("h2", copied={R1: True})
    rig.handle(HostDisconnected(id="closed", host=HostName("h2")))
    drain(rig)
    assert binds(rig) == []
    rig.connect(said("h2", copies=True))
    rig.guard("h2", copied={R1: True})
    rig.obey("h2")
    assert binds(rig) == [("h2", MoveKind.DRAIN)]


def test_a_controller_that_starts_meanwhile_waits_for_as_long_at_most() -> None:
    rig = rig_of(R1)
    rig.guard("h2", copied={R1: False})
    move(rig)
    drain(rig)
    rig.restart()
    for name in HEARD:
        rig.connect(said(name, copies=True))
    rig.set_admin_up("h1", admin_up=False)
    rig.settle("h1", "h2")
    assert binds(rig) == []
    rig.pass_time(PATIENCE_S + 1, heard=HEARD)
    assert binds(rig) == [("h2", MoveKind.DRAIN)]
