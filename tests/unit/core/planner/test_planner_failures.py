"""A router whose host cannot run it goes to another one; one that nobody can run does not tour the hosts."""

from planner_rig import ACTIVE, BUILDING, FAILED, REMOVED, Rig, needs
from standby_rig import StandbyRig

from gapless.core.effects import Bind
from gapless.core.events import RouterWanted
from gapless.model.host import AgentState, HostName
from gapless.model.plan import Epoch, MoveKind, MoveStep, RouterReport
from gapless.model.router import FailoverMode, RouterId


def test_a_router_whose_new_host_fails_goes_to_another() -> None:
    rig = Rig("h1", "h2", "h3")
    rig.want("r1")
    rig.pass_time(150, heard=["h2", "h3"])
    rig.forget()
    rig.say("h2", "r1", FAILED, "no such device")
    assert MoveStep.FAILED in rig.steps("r1", 2)
    (bind,) = rig.all_said(Bind)
    assert (bind.host, bind.epoch, bind.kind, bind.leaving_host) == ("h3", 3, MoveKind.RETRY, "h2")
    assert rig.explanations("r1") == [
        "Router r1 leaves h2, which cannot run it: no such device; h3 takes it",
        "waits until h2 says that nothing of it is left there",
    ]
    assert MoveStep.SUPERSEDED not in rig.steps("r1", 2), "it failed, which says more"
    rig.say("h2", "r1", REMOVED)
    assert rig.plan("h3") == {"r1": 3}
    assert rig.host("r1") == "h3"


def test_a_router_that_its_old_host_cannot_remove_says_why_until_nothing_of_it_is_left() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    before = rig.planner.plan_version(HostName("h1"))
    rig.move("r1", "h2")
    waits = "waits until h1 says that nothing of it is left there"
    assert rig.reason("r1") == waits
    built_badly = RouterReport(router_id=RouterId("r1"), epoch=Epoch(1), state=FAILED, reason="no such device")
    rig.report("h1", built_badly, plan_version=before)
    assert rig.reason("r1") == waits, "it says that from a plan that has it"
    rig.say("h1", "r1", FAILED, "could not be removed: busy")
    assert rig.reason("r1") == f"{waits}; so far it says: could not be removed: busy"
    rig.say("h1", "r1", FAILED, "could not be removed: no memory")
    assert rig.reason("r1") == f"{waits}; so far it says: could not be removed: no memory"
    rig.say("h1", "r1", REMOVED)
    assert rig.plan("h2") == {"r1": 2}

    rig.say("h2", "r1", ACTIVE)
    rig.move("r1", "h1")
    assert rig.reason("r1") == waits.replace("h1", "h2"), "what h1 could not do is no reason of h2"


def test_what_an_old_host_could_not_remove_is_forgotten_when_that_host_is_gone() -> None:
    rig = Rig("h1", "h2", "h3")
    rig.want("r1")
    rig.move("r1", "h2")
    rig.say("h1", "r1", FAILED, "could not be removed: busy")
    rig.pass_time(150, heard=["h2", "h3"])
    rig.say("h2", "r1", ACTIVE)
    assert rig.plan("h2") == {"r1": 2}
    rig.move("r1", "h3")
    assert rig.reason("r1") == "waits until h2 says that nothing of it is left there"


def test_a_router_that_begins_to_be_guarded_while_it_leaves_says_why_it_waits_as_well() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.move("r1", "h2")
    rig.handle(RouterWanted(id="guard", needs=needs("r1", FailoverMode.STANDBY)))
    rig.say("h1", "r1", FAILED, "could not be removed: busy")
    assert rig.reason("r1").endswith("nothing of it is left there; so far it says: could not be removed: busy")


def test_what_an_old_host_could_not_remove_is_not_said_any_more_while_only_its_guard_is_waited_for() -> None:
    rig = StandbyRig("h1", "h2")
    rig.want("r1")
    of_before = rig.planner.plan_version(HostName("h1"))
    rig.move("r1", "h2")
    waits = "waits until h1 says that nothing of it is left there"
    failed = RouterReport(router_id=RouterId("r1"), epoch=Epoch(1), state=FAILED, reason="could not be removed: busy")
    rig.guard("h1", failed, version=of_before)
    assert rig.reason("r1") == f"{waits}; so far it says: could not be removed: busy"
    rig.guard("h1", RouterReport(router_id=RouterId("r1"), epoch=Epoch(1), state=REMOVED), version=of_before)
    assert rig.reason("r1") == waits
    rig.guard("h1")
    assert rig.plan("h2") == {"r1": 2}


def test_how_a_router_is_by_its_hosts_last_word_while_that_host_is_heard() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")

    def health() -> tuple[str, str]:
        view = rig.planner.router_views()[RouterId("r1")]
        return view.health, view.ailment

    home = rig.host("r1") or ""
    rig.say(home, "r1", BUILDING)
    assert health() == ("", "")
    rig.say(home, "r1", ACTIVE)
    assert health() == ("healthy", "")
    report = RouterReport(
        router_id=RouterId("r1"), epoch=rig.epoch("r1"), state=ACTIVE, ailment="it could not be repaired yet: no memory"
    )
    rig.report(home, report)
    assert health() == ("degraded", "it could not be repaired yet: no memory")
    assert rig.host("r1") == home
    rig.pass_time(100, heard=())
    assert health() == ("", "")


def test_a_router_that_no_other_host_can_take_stays_and_is_retried_there() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.pass_time(150, heard=["h2"])
    rig.say("h2", "r1", FAILED, "no such device")
    assert rig.host("r1") == "h2"
    assert rig.reason("r1") == (
        "h2 cannot run it (no such device) and goes on trying; no other host can take it: h1 is dead"
    )
    rig.forget()
    rig.say("h2", "r1", BUILDING)
    assert rig.state("r1") == "failed", "what failed has failed until it is active"
    assert rig.explanations("r1") == []
    rig.say("h2", "r1", ACTIVE)
    assert rig.state("r1") == "active"
    assert rig.explanations("r1") == [""]
    assert MoveStep.CONFIRMED in rig.steps("r1", 2)


def test_a_router_that_had_long_been_active_moves_as_well() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.pass_time(1000, heard=["h1", "h2"])
    rig.forget()
    rig.say("h1", "r1", FAILED, "the namespace cannot be repaired")
    assert [bind.kind for bind in rig.all_said(Bind)] == [MoveKind.RETRY]
    assert rig.steps("r1", 1) == {}, "the move that brought it here was confirmed long ago"


def test_a_router_does_not_return_to_a_host_that_failed_until_a_while_has_passed() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.say("h1", "r1", FAILED)
    rig.say("h1", "r1", REMOVED)
    assert rig.plan("h2") == {"r1": 2}
    rig.say("h2", "r1", FAILED)
    assert rig.reason("r1").endswith("h1 could not run it a short while ago")
    rig.pass_time(29, heard=["h1", "h2"])
    assert rig.host("r1") == "h2"
    rig.pass_time(2, heard=["h1", "h2"])
    assert rig.host("r1") == "h1"
    rig.say("h2", "r1", REMOVED)
    rig.say("h1", "r1", FAILED)  # h1 for the second time: it is avoided for twice as long.
    rig.pass_time(35, heard=["h1", "h2"])
    assert rig.host("r1") == "h2"
    rig.say("h1", "r1", REMOVED)
    rig.say("h2", "r1", FAILED)
    rig.pass_time(20, heard=["h1", "h2"])
    assert rig.host("r1") == "h2"


def test_a_router_that_fails_for_one_reason_wherever_it_is_does_not_tour_the_hosts() -> None:
    rig = Rig("h1", "h2", "h3", "h4")
    hosts = ["h1", "h2", "h3", "h4"]
    rig.want("r1")
    rig.say("h1", "r1", ACTIVE)
    rig.say("h1", "r1", FAILED, "nft: too many elements")
    rig.say("h1", "r1", REMOVED)
    assert rig.plan("h2") == {"r1": 2}
    rig.forget()
    rig.say("h2", "r1", FAILED, "nft: too many elements")
    assert rig.explanations("r1") == [
        "h2 cannot run it (nft: too many elements) and goes on trying; h1 failed with it for the same reason, so it is "
        "not moved on for 10 minutes"
    ]
    rig.pass_time(599, heard=hosts)
    assert (rig.host("r1"), rig.all_said(Bind)) == ("h2", [])
    rig.pass_time(2, heard=hosts)
    assert rig.host("r1") == "h3", "one that it has not failed on, not h1"
    rig.say("h2", "r1", REMOVED)
    rig.say("h3", "r1", FAILED, "nft: too many elements")
    rig.pass_time(599, heard=hosts)
    assert rig.host("r1") == "h3"


def test_a_router_that_tours_is_tried_on_a_new_host_soon() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.say("h1", "r1", FAILED, "no such device")
    rig.say("h1", "r1", REMOVED)
    rig.say("h2", "r1", FAILED, "no such device")
    rig.pass_time(40, heard=["h1", "h2"])
    assert rig.host("r1") == "h2"
    rig.join("h3")
    rig.pass_time(29, heard=["h1", "h2", "h3"])
    assert rig.host("r1") == "h2", "until it is sure that the new host's agent runs"
    rig.pass_time(2, heard=["h1", "h2", "h3"])
    assert rig.host("r1") == "h3"


def test_another_reason_or_a_while_of_work_is_another_matter() -> None:
    rig = Rig("h1", "h2", "h3")
    rig.want("r1")
    rig.say("h1", "r1", FAILED, "no such device")
    rig.say("h1", "r1", REMOVED)
    rig.say("h2", "r1", FAILED, "no memory")
    rig.say("h2", "r1", REMOVED)
    assert rig.plan("h3") == {"r1": 3}
    rig.say("h3", "r1", ACTIVE)
    rig.pass_time(700, heard=["h1", "h2", "h3"])
    rig.say("h3", "r1", FAILED, "no such device")
    assert rig.host("r1") == "h1"


def test_a_host_that_failed_a_short_while_ago_is_better_than_a_dead_one() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.pass_time(140, heard=["h1"])
    rig.join("h2")
    rig.say("h1", "r1", FAILED)
    rig.say("h1", "r1", REMOVED)
    rig.pass_time(10, heard=["h1", "h2"])
    rig.say("h2", "r1", FAILED)
    rig.pass_time(10)
    assert rig.host("r1") == "h2"
    rig.pass_time(150, heard=["h1"])
    assert rig.host("r1") == "h1"


def test_a_host_without_a_running_agent_is_not_asked_to_let_go() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.report("h1", agent=AgentState.RESTARTING)
    rig.set_admin_up("h1", False)
    assert rig.reason("r1") == "it should leave h1, but that host has no running agent, so it stays"
    assert rig.plan("h1") == {"r1": 1}
    rig.report("h1")
    assert rig.state("r1") == "withdrawing"
