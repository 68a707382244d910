"""A beat's hands on a guard that fails in each way: what waits, what does not, and what is never said too late."""

from ipaddress import IPv4Address
from math import inf

import msgspec
import pytest
from beat_fakes import X, Y, Z, router
from hands_bench import NEWS, WITHDRAW, Bench, activate, deactivate

from gapless.core.edge.beatevents import (
    Activate,
    Activated,
    Announce,
    Deactivated,
    HoldFailed,
    HoldLease,
    Withdrawn,
)
from gapless.errors import Conflict, InvalidRequest, Unavailable
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch
from gapless.model.router import RouterId
from gapless.sentinel.beat.announcements import EVERY_ADDRESS
from gapless.sentinel.beat.hands import ROUTERS_AT_ONCE, KernelEffect
from gapless.wire.beat import BeatPort


def test_a_life_without_trouble() -> None:
    bench = Bench()
    assert bench.do(WITHDRAW) == [Withdrawn()]
    assert bench.do(HoldLease(until=1.0), activate(X, Y)) == [Activated(routers=(X, Y))]
    assert (bench.guard.until, bench.guard.active, bench.hands.open_routers) == (1.0, {"tap-x", "tap-y"}, {X, Y})
    assert bench.do(Announce(routers=(X, Y), cause=None), NEWS) == []
    assert bench.announced() == [X, Y]
    assert bench.do(deactivate(X)) == [Deactivated(routers=(X,))]
    assert (bench.guard.active, bench.hands.open_routers) == ({"tap-y"}, {Y})
    assert bench.diary == ["closed ", "opened x y", "news", "closed x"]


def test_the_witness_is_told_before_the_guard_opens_and_after_it_closed() -> None:
    bench = Bench()
    bench.guard.before = lambda call: bench.diary.append(call)
    bench.do(activate(X))
    bench.do(deactivate(X))
    assert bench.diary == ["opened x", "activate", "deactivate", "closed x"]


def test_what_a_plan_opened_is_said_to_pass_once_it_does_and_a_takeover_waits_for_no_such_word() -> None:
    bench = Bench()
    bench.guard.fails("activate", Unavailable("no"))
    bench.do(activate(X))
    assert bench.done == []
    bench.do(activate(X))
    bench.do(Activate(routers={Y: Epoch(2)}, cause=Tenure(HostName("dead"), Incarnation(1)), reason="it is buried"))
    assert bench.done == [X]


def test_a_withdrawal_is_tried_until_it_is_done_and_holds_back_what_follows() -> None:
    bench = Bench()
    bench.do(HoldLease(until=1.0), activate(X))
    bench.guard.fails("withdraw", Unavailable("no"), Unavailable("no"))
    assert bench.do(WITHDRAW, activate(Y), NEWS) == []
    assert bench.do() == []
    assert bench.hands.open_routers == {X}
    assert bench.diary[1].startswith("cannot ")
    assert [type(answer) for answer in bench.do()] == [Withdrawn, Activated]
    assert bench.guard.active == {"tap-y"}
    assert bench.diary[-3:] == ["closed x", "opened y", "news"]


def test_what_cannot_be_closed_is_tried_until_it_is_and_holds_back_nobody_who_is_dark() -> None:
    bench = Bench()
    bench.do(HoldLease(until=1.0), activate(X))
    bench.guard.fails("deactivate", Unavailable("no"), Unavailable("no"))
    assert bench.do(deactivate(X), activate(Y), NEWS) == [Activated(routers=(Y,))]
    assert bench.do() == []
    assert bench.hands.open_routers == {X, Y}
    assert [each for each in bench.diary if each.startswith("cannot ")] == ["cannot close routers"] * 2
    assert bench.do() == [Deactivated(routers=(X,))]
    assert bench.guard.active == {"tap-y"}
    assert bench.do() == []


def test_a_router_that_cannot_be_closed_costs_the_others_no_lease() -> None:
    bench = Bench()
    bench.do(HoldLease(until=1.0), activate(X, Y))
    bench.guard.fails("deactivate", *[Unavailable("no")] * 100)
    for beat in range(100):
        assert bench.do(HoldLease(until=2.0 + beat), *([deactivate(X)] if beat == 0 else [])) == []
    assert bench.guard.until == 101.0
    assert bench.guard.calls.count("extend") == 101, "one a beat, and none waits"
    assert bench.do() == [Deactivated(routers=(X,))]


def test_many_are_closed_some_at_a_time_and_answered_once() -> None:
    bench = Bench()
    many = tuple(RouterId(f"{number}") for number in range(2 * ROUTERS_AT_ONCE + 1))
    bench.hands.plan([router(each) for each in many], [])
    bench.do(HoldLease(until=1.0), activate(*many))
    assert bench.do(deactivate(*many), activate(X), NEWS) == [Activated(routers=(X,))], "who is dark comes first"
    assert (len(bench.hands.open_routers), bench.hands.has_more) == (ROUTERS_AT_ONCE + 2, True)
    bench.guard.fails("deactivate")
    assert bench.do(HoldLease(until=2.0)) == []
    assert not bench.hands.has_more, "what failed waits for the next beat"
    assert bench.guard.until == 2.0
    assert bench.do() == []
    assert bench.do() == [Deactivated(routers=many)]
    assert (bench.hands.open_routers, bench.guard.active, bench.hands.has_more) == ({X}, {"tap-x"}, False)


def test_what_is_to_be_said_of_some_that_were_closed_can_be_said_before_the_next_are() -> None:
    bench = Bench()
    bench.do(activate(X, Y))
    assert bench.do(deactivate(X), deactivate(Y)) == [Deactivated(routers=(X,))]
    assert (bench.guard.active, bench.hands.has_more) == ({"tap-y"}, True)
    assert bench.do() == [Deactivated(routers=(Y,))]
    assert not bench.hands.has_more


def test_a_withdrawal_comes_before_what_is_left_to_close() -> None:
    bench = Bench()
    many = tuple(RouterId(f"{number}") for number in range(2 * ROUTERS_AT_ONCE))
    bench.hands.plan([router(each) for each in many], [])
    bench.do(activate(*many))
    bench.do(deactivate(*many))
    assert bench.do(WITHDRAW) == [Withdrawn()]
    assert (bench.hands.open_routers, bench.hands.has_more, bench.do()) == (set(), False, [])


def test_a_withdrawal_makes_moot_what_waits_before_it() -> None:
    bench = Bench()
    bench.do(HoldLease(until=1.0), activate(X, Y))
    bench.guard.fails("deactivate", *[Unavailable("for ever")] * 100)
    assert bench.do(deactivate(X)) == []
    bench.guard.fails("withdraw")
    assert bench.do(WITHDRAW, activate(Z), NEWS, Announce(routers=(Y,), cause=None)) == []
    assert bench.do(WITHDRAW) == [Withdrawn()]
    assert (bench.guard.active, bench.hands.open_routers, bench.announced()) == (set(), set(), [])
    assert bench.diary[-2:] == ["news", "closed x y"], "what happened before is still told"
    assert bench.do() == []


def test_nothing_is_announced_from_the_moment_of_a_withdrawal_even_if_the_kernel_refuses_it() -> None:
    bench = Bench()
    bench.do(HoldLease(until=1.0), activate(X), Announce(routers=(X,), cause=None))
    bench.guard.fails("withdraw")
    assert bench.do(WITHDRAW) == []
    assert bench.announced() == []


def test_an_activation_that_fails_is_answered_and_said_and_leaves_nothing_told() -> None:
    bench = Bench()
    bench.guard.fails("activate")
    refused = Activated(routers=(X,), reason="activate is not to be had", is_refused=True)
    assert bench.do(activate(X), NEWS) == [refused]
    assert bench.diary == ["opened x", "closed x", "cannot open routers", "news"]
    assert bench.hands.open_routers == set()
    assert bench.do(activate(X)) == [Activated(routers=(X,))]


def test_more_than_the_guard_can_take_is_answered_too() -> None:
    bench = Bench()
    bench.guard.fails("activate", InvalidRequest("more than 32768 router ports"))
    assert bench.do(activate(X)) == [Activated(routers=(X,), reason="more than 32768 router ports")]


def test_a_lease_that_cannot_be_written_is_answered_and_out_of_date_by_the_next_beat() -> None:
    bench = Bench()
    bench.guard.fails("extend")
    assert bench.do(HoldLease(until=1.0), NEWS) == [HoldFailed(ends=-inf, reason="extend is not to be had")]
    assert bench.diary == ["cannot renew the lease in the kernel", "news"]
    bench.do()
    assert bench.guard.calls == ["extend"]
    bench.do(HoldLease(until=2.0))
    assert bench.guard.until == 2.0


def test_that_a_lease_was_not_written_is_said_with_the_end_of_the_last_one_that_was() -> None:
    bench = Bench()
    bench.do(HoldLease(until=1.0))
    bench.guard.fails("extend", Unavailable("no"), Unavailable("no"))
    assert bench.do(HoldLease(until=2.0)) == [HoldFailed(ends=1.0, reason="no")]
    assert bench.do(WITHDRAW) == [Withdrawn()]
    assert bench.do(HoldLease(until=3.0)) == [HoldFailed(ends=-inf, reason="no")]


def test_a_lease_that_came_with_the_guard_when_it_was_put_back_is_one_that_the_kernel_took() -> None:
    bench = Bench()
    bench.do(HoldLease(until=1.0))
    bench.guard.fails("extend", Conflict("removed"), Unavailable("no"), Unavailable("no"))
    assert bench.do(HoldLease(until=2.0)) == [HoldFailed(ends=2.0, reason="no")]
    assert bench.guard.until == 2.0
    assert bench.do(HoldLease(until=3.0)) == [HoldFailed(ends=2.0, reason="no")]


def test_a_host_whose_guard_is_removed_at_each_beat_counts_no_darkness_that_never_was() -> None:
    bench = Bench()
    for beat in range(100):
        bench.guard.is_taken_away()
        bench.guard.fails("extend", *[Conflict("removed")] * 3)
        assert bench.do(HoldLease(until=1.0 + beat)) == [], "nobody may succeed it"
    bench.guard.fails("extend", Unavailable("no"))
    (failed,) = bench.do(HoldLease(until=101.0))
    assert isinstance(failed, HoldFailed)
    assert failed.ends == bench.guard.until == 100.0


def test_after_a_withdrawal_the_kernel_has_no_lease_even_where_the_guard_was_put_back_before_it() -> None:
    bench = Bench()
    bench.do(HoldLease(until=1.0))
    bench.guard.is_taken_away()
    bench.guard.fails("restore")
    bench.do(HoldLease(until=2.0))
    assert bench.do(WITHDRAW) == [Withdrawn()]
    assert bench.guard.until == -inf
    bench.guard.fails("extend")
    assert bench.do(HoldLease(until=3.0)) == [HoldFailed(ends=-inf, reason="extend is not to be had")]


@pytest.mark.parametrize("is_exclusive", [True, False])
def test_of_a_guard_that_others_may_have_removed_nobody_says_that_it_is_shut(*, is_exclusive: bool) -> None:
    bench = Bench()
    bench.guard.is_exclusive = is_exclusive
    bench.guard.fails("extend", Conflict("the answer was lost"))
    bench.guard.fails("restore", *[Unavailable("no")] * 3)
    answers = bench.do(HoldLease(until=1.0), activate(X))
    held, opened = [HoldFailed(ends=-inf, reason="no")], Activated(routers=(X,), reason="no", is_refused=is_exclusive)
    assert answers == [*(held if is_exclusive else []), opened]


@pytest.mark.parametrize(
    ("effect", "call"),
    [
        (HoldLease(until=2.0), "extend"),
        (WITHDRAW, "withdraw"),
        (deactivate(X), "deactivate"),
        (activate(Y), "activate"),
    ],
)
def test_a_guard_that_somebody_removed_is_put_back_at_once(effect: KernelEffect, call: str) -> None:
    bench = Bench()
    bench.do(HoldLease(until=1.0), activate(X))
    bench.guard.is_taken_away()
    bench.guard.calls.clear()
    answers = bench.do(effect)
    assert bench.guard.calls == [call, "restore", call]
    assert not any(getattr(answer, "reason", "") for answer in answers)
    assert "cannot keep the guard" in bench.diary
    assert bench.diary.count("restored") == 1


def test_a_guard_that_nobody_else_can_remove_is_made_anew_and_nobody_is_told_that_it_was_away() -> None:
    bench = Bench()
    bench.guard.fails("extend", Conflict("nobody knows whether that was done"))
    bench.do(HoldLease(until=1.0))
    assert bench.guard.calls == ["extend", "restore", "extend"]
    assert "restored" not in bench.diary


def test_a_guard_that_cannot_be_put_back_is_tried_before_anything_else() -> None:
    bench = Bench()
    bench.do(HoldLease(until=1.0), activate(X))
    bench.guard.is_taken_away()
    bench.guard.fails("restore", Conflict("again"), Unavailable("no"), Unavailable("no"))
    assert bench.do(deactivate(X)) == []
    bench.guard.calls.clear()
    assert bench.do() == []
    assert bench.guard.calls[0] == "restore"
    assert "cannot put the guard back" in bench.diary
    assert "restored" not in bench.diary
    assert bench.do() == [Deactivated(routers=(X,))]
    assert bench.guard.is_there


def test_a_guard_that_is_removed_again_as_soon_as_it_is_back_is_not_said_to_be_shut() -> None:
    bench = Bench()
    bench.guard.is_exclusive = False
    bench.guard.fails("extend", Conflict("removed"), Conflict("removed"))
    assert bench.do(HoldLease(until=1.0)) == []
    assert bench.hands.is_unguarded
    bench.guard.calls.clear()
    bench.do()
    assert bench.guard.calls == ["restore"]
    assert not bench.hands.is_unguarded


def test_a_guard_that_is_changed_all_the_time_is_put_back_once_a_turn_and_said_at_first_and_when_that_is_over() -> None:
    """And not at each beat: who hears it announces everything."""
    bench = Bench()
    bench.guard.is_exclusive = False
    bench.guard.fails("extend", *[Conflict("removed")] * 6)
    refused = Activated(routers=(X,), reason="removed")
    for beat in range(5):
        bench.guard.calls.clear()
        assert bench.do(HoldLease(until=1.0 + beat), activate(X)) == [refused]
        assert bench.guard.calls == (["restore", "extend"] if beat else ["extend", "restore", "extend"])
        assert bench.troubles == {"keep the guard", "renew the lease in the kernel", "open routers"}
    assert bench.diary.count("restored") == 1
    assert bench.do() == []
    assert "keep the guard" in bench.troubles, "nothing went through yet"
    assert bench.diary.count("restored") == 1
    assert bench.do(HoldLease(until=9.0), activate(X)) == [Activated(routers=(X,))]
    assert (bench.diary.count("restored"), bench.troubles) == (2, set())
    bench.do(HoldLease(until=10.0))
    assert bench.diary.count("restored") == 2


def test_a_guard_that_was_removed_twice_in_a_row_is_said_to_be_back_twice() -> None:
    bench = Bench()
    bench.guard.is_exclusive = False
    bench.guard.fails("extend", *[Conflict("removed")] * 2)
    bench.do(HoldLease(until=1.0))
    assert bench.diary.count("restored") == 1
    bench.do(HoldLease(until=2.0))
    assert bench.diary.count("restored") == 2


def test_a_lease_that_came_back_with_the_guard_ends_in_the_turn_in_which_it_is_to_end() -> None:
    bench = Bench()
    bench.do(HoldLease(until=60.0))
    bench.guard.is_taken_away()
    bench.guard.fails("restore", Unavailable("memory is short"))
    bench.do(HoldLease(until=61.0))
    removals = iter([True])

    def remove_once_more(call: str) -> None:
        if call == "withdraw" and next(removals, False):
            bench.guard.is_taken_away()

    bench.guard.before = remove_once_more
    bench.do(WITHDRAW)
    assert bench.guard.calls[-4:] == ["restore", "withdraw", "restore", "withdraw"]
    assert (bench.guard.until, bench.guard.is_there) == (-inf, True)


def test_a_guard_that_is_removed_again_after_something_went_through_is_put_back_at_once() -> None:
    bench = Bench()
    bench.guard.is_taken_away()
    removals = iter(["activate"])

    def remove_before_the_first(call: str) -> None:
        if call == "activate" and next(removals, ""):
            bench.guard.is_taken_away()

    bench.guard.before = remove_before_the_first
    assert bench.do(HoldLease(until=1.0), activate(X)) == [Activated(routers=(X,))]
    assert bench.guard.calls == ["extend", "restore", "extend", "activate", "restore", "activate"]
    assert bench.diary.count("restored") == 2


def test_a_guard_that_nobody_uses_is_looked_after() -> None:
    bench = Bench()
    bench.do(WITHDRAW)
    bench.hands.look_after()
    bench.guard.is_taken_away()
    bench.guard.calls.clear()
    bench.hands.look_after()
    assert bench.guard.is_there
    assert bench.guard.until < 0, "that prolongs nothing"
    bench.do(HoldLease(until=5.0))
    bench.guard.calls.clear()
    bench.hands.look_after()
    assert bench.guard.calls == [], "the beat has used it"
    bench.guard.fails("extend", *[Unavailable("no")] * 2)
    bench.do(HoldLease(until=6.0))
    bench.hands.look_after()
    assert bench.troubles == {"renew the lease in the kernel"}, "a look that is not needed says nothing"
    bench.hands.look_after()
    bench.guard.calls.clear()
    bench.hands.look_after()
    assert bench.guard.calls == ["extend"], "one that failed is tried again"
    assert not bench.troubles


def test_the_ways_out_that_are_used_are_those_of_open_routers() -> None:
    """Those of a standby are not, nor are they any more once it is closed, or leaves the host by another way."""
    bench = Bench()
    gateway = IPv4Address("203.0.113.1")
    flat = BeatPort(link="qr-1", mac="fa:16:3e:00:00:01", addresses=(), bridge="brq1", way_out="eth3")
    outside = msgspec.structs.replace(router(X), gateway=("eth2", gateway))
    inside = msgspec.structs.replace(router(Y), ports=(flat,))
    bench.hands.plan([outside, inside], [])
    assert bench.hands.ways_used() == frozenset()
    bench.do(activate(X))
    assert bench.hands.ways_used() == {("eth2", None), ("eth2", gateway)}
    bench.do(activate(Y), deactivate(X))
    assert bench.hands.ways_used() == {("eth3", None)}
    bench.hands.plan([msgspec.structs.replace(inside, ports=())], [])
    assert bench.hands.ways_used() == frozenset()


def test_an_open_router_gains_and_loses_ports() -> None:
    bench = Bench()
    bench.do(activate(X))
    bench.hands.plan([router(X, "tap-x", "tap-new")], [])
    assert bench.guard.active == {"tap-x", "tap-new"}
    bench.hands.plan([router(X, "tap-new")], [])
    assert bench.guard.active == {"tap-new"}
    bench.hands.plan([router(Y, "tap-y", "tap-more")], [])
    assert bench.guard.active == {"tap-new"}, "a closed one opens nothing"
    bench.do(deactivate(X))
    assert bench.guard.active == set()


@pytest.mark.parametrize("call", ["activate", "deactivate"])
def test_ports_that_could_not_be_changed_are_tried_again(call: str) -> None:
    bench = Bench()
    bench.do(activate(X))
    bench.guard.fails(call)
    bench.hands.plan([router(X, "tap-new")], [])
    assert bench.guard.active != {"tap-new"}
    bench.do()
    assert bench.guard.active == {"tap-new"}


def test_a_port_that_was_opened_halfway_is_closed_with_its_router() -> None:
    bench = Bench()
    bench.do(activate(X))
    bench.guard.fails("deactivate", *[Unavailable("no")] * 2)
    bench.hands.plan([router(X, "tap-new")], [])
    assert bench.guard.active == {"tap-x", "tap-new"}
    assert bench.do(deactivate(X)) == [Deactivated(routers=(X,))]
    assert bench.guard.active == set()


def test_an_open_router_whose_plan_is_gone_is_announced_until_it_is_closed() -> None:
    bench = Bench()
    bench.do(activate(X), Announce(routers=(X,), cause=None))
    bench.hands.plan([], [X, Y])
    assert bench.announcer.forgotten == [Y]
    assert bench.announced() == [X]
    assert bench.guard.active == {"tap-x"}
    bench.do(deactivate(X))
    assert bench.announcer.forgotten == [Y, X]


def test_a_router_is_opened_that_is_not_described_yet() -> None:
    bench = Bench()
    new = RouterId("new")
    assert bench.do(activate(new)) == [Activated(routers=(new,))]
    bench.hands.plan([router(new)], [])
    assert bench.guard.active == {"tap-new"}


def test_a_plan_prepares_the_announcements_that_it_changes_and_no_others() -> None:
    bench = Bench()
    bench.announcer.prepared.clear()
    grown = BeatPort(link="qr-2", mac="fa:16:3e:00:00:02", addresses=(), bridge="brq2", way_out="vxlan-2")
    bench.hands.plan([router(X, epoch=7), msgspec.structs.replace(router(Y), ports=(grown,))], [])
    assert bench.announcer.prepared == [Y]


def test_what_was_built_anew_is_announced_if_it_is_open() -> None:
    bench = Bench()
    bench.do(activate(X))
    bench.announcer.prepared.clear()
    bench.hands.built([X, Y, RouterId("unknown")])
    assert bench.announcer.prepared == [X, Y]
    assert bench.announced() == [X]


def test_what_was_given_more_is_announced_whole_if_it_is_open() -> None:
    bench = Bench()
    bench.do(activate(X))
    bench.hands.built([X, Y], {X, Y})
    assert (bench.announced(), bench.announcer.turns) == ([X], [EVERY_ADDRESS])
