"""Another machine under a host's name: what is known of the one before is neither forgotten nor taken for its own."""

from dataclasses import replace

import pytest
from planner_rig import facts
from standby_rig import StandbyRig, tenure

from gapless.core.effects import AskArbiters, Bind
from gapless.core.events import HostForgotten, RouterWanted
from gapless.core.planner.restarts import NEWS_S
from gapless.model.host import MACHINE_STEP, HostFacts, HostName, InstanceId
from gapless.model.plan import MoveKind
from gapless.model.router import FailoverMode, RouterId

H1 = HostName("h1")
FIRST = MACHINE_STEP + 1


def another(name: str) -> HostFacts:
    """A machine that was never here, under this name."""
    return replace(facts(name, lease_address=f"{name}:9698"), instance=InstanceId("another"))


def two(*, incarnation: int = 9) -> StandbyRig:
    """r1 active on h1, h2 ready to succeed."""
    rig = StandbyRig("h2")
    rig.join("h1", incarnation)
    rig.protect("r1")
    rig.settle("h1", "h2")
    if rig.host("r1") == "h2":
        rig.move("r1", "h1")
        rig.settle("h1", "h2")
    assert (rig.host("r1"), rig.standby("r1")) == ("h1", ("h2", "ready"))
    rig.forget()
    return rig


def connects(rig: StandbyRig, incarnation: int) -> None:
    """The other machine has a control link, and no lease yet."""
    rig.incarnations["h1"], rig.open["h1"] = incarnation, {}
    rig.connect(another("h1"))
    rig.guard("h1", leased=0)


def forget(rig: StandbyRig) -> None:
    rig.handle(HostForgotten(id="operator", host=H1))


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_lease_at_an_incarnation_that_is_over_counts_for_nothing(is_deleted: bool) -> None:
    """Arbiters that have restarted grant it: what the controller knows of the name says that it is over."""
    rig = two()
    rig.take_over("h2", "r1", tenure("h1", 9))
    rig.settle("h2")
    if is_deleted:
        forget(rig)
    rig.join(another("h1"), 1)
    rig.protect("r2", "r3")
    rig.pass_time(15, heard=("h1", "h2"))
    rig.settle("h1", "h2")
    assert not rig.planner.host_views(rig.now)[H1].holds_lease
    assert {rig.host("r2"), rig.host("r3")} == {"h2"}
    assert rig.reason("r1") == "no standby: h1 holds no lease"


@pytest.mark.parametrize("is_deleted", [False, True])
def test_above_them_it_takes_part_as_any_other(is_deleted: bool) -> None:
    rig = two()
    rig.take_over("h2", "r1", tenure("h1", 9))
    rig.settle("h2")
    if is_deleted:
        forget(rig)
    rig.join(another("h1"), FIRST)
    rig.pass_time(15, heard=("h1", "h2"))
    rig.settle("h1", "h2")
    assert (rig.host("r1"), rig.standby("r1")) == ("h2", ("h1", "ready"))


@pytest.mark.parametrize("is_deleted", [False, True])
def test_it_does_not_say_that_the_one_before_is_over(is_deleted: bool) -> None:
    """That one may be forwarding, cut off from the controller: nobody is opened before its lease is over for sure."""
    rig = two()
    if is_deleted:
        forget(rig)
    connects(rig, FIRST)
    connects(rig, FIRST + 5)  # Its sentinel is started anew: it says so of its own incarnations.
    rig.pass_time(3, heard=())
    assert rig.all_said(Bind) == []
    assert {each.tenure for each in rig.all_said(AskArbiters)} <= {tenure("h1", 9)}
    assert rig.role("h2", "r1") == "may succeed h1@9"


def test_its_first_lease_says_it() -> None:
    """An arbiter grants another machine nothing before what it granted the one before has expired."""
    rig = two()
    connects(rig, FIRST)
    rig.guard("h1", leased=FIRST)
    rig.pass_time(NEWS_S, heard=("h1", "h2"))
    assert [(each.host, each.kind) for each in rig.all_said(Bind)] == [("h2", MoveKind.RESTART)]


@pytest.mark.parametrize("is_deleted", [False, True])
def test_it_has_not_closed_what_the_one_before_had_the_right_to(is_deleted: bool) -> None:
    """What it says of its own guard proves nothing of the other's."""
    rig = two(incarnation=1)
    rig.set_mode("r1", FailoverMode.RESCHEDULE)
    assert rig.role("h2", "r1") == "built"
    if is_deleted:
        rig.handle(HostForgotten(id="operator", host=HostName("h2")))
    rig.incarnations["h2"], rig.open["h2"] = FIRST, {}
    rig.connect(another("h2"))
    rig.guard("h2", leased=0)
    assert rig.standby("r1")[0] == "h2"
    rig.guard("h2", leased=FIRST)
    assert rig.standby("r1") == (None, "")


def test_a_host_that_was_deleted_and_is_back_says_that_it_lost_its_right() -> None:
    """Versions of plans go on: else it would have to live through as many as before until its word counts."""
    rig = two(incarnation=1)
    for _ in range(40):
        rig.handle(RouterWanted(id="api", needs=rig.store.needs[RouterId("r1")]))
    rig.set_admin_up("h2", admin_up=False)
    rig.join("h3")
    rig.set_mode("r1", FailoverMode.RESCHEDULE)
    assert rig.reason("r1") == "waits until h2 says that it will not succeed h1 any more"
    rig.handle(HostForgotten(id="operator", host=HostName("h2")))
    rig.connect(facts("h2", lease_address="h2:9698"))
    rig.guard("h2")
    assert rig.standby("r1") == (None, "")


def test_until_it_knows_its_range_its_incarnations_say_nothing_of_the_machine_before() -> None:
    """It was installed anew, counts from 1, and passes by the incarnation of the one that may still forward."""
    rig = two()
    rig.incarnations["h1"], rig.open["h1"] = FIRST, {}
    rig.connect(another("h1"))
    rig.incarnations["h1"] = 20
    rig.guard("h1", leased=0)
    rig.pass_time(NEWS_S, heard=("h2",))
    assert rig.all_said(Bind) == []
