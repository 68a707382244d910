"""What is seen of a host that is drained: before, meanwhile, and where nobody can take what it has."""

from dataclasses import replace

from planner_rig import ACTIVE, REMOVED, Rig, facts, needs
from standby_rig import StandbyRig

from gapless.core.effects import Bind
from gapless.core.events import DrainPaced, HostConnected
from gapless.core.ledger.fleet import DRAINS_AT_ONCE
from gapless.core.ledger.views import DrainStatus
from gapless.model.host import HostName, Incarnation
from gapless.model.router import RouterId

H1 = HostName("h1")


def ten() -> Rig:
    """Ten classic routers on h1, none on h2."""
    rig = Rig("h1", "h2")
    rig.set_admin_up("h2", admin_up=False)
    rig.want(*(f"r{number}" for number in range(10)))
    rig.set_admin_up("h2", admin_up=True)
    rig.forget()
    return rig


def pace(rig: Rig, at_once: int) -> None:
    rig.handle(DrainPaced(id="pace", host=HostName("h1"), at_once=at_once))


def seen(rig: Rig, host: str = "h1") -> DrainStatus:
    status = rig.planner.drain_view(HostName(host))
    assert status is not None
    return status


def kinds(rig: Rig, host: str = "h1") -> list[tuple[str, str | None, str]]:
    return [(each.kind, each.host, each.reason) for each in rig.planner.prospects(HostName(host))]


def settle_for_long(rig: StandbyRig) -> None:
    for _ in range(3):
        rig.settle("h1", "h2")
        rig.pass_time(1)


def test_as_many_leave_at_a_time_as_an_operator_says() -> None:
    rig = ten()
    pace(rig, 2)
    rig.set_admin_up("h1", admin_up=False)
    assert len(rig.all_said(Bind)) == 2
    assert rig.reason("r9") == "h1 is taken out of service; 2 routers leave it at a time"
    pace(rig, 7)
    assert len(rig.all_said(Bind)) == 7
    rig.set_admin_up("h1", admin_up=True)
    assert seen(rig).at_once == 4, "the next drain begins as usual"


def test_a_planner_that_begins_in_the_middle_goes_on_at_the_pace_that_is_stored() -> None:
    rig = ten()
    pace(rig, 2)
    rig.set_admin_up("h1", admin_up=False)
    rig.store.hosts[H1] = replace(rig.store.hosts[H1], admin_up=False, drains_at_once=2)
    rig.forget()
    rig.restart()
    for known in list(rig.store.hosts.values()):
        rig.handle(HostConnected(id="c", facts=known.facts, incarnation=Incarnation(1), admin_up=known.admin_up))
        rig.report(known.facts.name)
    assert (seen(rig).at_once, seen(rig).leaving) == (2, 2)
    assert not rig.all_said(Bind), "who was leaving before still is"
    for number in (0, 1):
        rig.say("h1", f"r{number}", REMOVED)
        rig.say("h2", f"r{number}", ACTIVE)
    assert [each.router_id for each in rig.all_said(Bind)] == ["r2", "r3"]
    rig.set_admin_up("h1", admin_up=True)
    assert seen(rig).at_once == 4


def test_a_drain_is_seen_from_its_beginning_to_its_end() -> None:
    rig = ten()
    assert (seen(rig).routers, seen(rig).admin_up) == (10, True)
    pace(rig, 10)
    rig.set_admin_up("h1", admin_up=False)
    assert (seen(rig).routers, seen(rig).leaving, seen(rig).on_their_way) == (0, 10, 0)
    for number in range(10):
        rig.say("h1", f"r{number}", REMOVED)
    assert (seen(rig).leaving, seen(rig).on_their_way, seen(rig).standing) == (0, 10, "drained")
    for number in range(10):
        rig.say("h2", f"r{number}", ACTIVE)
    assert (seen(rig).routers, seen(rig).leaving, seen(rig).on_their_way) == (0, 0, 0)


def test_what_is_being_bound_elsewhere_is_leaving_and_goes_though_the_drain_is_taken_back() -> None:
    """Else nothing would seem to be on its way a moment before the last ones leave."""
    rig = ten()
    rig.answers = False
    rig.set_admin_up("h1", admin_up=False)
    rig.set_admin_up("h1", admin_up=True)
    assert len(rig.all_said(Bind)) == DRAINS_AT_ONCE
    assert (seen(rig).routers, seen(rig).leaving) == (10 - DRAINS_AT_ONCE, DRAINS_AT_ONCE)
    for bind in list(rig.unanswered):
        rig.answer(bind)
    assert (seen(rig).routers, seen(rig).leaving) == (10 - DRAINS_AT_ONCE, DRAINS_AT_ONCE)


def test_a_drain_that_is_taken_back_lets_go_what_was_leaving_and_keeps_the_rest() -> None:
    rig = ten()
    rig.set_admin_up("h1", admin_up=False)
    rig.say("h1", "r0", REMOVED)
    rig.forget()
    rig.set_admin_up("h1", admin_up=True)
    for number in range(4):
        rig.say("h1", f"r{number}", REMOVED)
        rig.say("h2", f"r{number}", ACTIVE)
    assert not rig.all_said(Bind), "nothing else leaves, and nothing moves back"
    assert {rig.host(f"r{number}") for number in range(4)} == {"h2"}
    assert {(rig.host(f"r{number}"), rig.state(f"r{number}")) for number in range(4, 10)} == {("h1", "active")}
    assert "taken out of service" not in rig.reason("r9")
    assert (seen(rig).admin_up, seen(rig).routers, seen(rig).leaving, seen(rig).on_their_way) == (True, 6, 0, 0)


def test_a_guarded_router_on_its_way_arrives_though_the_drain_is_taken_back_and_its_old_host_stands_by() -> None:
    rig = StandbyRig("h1", "h2")
    rig.set_admin_up("h2", admin_up=False)
    rig.protect("r1", "r2")
    rig.settle("h1")
    rig.set_admin_up("h2", admin_up=True)
    settle_for_long(rig)
    rig.forget()
    pace(rig, 1)
    rig.set_admin_up("h1", admin_up=False)
    (bind,) = rig.all_said(Bind)
    leaves, stays = bind.router_id, ({"r1", "r2"} - {bind.router_id}).pop()
    assert rig.state(leaves) == "withdrawing"
    rig.forget()
    rig.set_admin_up("h1", admin_up=True)
    settle_for_long(rig)
    assert not rig.all_said(Bind)
    assert (rig.host(leaves), rig.state(leaves), rig.standby(leaves)) == ("h2", "active", ("h1", "ready"))
    assert (rig.host(stays), rig.state(stays), rig.standby(stays)) == ("h1", "active", ("h2", "ready"))
    assert {host: set(there) for host, there in rig.open.items()} == {"h1": {stays}, "h2": {leaves}}


def test_what_nobody_can_take_is_named_with_the_reason_before_and_meanwhile() -> None:
    rig = Rig("h1", facts("h2", capacity=0))
    rig.want("r1")
    assert kinds(rig) == [("stuck", None, "no host can take it: h2 carries no routers")]
    rig.set_admin_up("h1", admin_up=False)
    assert seen(rig).stuck == {"r1": "h1 is taken out of service, but no other host can take it: h2 carries no routers"}
    assert (seen(rig).routers, seen(rig).standing) == (1, "draining")


def test_a_classic_router_is_built_by_whoever_can_take_it() -> None:
    rig = Rig("h1", "h2", "h3")
    rig.want("r1")
    assert kinds(rig) == [("build", None, "h2 or h3 can take it, and has to build it first")]
    rig.set_admin_up("h3", admin_up=False)
    assert kinds(rig) == [("build", "h2", "h2 has to build it first")]


def test_a_guarded_router_goes_to_its_standby_if_that_has_it_built() -> None:
    rig = StandbyRig("h1", "h2")
    rig.protect("r1")
    rig.obey("h1")
    assert kinds(rig) == [("build", "h2", "h2 stands by for it, and builds it")]
    rig.settle("h1", "h2")
    unsaid = "and does not say whether it has its connections"
    assert kinds(rig) == [("switchover", "h2", f"h2 has it built, {unsaid}")]
    for copied, words in ((False, "and not all of its connections yet"), (True, "with its connections")):
        rig.guard("h2", copied={RouterId("r1"): copied})
        assert kinds(rig) == [("switchover", "h2", f"h2 has it built, {words}")]
        assert [each.copied for each in rig.planner.prospects(H1)] == [copied]
    rig.set_admin_up("h2", admin_up=False)
    assert kinds(rig) == [("stuck", None, "no host can take it: h2 is taken out of service")]


def test_nothing_leaves_a_host_that_is_not_heard() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.pass_time(80, heard=["h2"])
    (prospect,) = kinds(rig)
    assert prospect == ("stuck", None, "no host can take it: h1 is silent, and has to be heard to let go of it")


def test_a_host_that_nobody_knows_is_none() -> None:
    rig = Rig("h1")
    rig.want(needs("r1"))
    assert rig.planner.drain_view(HostName("h9")) is None
    assert rig.planner.prospects(HostName("h9")) == []


def test_a_guarded_router_leaves_a_host_whose_agent_does_not_work() -> None:
    """Its guard closes it, which takes no agent."""
    rig = StandbyRig("h1", "h2")
    rig.protect("r1")
    rig.settle("h1", "h2")
    rig.lose_agents("it cannot be started", "h1")
    ((kind, host, _),) = kinds(rig)
    assert (kind, host) == ("switchover", "h2")
