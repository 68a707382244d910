"""Hosts that have lost a way out: what leaves them, where it goes, what stays, and when nothing moves."""

from collections.abc import Callable, Collection
from ipaddress import IPv4Address
from itertools import pairwise

import pytest
from planner_rig import ACTIVE, REMOVED, needs
from standby_rig import StandbyRig, tenure
from ways_rig import OUTSIDE, fleet, moves, plugged, settle

from gapless.core.effects import Bind, EngageBrake, ReportHost
from gapless.core.events import DrainPaced, HostDisconnected, RouterWanted
from gapless.core.ledger.ways import SETTLED_S, WaysRecord
from gapless.model.host import HostName
from gapless.model.plan import MoveKind
from gapless.model.router import FailoverMode
from gapless.model.way import WayOut, WaysSaid

ALL = ("h1", "h2", "h3")


@pytest.fixture
def rig() -> StandbyRig:
    """r1 uses the network that is going to be lost and r2 another one; both are on h1, and h2 is ready for them."""
    made = fleet("h1")
    made.protect("r1", physical_networks=OUTSIDE)
    made.protect("r2", physical_networks=frozenset({"other"}))
    made.settle("h1")
    made.join(plugged("h2"))
    made.say_ways("h2")
    settle(made, 20)
    assert made.standby("r1") == made.standby("r2") == ("h2", "ready")
    made.forget()
    return made


# Guarded routers


def test_what_uses_the_way_moves_to_the_standby_that_has_it(rig: StandbyRig) -> None:
    rig.say_ways("h1", lost="external")
    rig.pass_time(SETTLED_S - 1)
    assert not moves(rig), "it has not stood for long enough"
    settle(rig, 3)
    assert moves(rig) == [("r1", "h1", "h2")]
    (bind,) = rig.all_said(Bind)
    assert (bind.kind, bind.leaving_host) == (MoveKind.DRAIN, "h1"), "the host that it leaves has to close it first"
    assert bind.reason == "Router r1 leaves h1, which has lost its way out: external"
    assert rig.host("r2") == "h1"
    rig.forget()
    rig.say_ways("h1")
    settle(rig, 60)
    assert not moves(rig), "nothing moves back"


def test_a_loss_that_ends_in_time_moves_nothing(rig: StandbyRig) -> None:
    for _ in range(5):
        rig.say_ways("h1", lost="external")
        settle(rig, SETTLED_S - 1)
        rig.say_ways("h1")
        settle(rig, 3)
    assert not moves(rig)


def test_what_all_have_lost_moves_nothing_neither_when_it_goes_nor_when_it_is_back(rig: StandbyRig) -> None:
    rig.say_ways("h1", "h2", lost="external")
    settle(rig, 120)
    rig.say_ways("h2")
    settle(rig, SETTLED_S - 1)
    rig.say_ways("h1")
    settle(rig, 60)
    assert not moves(rig)


def test_what_stays_says_why_and_goes_as_soon_as_the_standby_has_the_way(rig: StandbyRig) -> None:
    rig.say_ways("h1", "h2", lost="external")
    settle(rig, 30)
    assert rig.reason("r1") == ("its standby h2 has lost its way out: external, and there is no other yet")
    rig.say_ways("h2")
    settle(rig, SETTLED_S + 1)
    assert moves(rig) == [("r1", "h1", "h2")]


@pytest.mark.parametrize("unknown", ["says nothing", "cannot vouch"])
def test_nothing_moves_to_a_host_that_is_not_known_to_have_the_way(rig: StandbyRig, unknown: str) -> None:
    """It may be of an older release; or its gateway has never answered it."""
    if unknown == "says nothing":
        del rig.ways["h2"]
    else:
        rig.say_ways("h2", unsure="external")
    settle(rig, 10)
    rig.say_ways("h1", lost="external")
    settle(rig, 60)
    assert not moves(rig)
    assert rig.reason("r1") == "h1 has lost its way out: external; no host that could take it now has it"


def test_a_host_that_says_nothing_is_not_left_whatever_it_says_in_words(rig: StandbyRig) -> None:
    del rig.ways["h1"]
    settle(rig, 60)
    assert not moves(rig)


def test_a_router_of_mode_off_does_not_move(rig: StandbyRig) -> None:
    rig.store.needs[needs("r1").router_id] = asked = needs("r1", FailoverMode.OFF, physical_networks=OUTSIDE)
    rig.handle(RouterWanted(id="off", needs=asked))
    settle(rig, 5)
    rig.say_ways("h1", lost="external")
    settle(rig, 60)
    assert not moves(rig)


def test_another_gateway_of_the_same_network_is_another_way() -> None:
    lost, there = (WayOut("external", IPv4Address(f"203.0.113.{number}")) for number in (1, 129))
    rig = fleet("h1")
    rig.protect("r1", physical_networks=OUTSIDE, gateway=lost)
    rig.protect("r2", physical_networks=OUTSIDE, gateway=there)
    rig.settle("h1")
    rig.join(plugged("h2"))
    rig.ways["h2"] = WaysSaid(there=(lost, there))
    settle(rig, 20)
    rig.forget()
    rig.ways["h1"] = WaysSaid(lost=(lost,), there=(there,))
    settle(rig, 30)
    assert moves(rig) == [("r1", "h1", "h2")]


GATEWAY = WayOut("external", IPv4Address("203.0.113.1"))


def test_a_gateway_that_is_silent_for_all_moves_nothing_though_some_hosts_do_not_look_at_it() -> None:
    """A host looks at the gateways of its own routers, from when it has one until it has none."""
    rig = fleet(*ALL)
    rig.protect("r1", physical_networks=OUTSIDE, gateway=GATEWAY)
    settle(rig, 10)
    rig.forget()
    had_it = {rig.host("r1"), *(host for host, _ in rig.standbys_of("r1"))}
    course = []
    for _ in range(60):
        standbys = [host for host, _ in rig.standbys_of("r1")]
        for host in ALL:
            looks = host in {rig.host("r1"), *standbys}
            silent = WaysSaid(lost=(GATEWAY,)) if host in had_it else WaysSaid(unsure=(GATEWAY,))
            rig.ways[host] = silent if looks else WaysSaid()
        settle(rig, 2)
        course.append(standbys)
    assert not moves(rig)
    assert all(before == after for before, after in pairwise(course[5:])), course


def test_a_classic_router_does_not_go_where_nobody_looks_at_its_gateway() -> None:
    rig = fleet("h1", "h2")
    rig.store.needs[needs("c1").router_id] = asked = needs("c1", physical_networks=OUTSIDE, gateway=GATEWAY)
    rig.handle(RouterWanted(id="classic", needs=asked))
    settle(rig, 5)
    home = rig.host("c1")
    (other,) = {"h1", "h2"} - {home}
    rig.forget()
    rig.ways[home] = WaysSaid(lost=(GATEWAY,))
    settle(rig, 60)
    assert not moves(rig)
    rig.ways[other] = WaysSaid(there=(GATEWAY,))
    settle(rig, 20)
    assert moves(rig) == [("c1", home, other)], "where it is known to answer it goes"


def test_a_classic_router_leaves_a_carrier_that_is_cut_though_nobody_looks_at_its_gateway() -> None:
    rig = fleet("h1", "h2")
    rig.want(needs("c1", physical_networks=OUTSIDE, gateway=GATEWAY))
    settle(rig, 5)
    home = rig.host("c1")
    (other,) = {"h1", "h2"} - {home}
    rig.forget()
    rig.say_ways(str(home), lost="external")
    settle(rig, 20)
    assert moves(rig) == [("c1", home, other)]


def test_a_lost_way_hastens_only_the_routers_that_use_it() -> None:
    """An operator says how many of the others leave at a time."""
    rig = fleet("h1")
    rig.want(*(needs(f"c{number}", physical_networks=OUTSIDE) for number in range(10)))
    settle(rig, 2)
    rig.join(plugged("h2"))
    rig.ways |= {"h1": WaysSaid(lost=(GATEWAY,)), "h2": WaysSaid(there=(GATEWAY,))}
    settle(rig, 20)
    rig.forget()
    rig.handle(DrainPaced(id="pace", host=HostName("h1"), at_once=2))
    rig.set_admin_up("h1", admin_up=False)
    assert len(moves(rig)) == 2
    assert rig.reason("c9") == "h1 is taken out of service; 2 routers leave it at a time"


def test_what_all_have_lost_costs_no_look_at_every_host_for_every_router(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts, routers = [f"h{number}" for number in range(12)], 60
    rig = fleet(*hosts)
    rig.protect(*(f"r{number}" for number in range(routers)), physical_networks=OUTSIDE)
    settle(rig, 30)
    assert sum(len(rig.standbys_of(f"r{number}")) for number in range(routers)) == routers
    asked, has = [], WaysRecord.has

    def counted(self: WaysRecord, ways: Collection[WayOut], lacking: Collection[WayOut], now: float) -> bool:
        asked.append(now)
        return has(self, ways, lacking, now)

    monkeypatch.setattr(WaysRecord, "has", counted)
    rig.forget()
    rig.say_ways(*hosts, lost="external")
    rig.pass_time(SETTLED_S + 1, heard=hosts)
    assert not moves(rig)
    assert 0 < len(asked) < routers * len(hosts)
    asked.clear()
    for _ in range(60):
        rig.pass_time(1, heard=hosts)
    assert len(asked) < 2 * routers * len(hosts), "one look at each host for each router, and a few more"


def test_a_first_standby_that_lacks_the_way_is_passed_over() -> None:
    rig = fleet("h1", standbys=2)
    rig.protect("r1", physical_networks=OUTSIDE)
    rig.settle("h1")
    for host in ("h2", "h3"):
        rig.join(plugged(host))
        rig.say_ways(host)
        settle(rig, 10)
    assert rig.standbys_of("r1") == [("h2", "ready"), ("h3", "ready")]
    rig.forget()
    rig.say_ways("h1", "h2", lost="external")
    settle(rig, 30)
    assert moves(rig) == [("r1", "h1", "h3")]


def test_a_standby_that_lost_the_way_is_replaced_and_then_it_moves() -> None:
    rig = fleet("h1")
    rig.protect("r1", physical_networks=OUTSIDE)
    rig.settle("h1")
    rig.join(plugged("h2"))
    rig.say_ways("h2")
    settle(rig, 10)
    rig.say_ways("h1", "h2", lost="external")
    rig.join(plugged("h3"))
    rig.say_ways("h3")
    rig.forget()
    settle(rig, 30)
    assert moves(rig) == [("r1", "h1", "h3")]


def test_a_standby_that_does_not_say_whether_it_has_the_way_gives_place_to_one_that_has(rig: StandbyRig) -> None:
    del rig.ways["h2"]
    rig.join(plugged("h3"))
    rig.say_ways("h3")
    settle(rig, 10)
    assert rig.standby("r1") == ("h2", "ready")
    rig.say_ways("h1", lost="external")
    settle(rig, 20)
    assert moves(rig) == [("r1", "h1", "h3")]
    assert rig.standby("r2") == ("h2", "ready")


def test_that_it_is_replaced_takes_its_turn_where_the_other_has_much_to_build() -> None:
    names = [f"r{number}" for number in range(10)]
    rig = fleet("h1")
    rig.protect(*names, physical_networks=OUTSIDE)
    rig.settle("h1")
    rig.join(plugged("h2"))
    settle(rig, 30)
    assert {rig.standby(each) for each in names} == {("h2", "ready")}
    rig.join(plugged("h3"))
    rig.say_ways("h3")
    settle(rig, 10)
    rig.forget()
    rig.say_ways("h1", lost="external")
    rig.pass_time(SETTLED_S + 1)
    rig.obey("h2")
    building = [each for each in names if rig.standby(each)[0] == "h3"]
    assert len(building) == 4
    assert sum("hosts that have it build others first" in rig.reason(each) for each in names) == 6
    settle(rig, 30)
    assert {rig.host(each) for each in names} == {"h3"}


def test_of_many_some_leave_at_a_time() -> None:
    names = [f"r{number:02}" for number in range(20)]
    rig = fleet("h1")
    rig.protect(*names, physical_networks=OUTSIDE)
    rig.settle("h1")
    rig.join(plugged("h2"))
    rig.say_ways("h2")
    settle(rig, 60)
    assert {rig.standby(each) for each in names} == {("h2", "ready")}
    rig.forget()
    rig.say_ways("h1", lost="external")
    rig.pass_time(SETTLED_S + 1)
    assert len(moves(rig)) == 16
    assert rig.reason("r19") == "h1 has lost its way out: external; 16 routers leave it at a time"
    settle(rig, 10)
    assert {rig.host(each) for each in names} == {"h2"}


def test_between_two_hosts_whose_ways_come_and_go_a_router_moves_ever_more_seldom(rig: StandbyRig) -> None:
    moved_at = []
    for _ in range(70):
        home, before = str(rig.host("r1")), len(moves(rig))
        rig.say_ways("h2" if home == "h1" else "h1")
        rig.say_ways(home, lost="external")
        settle(rig, 2 * SETTLED_S)
        moved_at += [rig.now] * (len(moves(rig)) - before)
    pauses = [later - earlier for earlier, later in pairwise(moved_at)]
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 32 * SETTLED_S


def test_while_the_brake_is_engaged_nothing_moves_for_this() -> None:
    rig = fleet("h1")
    rig.protect("r1", physical_networks=OUTSIDE)
    rig.settle("h1")
    others = ("h3", "h4", "h5")
    for host in ("h2", *others):
        rig.join(plugged(host))
        rig.say_ways(host)
    settle(rig, 20)
    (standby,) = (host for host, _ in rig.standbys_of("r1"))
    rest = [host for host in ("h2", *others) if host != standby]
    for host in rest:
        rig.want(needs(f"on-{host}"))
        rig.move(f"on-{host}", host)
    settle(rig, 30)
    rig.forget()
    for host in rest:
        del rig.incarnations[host]
    settle(rig, 160)
    assert rig.all_said(EngageBrake)
    rig.say_ways("h1", lost="external")
    settle(rig, 60)
    assert not moves(rig)
    for host in rest:
        rig.incarnations[host] = 1
    settle(rig, 100)
    assert ("r1", "h1", standby) in moves(rig), "it is looked at again when the brake is off"


# What is known


def test_a_controller_that_starts_moves_nothing_before_hosts_have_said_it_again(rig: StandbyRig) -> None:
    rig.say_ways("h1", lost="external")
    rig.pass_time(SETTLED_S - 1)
    rig.restart()
    rig.forget()
    rig.pass_time(3 * SETTLED_S)
    assert not moves(rig)
    for host in ("h1", "h2"):
        rig.connect(rig.store.hosts[HostName(host)].facts)
        rig.obey(host)
    rig.pass_time(SETTLED_S - 1)
    assert not moves(rig)
    settle(rig, 3)
    assert moves(rig) == [("r1", "h1", "h2")]


def test_a_pause_of_the_controller_does_not_count(rig: StandbyRig) -> None:
    """A report that says that the way is back may wait in a socket."""
    rig.say_ways("h1", lost="external")
    rig.now += 60
    rig.follow(rig.planner.on_deadline(rig.now))
    assert not moves(rig)
    rig.say_ways("h1")
    settle(rig, 30)
    assert not moves(rig)


def test_what_is_lost_is_shown_and_told(rig: StandbyRig) -> None:
    def view() -> dict[str, float]:
        return dict(rig.planner.host_views(rig.now)[HostName("h1")].lost_ways)

    rig.say_ways("h1", lost="external")
    rig.pass_time(3)
    assert view() == {"external": 3.0}
    assert not rig.all_said(ReportHost)
    rig.pass_time(SETTLED_S)
    (said,) = rig.all_said(ReportHost)
    assert said.is_trouble
    assert said.reason == (
        "it has lost its way out (external): routers that use it leave, where another host has it; it reports"
    )
    rig.say_ways("h1")
    assert view() == {}
    assert rig.all_said(ReportHost)[-1].reason == "it reports"
    rig.say_ways("h1", lost="external")
    rig.handle(HostDisconnected(id="cut", host=HostName("h1")))
    assert view() == {}, "what a host said before it was cut off does not count"


# Classic routers, and those that come


@pytest.fixture
def classic() -> StandbyRig:
    """Two classic routers on h1, one of which uses the network; there is room on h2 and h3."""
    made = fleet("h1")
    made.want(needs("r1", physical_networks=OUTSIDE), needs("r2"))
    for host in ("h2", "h3"):
        made.join(plugged(host))
        made.say_ways(host)
    settle(made, 20)
    assert {made.host("r1"), made.host("r2")} == {"h1"}
    made.forget()
    return made


def test_a_classic_router_moves_once_its_host_has_removed_it(classic: StandbyRig) -> None:
    classic.say_ways("h1", lost="external")
    classic.pass_time(SETTLED_S + 1)
    assert moves(classic) == [("r1", "h1", "h2")]
    assert "r1" not in classic.plan("h2")
    classic.say("h1", "r1", REMOVED)
    assert "r1" in classic.plan("h2")
    classic.say("h2", "r1", ACTIVE)
    assert classic.state("r1") == "active"
    assert classic.host("r2") == "h1"


def test_a_classic_router_goes_to_a_host_that_is_known_to_have_the_way(classic: StandbyRig) -> None:
    """h2 has the fewest routers, and is of an older release."""
    del classic.ways["h2"]
    classic.say_ways("h1", lost="external")
    settle(classic, 20)
    assert moves(classic) == [("r1", "h1", "h3")]


def test_a_classic_router_does_not_go_to_a_host_that_was_buried_after_it_said_that_it_has_the_way(
    classic: StandbyRig,
) -> None:
    """h2 has the fewest routers again, and died before it could lose the way as the others do."""
    classic.protect("r3")
    settle(classic, 5)
    assert (classic.host("r3"), classic.standby("r3")) == ("h2", ("h3", "ready"))
    classic.take_over("h3", "r3", tenure("h2"))
    classic.say_ways("h1", "h3", lost="external")
    classic.forget()
    classic.pass_time(SETTLED_S + 1, heard=("h1", "h3"))
    assert not moves(classic)


def test_what_a_host_says_when_it_was_fenced_counts_whatever_others_say_of_its_tenure_before(
    classic: StandbyRig,
) -> None:
    classic.protect("r3")
    settle(classic, 5)
    classic.fence("h2")
    classic.take_over("h3", "r3", tenure("h2"))
    classic.say_ways("h1", "h3", lost="external")
    classic.forget()
    classic.pass_time(SETTLED_S + 1, heard=("h1", "h3"))
    assert moves(classic) == [("r1", "h1", "h2")]


@pytest.mark.parametrize(
    "strike",
    [
        lambda rig: rig.say_ways("h2", "h3", lost="external"),
        lambda rig: rig.ways.clear(),
        lambda rig: rig.set_admin_up("h2", False) or rig.set_admin_up("h3", False),
        lambda rig: rig.lose_agents("it cannot be started", "h1"),
    ],
    ids=["all lost it", "nobody says", "nobody can take it", "no agent to remove it"],
)
def test_a_classic_router_stays_where_leaving_would_not_help(
    classic: StandbyRig, strike: Callable[[StandbyRig], None]
) -> None:
    strike(classic)
    settle(classic, 2)
    classic.say_ways("h1", lost="external")
    settle(classic, 40)
    assert not moves(classic)
    assert "h1 has lost its way out: external" in classic.reason("r1")
    assert not classic.planner.waiting_for_a_host()


def test_a_classic_router_that_stays_leaves_when_there_is_room(classic: StandbyRig) -> None:
    classic.set_admin_up("h2", False)
    classic.set_admin_up("h3", False)
    classic.say_ways("h1", lost="external")
    settle(classic, 20)
    classic.set_admin_up("h3", True)
    settle(classic, 15)
    assert moves(classic) == [("r1", "h1", "h3")]


def test_new_routers_and_standbys_go_to_hosts_that_have_their_way_out() -> None:
    rig = fleet(*ALL)
    rig.say_ways("h1", lost="external")
    rig.protect("r1", physical_networks=OUTSIDE)
    rig.protect("r2", physical_networks=frozenset({"other"}))
    settle(rig, 20)
    assert rig.host("r1") == "h2"
    assert rig.standby("r1") == ("h3", "ready")
    assert rig.host("r2") == "h1", "it does not use what h1 has lost"
