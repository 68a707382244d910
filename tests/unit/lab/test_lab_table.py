"""The result for people: where the time went, by who decided it."""

from rich.console import Console

from gapless.lab import table
from gapless.lab.result import (
    Gaps,
    Patience,
    Probes,
    Result,
    Spread,
    TakeoverTimeline,
    Timeline,
    Versions,
    Wire,
)


def spread(ms: float) -> Spread:
    return Spread(median=ms, p99=ms, max=ms)


def result(timeline: Timeline, moved: int = 2, taken_over_before: int = 0) -> Result:
    return Result(
        ok=True,
        problems=[],
        at="2026-01-31T12:00:00+00:00",
        fault="host dies",
        description="a host dies",
        mode="standby",
        timing="default",
        hosts=3,
        routers=6,
        affected=2,
        moved=moved,
        taken_over_before=taken_over_before,
        gap_ms=Gaps(median=260, p99=270, max=270, per_router={}, directions={}, bystanders=Spread()),
        double_active_frames=0,
        wire=Wire(frames=100, missed=0, double_active={}),
        probes=Probes(routers=2, flows=4, sent=1000, lost=30, skipped=0, interval_ms=10, lateness_ms_max=1),
        liveness=Patience(report_interval_s=1, agent_down_time_s=2, dead_after_s=4),
        timeline=timeline,
        versions=Versions(gapless="", python="", kernel="", nft="", iproute2="", cores=2, processor=""),
    )


def rows(shown: Result) -> dict[str, str]:
    """The table as it is printed: the words of each row, and its median."""
    console = Console(width=200, force_terminal=False)
    with console.capture() as captured:
        for each in table.tables(shown):
            console.print(each)
    cells = [[cell.strip() for cell in line.split("│")] for line in captured.get().splitlines()]
    return {line[1]: line[2] for line in cells if len(line) > 3}


TAKEN = TakeoverTimeline(
    silence=spread(201), claim=spread(2), open=spread(0.5), announce=spread(7), whole=spread(211), recorded=spread(250)
)


def test_a_takeover_is_shown_step_by_step_and_no_step_of_a_decided_move_with_it() -> None:
    shown = rows(result(Timeline(takeover=TAKEN)))
    assert list(shown.items())[2:] == [
        ("silence: first beat missed -> lease over", "201.0"),
        ("claim: -> a quorum has buried the host", "2.0"),
        ("open: -> the guard lets its routers pass", "0.5"),
        ("announce: -> announced, one after another", "7.0"),
        ("first beat missed -> announced", "211.0"),
        ("first beat missed -> in the controller's store", "250.0"),
    ]


def test_a_move_that_the_controller_decided_is_shown_by_its_own_steps() -> None:
    shown = rows(result(Timeline(detection=spread(4000), build=spread(80))))
    assert shown["detection: last heard -> decided"] == "4,000.0"
    assert shown["build: -> built (several at a time)"] == "80.0"
    assert not any("first beat missed" in words for words in shown)


def test_takeovers_before_anything_was_broken_are_said() -> None:
    shown = [part for part in table.tables(result(Timeline(), taken_over_before=3)) if isinstance(part, str)]
    assert any("3 takeovers before the fault" in part and "'default'" in part for part in shown)
    assert not any("before the fault" in part for part in table.tables(result(Timeline())) if isinstance(part, str))


def test_where_nothing_moved_there_are_no_steps() -> None:
    assert not any("->" in words for words in rows(result(Timeline(), moved=0)))
