"""One router's flows on their way to one follower: copies, changes, and what is lost."""

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gapless.core.flows.feed import KEPT_S, PAUSE, REFRESH_S, Feed, FeedState

ROOM, MANY = 1 << 20, 1000


def feed(most_waiting: int = 4, most: int = MANY) -> Feed:
    return Feed(Random(1), most, most_waiting)


def following(now: float = 0.0, most_waiting: int = 4, most: int = MANY) -> Feed:
    made = feed(most_waiting, most)
    made.begin(now)
    made.copied()
    return made


def test_a_copy_comes_first_and_at_once() -> None:
    fresh = feed()
    assert fresh.is_due(0.0)
    fresh.begin(0.0)
    assert (fresh.state, fresh.is_due(1e9)) == (FeedState.COPYING, False)
    fresh.copied()
    assert fresh.state is FeedState.FOLLOWING


def test_it_is_whole_from_the_end_of_a_copy_until_something_is_lost() -> None:
    it = feed(most_waiting=1)
    it.begin(0.0)
    assert not it.is_whole
    it.copied()
    assert it.is_whole
    it.begin(REFRESH_S)
    assert it.is_whole, "it is only copied again for no reason"
    it.copied()
    it.heard(b"1", b"x", REFRESH_S)
    assert not it.heard(b"2", b"x", REFRESH_S)
    assert not it.is_whole
    again = following()
    again.stopped()
    assert not again.is_whole


def test_what_was_heard_since_a_piece_of_the_copy_was_made_is_newer_than_it() -> None:
    it = feed()
    it.begin(0.0)
    assert it.listed(b"first")
    it.went_on()
    it.heard(b"over", b"is over", 1.0, is_over=True)
    it.heard(b"lives", b"has changed", 1.0)
    assert [it.listed(flow) for flow in (b"over", b"lives", b"other")] == [False, False, True]
    assert (it.take(ROOM, 9.0), it.told) == (b"has changed", 3)
    it.went_on()
    assert it.listed(b"over"), "this piece was made after that: it has begun again"
    it.copied()
    assert it.told == 4


def test_too_much_that_is_heard_between_two_pieces_is_lost_with_the_copy() -> None:
    it = feed(most_waiting=2)
    it.begin(0.0)
    for flow in (b"1", b"2"):
        assert it.heard(flow, b"over", 1.0, is_over=True)
    assert not it.heard(b"3", b"over", 1.0, is_over=True)
    assert it.state is FeedState.WAITING
    again = feed(most_waiting=2)
    again.begin(0.0)
    for flow in (b"1", b"2", b"3"):
        assert again.heard(flow, b"over", 1.0, is_over=True)
        again.went_on()


def test_changes_are_told_in_their_order_and_wait_no_more() -> None:
    it = following()
    for flow in (b"1", b"2", b"3"):
        assert it.heard(flow, b"m" + flow, 5.0)
    assert (it.take(4, 9.0), it.waiting, it.oldest_at) == (b"m1m2", 1, 5.0)
    assert (it.take(ROOM, 9.0), it.waiting, it.oldest_at) == (b"m3", 0, None)


def test_where_changes_never_pause_it_is_known_how_old_those_are_that_wait() -> None:
    it, ages = following(most_waiting=9), []
    for flow in (b"a", b"b", b"c"):
        it.heard(flow, b"m", 0.0)
    for now in range(1, 20):
        for number in range(3):
            it.heard(b"%d/%d" % (now, number), b"m", float(now))
        assert (it.take(3, now + 0.5), it.waiting) == (b"mmm", 3)
        assert it.oldest_at is not None
        assert it.oldest_at <= now
        ages.append(now + 0.5 - it.oldest_at)
    assert max(ages) < 3.0, "of what waits, all was heard a moment ago"
    it.take(ROOM, 20.0)
    assert it.oldest_at is None


def test_what_changes_again_and_again_waits_since_it_changed_first() -> None:
    it = following(most_waiting=9)
    for flow in (b"2", b"1", b"1", b"1", b"3"):
        it.heard(flow, b"m", 1.0)
    it.take(1, 2.0)
    for now in (3.0, 4.0, 5.0):
        it.heard(b"1", b"m", now)
        assert it.take(0, now) == b""
        assert it.oldest_at == 1.0


def test_of_a_flow_that_changes_again_only_the_last_change_is_told_and_where_it_happened() -> None:
    it = following()
    for flow, message in ((b"1", b"began"), (b"2", b"began"), (b"1", b"ended")):
        it.heard(flow, message, 1.0)
    assert it.take(ROOM, 9.0) == b"beganended"


def test_too_many_changes_are_all_lost_and_a_copy_follows_after_a_pause() -> None:
    it = following(most_waiting=2)
    assert it.heard(b"1", b"x", 10.0)
    assert it.heard(b"2", b"x", 10.0)
    assert it.heard(b"1", b"y", 10.0)
    assert not it.heard(b"3", b"x", 10.0)
    assert (it.state, it.waiting, it.take(ROOM, 9.0)) == (FeedState.WAITING, 0, b"")
    assert not it.is_due(10.0)
    assert it.is_due(10.0 + PAUSE.first_s)


def test_pauses_grow_while_a_router_overruns_again_and_again() -> None:
    it, now, pauses = feed(), 0.0, []
    for _ in range(4):
        it.begin(now)
        pauses.append(it.lost(now + 1.0))
        now += 1.0 + pauses[-1]
        assert it.is_due(now)
    assert all(later > sooner for sooner, later in pairwise(pauses))


def test_a_router_that_was_quiet_for_long_is_copied_soon_again() -> None:
    it = feed()
    first_s = [it.lost(0.0) for _ in range(5)]
    it.begin(100.0)
    assert it.lost(100.0 + PAUSE.settled_s) <= PAUSE.first_s
    assert first_s[-1] > PAUSE.first_s


def test_what_goes_on_is_copied_again_before_its_copy_is_over() -> None:
    it = following(now=0.0)
    assert not it.is_due(REFRESH_S * 0.7)
    assert it.is_due(REFRESH_S)
    it.heard(b"1", b"x", REFRESH_S)
    it.begin(REFRESH_S)
    assert it.take(ROOM, 9.0) == b"x", "changes go on being told"
    assert KEPT_S > 2 * REFRESH_S


def test_a_router_that_is_not_open_any_more_is_told_of_no_more_and_copied_when_it_is() -> None:
    it = following()
    it.heard(b"1", b"x", 1.0)
    it.stopped()
    assert (it.state, it.take(ROOM, 9.0)) == (FeedState.WAITING, b"")
    assert it.is_due(1.0)


def test_closing_a_router_that_overran_does_not_shorten_its_pause() -> None:
    it = following()
    pause_s = it.lost(10.0)
    it.stopped()
    assert not it.is_due(10.0 + pause_s / 2)


def test_changes_pass_the_limit_no_more_than_a_copy_does() -> None:
    it = feed(most=2)
    it.begin(0.0)
    assert [it.listed(flow) for flow in (b"1", b"2", b"3")] == [True, True, False]
    it.copied()
    it.heard(b"4", b"began", 1.0)
    assert (it.take(ROOM, 9.0), it.told, it.left_out) == (b"", 2, 2)
    it.heard(b"2", b"changed", 1.0)
    it.heard(b"1", b"ended", 1.0, is_over=True)
    it.heard(b"4", b"changed", 1.0)
    assert (it.take(ROOM, 9.0), it.told, it.left_out) == (b"changedendedchanged", 2, 2)


def test_nobody_is_told_of_the_end_of_a_flow_that_was_left_out() -> None:
    it = following(most=1)
    it.heard(b"1", b"x", 1.0)
    it.heard(b"2", b"x", 1.0)
    assert it.take(ROOM, 9.0) == b"x"
    it.heard(b"2", b"ended", 1.0, is_over=True)
    assert (it.take(ROOM, 9.0), it.told, it.left_out) == (b"", 1, 1)


def test_a_copy_that_is_due_again_names_what_was_told_and_leaves_out_the_rest() -> None:
    it = feed(most=2)
    it.begin(0.0)
    assert it.listed(b"1")
    assert it.listed(b"2")
    it.copied()
    it.begin(REFRESH_S)
    assert not it.listed(b"3")
    assert it.listed(b"1")
    assert not it.may_end, "the other one is not named yet"
    assert it.listed(b"2")
    assert it.may_end


def test_what_a_copy_did_not_name_is_told_no_more_and_makes_room() -> None:
    it = feed(most=3)
    it.begin(0.0)
    for flow in (b"gone", b"changes", b"waits"):
        assert it.listed(flow)
    it.copied()
    it.heard(b"waits", b"w", REFRESH_S)
    it.begin(REFRESH_S)
    it.heard(b"changes", b"c", REFRESH_S)
    assert not it.listed(b"new")
    it.copied()
    assert (it.told, it.listed(b"new")) == (2, True)


def test_what_is_too_young_is_told_neither_by_a_change_nor_by_a_copy_until_it_is_not() -> None:
    it = following()
    assert it.heard(b"1", b"young", 1.0, hold_s=10.0)
    it.heard(b"1", b"older", 9.0, hold_s=10.0)
    it.begin(10.0)
    assert not it.listed(b"1")
    it.copied()
    it.ripen(10.9)
    assert (it.take(ROOM, 9.0), it.told, it.held, it.left_out, it.is_whole) == (b"", 0, 1, 0, True)
    it.ripen(11.0)
    assert (it.oldest_at, it.take(ROOM, 9.0), it.told, it.held) == (11.0, b"older", 1, 0)
    it.heard(b"1", b"changed", 12.0, hold_s=10.0)
    it.begin(13.0)
    assert it.listed(b"1")
    assert it.take(ROOM, 9.0) == b"changed"


def test_nobody_hears_of_what_was_over_before_it_was_worth_it() -> None:
    it = following()
    it.heard(b"1", b"began", 1.0, hold_s=10.0)
    it.heard(b"1", b"ended", 2.0, is_over=True, hold_s=10.0)
    it.ripen(100.0)
    assert (it.take(ROOM, 9.0), it.told, it.held) == (b"", 0, 0)
    it.heard(b"1", b"again", 5.0, hold_s=10.0)
    it.ripen(14.0)
    assert it.held == 1, "it is another flow, and as young"


def test_what_a_copy_finds_was_there_before_and_is_old_enough() -> None:
    """Else what a follower has would be over for it whenever something was lost."""
    it = following(most_waiting=1)
    it.heard(b"1", b"m", 1.0, hold_s=10.0)
    it.heard(b"2", b"m", 1.0)
    assert not it.heard(b"3", b"m", 1.0)
    it.begin(5.0)
    assert it.held == 0
    assert it.listed(b"1")


def test_no_more_is_held_than_may_wait_and_the_rest_is_told_at_once() -> None:
    it = following(most_waiting=2)
    for flow in (b"1", b"2", b"3"):
        assert it.heard(flow, b"m" + flow, 1.0, hold_s=10.0)
    assert (it.held, it.take(ROOM, 9.0)) == (2, b"m3")


def test_what_is_old_enough_has_no_more_room_than_all_else() -> None:
    it = following(most=1)
    for flow in (b"1", b"2"):
        it.heard(flow, b"m" + flow, 1.0, hold_s=10.0)
    it.ripen(20.0)
    assert (it.take(ROOM, 9.0), it.told, it.left_out) == (b"m1", 1, 1)
    it = following(most_waiting=2)
    for flow in (b"1", b"2"):
        it.heard(flow, b"m", 1.0, hold_s=10.0)
    it.heard(b"3", b"m", 1.0)
    it.ripen(20.0)
    assert (it.state, it.waiting, it.held) == (FeedState.WAITING, 0, 0), "too many changes, as ever"


def test_a_router_that_is_copied_anew_has_all_its_room_again() -> None:
    it = following(most=1)
    for left in (lambda: it.lost(1.0), it.stopped):
        assert it.listed(b"1")
        assert not it.listed(b"2")
        left()
        assert it.told == 0
        it.begin(100.0)


@given(
    st.lists(
        st.tuples(st.sampled_from(["begin", "list", "copied", "hear", "end", "ripen"]), st.integers(0, 5)), max_size=60
    )
)
def test_a_follower_that_does_as_it_is_told_never_has_more_than_the_most(happened: list[tuple[str, int]]) -> None:
    """Each flow has two messages, that it goes on and that it is over: the follower's set after all of them. Some are
    held first.
    """
    it, there, unsaid = feed(most_waiting=MANY, most=3), set[bytes](), set[bytes]()

    def tell() -> None:
        for flow, is_over in zip(*[iter(it.take(ROOM, 9.0))] * 2, strict=True):
            name = bytes((flow,))
            unsaid.discard(name)
            (there.discard if is_over else there.add)(name)
            assert len(there) <= 3

    for what, number in happened:
        flow = bytes((number,))
        if what == "begin" and it.state is not FeedState.COPYING:
            it.begin(0.0)
            unsaid = set(there)
        elif what == "list" and it.state is FeedState.COPYING and it.listed(flow):
            unsaid.discard(flow)
            there.add(flow)
        elif what == "copied" and it.state is FeedState.COPYING:
            tell()
            there -= unsaid
            it.copied()
        elif what in ("hear", "end") and it.state is not FeedState.WAITING:
            it.heard(flow, flow + bytes((what == "end",)), 0.0, is_over=what == "end", hold_s=float(number > 2))
            tell()
        elif what == "ripen" and it.state is not FeedState.WAITING:
            it.ripen(1.0)
            tell()
    assert it.told == len(there)


@given(st.lists(st.tuples(st.sampled_from([b"1", b"2", b"3", b"4", b"5"]), st.integers(0, 255)), max_size=40))
def test_what_waits_is_bounded_and_the_last_change_of_each_flow_is_never_left_out(
    heard: list[tuple[bytes, int]],
) -> None:
    it, last = following(most_waiting=3), dict[bytes, bytes]()
    for flow, value in heard:
        if it.state is FeedState.WAITING:
            it.begin(0.0)
            last.clear()
        message = flow + bytes((value,))
        if it.heard(flow, message, 0.0):
            last.pop(flow, None)
            last[flow] = message
        else:
            last.clear()
        assert it.waiting <= 3
    assert it.take(ROOM, 9.0) == b"".join(last.values())


def test_a_mark_is_told_with_what_waited_then_whatever_happens_after_it() -> None:
    it = following()
    for flow in (b"1", b"2"):
        it.heard(flow, b"m" + flow, 0.0)
    it.mark()
    it.heard(b"3", b"m3", 1.0)
    assert (it.take(2, 9.0), it.is_mark_told) == (b"m1", False)
    it.heard(b"4", b"m4", 1.0)
    assert (it.take(2, 9.0), it.is_mark_told, it.waiting) == (b"m2", True, 2)


def test_of_a_flow_that_changes_again_after_the_mark_the_change_that_waits_is_waited_for() -> None:
    it = following()
    it.heard(b"1", b"m1", 0.0)
    it.mark()
    it.heard(b"2", b"m2", 1.0)
    it.heard(b"1", b"n1", 1.0)
    assert (it.take(2, 9.0), it.is_mark_told) == (b"m2", False), "its follower has not heard of it yet"
    assert (it.take(ROOM, 9.0), it.is_mark_told) == (b"n1", True)


def test_a_mark_where_nothing_waits_is_told() -> None:
    it = following()
    it.mark()
    it.heard(b"1", b"m1", 0.0)
    assert it.is_mark_told
