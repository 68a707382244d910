"""Frames of two hosts for one router: which of them are one too many."""

from gapless.lab.double_active import Handover, Run, double_active, runs

MS = 1_000_000
QUIET_NS = 1_000 * MS


def seen(*frames: tuple[int, str], router_id: str = "r1") -> list[tuple[int, str, str]]:
    """Frames as (milliseconds, host)."""
    return [(at_ms * MS, router_id, host) for at_ms, host in frames]


def count(frames: list[tuple[int, str, str]], *given: tuple[int, str]) -> dict[str, int]:
    """Router -> double active frames, with these recorded handovers (milliseconds, host) of router r1."""
    handovers = [Handover(router_id="r1", host=host, at_ns=at_ms * MS) for at_ms, host in given]
    wrong = double_active(runs(frames), handovers, QUIET_NS)
    return {router_id: sum(run.frames for run in of_router) for router_id, of_router in wrong.items()}


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
