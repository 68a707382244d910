"""Hosts whose agents do not work: what leaves them, what stays, and when nothing moves."""

from collections import Counter

import pytest
from planner_rig import TIMING, facts
from standby_rig import StandbyRig

from gapless.core.effects import Bind, ReportHost
from gapless.core.events import HostDisconnected
from gapless.core.ledger.views import HostStatus
from gapless.core.planner.agentless import STEADY_S
from gapless.model.host import HostName
from gapless.model.plan import MoveKind
from gapless.model.router import FailoverMode, RouterId
from gapless.sentinel.supervise import Patience

ALL = ("h1", "h2", "h3", "h4")
HUNG = "it hung: nothing was heard from it"
WHY = "it cannot be started: No such file or directory"
PATIENCE_S = TIMING.agent_patience_s
GUARDED = ("r1", "r2", "r3", "r4", "r5", "r6")


@pytest.fixture
def rig() -> StandbyRig:
    """Six guarded routers on h1, which the others stand by for; h1 is the only host at first."""
    made = StandbyRig("h1")
    made.protect(*GUARDED)
    made.settle("h1")
    for host in ALL[1:]:
        made.join(host)
    settle(made, 60)
    assert {made.host(each) for each in GUARDED} == {"h1"}
    assert all(made.standby(each)[1] == "ready" for each in GUARDED)
    made.forget()
    return made


def settle(rig: StandbyRig, seconds: float) -> None:
    """Everybody obeys each five seconds."""
    end = rig.now + seconds
    while rig.now < end:
        rig.pass_time(min(5.0, end - rig.now), heard=rig.incarnations)
        rig.settle(*rig.incarnations)


def cut_off(rig: StandbyRig, seconds: float) -> None:
    """h1 has no control link for so long."""
    rig.handle(HostDisconnected(id="cut", host=HostName("h1")))
    rig.pass_time(seconds, heard=("h2", "h3", "h4"))
    rig.connect(rig.store.hosts[HostName("h1")].facts)
    rig.guard("h1")


def view(rig: StandbyRig, host: str) -> HostStatus:
    return rig.planner.host_views(rig.now)[HostName(host)]


def left(rig: StandbyRig) -> list[tuple[str | None, MoveKind]]:
    return [(each.previous_host, each.kind) for each in rig.all_said(Bind)]


def said_of(rig: StandbyRig, host: str) -> list[str]:
    return [each.reason for each in rig.all_said(ReportHost) if each.host == host]


def test_an_agent_that_is_back_in_time_moves_nothing(rig: StandbyRig) -> None:
    rig.lose_agents(WHY, "h1")
    settle(rig, PATIENCE_S - 5)
    rig.mend_agents("h1")
    settle(rig, 2 * PATIENCE_S)
    assert not rig.all_said(Bind)
    assert view(rig, "h1").without_agent_s is None


def test_guarded_routers_leave_a_host_whose_agent_does_not_work_a_few_at_a_time(rig: StandbyRig) -> None:
    rig.lose_agents(WHY, "h1")
    rig.pass_time(PATIENCE_S + 1, heard=ALL)
    assert left(rig) == [("h1", MoveKind.DRAIN)] * 4
    assert rig.all_said(Bind)[0].reason == f"Router r1 leaves h1, whose agent does not work: {WHY}"
    assert rig.all_said(Bind)[0].choice.endswith(" stands by for it")
    assert rig.reason("r6") == "h1 has no agent that works; 4 routers leave it at a time"
    settle(rig, 30)
    assert {rig.state(each) for each in GUARDED} == {"active"}
    assert "h1" not in {rig.host(each) for each in GUARDED}


def test_the_host_is_marked_alive_and_says_why(rig: StandbyRig) -> None:
    rig.lose_agents(WHY, "h1")
    rig.pass_time(PATIENCE_S + 1, heard=ALL)
    marked = view(rig, "h1")
    assert (marked.alive, marked.standing, marked.takes_routers) == (True, "alive", False)
    assert marked.without_agent_s is not None
    assert marked.without_agent_s >= PATIENCE_S
    sentence = f"its agent has not worked for long ({WHY}): routers with standbys leave, the others go on forwarding"
    assert marked.reason == sentence
    told = rig.all_said(ReportHost)[-1]
    assert (told.host, told.reason, told.is_trouble) == ("h1", sentence, True)


def test_of_what_stays_there_nobody_says_that_it_is_healthy(rig: StandbyRig) -> None:
    def health() -> dict[str, int]:
        return Counter(each.health for each in rig.planner.router_views().values())

    assert health() == {"healthy": 6}
    rig.lose_agents(WHY, "h1")
    rig.pass_time(PATIENCE_S + 1, heard=ALL)
    stays = rig.planner.router_views()[RouterId("r6")]
    assert stays.health == "degraded"
    trouble = f"its agent has not worked for long ({WHY})"
    assert stays.ailment == f"nobody looks whether it is right: on h1 {trouble}"
    rig.mend_agents("h1")
    rig.pass_time(STEADY_S + 1, heard=ALL)
    assert rig.planner.router_views()[RouterId("r6")].health == "healthy"


def test_it_is_no_standby_and_gets_nothing_new(rig: StandbyRig) -> None:
    rig.lose_agents(WHY, "h1")
    settle(rig, PATIENCE_S + 60)
    assert "h1" not in {rig.standby(each)[0] for each in GUARDED}
    rig.protect("r7")
    settle(rig, 30)
    assert "h1" not in {rig.host("r7"), rig.standby("r7")[0]}


def test_a_standby_whose_agent_does_not_work_is_replaced(rig: StandbyRig) -> None:
    mine = [each for each in GUARDED if rig.standby(each)[0] == "h2"]
    assert mine
    rig.lose_agents(WHY, "h2")
    settle(rig, PATIENCE_S + 60)
    assert not rig.all_said(Bind)
    assert all(rig.standby(each) in (("h3", "ready"), ("h4", "ready")) for each in mine)


def test_when_it_works_again_the_host_is_in_service_and_nothing_moves_back(rig: StandbyRig) -> None:
    rig.lose_agents(WHY, "h1")
    settle(rig, PATIENCE_S + 60)
    rig.forget()
    rig.mend_agents("h1")
    settle(rig, STEADY_S + 60)
    assert not rig.all_said(Bind)
    assert view(rig, "h1").takes_routers
    assert view(rig, "h1").without_agent_s is None
    assert said_of(rig, "h1")[-1] == "it reports"


def test_an_agent_that_ends_again_and_again_is_as_good_as_none(rig: StandbyRig) -> None:
    for _ in range(int(PATIENCE_S // 10) + 1):
        rig.lose_agents(WHY, "h1")
        settle(rig, 5)
        rig.mend_agents("h1")
        settle(rig, STEADY_S - 5)
    assert view(rig, "h1").without_agent_s is not None
    assert not view(rig, "h1").takes_routers
    assert rig.all_said(Bind)


def test_an_agent_that_hangs_again_and_again_is_as_good_as_none(rig: StandbyRig) -> None:
    """Each is running until its sentinel has lost patience with its silence, and killed it."""
    silent_s = Patience().tick_s * (Patience().silent_ticks + 1)
    for _ in range(int(PATIENCE_S // silent_s) + 1):
        rig.lose_agents(HUNG, "h1")
        settle(rig, 1)
        rig.mend_agents("h1")
        settle(rig, silent_s)
    rig.lose_agents(HUNG, "h1")
    settle(rig, 5)
    assert view(rig, "h1").without_agent_s is not None
    assert ("h1", MoveKind.DRAIN) in left(rig)


def test_a_classic_router_stays_since_only_an_agent_could_remove_it(rig: StandbyRig) -> None:
    rig.set_mode("r1", FailoverMode.RESCHEDULE)
    settle(rig, 10)
    assert rig.role("h1", "r1") == "runs"
    rig.forget()
    rig.lose_agents(WHY, "h1")
    settle(rig, PATIENCE_S + 60)
    assert rig.host("r1") == "h1"
    assert rig.reason("r1") == "h1 has no agent that works; only an agent could remove it there, so it stays"


def test_a_router_that_is_not_to_move_is_not_asked_to(rig: StandbyRig) -> None:
    rig.set_mode("r1", FailoverMode.OFF)
    settle(rig, 10)
    rig.lose_agents(WHY, "h1")
    settle(rig, PATIENCE_S + 60)
    assert rig.host("r1") == "h1"
    assert "leave" not in rig.reason("r1")


def test_an_operator_may_take_guarded_routers_from_a_host_without_an_agent(rig: StandbyRig) -> None:
    rig.lose_agents(WHY, "h1")
    rig.move("r1", rig.standby("r1")[0])
    settle(rig, 5)
    assert [each.kind for each in rig.all_said(Bind)] == [MoveKind.MANUAL]
    assert rig.host("r1") != "h1"


def test_without_a_standby_it_gets_one_and_goes_there() -> None:
    rig = StandbyRig("h1")
    rig.protect("r1")
    rig.settle("h1")
    rig.lose_agents(WHY, "h1")
    rig.join("h2")
    rig.join("h3")
    settle(rig, PATIENCE_S + 60)
    assert rig.host("r1") in ("h2", "h3")


def test_where_nobody_can_take_it_the_router_stays_and_says_so() -> None:
    rig = StandbyRig("h1", facts("h2", lease_address="h2:9698", capacity=0), facts("h3", capacity=10))
    rig.protect("r1")
    rig.join("h4")
    settle(rig, 30)
    rig.set_admin_up("h4", admin_up=False)
    rig.forget()
    rig.lose_agents(WHY, "h1")
    settle(rig, PATIENCE_S + 10)
    assert not rig.all_said(Bind)
    assert rig.reason("r1") == (
        "h1 has no agent that works, but no other host can take it: "
        "its standby h4 is taken out of service, and there is no other yet"
    )


# A common cause


def test_when_most_agents_do_not_work_nothing_leaves_for_it(rig: StandbyRig) -> None:
    rig.lose_agents(WHY, "h1", "h2", "h3")
    settle(rig, 3 * PATIENCE_S)
    assert not rig.all_said(Bind)
    assert said_of(rig, "h1")[-1].endswith(
        "as on most hosts, so nothing leaves for it, and everything goes on forwarding"
    )
    assert view(rig, "h1").without_agent_s is not None


def test_those_that_fail_a_little_later_count_before_their_patience_is_over(rig: StandbyRig) -> None:
    rig.lose_agents(WHY, "h1")
    settle(rig, PATIENCE_S - 5)
    rig.lose_agents(WHY, "h2", "h3")
    settle(rig, PATIENCE_S)
    assert not rig.all_said(Bind)


def test_hosts_that_are_mended_one_after_another_have_time_for_that(rig: StandbyRig) -> None:
    rig.lose_agents(WHY, "h1", "h2", "h3")
    settle(rig, 2 * PATIENCE_S)
    rig.mend_agents("h2")
    settle(rig, PATIENCE_S - 10)
    rig.mend_agents("h3")
    assert not rig.all_said(Bind)
    settle(rig, PATIENCE_S)
    assert left(rig)[:1] == [("h1", MoveKind.DRAIN)], "it is not a common cause any more"


def test_half_of_the_hosts_are_not_most_and_those_that_carry_no_routers_do_not_count(rig: StandbyRig) -> None:
    rig.join(facts("arbiter", lease_address="arbiter:9698", capacity=0))
    rig.lose_agents(WHY, "h1", "h2", "arbiter")
    settle(rig, PATIENCE_S + 30)
    assert {host for host, _ in left(rig)} == {"h1"}


def test_where_no_agent_works_what_is_built_is_made_active_again_when_leases_are_back(rig: StandbyRig) -> None:
    """All arbiters were away for a moment: every host was fenced. What is to be done now is done by guards."""
    rig.lose_agents(WHY, *ALL)
    settle(rig, PATIENCE_S + 5)
    rig.fence(*ALL)
    rig.pass_time(1, heard=ALL)
    rig.hold(*ALL)
    settle(rig, 15)
    assert {rig.host(each) for each in GUARDED} <= set(ALL)
    assert all(rig.role(str(rig.host(each)), each) == "active at 2" for each in GUARDED)


def test_what_a_host_had_before_it_restarted_without_an_agent_is_not_believed_to_be_there(rig: StandbyRig) -> None:
    rig.lose_agents(WHY, *ALL)
    settle(rig, PATIENCE_S + 5)
    for host in ALL:
        rig.restart_host(host)
    settle(rig, 15)
    assert not rig.all_said(Bind)
    assert rig.reason("r1") == "h1 restarted, and no host can take it: h2, h3, h4: each has no running agent"
    rig.mend_agents("h1")
    settle(rig, 15)
    assert all(rig.role("h1", each) == "active at 2" for each in GUARDED)


def test_where_the_active_host_restarted_without_an_agent_a_standby_that_has_it_built_is_next(rig: StandbyRig) -> None:
    rig.lose_agents(WHY, *ALL)
    settle(rig, PATIENCE_S + 5)
    rig.restart_host("h1")
    settle(rig, 15)
    assert "h1" not in {rig.host(each) for each in GUARDED}
    assert all(rig.role(str(rig.host(each)), each) == "active at 1" for each in GUARDED)


# Time that does not count


def test_what_happened_while_there_was_no_link_does_not_count(rig: StandbyRig) -> None:
    rig.lose_agents(WHY, "h1")
    settle(rig, PATIENCE_S - 10)
    cut_off(rig, PATIENCE_S)
    rig.pass_time(5, heard=ALL)
    assert view(rig, "h1").without_agent_s is None
    settle(rig, 20)
    assert view(rig, "h1").without_agent_s is not None


def test_an_agent_that_works_when_the_link_is_back_gets_its_patience_anew(rig: StandbyRig) -> None:
    """It may have worked for all the time that nobody heard of it."""
    rig.lose_agents(WHY, "h1")
    settle(rig, PATIENCE_S - 10)
    cut_off(rig, STEADY_S)
    rig.mend_agents("h1")
    rig.lose_agents(WHY, "h1")
    settle(rig, PATIENCE_S - 5)
    assert view(rig, "h1").without_agent_s is None
    settle(rig, 10)
    assert view(rig, "h1").without_agent_s is not None


def test_an_agent_that_works_after_a_short_cut_has_to_show_that_it_does(rig: StandbyRig) -> None:
    """Or one that ends again and again would be saved by a link that does the same."""
    rig.lose_agents(WHY, "h1")
    settle(rig, PATIENCE_S - 10)
    cut_off(rig, STEADY_S / 2)
    rig.mend_agents("h1")
    rig.lose_agents(WHY, "h1")
    settle(rig, 15)
    assert view(rig, "h1").without_agent_s is not None


def test_a_host_that_was_restarted_gives_its_agent_its_patience_anew(rig: StandbyRig) -> None:
    """Or an agent that was killed before a reboot and again after it would look like one that never works."""
    rig.lose_agents(WHY, "h2")
    settle(rig, PATIENCE_S - 5)
    rig.mend_agents("h2")
    rig.restart_host("h2")
    rig.lose_agents(WHY, "h2")
    settle(rig, PATIENCE_S - 5)
    assert view(rig, "h2").without_agent_s is None
    settle(rig, 10)
    assert view(rig, "h2").without_agent_s is not None


def test_a_host_that_is_marked_stays_so_when_it_was_restarted(rig: StandbyRig) -> None:
    rig.lose_agents(WHY, "h2")
    settle(rig, PATIENCE_S + 5)
    rig.restart_host("h2")
    settle(rig, 5)
    assert view(rig, "h2").without_agent_s is not None


def test_a_pause_of_the_controller_does_not_count(rig: StandbyRig) -> None:
    rig.lose_agents(WHY, "h1")
    settle(rig, 10)
    rig.now += PATIENCE_S
    rig.follow(rig.planner.on_deadline(rig.now))
    assert view(rig, "h1").without_agent_s is None


def test_an_agent_that_works_after_a_pause_of_the_controller_gets_its_patience_anew(rig: StandbyRig) -> None:
    rig.lose_agents(WHY, "h1")
    settle(rig, PATIENCE_S - 10)
    rig.now += PATIENCE_S
    rig.follow(rig.planner.on_deadline(rig.now))
    rig.mend_agents("h1")
    settle(rig, STEADY_S / 2)
    rig.lose_agents(WHY, "h1")
    settle(rig, PATIENCE_S - 5)
    assert view(rig, "h1").without_agent_s is None
    settle(rig, 10)
    assert view(rig, "h1").without_agent_s is not None


def test_a_pause_of_the_controller_ends_no_common_cause(rig: StandbyRig) -> None:
    rig.lose_agents(WHY, "h1", "h2", "h3")
    settle(rig, PATIENCE_S + 5)
    rig.mend_agents("h2", "h3")
    settle(rig, STEADY_S + 5)
    rig.mend_agents("h1")
    rig.now += PATIENCE_S
    rig.follow(rig.planner.on_deadline(rig.now))
    settle(rig, STEADY_S + 10)
    assert not rig.all_said(Bind), "its agent works, and had no time to show it"
    assert view(rig, "h1").without_agent_s is None


def test_a_controller_that_starts_gives_every_agent_its_patience_anew(rig: StandbyRig) -> None:
    rig.lose_agents(WHY, "h1")
    settle(rig, PATIENCE_S - 5)
    rig.restart()
    for host in ALL:
        rig.connect(rig.store.hosts[HostName(host)].facts)
        rig.guard(host)
    rig.forget()
    settle(rig, PATIENCE_S - 10)
    assert not rig.all_said(Bind)
    settle(rig, 15)
    assert left(rig)[:1] == [("h1", MoveKind.DRAIN)]
