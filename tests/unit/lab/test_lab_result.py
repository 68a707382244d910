"""From recordings and records of moves to the numbers that are published."""

from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

from gapless.lab.findings import result
from gapless.lab.measuring.double_active import LATE_S, Handover, Run
from gapless.lab.measuring.probes import Direction, Flow, Recording, Track
from gapless.lab.measuring.sniffer import Seen
from gapless.model.plan import MoveStep

MS = 1_000_000
STRUCK = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
LATE_NS = int(LATE_S * 1e9)


def at_ns(after_ms: int) -> int:
    return int(STRUCK.timestamp() * 1e9) + after_ms * MS


def track(router_id: str, direction: Direction, *replied_ms: int) -> Track:
    flow = Flow(router_id=router_id, direction=direction, netns="n", source="192.0.2.1", target="192.0.2.2")
    return Track(flow, sent=[1] * len(replied_ms), replied=[at * MS for at in replied_ms])


def move(**after_ms: float) -> dict[str, Any]:
    assert set(after_ms) <= set(MoveStep), "no record has such a step"
    steps = [{"step": name, "at": (STRUCK + timedelta(milliseconds=ms)).isoformat()} for name, ms in after_ms.items()]
    return {"timeline": steps}


def test_a_routers_gap_is_that_of_its_worse_direction() -> None:
    recording = Recording(
        tracks=(
            track("r1", Direction.OUT, 10, 20, 30, 40),
            track("r1", Direction.IN, 10, 40),
            track("r2", Direction.OUT, 10, 20, 30, 40),
            track("r2", Direction.IN, 10, 20, 30, 40),
        ),
        interval_ms=10,
        begin_ns=0,
        end_ns=40 * MS,
        lateness_ms=0,
    )
    gaps = result.gaps(recording, affected=["r1"])
    assert gaps.per_router == {"r1": 30.0, "r2": 10.0}
    assert gaps.max == 30
    assert gaps.directions["out"].max == 10
    assert gaps.bystanders.max == 10


def test_what_each_router_lost_is_told_where_it_lost_anything() -> None:
    recording = Recording(
        tracks=(
            track("r1", Direction.OUT, 10, 0, 30),
            track("r1", Direction.IN, 0, 0, 30),
            track("r2", Direction.OUT, 10, 20, 30),
        ),
        interval_ms=10,
        begin_ns=0,
        end_ns=40 * MS,
        lateness_ms=0,
    )
    found = result.probes(recording)
    assert (found.sent, found.lost, found.lost_of_routers) == (9, 3, {"r1": 3})


def test_spans_of_a_timeline_lie_between_its_steps() -> None:
    whole = result.timeline(
        [
            move(last_heard=-100, decided=4000, bound=4010, sent=4015, built=4100, announced=4101, confirmed=4110),
            move(last_heard=-100, decided=4000, bound=4020, sent=4025, built=4215, announced=4216, confirmed=4230),
        ],
        STRUCK,
    )
    assert whole.detection.max == 4100
    assert (whole.bind.median, whole.bind.max) == (10, 20)
    assert (whole.build.median, whole.build.max) == (85, 190)
    assert whole.struck_to_confirmed.max == 4230
    assert whole.build_ms_per_router == 100  # from 4015 to 4215, two routers


def test_a_move_that_is_not_over_counts_as_far_as_it_went() -> None:
    whole = result.timeline([move(last_heard=-100, decided=4000, bound=4010)], STRUCK)
    assert whole.bind.max == 10
    assert whole.build.max is None
    assert whole.build_ms_per_router is None


def test_a_router_that_is_active_nowhere_has_not_moved() -> None:
    before = {"stayed": ["host-1"], "moved": ["host-1"], "lost": ["host-1"], "doubled": ["host-1"]}
    after = {"stayed": ["host-1"], "moved": ["host-2"], "lost": [], "doubled": ["host-1", "host-2"]}
    assert result.moved(before, after) == ["moved", "doubled"]
    assert result.moved(before, {}) == []


def test_only_takeovers_in_which_nothing_was_broken_tell_of_a_busy_machine() -> None:
    """A lab may have seen experiments before, and theirs are no sign of anything."""
    records = [
        {**move(missed=at, silent=at + 200, buried=at + 202), "kind": kind}
        for at, kind in ((-9000, "takeover"), (-3000, "takeover"), (-2500, "reschedule"), (10, "takeover"))
    ]
    assert result.takeovers(records, STRUCK - timedelta(seconds=20), STRUCK) == 2
    assert result.takeovers(records, STRUCK - timedelta(seconds=5), STRUCK) == 1


def test_no_moves_no_times() -> None:
    assert result.timeline([], STRUCK) == result.Timeline()


def test_takeovers_have_a_timeline_of_their_own() -> None:
    whole = result.timeline(
        [
            move(
                missed=10,
                silent=210,
                decided=210,
                buried=213,
                opened=214,
                announced=220,
                forwarded=217,
                bound=260,
                confirmed=260,
            ),
            move(missed=10, silent=212, decided=212, buried=213, opened=214, announced=240, bound=280, confirmed=280),
        ],
        STRUCK,
    )
    taken = whole.takeover
    assert taken is not None
    assert (taken.silence.median, taken.silence.max) == (200, 202)
    assert (taken.claim.median, taken.claim.max) == (1, 3)
    assert taken.open.max == 1
    assert (taken.announce.median, taken.announce.max) == (6, 26)
    assert (taken.forward.median, taken.forward.max) == (3, 3), "the other router had nothing to forward"
    assert (taken.whole.median, taken.whole.max) == (210, 230)
    assert (taken.recorded.median, taken.recorded.max) == (250, 270)
    assert whole.struck_to_confirmed.max == 280
    assert (whole.detection, whole.bind, whole.build) == (result.Spread(),) * 3, "nobody decided that, and built"


def test_a_takeover_that_is_not_announced_yet_counts_as_far_as_it_went() -> None:
    taken = result.timeline([move(missed=10, silent=210, buried=213, opened=214)], STRUCK).takeover
    assert taken is not None
    assert (taken.silence.max, taken.claim.max, taken.open.max) == (200, 3, 1)
    assert (taken.announce, taken.whole, taken.recorded) == (result.Spread(),) * 3


def test_moves_and_takeovers_of_one_fault_are_not_mixed() -> None:
    whole = result.timeline(
        [
            move(missed=10, silent=210, buried=213, opened=214, announced=220, bound=260),
            move(last_heard=-100, decided=4000, bound=4010, sent=4015, built=4100, announced=4103, confirmed=4110),
        ],
        STRUCK,
    )
    assert whole.takeover is not None
    assert (whole.takeover.announce.max, whole.announce.max) == (6, 3)
    assert (whole.detection.max, whole.bind.max) == (4100, 10)


def test_a_switchover_has_a_timeline_of_its_own_in_which_nothing_is_built() -> None:
    """The plan of the new host is sent when the router is open there already."""
    whole = result.timeline(
        [
            move(
                decided=20,
                bound=34,
                withdrawn=100,
                opened=100.8,
                announced=101.5,
                forwarded=103,
                sent=110,
                confirmed=120,
            ),
            move(decided=30, bound=44, withdrawn=120, opened=121.6, announced=124.5, sent=125, confirmed=160),
        ],
        STRUCK,
    )
    switched = whole.switchover
    assert switched is not None
    assert (switched.bind.max, switched.release.max) == (14, 76)
    assert (switched.open.median, switched.open.max) == (0.8, 1.6)
    assert (switched.announce.median, switched.announce.max) == (0.7, 2.9)
    assert (switched.dark.median, switched.dark.max) == (1.5, 4.5)
    assert switched.forward.max == 2.2
    assert switched.whole.max == 130
    assert whole.struck_to_confirmed.max == 160
    assert (whole.bind, whole.send, whole.build, whole.announce) == (result.Spread(),) * 4
    assert (whole.takeover, whole.build_ms_per_router) == (None, None)


def test_a_switchover_by_the_controller_s_way_alone_says_nothing_of_when_it_was_open() -> None:
    steps = move(decided=20, bound=34, withdrawn=100, sent=130, confirmed=150)
    switched = result.timeline([steps], STRUCK).switchover
    assert switched is not None
    assert (switched.release.max, switched.whole.max) == (66, 130)
    assert (switched.open, switched.announce, switched.dark, switched.forward) == (result.Spread(),) * 4


def test_a_classic_router_that_is_drained_is_built_anew() -> None:
    steps = move(decided=20, bound=34, withdrawn=100, sent=110, built=140, announced=141, confirmed=150)
    whole = result.timeline([steps], STRUCK)
    assert (whole.switchover, whole.send.max, whole.build.max) == (None, 76, 30)


def test_a_time_that_rounds_to_nothing_is_no_negative_one() -> None:
    assert str(result.Spread.of([-0.001]).max) == "0.0"


def test_without_a_takeover_there_is_no_such_timeline() -> None:
    assert result.timeline([move(last_heard=-100, decided=4000)], STRUCK).takeover is None


def test_a_takeover_is_decided_by_the_successor_and_its_frames_are_right_once_the_host_is_buried() -> None:
    taken = move(granted=-40, missed=10, silent=210, decided=211, buried=213, opened=214)
    assert result.decided(taken) == STRUCK + timedelta(milliseconds=211)
    (given,) = result.handovers([{"router_id": "r1", "to_host": "b", "epoch": 3, **taken}])
    assert (given.from_ns, given.by_ns) == (at_ns(213) - LATE_NS, at_ns(213))


def test_a_record_is_a_move_when_the_router_went_to_another_host() -> None:
    assert result.is_move({"from_host": "a", "to_host": "b"})
    assert not any(
        result.is_move({"from_host": came_from, "to_host": went_to})
        for came_from, went_to in ((None, "b"), ("a", None), ("a", "a"))
    )


def test_frames_that_were_missed_make_the_figure_unknown_and_never_0() -> None:
    run = Run(router_id="r1", host="a", first_ns=0, last_ns=MS, frames=2)
    whole = result.wire(Seen(runs=(run,), frames=2, lost=0), [], interval_ms=10)
    assert (whole, result.double_active_frames(whole)) == (result.Wire(frames=2, missed=0), 0)
    holes = result.wire(Seen(runs=(run,), frames=2, lost=1), [], interval_ms=10)
    assert result.double_active_frames(holes) == "unknown"
    failed = result.wire(None, [], interval_ms=10)
    assert not failed.watched
    assert result.double_active_frames(failed) == "unknown"


def test_a_recorded_move_says_to_whom_a_router_was_given_and_when() -> None:
    moved = {"router_id": "r1", "to_host": "b", "epoch": 3, **move(last_heard=-100, decided=4000, bound=4010)}
    confirmed = moved | {"epoch": 4, **move(decided=5000, confirmed=5030)}
    given, sure = result.handovers([moved, confirmed, {"router_id": "r2", "to_host": None, **move(decided=1)}])
    assert (given.router_id, given.host, given.epoch, given.by_ns) == ("r1", "b", 3, inf)
    assert given.from_ns == at_ns(4000) - LATE_NS
    assert (sure.from_ns, sure.by_ns) == (at_ns(5000) - LATE_NS, at_ns(5030))


def test_the_wire_is_judged_with_what_was_recorded() -> None:
    runs = tuple(
        Run(router_id="r1", host=host, first_ns=at * MS, last_ns=at * MS, frames=3)
        for at, host in ((0, "a"), (10, "b"), (500, "a"))
    )
    seen = Seen(runs=runs, frames=9, lost=0)
    (overlap,) = result.wire(seen, [], interval_ms=10).double_active
    assert (overlap.router_id, overlap.host, overlap.present, overlap.frames) == ("r1", "a", "b", 3)
    given = Handover(router_id="r1", host="a", epoch=3, from_ns=400 * MS, by_ns=400 * MS)
    assert result.wire(seen, [given], interval_ms=10).double_active == ()
