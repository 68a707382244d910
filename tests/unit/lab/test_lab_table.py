"""The result for people: where the time went, by who decided it."""

import io

import msgspec

from gapless.lab.findings import events, table
from gapless.lab.findings.events import Phase
from gapless.lab.findings.result import Result, SwitchoverTimeline, TakeoverTimeline, Timeline
from gapless.lab.rounds import Round
from gapless.observe.console import console
from lab_results import result, spread


def printed(shown: Result) -> str:
    out = console(width=200)
    with out.capture() as captured:
        for each in table.tables(shown):
            out.print(each)
    return captured.get()


def rows(shown: Result) -> dict[str, str]:
    """The table as it is printed: the words of each row, and its median."""
    cells = [[cell.strip() for cell in line.split("│")] for line in printed(shown).splitlines()]
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


def test_the_longest_wait_is_shown_where_it_is_known() -> None:
    found = result(Timeline())
    waited = msgspec.structs.replace(found, gap_ms=msgspec.structs.replace(found.gap_ms, waits=spread(7)))
    assert rows(waited)["a request lost or held up -> next reply"] == "7.0"


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
    shown = printed(result(Timeline(), taken_over_before=3))
    assert "3 takeovers before the fault, when nothing was broken" in shown
    assert "'default'" in shown
    assert "before the fault" not in printed(result(Timeline()))


def test_what_was_not_measured_is_no_zero() -> None:
    shown = rows(result(Timeline(detection=spread(4000)), affected=1))
    assert shown["gap of 1 router struck"] == "260.0"
    assert shown["build: -> built (several at a time)"] == "–"
    assert shown["build per router: first sent -> last built, divided"] == "–"


def test_where_nothing_moved_there_are_no_steps() -> None:
    assert not any("->" in words for words in rows(result(Timeline(), moved=0)))


def test_a_text_in_brackets_is_no_mark() -> None:
    told = printed(msgspec.structs.replace(result(Timeline()), ok=False, problems=["[/why]"], description="[bold]x"))
    assert "[bold]x: 3 hosts" in told
    assert "problem: [/why]" in told


def test_what_is_going_on_is_told_as_it_is() -> None:
    file = io.StringIO()
    narrator = table.Narrator(console(file=file, width=200))
    narrator(events.PhaseBegan(at=1.0, phase=Phase.FAULT, detail="[/why]"))
    narrator(events.PhaseBegan(at=2.0, phase=Phase.DONE))
    narrator.told(Round(number=1, fault="x", problem="[/problem]"))
    assert "fault  [/why]" in file.getvalue()
    assert "nothing was measured: [/problem]" in file.getvalue()
