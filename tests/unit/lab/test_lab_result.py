"""From recordings and records of moves to the numbers that are published."""

from datetime import UTC, datetime, timedelta
from typing import Any

from gapless.lab import result
from gapless.lab.probes import Direction, Flow, Recording, Track

MS = 1_000_000
STRUCK = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def track(router_id: str, direction: Direction, *replied_ms: int) -> Track:
    flow = Flow(router_id=router_id, direction=direction, netns="n", source="192.0.2.1", target="192.0.2.2")
    return Track(flow, sent=[1] * len(replied_ms), replied=[at * MS for at in replied_ms])


def move(**after_ms: float) -> dict[str, Any]:
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
    assert whole.build.max == 0
    assert whole.build_ms_per_router == 0


def test_no_moves_no_times() -> None:
    assert result.timeline([], STRUCK) == result.Timeline()
