"""Frames of two hosts for one router: which of them are one too many."""

from collections import Counter
from math import inf

from gapless.lab.measuring.double_active import Handover, Overlap, Run, double_active, runs

MS = 1_000_000
QUIET_NS = 1_000 * MS


def seen(*frames: tuple[int, str], router_id: str = "r1") -> list[tuple[int, str, str]]:
    """Frames as (milliseconds, host)."""
    return [(at_ms * MS, router_id, host) for at_ms, host in frames]


def count(frames: list[tuple[int, str, str]], *given: tuple[int, str]) -> dict[str, int]:
    """Router -> double active frames, with these hand-overs (milliseconds, host) of r1, recorded to the moment."""
    return late(frames, *given, late_ms=0)


def late(frames: list[tuple[int, str, str]], *given: tuple[int, str], late_ms: int) -> dict[str, int]:
    """The same where a hand-over may have happened so much earlier than its record says."""
    handovers = [
        Handover(router_id="r1", host=host, epoch=epoch, from_ns=(at_ms - late_ms) * MS, by_ns=at_ms * MS)
        for epoch, (at_ms, host) in enumerate(given)
    ]
    counts: Counter[str] = Counter()
    for overlap in double_active(runs(frames), handovers, QUIET_NS):
        counts[overlap.router_id] += overlap.frames
    return dict(counts)


def stretch(first_ms: int, host: str, last_ms: int) -> list[tuple[int, str, str]]:
    """A frame each ten milliseconds."""
    return seen(*((at, host) for at in range(first_ms, last_ms + 1, 10)))


def test_frames_of_one_host_are_one_run_until_another_host_is_heard() -> None:
    assert runs(seen((0, "a"), (10, "a"), (20, "b"), (30, "a"))) == [
        Run(router_id="r1", host="a", first_ns=0, last_ns=10 * MS, frames=2),
        Run(router_id="r1", host="b", first_ns=20 * MS, last_ns=20 * MS, frames=1),
        Run(router_id="r1", host="a", first_ns=30 * MS, last_ns=30 * MS, frames=1),
    ]


def test_frames_are_put_in_order_of_time_not_of_arrival() -> None:
    assert count(seen((20, "b"), (0, "a"), (30, "b"), (10, "a"))) == {}


def test_one_host_forwards_and_then_another_one() -> None:
    assert count(seen((0, "a"), (10, "a"), (11, "b"), (20, "b"))) == {}


def test_nobody_sent_anything() -> None:
    assert count([]) == {}


def test_a_host_that_goes_on_when_another_has_begun_is_one_too_many() -> None:
    assert count(seen((0, "a"), (10, "b"), (11, "a"))) == {"r1": 1}


def test_every_further_frame_of_it_counts_and_none_of_the_one_that_took_over() -> None:
    assert count(seen((0, "a"), (10, "b"), (11, "a"), (12, "b"), (13, "a"), (14, "a"), (15, "b"))) == {"r1": 3}


def test_a_frame_that_was_captured_twice_is_no_second_host() -> None:
    assert count(seen((0, "a"), (0, "a"), (10, "b"), (10, "b"))) == {}


def test_of_two_frames_at_one_instant_one_is_double_active_if_its_host_was_over() -> None:
    assert count(seen((0, "a"), (10, "a"), (10, "b"), (11, "b"))) == {}
    assert count(seen((0, "a"), (10, "b"), (20, "a"), (20, "b"))) == {"r1": 1}


def test_routers_are_judged_apart() -> None:
    frames = seen((0, "a"), (10, "b"), (20, "b")) + seen((5, "b"), (15, "a"), (25, "b"), router_id="r2")
    assert count(frames) == {"r2": 1}


def test_a_healed_host_that_still_forwards_is_one_too_many() -> None:
    frames = seen((0, "a"), (4_000, "b"), (5_999, "b"), (6_000, "a"), (6_001, "b"), (9_000, "b"))
    assert count(frames) == {"r1": 1}


def test_a_host_may_be_given_a_router_back() -> None:
    frames = seen((0, "a"), (10, "b"), (500, "b"), (510, "a"), (520, "a"))
    assert count(frames) == {"r1": 2}
    assert count(frames, (505, "a")) == {}


def test_what_was_given_to_a_host_before_it_was_over_gives_it_nothing_back() -> None:
    frames = seen((0, "a"), (10, "b"), (20, "a"))
    assert count(frames, (0, "a")) == {"r1": 1}
    assert count(frames, (10, "a")) == {"r1": 1}


def test_what_will_be_given_to_a_host_later_allows_nothing_now() -> None:
    assert count(seen((0, "a"), (10, "b"), (20, "a")), (21, "a")) == {"r1": 1}


def test_a_router_given_to_a_third_host_gives_the_first_nothing() -> None:
    assert count(seen((0, "a"), (10, "b"), (20, "c"), (30, "a")), (15, "c")) == {"r1": 1}


def test_each_return_needs_a_record_of_its_own() -> None:
    frames = seen((0, "a"), (10, "b"), (20, "a"), (30, "b"), (40, "a"))
    assert count(frames, (15, "a"), (25, "b")) == {"r1": 1}
    assert count(frames, (15, "a"), (25, "b"), (35, "a")) == {}


def test_a_host_may_return_unannounced_when_the_other_has_been_quiet() -> None:
    assert count(seen((0, "a"), (10, "b"), (1_010, "a"))) == {}
    assert count(seen((0, "a"), (10, "b"), (1_009, "a"))) == {"r1": 1}


def test_a_host_that_was_over_does_not_keep_the_present_one_from_being_quiet() -> None:
    """Its stray frame is one too many; what it takes for a third host to be new does not change."""
    assert count(seen((0, "a"), (10, "b"), (20, "a"), (30, "c"), (40, "c"), (50, "b"))) == {"r1": 2}


def test_a_return_that_is_recorded_some_milliseconds_late_is_no_double_activity() -> None:
    frames = stretch(0, "a", 1_000) + stretch(1_030, "b", 1_800) + stretch(1_830, "a", 5_000)
    given = (-60_000, "a"), (1_035, "b"), (1_835, "a")
    assert late(frames, *given, late_ms=0) == {"r1": 318}
    assert late(frames, *given, late_ms=200) == {}


def test_hand_overs_back_and_forth_in_a_moment_are_right_however_late_they_are_recorded() -> None:
    turns = [(30 * turn, "ab"[turn % 2]) for turn in range(40)]
    frames = [frame for at, host in turns for frame in stretch(at, host, at + 20)]
    for lateness in (0, 5, 100, 194):
        given = (-60_000, "a"), *((at + lateness, host) for at, host in turns[1:])
        assert late(frames, *given, late_ms=200) == {}, lateness
        assert late(frames + seen((1_201, "a")), *given, late_ms=200) == {"r1": 1}, "and the one after is not"


def test_a_stale_host_that_answers_once_after_a_takeover_is_seen_whenever_that_was_recorded() -> None:
    for recorded in (1_000, 1_005, 1_194):
        frames = stretch(0, "a", 900) + stretch(1_001, "b", 3_000) + seen((1_004, "a"))
        assert late(frames, (-100, "a"), (recorded, "b"), late_ms=200) == {"r1": 1}, recorded


def test_two_hosts_that_send_by_turns_need_a_record_for_each_turn() -> None:
    frames = stretch(0, "a", 1_100) + stretch(1_005, "b", 3_000)
    assert late(frames, (-100, "a"), (1_100, "b"), late_ms=200) == {"r1": 10}
    assert late(frames, (-100, "a"), (1_100, "b"), (1_110, "a"), late_ms=200) == {"r1": 199}, "a has it now"


def test_a_tenure_that_nobody_recorded_does_not_make_those_after_it_wrong() -> None:
    """B was fenced before it could say that it had taken over; then both were given the router, quickly."""
    frames = stretch(0, "a", 500) + stretch(530, "b", 600) + stretch(630, "a", 700) + stretch(730, "b", 2_000)
    assert late(frames, (-100, "a"), (650, "a"), (750, "b"), late_ms=200) == {}


def test_what_was_given_and_surely_taken_again_allows_nothing_even_if_it_was_never_used() -> None:
    frames = stretch(0, "a", 900) + stretch(1_000, "b", 9_000) + seen((8_005, "a"))
    assert late(frames, (-100, "a"), (1_000, "b"), (5_000, "a"), (5_500, "b"), late_ms=200) == {"r1": 1}


def test_a_move_that_nobody_confirmed_may_have_happened_and_need_not() -> None:
    frames = stretch(0, "a", 900) + stretch(1_000, "b", 2_000) + stretch(2_010, "a", 3_000)
    unsure = Handover(router_id="r1", host="c", epoch=2, from_ns=1_500 * MS, by_ns=inf)
    again = Handover(router_id="r1", host="a", epoch=3, from_ns=2_005 * MS, by_ns=2_100 * MS)
    assert double_active(runs(frames), [again, unsure], QUIET_NS) == []
    assert {overlap.router_id for overlap in double_active(runs(frames), [unsure], QUIET_NS)} == {"r1"}


def test_it_is_told_who_was_active_beside_whom_and_for_how_long() -> None:
    frames = seen((0, "a"), (10, "b"), (12, "a"), (15, "a"), (16, "b"), (30, "a"))
    first, second = double_active(runs(frames), [], QUIET_NS)
    assert first == Overlap(router_id="r1", host="a", present="b", frames=2, first_ms=2.0, last_ms=5.0)
    assert str(first) == "2 of a, 2.0 to 5.0 ms after the first one of b, of router r1"
    assert (second.frames, second.first_ms) == (1, 20.0)
