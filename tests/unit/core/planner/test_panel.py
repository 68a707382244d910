"""Arbiters are chosen once, and replaced in levels of which no two know nothing of each other."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gapless.core.planner.panel import Arbiters, Member, NextLevel, Shortage
from gapless.model.host import HostName
from gapless.model.lease import DEFAULT, Panel, PanelVersion


def member(name: str, zone: str = "nova", **other: bool) -> Member:
    levels = {"is_heard": True, "is_dead": False, "is_over": False, "follows": True, **other}
    return Member(name=HostName(name), zone=zone, **levels)


def dead(name: str, **other: bool) -> Member:
    return member(name, is_heard=False, is_dead=True, follows=False, **other)


def of(*sets: str, version: int = 3, floor: int = 2) -> Panel:
    return Panel(
        version=PanelVersion(version),
        floor=PanelVersion(floor),
        sets=tuple(frozenset(map(HostName, each.split())) for each in sets),
    )


def arbiters(panel: Panel | None) -> Arbiters:
    return Arbiters(panel)


def chosen(*members: Member, now: set[str] = frozenset()) -> set[str]:  # type: ignore[assignment]
    """Whom the next level leads to."""
    keeper = arbiters(of(" ".join(sorted(now))) if now else None)
    following = keeper.judge(members, 0.0) or keeper.judge(members, DEFAULT.quiet_s)
    return set(following.panel.sets[-1]) if following is not None else set(now)


def test_there_is_no_panel_without_hosts() -> None:
    assert arbiters(None).judge([], 0.0) is None
    assert arbiters(None).judge([dead("h1")], 0.0) is None


def test_one_arbiter_for_two_hosts_three_for_three_five_for_nine() -> None:
    names = [f"h{number}" for number in range(1, 10)]
    assert chosen(*map(member, names[:1])) == {"h1"}
    assert chosen(*map(member, names[:2])) == {"h1"}
    assert chosen(*map(member, names[:3])) == {"h1", "h2", "h3"}
    assert chosen(*map(member, names[:8])) == {"h1", "h2", "h3"}
    assert chosen(*map(member, names)) == {"h1", "h2", "h3", "h4", "h5"}


def test_where_two_hosts_may_die_at_once_there_are_five_arbiters_from_five_hosts_on() -> None:
    names = [f"h{number}" for number in range(1, 10)]

    def size(hosts: int, deaths: int) -> int:
        following = Arbiters(None, deaths=deaths).judge([*map(member, names[:hosts])], 0.0)
        return 0 if following is None else len(following.panel.arbiters)

    assert [size(hosts, 2) for hosts in range(10)] == [0, 1, 1, 3, 3, 5, 5, 5, 5, 5]
    assert [size(hosts, 3) for hosts in range(10)] == [0, 1, 1, 3, 3, 5, 5, 7, 7, 7]


def test_arbiters_are_spread_over_zones() -> None:
    hosts = [member("h1", "a"), member("h2", "a"), member("h3", "a"), member("h4", "b"), member("h5", "c")]
    assert chosen(*hosts) == {"h1", "h4", "h5"}


def test_arbiters_stay_until_one_is_dead_and_another_is_there() -> None:
    now = {"h1", "h2", "h3"}
    assert chosen(*map(member, ["h1", "h2", "h3", "h4"]), now=now) == now
    silent = member("h3", is_heard=False)
    assert chosen(member("h1"), member("h2"), silent, member("h4"), now=now) == now
    gone = dead("h3", is_over=True)
    assert chosen(member("h1"), member("h2"), gone, now=now) == now, "nobody is there to replace it"
    assert chosen(member("h1"), member("h2"), gone, member("h4"), now=now) == {"h1", "h2", "h4"}
    assert chosen(member("h1"), member("h2"), member("h4"), now=now) == {"h1", "h2", "h4"}, "one that was deleted"


def test_two_newcomers_are_no_majority_as_long_as_they_are_silent() -> None:
    keeper = arbiters(of("h1"))
    hosts = [member("h1"), member("h2"), replace(member("h3"), follows=False)]
    assert keeper.judge(hosts, 0.0) is None
    hosts[2] = member("h3")
    assert keeper.judge(hosts, 1.0) is None
    assert keeper.judge(hosts, 1.0 + DEFAULT.quiet_s / 2) is None
    restarted = [*hosts[:2], replace(member("h3"), follows=False)]
    assert keeper.judge(restarted, 1.3) is None
    assert keeper.judge(hosts, 1.5) is None, "counted anew"
    joint = keeper.judge(hosts, 1.501 + DEFAULT.quiet_s)
    assert joint is not None
    assert joint.panel.sets == (frozenset({"h1"}), frozenset({"h1", "h2", "h3"}))


def test_a_replacement_leads_over_three_levels() -> None:
    keeper = arbiters(of("h1 h2 h3", version=1, floor=1))
    hosts = [member("h1"), member("h2"), dead("h3"), member("h4")]
    assert keeper.judge(hosts, 0.0) is None, "h3 may hold a lease by the panel that is followed now"
    assert keeper.awaited(hosts) == ["h3"]
    hosts[2] = dead("h3", is_over=True)

    assert keeper.judge(hosts, 0.0) is None, "h4 may have begun just now, and be silent yet"
    joint = keeper.judge(hosts, DEFAULT.quiet_s)
    assert joint is not None
    assert joint.panel == of("h1 h2 h3", "h1 h2 h4", version=2, floor=1)
    keeper.stored(joint.panel)
    laggard = [replace(each, follows=each.name != "h4") for each in hosts]
    assert keeper.judge(laggard, 1.0) is None

    raised = keeper.judge(hosts, 1.0)
    assert raised is not None
    assert raised.panel == of("h1 h2 h3", "h1 h2 h4", version=2, floor=2)
    keeper.stored(raised.panel)
    nobody = [replace(each, follows=False) for each in hosts]
    assert keeper.judge(nobody, 2.0) is None
    assert keeper.judge(hosts, 3.0) is None, "grants from before may still last"
    assert keeper.judge(hosts, 3.0 + DEFAULT.quiet_s / 2) is None

    single = keeper.judge(hosts, 3.001 + DEFAULT.quiet_s)
    assert single is not None
    assert single.panel == of("h1 h2 h4", version=3, floor=2)
    keeper.stored(single.panel)
    assert keeper.judge(hosts, 9.0) is None, "all is as it should be"


def test_the_quiet_time_begins_anew_when_a_majority_is_lost() -> None:
    keeper = arbiters(of("h1 h2 h3", "h1 h2 h4", version=2, floor=2))
    hosts = [member("h1"), member("h2"), dead("h3"), member("h4")]
    assert keeper.judge(hosts, 0.0) is None
    assert keeper.judge([replace(each, follows=False) for each in hosts], 0.1) is None
    assert keeper.judge(hosts, DEFAULT.quiet_s) is None
    assert keeper.judge(hosts, 2 * DEFAULT.quiet_s) is not None


def test_a_keeper_that_is_started_anew_goes_on_from_the_level_that_is_stored() -> None:
    hosts = [member("h1"), member("h2"), dead("h3", is_over=True), member("h4")]
    following = arbiters(of("h1 h2 h3", "h1 h2 h4", version=2, floor=1)).judge(hosts, 0.0)
    assert following is not None
    assert (following.panel.version, following.panel.floor) == (2, 2)


fleets = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=3, max_size=12)


@given(histories=st.lists(fleets, min_size=1, max_size=30))
def test_quorums_of_neighbouring_levels_meet(histories: list[list[tuple[bool, bool, bool]]]) -> None:
    """Whatever hosts do: the level before and the one after share a set, until the floor excludes the one before."""
    keeper, now = arbiters(None), 0.0
    for fleet in histories:
        now += 1.0
        hosts = [
            member(f"h{number}", is_heard=able and not gone, is_dead=gone, is_over=gone, follows=follows)
            for number, (able, gone, follows) in enumerate(fleet)
        ]
        before, following = keeper.panel, keeper.judge(hosts, now)
        if following is None:
            continue
        after = following.panel
        assert after.follows(before)
        if before is not None:
            assert set(before.sets) & set(after.sets)
            assert after.version - after.floor <= 1
            assert after.version - before.version <= 1
            dropped = set(before.sets) - set(after.sets)
            assert not dropped or before.floor == before.version == after.floor
        keeper.stored(after)


def test_two_hosts_are_too_few_and_that_is_told_once_it_has_lasted() -> None:
    shortage, one = Shortage(patience_s=75.0), of("h1")
    hosts = [member("h1"), member("h2")]
    assert shortage.judge(one, hosts, 0.0) is None, "a third may be about to connect"
    assert shortage.judge(one, hosts, 74.9) is None
    said = shortage.judge(one, hosts, 75.0)
    assert said is not None
    assert "h1 is the only arbiter" in said
    assert "run `gapless host --capacity 0` on the controller's machine" in said
    assert shortage.judge(one, hosts, 76.0) is None, "it was told"
    assert shortage.judge(of("h1 h2 h3"), [*hosts, member("h3")], 80.0) == ""
    assert shortage.judge(of("h1 h2 h3"), [*hosts, member("h3")], 81.0) is None


def test_a_shortage_that_ends_in_time_is_not_told() -> None:
    shortage, one = Shortage(patience_s=75.0), of("h1")
    hosts = [member("h1"), member("h2")]
    assert shortage.judge(one, hosts, 0.0) is None
    assert shortage.judge(of("h1 h2 h3"), [*hosts, member("h3")], 50.0) is None
    assert shortage.judge(one, hosts, 100.0) is None, "counted anew"


def test_one_host_is_short_of_hosts_and_not_of_arbiters() -> None:
    shortage = Shortage(patience_s=0.0)
    assert shortage.judge(None, [], 0.0) is None
    assert shortage.judge(of("h1"), [member("h1")], 1.0) is None


def lost(*members: Member, off: str, panel: Panel | None = None, after_s: float = DEFAULT.quiet_s) -> NextLevel | None:
    """What follows when an operator has confirmed that these are off."""
    keeper = arbiters(panel or of("h1 h2 h3"))
    named = {HostName(each) for each in off.split()}
    return keeper.judge(members, 0.0, named) or keeper.judge(members, after_s, named)


def off_host(name: str) -> Member:
    return dead(name, is_over=True)


def test_a_panel_that_lost_its_majority_for_good_begins_anew_out_of_who_is_heard() -> None:
    alone = replace(member("h1"), follows=False)
    following = lost(alone, off_host("h2"), off_host("h3"), off="h2 h3")
    assert following is not None
    assert following.begins_anew
    assert following.panel == of("h1", version=5, floor=5), "whoever follows version 3 is not served"
    others = [member("h4"), member("h5"), off_host("h2"), off_host("h3"), dead("h1")]
    following = lost(*others, off="h2 h3")
    assert following is not None
    assert following.panel.sets == (frozenset({HostName("h4")}),), "two hosts have one arbiter"


def test_whoever_held_no_lease_by_the_panel_that_is_lost_may_be_of_the_one_that_begins_anew() -> None:
    following = lost(member("h1", is_leaseless=True), off_host("h2"), off_host("h3"), off="h2 h3")
    assert following is not None
    assert following.panel.sets == (frozenset({HostName("h1")}),)


def test_it_does_not_while_the_others_can_be_a_majority() -> None:
    rest = [member("h1"), member("h2"), off_host("h3")]
    assert lost(*rest, off="h3") is None, "two of three are one"
    following = lost(*rest, member("h4"), off="h3")
    assert following is not None
    assert not following.begins_anew
    assert len(following.panel.sets) == 2, "as any replacement"
    assert lost(member("h1"), dead("h2"), off_host("h3"), off="h3") is None, "of h2 nobody has said that it is off"


def test_of_two_sets_it_is_enough_that_one_is_lost() -> None:
    joint = of("h1 h2 h3", "h1 h4 h5", version=4, floor=3)
    following = lost(member("h1"), member("h4"), member("h5"), off_host("h2"), off_host("h3"), off="h2 h3", panel=joint)
    assert following is not None
    assert following.panel == of("h1 h4 h5", version=6, floor=6)


def test_it_begins_anew_only_when_all_that_was_granted_is_over() -> None:
    hosts = [member("h1"), off_host("h2"), off_host("h3")]
    assert lost(*hosts, off="h2 h3", after_s=DEFAULT.quiet_s / 2) is None
    keeper = arbiters(of("h1 h2 h3"))
    one, both = {HostName("h3")}, {HostName("h2"), HostName("h3")}
    assert keeper.judge(hosts, 0.0, one) is None
    assert keeper.judge(hosts, 1.0, both) is None, "h2 was on until now"
    assert keeper.judge(hosts, 1.0 + DEFAULT.quiet_s, one) is None, "h2 was heard"
    assert keeper.judge(hosts, 2.0, both) is None, "counted anew"


def test_it_does_not_while_a_host_says_that_it_holds_its_lease() -> None:
    holder = replace(member("h1"), is_held=True)
    assert lost(holder, off_host("h2"), off_host("h3"), off="h2 h3") is None


def test_it_cannot_begin_without_a_host_that_is_heard() -> None:
    assert lost(dead("h1"), off_host("h2"), off_host("h3"), off="h2 h3") is None
