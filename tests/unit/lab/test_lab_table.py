"""The result for people: where the time went, by who decided it."""

from rich.console import Console

from gapless.lab.findings import table
from gapless.lab.findings.result import Result, SwitchoverTimeline, TakeoverTimeline, Timeline
from lab_results import result, spread


def rows(shown: Result) -> dict[str, str]:
    """The table as it is printed: the words of each row, and its median."""
    console = Console(width=200, force_terminal=False)
    with console.capture() as captured:
        for each in table.tables(shown):
            console.print(each)
    cells = [[cell.strip() for cell in line.split("│")] for line in captured.get().splitlines()]
    return {line[1]: line[2] for line in cells if len(line) > 3}


TAKEN = TakeoverTimeline(
    silence=spread(201),
    claim=spread(2),
    open=spread(0.5),
    announce=spread(7),
    whole=spread(211),
    recorded=spread(250),
    forward=spread(3),
)


def test_a_takeover_is_shown_step_by_step_and_no_step_of_a_decided_move_with_it() -> None:
    shown = rows(result(Timeline(takeover=TAKEN)))
    assert list(shown.items())[2:] == [
        ("silence: first beat missed -> lease over", "201.0"),
        ("claim: -> a quorum has buried the host", "2.0"),
        ("open: -> the guard lets its routers pass", "0.5"),
        ("announce: -> announced, one after another", "7.0"),
        ("first beat missed -> announced", "211.0"),
        ("open -> a packet seen as forwarded", "3.0"),
        ("first beat missed -> in the controller's store", "250.0"),
    ]


def test_a_move_that_the_controller_decided_is_shown_by_its_own_steps() -> None:
    shown = rows(result(Timeline(detection=spread(4000), build=spread(80))))
    assert shown["detection: last heard -> decided"] == "4,000.0"
    assert shown["build: -> built (several at a time)"] == "80.0"
    assert not any("first beat missed" in words for words in shown)


def test_a_switchover_is_shown_by_its_own_steps_and_nothing_is_built() -> None:
    switched = SwitchoverTimeline(bind=spread(14), release=spread(66), whole=spread(130))
    shown = rows(result(Timeline(switchover=switched, struck_to_confirmed=spread(150))))
    assert list(shown.items())[2:] == [
        ("bind: decided -> in the store", "14.0"),
        ("release: -> closed on the host that it leaves", "66.0"),
        ("open: -> open on the host that gets it", "–"),
        ("announce: -> announced", "–"),
        ("closed -> announced", "–"),
        ("open -> a packet seen as forwarded", "–"),
        ("decided -> controller knows", "130.0"),
        ("fault -> confirmed", "150.0"),
    ]


def test_takeovers_before_anything_was_broken_are_said() -> None:
    shown = [part for part in table.tables(result(Timeline(), taken_over_before=3)) if isinstance(part, str)]
    assert any(
        "3 takeovers before the fault, when nothing was broken" in part and "'default'" in part for part in shown
    )
    assert not any("before the fault" in part for part in table.tables(result(Timeline())) if isinstance(part, str))


def test_what_was_not_measured_is_no_zero() -> None:
    shown = rows(result(Timeline(detection=spread(4000)), affected=1))
    assert shown["gap of 1 router struck"] == "260.0"
    assert shown["build: -> built (several at a time)"] == "–"
    assert shown["build per router: first sent -> last built, divided"] == "–"


def test_where_nothing_moved_there_are_no_steps() -> None:
    assert not any("->" in words for words in rows(result(Timeline(), moved=0)))
